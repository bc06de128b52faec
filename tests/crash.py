"""Kills a recording process with SIGKILL at random moments, and holds what is left to what was promised.

    python tests/crash.py --durability safe --count 300

Each life is a process of its own, forked off one that has everything imported, so that hundreds take seconds. It does
the same work: look something up, ask a model, charge a card, ask again; and writes a line to a pipe for every piece
that it was given. When so many lines have come, it is killed. What it had is then in the journal (G5), the next life
goes on to the right end (G1), does nothing again that it knew of, and the journal decides the same once more (G6).
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import l0_core

FIRST = " ".join(f"first-{number}" for number in range(24))
SECOND = " ".join(f"second-{number} é" for number in range(24))
ANSWERS = {"first": FIRST, "second": SECOND}
LINES = 2 + 24 + 2 + 24 * 2 + 1
"""What one life that nobody kills says."""
CHARGE = 2 + 24
"""What it has said when it is about to charge the card."""
POLICY = l0_core.Policy(retry=l0_core.Retry(base=0.0))


class Life:
    """The work, as a program does it. Whatever it gets, it says."""

    def __init__(self, folder: Path, durability: Any, say: int) -> None:
        self.folder = folder
        self.durability = durability
        self._say = say

    def work(self, mode: Any = "auto") -> str:
        with l0_core.Journal.open(self.folder / "l0.db", durability=self.durability) as journal:
            self.say("opened")
            with l0_core.run("job", journal=journal, mode=mode):
                price = self.look_up("lamp")
                self.say("looked up", price)
                first = self.read(l0_core.stream(self.model("first"), policy=POLICY, input="first"))
                receipt = self.charge(price)
                self.say("charged", receipt)
                second = asyncio.run(self.aread(l0_core.astream(self.amodel("second"), policy=POLICY, input="second")))
        return f"{first}|{receipt}|{second}"

    def say(self, what: str, value: object = None) -> None:
        os.write(self._say, (json.dumps([what, value]) + "\n").encode())

    def look_up(self, name: str) -> int:
        @l0_core.step(side_effect=False)
        def look_up(_: str) -> int:
            self.note("look up")
            return 40

        return look_up(name)

    def charge(self, amount: int) -> str:
        @l0_core.step
        def charge(_: int) -> str:
            self.note(f"charge {l0_core.idempotency_key()}")
            self.say("charging")
            return "R-40"

        return charge(amount)

    def note(self, line: str) -> None:
        """Write down what happened outside: whoever is killed has done it."""
        to = os.open(self.folder / "outside", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(to, f"{line}\n".encode())
        os.close(to)

    def read(self, stream: Any) -> str:
        said = ""
        for chunk in stream:
            said += chunk
            self.say("first", said)
        return said

    async def aread(self, stream: Any) -> str:
        said = ""
        async for chunk in stream:
            said += chunk
            self.say("second", said)
        return said

    def model(self, name: str) -> l0_core.Target:
        def open_(attempt: l0_core.Attempt) -> Iterator[str]:
            self.note(f"call {name} from {len(attempt.prefix)}")
            for number, piece in enumerate(pieces(ANSWERS[name], attempt.prefix)):
                if attempt.number == 0 and number == 9:
                    raise ConnectionResetError
                yield piece

        return l0_core.Target(open_, name=name, prefill=True)

    def amodel(self, name: str) -> l0_core.Target:
        async def open_(attempt: l0_core.Attempt) -> AsyncIterator[str]:
            for piece in self.model(name).open(attempt):
                yield piece

        return l0_core.Target(open_, name=name, prefill=True)


def pieces(answer: str, prefix: str) -> list[str]:
    """Return what is left of an answer, word by word."""
    return re.findall(r"\S+ ?", answer[len(prefix) :])


RIGHT = f"{FIRST}|R-40|{SECOND}"


def forked(work: Callable[[int], None]) -> tuple[int, int]:
    """Let a process do something; return its id and what it writes to."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        end_with(work, writes)
    os.close(writes)
    return child, reads


def end_with(work: Callable[[int], None], writes: int) -> NoReturn:
    """Do it and be gone, without whatever the parent would do at its end."""
    try:
        work(writes)
    except BaseException:  # noqa: BLE001 - it is said by who asked for it
        os.write(writes, (json.dumps(["failed", traceback.format_exc()]) + "\n").encode())
        os._exit(1)
    os._exit(0)


def lines_of(reads: int) -> Iterator[list[Any]]:
    """Yield what a life says, until it is over. A line that was torn was not said."""
    with os.fdopen(reads, "rb", buffering=0) as pipe:
        rest = b""
        while piece := pipe.read(4_096):
            *whole, rest = (rest + piece).split(b"\n")
            yield from map(json.loads, whole)


class Trial:
    """One run, killed some times and brought to its end."""

    def __init__(self, folder: Path, durability: str, dice: random.Random) -> None:
        self.folder = folder
        self.durability = durability
        self.dice = dice
        self.kills = 0
        self.unacknowledged = 0
        """Lives that may have charged the card, and were killed before they knew."""
        self.had: dict[str, Any] = {}
        self.fell: list[str] = []
        self.again = 0
        """How often the card was charged again with the same key."""

    def go(self) -> None:
        for _ in range(self.dice.choice((1, 1, 1, 2, 3))):
            self.kill()
            self.look()
        self.end("auto")
        outside = self.outside()
        self.end("auto")
        self.end("replay")
        assert self.outside() == outside, "a run that is over does nothing outside"
        rows = self.look()
        over = {"finished", "complete", "failed attempt", "served attempt", "stopped attempt"}
        assert set(rows) <= over, f"rows stand at {rows}"
        self.judge()

    def end(self, mode: str) -> None:
        """Let a life go on to the end."""
        ended = self.ask(lambda life: life.say("ended", life.work(mode)))["ended"]
        assert ended == RIGHT, f"the end is wrong: {ended!r}"

    def kill(self) -> None:
        """Begin a life, and end it when it has said so much, and a moment later."""
        child, reads = forked(self.live)
        patience = self.dice.choice((self.dice.randrange(-4, LINES), self.dice.randrange(CHARGE - 2, CHARGE + 3)))
        delay = self.dice.choice((0.0, self.dice.uniform(0.0, 0.003)))
        if patience < 0:
            time.sleep(delay * 5)
            os.kill(child, signal.SIGKILL)
        last, charges = "nothing", False
        for number, (what, value) in enumerate(lines_of(reads)):
            assert what != "failed", value
            last = what
            charges = value == FIRST or (charges and what != "charged")
            self.had[what] = max(value, self.had.get(what, value)) if isinstance(value, str) else value
            if number == patience:
                time.sleep(delay)
                os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        self.kills += os.WIFSIGNALED(status)
        self.unacknowledged += charges
        self.fell.append(last)

    def live(self, writes: int) -> None:
        life = Life(self.folder, self.durability, writes)
        life.say("ended", life.work())

    def ask(self, work: Callable[[Life], None]) -> dict[str, Any]:
        """Let another process do something, and return what it says."""
        child, reads = forked(lambda writes: work(Life(self.folder, self.durability, writes)))
        said = dict(lines_of(reads))
        os.waitpid(child, 0)
        assert "failed" not in said, said["failed"]
        return said

    def look(self) -> list[str]:
        """Open the journal again: it is sound, and holds whatever anybody was given. Return where its rows stand."""
        held = self.ask(held_by)["held"]
        assert held["findings"] == [], held["findings"]
        for name in ANSWERS:
            if name in self.had:
                assert held["texts"].get(name, "").startswith(self.had[name]), (
                    f"{name}: {self.had[name]!r} was given, {held['texts']} is in the journal"
                )
        for name, text in held["texts"].items():
            assert ANSWERS[name].startswith(text), f"{name}: nobody ever said {text!r}"
        return held["rows"]  # type: ignore[no-any-return]

    def outside(self) -> list[str]:
        file = self.folder / "outside"
        return file.read_text().splitlines() if file.exists() else []

    def judge(self) -> None:
        """What happened outside happened as often as was promised."""
        charges = [line for line in self.outside() if line.startswith("charge")]
        assert len(set(charges)) == 1, f"a charge is known by one key: {charges}"
        assert len(charges) <= 1 + self.unacknowledged, f"charged {charges}, killed after {self.fell}"
        self.again = len(charges) - 1


def held_by(life: Life) -> None:
    """Say what a journal holds."""
    with l0_core.Journal.open(life.folder / "l0.db", durability=life.durability) as journal:
        texts = {row["target"]: l0_core.replay(journal, row["id"]).text for row in journal.sessions("job")}
        rows = [row["status"] for row in (*journal.runs(), *journal.steps("job"), *journal.sessions("job"))]
        for session in journal.sessions("job"):
            rows += [f"{attempt['status']} attempt" for attempt in journal.attempts(session["id"])]
        findings = [finding.what for finding in journal.verify().findings]
    life.say("held", {"texts": texts, "rows": rows, "findings": findings})


def main() -> int:
    """Kill, and count what was killed where."""
    parser = argparse.ArgumentParser(description="Kill a recording process at random moments.")
    parser.add_argument("--durability", choices=("fast", "safe", "paranoid"), action="append")
    parser.add_argument("--count", type=int, default=100, help="runs per durability")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    said = parser.parse_args()
    for durability in said.durability or ("fast", "safe", "paranoid"):
        fell, kills, again, began = Counter[str](), 0, 0, time.monotonic()
        for seed in range(said.seed, said.seed + said.count):
            with tempfile.TemporaryDirectory() as folder:
                trial = Trial(Path(folder), durability, random.Random(f"{durability} {seed}"))  # noqa: S311 - no secret
                try:
                    trial.go()
                except AssertionError as error:
                    sys.stderr.write(f"{durability}, seed {seed}, killed after {trial.fell}: {error}\n")
                    return 1
                fell.update(trial.fell)
                kills += trial.kills
                again += trial.again
        places = ", ".join(f"{count} after {what!r}" for what, count in fell.most_common())
        took = f"{time.monotonic() - began:.0f} s"
        line = f"{durability}: {said.count} runs, {kills} kills in {took}: {places}; {again} charges sent again\n"
        sys.stdout.write(line)
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
