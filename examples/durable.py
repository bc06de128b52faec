"""Work that can be killed anywhere: four steps, and none is done twice.

Retrieve, ask a model, charge a card, ask a model again. Kill the process wherever you like and start it again: what was
done is not done again, an answer goes on where it broke off, and the end is as if nothing had happened. Then replay it,
or change a word of the prompt and be told exactly where.

    python examples/durable.py                   # slow enough to be killed: press Ctrl-C, or use kill -9
    python examples/durable.py                   # again: it goes on
    python examples/durable.py --replay          # no call is made
    python examples/durable.py --word carefully  # says what changed, and where

It needs no key and no network: the model is a function below, whose connection breaks once in every answer.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import l0_core

STOCK = {"lamp": 40, "desk": 180}
ANSWERS = {
    "Which": "Take the lamp: it costs 40, less than a quarter of the desk, and it fits on the table that you have.",
    "Thank": "Thank you! The lamp is paid for with the receipt R-40, and it will be at your door on Tuesday.",
}


class World:
    """What is outside: a model, and a bank that writes down whatever it is asked for."""

    def __init__(self, folder: Path, pause: float) -> None:
        self._folder = folder
        self._pause = pause

    def model(self, prompt: str) -> l0_core.Target:
        """Return a model that answers a prompt, goes on from a prefix, and breaks off the first time."""
        answer = ANSWERS[prompt.split(maxsplit=1)[0]]

        def open_(attempt: l0_core.Attempt) -> Iterator[l0_core.Chunk]:
            self._note("calls", {"prompt": prompt, "from": len(attempt.prefix)})
            for number, word in enumerate(answer[len(attempt.prefix) :].split(" ")):
                time.sleep(self._pause)
                if attempt.number == 0 and number == 7:  # noqa: PLR2004 - in the middle of the answer
                    raise ConnectionResetError("connection reset by peer")
                yield l0_core.Chunk(text=word if number == 0 else f" {word}")
            yield l0_core.Chunk(finish_reason="stop")

        return l0_core.Target(open_, name="model", prefill=True, terminal="finish_reason")

    def charge(self, amount: int, key: str | None) -> str:
        """Charge an amount, as banks do: a key once, however often it is sent."""
        self._note("charges", {"amount": amount, "key": key})
        time.sleep(self._pause)
        return f"R-{amount}"

    def _note(self, file: str, what: object) -> None:
        with (self._folder / f"{file}.jsonl").open("a") as noted:
            noted.write(json.dumps(what) + "\n")
            noted.flush()
            os.fsync(noted.fileno())


def ask(world: World, prompt: str) -> str:
    """Ask the model, and print what it says as it says it. In a run it is a step, known by its input."""
    said = []
    for chunk in l0_core.stream(world.model(prompt), policy="interactive", input=prompt):
        said.append(chunk.text)
        print(chunk.text, end="", flush=True)
    print()
    return "".join(said)


@l0_core.step(side_effect=False)
def retrieve(names: list[str]) -> dict[str, int]:
    """Look up what things cost."""
    return {name: STOCK[name] for name in names}


@l0_core.step
def charge(world: World, amount: int) -> str:
    """Charge the customer. The key is the same however often this is tried."""
    return world.charge(amount, l0_core.idempotency_key())


def order(world: World, word: str) -> None:
    """Do the work. It is written as if nothing could happen to it."""
    prices = retrieve(["lamp", "desk"])
    advice = ask(world, f"Which should I buy? Think {word} and say why: {json.dumps(prices)}")
    receipt = charge(world, prices["lamp" if "lamp" in advice else "desk"])
    ask(world, f"Thank the customer. The receipt is {receipt}.")


def main() -> int:
    """Do it, or go on with it, or replay it."""
    parser = argparse.ArgumentParser(description="Work that can be killed anywhere.")
    parser.add_argument("--folder", type=Path, default=Path("durable"), help="where the journal and the notes are")
    parser.add_argument("--word", default="twice", help="a word of the prompt")
    parser.add_argument("--replay", action="store_true", help="make no call")
    parser.add_argument("--pause", type=float, default=0.15, help="seconds between words")
    said = parser.parse_args()
    said.folder.mkdir(parents=True, exist_ok=True)
    with l0_core.Journal.open(said.folder / "l0.db") as journal:
        try:
            with l0_core.run("order-42", journal=journal, mode="replay" if said.replay else "auto"):
                order(World(said.folder, said.pause), said.word)
        except l0_core.ReplayDivergence as error:
            print(error)
            for change in error.changes:
                print(f"  recorded: {change.expected!r}\n  now:      {change.actual!r}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
