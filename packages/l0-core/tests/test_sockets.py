"""An upstream that is no longer wanted is closed: watched from the server's side of the socket."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from time import monotonic

import httpx
import pytest
from driving import policy
from watching import Watching

import l0_core


class Response:
    """What a client's stream object looks like to `abort`: it has the response it reads."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(timeout=30)
        self.response = self._client.send(self._client.build_request("GET", url), stream=True)

    def __iter__(self) -> Iterator[str]:
        try:
            yield from self.response.iter_text()
        finally:
            self.response.close()
            self._client.close()


def source_of(server: Watching) -> l0_core.Target:
    return l0_core.Target(lambda _: Response(server.url), name="watched")


def async_source_of(server: Watching) -> l0_core.Target:
    async def source(attempt: l0_core.Attempt) -> AsyncIterator[str]:
        async with httpx.AsyncClient(timeout=30) as client, client.stream("GET", server.url) as response:
            async for text in response.aiter_text():
                yield text

    return l0_core.Target(source, name="watched")


def test_closing_a_sync_stream_hangs_up_at_once(server: Watching) -> None:
    """G3."""
    stream = l0_core.stream(source_of(server))
    assert next(stream) == "spoken"
    started = monotonic()
    stream.close()
    assert server.left.wait(30)
    assert server.left_at - started < 0.1 + 4, "within 100 ms, and a busy machine's seconds"


def test_a_stalled_sync_read_is_hung_up_on(server: Watching) -> None:
    stream = l0_core.stream(source_of(server), policy=policy(timeouts={"text": 0.05}, retry={"max_retries": 0}))
    with pytest.raises(l0_core.IncompleteError):
        list(stream)
    assert server.left.wait(30)


def test_breaking_out_of_a_sync_stream_hangs_up(server: Watching) -> None:
    for _ in l0_core.stream(source_of(server)):
        break
    assert server.left.wait(30)


async def test_closing_an_async_stream_hangs_up_at_once(server: Watching) -> None:
    stream = l0_core.astream(async_source_of(server))
    assert await anext(stream) == "spoken"
    started = monotonic()
    await stream.aclose()
    assert await asyncio.to_thread(server.left.wait, 30)
    assert server.left_at - started < 0.1 + 4


async def test_cancelling_an_async_consumer_hangs_up(server: Watching) -> None:
    spoken = asyncio.Event()

    async def consume() -> None:
        async for _ in l0_core.astream(async_source_of(server)):
            spoken.set()

    consumer = asyncio.create_task(consume())
    await spoken.wait()
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert await asyncio.to_thread(server.left.wait, 30)


async def test_a_stalled_async_read_is_hung_up_on(server: Watching) -> None:
    quick = policy(timeouts={"text": 0.05}, retry={"max_retries": 0})
    with pytest.raises(l0_core.IncompleteError):
        _ = [chunk async for chunk in l0_core.astream(async_source_of(server), policy=quick)]
    assert await asyncio.to_thread(server.left.wait, 30)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_starts_clean() -> None:
    """Neither the parent's threads nor its fleet are there, and sessions work all the same."""
    assert list(l0_core.stream(lambda _: iter(["parent"]))) == ["parent"]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = "".join(l0_core.stream(lambda _: iter(["child"])))
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"child"
    assert os.waitpid(child, 0)[1] == 0
