"""A story: one thing that goes wrong, and what becomes of it on either side."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

GROUP = "l0_core.demo"

NOTE_FAULTS_MAX = 3

WAYS = {
    "prefill": "the model was given what was shown, and wrote on",
    "prompt": "the model was asked to repeat the last words and go on; they were found, and not shown twice",
    "rerun": "the model began anew; what was shown was recognised, and not shown twice",
    "reset": "the reader was told to discard what it had",
}
"""How an answer goes on, in words."""


@dataclass(slots=True)
class Line:
    """One line of a side: what a reader of the stream saw, or a remark on it."""

    text: str
    is_remark: bool


@dataclass(slots=True)
class Side:
    """What one side of a story shows, as it grows."""

    title: str
    lines: list[Line] = field(default_factory=list)
    silence: float = 0.0
    """The longest a reader waited for a word, in seconds, after the first."""
    _last: float | None = None
    _opened: float = field(default_factory=time.monotonic)
    _first: float | None = None

    def write(self, text: str) -> None:
        """Show what a reader of the stream is given, behind what was given before."""
        now = time.monotonic()
        if text and self._last is not None:
            self.silence = max(self.silence, now - self._last)
        self._last = now if text else self._last
        self._first = now if text and self._first is None else self._first
        if not self.lines or self.lines[-1].is_remark:
            self.lines.append(Line("", is_remark=False))
        self.lines[-1].text += text

    def remark(self, text: str) -> None:
        """Say what happened, on a line of its own."""
        self.lines.append(Line(text, is_remark=True))

    def failed(self, error: BaseException) -> None:
        """Say what the program was left with."""
        said = " ".join(str(error).split())
        self.remark(f"raised {type(error).__name__}{f': {said}' if said else ''}")

    def waited(self) -> None:
        """Say how long a reader waited for the next word, at the worst."""
        self.remark(f"the reader's longest wait between words was {self.silence:.1f} s")

    def began(self) -> None:
        """Say when the reader had the first word, if ever."""
        if self._first is None:
            self.remark(f"no word came, for {time.monotonic() - self._opened:.1f} s")
        else:
            self.remark(f"the first word came after {self._first - self._opened:.1f} s")

    def told(self, metadata: Mapping[str, Any]) -> None:
        """Say what the `l0` metadata of an answer tells of it."""
        names = [str(fault["fault"]) for fault in metadata["faults"][:NOTE_FAULTS_MAX]]
        behind = f" after {', '.join(names)}" if names else ""
        attempts = metadata["attempts"]
        self.remark(f"{attempts} attempt{'' if attempts == 1 else 's'}{behind}")
        for splice in metadata["splices"]:
            self.remark(f"went on behind byte {splice['at']}, by {splice['mode']}: {WAYS[splice['mode']]}")
        if metadata["degraded"]:
            self.remark(f"served by the fallback {metadata['served_by']}, marked as degraded")


@dataclass(frozen=True, slots=True)
class Story:
    """One thing that goes wrong.

    Attributes:
        place: Where it comes among the others.
        title: What goes wrong.
        setting: What the program is.
        bare: Plays it without L0.
        reliable: Plays it with L0.
    """

    place: int
    title: str
    setting: str
    bare: Callable[[Side], None]
    reliable: Callable[[Side], None]


def stories() -> list[Story]:
    """Return the stories of everything that is installed, in order."""
    found: list[Story] = []
    for entry in entry_points(group=GROUP):
        try:
            found.extend(entry.load())
        except ModuleNotFoundError:  # A client that its story needs is not there; the others can still be told.
            continue
    return sorted(found, key=lambda story: story.place)
