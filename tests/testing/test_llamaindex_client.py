"""What LlamaIndex's own client makes of a fault: most of them it does not notice."""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.llms.openai import OpenAI

from l0_core.testing import FaultyProvider, faults, samples

# fault | streamed | called. A streamed outcome has the number of chunks that came before it.
TABLE: Final = """
ok() | right | right
status(code=401) | openai.AuthenticationError after 0 | openai.AuthenticationError
context_overflow() | openai.BadRequestError after 0 | openai.BadRequestError
rate_limit(retry_after=1) | openai.RateLimitError after 0 | openai.RateLimitError
quota() | openai.RateLimitError after 0 | openai.RateLimitError
status(code=500) | openai.InternalServerError after 0 | openai.InternalServerError
reset_before_headers() | openai.APIConnectionError after 0 | openai.APIConnectionError
reset_after(chunks=4) | httpx.ReadError after 5 | openai.APIConnectionError
close_after(chunks=4) | httpx.RemoteProtocolError after 5 | openai.APIConnectionError
eof_after(chunks=4) | cut | json.JSONDecodeError
stall(phase='open') | openai.APITimeoutError after 0 | openai.APITimeoutError
stall(phase='text', chunks=4) | httpx.ReadTimeout after 5 | openai.APITimeoutError
keep_alive_after(chunks=4, seconds=0.4) | right | right
malformed_event(chunks=4) | json.JSONDecodeError after 5 | json.JSONDecodeError
error_event(chunks=4) | openai.APIError after 5 | TypeError
empty_200() | empty | json.JSONDecodeError
done_only() | empty | IndexError
html_200() | empty | AttributeError
no_done() | right | right
no_finish(chunks=4) | cut | cut
finish_length(chunks=4) | cut | cut
finish_content_filter(chunks=4) | cut | cut
duplicate_tail() | wrong | wrong
""".strip().splitlines()
SAMPLE: Final = ("reset_after", "eof_after", "empty_200")
ROWS: Final = [
    pytest.param(
        *map(str.strip, row.split(" | ")),
        id=row.split(" | ")[0],
        marks=() if row.startswith(SAMPLE) else pytest.mark.matrix,
    )
    for row in TABLE
]
MESSAGES: Final = [ChatMessage(role="user", content="Hi")]

numbers = itertools.count()


@pytest.fixture(scope="module")
def provider() -> Iterator[FaultyProvider]:
    with FaultyProvider() as provider:
        yield provider


def client(provider: FaultyProvider, fault: str) -> OpenAI:
    patience = 0.25 if fault.startswith(("stall", "keep_alive")) else 20.0
    base = f"{provider.url}/{next(numbers)}/v1"
    return OpenAI(model="gpt-4o-mini", api_base=base, api_key="x", max_retries=0, timeout=patience)


def outcome(ask: Callable[[list[str]], str | None], provider: FaultyProvider) -> str:
    """`ask` is given a list that grows with every chunk, and returns the text."""
    chunks: list[str] = []
    try:
        text = ask(chunks) or ""
    except Exception as error:  # noqa: BLE001 - whatever comes out is what is asked for
        kind = type(error)
        module = kind.__module__.partition(".")[0]
        name = kind.__name__ if module == "builtins" else f"{module}.{kind.__name__}"
        return f"{name} after {len(chunks)}"
    if provider.is_right(text):
        return "right"
    if not text:
        return "empty"
    return "cut" if samples.PROSE.canonical.startswith(text) else "wrong"


def streamed(llm: OpenAI, chunks: list[str]) -> str:
    chunks.extend(chunk.delta or "" for chunk in llm.stream_chat(MESSAGES))
    return "".join(chunks)


async def astreamed(llm: OpenAI, chunks: list[str]) -> str:
    try:
        async for chunk in await llm.astream_chat(MESSAGES):
            chunks.append(chunk.delta or "")  # noqa: PERF401 - what came before an exception counts
    finally:
        await llm._get_aclient().close()
    return "".join(chunks)


async def acalled(llm: OpenAI) -> Any:
    try:
        return (await llm.achat(MESSAGES)).message.content
    finally:
        await llm._get_aclient().close()


@pytest.mark.parametrize(("fault", "stream", "call"), ROWS)
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_llamaindex_makes_of_a_fault_what_the_table_says(
    *, provider: FaultyProvider, fault: str, stream: str, call: str, is_async: bool
) -> None:
    provider.script(faults.parse(fault))
    asks: dict[str, Any] = {
        "sync stream": lambda chunks: streamed(client(provider, fault), chunks),
        "sync call": lambda _chunks: client(provider, fault).chat(MESSAGES).message.content,
        "async stream": lambda chunks: asyncio.run(astreamed(client(provider, fault), chunks)),
        "async call": lambda _chunks: asyncio.run(acalled(client(provider, fault))),
    }
    way = "async" if is_async else "sync"
    assert outcome(asks[f"{way} stream"], provider) == stream
    assert outcome(asks[f"{way} call"], provider).removesuffix(" after 0") == call
