"""What holds for every test of the package: waits take no time, and no test learns from the failures of another."""

from collections.abc import Generator, Iterator

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


OUTCOMES = pytest.StashKey[dict[str, dict[str, str]]]()
"""How each test of a class ended, for the test that compares two classes."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    kind = getattr(item, "cls", None)
    if kind is not None and (report.when == "call" or report.outcome != "passed"):
        outcomes = item.session.stash.setdefault(OUTCOMES, {})
        outcomes.setdefault(kind.__name__, {})[item.name] = report.outcome
    return report


@pytest.fixture
def outcomes(request: pytest.FixtureRequest) -> dict[str, dict[str, str]]:
    """How the tests before this one ended, by class."""
    return request.session.stash.setdefault(OUTCOMES, {})
