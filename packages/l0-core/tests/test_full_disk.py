"""A journal that takes nothing more: sessions go on and say so, side effects fail closed, and there is a way back."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import l0_core
from l0_core import Journal, JournalError

PROGRAM = """
import json, resource, sys
import l0_core

path, on_loss = sys.argv[1:]
WORDS = [f"word-{number} " * 40 for number in range(400)]
charged, given = [], []

@l0_core.step
def charge(amount):
    charged.append(amount)

def reason(of):
    try:
        of()
    except l0_core.JournalError as error:
        return error.reason
    return None

def read(stream):
    for chunk in stream:
        given.append(chunk)

journal = l0_core.Journal.open(path, on_loss=on_loss)
with l0_core.run("before", journal=journal):
    charge(1)
journal.flush()
# No file of this process grows beyond this any more: what a disk that is full, or a quota, does to it.
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
stream = l0_core.stream(lambda attempt: iter(WORDS), journal=journal)
session = reason(lambda: read(stream))
def work():
    with l0_core.run("during", journal=journal):
        charge(2)
run = reason(work)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with l0_core.run("after", journal=journal):
    charge(3)
print(json.dumps({
    "given": len(given), "whole": given == WORDS, "session": session, "journal": stream.result.journal,
    "id": stream.result.session_id, "run": run, "charged": charged, "chunks": given,
}))
"""


def ran(path: Path, on_loss: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), on_loss], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a limit on the size of files")
@pytest.mark.parametrize("on_loss", ["continue", "raise"])
def test_a_disk_that_is_full(tmp_path: Path, on_loss: str) -> None:
    """G5, G8: what was given and is not in the journal was given by a session that is marked, or not given at all."""
    said = ran(tmp_path / "l0.db", on_loss)
    with Journal.open(tmp_path / "l0.db") as journal:
        assert journal.verify().is_sound
        kept = l0_core.replay(journal, said["id"]).text
        assert {row["name"]: row["status"] for row in journal.runs()}["after"] == "finished"
    given = "".join(said["chunks"])
    assert 0 < len(kept) < 400 * 400
    assert said["journal"] == "lost"
    if on_loss == "continue":
        assert said["whole"]
        assert said["session"] is None
        assert given.startswith(kept)
    else:
        assert said["session"] is not None
        assert kept.startswith(given), "nothing is given that is not written"
    assert said["run"] is not None, "a side effect that cannot be written down is not made"
    assert said["charged"] == [1, 3]


def test_a_journal_that_may_only_be_read(tmp_path: Path) -> None:
    """G8: the session goes on and is marked; a run, which could not be resumed, does not begin."""
    Journal.open(tmp_path / "l0.db").close()
    with Journal.open(tmp_path / "l0.db", read_only=True) as journal:
        stream = l0_core.stream(lambda _: iter(["The capital ", "is Paris."]), journal=journal)
        assert list(stream) == ["The capital ", "is Paris."]
        assert stream.result.journal == "lost"
        with pytest.raises(JournalError) as caught, l0_core.run("job", journal=journal):
            pytest.fail("a run began that cannot be written down")
        assert caught.value.reason == "read_only"


# Damage, seen from Python and from the shell --------------------------------------------------------------------------


def test_a_byte_changed_anywhere_is_borne_and_most_are_found(tmp_path: Path) -> None:
    """Wherever it is, opening and verifying end with a finding, a typed error, or what was written. Never otherwise."""
    path, bad = tmp_path / "l0.db", tmp_path / "bad" / "l0.db"
    with Journal.open(path) as journal:
        stream = l0_core.stream(lambda _: iter(["The capital ", "is Paris."] * 20), journal=journal)
        text = "".join(stream)
        session = stream.result.session_id
    whole = path.read_bytes()
    found = 0
    bad.parent.mkdir()
    places = range(0, len(whole), max(1, len(whole) // 500))
    for place in places:
        bad.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            with Journal.open(bad, read_only=True) as journal:
                is_sound = journal.verify().is_sound
                found += not is_sound
                replayed = l0_core.replay(journal, session).text
        except (JournalError, l0_core.ReplayDivergence):
            found += 1
            continue
        assert replayed == text or not is_sound, f"byte {place} changed what was said, and nobody noticed"
    assert found > len(places) // 20, f"{found} of {len(places)}"


def test_the_command_says_no_where_a_record_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "l0.db"
    with Journal.open(path) as journal:
        list(l0_core.stream(lambda _: iter(["The capital is Paris."]), journal=journal))
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    copy.write_bytes(path.read_bytes().replace(b"capital", b"cabital"))
    for file, code in ((path, 0), (copy, 1)):
        ran = subprocess.run(
            [sys.executable, "-c", "from l0_core.cli import main; main()", "verify", "--json", "-j", str(file)],
            check=False,
            capture_output=True,
            text=True,
        )
        assert (ran.returncode, json.loads(ran.stdout)["is_sound"]) == (code, code == 0), ran.stderr
