"""The story `l0 demo` tells with LlamaIndex's own client: a query engine whose provider falls silent."""

from collections.abc import Callable
from typing import Any

from llama_index.core import Document, SummaryIndex
from llama_index.core.llms import LLM
from llama_index.llms.openai import OpenAI

from l0_core import Policy, Timeouts
from l0_core.demo import Side, Story
from l0_core.testing import FaultyProvider, faults
from l0_llamaindex import L0LLM

QUESTION = "Where does the Seine rise?"
ANSWER = "The Seine rises at Source-Seine in Burgundy, near Dijon, 446 metres above the sea, in a small wood."
SILENCE_SECONDS = 3.0
PACE = faults.drip(seconds=0.025)


def play(side: Side, wrap: Callable[[LLM], LLM]) -> None:
    """Ask a streaming query engine, and show what its reader sees."""
    with FaultyProvider(wording="varied", seed=3) as server:
        server.reply(ANSWER, chunks=24)
        server.script(PACE + faults.keep_alive_after(chunks=10, interval=0.1, seconds=SILENCE_SECONDS), PACE)
        llm = wrap(OpenAI(model="gpt-4o-mini", api_base=server.openai_url, api_key="none", timeout=1.0))
        index = SummaryIndex.from_documents([Document(text="The Seine rises at Source-Seine, near Dijon.")])
        try:
            response: Any = index.as_query_engine(llm=llm, streaming=True).query(QUESTION)
            for text in response.response_gen:
                side.write(text)
        except Exception as error:  # noqa: BLE001 - whatever the program is left with is what is shown
            side.failed(error)
        side.waited()


def bare(side: Side) -> None:
    """Wait: keep-alives reset the client's own read timeout, so that it never fires."""
    play(side, lambda llm: llm)


def reliable(side: Side) -> None:
    """Leave the silent connection, and go on with another."""
    policy = Policy(timeouts=Timeouts(text=0.5))
    play(side, lambda llm: L0LLM(llm=llm, policy=policy))


STORIES = [
    Story(
        2,
        "The provider stalls behind keep-alives",
        f"A streaming query engine whose client has a read timeout of 1 s. The provider sends nothing but keep-alives "
        f"for {SILENCE_SECONDS:g} s (there it ends; in production, when somebody notices).",
        bare,
        reliable,
    )
]
