"""`l0 chaos`: the faulty provider as a server, for any application to be pointed at."""

import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer


def command(
    scenario: Annotated[
        Path | None,
        typer.Argument(help="What to answer and how to fail (TOML); without one, everything is answered well."),
    ] = None,
    *,
    host: Annotated[
        str, typer.Option(help="Where to listen; anything but loopback lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Which port; 0 takes a free one.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Serve answers and failures until interrupted, and print one line for every request. Ends with 2 if it cannot."""
    try:
        from l0_core.testing.chaos import chaos
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "h11":
            raise
        typer.echo("l0 chaos: the server needs h11: pip install 'l0-core[testing]'", err=True)
        raise typer.Exit(2) from None

    try:
        with _until_told_to_stop():
            chaos(scenario, host, port, as_json=as_json, say=typer.echo)
    except (OSError, ValueError) as error:
        said = str(error)
        if isinstance(error, OSError) and error.filename is not None:
            said = f"{error.filename}: {error.strerror}"
        typer.echo(json.dumps({"error": said}) if as_json else f"l0 chaos: {said}", err=True)
        raise typer.Exit(2) from None


@contextlib.contextmanager
def _until_told_to_stop() -> Iterator[None]:
    """Let an interrupt, or whoever terminates the process, end it as well as it can end."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
