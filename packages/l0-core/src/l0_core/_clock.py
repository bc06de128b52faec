"""Time as the drivers see it: nanoseconds of one monotonic clock, and waiting on it."""

import asyncio
import threading
from collections.abc import Callable
from time import monotonic_ns
from typing import Final, Protocol, Self

SECOND = 1_000_000_000

_GLANCE: Final = 0.01
"""Real seconds between looks at virtual time while a read is pending."""

_QUIET: Final = SECOND // 20
"""Real nanoseconds a read must have been pending before time moves on: what is on its way arrives first."""


class Clock(Protocol):
    """What the drivers wait by."""

    def now(self) -> int:
        """Return nanoseconds since some moment in the past."""

    def wait(self, until: int, wake: threading.Event) -> None:
        """Return at `until`, or as soon as `wake` is set."""

    async def wait_async(self, until: int) -> None:
        """Return at `until`."""

    def patience(self, until: int) -> float:
        """Return for how many real seconds to wait for a chunk that may come until `until`, before looking again."""

    def opens(self) -> None:
        """Note that an attempt is opened."""

    def of_session(self) -> "Clock":
        """Return the clock that one session runs by."""


class RealClock:
    """The machine's."""

    now = staticmethod(monotonic_ns)

    def wait(self, until: int, wake: threading.Event) -> None:
        """Return at `until`, or as soon as `wake` is set."""
        wake.wait(max(0, until - monotonic_ns()) / SECOND)

    async def wait_async(self, until: int) -> None:
        """Return at `until`."""
        await asyncio.sleep(max(0, until - monotonic_ns()) / SECOND)

    def patience(self, until: int) -> float:
        """Return for how many real seconds to wait for a chunk that may come until `until`, before looking again."""
        return (until - monotonic_ns()) / SECOND

    def opens(self) -> None:
        """Note that an attempt is opened."""

    def of_session(self) -> Self:
        """Return the clock that one session runs by."""
        return self


class VirtualClock:
    """One whose waits are over at once, for tests: reading takes real time, waiting none.

    Each session is ahead by what it has waited for itself, and by what was waited for before it began: the waits of one
    are no silence to another that is reading meanwhile.

    Args:
        stalls: Asked when a read has been pending for a while whether nothing more will come by itself, as far as is
            known of what happened between two real moments: then the clock that runs is at its end at once, too.
    """

    def __init__(self, stalls: Callable[[int, int], bool] = lambda _after, _before: False) -> None:
        self.waited = 0
        """Nanoseconds waited for so far, all sessions together."""
        self.stalls = stalls
        self._advanced = 0
        self._furthest = 0
        self._lock = threading.Lock()

    def advance(self, seconds: float) -> None:
        """Let time pass, for every session."""
        with self._lock:
            self._advanced += int(seconds * SECOND)

    def now(self) -> int:
        """Return nanoseconds since some moment in the past, as the session that is furthest ahead has it."""
        return self.at(self._furthest)

    def of_session(self) -> "Clock":
        """Return the clock that one session runs by."""
        return _SessionClock(self, self._furthest)

    def at(self, ahead: int) -> int:
        """Return the moment of a session that is so far ahead."""
        return monotonic_ns() + self._advanced + ahead

    def passed(self, nanoseconds: int, ahead: int) -> None:
        """Note that a session, now so far ahead, has waited."""
        with self._lock:
            self.waited += nanoseconds
            self._furthest = max(self._furthest, ahead)

    def wait(self, until: int, wake: threading.Event) -> None:
        """Move time on to `until`."""
        self.of_session().wait(until, wake)

    async def wait_async(self, until: int) -> None:
        """Move time on to `until`."""
        await self.of_session().wait_async(until)

    def patience(self, until: int) -> float:
        """Return for how many real seconds to wait for a chunk that may come until `until`, before looking again."""
        return max(0.0, min((until - self.now()) / SECOND, _GLANCE))

    def opens(self) -> None:
        """Note that an attempt is opened."""


class _SessionClock:
    """Virtual time as one session has it."""

    def __init__(self, time: VirtualClock, ahead: int) -> None:
        self._time = time
        self._ahead = ahead
        self._opened = monotonic_ns()
        self._since = 0
        self._until = 0

    def now(self) -> int:
        return self._time.at(self._ahead)

    def wait(self, until: int, wake: threading.Event) -> None:
        if not wake.is_set():
            self._go_to(until)

    async def wait_async(self, until: int) -> None:
        await asyncio.sleep(0)
        self._go_to(until)

    def patience(self, until: int) -> float:
        real = monotonic_ns()
        # A clock that was set anew has moved by all the time that passed; one that runs has not moved.
        moved = until - self._until
        if not 0 <= moved <= real - self._since:
            self._since, self._until, moved = real, until, 0
        if real - self._since - moved >= _QUIET and self._time.stalls(self._opened, real - _QUIET):
            self._go_to(until)
        return max(0.0, min((until - self.now()) / SECOND, _GLANCE))

    def opens(self) -> None:
        self._opened = monotonic_ns()

    def of_session(self) -> "Clock":
        return self

    def _go_to(self, until: int) -> None:
        wait = max(0, until - self.now())
        self._ahead += wait
        self._time.passed(wait, self._ahead)


_REAL: Clock = RealClock()
_clock: Clock = _REAL


def clock() -> Clock:
    """Return the clock that new sessions run by."""
    return _clock


def run_by(new: Clock | None) -> None:
    """Let new sessions run by `new`, or by the machine's clock again."""
    global _clock  # noqa: PLW0603 - one clock a process, like the machine's
    _clock = new or _REAL
