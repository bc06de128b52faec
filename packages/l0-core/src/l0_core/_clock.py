"""Time as the drivers see it: nanoseconds of one monotonic clock, and waiting on it."""

import asyncio
import threading
from time import monotonic_ns
from typing import Protocol

SECOND = 1_000_000_000


class Clock(Protocol):
    """What the drivers wait by."""

    def now(self) -> int:
        """Return nanoseconds since some moment in the past."""

    def wait(self, until: int, wake: threading.Event) -> None:
        """Return at `until`, or as soon as `wake` is set."""

    async def wait_async(self, until: int) -> None:
        """Return at `until`."""


class RealClock:
    """The machine's."""

    now = staticmethod(monotonic_ns)

    def wait(self, until: int, wake: threading.Event) -> None:
        """Return at `until`, or as soon as `wake` is set."""
        wake.wait(max(0, until - monotonic_ns()) / SECOND)

    async def wait_async(self, until: int) -> None:
        """Return at `until`."""
        await asyncio.sleep(max(0, until - monotonic_ns()) / SECOND)


class VirtualClock:
    """One whose waits are over at once, for tests: reading takes real time, waiting none."""

    def __init__(self) -> None:
        self.waited = 0
        """Nanoseconds waited for so far, all sessions together."""

    def now(self) -> int:
        """Return nanoseconds since some moment in the past."""
        return monotonic_ns() + self.waited

    def wait(self, until: int, wake: threading.Event) -> None:
        """Move time on to `until`."""
        if not wake.is_set():
            self.waited += max(0, until - self.now())

    async def wait_async(self, until: int) -> None:
        """Move time on to `until`."""
        await asyncio.sleep(0)
        self.waited += max(0, until - self.now())


_REAL: Clock = RealClock()
_clock: Clock = _REAL


def clock() -> Clock:
    """Return the clock that new sessions run by."""
    return _clock


def run_by(new: Clock | None) -> None:
    """Let new sessions run by `new`, or by the machine's clock again."""
    global _clock  # noqa: PLW0603 - one clock a process, like the machine's
    _clock = new or _REAL
