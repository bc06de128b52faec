"""LLMs of several makes: as fallbacks of one another, and as a pool that is none of them."""

import asyncio
import copy
import json
import pickle
from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import pytest
from asking_llm import QUESTION as MESSAGES
from asking_llm import Way
from engines import QUESTION, TEMPLATE, WEATHER, City, index, said
from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import MessageRole
from llama_index.core.llms import LLM, LLMMetadata, MockLLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.tools import FunctionTool
from providers import client
from scripted_llm import Reply, Scripted

import l0_core
from l0_core.testing import FaultyProvider, faults
from l0_core.testing import Reply as Turn
from l0_llamaindex import L0LLM, protect, unprotect

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::workflows.context.state_store.UnserializableKeyWarning",
)


@pytest.fixture(autouse=True)
def _left_open(left_open: None) -> None: ...


class _Other(Scripted):
    """One of another make."""

    window: int = 4_000
    role: MessageRole = MessageRole.SYSTEM

    @property
    def metadata(self) -> LLMMetadata:
        told = super().metadata
        return told.model_copy(update={"context_window": self.window, "num_output": 64, "system_role": self.role})


Other: Any = _Other  # whose fields a type checker takes for all there is to give


def failing() -> Scripted:
    return Scripted(Reply(fails=(0, ConnectionResetError())))


def answering() -> Scripted:
    return Other(responder=said, model="other")  # type: ignore[no-any-return]


def test_what_a_pool_says_of_itself_holds_for_all_of_it() -> None:
    pool = L0LLM(llm=[Scripted("x"), Other("x", model="other", role=MessageRole.CHATBOT)])
    told = pool.metadata
    assert (told.context_window, told.num_output) == (4_000, 64)
    assert told.is_chat_model
    assert told.is_function_calling_model
    assert told.model_name == "scripted | other"
    assert told.system_role == MessageRole.SYSTEM
    for lacks in ("is_chat", "is_function_calling"):
        fields: Any = {lacks: False}
        told = L0LLM(llm=[Scripted("x"), Other("x", **fields)]).metadata
        assert (told.is_chat_model, told.is_function_calling_model) == (
            lacks != "is_chat",
            lacks != "is_function_calling",
        )


def test_a_pool_is_none_of_its_members() -> None:
    """Code that asks for a class must not take it for what may answer only sometimes."""
    pool: Any = L0LLM(llm=[Scripted("x"), Other("x")])
    plain: Any = L0LLM(llm=[Scripted("x"), MockLLM()])
    for each in (pool, plain):
        assert {L0LLM, LLM} <= set(type(each).__mro__)
        assert Scripted not in type(each).__mro__
    assert isinstance(pool, FunctionCallingLLM)
    assert not isinstance(plain, FunctionCallingLLM)
    assert not hasattr(plain, "chat_with_tools")
    alone = Scripted("x")
    assert L0LLM(llm=[alone]).unprotected is alone
    with pytest.raises(TypeError, match="there is none"):
        L0LLM(llm=[])
    with pytest.raises(TypeError, match="llm 2 must be"):
        L0LLM(llm=[alone, "gpt"])  # type: ignore[list-item]


def agent_says(llm: Any) -> str:
    async def main() -> str:
        made: Any = FunctionAgent(tools=[WEATHER], llm=llm)
        return str(await made.run(user_msg=QUESTION))

    return asyncio.run(main())


ASKED: dict[str, Callable[[Any], Any]] = {
    "chat": lambda llm: llm.chat(MESSAGES).message.content,
    "stream": lambda llm: "".join(chunk.delta for chunk in llm.stream_chat(MESSAGES)),
    "complete": lambda llm: llm.complete(QUESTION).text,
    "predict": lambda llm: llm.predict(TEMPLATE, country="France"),
    "structured": lambda llm: llm.structured_predict(City, TEMPLATE, country="France"),
    "query engine": lambda llm: str(index().as_query_engine(llm=llm).query(QUESTION)),
    "agent": agent_says,
}


@pytest.mark.parametrize("name", ASKED)
def test_whoever_of_a_pool_can_answer_does(name: str) -> None:
    """G4: the first is asked first, and another in its place."""
    ask, first, second = ASKED[name], failing(), answering()
    assert ask(L0LLM(llm=[first, second])) == ask(answering())
    assert first.asked
    well, spared = answering(), answering()
    assert ask(L0LLM(llm=[well, spared])) == ask(answering())
    assert not spared.asked


def test_a_pool_that_lacks_an_ability_is_asked_without_it() -> None:
    """Programs go by text where one of its members calls no tools, and agents are made of another class."""
    pool: Any = L0LLM(llm=[failing(), Other(responder=said, is_function_calling=False)])
    assert pool.structured_predict(City, TEMPLATE, country="France") == City(name="Paris", inhabitants=1)
    made = AgentWorkflow.from_tools_or_functions([WEATHER.fn], llm=pool)
    assert isinstance(next(iter(made.agents.values())), ReActAgent)


def test_a_pool_tells_who_answered(way: Way) -> None:
    """G8."""
    seen = way(L0LLM(llm=[failing(), answering()]), "chat", MESSAGES)
    assert (seen.l0["served_by"], seen.l0["degraded"]) == ("other", True)


def pickled(llm: Any) -> Any:
    return pickle.loads(pickle.dumps(llm))  # noqa: S301 - our own bytes


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickled])
def test_a_pool_is_copied_with_its_members(how: Callable[[Any], Any]) -> None:
    pool: Any = L0LLM(llm=[MockLLM(max_tokens=2), MockLLM(max_tokens=5)], policy="batch")
    other = how(pool)
    assert type(other) is type(pool)
    assert [member.max_tokens for member in other.members] == [2, 5]
    assert other._l0.policy == "batch"
    assert [candidate.llm.max_tokens for candidate in other._l0.candidates] == [2, 5]
    assert other.complete("x").text == "text text"


def test_a_pool_may_be_used_without_protection_and_tells_no_keys() -> None:
    pool = L0LLM(llm=[answering(), failing()])
    bare: Any = unprotect(pool)
    assert bare is pool.unprotected
    assert not isinstance(bare, L0LLM)
    assert ASKED["agent"](bare) == ASKED["agent"](answering())
    assert "members" not in pool.to_dict()
    assert isinstance(protect(bare, policy="batch"), L0LLM)


# Over HTTP -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def provider() -> Iterator[FaultyProvider]:
    with FaultyProvider() as provider:
        yield provider


@pytest.fixture
def closed() -> Iterator[FaultyProvider]:
    """A provider that lets nobody in."""
    with FaultyProvider() as provider:
        provider.script(faults.status(code=401))
        yield provider


def pooled(first: Any, second: Any) -> Any:
    return L0LLM(llm=[first, second])


def falling_back(first: Any, second: Any) -> Any:
    return L0LLM(llm=first, fallbacks=[second])


# The integration sends the word of another endpoint for a tool that is due, and wonders when it comes back.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.parametrize("made", [pooled, falling_back])
@pytest.mark.parametrize(("streaming", "chosen"), [(True, None), (False, "weather")])
@pytest.mark.parametrize("order", list(permutations(["openai", "anthropic", "openai_responses"], 2)), ids=" then ".join)
def test_an_agent_reads_the_calls_of_whoever_made_them(
    order: tuple[str, str],
    made: Callable[[Any, Any], Any],
    closed: FaultyProvider,
    provider: FaultyProvider,
    chosen: str | None,
    *,
    streaming: bool,
) -> None:
    """G2: each of them has its own form for a call, its own way to read one, and its own word for one that is due."""
    provider.conversation(Turn.of("", tool_calls=[("weather", {"city": "Paris, France"})]), Turn.of("It is sunny."))
    ran: list[str] = []

    def weather(city: str) -> str:
        """Tell the weather."""
        ran.append(city)
        return "sunny"

    def wind() -> str:
        """Tell the wind."""
        return "none"

    async def main(llm: Any) -> tuple[str, str]:
        tools: Any = [FunctionTool.from_defaults(tool) for tool in (weather, wind)]
        agent: Any = FunctionAgent(tools=tools, llm=llm, streaming=streaming, initial_tool_choice=chosen)
        handler = agent.run(user_msg=QUESTION)
        streamed = "".join([event.delta async for event in handler.stream_events() if isinstance(event, AgentStream)])
        return streamed, str(await handler)

    with client(order[0], closed) as first, client(order[1], provider) as second:
        streamed, answer = asyncio.run(main(made(first, second)))
    assert answer == "It is sunny."
    assert streamed == ("It is sunny." if streaming else "")
    assert ran == ["Paris, France"]
    assert closed.request_count
    assert provider.request_count == 2
    if chosen:
        assert "auto" not in json.dumps(provider.requests[0].body["tool_choice"])
    with client(order[0], provider) as first, client(order[1], closed) as second:
        asyncio.run(main(made(first, second)))
    assert ran == ["Paris, France"] * 2, "what the first calls is read as ever"


@pytest.mark.parametrize("native", [True, False], ids=["a schema", "tools"])
@pytest.mark.parametrize("order", [("openai", "anthropic"), ("anthropic", "openai")], ids=" then ".join)
def test_a_prediction_is_asked_for_in_the_words_of_whoever_is_asked(
    order: tuple[str, str], closed: FaultyProvider, provider: FaultyProvider, *, native: bool
) -> None:
    """G4: what one make calls `response_format` or `tool_choice` is no reason not to ask another."""
    valid: dict[str, Any] = {"name": "Paris", "inhabitants": 1}
    provider.reply(json.dumps(valid))
    provider.reply("", tool_calls=[("City", valid)], when=lambda request: "tools" in request.body)
    with client(order[0], closed) as first, client(order[1], provider) as second:
        llm: Any = L0LLM(llm=first, fallbacks=[second])
        if native and order[0] == "openai":
            llm.model = "gpt-4o-2024-08-06"
        assert llm.structured_predict(City, TEMPLATE, country="France") == City(**valid)
    assert provider.request_count == 1


def test_a_pool_of_nobody_says_why(provider: FaultyProvider) -> None:
    provider.script(faults.status(code=503))
    with (
        client("openai", provider) as first,
        client("anthropic", provider) as second,
        pytest.raises(l0_core.ExhaustedError) as caught,
    ):
        L0LLM(llm=[first, second]).chat(MESSAGES)
    assert caught.value.attempts == provider.request_count
