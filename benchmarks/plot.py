"""The picture of the table: how answers end, and what a chunk costs, as bars. `plot.py TABLE` prints it."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH = 860
LABELS = 230
BARS = WIDTH - LABELS - 90
LINE = 24
BAR = 15
READ = 'role="img" aria-labelledby="title desc"'

ENDS = {
    "right": "right",
    "incomplete": "cut, and told so",
    "raised": "an exception in the middle",
    "wrong": "wrong, and nobody told",
}
"""Columns of the room `recovery`, in the order in which they are drawn."""

STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
.head { font-weight: 600; font-size: 15px } .small { font-size: 12px; fill: #59636e }
.right { fill: #1a7f37 } .incomplete { fill: #9a6700 } .raised { fill: #8c959f } .wrong { fill: #cf222e }
.l0 { fill: #0969da } .other { fill: #8c959f }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 }
  .right { fill: #3fb950 } .incomplete { fill: #d29922 } .raised { fill: #6e7681 } .wrong { fill: #f85149 }
  .l0 { fill: #4493f8 } .other { fill: #6e7681 }
}"""


@dataclass(frozen=True)
class Bar:
    """A line of a panel: its parts, each of a class that has a colour, and what is written behind them."""

    label: str
    parts: Sequence[tuple[str, float]]
    note: str


@dataclass(frozen=True)
class Panel:
    """Bars of one scale."""

    head: str
    legend: Mapping[str, str]
    bars: Sequence[Bar]
    full: float
    """What the longest bar stands for."""


def figures(table: Sequence[Mapping[str, object]]) -> str:
    """Draw the table: the rooms `recovery` and `growth` of it."""
    return draw("What L0 does for a streamed answer, and what it costs", [_endings(table), _chunks(table)])


def draw(title: str, panels: Sequence[Panel]) -> str:
    """Draw panels below each other. A reader who cannot see them is told the same in words."""
    out: list[str] = []
    y = 10.0
    for panel in panels:
        y = _panel(panel, y, out)
    words = ". ".join(
        f"{panel.head}: " + "; ".join(f"{bar.label} {bar.note}" for bar in panel.bars) for panel in panels
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:.0f}" {READ}>',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="desc">{escape(words)}.</desc>',
            f"<style>{STYLE}</style>",
            *out,
            "</svg>\n",
        ]
    )


def _panel(panel: Panel, y: float, out: list[str]) -> float:
    y += 18
    out.append(f'<text class="head" x="8" y="{y:.0f}">{escape(panel.head)}</text>')
    if panel.legend:
        y += 22
        x = 8.0
        for kind, meaning in panel.legend.items():
            out.append(f'<rect class="{kind}" x="{x:.0f}" y="{y - 10:.0f}" width="11" height="11" rx="2"/>')
            out.append(f'<text class="small" x="{x + 16:.0f}" y="{y:.0f}">{escape(meaning)}</text>')
            x += 36 + 6.6 * len(meaning)
    y += 12
    for bar in panel.bars:
        x = float(LABELS)
        out.append(f'<text x="{LABELS - 8}" y="{y + 12:.0f}" text-anchor="end">{escape(bar.label)}</text>')
        for kind, value in bar.parts:
            width = BARS * value / panel.full if panel.full else 0.0
            if width > 0:
                out.append(f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}"/>')
            x += width
        out.append(f'<text class="small" x="{x + 6:.0f}" y="{y + 12:.0f}">{escape(bar.note)}</text>')
        y += LINE
    return y + 14


def _endings(table: Sequence[Mapping[str, object]]) -> Panel:
    """How the calls of each remedy ended whose provider words its answers anew."""
    suffix = ", varied wording"
    ends: dict[str, dict[str, float]] = {}
    for row in table:
        name = str(row["name"])
        if row["room"] == "recovery" and name.endswith(suffix):
            ends.setdefault(name.removesuffix(suffix), {})[str(row["column"])] = float(str(row["value"]))
    bars = [
        Bar(name, [(end, values[end]) for end in ENDS], f"{values['right']:.0f} % right")
        for name, values in ends.items()
    ]
    return Panel("A streamed answer whose provider fails once: how 100 calls end", ENDS, bars, 100.0)


def _chunks(table: Sequence[Mapping[str, object]]) -> Panel:
    """What each adds to a chunk of a long answer."""
    bars = [
        Bar(
            str(row["name"]),
            [
                (
                    "l0" if "L0" in str(row["name"]) or "l0_core" in str(row["name"]) else "other",
                    float(str(row["value"])),
                )
            ],
            f"{float(str(row['value'])) / 1_000:.2f} µs",
        )
        for row in table
        if row["room"] == "growth" and row["column"] == "20,000"
    ]
    full = max((value for bar in bars for _, value in bar.parts), default=0.0)
    return Panel("What is added to a chunk, in microseconds (a provider sends one in 10,000 to 50,000)", {}, bars, full)


if __name__ == "__main__":
    rows = [row for name in sys.argv[1:] for row in json.loads(Path(name).read_text(encoding="utf-8"))]
    sys.stdout.write(figures(rows))
