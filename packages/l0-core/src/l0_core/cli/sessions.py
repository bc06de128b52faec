"""`l0 sessions`: what model calls there were, the latest first."""

from typing import Annotated

import typer

from l0_core.cli.moment import clock, moment, span
from l0_core.cli.opening import AsJson, JournalPath, KeyFile, give, opened, table, told


@told
def command(
    *,
    run: Annotated[str | None, typer.Option(help="Only those of this run.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only those that stand so: running, complete, exhausted, ….")
    ] = None,
    fault: Annotated[str | None, typer.Option(help="Only those whose last fault was this: network, stall, ….")] = None,
    target: Annotated[str | None, typer.Option(help="Only those meant for this target.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only those of this tenant.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those for this user.")] = None,
    since: Annotated[str | None, typer.Option(help="Only those begun since: 30m, 2h, 7d, or a date.")] = None,
    until: Annotated[str | None, typer.Option(help="Only those begun before.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 20,
    journal: JournalPath = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """List sessions, the latest first."""
    with opened(journal, key_file) as found:
        rows = found.sessions(
            run,
            status,
            limit=limit,
            fault=fault,
            target=target,
            tenant=tenant,
            user=user,
            since_ms=moment(since),
            until_ms=moment(until),
        )
        runs = set() if as_json else {row["run"] for row in rows if "run" in row}
        names = {run: row["name"] for run in runs for row in found.runs(id=run) if "name" in row}
    if as_json:
        give(list(rows))
        return
    table(
        ["session", "run", "status", "served by", "attempts", "fault", "began", "first", "took", "tokens"],
        [
            [
                row["id"],
                names.get(row.get("run")) or row.get("run"),
                row.get("status"),
                row.get("served_by") or row.get("target"),
                row.get("attempts"),
                row.get("fault"),
                clock(row.get("started_at_ms")),
                span(row.get("first_content_ms")),
                span(row.get("duration_ms")),
                row.get("output_tokens"),
            ]
            for row in rows
        ],
    )
