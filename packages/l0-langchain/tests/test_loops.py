"""Programs that run one event loop after another, on the real clients as they come."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx
import pytest
from clients import Client
from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

from l0_core.testing import FaultyProvider
from l0_langchain import L0ChatModel, protect
from l0_langchain._twin import twin_of

LOOPS = 14
"""More than a breaker needs to open, were half of the attempts to fail."""

QUESTION = "What is the capital of France?"
ANSWER = "It is Paris."


@pytest.fixture(autouse=True)
def nothing_left_open(recwarn: pytest.WarningsRecorder) -> Iterator[None]:
    """G3: a socket that is collected unclosed warns, which is an error here; what others left is collected before."""
    gc.collect()
    recwarn.clear()
    yield
    gc.collect()
    assert not [each for each in recwarn if issubclass(each.category, ResourceWarning)]


async def answer(model: BaseChatModel) -> Any:
    return await model.ainvoke(QUESTION)


async def stream(model: BaseChatModel) -> Any:
    whole: Any = None
    async for chunk in model.astream(QUESTION):
        whole = chunk if whole is None else whole + chunk
    return whole


async def several(model: BaseChatModel) -> Any:
    return (await asyncio.gather(*(model.ainvoke(QUESTION) for _ in range(4))))[-1]


@pytest.mark.parametrize(("ask", "asked"), [(answer, 1), (stream, 1), (several, 4)])
def test_every_loop_is_as_good_as_the_first(
    ask: Callable[[BaseChatModel], Coroutine[Any, Any, Any]], asked: int, client: Client, provider: FaultyProvider
) -> None:
    """G7: a provider that is well answers at once; no request is made twice."""
    provider.reply(ANSWER)
    model = L0ChatModel(model=client(provider))
    for _ in range(LOOPS):
        last = asyncio.run(ask(model))
        assert last.text == ANSWER
        assert last.response_metadata["l0"]["attempts"] == 1
        assert not last.response_metadata["l0"]["faults"]
    assert provider.request_count == LOOPS * asked


def test_chains_and_other_dialects_ask_once() -> None:
    with FaultyProvider() as provider:
        provider.reply(ANSWER)
        model = Client("openai")(provider, use_responses_api=True)
        chain = protect(ChatPromptTemplate.from_template("{question}") | model | StrOutputParser())
        assert [asyncio.run(chain.ainvoke({"question": QUESTION})) for _ in range(LOOPS)] == [ANSWER] * LOOPS
        assert provider.request_count == LOOPS


async def test_one_loop_has_one_pool(client: Client, provider: FaultyProvider) -> None:
    """G7: a client that keeps its connections goes on keeping them, attempt after attempt."""
    provider.reply(ANSWER)
    model = L0ChatModel(model=client(provider))
    twins = [twin_of(model, type(client(provider)), is_async=True) for _ in range(2)]
    first, second = (client.sdk(twin)._client for twin in twins)
    assert first is second
    await answer(model)
    assert len(first._transport._pool.connections) == 1
    await answer(model)
    assert len(first._transport._pool.connections) == 1


def test_connections_that_the_caller_keeps_are_used(provider: FaultyProvider) -> None:
    """In every loop, whatever comes of it: how they were meant nobody else knows."""
    provider.reply(ANSWER)
    http = httpx.AsyncClient()
    model = L0ChatModel(model=Client("openai")(provider, http_async_client=http))

    async def main() -> None:
        twin = twin_of(model, ChatOpenAI, is_async=True)
        assert twin.root_async_client._client is http
        assert twin.async_client._client._client is http

    for _ in range(2):
        asyncio.run(main())
    asyncio.run(http.aclose())
