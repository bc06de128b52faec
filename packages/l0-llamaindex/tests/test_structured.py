"""What is predicted structured is of its class: put right, asked for again, or refused; never anything else."""

import asyncio
import json
from typing import Any

import pytest
from asking_llm import QUESTION as MESSAGES
from asking_llm import Way, listening
from engines import QUESTION, TEMPLATE, City, index
from llama_index.core import PromptTemplate
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.program import FunctionCallingProgram, LLMTextCompletionProgram
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.types import BaseOutputParser, PydanticProgramMode
from providers import ANTHROPIC_OLDER_MODEL, client
from scripted_llm import Reply, Scripted

import l0_core
from l0_core.testing import FaultyProvider, faults
from l0_llamaindex import L0LLM, protect

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _left_open(left_open: None) -> None: ...


PARIS = City(name="Paris", inhabitants=2_100_000)
VALID = PARIS.model_dump_json()
SLOPPY = "Here you are: {'name': 'Paris', inhabitants: 2100000,}"
WRONG = '{"name": "Paris", "inhabitants": "many"}'
CUT = VALID[:-9]


def called(args: str) -> Reply:
    return Reply(calls=(("City", args),), finish="tool_calls")


def predicted(way: Way, llm: Any) -> Any:
    if way.name == "sync":
        return llm.structured_predict(City, TEMPLATE, country="France")

    async def main() -> Any:
        return await llm.astructured_predict(City, TEMPLATE, country="France")

    return asyncio.run(main())


def of_text(*replies: str) -> Scripted:
    return Scripted(*replies, is_function_calling=False)


def of_calls(*replies: str) -> Scripted:
    return Scripted(*map(called, replies))


KINDS = {"text": of_text, "calls": of_calls}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [WRONG, CUT, "[]", '{"name": "Paris"}'])
def test_what_is_not_valid_is_asked_for_again(way: Way, kind: str, bad: str) -> None:
    """The model is told what is to be put right, and nobody else notices."""
    inner = KINDS[kind](bad, VALID)
    assert predicted(way, L0LLM(llm=inner)) == PARIS
    assert len(inner.asked) == 2
    first, second = (str(ask.given) for ask in inner.asked)
    assert len(second) > len(first)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the bare LLM fails in several ways
        predicted(way, KINDS[kind](bad, VALID))
    assert isinstance(caught.value, ValueError | TypeError)


@pytest.mark.parametrize("kind", KINDS)
def test_json_that_can_be_put_right_is(way: Way, kind: str) -> None:
    inner = KINDS[kind](SLOPPY)
    assert predicted(way, L0LLM(llm=inner)) == PARIS
    assert len(inner.asked) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_never_becomes_valid_is_refused(way: Way, kind: str) -> None:
    """G3: so many times and no more; and by an error that engines do not swallow."""
    inner = KINDS[kind](WRONG)
    with pytest.raises(l0_core.L0Error) as caught:
        predicted(way, L0LLM(llm=inner))
    assert not isinstance(caught.value, ValueError | TypeError)
    assert 2 <= len(inner.asked) <= 4
    assert caught.value.result is not None
    assert "many" not in str(caught.value)


def test_a_program_is_helped_wherever_it_is_used() -> None:
    inner = of_calls(WRONG, VALID)
    llm: Any = L0LLM(llm=inner)
    assert FunctionCallingProgram.from_defaults(output_cls=City, prompt=TEMPLATE, llm=llm)(country="France") == PARIS
    assert len(inner.asked) == 2


def test_a_structured_llm_and_a_query_engine_are_too(way: Way) -> None:
    """Bare, the query engine says `Empty Response`."""
    structured = L0LLM(llm=of_calls(WRONG, VALID)).as_structured_llm(City)
    assert way(structured, "chat", MESSAGES).chunks[0].raw == PARIS
    engine = index().as_query_engine(llm=L0LLM(llm=of_calls(WRONG, VALID)), output_cls=City)
    assert engine.query(QUESTION).response == PARIS  # type: ignore[union-attr]


HOLDS: dict[str, Any] = {
    "inside": lambda inner: L0LLM(llm=inner).as_structured_llm(City),
    "around": lambda inner: L0LLM(llm=inner.as_structured_llm(City)),
    "protected": lambda inner: protect([inner.as_structured_llm(City)])[0],
}


@pytest.mark.parametrize("held", HOLDS)
@pytest.mark.parametrize("method", ["chat", "stream_chat"])
def test_a_structured_llm_is_protected_where_it_asks(way: Way, method: str, held: str) -> None:
    """G3, G4: the client's own retries are off, and what is wrong with an answer is said."""
    with FaultyProvider() as provider:
        provider.reply("", tool_calls=[("City", json.loads(WRONG))])
        provider.reply("", tool_calls=[("City", json.loads(VALID))], when=lambda request: len(request.messages) > 1)
        with client("openai_like", provider) as inner:
            structured = HOLDS[held](inner)
            seen = way(structured, method, MESSAGES)
            assert seen.error is None
            assert seen.chunks[-1].raw == PARIS
            assert provider.request_count == 2
            provider.script(faults.status(code=503))
            assert isinstance(way(structured, method, MESSAGES).error, l0_core.ExhaustedError)
            assert provider.request_count <= 2 + 7


def test_what_a_structured_llm_holds_can_be_changed(way: Way) -> None:
    structured: Any = L0LLM(llm=StructuredLLM(llm=of_calls("{}"), output_cls=City))
    structured.llm = other = of_calls(WRONG, VALID)
    assert way(structured, "chat", MESSAGES).chunks[0].raw == PARIS
    assert len(other.asked) == 2


def test_text_programs_are_too(way: Way) -> None:
    llm = L0LLM(llm=Scripted(WRONG, VALID, pydantic_program_mode=PydanticProgramMode.LLM))
    assert predicted(way, llm) == PARIS
    plain = L0LLM(llm=Scripted(WRONG, VALID, is_chat=False, is_function_calling=False))
    assert predicted(way, plain) == PARIS


# Programs of text ----------------------------------------------------------------------------------------------------


def by_text(way: Way, llm: Any, **options: Any) -> Any:
    program = LLMTextCompletionProgram.from_defaults(output_cls=City, prompt=PromptTemplate(ASKS), llm=llm, **options)
    return program(country="France") if way.name == "sync" else asyncio.run(program.acall(country="France"))


ASKS = "Tell of the capital of {country}."
OF_TEXT = {
    "chat": lambda *replies: Scripted(*replies, is_function_calling=False),
    "complete": lambda *replies: Scripted(*replies, is_function_calling=False, is_chat=False),
}


@pytest.mark.parametrize("kind", OF_TEXT)
@pytest.mark.parametrize("bad", [WRONG, CUT, "I do not know."])
def test_a_program_of_text_is_helped_wherever_it_is_used(way: Way, kind: str, bad: str) -> None:
    """What it makes of an answer is in its prompt alone, and in itself."""
    inner = OF_TEXT[kind](bad, VALID)
    assert by_text(way, L0LLM(llm=inner)) == PARIS
    assert len(inner.asked) == 2
    with pytest.raises(ValueError):  # noqa: PT011 - of several classes, and engines swallow all of them
        by_text(way, OF_TEXT[kind](bad, VALID))


@pytest.mark.parametrize("kind", OF_TEXT)
def test_what_it_would_take_is_taken(way: Way, kind: str) -> None:
    """G7: its class is no stricter than it is without L0, and what can be put right is not asked for again."""
    for taken in ('{"name": "Paris", "inhabitants": "2100000"}', f"Of course!\n```json\n{VALID}\n```", SLOPPY):
        inner = OF_TEXT[kind](taken)
        assert by_text(way, L0LLM(llm=inner)) == PARIS
        assert len(inner.asked) == 1


class Lines(BaseOutputParser):
    """Reads a city off two lines."""

    def parse(self, output: str) -> Any:
        name, inhabitants = output.splitlines()
        return City(name=name, inhabitants=int(inhabitants))


class Broken(BaseOutputParser):
    """Has a mistake of its own."""

    def parse(self, output: str) -> Any:
        raise RuntimeError("no database")


@pytest.mark.parametrize("kind", OF_TEXT)
@pytest.mark.parametrize("bad", ["Paris", "Paris\nmany", "Paris\n2100000\n!"])
def test_what_a_parser_of_ones_own_refuses_is_asked_for_again(way: Way, kind: str, bad: str) -> None:
    good = "Paris\n2100000"
    inner = OF_TEXT[kind](bad, good)
    with listening() as (_, spans):
        assert by_text(way, L0LLM(llm=inner), output_parser=Lines()) == PARIS
    assert len(inner.asked) == 2
    assert sum(name.startswith("Lines.parse") for name, _ in spans.tree) == 1, "as many as without L0"
    with pytest.raises(l0_core.RefusedOutput):
        by_text(way, L0LLM(llm=OF_TEXT[kind](bad)), output_parser=Lines())
    with pytest.raises(ValueError):  # noqa: PT011 - of several classes
        by_text(way, OF_TEXT[kind](bad), output_parser=Lines())


def test_a_mistake_in_a_parser_is_its_own(way: Way) -> None:
    """G4: no other answer would help."""
    inner = of_text("Paris")
    with pytest.raises(RuntimeError, match="no database"):
        by_text(way, L0LLM(llm=inner), output_parser=Broken())
    assert len(inner.asked) == 1


def test_attempts_and_questions_asked_again_come_out_of_one_budget(way: Way) -> None:
    """G3: what fails and what does not fit together are no more than the policy allows."""
    broken = Reply(fails=(0, ConnectionResetError()))
    inner = Scripted(broken, WRONG, broken, WRONG, broken, WRONG, broken, WRONG, broken, is_function_calling=False)
    limit = l0_core.Policy(retry=l0_core.Retry(attempts=3, max_retries=2))
    with pytest.raises(l0_core.L0Error):
        by_text(way, L0LLM(llm=inner, policy=limit))
    assert len(inner.asked) <= 1 + 2 + 2


# Values that grow ----------------------------------------------------------------------------------------------------


def named(values: list[Any]) -> list[Any]:
    """The values by name of class and fields: LlamaIndex makes a class anew for those that are not whole."""
    return [(type(value).__name__, value.model_dump()) for value in values]


def growing(way: Way, llm: Any) -> list[Any]:
    async def main() -> list[Any]:
        return [value async for value in await llm.astream_structured_predict(City, TEMPLATE, country="France")]

    sync = way.name == "sync"
    values = list(llm.stream_structured_predict(City, TEMPLATE, country="France")) if sync else asyncio.run(main())
    return named(values)


GROWN = ("City", PARIS.model_dump())


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_that_grows_is_the_bare_ones(way: Way, kind: str) -> None:
    """G7: part by part, and then the value, where LlamaIndex makes nothing of calls while they grow."""
    bare = growing(way, KINDS[kind](VALID))
    values = growing(way, L0LLM(llm=KINDS[kind](VALID)))
    assert values == (bare if bare[-1] == GROWN else [*bare, GROWN])


def test_arguments_that_are_not_valid_are_never_given(way: Way) -> None:
    """A real client's: of others LlamaIndex makes nothing while they grow."""
    with FaultyProvider() as provider:
        provider.reply("", tool_calls=[("City", json.loads(WRONG))])
        provider.reply("", tool_calls=[("City", json.loads(VALID))], when=lambda request: len(request.messages) > 1)
        with client("openai_like", provider) as inner:
            values = growing(way, L0LLM(llm=inner))
        assert provider.request_count == 2
        provider.reply("", tool_calls=[("City", json.loads(VALID))])
        with client("openai_like", provider) as inner:
            assert values == growing(way, inner), "no part of what was refused"
    assert values[-1] == GROWN


@pytest.mark.parametrize("parallel", [True, False])
def test_arguments_that_can_be_put_right_are_in_every_chunk(way: Way, *, parallel: bool) -> None:
    """G1: whichever chunk is read, an agent or a program finds the same there."""
    inner = of_calls(SLOPPY.partition(": ")[2])
    options = {"user_msg": "x", "allow_parallel_tool_calls": parallel}
    seen = way(L0LLM(llm=inner), "stream_chat_with_tools", [get_function_tool(City)], **options)
    told = [
        block.tool_kwargs for chunk in seen.chunks for block in chunk.message.blocks if hasattr(block, "tool_kwargs")
    ]
    assert told
    assert all(City.model_validate_json(args) == PARIS for args in told)
    assert seen.l0["repaired"]
    assert len(inner.asked) == 1


RICHER = '{"name": "Paris", "inhabitants": "many", "river": "Seine", "mayor": "?"}'
IN_FENCES = f"Of course!\n```json\n{VALID}\n```"


@pytest.mark.parametrize("bad", [WRONG, CUT, RICHER, "I do not know."])
def test_a_value_that_was_shown_is_replaced_by_one_that_fits(way: Way, bad: str) -> None:
    """G8: bare, the stream ends with an object that is none of the class. Each object stands for those before it."""
    inner = of_text(bad, VALID)
    assert growing(way, L0LLM(llm=inner))[-1] == GROWN
    assert len(inner.asked) == 2
    assert growing(way, of_text(bad))[-1][0] == "FlexibleCity"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sloppy", [SLOPPY, IN_FENCES])
def test_the_last_value_is_the_one_that_was_put_right(way: Way, kind: str, sloppy: str) -> None:
    inner = KINDS[kind](sloppy)
    bare = growing(way, KINDS[kind](sloppy))
    assert bare[-1] != GROWN
    with listening() as (events, _):
        values = growing(way, L0LLM(llm=inner))
    assert values[-1] == GROWN
    assert len(inner.asked) == 1
    (last,) = (event for event in events.seen if type(event).__name__ == "LLMStructuredPredictEndEvent")
    assert last.output == PARIS, "what is reported is what was given"


def test_a_value_that_broke_off_is_begun_anew_in_other_words(way: Way) -> None:
    """G4: what cannot be gone on with is replaced, once an answer has shown that it does not repeat what was shown."""
    broken = Reply(VALID, fails=(5, ConnectionResetError()))
    inner = Scripted(broken, '{"inhabitants": 2100000, "name": "Paris"}', is_function_calling=False)
    assert growing(way, L0LLM(llm=inner))[-1] == GROWN
    assert len(inner.asked) == 3


def test_a_value_that_never_fits_is_refused(way: Way) -> None:
    """G3, G8."""
    inner = of_text(WRONG)
    with pytest.raises(l0_core.RefusedOutput):
        growing(way, L0LLM(llm=inner))
    assert 2 <= len(inner.asked) <= 4


def test_a_structured_llm_and_a_streaming_engine_show_it_too(way: Way) -> None:
    structured = L0LLM(llm=of_text(RICHER, VALID)).as_structured_llm(City)
    seen = way(structured, "stream_chat", MESSAGES)
    assert seen.error is None
    assert seen.chunks[-1].raw == PARIS
    never = way(L0LLM(llm=of_text(WRONG)).as_structured_llm(City), "stream_chat", MESSAGES)
    assert isinstance(never.error, l0_core.RefusedOutput)


def streamed_by_text(way: Way, llm: Any) -> list[Any]:
    program = LLMTextCompletionProgram.from_defaults(output_cls=City, prompt=PromptTemplate(ASKS), llm=llm)

    async def main() -> list[Any]:
        return [value async for value in await program.astream_call(country="France")]

    return named(list(program.stream_call(country="France")) if way.name == "sync" else asyncio.run(main()))


@pytest.mark.parametrize("kind", OF_TEXT)
def test_a_program_of_text_that_streams_ends_with_a_value_or_an_error(way: Way, kind: str) -> None:
    """G8: it keeps the values it has shown to itself, so that none can be taken back."""
    values = streamed_by_text(way, L0LLM(llm=OF_TEXT[kind](SLOPPY)))
    assert values[-1] == GROWN
    assert values[:-1] == streamed_by_text(way, OF_TEXT[kind](SLOPPY))
    assert streamed_by_text(way, L0LLM(llm=OF_TEXT[kind](VALID))) == streamed_by_text(way, OF_TEXT[kind](VALID))
    with pytest.raises(l0_core.RefusedOutput):
        streamed_by_text(way, L0LLM(llm=OF_TEXT[kind](WRONG, VALID)))


# Requests ------------------------------------------------------------------------------------------------------------


def several(way: Way, llm: Any) -> Any:
    made = FunctionCallingProgram.from_defaults(
        output_cls=City, prompt=TEMPLATE, llm=llm, allow_parallel_tool_calls=True
    )
    return made(country="France") if way.name == "sync" else asyncio.run(made.acall(country="France"))


def test_all_calls_of_an_answer_are_checked(way: Way) -> None:
    rome = City(name="Rome", inhabitants=2_800_000)
    both = Reply(calls=(("City", SLOPPY.partition(": ")[2]), ("City", rome.model_dump_json())), finish="tool_calls")
    one_wrong = Reply(calls=(("City", VALID), ("City", WRONG)), finish="tool_calls")
    inner = Scripted(one_wrong, both)
    assert several(way, L0LLM(llm=inner)) == [PARIS, rome]
    assert len(inner.asked) == 2


PREDICTED: dict[str, Any] = {
    "structured_predict": predicted,
    "program of text": by_text,
    "parallel": several,
    "growing": growing,
    "structured llm": lambda way, llm: way(llm.as_structured_llm(City), "chat", MESSAGES).chunks[0].raw,
}
MODELS: dict[str, dict[str, Any]] = {
    "calls": {"is_function_calling_model": True},
    "text": {"is_function_calling_model": False},
}


@pytest.mark.parametrize("name", PREDICTED)
@pytest.mark.parametrize("kind", MODELS)
def test_the_request_is_the_bare_ones(way: Way, kind: str, name: str) -> None:
    """G7: to the byte of its body."""
    if name == "parallel" and kind != "calls":
        pytest.skip("needs tools")
    with FaultyProvider() as provider:
        provider.reply(VALID)
        provider.reply("", tool_calls=[("City", json.loads(VALID))], when=lambda request: "tools" in request.body)
        values = []
        for wrap in (lambda llm: llm, lambda llm: L0LLM(llm=llm)):
            with client("openai_like", provider) as inner:
                vars(inner).update(MODELS[kind])
                values.append(PREDICTED[name](way, wrap(inner)))
        bare, reliable = provider.requests
    assert values[0] == values[1]
    assert reliable.body == bare.body


def test_a_tool_of_an_agent_is_no_prediction(way: Way) -> None:
    """Its arguments are for the tool to judge: what it says is fed back."""
    from engines import WEATHER

    inner = Scripted(Reply(calls=(("weather", '{"town": "Paris"}'),)))
    way(L0LLM(llm=inner), "chat_with_tools", [WEATHER], user_msg="x")
    assert len(inner.asked) == 1


def test_the_tools_of_a_real_client_too(way: Way) -> None:
    with FaultyProvider() as provider:
        provider.reply("", tool_calls=[("City", json.loads(WRONG))])
        provider.reply("", tool_calls=[("City", json.loads(VALID))], when=lambda request: len(request.messages) > 1)
        with client("openai_like", provider) as inner:
            assert predicted(way, L0LLM(llm=inner)) == PARIS
        assert provider.request_count == 2


def test_a_schema_of_the_providers_own_too(way: Way) -> None:
    with FaultyProvider() as provider:
        provider.reply(CUT)
        provider.reply(VALID, when=lambda request: len(request.messages) > 1)
        with client("openai", provider, pydantic_program_mode=PydanticProgramMode.DEFAULT) as inner:
            llm: Any = L0LLM(llm=inner)
            llm.model = "gpt-4o-2024-08-06"
            assert predicted(way, llm) == PARIS
        assert provider.request_count == 2


@pytest.mark.parametrize("fault", ["status(code=503)", "empty_200()", "reset_after_headers()"])
def test_responses_that_are_parsed_by_the_client_are_asked_for_again(way: Way, fault: str) -> None:
    with FaultyProvider() as provider:
        provider.reply(VALID)
        provider.script(faults.parse(fault), faults.ok())
        with client("openai_responses", provider) as inner:
            assert predicted(way, L0LLM(llm=inner)) == PARIS
        assert provider.request_count == 2
        provider.reply(WRONG)
        with client("openai_responses", provider) as inner, pytest.raises(l0_core.L0Error):
            predicted(way, L0LLM(llm=inner))


@pytest.mark.parametrize("name", ["anthropic", "openai_responses"])
@pytest.mark.parametrize("output_cls", [int, list[int], dict])
def test_what_is_no_model_is_taken_or_refused_as_it_is_bare(way: Way, name: str, output_cls: Any) -> None:
    """G7: by the client, in its words."""

    async def main(llm: Any) -> Any:
        return await llm.astructured_predict(output_cls, TEMPLATE, country="France")

    seen = []
    for wrap in (lambda llm: llm, lambda llm: L0LLM(llm=llm)):
        with FaultyProvider() as provider, client(name, provider) as inner:
            provider.reply({int: "1", dict: '{"a": 1}'}.get(output_cls, "[1]"))
            llm: Any = wrap(inner)
            try:
                sync = way.name == "sync"
                got = llm.structured_predict(output_cls, TEMPLATE, country="x") if sync else asyncio.run(main(llm))
                seen.append((repr(got), provider.request_count))
            except TypeError as error:
                seen.append((str(error), provider.request_count))
    assert seen[0] == seen[1]


OWN_WAYS: dict[str, Any] = {
    "structured_predict": predicted,
    "stream_structured_predict": lambda way, llm: City(**growing(way, llm)[-1][1]),
}


@pytest.mark.parametrize("asked", OWN_WAYS)
@pytest.mark.parametrize("fault", ["status(code=503)", "empty_200()"])
def test_a_client_with_a_way_of_its_own_is_asked_again(way: Way, fault: str, asked: str) -> None:
    """It is no use asking through `chat` what is never asked there."""
    with FaultyProvider() as provider:
        provider.reply(VALID)
        provider.script(faults.parse(fault), faults.ok())
        with client("anthropic", provider) as inner:
            assert OWN_WAYS[asked](way, L0LLM(llm=inner)) == PARIS
        assert provider.request_count == 2
        provider.script(faults.status(code=503))
        with client("anthropic", provider) as inner, client("openai_like", provider) as other:
            with pytest.raises(l0_core.ExhaustedError):
                OWN_WAYS[asked](way, L0LLM(llm=inner))
            provider.script(faults.flaky(faults.status(code=503), 3), faults.ok())
            provider.reply("", tool_calls=[("City", json.loads(VALID))], when=lambda request: "tools" in request.body)
            assert OWN_WAYS[asked](way, L0LLM(llm=inner, fallbacks=[other])) == PARIS


def test_a_model_without_such_a_way_is_asked_as_any_other(way: Way) -> None:
    """The integration knows which can: the others are told what was wrong with their answer."""
    with FaultyProvider() as provider:
        provider.reply("", tool_calls=[("City", json.loads(WRONG))])
        provider.reply("", tool_calls=[("City", json.loads(VALID))], when=lambda request: len(request.messages) > 1)
        for ask in OWN_WAYS.values():
            before = provider.request_count
            with client("anthropic", provider) as inner:
                llm: Any = L0LLM(llm=inner)
                llm.model = ANTHROPIC_OLDER_MODEL
                assert ask(way, llm) == PARIS
            assert provider.request_count == before + 2
