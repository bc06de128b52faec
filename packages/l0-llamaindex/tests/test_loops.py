"""Programs and engines that run one event loop after another, on the real clients as they come."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from engines import QUESTION, index
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped]
from providers import ANTHROPIC_MODEL, client

from l0_core.testing import FaultyProvider
from l0_llamaindex import L0LLM

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

LOOPS = 12
"""More than a breaker needs to open, were half of the attempts to fail."""


@pytest.fixture(autouse=True)
def _left_open(left_open: None) -> None: ...


CLIENTS: dict[str, Callable[[FaultyProvider], Any]] = {
    "openai": lambda to: OpenAI(model="gpt-4o-mini", api_base=to.openai_url, api_key="x"),
    "openai_like": lambda to: OpenAILike(model="mine", api_base=to.openai_url, api_key="x", is_chat_model=True),
    "openai_responses": lambda to: OpenAIResponses(model="gpt-4o-mini", api_base=to.openai_url, api_key="x"),
    "anthropic": lambda to: Anthropic(model=ANTHROPIC_MODEL, base_url=to.anthropic_url, api_key="x"),
}


async def answer(llm: Any) -> Any:
    return await llm.acomplete(QUESTION)


async def stream(llm: Any) -> Any:
    chunks = [chunk async for chunk in await llm.astream_complete(QUESTION)]
    return chunks[-1]


async def several(llm: Any) -> Any:
    return (await asyncio.gather(*(llm.acomplete(QUESTION) for _ in range(4))))[-1]


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize(("ask", "asked"), [(answer, 1), (stream, 1), (several, 4)])
def test_every_loop_is_as_good_as_the_first(ask: Callable[[Any], Any], asked: int, name: str) -> None:
    """G7: a provider that is well answers at once; no request is made twice."""
    with FaultyProvider() as provider:
        provider.reply("It is Paris.")
        llm = L0LLM(llm=CLIENTS[name](provider))
        for _ in range(LOOPS):
            last = asyncio.run(ask(llm))
            assert last.text == "It is Paris."
            assert last.additional_kwargs["l0"]["attempts"] == 1
        assert provider.request_count == LOOPS * asked


def test_an_engine_with_loops_of_its_own_asks_once() -> None:
    with FaultyProvider() as provider:
        provider.reply("It is Paris.")
        llm = L0LLM(llm=CLIENTS["openai"](provider))
        engine = index().as_query_engine(llm=llm, response_mode="tree_summarize", use_async=True, similarity_top_k=3)
        assert [str(engine.query(QUESTION)) for _ in range(LOOPS)] == ["It is Paris."] * LOOPS
        assert provider.request_count == LOOPS


# Closing them is the caller's business, and no loop is left to do it in.
@pytest.mark.filterwarnings("ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("ask", [answer, stream])
def test_connections_that_the_caller_keeps_count_against_nobody(ask: Callable[[Any], Any]) -> None:
    """What the bare client's own retries heal is healed here, and no breaker opens."""
    with FaultyProvider() as provider:
        provider.reply("It is Paris.")
        with client("openai", provider) as inner:
            llm = L0LLM(llm=inner)
            assert [asyncio.run(ask(llm)).text for _ in range(2 * LOOPS)] == ["It is Paris."] * 2 * LOOPS
