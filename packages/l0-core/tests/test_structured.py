"""Structured output: a validated value or a typed refusal, and nothing else, on every driver."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from driving import Driver, _async
from pydantic import BaseModel, Field, field_validator
from typing_extensions import TypedDict

import l0_core
from l0_core import Continuation, Policy, Retry, _fleet, guards
from l0_core._structured import Shape, shape_of


class Item(BaseModel):
    name: str
    price: float
    tags: list[str] = []


class Order(BaseModel):
    number: int = Field(ge=1)
    items: list[Item]
    notes: dict[str, int] = {}


class Told(TypedDict):
    name: str
    price: float


@dataclass
class Made:
    name: str
    price: float


RIGHT = '{"number": 7, "items": [{"name": "lamp", "price": 12.5}]}'
ORDER = Order(number=7, items=[Item(name="lamp", price=12.5)])
SCHEMA = {
    "title": "priced",
    "type": "object",
    "properties": {"name": {"type": "string"}, "price": {"type": "number"}},
    "required": ["name", "price"],
}


@dataclass
class Run:
    """What came of it."""

    value: Any = None
    partials: list[Any] | None = None
    error: Exception | None = None
    result: l0_core.Result | None = None


Ask = Callable[..., Run]


@pytest.fixture
def ask(drive: Driver) -> Ask:
    """Ask on this driver; with `partials` look at the value as it grows."""

    async def awaited(schema: Any, *sources: Any, partials: bool, **options: Any) -> Run:
        first, *fallbacks = map(_async, sources)
        session, run = l0_core.astructured(schema, first, fallbacks=fallbacks, **options), Run()
        try:
            if partials:
                run.partials = []
                async for value in session.partials():
                    run.partials.append(value)
            run.value = await session
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the caller saw
            run.error = error
        run.result = session.result
        return run

    def called(schema: Any, *sources: Any, partials: bool = False, **options: Any) -> Run:
        if drive.name == "async":
            return asyncio.run(awaited(schema, *sources, partials=partials, **options))
        guard: Literal["thread", "off"] = "off" if drive.name == "sync-off" else "thread"
        first, *fallbacks = sources
        session = l0_core.structured(schema, first, fallbacks=fallbacks, stall_guard=guard, **options)
        run = Run()
        try:
            if partials:
                run.partials = []
                run.partials.extend(session.partials())
            run.value = session.value
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the caller saw
            run.error = error
        run.result = session.result
        return run

    return called


def says(*answers: str, size: int = 5) -> Callable[[l0_core.Attempt], Iterator[str]]:
    """A source that gives one answer an attempt, the last one from then on."""

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        text = answers[min(attempt.number, len(answers) - 1)]
        for at in range(0, len(text), size):
            yield text[at : at + size]

    return source


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (Item, Item(name="lamp", price=12.5)),
        (Told, {"name": "lamp", "price": 12.5}),
        (Made, Made("lamp", 12.5)),
        (SCHEMA, {"name": "lamp", "price": 12.5}),
        (dict[str, Any], {"name": "lamp", "price": 12.5}),
    ],
    ids=["model", "TypedDict", "dataclass", "JSON schema", "type"],
)
def test_a_value_of_any_schema(ask: Ask, schema: Any, value: Any) -> None:
    run = ask(schema, says('{"name": "lamp", "price": 12.5}'))
    assert run.error is None
    assert run.value == value
    assert run.result is not None
    assert (run.result.repaired, run.result.reasks, run.result.invalid) == ((), 0, {})


def test_what_is_broken_is_repaired_and_says_so(ask: Ask) -> None:
    """G8."""
    run = ask(Item, says("Sure:\n```json\n{name: 'lamp', price: 12.5,}\n```"))
    assert run.value == Item(name="lamp", price=12.5)
    assert run.result is not None
    assert {"fence", "unquoted_key", "single_quotes", "extra_comma"} <= set(run.result.repaired)
    assert run.result.metadata()["repaired"] == run.result.repaired


@pytest.mark.parametrize("schema", [Item, SCHEMA], ids=["model", "JSON schema"])
def test_a_target_is_told_what_does_not_fit(ask: Ask, schema: Any) -> None:
    attempts: list[l0_core.Attempt] = []
    told: list[tuple[Any, ...]] = []
    on = l0_core.Lifecycle(on_invalid=lambda _, target, fields: told.append((target, [*fields])))

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        attempts.append(attempt)
        yield '{"name": "lamp", "price": "SECRET"}' if not attempt.errors else '{"name": "lamp", "price": 12.5}'

    run = ask(schema, l0_core.Target(source, name="one"), on=on)
    assert run.error is None
    assert len(attempts) == 2
    assert attempts[1].rejected == '{"name": "lamp", "price": "SECRET"}'
    assert "price" in attempts[1].instruction
    assert told == [("one", ["price"])]
    assert run.result is not None
    assert (run.result.reasks, run.result.invalid) == (1, {"one": {"price": 1}})
    assert "SECRET" not in repr(run.result.objections)
    assert [said.guard for said in run.result.objections] == [getattr(schema, "__name__", "priced")]


def test_re_asks_are_bounded_then_the_next_target_then_a_refusal(ask: Ask) -> None:
    """G3, G4: never an unvalidated value."""
    bad = '{"number": 0, "items": [{"name": "lamp", "price": "SECRET"}], "notes": {"MINE": "x"}}'
    one, two = l0_core.Target(says(bad), name="one"), l0_core.Target(says(bad), name="two")
    patient = Policy(retry=Retry(attempts=10, max_retries=20))
    run = ask(Order, one, two, policy=patient)
    assert isinstance(run.error, l0_core.RefusedOutput)
    assert run.value is None
    assert run.result is not None
    assert run.error.session_id == run.result.session_id
    assert run.result.session_id in str(run.error)
    assert (run.result.attempts, run.result.reasks) == (6, 4)
    fields = {"number": 3, "items.*.price": 3, "notes.*": 3}
    assert run.result.invalid == {"one": fields, "two": fields}
    for told in (str(run.error), repr(run.error), repr(run.result.objections), repr(run.result.metadata())):
        assert "SECRET" not in told
        assert "MINE" not in told
    assert ask(Order, one, says(RIGHT), policy=patient, reasks=0).result.attempts == 2  # type: ignore[union-attr]


def test_a_broken_stream_and_a_wrong_answer_are_both_healed(ask: Ask) -> None:
    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        if attempt.number == 0:
            yield RIGHT[:20]
            raise ConnectionResetError
        yield "I cannot do that." if attempt.number == 1 else RIGHT

    run = ask(Order, source)
    assert run.value == ORDER
    assert run.result is not None
    assert [fault.fault for fault in run.result.faults] == ["network", "content"]


def test_an_answer_cut_at_any_byte_is_the_value_or_a_refusal() -> None:
    """A prefix is never taken for the whole: it is asked for again, or refused."""
    text = json.dumps({"number": 12, "items": [{"name": "lämp", "price": 120, "tags": ["a", "b"]}]}, ensure_ascii=False)
    whole = Order.model_validate_json(text)
    for cut in range(len(text)):
        session = l0_core.structured(Order, says(text[:cut], text), stall_guard="off")
        assert session.value == whole, cut
        assert session.result.attempts == 2, cut
        _fleet.renew()
        refused = l0_core.structured(Order, says(text[:cut]), stall_guard="off")
        with pytest.raises(l0_core.RefusedOutput if text[:cut].strip() else l0_core.ExhaustedError):
            _ = refused.value


def test_a_cut_document_is_taken_where_the_caller_says_so() -> None:
    text = '{"number": 12, "items": [{"name": "lamp", "price": 120}, {"name": "cha'
    session = l0_core.structured(Order, says(text), cut="accept", stall_guard="off", reasks=0)
    with pytest.raises(l0_core.RefusedOutput):
        _ = session.value  # the second item has no price
    session = l0_core.structured(Order, says(text[:56]), cut="accept", stall_guard="off")
    assert session.value == Order(number=12, items=[Item(name="lamp", price=120)])
    assert "missing_closer" in session.result.repaired


def test_partials_grow_into_the_value(ask: Ask) -> None:
    run = ask(Order, says(RIGHT), partials=True)
    assert run.value == ORDER
    assert run.partials is not None
    assert run.partials[0] == {}
    assert run.partials[-1] == json.loads(RIGHT)
    assert all(before != after for before, after in zip(run.partials, run.partials[1:], strict=False))


def test_a_partial_that_was_shown_is_not_replaced_without_leave(ask: Ask) -> None:
    """G1: what was shown is not contradicted, unless the policy allows a reset."""
    wrong = '{"number": 7, "items": [{"name": "lamp"}]}'
    run = ask(Order, says(wrong, RIGHT), partials=True)
    assert isinstance(run.error, l0_core.RefusedOutput)
    assert run.partials
    assert run.partials[-1] == json.loads(wrong)
    policy = Policy(continuation=Continuation(rungs=["rerun", "reset"]))
    run = ask(Order, says(wrong, RIGHT), partials=True, policy=policy)
    assert run.value == ORDER
    assert run.partials is not None
    place = run.partials.index(l0_core.RESET)
    assert run.partials[place - 1] == json.loads(wrong)
    assert run.partials[place + 1] == {}
    assert run.partials[-1] == json.loads(RIGHT)


def test_what_a_validator_raises_is_the_callers_own_fault(ask: Ask) -> None:
    class Broken(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def fails(cls, name: str) -> str:
            raise KeyError(name)

    run = ask(Broken, says('{"name": "x"}'))
    assert isinstance(run.error, KeyError)


def test_guards_of_the_policy_hold_besides(ask: Ask) -> None:
    policy = Policy(guards=[guards.patterns(["forbidden"])])
    run = ask(Item, says('{"name": "forbidden", "price": 1}', '{"name": "fine", "price": 1}'), policy=policy)
    assert run.value == Item(name="fine", price=1)


def test_a_session_that_is_left_gives_nothing() -> None:
    session = l0_core.structured(Order, says(RIGHT), cut="accept", stall_guard="off")
    for _ in session.partials():
        break
    with pytest.raises(l0_core.L0Error, match="cancelled"):
        _ = session.value


def test_where_l0_is_off_a_value_is_validated_all_the_same(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L0_DISABLE", "1")
    assert ask(Order, says(RIGHT)).value == ORDER
    assert isinstance(ask(Order, says("{}")).error, l0_core.RefusedOutput)


async def test_chunks_of_any_port_make_partials() -> None:
    async def source(attempt: l0_core.Attempt) -> AsyncIterator[Any]:
        yield l0_core.Chunk(reasoning="hm")
        yield l0_core.Chunk('{"name": "la')
        yield 'mp", "price": 1}'
        yield l0_core.Chunk(finish_reason="stop")

    session = l0_core.astructured(Item, source)
    seen = [partial async for partial in session.partials()]
    assert seen == [{"name": "la"}, {"name": "lamp", "price": 1}]
    assert await session == Item(name="lamp", price=1)


def test_a_shape_is_compiled_once_and_names_itself() -> None:
    assert shape_of(Order) is shape_of(Order)
    assert shape_of(SCHEMA) is shape_of({**SCHEMA})
    shape: Shape[Order] = shape_of(Order)
    policy = Policy.standard()
    assert shape.policy(policy) is shape.policy(policy)
    assert shape.policy(policy).digest != policy.digest
    assert (shape.name, shape.policy(policy).delivery) == ("Order", "whole")
    assert Shape(Order).version == shape.version != Shape(Item).version


@pytest.mark.parametrize(
    ("schema", "message"),
    [(object(), "a schema is a type"), ({"type": "object", "unevaluatedProperties": False}, "unevaluatedProperties")],
)
def test_what_is_no_schema_is_refused_at_once(schema: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        l0_core.structured(schema, says(RIGHT))
