"""Every promise of the drivers is checked on all three: sync in a thread, sync direct, async."""

from collections.abc import Iterator

import pytest
from driving import Driver
from watching import Watching

from l0_core import _clock, _fleet


@pytest.fixture(params=["sync-thread", "sync-off", "async"])
def drive(request: pytest.FixtureRequest) -> Driver:
    return Driver(request.param)


@pytest.fixture(autouse=True)
def virtual_clock() -> Iterator[_clock.VirtualClock]:
    """Waits take no time, and no test learns from the failures of another."""
    clock = _clock.VirtualClock()
    _clock.run_by(clock)
    _fleet.renew()
    yield clock
    _clock.run_by(None)


@pytest.fixture
def server() -> Iterator[Watching]:
    server = Watching()
    yield server
    server.close()
