"""One table of measurements; a page and a picture of it, too. `run.py ROOM …` measures only those rooms."""

import importlib
import json
import sys
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import page
import plot
from row import Row

import l0_core

ROOMS = ("start", "engine", "drivers", "growth", "content", "journal", "wrapping", "beside", "llamaindex", "recovery")
OUT = Path(__file__).parent / "out"
DOCS = Path(__file__).parent.parent / "docs"


def main(wanted: list[str]) -> None:
    """Measure, print the table, and write it as JSON; a complete one as a page and a picture, too."""
    unknown = sorted(set(wanted) - set(ROOMS))
    if unknown:
        sys.exit(f"there are the rooms {', '.join(ROOMS)}, not {unknown[0]}")
    build = l0_core.build_info()
    if build.profile != "release":
        sys.exit(f"figures of a {build.profile!r} build mean nothing: run `make bench`")
    print(build)
    print(f"{'':58} {'measured':>12} {'':6} {'limit':>10}")
    table: list[dict[str, object]] = []
    for room in wanted or ROOMS:
        heads: tuple[str, ...] = ()
        for _, group in groupby(importlib.import_module(room).rows(), key=lambda row: row.name):
            rows = list(group)
            if rows[0].column:
                heads = _grid(rows, heads)
            else:
                _lines(rows)
            table += [row.as_json() for row in rows]
    OUT.mkdir(exist_ok=True)
    name = "-".join(wanted) or "table"
    (OUT / f"{name}.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    if not wanted:
        (DOCS / "figures.svg").write_text(plot.figures(table), encoding="utf-8")
        (DOCS / "figures.md").write_text(page.page(table, build), encoding="utf-8")


def _lines(rows: Iterable[Row]) -> None:
    """Print figures that have a line each."""
    for row in rows:
        limit = "" if row.limit is None else f"{row.limit:,g}"
        name = f"{row.room}: {row.name}"
        print(f"{name:58} {row.value:12,.2f} {row.unit:6} {limit:>10} {row.verdict}", flush=True)


def _grid(rows: list[Row], heads: tuple[str, ...]) -> tuple[str, ...]:
    """Print the figures of one thing in one line, under their columns; return what the columns are."""
    columns = tuple(row.column for row in rows)
    width = 48
    if columns != heads:
        print(f"{rows[0].room + ':':{width}}" + "".join(f" {column:>10}" for column in columns))
    missed = [row.column for row in rows if row.verdict == "MISSED"]
    figures = "".join(f" {row.value:10,.0f}" if row.value >= 10 else f" {row.value:10,.2f}" for row in rows)  # noqa: PLR2004
    print(f"  {rows[0].name:{width - 2}}{figures}{' MISSED ' + ', '.join(missed) if missed else ''}", flush=True)
    return columns


if __name__ == "__main__":
    main(sys.argv[1:])
