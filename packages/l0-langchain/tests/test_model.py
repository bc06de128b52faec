"""What a wrapped model does that a bare one does not: fallbacks, policies, what a call asks for, what copies keep."""

import copy
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from clients import Client
from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForLLMRun
from langchain_core.exceptions import ModelError
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import ConfigurableField
from pydantic import BaseModel, Field
from rules import RuleModel
from shapes import Flaky

import l0_core
from l0_core import Lifecycle, Policy, Retry
from l0_core.testing import FaultyProvider, Reply, ToolCall, faults
from l0_langchain import L0ChatModel, L0Middleware, protect, unprotect
from l0_langchain._model import protection_of

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris, which lies on the Seine."
ONCE = Policy(retry=Retry(attempts=1, max_retries=0))


class GetWeather(BaseModel):
    """Look up the weather."""

    city: str


@pytest.fixture
def other() -> Iterator[FaultyProvider]:
    with FaultyProvider() as provider:
        yield provider


@pytest.fixture
def strangers(client: Client) -> tuple[Client, Client]:
    """Two makes of client, either first."""
    return client, Client("anthropic" if client.make == "openai" else "openai")


def told(message: AIMessage) -> dict[str, Any]:
    return dict(message.response_metadata["l0"])


# Fallbacks of another make


def test_another_vendor_answers(
    strangers: tuple[Client, Client], provider: FaultyProvider, other: FaultyProvider
) -> None:
    """G8: marked."""
    first, second = strangers
    provider.script(faults.status(503))
    other.reply(ANSWER)
    model = L0ChatModel(model=first(provider), fallbacks=[second(other)], policy=ONCE)
    message = model.invoke(QUESTION)
    assert message.text == ANSWER
    assert told(message)["degraded"] is True
    assert "claude" in told(message)["served_by"] or "gpt" in told(message)["served_by"]
    assert [fault["fault"] for fault in told(message)["faults"]] == ["overload"]


def test_another_vendor_goes_on_where_the_first_broke_off(
    strangers: tuple[Client, Client], provider: FaultyProvider, other: FaultyProvider
) -> None:
    """G1: one message, one id, metadata that is not glued."""
    first, second = strangers
    provider.reply(ANSWER)
    provider.script(faults.reset_after(chunks=5), faults.status(503))
    other.reply(ANSWER)
    model = L0ChatModel(model=first(provider), fallbacks=[second(other)], policy=ONCE)
    chunks = list(model.stream(QUESTION))
    message = chunks[0]
    for chunk in chunks[1:]:
        message += chunk
    assert "".join(chunk.text for chunk in chunks) == message.text == ANSWER
    assert len({chunk.id for chunk in chunks}) == 1
    assert told(message)["continued"] is True
    assert told(message)["degraded"] is True
    finish = message.response_metadata.get("finish_reason") or message.response_metadata.get("stop_reason")
    assert finish in {"stop", "end_turn"}


def test_another_vendor_is_given_the_tools_in_its_own_format(
    strangers: tuple[Client, Client], provider: FaultyProvider, other: FaultyProvider
) -> None:
    """G2."""
    first, second = strangers
    provider.script(faults.status(503))
    other.reply(Reply.of("Let me see.", tool_calls=[ToolCall("GetWeather", {"city": "Paris"}, id="call_1")]))
    model = L0ChatModel(model=first(provider), fallbacks=[second(other)], policy=ONCE)
    message = model.bind_tools([GetWeather], tool_choice="any").invoke(QUESTION)
    (sent,) = other.requests
    (tool,) = sent.body["tools"]
    if second.make == "anthropic":
        assert (tool["name"], sent.body["tool_choice"]) == ("GetWeather", {"type": "any"})
    else:
        assert (tool["function"]["name"], sent.body["tool_choice"]) == ("GetWeather", "required")
    assert isinstance(message, AIMessage)
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("GetWeather", {"city": "Paris"})]


def test_another_vendor_is_asked_for_structured_output(
    strangers: tuple[Client, Client], provider: FaultyProvider, other: FaultyProvider
) -> None:
    first, second = strangers
    provider.script(faults.status(503))
    other.reply(Reply.of("", tool_calls=[ToolCall("GetWeather", {"city": "Paris"}, id="call_1")]))
    model = L0ChatModel(model=first(provider), fallbacks=[second(other)], policy=ONCE)
    assert model.with_structured_output(GetWeather, method="function_calling").invoke(QUESTION) == GetWeather(
        city="Paris"
    )


def test_a_fallback_may_be_a_binding(provider: FaultyProvider, other: FaultyProvider, client: Client) -> None:
    provider.script(faults.status(503))
    bound = client(other).bind(max_tokens=77).with_config(tags=["b"])
    model = L0ChatModel(model=client(provider), fallbacks=[bound.with_fallbacks([Flaky()])], policy=ONCE)
    model.invoke(QUESTION)
    limits = {"max_tokens", "max_completion_tokens"} & other.requests[0].body.keys()
    assert [other.requests[0].body[limit] for limit in limits] == [77]
    assert len(protection_of(model).fallbacks) == 2


def test_a_fallback_that_is_protected_itself_is_followed_by_its_own(
    strangers: tuple[Client, Client], provider: FaultyProvider, other: FaultyProvider
) -> None:
    """G4: whom somebody named may answer."""
    first, second = strangers
    provider.script(faults.status(503))
    other.reply(ANSWER)
    middle = L0ChatModel(model=first(provider), fallbacks=[second(other)], policy=ONCE)
    model = L0ChatModel(model=second(provider), fallbacks=[middle], policy=ONCE)
    assert model.invoke(QUESTION).text == ANSWER
    assert (provider.request_count, other.request_count) == (2, 1)
    assert len(model.l0_report.protected) == 3


def test_when_every_model_fails_the_error_is_the_frameworks_too(provider: FaultyProvider, client: Client) -> None:
    provider.script(faults.status(503))
    model = L0ChatModel(model=client(provider), fallbacks=[Flaky(failures=9)], policy=ONCE)
    with pytest.raises(l0_core.ExhaustedError) as raised:
        model.invoke(QUESTION)
    assert isinstance(raised.value, ModelError)
    assert raised.value.is_retryable is False


# Policies, and what a call asks for


def attempts_of(model: Any, config: Any = None) -> int:
    with pytest.raises(l0_core.ExhaustedError) as raised:
        model.invoke(QUESTION, config)
    return raised.value.attempts


def failing() -> Flaky:
    return Flaky(failures=99)


def test_another_policy_is_another_model() -> None:
    model = L0ChatModel(model=failing())
    once = model.with_policy(Policy(retry=Retry(attempts=1, max_retries=0)))
    assert (attempts_of(once), type(once)) == (1, type(model))
    assert protection_of(model).policy is None
    with pytest.raises(l0_core.PolicyError, match="no policy is called 'nonsense'"):
        model.with_policy("nonsense")


@pytest.mark.parametrize("where", ["model", "binding", "chain"])
def test_a_call_may_ask_for_a_policy(where: str, tmp_path: Any) -> None:
    file = tmp_path / "once.toml"
    file.write_text("[retry]\nattempts = 1\nmax_retries = 0\n")
    model = L0ChatModel(model=failing())
    made = {
        "model": model,
        "binding": model.bind(stop=["x"]),
        "chain": ChatPromptTemplate.from_template("{x}") | model | StrOutputParser(),
    }[where]
    value: Any = {"x": QUESTION} if where == "chain" else QUESTION
    with pytest.raises(l0_core.ExhaustedError) as raised:
        made.invoke(value, {"configurable": {"l0_policy": str(file)}})  # type: ignore[attr-defined]
    assert raised.value.attempts == 1


async def test_every_way_of_calling_heeds_what_is_asked_for() -> None:
    seen: list[str | None] = []
    model: Any = L0ChatModel(model=RuleModel(), on=Lifecycle(on_attempt=lambda *_: seen.append(None)))
    config: Any = {"configurable": {"l0_policy": "nonsense"}}
    for call in (
        lambda: model.invoke(QUESTION, config),
        lambda: list(model.stream(QUESTION, config)),
        lambda: model.batch([QUESTION], config),
        lambda: model.stream_events(QUESTION, config, version="v3").output,
    ):
        with pytest.raises(l0_core.PolicyError):
            call()
    with pytest.raises(l0_core.PolicyError):
        await model.ainvoke(QUESTION, config)
    with pytest.raises(l0_core.PolicyError):
        _ = [chunk async for chunk in model.astream(QUESTION, config)]
    assert seen == []


def test_a_tenant_has_budgets_of_its_own() -> None:
    """Isolation: the breaker one tenant opened lets another's first call through."""
    model = L0ChatModel(model=failing())
    for _ in range(3):
        attempts_of(model, {"configurable": {"l0_tenant": "acme"}})
    with pytest.raises(l0_core.L0Error) as acme:
        model.invoke(QUESTION, {"configurable": {"l0_tenant": "acme"}})
    with pytest.raises(l0_core.L0Error) as umbrella:
        model.invoke(QUESTION, {"configurable": {"l0_tenant": "umbrella"}})
    assert acme.value.attempts < umbrella.value.attempts


# Copies


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda model: model.model_copy(),
        lambda model: model.model_copy(deep=True),
        lambda model: pickle.loads(pickle.dumps(model)),  # noqa: S301
        lambda model: L0ChatModel(model=model),
        lambda model: type(model).model_validate(model),
        lambda model: L0ChatModel(model=model, name_="flaky-2"),
    ],
    ids=["copy", "deepcopy", "model_copy", "deep model_copy", "pickle", "wrapped again", "validated", "with a field"],
)
def test_a_copy_is_protected_as_the_model_is(copied: Any) -> None:
    model = L0ChatModel(model=Flaky(), policy="batch", tenant="acme", fallbacks=[Flaky()])
    made = copied(model)
    assert isinstance(made, L0ChatModel)
    assert type(made) is type(model)
    said = protection_of(made)
    assert (said.policy, said.tenant, len(said.fallbacks)) == ("batch", "acme", 1)
    assert made.invoke(QUESTION).text == "Paris."


def test_a_pickle_is_read_by_another_process() -> None:
    model = L0ChatModel(model=Flaky(), policy="batch")
    program = (
        "import pickle, sys\n"
        "model = pickle.load(sys.stdin.buffer)\n"
        "print(model.invoke('x').text, type(model).__mro__[1].__name__, model.l0_report)"
    )
    here = os.path.dirname(__file__)  # noqa: PTH120
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(model), capture_output=True, check=True,
        env={**os.environ, "PYTHONPATH": here, "L0_POLICY": "interactive"}, cwd=here,
    )  # fmt: skip
    assert done.stdout.decode().split()[:3] == ["Paris.", "L0ChatModel", "protected"]


def test_configured_fields_and_alternatives_keep_protection(provider: FaultyProvider, client: Client) -> None:
    provider.reply(ANSWER)
    model: Any = L0ChatModel(model=client(provider))
    heated = model.configurable_fields(temperature=ConfigurableField(id="heat")).with_config(configurable={"heat": 0.7})
    either = model.configurable_alternatives(ConfigurableField(id="which"), other=L0ChatModel(model=Flaky()))
    for made in (heated, either, either.with_config(configurable={"which": "other"})):
        provider.script(faults.status(503), faults.ok())
        assert told(made.invoke(QUESTION))["attempts"] == 2


def test_further_keywords_are_heeded_where_the_client_is_made_from_them_too(
    provider: FaultyProvider, other: FaultyProvider, client: Client
) -> None:
    there = {"openai": other.openai_url, "anthropic": other.anthropic_url}[client.make]
    changes: dict[str, Any] = {
        "base_url": there,
        "api_key": "y",
        "default_headers": {"x-mine": "1"},
        "temperature": 0.25,
    }
    bare = client(provider)
    for said in ({"base_url": there}, changes):
        L0ChatModel(model=bare, **said).invoke(QUESTION)
        list(L0ChatModel(model=bare, **said).stream(QUESTION))
    assert (provider.request_count, other.request_count) == (0, 4)
    last = other.requests[-1]
    assert "y" in {last.headers.get("x-api-key"), last.headers.get("authorization", "").removeprefix("Bearer ")}
    assert (last.headers["x-mine"], last.body["temperature"]) == ("1", 0.25)


@pytest.mark.parametrize("given", [((Flaky(),), {}), ((), {}), ((), {"policy": "batch"})])
def test_a_model_that_is_not_named_is_asked_for(given: Any) -> None:
    positional, named = given
    with pytest.raises(TypeError, match=r"L0ChatModel\(model="):
        L0ChatModel(*positional, **named)


def chosen_late(provider: FaultyProvider, client: Client) -> Any:
    """A model that is made for each call, as its config says."""
    name = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}[client.make]
    url = {"openai": provider.openai_url, "anthropic": provider.anthropic_url}[client.make]
    fields: Any = {"model_provider": client.make, "base_url": url, "api_key": "x"}
    return init_chat_model(name, configurable_fields=("temperature",), **fields)


ASKED: Any = {"messages": QUESTION}
HEAT: Any = {"configurable": {"temperature": 0.25}}
CHOSEN: dict[str, Callable[[Any], Any]] = {
    "itself": lambda model: protect(model).invoke(QUESTION, HEAT),
    "in place": lambda model: protect(model, in_place=True).invoke(QUESTION, HEAT),
    "in a chain": lambda model: protect(ChatPromptTemplate.from_template("{x}") | model).invoke({"x": QUESTION}, HEAT),
    "given a config": lambda model: protect(model).with_config(HEAT).with_config(tags=["x"]).invoke(QUESTION),
    "given tools": lambda model: protect(model).bind_tools([GetWeather]).invoke(QUESTION, HEAT),
    "given tools before": lambda model: protect(model.bind_tools([GetWeather])).invoke(QUESTION, HEAT),
    "in an agent": lambda model: protect(create_agent(model, []), in_place=True).invoke(ASKED, HEAT),
    "in middleware": lambda model: create_agent(model, [], middleware=[L0Middleware()]).invoke(ASKED, HEAT),
}
"""Ways to protect it, and to call it."""


@pytest.mark.parametrize("way", CHOSEN)
def test_a_model_that_is_chosen_for_each_call_is_protected(way: str, provider: FaultyProvider, client: Client) -> None:
    provider.reply(ANSWER)
    provider.script(faults.reset_before_headers(), faults.ok())
    answer = CHOSEN[way](chosen_late(provider, client))
    message = answer["messages"][-1] if isinstance(answer, dict) else answer
    assert (message.text, told(message)["attempts"]) == (ANSWER, 2)
    assert [request.body["temperature"] for request in provider.requests] == [0.25, 0.25]


def test_a_model_that_is_chosen_for_each_call_is_what_it_was_again(provider: FaultyProvider, client: Client) -> None:
    provider.reply(ANSWER)
    model = chosen_late(provider, client)
    copied, kind = protect(model), type(model)
    assert [found.name.partition("/")[0] for found in copied.l0_report.protected] == ["init_chat_model"]
    assert protect(model, in_place=True) is model
    assert protect(model, in_place=True, policy="batch").l0_report == copied.l0_report
    for bare in (unprotect(model), unprotect(copied), unprotect(unprotect(copied))):
        assert type(bare) is kind
        assert "l0" not in bare.invoke(QUESTION).response_metadata


# Switched off


async def test_disabled_it_is_the_bare_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L0_DISABLE", "1")
    model = L0ChatModel(model=Flaky())
    with pytest.raises(ConnectionResetError):
        model.invoke(QUESTION)
    assert "l0" not in model.invoke(QUESTION).response_metadata
    assert "l0" not in (await model.ainvoke(QUESTION)).response_metadata
    rules = L0ChatModel(model=RuleModel())
    assert not any("l0" in chunk.response_metadata for chunk in rules.stream(QUESTION))
    assert not any(["l0" in chunk.response_metadata async for chunk in rules.astream(QUESTION)])


# Rate limiter, cache, tokens


class Limiter(BaseRateLimiter):
    def __init__(self) -> None:
        self.acquired = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.acquired += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire()


async def test_every_attempt_waits_in_the_line_of_its_own_model(client: Client, provider: FaultyProvider) -> None:
    provider.reply(ANSWER)
    mine, others = Limiter(), Limiter()
    fallback = RuleModel(rate_limiter=others)
    model: Any = L0ChatModel(model=client(provider, rate_limiter=mine), fallbacks=[fallback])

    async def awaited() -> Any:
        return [chunk async for chunk in model.astream(QUESTION)]

    for call in (lambda: model.invoke(QUESTION), lambda: list(model.stream(QUESTION)), awaited):
        provider.script(faults.status(503), faults.status(503), faults.ok())
        mine.acquired = 0
        made: Any = call()
        if call is awaited:
            await made
        assert (mine.acquired, others.acquired) == (3, 0)
    provider.script(faults.status(503))
    model.invoke(QUESTION)
    assert others.acquired == 1
    await client.close(model)


async def test_a_cache_is_asked_as_by_the_bare_model_and_holds_no_failure(
    client: Client, provider: FaultyProvider
) -> None:
    provider.reply(ANSWER)
    cache = InMemoryCache()
    bare = client(provider, cache=cache)
    model = L0ChatModel(model=bare)
    provider.script(faults.status(503), faults.ok())
    first = model.invoke(QUESTION)
    assert provider.request_count == 2
    assert model.invoke(QUESTION).text == (await model.ainvoke(QUESTION)).text == first.text
    assert bare.invoke(QUESTION).text == first.text, "one key for both"
    assert provider.request_count == 2
    await client.close(bare)


class Tokens(BaseCallbackHandler):
    def __init__(self) -> None:
        self.told: list[str] = []

    def on_llm_new_token(self, token: Any, **_: Any) -> None:
        self.told.append(token)


@pytest.mark.parametrize("way", ["stream", "keyword", "events"])
def test_what_an_attempt_told_that_failed_was_never_told(client: Client, provider: FaultyProvider, way: str) -> None:
    """G1: of callbacks, too."""
    provider.reply(ANSWER)
    provider.script(faults.reset_after(chunks=5), faults.ok())
    tokens = Tokens()
    model: Any = L0ChatModel(model=client(provider))
    config: Any = {"callbacks": [tokens]}
    if way == "stream":
        list(model.stream(QUESTION, config))
    elif way == "keyword":
        model.invoke(QUESTION, config, stream=True)
    else:
        assert model.stream_events(QUESTION, config, version="v3").output.text == ANSWER
    if way != "events" or tokens.told:
        assert "".join(tokens.told) == ANSWER


# The newer events, made by a model itself


class Native(RuleModel):
    """Makes events itself, as later integrations do."""

    cut_after: int = 0
    opened: list[int] = Field(default_factory=list)

    def _bypassed(self) -> Any:
        raise AssertionError("it would not be protected")

    def _stream_chat_model_events(self, messages: list[BaseMessage], **_: Any) -> Iterator[Any]:
        yield self._bypassed()

    async def _astream_chat_model_events(self, messages: list[BaseMessage], **_: Any) -> Any:
        yield self._bypassed()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        self.opened.append(1)
        for number, chunk in enumerate(super()._stream(messages, stop, run_manager, **kwargs)):
            if len(self.opened) == 1 and number == self.cut_after > 0:
                raise ConnectionResetError
            yield chunk


async def test_a_models_own_events_do_not_go_round_the_protection() -> None:
    stream = L0ChatModel(model=Native(cut_after=2)).stream_events(QUESTION, version="v3")
    text = "".join(stream.text)
    assert text == stream.output.text == f"You said: {QUESTION}. That is all there is to say."
    assert stream.output.response_metadata["l0"]["attempts"] == 2
    awaited = await L0ChatModel(model=Native(cut_after=2)).astream_events(QUESTION, version="v3")
    assert (await awaited.output).text == text


def test_a_chunk_is_the_models_own_object() -> None:
    """G7: nothing is built anew where nothing went wrong."""
    made: list[Any] = []

    class Kept(RuleModel):
        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            for chunk in super()._stream(*args, **kwargs):
                made.append(chunk.message)
                yield chunk

    given = list(L0ChatModel(model=Kept()).stream(QUESTION))
    assert all(isinstance(chunk, AIMessageChunk) for chunk in given)
    assert [mine is theirs for mine, theirs in zip(given, made, strict=False)] == [True] * len(made)


# Who reads


class Reading(RuleModel):
    """Notes the threads it is called in, and those it is read in."""

    callers: list[int] = Field(default_factory=list)
    readers: list[int] = Field(default_factory=list)

    def _convert_input(self, *args: Any) -> Any:
        self.callers.append(threading.get_ident())
        return super()._convert_input(*args)

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        self.readers.append(threading.get_ident())
        return super()._generate(*args, **kwargs)

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for chunk in super()._stream(*args, **kwargs):
            self.readers.append(threading.get_ident())
            yield chunk


PROMPT = ChatPromptTemplate.from_template("{messages}")
WRAPPED: dict[str, Callable[..., Any]] = {
    "model": lambda model, **said: PROMPT | L0ChatModel(model=model, **said),
    "model again": lambda model, **said: PROMPT | L0ChatModel(model=L0ChatModel(model=model, **said), tenant="acme"),
    "binding": lambda model, **said: PROMPT | L0ChatModel(model=model.bind(stop=["x"]), **said),
    "chain": lambda model, **said: protect(PROMPT | model, **said),
    "in place": lambda model, **said: protect(PROMPT | model, in_place=True, **said),
    "agent": lambda model, **said: create_agent(model, [], middleware=[L0Middleware(**said)]),
}


@pytest.mark.parametrize("made", WRAPPED)
@pytest.mark.parametrize("guard", [None, "thread", "off"])
async def test_without_a_stall_guard_an_answer_is_read_where_it_is_asked_for(made: str, guard: Any) -> None:
    """Of what is awaited it says nothing: there a read that is blocked can be left."""
    model = Reading()
    wrapped = WRAPPED[made](model, stall_guard=guard)
    given: Any = {"messages": QUESTION}
    for call in (wrapped.invoke, lambda given: list(wrapped.stream(given))):
        model.callers.clear()
        model.readers.clear()
        call(given)
        assert len(model.readers) > 0
        assert set(model.readers).issubset(model.callers) == (guard == "off")
    assert await wrapped.ainvoke(given)
