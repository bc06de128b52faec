"""A process dies in the middle of an answer; another one gives it to its consumer, whole."""

import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from driving import Driver, policy

import l0_core
from l0_core import Chunk, Journal, JournalError, ReplayDivergence, ToolFragment, Usage, _native
from l0_core._replay import resumable

TEXT = "".join(f"word{number} and so on, " for number in range(8))
PIECES = [TEXT[place : place + 7] for place in range(0, len(TEXT), 7)]


def prefilled(attempt: l0_core.Attempt) -> Iterator[Any]:
    """A source that goes on from where it is told to, and says when there is nothing to add."""
    rest = TEXT[len(attempt.prefix) :]
    yield from (rest[place : place + 7] for place in range(0, len(rest), 7))
    yield Chunk(finish_reason="stop")


def starting_over(attempt: l0_core.Attempt) -> Iterator[str]:
    """A source that always begins anew."""
    yield from PIECES


def calling(attempt: l0_core.Attempt) -> Iterator[Any]:
    """A source that calls a tool between two texts."""
    yield "Let me look. "
    yield Chunk(tools=(ToolFragment(0, "call_1", "look", '{"city": '),))
    yield Chunk(tools=(ToolFragment(0, None, None, '"Paris"}', last=True),))
    yield "Found it."
    yield Chunk(finish_reason="stop", usage=Usage(7, 5))


SOURCES: dict[str, tuple[Callable[[l0_core.Attempt], Iterator[Any]], dict[str, Any], dict[str, Any]]] = {
    "prefill": (prefilled, {"prefill": True}, {}),
    "rerun": (starting_over, {"prefill": False}, {"continuation": {"rungs": ["rerun"]}}),
    "whole": (starting_over, {"prefill": False}, {"delivery": "whole"}),
    "tools": (calling, {"prefill": False}, {"continuation": {"rungs": ["rerun"]}}),
}


@pytest.fixture(params=sorted(SOURCES))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def target(kind: str) -> l0_core.Target:
    source, declared, _ = SOURCES[kind]
    return l0_core.Target(source, name="model", **declared)


def plan(kind: str) -> _native.Policy:
    return policy(**SOURCES[kind][2])


def copied(records: list[_native.JournalRecord], session_id: str) -> Journal:
    """A journal in which the process died after these records."""
    journal = Journal.memory()
    stream = journal.disk.stream(bytes.fromhex(session_id), "session")
    for record in records:
        contents = [(name, value) for name, _, value in record.contents]
        stream.append(record.kind, record.payload, contents, record.at_ns)
    return journal


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk if isinstance(chunk, str) else chunk.text for chunk in chunks)


def test_a_process_may_die_after_any_record(drive: Driver, kind: str) -> None:
    """G1, G5: killed after every single record, the consumer of the next process has one whole answer."""
    journal = Journal.memory()
    whole = drive(target(kind), journal=journal, policy=plan(kind))
    assert whole.result is not None
    session_id = whole.result.session_id
    records = journal.disk.load(bytes.fromhex(session_id))
    for died_after in range(len(records) + 1):
        torn = copied(records[:died_after], session_id)
        run = drive(target(kind), journal=torn, resume=session_id, policy=plan(kind))
        assert run.error is None, died_after
        assert run.result is not None
        assert text_of(run.chunks) == run.result.text == whole.result.text, died_after
        assert list(run.result.tool_calls) == list(whole.result.tool_calls), died_after
        assert run.result.session_id == session_id
        assert run.result.journal == "on"
        report = l0_core.replay(torn, session_id)
        assert (report.status, report.text) == ("complete", whole.result.text), died_after
        replayed = list(l0_core.replay_stream(torn, session_id))
        assert [chunk for chunk in replayed if chunk] == [chunk for chunk in run.chunks if chunk]


def test_the_consumer_names_where_it_is(drive: Driver) -> None:
    """Whatever the consumer has already, it is given exactly the rest."""
    journal = Journal.memory()
    whole = drive(target("prefill"), journal=journal)
    assert whole.result is not None
    session_id = whole.result.session_id
    records = journal.disk.load(bytes.fromhex(session_id))
    chunks = [place for place, record in enumerate(records) if record.kind == 128]
    died_after = chunks[len(chunks) // 2]
    had = sum(len(record.contents[0][2]) for record in records[: died_after + 1] if record.kind == 128)
    for offset in {0, 1, 7, 10, had - 1, had}:
        torn = copied(records[: died_after + 1], session_id)
        run = drive(target("prefill"), journal=torn, resume=session_id, from_offset=offset)
        assert run.error is None
        assert text_of(run.chunks) == TEXT[offset:]
        assert run.result is not None
        assert run.result.text == TEXT
    torn = copied(records[: died_after + 1], session_id)
    run = drive(target("prefill"), journal=torn, resume=session_id, from_offset=had + 1)
    assert isinstance(run.error, JournalError)


def test_a_session_that_is_over_is_given_again_without_a_call(drive: Driver) -> None:
    journal = Journal.memory()
    whole = drive(target("prefill"), journal=journal)
    assert whole.result is not None

    def never(attempt: l0_core.Attempt) -> Iterator[str]:
        raise AssertionError

    again = l0_core.Target(never, name="model", prefill=True)
    run = drive(again, journal=journal, resume=whole.result.session_id)
    assert run.error is None
    assert run.chunks == whole.chunks


def test_a_session_that_never_began_begins_under_its_name(drive: Driver) -> None:
    journal = Journal.memory()
    name = os.urandom(16).hex()
    run = drive(target("prefill"), journal=journal, resume=name)
    assert run.result is not None
    assert (run.result.session_id, run.result.text) == (name, TEXT)
    assert l0_core.replay(journal, name).status == "complete"


def test_other_targets_cannot_go_on_with_it() -> None:
    journal = Journal.memory()
    stream = l0_core.stream(target("prefill"), journal=journal)
    list(stream)
    with pytest.raises(ReplayDivergence, match="targets"):
        l0_core.stream(l0_core.Target(prefilled, name="other"), journal=journal, resume=stream.result.session_id)
    with pytest.raises(JournalError, match="resume="):
        l0_core.stream(target("prefill"), journal=journal, from_offset=3)


def test_it_may_die_again_and_again(drive: Driver) -> None:
    """Each process goes on where the one before it was; the chain of them ends with the whole answer."""
    journal = Journal.memory()
    whole = drive(target("prefill"), journal=journal)
    assert whole.result is not None
    session_id = whole.result.session_id
    records = journal.disk.load(bytes.fromhex(session_id))[:12]
    result: l0_core.Result | None = None
    for _ in range(4):
        torn = copied(records, session_id)
        run = drive(target("prefill"), journal=torn, resume=session_id)
        assert run.result is not None
        assert text_of(run.chunks) == TEXT
        now = torn.disk.load(bytes.fromhex(session_id))
        more = [place for place, record in enumerate(now) if record.kind == 128 and place > len(records)]
        records, result = now[: more[2] + 1], run.result
    assert result is not None
    assert result.attempts == 5
    assert result.continued


def test_the_clock_goes_on(drive: Driver) -> None:
    """Records of the second process are later than those of the first, whatever its machine's clock says."""
    journal = Journal.memory()
    whole = drive(target("prefill"), journal=journal)
    assert whole.result is not None
    session_id = whole.result.session_id
    key = bytes.fromhex(session_id)
    torn = Journal.memory()
    stream = torn.disk.stream(key, "session")
    for record in journal.disk.load(key)[:10]:
        contents = [(name, value) for name, _, value in record.contents]
        stream.append(record.kind, record.payload, contents, record.at_ns)
    run = drive(target("prefill"), journal=torn, resume=session_id)
    assert run.error is None
    times = [record.at_ns for record in torn.disk.load(key)]
    assert times == sorted(times)


def test_guards_of_the_callers_own_are_asked_once(drive: Driver) -> None:
    """What they said is in the record: they are asked again only about what is new."""
    asked: list[str] = []

    @l0_core.guards.guard(name="mine", version=1, on="whole")
    def mine(text: str, final: bool) -> str | None:  # noqa: FBT001 - as guards are called
        asked.append(text)
        return None

    guarded = l0_core.Policy(guards=[mine])
    journal = Journal.memory()
    whole = drive(target("prefill"), journal=journal, policy=guarded)
    assert whole.result is not None
    assert asked
    session_id = whole.result.session_id
    asked.clear()
    assert list(l0_core.replay_stream(journal, session_id)) == whole.chunks
    assert l0_core.replay(journal, session_id).status == "complete"
    assert asked == []
    records = journal.disk.load(bytes.fromhex(session_id))
    for died_after in range(1, len(records), 5):
        torn = copied(records[:died_after], session_id)
        run = drive(target("prefill"), journal=torn, resume=session_id, policy=guarded)
        assert (run.error, text_of(run.chunks)) == (None, TEXT), died_after
        assert l0_core.replay(torn, session_id).text == TEXT
    assert asked
    with pytest.raises(ReplayDivergence, match="guards of the caller's own"):
        drive(
            target("prefill"),
            journal=copied(records[:9], session_id),
            resume=session_id,
            policy=l0_core.Policy(guards=[mine], delivery="whole"),
        )


# Real processes ------------------------------------------------------------------------------------------------------

CHILD = """
    import asyncio, sys, time
    import l0_core
    from test_resume import TEXT, prefilled

    path, session_id, how, durability, pace = sys.argv[1:]

    def source(attempt):
        for piece in prefilled(attempt):
            time.sleep(float(pace))
            yield piece

    async def asource(attempt):
        for piece in prefilled(attempt):
            await asyncio.sleep(float(pace))
            yield piece

    def show(piece):
        sys.stdout.write(piece if isinstance(piece, str) else piece.text)
        sys.stdout.flush()

    with l0_core.Journal.open(path, durability=durability) as journal:
        if how == "sync":
            target = l0_core.Target(source, name="model", prefill=True)
            for piece in l0_core.stream(target, journal=journal, resume=session_id):
                show(piece)
        else:
            async def main():
                target = l0_core.Target(asource, name="model", prefill=True)
                async for piece in l0_core.astream(target, journal=journal, resume=session_id):
                    show(piece)
            asyncio.run(main())
"""


def _killed(folder: Path, how: str, durability: str, after: float) -> None:
    """Kill a process in the middle of an answer; what it printed is in the journal, and the next one gives the rest."""
    session_id = os.urandom(16).hex()
    script = folder / "child.py"
    script.write_text(textwrap.dedent(CHILD), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "PYTHONDONTWRITEBYTECODE": "1"}
    path = folder / "l0.db"
    command = [sys.executable, str(script), str(path), session_id, how, durability, "0.002"]
    shown = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        limit = int(after * len(TEXT))
        while len(shown) < limit and (piece := os.read(child.stdout.fileno(), 64)):
            shown += piece
        child.send_signal(signal.SIGKILL)
        shown += child.stdout.read()
    with Journal.open(path, durability="fast") as journal:
        assert journal.verify().is_sound
        before = resumable(journal, session_id)
        assert (before.replay().text if before is not None else "").startswith(shown.decode())
        stream = l0_core.stream(
            l0_core.Target(prefilled, name="model", prefill=True),
            journal=journal,
            resume=session_id,
            from_offset=len(shown),
        )
        assert shown.decode() + text_of(list(stream)) == TEXT
        assert l0_core.replay(journal, session_id).text == stream.result.text == TEXT
        assert journal.verify().is_sound


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("durability", ["fast", "safe", "paranoid"])
def test_kill_nine_in_the_middle_of_an_answer(tmp_path: Path, how: str, durability: str) -> None:
    """G5: what a consumer was given survives kill -9, and the rest follows."""
    dice = random.Random(f"{how} {durability}")  # noqa: S311 - to be the same each time
    _killed(tmp_path, how, durability, dice.random())


@pytest.mark.matrix
@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("durability", ["fast", "safe", "paranoid"])
@pytest.mark.parametrize("seed", range(100))
def test_kill_nine_at_many_moments(tmp_path: Path, how: str, durability: str, seed: int) -> None:
    """G5, at a hundred random moments of each sort."""
    _killed(tmp_path, how, durability, random.Random(f"{how} {durability} {seed}").random())  # noqa: S311 - as above


def test_a_session_that_was_over_has_a_row_that_says_so(drive: Driver) -> None:
    """G8: its process died between the last record and the row."""
    journal = Journal.memory()
    whole = drive(target("prefill"), journal=journal)
    assert whole.result is not None
    session_id = whole.result.session_id
    torn = copied(journal.disk.load(bytes.fromhex(session_id)), session_id)
    torn.native.put_session(id=bytes.fromhex(session_id), status="running", started_at_ms=1)
    drive(target("prefill"), journal=torn, resume=session_id)
    assert [row["status"] for row in torn.sessions()] == ["complete"]
