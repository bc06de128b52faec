"""The picture of the benchmark's table: drawn from a small one, and read again."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parent.parent
SVG = "{http://www.w3.org/2000/svg}"


def row(room: str, name: str, column: str, value: float) -> dict[str, object]:
    return {"room": room, "name": name, "column": column, "value": value}


BARE = {"right": 20.0, "exact": 20.0, "incomplete": 0.0, "raised": 50.0, "wrong": 30.0, "p95 ms": 500.0}
RELIABLE = {"right": 90.0, "exact": 90.0, "incomplete": 10.0, "raised": 0.0, "wrong": 0.0, "p95 ms": 50.0}
TABLE = [
    *(row("recovery", "bare & alone, varied wording", column, value) for column, value in BARE.items()),
    *(row("recovery", "L0, varied wording", column, value) for column, value in RELIABLE.items()),
    row("recovery", "L0, identical wording", "right", 100.0),
    row("growth", "asyncio.wait_for a chunk", "20,000", 20_000.0),
    row("growth", "l0_core.astream", "20,000", 500.0),
    row("growth", "l0_core.astream", "2,000", 499.0),
    row("drivers", "something else", "", 1.0),
]


@pytest.fixture
def plot() -> Iterator[ModuleType]:
    """The module, which lies beside the other rooms and in no package."""
    spec = importlib.util.spec_from_file_location("plot", ROOT / "benchmarks/plot.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["plot"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["plot"]


def drawn(picture: str, kind: str) -> list[float]:
    """The widths of the bars of a class; what explains the colours is as high as it is wide."""
    rects = ET.fromstring(picture).iter(f"{SVG}rect")  # noqa: S314 - it was written a moment ago
    return [
        float(each.attrib["width"])
        for each in rects
        if each.attrib["class"] == kind and each.attrib["width"] != each.attrib["height"]
    ]


def test_bars_are_as_long_as_what_they_stand_for(plot: ModuleType) -> None:
    picture = plot.figures(TABLE)
    assert drawn(picture, "right") == pytest.approx([plot.BARS * 0.2, plot.BARS * 0.9], abs=0.1)
    assert drawn(picture, "raised") == pytest.approx([plot.BARS * 0.5], abs=0.1)
    assert drawn(picture, "wrong") == pytest.approx([plot.BARS * 0.3], abs=0.1)
    assert drawn(picture, "other") == pytest.approx([plot.BARS], abs=0.1)
    assert drawn(picture, "l0") == pytest.approx([plot.BARS / 40], abs=0.1)


def test_who_cannot_see_it_is_told_the_same(plot: ModuleType) -> None:
    picture = ET.fromstring(plot.figures(TABLE))  # noqa: S314 - as above
    assert picture.attrib["role"] == "img"
    assert picture.findtext(f"{SVG}title")
    said = picture.findtext(f"{SVG}desc") or ""
    for name, note in (("bare & alone", "20 % right"), ("L0", "90 % right"), ("asyncio.wait_for a chunk", "20.00 µs")):
        assert f"{name} {note}" in said


def test_it_is_read_on_dark_and_on_light(plot: ModuleType) -> None:
    assert "prefers-color-scheme: dark" in plot.figures(TABLE)


def test_an_empty_table_is_no_error(plot: ModuleType) -> None:
    ET.fromstring(plot.figures([]))  # noqa: S314 - as above


def test_the_picture_that_pages_show_is_one(plot: ModuleType) -> None:
    """What is committed was drawn by this module."""
    text = (ROOT / "docs/figures.svg").read_text(encoding="utf-8")
    assert ET.fromstring(text).findtext(f"{SVG}title")  # noqa: S314 - it is ours
    assert plot.STYLE in text
    assert len(drawn(text, "right")) > len(drawn(plot.figures(TABLE), "right"))
