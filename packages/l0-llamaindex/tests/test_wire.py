"""What providers really sent, through the real integrations: whole, and cut at many bytes and begun again."""

from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from asking_llm import QUESTION, Seen, Way, policy
from llama_index.core.base.llms.types import ThinkingBlock, ToolCallBlock
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped]
from providers import ANTHROPIC_MODEL
from wire import Body, cuts, recorded, recordings  # type: ignore[import-not-found]  # the tests of l0-core have it

from l0_core import _fleet
from l0_llamaindex import L0LLM

NAMES = recordings("anthropic", "deepseek", "groq", "mistral", "openai", "openai_responses", "openrouter")
# A recording says the same again, from its start: it knows nothing of what was shown.
POLICY = policy(continuation={"rungs": ["rerun"]})
# Anthropic's integration asks the SDK's objects for what they deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ENDED = {"openrouter/openrouter_stream_error-1": "length"}
"""Recordings whose error comes after the reason for which the answer ended: it has ended by then."""
HEADERS = {"content-type": "text/event-stream"}


class Provider:
    """Sends a recording to whoever asks; to the first only a part of it."""

    def __init__(self, name: str, cut_at: int | None = None) -> None:
        self.body, self.cut_at, self.asked = recorded(name), cut_at, 0

    def answer(self, http: Any) -> Any:
        def respond(_: Any) -> Any:
            self.asked += 1
            cut = self.cut_at if self.asked == 1 else None
            return http.Response(200, headers=HEADERS, stream=Body(self.body, cut, http.ReadError))

        return respond

    def client(self, dialect: str) -> Any:
        if dialect == "anthropic":
            llm = Anthropic(model=ANTHROPIC_MODEL, api_key="x", max_tokens=4_000)
            sync, async_ = (kind(transport=httpx2.MockTransport(self.answer(httpx2))) for kind in _CLIENTS2)
            llm._client = anthropic.Anthropic(api_key="x", http_client=sync)
            llm._aclient = anthropic.AsyncAnthropic(api_key="x", http_client=async_)
            return llm
        sync, async_ = (kind(transport=httpx.MockTransport(self.answer(httpx))) for kind in _CLIENTS)
        http = {"http_client": sync, "async_http_client": async_}
        match dialect:
            case "openai":
                return OpenAI(model="gpt-4o-mini", api_key="x", **http)
            case "openai_responses":
                return OpenAIResponses(model="gpt-4o-mini", api_key="x", **http)
            case _:
                return OpenAILike(model="m", api_key="x", is_chat_model=True, is_function_calling_model=True, **http)


_CLIENTS: tuple[Any, Any] = (httpx.Client, httpx.AsyncClient)
_CLIENTS2: tuple[Any, Any] = (httpx2.Client, httpx2.AsyncClient)


def told(seen: Seen) -> tuple[str, list[tuple[str, str]], str]:
    """What an answer amounts to: text, calls, reasoning."""
    blocks = seen.chunks[-1].message.blocks if seen.chunks else []
    calls = [(block.tool_name, str(block.tool_kwargs)) for block in blocks if isinstance(block, ToolCallBlock)]
    thoughts = [block.content or "" for block in blocks if isinstance(block, ThinkingBlock)]
    return seen.text, calls, "".join(thoughts)


def asked(way: Way, provider: Provider, dialect: str, *, wrapped: bool) -> Seen:
    inner = provider.client(dialect)
    return way(L0LLM(llm=inner, policy=POLICY) if wrapped else inner, "stream_chat", QUESTION)


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_reads_as_it_does_without_l0(way: Way, name: str) -> None:
    """G7: the same chunks, of the same text; where the client makes a mistake of it, an error that says so."""
    dialect = name.partition("/")[0]
    bare, reliable = Provider(name), Provider(name)
    expected = asked(way, bare, dialect, wrapped=False)
    seen = asked(way, reliable, dialect, wrapped=True)
    if expected.error is None and seen.error is None:
        assert told(seen) == told(expected)
        assert [chunk.delta for chunk in seen.chunks] == [chunk.delta for chunk in expected.chunks]
        assert reliable.asked == bare.asked == 1
    elif name in ENDED:
        assert seen.error is None
        assert seen.l0["finish_reason"] == ENDED[name]
        assert expected.text == seen.text
    else:
        assert seen.error is not None
        assert not isinstance(seen.error, ValueError | TypeError)
        assert expected.text.startswith(seen.text)


@pytest.mark.parametrize(("name", "at"), list(cuts(NAMES)))
def test_a_recording_that_is_cut_is_given_once(way: Way, name: str, at: int) -> None:
    """G1, G2: text once, each call once and whole, wherever the connection was lost."""
    dialect = name.partition("/")[0]
    expected = asked(way, Provider(name), dialect, wrapped=False)
    whole = asked(way, Provider(name), dialect, wrapped=True)
    if whole.error is not None:
        pytest.skip(f"the whole recording is no answer: {type(whole.error).__name__}")
    _fleet.renew()
    provider = Provider(name, at)
    seen = asked(way, provider, dialect, wrapped=True)
    assert seen.error is None
    assert told(seen)[:2] == told(expected)[:2]
    # An answer that was put together has one block of text; the integration may make several, a line each.
    assert seen.snapshot in {expected.text, expected.snapshot}
    assert provider.asked <= 2


def test_the_clients_are_the_installed_ones() -> None:
    assert isinstance(OpenAI(model="gpt-4o-mini", api_key="x")._get_client(), openai.OpenAI)
