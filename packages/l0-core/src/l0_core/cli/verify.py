"""`l0 verify`: whether a journal is as it was written."""

from typing import Annotated

import typer

from l0_core.cli.opening import AsJson, JournalPath, KeyFile, console, give, opened, progress, table, told


@told
def command(
    *,
    head: Annotated[
        str | None, typer.Option(help="A head that was noted earlier: it must have been on the way.")
    ] = None,
    journal: JournalPath = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Look at every block of a journal. Ends with 1 if anything is not as it was written."""
    with opened(journal, key_file) as found, progress() as bar:
        bar.add_task("verifying", total=None)
        report = found.verify(head)
    if as_json:
        findings = [finding._asdict() for finding in report.findings]
        give(report._asdict() | {"findings": findings, "is_sound": report.is_sound})
    else:
        console().print(f"{report.blocks} blocks, {report.records} records, {report.streams} streams")
        console().print(f"head {report.head}")
        if report.is_sound:
            console().print("as it was written", style="green")
        else:
            rows: list[list[object]] = [
                [what, stream, block, record] for what, stream, block, record in report.findings
            ]
            table(["what is wrong", "stream", "block", "record"], rows)
            console().print(f"{report.count} findings", style="red")
    raise typer.Exit(0 if report.is_sound else 1)
