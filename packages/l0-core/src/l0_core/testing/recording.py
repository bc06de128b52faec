"""Streams as real providers sent them: read from disk, served again, and recorded anew."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from l0_core.testing.answer import Answer, Head, Pause, Piece, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Recording"]

_EVENT_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_SERVED_HEADERS: Final = frozenset({"content-type", "request-id", "retry-after", "retry-after-ms", "x-request-id"})


@dataclass(frozen=True, slots=True)
class Recording:
    """One answer as it came over the wire: raw bytes, and when they came where that is known.

    On disk it is two files side by side: `NAME.sse` with the bytes, untouched, and `NAME.json` with what it answers
    (`uri`, `status`, `headers`, `request`) and, if it was recorded here, `arrivals`: `[[bytes so far, seconds], …]`.
    """

    data: bytes
    uri: str = ""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("content-type", "text/event-stream"),)
    request: Any = None
    arrivals: tuple[tuple[int, float], ...] = ()

    @classmethod
    def load(cls, path: str | Path) -> Recording:
        """Read `NAME.sse` and, where it is there, the `NAME.json` beside it."""
        path = Path(path)
        data = path.read_bytes()
        beside = path.with_suffix(".json")
        if not beside.exists():
            return cls(data)
        facts = json.loads(beside.read_text(encoding="utf-8"))
        return cls(
            data,
            facts.get("uri", ""),
            facts.get("status", 200),
            tuple((name.lower(), str(value)) for name, value in facts.get("headers", {}).items()),
            facts.get("request"),
            tuple((count, seconds) for count, seconds in facts.get("arrivals", ())),
        )

    def save(self, path: str | Path) -> None:
        """Write both files."""
        path = Path(path)
        path.write_bytes(self.data)
        facts = {
            "uri": self.uri,
            "status": self.status,
            "headers": dict(self.headers),
            "request": self.request,
            "arrivals": self.arrivals,
        }
        path.with_suffix(".json").write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")

    def answer(self, *, chunk_bytes: int | None = None, timed: bool = False) -> Answer:
        """The same bytes again, event by event or in pieces of a size; `timed` keeps the pauses between arrivals."""
        served = tuple(pair for pair in self.headers if pair[0] in _SERVED_HEADERS)
        return Answer((Head(self.status, served, "chunked"), *self._steps(chunk_bytes, timed=timed)))

    def _steps(self, chunk_bytes: int | None, *, timed: bool) -> list[Step]:
        if timed:
            if not self.arrivals:
                raise ValueError("the recording has no arrival times: record it anew to serve it timed")
            steps: list[Step] = []
            start, before = 0, 0.0
            for end, seconds in self.arrivals:
                steps += [Pause(max(0.0, seconds - before)), Piece(self.data[start:end], "text")]
                start, before = end, seconds
            return steps
        return [Piece(part, "text") for part in _cut(self.data, self._borders(chunk_bytes))]

    def _borders(self, chunk_bytes: int | None) -> list[int]:
        if chunk_bytes is None:
            return [match.end() for match in _EVENT_END.finditer(self.data)]
        if chunk_bytes < 1:
            raise ValueError(f"chunk_bytes is how much comes at once, at least 1; got {chunk_bytes}")
        return list(range(chunk_bytes, len(self.data), chunk_bytes))


def _cut(data: bytes, borders: Sequence[int]) -> list[bytes]:
    parts = [data[start:end] for start, end in zip([0, *borders], [*borders, len(data)], strict=True)]
    return [part for part in parts if part]
