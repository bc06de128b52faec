"""Engines and agents in a run: what was done is not done again, and a replay asks nobody."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from asking_llm import QUESTION as MESSAGES
from durable_engine import ANSWER
from engines import QUESTION, SCENARIOS, TEMPLATE, WEATHER, City, index, said
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.vector_stores import SimpleVectorStore
from scripted_llm import Reply, Scripted

import l0_core
from l0_llamaindex import L0LLM, protect

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::workflows.context.state_store.UnserializableKeyWarning",
)
NAMES = [
    "query engine, compact",
    "query engine, compact, async",
    "query engine in threads of its own",
    "query engine, structured",
    "streaming query engine, compact",
    "streaming query engine, compact, async",
    "router, selector of tools",
    "sub-questions",
    "sub-questions, async",
    "fused retrieval, in threads",
    "chat engine, simple, streaming",
    "chat engine, condense with context",
    "function agent",
    "function agent, structured",
    "react agent",
    "agents with a handoff",
    "structured predict, streaming",
    "structured llm",
]


@pytest.fixture(autouse=True)
def _left_open(left_open: None) -> None: ...


class Gone(Scripted):
    """Whoever asks it, must not."""

    def _next(self, *_: Any) -> Reply:
        raise AssertionError("a replay asks nobody")


@pytest.mark.parametrize("name", NAMES)
def test_a_replay_is_the_same_and_asks_nobody(name: str) -> None:
    """G6: concurrent questions included; nothing depends on an order that nobody promised."""
    journal = l0_core.Journal.memory()
    inner = Scripted(responder=said)
    with l0_core.run("job", journal=journal):
        expected = SCENARIOS[name](L0LLM(llm=inner))
    assert inner.asked
    for mode in ("auto", "replay"):
        with l0_core.run("job", journal=journal, mode=mode):
            assert plain(SCENARIOS[name](L0LLM(llm=Gone()))) == plain(expected)


def plain(result: Any) -> str:
    """What a result reads as, but for ids that are drawn anew."""
    from test_engines import numbered

    return numbered(repr(result))


class Died(BaseException):
    """What ends a process, as far as a run can tell."""


def test_what_was_answered_is_not_asked_again() -> None:
    """G5: a run that died in its second question takes up there."""
    journal = l0_core.Journal.memory()

    def work(llm: Any) -> str:
        first = llm.chat([ChatMessage(content="One?")]).message.content
        return f"{first} {llm.chat([ChatMessage(content='Two?')]).message.content}"

    with pytest.raises(Died), l0_core.run("job", journal=journal):
        work(L0LLM(llm=Scripted("Eins.", Reply(fails=(0, Died())))))
    inner = Scripted("Zwei.")
    with l0_core.run("job", journal=journal):
        assert work(L0LLM(llm=inner)) == "Eins. Zwei."
    assert len(inner.asked) == 1


def test_a_prediction_that_died_after_a_refused_answer_goes_on_and_is_still_checked() -> None:
    """What was said of the first answer is recorded; what comes after is judged anew."""
    journal = l0_core.Journal.memory()

    def work(llm: Any) -> Any:
        return llm.structured_predict(City, TEMPLATE, country="France")

    def reply(inhabitants: Any) -> Reply:
        return Reply(json.dumps({"name": "Paris", "inhabitants": inhabitants}))

    fields: Any = {"is_function_calling": False}
    with pytest.raises(Died), l0_core.run("job", journal=journal):
        work(L0LLM(llm=Scripted(reply("many"), Reply(fails=(0, Died())), **fields)))
    inner = Scripted(reply("a lot"), reply(2), **fields)
    with l0_core.run("job", journal=journal):
        assert work(L0LLM(llm=inner)) == City(name="Paris", inhabitants=2)
    assert len(inner.asked) == 2
    with l0_core.run("job", journal=journal, mode="replay"):
        assert work(L0LLM(llm=Gone(**fields))) == City(name="Paris", inhabitants=2)


def test_retrieval_and_embedding_are_steps() -> None:
    journal = l0_core.Journal.memory()
    engine = protect(index().as_query_engine(llm=Scripted("Paris.")))
    with l0_core.run("job", journal=journal):
        expected: Any = engine.query(QUESTION)
    names = {row["name"] for row in journal.steps()}
    assert names == {"VectorIndexRetriever/SimpleVectorStore", "scripted"}
    lost: Any = protect(index().as_query_engine(llm=Gone()))
    lost._retriever._vector_store = SimpleVectorStore()  # in which nothing is to be found
    with l0_core.run("job", journal=journal, mode="replay"):
        again = lost.query(QUESTION)
    assert str(again) == str(expected)
    assert [node.node_id for node in again.source_nodes] == [node.node_id for node in expected.source_nodes]
    assert again.source_nodes == expected.source_nodes


def test_another_question_in_the_same_run_is_refused() -> None:
    """G6: what differs is named."""
    journal = l0_core.Journal.memory()
    with l0_core.run("job", journal=journal):
        L0LLM(llm=Scripted("Paris.")).chat(MESSAGES)
    with pytest.raises(l0_core.ReplayDivergence), l0_core.run("job", journal=journal):
        L0LLM(llm=Scripted("Paris.")).chat([ChatMessage(content="Something else?")])


def test_an_agent_that_died_takes_up_where_it_was() -> None:
    """Its first turn is given again; its tool, which nobody wrote down, runs again; only the answer is asked for."""
    journal = l0_core.Journal.memory()

    def work(llm: Any) -> str:
        async def main() -> str:
            made: Any = FunctionAgent(tools=[WEATHER], llm=llm)
            return str(await made.run(user_msg=QUESTION))

        return asyncio.run(main())

    call = Reply(calls=(("weather", '{"city": "Paris"}'),), finish="tool_calls")
    with pytest.raises(l0_core.L0Error), l0_core.run("job", journal=journal):
        work(L0LLM(llm=Scripted(call, Reply(fails=(0, ConnectionResetError())))))
    inner = Scripted("It is sunny in Paris.")
    with l0_core.run("job", journal=journal):
        assert work(L0LLM(llm=inner)) == "It is sunny in Paris."
    assert len(inner.asked) == 1


# Killed --------------------------------------------------------------------------------------------------------------

PROGRAM = Path(__file__).with_name("durable_engine.py")


def command(folder: Path, pause: float, mode: str = "auto") -> list[str]:
    return [sys.executable, str(PROGRAM), str(folder / "l0.db"), str(folder / "notes"), str(pause), mode]


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.timeout(300)  # three programs, each of which imports LlamaIndex
@pytest.mark.parametrize("at", [30, *(pytest.param(at, marks=pytest.mark.matrix) for at in (1, 60, 90))])
def test_a_streaming_query_engine_that_is_killed_ends_as_if_nothing_had_happened(tmp_path: Path, at: int) -> None:
    """G1, G5: the reader's text is whole, once; a replay afterwards asks nobody."""
    killed = subprocess.Popen(command(tmp_path, 0.02), stdout=subprocess.PIPE)
    assert killed.stdout is not None
    shown = b""
    while len(shown) < at:
        shown += os.read(killed.stdout.fileno(), 1)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    again = subprocess.run(command(tmp_path, 0), check=True, capture_output=True, text=True).stdout
    assert again == ANSWER
    assert again.startswith(shown.decode())
    asked = (tmp_path / "notes").read_text().splitlines()
    replayed = subprocess.run(command(tmp_path, 0, "replay"), check=True, capture_output=True, text=True).stdout
    assert replayed == ANSWER
    assert (tmp_path / "notes").read_text().splitlines() == asked
    assert len(asked) == 2
