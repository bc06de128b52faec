"""Which request gets which fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from l0_core.testing.fault import Fault
from l0_core.testing.phrasing import dice
from l0_core.testing.vocabulary import names

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Schedule", "flaky", "mix", "script"]

WELL: Final = Fault("ok()")


class Schedule(Protocol):
    """Which fault a request gets. A `Fault` alone is one too: that of every request."""

    @property
    def length(self) -> int | None:
        """How many requests it is for as an entry of a script that goes on after it; None where it never ends."""
        ...

    def pick(self, _number: int, /) -> Fault:
        """The fault of the request with this number since the schedule was set, counted from 0."""
        ...


def script(*entries: Schedule) -> Schedule:
    """Each request its entry, in order; the last one goes on for ever.

    Entries are faults, each for one request; `flaky` and other scripts, for as many as they name; a `mix` last.
    """
    if not entries:
        raise ValueError("a script needs one entry or more; faults.ok() answers well")
    for position, entry in enumerate(entries, 1):
        if not isinstance(entry, Fault | _Script | _Flaky | _Mix):
            raise TypeError(f"a script is made of faults, got {entry!r}; there are {', '.join(names())}")
        if entry.length is None and position < len(entries):
            raise ValueError("a mix goes on for ever: it can only be the last entry of a script")
    return _Script(tuple(entries))


def flaky(fault: Fault, times: int = 1) -> Schedule:
    """The fault so many times, then all is well."""
    if times < 1:
        raise ValueError(f"times is how many requests fail, at least 1; got {times}")
    return _Flaky(fault, times)


def mix(weights: Mapping[Fault, float], seed: int = 0) -> Schedule:
    """Every request draws a fault by weight; the same seed draws the same."""
    for fault in weights:
        if not isinstance(fault, Fault):
            raise TypeError(f"a mix is {{fault: weight}}, got the key {fault!r}; there are {', '.join(names())}")
    if not weights or min(weights.values()) < 0 or not any(weights.values()):
        raise ValueError("a mix is {fault: weight}, no weight below 0 and some above")
    return _Mix(tuple(weights), tuple(weights.values()), seed)


@dataclass(frozen=True, slots=True)
class _Script:
    entries: tuple[Schedule, ...]

    @property
    def length(self) -> int | None:
        lengths = [entry.length for entry in self.entries]
        return None if None in lengths else sum(filter(None, lengths))

    def pick(self, number: int) -> Fault:
        for entry in self.entries[:-1]:
            length = entry.length or 0
            if number < length:
                return entry.pick(number)
            number -= length
        return self.entries[-1].pick(number)


@dataclass(frozen=True, slots=True)
class _Flaky:
    fault: Fault
    length: int

    def pick(self, number: int) -> Fault:
        return self.fault if number < self.length else WELL


@dataclass(frozen=True, slots=True)
class _Mix:
    faults: tuple[Fault, ...]
    weights: tuple[float, ...]
    seed: int

    @property
    def length(self) -> None:
        return None

    def pick(self, number: int) -> Fault:
        return dice("mix", self.seed, number).choices(self.faults, self.weights)[0]
