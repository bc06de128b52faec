"""Chains, graphs and agents inside a run: what was done is not done again, on this machine or on another."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from clients import Client
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from test_guarded import Shelf
from test_middleware import Scripted, asking, weather

import l0_core
from l0_core import Journal
from l0_core._codec import Results
from l0_core.testing import FaultyProvider, Reply, ToolCall
from l0_langchain import Degraded, L0ChatModel, L0Middleware, protect

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris, which lies on the Seine."
PROMPT = ChatPromptTemplate.from_template("{context}\n\n{question}")


@pytest.fixture
def journal() -> Iterator[Journal]:
    with Journal.memory() as journal:
        yield journal


class Died(BaseException):
    """The process ends here."""


def chain_of(model: Any, *, dies: list[str] | None = None) -> tuple[Any, list[str]]:
    """Retrieve, ask, charge, and say thank you; what was done, in order."""
    done: list[str] = []

    class Shelves(Shelf):
        def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
            done.append("retrieve")
            return [Document("Paris is in France.", metadata={"page": 3}, id="p3")]

    @tool
    def charge(answer: str) -> str:
        """Charge."""
        done.append(f"charge {l0_core.idempotency_key()}")
        if dies:
            raise Died(dies.pop())
        return f"charged for {len(answer)} characters"

    context: Any = {"context": Shelves(failures=0), "question": RunnablePassthrough()}
    ask = PROMPT | model | StrOutputParser()
    thank = ChatPromptTemplate.from_template("Say thank you: {receipt}") | model | StrOutputParser()
    receipt: Any = {"receipt": RunnableLambda(lambda answer: {"answer": answer}) | charge}
    return protect(context | ask | receipt | thank), done


Way = Any


def invoked(chain: Any, value: Any) -> Any:
    return chain.invoke(value)


def streamed(chain: Any, value: Any) -> Any:
    return "".join(chain.stream(value))


ways = pytest.mark.parametrize("way", [invoked, streamed])


@ways
def test_a_run_that_is_over_is_given_again_without_a_call(
    way: Way, client: Client, provider: FaultyProvider, journal: Journal
) -> None:
    """G6."""
    provider.reply(ANSWER)
    chain, done = chain_of(client(provider))
    with l0_core.run("job", journal=journal):
        answer = way(chain, QUESTION)
    requests, steps = provider.request_count, len(done)
    assert (requests, steps) == (2, 2)
    provider.refuse_connections()
    for mode in ("auto", "replay"):
        with l0_core.run("job", journal=journal, mode=mode):
            assert way(chain, QUESTION) == answer
    assert (provider.request_count, len(done)) == (requests, steps)
    names = [row["name"] for row in journal.steps("job")]
    assert len(names) == 4
    assert {row["kind"] for row in journal.steps("job")} == {"model", "function"}


@ways
def test_a_run_that_died_does_the_rest(way: Way, client: Client, provider: FaultyProvider, journal: Journal) -> None:
    provider.reply(ANSWER)
    chain, done = chain_of(client(provider), dies=["in the tool"])
    with pytest.raises(Died), l0_core.run("job", journal=journal):
        way(chain, QUESTION)
    assert provider.request_count == 1
    with l0_core.run("job", journal=journal):
        answer = way(chain, QUESTION)
    assert answer == ANSWER
    assert provider.request_count == 2, "the model is not asked again what it has answered"
    assert done[0] == "retrieve"
    assert done[1] == done[2], "charged again under the same key"
    assert len(done) == 3


@ways
def test_a_changed_prompt_is_told(way: Way, client: Client, provider: FaultyProvider, journal: Journal) -> None:
    """G6: what differs first, by name."""
    provider.reply(ANSWER)
    chain, _ = chain_of(client(provider))
    with l0_core.run("job", journal=journal):
        way(chain, QUESTION)
    with pytest.raises(l0_core.ReplayDivergence) as raised, l0_core.run("job", journal=journal, mode="replay"):
        way(chain, QUESTION.replace("France", "Spain"))
    assert raised.value.record is not None
    assert "Spain" in str(raised.value.actual)
    assert "France" in str(raised.value.expected)


WAYS: dict[str, Way] = {
    "invoke": lambda model: model.invoke(QUESTION).text,
    "stream": lambda model: "".join(chunk.text for chunk in model.stream(QUESTION)),
    "ainvoke": lambda model: asyncio.run(model.ainvoke(QUESTION)).text,
    "astream": lambda model: asyncio.run(_drawn(model)),
    "v3": lambda model: model.stream_events(QUESTION, version="v3").output.text,
}


async def _drawn(model: Any) -> str:
    return "".join([chunk.text async for chunk in model.astream(QUESTION)])


@pytest.mark.parametrize("then", WAYS)
@pytest.mark.parametrize("first", ["invoke", "stream"])
def test_what_was_called_one_way_is_given_again_the_other(
    first: str, then: str, client: Client, provider: FaultyProvider, journal: Journal
) -> None:
    """G6: whether a graph's reader looks at tokens is not part of what a model is asked."""
    provider.reply(ANSWER)
    model = L0ChatModel(model=client(provider))
    with l0_core.run("job", journal=journal):
        assert WAYS[first](model) == ANSWER
    provider.refuse_connections()
    for mode in ("auto", "replay"):
        with l0_core.run("job", journal=journal, mode=mode):
            assert WAYS[then](model) == ANSWER
    assert provider.request_count == 1


@pytest.mark.parametrize("then", ["invoke", "ainvoke"])
def test_a_stream_that_was_left_is_completed_by_who_wants_it_whole(
    then: str, client: Client, provider: FaultyProvider, journal: Journal
) -> None:
    provider.reply(ANSWER)
    model = L0ChatModel(model=client(provider))

    def leave() -> None:
        with l0_core.run("job", journal=journal):
            next(iter(model.stream(QUESTION)))
            raise Died

    with pytest.raises(Died):
        leave()
    with l0_core.run("job", journal=journal):
        assert WAYS[then](model) == ANSWER
        assert WAYS["stream"](model) == ANSWER, "the next one is another call"
    assert provider.request_count == 3


def test_a_stream_that_was_left_goes_on_where_it_was(
    client: Client, provider: FaultyProvider, journal: Journal
) -> None:
    """G1, G5: chunk for chunk what was shown, then the rest, as one message."""
    provider.reply(ANSWER)
    model = L0ChatModel(model=client(provider))
    shown: list[Any] = []

    def die_after(chunks: int) -> None:
        with l0_core.run("job", journal=journal):
            shown.extend(islice(model.stream(QUESTION), chunks))
            raise Died

    with pytest.raises(Died):
        die_after(4)
    with l0_core.run("job", journal=journal):
        again = list(model.stream(QUESTION))
    assert [chunk.content for chunk in again[:4]] == [chunk.content for chunk in shown]
    assert "".join(chunk.text for chunk in again) == ANSWER
    assert provider.request_count == 2
    assert len({chunk.id for chunk in again}) == 1


def test_chunks_are_given_again_as_they_were(client: Client, provider: FaultyProvider, journal: Journal) -> None:
    """G6: whole objects, boundaries, usage and ids of calls, also put together from two attempts."""
    from l0_core.testing import faults

    call = ToolCall("get_weather", {"city": "Paris"}, id="call_1")
    provider.reply(Reply.of(ANSWER, tool_calls=[call]))
    provider.script(faults.reset_after(chunks=5), faults.ok())
    model: Any = L0ChatModel(model=client(provider)).bind_tools([weather()[0]])
    with l0_core.run("job", journal=journal):
        first = list(model.stream(QUESTION))
    with l0_core.run("job", journal=journal, mode="replay"):
        second = list(model.stream(QUESTION))

    def told(chunk: Any) -> Any:
        said = chunk.model_dump()
        if str(said["id"]).startswith("lc_run"):  # The framework's own, for this run of the program.
            del said["id"]
        return said

    assert [told(chunk) for chunk in first] == [told(chunk) for chunk in second]
    assert provider.request_count == 2


async def test_awaited_branches_keep_their_answers(provider: FaultyProvider, journal: Journal) -> None:
    client = Client("openai")
    provider.reply("It is Paris.", when="France")
    provider.reply("It is Madrid.", when="Spain")
    bare = client(provider)
    ask = ChatPromptTemplate.from_template("The capital of {x}?") | L0ChatModel(model=bare) | StrOutputParser()
    both: Any = RunnableParallel(
        a=RunnableLambda(lambda _: {"x": "France"}) | ask, b=RunnableLambda(lambda _: {"x": "Spain"}) | ask
    )
    async with l0_core.run("job", journal=journal):
        first = await both.ainvoke({})
    async with l0_core.run("job", journal=journal, mode="replay"):
        assert await both.ainvoke({}) == first == {"a": "It is Paris.", "b": "It is Madrid."}
    assert provider.request_count == 2
    await client.close(bare)


@pytest.mark.parametrize("is_async", [False, True], ids=["invoke", "ainvoke"])
async def test_an_agent_in_a_run(journal: Journal, *, is_async: bool) -> None:
    made, keys = weather()
    model = Scripted(replies=[asking(), AIMessage(ANSWER)])
    agent = create_agent(model, [made], middleware=[L0Middleware()])
    given: Any = {"messages": [HumanMessage(QUESTION)]}
    seen = []
    for mode in ("record", "replay"):
        async with l0_core.run("job", journal=journal, mode=mode):
            state = await agent.ainvoke(given) if is_async else agent.invoke(given)
        seen.append([(type(message), message.text) for message in state["messages"]])
    assert seen[0] == seen[1]
    assert [kind for kind, _ in seen[0]] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert (len(keys), len(model.calls)) == (1, 2)


def test_a_threads_checkpoints_and_a_run_do_not_get_in_each_others_way(journal: Journal) -> None:
    """A turn of a thread is a run: the next turn, and one forked from an earlier checkpoint, are others."""
    made, keys = weather()
    model = Scripted(replies=[asking(), AIMessage(ANSWER), AIMessage("You are welcome."), AIMessage("Another answer.")])
    agent = create_agent(model, [made], middleware=[L0Middleware()], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    with l0_core.run("thread-1/turn-1", journal=journal):
        agent.invoke({"messages": [HumanMessage(QUESTION)]}, config)
    with l0_core.run("thread-1/turn-2", journal=journal):
        state = agent.invoke({"messages": [HumanMessage("Thank you.")]}, config)
    assert state["messages"][-1].text == "You are welcome."
    earlier = next(each for each in agent.get_state_history(config) if len(each.values["messages"]) == 4)
    with l0_core.run("thread-1/turn-2b", journal=journal):
        state = agent.invoke({"messages": [HumanMessage("Are you sure?")]}, earlier.config)
    assert state["messages"][-1].text == "Another answer.", "nothing stale"
    assert (len(keys), len(model.calls)) == (1, 4)


# What is written down without a run


def test_sessions_are_found_by_conversation_and_user(
    client: Client, provider: FaultyProvider, journal: Journal
) -> None:
    provider.reply(ANSWER)
    model: Any = L0ChatModel(model=client(provider), journal=journal)
    told = [
        model.invoke(QUESTION, {"configurable": said}).response_metadata["l0"]
        for said in ({"thread_id": "42"}, {"l0_run": "job", "thread_id": "42"}, {"user_id": "ann"}, {})
    ]
    assert {each["journal"] for each in told} == {"on"}
    ids = [each["session_id"] for each in told]
    assert [row["id"] for row in journal.sessions("42")] == [ids[0]]
    assert [row["id"] for row in journal.sessions("job")] == [ids[1]]
    assert [row["id"] for row in journal.sessions(user="ann")] == [ids[2]]
    assert len(journal.sessions()) == 4


def test_tools_and_retrievers_are_written_down(journal: Journal) -> None:
    protect(Shelf(), journal=journal).invoke("France")
    protect(weather()[0], journal=journal).invoke({"city": "Paris"})
    assert {row["target"] for row in journal.sessions()} == {"Shelf", "StructuredTool/get_weather"}


# Results


class Odd:
    pass


VALUES: dict[str, Any] = {
    "document": Document("Paris.", metadata={"page": 3, "tags": ("a", "b")}, id="p3"),
    "message": AIMessage("x", tool_calls=[{"name": "a", "args": {"b": 1}, "id": "1", "type": "tool_call"}], id="m1"),
    "tool message": ToolMessage("x", tool_call_id="1", artifact={"rows": [1, 2]}, status="error"),
    "content and artifact": ("x", [Document("y")]),
    "command": Command(update={"messages": [ToolMessage("x", tool_call_id="1")]}, goto="next"),
    "prompt": PROMPT.invoke({"context": "c", "question": "q"}),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_tools_return_is_remembered(name: str) -> None:
    results = Results("step")
    made = results.decode(results.encode(VALUES[name]))
    assert made == VALUES[name]
    assert type(made) is type(VALUES[name])


def test_what_a_fallback_answered_still_says_so_when_it_is_given_again() -> None:
    """G8."""
    results = Results("step")
    made = Degraded([Document("x")])
    made.l0 = {"degraded": True}
    again = results.decode(results.encode(made))
    assert isinstance(again, Degraded)
    assert (list(again), again.l0) == (list(made), made.l0)


@pytest.mark.parametrize(
    "value", [Document("x", metadata={"odd": Odd()}), ToolMessage("x", tool_call_id="1", artifact=Odd())]
)
def test_what_would_not_come_back_is_refused_by_name(value: Any) -> None:
    with pytest.raises(l0_core.StepNotSerializable, match="Odd"):
        Results("step").encode(value)


# Kill -9


PROGRAM = """
import os, signal, sys
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
import l0_core
from l0_langchain import protect

url, file, kill_at = sys.argv[1:4]

@tool
def charge(answer: str) -> str:
    "Charge."
    with open(file + ".charged", "a") as charged:
        charged.write(l0_core.idempotency_key() + "\\n")
    return f"charged for {len(answer)} characters"

model = ChatOpenAI(model="gpt-4o-mini", base_url=url, api_key="x")
ask = ChatPromptTemplate.from_template("{x}") | model | StrOutputParser()
chain = protect(ask | RunnableLambda(lambda answer: {"answer": answer}) | charge | (lambda text: {"x": text}) | ask)
shown = 0
with l0_core.run("job", journal=file):
    for text in chain.stream({"x": "What is the capital of France?"}):
        shown += len(text)
        print(text, end="", flush=True)
        if 0 <= int(kill_at) <= shown:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_while_it_speaks_goes_on_in_the_next(provider: FaultyProvider, tmp_path: Path) -> None:
    """G1, G5, G6: through a real client; then without the network."""
    provider.reply(ANSWER)
    file = tmp_path / "l0.db"

    def start(kill_at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PROGRAM, provider.openai_url, str(file), str(kill_at)]
        environment = {**os.environ, "L0_POLICY": "interactive"}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=50)

    killed = start(20)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert ANSWER.startswith(killed.stdout)
    assert len(killed.stdout) >= 20
    assert provider.request_count == 2
    resumed = start(-1)
    assert (resumed.stdout, resumed.returncode) == (ANSWER, 0), resumed.stderr
    assert provider.request_count == 3, "only the answer that broke off is asked for again"
    assert len(Path(f"{file}.charged").read_text().split()) == 1
    provider.refuse_connections()
    replayed = start(-1)
    assert (replayed.stdout, replayed.returncode) == (ANSWER, 0), replayed.stderr
    assert provider.request_count == 3
    with Journal.open(file) as journal:
        assert journal.verify().is_sound
