"""`l0 trace`: a program nobody changed, written down as it runs."""

import os
import runpy
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any

import typer

from l0_core._journal import Journal
from l0_core.cli.opening import DEFAULT, JournalPath, say, told

WATCHERS: dict[str, Callable[[Any], object]] = {
    "l0_langchain": attrgetter("L0CallbackHandler"),  # Known to the framework, it watches where L0_TRACE says.
    "l0_llamaindex": lambda package: package.L0EventHandler().listen(),
}
"""The packages that can watch a framework's programs, and how each is set to it."""


@told
def command(
    script: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The program.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="What it is given; options of its own too.")] = None,
    *,
    journal: JournalPath = None,
) -> None:
    """Run a program of LangChain or LlamaIndex and write down what it does. Ends as the program ends."""
    found = [name for name in WATCHERS if find_spec(name) is not None]
    if not found:
        raise typer.BadParameter("there is nothing that could watch: install l0-langchain or l0-llamaindex")
    path = (journal or DEFAULT).resolve()
    os.environ |= {"L0_TRACE": "true", "L0_JOURNAL": str(path)}
    for name in found:
        WATCHERS[name](import_module(name))
    sys.argv = [str(script), *(arguments or ())]
    sys.path.insert(0, str(script.resolve().parent))
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        written = Journal.of(None)
        if written is not None:
            written.flush()
        say(f"l0: written to {path}; see l0 runs")
