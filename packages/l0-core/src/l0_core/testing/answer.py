"""What goes over the wire for one request: a list of steps that faults rewrite and the server performs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Answer", "Cut", "Framing", "Head", "HowToEnd", "Kind", "Pause", "Piece", "Step"]

Framing = Literal["chunked", "length", "close"]
HowToEnd = Literal["reset", "close", "half_close", "end"]
Kind = Literal["open", "reasoning", "text", "tool_args", "close", "finish", "done"]

CONTENT: frozenset[Kind] = frozenset({"reasoning", "text", "tool_args"})


@dataclass(frozen=True, slots=True)
class Head:
    """The status line and the headers. How the body is framed decides what a client can tell of its end."""

    status: int
    headers: tuple[tuple[str, str], ...]
    framing: Framing


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes sent at once: one event of a stream, or one slice of a body."""

    data: bytes
    kind: Kind
    text: str = ""
    """What of the answer's text is in it."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing is sent for `seconds`, or until the client leaves; with `keep_alive`, nothing but that."""

    seconds: float | None
    keep_alive: bytes | None = None
    interval: float = 0.0


@dataclass(frozen=True, slots=True)
class Cut:
    """The answer goes no further.

    `reset` sends a TCP reset, `close` ends the connection without what ends a body, `half_close` does so and keeps the
    connection's other half open, `end` ends the body as if it were complete.
    """

    how: HowToEnd


Step = Head | Piece | Pause | Cut


@dataclass(frozen=True, slots=True)
class Answer:
    """The steps in their order. Exactly one is a `Head`; nothing after a `Cut` is performed."""

    steps: tuple[Step, ...]

    @property
    def head(self) -> Head:
        """The status line and the headers."""
        return next(step for step in self.steps if isinstance(step, Head))

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Everything that would be sent as body, also what a cut keeps back."""
        return tuple(step for step in self.steps if isinstance(step, Piece))

    def with_head(
        self, *, status: int | None = None, framing: Framing | None = None, media: str | None = None
    ) -> Answer:
        """The same body under another head."""
        head = self.head
        headers = head.headers
        if media is not None:
            headers = tuple((name, media if name == "content-type" else value) for name, value in headers)
        changed = replace(head, status=status or head.status, framing=framing or head.framing, headers=headers)
        return Answer(tuple(changed if step is head else step for step in self.steps))

    def with_body(self, pieces: Sequence[Step]) -> Answer:
        """The same head over another body."""
        return Answer((self.head, *pieces))

    def insert(self, at: int, *steps: Step) -> Answer:
        """The answer with `steps` put in before position `at`."""
        return Answer((*self.steps[:at], *steps, *self.steps[at:]))

    def after_head(self) -> int:
        """The position right after the head."""
        return self.steps.index(self.head) + 1

    def after_chunks(self, count: int, kind: Kind | None = None) -> int:
        """The position right after so many pieces with content (of one kind); where there are fewer, after the last."""
        wanted = CONTENT if kind is None else {kind}
        position = self.after_head()
        for index, step in enumerate(self.steps):
            if isinstance(step, Piece) and step.kind in wanted:
                if count == 0:
                    return index
                count -= 1
                position = index + 1
        return position

    def after_bytes(self, count: int) -> tuple[Answer, int]:
        """The answer with a piece divided so that a border falls after `count` bytes of body, and that position."""
        for index, step in enumerate(self.steps):
            if isinstance(step, Piece):
                if count == 0:
                    return self, index
                if count < len(step.data):
                    first = Piece(step.data[:count], step.kind)
                    second = Piece(step.data[count:], step.kind, step.text)
                    return Answer((*self.steps[:index], first, second, *self.steps[index + 1 :])), index + 1
                count -= len(step.data)
        return self, len(self.steps)
