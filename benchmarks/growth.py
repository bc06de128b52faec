"""What a chunk costs in a short answer and in a long one: each layer, and what users would take instead."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

from langchain_core.language_models import BaseChatModel
from ready import Ready
from row import Row, in_turn

import l0_core
from l0_core import Journal, Policy, guards
from l0_langchain import L0ChatModel

SIZES = (2_000, 20_000, 200_000)
ROUNDS = 5
PIECES = (
    "The",
    " Seine",
    " rises",
    " in",
    " Burgundy",
    ",",
    " near",
    " Dijon",
    ",",
    " and",
    " passes",
    " Paris",
    ".\n",
)
GUARDED = Policy(guards=[guards.not_empty(), guards.patterns(["BEGIN PRIVATE KEY"]), guards.secrets()])


async def _words(count: int) -> AsyncIterator[str]:
    for place in range(count):
        yield PIECES[place % len(PIECES)]


def _sync_words(count: int) -> Iterator[str]:
    for place in range(count):
        yield PIECES[place % len(PIECES)]


async def _waited_for(chunks: Any) -> AsyncIterator[str]:
    """Put a clock around every chunk, as is done by hand."""
    with suppress(StopAsyncIteration):
        while True:
            yield await asyncio.wait_for(anext(chunks), 30)


def _async(make: Callable[[int], Any], count: int) -> float:
    """Nanoseconds a chunk."""

    async def main() -> float:
        chunks = make(count)
        started = process_time()
        async for _ in chunks:
            pass
        return (process_time() - started) / count * 1e9

    return asyncio.run(main())


def _sync(make: Callable[[int], Any], count: int) -> float:
    chunks = make(count)
    started = process_time()
    for _ in chunks:
        pass
    return (process_time() - started) / count * 1e9


def _model(wrap: Callable[[BaseChatModel], Any]) -> Callable[[int], Any]:
    return lambda count: wrap(Ready(count=count)).astream("?")


def rows() -> Iterator[Row]:
    """Yield what each adds to a chunk, and how that grows with the answer."""
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "l0.db", durability="fast") as journal:
        # What is measured, and what it is measured over.
        layers: dict[str, tuple[Any, Any, Any]] = {
            "asyncio.wait_for a chunk": (_async, lambda n: _waited_for(_words(n)), _words),
            "l0_core.astream, all clocks": (_async, lambda n: l0_core.astream(lambda _: _words(n)), _words),
            "l0_core.astream, three guards": (
                _async,
                lambda n: l0_core.astream(lambda _: _words(n), policy=GUARDED),
                _words,
            ),
            "l0_core.astream, a journal": (
                _async,
                lambda n: l0_core.astream(lambda _: _words(n), journal=journal),
                _words,
            ),
            "l0_core.stream, read in a thread": (
                _sync,
                lambda n: l0_core.stream(lambda _: _sync_words(n)),
                _sync_words,
            ),
            "LangChain's own astream": (_async, _model(lambda model: model), _words),
            "with_fallbacks over it": (
                _async,
                _model(lambda model: model.with_fallbacks([model])),
                _model(lambda model: model),
            ),
            "L0ChatModel over it": (
                _async,
                _model(lambda model: L0ChatModel(model=model)),
                _model(lambda model: model),
            ),
        }
        for name, (run, with_it, without) in layers.items():
            candidates = {f"with {n}": partial(run, with_it, n) for n in SIZES}
            candidates |= {f"without {n}": partial(run, without, n) for n in SIZES}
            figures = in_turn(candidates, ROUNDS)
            added = {n: figures[f"with {n}"] - figures[f"without {n}"] for n in SIZES}
            for n, value in added.items():
                yield Row("growth", name, value, "ns", column=f"{n:,}")
            yield Row("growth", name, added[SIZES[-1]] / added[SIZES[0]], "ratio", column="growth")
