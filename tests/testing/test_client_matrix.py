"""What the bare clients make of every fault: the rows of `fault_table`, so that a client that changes is noticed."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, Final

import anthropic
import langchain_anthropic.chat_models
import langchain_openai.chat_models.base
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI, StreamChunkTimeoutError

from l0_core.testing import FaultyProvider, faults, samples
from l0_core.testing.fault_table import TABLE, Row

ARGS = {"city": "Paris, the capital of France"}
WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
# What is run on every change; the rest is a sweep.
SAMPLE = {
    "ok()",
    "rate_limit()",
    "quota()",
    "reset_after(chunks=4)",
    "eof_after(chunks=4)",
    "stall(phase='text')",
    "malformed_event()",
    "error_event()",
    "html_200()",
    "tool_args_cut()",
    "lost_chunk()",
}
# A read timeout long enough for a busy machine, and shorter than the keep-alives of the table go on.
TIMEOUT: Final = 0.25
PATIENCE: Final = 20.0
KEY: Final[dict[str, Any]] = {"api_key": "x", "max_retries": 0}
ROWS = [pytest.param(row, id=row.fault, marks=() if row.fault in SAMPLE else pytest.mark.matrix) for row in TABLE]

MESSAGES: Final[Any] = [{"role": "user", "content": "Hi"}]

numbers = itertools.count()


@pytest.fixture(scope="module")
def provider() -> Iterator[FaultyProvider]:
    with FaultyProvider() as provider:
        yield provider


@pytest.fixture
def base(provider: FaultyProvider, row: Row) -> str:
    """A base URL of its own: the clients keep connections by URL, and the event loop of a test ends with it."""
    provider.script(faults.parse(row.fault))
    if "tool_args" in row.fault:
        provider.reply(tool_calls=[("weather", ARGS)])
    elif "reasoning" in row.fault:
        provider.reply("The answer is four.", reasoning="Two and two: let me add them up, slowly and in order.")
    else:
        provider.reply(samples.PROSE)
    return f"{provider.url}/{next(numbers)}"


def timeout_of(row: Row) -> float:
    return TIMEOUT if row.fault.startswith(("stall", "keep_alive")) else PATIENCE


def chat_openai(base: str, row: Row) -> ChatOpenAI:
    settings: dict[str, Any] = {"model": "gpt-4o-mini", "base_url": f"{base}/v1", "timeout": timeout_of(row)}
    return ChatOpenAI(**settings | KEY)


def chat_anthropic(base: str, row: Row) -> ChatAnthropic:
    settings: dict[str, Any] = {"model": "claude-haiku-5-5", "base_url": base, "timeout": timeout_of(row)}
    return ChatAnthropic(**settings | KEY)


def merged(chunks: list[Any]) -> AIMessage:
    message: AIMessage = reduce(lambda first, second: first + second, chunks)
    return message


async def close(model: BaseChatModel) -> None:
    """Give connections back before the loop ends: the clients are cached and would be collected after it."""
    if isinstance(model, ChatOpenAI):
        await model.root_async_client.close()
    elif isinstance(model, ChatAnthropic):
        await model._async_client.close()


def asked(model: BaseChatModel, row: Row) -> Runnable[Any, AIMessage]:
    return model.bind_tools([WEATHER]) if "tool_args" in row.fault else model


def called(model: BaseChatModel, row: Row, *, streamed: bool) -> AIMessage:
    runnable = asked(model, row)
    return merged(list(runnable.stream("Hi"))) if streamed else runnable.invoke("Hi")


async def acalled(model: BaseChatModel, row: Row, *, streamed: bool) -> AIMessage:
    runnable = asked(model, row)
    try:
        return merged([chunk async for chunk in runnable.astream("Hi")]) if streamed else await runnable.ainvoke("Hi")
    finally:
        await close(model)


def outcome(ask: Callable[[], AIMessage], provider: FaultyProvider, row: Row) -> str:
    try:
        message = ask()
    except Exception as error:  # noqa: BLE001 - whatever comes out is what is asked for
        return name_of(error)
    metadata = message.response_metadata
    finish = metadata.get("finish_reason") or metadata.get("stop_reason")
    judged = judged_call(message) if "tool_args" in row.fault else judged_text(text_of(message), provider)
    return f"{judged} [{finish}]"


def name_of(error: Exception) -> str:
    """The exception's name, with the library it belongs to unless that is LangChain's own or Python's."""
    kind = type(error)
    module = kind.__module__.partition(".")[0]
    return (
        kind.__name__
        if module in ("builtins", "langchain_openai", "langchain_anthropic")
        else f"{module}.{kind.__name__}"
    )


def text_of(message: AIMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    blocks = [block for block in message.content if isinstance(block, dict)]
    return "".join(block.get("text", "") for block in blocks if block.get("type") == "text")


def judged_text(text: str, provider: FaultyProvider) -> str:
    if provider.is_right(text):
        return "right"
    if not text.strip():
        return "blank" if text else "empty"
    return "cut" if samples.PROSE.canonical.startswith(text) else "wrong"


def judged_call(message: AIMessage) -> str:
    if not message.tool_calls:
        return "no call"
    return "right call" if message.tool_calls[0]["args"] == ARGS else "cut call"


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "call"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_a_bare_client_makes_of_a_fault_what_the_table_says(
    *, row: Row, streamed: bool, is_async: bool, client: str, provider: FaultyProvider, base: str
) -> None:
    model: BaseChatModel = chat_openai(base, row) if client == "openai" else chat_anthropic(base, row)
    if is_async:
        result = outcome(lambda: asyncio.run(acalled(model, row, streamed=streamed)), provider, row)
    else:
        result = outcome(lambda: called(model, row, streamed=streamed), provider, row)
    assert result == getattr(row, f"{client}_{'stream' if streamed else 'call'}")


def test_the_sample_is_part_of_the_table() -> None:
    assert {row.fault for row in TABLE} >= SAMPLE


def test_every_fault_has_a_row() -> None:
    assert {row.fault.partition("(")[0] for row in TABLE} == set(faults.names())


# The SDKs below the frameworks


def sdk_openai(base: str, row: Row, *, streamed: bool) -> None:
    with openai.OpenAI(base_url=f"{base}/v1", api_key="x", max_retries=0, timeout=timeout_of(row)) as client:
        answer = client.chat.completions.create(model="m", messages=MESSAGES, stream=streamed)
        if isinstance(answer, openai.Stream):
            list(answer)


def sdk_responses(base: str, row: Row, *, streamed: bool) -> None:
    with openai.OpenAI(base_url=f"{base}/v1", api_key="x", max_retries=0, timeout=timeout_of(row)) as client:
        answer = client.responses.create(model="m", input="Hi", stream=streamed)
        if isinstance(answer, openai.Stream):
            list(answer)


def sdk_anthropic(base: str, row: Row, *, streamed: bool) -> None:
    with anthropic.Anthropic(base_url=base, api_key="x", max_retries=0, timeout=timeout_of(row)) as client:
        answer = client.messages.create(model="m", max_tokens=500, messages=MESSAGES, stream=streamed)
        if isinstance(answer, anthropic.Stream):
            list(answer)


def error_class(name: str) -> type[Exception] | None:
    """The class behind a name of the table, if it is one of a client library's."""
    module, _, attribute = name.rpartition(".")
    homes: dict[str, Any] = {
        "": None,
        "openai": openai,
        "anthropic": anthropic,
        "httpx": __import__("httpx"),
        "httpx2": __import__("httpx2"),
        "json": json,
    }
    if module:
        return getattr(homes[module], attribute, None) if module in homes else None
    for home in (langchain_openai.chat_models.base, langchain_anthropic.chat_models):
        if found := getattr(home, attribute, None):
            return found if isinstance(found, type) and issubclass(found, Exception) else None
    return None


def expected_of(row: Row, client: str, *, streamed: bool) -> type[Exception] | None:
    """The client library's own error under what the framework raises; none where only the framework takes offence."""
    framework = getattr(row, f"{'anthropic' if client == 'anthropic' else 'openai'}_{'stream' if streamed else 'call'}")
    found = error_class(framework)
    return found and next(kind for kind in found.__mro__ if not kind.__module__.startswith("langchain"))


SDK_CASES = [
    pytest.param(
        row,
        client,
        streamed,
        id=f"{client}-{'stream' if streamed else 'call'}-{row.fault}",
        marks=() if row.fault in SAMPLE else pytest.mark.matrix,
    )
    for row in TABLE
    for client in ("openai", "responses", "anthropic")
    for streamed in (True, False)
    # The responses SDK hands out an error event as any other.
    if expected_of(row, client, streamed=streamed) and not (client == "responses" and "error_event" in row.fault)
]


@pytest.mark.parametrize(("row", "client", "streamed"), SDK_CASES)
def test_an_sdk_raises_what_the_framework_builds_on(*, row: Row, client: str, streamed: bool, base: str) -> None:
    expected = expected_of(row, client, streamed=streamed)
    assert expected is not None
    ask = {"openai": sdk_openai, "responses": sdk_responses, "anthropic": sdk_anthropic}[client]
    with pytest.raises(expected):
        ask(base, row, streamed=streamed)


# What the clients try again by themselves, and what only the asynchronous one notices

RETRIED = (
    "status(code=408)",
    "status(code=409)",
    "status(code=5",
    "rate_limit()",
    "overloaded()",
    "refused()",
    "reset_before_headers()",
    "close_before_headers()",
    "stall(phase='open')",
)


@pytest.mark.matrix
@pytest.mark.parametrize("row", [row for row in TABLE if "retry_after" not in row.fault], ids=lambda row: row.fault)
@pytest.mark.parametrize("client", ["openai", "anthropic"])
def test_a_stream_is_tried_three_times_before_it_began_and_never_after(
    *, row: Row, client: str, provider: FaultyProvider, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in (openai.OpenAI, anthropic.Anthropic):
        monkeypatch.setattr(kind, "_calculate_retry_timeout", lambda *_, **__: 0.0)
    before = provider.request_count
    with contextlib.suppress(Exception):  # how it ends is the business of the table
        if client == "openai":
            with openai.OpenAI(base_url=f"{base}/v1", api_key="x", timeout=timeout_of(row)) as chat:
                list(chat.chat.completions.create(model="m", messages=MESSAGES, stream=True))
        else:
            with anthropic.Anthropic(base_url=base, api_key="x", timeout=timeout_of(row)) as claude:
                list(claude.messages.create(model="m", max_tokens=500, messages=MESSAGES, stream=True))
    hopeless = row.fault == "quota()" and client == "openai"  # 429, though only money helps
    expected = 3 if row.fault.startswith(RETRIED) or hopeless else 1
    assert provider.request_count - before == expected


@pytest.mark.matrix
@pytest.mark.parametrize("row", [row for row in TABLE if row.fault.startswith("keep_alive")], ids=lambda row: row.fault)
def test_only_the_asynchronous_openai_client_notices_keep_alives(row: Row, base: str) -> None:
    settings: dict[str, Any] = {"model": "gpt-4o-mini", "base_url": f"{base}/v1", "stream_chunk_timeout": 0.1}
    model = ChatOpenAI(**settings | KEY)
    with pytest.raises(StreamChunkTimeoutError):
        asyncio.run(acalled(model, row, streamed=True))
    assert isinstance(called(model, row, streamed=True), AIMessage)
