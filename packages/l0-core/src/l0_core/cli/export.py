"""`l0 export` and `l0 import`: a journal as JSON Lines."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, TextIO

import typer

from l0_core._archive import export, import_
from l0_core._journal import Journal
from l0_core.cli.opening import DEFAULT, AsJson, JournalPath, KeyFile, console, give, opened, progress, told


@told
def command(
    *,
    run: Annotated[list[str] | None, typer.Option(help="Only this run, with its sessions. May be given again.")] = None,
    session: Annotated[list[str] | None, typer.Option(help="Only this session. May be given again.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; stdout where nothing is said.")] = None,
    journal: JournalPath = None,
    key_file: KeyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="As always: what is exported is JSON Lines.")] = False,  # noqa: ARG001 - taken everywhere
) -> None:
    """Write a journal, or some runs and sessions of it, as JSON Lines."""
    with ExitStack() as stack:
        found = stack.enter_context(opened(journal, key_file))
        to: TextIO = stack.enter_context(output.open("w", encoding="utf-8")) if output else sys.stdout
        bar = stack.enter_context(progress())
        task = bar.add_task("exporting", total=None)
        for line in export(found, runs=run or None, sessions=session or None):
            to.write(line + "\n")
            bar.advance(task)


@told
def import_command(
    file: Annotated[Path, typer.Argument(help="What was exported; - for stdin.")],
    *,
    journal: JournalPath = None,
    as_json: AsJson = False,
) -> None:
    """Take what was exported into a journal, which is made if there is none. What it has already is left as it is."""
    with ExitStack() as stack:
        to = stack.enter_context(Journal.open(journal or DEFAULT))
        lines: TextIO = sys.stdin if str(file) == "-" else stack.enter_context(file.open(encoding="utf-8"))
        bar = stack.enter_context(progress())
        taken = import_(to, bar.track(lines, description="importing"))
    if as_json:
        give(taken._asdict())
    else:
        console().print(f"{taken.streams} runs and sessions, {taken.records} records; {taken.known} were there already")
