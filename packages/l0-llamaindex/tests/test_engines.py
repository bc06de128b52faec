"""Every engine there is, on a bare LLM and on a wrapped one: the same results, requests, events and spans (G7)."""

import re
from collections import Counter
from typing import Any

import programs
import pytest
from asking_llm import listening
from engines import SCENARIOS, said
from llama_index.core import Settings
from llama_index.core.llms import LLM
from scripted_llm import Scripted

from l0_llamaindex import L0LLM

# LlamaIndex's own: what it deprecates and uses, connections its memories leave open, contexts it cannot save.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::workflows.context.state_store.UnserializableKeyWarning",
)


@pytest.fixture(autouse=True)
def _left_open(left_open: None) -> None: ...


SAMPLE = {
    "query engine, compact",
    "streaming query engine, compact, async",
    "query engine, structured",
    "router, selector of tools",
    "sub-questions",
    "chat engine, simple, streaming",
    "chat engine, condense with context, streaming, async",
    "fused retrieval, in threads",
    "function agent",
    "react agent",
    "agents with a handoff",
    "structured predict, streaming",
    "structured llm",
    "program of text",
}

# What differs, and why. Nothing does at the moment.
DIFFERENCES: dict[str, str] = {}


def numbered(text: str) -> str:
    """Take out what is drawn anew each time."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text)


class Observed:
    """What a scenario came to, and all that could be seen of how."""

    def __init__(self, name: str, llm: LLM, inner: Scripted) -> None:
        Settings.llm = llm
        with listening() as (events, spans):
            self.result = numbered(repr(SCENARIOS[name](llm)))
        # Concurrent work has no order.
        self.asked = Counter(numbered(repr(ask)) for ask in inner.asked)
        self.events = Counter(events.names)
        self.spans = Counter(spans.tree)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.matrix) for name in sorted(programs.PROGRAMS)],
)
def test_an_engine_does_not_notice(name: str, settings: Any) -> None:
    bare = Scripted(responder=said, lists_calls=True)
    expected = Observed(name, bare, bare)
    inner = Scripted(responder=said, lists_calls=True)
    got = Observed(name, L0LLM(llm=inner), inner)
    assert bare.asked
    assert got.result == expected.result
    assert got.asked == expected.asked
    assert got.events == expected.events
    assert got.spans == expected.spans


def test_there_are_as_many_scenarios_as_promised() -> None:
    assert len(programs.PROGRAMS) >= 45
    assert SAMPLE | set(DIFFERENCES) <= programs.PROGRAMS
