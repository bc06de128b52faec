"""Asking an LLM in every way it can be asked, and what was seen of it."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index_instrumentation import get_dispatcher

from l0_core import _native


def policy(**fields: Any) -> _native.Policy:
    """Return a policy with some fields of its own."""
    return _native.Policy(json.dumps(fields))


QUESTION = [ChatMessage(role=MessageRole.USER, content="What is the capital of France?")]


@dataclass
class Seen:
    """What a consumer saw of one call."""

    chunks: list[Any] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def text(self) -> str:
        """What it reads by putting the pieces together."""
        if len(self.chunks) == 1 and self.chunks[0].delta is None:
            return self.snapshot
        return "".join(chunk.delta or "" for chunk in self.chunks)

    @property
    def snapshot(self) -> str:
        """What it reads off the last chunk."""
        if not self.chunks:
            return ""
        last = self.chunks[-1]
        return (last.message.content or "") if isinstance(last, ChatResponse) else last.text

    @property
    def l0(self) -> dict[str, Any]:
        told: dict[str, Any] = self.chunks[-1].additional_kwargs["l0"]
        return told


@dataclass(frozen=True)
class Way:
    """Sync or async: the same calls by their plain names."""

    name: str

    def __call__(self, llm: Any, method: str, *args: Any, **kwargs: Any) -> Seen:
        seen = Seen()
        try:
            if self.name == "sync":
                answer = getattr(llm, method)(*args, **kwargs)
                for chunk in answer if "stream" in method else [answer]:
                    seen.chunks.append(chunk)
            else:
                asyncio.run(self._await(llm, method, args, kwargs, seen))
        except Exception as error:  # noqa: BLE001 - whatever it is, it was seen
            seen.error = error
        return seen

    async def _await(self, llm: Any, method: str, args: Any, kwargs: Any, seen: Seen) -> None:
        answer = await getattr(llm, "a" + method)(*args, **kwargs)
        if "stream" in method:
            async for chunk in answer:
                seen.chunks.append(chunk)
        else:
            seen.chunks.append(answer)


class Events(BaseEventHandler):
    """Keeps what the dispatcher reports."""

    seen: list[Any] = []  # noqa: RUF012 - a field of a pydantic model

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.seen.append(event)

    @property
    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.seen]


class Spans(SimpleSpanHandler):
    """Keeps spans, and who is whose child."""

    @property
    def tree(self) -> list[tuple[str, str | None]]:
        def name(id_: str | None) -> str | None:
            return id_ and id_.partition("-")[0]

        closed = [*self.completed_spans, *self.dropped_spans]
        return sorted(((name(span.id_) or "", name(span.parent_id)) for span in closed), key=str)


@contextmanager
def listening() -> Iterator[tuple[Events, Spans]]:
    """Listen to all that LlamaIndex reports."""
    root = get_dispatcher()
    events, spans = Events(seen=[]), Spans()
    root.add_event_handler(events)
    root.add_span_handler(spans)
    try:
        yield events, spans
    finally:
        root.event_handlers.remove(events)
        root.span_handlers.remove(spans)
