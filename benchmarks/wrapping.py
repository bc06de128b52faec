"""What wrapping, watching and the framework's own retries add to a model that costs nothing: processor time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from time import process_time
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from row import Row, in_turn

import l0_core
from l0_core import Policy, guards
from l0_langchain import L0CallbackHandler, L0ChatModel

COUNT = 2_000
CALLS = 200
ROUNDS = 7
CHUNKS = [ChatGenerationChunk(message=AIMessageChunk(content="token ", id="run-1")) for _ in range(COUNT)]
GUARDED = Policy(guards=[guards.patterns(["BEGIN PRIVATE KEY"]), guards.not_empty()])


class Ready(BaseChatModel):
    """Gives chunks that were made before: what is measured is everything else."""

    @property
    def _llm_type(self) -> str:
        return "ready"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:  # noqa: ARG002 - it is asked as any is
        return ChatResult(generations=[ChatGeneration(message=AIMessage("It is Paris."))])

    def _stream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:  # noqa: ARG002 - as above
        yield from CHUNKS

    async def _astream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:  # noqa: ARG002 - as above
        for chunk in CHUNKS:
            yield chunk


class Silent(BaseCallbackHandler):
    """Does nothing, inline."""

    run_inline = True


def _stream(model: Any, handlers: list[BaseCallbackHandler]) -> float:
    """Microseconds a chunk."""
    began = process_time()
    for _ in model.stream("x", {"callbacks": handlers}):
        pass
    return (process_time() - began) / COUNT * 1e6


def _astream(model: Any, handlers: list[BaseCallbackHandler]) -> float:
    async def main() -> float:
        began = process_time()
        async for _ in model.astream("x", {"callbacks": handlers}):
            pass
        return (process_time() - began) / COUNT * 1e6

    return asyncio.run(main())


def _hop(stall_guard: Any) -> float:
    """Microseconds a chunk of a stream that costs nothing."""
    began = process_time()
    for _ in l0_core.stream(lambda _: iter(["token "] * COUNT), stall_guard=stall_guard):
        pass
    return (process_time() - began) / COUNT * 1e6


def _invoke(model: Any) -> float:
    """Microseconds a call."""
    began = process_time()
    for _ in range(CALLS):
        model.invoke("x")
    return (process_time() - began) / CALLS * 1e6


def rows() -> Iterator[Row]:
    """Measure all in turn; what is limited is what is added, in the same run."""
    bare = Ready()
    wrapped, guarded = L0ChatModel(model=bare), L0ChatModel(model=bare, policy=GUARDED)
    yield from _streams("stream", _stream, bare, wrapped, guarded)
    yield from _streams("astream", _astream, bare, wrapped, guarded)
    retried, fallen = bare.with_retry(), bare.with_fallbacks([bare])
    models = {"bare": bare, "L0ChatModel": wrapped, "with_retry": retried, "with_fallbacks": fallen}
    figures = in_turn({name: partial(_invoke, model) for name, model in models.items()}, ROUNDS)
    for name, figure in figures.items():
        yield Row("wrapping", f"invoke, {name}", figure, "us")
    yield Row("wrapping", "invoke, L0ChatModel adds", figures["L0ChatModel"] - figures["bare"], "us", 200)


def _streams(
    name: str, measure: Callable[[Any, list[BaseCallbackHandler]], float], bare: Any, wrapped: Any, guarded: Any
) -> Iterator[Row]:
    watching = partial(L0CallbackHandler, guards=GUARDED.guards, tokens_max=1_000_000, deadline=3_600)
    figures = in_turn(
        {
            "a reader's thread": lambda: _hop("thread"),
            "no thread": lambda: _hop("off"),
            "bare": lambda: measure(bare, []),
            "L0ChatModel": lambda: measure(wrapped, []),
            "L0ChatModel, guards": lambda: measure(guarded, []),
            "with_retry": lambda: measure(bare.with_retry(), []),
            "with_fallbacks": lambda: measure(bare.with_fallbacks([bare]), []),
            "bare, a handler that does nothing": lambda: measure(bare, [Silent()]),
            "bare, L0CallbackHandler": lambda: measure(bare, [L0CallbackHandler()]),
            "bare, L0CallbackHandler, guards and bounds": lambda: measure(bare, [watching()]),
            "L0ChatModel, a handler that does nothing": lambda: measure(wrapped, [Silent()]),
        },
        ROUNDS,
    )
    hop = max(0.0, figures.pop("a reader's thread") - figures.pop("no thread")) if name == "stream" else 0.0
    for case, figure in figures.items():
        yield Row("wrapping", f"{name}, {case}", figure, "us")
    silent = "bare, a handler that does nothing"
    for case, against, limit in (
        ("L0ChatModel", "bare", 1.5 + hop),  # A sync stream is read in a thread, whatever it is a stream of.
        ("L0ChatModel, guards", "bare", 3.0 + hop),
        ("bare, L0CallbackHandler", silent, 5.0),
        ("bare, L0CallbackHandler, guards and bounds", silent, 5.0),
    ):
        yield Row("wrapping", f"{name}, {case} adds", figures[case] - figures[against], "us", limit)
