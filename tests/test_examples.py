"""Every example runs as a reader would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(ROOT.glob("examples/*.py"))

# What an example must say when all is well: nothing said would be nothing seen.
SAYS = {
    "durable": "Thank you! The lamp is paid for",
    "fastapi_service": "one whole answer: True",
    "langchain_agent": "weather(city='Paris, France')\nIt is sunny",
    "langchain_chain": "2 requests, one whole answer: True",
    "langgraph_graph": "2 requests, one whole answer: True",
    "llamaindex_agent": "weather(city='Paris, France')\nIt is sunny",
    "llamaindex_query_engine": "2 requests, one whole answer: True",
    "plain_streams": "served by second, degraded",
    "test_failures": "4 passed",
}


def test_every_example_is_known() -> None:
    assert sorted(SAYS) == [example.stem for example in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    way = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull] if example.stem.startswith("test_") else []
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    ran = subprocess.run(
        [sys.executable, *way, str(example)],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=55,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert SAYS[example.stem] in ran.stdout
