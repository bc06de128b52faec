"""The page of the table: docs/figures.md, as a complete run writes it. `page.py TABLE …` prints it."""

import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

Rows = Sequence[Mapping[str, object]]

ABOUT = {
    "start": "What importing costs, over an interpreter that imports nothing.",
    "engine": "The engine by itself, in Rust.",
    "drivers": "Sources that cost nothing, through the drivers; `ai2070-l0` over the same source.",
    "growth": "What is added to a chunk, in nanoseconds, in answers of 2,000, 20,000 and 200,000 chunks, and how much "
    "dearer it is in the long one. With a framework's model, what is added to the framework's own.",
    "content": "Guards, repair of JSON, values while it streams; beside `json_repair` and LangChain's own parser.",
    "journal": "Being written down, and read again; beside one `write(2)` of as many bytes.",
    "wrapping": "A model that costs nothing, wrapped, watched, and in the framework's own remedies: processor time.",
    "beside": "The same work with what users take instead, and L0 over each of them: processor time.",
    "llamaindex": "An LLM that costs nothing, alone and wrapped.",
    "recovery": "How streamed answers end whose provider fails once, of 100: judged by all that a reader of the stream "
    "was shown. p95 is the delay that was added; tokens are those that a call costs more.",
}


def page(table: Rows, build: object) -> str:
    """Write the page."""
    when = f"{datetime.now(UTC):%Y-%m-%d}"
    where = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    out = [
        "# Figures",
        "",
        "<!-- Written by `make bench`. -->",
        "",
        f"One run of `make bench` on {when}: {where}.",
        f"`{build}`",
        "",
        "Candidates are measured in turn, so that a busy machine disturbs all alike; each figure is the median of its",
        "rounds. Compare figures of one run only. Where something was promised, its limit is there.",
    ]
    for room, rows in groupby(table, key=lambda row: str(row["room"])):
        out += ["", f"## {room}", "", f"{ABOUT.get(room, '')} `make bench ARGS={room}`", ""]
        out += _room(list(rows))
    return "\n".join(out) + "\n"


def _room(rows: Rows) -> Iterable[str]:
    if not rows[0]["column"]:
        yield "| | measured | limit | |"
        yield "|---|---|---|---|"
        for row in rows:
            limit = "" if row["limit"] is None else f"{_number(row['limit'])} {row['unit']}"
            verdict = str(row["verdict"]).lower()
            yield f"| {row['name']} | {_number(row['value'])} {row['unit']} | {limit} | {verdict} |"
        return
    heads: list[str] = []
    for name, group in groupby(rows, key=lambda row: str(row["name"])):
        figures = list(group)
        columns = [str(row["column"]) for row in figures]
        if columns != heads:
            yield "| | " + " | ".join(columns) + " |"
            yield "|---" * (len(columns) + 1) + "|"
            heads = columns
        missed = {row["column"] for row in figures if row["verdict"] == "MISSED"}
        cells = [_number(row["value"]) + (" (missed)" if row["column"] in missed else "") for row in figures]
        yield f"| {name} | " + " | ".join(cells) + " |"


def _number(value: object) -> str:
    number = float(str(value))
    if number == int(number) or abs(number) >= 100:  # noqa: PLR2004 - three figures are enough
        return f"{number:,.0f}"
    return f"{number:,.1f}" if abs(number) >= 10 else f"{number:,.2f}"  # noqa: PLR2004 - as above


if __name__ == "__main__":
    tables = [row for name in sys.argv[1:] for row in json.loads(Path(name).read_text(encoding="utf-8"))]
    sys.stdout.write(page(tables, "rooms of several runs"))
