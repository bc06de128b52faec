"""A LangGraph graph of two nodes: the model behind the second falls silent, and another connection goes on."""

from typing import TypedDict

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph

from l0_core import Policy, Timeouts
from l0_core.testing import FaultyProvider, faults
from l0_langchain import L0ChatModel


class State(TypedDict, total=False):
    """What goes from node to node."""

    question: str
    notes: str
    answer: str


def main() -> None:
    """Stream the graph's tokens while its provider stalls behind keep-alives."""
    with FaultyProvider(wording="varied") as provider:
        provider.reply("The Seine rises in Burgundy, near Dijon, 446 metres above the sea.", chunks=16)
        provider.script(faults.keep_alive_after(chunks=8, interval=0.05), faults.ok())
        model = L0ChatModel(
            model=ChatOpenAI(model="gpt-5-mini", base_url=provider.openai_url, api_key="none"),
            policy=Policy(timeouts=Timeouts(text=0.5)),
        )

        def look_up(_: State) -> State:
            return {"notes": "Source-Seine is a village near Dijon."}

        def answer(state: State) -> State:
            return {"answer": model.invoke(f"{state['notes']}\n\n{state['question']}").text}

        graph = StateGraph(State)
        graph.add_node("look_up", look_up)
        graph.add_node("answer", answer)
        graph.add_edge(START, "look_up")
        graph.add_edge("look_up", "answer")
        graph.add_edge("answer", END)

        told = []
        for chunk, _ in graph.compile().stream({"question": "Where does the Seine rise?"}, stream_mode="messages"):
            text = getattr(chunk, "text", "")
            print(text, end="", flush=True)
            told.append(text)
        print(f"\n\n{provider.request_count} requests, one whole answer: {provider.is_right(''.join(told))}")


if __name__ == "__main__":
    main()
