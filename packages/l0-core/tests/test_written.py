"""A session is written down as it happens: everything that was said, and nothing about it that need not be."""

import json
import logging
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from driving import Driver, policy

import l0_core
from l0_core import Chunk, Journal, JournalError, Usage, _native
from l0_core._recording import PORT, SESSION, facts_of


@pytest.fixture(params=["disk", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    if request.param == "memory":
        yield Journal.memory()
        return
    with Journal.open(tmp_path / "l0.db") as journal:
        yield journal


def log_of(journal: Journal, session_id: str | None) -> _native.SessionLog:
    assert session_id is not None
    return _native.SessionLog.load(journal.disk, bytes.fromhex(session_id))


def records(journal: Journal, session_id: str | None) -> list[dict[str, Any]]:
    log = log_of(journal, session_id)
    return [json.loads(record) for _, record, _ in log.json(0, len(log))]


def mixed(attempt: l0_core.Attempt) -> Iterator[Any]:
    yield "The capital "
    yield Chunk(text="is ", metadata={"id": "c1"})
    yield "Paris\ud800."
    yield Chunk(finish_reason="stop", usage=Usage(7, 5))


def test_what_the_consumer_has_is_in_the_journal_before_it_has_it(drive: Driver, journal: Journal) -> None:
    """G5: at the moment a chunk is given, its record is there."""
    seen: list[str] = []
    started: list[str] = []
    listener = l0_core.Lifecycle(on_start=started.append)

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        yield from ("one ", "two ", "three ")

    class Watching(list[Any]):
        def append(self, chunk: Any) -> None:
            super().append(chunk)
            written = [r["chunk"]["text"] for r in records(journal, started[0]) if "chunk" in r]
            assert "".join(self) == "".join(written[: len(self)])
            seen.append(chunk)

    run = drive(source, journal=journal, on=listener, chunks=Watching())
    assert seen == ["one ", "two ", "three "]
    assert run.result is not None
    assert run.result.journal == "on"


def test_a_session_is_decided_again_from_its_journal_alone(drive: Driver, journal: Journal) -> None:
    """G6: the policy is in the journal, and the engine comes to the same decisions."""
    run = drive(mixed, journal=journal, policy=policy(retry={"attempts": 2}))
    assert run.result is not None
    log = log_of(journal, run.result.session_id)
    (seq, kind, payload, _), *others = log.notes
    facts = facts_of(payload)
    assert (seq, kind, facts.port) == (0, SESSION, None)
    assert [json.loads(note[2]) for note in others if note[1] == PORT] == [
        {"attempt": 0, "port": "l0_core.ports.plain:ChunkedPort"}
    ]
    session, divergence = log.replay(_native.Policy(facts.policy))
    assert divergence is None
    assert session is not None
    assert session.text == run.result.text == "The capital is Paris\ufffd."
    assert session.state == "done"
    other, divergence = log.replay(policy(retry={"attempts": 3}))
    assert other is None
    assert divergence is not None
    assert divergence[0] == 1


def test_rows_say_how_it_went(drive: Driver, journal: Journal) -> None:
    def failing(attempt: l0_core.Attempt) -> Iterator[str]:
        yield "half "
        raise ConnectionResetError

    def source(attempt: l0_core.Attempt) -> Iterator[Any]:
        yield attempt.shown
        yield Chunk(text="whole", finish_reason="stop", usage=Usage(3, 2))

    target = l0_core.Target(failing, name="a", prefill=False)
    plan = policy(retry={"max_retries": 0}, continuation={"rungs": ["rerun"]})
    run = drive(target, fallbacks=(l0_core.Target(source, name="b"),), journal=journal, policy=plan, tenant="acme")
    assert run.error is None
    assert run.result is not None
    (row,) = journal.sessions(status="complete", tenant="acme")
    wanted = {
        "id": run.result.session_id,
        "target": "a",
        "served_by": "b",
        "fault": "network",
        "attempts": 2,
        "degraded": True,
        "input_tokens": 3,
        "output_tokens": 2,
        "policy_digest": plan.digest,
        "engine_version": _native.version(),
    }
    assert {name: row[name] for name in wanted} == wanted
    assert row["duration_ms"] >= row["first_content_ms"] >= 0
    attempts = journal.attempts(run.result.session_id)
    assert [(one["number"], one["target"], one["status"], one["mode"]) for one in attempts] == [
        (0, "a", "failed", "fresh"),
        (1, "b", "served", "rerun"),
    ]
    assert attempts[0]["fault"] == "network"


def test_a_session_that_raises_has_its_row_too(drive: Driver, journal: Journal) -> None:
    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        if attempt.number >= 0:
            raise ConnectionRefusedError
        yield ""

    run = drive(source, journal=journal, policy=policy(retry={"max_retries": 1}))
    assert isinstance(run.error, l0_core.ExhaustedError)
    (row,) = journal.sessions()
    assert (row["status"], row["fault"], row["attempts"]) == ("exhausted", "network", 2)


def test_a_consumer_that_leaves_early_leaves_a_whole_record(journal: Journal) -> None:
    stream = l0_core.stream(mixed, journal=journal)
    next(iter(stream))
    stream.close()
    (row,) = journal.sessions()
    assert row["status"] == "cancelled"
    session, _ = log_of(journal, row["id"]).replay(_native.Policy.preset("standard"))
    assert session is not None
    assert session.state == "done"


def test_nothing_is_written_where_no_journal_is_said(drive: Driver, journal: Journal) -> None:
    run = drive(mixed)
    assert run.result is not None
    assert run.result.journal == "off"
    assert journal.sessions() == []


def test_the_environment_may_say_which(drive: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L0_JOURNAL", str(tmp_path / "env.db"))
    run = drive(mixed)
    assert run.result is not None
    assert run.result.journal == "on"
    journal = Journal.of(None)
    assert journal is Journal.of(tmp_path / "env.db")
    assert journal is not None
    assert [row["id"] for row in journal.sessions()] == [run.result.session_id]
    journal.close()


def test_a_call_is_written_down_as_well(journal: Journal) -> None:
    assert l0_core.call(lambda: ["a document"], journal=journal) == ["a document"]
    (row,) = journal.sessions()
    assert row["status"] == "complete"
    session, divergence = log_of(journal, row["id"]).replay(_native.Policy.preset("standard"))
    assert divergence is None
    assert session is not None


# When the journal fails ----------------------------------------------------------------------------------------------


class Failing:
    """A store that takes so many records, and then none."""

    def __init__(self, takes: int) -> None:
        self.left = takes
        self.rows: list[dict[str, Any]] = []

    def append(self, stream: bytes, kind: int, payload: bytes, contents: Any, at_ns: int) -> int:
        self.left -= 1
        if self.left < 0:
            raise OSError(28, "no space left, and a secret: hunter2")
        return 0

    def load(self, stream: bytes, from_: int, limit: int) -> list[Any]:
        return []

    def put(self, table: str, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def list(self, table: str, conditions: Any) -> Any:
        return [], None

    def lease(self, run: bytes, wait: float) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("takes", range(0, 12, 2))
def test_a_session_goes_on_without_its_journal_and_says_so(
    drive: Driver, takes: int, caplog: pytest.LogCaptureFixture
) -> None:
    """G8: a journal that fails, wherever it does, is marked on the result and costs the consumer nothing."""
    caplog.set_level(logging.DEBUG, "l0")
    whole = drive(mixed)
    store = Failing(takes)
    run = drive(mixed, journal=store)
    assert run.chunks[:3] == whole.chunks[:3]
    assert run.error is None
    assert run.result is not None
    assert run.result.journal == "lost"
    assert run.result.metadata()["journal"] == "lost"
    (line,) = [record.getMessage() for record in caplog.records if "journal=lost" in record.getMessage()]
    assert run.result.session_id in line
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("takes", range(8))
def test_a_session_that_must_be_written_down_ends_with_its_journal(drive: Driver, takes: int) -> None:
    """Nothing is given that was not written."""
    store = Failing(takes)
    try:
        run = drive(mixed, journal=Journal(store, on_loss="raise"))
    except JournalError:
        return
    assert isinstance(run.error, JournalError)
    assert len(run.chunks) <= max(0, takes - 6)


def test_a_journal_that_cannot_be_opened_is_a_lost_one(drive: Driver, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        target = tmp_path / "missing" / "l0.db"  # nobody makes folders
    else:
        (tmp_path / "sealed").mkdir(mode=0o500)
        target = tmp_path / "sealed" / "l0.db"
    run = drive(mixed, journal=target)
    assert run.error is None
    assert run.result is not None
    assert run.result.journal == "lost"


def test_a_file_that_is_something_else_is_a_mistake_of_the_callers(drive: Driver, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a journal " * 100, encoding="utf-8")
    with pytest.raises(JournalError) as caught:
        drive(mixed, journal=tmp_path / "notes.txt")
    assert caught.value.reason == "not_a_journal"


def test_a_closed_journal_is_a_lost_one(drive: Driver, tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "l0.db")
    journal.close()
    run = drive(mixed, journal=journal)
    assert run.result is not None
    assert (run.error, run.result.journal) == (None, "lost")


def test_a_journal_that_is_only_looked_at_is_a_lost_one(drive: Driver, tmp_path: Path) -> None:
    with Journal.open(tmp_path / "l0.db") as journal:
        drive(mixed, journal=journal)
    looking = Journal.open(tmp_path / "l0.db", read_only=True)
    run = drive(mixed, journal=looking)
    assert run.result is not None
    assert (run.error, run.result.journal) == (None, "lost")
    assert len(looking.sessions()) == 1


def test_a_disk_that_takes_no_more_costs_the_consumer_nothing(drive: Driver, tmp_path: Path) -> None:
    """G8: what was written is there and verifies, the session is marked, and the next one is recorded again."""

    def long(attempt: l0_core.Attempt) -> Iterator[str]:
        yield from (f"word{number:06} " for number in range(60_000))

    journal = Journal.open(tmp_path / "l0.db", durability="fast", linger=60.0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        run = drive(long, journal=journal)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert run.error is None
    assert len(run.chunks) == 60_000
    assert run.result is not None
    assert run.result.journal == "lost"
    again = drive(mixed, journal=journal)
    assert again.result is not None
    assert again.result.journal == "on"
    assert journal.verify().is_sound
    before = l0_core.replay(journal, run.result.session_id)
    assert run.result.text.startswith(before.text)
    assert 10_000 < len(before.text) < len(run.result.text)
    journal.close()


# How long it takes to be safe ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["fast", "safe", "paranoid", "off"])
def test_every_durability_gives_the_same_stream(drive: Driver, durability: Any, tmp_path: Path) -> None:
    """G7, whatever is waited for."""
    bare = drive(mixed)
    with Journal.open(tmp_path / "l0.db", durability=durability) as journal:
        run = drive(mixed, journal=journal)
        assert run.chunks[:-1] == bare.chunks[:-1]
        assert run.result is not None
        assert run.result.journal == ("off" if durability == "off" else "on")
        assert len(journal.sessions()) == (0 if durability == "off" else 1)


def test_a_chunk_that_cannot_be_written_is_given_all_the_same(drive: Driver, journal: Journal) -> None:
    class Odd(l0_core.ports.plain.PlainPort):
        def encode(self, chunk: Any) -> str:
            raise RuntimeError("no JSON for this: hunter2")

    run = drive(mixed, journal=journal, port=Odd())
    assert run.error is None
    assert run.result is not None
    assert run.result.journal == "on"


@pytest.fixture
def forked() -> Callable[[Callable[[], None]], int]:
    def run(child: Callable[[], None]) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                child()
            except BaseException:  # noqa: BLE001 - a child of a test must not go on as the test
                os._exit(1)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return run


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_starts_clean(tmp_path: Path, forked: Callable[[Callable[[], None]], int]) -> None:
    """The same object works on both sides of a fork, and what either writes is there."""
    journal = Journal.open(tmp_path / "l0.db")
    list(l0_core.stream(mixed, journal=journal))

    def child() -> None:
        list(l0_core.stream(mixed, journal=journal))
        journal.close()

    assert forked(child) == 0
    list(l0_core.stream(mixed, journal=journal))
    assert len(journal.sessions()) == 3
    assert journal.verify().is_sound
    journal.close()
