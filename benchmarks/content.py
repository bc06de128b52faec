"""What looking at content costs, and how well it is repaired: guards, JSON, and the yardsticks beside them."""

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import json_repair
from langchain_core.utils.json import parse_partial_json
from row import Row, in_turn

import l0_core.json

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "crates/l0-engine/tests/data/broken_json.jsonl"
TEXTS = {
    "json": "JSON, every guard there is",
    "prose": "paragraphs, every guard but json",
    "line": "one unbroken line",
    "letters": "letters without a space",
}
ROUNDS = 5
CHUNK = 4


def rows() -> Iterator[Row]:
    """Measure."""
    yield from _guards()
    yield from _repair()
    yield from _partial()
    yield from _quality()


def _guards() -> Iterator[Row]:
    command = ["cargo", "run", "--quiet", "--release", "-p", "l0-engine", "--example", "guard_speed", "--", "--json"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    for name, (short, _, long) in json.loads(answer.stdout).items():
        yield Row("content", f"guards a chunk, {TEXTS[name]}", long, "ns", 1_000.0)
        yield Row("content", f"200,000 chunks over 2,000, {TEXTS[name]}", long / short, "ratio", 1.2)


def _document(size: int) -> str:
    """A document of about that many characters, as a model writes it."""
    items: list[dict[str, Any]] = []
    while len(json.dumps(items, indent=1)) < size:
        number = len(items)
        text = f"An ordinary description of item {number}, with a few words as they come."
        items.append({"id": number, "name": f"item {number}", "text": text, "tags": ["a", "b"], "price": number + 0.5})
    return json.dumps({"items": items}, indent=1)[:size]


def _broken(size: int) -> str:
    """The same, broken as models break it: fenced, single quotes, trailing commas, Python's literals, and cut."""
    text = _document(size).replace("\n   ]", ",\n   ]").replace('"name"', "'name'").replace('"tags"', "tags")
    return f"Here it is:\n```json\n{text}"[:size]


def _seconds(work: Callable[[], object], times: int) -> Callable[[], float]:
    def measured() -> float:
        started = perf_counter()
        for _ in range(times):
            work()
        return (perf_counter() - started) / times

    return measured


def _repair() -> Iterator[Row]:
    for size, times, least in ((2_000, 20, 50.0), (200_000, 1, 20.0)):
        text = _broken(size)
        took = in_turn(
            {
                "l0": _seconds(lambda text=text: l0_core.json.repair(text).text, times * 20),  # type: ignore[misc]
                "value": _seconds(lambda text=text: l0_core.json.repair(text).value, times * 20),  # type: ignore[misc]
                "peer": _seconds(lambda text=text: json_repair.repair_json(text), times),  # type: ignore[misc]
                "peer value": _seconds(lambda text=text: json_repair.loads(text), times),  # type: ignore[misc]
            },
            ROUNDS,
        )
        kb = size // 1_000
        yield Row("content", f"repair of {kb} kB, times json_repair's speed", took["peer"] / took["l0"], "x", least)
        yield Row("content", f"the same with the value, {kb} kB", took["peer value"] / took["value"], "x")


def _partial() -> Iterator[Row]:
    for size, every in ((2_000, 1), (20_000, 25)):
        text = _document(size)
        pieces = [text[at : at + CHUNK] for at in range(0, size, CHUNK)]

        def grow(pieces: list[str] = pieces) -> object:
            growing, value = l0_core.json.Partial(), None
            for piece in pieces:
                growing.feed(piece)
                value = growing.value
            return value

        def parse_again(text: str = text, every: int = every) -> object:
            # Of the longer text every so manieth parse is made, and counted as so many.
            value = None
            for end in range(CHUNK, size + 1, CHUNK * every):  # noqa: B023 - read at once
                value = parse_partial_json(text[:end])
            return value

        took = in_turn({"l0": _seconds(grow, 1), "peer": _seconds(parse_again, 1)}, ROUNDS)
        ratio = took["peer"] * every / took["l0"]
        yield Row("content", f"values while {size // 1_000} kB stream, times parse_partial_json", ratio, "x", 20.0)


def _quality() -> Iterator[Row]:
    """Count the rows of the table of broken documents that come out as they were meant."""
    table = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]
    table = [row for row in table if "documents" not in row and "value" in row]  # what both can be asked
    for name, repair in (("l0", _mine), ("json_repair", json_repair.loads)):
        right = sum(_means(repair, row["text"]) == row["value"] for row in table)
        least = 100.0 if name == "l0" else None
        yield Row("content", f"{len(table)} broken documents, right: {name}", 100 * right / len(table), "%", least)


def _mine(text: str, documents: Any = "longest") -> Any:
    return l0_core.json.repair(text, documents=documents).value


def _means(repair: Callable[[str], Any], text: str) -> Any:
    try:
        return repair(text)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not the value
        return error


def side_by_side() -> None:
    """Print every broken document, what it was meant to be, and what each makes of it."""
    for row in map(json.loads, TABLE.read_text(encoding="utf-8").splitlines()):
        meant = row.get("value", "(no JSON)")
        mine = partial(_mine, documents=row.get("documents", "longest"))
        made = {"l0": _means(mine, row["text"]), "json_repair": _means(json_repair.loads, row["text"])}
        print(f"\n{row['why']}\n  text         {row['text']!r}\n  meant        {meant!r}")
        for name, value in made.items():
            right = value == meant or (meant == "(no JSON)" and isinstance(value, l0_core.json.Unrepairable))
            print(f"  {name:12} {value!r}{'' if right else '   <- not that'}")


if __name__ == "__main__":
    side_by_side()
