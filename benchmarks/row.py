"""A figure of the table, and how it is come by: all candidates in turn, so that a busy machine disturbs all alike."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median

AT_LEAST = ("x", "%")
"""Units of which more is better: so many times as fast, so many of a hundred; and all that end in `/s`."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        room: What was measured: `drivers`, `engine`, ….
        name: What of it.
        value: The figure.
        unit: Its unit; those that end in `ratio` compare two figures of the same run.
        limit: What it may be at most (or, for a unit of `AT_LEAST`, at least), where something was promised.
        column: Where one thing has several figures, which of them: the table shows them in one line.
    """

    room: str
    name: str
    value: float
    unit: str
    limit: float | None = None
    column: str = ""

    @property
    def verdict(self) -> str:
        """Whether the promise is kept."""
        if self.limit is None:
            return ""
        least = self.unit in AT_LEAST or self.unit.endswith("/s")
        kept = self.value >= self.limit if least else self.value <= self.limit
        return "kept" if kept else "MISSED"

    def as_json(self) -> dict[str, object]:
        """Return the row for the JSON file."""
        return {**asdict(self), "verdict": self.verdict}


def in_turn(candidates: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Run all candidates in turn, again and again; return the median of what each returned."""
    figures: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            figures[name].append(candidate())
    return {name: median(values) for name, values in figures.items()}
