"""`l0 prune`: let go of what is old, or of what is somebody's."""

from typing import Annotated

import typer

from l0_core.cli.moment import moment
from l0_core.cli.opening import AsJson, JournalPath, KeyFile, console, give, opened, progress, told


@told
def command(
    *,
    before: Annotated[
        str | None, typer.Option(help="Remove the records of what was begun before: so long ago (30d), or a date.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Erase all content for this user.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Erase all content of this tenant.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    journal: JournalPath = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Remove records or content for good. The hashes stay, so that what is left still verifies."""
    if sum(choice is not None for choice in (before, user, tenant)) != 1:
        raise typer.BadParameter("say one of --before, --user and --tenant")
    limit = moment(before)
    if not yes:
        typer.confirm("Remove it for good?", abort=True, err=True)
    with opened(journal, key_file) as found, progress() as bar:
        bar.add_task("removing", total=None)
        streams = found.prune(opened_before_ms=limit) if limit is not None else found.erase(user=user, tenant=tenant)
    if as_json:
        give({"streams": streams})
    else:
        console().print(f"removed from {streams} runs and sessions")
