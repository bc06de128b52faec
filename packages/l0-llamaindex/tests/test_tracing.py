"""OpenInference's traces: the spans, kinds and tokens of a bare LLM, under the same engines."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asking_llm import QUESTION as MESSAGES
from asking_llm import Way
from engines import QUESTION, index, said
from llama_index.core.agent.workflow import FunctionAgent
from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from scripted_llm import Reply, Scripted

from l0_llamaindex import L0LLM

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::workflows.context.state_store.UnserializableKeyWarning",
)


@pytest.fixture(autouse=True)
def _left_open(left_open: None) -> None: ...


@pytest.fixture
def traced() -> Iterator[InMemorySpanExporter]:
    exporter, provider, instrumentor = InMemorySpanExporter(), TracerProvider(), LlamaIndexInstrumentor()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor.instrument(tracer_provider=provider)
    yield exporter
    instrumentor.uninstrument()
    provider.shutdown()


def told(exporter: InMemorySpanExporter) -> Counter[Any]:
    """Name, kind, tokens and parent of every span."""
    spans = exporter.get_finished_spans()
    exporter.clear()
    names = {span.context.span_id: span.name for span in spans if span.context is not None}
    return Counter(
        (
            span.name,
            (span.attributes or {}).get("openinference.span.kind"),
            tuple(sorted((name, value) for name, value in (span.attributes or {}).items() if "token_count" in name)),
            names.get(span.parent.span_id) if span.parent is not None else None,
        )
        for span in spans
    )


def tokens(spans: Counter[Any]) -> int:
    return sum(count * value for (_, _, counts, _), count in spans.items() for _, value in counts)


REPLY = Reply("The capital is Paris.", usage=(7, 5))


@pytest.mark.parametrize("method", ["chat", "complete", "stream_chat", "stream_complete"])
def test_a_call_is_traced_as_it_is_without_l0(way: Way, method: str, traced: InMemorySpanExporter) -> None:
    """G7: one span of a model, its tokens counted once."""
    given: Any = MESSAGES if "chat" in method else QUESTION
    way(Scripted(REPLY), method, given)
    bare = told(traced)
    way(L0LLM(llm=Scripted(REPLY)), method, given)
    assert told(traced) == bare
    assert [kind for _, kind, _, _ in bare] == ["LLM"]


def queried(llm: Any) -> None:
    index().as_query_engine(llm=llm).query(QUESTION)


def streamed(llm: Any) -> None:
    response: Any = index().as_query_engine(llm=llm, streaming=True).query(QUESTION)
    list(response.response_gen)


def worked(llm: Any) -> None:
    async def main() -> None:
        made: Any = FunctionAgent(tools=[], llm=llm)
        await made.run(user_msg=QUESTION)

    asyncio.run(main())


@pytest.mark.parametrize("ask", [queried, streamed, worked])
def test_an_engine_is_traced_as_it_is_without_l0(ask: Callable[[Any], None], traced: InMemorySpanExporter) -> None:
    ask(Scripted(responder=said))
    bare = told(traced)
    ask(L0LLM(llm=Scripted(responder=said)))
    assert told(traced) == bare
    assert "LLM" in {kind for _, kind, _, _ in bare}


def test_an_attempt_that_failed_has_a_span_of_its_own(way: Way, traced: InMemorySpanExporter) -> None:
    """What it cost is seen as what it is; the tokens of the answer are not counted twice."""
    way(Scripted(REPLY), "chat", MESSAGES)
    bare = told(traced)
    way(L0LLM(llm=Scripted(Reply(fails=(0, ConnectionResetError())), REPLY)), "chat", MESSAGES)
    after = told(traced)
    assert sum(after.values()) == 2
    assert tokens(after) == tokens(bare) > 0
