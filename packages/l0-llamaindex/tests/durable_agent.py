"""A program around an agent and a provider that is reached over HTTP, for tests that kill it."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI

import l0_core
from l0_llamaindex import L0LLM, protect


async def main(journal: str, notes: str, url: str, mode: str, blocks: str) -> None:
    """Ask an agent once; print every piece of what it says, and note every call of its tool."""

    def weather(city: str) -> str:
        """Tell the weather in a city."""
        with Path(notes).open("a", encoding="utf-8") as file:
            file.write(f"{city} {l0_core.idempotency_key()}\n")
        if blocks == "yes":
            print("called", file=sys.stderr, flush=True)  # noqa: T201 - what it is for
            sys.stdin.read()  # It never comes to an end: the process does.
        return "sunny"

    llm = L0LLM(llm=OpenAI(model="gpt-4o-mini", api_base=url, api_key="none"))
    made: Any = FunctionAgent(tools=[FunctionTool.from_defaults(weather)], llm=llm)
    agent = protect(made)
    async with l0_core.run("job", journal=journal, mode=mode):  # type: ignore[arg-type]
        handler = agent.run(user_msg="What is the weather in Paris?")
        async for event in handler.stream_events():
            if isinstance(event, AgentStream):
                print(event.delta, end="", flush=True)  # noqa: T201 - what it is for
        await handler


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
