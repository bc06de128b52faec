"""`L0EventHandler`: what any engine, agent or workflow does, written down as a tree.

It listens to LlamaIndex's instrumentation: every span is a step of a run, under the span around it. Nothing that it
listens to is changed, and nothing that goes wrong in it is seen by anybody but the log.
"""

import inspect
import json
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import AsyncGeneratorType, GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMCompletionEndEvent
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.llms import LLM
from llama_index.core.tools import BaseTool
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.span import BaseSpan
from pydantic import PrivateAttr

from l0_core._codec import Results
from l0_core._errors import StepNotSerializable
from l0_core._keys import form_of
from l0_core._run import Frame, Run, Taken, run
from l0_llamaindex._attempts import PRIMITIVES
from l0_llamaindex._journal import journal_of

if TYPE_CHECKING:
    from l0_core._journal import JournalLike

_log = logging.getLogger("l0")

TEXT_CHARS_MAX: Final = 100_000
"""Of a result that cannot be read back, what can be seen of it is kept, up to this."""

_KINDS: Final = (
    (LLM, "model"),
    (BaseRetriever, "retrieval"),
    (BaseEmbedding, "embedding"),
    (BaseTool, "tool"),
)


IDLE_MAX: Final = 16
"""Runs whose outermost span has ended and that are kept open at most: threads they started may yet begin spans."""


@dataclass(slots=True, eq=False)
class _Observed:
    """What happens under one outermost span."""

    run: Run
    open: int = 0
    error: BaseException | None = None
    ended: dict[str, str] = field(default_factory=dict)
    """Keys of the spans that have ended, by id."""


@dataclass(slots=True)
class _Span:
    """A span that has not ended."""

    observed: _Observed
    taken: Taken
    streams: bool = field(default=False)
    """Whether it has returned a stream, whose end an event will tell."""


class L0EventHandler(BaseEventHandler):
    """Writes down what any engine, agent or workflow does, without its being changed.

    Every outermost call is a run of the journal, and every span inside it a step under the one around it, with what it
    was given, what came of it and how long it took. `l0 runs` and `l0 show` print them.

    Args:
        journal: Where it is written: a `Journal`, or a file; that of `L0_JOURNAL` where nothing is said.

    Example:
        >>> import l0_core
        >>> from llama_index.core.llms import MockLLM
        >>> from l0_llamaindex import L0EventHandler
        >>> journal = l0_core.Journal.memory()
        >>> with L0EventHandler(journal=journal):
        ...     _ = MockLLM(max_tokens=3).complete("Hello")
        >>> [row["name"] for row in journal.steps()]
        ['MockLLM.complete']
    """

    _spans: "_Spans" = PrivateAttr()

    def __init__(self, *, journal: "JournalLike" = None) -> None:
        super().__init__()
        self._spans = _Spans()
        self._spans._recorder = _Recorder(journal)  # noqa: SLF001 - its other half

    @classmethod
    def class_name(cls) -> str:
        """Return the name LlamaIndex knows it by."""
        return "L0EventHandler"

    def listen(self) -> Self:
        """Begin to listen."""
        root = get_dispatcher()
        root.add_event_handler(self)
        root.add_span_handler(self._spans)
        return self

    def leave(self) -> None:
        """Listen no more. What has not ended by then is written down as far as it came."""
        root = get_dispatcher()
        with suppress(ValueError):
            root.event_handlers.remove(self)
        with suppress(ValueError):
            root.span_handlers.remove(self._spans)
        self._spans._recorder.leave()  # noqa: SLF001 - its other half

    def __enter__(self) -> Self:
        return self.listen()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:  # noqa: ARG002 - as LlamaIndex calls it
        """Note how a stream ended. LlamaIndex calls it."""
        recorder = self._spans._recorder  # noqa: SLF001 - its other half
        if isinstance(event, LLMChatEndEvent | LLMCompletionEndEvent):
            recorder.ended(event.span_id, event.response)
        elif isinstance(event, ExceptionEvent):
            recorder.failed(event.span_id, event.exception)


class _Spans(BaseSpanHandler[BaseSpan]):
    """The half that hears of spans."""

    _recorder: "_Recorder" = PrivateAttr()

    @classmethod
    def class_name(cls) -> str:
        return "L0SpanHandler"

    def new_span(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        parent_span_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ARG002 - as LlamaIndex calls it
    ) -> BaseSpan | None:
        self._recorder.began(id_, bound_args, instance, parent_span_id, tags or {})
        return None  # Nothing is kept here.

    def prepare_to_exit_span(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,  # noqa: ARG002 - as LlamaIndex calls it
        instance: Any | None = None,  # noqa: ARG002
        result: Any | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> BaseSpan | None:
        self._recorder.returned(id_, result)
        return None

    def prepare_to_drop_span(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,  # noqa: ARG002 - as LlamaIndex calls it
        instance: Any | None = None,  # noqa: ARG002
        err: BaseException | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> BaseSpan | None:
        self._recorder.failed(id_, err)
        return None


def _contained(method: Callable[..., None]) -> Callable[..., None]:
    """Let nothing out: a listener is a guest."""

    def contained(*args: Any) -> None:
        try:
            method(*args)
        except Exception as error:  # noqa: BLE001 - whatever it is
            _log.warning("L0EventHandler: a span was not written down: %s", type(error).__name__)

    return contained


class _Recorder:
    """Writes spans down. Threads share it."""

    def __init__(self, journal: "JournalLike") -> None:
        self._journal = journal_of(journal)
        self._open: dict[str, _Span] = {}
        self._known: list[_Observed] = []
        self._lock = threading.Lock()

    @_contained
    def began(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None,
        parent_id: str | None,
        tags: dict[str, Any],
    ) -> None:
        observed, parent = self._around(id_, parent_id or "")
        frame = Frame(observed.run, parent)
        given = {"args": dict(bound_args.arguments), **({"tags": tags} if tags else {})}
        kind = next((kind for base, kind in _KINDS if isinstance(instance, base)), "function")
        taken = observed.run.take(frame, _name(id_), form_of(given), kind=kind, side_effect=False)
        taken.intend()
        with self._lock:
            self._open[id_] = _Span(observed, taken)

    def _around(self, id_: str, parent_id: str) -> tuple[_Observed, str]:
        """Return what a span is observed in, and the key of the one around it."""
        with self._lock:
            parent = self._open.get(parent_id)
            if parent is not None:
                parent.observed.open += 1
                return parent.observed, parent.taken.key.id
            for known in self._known:
                if parent_id in known.ended:
                    known.open += 1
                    return known, known.ended[parent_id]
        made = self._observed(id_)
        with self._lock:
            made.open += 1
            self._known.append(made)
        return made, ""

    def _observed(self, id_: str) -> _Observed:
        made = run(id_, journal=self._journal, mode="record")
        assert isinstance(made, Run), "it is nested in nothing"  # noqa: S101 - as `mode` says
        made._open()  # noqa: SLF001 - it is entered by nobody: what happens in it is only looked at
        return _Observed(made)

    @_contained
    def returned(self, id_: str, result: Any) -> None:
        with self._lock:
            span = self._open.get(id_)
            if span is None:
                return
            span.streams = isinstance(result, GeneratorType | AsyncGeneratorType) and _is_told_of(id_)
            if span.streams:
                return
        self._end(id_, lambda taken: taken.finish(_written(taken, result)))

    @_contained
    def ended(self, id_: str | None, response: Any) -> None:
        with self._lock:
            span = self._open.get(id_ or "")
            if span is None or not span.streams:
                return
        self._end(id_ or "", lambda taken: taken.finish(_written(taken, response)))

    @_contained
    def failed(self, id_: str | None, error: BaseException | None) -> None:
        if not isinstance(error, Exception):
            error = RuntimeError("left" if error is None else type(error).__name__)
        self._end(id_ or "", lambda taken: taken.fail(error), error)

    def leave(self) -> None:
        """End what has not ended."""
        with self._lock:
            left = list(self._open)
        for id_ in reversed(left):
            self.failed(id_, None)
        with self._lock:
            known, self._known = self._known, []
        for observed in known:
            self._close(observed)

    def _end(self, id_: str, write: Callable[[Taken], object], error: BaseException | None = None) -> None:
        with self._lock:
            span = self._open.pop(id_, None)
            if span is None:
                return
            observed = span.observed
            observed.ended[id_] = span.taken.key.id
            observed.open -= 1
        if not span.taken.key.parent:
            observed.error = error
        write(span.taken)
        self._rest(observed)

    def _rest(self, observed: _Observed) -> None:
        """Say that a run has ended, if no span of it is open; close the oldest of those that have."""
        with self._lock:
            if observed.open:
                return
            idle = [each for each in self._known if not each.open]
            oldest = idle[0] if len(idle) > IDLE_MAX else None
            if oldest is not None:
                self._known.remove(oldest)
        status = "finished" if observed.error is None else "failed"
        observed.run.put("put_run", id=bytes.fromhex(observed.run.stream_id), status=status)
        if oldest is not None:
            self._close(oldest)

    @_contained
    def _close(self, observed: _Observed) -> None:
        observed.run._over = True  # noqa: SLF001 - as its own exit does
        observed.run._close(observed.error)  # noqa: SLF001


def _name(id_: str) -> str:
    """Return the class and method of a span, without the number that makes its id."""
    return id_[:-37]


def _is_told_of(id_: str) -> bool:
    """Return whether an event will tell how the stream that a span returned has ended."""
    return _name(id_).rpartition(".")[2] in {entry.name for entry in PRIMITIVES if entry.streams}


def _written(taken: Taken, result: Any) -> str:
    """Return a result as the journal keeps it: whole where it can be read back, else its class and what can be seen.

    It is not asked for its text: some read the stream they hold for that, which is their reader's.
    """
    try:
        return Results(taken.key.name).encode(result)
    except StepNotSerializable:
        kind = type(result)
        text = json.dumps(form_of(result), ensure_ascii=False)[:TEXT_CHARS_MAX]
        return json.dumps({"class": f"{kind.__module__}.{kind.__qualname__}", "text": text})
