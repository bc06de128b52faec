"""What L0 does is said on LlamaIndex's dispatcher to those who asked for it, and to nobody else."""

import json
import pickle
from typing import Any

import pytest
from asking_llm import QUESTION as MESSAGES
from asking_llm import Way, listening
from engines import QUESTION, index
from scripted_llm import Reply, Scripted

import l0_core
from l0_llamaindex import L0LLM, L0Event, announce, protect

METHODS = ["chat", "complete", "stream_chat", "stream_complete"]


def broken() -> Reply:
    return Reply("The capital", fails=(0, ConnectionResetError()))


def given(method: str) -> Any:
    return list(MESSAGES) if "chat" in method else QUESTION


def told(events: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(event.what, event.facts) for event in events.seen if isinstance(event, L0Event)]


@pytest.mark.parametrize("method", METHODS)
def test_all_that_happens_is_told_in_order(way: Way, method: str) -> None:
    first, second = Scripted(broken(), model="first"), Scripted("Paris.", model="second")
    policy = l0_core.Policy(retry=l0_core.Retry(attempts=1, max_retries=1))
    llm = L0LLM(llm=first, fallbacks=[second], policy=policy, on=announce())
    with listening() as (events, _):
        seen = way(llm, method, given(method))
    assert seen.error is None
    happened = told(events)
    expected = "start attempt fault retry attempt fault fallback attempt complete"
    assert " ".join(what for what, _ in happened) == expected
    facts = dict(happened)
    assert facts["fallback"] == {"from_target": "first", "to_target": "second"}
    assert facts["fault"]["fault"]["fault"] == "network"
    assert facts["complete"]["result"]["served_by"] == "second"
    (session,) = {event.session_id for event in events.seen if isinstance(event, L0Event)}
    assert session == seen.l0["session_id"]
    assert "Paris" not in json.dumps(happened)
    json.dumps([event.model_dump(mode="json") for event in events.seen if isinstance(event, L0Event)])


@pytest.mark.parametrize("method", METHODS)
def test_events_and_spans_of_attempts_carry_whose_they_are(way: Way, method: str) -> None:
    llm = L0LLM(llm=Scripted(broken(), "Paris."), on=announce())
    with listening() as (events, _):
        way(llm, method, given(method))
    starts = [event.tags for event in events.seen if type(event).__name__.endswith("StartEvent")]
    assert [(tags["l0.attempt"], tags["l0.target"], tags["l0.mode"]) for tags in starts] == [
        (0, "scripted", "fresh"),
        (1, "scripted", "fresh"),
    ]


@pytest.mark.parametrize("method", METHODS)
def test_nobody_is_told_who_did_not_ask(way: Way, method: str) -> None:
    """G7."""
    with listening() as (events, _):
        way(L0LLM(llm=Scripted("Paris.")), method, given(method))
    assert told(events) == []
    assert {frozenset(event.tags) for event in events.seen} == {frozenset()}


def test_an_error_is_told_by_its_class(way: Way) -> None:
    llm = L0LLM(llm=Scripted(broken()), on=announce())
    with listening() as (events, _):
        assert way(llm, "chat", MESSAGES).error is not None
    assert told(events)[-1] == ("error", {"error": "ExhaustedError"})


def test_other_listeners_are_told_too() -> None:
    ends: list[str] = []
    on = announce(l0_core.Lifecycle(on_complete=lambda session_id, _: ends.append(session_id)))
    response = L0LLM(llm=Scripted("Paris."), on=on).chat(MESSAGES)
    assert ends == [response.additional_kwargs["l0"]["session_id"]]


def test_a_retriever_and_an_embedding_tell_as_well() -> None:
    with listening() as (events, _):
        protect(index().as_retriever(), on=announce()).retrieve(QUESTION)
    assert [what for what, _ in told(events)] == ["start", "attempt", "complete"]


def test_it_is_under_the_span_of_the_engine_that_asked() -> None:
    """A trace shows a fault where it happened."""
    engine = protect(index().as_query_engine(llm=Scripted(broken(), "Paris.")), on=announce())
    with listening() as (events, spans):
        engine.query(QUESTION)
    known = {span.id_ for span in spans.completed_spans}
    assert {event.span_id for event in events.seen if isinstance(event, L0Event)} <= known


def test_an_llm_that_announces_can_be_pickled() -> None:
    from llama_index.core.llms import MockLLM

    other: Any = pickle.loads(pickle.dumps(L0LLM(llm=MockLLM(max_tokens=2), on=announce())))  # noqa: S301 - our own bytes
    with listening() as (events, _):
        other.complete("x")
    assert [what for what, _ in told(events)] == ["start", "attempt", "complete"]
