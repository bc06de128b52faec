"""A journal as JSON Lines is the journal: what is taken in again replays as it did."""

import json
from pathlib import Path

import pytest

import l0_core
from l0_core import Journal, JournalError
from l0_core._archive import export, import_
from l0_core._journal import run_id
from l0_core._piece import Piece
from l0_core.cli.show import kind_of


def filled(journal: Journal) -> Journal:
    @l0_core.step
    def double(n: int) -> int:
        return 2 * n

    for name in ("one", "two"):
        with l0_core.run(name, journal=journal, user="ada"):
            double(21)
    stream = journal.stream(b"s" * 16, "session", tenant="acme")
    stream.append(3, b"\xff\x00", [("completion", b"\xff")], 5)
    stream.append(128, b"\x02\x00\x00\x00\x01", [("completion", "Grüße".encode()), ("completion", b"{}")], 7)
    run = bytes.fromhex(journal.runs()[0]["id"])
    journal.native.put_session(id=b"s" * 16, run=run, status="complete", tenant="acme", started_at_ms=5, degraded=True)
    journal.native.put_attempt(session=b"s" * 16, number=0, target="a")
    return journal


@pytest.fixture(params=["disk", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    return filled(Journal.memory() if request.param == "memory" else Journal.open(tmp_path / "a.db"))


def test_what_is_exported_and_taken_in_is_the_same(journal: Journal) -> None:
    lines = list(export(journal))
    other = Journal.memory()
    taken = import_(other, lines)
    assert taken.streams == 3
    assert sorted(export(other)) == sorted(lines)

    @l0_core.step
    def double(n: int) -> int:
        raise AssertionError("a replay calls nothing")

    for name in ("one", "two"):
        with l0_core.run(name, journal=other, mode="replay"):
            assert double(21) == 42
    assert import_(other, lines) == (0, 0, 3), "what is there already is left as it is"
    assert sorted(export(other)) == sorted(lines)


def test_a_run_is_exported_with_its_sessions_and_nothing_else(journal: Journal) -> None:
    latest, other = (str(row["name"]) for row in journal.runs())

    def streams(lines: list[str]) -> int:
        return sum("stream" in json.loads(line) for line in lines)

    assert streams(list(export(journal, runs=[latest]))) == 2
    assert streams(list(export(journal, runs=[other]))) == 1
    assert streams(list(export(journal, sessions=[(b"s" * 16).hex()]))) == 1
    with pytest.raises(JournalError, match="no run"):
        list(export(journal, runs=["none"]))
    with pytest.raises(JournalError, match="no session"):
        list(export(journal, sessions=["0" * 32]))


def test_what_was_erased_stays_so(tmp_path: Path) -> None:
    journal = filled(Journal.open(tmp_path / "a.db"))
    journal.erase(user="ada")
    other = Journal.memory()
    import_(other, export(journal))
    for row in other.runs():
        for record in other.load(row["id"]):
            assert all(state == "absent" for _, state, _ in record.contents)


@pytest.mark.parametrize(
    "lines",
    [
        ["{}"],
        ["[]"],
        ["not json"],
        ['{"l0":"journal","format":99,"version":"9"}'],
        ['{"l0":"journal","format":1}', '{"stream":"zz","kind":"run","gone":[]}'],
        ['{"l0":"journal","format":1}', '{"stream":"' + "0" * 32 + '","kind":"run","gone":[]}', "{}"],
    ],
    ids=range(6),
)
def test_what_is_no_exported_journal_is_refused(lines: list[str]) -> None:
    with pytest.raises(JournalError):
        import_(Journal.memory(), lines)


def test_pieces_are_found_and_taken_along_under_what_they_are_part_of(tmp_path: Path) -> None:
    """A thread that calls are made in has no end, and no records of its own: these are those of its pieces."""
    calls: list[int] = []

    @l0_core.step
    def half(n: int) -> int:
        return n // 2

    @l0_core.step
    def work(n: int) -> int:
        calls.append(n)
        return half(n)

    def done(journal: Journal, n: int) -> int:
        piece = Piece(f"42/{n}", journal, of="42", user="ada")
        piece.open()
        with piece.around():
            made = work(n)
        piece.close(None)
        return made

    with Journal.open(tmp_path / "a.db") as journal, Journal.memory() as other:
        assert [done(journal, n) for n in (4, 6, 4)] == [2, 3, 2]
        (row,) = journal.runs()
        assert (row["name"], row["status"], row["user"]) == ("42", "open", "ada")
        assert [step["name"] for step in journal.steps("42")].count("work") == 2
        assert kind_of(journal, "42") == ("run", run_id("42"))
        lines = list(export(journal, runs=["42"]))
        assert sorted(lines) == sorted(export(journal))
        assert import_(other, lines).streams == 2
        assert sorted(export(other)) == sorted(lines)
        assert import_(other, lines) == (0, 0, 2)
        assert [done(other, n) for n in (4, 6)] == [2, 3]
        assert calls == [4, 6], "what was done is known there, too"


def test_a_run_that_somebody_opened_keeps_its_row() -> None:
    """Pieces may be found under the same name."""
    with Journal.memory() as journal:
        with l0_core.run("42", journal=journal):
            pass
        piece = Piece("42/1", journal, of="42")
        piece.open()
        piece.close(None)
        (row,) = journal.runs()
        assert row["status"] == "finished"
