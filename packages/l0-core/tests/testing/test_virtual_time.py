"""Virtual time: failure tests that take milliseconds, and sessions that do not disturb each other in it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from time import monotonic, monotonic_ns

import pytest
from by_hand import ask, dial, request_bytes
from driving import Driver

import l0_core
from l0_core import Attempt, _clock
from l0_core.testing import FaultyProvider, VirtualTime, faults, virtual_time
from l0_core.testing.server import stalls_between

pytest_plugins = ["pytester"]

USERS_TESTS = """
import asyncio, time
import openai, pytest
import l0_core
from l0_core import ports
from l0_core.testing import faults

REQUEST = {"model": "m", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
MINUTE = faults.rate_limit(retry_after=60)


@pytest.fixture(params=["sync", "async"])
def ask(request, faulty_provider):
    url = faulty_provider.openai_url

    def sync():
        with openai.OpenAI(base_url=url, api_key="x") as client:
            stream = l0_core.stream(ports.openai_chat(client, **REQUEST))
            list(stream)
            return stream.result

    async def awaited():
        async with openai.AsyncOpenAI(base_url=url, api_key="x") as client:
            stream = l0_core.astream(ports.openai_chat(client, **REQUEST))
            async for _ in stream:
                pass
            return stream.result

    return sync if request.param == "sync" else lambda: asyncio.run(awaited())


@pytest.mark.parametrize(
    ("fault", "least"),
    [(MINUTE, 60), (faults.stall("open"), 29), (faults.stall("text"), 29), (faults.keep_alive_only(), 119)],
    ids=str,
)
def test_it_heals(ask, faulty_provider, l0_time, fault, least):
    ask()
    faulty_provider.script(fault, faults.ok())
    began = time.monotonic()
    result = ask()
    took = time.monotonic() - began
    assert faulty_provider.is_right(result.text)
    assert result.attempts == 2
    assert l0_time.waited >= least
    assert took < 5, "of at least thirty seconds"
"""


@pytest.mark.timeout(180)  # the SDK is imported in a process of its own, which a busy machine takes its time for
def test_a_users_failure_tests_take_no_time(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]")  # a project of its own, whatever stands above it
    pytester.makepyfile(USERS_TESTS)
    began = monotonic()
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=8)
    assert monotonic() - began < 120, "of more than eight minutes"


@pytest.fixture
def time() -> Iterator[VirtualTime]:
    with virtual_time() as time:
        yield time


def test_what_was_there_before_is_there_again() -> None:
    before = _clock.clock()
    with virtual_time():
        assert _clock.clock() is not before
    assert _clock.clock() is before


def test_a_retry_waits_and_takes_no_time(drive: Driver, time: VirtualTime) -> None:
    def source(attempt: Attempt) -> Iterator[str]:
        if attempt.number < 3:
            raise ConnectionResetError
        yield "spoken"

    assert drive(source, policy="batch").text == "spoken"
    assert time.waited > 0


def test_each_test_begins_with_a_fleet_that_has_seen_nothing(drive: Driver) -> None:
    """What emptied the retry budget in one block is no reason to refuse a retry in the next."""

    def broken(attempt: Attempt) -> Iterator[str]:
        raise ConnectionResetError

    def once(attempt: Attempt) -> Iterator[str]:
        if attempt.number == 0:
            raise ConnectionResetError
        yield "spoken"

    with virtual_time():
        for _ in range(30):
            drive(l0_core.Target(broken, name="one"))
        refused = drive(l0_core.Target(once, name="one"))
        assert refused.error is not None
    with virtual_time():
        assert drive(l0_core.Target(once, name="one")).text == "spoken"


def test_the_wait_of_one_session_is_no_silence_to_another(time: VirtualTime) -> None:
    """A session that reads for a while is not cut off by what others waited for meanwhile."""
    begun, go = threading.Event(), threading.Event()

    def slow(attempt: Attempt) -> Iterator[str]:
        yield "slowly "
        begun.set()
        go.wait(20)
        yield "spoken"

    def failing(attempt: Attempt) -> Iterator[str]:
        if attempt.number < 3:
            raise ConnectionResetError
        yield "again"

    patient = l0_core.Policy(retry=l0_core.Retry(base=20, cap=20, jitter="none", attempts=4))
    stream = l0_core.stream(slow)
    told: list[str] = []
    reader = threading.Thread(target=lambda: told.extend(stream))
    reader.start()
    assert begun.wait(10)
    assert "".join(l0_core.stream(failing, policy=patient)) == "again"
    assert time.waited == pytest.approx(60, abs=1)
    go.set()
    reader.join(10)
    assert "".join(told) == "slowly spoken"
    assert stream.result.faults == ()


def test_what_was_waited_for_before_counts_against_a_deadline(time: VirtualTime) -> None:
    def failing(attempt: Attempt) -> Iterator[str]:
        if attempt.number == 0:
            raise ConnectionResetError
        yield "again"

    patient = l0_core.Policy(retry=l0_core.Retry(base=20, cap=20, jitter="none"))
    with l0_core.deadline(30):
        assert "".join(l0_core.stream(l0_core.Target(failing, name="a"), policy=patient)) == "again"
        with pytest.raises(l0_core.L0Error):
            list(l0_core.stream(l0_core.Target(failing, name="b"), policy=patient))


def test_a_source_of_ones_own_may_be_silent(time: VirtualTime) -> None:
    release = threading.Event()

    def source(attempt: Attempt) -> Iterator[str]:
        if attempt.number == 0:
            time.advance(121)
            release.wait(20)
        yield "spoken"

    stream = l0_core.stream(source)
    assert list(stream) == ["spoken"]
    assert [fault.fault for fault in stream.result.faults] == ["stall"]
    release.set()


async def test_a_source_of_ones_own_may_be_silent_async(time: VirtualTime) -> None:
    async def source(attempt: Attempt) -> AsyncIterator[str]:
        if attempt.number == 0:
            time.advance(121)
            await asyncio.sleep(20)
        yield "spoken"

    stream = l0_core.astream(source)
    assert [chunk async for chunk in stream] == ["spoken"]
    assert [(fault.fault, fault.code) for fault in stream.result.faults] == [("stall", "first")]


def test_time_does_not_go_back(time: VirtualTime) -> None:
    with pytest.raises(ValueError, match="goes on"):
        time.advance(-1)
    assert repr(time) == "VirtualTime(waited=0.000)"


def test_a_stall_counts_for_what_was_opened_before_it_and_as_long_as_it_lasts() -> None:
    """A connection that stalls on after its client lost interest is no reason to give another one up."""
    before = monotonic_ns()
    with FaultyProvider() as provider:
        provider.script(faults.stall())
        assert not stalls_between(before, monotonic_ns())
        with dial(provider) as client:
            client.sendall(request_bytes())
            (request,) = provider.wait_for_requests(1)
            assert request.wait_stalled()
            assert stalls_between(before, monotonic_ns())
            assert not stalls_between(monotonic_ns(), monotonic_ns())
            assert not stalls_between(0, before)
        assert request.wait_ended() == "client"
        assert not stalls_between(before, monotonic_ns())


def test_a_stall_with_an_end_takes_the_time_it_takes(time: VirtualTime) -> None:
    with FaultyProvider() as provider:
        provider.script(faults.stall(seconds=0.2))

        def source(attempt: Attempt) -> Iterator[str]:
            yield ask(provider).text

        began = monotonic()
        stream = l0_core.stream(source)
        assert provider.is_right("".join(stream))
        assert monotonic() - began >= 0.2
        assert (stream.result.faults, time.waited) == ((), 0)
