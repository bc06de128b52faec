"""Moments and durations, as people write and read them."""

import re
import time
from datetime import datetime
from typing import Any

import typer

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def moment(text: str | None) -> int | None:
    """Return a moment in milliseconds since 1970: so long ago (`30m`, `2h`, `7d`), or a date and time."""
    if text is None:
        return None
    ago = re.fullmatch(r"(\d+)([smhdw])", text.strip())
    if ago:
        return int((time.time() - int(ago[1]) * _UNITS[ago[2]]) * 1_000)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1_000)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither so long ago (30m, 2h, 7d) nor a date (2026-01-31T12:00)"
        ) from None


def clock(ms: Any) -> str:
    """Return a moment as local time."""
    return datetime.fromtimestamp(ms / 1_000).astimezone().strftime("%Y-%m-%d %H:%M:%S") if ms else ""


def span(ms: Any) -> str:
    """Return a duration in the unit that suits it."""
    if ms is None:
        return ""
    if ms < 1_000:  # noqa: PLR2004 - a second
        return f"{ms} ms"
    return f"{ms / 1_000:.1f} s" if ms < 60_000 else f"{ms // 60_000} min {ms % 60_000 // 1_000} s"  # noqa: PLR2004 - a minute
