"""What L0 costs beside what users would take instead, in one run, as ratios."""

import asyncio
import re
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from time import process_time
from typing import Any

import tenacity
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware
from ready import Ready
from row import Row, in_turn

import l0_core
from l0_core import Policy, guards
from l0_langchain import L0ChatModel, L0Middleware

# It is installed where it is measured, not where types are checked.
stamina: Any = import_module("stamina")

CALLS = 300
ROUNDS = 7
PIECE = "word "
KEY = "sk-[A-Za-z0-9]{20,}"
FAILS = ConnectionResetError


def _sync(call: Callable[[], object], calls: int = CALLS) -> float:
    """Microseconds a call."""
    call()
    began = process_time()
    for _ in range(calls):
        call()
    return (process_time() - began) / calls * 1e6


def _async(call: Callable[[], Any]) -> float:
    async def main() -> float:
        await call()
        began = process_time()
        for _ in range(CALLS):
            await call()
        return (process_time() - began) / CALLS * 1e6

    return asyncio.run(main())


def rows() -> Iterator[Row]:
    """Measure."""
    yield from _calls()
    yield from _models()
    yield from _agents()
    yield from _patterns()


def _ratios(what: str, figures: dict[str, float], mine: str) -> Iterator[Row]:
    """Yield the figures, and mine over each of the others."""
    for name, value in figures.items():
        yield Row("beside", f"{what}: {name}", value, "us")
    for name, value in figures.items():
        if name not in {mine, "bare"}:
            yield Row("beside", f"{what}: {mine} over {name}", figures[mine] / value, "ratio")


def _calls() -> Iterator[Row]:
    """A call of a function that does nothing."""

    def nothing() -> str:
        return "It is Paris."

    async def anothing() -> str:
        return "It is Paris."

    retrying: dict[str, Any] = {"stop": tenacity.stop_after_attempt(3), "wait": tenacity.wait_random_exponential(0.5)}
    by_tenacity, by_stamina = tenacity.retry(**retrying)(nothing), stamina.retry(on=FAILS)(nothing)
    a_by_tenacity, a_by_stamina = tenacity.retry(**retrying)(anothing), stamina.retry(on=FAILS)(anothing)
    sync: dict[str, Callable[[], object]] = {
        "bare": nothing,
        "tenacity": by_tenacity,
        "stamina": by_stamina,
        "l0_core.call": lambda: l0_core.call(nothing),
    }
    figures = in_turn({name: partial(_sync, call) for name, call in sync.items()}, ROUNDS)
    yield from _ratios("a call", figures, "l0_core.call")
    awaited: dict[str, Callable[[], Any]] = {
        "bare": anothing,
        "tenacity": a_by_tenacity,
        "stamina": a_by_stamina,
        "asyncio.wait_for": lambda: asyncio.wait_for(anothing(), 30),
        "l0_core.acall": lambda: l0_core.acall(anothing),
    }
    figures = in_turn({name: partial(_async, call) for name, call in awaited.items()}, ROUNDS)
    yield from _ratios("an awaited call", figures, "l0_core.acall")


def _models() -> Iterator[Row]:
    """A call of a chat model that answers at once."""
    bare = Ready()
    wrapped, retried = L0ChatModel(model=bare), bare.with_retry()
    fallen = bare.with_fallbacks([bare])
    by_tenacity = tenacity.retry(stop=tenacity.stop_after_attempt(3))(bare.invoke)
    by_stamina = stamina.retry(on=FAILS)(bare.invoke)
    calls: dict[str, Callable[[], object]] = {
        "bare": lambda: bare.invoke("?"),
        "tenacity": lambda: by_tenacity("?"),
        "stamina": lambda: by_stamina("?"),
        "with_retry": lambda: retried.invoke("?"),
        "with_fallbacks": lambda: fallen.invoke("?"),
        "L0ChatModel": lambda: wrapped.invoke("?"),
    }
    figures = in_turn({name: partial(_sync, call, 100) for name, call in calls.items()}, ROUNDS)
    yield from _ratios("invoke", figures, "L0ChatModel")


def _agents() -> Iterator[Row]:
    """A turn of an agent whose model answers at once."""
    agents: dict[str, Any] = {
        "bare": create_agent(Ready(), []),
        "ModelRetryMiddleware": create_agent(Ready(), [], middleware=[ModelRetryMiddleware()]),
        "L0Middleware": create_agent(Ready(), [], middleware=[L0Middleware()]),
    }
    asked = {"messages": [("user", "?")]}
    turns = {name: partial(_sync, partial(agent.invoke, asked), 30) for name, agent in agents.items()}
    yield from _ratios("an agent's turn", in_turn(turns, ROUNDS), "L0Middleware")


def _patterns() -> Iterator[Row]:
    """A pattern looked for while the answer streams: by a guard, and by `re` in the text so far, as is done by hand."""
    expression = re.compile(KEY)

    def by_hand(count: int) -> float:
        text, began = "", process_time()
        for _ in range(count):
            text += PIECE
            expression.search(text)
        return (process_time() - began) / count * 1e9

    def guarded(policy: Policy, count: int) -> float:
        began = process_time()
        for _ in l0_core.stream(lambda _: iter([PIECE] * count), policy=policy, stall_guard="off"):
            pass
        return (process_time() - began) / count * 1e9

    policies = {"without": Policy(), "with": Policy(guards=[guards.patterns([KEY])])}
    for count in (2_000, 10_000):
        candidates: dict[str, Callable[[], float]] = {"hand": partial(by_hand, count)}
        candidates |= {name: partial(guarded, policy, count) for name, policy in policies.items()}
        figures = in_turn(candidates, 3)
        added = figures["with"] - figures["without"]
        yield Row("beside", f"a pattern, {count:,} chunks: guards.patterns adds a chunk", added, "ns")
        yield Row("beside", f"a pattern, {count:,} chunks: re.search in the text so far", figures["hand"], "ns")
