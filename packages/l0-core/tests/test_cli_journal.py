"""The commands that read a journal, as a shell sees them: answers, `--json`, and exit codes."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import l0_core
from l0_core import Journal

SESSIONS: list[str] = []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with two runs, a session that healed and one that failed."""
    folder = tmp_path_factory.mktemp("journal")

    def heals(attempt: l0_core.Attempt) -> Iterator[str]:
        yield "One "
        yield "two "
        if attempt.number == 0:
            raise ConnectionResetError
        yield "three."

    def fails(attempt: l0_core.Attempt) -> Iterator[str]:
        yield from ()
        raise ConnectionResetError

    @l0_core.step
    def charge(order: int) -> int:
        return order

    policy = l0_core.Policy(retry=l0_core.Retry(base=0.0, max_retries=1))
    with Journal.open(folder / "l0.db") as journal:
        with l0_core.run("job-1", journal=journal, tenant="acme"):
            charge(7)
            stream = l0_core.stream(heals, policy=policy, tenant="acme")
            assert "".join(stream) == "One two three."
            SESSIONS.append(stream.result.session_id)
        with pytest.raises(l0_core.L0Error), l0_core.run("job-2", journal=journal):
            "".join(l0_core.stream(fails, policy=policy))
    return folder


def l0(*arguments: str, cwd: Path, code: int = 0, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    ran = subprocess.run(
        [sys.executable, "-c", "from l0_core.cli import main; main()", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        input=stdin,
        env={"PATH": os.environ["PATH"]},
    )
    assert ran.returncode == code, ran.stderr + ran.stdout
    assert "Traceback" not in ran.stderr
    assert "\x1b" not in ran.stdout, "no colour in a pipe"
    return ran


def asked(*arguments: str, cwd: Path) -> Any:
    return json.loads(l0(*arguments, "--json", cwd=cwd).stdout)


def test_runs_and_sessions_are_listed_and_filtered(folder: Path) -> None:
    listed = l0("runs", cwd=folder).stdout
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [["job-2", "failed"], ["job-1", "finished"]]
    assert [row["name"] for row in asked("runs", "--status", "finished", cwd=folder)] == ["job-1"]
    assert [row["name"] for row in asked("runs", "--tenant", "acme", "--since", "1h", cwd=folder)] == ["job-1"]
    assert asked("runs", "--until", "2020-01-01", cwd=folder) == []
    assert [row["name"] for row in asked("runs", "--fault", "ExhaustedError", cwd=folder)] == ["job-2"]
    assert [row["id"] for row in asked("sessions", "--run", "job-1", cwd=folder)] == SESSIONS
    assert [row["id"] for row in asked("sessions", "--status", "complete", cwd=folder)] == SESSIONS
    assert len(asked("sessions", "--fault", "network", cwd=folder)) == 2
    assert len(asked("sessions", "--limit", "1", cwd=folder)) == 1
    table = l0("sessions", "--run", "job-1", cwd=folder).stdout
    assert SESSIONS[0] in table
    assert "job-1" in table


def test_a_session_is_shown_with_all_that_happened(folder: Path) -> None:
    shown = l0("show", SESSIONS[0], cwd=folder).stdout
    for told in (
        "complete",
        "attempt 0 on",
        "2 chunks, 8 characters",
        "fault: ",
        "network",
        "splice: ",
        "rerun",
        "done",
    ):
        assert told in shown
    assert shown.rstrip().endswith("One two three.")
    said = asked("show", SESSIONS[0], cwd=folder)
    assert said["saw"]["text"] == "One two three."
    assert [attempt["status"] for attempt in said["attempts"]] == ["failed", "served"]
    assert said["session"]["tenant"] == "acme"
    assert any(record["kind"] == "chunk" for record in said["records"])
    assert l0("show", SESSIONS[0], "--follow", cwd=folder).stdout == "One two three.\n"


def test_a_live_session_is_followed_from_another_process(tmp_path: Path) -> None:
    """What it says is printed as it comes, until it is over; and one JSON object a line where that is asked for."""
    told = threading.Event()

    def slow(attempt: l0_core.Attempt) -> Iterator[str]:
        yield "It begins"
        assert told.wait(120)
        yield " and ends."

    with Journal.open(tmp_path / "l0.db") as journal:
        stream = l0_core.stream(slow, journal=journal, stall_guard="off")
        assert next(stream) == "It begins"
        journal.flush()
        (session,) = journal.sessions()
        command = [sys.executable, "-u", "-c", "from l0_core.cli import main; main()", "show", session["id"], "-f"]
        followers = [
            subprocess.Popen([*command, *more], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, stdout=subprocess.PIPE)
            for more in ([], ["--json"])
        ]
        begun = [os.read(follower.stdout.fileno(), 1_000).decode() for follower in followers if follower.stdout]
        assert begun[0] == "It begins"
        assert json.loads(begun[1]) == {"text": "It begins", "status": "running", "discarded": False}
        told.set()
        assert "".join(stream) == " and ends."
        journal.flush()
        ends = [follower.communicate(timeout=120)[0].decode() for follower in followers]
    assert ends[0] == " and ends.\n"
    assert "".join(json.loads(line)["text"] for line in ends[1].splitlines()) == " and ends."
    assert json.loads(ends[1].splitlines()[-1])["status"] == "complete"


def test_a_run_is_shown_with_its_steps(folder: Path) -> None:
    shown = l0("show", "job-1", cwd=folder).stdout
    assert "finished" in shown
    assert "charge" in shown
    assert SESSIONS[0] in shown
    said = asked("show", "job-1", cwd=folder)
    assert [step["kind"] for step in said["steps"]] == ["function", "model"]
    l0("show", "job-1", "--follow", cwd=folder, code=2)
    assert "no run and no session" in l0("show", "nothing", cwd=folder, code=1).stderr


def test_what_was_recorded_is_decided_again(folder: Path) -> None:
    assert [report["text"] for report in asked("replay", "job-1", cwd=folder)] == ["One two three."]
    assert "complete" in l0("replay", SESSIONS[0], cwd=folder).stdout
    assert l0("replay", SESSIONS[0], "--speed", "100", cwd=folder).stdout == "One two three.\n"
    assert "ExhaustedError" in l0("replay", "job-2", "--speed", "100", cwd=folder).stdout


def test_a_journal_is_verified(folder: Path, tmp_path: Path) -> None:
    said = asked("verify", cwd=folder)
    assert said["is_sound"]
    assert "as it was written" in l0("verify", "--head", said["head"], cwd=folder).stdout
    copy = tmp_path / "l0.db"
    copy.write_bytes((folder / "l0.db").read_bytes())
    tampered = copy.read_bytes().replace(b"three.", b"threeX")
    assert tampered != copy.read_bytes()
    copy.write_bytes(tampered)
    assert "findings" in l0("verify", cwd=tmp_path, code=1).stdout


def test_exported_forked_taken_in_and_pruned(folder: Path, tmp_path: Path) -> None:
    exported = l0("export", "--run", "job-1", cwd=folder).stdout
    assert l0("export", "--run", "job-1", "-o", str(tmp_path / "out.jsonl"), cwd=folder).stdout == ""
    assert (tmp_path / "out.jsonl").read_text() == exported
    assert json.loads(l0("import", "-", "--json", cwd=tmp_path, stdin=exported).stdout)["streams"] == 2
    assert asked("import", "out.jsonl", cwd=tmp_path)["known"] == 2
    assert [row["name"] for row in asked("runs", cwd=tmp_path)] == ["job-1"]
    assert [report["text"] for report in asked("replay", "job-1", cwd=tmp_path)] == ["One two three."]
    l0("fork", "job-1", "--at", "charge", "--id", "job-1-b", cwd=tmp_path)
    assert asked("runs", "--limit", "1", cwd=tmp_path)[0]["forked_from"]
    l0("fork", "none", "--at", "0", "--id", "x", cwd=tmp_path, code=2)
    time.sleep(0.002)  # what is pruned began at least a millisecond ago
    assert asked("prune", "--before", "0s", "--yes", cwd=tmp_path)["streams"] >= 2
    assert asked("runs", cwd=tmp_path) == []
    assert asked("verify", cwd=tmp_path)["is_sound"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["runs", "--journal", "nowhere.db"],
        ["runs", "--since", "yesterday"],
        ["runs", "--limit", "0"],
        ["prune"],
        ["prune", "--before", "1d", "--user", "ada"],
        ["show"],
        ["fork", "job-1"],
    ],
    ids=" ".join,
)
def test_misuse_ends_with_two(folder: Path, arguments: list[str]) -> None:
    l0(*arguments, cwd=folder, code=2)
    assert not (folder / "nowhere.db").exists(), "a journal is not made by looking for one"
