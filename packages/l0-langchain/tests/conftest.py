"""What holds for every test of the package: waits take no time, and no test learns from the failures of another."""

from collections.abc import Iterator

import pytest
from clients import Client

from l0_core import _clock, _fleet
from l0_core.testing import FaultyProvider


@pytest.fixture(autouse=True)
def virtual_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[_clock.VirtualClock]:
    for name in ("L0_POLICY", "L0_DISABLE", "LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    clock = _clock.VirtualClock()
    _clock.run_by(clock)
    _fleet.renew()
    yield clock
    _clock.run_by(None)


@pytest.fixture
def provider() -> Iterator[FaultyProvider]:
    with FaultyProvider() as provider:
        yield provider


@pytest.fixture(params=["openai", "anthropic"])
def client(request: pytest.FixtureRequest) -> Client:
    return Client(request.param)
