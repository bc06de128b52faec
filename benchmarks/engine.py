"""What the engine costs by itself, without Python."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

from row import Row

ROOT = Path(__file__).parent.parent
LIMITS = {
    "bare": ("a chunk, nothing recorded", "ns", 150.0),
    "recorded": ("a chunk, everything recorded", "ns", 400.0),
    "growth": ("200,000 chunks over 2,000", "ratio", 1.2),
    "session": ("a session of one chunk, recorded", "us", 10.0),
}


def rows() -> Iterator[Row]:
    """Measure."""
    command = ["cargo", "run", "--quiet", "--release", "-p", "l0-engine", "--example", "engine_speed"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    for name, value in json.loads(answer.stdout).items():
        what, unit, limit = LIMITS[name]
        yield Row("engine", what, value, unit, limit)
