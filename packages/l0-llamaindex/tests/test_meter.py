"""How often a program is healed, in figures: the recovery meter, with L0 and without."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asking_llm import policy
from engines import EMBEDDING, QUESTION, nodes
from llama_index.core import VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.chat_engine.simple import SimpleChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from providers import client

from l0_core.testing import FaultyProvider, faults, measure
from l0_core.testing.meter import Report
from l0_llamaindex import L0LLM

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
)


@pytest.fixture(autouse=True)
def _left_open(left_open: None) -> None: ...


POLICY = policy(timeouts={"open": 3.0, "first": 0.5, "text": 0.5, "reasoning": 0.5, "tool_args": 0.5, "call": 3.0})
# Faults of connections and of what comes over them: every one passes, and every one can be told.
MIX = {
    faults.reset_after(chunks=4): 2,
    faults.close_after(chunks=6): 2,
    faults.eof_after(chunks=5): 2,
    faults.no_finish(): 1,
    faults.malformed_event(): 1,
    faults.error_event(): 1,
    faults.rate_limit(): 1,
    faults.status(code=503): 1,
    faults.html_200(): 1,
    faults.empty_200(): 1,
}
INDEX = VectorStoreIndex(nodes=nodes(), embed_model=EMBEDDING)
TOOL = FunctionTool.from_defaults(fn=lambda city: city, name="weather", description="Tells the weather.")


def stream_chat(llm: Any) -> str:
    return "".join(chunk.delta or "" for chunk in llm.stream_chat([ChatMessage(content=QUESTION)]))


def chat(llm: Any) -> str:
    return str(llm.chat([ChatMessage(content=QUESTION)]).message.content)


def query_engine(llm: Any) -> str:
    response: Any = INDEX.as_query_engine(llm=llm, streaming=True).query(QUESTION)
    return "".join(response.response_gen)


def chat_engine(llm: Any) -> str:
    return "".join(SimpleChatEngine.from_defaults(llm=llm).stream_chat(QUESTION).response_gen)


def agent(llm: Any) -> str:
    async def main() -> str:
        made: Any = FunctionAgent(tools=[TOOL], llm=llm)
        return str(await made.run(user_msg=QUESTION))

    return asyncio.run(main())


PROGRAMS: dict[str, Callable[[Any], str]] = {
    ask.__name__: ask for ask in (stream_chat, chat, query_engine, chat_engine, agent)
}


def measured(ask: Callable[[Any], str], wording: Any, n: int, *, wrapped: bool, name: str = "openai") -> Report:
    def call(provider: FaultyProvider) -> str:
        with client(name, provider, max_retries=0) as inner:
            return ask(L0LLM(llm=inner, policy=POLICY) if wrapped else inner)

    return measure(call, MIX, n, seed=7, wording=wording)


def check(report: Report, wording: str, *, goes_on: bool) -> None:
    """Hold a report against what is promised; `goes_on` says whether the endpoint takes the beginning of an answer.

    Elsewhere a model is asked to repeat its last words, and now and then does not: where it has more to say in other
    words as well, what was shown cannot be completed, and that is said.
    """
    assert not report.outcomes["wrong"], str(report)
    assert not report.outcomes["raised"], str(report)
    if wording == "identical":
        assert report.share("exact") == 1.0, str(report)
    assert report.share("exact", "complete") >= (1.0 if goes_on or wording == "identical" else 0.8), str(report)


@pytest.mark.parametrize("wording", ["identical", "varied"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_passes_is_healed_and_nothing_wrong_is_given(name: str, wording: str) -> None:
    """G1, G4: every call ends with a whole answer, or says that it does not."""
    check(measured(PROGRAMS[name], wording, 12, wrapped=True), wording, goes_on=False)


@pytest.mark.matrix
@pytest.mark.parametrize("wording", ["identical", "varied"])
@pytest.mark.parametrize("client_name", ["openai", "anthropic"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_figures_beside_bare(name: str, client_name: str, wording: str) -> None:
    """Bare, most calls end with an error or with a part that is taken for a whole; with L0 no part ever is."""
    bare = measured(PROGRAMS[name], wording, 60, wrapped=False, name=client_name)
    reliable = measured(PROGRAMS[name], wording, 60, wrapped=True, name=client_name)
    print(f"\n{client_name} {name} {wording}: bare {dict(bare.outcomes)}, L0 {dict(reliable.outcomes)}")  # noqa: T201 - figures to read
    check(reliable, wording, goes_on=client_name == "anthropic")
    assert bare.share("exact", "complete") < 0.5, str(bare)


def test_bare_does_not_heal() -> None:
    """What the figures above are worth."""
    report = measured(stream_chat, "identical", 12, wrapped=False)
    assert report.share("exact", "complete") < 0.5
    assert report.outcomes["wrong"]
