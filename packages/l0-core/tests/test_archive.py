"""A journal as JSON Lines is the journal: what is taken in again replays as it did."""

import json
from pathlib import Path

import pytest

import l0_core
from l0_core import Journal, JournalError
from l0_core._archive import export, import_


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
