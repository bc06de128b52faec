"""`l0 demo`: what happens when a provider fails, bare and with L0, side by side."""

import json
import logging
import sys
import time
from typing import Annotated

import typer
from rich.console import Console

from l0_core.demo import Side, Story, stories
from l0_core.demo.screen import TITLES, Screen

MISSING = "no story can be told here: pip install 'l0-core[testing]' l0-langchain l0-llamaindex langchain-openai"
FIRST = """\
The same program twice: bare, and with L0. The clients are the real ones; what they talk to is an
HTTP server on this machine that fails as it is told. No key is needed, nothing leaves the machine."""
LEGEND = "Lines behind > are what a reader of the stream sees, lines behind = say what happened."
NEXT = """
What was shown is what happened just now, over HTTP, on this machine.

Read next   in your own program: docs/start-langchain.md, start-llamaindex.md or start-python.md
            what you can rely on: docs/guarantees.md; what it costs: docs/comparison.md
Try next    l0 doctor (what works here), l0 chaos (this provider, for your program), l0 --help
"""


def command(
    numbers: Annotated[list[int] | None, typer.Argument(metavar="[STORY]...", help="Which stories, by number.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was seen as JSON.")] = False,
) -> None:
    """Show what happens when a provider fails, bare and with L0, side by side."""
    console = Console(highlight=False)
    if not as_json:  # Before anything is imported, which takes its seconds.
        console.print(FIRST, markup=False, soft_wrap=True)
        console.print("" if console.is_terminal else LEGEND, markup=False, soft_wrap=True)
    told = stories()
    unknown = sorted(set(numbers or ()) - {story.place for story in told})
    if unknown or not told:
        known = ", ".join(str(story.place) for story in told)
        sys.stderr.write(f"l0 demo: {f'there are stories {known}, not {unknown[0]}' if told else MISSING}\n")
        raise typer.Exit(2)
    # The log's one line a fault is told in the stories' own words.
    logging.getLogger("l0").setLevel(logging.CRITICAL)
    chosen = [story for story in told if not numbers or story.place in numbers]
    if as_json:
        typer.echo(json.dumps([_seen(story) for story in chosen], indent=1))
        return
    screen, began = Screen(console), time.monotonic()
    for story in chosen:
        screen.tell(story)
    console.print(NEXT, markup=False, soft_wrap=True)
    console.print(f"{len(chosen)} stories in {time.monotonic() - began:.0f} s.")


def _seen(story: Story) -> dict[str, object]:
    sides = [Side(title) for title in TITLES]
    for side, play in zip(sides, (story.bare, story.reliable), strict=True):
        play(side)
    lines = {
        side.title: [{"kind": "remark" if line.is_remark else "text", "text": line.text} for line in side.lines]
        for side in sides
    }
    return {"story": story.place, "title": story.title, **lines}
