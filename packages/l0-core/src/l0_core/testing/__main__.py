"""`python -m l0_core.testing`: the faulty provider as a server, and the table of faults."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from l0_core.testing.chaos import chaos
from l0_core.testing.fault_table import markdown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 is fine, 2 is misuse."""
    parser = argparse.ArgumentParser(prog="python -m l0_core.testing", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("chaos", help="serve answers and failures, one line for every request")
    serve.add_argument("--scenario", type=Path, help="what to answer and how to fail (TOML)")
    serve.add_argument("--host", default="127.0.0.1", help="where to listen (loopback)")
    serve.add_argument("--port", type=int, default=0, help="which port (a free one)")
    commands.add_parser("faults", help="print the table of faults as Markdown")
    given = parser.parse_args(arguments)
    if given.command == "faults":
        sys.stdout.write(markdown())
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            chaos(given.scenario, given.host, given.port, say=_say)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
