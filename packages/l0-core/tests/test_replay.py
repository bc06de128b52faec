"""What was recorded is given again, decided again, and gone on with; what differs is named."""

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from driving import Driver, policy

import l0_core
from l0_core import (
    Chunk,
    Journal,
    JournalError,
    LogProb,
    Opaque,
    ReplayDivergence,
    ToolFragment,
    Usage,
    _clock,
    _native,
    guards,
)
from l0_core._replay import Recorded


@dataclass(frozen=True)
class Replayer:
    """One way to have a session given again."""

    name: str

    def __call__(
        self, journal: Journal, session_id: str, **options: Any
    ) -> tuple[list[Any], Any, BaseException | None]:
        chunks: list[Any] = []
        if self.name == "async":

            async def main() -> tuple[Any, BaseException | None]:
                stream = l0_core.areplay_stream(journal, session_id, **options)
                try:
                    async for chunk in stream:
                        chunks.append(chunk)  # noqa: PERF401 - those before an error count
                except Exception as error:  # noqa: BLE001 - whatever it is, it is what the consumer saw
                    return stream.result, error
                return stream.result, None

            result, error = asyncio.run(main())
            return chunks, result, error
        stream = l0_core.replay_stream(journal, session_id, **options)
        failed: BaseException | None = None
        try:
            for chunk in stream:
                chunks.append(chunk)  # noqa: PERF402 - those before an error count
        except Exception as error:  # noqa: BLE001 - as above
            failed = error
        return chunks, stream.result, failed


@pytest.fixture(params=["sync", "async"])
def again(request: pytest.FixtureRequest) -> Replayer:
    return Replayer(request.param)


@pytest.fixture
def journal() -> Journal:
    return Journal.memory()


def rich(attempt: l0_core.Attempt) -> Iterator[Any]:
    yield "The capital "
    yield ""
    yield Chunk(text="is ", metadata={"id": "c1"}, logprob=LogProb(-0.5, 1))
    yield Chunk(tools=(ToolFragment(0, "call", "look", '{"city"'),))
    yield Chunk(tools=(ToolFragment(0, None, None, ': "Paris"}', last=True),), metadata={"n": [1, 2]})
    yield Chunk(opaque=Opaque(7), sequence=3)
    yield "Paris\ud800."
    yield Chunk(finish_reason="stop", usage=Usage(7, 5))


def words(count: int, *, die_at: int | None = None) -> Any:
    """Return a source of words that goes on from what was shown, and breaks off on its first attempt."""
    text = [f"word{n} " for n in range(count)]

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        whole = "".join(text)
        rest = whole[len(attempt.prefix) :] if attempt.mode == "prefill" else whole
        for place, word in enumerate(rest.split(" ")[:-1]):
            if attempt.number == 0 and place == die_at:
                raise ConnectionResetError
            yield f"{word} "

    return source


CASES: dict[str, tuple[Any, Any]] = {
    "rich": (rich, None),
    "continued": (l0_core.Target(words(12, die_at=5), name="w", prefill=True), None),
    "swallowed": (l0_core.Target(words(12, die_at=5), name="w", prefill=False), {"continuation": {"rungs": ["rerun"]}}),
    "whole": (words(6), {"delivery": "whole"}),
    "guarded": (
        words(6),
        l0_core.Policy(delivery="guarded", guards=[guards.patterns(["word3 word4 never"])]),
    ),
    "masked": (words(6), l0_core.Policy(guards=[guards.patterns(["word3"], mask="[...]")])),
    "cut off": (
        l0_core.Target(words(6, die_at=3), name="w"),
        {"continuation": {"rungs": []}, "retry": {"max_retries": 0}},
    ),
    "reset": (
        l0_core.Target(words(6, die_at=3), name="w", prefill=False),
        {"continuation": {"rungs": ["reset"]}, "retry": {"max_retries": 1}},
    ),
}


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    source, fields = CASES[request.param]
    return source, policy(**fields) if isinstance(fields, dict) else fields


def same(chunks: list[Any]) -> list[Any]:
    """Chunks with their classes."""
    return [(type(chunk), chunk) for chunk in chunks]


def test_the_same_chunks_with_the_same_boundaries(
    drive: Driver, again: Replayer, case: tuple[Any, Any], journal: Journal
) -> None:
    """G6: the consumer of a replay sees what the consumer saw: whole objects, metadata, the error."""
    source, plan = case
    run = drive(source, policy=plan, journal=journal)
    assert run.result is not None
    chunks, result, error = again(journal, run.result.session_id)
    assert same(chunks) == same(run.chunks)
    assert result == run.result
    assert type(error) is type(run.error)
    report = l0_core.replay(journal, run.result.session_id)
    assert (report.status, report.text) == (run.result.status, run.result.text)
    assert report.tool_calls == tuple(run.result.tool_calls)


def test_no_call_is_made(again: Replayer, journal: Journal) -> None:
    opened: list[int] = []

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        opened.append(attempt.number)
        yield "Paris."

    stream = l0_core.stream(source, journal=journal)
    list(stream)
    again(journal, stream.result.session_id)
    assert opened == [0]


@pytest.mark.parametrize("value", [["a document", 1.5, None], "text", {"a": (1, 2)}, b"bytes"], ids=repr)
def test_what_a_call_returned_is_given_again(again: Replayer, journal: Journal, value: object) -> None:
    """G6: a value is not text, and comes back as it was."""

    async def find() -> object:
        return value

    if again.name == "async":
        asyncio.run(l0_core.acall(find, journal=journal))
    else:
        l0_core.call(lambda: value, journal=journal)
    (row,) = journal.sessions()
    chunks, result, error = again(journal, row["id"])
    assert (same(chunks), error, result.status) == (same([value]), None, "complete")


def test_what_no_step_could_remember_of_a_call_is_refused_by_name(again: Replayer, journal: Journal) -> None:
    l0_core.call(object, journal=journal)
    (row,) = journal.sessions()
    *_, error = again(journal, row["id"])
    assert isinstance(error, l0_core.StepNotSerializable)
    assert l0_core.replay(journal, row["id"]).status == "complete"


def test_a_failure_of_the_callers_is_told_from_its_facts(drive: Driver, again: Replayer, journal: Journal) -> None:
    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        error = RuntimeError("the prompt: hunter2")
        error.status_code = 400  # type: ignore[attr-defined]
        yield from ()
        raise error

    run = drive(source, journal=journal)
    assert isinstance(run.error, RuntimeError)
    assert run.result is not None
    _, result, error = again(journal, run.result.session_id)
    assert type(error) is l0_core.L0Error
    assert error.fault == "request"
    assert "hunter2" not in str(error)
    assert result.status == "raise"


@pytest.mark.parametrize("offset", [0, 1, 6, 13, 20, 71])
def test_a_consumer_is_given_the_rest_of_what_it_has(again: Replayer, journal: Journal, offset: int) -> None:
    stream = l0_core.stream(words(12), journal=journal)
    text = "".join(stream)
    chunks, _, error = again(journal, stream.result.session_id, from_offset=offset)
    assert error is None
    assert "".join(chunks) == text[offset:]


def test_an_offset_behind_the_end_is_refused(again: Replayer, journal: Journal) -> None:
    stream = l0_core.stream(words(2), journal=journal)
    list(stream)
    *_, error = again(journal, stream.result.session_id, from_offset=999)
    assert isinstance(error, JournalError)


def test_chunks_come_as_far_apart_as_they_came(
    again: Replayer, journal: Journal, virtual_clock: _clock.VirtualClock
) -> None:
    def slow(attempt: l0_core.Attempt) -> Iterator[str]:
        yield "one "
        virtual_clock.advance(3)
        yield "two"

    stream = l0_core.stream(slow, journal=journal, stall_guard="off")
    list(stream)
    before = virtual_clock.waited
    again(journal, stream.result.session_id)
    assert virtual_clock.waited == before
    again(journal, stream.result.session_id, timed=True)
    assert virtual_clock.waited - before == pytest.approx(3 * _clock.SECOND, rel=0.2)


def test_a_session_that_is_not_there(again: Replayer, journal: Journal) -> None:
    with pytest.raises(JournalError) as caught:
        l0_core.replay(journal, "0" * 31 + "1")
    assert caught.value.reason == "missing"
    with pytest.raises(JournalError, match="32 hexadecimal"):
        again(journal, "job-42")


def test_a_session_whose_process_died_at_once_has_said_nothing(again: Replayer) -> None:
    """G6: its first note alone is no divergence: it is what a death between two records leaves."""
    whole = Journal.memory()
    stream = l0_core.stream(words(2), journal=whole)
    list(stream)
    session_id = stream.result.session_id
    journal = Journal(Edited(whole.disk.load(bytes.fromhex(session_id))[:1]))
    report = l0_core.replay(journal, session_id)
    assert (report.status, report.text, report.records) == ("running", "", 0)
    with pytest.raises(JournalError) as caught:
        again(journal, session_id)
    assert caught.value.reason == "missing"


# Time travel ---------------------------------------------------------------------------------------------------------


def test_every_moment_of_a_session_can_be_looked_at(journal: Journal) -> None:
    """The text a consumer had only grows, and the engine is about to do what it did."""
    source = l0_core.Target(words(12, die_at=5), name="w", prefill=True)
    stream = l0_core.stream(source, journal=journal)
    text = "".join(stream)
    records = journal.records(stream.result.session_id)
    assert [record.seq for record in records] == list(range(len(records)))
    assert {record.kind for record in records} == {"start", "input", "chunk", "decision", "note"}
    states = [journal.state_at(stream.result.session_id, record.seq) for record in records if record.kind != "note"]
    for earlier, later in pairwise(states):
        assert later.text.startswith(earlier.text)
    assert states[0].status == "idle"
    assert (states[-1].status, states[-1].text, states[-1].next) == ("done", text, ())
    (opening,) = [record.seq for record in records if record.kind == "input" and record.what["input"] == "start"]
    assert list(journal.state_at(stream.result.session_id, opening).next[0]) == ["ask"]


# What differs is named -----------------------------------------------------------------------------------------------


def _recorded(journal: Journal) -> tuple[str, list[_native.JournalRecord]]:
    source = l0_core.Target(rich, name="w")

    def failing(attempt: l0_core.Attempt) -> Iterator[Any]:
        yield "The cap"
        raise ConnectionResetError

    plan = policy(retry={"max_retries": 1}, continuation={"rungs": ["rerun"]})
    stream = l0_core.stream(l0_core.Target(failing, name="f"), fallbacks=[source], policy=plan, journal=journal)
    list(stream)
    return stream.result.session_id, journal.disk.load(bytes.fromhex(stream.result.session_id))


class Edited:
    """A store that gives back what a journal has, with one record changed, left out or moved."""

    def __init__(self, records: list[Any]) -> None:
        self.records = records

    def load(self, stream: bytes, from_: int, limit: int) -> list[Any]:
        return self.records

    def append(self, *_: object) -> int:
        raise NotImplementedError

    def put(self, *_: object) -> None:
        raise NotImplementedError

    def list(self, *_: object) -> Any:
        raise NotImplementedError

    def lease(self, *_: object) -> Any:
        raise NotImplementedError


def _engines(records: list[_native.JournalRecord]) -> list[int]:
    return [place for place, record in enumerate(records) if record.kind < 16 or record.kind == 128]


def test_a_decision_that_is_not_what_it_was_is_named(journal: Journal) -> None:
    """G6: every decision and the header, left out or exchanged for another one, is named at its own record."""
    session_id, records = _recorded(journal)
    decisions = [place for place in _engines(records) if records[place].kind == 3]
    assert len(decisions) > 8
    for place in decisions:
        for other in decisions:
            if records[other].payload == records[place].payload:
                continue
            edited = list(records)
            donor = records[other]
            edited[place] = _native.JournalRecord(
                place, records[place].at_ns, donor.kind, donor.payload, donor.contents
            )
            with pytest.raises(ReplayDivergence) as caught:
                l0_core.replay(Journal(Edited(edited)), session_id)
            assert caught.value.record == place
            assert caught.value.expected != caught.value.actual
        if place == decisions[-1]:  # A record that ends too early is one of a process that died: see `verify`.
            continue
        with pytest.raises(ReplayDivergence) as caught:
            l0_core.replay(Journal(Edited(records[:place] + records[place + 1 :])), session_id)
        assert caught.value.record == place + 1


def test_another_policy_is_named_field_by_field(journal: Journal) -> None:
    stream = l0_core.stream(words(3), journal=journal)
    list(stream)
    recorded = Recorded(journal, stream.result.session_id)
    recorded.policy = policy(retry={"attempts": 7})
    with pytest.raises(ReplayDivergence, match=r"start\.policy differs from character") as caught:
        recorded.replay()
    assert caught.value.record == 1
    assert [change.path for change in caught.value.changes] == ["start.policy"]


def test_a_message_holds_nothing_of_what_was_said(journal: Journal) -> None:
    session_id, records = _recorded(journal)
    place = next(place for place in _engines(records) if records[place].kind == 128)
    wrong = _native.JournalRecord(place, 5, 128, bytes(5)[:4] + b"\x03", [("completion", "full", b"hunter2")])
    with pytest.raises(ReplayDivergence) as caught:
        l0_core.replay(Journal(Edited([*records[:place], wrong, *records[place + 1 :]])), session_id)
    assert caught.value.record == place
    assert "hunter2" not in str(caught.value)
    assert "hunter2" in json.dumps([caught.value.expected, caught.value.actual])


def _first_difference(records: list[_native.JournalRecord], session_id: str) -> int | None:
    try:
        l0_core.replay(Journal(Edited(records)), session_id)
    except ReplayDivergence as divergence:
        return -1 if divergence.record is None else divergence.record
    return None


def test_bytes_of_any_record_changed_at_random_are_noticed(journal: Journal) -> None:
    """N random changes of each kind of record: unreadable, or named there or where it first makes a difference."""
    session_id, records = _recorded(journal)
    dice = random.Random(20261121)  # noqa: S311 - to be the same each time
    by_kind: dict[int, list[int]] = {}
    for place in _engines(records):
        by_kind.setdefault(records[place].kind, []).append(place)
    assert set(by_kind) == {1, 2, 3, 128}
    for kind, places in by_kind.items():
        noticed = 0
        for _ in range(60):
            place = dice.choice(places)
            payload = bytearray(records[place].payload)
            payload[dice.randrange(len(payload))] ^= 1 << dice.randrange(8)
            edited = list(records)
            old = records[place]
            edited[place] = _native.JournalRecord(place, old.at_ns, old.kind, bytes(payload), old.contents)
            found = _first_difference(edited, session_id)
            noticed += found is not None
            assert found is None or found == place or (found > place and kind != 3)
        # A changed input may be one that leads to the same decisions; that the file proves itself is for `verify`.
        assert noticed == 60 if kind == 3 else noticed > 10, kind


def test_content_that_is_gone_is_not_decided_again(again: Replayer, journal: Journal) -> None:
    session_id, _ = _recorded(journal)
    journal.erase(streams=[session_id])
    with pytest.raises(JournalError, match="redacted or erased") as caught:
        l0_core.replay(journal, session_id)
    assert caught.value.reason == "removed"
    assert journal.verify().is_sound
