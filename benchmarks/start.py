"""What importing costs a program that does not use it."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from time import perf_counter

from row import Row, in_turn

PROGRAMS = {
    "import l0_core": "import l0_core",
    "import l0_core, native module used": "import l0_core; l0_core.build_info()",
    "import l0_core, stream used": "import l0_core; l0_core.stream",
}


def _milliseconds(program: str) -> float:
    started = perf_counter()
    subprocess.run([sys.executable, "-I", "-c", program], check=True)
    return (perf_counter() - started) * 1_000


def rows() -> Iterator[Row]:
    """Measure."""
    bare = "pass"
    figures = in_turn({program: partial(_milliseconds, program) for program in [bare, *PROGRAMS.values()]}, 15)
    for name, program in PROGRAMS.items():
        yield Row("start", name, figures[program] - figures[bare], "ms", 50 if name == "import l0_core" else None)
