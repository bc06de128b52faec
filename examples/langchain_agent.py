"""A LangChain agent whose provider cuts the arguments of a tool call: the tool runs once, with the whole ones."""

from typing import Any

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

from l0_core.testing import FaultyProvider, Reply, faults
from l0_langchain import L0ChatModel


def weather(city: str) -> str:
    """Tell the weather in a city."""
    print(f"weather(city={city!r})")
    return f"{city}: sunny, 24 degrees"


def main() -> None:
    """Let the agent call its tool and answer."""
    with FaultyProvider() as provider:
        provider.conversation(
            Reply.of("", tool_calls=[("weather", {"city": "Paris, France"})]), "It is sunny there, at 24 degrees."
        )
        provider.script(faults.tool_args_cut(chunks=4, how="end"), faults.ok())

        model = L0ChatModel(
            model=ChatOpenAI(model="gpt-5-mini", base_url=provider.openai_url, api_key="none", streaming=True)
        )
        agent = create_agent(model, [weather])
        asked: Any = {"messages": [("user", "What is the weather in Paris?")]}
        print(agent.invoke(asked)["messages"][-1].text)


if __name__ == "__main__":
    main()
