"""What users write around engines: chat modes, pipelines, memories, workflows, evaluations, calls of many at once."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from engines import (
    EMBEDDING,
    QUESTION,
    SCENARIOS,
    TEXTS,
    WEATHER,
    City,
    ascenario,
    docs_tool,
    index,
    nodes,
    notes_tool,
    pieces,
    scenario,
    told,
    weather,
)
from llama_index.core import Document, Settings, SummaryIndex, TreeIndex, VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler, TokenCountingHandler
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.evaluation import (
    AnswerRelevancyEvaluator,
    BatchEvalRunner,
    ContextRelevancyEvaluator,
    FaithfulnessEvaluator,
    PairwiseComparisonEvaluator,
    RelevancyEvaluator,
)
from llama_index.core.extractors import SummaryExtractor, TitleExtractor
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.llms import LLM, ChatMessage, ImageBlock, TextBlock
from llama_index.core.memory import FactExtractionMemoryBlock, Memory, StaticMemoryBlock
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.objects import ObjectIndex
from llama_index.core.query_engine import (
    RetrieverQueryEngine,
    RetrySourceQueryEngine,
    RouterQueryEngine,
    ToolRetrieverRouterQueryEngine,
)
from llama_index.core.retrievers import RecursiveRetriever, RouterRetriever, VectorIndexAutoRetriever
from llama_index.core.schema import IndexNode
from llama_index.core.tools import FunctionTool, RetrieverTool
from llama_index.core.vector_stores.types import MetadataInfo, VectorStoreInfo
from llama_index.core.workflow import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    JsonSerializer,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)

PIXEL = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x04\x00\x00\x00\xb5\x1c\x0c\x02\x00\x00\x00\x0b"
    b"IDATx\xdacd\xf8\x0f\x00\x01\x05\x01\x01'\x18\xe3f\x00\x00\x00\x00IEND\xaeB`\x82"
)

for mode in (ChatMode.BEST, ChatMode.CONTEXT, ChatMode.CONDENSE_QUESTION, ChatMode.SIMPLE):

    @scenario(f"chat of an index, {mode.value}")
    def chat(llm: LLM, mode: ChatMode = mode) -> Any:
        engine = index().as_chat_engine(chat_mode=mode, llm=llm)
        return str(engine.chat(QUESTION)), pieces(engine.stream_chat("And of Italy?")), told(engine)


@scenario("what is said by settings alone")
def settings_alone(llm: LLM) -> Any:
    Settings.embed_model = EMBEDDING
    documents = [Document(text=text, id_=f"doc-{place}") for place, text in enumerate(TEXTS)]
    engine = VectorStoreIndex.from_documents(documents).as_query_engine()
    return str(engine.query(QUESTION)), str(SummaryIndex(nodes()).as_chat_engine().chat(QUESTION))


@scenario("a pipeline with a cache")
def pipeline(llm: LLM) -> Any:
    made = IngestionPipeline(
        transformations=[
            SentenceSplitter(chunk_size=64, chunk_overlap=0),
            TitleExtractor(llm=llm, num_workers=1),
            SummaryExtractor(llm=llm, num_workers=1),
            EMBEDDING,
        ],
        cache=IngestionCache(),
    )
    documents = [Document(text=" ".join(TEXTS), id_="doc")]
    first, again = ([(node.metadata, node.get_content()) for node in made.run(documents=documents)] for _ in range(2))
    return first, again


@ascenario("a memory of facts")
async def facts(llm: LLM) -> Any:
    memory = Memory.from_defaults(
        session_id="s",
        token_limit=60,
        chat_history_token_ratio=0.3,
        token_flush_size=20,
        memory_blocks=[
            StaticMemoryBlock(name="home", static_content=[TextBlock(text="Lives in Paris.")]),
            FactExtractionMemoryBlock(name="facts", llm=llm, max_facts=2, priority=1),
        ],
    )
    agent: Any = FunctionAgent(tools=[WEATHER], llm=llm)
    answers = [str(await agent.run(user_msg=turn, memory=memory)) for turn in (QUESTION, "And tomorrow?", "And then?")]
    return answers, [str(message) for message in await memory.aget()]


@scenario("an image")
def image(llm: LLM) -> Any:
    blocks = [ImageBlock(image=PIXEL, image_mimetype="image/png"), TextBlock(text="What is this?")]
    message = ChatMessage(role="user", blocks=blocks)
    return str(llm.chat([message])), [chunk.delta for chunk in llm.stream_chat([message])]


@scenario("further evaluators")
def evaluators(llm: LLM) -> Any:
    given: dict[str, Any] = {"query": QUESTION, "response": "Paris.", "contexts": TEXTS, "reference": "Paris."}
    made = [AnswerRelevancyEvaluator(llm=llm), ContextRelevancyEvaluator(llm=llm)]
    results = [evaluator.evaluate(**given) for evaluator in made]
    results.append(PairwiseComparisonEvaluator(llm=llm).evaluate(**given, second_response="Rome."))
    return [(result.passing, result.score, result.feedback) for result in results]


@ascenario("a batch of evaluations")
async def batch(llm: LLM) -> Any:
    runner = BatchEvalRunner({"f": FaithfulnessEvaluator(llm=llm), "r": RelevancyEvaluator(llm=llm)}, workers=4)
    results = await runner.aevaluate_queries(index().as_query_engine(llm=llm), queries=[QUESTION, "Which river?"])
    return {name: [(result.passing, result.score) for result in these] for name, these in sorted(results.items())}


@scenario("a retriever that writes its own query")
def auto_retriever(llm: LLM) -> Any:
    about = VectorStoreInfo(
        content_info="cities", metadata_info=[MetadataInfo(name="country", type="str", description="where it lies")]
    )
    retriever = VectorIndexAutoRetriever(index(), vector_store_info=about, llm=llm)
    return sorted(node.node_id for node in retriever.retrieve(QUESTION))


@scenario("a router of retrievers")
def router_of_retrievers(llm: LLM) -> Any:
    tools = [
        RetrieverTool.from_defaults(index().as_retriever(), name="cities", description="Cities."),
        RetrieverTool.from_defaults(SummaryIndex(nodes()).as_retriever(), name="all", description="Everything."),
    ]
    retriever = RouterRetriever.from_defaults(retriever_tools=tools, llm=llm)
    return sorted(node.node_id for node in retriever.retrieve(QUESTION))


@ascenario("a router by default")
async def router(llm: LLM) -> Any:
    engine = RouterQueryEngine.from_defaults([docs_tool(llm), notes_tool(llm)], llm=llm, select_multi=True)
    return str(await engine.aquery(QUESTION))


@scenario("a router over retrieved tools")
def router_of_tools(llm: LLM) -> Any:
    tools: Any = ObjectIndex.from_objects(
        [docs_tool(llm), notes_tool(llm)], index_cls=VectorStoreIndex, embed_model=EMBEDDING
    )
    return str(ToolRetrieverRouterQueryEngine(tools.as_retriever(similarity_top_k=2), llm=llm).query(QUESTION))


@scenario("retries of a source")
def retry_source(llm: LLM) -> Any:
    engine = RetrieverQueryEngine.from_args(index().as_retriever(), llm=llm)
    return str(RetrySourceQueryEngine(engine, RelevancyEvaluator(llm=llm), llm=llm).query(QUESTION))


@scenario("engines in an index")
def recursive(llm: LLM) -> Any:
    node = IndexNode(text="Capitals", index_id="docs", id_="capitals")
    retriever = RecursiveRetriever(
        "root",
        retriever_dict={"root": VectorStoreIndex(nodes=[node], embed_model=EMBEDDING).as_retriever()},
        query_engine_dict={"docs": index().as_query_engine(llm=llm)},
    )
    return str(RetrieverQueryEngine.from_args(retriever, llm=llm).query(QUESTION))


@scenario("a tree made and asked in every way")
def tree_modes(llm: LLM) -> Any:
    made = TreeIndex(nodes(), llm=llm, num_children=2, use_async=True)
    ways: list[dict[str, Any]] = [
        {"retriever_mode": "select_leaf"},
        {"retriever_mode": "select_leaf_embedding", "embed_model": EMBEDDING},
        {"retriever_mode": "all_leaf"},
        {"retriever_mode": "root"},
    ]
    return [str(made.as_query_engine(llm=llm, **way).query(QUESTION)) for way in ways]


@scenario("tokens counted by callbacks")
def counted(llm: LLM) -> Any:
    tokens, calls = TokenCountingHandler(), LlamaDebugHandler(print_trace_on_end=False)
    before = llm.callback_manager
    Settings.callback_manager = llm.callback_manager = CallbackManager([tokens, calls])
    try:
        index().as_query_engine(llm=llm).query(QUESTION)
        streamed: Any = index().as_query_engine(llm=llm, streaming=True).query(QUESTION)
        pieces(streamed)
        llm.complete("Hello")
        list(llm.stream_complete("Hello again"))
    finally:
        llm.callback_manager = before
    return tokens.prompt_llm_token_count, tokens.completion_llm_token_count, len(calls.get_llm_inputs_outputs())


class Said(Event):
    """A piece of an answer, or all of it."""

    text: str


class Interview(Workflow):
    """Asks a model, then a human, then the model again."""

    def __init__(self, llm: LLM) -> None:
        super().__init__(timeout=None)
        self.llm = llm

    @step
    async def begin(self, ctx: Context, event: StartEvent) -> InputRequiredEvent:
        await ctx.store.set("question", event.question)
        return InputRequiredEvent(prefix=str(await self.llm.acomplete(event.question)))  # type: ignore[call-arg]

    @step
    async def go_on(self, ctx: Context, event: HumanResponseEvent) -> Said:
        whole = ""
        async for chunk in await self.llm.astream_complete(event.response):
            ctx.write_event_to_stream(Said(text=chunk.delta or ""))
            whole += chunk.delta or ""
        return Said(text=whole)

    @step
    async def end(self, ctx: Context, event: Said) -> StopEvent:
        answer = await self.llm.achat([ChatMessage(role="user", content=event.text)])
        return StopEvent(result=(await ctx.store.get("question"), event.text, str(answer)))


@ascenario("a workflow with a human in it")
async def interview(llm: LLM) -> Any:
    handler = Interview(llm).run(question=QUESTION)
    seen = []
    async for event in handler.stream_events():
        seen.append((type(event).__name__, event.get("text", "")))
        if isinstance(event, InputRequiredEvent):
            handler.ctx.send_event(HumanResponseEvent(response=f"Yes. {event.prefix}"))  # type: ignore[call-arg]
    return await handler, seen


@ascenario("a workflow taken up from a checkpoint")
async def checkpoint(llm: LLM) -> Any:
    workflow = Interview(llm)
    handler = workflow.run(question=QUESTION)
    kept = ""
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            kept = json.dumps(handler.ctx.to_dict(serializer=JsonSerializer()))
            await handler.cancel_run()
            break
    context = Context.from_dict(workflow, json.loads(kept), serializer=JsonSerializer())
    again = workflow.run(ctx=context)
    context.send_event(HumanResponseEvent(response="Yes."))  # type: ignore[call-arg]
    return await again


@ascenario("an agent taken up from its context")
async def kept_agent(llm: LLM) -> Any:
    agent: Any = FunctionAgent(tools=[WEATHER], llm=llm)
    context = Context(agent)
    first = str(await agent.run(user_msg=QUESTION, ctx=context))
    kept = json.loads(json.dumps(context.to_dict(serializer=JsonSerializer())))
    again = Context.from_dict(agent, kept, serializer=JsonSerializer())
    return first, str(await agent.run(user_msg="And tomorrow?", ctx=again))


@ascenario("an agent whose tool changes its state")
async def stateful(llm: LLM) -> Any:
    async def weather(ctx: Context, city: str) -> str:
        """Tell the weather in a city."""
        async with ctx.store.edit_state() as state:
            state["asked"] = city
        return f"It is sunny in {city}."

    agent = FunctionAgent(name="forecaster", description="Knows the weather.", tools=[weather], llm=llm)
    workflow: Any = AgentWorkflow(agents=[agent], root_agent="forecaster", initial_state={"asked": ""}, output_cls=City)
    context = Context(workflow)
    result = await workflow.run(user_msg=QUESTION, ctx=context)
    return str(result), result.structured_response, await context.store.get("asked", None)


@ascenario("agents that end with their tool")
async def direct(llm: LLM) -> Any:
    tool = FunctionTool.from_defaults(fn=weather, return_direct=True)
    agents: list[Any] = [FunctionAgent(tools=[tool], llm=llm), ReActAgent(tools=[tool], llm=llm)]
    return [str(await agent.run(user_msg=QUESTION)) for agent in agents]


@ascenario("an agent told which tool, of those retrieved")
async def retrieved_tools(llm: LLM) -> Any:
    tools: Any = ObjectIndex.from_objects([WEATHER], index_cls=VectorStoreIndex, embed_model=EMBEDDING)
    agent: Any = FunctionAgent(
        tool_retriever=tools.as_retriever(similarity_top_k=1),
        llm=llm,
        initial_tool_choice="weather",
        allow_parallel_tool_calls=False,
    )
    return str(await agent.run(user_msg=QUESTION))


@ascenario("fifty at once")
async def fifty(llm: LLM) -> Any:
    return [str(answer) for answer in await asyncio.gather(*(llm.acomplete(f"Number {n}?") for n in range(50)))]


@scenario("fifty in threads")
def threads(llm: LLM) -> Any:
    def ask(number: int) -> str:
        return "".join(chunk.delta or "" for chunk in llm.stream_complete(f"Number {number}?"))

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(ask, range(50)))


@scenario("keywords of a call")
def keywords(llm: LLM) -> Any:
    messages = [ChatMessage(role="user", content="Hello")]
    answers = [
        llm.chat(messages, max_tokens=77),
        llm.chat(messages=messages, extra_headers={"x-mine": "1"}),
        llm.complete("Hello", max_tokens=33),
        llm.complete(prompt="Hello"),
        llm.complete("Hello", True),  # noqa: FBT003 - as LlamaIndex has it
    ]
    chunks = [chunk.text for chunk in llm.stream_complete("Hello", formatted=True)]
    return [str(answer) for answer in answers], chunks


PROGRAMS = frozenset(SCENARIOS)
"""These and the engines."""
