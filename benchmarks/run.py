"""One table of measurements, from interleaved rounds: a busy machine disturbs all rows alike."""

import subprocess
import sys
from statistics import median
from time import perf_counter

import l0_core

ROUNDS = 15
LIMIT_MS = 50.0
PROGRAMS = {
    "python, nothing imported": "pass",
    "import l0_core": "import l0_core",
    "import l0_core, native module used": "import l0_core; l0_core.build_info()",
}


def start_ms(program: str) -> float:
    """How long a fresh interpreter takes to run `program`."""
    started = perf_counter()
    subprocess.run([sys.executable, "-I", "-c", program], check=True)
    return (perf_counter() - started) * 1_000


def main() -> None:
    """Measure, and print the table."""
    build = l0_core.build_info()
    if build.profile != "release":
        sys.exit(f"figures of a {build.profile!r} build mean nothing: run `make bench`")
    print(build)
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(ROUNDS):
        for name, program in PROGRAMS.items():
            times[name].append(start_ms(program))
    bare, *_ = medians = {name: median(rounds) for name, rounds in times.items()}
    print(f"{'fresh process':40} {'median ms':>10} {'over bare ms':>13} {'limit ms':>9}")
    for name, value in medians.items():
        limit = "" if name == bare else f"{LIMIT_MS:.0f}"
        print(f"{name:40} {value:10.1f} {value - medians[bare]:13.1f} {limit:>9}")


if __name__ == "__main__":
    main()
