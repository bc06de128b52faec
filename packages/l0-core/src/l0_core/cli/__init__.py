"""The command `l0`.

Each of its commands is one module of this package, with a function `command` that typer reads; `l0_core.cli.app` lists
them. Every command takes `--json`, and ends with 0 if all is well, 1 if the answer is no, and 2 if it was misused.
"""

import sys

_NEEDED = {"rich", "typer"}


def main() -> None:
    """Run the command line; say what is missing where it cannot be run."""
    try:
        from l0_core.cli.app import app
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _NEEDED:
            raise
        sys.stderr.write(f"l0: the command line needs {missing}: pip install 'l0-core[cli]'\n")
        sys.exit(2)
    app()
