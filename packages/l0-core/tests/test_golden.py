"""Sessions recorded by earlier versions are replayed by this one, for ever: see `golden/README.md`."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driving import policy

import l0_core
from l0_core import Chunk, Journal, ToolFragment, Usage
from l0_core.ports.plain import PLAIN

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = sorted(path.stem for path in GOLDEN.glob("*.db"))


def told(chunk: Any) -> str:
    return repr(chunk) if chunk is l0_core.RESET else PLAIN.encode(chunk)


def digest(chunks: list[Any]) -> str:
    """Every chunk with its boundaries, in a few characters."""
    return hashlib.sha256("\n".join(map(told, chunks)).encode()).hexdigest()


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def journal(version: str, tmp_path: Path) -> Iterator[Journal]:
    """A copy: opening a journal may migrate it."""
    path = tmp_path / f"{version}.db"
    shutil.copy(GOLDEN / path.name, path)
    with Journal.open(path) as journal:
        yield journal


def test_there_are_golden_journals() -> None:
    assert VERSIONS


def test_every_golden_session_is_replayed(version: str, journal: Journal) -> None:
    """G6: the engine of today decides what that of then decided, and the consumer is given what it was given."""
    said = json.loads((GOLDEN / f"{version}.json").read_text(encoding="utf-8"))
    assert journal.verify(said["head"]).is_sound
    assert len(said["sessions"]) == len(journal.sessions())
    for name, wanted in said["sessions"].items():
        report = l0_core.replay(journal, wanted["id"])
        assert (report.status, report.text, report.records) == (wanted["status"], wanted["text"], wanted["records"]), (
            name
        )
        assert list(report.faults) == wanted["faults"], name
        chunks: list[Any] = []
        try:
            for chunk in l0_core.replay_stream(journal, wanted["id"]):
                chunks.append(chunk)  # noqa: PERF402 - those before an error count
        except l0_core.L0Error as error:
            assert type(error).__name__ == wanted["error"], name  # noqa: PT017 - some end so, some do not
        assert digest(chunks) == wanted["chunks"], name


def test_a_golden_journal_can_be_read_without_writing(version: str, tmp_path: Path) -> None:
    shutil.copy(GOLDEN / f"{version}.db", tmp_path)
    with Journal.open(tmp_path / f"{version}.db", read_only=True) as journal:
        said = json.loads((GOLDEN / f"{version}.json").read_text(encoding="utf-8"))
        for wanted in said["sessions"].values():
            assert journal.records(wanted["id"])
            assert l0_core.replay(journal, wanted["id"]).status == wanted["status"]


# How one is made -----------------------------------------------------------------------------------------------------


def _words(*, die_at: int | None = None) -> Any:
    def source(attempt: l0_core.Attempt) -> Iterator[Any]:
        words = [f"word{number} " for number in range(12)]
        left = "".join(words)[len(attempt.prefix) :]
        for place, word in enumerate(left.split(" ")[:-1]):
            if attempt.number == 0 and place == die_at:
                raise ConnectionResetError
            yield f"{word} "
        yield Chunk(finish_reason="stop", usage=Usage(3, 12))

    return source


def _rich(attempt: l0_core.Attempt) -> Iterator[Any]:
    yield "Let me look. "
    yield Chunk(tools=(ToolFragment(0, "call", "look", '{"city"'),))
    yield Chunk(tools=(ToolFragment(0, None, None, ': "Paris"}', last=True),), metadata={"n": [1, 2]})
    yield Chunk(text="Found \ud83d\ude00", metadata={"id": "c1"})
    yield "half a pair: \ud800"
    yield Chunk(finish_reason="tool_calls", usage=Usage(7, 5, 1, 2, 3))


def _sessions() -> dict[str, Any]:
    """What every version writes down: one of each kind of thing that can happen."""
    secrets = l0_core.Policy(guards=[l0_core.guards.patterns(["word3"], mask="[...]")])
    return {
        "plain": (_words(), None),
        "rich": (_rich, None),
        "prefill": (l0_core.Target(_words(die_at=5), name="w", prefill=True), None),
        "rerun": (
            l0_core.Target(_words(die_at=5), name="w", prefill=False),
            policy(continuation={"rungs": ["rerun"]}),
        ),
        "reset": (
            l0_core.Target(_words(die_at=5), name="w", prefill=False),
            policy(continuation={"rungs": ["reset"]}),
        ),
        "incomplete": (l0_core.Target(_words(die_at=5), name="w"), policy(continuation={"rungs": []})),
        "whole": (_words(), policy(delivery="whole")),
        "masked": (_words(), secrets),
    }


def make(folder: Path, version: str) -> None:
    """Write a golden journal: `python -m pytest` never does; see `golden/README.md`."""
    path = folder / f"{version}.db"
    said: dict[str, Any] = {"version": l0_core.__version__, "sessions": {}}
    with Journal.open(path) as journal:
        for name, (source, plan) in _sessions().items():
            stream = l0_core.stream(source, policy=plan, journal=journal)
            chunks: list[Any] = []
            error = None
            try:
                for chunk in stream:
                    chunks.append(chunk)  # noqa: PERF402 - as above
            except l0_core.L0Error as raised:
                error = type(raised).__name__
            session_id = stream.result.session_id
            report = l0_core.replay(journal, session_id)
            said["sessions"][name] = {
                "id": session_id,
                "status": report.status,
                "text": report.text,
                "records": report.records,
                "faults": report.faults,
                "error": error,
                "chunks": digest(chunks),
            }
        journal.flush()
        said["head"] = journal.head()
    (folder / f"{version}.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
