"""`l0 runs`: what runs there are, the latest first."""

from typing import Annotated

import typer

from l0_core.cli.moment import clock, moment, span
from l0_core.cli.opening import AsJson, JournalPath, KeyFile, give, opened, table, told


@told
def command(
    *,
    status: Annotated[str | None, typer.Option(help="Only those that stand so: running, finished, failed.")] = None,
    fault: Annotated[str | None, typer.Option(help="Only those that ended with this exception.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only those of this tenant.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those for this user.")] = None,
    since: Annotated[str | None, typer.Option(help="Only those begun since: 30m, 2h, 7d, or a date.")] = None,
    until: Annotated[str | None, typer.Option(help="Only those begun before.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 20,
    journal: JournalPath = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """List runs, the latest first."""
    with opened(journal, key_file) as found:
        rows = found.runs(
            limit=limit,
            status=status,
            fault=fault,
            tenant=tenant,
            user=user,
            since_ms=moment(since),
            until_ms=moment(until),
        )
    if as_json:
        give(list(rows))
        return
    columns = ["run", "status", "fault", "began", "took", "tenant"]
    table(
        columns,
        [
            [
                row.get("name") or row["id"],
                row.get("status"),
                row.get("fault"),
                clock(row.get("started_at_ms")),
                span(row.get("duration_ms")),
                row.get("tenant"),
            ]
            for row in rows
        ],
    )
