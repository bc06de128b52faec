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


# Answers that are tool calls, as framework packages read them --------------------------------------------------------


CALLED = '{"name": "lamp", "price": 12.5}'


def calls(*answers: str, name: str = "Item", finish: str = "tool_calls", size: int = 5) -> Callable[..., Iterator[Any]]:
    """A source that calls a tool, with one answer an attempt for arguments, the last one from then on."""

    def source(attempt: l0_core.Attempt) -> Iterator[Any]:
        args = answers[min(attempt.number, len(answers) - 1)]
        yield l0_core.Chunk(tools=(l0_core.ToolFragment(0, "id", name),))
        for at in range(0, len(args), size):
            yield l0_core.Chunk(tools=(l0_core.ToolFragment(0, args=args[at : at + size]),))
        yield l0_core.Chunk(finish_reason=finish)

    return source


def said_by(chunks: list[Any]) -> str:
    """The arguments of the one call that a consumer has put together."""
    return "".join(fragment.args for chunk in chunks for fragment in chunk.tools)


@pytest.fixture
def call(drive: Driver) -> Callable[..., Any]:
    """Have a tool called on this driver, by a policy that reads the call."""

    def called(source: Any, policy: Policy | None = None, **options: Any) -> Any:
        policy = shape_of(Item).policy(policy, reads="calls", tool="Item")
        return drive(source, policy=policy, **options)

    return called


@pytest.mark.parametrize(
    ("args", "fixes"),
    [
        (CALLED, ()),
        ("{name: 'lamp', \"price\": 12.5,}", ("unquoted_key", "single_quotes", "extra_comma")),
        (CALLED + CALLED, ("other_document",)),
        ("```json\n" + CALLED + "\n```", ("fence",)),
    ],
    ids=["right", "broken", "twice", "fenced"],
)
def test_a_call_is_put_right_on_its_way(call: Callable[..., Any], args: str, fixes: tuple[str, ...]) -> None:
    """G2, G8: what the consumer is given is a whole call, and says that it was put right."""
    run = call(calls(args))
    assert run.error is None
    assert Item.model_validate_json(said_by(run.chunks)) == Item(name="lamp", price=12.5)
    assert [call.args for call in run.result.tool_calls] == [said_by(run.chunks)]
    assert (said_by(run.chunks) == args) is (not fixes)
    assert set(fixes) <= set(run.result.repaired)
    assert (run.result.attempts, run.result.reasks) == (1, 0)


@pytest.mark.parametrize(
    ("wrong", "name", "fields", "told"),
    [
        ('{"name": "lamp", "price": "SECRET"}', "Item", ["price"], "price"),
        ('{"name": "lamp", "pri', "Item", ["the JSON document is cut"], "ends before"),
        ("", "Item", ["name", "price"], "name"),
        ("I'd rather not", "Item", ["no JSON"], "no JSON"),
        (CALLED, "Other", ["a call of another tool"], "the tool Item"),
    ],
    ids=["misfit", "cut", "empty", "no JSON", "another tool"],
)
def test_a_call_that_does_not_fit_is_asked_for_again(
    call: Callable[..., Any], wrong: str, name: str, fields: list[str], told: str
) -> None:
    """G2: nothing of it is given."""
    attempts: list[l0_core.Attempt] = []

    def source(attempt: l0_core.Attempt) -> Iterator[Any]:
        attempts.append(attempt)
        yield from calls(*([CALLED] if attempt.errors else [wrong]), name="Item" if attempt.errors else name)(attempt)

    run = call(source)
    assert run.error is None
    assert said_by(run.chunks) == CALLED
    assert (len(attempts), attempts[1].rejected) == (2, wrong)
    assert told in attempts[1].instruction
    ((_, counted),) = run.result.invalid.items()
    assert (run.result.reasks, counted) == (1, dict.fromkeys(fields, 1))
    assert "SECRET" not in repr(run.result.metadata())


def test_an_answer_in_words_is_no_call(call: Callable[..., Any]) -> None:
    def source(attempt: l0_core.Attempt) -> Iterator[Any]:
        if attempt.errors:
            yield from calls(CALLED)(attempt)
        else:
            yield l0_core.Chunk(CALLED)

    run = call(source)
    assert (said_by(run.chunks), run.text) == (CALLED, "")
    assert [*run.result.invalid.values()] == [{"no tool call": 1}]


def test_calls_that_never_fit_are_refused(call: Callable[..., Any]) -> None:
    """G2, G4."""
    run = call(calls('{"name": "lamp"}'), fallbacks=(calls("{}"),), policy=Policy(retry=Retry(attempts=10)))
    assert isinstance(run.error, l0_core.RefusedOutput)
    assert said_by(run.chunks) == ""
    assert run.result.reasks == 4


def test_a_call_cut_at_any_byte_is_asked_for_again() -> None:
    """G2: a prefix is never taken for the whole, whatever the provider says of it."""
    text = '{"name": "lämp \\" }", "price": 120, "tags": ["a", "b"]}'
    policy = shape_of(Item).policy(reads="calls")
    for finish in ("tool_calls", "length"):
        for cut in range(len(text)):
            stream = l0_core.stream(calls(text[:cut], text, finish=finish), policy=policy, stall_guard="off")
            assert said_by([*stream]) == text, cut
            assert (stream.result.attempts, stream.result.reasks) == (2, 1), cut
            _fleet.renew()


def test_a_text_is_put_right_on_its_way(drive: Driver) -> None:
    """G8: who parses it again finds JSON."""
    text = "Sure:\n```json\n{name: 'lamp', price: 12.5,}\n```"
    run = drive(says(text), policy=shape_of(Item).policy())
    assert run.result is not None
    assert Item.model_validate_json(run.text) == Item(name="lamp", price=12.5)
    assert run.result.text == run.text
    assert "fence" in run.result.repaired
    shown = drive(says(text), policy=shape_of(Item).policy(whole=False))
    assert shown.text == text


def test_a_text_whose_values_replace_each_other_is_asked_for_again(drive: Driver) -> None:
    """G1: the consumer has opted in, and is told where the answer begins anew."""
    wrong, right = '{"name": "lamp"}', '{"name": "lamp", "price": 12.5}'
    policy = shape_of(Item).policy(whole=False, replaces=True)
    run = drive(says(wrong, right), policy=policy)
    assert run.result is not None
    assert (run.result.text, run.result.resets, run.result.reasks) == (right, 1, 1)
    assert run.chunks.count(l0_core.RESET) == 1
    assert shape_of(Item).policy(policy, whole=False, replaces=True).continuation == policy.continuation
    assert isinstance(drive(says(wrong, right), policy=shape_of(Item).policy(whole=False)).error, l0_core.RefusedOutput)


# Written down --------------------------------------------------------------------------------------------------------


def test_what_was_asked_again_and_put_right_is_in_the_records(drive: Driver) -> None:
    """G6: it replays without the schema, and without asking."""
    journal = l0_core.Journal.memory()
    for reads, source in (
        ("calls", calls('{"name": 1}', "{name: 'lamp', price: 12.5}")),
        ("text", says('{"name": 1}', "Here: {name: 'lamp', price: 12.5}")),
    ):
        policy = shape_of(Item).policy(reads=reads)  # type: ignore[arg-type]
        run = drive(source, policy=policy, journal=journal)
        assert run.result is not None
        assert run.result.reasks == 1
        assert "unquoted_key" in run.result.repaired
        stream = l0_core.replay_stream(journal, run.result.session_id)
        assert [*stream] == run.chunks
        assert (stream.result.repaired, stream.result.reasks) == (run.result.repaired, run.result.reasks)
        assert stream.result.invalid == run.result.invalid
        l0_core.replay(journal, run.result.session_id)


def test_a_refusal_replays_as_one(drive: Driver) -> None:
    """G6."""
    journal = l0_core.Journal.memory()
    run = drive(says("{}"), policy=shape_of(Item).policy(), journal=journal)
    assert isinstance(run.error, l0_core.RefusedOutput)
    assert run.result is not None
    stream = l0_core.replay_stream(journal, run.result.session_id)
    with pytest.raises(l0_core.RefusedOutput, match="no answer fits"):
        next(stream)
    assert [*run.result.invalid.values()] == [{"name": 3, "price": 3}]
    assert stream.result.invalid == run.result.invalid


# Cut anywhere --------------------------------------------------------------------------------------------------------


def begins(part: Any, whole: Any) -> bool:
    """Whether a value is how another one begins. Whether a number was cut nobody can tell: the repair says it."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and begins(value, whole[name]) for name, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(map(begins, part, whole))
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part.rstrip("\ufffd"))
    if isinstance(part, int | float) and isinstance(whole, int | float):
        return True
    return bool(part == whole)


@pytest.mark.parametrize("cut", ["refuse", "accept"])
@pytest.mark.parametrize("reads", ["text", "calls"])
def test_a_json_answer_cut_at_any_byte_is_a_beginning_of_the_value_or_asked_for_again(cut: Any, reads: Any) -> None:
    """G2, G4: the caller gets a validated object or a typed refusal, whatever byte it was cut at."""
    whole = '{"number": 12, "items": [{"name": "lämp \\" }", "price": 120.5, "tags": ["ä", "b"]}], "notes": {"a": 1}}'
    shape = Shape(Order, cut=cut)
    answers = {"accepted": 0, "asked again": 0}
    for at in range(1, len(whole.encode())):
        text = whole.encode()[:at].decode(errors="replace")
        source = calls(text, whole, finish="stop") if reads == "calls" else says(text, whole)
        stream = l0_core.stream(source, policy=shape.policy(reads=reads), stall_guard="off")
        given = [*stream]
        value = json.loads(said_by(given) if reads == "calls" else "".join(given))
        Order.model_validate(value)
        result = stream.result
        assert begins(value, json.loads(whole)), at
        if result.attempts == 1:
            answers["accepted"] += 1
            assert {"missing_closer", "cut_string", "cut_number", "cut_literal"} & {*result.repaired}, at
        else:
            answers["asked again"] += 1
            assert (result.reasks, value) == (1, json.loads(whole)), at
        refused = l0_core.stream(
            calls(text) if reads == "calls" else says(text), policy=shape.policy(reads=reads), stall_guard="off"
        )
        try:
            again = [*refused]
        except l0_core.RefusedOutput as error:
            assert error.session_id == refused.result.session_id  # noqa: PT017 - which of the two it is, is the cut's
        else:
            Order.model_validate_json(said_by(again) if reads == "calls" else "".join(again))
        _fleet.renew()
    assert answers["asked again"] > 0
    assert (answers["accepted"] > 0) is (cut == "accept")
