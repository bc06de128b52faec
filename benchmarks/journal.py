"""What being written down costs a stream, and what reading it again does."""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from row import Row, in_turn

import l0_core
from l0_core import Chunk, Journal, _native
from l0_core._replay import Recorded

COUNT = 100_000
ROUNDS = 5
SESSIONS = 100_000
PIECES = ("The", " capital", " of", " France", " is", " Paris", ",", " which", " lies", " on", " the Seine", ".\n")
"""Ordinary English, in pieces about as long as models send."""


def rows() -> Iterator[Row]:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _written(Path(folder))
        yield from _read(Path(folder))
        yield from _many(Path(folder))


def _pieces(_: object = None) -> Iterator[str]:
    for place in range(COUNT):
        yield PIECES[place % 12]


def _objects(_: object = None) -> Iterator[Chunk]:
    for place in range(COUNT // 10):
        yield Chunk(text=PIECES[place % 12], metadata={"id": place})


def _took(job: Callable[[], object], count: int) -> float:
    started = perf_counter()
    job()
    return (perf_counter() - started) / count * 1e9


def _drain(journal: Journal | None) -> None:
    for _ in l0_core.stream(_pieces, stall_guard="off", journal=journal):
        pass


def _written(folder: Path) -> Iterator[Row]:
    file = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    line = b"x" * 24

    def write() -> None:
        for _ in range(COUNT):
            os.write(file, line)

    journals = {name: Journal.open(folder / f"{name}.db", durability=name) for name in ("fast", "safe")}
    candidates = {name: partial(_took, partial(_drain, journal), COUNT) for name, journal in journals.items()}
    candidates |= {"off": partial(_took, partial(_drain, None), COUNT), "write": partial(_took, write, COUNT)}
    figures = in_turn(candidates, ROUNDS)
    os.close(file)
    for name in journals:
        yield Row("journal", f"a chunk, added by {name!r}", figures[name] - figures["off"], "ns", 1_000)
    yield Row("journal", "the same over one write(2) of as many bytes", _over(figures), "ratio")
    journal = journals["fast"]
    journal.flush()
    before, started = _bytes(folder, "fast"), perf_counter()
    _drain(journal)
    journal.flush()
    yield Row("journal", "through the driver until other processes see it", COUNT / (perf_counter() - started), "1/s")
    yield Row("journal", "a token on disk", (_bytes(folder, "fast") - before) / COUNT, "bytes", 30)
    for journal in journals.values():
        journal.close()


def _over(figures: dict[str, float]) -> float:
    return (figures["fast"] - figures["off"]) / figures["write"]


def _bytes(folder: Path, name: str) -> int:
    """Return what the database takes, without what is only on its way there."""
    path = folder / f"{name}.db"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        ((pages, size),) = connection.execute("SELECT * FROM pragma_page_count(), pragma_page_size()").fetchall()
    connection.close()
    return int(pages) * int(size)


def _read(folder: Path) -> Iterator[Row]:
    journal = Journal.open(folder / "read.db", durability="fast")
    plain, rich = (_recorded(journal, source) for source in (_pieces, _objects))
    journal.flush()
    log, policy = Recorded(journal, plain).log, Recorded(journal, plain).policy
    candidates = {
        "engine": partial(_took, lambda: log.replay(policy), COUNT),
        "whole": partial(_took, lambda: l0_core.replay(journal, plain), COUNT),
        "str": partial(_took, lambda: _consume(l0_core.replay_stream(journal, plain)), COUNT),
        "Chunk": partial(_took, lambda: _consume(l0_core.replay_stream(journal, rich)), COUNT // 10),
    }
    figures = {name: 1e9 / took for name, took in in_turn(candidates, ROUNDS).items()}
    yield Row("journal", "replay: chunks decided again", figures["engine"], "1/s", 1_000_000)
    yield Row("journal", "replay: the same, from the file and proven", figures["whole"], "1/s")
    yield Row("journal", "replay: chunks given again, text", figures["str"], "1/s", 100_000)
    yield Row("journal", "replay: chunks given again, objects", figures["Chunk"], "1/s", 100_000)
    journal.close()


def _recorded(journal: Journal, source: Any) -> str:
    stream = l0_core.stream(source, stall_guard="off", journal=journal)
    _consume(stream)
    return stream.result.session_id


def _consume(stream: Any) -> None:
    for _ in stream:
        pass


def _many(folder: Path) -> Iterator[Row]:
    path = folder / "many.db"
    with Journal.open(path, durability="fast") as journal:
        native = journal.disk
        for place in range(SESSIONS):
            native.put_session(
                id=_native.named_id("session", str(place)),
                target="gpt-5-mini",
                tenant=f"tenant {place % 50}",
                status="complete",
                started_at_ms=1_790_000_000_000 + place,
                attempts=1,
            )
    opened = [_open(path) for _ in range(ROUNDS)]
    journal = Journal.open(path)
    page = in_turn({"page": partial(_took, lambda: journal.sessions(tenant="tenant 7"), 1)}, ROUNDS)["page"]
    yield Row("journal", "opened with 100,000 sessions", sorted(opened)[ROUNDS // 2] * 1e3, "ms", 1_000)
    yield Row("journal", "the first page of a tenant among 100,000 sessions", page / 1e6, "ms", 100)
    journal.close()


def _open(path: Path) -> float:
    started = perf_counter()
    journal = Journal.open(path)
    took = perf_counter() - started
    journal.close()
    return took
