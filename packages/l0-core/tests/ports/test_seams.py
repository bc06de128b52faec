"""An answer put together from several attempts reads as one, to its consumer and to the provider's own SDK. G1."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from openai._types import omit
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from wire import (
    CHAT,
    all_of,
    chat_body,
    chat_stream,
    messages_body,
    messages_stream,
    recorded,
    recordings,
    responses_body,
    responses_stream,
)

import l0_core
from l0_core import _fleet
from l0_core.policy import Continuation, Policy
from l0_core.ports import port_for

TEXT = "The capital of France is Paris, a city on the river Seine, and it has been so for a very long time."


class Session:
    """A consumer, and a source whose attempts a test makes up."""

    def __init__(self, attempts: Callable[[l0_core.Attempt], Iterator[Any]], rung: str) -> None:
        _fleet.renew()  # many sessions a test, each of which fails once
        self.given: list[Any] = []
        policy = Policy(continuation=Continuation(rungs=[rung, "rerun"] if rung == "prompt" else [rung]))  # type: ignore[list-item]
        target = l0_core.Target(attempts, prefill=True, terminal="finish_reason")
        self._stream = l0_core.stream(target, policy=policy, stall_guard="off")

    def run(self) -> l0_core.Result:
        for chunk in self._stream:
            self.given.append(chunk)
        return self._stream.result


@dataclass(frozen=True)
class Dialect:
    """How a provider says a text, and what its SDK makes of the events."""

    body: Callable[..., bytes]
    stream: Callable[[bytes], Iterator[Any]]
    check: Callable[[list[Any], str], None]
    options: dict[str, Any]


def pieces(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def check_chat(chunks: list[Any], text: str) -> None:
    state: Any = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(chunk)
    message = state.current_completion_snapshot.choices[0].message
    assert message.content == text
    assert len({chunk.id for chunk in chunks}) == 1
    assert len({chunk.created for chunk in chunks}) == 1
    roles = [chunk.choices[0].delta.role for chunk in chunks if chunk.choices]
    assert roles == ["assistant"] + [None] * (len(roles) - 1)


def check_messages(events: list[Any], text: str) -> None:
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in events:
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    assert "".join(block.text for block in snapshot.content if block.type == "text") == text
    kinds = [event.type for event in events]
    assert kinds.count("message_start") == kinds.count("message_stop") == 1
    started: list[int] = []
    for event in events:
        if event.type == "content_block_start":
            assert event.index == len(started), "blocks are numbered as they begin"
            started.append(event.index)
        elif event.type in {"content_block_delta", "content_block_stop"}:
            assert event.index in started


def check_responses(events: list[Any], text: str) -> None:
    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        state.handle_event(event)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert {event.response.id for event in events if getattr(event, "response", None)} == {events[0].response.id}
    added = [event for event in events if event.type == "response.output_item.added"]
    assert [event.output_index for event in added] == list(range(len(added)))
    items = [event.item.id for event in added]
    for event in events:
        if getattr(event, "item_id", None):
            assert event.item_id == items[event.output_index]
    assert events[-1].response.output_text == text
    by_kind = {event.type: event for event in events}
    assert by_kind["response.output_text.done"].text == text
    assert by_kind["response.content_part.done"].part.text == text
    assert by_kind["response.output_item.done"].item.content[0].text == text


DIALECTS = {
    "chat": Dialect(chat_body, chat_stream, check_chat, {}),
    "messages": Dialect(messages_body, messages_stream, check_messages, {}),
    "messages that think": Dialect(messages_body, messages_stream, check_messages, {"thinks": True}),
    "responses": Dialect(responses_body, responses_stream, check_responses, {}),
    "responses that think": Dialect(responses_body, responses_stream, check_responses, {"thinks": True}),
}
ANSWERS: dict[str, Callable[[l0_core.Attempt], str]] = {
    "rerun": lambda _: TEXT,
    "prefill": lambda attempt: TEXT[len(attempt.prefix) :],
    "prompt": lambda attempt: TEXT[TEXT.index(attempt.anchor) :] if attempt.anchor else TEXT,
}


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


def said(dialect: Dialect, number: int, text: str, size: int) -> list[Any]:
    body = dialect.body(pieces(text, size), identity=f"attempt-{'x' * number}", **dialect.options)
    return all_of(dialect.stream(body))


@pytest.mark.parametrize("rung", ANSWERS)
def test_an_answer_that_broke_off_is_gone_on_with_anywhere(dialect: Dialect, rung: str) -> None:
    whole = said(dialect, 0, TEXT, 7)
    last_piece = next(at for at, chunk in enumerate(whole) if TEXT.endswith(port_text(chunk)) and port_text(chunk))
    for break_after in range(1, last_piece + 1):

        def attempts(attempt: l0_core.Attempt, break_after: int = break_after) -> Iterator[Any]:
            if attempt.number == 0:
                yield from whole[:break_after]
                raise httpx.ReadError("reset")
            yield from said(dialect, attempt.number, ANSWERS[rung](attempt), 5)

        session = Session(attempts, rung)
        result = session.run()
        assert result.text == TEXT
        assert result.attempts == 2
        dialect.check(without_metadata(session.given), TEXT)


def test_an_answer_that_broke_off_twice_is_gone_on_with_twice(dialect: Dialect) -> None:
    def attempts(attempt: l0_core.Attempt) -> Iterator[Any]:
        chunks = said(dialect, attempt.number, TEXT[len(attempt.prefix) :], 7)
        text = ""
        for chunk in chunks:
            text += port_text(chunk)
            yield chunk
            if attempt.number < 2 and len(text) > 20:
                raise httpx.ReadError("reset")

    session = Session(attempts, "prefill")
    result = session.run()
    assert result.text == TEXT
    assert result.attempts == 3
    dialect.check(without_metadata(session.given), TEXT)


def port_text(chunk: Any) -> str:
    return port_for(chunk).facts(chunk).text


def without_metadata(chunks: list[Any]) -> list[Any]:
    return [chunk for chunk in chunks if not hasattr(chunk, "l0")]


# Recorded answers, started over ---------------------------------------------------------------------------------------

STREAMS: dict[str, tuple[Callable[[bytes], Iterator[Any]], Callable[[list[Any], str], None]]] = {
    **dict.fromkeys(CHAT, (chat_stream, check_chat)),
    "openai_responses": (responses_stream, check_responses),
    "anthropic": (messages_stream, check_messages),
}


BROKEN = ("error", "failed")  # recordings that break off by themselves


@pytest.mark.parametrize(
    "name", [name for name in recordings(*STREAMS) if not any(word in str(name) for word in BROKEN)]
)
def test_a_recorded_answer_that_broke_off_is_started_over(name: str) -> None:
    provider = name.partition("/")[0]
    stream, check = STREAMS[provider]
    body = recorded(name)
    chunks, again = all_of(stream(body)), all_of(stream(renamed(body)))
    port = port_for(chunks[0])
    text = "".join(port.facts(chunk).text for chunk in chunks)
    content = [at for at, chunk in enumerate(chunks) if port.facts(chunk).text or port.facts(chunk).tools]
    for break_after in {content[len(content) * part // 8] + 1 for part in range(8)}:

        def attempts(attempt: l0_core.Attempt, break_after: int = break_after) -> Iterator[Any]:
            if attempt.number:
                yield from again
            else:
                yield from chunks[:break_after]
                raise httpx.ReadError("reset")

        session = Session(attempts, "rerun")
        result = session.run()
        assert result.text == text
        assert result.attempts == 2
        given = without_metadata(session.given)
        assert "".join(map(port_text, given)) == text
        if provider in {"openai", "deepseek", "anthropic"} and text:  # what the SDKs' own accumulators can read
            check(given, text)
        if provider == "openai_responses" and chunks[0].type == "response.created" and chunks[0].sequence_number == 0:
            assert given[-1].response.output_text == text
            assert {event.response.id for event in given if hasattr(event, "response")} == {chunks[0].response.id}
            assert [event.sequence_number for event in given] == list(range(len(given)))


def renamed(body: bytes) -> bytes:
    """The same answer under other ids."""
    ids = {
        str(found)
        for line in body.decode().splitlines()
        if line.startswith("data: {")
        for found in find_ids(json.loads(line.removeprefix("data: ")))
    }
    for found in ids:
        body = body.replace(f'"{found}"'.encode(), f'"again-{found}"'.encode())
    return body


def find_ids(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("id"), str):
            yield value["id"]
        for inner in value.values():
            yield from find_ids(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from find_ids(inner)
