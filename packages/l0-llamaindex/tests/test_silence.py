"""What cannot be answered reaches the caller: engines swallow some errors, and make an answer of nothing."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from asking_llm import Way, policy
from engines import QUESTION, TEMPLATE, WEATHER, City, docs_tool, index, said
from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.chat_engine import CondensePlusContextChatEngine
from llama_index.core.chat_engine.simple import SimpleChatEngine
from llama_index.core.indices.property_graph import SimpleLLMPathExtractor
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import SubQuestionQueryEngine
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import TextNode
from pydantic import ValidationError
from scripted_llm import Reply, Scripted

import l0_core
from l0_llamaindex import L0LLM, protect, unprotect

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    # A chat engine's own thread raises what it has handed to the reader as well.
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
    "ignore::workflows.context.state_store.UnserializableKeyWarning",
)
POLICY = policy(retry={"attempts": 2, "max_retries": 1})


@pytest.fixture(autouse=True)
def _left_open(left_open: None) -> None: ...


def rubbish(error: Exception) -> Callable[..., Reply]:
    """Raise what a client makes of a body that is none: not in the caller's own code."""
    code = compile("def fail(error):\n    raise error\n", json.__file__, "exec")
    names: dict[str, Any] = {"__name__": "json"}
    exec(code, names)  # noqa: S102 - so that it is raised in a library, as it would be

    def respond(*_: Any) -> Reply:
        return names["fail"](error)  # type: ignore[no-any-return]

    return respond


def not_a_city() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        City.model_validate({})
    return caught.value


FAILURES: dict[str, Callable[[], Scripted]] = {
    "no connection": lambda: Scripted(Reply(fails=(0, ConnectionResetError()))),
    "no JSON": lambda: Scripted(responder=rubbish(json.JSONDecodeError("x", "", 0))),
    "no type": lambda: Scripted(responder=rubbish(TypeError("'NoneType' object is not iterable"))),
    "no attribute": lambda: Scripted(responder=rubbish(AttributeError("choices"))),
    "no choice": lambda: Scripted(responder=rubbish(IndexError("list index out of range"))),
    "nothing": lambda: Scripted(""),
    "nothing but space": lambda: Scripted(" \n"),
    "filtered": lambda: Scripted(Reply("", finish="content_filter")),
}


def of_loop(ask: Callable[[Any], Any]) -> Callable[[Any], str]:
    async def main(llm: Any) -> str:
        return str(await ask(llm))

    return lambda llm: asyncio.run(main(llm))


def streamed(llm: Any) -> str:
    response: Any = index().as_query_engine(llm=llm, streaming=True).query(QUESTION)
    return "".join(response.response_gen)


ENGINES: dict[str, Callable[[Any], str]] = {
    "query engine": lambda llm: str(index().as_query_engine(llm=llm).query(QUESTION)),
    "refining": lambda llm: str(index().as_query_engine(llm=llm, response_mode="refine").query(QUESTION)),
    "in loops of its own": lambda llm: str(
        index().as_query_engine(llm=llm, response_mode="tree_summarize", use_async=True).query(QUESTION)
    ),
    "async query engine": of_loop(lambda llm: index().as_query_engine(llm=llm).aquery(QUESTION)),
    "structured query engine": lambda llm: str(index().as_query_engine(llm=llm, output_cls=City).query(QUESTION)),
    "over a structured llm": lambda llm: str(index().as_query_engine(llm=llm.as_structured_llm(City)).query(QUESTION)),
    "streaming query engine": streamed,
    "chat engine": lambda llm: str(SimpleChatEngine.from_defaults(llm=llm).chat(QUESTION)),
    "streaming chat engine": lambda llm: "".join(
        SimpleChatEngine.from_defaults(llm=llm).stream_chat(QUESTION).response_gen
    ),
    "chat engine with context": lambda llm: "".join(
        CondensePlusContextChatEngine.from_defaults(index().as_retriever(), llm=llm).stream_chat(QUESTION).response_gen
    ),
    "function agent": of_loop(lambda llm: AGENTS["function agent"](llm).run(user_msg=QUESTION)),
    "react agent": of_loop(lambda llm: AGENTS["react agent"](llm).run(user_msg=QUESTION)),
    "paths": lambda llm: str(SimpleLLMPathExtractor(llm=llm, num_workers=1)([TextNode(text="Paris.")])),
    "predict": lambda llm: str(llm.predict(TEMPLATE, country="France")),
    "structured predict": lambda llm: str(llm.structured_predict(City, TEMPLATE, country="France")),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", ENGINES)
def test_no_engine_makes_an_answer_of_nothing(name: str, failure: str) -> None:
    """G8: bare, many of these say `Empty Response`, or nothing, and keep it in memory."""
    llm = L0LLM(llm=FAILURES[failure](), policy=POLICY)
    with pytest.raises(l0_core.L0Error) as caught:
        ENGINES[name](llm)
    assert not isinstance(caught.value, ValueError | TypeError)


def sub_questions(llm: Any, *, use_async: bool) -> Any:
    return SubQuestionQueryEngine.from_defaults(
        [docs_tool(llm)],
        llm=llm,
        question_gen=LLMQuestionGenerator.from_defaults(llm=llm),
        response_synthesizer=get_response_synthesizer(llm=llm),
        use_async=use_async,
        verbose=False,
    )


def asking(error: Exception) -> Scripted:
    """An LLM that finds a sub-question, and has no answer to it."""

    def respond(prompt: str, kwargs: dict[str, Any]) -> Reply:
        return said(prompt, kwargs) if "sub-questions" in prompt else Reply(fails=(0, error))

    return Scripted(responder=respond)


@pytest.mark.parametrize("use_async", [True, False])
@pytest.mark.parametrize("in_place", [True, False])
def test_no_sub_question_is_left_out(way: Way, *, use_async: bool, in_place: bool) -> None:
    """Bare, the engine drops it and says `Empty Response`."""

    def asked(engine: Any) -> str:
        return str(engine.query(QUESTION) if way.name == "sync" else asyncio.run(engine.aquery(QUESTION)))

    bare = sub_questions(asking(ConnectionResetError()), use_async=use_async)
    assert asked(bare) == "Empty Response"
    engine = protect(bare, policy=POLICY, in_place=in_place)
    with pytest.raises(l0_core.ExhaustedError):
        asked(engine)
    assert isinstance(engine, SubQuestionQueryEngine)
    assert (engine is bare) is in_place
    assert asked(unprotect(engine, in_place=in_place)) == "Empty Response"
    if not in_place:
        assert type(bare) is SubQuestionQueryEngine


FEW = l0_core.Policy(retry=l0_core.Retry(attempts=2, max_retries=1))
AGENTS_WITH_A_CLASS: dict[str, Callable[[Any], Any]] = {
    "agent": lambda llm: FunctionAgent(tools=[WEATHER], llm=llm, output_cls=City),
    "workflow": lambda llm: AgentWorkflow(agents=[FunctionAgent(tools=[WEATHER], llm=llm)], output_cls=City),
    "agent of a workflow": lambda llm: AgentWorkflow(agents=[AGENTS_WITH_A_CLASS["agent"](llm)]),
}


def failing_structured(failures: int) -> Scripted:
    """An LLM that has no answer of a class, so many times."""
    left = iter(range(failures))

    def respond(prompt: str, kwargs: dict[str, Any]) -> Reply:
        if "according to the provided schema" not in prompt:
            return Reply("It is sunny.")
        return Reply(fails=(0, ConnectionResetError())) if next(left, None) is not None else said(prompt, kwargs)

    return Scripted(responder=respond)


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("name", AGENTS_WITH_A_CLASS)
def test_no_agent_leaves_out_its_structured_answer(name: str, *, in_place: bool) -> None:
    """Bare, it warns and answers with none."""

    def asked(agent: Any) -> Any:
        async def main() -> Any:
            return (await agent.run(user_msg=QUESTION)).structured_response

        return asyncio.run(main())

    build = AGENTS_WITH_A_CLASS[name]
    with pytest.warns(UserWarning, match="problem with the generation"):
        assert asked(build(failing_structured(100))) is None
    bare = build(failing_structured(100))
    agent = protect(bare, policy=FEW, in_place=in_place)
    with pytest.raises(l0_core.ExhaustedError):
        asked(agent)
    assert isinstance(agent, type(build(Scripted("x"))))
    with pytest.warns(UserWarning, match="problem with the generation"):
        assert asked(unprotect(agent, in_place=in_place)) is None
    healed = protect(build(failing_structured(1)), policy=FEW)
    assert asked(healed) == asked(build(failing_structured(0)))


def test_bare_they_do() -> None:
    """What the test above is worth."""
    for failure in ("no JSON", "no type", "nothing"):
        assert ENGINES["query engine"](FAILURES[failure]()) in {"Empty Response", ""}


# Agents, and what they keep ------------------------------------------------------------------------------------------

SAID = "It is sunny in Paris, with a light wind from the west and no cloud at all."
AGENTS: dict[str, Callable[[Any], Any]] = {
    "function agent": lambda llm: FunctionAgent(tools=[WEATHER], llm=llm),
    "react agent": lambda llm: ReActAgent(tools=[WEATHER], llm=llm),
    "workflow": lambda llm: AgentWorkflow(agents=[FunctionAgent(tools=[WEATHER], llm=llm)]),
}


def breaking(text: str, at: int) -> Scripted:
    """An LLM that breaks off once after so many chunks, and then goes on as it is asked."""

    def respond(prompt: str, _: dict[str, Any]) -> Reply:
        if len(llm.asked) == 1:
            return Reply(text, fails=(at, ConnectionResetError()))
        last = prompt.rstrip().splitlines()[-1]
        found = text.find(last) if "Begin by repeating" in prompt else -1
        return Reply(text[found:] if found >= 0 else text)

    llm = Scripted(responder=respond)
    return llm


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("at", [0, 1, 5, 12])
def test_an_agents_events_and_memory_have_the_answer_once(name: str, at: int) -> None:
    """G1: whatever broke off in the middle, its reader sees no word twice, and its memory has the whole turn."""
    text = f"Thought: I can answer without using any more tools.\nAnswer: {SAID}" if name == "react agent" else SAID
    inner = breaking(text, at)

    async def main() -> tuple[str, str, list[Any]]:
        memory = ChatMemoryBuffer.from_defaults(token_limit=10_000)
        handler = AGENTS[name](L0LLM(llm=inner)).run(user_msg=QUESTION, memory=memory)
        events = [event async for event in handler.stream_events() if isinstance(event, AgentStream)]
        assert [event.response for event in events] == sorted((event.response for event in events), key=len)
        kept = [(message.role.value, message.content) for message in memory.get_all()]
        return "".join(event.delta for event in events), str(await handler), kept

    deltas, answer, kept = asyncio.run(main())
    assert len(inner.asked) > 1
    assert deltas == text
    assert answer == SAID
    assert [content for role, content in kept if role == "assistant"][-1] in {SAID, text}
    assert len(kept) == 2


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("failure", FAILURES)
def test_an_agents_memory_gets_no_empty_and_no_partial_turn(name: str, failure: str) -> None:
    async def main() -> list[Any]:
        memory = ChatMemoryBuffer.from_defaults(token_limit=10_000)
        llm = L0LLM(llm=FAILURES[failure](), policy=POLICY)
        with pytest.raises(l0_core.L0Error):
            await AGENTS[name](llm).run(user_msg=QUESTION, memory=memory)
        return [message.role.value for message in memory.get_all()]

    assert asyncio.run(main()) == ["user"]
