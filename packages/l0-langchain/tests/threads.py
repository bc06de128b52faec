"""A graph and an agent that speak in a thread, whose checkpoints outlive the process; as a program, one that is killed.

python threads.py graph|agent sync|async URL FOLDER KILL_AT
"""

import asyncio
import os
import pickle
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

import l0_core
from l0_langchain import L0Middleware, protect

QUESTION = "What is the capital of France?"
CONFIG: Any = {"configurable": {"thread_id": "42"}}


class FileSaver(InMemorySaver):
    """Keeps checkpoints in a file: what was put is there when the process is gone."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._writing = threading.Lock()
        if file.exists():
            storage, writes, blobs = pickle.loads(file.read_bytes())  # noqa: S301 - its own
            for thread, spaces in storage.items():
                self.storage[thread].update(spaces)
            self.writes.update(writes)
            self.blobs.update(blobs)

    def put(self, *args: Any, **kwargs: Any) -> Any:
        with self._writing:
            made = super().put(*args, **kwargs)
            self._keep()
        return made

    def put_writes(self, *args: Any, **kwargs: Any) -> None:
        with self._writing:
            super().put_writes(*args, **kwargs)
            self._keep()

    def _keep(self) -> None:
        storage = {thread: dict(spaces) for thread, spaces in self.storage.items()}
        new = self._file.with_suffix(".new")
        new.write_bytes(pickle.dumps((storage, dict(self.writes), dict(self.blobs))))
        new.replace(self._file)


def graph_of(model: Any, folder: Path, saver: Any, *, is_async: bool = False) -> Any:
    """One node that charges, asks for the form of address, and answers."""
    charge, ask = charging(folder), protect(model, journal=str(folder / "l0.db"))
    charge = protect(charge, journal=str(folder / "l0.db"))

    def answer(state: MessagesState) -> Any:
        receipt = charge.invoke({"city": "Paris"})
        name = ask.invoke(f"Who asks? {receipt}")
        return {"messages": [name, ask.invoke([*state["messages"], HumanMessage(QUESTION)])]}

    async def aanswer(state: MessagesState) -> Any:
        receipt = await charge.ainvoke({"city": "Paris"})
        name = await ask.ainvoke(f"Who asks? {receipt}")
        return {"messages": [name, await ask.ainvoke([*state["messages"], HumanMessage(QUESTION)])]}

    graph: Any = StateGraph(MessagesState)
    graph.add_node("answer", aanswer if is_async else answer)
    graph.add_edge(START, "answer")
    return graph.compile(checkpointer=saver)


def agent_of(model: Any, folder: Path, saver: Any, *, is_async: bool = False) -> Any:
    """An agent that charges, and answers."""
    middleware = L0Middleware(journal=str(folder / "l0.db"))
    return create_agent(model, [charging(folder)], middleware=[middleware], checkpointer=saver)


KINDS = {"graph": graph_of, "agent": agent_of}


def charging(folder: Path) -> Any:
    def done(city: str) -> str:
        with (folder / "charged").open("a") as charged:
            charged.write(f"{l0_core.idempotency_key()}\n")
        return f"charged in {city}"

    async def adone(city: str) -> str:
        return done(city)

    charge = tool("charge", description="Charge.")(done)
    charge.coroutine = adone
    return charge


def model_of(url: str) -> ChatOpenAI:
    fields: dict[str, Any] = {"model": "gpt-4o-mini", "base_url": url, "api_key": "x"}
    return ChatOpenAI(**fields)


def main(kind: str, way: str, url: str, folder: str, kill_at: str) -> None:
    """Ask, and die when so many characters of the last answer were shown."""
    saver = FileSaver(Path(folder) / "checkpoints")
    made = KINDS[kind](model_of(url), Path(folder), saver, is_async=way == "async")
    given: Any = {"messages": [HumanMessage(QUESTION)]}
    said: dict[str | None, str] = {}

    def see(message: Any) -> None:
        if isinstance(message, AIMessageChunk) and message.text:
            said[message.id] = said.get(message.id, "") + message.text
            if len(said[message.id]) >= int(kill_at):
                sys.stdout.write(said[message.id])
                sys.stdout.flush()
                os.kill(os.getpid(), signal.SIGKILL)

    async def awaited() -> None:
        async for message, _ in made.astream(given, CONFIG, stream_mode="messages", durability="sync"):
            see(message)

    if way == "async":
        asyncio.run(awaited())
    else:
        for message, _ in made.stream(given, CONFIG, stream_mode="messages", durability="sync"):
            see(message)


if __name__ == "__main__":
    main(*sys.argv[1:])
