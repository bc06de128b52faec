"""Every engine and program through the real clients: as bare, and as if nothing broke where something does."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import programs
import pytest
from answering import Answering, EveryThird
from asking_llm import listening
from engines import SCENARIOS
from llama_index.core import Settings
from llama_index.core.llms import LLM
from providers import CLIENTS, client

from l0_core import Breaker, Policy, Retry
from l0_core.testing import faults
from l0_llamaindex import L0LLM

# LlamaIndex's own: what it deprecates and uses, connections its memories leave open, contexts it cannot save.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::workflows.context.state_store.UnserializableKeyWarning",
)

SAMPLE = {
    "query engine, structured",
    "streaming query engine, compact, async",
    "structured predict, streaming",
    "agents with a handoff",
    "a workflow with a human in it",
    "a memory of facts",
    "an image",
    "keywords of a call",
    "fifty at once",
    "fifty in threads",
}
NAMES = sorted(programs.PROGRAMS)
# Loops follow one another in them, and clients are given their connections here: bare, they ask twice and do not tell.
RUN_LOOPS = {"a pipeline with a cache", "further evaluators"}
# Every attempt is told to callbacks.
COUNT_ATTEMPTS = {"tokens counted by callbacks"}
# What a program sees of a break, besides an empty piece: the part of a value that it has once more.
STREAMS_VALUES = {"structured llm", "structured predict, streaming", "structured predict, streaming, async"}
PATIENT = Policy(retry=Retry(attempts=12, max_retries=40), breaker=Breaker(min_outcomes=10_000))
ONE_TIME = ["status(code=503)", "reset_after(chunks=2)"]
# Bytes, places of their own, and how the SDK counts its own retries, which only the bare LLM has.
OF_THE_MOMENT = {"host", "content-length", "x-stainless-read-timeout", "x-stainless-retry-count"}


@pytest.fixture(autouse=True)
def _left_open(left_open: None) -> None: ...


@pytest.fixture(scope="module")
def provider() -> Iterator[Answering]:
    with Answering() as provider:
        yield provider


def numbered(text: str) -> str:
    """Take out what is drawn anew each time."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|(call|toolu)_[0-9a-f]+|/[0-9]+/v1", "ID", text)


def whole(text: str) -> str:
    """Take out pieces of nothing: an attempt that goes on begins with one."""
    return re.sub(r"\(''(, '[^']*', \[\])?\),? ?|(?<=[\[ ])'', ", "", text)


class Observed:
    """What a program came to, and what it sent and reported for that."""

    def __init__(self, name: str, llm: LLM, provider: Answering) -> None:
        Settings.llm = llm
        before = provider.request_count
        with listening() as (events, spans):
            self.result = numbered(repr(SCENARIOS[name](llm)))
        requests = provider.requests_from(before)
        # Concurrent work has no order.
        self.bodies = Counter(numbered(json.dumps(request.body, sort_keys=True)) for request in requests)
        self.headers = Counter(
            str(
                sorted(
                    (key.lower(), value) for key, value in request.headers.items() if key.lower() not in OF_THE_MOMENT
                )
            )
            for request in requests
        )
        self.events = Counter(events.names)
        self.spans = Counter(spans.tree)


def cases(clients: list[str], often: str, names: list[str]) -> Iterator[Any]:
    for name in names:
        for made in clients:
            marks = () if name in SAMPLE and made == often else pytest.mark.matrix
            yield pytest.param(name, made, id=f"{name}-{made}", marks=marks)


@pytest.mark.parametrize(("name", "made"), list(cases(CLIENTS, "openai", sorted({*NAMES} - RUN_LOOPS))))
def test_what_goes_out_is_what_the_bare_llm_sends(name: str, made: str, provider: Answering, settings: Any) -> None:
    """G7: bodies and headers, events and spans, and what comes of it."""
    provider.script(faults.ok())
    with client(made, provider) as inner:
        expected = Observed(name, inner, provider)
    with client(made, provider) as inner:
        got = Observed(name, L0LLM(llm=inner), provider)
    assert expected.bodies
    assert got.result == expected.result
    assert got.bodies == expected.bodies
    assert got.headers == expected.headers
    assert got.events == expected.events
    assert got.spans == expected.spans


@pytest.mark.parametrize("fault", ONE_TIME)
@pytest.mark.parametrize(
    ("name", "made"), list(cases(["openai"], "openai", sorted({*NAMES} - STREAMS_VALUES - COUNT_ATTEMPTS)))
)
def test_what_breaks_on_the_way_changes_nothing(
    name: str, made: str, fault: str, provider: Answering, settings: Any
) -> None:
    """G1, G4: with every third request failing."""
    provider.script(faults.ok())
    with client(made, provider) as inner:
        expected = Observed(name, inner, provider)
    provider._schedule = EveryThird(faults.parse(fault), faults.ok())
    provider._scheduled_from = provider.request_count
    with client(made, provider) as inner:
        got = Observed(name, L0LLM(llm=inner, policy=PATIENT), provider)
    assert whole(got.result) == whole(expected.result)
    assert sum(got.bodies.values()) > sum(expected.bodies.values())
