"""Guards in Python: what they object to is not shown, on every driver."""

from collections.abc import Iterator

import pytest
from driving import Driver
from pydantic import ValidationError

import l0_core
from l0_core import Policy, guards


def leaks_once(attempt: l0_core.Attempt) -> Iterator[str]:
    yield "The key "
    if attempt.number == 0:
        yield "is AKIA"
        yield "IOSFODNN7EXAMQLE"
        yield ", keep it."
    else:
        yield "is mine to keep."


def test_a_leaked_key_is_stopped_before_it_is_shown(drive: Driver) -> None:
    policy = Policy(guards=[guards.secrets()], delivery="guarded")
    run = drive(leaks_once, policy=policy)
    assert run.error is None
    assert "AKIA" not in run.text
    assert run.text == "The key is mine to keep."
    assert run.result is not None
    assert [(fault.fault, fault.code) for fault in run.result.faults] == [("content", "secrets")]
    assert [objection.guard for objection in run.result.objections] == ["secrets"]


def test_a_fatal_leak_ends_the_session(drive: Driver) -> None:
    heard: list[str] = []
    lifecycle = l0_core.Lifecycle(on_guard=lambda _, objection: heard.append(objection.guard))
    policy = Policy(guards=[guards.secrets(severity="fatal", name="keys")], delivery="guarded")
    run = drive(leaks_once, policy=policy, on=lifecycle)
    assert isinstance(run.error, l0_core.ContentError)
    assert "AKIA" not in run.text
    assert run.error.attempts == 1
    assert heard == ["keys"]


def test_masked_text_is_replaced_in_any_split(drive: Driver) -> None:
    policy = Policy(guards=[guards.patterns(["the answer"], mask="[...]")])
    text = "Here is the answer, and the answer is no."
    for size in (1, 2, 5, 13, 60):
        chunks = [text[at : at + size] for at in range(0, len(text), size)]
        run = drive(lambda _, chunks=chunks: iter(chunks), policy=policy)
        assert run.text == "Here is [...], and [...] is no."
        assert run.result is not None
        assert [objection.masked for objection in run.result.objections] == [True, True]


def test_a_document_that_is_cut_is_asked_for_again(drive: Driver) -> None:
    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        yield '{"city": "Par'
        if attempt.number:
            yield 'is"}'

    run = drive(source, policy=Policy(guards=[guards.json(root="object")], delivery="whole"))
    assert run.text == '{"city": "Paris"}'


def test_a_document_is_delivered_whole_unless_told_otherwise() -> None:
    schema = {"type": "object"}
    assert Policy(guards=[guards.json()]).delivery == "whole"
    assert Policy.of({"guards": [{"check": {"json_schema": {"schema": "{}"}}}]}).delivery == "whole"
    assert Policy.interactive().model_copy(update={"guards": [guards.json_schema(schema)]}).delivery == "whole"
    assert Policy(guards=[guards.json()], delivery="live").delivery == "live"
    assert Policy(guards=[guards.json()], delivery="live").model_copy(update={"refusal": "next"}).delivery == "live"
    assert Policy(guards=[guards.secrets()]).delivery == "live"


def test_without_guards_or_objections_chunks_are_the_same_objects(drive: Driver) -> None:
    """G7."""
    chunks = [f"word {place} " for place in range(50)]
    policy = Policy(
        guards=[guards.secrets(), guards.pii(), guards.markdown(), guards.repetition()], drift=l0_core.Drift()
    )
    run = drive(lambda _: iter(chunks), policy=policy)
    assert all(given is sent for given, sent in zip(run.chunks, chunks, strict=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Policy(guards=[guards.patterns(regexes=["(?=x)"])]), r"guards\[0\]\.regexes"),
        (lambda: Policy(guards=[guards.json(mask="x")]), "only patterns, secrets and pii can mask"),
        (lambda: Policy(guards=[guards.Guard(check={"magic": {}})]), "unknown variant `magic`"),
        (lambda: Policy(input_guards=[guards.secrets(mask="x")]), "input_guards"),
    ],
)
def test_a_guard_that_cannot_be_is_refused_by_name(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValidationError, match=message):
        make()
