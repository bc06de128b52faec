"""What a program is told that asked for it: that its reader waits, and that it is to discard what it was shown."""

import asyncio
from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import Any

import pytest
from clients import Client
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langgraph.graph import END, START, MessagesState, StateGraph

import l0_core
from l0_core import Continuation, Lifecycle, Policy, Retry
from l0_core.testing import FaultyProvider, faults
from l0_langchain import L0ChatModel, Reset

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")

QUESTION = "What is the capital of France?"
FIRST = "It is Paris, as far as anybody knows, and has been so since the days of Clovis."
SECOND = "Paris is the capital of France."
ANEW = Policy(continuation=Continuation(rungs=["reset"]))
ASKED: Any = {"configurable": {"l0_events": True}}


@pytest.fixture
def broken(provider: FaultyProvider) -> FaultyProvider:
    """A provider whose first answer breaks off, and whose second is worded otherwise."""
    provider.reply(SECOND)
    provider.reply(FIRST, when=lambda request: request.number == 0)
    provider.script(faults.reset_after(chunks=5), faults.ok())
    return provider


@pytest.fixture
def other() -> Iterator[FaultyProvider]:
    with FaultyProvider() as provider:
        provider.reply(SECOND)
        yield provider


async def streamed(runnable: Any, config: Any, value: Any = QUESTION) -> list[Any]:
    return await asyncio.to_thread(lambda: list(runnable.stream(value, config)))


async def astreamed(runnable: Any, config: Any, value: Any = QUESTION) -> list[Any]:
    return [chunk async for chunk in runnable.astream(value, config)]


ways = pytest.mark.parametrize("way", [streamed, astreamed])


def graph_of(model: Any) -> Any:
    async def awaited(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    from langgraph._internal._runnable import RunnableCallable

    graph = StateGraph(MessagesState)
    graph.add_node(
        "model", RunnableCallable(lambda state: {"messages": [model.invoke(state["messages"])]}, awaited, name="model")
    )
    graph.add_edge(START, "model")
    graph.add_edge("model", END)
    return graph.compile()


# Reset


@ways
async def test_a_reader_who_can_be_told_to_discard_is(way: Any, client: Client, broken: FaultyProvider) -> None:
    """G1: its one exception, opted in to twice. Added up, what was discarded is gone."""
    bare = client(broken, max_retries=0)
    chunks = await way(L0ChatModel(model=bare, policy=ANEW), ASKED)
    (place,) = [place for place, chunk in enumerate(chunks) if isinstance(chunk, Reset)]
    shown = "".join(chunk.text for chunk in chunks[:place])
    assert shown
    assert FIRST.startswith(shown)
    assert "".join(chunk.text for chunk in chunks[place:]) == SECOND
    whole = reduce(add, chunks)
    assert (type(whole), whole.text) == (AIMessageChunk, SECOND)
    assert whole.response_metadata["l0"]["attempts"] == 2
    finish = whole.response_metadata.get("finish_reason") or whole.response_metadata.get("stop_reason")
    assert finish in {"stop", "end_turn"}
    await client.close(bare)


@ways
@pytest.mark.parametrize("config", [None, {"configurable": {"l0_events": False}}], ids=["unsaid", "no"])
async def test_a_reader_who_was_not_asked_is_never_told_to(
    way: Any, config: Any, client: Client, broken: FaultyProvider
) -> None:
    """A parser in between would glue two answers together."""
    bare = client(broken, max_retries=0)
    with pytest.raises(l0_core.IncompleteError):
        await way(L0ChatModel(model=bare, policy=ANEW) | StrOutputParser(), config)
    await client.close(bare)


@pytest.mark.parametrize("is_async", [False, True], ids=["stream", "astream"])
async def test_a_graph_tells_its_reader_and_keeps_one_answer(
    client: Client, broken: FaultyProvider, *, is_async: bool
) -> None:
    bare = client(broken, max_retries=0)
    graph, given = graph_of(L0ChatModel(model=bare, policy=ANEW)), {"messages": [("user", QUESTION)]}
    modes = ["messages", "custom", "values"]
    if is_async:
        seen = [each async for each in graph.astream(given, ASKED, stream_mode=modes)]
    else:
        seen = await asyncio.to_thread(lambda: list(graph.stream(given, ASKED, stream_mode=modes)))
    shown = ""
    told = []
    for mode, data in seen:
        if mode == "custom":
            told.append(data["l0"])
            shown = "" if data["l0"] == "reset" else shown
        elif mode == "messages" and isinstance(data[0], AIMessageChunk):
            shown += data[0].text
    assert shown == SECOND
    assert told == ["reconnecting", "reset"]
    assert seen[-1][1]["messages"][-1].text == SECOND
    await client.close(bare)


async def test_events_tell_of_it_in_any_chain(client: Client, broken: FaultyProvider) -> None:
    """Also where a parser has taken the model's chunks apart."""
    bare = client(broken, max_retries=0)
    chain = ChatPromptTemplate.from_template("{x}") | L0ChatModel(model=bare, policy=ANEW) | StrOutputParser()
    shown, told = "", []
    event: Any
    async for event in chain.astream_events({"x": QUESTION}, ASKED, version="v2"):
        if event["event"] == "on_custom_event":
            told.append((event["name"], event["data"]["session_id"]))
            shown = "" if event["name"] == "l0_reset" else shown
        elif event["event"] == "on_parser_stream":
            shown += event["data"]["chunk"]
        elif event["event"] == "on_chat_model_end":
            assert event["data"]["output"].text == SECOND
    assert [name for name, _ in told] == ["l0_reconnecting", "l0_reset"]
    assert len({session for _, session in told}) == 1
    assert shown == SECOND
    await client.close(bare)


@ways
async def test_values_that_grow_begin_anew(way: Any, client: Client, provider: FaultyProvider) -> None:
    provider.reply('{"city": "Paris"}')
    provider.reply('{"name": "Paris", "people": 2100000}', when=lambda request: request.number == 0)
    provider.script(faults.reset_after(chunks=4), faults.ok())
    bare = client(provider, max_retries=0)
    values = await way(L0ChatModel(model=bare, policy=ANEW) | JsonOutputParser(), ASKED)
    assert "name" in values[0] or "name" in values[1]
    assert values[-1] == {"city": "Paris"}
    await client.close(bare)


async def test_protocol_events_cannot_take_back_and_are_not_asked_to(client: Client, broken: FaultyProvider) -> None:
    bare = client(broken, max_retries=0)
    events = L0ChatModel(model=bare, policy=ANEW).stream_events(QUESTION, ASKED, version="v3")
    with pytest.raises(l0_core.IncompleteError):
        _ = events.output
    await client.close(bare)


# Reconnecting


@ways
async def test_a_reader_hears_that_it_waits(
    way: Any, client: Client, provider: FaultyProvider, other: FaultyProvider
) -> None:
    """Before a retry and before a fallback; the program's own listeners hear it as well, whatever they do."""
    provider.script(faults.status(503))
    heard: list[str] = []

    def listen(*_: object) -> None:
        heard.append("retry")
        raise RuntimeError("a listener's own")

    bare, spare = client(provider, max_retries=0), client(other, max_retries=0)
    policy = Policy(retry=Retry(attempts=2, max_retries=1))
    model = L0ChatModel(model=bare, fallbacks=[spare], policy=policy, on=Lifecycle(on_retry=listen))
    graph = graph_of(model)
    given = {"messages": [("user", QUESTION)]}
    if way is astreamed:
        told = [each async for each in graph.astream(given, ASKED, stream_mode="custom")]
    else:
        told = await asyncio.to_thread(lambda: list(graph.stream(given, ASKED, stream_mode="custom")))
    assert [each["l0"] for each in told] == ["reconnecting"] * 2
    assert told[0]["seconds"] > 0
    assert told[0]["target"] != told[1]["target"]
    assert heard == ["retry"]
    await client.close(bare)
    await client.close(spare)


async def test_nobody_hears_what_nobody_asked_for(client: Client, provider: FaultyProvider) -> None:
    """G7."""
    provider.reply(SECOND)
    provider.script(faults.status(503), faults.ok())
    bare = client(provider, max_retries=0)
    graph = graph_of(L0ChatModel(model=bare))
    seen = [each async for each in graph.astream({"messages": [("user", QUESTION)]}, stream_mode=["custom", "values"])]
    assert {mode for mode, _ in seen} == {"values"}
    chain = ChatPromptTemplate.from_template("{x}") | L0ChatModel(model=bare)
    provider.script(faults.status(503), faults.ok())
    events = [event["event"] async for event in chain.astream_events({"x": QUESTION}, version="v2")]
    assert "on_custom_event" not in events
    await client.close(bare)


@pytest.mark.parametrize("is_async", [False, True], ids=["invoke", "ainvoke"])
async def test_a_model_by_itself_has_nobody_to_tell_and_answers(
    client: Client, provider: FaultyProvider, *, is_async: bool
) -> None:
    provider.reply(SECOND)
    provider.script(faults.status(503), faults.ok())
    bare = client(provider, max_retries=0)
    model = L0ChatModel(model=bare)
    message = await model.ainvoke(QUESTION, ASKED) if is_async else model.invoke(QUESTION, ASKED)
    assert isinstance(message, AIMessage)
    assert message.text == SECOND
    await client.close(bare)
