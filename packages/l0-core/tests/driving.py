"""The three ways to drive a session, and what a consumer saw of it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import l0_core
from l0_core import _native

Source = Callable[[l0_core.Attempt], Iterator[Any]]


@dataclass
class Run:
    """What a consumer saw of a session."""

    chunks: list[Any] = field(default_factory=list)
    error: BaseException | None = None
    result: l0_core.Result | None = None

    @property
    def text(self) -> str:
        return "".join(chunk if isinstance(chunk, str) else chunk.text for chunk in self.chunks)


@dataclass(frozen=True)
class Driver:
    """One way to drive a session; sources are written once, as plain generators."""

    name: str

    def __call__(self, source: Any, *, fallbacks: tuple[Any, ...] = (), **options: Any) -> Run:
        if self.name == "async":
            return asyncio.run(self._await(source, fallbacks, options))
        guard: Literal["thread", "off"] = "off" if self.name == "sync-off" else "thread"
        run = Run(options.pop("chunks", []))
        stream = l0_core.stream(source, fallbacks=fallbacks, stall_guard=guard, **options)
        try:
            for chunk in stream:
                run.chunks.append(chunk)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the consumer saw
            run.error = error
        run.result = stream.result
        return run

    async def _await(self, source: Any, fallbacks: tuple[Any, ...], options: dict[str, Any]) -> Run:
        run = Run(options.pop("chunks", []))
        stream = l0_core.astream(_async(source), fallbacks=tuple(map(_async, fallbacks)), **options)
        try:
            async for chunk in stream:
                run.chunks.append(chunk)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the consumer saw
            run.error = error
        run.result = stream.result
        return run


def _async(source: Any) -> Any:
    if isinstance(source, l0_core.Target):
        return replace(source, open=_async(source.open), name=source.name or source.label(0))

    async def pull(chunks: Iterator[Any]) -> AsyncIterator[Any]:
        for chunk in chunks:
            yield chunk

    def open_(attempt: l0_core.Attempt) -> Any:
        chunks = source(attempt)
        return pull(chunks) if isinstance(chunks, Iterator) else chunks

    open_.__qualname__ = getattr(source, "__qualname__", "source")
    return open_


def policy(**fields: Any) -> _native.Policy:
    return _native.Policy(json.dumps(fields))
