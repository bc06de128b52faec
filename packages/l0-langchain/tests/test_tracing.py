"""Traced, a call is one run with the tokens of a bare model (G7), whatever failed on the way."""

import asyncio
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from clients import Client
from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tracers.langchain import LangChainTracer
from langsmith import Client as LangSmith
from openinference.instrumentation.langchain import LangChainInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from l0_core.testing import FaultyProvider, faults
from l0_langchain import L0ChatModel

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris, which lies on the Seine."
WAYS = ("invoke", "stream", "ainvoke", "astream", "chain")


async def ask(model: BaseChatModel, way: str, config: Any = None) -> None:
    match way:
        case "invoke":
            await asyncio.to_thread(model.invoke, QUESTION, config)
        case "stream":
            await asyncio.to_thread(lambda: list(model.stream(QUESTION, config, stream_usage=True)))
        case "ainvoke":
            await model.ainvoke(QUESTION, config)
        case "astream":
            _ = [chunk async for chunk in model.astream(QUESTION, config, stream_usage=True)]
        case _:
            chain = ChatPromptTemplate.from_template("{x}") | model | StrOutputParser()
            await asyncio.to_thread(lambda: list(chain.stream({"x": QUESTION}, config)))


class Sent(LangSmith):
    """What would be sent, kept here."""

    def __init__(self) -> None:
        super().__init__(api_key="x", api_url="http://127.0.0.1:9", auto_batch_tracing=False, session=mock.MagicMock())
        self.kept: dict[Any, dict[str, Any]] = {}

    def create_run(self, name: str, inputs: Any, run_type: Any, **kwargs: Any) -> None:
        self.kept[kwargs["id"]] = {"name": name, "type": run_type, **kwargs}

    def update_run(self, run_id: Any, **kwargs: Any) -> None:
        self.kept[run_id] |= kwargs


def usage(run: dict[str, Any]) -> Any:
    ((generation,),) = run["outputs"]["generations"]
    told = dict(generation["message"]["kwargs"].get("usage_metadata") or {})
    return {name: told.get(name) for name in ("input_tokens", "output_tokens", "total_tokens")}


async def langsmith_runs(model: BaseChatModel, way: str) -> list[Any]:
    sent = Sent()
    tracer = LangChainTracer(client=sent)
    await ask(model, way, {"callbacks": [tracer]})
    tracer.wait_for_futures()
    return [
        (run["name"], run["type"], usage(run) if run["type"] == "llm" else None, bool(run.get("error")))
        for run in sent.kept.values()
    ]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fails", [False, True], ids=["well", "after a fault"])
async def test_langsmith_sees_one_run(client: Client, provider: FaultyProvider, way: str, *, fails: bool) -> None:
    provider.reply(ANSWER)
    bare = client(provider)
    expected = await langsmith_runs(bare, way)
    provider.script(faults.status(503) if fails else faults.ok(), faults.ok())
    assert await langsmith_runs(L0ChatModel(model=bare), way) == expected
    assert [kind for _, kind, *_ in expected].count("llm") == 1
    await client.close(bare)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield exporter
    instrumentor.uninstrument()
    provider.shutdown()


def told(exporter: InMemorySpanExporter) -> list[Any]:
    seen = [
        (
            span.name,
            span.status.status_code.name,
            {name: value for name, value in (span.attributes or {}).items() if "token_count" in name},
            (span.attributes or {}).get("openinference.span.kind"),
        )
        for span in exporter.get_finished_spans()
    ]
    exporter.clear()
    return seen


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fails", [False, True], ids=["well", "after a fault"])
async def test_openinference_sees_one_run(
    client: Client, provider: FaultyProvider, spans: InMemorySpanExporter, way: str, *, fails: bool
) -> None:
    provider.reply(ANSWER)
    bare = client(provider)
    await ask(bare, way)
    expected = told(spans)
    provider.script(faults.status(503) if fails else faults.ok(), faults.ok())
    await ask(L0ChatModel(model=bare), way)
    assert told(spans) == expected
    assert [kind for *_, kind in expected].count("LLM") == 1
    await client.close(bare)
