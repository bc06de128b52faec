"""Threads with a checkpointer and no run: what broke off goes on, and nothing is given to whom it was not meant for."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextvars import Context, copy_context
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt
from pydantic import BaseModel
from rules import RuleModel
from test_middleware import Scripted, asking, weather
from threads import CONFIG, KINDS, QUESTION, FileSaver, model_of

import l0_core
from l0_core import Journal
from l0_core.testing import FaultyProvider, Reply, ToolCall, faults
from l0_langchain import L0ChatModel, L0Middleware, protect

ANSWER = "The capital of France is Paris, which lies on the Seine."
IN: Any = {"messages": [HumanMessage(QUESTION)]}


@pytest.fixture
def journal() -> Iterator[Journal]:
    with Journal.memory() as journal:
        yield journal


async def invoked(graph: Any, given: Any, config: Any = CONFIG) -> Any:
    return await asyncio.to_thread(graph.invoke, given, config)


async def awaited(graph: Any, given: Any, config: Any = CONFIG) -> Any:
    return await graph.ainvoke(given, config)


ways = pytest.mark.parametrize("way", [invoked, awaited])


def thread(name: str) -> Any:
    return {"configurable": {"thread_id": name}}


# Kill -9


@pytest.mark.parametrize("is_async", [False, pytest.param(True, marks=pytest.mark.matrix)], ids=["sync", "async"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", [pytest.param("whole", marks=pytest.mark.matrix), "streamed"])
async def test_a_process_that_is_killed_while_it_speaks_goes_on_in_the_next(
    kind: str, wanted: str, provider: FaultyProvider, tmp_path: Path, *, is_async: bool
) -> None:
    """G1, G5: the answer goes on from what was shown; what was done before it in the same task is not done again."""
    if kind == "agent":
        provider.conversation(Reply.of("", tool_calls=[ToolCall("charge", {"city": "Paris"})]), Reply.of(ANSWER))
    else:
        provider.reply(ANSWER)
        provider.reply("Ann.", when="Who asks?")
    provider.script(faults.ok(), faults.stall(chunks=5), faults.ok())
    program = Path(__file__).with_name("threads.py")
    way = "async" if is_async else "sync"
    command = [sys.executable, str(program), kind, way, provider.openai_url, str(tmp_path), "20"]
    killed = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, timeout=50)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert 20 <= len(killed.stdout) < len(ANSWER)
    assert ANSWER.startswith(killed.stdout)
    assert provider.request_count == 2

    saver = FileSaver(tmp_path / "checkpoints")
    made = KINDS[kind](model_of(provider.openai_url), tmp_path, saver, is_async=is_async)
    if wanted == "whole":
        await (awaited if is_async else invoked)(made, None)
    elif is_async:
        shown = [each async for each, _ in made.astream(None, CONFIG, stream_mode="messages")]
        assert "".join(each.text for each in shown if each.id == shown[-1].id) == ANSWER
    else:
        shown = [each for each, _ in made.stream(None, CONFIG, stream_mode="messages")]
        assert "".join(each.text for each in shown if each.id == shown[-1].id) == ANSWER
    last = made.get_state(CONFIG).values["messages"][-1]
    assert last.text == ANSWER
    assert provider.request_count == 3, "only the answer that broke off is asked for again"
    assert killed.stdout in str(provider.requests[-1].body), "and it goes on from what was shown"
    assert len((tmp_path / "charged").read_text().split()) == 1
    with Journal.open(tmp_path / "l0.db") as journal:
        assert journal.verify().is_sound
        told = last.response_metadata["l0"]["session_id"]
        assert told in {row["id"] for row in journal.sessions("42")}, "found by its thread"


# What is done again, in one process


class FailingError(Exception):
    """The node fails here."""


def one_node(model: Any, *, failures: list[Exception], **said: Any) -> Any:
    """A graph whose node asks twice the same, and then may fail."""

    def node(_: MessagesState) -> Any:
        made = [model.invoke(QUESTION), model.invoke(QUESTION)]
        if failures:
            raise failures.pop()
        return {"messages": made}

    async def anode(_: MessagesState) -> Any:
        made = [await model.ainvoke(QUESTION), await model.ainvoke(QUESTION)]
        if failures:
            raise failures.pop()
        return {"messages": made}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("node", RunnableLambda(node, anode), **said)
    graph.add_edge(START, "node")
    return graph.compile(checkpointer=InMemorySaver())


def scripted(journal: Any, *texts: str) -> tuple[Any, Scripted]:
    bare = Scripted(replies=[AIMessage(text) for text in texts])
    return L0ChatModel(model=bare, journal=journal), bare


def texts(state: Any) -> list[str]:
    return [message.text for message in state["messages"][-2:]]


@ways
async def test_what_was_answered_is_not_asked_again_when_its_task_is_done_again(way: Any, journal: Journal) -> None:
    model, bare = scripted(journal, "1", "2", "3", "4", "5", "6")
    graph = one_node(model, failures=[FailingError()])
    with pytest.raises(FailingError):
        await way(graph, IN)
    assert texts(await way(graph, None)) == ["1", "2"], "each its own, though they were asked the same"
    assert len(bare.calls) == 2
    assert texts(await way(graph, IN)) == ["3", "4"], "a further turn with the same words is another one"
    assert texts(await way(graph, IN, thread("other"))) == ["5", "6"], "and so is another thread"


class Capital(BaseModel):
    """A capital."""

    name: str


class Reluctant(RuleModel):
    """Answers in words where it is to call a tool, for as long as it is told to."""

    is_reluctant: bool = True

    def _answer(self, messages: list[BaseMessage], **kwargs: Any) -> tuple[str, list[dict[str, Any]]]:
        return ("I would rather not.", []) if self.is_reluctant else super()._answer(messages, **kwargs)


@ways
async def test_an_answer_that_was_refused_is_asked_for_again(way: Any, journal: Journal) -> None:
    """Also where its caller had it raw and went on: else a task that stops over it would stop over it for ever."""
    bare = Reluctant()
    structured = L0ChatModel(model=bare, journal=journal).with_structured_output(Capital, include_raw=True)
    refused: list[bool] = []

    def seen(made: Any) -> Any:
        refused.append(made["parsed"] is None)
        if made["parsed"] is None:
            raise FailingError
        return {"messages": [AIMessage(made["parsed"].name)]}

    async def asked(_: MessagesState) -> Any:
        return seen(await structured.ainvoke(QUESTION))

    graph: Any = StateGraph(MessagesState)
    graph.add_node("node", RunnableLambda(lambda _: seen(structured.invoke(QUESTION)), asked))
    graph.add_edge(START, "node")
    made = graph.compile(checkpointer=InMemorySaver())
    with pytest.raises(FailingError):
        await way(made, IN)
    bare.is_reluctant = False
    assert (await way(made, None))["messages"][-1].text == "San Francisco"
    assert refused == [True, False]


@ways
@pytest.mark.parametrize("missing", ["checkpointer", "journal"])
async def test_without_a_checkpointer_or_a_journal_nothing_is_remembered(
    way: Any, missing: str, journal: Journal
) -> None:
    model, _ = scripted(journal if missing != "journal" else None, "1", "2", "3", "4")
    graph = one_node(model, failures=[FailingError()])
    if missing == "checkpointer":
        graph.checkpointer = None
    with pytest.raises(FailingError):
        await way(graph, IN)
    assert texts(await way(graph, None if graph.checkpointer else IN)) == ["3", "4"]


@ways
async def test_a_fork_has_answers_of_its_own(way: Any, journal: Journal) -> None:
    """Nothing stale: from an earlier checkpoint, as it was or changed, and then from the head."""
    model, bare = scripted(journal, *map(str, range(1, 13)))
    graph = one_node(model, failures=[])
    assert texts(await way(graph, IN)) == ["1", "2"]
    before = next(each for each in graph.get_state_history(CONFIG) if each.next == ("node",))
    assert texts(await way(graph, None, before.config)) == ["3", "4"]
    changed = graph.update_state(before.config, {"messages": [HumanMessage("Well?")]})
    assert texts(await way(graph, IN, changed)) == ["5", "6"]
    assert texts(await way(graph, None, before.config)) == ["7", "8"], "each time another"
    assert texts(await way(graph, IN)) == ["9", "10"]
    assert len(bare.calls) == 10


@ways
async def test_a_fork_that_broke_off_goes_on_as_itself(way: Any, journal: Journal) -> None:
    model, bare = scripted(journal, *map(str, range(1, 9)))
    failures: list[Exception] = []
    graph = one_node(model, failures=failures)
    await way(graph, IN)
    before = next(each for each in graph.get_state_history(CONFIG) if each.next == ("node",))
    failures.append(FailingError())
    with pytest.raises(FailingError):
        await way(graph, None, before.config)
    assert texts(await way(graph, None)) == ["3", "4"]
    assert len(bare.calls) == 4


@ways
async def test_a_node_that_is_retried_gets_another_answer(way: Any, journal: Journal) -> None:
    """Whoever retries a node did not like what came of it."""
    model, bare = scripted(journal, "1", "2", "3", "4")
    graph = one_node(
        model,
        failures=[FailingError()],
        retry_policy=RetryPolicy(initial_interval=0.0, jitter=False, retry_on=FailingError),
    )
    assert texts(await way(graph, IN)) == ["3", "4"]
    assert len(bare.calls) == 4


def approving(model: Any) -> Any:
    def node(_: MessagesState) -> Any:
        draft = model.invoke(QUESTION)
        said = interrupt(draft.text)
        return {"messages": [draft, model.invoke("Thank you."), AIMessage(said)]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph.compile(checkpointer=InMemorySaver())


def test_what_somebody_approved_is_what_is_used(journal: Journal) -> None:
    """A node that asks somebody is done again with the answer: with the draft that was shown, and not another one."""
    model, bare = scripted(journal, "draft", "thanks", "draft 2", "thanks 2")
    graph = approving(model)
    graph.invoke(IN, CONFIG)
    asked = graph.get_state(CONFIG).config
    state = graph.invoke(Command(resume="yes"), CONFIG)
    assert [message.text for message in state["messages"][1:]] == ["draft", "thanks", "yes"]
    assert len(bare.calls) == 2
    # Answered otherwise, after the thread went on: a branch of its own, under the ids of the first.
    state = graph.invoke(Command(resume="no"), asked)
    assert [message.text for message in state["messages"][1:3]] == ["draft 2", "thanks 2"]


@ways
async def test_an_agents_tool_that_was_done_is_not_done_again(way: Any, journal: Journal) -> None:
    """Two tools of one round, of which one failed: the other keeps its result, and both their keys."""
    made, keys = weather()
    tries: list[str | None] = []

    @tool
    def fails(city: str) -> str:
        """Fail once."""
        tries.append(l0_core.idempotency_key())
        if len(tries) == 1:
            raise FailingError(city)
        return "done"

    both = asking()
    both.tool_calls.append({"name": "fails", "args": {"city": "Paris"}, "id": "call_2", "type": "tool_call"})
    model = Scripted(replies=[both, AIMessage(ANSWER)])
    agent = create_agent(model, [made, fails], middleware=[L0Middleware(journal=journal)], checkpointer=InMemorySaver())
    with pytest.raises(FailingError):
        await way(agent, IN)
    state = await way(agent, None)
    assert state["messages"][-1].text == ANSWER
    assert (len(keys), len(tries), len(model.calls)) == (1, 2, 2)
    assert tries[0] == tries[1] is not None
    assert {row["name"] for row in journal.steps("42")} >= {"StructuredTool/get_weather", "StructuredTool/fails"}


def test_what_a_tool_left_running_is_no_part_of_it(journal: Journal) -> None:
    """Work in the background that outlives its tool goes on as it would anywhere."""
    left: list[Context] = []
    keys: list[str | None] = []

    @l0_core.step
    def work() -> str:
        keys.append(l0_core.idempotency_key())
        return "done"

    @tool
    def starts(city: str) -> str:
        """Start something."""
        left.append(copy_context())
        return work()

    guarded = protect(starts, journal=journal)
    graph: Any = StateGraph(MessagesState)
    graph.add_node("node", lambda _: {"messages": [AIMessage(guarded.invoke({"city": "Paris"}))]})
    graph.add_edge(START, "node")
    graph.compile(checkpointer=InMemorySaver()).invoke(IN, CONFIG)
    assert {row["name"] for row in journal.steps("42")} == {"StructuredTool/starts", "work"}
    assert left[0].run(work) == "done"
    assert len(keys) == 2
    assert len(journal.steps("42")) == 2


class Odd:
    """What cannot be written down."""


def test_a_tool_whose_result_cannot_be_remembered_still_works(journal: Journal) -> None:
    @tool(response_format="content_and_artifact")
    def odd(city: str) -> tuple[str, Odd]:
        """Return something odd."""
        return city, Odd()

    guarded = protect(odd, journal=journal)
    graph: Any = StateGraph(MessagesState)

    def node(_: MessagesState) -> Any:
        call: Any = {"name": "odd", "args": {"city": "Paris"}, "id": "1", "type": "tool_call"}
        message = guarded.invoke(call)
        assert isinstance(message.artifact, Odd)
        return {"messages": [AIMessage(message.text)]}

    graph.add_node("node", node)
    graph.add_edge(START, "node")
    state = graph.compile(checkpointer=InMemorySaver()).invoke(IN, CONFIG)
    assert state["messages"][-1].text == "Paris"


@ways
async def test_a_subgraph_that_broke_off_goes_on(way: Any, journal: Journal) -> None:
    model, bare = scripted(journal, "1", "2", "3", "4")
    inner = one_node(model, failures=[FailingError()])
    inner.checkpointer = None
    graph: Any = StateGraph(MessagesState)
    graph.add_node("inner", inner)
    graph.add_edge(START, "inner")
    outer = graph.compile(checkpointer=InMemorySaver())
    with pytest.raises(FailingError):
        await way(outer, IN)
    assert texts(await way(outer, None)) == ["1", "2"]
    assert texts(await way(outer, IN)) == ["3", "4"]
    assert len(bare.calls) == 4


def test_a_journal_that_keeps_no_content_gives_nothing_again() -> None:
    with Journal.memory(redaction="none") as journal:
        model, _ = scripted(journal, "1", "2", "3", "4")
        graph = one_node(model, failures=[FailingError()])
        with pytest.raises(FailingError):
            graph.invoke(IN, CONFIG)
        assert texts(graph.invoke(None, CONFIG)) == ["3", "4"]


@ways
async def test_what_a_user_had_erased_is_asked_for_again(way: Any, journal: Journal) -> None:
    model, _ = scripted(journal, "1", "2", "3", "4")
    graph = one_node(model, failures=[FailingError()])
    config = {"configurable": {"thread_id": "42", "user_id": "ann"}}
    with pytest.raises(FailingError):
        await way(graph, IN, config)
    assert journal.erase(user="ann") > 0
    assert texts(await way(graph, None, config)) == ["3", "4"]


async def test_a_run_around_the_graph_comes_first(journal: Journal) -> None:
    model, bare = scripted(journal, "1", "2", "3", "4")
    graph = one_node(model, failures=[])
    with l0_core.run("job", journal=journal):
        graph.invoke(IN, CONFIG)
    assert len(journal.steps("job")) == 2
    assert not journal.steps("42")
    assert len(bare.calls) == 2
