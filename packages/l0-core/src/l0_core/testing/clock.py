"""Time for tests: what L0 waits for is over at once."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from l0_core._clock import VirtualClock

__all__ = ["VirtualTime", "virtual_time"]

NANOSECONDS: Final = 1_000_000_000


class VirtualTime:
    """What L0 takes for the time while `virtual_time` lasts."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    @property
    def waited(self) -> float:
        """Seconds L0 waited for so far, all sessions together, and none of them really."""
        return self._clock.waited / NANOSECONDS

    def advance(self, seconds: float) -> None:
        """Let time pass for every session: so a source of your own can be slow, or silent, without taking long."""
        if seconds < 0:
            raise ValueError(f"time goes on, not back; got {seconds}")
        self._clock.advance(seconds)

    def __repr__(self) -> str:
        return f"VirtualTime(waited={self.waited:.3f})"


@contextlib.contextmanager
def virtual_time() -> Iterator[VirtualTime]:
    """Let sessions that begin in this block wait for nothing, and know nothing of earlier ones.

    Backoff and Retry-After are over at once. What is read really takes the time it takes; where a `FaultyProvider` of
    this process stalls without end, the clocks that run out over it (`Policy.timeouts`) do so within a tenth of a
    second. Retry budgets and breakers begin anew, and again when the block ends.

    ```python
    with virtual_time() as time, FaultyProvider() as provider:
        provider.script(faults.rate_limit(retry_after=60), faults.ok())
        ...  # healed in milliseconds
        assert time.waited >= 60
    ```
    """
    from l0_core import _clock, _fleet  # not before it is asked for: the rest of the kit needs no native module
    from l0_core.testing.server import stalls_between

    clock = _clock.VirtualClock(stalls_between)
    before = _clock.clock()
    _clock.run_by(clock)
    _fleet.renew()
    try:
        yield VirtualTime(clock)
    finally:
        _clock.run_by(before)
        _fleet.renew()
