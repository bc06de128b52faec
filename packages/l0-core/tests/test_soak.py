"""A hundred thousand sessions, every fifth attempt of which fails: memory, threads and sockets stay where they were."""

import asyncio
import gc
import os
import random
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final, Literal

import httpx
import pytest
from driving import policy

import l0_core
from l0_core import _reader
from l0_core.testing import FaultyProvider, faults, virtual_time
from l0_core.testing import provider as testing_provider

TEXT: Final = "The Seine rises in Burgundy, near Dijon, and ends in the sea."
WORDS: Final = [f"{word} " for word in TEXT.split()]
FAULTS: Final = (ConnectionResetError, ConnectionAbortedError, TimeoutError)
SHARE: Final = 0.2
SESSIONS: Final = 100_000
OVER_LOOPBACK: Final = 2_000
AT_ONCE: Final = 50
LANES: Final = ("sync", "sync-off", "async")
# With three attempts each, and the usual retry budget, some of 100,000 sessions would end incomplete, as they should.
PATIENT: Final = policy(retry={"attempts": 12, "max_retries": 30}, budget={"tokens": 1_000_000})
# What is left of the first sessions is warmth: pools, caches, arenas. After them nothing may grow.
WARM: Final = SESSIONS // 10
GROWTH_BYTES_MAX: Final = 8 * 1024 * 1024


class Upstream:
    """Breaks a share of its attempts off, before the first word or after any; sometimes says nothing at all."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - not for secrets
        self.opened = 0
        self.failed = 0

    def __call__(self, attempt: l0_core.Attempt) -> Iterator[str]:
        self.opened += 1
        fails = self._dice.random() < SHARE
        self.failed += fails
        last = self._dice.randrange(len(WORDS)) if fails else len(WORDS)
        kind = self._dice.choice(FAULTS)
        if fails and last == 1:
            return  # empty
        yield from WORDS[:last]
        if fails:
            raise kind

    async def awaited(self, attempt: l0_core.Attempt) -> AsyncIterator[str]:
        for word in self(attempt):
            yield word


def drive_many(lane: str, upstream: Upstream, sessions: int) -> None:
    """Run so many sessions one after another, or so many at once where they are awaited; each must end right."""
    target = l0_core.Target(upstream.awaited if lane == "async" else upstream, name=lane)
    if lane != "async":
        for _ in range(sessions):
            guard: Literal["thread", "off"] = "off" if lane == "sync-off" else "thread"
            assert "".join(l0_core.stream(target, policy=PATIENT, stall_guard=guard)) == "".join(WORDS)
        return

    async def one() -> None:
        assert "".join([chunk async for chunk in l0_core.astream(target, policy=PATIENT)]) == "".join(WORDS)

    async def main() -> None:
        for begun in range(0, sessions, AT_ONCE):
            await asyncio.gather(*(one() for _ in range(min(AT_ONCE, sessions - begun))))

    asyncio.run(main())


def over_loopback(provider: FaultyProvider, sessions: int) -> None:
    """Real sockets: a client kept for all sessions, whose connections break now and then."""

    def ask(client: httpx.Client) -> Callable[[l0_core.Attempt], Iterator[str]]:
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Where does the Seine rise?"}]}

        def source(attempt: l0_core.Attempt) -> Iterator[str]:
            with client.stream("POST", f"{provider.openai_url}/chat/completions", json=body) as response:
                response.raise_for_status()
                yield from response.iter_lines()

        return source

    with httpx.Client(timeout=30) as client:

        def one(_: int) -> str:
            target = l0_core.Target(ask(client), name="loopback")
            return "\n".join(l0_core.stream(target, policy=PATIENT, streamed=False))

        with ThreadPoolExecutor(4) as pool:
            assert all(text.endswith("data: [DONE]\n") for text in pool.map(one, range(sessions)))


def memory() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def sockets() -> int:
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the listing itself
            found += str(descriptor.readlink()).startswith("socket:")
    return found


def settled(count: Callable[[], int], expected: int) -> int:
    """The count, as soon as it is back, or after a while."""
    limit = monotonic() + 10
    while (found := count()) > expected and monotonic() < limit:
        sleep(0.01)
    return found


def soak(sessions: int, loopback: int, warm: int) -> tuple[int, int, int]:
    """By how much memory, threads and sockets grew after the first sessions."""
    with virtual_time(), FaultyProvider() as provider:
        provider.script(faults.mix({faults.ok(): 8, faults.reset_after(chunks=3): 1, faults.status(503): 1}, seed=1))
        upstreams = {lane: Upstream(number) for number, lane in enumerate(LANES)}

        def some(count: int, over: int) -> None:
            for lane, upstream in upstreams.items():
                drive_many(lane, upstream, count // len(LANES))
            over_loopback(provider, over)

        some(warm, loopback // 10)
        before = (memory(), settled(threading.active_count, 2), settled(sockets, 8))
        some(sessions - warm, loopback - loopback // 10)
        opened = sum(upstream.opened for upstream in upstreams.values())
        failed = sum(upstream.failed for upstream in upstreams.values())
        assert 0.19 < failed / opened < 0.21
        after = (memory(), settled(threading.active_count, before[1]), settled(sockets, before[2]))
    return after[0] - before[0], after[1] - before[1], after[2] - before[2]


@pytest.mark.matrix
@pytest.mark.timeout(1_800)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nothing_grows(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """G3: 100,000 sessions at 20 % faults, 2,000 of them besides over real sockets."""
    caplog.set_level("CRITICAL", logger="l0")  # pytest keeps every line
    monkeypatch.setattr(_reader, "_IDLE_SECONDS", 0.5)
    monkeypatch.setattr(testing_provider, "REQUESTS_KEPT", 10)  # what it remembers is no growth
    grown, threads, open_sockets = soak(SESSIONS, OVER_LOOPBACK, WARM)
    assert (threads <= 0, open_sockets <= 0) == (True, True), (threads, open_sockets)
    assert grown < GROWTH_BYTES_MAX, f"{grown / 1024 / 1024:.1f} MiB more after {SESSIONS:,} sessions"
