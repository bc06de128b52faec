"""What is predicted structured is of its class: put right, asked for again, or refused; never anything else."""

import json
from typing import Any

import pytest
from asking_llm import QUESTION as MESSAGES
from asking_llm import Way
from engines import QUESTION, TEMPLATE, City, index
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.types import PydanticProgramMode
from providers import client
from scripted_llm import Reply, Scripted

import l0_core
from l0_core.testing import FaultyProvider, faults
from l0_llamaindex import L0LLM

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
    import asyncio

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


def test_text_programs_are_too(way: Way) -> None:
    llm = L0LLM(llm=Scripted(WRONG, VALID, pydantic_program_mode=PydanticProgramMode.LLM))
    assert predicted(way, llm) == PARIS
    plain = L0LLM(llm=Scripted(WRONG, VALID, is_chat=False, is_function_calling=False))
    assert predicted(way, plain) == PARIS


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


def test_a_client_with_a_way_of_its_own_is_asked_again(way: Way) -> None:
    """It is no use asking through `chat` what is never asked there."""
    with FaultyProvider() as provider:
        provider.reply(VALID)
        provider.script(faults.status(code=503), faults.ok())
        with client("anthropic", provider) as inner:
            assert predicted(way, L0LLM(llm=inner)) == PARIS
        assert provider.request_count == 2
