"""Where stories are told: two columns that grow side by side in a terminal, plain text where there is none."""

import textwrap
import threading
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from l0_core.demo.story import Side, Story

WIDTH_MAX = 100
REFRESHES_PER_SECOND = 20
SIDE_SECONDS_MAX = 120.0
TITLES = ("bare", "with L0")


class Screen:
    """Tells stories on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, WIDTH_MAX) if console.is_terminal else WIDTH_MAX

    def tell(self, story: Story) -> None:
        """Tell a story: both sides at once, shown as they grow in a terminal, when they are over otherwise."""
        self._console.print()
        self._console.print(Text(f"{story.place}. {story.title}", style="bold"), soft_wrap=True)
        self._console.print(Text(textwrap.fill(story.setting, self._width), style="dim"), soft_wrap=True)
        sides = [Side(title) for title in TITLES]
        plays = [story.bare, story.reliable]
        if not self._console.is_terminal:
            _play(sides, plays)
            for side in sides:
                self._console.out(_plain(side, self._width), highlight=False)
            return
        with Live(
            console=self._console, refresh_per_second=REFRESHES_PER_SECOND, get_renderable=lambda: self._both(sides)
        ):
            _play(sides, plays)

    def _both(self, sides: list[Side]) -> Table:
        table = Table.grid(padding=(0, 2), expand=False)
        column = self._width // 2 - 1
        for _ in sides:
            table.add_column(width=column)
        table.add_row(*(_column(side) for side in sides))
        return table


def _play(sides: list[Side], plays: list[Callable[[Side], None]]) -> None:
    threads = [threading.Thread(target=play, args=[side], daemon=True) for side, play in zip(sides, plays, strict=True)]
    for thread in threads:
        thread.start()
    for thread, side in zip(threads, sides, strict=True):
        thread.join(SIDE_SECONDS_MAX)
        if thread.is_alive():
            side.remark(f"not over after {SIDE_SECONDS_MAX:g} s: left alone")


def _column(side: Side) -> Group:
    lines = [Text(side.title, style="underline")]
    lines += [Text(line.text, style="cyan" if line.is_remark else "") for line in side.lines]
    return Group(*lines)


def _plain(side: Side, width: int) -> str:
    out = [f"   {side.title}"]
    for line in side.lines:
        mark = "   = " if line.is_remark else "   > "
        paragraphs = filter(None, line.text.strip().splitlines())
        fill = textwrap.TextWrapper(width, initial_indent=mark, subsequent_indent="     ", break_on_hyphens=False).fill
        out += [fill(each) for each in paragraphs]
    return "\n".join(out)
