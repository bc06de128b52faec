"""What an attempt is made on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declared:
    name: str | None = None
    terminal: Literal["end_of_stream", "finish_reason", "status"] = "end_of_stream"
    prefill: bool | None = None
    reasons: bool = False
    native: bool = False
    whole: bool = False
    credentials: str | None = None
    context_window: int | None = None
    quality: str | None = None
    cost: str | None = None


@dataclass(frozen=True, slots=True)
class Target(_Declared):
    """A source and what it is known to do.

    Attributes:
        open: Starts one attempt: takes an `Attempt`, returns an iterator (or async iterator) of chunks.
        name: The name in results, the journal and the fleet; that of the function where nothing is said.
        terminal: What ends an answer for certain. If it is declared and missing, the stream was cut.
        prefill: Whether it goes on from `attempt.prefix`. Where nobody says, it is tried and a restart is recognised.
        reasons: Whether it thinks before it speaks, and is given longer for its first word.
        native: Whether it can resume the same response by itself.
        whole: Whether it answers in one piece.
        credentials: Targets with the same label share credentials: if one's are refused, all are passed over.
        context_window: Tokens its context holds; a prompt too long for one target goes to a larger one only.
        quality: A label put on results it served.
        cost: A label put on results it served.
    """

    open: Callable[..., Any]

    @classmethod
    def of(cls, source: "Target | Callable[..., Any] | object", place: int) -> "Target":
        """Return a source as a target with a name of its own."""
        if isinstance(source, Target):
            return source
        if not callable(source):
            what = "the source" if place == 0 else f"fallback {place}"
            raise TypeError(
                f"{what} must be a callable that starts an attempt, or a Target, not {type(source).__name__}"
            )
        return cls(source)

    def label(self, place: int) -> str:
        """Return its name, or the best there is."""
        if self.name:
            return self.name
        name = getattr(self.open, "__qualname__", "") or type(self.open).__name__
        return name if place == 0 else f"{name}#{place}"

    def declared(self, place: int) -> tuple[object, ...]:
        """Return what the engine is told of it."""
        flags = (self.reasons, self.prefill, self.native, self.whole)
        labels = (self.context_window, self.quality, self.cost)
        return (self.label(place), self.credentials, self.terminal, *flags, *labels)
