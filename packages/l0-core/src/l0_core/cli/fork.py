"""`l0 fork`: a new run that shares the history of another up to a record."""

from typing import Annotated

import typer

from l0_core._fork import fork
from l0_core.cli.opening import AsJson, JournalPath, KeyFile, console, give, opened, told


@told
def command(
    run: Annotated[str, typer.Argument(help="The run, by the id its user gave it.")],
    *,
    at: Annotated[str, typer.Option(help="The record before which the history is shared, or the name of a step.")],
    new: Annotated[str, typer.Option("--id", help="What the new run is known by.")],
    journal: JournalPath = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a run that shares another's history up to a record, and goes live from there when it is resumed."""
    with opened(journal, key_file) as found:
        made = fork(found, run, at=int(at) if at.isdecimal() else at, id=new)
    if as_json:
        give({"run": new, "id": made, "forked_from": run, "at": at})
    else:
        console().print(f"{new} shares {run} up to {at}: resume it with l0_core.run({new!r})")
