"""What the drivers add to a source that costs nothing: the worst case for every figure."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from inspect import isawaitable
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, perf_counter_ns, process_time, sleep
from typing import Any

import httpx
from openai import AsyncOpenAI
from row import Row, in_turn

import l0_core
from l0_core import ports

SIZES = (2_000, 20_000, 200_000)
ROUNDS = 7
LINE = (
    '{"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1790000000, "model": "m", '
    '"service_tier": "default", "system_fingerprint": "fp_1", '
    '"choices": [{"index": 0, "delta": {"content": "%s"}, "finish_reason": null}]}'
)
LAST = LINE.replace('{"content": "%s"}, "finish_reason": null', '{}, "finish_reason": "stop"')
PEER = Path(__file__).parent.parent / ".cache/peers/bin/python"


def _tokens(count: int) -> Iterator[str]:
    for _ in range(count):
        yield "token "


async def _tokens_async(count: int) -> AsyncIterator[str]:
    for _ in range(count):
        yield "token "


def _run(make: Any, count: int) -> float:
    chunks = make(count)
    started = perf_counter()
    for _ in chunks:
        pass
    return (perf_counter() - started) / count * 1e9


def _run_async(make: Any, count: int) -> float:
    async def main() -> float:
        chunks = make(count)
        started = perf_counter()
        async for _ in chunks:
            pass
        return (perf_counter() - started) / count * 1e9

    return asyncio.run(main())


def _threaded(count: int) -> Any:
    return l0_core.stream(lambda _: _tokens(count))


def _direct(count: int) -> Any:
    return l0_core.stream(lambda _: _tokens(count), stall_guard="off")


def _awaited(count: int) -> Any:
    return l0_core.astream(lambda _: _tokens_async(count))


def _chunks() -> Iterator[Row]:
    ways = {
        "sync, reader thread saturated": (_run, _threaded, _tokens, 1_000),
        "sync, read directly": (_run, _direct, _tokens, 500),
        "async, all clocks on": (_run_async, _awaited, _tokens_async, 800),
    }
    for name, (run, protected, bare, limit) in ways.items():
        kinds = {"l0": protected, "bare": bare}
        candidates = {f"{kind} {n}": partial(run, make, n) for n in SIZES for kind, make in kinds.items()}
        figures = in_turn(candidates, ROUNDS)
        added = {count: figures[f"l0 {count}"] - figures[f"bare {count}"] for count in SIZES}
        yield Row("drivers", f"{name}: added a chunk", added[20_000], "ns", limit)
        yield Row("drivers", f"{name}: 200,000 chunks over 2,000", added[200_000] / added[2_000], "ratio", 1.2)


def _sessions(count: int) -> Iterator[Row]:
    def sync(make: Any) -> float:
        return _session(lambda: _run(make, 1), count)

    async def bare_loop(make: Any) -> float:
        started = perf_counter()
        for _ in range(count):
            async for _ in make(1):
                pass
        return (perf_counter() - started) / count * 1e6

    figures = in_turn(
        {
            "sync, reader thread": partial(sync, _threaded),
            "sync, read directly": partial(sync, _direct),
            "async": lambda: asyncio.run(bare_loop(_awaited)),
        },
        ROUNDS,
    )
    limits = {"sync, reader thread": 200, "async": 60}
    for name, value in figures.items():
        yield Row("drivers", f"{name}: a session of one chunk", value, "us", limits.get(name))


def _session(run: Any, count: int) -> float:
    started = perf_counter()
    for _ in range(count):
        run()
    return (perf_counter() - started) / count * 1e6


def _hop() -> Iterator[Row]:
    """How much later a live chunk arrives because it came through a thread."""

    def source(count: int) -> Iterator[Any]:
        for _ in range(count):
            sleep(0.001)
            yield str(perf_counter_ns())

    delays = [perf_counter_ns() - int(sent) for sent in l0_core.stream(lambda _: source(400))]
    yield Row("drivers", "sync: live latency of the hop, median", median(delays) / 1_000, "us", 30)


def _crowd() -> Iterator[Row]:
    """A thousand streams on one loop, a chunk every 50 ms each: the work of the loop, and how late chunks come.

    A chunk is a line of JSON that is parsed: nothing else of a client is counted, which is less than any client does.
    """

    async def paced(count: int) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for _ in range(count):
            due += 0.05
            await asyncio.sleep(due - loop.time())
            yield json.loads(LINE % f"{due}")["choices"][0]["delta"]["content"]

    async def listen(chunks: Any, late: list[float]) -> None:
        loop = asyncio.get_running_loop()
        late.extend([loop.time() - float(chunk) async for chunk in chunks])

    def crowd(make: Any) -> tuple[float, float]:
        late: list[float] = []

        async def main() -> None:
            await asyncio.gather(*(listen(make(), late) for _ in range(1_000)))

        started = process_time()
        asyncio.run(main())
        return process_time() - started, quantiles(late, n=100)[98]

    figures: dict[str, list[tuple[float, float]]] = {"bare": [], "l0": []}
    for _ in range(3):
        figures["bare"].append(crowd(lambda: paced(100)))
        figures["l0"].append(crowd(lambda: l0_core.astream(lambda _: paced(100))))
    cpu = {name: median(run[0] for run in runs) for name, runs in figures.items()}
    late = {name: median(run[1] for run in runs) for name, runs in figures.items()}
    yield Row("drivers", "1,000 async streams: CPU over bare", cpu["l0"] / cpu["bare"], "ratio", 1.10)
    yield Row("drivers", "1,000 async streams: added p99 lateness", (late["l0"] - late["bare"]) * 1_000, "ms", 5)


class _Paced(httpx.AsyncByteStream):
    """The body of an answer, an event every 50 ms."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for _ in range(100):
            due += 0.05
            await asyncio.sleep(due - loop.time())
            yield f"data: {LINE % 'token '}\n\n".encode()
        yield f"data: {LAST}\n\ndata: [DONE]\n\n".encode()


def _clients() -> Iterator[Row]:
    """As `_crowd`, with what a client does besides: the streams are those of the `openai` SDK, all but the socket."""
    request: Any = {"model": "m", "messages": [{"role": "user", "content": "The capital of France?"}]}

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=_Paced())

    async def listen(opened: Any) -> None:
        async for _ in await opened if isawaitable(opened) else opened:
            pass

    def crowd(make: Any) -> float:
        async def main() -> None:
            async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
                client = AsyncOpenAI(api_key="none", base_url="http://127.0.0.1/v1", http_client=http)
                await asyncio.gather(*(listen(make(client)) for _ in range(200)))

        started = process_time()
        asyncio.run(main())
        return process_time() - started

    cpu = in_turn(
        {
            "bare": lambda: crowd(lambda client: client.chat.completions.create(stream=True, **request)),
            "l0": lambda: crowd(lambda client: l0_core.astream(ports.openai_chat(client, **request))),
        },
        3,
    )
    yield Row("drivers", "200 async streams of the openai SDK: CPU over bare", cpu["l0"] / cpu["bare"], "ratio", 1.10)


def _peer() -> Iterator[Row]:
    """The peer, in an environment of its own, over the same source."""
    if not PEER.exists():
        return
    script = Path(__file__).with_name("peer.py")
    answer = subprocess.run([str(PEER), str(script)], check=True, capture_output=True, text=True)
    for name, value, unit in json.loads(answer.stdout):
        yield Row("drivers", f"peer ai2070-l0: {name}", value, unit)


def rows() -> Iterator[Row]:
    """Measure."""
    yield from _chunks()
    yield from _sessions(300)
    yield from _hop()
    yield from _crowd()
    yield from _clients()
    yield from _peer()
