"""Everything in LlamaIndex that runs on an LLM, each with a question: what a wrapped LLM must not change."""

import asyncio
import json
import re
import zlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from llama_index.core import (
    Document,
    DocumentSummaryIndex,
    PromptTemplate,
    PropertyGraphIndex,
    SQLDatabase,
    SummaryIndex,
    TreeIndex,
    VectorStoreIndex,
)
from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, CodeActAgent, FunctionAgent, ReActAgent
from llama_index.core.chat_engine import CondensePlusContextChatEngine, CondenseQuestionChatEngine
from llama_index.core.chat_engine.context import ContextChatEngine
from llama_index.core.chat_engine.simple import SimpleChatEngine
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.evaluation import (
    CorrectnessEvaluator,
    FaithfulnessEvaluator,
    GuidelineEvaluator,
    RelevancyEvaluator,
)
from llama_index.core.extractors import (
    DocumentContextExtractor,
    KeywordExtractor,
    QuestionsAnsweredExtractor,
    SummaryExtractor,
    TitleExtractor,
)
from llama_index.core.indices.property_graph import (
    DynamicLLMPathExtractor,
    LLMSynonymRetriever,
    SchemaLLMPathExtractor,
    SimpleLLMPathExtractor,
)
from llama_index.core.indices.query.query_transform import HyDEQueryTransform, StepDecomposeQueryTransform
from llama_index.core.llms import LLM, ChatMessage
from llama_index.core.memory import ChatMemoryBuffer, ChatSummaryMemoryBuffer
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.postprocessor import LLMRerank, StructuredLLMRerank
from llama_index.core.postprocessor.rankGPT_rerank import RankGPTRerank
from llama_index.core.program import FunctionCallingProgram, LLMTextCompletionProgram
from llama_index.core.query_engine import (
    CitationQueryEngine,
    FLAREInstructQueryEngine,
    MultiStepQueryEngine,
    NLSQLTableQueryEngine,
    RetryGuidelineQueryEngine,
    RetryQueryEngine,
    RouterQueryEngine,
    SubQuestionQueryEngine,
    TransformQueryEngine,
)
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.selectors import (
    LLMMultiSelector,
    LLMSingleSelector,
    PydanticMultiSelector,
    PydanticSingleSelector,
)
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.tools import FunctionTool, QueryEngineTool
from llama_index.core.workflow import Context
from pydantic import BaseModel
from scripted_llm import Reply

QUESTION = "What is the capital of France?"


class Letters(MockEmbedding):
    """Embeds by the letters there are, so that no two texts are as near as each other."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return [float(text.count(letter)) + 0.01 for letter in "aeirst"]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embedding(text)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


EMBEDDING = Letters(embed_dim=6)
TEXTS = [
    "Paris is the capital of France. It lies on the Seine.",
    "Berlin is the capital of Germany. It lies on the Spree.",
    "Rome is the capital of Italy. It lies on the Tiber.",
]

Scenario = Callable[[LLM], Any]
SCENARIOS: dict[str, Scenario] = {}


class City(BaseModel):
    """A city."""

    name: str
    inhabitants: int


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


WEATHER = FunctionTool.from_defaults(fn=weather)


# What the model says -------------------------------------------------------------------------------------------------


def instance_of(schema: dict[str, Any], root: dict[str, Any] | None = None) -> Any:  # noqa: PLR0911 - one kind, one return
    """Return something that a schema allows."""
    root = schema if root is None else root
    if "$ref" in schema:
        return instance_of(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return instance_of(schema["anyOf"][0], root)
    match schema.get("type"):
        case "object":
            return {name: instance_of(of, root) for name, of in schema.get("properties", {}).items()}
        case "array":
            return [instance_of(schema["items"], root)] if "items" in schema else []
        case "integer":
            return 1
        case "number":
            return 1.0
        case "boolean":
            return True
        case _:
            return "Paris"


def call_of(tool: dict[str, Any]) -> tuple[str, str]:
    function = tool["function"]
    args = instance_of(function["parameters"])
    if function["name"] == "handoff":
        args["to_agent"] = "forecaster"
    return function["name"], json.dumps(args)


SAYINGS: list[tuple[str, str]] = [
    (r"user: Observation:", "Thought: I can answer without using any more tools.\nAnswer: It is sunny in Paris."),
    (r"Action Input:", 'Thought: I need a tool.\nAction: weather\nAction Input: {"city": "Paris"}'),
    (r"executed|<execute>", "It is 2."),
    (r"Some choices are given below", '[{"choice": 1, "reason": "it fits"}]'),
    (
        r"output a list of relevant sub-questions",
        '```json\n{"items": [{"sub_question": "Which river?", "tool_name": "docs"}]}\n```',
    ),
    (r"Doc: 9, Relevance: 7", "Doc: 1, Relevance: 9\nDoc: 2, Relevance: 3"),
    (r"RankGPT", "[2] > [1] > [3]"),
    (r"Triplets:", "(Paris, is capital of, France)\n(Paris, lies on, Seine)"),
    (r"You must return your response in a line with only the score", "4.0\nIt is right."),
    (r'"passing"', '{"passing": true, "feedback": "fine"}'),
    (r"JSON schema to follow", '{"name": "Paris", "inhabitants": 1}'),
    (r"YES|NO", "YES"),
    (r"SQLQuery", "SELECT name FROM city"),
]


def said(prompt: str, kwargs: dict[str, Any]) -> Reply:
    """Answer as a model would, always the same to the same question."""
    tools = kwargs.get("tools") or []
    names = [tool["function"]["name"] for tool in tools]
    answered = "It is sunny" in prompt if "weather" in names else "handoff" not in names and "tool: " in prompt
    if tools and (kwargs.get("tool_required") or not answered):
        wanted = "weather" if "weather" in names else "handoff" if "handoff" in names else names[0]
        return Reply(calls=(call_of(tools[names.index(wanted)]),), finish="tool_calls")
    for pattern, saying in SAYINGS:
        if re.search(pattern, prompt):
            return Reply(saying)
    return Reply(f"It is Paris, says note {zlib.crc32(prompt.encode()) % 1_000}.")


# What is asked -------------------------------------------------------------------------------------------------------


def scenario(name: str) -> Callable[[Scenario], Scenario]:
    def note(run: Scenario) -> Scenario:
        assert name not in SCENARIOS, name
        SCENARIOS[name] = run
        return run

    return note


def ascenario(name: str) -> Callable[[Callable[[LLM], Awaitable[Any]]], None]:
    def note(run: Callable[[LLM], Awaitable[Any]]) -> None:
        async def main(llm: LLM) -> Any:
            return await run(llm)

        scenario(name)(lambda llm: asyncio.run(main(llm)))

    return note


def nodes() -> list[TextNode]:
    return [TextNode(text=text, id_=f"node-{place}") for place, text in enumerate(TEXTS)]


def scored() -> list[NodeWithScore]:
    return [NodeWithScore(node=node, score=0.5) for node in nodes()]


def index() -> VectorStoreIndex:
    return VectorStoreIndex(nodes=nodes(), embed_model=EMBEDDING)


def docs_tool(llm: LLM) -> QueryEngineTool:
    engine = index().as_query_engine(llm=llm)
    return QueryEngineTool.from_defaults(engine, name="docs", description="Knows capitals.")


def notes_tool(llm: LLM) -> QueryEngineTool:
    engine = SummaryIndex(nodes()).as_query_engine(llm=llm)
    return QueryEngineTool.from_defaults(engine, name="notes", description="Knows rivers.")


def pieces(response: Any) -> list[str]:
    return list(response.response_gen)


for mode in set(ResponseMode) - {ResponseMode.NO_TEXT, ResponseMode.CONTEXT_ONLY}:  # the two that ask nobody

    @scenario(f"query engine, {mode.value}")
    def query(llm: LLM, mode: ResponseMode = mode) -> Any:
        return str(index().as_query_engine(llm=llm, response_mode=mode, similarity_top_k=3).query(QUESTION))

    @scenario(f"query engine, {mode.value}, async")
    def aquery(llm: LLM, mode: ResponseMode = mode) -> Any:
        engine = index().as_query_engine(llm=llm, response_mode=mode, similarity_top_k=3, use_async=True)

        async def main() -> str:
            return str(await engine.aquery(QUESTION))

        return asyncio.run(main())


for mode in (ResponseMode.COMPACT, ResponseMode.REFINE, ResponseMode.TREE_SUMMARIZE, ResponseMode.SIMPLE_SUMMARIZE):

    @scenario(f"streaming query engine, {mode.value}")
    def stream(llm: LLM, mode: ResponseMode = mode) -> Any:
        engine = index().as_query_engine(llm=llm, response_mode=mode, similarity_top_k=3, streaming=True)
        return pieces(engine.query(QUESTION))

    @scenario(f"streaming query engine, {mode.value}, async")
    def astream(llm: LLM, mode: ResponseMode = mode) -> Any:
        engine = index().as_query_engine(llm=llm, response_mode=mode, similarity_top_k=3, streaming=True)

        async def main() -> list[str]:
            response: Any = await engine.aquery(QUESTION)
            return [piece async for piece in response.async_response_gen()]

        return asyncio.run(main())


@scenario("query engine in threads of its own")
def in_threads(llm: LLM) -> Any:
    """`use_async` in a sync call runs fresh loops."""
    engine = index().as_query_engine(llm=llm, response_mode="tree_summarize", similarity_top_k=3, use_async=True)
    return str(engine.query(QUESTION))


@scenario("query engine, structured")
def structured_query(llm: LLM) -> Any:
    response: Any = index().as_query_engine(llm=llm, output_cls=City).query(QUESTION)
    return type(response).__name__, response.response


@scenario("query engine over a structured llm")
def structured_llm_query(llm: LLM) -> Any:
    response: Any = index().as_query_engine(llm=llm.as_structured_llm(City)).query(QUESTION)
    return type(response).__name__, response.response


@scenario("query engine, structured answer filtering")
def filtering(llm: LLM) -> Any:
    synthesizer = get_response_synthesizer(llm=llm, response_mode=ResponseMode.REFINE, structured_answer_filtering=True)
    return str(synthesizer.synthesize(QUESTION, scored()))


@scenario("citations")
def citations(llm: LLM) -> Any:
    return str(CitationQueryEngine.from_args(index(), llm=llm).query(QUESTION))


@scenario("tree index")
def tree(llm: LLM) -> Any:
    return str(TreeIndex(nodes(), llm=llm, num_children=2).as_query_engine(llm=llm).query(QUESTION))


@scenario("document summaries")
def summaries(llm: LLM) -> Any:
    documents = [Document(text=text, id_=f"doc-{place}") for place, text in enumerate(TEXTS)]
    made = DocumentSummaryIndex.from_documents(documents, llm=llm, embed_model=EMBEDDING)
    engine = made.as_query_engine(llm=llm, retriever_mode="llm")
    return str(engine.query(QUESTION)), made.get_document_summary("doc-0")


@scenario("router, selector of text")
def router_text(llm: LLM) -> Any:
    tools = [docs_tool(llm), notes_tool(llm)]
    engine = RouterQueryEngine(LLMSingleSelector.from_defaults(llm=llm), tools, llm=llm)
    return str(engine.query(QUESTION))


@scenario("router, selector of several")
def router_multi(llm: LLM) -> Any:
    tools = [docs_tool(llm), notes_tool(llm)]
    engine = RouterQueryEngine(LLMMultiSelector.from_defaults(llm=llm), tools, llm=llm)
    return str(engine.query(QUESTION))


@scenario("router, selector of tools")
def router_tools(llm: LLM) -> Any:
    tools = [docs_tool(llm), notes_tool(llm)]
    engine = RouterQueryEngine(PydanticSingleSelector.from_defaults(llm=llm), tools, llm=llm)  # type: ignore[arg-type]
    return str(engine.query(QUESTION))


@scenario("router, selector of several tools")
def router_multi_tools(llm: LLM) -> Any:
    selector = PydanticMultiSelector.from_defaults(llm=llm)  # type: ignore[arg-type]
    return str(selector.select([docs_tool(llm).metadata, notes_tool(llm).metadata], QUESTION))


@scenario("sub-questions")
def sub_questions(llm: LLM) -> Any:
    engine = SubQuestionQueryEngine.from_defaults(
        [docs_tool(llm)],
        llm=llm,
        question_gen=LLMQuestionGenerator.from_defaults(llm=llm),
        response_synthesizer=get_response_synthesizer(llm=llm),
        use_async=True,
    )
    return str(engine.query(QUESTION))


@ascenario("sub-questions, async")
async def asub_questions(llm: LLM) -> Any:
    engine = SubQuestionQueryEngine.from_defaults(
        [docs_tool(llm)],
        llm=llm,
        question_gen=LLMQuestionGenerator.from_defaults(llm=llm),
        response_synthesizer=get_response_synthesizer(llm=llm),
    )
    return str(await engine.aquery(QUESTION))


@scenario("retries of an engine")
def retry(llm: LLM) -> Any:
    engine = index().as_query_engine(llm=llm)
    return str(RetryQueryEngine(engine, RelevancyEvaluator(llm=llm)).query(QUESTION))


@scenario("retries of an engine, guidelines")
def retry_guideline(llm: LLM) -> Any:
    engine = index().as_query_engine(llm=llm)
    return str(RetryGuidelineQueryEngine(engine, GuidelineEvaluator(llm=llm)).query(QUESTION))


@scenario("hypothetical documents")
def hyde(llm: LLM) -> Any:
    return str(TransformQueryEngine(index().as_query_engine(llm=llm), HyDEQueryTransform(llm=llm)).query(QUESTION))


@scenario("many steps")
def steps(llm: LLM) -> Any:
    engine = MultiStepQueryEngine(
        index().as_query_engine(llm=llm),
        StepDecomposeQueryTransform(llm=llm),
        response_synthesizer=get_response_synthesizer(llm=llm),
        num_steps=2,
    )
    return str(engine.query(QUESTION))


@scenario("active retrieval")
def flare(llm: LLM) -> Any:
    return str(FLAREInstructQueryEngine(index().as_query_engine(llm=llm), llm=llm, max_iterations=2).query(QUESTION))


@scenario("database")
def sql(llm: LLM) -> Any:
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import StaticPool

    database = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE city (name TEXT)"))
        connection.execute(text("INSERT INTO city VALUES ('Paris')"))
    try:
        engine = NLSQLTableQueryEngine(SQLDatabase(database), tables=["city"], llm=llm, embed_model=EMBEDDING)
        return str(engine.query(QUESTION))
    finally:
        database.dispose()


@scenario("fused retrieval")
def fusion(llm: LLM) -> Any:
    retriever = QueryFusionRetriever([index().as_retriever()], llm=llm, num_queries=3, use_async=False)
    return sorted(node.node_id for node in retriever.retrieve(QUESTION))


@scenario("fused retrieval, in threads")
def fusion_threads(llm: LLM) -> Any:
    retriever = QueryFusionRetriever([index().as_retriever()], llm=llm, num_queries=3, use_async=True)
    return sorted(node.node_id for node in retriever.retrieve(QUESTION))


@scenario("reranking")
def rerank(llm: LLM) -> Any:
    ranked = LLMRerank(llm=llm, top_n=2).postprocess_nodes(scored(), QueryBundle(QUESTION))
    return [(node.node_id, node.score) for node in ranked]


@scenario("reranking, structured")
def structured_rerank(llm: LLM) -> Any:
    ranked = StructuredLLMRerank(llm=llm, top_n=2).postprocess_nodes(scored(), QueryBundle(QUESTION))
    return [(node.node_id, node.score) for node in ranked]


@scenario("reranking in one answer")
def rank_gpt(llm: LLM) -> Any:
    ranked = RankGPTRerank(llm=llm, top_n=2).postprocess_nodes(scored(), QueryBundle(QUESTION))
    return [node.node_id for node in ranked]


EXTRACTORS: dict[str, Callable[[LLM], Any]] = {
    "titles": lambda llm: TitleExtractor(llm=llm, num_workers=1),
    "summaries": lambda llm: SummaryExtractor(llm=llm, summaries=["self", "prev"], num_workers=1),
    "keywords": lambda llm: KeywordExtractor(llm=llm, num_workers=1),
    "questions": lambda llm: QuestionsAnsweredExtractor(llm=llm, num_workers=1),
}
for what in sorted(EXTRACTORS):

    @scenario(f"extraction of {what}")
    def extract(llm: LLM, what: str = what) -> Any:
        return EXTRACTORS[what](llm).extract(nodes())


@ascenario("extraction of contexts")
async def contexts(llm: LLM) -> Any:
    store = SimpleDocumentStore()
    await store.async_add_documents([Document(text=" ".join(TEXTS), id_="doc")])
    pieces_of = SentenceSplitter(chunk_size=64, chunk_overlap=0).get_nodes_from_documents(
        [Document(text=" ".join(TEXTS), id_="doc")]
    )
    return await DocumentContextExtractor(docstore=store, llm=llm, num_workers=1).aextract(pieces_of)


def triplets(made: PropertyGraphIndex) -> list[str]:
    return sorted(str(triplet) for triplet in made.property_graph_store.get_triplets(entity_names=["Paris"]))


EXTRACTORS_OF_PATHS: dict[str, Callable[[LLM], Any]] = {
    "simple": lambda llm: SimpleLLMPathExtractor(llm=llm, num_workers=1),
    "dynamic": lambda llm: DynamicLLMPathExtractor(llm=llm, num_workers=1),
    "schema": lambda llm: SchemaLLMPathExtractor(llm=llm, num_workers=1, strict=False),
}
for what in sorted(EXTRACTORS_OF_PATHS):

    @scenario(f"property graph, {what}")
    def graph(llm: LLM, what: str = what) -> Any:
        made = PropertyGraphIndex(
            nodes(),
            llm=llm,
            kg_extractors=[EXTRACTORS_OF_PATHS[what](llm)],
            embed_kg_nodes=False,
            embed_model=EMBEDDING,
        )
        return triplets(made)


@scenario("property graph, synonyms")
def synonyms(llm: LLM) -> Any:
    made = PropertyGraphIndex(
        nodes(),
        llm=llm,
        kg_extractors=[EXTRACTORS_OF_PATHS["simple"](llm)],
        embed_kg_nodes=False,
        embed_model=EMBEDDING,
    )
    retriever = LLMSynonymRetriever(made.property_graph_store, llm=llm)
    return [node.text for node in retriever.retrieve(QUESTION)]


EVALUATORS: dict[str, Callable[[LLM], Any]] = {
    "faithfulness": lambda llm: FaithfulnessEvaluator(llm=llm),
    "relevancy": lambda llm: RelevancyEvaluator(llm=llm),
    "correctness": lambda llm: CorrectnessEvaluator(llm=llm),
}
for what in sorted(EVALUATORS):

    @scenario(f"evaluation of {what}")
    def evaluate(llm: LLM, what: str = what) -> Any:
        result = EVALUATORS[what](llm).evaluate(query=QUESTION, response="Paris.", contexts=TEXTS, reference="Paris.")
        return result.passing, result.score


CHATS: dict[str, Callable[[LLM], Any]] = {
    "simple": lambda llm: SimpleChatEngine.from_defaults(llm=llm),
    "context": lambda llm: ContextChatEngine.from_defaults(retriever=index().as_retriever(), llm=llm),
    "condense": lambda llm: CondenseQuestionChatEngine.from_defaults(index().as_query_engine(llm=llm), llm=llm),
    "condense with context": lambda llm: CondensePlusContextChatEngine.from_defaults(index().as_retriever(), llm=llm),
}


def told(engine: Any) -> list[tuple[str, str | None]]:
    return [(message.role.value, message.content) for message in engine.chat_history]


for what in sorted(CHATS):

    @scenario(f"chat engine, {what}")
    def chat(llm: LLM, what: str = what) -> Any:
        engine = CHATS[what](llm)
        return str(engine.chat(QUESTION)), str(engine.chat("And of Italy?")), told(engine)

    @scenario(f"chat engine, {what}, streaming")
    def stream_chat(llm: LLM, what: str = what) -> Any:
        engine = CHATS[what](llm)
        return pieces(engine.stream_chat(QUESTION)), pieces(engine.stream_chat("And of Italy?")), told(engine)

    @scenario(f"chat engine, {what}, async")
    def achat(llm: LLM, what: str = what) -> Any:
        async def main() -> Any:
            engine = CHATS[what](llm)
            return str(await engine.achat(QUESTION)), str(await engine.achat("And of Italy?")), told(engine)

        return asyncio.run(main())

    @scenario(f"chat engine, {what}, streaming, async")
    def astream_chat(llm: LLM, what: str = what) -> Any:
        async def main() -> Any:
            engine = CHATS[what](llm)
            response = await engine.astream_chat(QUESTION)
            first = [piece async for piece in response.async_response_gen()]
            return first, told(engine)

        return asyncio.run(main())


@scenario("memory that summarises")
def summary_memory(llm: LLM) -> Any:
    memory = ChatSummaryMemoryBuffer.from_defaults(llm=llm, token_limit=40)
    engine = SimpleChatEngine.from_defaults(llm=llm, memory=memory)
    return [str(engine.chat(f"{QUESTION} {turn}")) for turn in range(4)], told(engine)


async def watched(handler: Any) -> Any:
    """What a run streamed, and what it came to."""
    streamed = [
        (event.delta, event.response, [(call.tool_name, call.tool_kwargs) for call in event.tool_calls])
        async for event in handler.stream_events()
        if isinstance(event, AgentStream)
    ]
    result = await handler
    calls = [(call.tool_name, call.tool_kwargs, str(call.tool_output)) for call in result.tool_calls]
    return streamed, str(result), calls, result.structured_response


@ascenario("function agent")
async def function_agent(llm: LLM) -> Any:
    return await watched(FunctionAgent(tools=[WEATHER], llm=llm).run(user_msg=QUESTION))


@ascenario("function agent, not streaming")
async def function_agent_whole(llm: LLM) -> Any:
    return await watched(FunctionAgent(tools=[WEATHER], llm=llm, streaming=False).run(user_msg=QUESTION))


@ascenario("function agent with memory")
async def function_agent_memory(llm: LLM) -> Any:
    agent: Any = FunctionAgent(tools=[WEATHER], llm=llm)
    context, memory = Context(agent), ChatMemoryBuffer.from_defaults(llm=llm)
    first = await watched(agent.run(user_msg=QUESTION, ctx=context, memory=memory))
    second = await watched(agent.run(user_msg="And tomorrow?", ctx=context, memory=memory))
    return first, second, [(message.role.value, message.content) for message in memory.get_all()]


@ascenario("function agent over an engine")
async def function_agent_engine(llm: LLM) -> Any:
    return await watched(FunctionAgent(tools=[docs_tool(llm)], llm=llm).run(user_msg=QUESTION))


@ascenario("function agent, structured")
async def function_agent_structured(llm: LLM) -> Any:
    return await watched(FunctionAgent(tools=[WEATHER], llm=llm, output_cls=City).run(user_msg=QUESTION))


@ascenario("react agent")
async def react_agent(llm: LLM) -> Any:
    return await watched(ReActAgent(tools=[WEATHER], llm=llm).run(user_msg=QUESTION))


@ascenario("react agent, not streaming")
async def react_agent_whole(llm: LLM) -> Any:
    return await watched(ReActAgent(tools=[WEATHER], llm=llm, streaming=False).run(user_msg=QUESTION))


@ascenario("agent of code")
async def code_agent(llm: LLM) -> Any:
    return await watched(CodeActAgent(code_execute_fn=lambda code: "2", llm=llm).run(user_msg=QUESTION))


@ascenario("agents with a handoff")
async def handoff(llm: LLM) -> Any:
    host = FunctionAgent(name="host", description="Greets.", tools=[], llm=llm, can_handoff_to=["forecaster"])
    forecaster = FunctionAgent(name="forecaster", description="Knows the weather.", tools=[WEATHER], llm=llm)
    return await watched(AgentWorkflow(agents=[host, forecaster], root_agent="host").run(user_msg=QUESTION))


@ascenario("agents made from functions")
async def from_functions(llm: LLM) -> Any:
    return await watched(AgentWorkflow.from_tools_or_functions([weather], llm=llm).run(user_msg=QUESTION))


def template() -> PromptTemplate:
    """A prompt of its own: programs of text leave their parser in those they are given."""
    return PromptTemplate("Tell of the capital of {country}.")


TEMPLATE = template()


@scenario("predict")
def predict(llm: LLM) -> Any:
    return llm.predict(template(), country="France"), list(llm.stream(template(), country="France"))


@ascenario("predict, async")
async def apredict(llm: LLM) -> Any:
    pieces_of = [piece async for piece in await llm.astream(template(), country="France")]
    return await llm.apredict(template(), country="France"), pieces_of


@scenario("structured predict")
def structured(llm: LLM) -> Any:
    return llm.structured_predict(City, TEMPLATE, country="France")


@ascenario("structured predict, async")
async def astructured(llm: LLM) -> Any:
    return await llm.astructured_predict(City, TEMPLATE, country="France")


@scenario("structured predict, streaming")
def stream_structured(llm: LLM) -> Any:
    return list(llm.stream_structured_predict(City, TEMPLATE, country="France"))


@ascenario("structured predict, streaming, async")
async def astream_structured(llm: LLM) -> Any:
    return [part async for part in await llm.astream_structured_predict(City, TEMPLATE, country="France")]


@scenario("structured llm")
def structured_llm(llm: LLM) -> Any:
    made = llm.as_structured_llm(City)
    chat = made.chat([ChatMessage(role="user", content=QUESTION)])
    return (
        chat.raw,
        made.complete(QUESTION).text,
        [part.raw for part in made.stream_chat([ChatMessage(content=QUESTION)])],
    )


@scenario("program of functions")
def program(llm: LLM) -> Any:
    return FunctionCallingProgram.from_defaults(output_cls=City, prompt=TEMPLATE, llm=llm)(country="France")


@scenario("program of text")
def text_program(llm: LLM) -> Any:
    return LLMTextCompletionProgram.from_defaults(output_cls=City, prompt=TEMPLATE, llm=llm)(country="France")


@scenario("predict and call")
def predict_and_call(llm: Any) -> Any:
    return str(llm.predict_and_call([WEATHER], user_msg=QUESTION))


def names() -> Sequence[str]:
    return sorted(SCENARIOS)
