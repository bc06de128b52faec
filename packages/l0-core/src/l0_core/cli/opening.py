"""What every command that reads a journal takes and says: which journal, `--json`, and errors in one line."""

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from l0_core._errors import JournalError, L0Error, ReplayDivergence
from l0_core._journal import Journal

Fn = TypeVar("Fn", bound=Callable[..., Any])

JournalPath = Annotated[
    Path | None,
    typer.Option("--journal", "-j", envvar="L0_JOURNAL", help="The journal's file; l0.db where nothing is said."),
]
KeyFile = Annotated[Path | None, typer.Option("--key-file", help="A file with the 32 bytes of the journal's key.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]

DEFAULT = Path("l0.db")
_WIDE = 10_000
"""As wide as needed: what is piped is not cut to the width of a screen."""


def opened(path: Path | None, key_file: Path | None = None) -> Journal:
    """Open the journal that was asked for. One that does not exist is not made."""
    path = path or DEFAULT
    if not path.is_file():
        raise typer.BadParameter(f"there is no journal {path}: name one with --journal, or in L0_JOURNAL")
    key = key_file.read_bytes() if key_file is not None else None
    try:
        return Journal.open(path, key=key)
    except JournalError as error:
        if error.reason != "read_only":
            raise
        return Journal.open(path, key=key, read_only=True)


def told(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command end with 1 and one line on stderr where L0 says no, and with 2 where it was asked nonsense."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ReplayDivergence as error:
            say(f"l0: {error}")
            for change in error.changes[:20]:
                say(f"  {change.path}\n    recorded: {change.expected!r}\n    now:      {change.actual!r}")
            raise typer.Exit(1) from None
        except JournalError as error:
            say(f"l0: {error}")
            raise typer.Exit(2 if error.reason == "invalid" else 1) from None
        except (L0Error, OSError) as error:
            say(f"l0: {error}")
            raise typer.Exit(1) from None

    return run


def say(text: str) -> None:
    """Say something that is not the answer."""
    typer.echo(text, err=True)


def console() -> Console:
    """Return where answers go: coloured on a screen, plain and uncut in a pipe."""
    return Console() if sys.stdout.isatty() else Console(width=_WIDE, no_color=True, highlight=False)


def progress() -> Progress:
    """Return a bar for long work, on stderr, where somebody is looking."""
    return Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


def give(value: object) -> None:
    """Print an answer as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


_GOOD = {"finished", "complete", "served", "full"}
_BAD = {"failed", "exhausted", "incomplete", "lost"}


def table(columns: list[str], rows: list[list[object]]) -> None:
    """Print a table."""
    if not rows:
        say("nothing")
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        shown.add_column(column, no_wrap=not sys.stdout.isatty(), overflow="fold")
    for row in rows:
        shown.add_row(*(cell(value) for value in row))
    console().print(shown)


def cell(value: object) -> Text:
    """Return a value as a table shows it."""
    text = "" if value is None else str(value)
    return Text(text, style="green" if text in _GOOD else "red" if text in _BAD else "")
