"""What a program is told that asked for it: its reader waits, or is to discard what it was shown.

Both go out as custom events of LangChain, and into the `custom` stream of a graph.
"""

import logging
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import aclosing, closing, suppress
from dataclasses import replace
from typing import Any, cast

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig, ensure_config

from l0_core import Lifecycle

_log = logging.getLogger("l0")


class Reset(AIMessageChunk):
    """Discard what you were given of this answer: it begins anew.

    Added to chunks before it, it discards them itself. Only where the policy has the rung `reset` and the call's config
    says `{"configurable": {"l0_events": True}}`.
    """

    def __radd__(self, before: AIMessageChunk) -> AIMessageChunk:
        return AIMessageChunk(content=self.content, id=before.id)


class First(ChatGenerationChunk):
    """The first chunk of an answer that may begin anew: added up, only what follows the last reset counts."""

    def __add__(self, other: ChatGenerationChunk | list[ChatGenerationChunk]) -> ChatGenerationChunk:
        others = other if isinstance(other, list) else [other]
        resets = [place for place, chunk in enumerate(others) if isinstance(chunk.message, Reset)]
        if not resets:
            return super().__add__(other)
        begins, *rest = others[resets[-1] :]
        return begins + rest if rest else begins


class Events:
    """What one call tells of itself. Inside a run of the framework's there is somebody to tell; else nobody hears it.

    Args:
        is_async: Whether the call is awaited.
    """

    def __init__(self, *, is_async: bool) -> None:
        self._is_async = is_async
        self._config = ensure_config()
        self._write = _writer(self._config)
        self._session_id = ""

    def heard_by(self, on: Lifecycle | None) -> Lifecycle:
        """Return listeners that tell, beside the caller's own."""
        on = on or Lifecycle()
        return replace(
            on,
            on_start=_both(self._began, on.on_start),
            on_retry=_both(self._retried, on.on_retry),
            on_fallback=_both(self._fell_back, on.on_fallback),
        )

    def follow(self, chunks: Iterator[ChatGenerationChunk]) -> Iterator[ChatGenerationChunk]:
        """Yield a stream's chunks; tell before one that discards the others."""
        is_first = True
        with closing(cast("Generator[ChatGenerationChunk]", chunks)):
            for chunk in chunks:
                if isinstance(chunk.message, Reset):
                    self._tell("reset", self._session_id)
                yield _first(chunk) if is_first else chunk
                is_first = False

    async def afollow(self, chunks: AsyncIterator[ChatGenerationChunk]) -> AsyncIterator[ChatGenerationChunk]:
        """Yield a stream's chunks; tell before one that discards the others."""
        is_first = True
        async with aclosing(cast("AsyncGenerator[ChatGenerationChunk]", chunks)):
            async for chunk in chunks:
                if isinstance(chunk.message, Reset):
                    told = self._tell("reset", self._session_id)
                    if told is not None:
                        await told
                yield _first(chunk) if is_first else chunk
                is_first = False

    def _began(self, session_id: str) -> None:
        self._session_id = session_id

    def _retried(self, session_id: str, target: str, _: str, seconds: float) -> Awaitable[None] | None:
        return self._tell("reconnecting", session_id, target=target, seconds=seconds)

    def _fell_back(self, session_id: str, _: str, target: str) -> Awaitable[None] | None:
        return self._tell("reconnecting", session_id, target=target, seconds=0.0)

    def _tell(self, what: str, session_id: str, **more: object) -> Awaitable[None] | None:
        said = {"l0": what, "session_id": session_id, **more}
        if self._write is not None:
            self._write(said)
        if self._is_async:
            return self._adispatch(f"l0_{what}", said)
        with suppress(RuntimeError):  # A model that is called by itself: there is no run the event could belong to.
            dispatch_custom_event(f"l0_{what}", said, config=self._config)
        return None

    async def _adispatch(self, name: str, said: Mapping[str, object]) -> None:
        with suppress(RuntimeError):  # As above.
            await adispatch_custom_event(name, said, config=self._config)


def _first(chunk: ChatGenerationChunk) -> ChatGenerationChunk:
    return First(message=chunk.message, generation_info=chunk.generation_info)


def _both(mine: Callable[..., Any], theirs: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return a listener that tells two."""
    if theirs is None:
        return mine

    def listener(*facts: Any) -> Any:
        told = mine(*facts)
        try:
            heard = theirs(*facts)
        except Exception as error:  # noqa: BLE001 - a listener is a guest
            _log.warning("a listener failed: %s", type(error).__name__)
            heard = None
        awaited = [each for each in (told, heard) if isinstance(each, Awaitable)]
        return _all(awaited) if awaited else None

    return listener


async def _all(events: list[Awaitable[Any]]) -> None:
    for event in events:
        await event


def _writer(config: RunnableConfig) -> Callable[[Any], None] | None:
    """Return what writes into the `custom` stream of the graph around, if there is one, without importing graphs."""
    graphs = sys.modules.get("langgraph.config")
    if graphs is None or not config.get("configurable"):
        return None
    try:
        write: Callable[[Any], None] = graphs.get_stream_writer()
    except (RuntimeError, KeyError, AttributeError):
        return None
    return write
