"""What providers really sent, through the real clients: whole, and cut at many bytes and begun again."""

import functools
import operator
from collections.abc import Callable
from functools import cached_property
from typing import Any

import anthropic
import httpx
import httpx2
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI
from test_difference import plain
from wire import Body, cuts, recorded, recordings  # type: ignore[import-not-found]  # the tests of l0-core have it

from l0_core import Continuation, L0Error, Policy, _fleet
from l0_langchain import L0ChatModel

NAMES = recordings("anthropic", "deepseek", "groq", "mistral", "openai", "openai_responses", "openrouter")
# A recording says the same again, from its start: it knows nothing of what was shown.
POLICY = Policy(continuation=Continuation(rungs=["rerun"]))
ENDED = {"openrouter/openrouter_stream_error-1"}
"""Recordings whose error comes after the reason for which the answer ended: it has ended by then."""
# What the clients themselves say of parts they do not know.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Received unexpected tool content block"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
]
HEADERS = {"content-type": "text/event-stream"}


class Provider:
    """Sends a recording to whoever asks; to the first only a part of it."""

    def __init__(self, name: str, cut_at: int | None = None) -> None:
        self.dialect = name.partition("/")[0]
        self.body, self.cut_at, self.asked = recorded(name), cut_at, 0

    def answer(self, http: Any) -> Any:
        def respond(_: Any) -> Any:
            self.asked += 1
            cut = self.cut_at if self.asked == 1 else None
            return http.Response(200, headers=HEADERS, stream=Body(self.body, cut, http.ReadError))

        return http.MockTransport(respond)

    def model(self, **fields: Any) -> BaseChatModel:
        if self.dialect != "anthropic":
            sync, asynchronous = (kind(transport=self.answer(httpx)) for kind in _CLIENTS)
            said: Any = {"model": "gpt-4o-mini", "api_key": "x", "http_client": sync, "http_async_client": asynchronous}
            return ChatOpenAI(**said, use_responses_api=self.dialect == "openai_responses", **fields)
        sync, asynchronous = (kind(transport=self.answer(httpx2)) for kind in _CLIENTS2)

        class Answered(ChatAnthropic):
            @cached_property
            def _client(self) -> anthropic.Client:
                return anthropic.Client(api_key="x", http_client=sync)

            @cached_property
            def _async_client(self) -> anthropic.AsyncClient:
                return anthropic.AsyncClient(api_key="x", http_client=asynchronous)

        return Answered(**{"model": "claude-haiku-4-5", "api_key": "x", "max_tokens": 4_000, **fields})


_CLIENTS: tuple[Any, Any] = (httpx.Client, httpx.AsyncClient)
_CLIENTS2: tuple[Any, Any] = (httpx2.Client, httpx2.AsyncClient)

Way = Callable[[BaseChatModel], Any]


async def streamed(model: BaseChatModel) -> list[AIMessageChunk]:
    return list(model.stream("x"))


async def astreamed(model: BaseChatModel) -> list[AIMessageChunk]:
    return [chunk async for chunk in model.astream("x")]


async def asked(way: Way, model: BaseChatModel) -> tuple[Any, Exception | None]:
    """The message that its chunks make, or what was raised."""
    try:
        return functools.reduce(operator.add, await way(model)), None
    except Exception as error:  # noqa: BLE001 - which, is what is told
        return None, error


def told(message: AIMessageChunk) -> Any:
    """Everything that is no generated id; without what says that a chunk is the last, which the framework adds."""
    said = plain(message)
    said["response_metadata"].pop("l0", None)
    return {name: value for name, value in said.items() if name not in {"chunk_position", "id"}}


ways = pytest.mark.parametrize("way", [streamed, astreamed])
versions = pytest.mark.parametrize("version", [None, "v1"], ids=["as it comes", "v1"])


@ways
@versions
@pytest.mark.parametrize("name", NAMES)
async def test_a_recording_reads_as_it_does_without_l0(way: Way, version: Any, name: str) -> None:
    """G7: the same message; where the client makes a mistake of it, an error that says so."""
    provider = Provider(name)
    expected, error = await asked(way, Provider(name).model(output_version=version))
    message, raised = await asked(way, L0ChatModel(model=provider.model(output_version=version), policy=POLICY))
    if error is None:
        assert raised is None
        assert told(message) == told(expected)
        assert provider.asked == 1
    elif name in ENDED:
        assert raised is None
        assert message.response_metadata["l0"]["finish_reason"] == "length"
    else:
        assert isinstance(raised, L0Error) or type(raised) is type(error)


@versions
@pytest.mark.parametrize(("name", "at"), list(cuts(NAMES)))
async def test_a_recording_that_is_cut_is_given_once(version: Any, name: str, at: int) -> None:
    """G1, G2: text once, each call once and whole, wherever the connection was lost."""
    expected, error = await asked(streamed, Provider(name).model(output_version=version))
    if error is not None:
        pytest.skip(f"the whole recording is no answer: {type(error).__name__}")
    for way in (streamed, astreamed):
        _fleet.renew()
        provider = Provider(name, at)
        message, raised = await asked(way, L0ChatModel(model=provider.model(output_version=version), policy=POLICY))
        assert raised is None
        assert message.text == expected.text
        assert [(call["name"], call["args"]) for call in message.tool_calls] == [
            (call["name"], call["args"]) for call in expected.tool_calls
        ]
        assert message.invalid_tool_calls == expected.invalid_tool_calls
        assert provider.asked <= 2
