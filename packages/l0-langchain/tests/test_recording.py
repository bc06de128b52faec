"""A chain somebody else wrote, written down by a handler: all of it, as it was, and without being in its way."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from clients import Client
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from rules import RuleModel
from shapes import Flaky
from test_guarded import Shelf
from test_handler import ways
from test_middleware import weather

import l0_core
from l0_core import Journal, guards
from l0_core.testing import FaultyProvider, Reply, ToolCall
from l0_langchain import L0CallbackHandler, trace


@pytest.fixture
def journal() -> Iterator[Journal]:
    with Journal.memory() as journal:
        yield journal


@tool
def shout(text: str) -> str:
    """Shout."""
    return text.upper()


def chain_of(model: Any) -> Any:
    context: Any = {"x": RunnableLambda(lambda value: value["x"]) | Shelf(failures=0)}
    ask = ChatPromptTemplate.from_template("{x}") | model | StrOutputParser()
    return context | ask | RunnableLambda(lambda text: {"text": text}) | shout


@ways
async def test_the_whole_tree_is_a_run(way: Any, journal: Journal) -> None:
    answer = await way(chain_of(RuleModel()), L0CallbackHandler(journal=journal))
    assert answer.endswith("THAT IS ALL THERE IS TO SAY.")
    (run,) = journal.runs()
    assert run["status"] == "finished"
    steps = journal.steps(run["name"])
    assert {step["status"] for step in steps} == {"finished"}
    kinds = {step["name"]: step["kind"] for step in steps}
    assert (kinds["Shelf"], kinds["shout"], kinds["rules-1"]) == ("function", "function", "model")
    assert kinds["RunnableSequence"] == "scope"
    ids = {step["id"] for step in steps}
    assert [step["name"] for step in steps if step.get("parent") not in ids] == ["RunnableSequence"]
    (session,) = journal.sessions(run["name"])
    assert (session["status"], session["target"], session["input_tokens"]) == ("complete", "rules-1", 7)


@pytest.mark.parametrize("calls", [False, True], ids=["text", "tool calls"])
def test_what_a_model_said_is_there_chunk_for_chunk(
    client: Client, provider: FaultyProvider, journal: Journal, *, calls: bool
) -> None:
    """G6."""
    call = [ToolCall("get_weather", {"city": "Paris"}, id="call_1")] if calls else []
    provider.reply(Reply.of("Let me look that up for you.", tool_calls=call))
    model: Any = client(provider).bind_tools([weather()[0]])
    given = list(model.stream("x", {"callbacks": [L0CallbackHandler(journal=journal)]}, stream_usage=True))
    (session,) = journal.sessions()
    chunks = [chunk.message for chunk in l0_core.replay_stream(journal, session["id"])]
    said = [chunk for chunk in given if chunk.content or chunk.tool_call_chunks]
    assert [chunk.content for chunk in chunks if chunk.content or chunk.tool_call_chunks] == [c.content for c in said]
    assert [chunk.tool_call_chunks for chunk in chunks if chunk.tool_call_chunks] == [
        chunk.tool_call_chunks for chunk in given if chunk.tool_call_chunks
    ]


@ways
async def test_what_fails_is_written_down_as_that(way: Any, journal: Journal) -> None:
    with pytest.raises(ConnectionResetError):
        await way(chain_of(Flaky()), L0CallbackHandler(journal=journal))
    (run,) = journal.runs()
    assert (run["status"], run["fault"]) == ("failed", "ConnectionResetError")
    steps = journal.steps(run["name"])
    ids = {step["id"] for step in steps}
    assert [step["status"] for step in steps if step["name"] == "Shelf"] == ["finished"]
    assert [step["status"] for step in steps if step.get("parent") not in ids] == ["failed"]


def test_what_a_guard_finds_is_in_the_session(journal: Journal) -> None:
    handler = L0CallbackHandler(journal=journal, guards=[guards.patterns(["Paris"])])
    assert list(RuleModel().stream("Paris?", {"callbacks": [handler]}))
    assert len(handler.calls[0].objections) == 1
    (session,) = journal.sessions()
    assert session["status"] == "complete"


@ways
async def test_a_journal_that_fails_is_no_failure_of_the_chain(way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """G5 gives way: the chain comes first."""
    journal = Journal.memory()
    journal.close()
    answer = await way(chain_of(RuleModel()), L0CallbackHandler(journal=journal))
    assert answer.endswith("THAT IS ALL THERE IS TO SAY.")


def test_everything_inside_is_traced_without_being_told(journal: Journal) -> None:
    chain = chain_of(RuleModel())
    with trace(journal) as watch:
        chain.invoke({"x": "x"})
    chain.invoke({"x": "x"})
    assert [call.kind for call in watch.calls] == ["retriever", "model", "tool"]
    assert len(journal.runs()) == 1


def test_a_chain_with_a_handler_of_its_own_is_traced_too(journal: Journal) -> None:
    handler = L0CallbackHandler(calls_max=5)
    with trace(journal) as watch:
        chain_of(RuleModel()).invoke({"x": "x"}, {"callbacks": [handler]})
    assert len(watch.calls) == len(handler.calls) == 3
    assert len(journal.runs()) == 1


async def test_traces_of_tasks_stay_apart(journal: Journal) -> None:
    chain = ChatPromptTemplate.from_template("{x}") | RuleModel()

    async def traced() -> int:
        with trace(journal) as watch:
            await chain.ainvoke({"x": "x"})
            await asyncio.sleep(0)
        return len(watch.calls)

    assert list(await asyncio.gather(traced(), traced(), traced())) == [1, 1, 1]
    assert len(journal.runs()) == 3


def test_a_program_is_traced_by_its_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("L0_TRACE", "true")
    monkeypatch.setenv("L0_JOURNAL", str(tmp_path / "l0.db"))
    chain_of(RuleModel()).invoke({"x": "x"})
    journal = Journal.of(None)
    assert journal is not None
    (run,) = journal.runs()
    assert len(journal.steps(run["name"])) > 5
    journal.close()
