"""Without a fault a wrapped model and a bare one cannot be told apart (G7): a probe each, on both real clients."""

import copy
import inspect
import json
import pickle
from collections import Counter
from collections.abc import Callable
from pprint import pformat
from typing import Any, TypedDict
from uuid import UUID

import pytest
from clients import Client
from langchain.agents import create_agent
from langchain.agents.factory import _supports_provider_strategy
from langchain.tools import ToolRuntime
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, get_usage_metadata_callback
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd
from langchain_core.messages import AIMessageChunk, BaseMessage, BaseMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import ConfigurableField, RunnableSequence
from langchain_core.tools import tool
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel

from l0_core.testing import FaultyProvider, Reply, ToolCall, faults
from l0_langchain import L0ChatModel

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    pytest.mark.filterwarnings("ignore:Unexpected type for token usage"),  # adding up what OpenAI reports: bare too
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),  # of what OpenAI's client parsed: bare alone
]

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris, which lies on the Seine."
Probe = Callable[[BaseChatModel, FaultyProvider], Any]
PROBES: dict[str, Probe] = {}


def probe(function: Probe) -> Probe:
    PROBES[function.__name__] = function
    return function


_OF_THE_CALL = {"l0", "run_id", "parent_ids", "uuid", "created_at", "date"}


def plain(value: Any) -> Any:
    """A value without what differs between any two calls: ids, times and the addresses of objects; without `l0`."""
    if isinstance(value, BaseMessage | ChatGeneration):
        return {"": type(value).__name__, **plain(value.model_dump())}
    if isinstance(value, dict):
        told = {key: plain(each) for key, each in value.items() if key not in _OF_THE_CALL}
        if isinstance(told.get("id"), str):
            told["id"] = told["id"][:4]
        return told
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return "id" if isinstance(value, UUID) else value


class GetWeather(TypedDict):
    """Look up the weather.

    Attributes:
        city: Where.
    """

    city: str


class City(BaseModel):
    """A city."""

    name: str


class Count(BaseCallbackHandler):
    """How often each callback was called."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.tokens: list[str] = []
        self.errors: list[str] = []

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        self.seen["start"] += 1

    def on_llm_new_token(self, token: Any, **_: Any) -> None:
        self.seen["token"] += 1
        self.tokens.append(token)

    def on_llm_end(self, *_: Any, **__: Any) -> None:
        self.seen["end"] += 1

    def on_llm_error(self, error: BaseException, **_: Any) -> None:
        self.seen["error"] += 1
        self.errors.append(type(error).__qualname__)

    def on_stream_event(self, *_: Any, **__: Any) -> None:
        self.seen["event"] += 1

    @property
    def told(self) -> Any:
        """Tokens without empty ones: the trailing chunk is one of those."""
        return {name: times for name, times in self.seen.items() if name != "token"}, [t for t in self.tokens if t]


class Tree(BaseTracer):
    """The traced runs, as names and kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.roots: list[Any] = []

    def _persist_run(self, run: Run) -> None:
        self.roots.append(self._shape(run))

    def _shape(self, run: Run) -> Any:
        serialized = run.serialized and {key: each for key, each in run.serialized.items() if key != "repr"}
        return [
            run.name,
            run.run_type,
            run.tags,
            plain(serialized),
            plain(run.extra),
            list(map(self._shape, run.child_runs)),
        ]


class Limiter(BaseRateLimiter):
    def __init__(self) -> None:
        self.acquired = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.acquired += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire()


def chunks_of(stream: list[AIMessageChunk]) -> Any:
    """Chunks without empty ones that say nothing: the trailing chunk is one once `l0` is taken off."""

    def says(told: Any) -> bool:
        return bool(told["content"] or told["usage_metadata"] or told["response_metadata"].keys() - {"output_version"})

    return [told for told in map(plain, stream) if says(told)]


def merged(stream: list[Any]) -> Any:
    total = stream[0]
    for chunk in stream[1:]:
        total += chunk
    return plain(total)


# What it is


@probe
def name_and_home(model: BaseChatModel, _: FaultyProvider) -> Any:
    kind = type(model)
    return kind.__name__, kind.__qualname__, kind.__module__, kind.__doc__


@probe
def ancestry(model: BaseChatModel, _: FaultyProvider) -> Any:
    return [isinstance(model, kind) for kind in type(model).__mro__ if kind.__module__.startswith("langchain")][-8:]


@probe
def lc_id(model: BaseChatModel, _: FaultyProvider) -> Any:
    return type(model).lc_id(), type(model).is_lc_serializable(), model.lc_secrets


@probe
def serialization(model: BaseChatModel, _: FaultyProvider) -> Any:
    return dumpd(model), model._serialized


@probe
def representation(model: BaseChatModel, _: FaultyProvider) -> Any:
    return repr(model).partition("(")[0], [name for name, _ in model.__repr_args__()]


@probe
def dumped(model: BaseChatModel, _: FaultyProvider) -> Any:
    return sorted(model.model_dump(exclude={"client", "async_client"}, fallback=lambda _: "object"))


@probe
def fields(model: BaseChatModel, _: FaultyProvider) -> Any:
    kind = type(model)
    return list(kind.model_fields), sorted(model.model_fields_set), [name for name, _ in model]


@probe
def identity_for_traces(model: BaseChatModel, _: FaultyProvider) -> Any:
    return model._llm_type, model.get_name(), model._identifying_params, model.asdict()


@probe
def ls_params(model: BaseChatModel, _: FaultyProvider) -> Any:
    return model._get_ls_params(), model._get_ls_params(stop=["x"], model="other", temperature=0.5)


@probe
def invocation_params(model: BaseChatModel, _: FaultyProvider) -> Any:
    return model._get_invocation_params(stop=["x"], tools=[{"type": "function"}])


@probe
def profile(model: BaseChatModel, _: FaultyProvider) -> Any:
    return model.profile, _supports_provider_strategy(model), model.metadata


@probe
def cache_key(model: BaseChatModel, _: FaultyProvider) -> Any:
    return model._get_llm_string(stop=["x"], temperature=0.5)


@probe
def schemas(model: BaseChatModel, _: FaultyProvider) -> Any:
    return model.get_input_jsonschema(), model.get_output_jsonschema(), model.config_specs, model.InputType


@probe
def attributes(model: BaseChatModel, _: FaultyProvider) -> Any:
    names = ("model_name", "model", "temperature", "max_tokens", "max_retries", "root_client", "client", "streaming")
    values = [getattr(model, name, "none") for name in names]
    plain_ones = [value if isinstance(value, str | int | float | None) else type(value) for value in values]
    return plain_ones, hasattr(model, "no_such_attribute")


@probe
def counting(model: BaseChatModel, _: FaultyProvider) -> Any:
    model = model.model_copy(update={"custom_get_token_ids": lambda text: list(range(len(text)))})
    return model.get_num_tokens("abc"), model.get_token_ids("ab")


# What is made of it


@probe
def tools(model: BaseChatModel, _: FaultyProvider) -> Any:
    bound = model.bind_tools([GetWeather], tool_choice="any")
    return type(bound).__name__, bound.kwargs, type(bound.bound).__name__  # type: ignore[attr-defined]


@probe
def structured_output(model: BaseChatModel, _: FaultyProvider) -> Any:
    made = model.with_structured_output(GetWeather, include_raw=True), model.with_structured_output(GetWeather)
    return [[type(step).__name__ for step in each.steps] for each in made if isinstance(each, RunnableSequence)], [
        dumpd(each) for each in made
    ]


@probe
def fallbacks_find_what_returns_a_runnable(model: BaseChatModel, _: FaultyProvider) -> Any:
    both = model.with_fallbacks([model])
    return type(both.bind_tools([GetWeather])).__name__, type(both.with_structured_output(GetWeather)).__name__


@probe
def bindings(model: BaseChatModel, _: FaultyProvider) -> Any:
    made = model.bind(stop=["x"]), model.with_config(tags=["a"]), model.with_retry(), model.with_types(input_type=str)
    return [(type(each).__name__, dumpd(each)) for each in made]


@probe
def copies(model: BaseChatModel, _: FaultyProvider) -> Any:
    made = copy.copy(model), model.model_copy(update={"temperature": 0.3})
    return [(type(each).__name__, each == model, each._identifying_params) for each in made]


@probe
def deep_copies(model: BaseChatModel, _: FaultyProvider) -> Any:
    try:
        return type(copy.deepcopy(model)).__name__
    except TypeError as error:
        return str(error)


@probe
def pickles(model: BaseChatModel, _: FaultyProvider) -> Any:
    try:
        return type(pickle.loads(pickle.dumps(model))).__name__  # noqa: S301
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        return str(error)


@probe
def configured(model: BaseChatModel, provider: FaultyProvider) -> Any:
    fields = model.configurable_fields(temperature=ConfigurableField(id="heat"))
    answer = fields.with_config(configurable={"heat": 0.7}).invoke(QUESTION)
    return dumpd(fields)["id"], plain(answer), provider.requests[-1].body["temperature"]


# What it does


@probe
async def invoked(model: BaseChatModel, _: FaultyProvider) -> Any:
    return plain(model.invoke(QUESTION)), plain(await model.ainvoke(QUESTION))


@probe
async def batched(model: BaseChatModel, _: FaultyProvider) -> Any:
    return plain(model.batch([QUESTION, QUESTION])), plain(await model.abatch([QUESTION, QUESTION]))


@probe
def generated(model: BaseChatModel, _: FaultyProvider) -> Any:
    made = model.generate([model._convert_input(QUESTION).to_messages()] * 2)
    return plain(made.generations), plain(made.llm_output)


@probe
def streamed(model: BaseChatModel, _: FaultyProvider) -> Any:
    chunks = list(model.stream(QUESTION))
    return (
        chunks_of(chunks),
        merged(chunks),
        len({chunk.id for chunk in chunks}),
        [c.chunk_position for c in chunks][-1:],
    )


@probe
async def streamed_async(model: BaseChatModel, _: FaultyProvider) -> Any:
    async def run() -> list[AIMessageChunk]:
        return [chunk async for chunk in model.astream(QUESTION)]

    chunks = await run()
    return chunks_of(chunks), merged(chunks)


@probe
def streamed_tool_calls(model: BaseChatModel, provider: FaultyProvider) -> Any:
    provider.reply("Let me see.", tool_calls=[ToolCall("get_weather", {"city": "Paris"}, id="call_1")])
    bound = model.bind_tools([GetWeather])
    chunks = list(bound.stream(QUESTION))
    return chunks_of(chunks), merged(chunks), plain(bound.invoke(QUESTION))  # type: ignore[arg-type]


@probe
def streamed_by_keyword_and_field(model: BaseChatModel, _: FaultyProvider) -> Any:
    counts = [Count(), Count()]
    answers = [
        model.invoke(QUESTION, {"callbacks": [counts[0]]}, stream=True),
        model.model_copy(update={"streaming": True}).invoke(QUESTION, {"callbacks": [counts[1]]}),
    ]
    return plain(answers), [count.told for count in counts]


@probe
def not_streamed(model: BaseChatModel, _: FaultyProvider) -> Any:
    count = Count()
    return plain(
        list(model.model_copy(update={"disable_streaming": True}).stream(QUESTION, {"callbacks": [count]}))
    ), count.seen


@probe
def newer_content(model: BaseChatModel, _: FaultyProvider) -> Any:
    model = model.model_copy(update={"output_version": "v1"})
    return merged(list(model.stream(QUESTION))), plain(model.invoke(QUESTION))


@probe
def chain(model: BaseChatModel, _: FaultyProvider) -> Any:
    made = ChatPromptTemplate.from_template("{x}") | model | StrOutputParser()
    return made.invoke({"x": QUESTION}), [text for text in made.stream({"x": QUESTION}) if text]


@probe
async def requests(model: BaseChatModel, provider: FaultyProvider) -> Any:
    before = provider.request_count
    model.invoke(QUESTION, stop=["never"])
    list(model.stream(QUESTION))
    await model.ainvoke(QUESTION)
    return [request.body for request in provider.requests_from(before)]


@probe
def headers(model: BaseChatModel, provider: FaultyProvider) -> Any:
    before = provider.request_count
    model.invoke(QUESTION)
    list(model.stream(QUESTION))
    return [dict(request.headers) for request in provider.requests_from(before)]


# What is told of it


@probe
async def callbacks(model: BaseChatModel, _: FaultyProvider) -> Any:
    counts = [Count() for _ in range(5)]
    model.invoke(QUESTION, {"callbacks": [counts[0]]})
    list(model.stream(QUESTION, {"callbacks": [counts[1]]}))
    await model.ainvoke(QUESTION, {"callbacks": [counts[2]]})

    async def run() -> None:
        async for _ in model.astream(QUESTION, {"callbacks": [counts[3]]}):
            pass

    await run()
    model.batch(
        [QUESTION, QUESTION], {"callbacks": [counts[4]], "max_concurrency": 1}
    )  # One after the other: in order.
    return [count.told for count in counts]


@probe
def callbacks_of_an_error(model: BaseChatModel, provider: FaultyProvider) -> Any:
    provider.script(faults.status(400))
    count, raised = Count(), []
    for call in (model.invoke, lambda *args: list(model.stream(*args))):
        with pytest.raises(Exception, match="400") as error:
            call(QUESTION, {"callbacks": [count]})
        raised.append((type(error.value), str(error.value), error.value.is_retryable))  # type: ignore[attr-defined]
    return raised, count.told, count.errors


@probe
async def mistakes_of_the_caller(model: BaseChatModel, provider: FaultyProvider) -> Any:
    """They are the caller's before anything is sent: the very error, at once, and no request."""
    count = Count()
    config: Any = {"callbacks": [count]}

    async def streamed(*args: Any, **kwargs: Any) -> Any:
        return [chunk async for chunk in model.astream(*args, **kwargs)]

    calls = (model.invoke, model.ainvoke, lambda *args, **kwargs: list(model.stream(*args, **kwargs)), streamed)
    mistakes: tuple[tuple[Any, dict[str, Any]], ...] = (
        (QUESTION, {"no_such_keyword": 1}),
        (QUESTION, {"extra_body": {"x": object()}}),
        ([("system", "a"), ("user", "b"), ("system", "c")], {"no_such_keyword": 1}),
        ([HumanMessage([{"type": "image"}])], {"no_such_keyword": 1}),
        (7, {}),
    )
    raised = []
    for given, keywords in mistakes:
        for call in calls:
            try:
                made: Any = call(given, config, **keywords)
                raised.append(plain(await made if inspect.isawaitable(made) else made))
            except Exception as error:  # noqa: BLE001 - which, is what is told
                raised.append((type(error), str(error)))
    return raised, count.told, count.errors, provider.request_count


@probe
async def events(model: BaseChatModel, _: FaultyProvider) -> Any:
    async def run() -> list[Any]:
        made = ChatPromptTemplate.from_template("{x}") | model
        return [event async for event in made.astream_events({"x": QUESTION}, version="v2")]

    seen = await run()
    told = [
        (event["event"], event["name"], event["tags"], plain(event["metadata"]))
        for event in seen
        if not (event["event"].endswith("_stream") and not event["data"]["chunk"].content)
    ]
    return told, plain(seen[-1]["data"]["output"])


@probe
def events_of_protocol(model: BaseChatModel, _: FaultyProvider) -> Any:
    count = Count()
    stream = model.stream_events(QUESTION, version="v3", config={"callbacks": [count]})
    told = [plain(event) for event in stream]
    return told, plain(stream.output), count.told


@probe
async def events_of_protocol_async(model: BaseChatModel, _: FaultyProvider) -> Any:
    async def run() -> Any:
        stream = await model.astream_events(QUESTION, version="v3")
        return [plain(event) async for event in stream], plain(await stream.output)

    return await run()


@probe
def traces(model: BaseChatModel, _: FaultyProvider) -> Any:
    tree = Tree()
    made = ChatPromptTemplate.from_template("{x}") | model.with_config(tags=["a"]) | StrOutputParser()
    made.invoke({"x": QUESTION}, {"callbacks": [tree]})
    list(made.stream({"x": QUESTION}, {"callbacks": [tree]}))
    return tree.roots


@probe
def usage(model: BaseChatModel, _: FaultyProvider) -> Any:
    with get_usage_metadata_callback() as counted:
        model.invoke(QUESTION)
        list(model.stream(QUESTION, stream_usage=True))
    return counted.usage_metadata


@probe
def messages_of_a_graph(model: BaseChatModel, _: FaultyProvider) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_edge(START, "model")
    graph.add_edge("model", END)
    compiled: Any = graph.compile()
    seen = list(compiled.stream({"messages": [("user", QUESTION)]}, stream_mode="messages"))
    kinds = {type(chunk).__name__ for chunk, _ in seen}
    return [chunk.content for chunk, _ in seen if chunk.content], len({chunk.id for chunk, _ in seen}), kinds


@probe
async def cache(model: BaseChatModel, provider: FaultyProvider) -> Any:
    before = provider.request_count
    model = model.model_copy(update={"cache": InMemoryCache()})
    answers = [model.invoke(QUESTION), model.invoke(QUESTION), await model.ainvoke(QUESTION)]
    list(model.stream(QUESTION))
    return plain(answers), provider.request_count - before


@probe
async def limiter(model: BaseChatModel, _: FaultyProvider) -> Any:
    limiter = Limiter()
    model = model.model_copy(update={"rate_limiter": limiter})
    model.invoke(QUESTION)
    list(model.stream(QUESTION))
    await model.ainvoke(QUESTION)
    return limiter.acquired


@probe
def values(model: BaseChatModel, provider: FaultyProvider) -> Any:
    """However a value is asked for: what is sent, what comes back, whole and grown."""
    told = []
    for method in ("json_schema", "function_calling", "json_mode"):
        for more in ({}, {"include_raw": True}, {"strict": True}):
            calls = [ToolCall("City", {"name": "Paris"}, id="call_1")] if method == "function_calling" else []
            provider.reply("" if calls else '{"name": "Paris"}', tool_calls=calls)
            try:
                asked = model.with_structured_output(City, method=method, **more)
                told.append((plain(asked.invoke(QUESTION)), more or plain(list(asked.stream(QUESTION)))))
            except (ValueError, TypeError, UserWarning) as error:
                told.append((type(error), str(error)))
    return told, [request.body for request in provider.requests]


@probe
def calls_of_many_tools(model: BaseChatModel, provider: FaultyProvider) -> Any:
    provider.reply(
        "", tool_calls=[ToolCall("GetWeather", {"city": city}, id=f"call_{city}") for city in ("Paris", "Rome")]
    )
    ways = ({"parallel_tool_calls": False}, {"tool_choice": "any"}, {"strict": True})
    bound = [model.bind_tools([GetWeather, City], **way) for way in ways]
    told = [(plain(each.invoke(QUESTION)), merged(list(each.stream(QUESTION)))) for each in bound]
    return told, [request.body for request in provider.requests]


@probe
async def batched_as_completed(model: BaseChatModel, _: FaultyProvider) -> Any:
    told = {number: plain(answer) for number, answer in model.batch_as_completed([QUESTION, QUESTION])}
    more = {number: plain(answer) async for number, answer in model.abatch_as_completed([QUESTION, QUESTION])}
    return sorted(told.items()), sorted(more.items())


@probe
def reasoning(model: BaseChatModel, provider: FaultyProvider) -> Any:
    provider.reply(ANSWER, reasoning="Let me think.")
    newer = model.model_copy(update={"output_version": "v1"})
    return [(plain(each.invoke(QUESTION)), merged(list(each.stream(QUESTION)))) for each in (model, newer)]


@probe
def agent(model: BaseChatModel, provider: FaultyProvider) -> Any:
    """An agent with a tool that is told of its call, in every mode that shows messages."""
    calling = Reply.of("Let me look.", tool_calls=[ToolCall("look_up", {"city": "Paris"}, id="call_1")])

    @tool
    def look_up(city: str, runtime: ToolRuntime) -> str:
        """Look up the weather."""
        runtime.stream_writer(city)
        return f"{city} {runtime.tool_call_id}"

    provider.conversation(calling, ANSWER)
    made = create_agent(model, [look_up])
    asked: Any = {"messages": [HumanMessage(QUESTION, id="1")]}
    pieces = [chunk for chunk, _ in made.stream(asked, stream_mode="messages")]
    parts = [piece.text for piece in pieces if isinstance(piece, AIMessageChunk) and piece.text]
    written = list(made.stream(asked, stream_mode=["custom", "updates"]))
    drawn = [
        ("".join(message.text), plain(message.output)) for message in made.stream_events(asked, version="v3").messages
    ]
    return parts, _numbered(plain(made.invoke(asked)["messages"])), _numbered(plain(written)), drawn


def _numbered(told: Any) -> Any:
    """Messages of tools without the ids that a graph draws."""
    if isinstance(told, dict):
        return {key: _numbered(each) for key, each in told.items() if key != "id"}
    return [_numbered(each) for each in told] if isinstance(told, list) else told


LISTED = {
    "type": "`type(model) is ChatOpenAI` is false: it is a subclass; `isinstance` is what holds",
    "equality": "a wrapped model equals its copies and not the bare one: pydantic compares classes first",
    "l0": "a message carries `response_metadata['l0']`",
    "trailing chunk": "where a client says itself which chunk is its last, one more empty chunk follows with `l0`; "
    "where it does not, that chunk takes the place of the framework's own",
    "tool calls": "chunks of a tool call arrive together, when it is complete (the same objects, in the same order)",
    "retries": "the client's own retries are off during an attempt: a fault is the engine's to count",
}
"""Every difference there is, and why. `plain`, `chunks_of` and `Count.told` leave these out, and nothing else."""


async def tell(name: str, client: Client, *, wrap: bool, **fields: Any) -> str:
    """What a probe tells of a model of its own, with a provider of its own."""
    with FaultyProvider() as provider:
        provider.reply(ANSWER)
        model = client(provider, **fields)
        told = PROBES[name](L0ChatModel(model=model) if wrap else model, provider)
        if inspect.isawaitable(told):
            told = await told
        await client.close(model)
        port = provider.url.rpartition(":")[2]
    return pformat(told, width=160, sort_dicts=False).replace(port, "port")


@pytest.mark.parametrize("name", PROBES)
async def test_no_probe_tells_them_apart(name: str, client: Client) -> None:
    bare = await tell(name, client, wrap=False)
    assert await tell(name, client, wrap=True) == bare


MADE: dict[str, tuple[str, dict[str, Any]]] = {
    "settings": ("openai", {"temperature": 0.2, "max_tokens": 50, "stop": ["x"], "seed": 1, "logprobs": True}),
    "more": ("openai", {"model_kwargs": {"user": "u"}, "extra_body": {"a": 1}, "default_headers": {"x-a": "1"}}),
    "headers wanted": ("openai", {"include_response_headers": True}),
    "streaming": ("openai", {"streaming": True, "stream_usage": True}),
    "without retries": ("openai", {"max_retries": 0, "timeout": 33}),
    "responses": ("openai", {"use_responses_api": True, "reasoning": {"effort": "low"}, "store": False}),
    "responses in blocks": ("openai", {"use_responses_api": True, "output_version": "v1"}),
    "responses as before": ("openai", {"use_responses_api": True, "output_version": "v0"}),
    "previous response": ("openai", {"use_responses_api": True, "use_previous_response_id": True}),
    "thinking": ("anthropic", {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4096}),
    "betas": ("anthropic", {"betas": ["b-1"], "top_k": 3, "default_headers": {"x-a": "1"}}),
    "no usage": ("anthropic", {"stream_usage": False}),
    "blocks": ("anthropic", {"output_version": "v1", "streaming": True}),
}
"""Ways in which a model may be made, by the make it is of."""


@pytest.mark.parametrize("how", MADE)
async def test_however_it_is_made_they_are_not_told_apart(how: str) -> None:
    make, fields = MADE[how]
    for name in ("requests", "headers", "invoked", "streamed", "streamed_async", "streamed_tool_calls", "callbacks"):
        bare = await tell(name, Client(make), wrap=False, **fields)  # type: ignore[arg-type]
        assert await tell(name, Client(make), wrap=True, **fields) == bare, name  # type: ignore[arg-type]


def test_there_are_enough_probes() -> None:
    assert len(PROBES) >= 24


def test_what_differs_is_what_is_listed(client: Client, provider: FaultyProvider) -> None:
    provider.reply(ANSWER)
    bare = client(provider)
    wrapped = L0ChatModel(model=bare)
    assert type(wrapped) is not type(bare)
    assert isinstance(wrapped, type(bare))
    assert wrapped != bare
    assert "l0" in wrapped.invoke(QUESTION).response_metadata
    sent, given = list(bare.stream(QUESTION)), list(wrapped.stream(QUESTION))
    assert len(given) - len(sent) == {"openai": 0, "anthropic": 1}[client.make]
    assert [bool(chunk.response_metadata.get("l0")) for chunk in given] == [False] * (len(given) - 1) + [True]
    assert json.dumps(given[-1].response_metadata["l0"])
    assert isinstance(given[-1], BaseMessageChunk)
    assert len(LISTED) == 6
