"""Content that is wrong, end to end: a provider over HTTP, the SDKs, the ports, both runners."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import anthropic
import openai
import pytest
from pydantic import BaseModel

import l0_core
from l0_core import Policy, _fleet, guards, ports
from l0_core.testing import FaultyProvider, faults

KEY = "AKIA" + "IOSFODNN7EXAMQLE"
LEAK = f"The key to all of it is {KEY}, so keep it well."
CLEAN = "The key to all of it is in the safe, so keep it well."
SYNC = ("sync", "async")
QUESTION: list[Any] = [{"role": "user", "content": "Where is the key?"}]


class Weather(BaseModel):
    city: str
    degrees: int
    days: list[int]


RIGHT = Weather(city="Málaga", degrees=120, days=[1, 22])
ANSWER = json.dumps(RIGHT.model_dump(), ensure_ascii=False)


@pytest.fixture
def provider() -> Iterator[FaultyProvider]:
    with FaultyProvider() as provider:
        yield provider


@dataclass(frozen=True)
class Way:
    """A make of client, called or awaited; it is closed when its work is done."""

    make: str
    runner: str

    def client(self, provider: FaultyProvider) -> Any:
        sync = self.runner == "sync"
        if self.make == "openai":
            return (openai.OpenAI if sync else openai.AsyncOpenAI)(base_url=provider.openai_url, api_key="x")
        kind = anthropic.Anthropic if sync else anthropic.AsyncAnthropic
        return kind(base_url=provider.anthropic_url, api_key="x")

    def target(self, client: Any) -> l0_core.Target:
        if self.make == "openai":
            return ports.openai_chat(client, model="m", messages=QUESTION)
        return ports.anthropic_messages(client, model="m", max_tokens=1_000, messages=QUESTION)

    def read(self, provider: FaultyProvider, policy: Policy) -> tuple[list[Any], l0_core.Result, Exception | None]:
        """What a consumer is given, chunk by chunk, and how it ends."""
        given: list[Any] = []

        async def awaited() -> l0_core.Result:
            async with self.client(provider) as client:
                stream = l0_core.astream(self.target(client), policy=policy)
                async for chunk in stream:
                    given.append(chunk)  # noqa: PERF401 - what came before an error counts
                return stream.result

        try:
            if self.runner == "async":
                return given, asyncio.run(awaited()), None
            with self.client(provider) as client:
                stream = l0_core.stream(self.target(client), policy=policy)
                given.extend(stream)
                return given, stream.result, None
        except l0_core.L0Error as failure:
            return given, failure.result or l0_core.Result("none", ""), failure

    def ask(self, provider: FaultyProvider) -> tuple[Weather, l0_core.Result]:
        """The object, and how it was come by."""

        async def awaited() -> tuple[Weather, l0_core.Result]:
            async with self.client(provider) as client:
                session = l0_core.astructured(Weather, self.target(client))
                return await session, session.result

        if self.runner == "async":
            return asyncio.run(awaited())
        with self.client(provider) as client:
            session = l0_core.structured(Weather, self.target(client))
            return session.value, session.result

    def partials(self, provider: FaultyProvider) -> tuple[Weather, list[Any]]:
        """The object, and what it looked like on the way."""

        async def awaited() -> tuple[Weather, list[Any]]:
            async with self.client(provider) as client:
                session = l0_core.astructured(Weather, self.target(client))
                seen = [partial async for partial in session.partials()]
                return await session, seen

        if self.runner == "async":
            return asyncio.run(awaited())
        with self.client(provider) as client:
            session = l0_core.structured(Weather, self.target(client))
            seen = [*session.partials()]
            return session.value, seen


@pytest.mark.parametrize("runner", SYNC)
@pytest.mark.parametrize("make", ["openai", "anthropic"])
@pytest.mark.parametrize("chunks", [3, 12, 60])
def test_a_leaked_key_is_stopped_before_any_of_it_is_shown(
    provider: FaultyProvider, make: str, runner: str, chunks: int
) -> None:
    provider.reply(CLEAN, chunks=chunks)
    provider.reply(LEAK, chunks=chunks, when=lambda request: request.number == 0)
    policy = Policy(guards=[guards.secrets()], delivery="guarded")
    given, result, error = Way(make, runner).read(provider, policy)
    assert error is None
    assert result.text == CLEAN
    assert "AKIA" not in repr(given)
    assert [fault.code for fault in result.faults] == ["secrets"]


@pytest.mark.parametrize("runner", SYNC)
@pytest.mark.parametrize("chunks", [1, 3, 12])
def test_live_the_chunk_that_shows_what_it_is_is_not_shown(provider: FaultyProvider, runner: str, chunks: int) -> None:
    """Some of the key may have been: then nothing goes on from there."""
    provider.reply(CLEAN, chunks=chunks)
    provider.reply(LEAK, chunks=chunks, when=lambda request: request.number == 0)
    policy = Policy(guards=[guards.secrets()])
    given, result, error = Way("openai", runner).read(provider, policy)
    assert KEY not in result.text
    shown = "".join(chunk.choices[0].delta.content or "" for chunk in given if chunk.choices)
    assert shown == result.text
    assert (result.text == CLEAN) if error is None else isinstance(error, l0_core.IncompleteError)


@pytest.mark.parametrize("runner", SYNC)
@pytest.mark.parametrize("how", ["length", "eof"])
def test_an_answer_cut_anywhere_is_the_object_or_is_asked_for_again(
    provider: FaultyProvider, runner: str, how: Literal["length", "eof"]
) -> None:
    """At every character, by the token limit and by the connection; never an object that was not meant."""
    provider.reply(ANSWER, chunks=len(ANSWER))
    cut = faults.finish_length if how == "length" else faults.eof_after
    for after in range(1, len(ANSWER) if runner == "sync" else 12):
        provider.script(cut(chunks=after), faults.ok())
        _fleet.renew()
        value, result = Way("openai", runner).ask(provider)
        assert value == RIGHT, after
        assert result.attempts == 2
        assert [fault.fault for fault in result.faults] == ["content" if how == "length" else "network"]


def test_what_stays_wrong_is_refused_with_the_incidents_id(provider: FaultyProvider) -> None:
    provider.reply(ANSWER.replace("120", '"SECRET"'))
    for make in ("openai", "anthropic"):
        with pytest.raises(l0_core.RefusedOutput) as refused:
            Way(make, "sync").ask(provider)
        assert refused.value.session_id is not None
        assert refused.value.session_id in str(refused.value)
        assert "SECRET" not in str(refused.value)
        _fleet.renew()
    told = provider.requests[-1].messages
    assert [message.role for message in told] == ["user", "assistant", "user"]
    assert "degrees" in told[-1].text


@pytest.mark.parametrize("runner", SYNC)
def test_partials_come_while_it_streams(provider: FaultyProvider, runner: str) -> None:
    provider.reply(ANSWER, chunks=10)

    value, seen = Way("anthropic", runner).partials(provider)
    assert value == RIGHT
    assert len(seen) > 3
    assert seen[-1] == RIGHT.model_dump()
