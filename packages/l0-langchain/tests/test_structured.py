"""Structured output is what was asked for: put right, asked for again, or refused; never anything else (G2, G4, G8)."""

import asyncio
import json
from collections.abc import Iterator
from itertools import count, product
from typing import Any

import pytest
from clients import Client
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import FakeListChatModel
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, Field, field_validator
from rules import RuleModel
from typing_extensions import TypedDict

import l0_core
from l0_core import Journal, Policy
from l0_core.testing import FaultyProvider, Reply, ToolCall, faults
from l0_langchain import L0ChatModel, protect

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    pytest.mark.filterwarnings("ignore:Unrecognized structured output method"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),  # bare too: what a client makes of an answer
]

QUESTION = "The capital of France, as JSON?"


class City(BaseModel):
    """A city."""

    name: str
    people: int = Field(ge=1)

    @field_validator("name")
    @classmethod
    def is_capital(cls, name: str) -> str:
        if name != "Paris":
            raise ValueError("no capital")
        return name


class Town(TypedDict):
    """A town."""

    name: str
    people: int


AS_JSON = {
    "title": "Village",
    "description": "A village.",
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
}
SCHEMAS: dict[str, Any] = {"pydantic": City, "typed dict": Town, "json schema": AS_JSON}
METHODS = ("json_schema", "json_mode", "function_calling")
VALID: dict[str, Any] = {"name": "Paris", "people": 2100000}
RIGHT = json.dumps(VALID)
BROKEN = "{name: 'Paris', \"people\": 2100000,}"
WRONG = '{"name": "Paris", "people": "many"}'
CUT = RIGHT[:-6]


async def invoked(runnable: Any) -> Any:
    return await asyncio.to_thread(runnable.invoke, QUESTION)


async def awaited(runnable: Any) -> Any:
    return await runnable.ainvoke(QUESTION)


async def streamed(runnable: Any) -> Any:
    return last_of(await asyncio.to_thread(lambda: list(runnable.stream(QUESTION))))


async def astreamed(runnable: Any) -> Any:
    return last_of([part async for part in runnable.astream(QUESTION)])


def last_of(parts: list[Any]) -> Any:
    """What a stream comes to: parts that are mappings of a name each add up to one."""
    if parts and isinstance(parts[0], dict) and set(parts[0]) <= {"raw", "parsed", "parsing_error"}:
        whole: dict[str, Any] = {}
        for part in parts:
            for name, value in part.items():
                whole[name] = whole[name] + value if name == "raw" and name in whole else value
        return whole
    return parts[-1] if parts else None


WAYS = {way.__name__: way for way in (invoked, awaited, streamed, astreamed)}


def sampled() -> Iterator[Any]:
    """Every pair of a method and a schema by one way in every run, by all of them in the long one."""
    for place, each in enumerate(product(METHODS, SCHEMAS, WAYS)):
        marks = [] if place % len(WAYS) == place // len(WAYS) % len(WAYS) else [pytest.mark.matrix]
        yield pytest.param(each, id="-".join(each), marks=marks)


COMBINATIONS = list(sampled())
combinations = pytest.mark.parametrize("asked", COMBINATIONS)


def must_be_text(client: Client, method: str, way: str) -> None:
    if client.make == "anthropic" and method == "function_calling" and way in {"invoked", "awaited"}:
        pytest.skip("an answer that is not streamed holds arguments as an object, not as text")


@pytest.fixture
def other() -> Iterator[FaultyProvider]:
    with FaultyProvider() as provider:
        yield provider


def answering(provider: FaultyProvider, method: str, kind: str, *answers: str) -> None:
    """Have the provider give these answers, one a request, and the last one for ever."""
    name = {"pydantic": "City", "typed dict": "Town", "json schema": "Village"}[kind]

    def reply(answer: str) -> Any:
        if method == "function_calling":
            return Reply.of("", tool_calls=[ToolCall(name, answer, id="call_1")])
        return Reply.of(answer)

    began = provider.request_count
    provider.reply(reply(answers[-1]))
    for number, answer in enumerate(answers[:-1], began):
        provider.reply(reply(answer), when=lambda request, number=number: request.number == number)


def expected(kind: str) -> Any:
    return City(**VALID) if kind == "pydantic" else VALID


def parsed(value: Any) -> Any:
    return value if isinstance(value, BaseModel) else dict(value)


@combinations
async def test_a_valid_answer_is_the_bare_models(
    client: Client, provider: FaultyProvider, asked: tuple[str, str, str]
) -> None:
    """G7: the same value, of the same class, for the same request."""
    method, kind, way = asked
    answering(provider, method, kind, RIGHT)
    bare = client(provider, max_retries=0)
    seen = []
    for model in (bare, L0ChatModel(model=bare)):
        runnable = model.with_structured_output(SCHEMAS[kind], method=method)
        seen.append((await WAYS[way](runnable), provider.requests[-1].body))
    assert seen[0] == seen[1]
    assert type(seen[0][0]) is type(seen[1][0])
    assert provider.request_count == 2
    await client.close(bare)


@combinations
async def test_json_that_can_be_put_right_is(
    client: Client, provider: FaultyProvider, asked: tuple[str, str, str]
) -> None:
    method, kind, way = asked
    must_be_text(client, method, way)
    answering(provider, method, kind, BROKEN)
    bare = client(provider, max_retries=0)
    model = L0ChatModel(model=bare)
    value = await WAYS[way](model.with_structured_output(SCHEMAS[kind], method=method))
    assert parsed(value) == expected(kind)
    assert type(value) is type(expected(kind))
    assert provider.request_count == 1
    await client.close(bare)


@pytest.mark.parametrize("asked", COMBINATIONS)
@pytest.mark.parametrize("bad", [WRONG, CUT, "I would rather not."], ids=["wrong", "cut", "words"])
async def test_what_does_not_fit_is_asked_for_again(
    client: Client, provider: FaultyProvider, asked: tuple[str, str, str], bad: str
) -> None:
    """The model is told what is to be put right, and its reader sees nothing of it."""
    method, kind, way = asked
    if bad != WRONG:
        must_be_text(client, method, way)
    answering(provider, method, kind, bad, RIGHT)
    bare = client(provider, max_retries=0)
    model = L0ChatModel(model=bare)
    value = await WAYS[way](model.with_structured_output(SCHEMAS[kind], method=method))
    assert parsed(value) == expected(kind)
    assert provider.request_count == 2
    first, second = (request.body["messages"] for request in provider.requests)
    assert second[: len(first)] == first
    assert len(second) > len(first)
    await client.close(bare)


@combinations
@pytest.mark.parametrize("include_raw", [False, True], ids=["value", "raw"])
async def test_what_never_fits_is_refused(
    client: Client, provider: FaultyProvider, asked: tuple[str, str, str], *, include_raw: bool
) -> None:
    """As the framework has it: a parser's exception, or, where the answer is wanted raw, beside the last one (G8).

    That also holds where it is streamed; the bare model says there that no error occurred, and leaves the value out.
    """
    method, kind, way = asked
    answering(provider, method, kind, WRONG)
    bare = client(provider, max_retries=0)
    runnable = L0ChatModel(model=bare).with_structured_output(SCHEMAS[kind], method=method, include_raw=include_raw)
    if include_raw:
        made = await WAYS[way](runnable)
        assert set(made) == {"raw", "parsed", "parsing_error"}
        assert made["parsed"] is None
        assert isinstance(made["parsing_error"], l0_core.RefusedOutput)
        said = [call["args"] for call in made["raw"].tool_calls] or [json.loads(made["raw"].text)]
        assert said == [json.loads(WRONG)]
        told = made["raw"].response_metadata["l0"]
        assert (told["attempts"], told["refused"]) == (3, True)
    else:
        with pytest.raises(l0_core.RefusedOutput) as raised:
            await WAYS[way](runnable)
        assert isinstance(raised.value, OutputParserException)
        assert raised.value.session_id is not None
        assert raised.value.result is None or [*raised.value.result.invalid.values()] == [{"people": 3}]
        assert "many" not in str(raised.value), "no output in a message"
    assert provider.request_count == 3
    await client.close(bare)


@combinations
async def test_a_raw_answer_that_fits_is_told_as_by_the_bare_model(
    client: Client, provider: FaultyProvider, asked: tuple[str, str, str]
) -> None:
    method, kind, way = asked
    answering(provider, method, kind, RIGHT)
    bare = client(provider, max_retries=0)
    seen = []
    for model in (bare, L0ChatModel(model=bare)):
        made = await WAYS[way](model.with_structured_output(SCHEMAS[kind], method=method, include_raw=True))
        seen.append((made["parsed"], made["parsing_error"], made["raw"].text, len(made["raw"].tool_calls)))
    assert seen[0] == seen[1]
    assert parsed(seen[1][0]) == expected(kind)
    await client.close(bare)


def partials(chain: Any) -> list[Any]:
    return list(chain.stream(QUESTION))


async def test_partial_values_are_those_of_the_bare_chain(client: Client, provider: FaultyProvider) -> None:
    bare = client(provider, max_retries=0)
    for method in METHODS:
        answering(provider, method, "typed dict", RIGHT)
        chains = [model.with_structured_output(Town, method=method) for model in (bare, L0ChatModel(model=bare))]
        first, second = [await asyncio.to_thread(partials, chain) for chain in chains]
        assert first == second
        assert len(first) > 2
    await client.close(bare)


async def test_a_policy_that_says_how_answers_are_delivered_is_heeded(client: Client, provider: FaultyProvider) -> None:
    """What was shown cannot be asked for again: the end is honest."""
    answering(provider, "json_mode", "typed dict", WRONG, RIGHT)
    bare = client(provider, max_retries=0)
    model = L0ChatModel(model=bare, policy=Policy(delivery="live"))
    with pytest.raises(l0_core.L0Error):
        await streamed(model.with_structured_output(Town, method="json_mode"))
    assert provider.request_count == 1
    await client.close(bare)


@pytest.mark.parametrize("method", METHODS)
async def test_a_chain_that_is_protected_later_is_too(client: Client, provider: FaultyProvider, method: str) -> None:
    """A copy of a chain somebody else wrote: what it asks for is told in its bindings."""
    answering(provider, method, "pydantic", WRONG, RIGHT)
    bare = client(provider, max_retries=0)
    chain: Any = ChatPromptTemplate.from_template("{x}") | bare.with_structured_output(City, method=method)
    assert protect(chain).invoke({"x": QUESTION}) == City(**VALID)
    assert provider.request_count == 2
    await client.close(bare)


def test_the_callers_own_validator_has_the_last_word(client: Client, provider: FaultyProvider) -> None:
    """No JSON schema says what it says."""
    for method in METHODS:
        answering(provider, method, "pydantic", '{"name": "Lyon", "people": 5}', RIGHT)
        before = provider.request_count
        model = L0ChatModel(model=client(provider, max_retries=0))
        assert model.with_structured_output(City, method=method).invoke(QUESTION) == City(**VALID)
        assert provider.request_count == before + 2


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("order", [("openai", "anthropic"), ("anthropic", "openai")], ids=lambda order: order[0])
def test_another_vendor_is_asked_in_its_own_format(
    order: Any, method: str, provider: FaultyProvider, other: FaultyProvider
) -> None:
    """G8: and what it says must fit, too."""
    first, second = map(Client, order)
    provider.script(faults.quota())
    answering(other, method, "pydantic", WRONG, RIGHT)
    model = L0ChatModel(model=first(provider), fallbacks=[second(other)])
    made: Any = model.with_structured_output(City, method=method, include_raw=True).invoke(QUESTION)
    assert made["parsed"] == City(**VALID)
    assert made["raw"].response_metadata["l0"]["degraded"] is True
    sent = other.requests[0].body
    asked = {"tools"} if method == "function_calling" else {"response_format", "output_config", "output_format"}
    assert asked & sent.keys(), sent.keys()


def test_inside_a_run_a_value_is_had_once(client: Client, provider: FaultyProvider) -> None:
    """G6."""
    for method, number in zip(METHODS, count()):
        answering(provider, method, "pydantic", WRONG, RIGHT)
        before = provider.request_count
        model = L0ChatModel(model=client(provider, max_retries=0))
        runnable = model.with_structured_output(City, method=method)
        journal = Journal.memory()
        for mode in ("record", "replay"):
            with l0_core.run(f"job-{number}", journal=journal, mode=mode):
                assert runnable.invoke(QUESTION) == City(**VALID)
                assert last_of(list(runnable.stream(QUESTION))) == City(**VALID)
        assert provider.request_count == before + 3


@pytest.mark.parametrize("way", [WAYS["invoked"], WAYS["astreamed"]])
async def test_inside_a_run_a_refused_answer_that_is_wanted_raw_is_given_again(
    way: Any, client: Client, provider: FaultyProvider
) -> None:
    """G6: the last answer, and that it does not fit; as it was told the first time."""
    bare = client(provider, max_retries=0)
    for method in METHODS:
        answering(provider, method, "pydantic", CUT, WRONG)
        before, journal, seen = provider.request_count, Journal.memory(), []
        runnable = L0ChatModel(model=bare).with_structured_output(City, method=method, include_raw=True)
        for mode in ("record", "resume", "replay"):
            with l0_core.run("job", journal=journal, mode=mode):
                made = await way(runnable)
            assert isinstance(made["parsing_error"], l0_core.RefusedOutput)
            seen.append((made["parsed"], made["raw"].text, made["raw"].tool_calls, made["raw"].usage_metadata))
        assert seen == [seen[0]] * 3
        assert provider.request_count == before + 3
    await client.close(bare)


def test_a_tree_of_itself_is_asked_for_as_by_the_bare_model(provider: FaultyProvider) -> None:
    client = Client("openai")
    provider.reply('{"name": "a", "below": [{"name": "b", "below": []}]}')
    bare = client(provider, max_retries=0)
    for model in (bare, L0ChatModel(model=bare)):
        assert model.with_structured_output(Branch).invoke(QUESTION) == Branch(
            name="a", below=[Branch(name="b", below=[])]
        )
    first, second = (request.body for request in provider.requests)
    assert first == second


class Branch(BaseModel):
    """A branch."""

    name: str
    below: list["Branch"]


def test_a_model_that_has_none_has_none() -> None:
    """What a wrapped class cannot do, its wrapper does not seem to be able to."""
    for model in (FakeListChatModel(responses=["x"]), L0ChatModel(model=FakeListChatModel(responses=["x"]))):
        with pytest.raises(NotImplementedError):
            model.with_structured_output(City)
        with pytest.raises(NotImplementedError):
            model.bind_tools([City])
    assert type(L0ChatModel(model=RuleModel())).bind_tools is not RuleModel.bind_tools


def test_a_schema_that_cannot_be_checked_is_left_to_the_framework(client: Client, provider: FaultyProvider) -> None:
    """G7: what the bare model takes is taken."""
    odd = {"title": "Village", "description": "x", "type": "object", "properties": {}, "pattern": 3}
    answering(provider, "function_calling", "json schema", RIGHT)
    model = L0ChatModel(model=client(provider, max_retries=0))
    assert model.with_structured_output(odd, method="function_calling").invoke(QUESTION) == VALID
