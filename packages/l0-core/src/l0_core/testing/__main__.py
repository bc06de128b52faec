"""`python -m l0_core.testing`: the table of faults, the measure of recovery. The server is `l0 chaos`."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import TYPE_CHECKING

from l0_core.testing.fault_table import markdown

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 is fine, 1 is an answer that was wrong or raised, 2 is misuse."""
    parser = argparse.ArgumentParser(prog="python -m l0_core.testing", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("faults", help="print the table of faults as Markdown")
    recovery = commands.add_parser(
        "measure", help="send every fault that passes through the SDKs and L0, count how it ends"
    )
    recovery.add_argument("--rounds", type=int, default=1, help="how often each fault is met (1)")
    recovery.add_argument("--seed", type=int, default=0, help="of every draw (0)")
    recovery.add_argument("--details", action="store_true", help="print how each fault ended, too")
    given = parser.parse_args(arguments)
    if given.command == "faults":
        sys.stdout.write(markdown())
        return 0
    return _measure(given.rounds, given.seed, details=given.details)


def _measure(rounds: int, seed: int, *, details: bool) -> int:
    """Print one line for every mix, program, runner and wording; 1 if anything wrong was returned, or raised."""
    from l0_core.testing import proof  # the only command that needs the SDKs

    logging.getLogger("l0").setLevel(logging.ERROR)  # one line a fault is of no interest here: all of them are meant
    _say(f"{'answer':9}  {'asked for':15}  {'runner':6}  {'wording':9}  calls  " + proof.HEADER)
    fine = True
    for case in proof.CASES:
        report = proof.prove(case, rounds=rounds, seed=seed)
        fine = fine and not report.outcomes["wrong"] and not report.outcomes["raised"]
        runner = "async" if case.is_async else "sync"
        _say(f"{case.mix:9}  {case.program:15}  {runner:6}  {case.wording:9}  {report.calls:5}  {proof.line(report)}")
        for told in (*report.wrongs, *report.errors) if details else ():
            _say(f"    {told}")
    return 0 if fine else 1


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
