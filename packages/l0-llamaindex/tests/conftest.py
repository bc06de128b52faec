"""Waits take no time, and no test learns from the failures of another, nor from what another told the dispatcher."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from asking_llm import Way
from llama_index.core import Settings

from l0_core import _clock, _fleet


@pytest.fixture(autouse=True)
def virtual_clock() -> Iterator[_clock.VirtualClock]:
    clock = _clock.VirtualClock()
    _clock.run_by(clock)
    _fleet.renew()
    yield clock
    _clock.run_by(None)


@pytest.fixture(autouse=True)
def settings() -> Iterator[Any]:
    """Settings as they were: they are the process's."""
    kept = dict(vars(Settings))
    yield Settings
    vars(Settings).clear()
    vars(Settings).update(kept)


@pytest.fixture(scope="session")
def loaded() -> Iterator[None]:
    """Keep what is loaded by now out of every collection: there is a lot, and none of it is garbage."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def left_open(loaded: None) -> Iterator[None]:
    """Have what LlamaIndex leaves open found in the test that left it, whose warnings are expected."""
    yield
    gc.collect()


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)
