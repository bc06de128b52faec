"""What L0 does, on LlamaIndex's own dispatcher, for whoever asks for it.

Handlers that know only LlamaIndex's events may complain of others: nothing is dispatched unless `announce` was given.
"""

from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any, Literal, cast

from llama_index.core.instrumentation.events import BaseEvent
from llama_index_instrumentation import get_dispatcher

from l0_core import Lifecycle, Result
from l0_core._lifecycle import Listener

What = Literal[
    "start",
    "attempt",
    "fault",
    "retry",
    "fallback",
    "splice",
    "guard",
    "invalid",
    "drift",
    "tool_call",
    "complete",
    "error",
]

_FACTS: Mapping[str, tuple[str, ...]] = {
    "start": (),
    "attempt": ("number", "target", "mode"),
    "fault": ("fault",),
    "retry": ("target", "mode", "seconds"),
    "fallback": ("from_target", "to_target"),
    "splice": ("splice",),
    "guard": ("objection",),
    "invalid": ("target", "fields"),
    "drift": ("signal", "score"),
    "tool_call": ("number",),
    "complete": ("result",),
    "error": ("error",),
}
"""What each is told, after the session."""

_dispatcher = get_dispatcher(__name__)


class L0Event(BaseEvent):
    """Something that L0 did or saw in one call of an LLM, a retriever or an embedding.

    Attributes:
        what: What it was: `start`, `attempt`, `fault`, `retry`, `fallback`, `splice`, `guard`, `invalid`, `drift`,
            `tool_call`, `complete`, `error`.
        session_id: The session, as the journal, the log and `additional_kwargs["l0"]` know it.
        facts: What there is to know of it, ready for JSON. No prompt, answer or key is among it.
    """

    what: What
    session_id: str
    facts: dict[str, Any]

    @classmethod
    def class_name(cls) -> str:
        """Return the name LlamaIndex knows it by."""
        return "L0Event"


class Announcing(Lifecycle):
    """Listeners that dispatch what they are told, and then tell others."""

    __slots__ = ()


def announce(on: Lifecycle | None = None) -> Lifecycle:
    """Return listeners, for `on=`, that say on LlamaIndex's dispatcher what L0 does: as events of the class `L0Event`.

    The events and spans of the attempts themselves carry tags besides: `l0.attempt`, `l0.target` and `l0.mode`.

    Args:
        on: Further listeners.

    Example:
        >>> from llama_index.core.instrumentation import get_dispatcher
        >>> from llama_index.core.instrumentation.event_handlers import BaseEventHandler
        >>> from llama_index.core.llms import MockLLM
        >>> from l0_llamaindex import L0Event, L0LLM, announce
        >>> class Shows(BaseEventHandler):
        ...     def handle(self, event, **kwargs):
        ...         if isinstance(event, L0Event):
        ...             print(event.what, event.facts.get("target", ""))
        >>> get_dispatcher().add_event_handler(Shows())
        >>> _ = L0LLM(llm=MockLLM(max_tokens=2), on=announce()).complete("Hello")
        start
        attempt MockLLM
        complete
    """
    told = {field.name.removeprefix("on_"): getattr(on, field.name, None) for field in fields(Lifecycle)}
    return Announcing(**{f"on_{what}": partial(_say, what, further) for what, further in told.items()})


def _say(what: str, further: Listener | None, session_id: str, *facts: Any) -> Any:
    named = {name: _plain(fact) for name, fact in zip(_FACTS[what], facts, strict=True)}
    _dispatcher.event(L0Event(what=cast("What", what), session_id=session_id, facts=named))
    return further(session_id, *facts) if further is not None else None


def _plain(fact: Any) -> Any:
    if isinstance(fact, BaseException):
        return type(fact).__name__
    if isinstance(fact, Result):  # It has the answer besides.
        return fact.metadata()
    if isinstance(fact, tuple) and hasattr(fact, "_asdict"):
        return fact._asdict()
    return list(fact) if isinstance(fact, list | tuple) else fact
