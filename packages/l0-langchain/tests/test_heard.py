"""What a handler wrote down is given again by the same chain, protected: without a call, without a network (G6)."""

import functools
import operator
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from clients import Client
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from rules import RuleModel
from test_guarded import Shelf
from test_middleware import weather
from test_recording import chain_of

import l0_core
from l0_core import Journal
from l0_core.testing import FaultyProvider, Reply, ToolCall
from l0_langchain import L0CallbackHandler, protect

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris, which lies on the Seine."


@pytest.fixture
def journal() -> Iterator[Journal]:
    with Journal.memory() as journal:
        yield journal


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, provider: FaultyProvider) -> Any:
    """Take the network away."""

    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("a replay connects to nobody")

    def cut() -> None:
        provider.refuse_connections()
        for name in ("connect", "connect_ex", "sendto"):
            monkeypatch.setattr(socket.socket, name, refuse)
        monkeypatch.setattr(socket, "create_connection", refuse)

    return cut


def merged(chunks: list[Any]) -> Any:
    return functools.reduce(operator.add, chunks)


def invoked(chain: Any, value: Any, config: Any = None) -> Any:
    return chain.invoke(value, config)


def streamed(chain: Any, value: Any, config: Any = None) -> Any:
    return list(chain.stream(value, config))


ways = pytest.mark.parametrize("way", [invoked, streamed])


@ways
def test_a_recorded_chain_is_given_again_by_the_protected_one(
    way: Any, client: Client, provider: FaultyProvider, journal: Journal, offline: Any
) -> None:
    """Models, tools and retrievers, chunk for chunk; the chain itself is somebody else's."""
    provider.reply(ANSWER)
    chain = chain_of(client(provider))
    first = way(chain, {"x": QUESTION}, {"callbacks": [L0CallbackHandler(journal=journal)]})
    (run,) = journal.runs()
    offline()
    for mode in ("replay", "auto"):
        with l0_core.run(run["name"], journal=journal, mode=mode):
            assert way(protect(chain), {"x": QUESTION}) == first
    assert provider.request_count == 1


@ways
def test_what_was_heard_of_one_way_is_given_again_the_other(
    way: Any, client: Client, provider: FaultyProvider, journal: Journal, offline: Any
) -> None:
    provider.reply(ANSWER)
    chain = ChatPromptTemplate.from_template("{x}") | client(provider) | StrOutputParser()
    way(chain, {"x": QUESTION}, {"callbacks": [L0CallbackHandler(journal=journal)]})
    (run,) = journal.runs()
    offline()
    other = invoked if way is streamed else streamed
    with l0_core.run(run["name"], journal=journal, mode="replay"):
        assert "".join(other(protect(chain), {"x": QUESTION})) == ANSWER


@ways
def test_what_was_heard_of_a_protected_model_is_given_again_too(
    way: Any, client: Client, provider: FaultyProvider, journal: Journal, offline: Any
) -> None:
    """What L0 said of the session that was heard is not said of the one in which it is given again."""
    provider.reply(ANSWER)
    model = protect(client(provider))
    way(model, QUESTION, {"callbacks": [L0CallbackHandler(journal=journal)]})
    (run,) = journal.runs()
    offline()
    for then in (streamed, invoked):
        with l0_core.run(run["name"], journal=journal, mode="replay"):
            given = then(model, QUESTION)
        message = merged(given) if isinstance(given, list) else given
        assert message.text == ANSWER
        assert message.response_metadata["l0"]["attempts"] == 1


@ways
def test_what_is_asked_otherwise_is_told(way: Any, client: Client, provider: FaultyProvider, journal: Journal) -> None:
    provider.reply(ANSWER)
    chain = ChatPromptTemplate.from_template("{x}") | client(provider) | StrOutputParser()
    way(chain, {"x": QUESTION}, {"callbacks": [L0CallbackHandler(journal=journal)]})
    (run,) = journal.runs()
    with pytest.raises(l0_core.ReplayDivergence) as raised, l0_core.run(run["name"], journal=journal, mode="replay"):
        way(protect(chain), {"x": "And of Spain?"})
    assert "Spain" in str(raised.value.actual)
    assert "France" in str(raised.value.expected)
    assert provider.request_count == 1


def test_what_is_not_asked_for_any_more_is_told(journal: Journal) -> None:
    chain = chain_of(RuleModel())
    chain.invoke({"x": QUESTION}, {"callbacks": [L0CallbackHandler(journal=journal)]})
    (run,) = journal.runs()
    shorter = ChatPromptTemplate.from_template("France") | RuleModel()
    with pytest.raises(l0_core.ReplayDivergence), l0_core.run(run["name"], journal=journal, mode="replay"):
        protect(shorter).invoke({})


def test_branches_are_given_again_in_any_order(provider: FaultyProvider, journal: Journal, offline: Any) -> None:
    provider.reply("It is Paris.", when="France")
    provider.reply("It is Madrid.", when="Spain")
    ask = ChatPromptTemplate.from_template("The capital of {x}?") | Client("openai")(provider) | StrOutputParser()
    both: Any = RunnableParallel(
        a=RunnableLambda(lambda _: {"x": "France"}) | ask, b=RunnableLambda(lambda _: {"x": "Spain"}) | ask
    )
    first = both.invoke({}, {"callbacks": [L0CallbackHandler(journal=journal)]})
    (run,) = journal.runs()
    offline()
    with l0_core.run(run["name"], journal=journal, mode="replay"):
        assert protect(both).invoke({}) == first == {"a": "It is Paris.", "b": "It is Madrid."}


def test_an_agent_is_given_again(client: Client, provider: FaultyProvider, journal: Journal, offline: Any) -> None:
    call = ToolCall("get_weather", {"city": "Paris"}, id="call_1")
    provider.conversation(Reply.of("Let me see.", tool_calls=[call]), Reply.of(ANSWER))
    made, keys = weather()
    agent: Any = create_agent(client(provider), [made])
    given: Any = {"messages": [HumanMessage(QUESTION)]}
    first = agent.invoke(given, {"callbacks": [L0CallbackHandler(journal=journal)]})
    (run,) = journal.runs()
    offline()
    with l0_core.run(run["name"], journal=journal, mode="replay"):
        second = protect(agent).invoke(given)
    assert [message.content for message in second["messages"]] == [message.content for message in first["messages"]]
    assert (provider.request_count, len(keys)) == (2, 1)


def test_a_tool_that_works_through_a_model_is_given_again_by_the_model(
    provider: FaultyProvider, journal: Journal, offline: Any
) -> None:
    provider.reply(ANSWER)
    model = Client("openai")(provider)
    done: list[str] = []

    @tool
    def ask(question: str) -> str:
        """Ask."""
        done.append(question)
        return str(model.invoke(question).content)

    chain: Any = RunnableLambda(lambda value: {"question": value["x"]}) | ask
    first = chain.invoke({"x": QUESTION}, {"callbacks": [L0CallbackHandler(journal=journal)]})
    (run,) = journal.runs()
    offline()
    with l0_core.run(run["name"], journal=journal, mode="replay"):
        assert protect(chain).invoke({"x": QUESTION}) == first == ANSWER
    assert (provider.request_count, len(done)) == (1, 2)


def test_what_failed_fails_again_and_is_not_resumed(journal: Journal) -> None:
    chain: Any = RunnableLambda(lambda value: value["x"]) | Shelf(failures=9)
    with pytest.raises(ConnectionResetError):
        chain.invoke({"x": QUESTION}, {"callbacks": [L0CallbackHandler(journal=journal)]})
    (run,) = journal.runs()
    with pytest.raises(ConnectionResetError), l0_core.run(run["name"], journal=journal, mode="replay"):
        protect(chain).invoke({"x": QUESTION})
    with (
        pytest.raises(l0_core.JournalError, match="written down by a handler"),
        l0_core.run(run["name"], journal=journal),
    ):
        pass
