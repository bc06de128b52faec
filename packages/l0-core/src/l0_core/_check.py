"""What a guard of the caller's own is shown, and what it says."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from l0_core._result import Result


class Called(NamedTuple):
    """A tool call as it arrived: its arguments are JSON, or what the model took for it.

    Attributes:
        index: Which of the answer's calls.
        id: The call's id.
        name: The tool's name.
        args: The arguments.
    """

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody looks for here
    id: str | None
    name: str
    args: str


class Piece(NamedTuple):
    """What a guard is shown.

    Attributes:
        text: The whole answer; or what is new of it, with up to 1,024 characters before.
        final: Whether the answer is at its end.
        target: The target that gives it.
        calls: The answer's tool calls, at its end.
    """

    text: str
    final: bool
    target: str
    calls: Sequence[Called] = ()


class Dissent(NamedTuple):
    """Why a guard objects, where the target is to be told.

    Attributes:
        reason: In a few words: results and records hold it, so it is no place for the text.
        errors: What the target is to put right. It is told with the next attempt, which is made at once.
    """

    reason: str
    errors: Sequence[str] = ()


class Reading(NamedTuple):
    """What a guard says that reads an answer for what the caller wants of it. All of it is recorded.

    Attributes:
        dissent: Why it objects, if it does.
        fields: Where the answer does not fit, by names that are no content of it.
        fixes: What had to be put right in it, by fixed words.
        text: What is given in the place of its text, where the port can; nothing: as it came.
        args: What is given in the place of the arguments of its calls, by their index.
    """

    dissent: Dissent | None = None
    fields: Sequence[str] = ()
    fixes: Sequence[str] = ()
    text: str | None = None
    args: Mapping[int, str] = {}


class Asked(Protocol):
    """A guard, as one session asks it."""

    @property
    def title(self) -> str:
        """How results and records call it."""

    def ask(self, piece: Piece) -> object:
        """Return nothing, or why it objects: a reason or a `Dissent`; or a `Reading`; or what is awaited for that."""


class Validation(Asked, Protocol):
    """A guard that makes of an answer what the caller wants: it says so with a `Reading`.

    If it objects to all there is, the model is taken to have refused.
    """

    def value_of(self, result: "Result") -> object:
        """Return what the answer of a session says that has ended well."""
