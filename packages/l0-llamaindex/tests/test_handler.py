"""Any engine or agent is written down as it is, as a tree."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from asking_llm import QUESTION as MESSAGES
from asking_llm import listening
from engines import QUESTION, SCENARIOS, index, said
from llama_index.core.chat_engine.types import StreamingAgentChatResponse
from llama_index_instrumentation import get_dispatcher
from scripted_llm import Reply, Scripted

import l0_core
from l0_llamaindex import L0LLM, L0EventHandler

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::workflows.context.state_store.UnserializableKeyWarning",
)
SAMPLE = [
    "query engine, compact",
    "streaming query engine, compact",
    "streaming query engine, compact, async",
    "structured llm",
    "function agent",
    "sub-questions",
    "chat engine, simple, streaming",
    "agents with a handoff",
]
assert {*SAMPLE} <= {*SCENARIOS}


@pytest.fixture(autouse=True)
def _left_open(left_open: None) -> None: ...


def tree(journal: l0_core.Journal) -> Counter[tuple[str, str | None]]:
    """Who is whose child."""
    steps = {row["id"]: row for row in journal.steps(limit=1_000)}

    def named(id_: str | None) -> str | None:
        return steps[id_]["name"] if id_ else None

    return Counter((row["name"], named(row.get("parent"))) for row in steps.values())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.matrix) for name in SCENARIOS]
)
def test_everything_that_happens_is_a_step_under_the_one_around_it(name: str, settings: Any) -> None:
    """The same tree that LlamaIndex's own spans are; and what runs is not changed."""
    settings.llm = Scripted(responder=said)
    expected = SCENARIOS[name](settings.llm)
    journal = l0_core.Journal.memory()
    with listening() as (_, spans), L0EventHandler(journal=journal):
        assert repr(SCENARIOS[name](Scripted(responder=said))) == repr(expected)
    assert tree(journal) == Counter(spans.tree)
    assert {row["status"] for row in journal.runs()} == {"finished"}
    assert {row["status"] for row in journal.steps(limit=1_000)} == {"finished"}
    assert "model" in {row["kind"] for row in journal.steps(limit=1_000)}


def of_kind(journal: l0_core.Journal, name: str) -> dict[str, Any]:
    (row,) = [row for row in journal.steps(limit=1_000) if row["name"] == name]
    return row


def contents(journal: l0_core.Journal, run: str) -> str:
    return "".join(str(value) for record in journal.load(bytes.fromhex(run)) for _, _, value in record.contents)


def test_a_stream_ends_when_its_last_chunk_has_come() -> None:
    journal = l0_core.Journal.memory()
    with L0EventHandler(journal=journal):
        stream = Scripted("The capital is Paris.").stream_chat(MESSAGES)
        next(stream)
        assert of_kind(journal, "Scripted.stream_chat")["status"] == "running"
        list(stream)
        assert of_kind(journal, "Scripted.stream_chat")["status"] == "finished"
    (run,) = journal.runs()
    assert run["status"] == "finished"
    assert "The capital is Paris." in contents(journal, run["id"])


def test_an_answer_that_is_still_coming_is_its_readers() -> None:
    """G7: asked for their text, some read the stream they hold."""

    @get_dispatcher(__name__).span
    def answer() -> StreamingAgentChatResponse:
        made = StreamingAgentChatResponse()
        for text in ("It is ", "Paris."):
            made.put_in_queue(text)
        made.is_done = True  # Its thread was quick.
        return made

    with L0EventHandler(journal=l0_core.Journal.memory()):
        response = answer()
    assert [response.queue.get_nowait() for _ in range(response.queue.qsize())] == ["It is ", "Paris."]


def test_what_fails_or_is_left_is_written_down_as_that() -> None:
    journal = l0_core.Journal.memory()
    with L0EventHandler(journal=journal):
        with pytest.raises(ConnectionResetError):
            index().as_query_engine(llm=Scripted(Reply(fails=(0, ConnectionResetError())))).query(QUESTION)
        stream = Scripted("The capital is Paris.").stream_chat(MESSAGES)
        next(stream)
        unfinished = Scripted("x").stream_complete("?")
        next(unfinished)
        stream.close()
    failed = {row["name"]: row["fault"] for row in journal.steps(limit=1_000) if row["status"] == "failed"}
    assert failed["Scripted.chat"] == failed["RetrieverQueryEngine.query"] == "ConnectionResetError"
    assert {"Scripted.stream_chat", "Scripted.stream_complete"} <= failed.keys()
    assert "running" not in {row["status"] for row in [*journal.runs(), *journal.steps(limit=1_000)]}


def test_each_attempt_of_a_protected_llm_is_a_step() -> None:
    journal = l0_core.Journal.memory()
    llm = L0LLM(llm=Scripted(Reply(fails=(0, ConnectionResetError())), "Paris."))
    with L0EventHandler(journal=journal):
        assert llm.chat(MESSAGES).message.content == "Paris."
    assert Counter(row["status"] for row in journal.steps()) == {"failed": 1, "finished": 1}


def test_what_goes_wrong_in_it_is_nobody_elses_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """G7: an engine whose recording fails answers all the same."""
    journal = l0_core.Journal.memory()
    with L0EventHandler(journal=journal):
        monkeypatch.setattr(l0_core.Journal, "stream", lambda *_, **__: 1 / 0)
        assert str(index().as_query_engine(llm=Scripted("Paris.")).query(QUESTION)) == "Paris."


def test_it_is_kept_in_a_file_and_only_while_it_listens(tmp_path: Path) -> None:
    file = tmp_path / "l0.db"
    handler = L0EventHandler(journal=file)
    Scripted("x").complete("?")
    with handler:
        asyncio.run(Scripted("x").acomplete("?"))
    Scripted("x").complete("?")
    with l0_core.Journal.open(file) as journal:
        assert [row["name"] for row in journal.steps()] == ["Scripted.acomplete"]


def test_a_journal_of_sessions_has_every_call(tmp_path: Path) -> None:
    """G5: whoever gives a journal gets everything, attempts and faults included."""
    journal = l0_core.Journal.memory()
    llm = L0LLM(llm=Scripted(Reply(fails=(0, ConnectionResetError())), "The capital is Paris."), journal=journal)
    chunks = list(llm.stream_chat(MESSAGES))
    told = chunks[-1].additional_kwargs["l0"]
    assert told["journal"] == "on"
    (row,) = journal.sessions()
    assert (row["id"], row["status"], row["attempts"]) == (told["session_id"], "complete", 2)
    asyncio.run(llm.achat(MESSAGES))
    assert len(journal.sessions()) == 2
    assert journal.verify().is_sound
    other = tmp_path / "other.db"
    other.write_text("This is no journal. " * 1_000)
    with pytest.raises(l0_core.JournalError):
        L0LLM(llm=Scripted("x"), journal=other)
