"""How streamed answers end whose provider fails once: the same faults, and the same judge, for every remedy."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from row import Row

from l0_core.testing import FaultyProvider, faults, measure

CALLS = 60
SEED = 1
MIX = {
    faults.reset_after(chunks=4): 3,
    faults.eof_after(chunks=4): 2,
    faults.no_finish(): 1,
    faults.overloaded(): 2,
    faults.rate_limit(): 2,
    faults.malformed_event(): 1,
    faults.error_event(): 1,
    faults.role_only(): 1,
}
WORDINGS: tuple[Literal["identical", "varied"], ...] = ("identical", "varied")
OUTCOMES: tuple[Literal["exact", "complete", "degraded", "incomplete", "raised", "wrong"], ...] = (
    "exact",
    "complete",
    "degraded",
    "incomplete",
    "raised",
    "wrong",
)
WAIT = 0.01
"""Seconds before a retry, for every remedy that can be told."""

Remedy = Callable[[FaultyProvider, FaultyProvider], Iterator[Any]]
"""Streams the answer of a provider, or of the spare one."""


class Heard:
    """What a reader of the stream has in the end: all that was shown, and what the last pieces say of it."""

    def __init__(self, pieces: Iterator[Any]) -> None:
        self.text = ""
        self.response_metadata: dict[str, Any] = {}
        for piece in pieces:
            self.text += piece.text
            self.response_metadata |= piece.response_metadata


def endings(name: str, remedy: Remedy, *, right: float | None = None, wrong: float | None = None) -> Iterator[Row]:
    """Measure a remedy under both wordings: the share of calls that ended so, and at what price."""
    for wording in WORDINGS:
        with FaultyProvider(wording=wording, seed=SEED + 1) as spare:
            report = measure(
                lambda provider, spare=spare: Heard(remedy(provider, spare)),  # type: ignore[misc]
                MIX,
                CALLS,
                SEED,
                wording=wording,
                fallback=spare,
            )
        what = f"{name}, {wording} wording"
        whole = report.share("exact", "complete", "degraded") * 100
        yield Row("recovery", what, whole, "%", right, column="right")
        for outcome in OUTCOMES:
            limit = wrong if outcome == "wrong" else None
            yield Row("recovery", what, report.share(outcome) * 100, "of 100", limit, column=outcome)
        yield Row("recovery", what, report.delay(0.95) * 1e3, "ms", column="p95 ms")
        yield Row("recovery", what, report.extra_tokens / CALLS, "tokens", column="tokens")
