"""The pytest plugin: `faulty_provider`, a provider of the test's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from l0_core.testing.provider import FaultyProvider


@pytest.fixture
def faulty_provider() -> Iterator[FaultyProvider]:
    """A running `FaultyProvider`; what was scripted wrongly fails the test."""
    from l0_core.testing.provider import FaultyProvider  # not before a test asks: every pytest run loads this module

    with FaultyProvider() as provider:
        yield provider
