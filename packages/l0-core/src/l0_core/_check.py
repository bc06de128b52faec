"""What a guard of the caller's own is shown, and what it says."""

from collections.abc import Sequence
from typing import NamedTuple


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
