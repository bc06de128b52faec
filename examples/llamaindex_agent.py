"""A LlamaIndex agent whose provider cuts the arguments of a tool call: the tool runs once, with the whole ones."""

import asyncio

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai import OpenAI

from l0_core.testing import FaultyProvider, Reply, faults
from l0_llamaindex import L0LLM


def weather(city: str) -> str:
    """Tell the weather in a city."""
    print(f"weather(city={city!r})")
    return f"{city}: sunny, 24 degrees"


async def main() -> None:
    """Let the agent call its tool and answer."""
    with FaultyProvider() as provider:
        provider.conversation(
            Reply.of("", tool_calls=[("weather", {"city": "Paris, France"})]), "It is sunny there, at 24 degrees."
        )
        provider.script(faults.tool_args_cut(chunks=4, how="end"), faults.ok())

        llm = L0LLM(llm=OpenAI(model="gpt-4o-mini", api_base=provider.openai_url, api_key="none"))
        agent = FunctionAgent(tools=[weather], llm=llm)
        print(await agent.run(user_msg="What is the weather in Paris?"))


if __name__ == "__main__":
    asyncio.run(main())
