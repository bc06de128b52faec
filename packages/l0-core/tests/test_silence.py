"""A provider that is silent is left; a consumer that is slow is waited for."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from time import monotonic, sleep

import pytest
from driving import policy

import l0_core
from l0_core import _async, _clock, _reader
from l0_core._drive import Open

QUICK = {"text": 0.05, "first": 0.05, "open": 0.05, "call": 0.05}


@pytest.fixture(autouse=True)
def _prompt_retries(virtual_clock: _clock.VirtualClock) -> None:
    """Backoff is virtual; the reads of these tests are real, and short."""


def silent_at_first(release: threading.Event) -> l0_core.Target:
    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        if attempt.number == 0:
            release.wait(20)
        yield "spoken"

    return l0_core.Target(source)


def test_a_blocked_read_is_abandoned_and_its_thread_ends_with_it() -> None:
    release = threading.Event()
    stream = l0_core.stream(silent_at_first(release), policy=policy(timeouts=QUICK))
    assert list(stream) == ["spoken"]
    assert [fault.fault for fault in stream.result.faults] == ["stall"]
    release.set()


@pytest.mark.parametrize("clock", ["first", "text"])
def test_each_clock_is_its_own(clock: str) -> None:
    """The clock of the opening does not stand in for that of the first word, nor that for the later ones."""
    release = threading.Event()

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        if clock == "text":
            yield "spoken "
        if attempt.number == 0:
            release.wait(20)
        yield "again"

    stream = l0_core.stream(source, policy=policy(timeouts={clock: 0.05}))
    started = monotonic()
    assert "".join(stream).endswith("again")
    assert [(fault.fault, fault.code) for fault in stream.result.faults] == [("stall", clock)]
    assert monotonic() - started < 10
    release.set()


def test_a_consumer_that_waits_is_told_that_its_stream_is_open() -> None:
    """From then on another clock runs: that of the opening must not go on until there is a chunk."""
    told = threading.Event()

    def source(_: l0_core.Attempt) -> Iterator[str]:
        told.wait(20)
        yield "late"

    attempt = l0_core.Attempt("late", 0, "fresh", "", "", "", "", 0, 60.0, "key")
    reader = _reader.Reader(Open(l0_core.Target(source), attempt), _clock.RealClock(), copy_context())
    reader.wait(40, opened=False)
    assert reader.opened
    assert not reader.items
    told.set()


def test_a_stall_after_a_pause_of_the_reader_is_seen() -> None:
    release = threading.Event()

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        for place in range(_reader.AHEAD_MAX + 1):
            if attempt.number == 0 and place == _reader.AHEAD_MAX:
                release.wait(20)
            yield "x "

    stream = l0_core.stream(source, policy=policy(timeouts={"text": 0.05}, continuation={"rungs": ["rerun"]}))
    started = monotonic()
    for place, _ in enumerate(stream):
        if place == 0:
            sleep(0.05)
    assert [(fault.fault, fault.code) for fault in stream.result.faults] == [("stall", "text")]
    assert monotonic() - started < 10
    release.set()


def test_a_hundred_stalls_leave_no_thread_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reader, "_IDLE_SECONDS", 0.01)
    before = threading.active_count()
    release = threading.Event()
    patient = policy(timeouts=QUICK, breaker={"min_outcomes": 1_000}, budget={"cost": 0})

    def one(_: int) -> str:
        return "".join(l0_core.stream(silent_at_first(release), policy=patient))

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(one, range(100))) == ["spoken"] * 100
    release.set()
    limit = monotonic() + 10
    while threading.active_count() > before and monotonic() < limit:
        sleep(0.01)
    assert threading.active_count() <= before


def test_keep_alives_do_not_count_as_content() -> None:
    release = threading.Event()

    def source(attempt: l0_core.Attempt) -> Iterator[l0_core.Chunk | str]:
        yield "spoken "
        while attempt.number == 0 and not release.wait(0.01):
            yield l0_core.Chunk()
        yield "again"

    stream = l0_core.stream(source, policy=policy(timeouts=QUICK))
    try:
        assert "".join(chunk if isinstance(chunk, str) else chunk.text for chunk in stream) == "spoken again"
        assert [(fault.fault, fault.code) for fault in stream.result.faults] == [("stall", "text")]
    finally:
        release.set()


def test_a_slow_consumer_is_not_a_stall() -> None:
    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        for _ in range(200):
            yield "x "

    stream = l0_core.stream(source, policy=policy(timeouts=QUICK))
    for place, _ in enumerate(stream):
        if place % 100 == 0:
            sleep(0.1)
    assert stream.result.faults == ()


def test_the_reader_stays_within_its_lead() -> None:
    pulled = 0

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        nonlocal pulled
        for _ in range(1_000):
            pulled += 1
            yield "x"

    chunks = iter(l0_core.stream(source))
    next(chunks)
    sleep(0.05)
    assert pulled <= _reader.AHEAD_MAX + 2
    assert sum(1 for _ in chunks) == 999


def test_closing_from_another_thread_frees_the_consumer() -> None:
    release = threading.Event()

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        yield "one"
        release.wait(20)
        yield "two"

    stream = l0_core.stream(source)
    chunks = iter(stream)
    assert next(chunks) == "one"
    threading.Timer(0.05, stream.close).start()
    started = monotonic()
    with pytest.raises(l0_core.L0Error, match="cancelled"):
        next(chunks)
    assert monotonic() - started < 5
    assert stream.result.status == "cancelled"
    release.set()


def test_leaving_early_closes_the_source() -> None:
    closed = threading.Event()

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        try:
            while True:
                yield "x"
        finally:
            closed.set()

    for _ in l0_core.stream(source):
        break
    assert closed.wait(30)
    closed.clear()
    with l0_core.stream(source, stall_guard="off") as stream:
        next(stream)
    assert closed.is_set()


def test_a_stream_is_closed_and_not_only_its_iterator() -> None:
    """As the SDKs have them: iterating makes a generator, and closing that leaves the connection to the collector."""
    closed = threading.Event()

    class Response:
        def __iter__(self) -> Iterator[str]:
            yield from ("x " for _ in range(_reader.AHEAD_MAX * 2))

        def close(self) -> None:
            closed.set()

    for _ in l0_core.stream(lambda _: Response()):
        break
    assert closed.wait(30)


def test_an_interrupt_reaches_the_consumer_and_closes_the_source() -> None:
    closed = threading.Event()

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        try:
            yield "x"
            raise KeyboardInterrupt
        finally:
            closed.set()

    with pytest.raises(KeyboardInterrupt):
        list(l0_core.stream(source))
    assert closed.is_set()


async def test_a_silent_await_is_left_and_cancelled() -> None:
    cancelled = asyncio.Event()

    async def source(attempt: l0_core.Attempt) -> AsyncIterator[str]:
        if attempt.number == 0:
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                cancelled.set()
                raise
        yield "spoken"

    stream = l0_core.astream(source, policy=policy(timeouts=QUICK))
    assert [chunk async for chunk in stream] == ["spoken"]
    assert cancelled.is_set()
    assert [fault.fault for fault in stream.result.faults] == ["stall"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "the session's own cancellation has been taken back"


async def test_each_clock_is_its_own_async() -> None:
    """The clock of the first word is long, the next one's short: the timer must not sleep through it."""

    async def source(attempt: l0_core.Attempt) -> AsyncIterator[str]:
        yield "spoken "
        if attempt.number == 0:
            await asyncio.sleep(20)
        yield "again"

    stream = l0_core.astream(source, policy=policy(timeouts={"text": 0.05}))
    assert "".join([chunk async for chunk in stream]) == "spoken again"
    assert [(fault.fault, fault.code) for fault in stream.result.faults] == [("stall", "text")]


async def test_a_silent_opening_is_left() -> None:
    async def source(attempt: l0_core.Attempt) -> AsyncIterator[str]:
        if attempt.number == 0:
            await asyncio.sleep(20)

        async def chunks() -> AsyncIterator[str]:
            yield "spoken"

        return chunks()

    stream = l0_core.astream(source, policy=policy(timeouts=QUICK))
    assert [chunk async for chunk in stream] == ["spoken"]
    assert [(fault.fault, fault.code) for fault in stream.result.faults] == [("stall", "open")]


async def test_a_consumer_that_is_cancelled_stays_cancelled() -> None:
    closed = asyncio.Event()

    async def source(attempt: l0_core.Attempt) -> AsyncIterator[str]:
        try:
            yield "x"
            await asyncio.sleep(20)
        finally:
            closed.set()

    stream = l0_core.astream(source)

    async def consume() -> None:
        async for _ in stream:
            pass

    task = asyncio.ensure_future(consume())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()
    assert stream.result.status == "cancelled"


async def swallowing(attempt: l0_core.Attempt) -> AsyncIterator[str]:
    """As `asyncio.wait_for` of Python 3.11, where what it waits for comes in the moment that it is cancelled."""
    if attempt.number == 0:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(20)
    yield "first "
    if attempt.number == 0:
        await asyncio.sleep(20)
    yield "at last"


async def test_a_cancellation_that_is_swallowed_counts_all_the_same() -> None:
    """G3: the consumer is not left waiting with a guard that thinks somebody else has seen to it."""
    stream = l0_core.astream(swallowing)

    async def consume() -> None:
        async for _ in stream:
            pass

    task = asyncio.ensure_future(consume())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stream.result.status == "cancelled"


async def test_a_cancellation_that_is_swallowed_while_opening_counts_all_the_same() -> None:
    async def opening(attempt: l0_core.Attempt) -> AsyncIterator[str]:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(20)
        return swallowing(attempt)

    async def consume() -> None:
        async with asyncio.timeout(0.02):
            async for _ in l0_core.astream(opening):
                pass

    with pytest.raises(TimeoutError):
        await consume()


async def test_a_cancellation_that_is_swallowed_for_good_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    async def source(attempt: l0_core.Attempt) -> AsyncIterator[str]:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(20)
        await asyncio.sleep(20)
        yield "x"

    async def consume() -> None:
        async with asyncio.timeout(0.02):
            async for _ in l0_core.astream(source, policy=policy(timeouts=QUICK)):
                pass

    monkeypatch.setattr(_async, "_CLOSE_SECONDS_MAX", 0.01)
    with pytest.raises(TimeoutError):
        await consume()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_guard_whose_cancellation_was_swallowed_guards_on() -> None:
    """The chunk came in the last moment: it is taken, and the silence after it is noticed."""
    stream = l0_core.astream(swallowing, policy=policy(timeouts=QUICK))
    assert "".join([chunk async for chunk in stream]) == "first at last"
    assert [fault.code for fault in stream.result.faults] == ["text"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_outer_timeout_is_not_mistaken_for_the_sessions() -> None:
    async def source(attempt: l0_core.Attempt) -> AsyncIterator[str]:
        await asyncio.sleep(20)
        yield "x"

    async def consume() -> None:
        async with asyncio.timeout(0.02):
            async for _ in l0_core.astream(source):
                pass

    with pytest.raises(TimeoutError):
        await consume()


async def test_leaving_early_closes_the_async_source() -> None:
    closed = asyncio.Event()

    async def source(attempt: l0_core.Attempt) -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
        finally:
            closed.set()

    async with l0_core.astream(source) as stream:
        async for _ in stream:
            break
    assert closed.is_set()


async def test_a_slow_async_consumer_is_not_a_stall() -> None:
    async def source(attempt: l0_core.Attempt) -> AsyncIterator[str]:
        for _ in range(3):
            yield "x"

    stream = l0_core.astream(source, policy=policy(timeouts=QUICK))
    async for _ in stream:
        await asyncio.sleep(0.12)
    assert stream.result.faults == ()


async def test_a_stream_can_be_handed_from_task_to_task() -> None:
    async def source(attempt: l0_core.Attempt) -> AsyncIterator[str]:
        for place in range(4):
            if attempt.number == 0 and place == 3:
                await asyncio.sleep(20)
            yield f"{place} "

    chunks = aiter(l0_core.astream(source, policy=policy(timeouts=QUICK)))
    seen = [await asyncio.ensure_future(anext(chunks)) for _ in range(4)]
    assert seen == ["0 ", "1 ", "2 ", "3 "]


def test_one_session_after_another_on_many_loops_and_threads() -> None:
    async def source(attempt: l0_core.Attempt) -> AsyncIterator[str]:
        yield "x"

    async def main() -> list[str]:
        return [chunk async for chunk in l0_core.astream(source)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: asyncio.run(main()), range(50))) == [["x"]] * 50


async def test_a_sync_stream_inside_a_running_loop() -> None:
    """As in a notebook."""
    assert list(l0_core.stream(lambda attempt: iter(["x"]))) == ["x"]


def test_a_call_is_retried_timed_out_and_replaced() -> None:
    release = threading.Event()
    calls: list[str] = []

    def slow() -> str:
        calls.append("slow")
        release.wait(20)
        return "late"

    found = l0_core.call(slow, fallbacks=[lambda: "found"], policy=policy(timeouts=QUICK, retry={"max_retries": 1}))
    assert (found, calls) == ("found", ["slow", "slow"])
    release.set()


async def test_an_async_call_is_retried() -> None:
    calls = 0

    async def flaky() -> list[int]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionResetError
        return [calls]

    assert await l0_core.acall(flaky) == [2]


@pytest.mark.parametrize("value", [None, 0, "", [], {"a": 1}])
def test_a_call_returns_whatever_it_is(value: object) -> None:
    assert l0_core.call(lambda: value) is value


def test_callers_wait_in_order_for_a_target_with_a_limit() -> None:
    limited = policy(limits={"concurrent": 2})
    busy, most, lock = 0, 0, threading.Lock()

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        sleep(0.005)
        with lock:
            busy -= 1
        yield "x"

    target = l0_core.Target(source, name="limited")
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: "".join(l0_core.stream(target, policy=limited)), range(40)))
    assert runs == ["x"] * 40
    assert most <= 2


async def test_async_callers_wait_for_a_target_with_a_limit() -> None:
    limited = policy(limits={"concurrent": 2})
    busy, most = 0, 0

    async def source(attempt: l0_core.Attempt) -> AsyncIterator[str]:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.001)
        busy -= 1
        yield "x"

    target = l0_core.Target(source, name="limited-async")

    async def one() -> list[str]:
        return [chunk async for chunk in l0_core.astream(target, policy=limited)]

    assert await asyncio.gather(*(one() for _ in range(40))) == [["x"]] * 40
    assert most <= 2
