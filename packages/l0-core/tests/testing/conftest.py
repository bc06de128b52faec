"""A running provider for every test that asks."""

from collections.abc import Iterator

import pytest

from l0_core.testing import FaultyProvider


@pytest.fixture
def provider() -> Iterator[FaultyProvider]:
    with FaultyProvider() as provider:
        yield provider
