"""What wrapping, watching and the framework's own retries add to a model that costs nothing: processor time."""

import asyncio
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

from hop import Aside, through_a_thread
from langchain_core.callbacks import BaseCallbackHandler
from ready import CHUNKS, Ready
from row import Row, in_turn

from l0_core import Journal, Policy, guards
from l0_langchain import L0CallbackHandler, L0ChatModel

COUNT = len(CHUNKS)
CALLS = 200
ROUNDS = 7
GUARDED = Policy(guards=[guards.patterns(["BEGIN PRIVATE KEY"]), guards.not_empty()])


class Silent(BaseCallbackHandler):
    """Does nothing, inline."""

    run_inline = True


def _stream(model: Any, handlers: list[BaseCallbackHandler]) -> float:
    """Microseconds a chunk."""
    return _read(model.stream("x", {"callbacks": handlers}))


def _read(chunks: Iterable[Any]) -> float:
    began = process_time()
    for _ in chunks:
        pass
    return (process_time() - began) / COUNT * 1e6


def _astream(model: Any, handlers: list[BaseCallbackHandler]) -> float:
    async def main() -> float:
        began = process_time()
        async for _ in model.astream("x", {"callbacks": handlers}):
            pass
        return (process_time() - began) / COUNT * 1e6

    return asyncio.run(main())


def _invoke(model: Any) -> float:
    """Microseconds a call."""
    began = process_time()
    for _ in range(CALLS):
        model.invoke("x")
    return (process_time() - began) / CALLS * 1e6


def rows() -> Iterator[Row]:
    """Measure all in turn; what is limited is what is added, in the same run."""
    bare = Ready()
    wrapped = L0ChatModel(model=bare)
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "l0.db") as journal:
        guarded = L0ChatModel(model=bare, policy=GUARDED, journal=journal)
        yield from _streams("stream", _stream, bare, wrapped, guarded)
        yield from _streams("astream", _astream, bare, wrapped, guarded)
    retried, fallen = bare.with_retry(), bare.with_fallbacks([bare])
    models = {
        "bare": bare,
        "bare, called in a thread": Aside(lambda: bare.invoke("x")),
        "L0ChatModel": wrapped,
        "L0ChatModel, read directly": L0ChatModel(model=bare, stall_guard="off"),
        "with_retry": retried,
        "with_fallbacks": fallen,
    }
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
            "bare": lambda: measure(bare, []),
            "bare, read in a thread": lambda: _read(through_a_thread(lambda: bare.stream("x"))),
            "L0ChatModel": lambda: measure(wrapped, []),
            "L0ChatModel, guards and a journal": lambda: measure(guarded, []),
            "with_retry": lambda: measure(bare.with_retry(), []),
            "with_fallbacks": lambda: measure(bare.with_fallbacks([bare]), []),
            "bare, a handler that does nothing": lambda: measure(bare, [Silent()]),
            "bare, L0CallbackHandler": lambda: measure(bare, [L0CallbackHandler()]),
            "bare, L0CallbackHandler, guards and bounds": lambda: measure(bare, [watching()]),
            "L0ChatModel, a handler that does nothing": lambda: measure(wrapped, [Silent()]),
        },
        ROUNDS,
    )
    # A sync stream is read in a thread, whatever it is a stream of, and whoever does it.
    in_a_thread = figures.pop("bare, read in a thread")
    hop = 0.0
    if name == "stream":
        hop = max(0.0, in_a_thread - figures["bare"])
        yield Row("wrapping", "stream, bare, read in a thread adds", hop, "us")
    for case, figure in figures.items():
        yield Row("wrapping", f"{name}, {case}", figure, "us")
    silent = "bare, a handler that does nothing"
    for case, against, limit in (
        ("L0ChatModel", "bare", 1.5 + hop),
        ("L0ChatModel, guards and a journal", "bare", 3.0 + hop),
        ("bare, L0CallbackHandler", silent, 5.0),
        ("bare, L0CallbackHandler, guards and bounds", silent, 5.0),
    ):
        yield Row("wrapping", f"{name}, {case} adds", figures[case] - figures[against], "us", limit)
