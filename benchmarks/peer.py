"""What ai2070-l0 adds to the same source. Runs in an environment that has it, and prints JSON."""

import asyncio
import json
from collections.abc import AsyncIterator
from importlib import import_module
from statistics import median
from time import perf_counter
from typing import Any

# It is not installed where types are checked, and another `l0` is: the namespace of the LlamaIndex package.
l0: Any = import_module("l0")
recommended_guardrails: Any = import_module("l0.guardrails").recommended_guardrails
types: Any = import_module("l0.types")
Event, EventType = types.Event, types.EventType


async def tokens(count: int) -> AsyncIterator[Any]:
    """The source, in the events it wants."""
    for number in range(count):
        yield Event(type=EventType.TOKEN, text=f"word{number} ")


async def per_chunk(count: int, options: dict[str, Any] | None) -> float:
    """Nanoseconds a chunk: bare where there are no options."""
    started = perf_counter()
    if options is None:
        async for _ in tokens(count):
            pass
    else:
        stream = l0.run(stream=lambda: tokens(count), **options)
        if hasattr(stream, "__await__"):
            stream = await stream
        async for _ in stream:
            pass
    return (perf_counter() - started) / count * 1e9


def main() -> None:
    """Measure, and print."""
    ways: dict[str, dict[str, Any] | None] = {
        "bare": None,
        "defaults": {},
        "with its recommended guardrails": {"guardrails": recommended_guardrails()},
    }
    figures = {name: [asyncio.run(per_chunk(2_000, options)) for _ in range(5)] for name, options in ways.items()}
    bare = median(figures.pop("bare"))
    sessions = [asyncio.run(per_chunk(1, {})) / 1_000 for _ in range(100)]
    rows = [(f"{name}: added a chunk", median(values) - bare, "ns") for name, values in figures.items()]
    print(json.dumps([*rows, ("a session of one chunk, with its event loop", median(sessions), "us")]))


if __name__ == "__main__":
    main()
