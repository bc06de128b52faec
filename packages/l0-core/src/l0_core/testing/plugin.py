"""The pytest plugin: `faulty_provider`, `l0_time`, in which waits take no time, and tests that are recorded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from l0_core.testing.recorded import l0_journal, pytest_addoption, pytest_configure, pytest_runtest_setup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from l0_core.testing.clock import VirtualTime
    from l0_core.testing.provider import FaultyProvider

__all__ = ["faulty_provider", "l0_journal", "l0_time", "pytest_addoption", "pytest_configure", "pytest_runtest_setup"]


@pytest.fixture
def faulty_provider() -> Iterator[FaultyProvider]:
    """A running `FaultyProvider`; what was scripted wrongly fails the test."""
    from l0_core.testing.provider import FaultyProvider  # not before a test asks: every pytest run loads this module

    with FaultyProvider() as provider:
        yield provider


@pytest.fixture
def l0_time() -> Iterator[VirtualTime]:
    """Virtual time for what L0 waits for in this test: backoff, Retry-After, the clocks that catch a stall."""
    from l0_core.testing.clock import virtual_time

    with virtual_time() as time:
        yield time
