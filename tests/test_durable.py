"""`examples/durable.py`, killed with SIGKILL wherever it is: it ends as if nothing had happened (G1, G5, G6)."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import l0_core

EXAMPLE = Path(__file__).parents[1] / "examples" / "durable.py"
ADVICE = "Take the lamp: it costs 40, less than a quarter of the desk, and it fits on the table that you have.\n"
THANKS = "Thank you! The lamp is paid for with the receipt R-40, and it will be at your door on Tuesday.\n"

pytestmark = [
    pytest.mark.skipif(not EXAMPLE.exists() or os.name != "posix", reason="needs the example beside it, and SIGKILL"),
    pytest.mark.timeout(300),
]


class Program:
    """The example, in a folder of its own."""

    def __init__(self, folder: Path, pause: float = 0.004) -> None:
        self.folder = folder
        self.pause = pause

    def start(self, *more: str) -> "subprocess.Popen[bytes]":
        options = ["--folder", str(self.folder), "--pause", str(self.pause), *more]
        return subprocess.Popen(
            [sys.executable, str(EXAMPLE), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def finish(self, *more: str) -> str:
        process = self.start(*more)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
        return out.decode()

    def kill_at_output(self, at: int) -> None:
        """Kill it as soon as it has printed so many bytes."""
        process = self.start()
        assert process.stdout is not None
        seen = 0
        while seen < at and (piece := os.read(process.stdout.fileno(), at - seen)):
            seen += len(piece)
        kill(process)

    def kill_at_charge(self) -> None:
        """Kill it while it waits for the bank, which has the charge already."""
        process = self.start()
        while not self.noted("charges") and process.poll() is None:
            time.sleep(0.001)  # another process's file: there is no event to wait for
        kill(process)

    def kill_after(self, seconds: float) -> None:
        process = self.start()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            kill(process)
        else:
            process.communicate()

    def noted(self, what: str) -> list[dict[str, Any]]:
        file = self.folder / f"{what}.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def must_have_ended_well(self, *, kills: int) -> None:
        charges = self.noted("charges")
        assert len({charge["key"] for charge in charges}) == 1, "what a bank charges once"
        assert 1 <= len(charges) <= 1 + kills
        before = self.noted("calls")
        assert self.finish("--replay") == ADVICE + THANKS
        assert self.finish() == ADVICE + THANKS, "a finished run returns its records"
        assert self.noted("calls") == before
        assert self.noted("charges") == charges
        with l0_core.Journal.open(self.folder / "l0.db") as journal:
            assert journal.verify().is_sound
            (run,) = journal.runs()
            assert run["status"] == "finished"
            for session in journal.sessions("order-42"):
                assert l0_core.replay(journal, session["id"]).status == session["status"] == "complete"


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_at_every_step_and_in_the_middle_of_answers(tmp_path: Path) -> None:
    """One kill each: before anything, within either answer, at its end, and after it."""
    whole = len(ADVICE + THANKS)
    moments = [1, 9, 60, len(ADVICE) - 1, len(ADVICE), len(ADVICE) + 30, whole - 1]
    for number, at in enumerate(moments):
        program = Program(tmp_path / str(number))
        program.kill_at_output(at)
        asked = [call["prompt"] for call in program.noted("calls")]
        assert program.finish() == ADVICE + THANKS
        program.must_have_ended_well(kills=0 if at <= len(ADVICE) - 1 or at > len(ADVICE) else 1)
        again = program.noted("calls")[len(asked) :]
        if 9 <= at < len(ADVICE) - 1:
            assert again[0]["prompt"] == asked[-1]
            assert again[0]["from"] >= at, "the answer goes on after what was shown"


def test_killed_while_the_bank_has_the_charge(tmp_path: Path) -> None:
    program = Program(tmp_path, pause=0.05)
    program.kill_at_charge()
    assert len(program.noted("charges")) == 1
    program.pause = 0
    assert program.finish() == ADVICE + THANKS
    assert len(program.noted("charges")) == 2, "whether it happened is not known: it is sent again, with the same key"
    program.must_have_ended_well(kills=1)


def test_killed_again_and_again(tmp_path: Path) -> None:
    """Five kills in one run, each further on than the last."""
    program = Program(tmp_path)
    for at in (20, 60, 95, 120, 170):
        program.kill_at_output(at)
    assert program.finish() == ADVICE + THANKS
    program.must_have_ended_well(kills=5)


def test_a_word_of_the_prompt_that_changed_is_told(tmp_path: Path) -> None:
    program = Program(tmp_path, pause=0)
    program.kill_at_output(len(ADVICE) + 20)
    calls = program.noted("calls")
    for _ in range(2):
        process = program.start("--word", "carefully")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1, err.decode()
        assert "the input of step model of run order-42 has changed at record 3" in out.decode()
        assert "differs from character 26" in out.decode()
        assert program.noted("calls") == calls
        assert program.finish() == ADVICE + THANKS
        calls = program.noted("calls")


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(40))
def test_killed_at_random_moments(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - no secret
    program = Program(tmp_path, pause=dice.choice([0.0, 0.002, 0.01]))
    kills = dice.randrange(1, 9)
    for _ in range(kills):
        program.kill_after(dice.uniform(0.05, 1.2))
    assert program.finish() == ADVICE + THANKS
    program.must_have_ended_well(kills=kills)


def test_a_holder_that_was_stopped_and_wakes_up_late_writes_nothing_more(tmp_path: Path) -> None:
    """Between hosts only the lease's term can tell: what its old holder still writes is refused."""
    program = (
        "import sys, l0_core\n"
        "journal = l0_core.Journal.open(sys.argv[1], lease_term=0.3, host=sys.argv[2])\n"
        "@l0_core.step\n"
        "def charge(who):\n"
        "    print('charged', who, flush=True)\n"
        "    return who\n"
        "with l0_core.run('job', journal=journal, wait=20):\n"
        "    print('in', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    charge(sys.argv[2])\n"
    )

    def start(host: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "l0.db"), host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    first = start("one")
    assert first.stdout is not None
    assert first.stdout.readline() == "in\n"
    first.send_signal(signal.SIGSTOP)
    try:
        second = start("two")
        out, err = second.communicate("go\n", timeout=60)
        assert second.returncode == 0, err
        assert out == "in\ncharged two\n"
    finally:
        first.send_signal(signal.SIGCONT)
    out, err = first.communicate("go\n", timeout=60)
    assert first.returncode == 1
    assert "charged" not in out, "the one that woke up late does nothing outside"
    assert "JournalError" in err
    with l0_core.Journal.open(tmp_path / "l0.db") as journal:
        assert [step["status"] for step in journal.steps("job")] == ["finished"]
