"""Fallbacks through the real clients, in every way a model is called."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

from l0_core.testing import FaultyProvider, faults
from l0_langchain import L0ChatModel

ANSWER = "It rises in Burgundy, near Dijon, and is 775 kilometres long."


def stream(model: BaseChatModel) -> Any:
    whole: Any = None
    for chunk in model.stream("Which river?"):
        whole = chunk if whole is None else whole + chunk
    return whole


def invoke(model: BaseChatModel) -> Any:
    return model.invoke("Which river?")


def astream(model: BaseChatModel) -> Any:
    async def main() -> Any:
        whole: Any = None
        async for chunk in model.astream("Which river?"):
            whole = chunk if whole is None else whole + chunk
        return whole

    return asyncio.run(main())


def ainvoke(model: BaseChatModel) -> Any:
    return asyncio.run(model.ainvoke("Which river?"))


WAYS: list[Callable[[BaseChatModel], Any]] = [stream, invoke, astream, ainvoke]


@pytest.fixture
def providers() -> Iterator[tuple[FaultyProvider, FaultyProvider]]:
    with FaultyProvider() as first, FaultyProvider() as second:
        second.reply(ANSWER)
        yield first, second


def openai(provider: FaultyProvider) -> BaseChatModel:
    fields: dict[str, Any] = {"model": "gpt-5-mini", "base_url": provider.openai_url, "api_key": "x"}
    return ChatOpenAI(**fields)


def anthropic(provider: FaultyProvider) -> BaseChatModel:
    fields: dict[str, Any] = {"model": "claude-haiku-4-5", "base_url": provider.anthropic_url, "api_key": "x"}
    return ChatAnthropic(**fields)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("second_of", [openai, anthropic])
@pytest.mark.parametrize("first_of", [openai, anthropic])
def test_the_next_model_answers_where_the_first_cannot(
    first_of: Any, second_of: Any, way: Callable[[BaseChatModel], Any], providers: tuple[FaultyProvider, FaultyProvider]
) -> None:
    """G4, G8: the fallback's answer, marked as what it is, whatever make either is of."""
    down, spare = providers
    down.script(faults.quota())
    model = L0ChatModel(model=first_of(down), fallbacks=[second_of(spare)])
    message = way(model)
    assert message.text == ANSWER
    told = message.response_metadata["l0"]
    assert (told["degraded"], told["attempts"]) == (True, 2)
    assert str(spare.url).rpartition("/")[2] in told["served_by"]
    assert (down.request_count, spare.request_count) == (1, 1)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", [stream, astream], ids=lambda way: way.__name__)
@pytest.mark.parametrize("second_of", [openai, anthropic])
def test_the_next_model_goes_on_where_the_first_broke_off(
    second_of: Any, way: Callable[[BaseChatModel], Any], providers: tuple[FaultyProvider, FaultyProvider]
) -> None:
    """G1, G8: one answer, put together from two makers' models, and marked."""
    first, spare = providers
    first.reply(ANSWER, chunks=12)
    first.script(faults.reset_after(chunks=8), faults.quota())
    model = L0ChatModel(model=openai(first), fallbacks=[second_of(spare)])
    message = way(model)
    assert message.text == ANSWER
    told = message.response_metadata["l0"]
    assert told["degraded"]
    assert told["continued"]
