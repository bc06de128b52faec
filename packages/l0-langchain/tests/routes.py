"""Every way LangChain lets a program call a model: what the consumer saw on each."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph


@dataclass
class Seen:
    """What a consumer was given."""

    text: str = ""
    """The pieces it was shown, put together by itself."""
    message: AIMessage | None = None
    """The message it has at the end."""
    ids: set[str | None] = field(default_factory=set)
    """Of the messages the pieces said they belong to."""
    tool_runs: list[Any] = field(default_factory=list)

    def add(self, chunk: Any) -> None:
        self.text += chunk.text
        self.ids.add(chunk.id)
        if isinstance(chunk, AIMessageChunk):
            merged: Any = chunk if self.message is None else self.message + chunk
            self.message = merged

    def end(self, message: AIMessage) -> "Seen":
        self.text, self.message = message.text, message
        return self


def invoke(model: BaseChatModel, question: str) -> Seen:
    return Seen().end(model.invoke(question))


async def ainvoke(model: BaseChatModel, question: str) -> Seen:
    return Seen().end(await model.ainvoke(question))


def stream(model: BaseChatModel, question: str) -> Seen:
    seen = Seen()
    for chunk in model.stream(question):
        seen.add(chunk)
    return seen


async def astream(model: BaseChatModel, question: str) -> Seen:
    seen = Seen()
    async for chunk in model.astream(question):
        seen.add(chunk)
    return seen


async def astream_events(model: BaseChatModel, question: str) -> Seen:
    seen = Seen()
    async for event in model.astream_events(question, version="v2"):
        if event["event"] == "on_chat_model_stream":
            seen.add(event["data"]["chunk"])
    return seen


def stream_events_v3(model: BaseChatModel, question: str) -> Seen:
    events = model.stream_events(question, version="v3")
    seen = Seen(text="".join(events.text))
    seen.message = events.output
    assert isinstance(seen.message, AIMessage)
    assert seen.message.text == seen.text
    return seen


async def astream_events_v3(model: BaseChatModel, question: str) -> Seen:
    events = await model.astream_events(question, version="v3")
    seen = Seen()
    async for piece in events.text:
        seen.text += piece
    seen.message = await events.output
    assert isinstance(seen.message, AIMessage)
    assert seen.message.text == seen.text
    return seen


def graph_messages(model: BaseChatModel, question: str) -> Seen:
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "model")
    graph.add_edge("model", END)
    seen = Seen()
    compiled: Any = graph.compile()
    for chunk, _ in compiled.stream({"messages": [("user", question)]}, stream_mode="messages"):
        seen.add(chunk)
    return seen


def agent(model: BaseChatModel, question: str) -> Seen:
    """An agent whose tokens are shown: the pieces of its last answer, and what its tool was called with."""
    seen = Seen()

    @tool
    def get_weather(city: str) -> str:
        """Look up the weather."""
        seen.tool_runs.append(city)
        return "Sunny."

    made: Any = create_agent(model, [get_weather])
    for mode, data in made.stream({"messages": [("user", question)]}, stream_mode=["messages", "values"]):
        if mode == "messages" and isinstance(data[0], AIMessageChunk):
            seen.text += data[0].text
            seen.ids.add(data[0].id)
        elif mode == "values":
            last = data["messages"][-1]
            seen.message = last if isinstance(last, AIMessage) else seen.message
    return seen


ROUTES: dict[str, Callable[[BaseChatModel, str], Any]] = {
    route.__name__: route
    for route in (
        invoke,
        ainvoke,
        stream,
        astream,
        astream_events,
        stream_events_v3,
        astream_events_v3,
        graph_messages,
        agent,
    )
}
STREAMED = set(ROUTES) - {"invoke", "ainvoke"}


async def take(route: str, model: BaseChatModel, question: str) -> Seen:
    """Call the model by a route: what blocks runs in a thread, so that the loop stays free."""
    call = ROUTES[route]
    seen = (
        await call(model, question)
        if inspect.iscoroutinefunction(call)
        else await asyncio.to_thread(call, model, question)
    )
    assert isinstance(seen, Seen)
    return seen
