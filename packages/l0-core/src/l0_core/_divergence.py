"""Where what a program does now differs from what it did when it was recorded."""

from dataclasses import dataclass
from typing import TypeAlias

from l0_core._errors import ReplayDivergence
from l0_core._keys import Json

CHANGES_MAX = 100
"""How many differences are listed."""


class Missing:
    """What stands for the side of a difference that is not there."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = Missing()
Side: TypeAlias = "Json | Missing"


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs.

    Attributes:
        path: Where it is, such as `messages[2].content`.
        expected: What was recorded.
        actual: What there is now.
        at: The first character that differs, where both are text.
    """

    path: str
    expected: Side
    actual: Side
    at: int | None = None

    def __str__(self) -> str:
        """Say where, and not what: it may be a prompt."""
        if self.at is not None:
            return f"{self.path} differs from character {self.at} on"
        if self.expected is MISSING:
            return f"{self.path} is new"
        if self.actual is MISSING:
            return f"{self.path} is gone"
        return f"{self.path} differs"


def changes(expected: Json, actual: Json, path: str = "") -> list[Change]:
    """Return what differs between two forms, field by field and in order; at most `CHANGES_MAX`."""
    found: list[Change] = []
    _compare(expected, actual, path, found)
    return found


def _compare(expected: Json, actual: Json, path: str, found: list[Change]) -> None:  # noqa: C901, PLR0912 - one branch for each sort of value
    if len(found) >= CHANGES_MAX:
        return
    if isinstance(expected, dict) and isinstance(actual, dict):
        for name in [*expected, *(name for name in actual if name not in expected)]:
            where = f"{path}.{name}" if path else name
            if name not in actual:
                found.append(Change(where, expected[name], MISSING))
            elif name not in expected:
                found.append(Change(where, MISSING, actual[name]))
            else:
                _compare(expected[name], actual[name], where, found)
    elif isinstance(expected, list) and isinstance(actual, list):
        for place in range(max(len(expected), len(actual))):
            where = f"{path}[{place}]"
            if place >= len(actual):
                found.append(Change(where, expected[place], MISSING))
            elif place >= len(expected):
                found.append(Change(where, MISSING, actual[place]))
            else:
                _compare(expected[place], actual[place], where, found)
    elif isinstance(expected, str) and isinstance(actual, str):
        if expected != actual:
            found.append(Change(path or "the input", expected, actual, _first_difference(expected, actual)))
    elif type(expected) is not type(actual) or expected != actual:
        found.append(Change(path or "the input", expected, actual))
    del found[CHANGES_MAX:]


def _first_difference(one: str, other: str) -> int:
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))


def diverged(message: str, record: int | None, expected: Side, actual: Side) -> ReplayDivergence:
    """Return the error that says at which record, and in which fields, a program left its recording."""
    found: list[Change] = []
    if not isinstance(expected, Missing) and not isinstance(actual, Missing):
        found = changes(expected, actual)
    told = "; ".join(map(str, found[:5])) + ("; …" if len(found) > 5 else "")  # noqa: PLR2004 - enough to see the kind
    where = f" at record {record}" if record is not None else ""
    said = f"{message}{where}{': ' + told if told else ''}"
    return ReplayDivergence(said, record=record, expected=expected, actual=actual, changes=found)
