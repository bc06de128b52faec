"""Ctrl-C, as a user presses it: a real signal to a real process that reads from a real socket."""

import signal
import subprocess
import sys
from time import monotonic

import pytest
from watching import Watching

# The consumer is blocked in a read when the signal comes.
SYNC = """
import sys, threading, time
import httpx
import l0_core
from l0_core import _reader

_reader._IDLE_SECONDS = 0.05

class Response:
    def __init__(self, url):
        self.client = httpx.Client(timeout=30)
        self.response = self.client.send(self.client.build_request("GET", url), stream=True)

    def __iter__(self):
        yield from self.response.iter_text()

    def close(self):
        self.response.close()
        self.client.close()

def consume():
    for text in l0_core.stream(lambda _: Response(sys.argv[1]), stall_guard=sys.argv[2]):
        print(text, flush=True)
"""
ASYNC = """
import asyncio, sys, threading, time
import httpx
import l0_core

async def source(attempt):
    async with httpx.AsyncClient(timeout=30) as client, client.stream("GET", sys.argv[1]) as response:
        async for text in response.aiter_text():
            yield text

async def read():
    async for text in l0_core.astream(source):
        print(text, flush=True)

def consume():
    asyncio.run(read())
"""
CAUGHT = """
try:
    consume()
except KeyboardInterrupt:
    limit = time.monotonic() + 10
    while threading.active_count() > 1 and time.monotonic() < limit:
        time.sleep(0.01)
    print("interrupted", threading.active_count())
"""
WAYS = {"sync-thread": (SYNC, "thread"), "sync-off": (SYNC, "off"), "async": (ASYNC, "")}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[str, str]:
    return WAYS[request.param]


def interrupted(way: tuple[str, str], end: str, server: Watching) -> tuple[str, str, float]:
    """What the program printed, on both streams, and how long after the signal the server saw it leave."""
    program, guard = way
    command = [sys.executable, "-c", program + end, server.url, guard]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "spoken\n"
        sent = monotonic()
        process.send_signal(signal.SIGINT)
        assert server.left.wait(10)
        printed, errors = process.communicate(timeout=20)
    return printed, errors, server.left_at - sent


def test_an_interrupt_hangs_up_and_leaves_no_thread(way: tuple[str, str], server: Watching) -> None:
    """G3."""
    printed, errors, _ = interrupted(way, CAUGHT, server)
    assert (printed, errors) == ("interrupted 1\n", "")


def test_an_interrupt_is_all_that_is_seen_of_it(way: tuple[str, str], server: Watching) -> None:
    """No exception of a thread, none that was ignored, no second traceback."""
    printed, errors, took = interrupted(way, "\nconsume()\n", server)
    assert printed == ""
    assert errors.rstrip().endswith("KeyboardInterrupt")
    for noise in ("ignored", "Thread", "RuntimeError", "L0Error", "never awaited"):
        assert noise not in errors
    # asyncio itself cancels the main task first, and shows that.
    assert errors.count("Traceback") == (2 if way == WAYS["async"] else 1)
    assert took < 5
