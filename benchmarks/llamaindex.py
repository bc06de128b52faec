"""What `L0LLM` adds to a chunk, beside the LLM alone, in one run."""
# ruff: noqa: ARG002, D102 - the source has the methods that every LLM has

import asyncio
import json
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from hop import through_a_thread
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    TextBlock,
)
from llama_index.core.llms import LLM
from row import Row, in_turn

from l0_core import Journal, Policy, _native, guards
from l0_llamaindex import L0LLM

SIZES = (2_000, 20_000)
ROUNDS = 7
QUESTION = [ChatMessage(role=MessageRole.USER, content="?")]
BARE = _native.Policy("{}")
GUARDED = Policy(guards=[guards.not_empty(), guards.patterns(["BEGIN PRIVATE KEY"]), guards.repetition()])


def _words(count: int) -> Iterator[str]:
    for number in range(count):
        yield f"{number:05x} "


class Source(LLM):
    """Streams tokens with a growing snapshot, as integrations do, and nothing else: no events, no client."""

    count: int = 0

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="source", is_chat_model=True)

    def _chunks(self) -> Iterator[ChatResponse]:
        grown = ""
        for word in _words(self.count):
            grown += word
            message = ChatMessage(role=MessageRole.ASSISTANT, blocks=[TextBlock(text=grown)])
            yield ChatResponse(message=message, delta=word)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        yield from self._chunks()

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        async def gen() -> AsyncGenerator[ChatResponse, None]:
            for chunk in self._chunks():
                yield chunk

        return gen()

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        grown = ""
        for word in _words(self.count):
            grown += word
            yield CompletionResponse(text=grown, delta=word)

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        raise NotImplementedError

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        raise NotImplementedError

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        raise NotImplementedError

    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        raise NotImplementedError

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        raise NotImplementedError


class _InAThread(Source):
    """The same, read in the plainest thread."""

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        yield from through_a_thread(lambda: super(_InAThread, self).stream_chat(messages))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        yield from through_a_thread(lambda: super(_InAThread, self).stream_complete(prompt))


def _chat(llm: Any) -> float:
    chunks = llm.stream_chat(QUESTION)
    started = process_time()
    for _ in chunks:
        pass
    return (process_time() - started) / int(llm.count) * 1e9


def _complete(llm: Any) -> float:
    chunks = llm.stream_complete("?")
    started = process_time()
    for _ in chunks:
        pass
    return (process_time() - started) / int(llm.count) * 1e9


def _achat(llm: Any) -> float:
    async def main() -> float:
        chunks = await llm.astream_chat(QUESTION)
        started = process_time()
        async for _ in chunks:
            pass
        return (process_time() - started) / int(llm.count) * 1e9

    return asyncio.run(main())


WAYS: dict[str, Callable[[Any], float]] = {"stream_chat": _chat, "astream_chat": _achat, "stream_complete": _complete}


def _added() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "l0.db") as journal:
        for way, run in WAYS.items():
            yield from _added_to(way, run, journal)


def _added_to(way: str, run: Callable[[Any], float], journal: Journal) -> Iterator[Row]:
    policies: dict[str, tuple[Any, Any, float]] = {
        "bare policy": (BARE, None, 2_000),
        "with guards and a journal": (GUARDED, journal, 3_000),
    }
    reads: dict[Any, str] = (
        {"thread": ", reader thread", "off": ", read directly"} if way != "astream_chat" else {"off": ""}
    )
    candidates: dict[str, Callable[[], float]] = {f"alone {n}": partial(run, Source(count=n)) for n in SIZES}
    if "thread" in reads:
        candidates["in a thread"] = partial(run, _InAThread(count=SIZES[-1]))
    for name, (policy, kept, _) in policies.items():
        for guard in reads:
            for n in SIZES:
                wrapped = L0LLM(llm=Source(count=n), policy=policy, journal=kept, stall_guard=guard)
                candidates[f"{name} {guard} {n}"] = partial(run, wrapped)
    figures = in_turn(candidates, ROUNDS)
    hop = 0.0
    if "thread" in reads:  # A sync stream is read in a thread, whatever it is a stream of, and whoever does it.
        hop = max(0.0, figures["in a thread"] - figures[f"alone {SIZES[-1]}"])
        yield Row("llamaindex", f"{way}, read in a thread by itself: added a chunk", hop, "ns")
    for name, (_, _, limit) in policies.items():
        for guard, read in reads.items():
            added = {n: figures[f"{name} {guard} {n}"] - figures[f"alone {n}"] for n in SIZES}
            what, most = f"{way}, {name}{read}", limit + (hop if guard == "thread" else 0)
            yield Row("llamaindex", f"{what}: added a chunk", added[20_000], "ns", most)
            yield Row("llamaindex", f"{what}: 20,000 chunks over 2,000", added[20_000] / added[2_000], "ratio", 1.5)


def _calls() -> Iterator[Row]:
    """A stream of one chunk: what every call costs, whatever comes of it."""

    def timed(llm: Any) -> float:
        started = perf_counter()
        for _ in range(50):
            for _ in llm.stream_chat(QUESTION):
                pass
        return (perf_counter() - started) / 50 * 1e6

    llms = {"alone": Source(count=1), "L0LLM": L0LLM(llm=Source(count=1))}
    figures = in_turn({name: partial(timed, llm) for name, llm in llms.items()}, ROUNDS)
    yield Row("llamaindex", "stream_chat: a call, added", figures["L0LLM"] - figures["alone"], "us", 1_000)


def rows() -> Iterator[Row]:
    """Measure."""
    yield from _added()
    yield from _calls()


if __name__ == "__main__":
    print(json.dumps([row.as_json() for row in rows()], indent=1))
