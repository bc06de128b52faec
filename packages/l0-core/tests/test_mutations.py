"""Whatever is changed of what was recorded is named at the record where it was changed (G6).

A run with its steps and two sessions, written from Python, has records of every kind. Each of them is changed on disk,
where `verify` names it, and in what is read, where a replay names the first one that is not what it was.
"""

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from test_replay import Edited

import l0_core
from l0_core import Chunk, Journal, JournalError, ReplayDivergence, ToolFragment, _native
from l0_core._history import BEGAN, ENDED, STEP_BEGAN, STEP_ENDED, WENT_LIVE
from l0_core._recording import PORT, SESSION

POLICY = l0_core.Policy(retry=l0_core.Retry(base=0.0))
MUTATIONS = 4
"""Of each part of each record."""

RUN = _native.named_id("run", "job")


def answering(name: str) -> l0_core.Target:
    def open_(attempt: l0_core.Attempt) -> Iterator[Any]:
        yield "The capital of France "
        if attempt.number == 0:
            raise ConnectionResetError
        yield Chunk(text="is Paris.", metadata={"id": "chunk-2"})
        yield Chunk(tools=(ToolFragment(0, "call-1", "look", '{"city": "Paris"}', last=True),))
        yield Chunk(finish_reason="stop")

    return l0_core.Target(open_, name=name)


@l0_core.step
def charge(amount: int, order: str) -> str:
    return f"receipt for {amount} of {order}"


@l0_core.step(name="look up")
def look_up(name: str) -> dict[str, int]:
    return {name: 40, "shipping": charge(5, "shipping").count("p")}


def work(journal: Journal, mode: Any, **how: Any) -> Any:
    with l0_core.run("job", journal=journal, mode=mode, **how):
        prices = look_up("lamp")
        said = [str(chunk) for chunk in l0_core.stream(answering("first"), policy=POLICY, input="Which?")]
        said += [str(chunk) for chunk in l0_core.stream(answering("second"), policy=POLICY, input="And then?")]
        return said, charge(prices["lamp"], "lamp")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("journal") / "l0.db"
    with Journal.open(path) as journal:
        with suppress(ZeroDivisionError), l0_core.run("job", journal=journal):
            look_up("desk")
            raise ZeroDivisionError
        work(journal, "resume", on_change="live")
    return path


def streams(journal: Journal) -> dict[bytes, list[_native.JournalRecord]]:
    ids = [row["id"] for row in (*journal.runs(), *journal.sessions())]
    return {bytes.fromhex(id_): list(journal.disk.load(bytes.fromhex(id_))) for id_ in ids}


def test_every_kind_of_record_is_there(path: Path) -> None:
    with Journal.open(path) as journal:
        run, *sessions = streams(journal).values()
    assert {record.kind for record in run} == {BEGAN, STEP_BEGAN, STEP_ENDED, WENT_LIVE, ENDED}
    for session in sessions:
        assert {record.kind for record in session} == {1, 2, 3, 128, SESSION, PORT}


class Place(NamedTuple):
    """Where a part of a record lies in the file."""

    record: _native.JournalRecord
    column: str
    block: int
    at: int
    length: int

    @contextmanager
    def changed(self, path: Path, dice: random.Random) -> Iterator[None]:
        """Change one of its bytes, and put it back afterwards."""
        at, change = self.at + dice.randrange(self.length), dice.randrange(1, 256)
        self._change(path, at, change)
        yield
        self._change(path, at, change)

    def _change(self, path: Path, at: int, change: int) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            query = f"SELECT {self.column} FROM blocks WHERE position = ?"  # noqa: S608 - one of two constants
            (old,) = connection.execute(query, [self.block]).fetchone()
            new = old[:at] + bytes([old[at] ^ change]) + old[at + 1 :]
            query = f"UPDATE blocks SET {self.column} = ? WHERE position = ?"  # noqa: S608 - as above
            connection.execute(query, [new, self.block])


def places(path: Path, stream: bytes, records: list[_native.JournalRecord]) -> Iterator[Place]:
    """Yield where the payload of each record is, and its content. A chunk's few numbers are written in another way."""
    with closing(sqlite3.connect(path)) as connection:
        blocks = connection.execute(
            "SELECT position, first_seq, blocks.records, body, content FROM blocks JOIN streams ON stream = no"
            " WHERE id = ? ORDER BY number",
            [stream],
        ).fetchall()
    for position, first, count, body, content in blocks:
        at = content_at = 0
        for record in records[first : first + count]:
            payload = bytes(record.payload)
            if record.kind != 128:
                prefix = _varint(len(payload))
                at = body.index(prefix + payload, at) + len(prefix)
                yield Place(record, "body", position, at, len(payload))
                at += len(payload)
            for _, _, value in record.contents:
                assert content[content_at : content_at + len(value)] == value
                if value:
                    yield Place(record, "content", position, content_at, len(value))
                content_at += len(value)


def _varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128, number >> 7])


# On disk: `verify` ----------------------------------------------------------------------------------------------------


def test_a_changed_byte_of_any_record_is_named_by_verify(path: Path, tmp_path: Path) -> None:
    """Of each record's payload and each piece of its content, random bytes, changed behind the journal's back."""
    dice = random.Random(20261121)  # noqa: S311 - to be the same each time
    with Journal.open(path) as journal:
        recorded = streams(journal)
    named: dict[tuple[bool, int], int] = {}
    copy = tmp_path / "l0.db"
    copy.write_bytes(path.read_bytes())
    for stream, records in recorded.items():
        for place in places(copy, stream, records):
            for _ in range(MUTATIONS):
                with place.changed(copy, dice), Journal.open(copy, read_only=True) as journal:
                    report = journal.verify()
                found = {(finding.stream, finding.record) for finding in report.findings}
                assert (stream.hex(), place.record.seq) in found, (place, report.findings)
                assert {finding.record for finding in report.findings} <= {place.record.seq, None}
                name = stream == RUN, place.record.kind
                named[name] = named.get(name, 0) + 1
    assert len(named) == 11
    assert min(named.values()) >= MUTATIONS, named


def test_blocks_that_are_missing_or_in_another_order_are_noticed(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "l0.db"
    swap = "UPDATE blocks SET position = CASE position WHEN {0} THEN -{1} ELSE -{0} END WHERE position IN ({0}, {1})"
    back = "UPDATE blocks SET position = -position WHERE position < 0"
    changes = [[f"DELETE FROM blocks WHERE position = {block}"] for block in range(1, 5)]  # noqa: S608 - a number
    changes += [[swap.format(block, block + 1), back] for block in range(1, 4)]
    for statements in changes:
        copy.write_bytes(path.read_bytes())
        with Journal.open(path) as journal:
            head = journal.head()
        with closing(sqlite3.connect(copy)) as connection, connection:
            for statement in statements:
                connection.execute(statement)
        with Journal.open(copy, read_only=True) as journal:
            assert not journal.verify(head).is_sound, statements


# Read and decided again -----------------------------------------------------------------------------------------------


class Changed(Edited):
    """A store that gives back what a journal has, with another record in the place of one of a run's."""

    def __init__(self, recorded: dict[bytes, list[_native.JournalRecord]], run: list[_native.JournalRecord]) -> None:
        super().__init__(run)
        self._recorded = recorded

    def load(self, stream: bytes, from_: int, limit: int) -> list[Any]:
        return (self.records if stream == RUN else self._recorded[stream])[from_:]


def other(value: Any, dice: random.Random) -> Any:
    """Return another value of the same sort."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + dice.randrange(1, 9)
    if isinstance(value, str):
        return value[::-1] + dice.choice("abc")
    if isinstance(value, list):
        return [*value, "none"]
    return "something"


UNDECIDED = {
    # Said for people, or for resuming: a replay decides nothing by it. `verify` has named each of them above.
    (BEGAN, "at_ms"),
    (BEGAN, "engine"),
    (STEP_BEGAN, "lane"),
    (WENT_LIVE, "instead_of"),
    (ENDED, "error"),
}


@pytest.fixture(scope="module")
def recorded(path: Path) -> dict[bytes, list[_native.JournalRecord]]:
    with Journal.open(path) as journal:
        return streams(journal)


def replayed(recorded: dict[bytes, list[_native.JournalRecord]], run: list[_native.JournalRecord]) -> Any:
    return work(Journal(Changed(recorded, run)), "replay")


def with_payload(record: _native.JournalRecord, said: dict[str, Any]) -> _native.JournalRecord:
    payload = json.dumps(said, separators=(",", ":")).encode()
    return _native.JournalRecord(record.seq, record.at_ns, record.kind, payload, record.contents)


def test_a_changed_field_of_any_record_of_a_run_is_named_by_a_replay(
    recorded: dict[bytes, list[_native.JournalRecord]],
) -> None:
    """Every field of every record that is still in force, changed to other values."""
    dice, run = random.Random(20261121), recorded[RUN]  # noqa: S311 - to be the same each time
    right = replayed(recorded, run)
    (live,) = [record.seq for record in run if record.kind == WENT_LIVE]
    nested = [record.seq for record in run if record.kind == STEP_BEGAN and json.loads(record.payload)["parent"]]
    named: set[tuple[int, str]] = set()
    for record in run[live - 1 :]:
        said = json.loads(record.payload)
        for name in said:
            edited = list(run)
            edited[record.seq] = with_payload(record, said | {name: other(said[name], dice)})
            # By what is nested in a step whose result was recorded a replay does not come.
            if (record.kind, name) in UNDECIDED or (record.seq in nested and name in {"kind", "side_effect"}):
                assert replayed(recorded, edited) == right
                continue
            with pytest.raises((ReplayDivergence, JournalError)) as caught:
                replayed(recorded, edited)
            assert name == "v" or getattr(caught.value, "record", None) == record.seq, (name, str(caught.value))
            named.add((record.kind, name))
    assert named == {
        (BEGAN, "v"),
        (BEGAN, "id"),
        (WENT_LIVE, "keep"),
        *(
            (STEP_BEGAN, name)
            for name in ("parent", "name", "digest", "nth", "kind", "side_effect", "session", "idempotency_key")
        ),
        *((STEP_ENDED, name) for name in ("id", "status")),
        (ENDED, "status"),
    }


def test_records_of_a_run_that_are_missing_or_in_another_order_are_named(
    recorded: dict[bytes, list[_native.JournalRecord]],
) -> None:
    """The last one aside: a run that ends too early is that of a process that died."""
    run = recorded[RUN]
    for place in range(len(run) - 1):
        for edited in (run[:place] + run[place + 1 :], [*run[:place], run[place + 1], run[place], *run[place + 2 :]]):
            with pytest.raises(JournalError) as caught:
                replayed(recorded, edited)
            assert (caught.value.reason, caught.value.record) == ("corrupt", place)


def test_another_input_is_named_field_by_field(recorded: dict[bytes, list[_native.JournalRecord]]) -> None:
    """The recorded prompt, edited; and a program that asks something else."""
    run = recorded[RUN]
    (place,) = [record.seq for record in run if b'"first"' in record.payload]
    old = run[place]
    contents = [("prompt", "full", b'"What?"')]
    edited = [*run[:place], _native.JournalRecord(place, old.at_ns, old.kind, old.payload, contents), *run[place + 1 :]]
    with pytest.raises(ReplayDivergence) as caught:
        replayed(recorded, edited)
    assert (caught.value.record, caught.value.expected, caught.value.actual) == (place, "What?", "Which?")
    assert caught.value.changes[0].at == 2
