"""What the pages show runs as it stands."""

import re
from pathlib import Path
from typing import Any

import pytest

from l0_core import _clock

DOCS = Path(__file__).parents[1] / "docs"
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
SNIPPETS = [
    pytest.param(page.name, snippet, id=f"{page.stem}-{place}")
    for page in sorted(DOCS.glob("*.md"))
    for place, snippet in enumerate(SNIPPET.findall(page.read_text(encoding="utf-8")))
]


@pytest.mark.parametrize(("page", "snippet"), SNIPPETS)
def test_a_snippet_runs(page: str, snippet: str) -> None:
    names: dict[str, Any] = {"__name__": "snippet"}
    _clock.run_by(_clock.VirtualClock())
    try:
        exec(compile(snippet, page, "exec"), names)  # noqa: S102 - our own pages
    finally:
        _clock.run_by(None)
