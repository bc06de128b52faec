"""What a guard of the caller's own is shown, and what it says."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Piece(NamedTuple):
    """What a guard is shown.

    Attributes:
        text: The whole answer; or what is new of it, with up to 1,024 characters before.
        final: Whether the answer is at its end.
        target: The target that gives it.
    """

    text: str
    final: bool
    target: str


class Dissent(NamedTuple):
    """Why a guard objects, where the target is to be told.

    Attributes:
        reason: In a few words: results and records hold it, so it is no place for the text.
        errors: What the target is to put right. It is told with the next attempt, which is made at once.
    """

    reason: str
    errors: Sequence[str] = ()


class Asked(Protocol):
    """A guard, as one session asks it."""

    @property
    def title(self) -> str:
        """How results and records call it."""

    def ask(self, piece: Piece) -> object:
        """Return nothing, or why it objects: a reason or a `Dissent`; or what is awaited for that."""


class Validation(Asked, Protocol):
    """A guard that makes of an answer what the caller wants.

    If it objects to all there is, the model is taken to have refused.
    """

    repaired: Sequence[str]
    """What had to be put right in the answer it accepted."""
    invalid: Mapping[str, Mapping[str, int]]
    """How often answers of each target did not fit, by field."""
    misfit: Sequence[str]
    """The fields in which the last one did not."""
