"""One table of measurements. `run.py ROOM …` measures only those rooms."""

import importlib
import json
import sys
from pathlib import Path

import l0_core

ROOMS = ("start", "engine", "drivers", "content", "journal", "wrapping", "llamaindex", "recovery")
OUT = Path(__file__).parent / "out"


def main(wanted: list[str]) -> None:
    """Measure, print the table, and write it as JSON."""
    build = l0_core.build_info()
    if build.profile != "release":
        sys.exit(f"figures of a {build.profile!r} build mean nothing: run `make bench`")
    print(build)
    here = Path(__file__).parent
    rooms = [room for room in wanted or ROOMS if (here / f"{room}.py").exists()]
    table = []
    print(f"{'':58} {'measured':>12} {'':6} {'limit':>10}")
    for room in rooms:
        for row in importlib.import_module(room).rows():
            limit = "" if row.limit is None else f"{row.limit:,g}"
            name = f"{row.room}: {row.name}"
            print(f"{name:58} {row.value:12,.2f} {row.unit:6} {limit:>10} {row.verdict}", flush=True)
            table.append(row.as_json())
    OUT.mkdir(exist_ok=True)
    (OUT / "table.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
