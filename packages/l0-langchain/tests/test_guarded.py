"""Tools, retrievers and embeddings that are protected: tried again, in time, under one key, and honest about it."""

import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import BaseTool, ToolException, tool
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from shapes import Flaky

import l0_core
from l0_core import Journal, Policy, Retry, Timeouts
from l0_langchain import Degraded, L0ChatModel, protect, unprotect

CALL = {"name": "charge", "args": {"amount": 3}, "id": "call_1", "type": "tool_call"}
ONCE = Policy(retry=Retry(attempts=1, max_retries=0))


class Shelf(BaseRetriever):
    """Finds one document, once its connection holds."""

    failures: int = 1
    title: str = "France"
    calls: int = 0

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionResetError
        return [Document(self.title)]


class Vectors(Embeddings):
    def __init__(self, failures: int = 1) -> None:
        self.left = failures

    def embed_query(self, text: str) -> list[float]:
        if self.left:
            self.left -= 1
            raise ConnectionResetError
        return [float(len(text))]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


class Count(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_tool_start(self, *_: Any, **__: Any) -> None:
        self.seen.append("start")

    def on_tool_end(self, *_: Any, **__: Any) -> None:
        self.seen.append("end")

    def on_retriever_start(self, *_: Any, **__: Any) -> None:
        self.seen.append("start")

    def on_retriever_end(self, *_: Any, **__: Any) -> None:
        self.seen.append("end")


def charging(error: Exception | None, *, times: int = 1) -> tuple[BaseTool, list[str | None]]:
    """A tool that fails so many times, and the keys it was called under."""
    keys: list[str | None] = []

    @tool
    def charge(amount: int) -> str:
        """Charge a card."""
        keys.append(l0_core.idempotency_key())
        if error is not None and len(keys) <= times:
            raise error
        return f"charged {amount}"

    return charge, keys


def charging_async(error: Exception, *, times: int = 1) -> tuple[BaseTool, list[str | None]]:
    keys: list[str | None] = []

    @tool
    async def charge(amount: int) -> str:
        """Charge a card."""
        keys.append(l0_core.idempotency_key())
        if len(keys) <= times:
            raise error
        return f"charged {amount}"

    return charge, keys


Way = Callable[[Any, Any], Any]


async def called(made: Any, value: Any, config: Any = None) -> Any:
    return made.invoke(value, config)


async def awaited(made: Any, value: Any, config: Any = None) -> Any:
    return await made.ainvoke(value, config)


ways = pytest.mark.parametrize("way", [called, awaited])


# Tools


@ways
@pytest.mark.parametrize("makes", [charging, charging_async])
async def test_a_tool_is_tried_again_under_one_key_and_told_of_once(way: Any, makes: Any) -> None:
    made, keys = makes(ConnectionResetError())
    if makes is charging_async and way is called:
        pytest.skip("the framework calls no async tool from sync code")
    count = Count()
    answer = await way(protect(made), CALL, {"callbacks": [count]})
    assert answer.content == "charged 3"
    assert answer.response_metadata == {}
    assert len(keys) == 2
    assert keys[0] == keys[1] is not None
    assert count.seen == ["start", "end"]


@ways
async def test_calls_of_a_tool_have_keys_of_their_own(way: Any) -> None:
    made, keys = charging(None)
    made = protect(made)
    await way(made, CALL)
    await way(made, CALL)
    assert len(set(keys)) == 2
    assert l0_core.idempotency_key() is None


@ways
@pytest.mark.parametrize("error", [ToolException("no"), ValueError("no"), KeyError("no")])
async def test_what_a_tool_says_itself_is_not_tried_again(way: Any, error: Exception) -> None:
    """G4: the same object, after one call."""
    made, keys = charging(error)
    with pytest.raises(type(error)) as raised:
        await way(protect(made), CALL)
    assert raised.value is error
    assert len(keys) == 1


@ways
async def test_a_tools_own_handling_of_its_errors_stays(way: Any) -> None:
    made, keys = charging(ToolException("card declined"))
    made.handle_tool_error = True
    answer = await way(protect(made), CALL)
    assert (answer.content, answer.status, len(keys)) == ("card declined", "error", 1)


@ways
async def test_a_tool_may_name_an_alternative(way: Any) -> None:
    """G8: its answer says so."""
    made, _ = charging(ConnectionResetError(), times=9)

    @tool
    def note(amount: int) -> str:
        """Write it down."""
        return f"noted {amount}"

    answer = await way(protect(made, fallbacks=[note], policy=ONCE), CALL)
    assert isinstance(answer, ToolMessage)
    assert answer.content == "noted 3"
    assert answer.response_metadata["l0"] == {"degraded": True, "served_by": "StructuredTool/note"}


def test_a_tool_that_hangs_is_left_in_time() -> None:
    """G3. Real time passes: a thread is blocked."""
    free = threading.Event()

    @tool
    def wait() -> str:
        """Wait."""
        free.wait(20)
        return "waited"

    policy = Policy(timeouts=Timeouts(call=0.2), retry=Retry(attempts=1, max_retries=0))
    with pytest.raises(l0_core.ExhaustedError) as raised:
        protect(wait, policy=policy).invoke({})
    free.set()
    assert raised.value.fault == "stall"


@ways
async def test_a_tool_inherits_the_deadline(way: Any) -> None:
    """G3: waits that do not fit are not begun."""
    made, keys = charging(ConnectionResetError(), times=9)
    with l0_core.deadline(0.0), pytest.raises(l0_core.L0Error):
        await way(protect(made), CALL)
    assert len(keys) <= 1


def test_a_tool_keeps_its_schema_and_its_injected_arguments() -> None:
    made, _ = charging(None)
    wrapped = protect(made)
    assert wrapped.args_schema is made.args_schema
    assert wrapped.args == made.args
    assert wrapped.tool_call_schema.model_json_schema() == made.tool_call_schema.model_json_schema()  # type: ignore[union-attr]
    assert isinstance(wrapped, type(made))
    assert type(wrapped).__name__ == type(made).__name__


def test_a_tool_that_works_through_a_model_is_left_alone() -> None:
    model = Flaky()

    @tool
    def ask(question: str) -> str:
        """Ask."""
        return str(model.invoke(question).content)

    report = protect(ask).l0_report  # type: ignore[attr-defined]
    assert [(found.what, found.state) for found in report] == [("model", "protected"), ("tool", "left alone")]


def interrupting() -> Any:
    @tool
    def approve(amount: int) -> str:
        """Ask whether to."""
        return f"approved {amount}: {interrupt('may I?')}"

    return approve


@ways
@pytest.mark.parametrize("fallbacks", [[], ["anyway"]], ids=["alone", "with a fallback"])
async def test_an_interrupt_passes_and_is_no_fault(way: Any, fallbacks: list[str]) -> None:
    approve = protect(interrupting(), fallbacks=fallbacks)
    graph = StateGraph(MessagesState)
    graph.add_node("tool", lambda _: {"messages": [HumanMessage(approve.invoke({"amount": 3}))]})
    graph.add_edge(START, "tool")
    graph.add_edge("tool", END)
    made, config = graph.compile(checkpointer=InMemorySaver()), {"configurable": {"thread_id": "1"}}
    stopped = await way(made, {"messages": []}, config)
    assert [each.value for each in stopped["__interrupt__"]] == ["may I?"]
    done = await way(made, Command(resume="yes"), config)
    assert done["messages"][-1].content == "approved 3: yes"


# Retrievers


@ways
async def test_a_retriever_is_tried_again(way: Any) -> None:
    count = Count()
    found = await way(protect(Shelf()), "France", {"callbacks": [count]})
    assert [document.page_content for document in found] == ["France"]
    assert found[0].metadata == {}
    assert count.seen == ["start", "end"]


@ways
async def test_a_retriever_falls_back_to_another_and_says_so(way: Any) -> None:
    """G8."""
    made = protect(Shelf(failures=9), fallbacks=[Shelf(failures=0, title="Europe")], policy=ONCE)
    found = await way(made, "France")
    assert isinstance(found, Degraded)
    assert found.l0 == {"degraded": True, "served_by": "Shelf"}
    assert [(document.page_content, document.metadata["l0"]) for document in found] == [("Europe", found.l0)]


@ways
@pytest.mark.parametrize("fallback", [[], lambda _: []], ids=["answer", "callable"])
async def test_a_retrieval_without_documents_says_so(way: Any, fallback: Any) -> None:
    """G8: an empty list has no document that could."""
    found = await way(protect(Shelf(failures=9), fallbacks=[fallback], policy=ONCE), "France")
    assert found == []
    assert isinstance(found, Degraded)
    assert found.l0["degraded"] is True


@ways
async def test_a_retriever_without_a_fallback_raises(way: Any) -> None:
    """Nothing that failed looks like nothing that was found."""
    with pytest.raises(l0_core.ExhaustedError) as raised:
        await way(protect(Shelf(failures=9), policy=ONCE), "France")
    assert isinstance(raised.value.__cause__, ConnectionResetError)


def test_a_fallback_that_could_not_answer_is_refused() -> None:
    with pytest.raises(TypeError, match="another retriever, a callable or an answer, not int"):
        protect(Shelf(), fallbacks=[3])
    with pytest.raises(TypeError, match="must be a chat model"):
        protect(RunnableLambda(str), fallbacks=[[]])


# Embeddings


async def test_embeddings_are_tried_again() -> None:
    made = Vectors()
    wrapped = protect(made)
    assert wrapped.embed_query("abc") == [3.0]
    assert isinstance(wrapped, Vectors)
    assert protect(Vectors()).embed_documents(["abc"]) == [[3.0]]
    assert await protect(Vectors()).aembed_documents(["abc"]) == [[3.0]]
    assert await protect(Vectors()).aembed_query("abc") == [3.0]


def test_embeddings_in_a_store_are_found() -> None:
    store = InMemoryVectorStore(Vectors(failures=0))
    store.add_texts(["Paris is in France."])
    store.embedding.left = 1  # type: ignore[attr-defined]
    search: Any = RunnableLambda(lambda question: store.similarity_search(question, k=1))
    made = protect(search, in_place=True)
    assert [(found.what, found.state) for found in made.l0_report] == [("embeddings", "protected")]
    assert [document.page_content for document in made.invoke("France?")] == ["Paris is in France."]


# What a call asks for


CALLED: dict[str, tuple[Any, Any, Any]] = {
    "a tool": (lambda: charging(ConnectionResetError(), times=9)[0], CALL, lambda made: made),
    "a retriever": (lambda: Shelf(failures=9), "France", lambda made: made),
    "a retriever in a chain": (lambda: Shelf(failures=9), "France", lambda made: RunnableLambda(str) | made),
    "embeddings in a chain": (lambda: Vectors(9), "France", lambda made: RunnableLambda(made.embed_query)),
}


@ways
@pytest.mark.parametrize("name", CALLED)
async def test_a_call_may_ask_for_a_policy_a_tenant_and_a_name_to_be_found_by(
    way: Any, name: str, tmp_path: Path
) -> None:
    """As for models: in the call's config, or in that of the chain around."""
    make, value, around = CALLED[name]
    file = tmp_path / "once.toml"
    file.write_text("[retry]\nattempts = 1\nmax_retries = 0\n")
    said = {"l0_policy": str(file), "l0_tenant": "acme", "l0_run": "job-42", "l0_user": "ada"}
    with Journal.memory() as journal:
        made = protect(make(), journal=journal)
        with pytest.raises(l0_core.ExhaustedError) as raised:
            await way(around(made), value, {"configurable": said})
        assert raised.value.attempts == 1
        (row,) = journal.sessions("job-42")
        assert (row["tenant"], row["user"], row["attempts"]) == ("acme", "ada", 1)
        with pytest.raises(l0_core.ExhaustedError) as raised:
            await way(around(made), value)
        assert raised.value.attempts > 1, "of that call alone"
        assert len(journal.sessions("job-42")) == 1


# All of them


def protectable() -> list[Any]:
    return [charging(None)[0], Shelf(), Vectors(), L0ChatModel(model=Flaky())]


@pytest.mark.parametrize("made", protectable(), ids=lambda made: type(made).__name__)
def test_protecting_twice_is_protecting_once(made: Any) -> None:
    once, twice = protect(made), protect(protect(made))
    assert type(once) is type(twice)
    assert [found.state for found in twice.l0_report] == ["protected"]
    assert type(unprotect(twice)) is type(unprotect(made))


@pytest.mark.parametrize("made", protectable()[1:3], ids=lambda made: type(made).__name__)
def test_what_is_protected_can_be_pickled_where_it_could_be_before(made: Any) -> None:
    wrapped = pickle.loads(pickle.dumps(protect(made)))  # noqa: S301
    assert type(wrapped) is type(protect(made))
    answer = wrapped.invoke("France") if isinstance(wrapped, Shelf) else wrapped.embed_query("abc")
    assert answer


def test_disabled_nothing_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L0_DISABLE", "1")
    with pytest.raises(ConnectionResetError):
        protect(Shelf()).invoke("France")
    with pytest.raises(ConnectionResetError):
        protect(Vectors()).embed_query("France")


def test_what_was_protected_before_is_that_again() -> None:
    """`unprotect` undoes what `protect` did in place, and not what the program did itself."""
    model = L0ChatModel(model=Flaky(), policy="batch")
    chain = RunnableLambda(model.invoke)
    protect(chain, in_place=True, policy="strict")
    protect(chain, in_place=True, tenant="acme")
    unprotect(chain)
    assert isinstance(model, L0ChatModel)
    from l0_langchain._model import protection_of

    assert protection_of(model).policy == "batch"
    assert protection_of(model).tenant is None


def test_a_model_held_twice_is_one_in_the_copy_too() -> None:
    model = Flaky()
    made = protect(RunnableLambda(str) | {"a": model, "b": model})
    steps = made.last.steps__  # type: ignore[attr-defined]
    assert steps["a"] is steps["b"]
    assert steps["a"] is not model


def test_what_multiplies_attempts_is_told() -> None:
    chain: Any = RunnableParallel(a=Flaky().with_retry(), b=Flaky().with_fallbacks([Flaky()]))
    found = protect(chain).l0_report.multiplies
    assert {each.what for each in found} == {"retry", "fallbacks"}
    assert all("multiplies" in each.why for each in found)


def test_a_nodes_retry_policy_and_an_agents_middleware_are_told_too() -> None:
    from langchain.agents.middleware import ModelRetryMiddleware
    from langgraph.types import RetryPolicy

    model = Flaky()
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]}, retry_policy=RetryPolicy())
    graph.add_edge(START, "model")
    graph.add_edge("model", END)
    agent = create_agent(Flaky(), [], middleware=[ModelRetryMiddleware()])
    assert [found.name for found in protect(graph.compile()).l0_report.multiplies] == ["PregelNode"]  # type: ignore[attr-defined]
    assert [found.name for found in protect(agent).l0_report.multiplies] == ["ModelRetryMiddleware"]  # type: ignore[attr-defined]


def test_a_report_reads_as_a_list() -> None:
    chain = RunnableLambda(lambda _: Shelf()) | Flaky()
    report = protect(chain).l0_report  # type: ignore[attr-defined]
    assert str(report) == "protected     model       Flaky/model"
