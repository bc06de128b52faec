"""A chain somebody else wrote, with a handler on it: measured, judged, bounded, and otherwise as it was."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from clients import Client
from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForLLMRun
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from pydantic import BaseModel
from rules import RuleModel
from shapes import Flaky

import l0_core
from l0_core import Continuation, Lifecycle, Policy, guards
from l0_core._clock import VirtualClock
from l0_core.testing import FaultyProvider, ToolCall
from l0_langchain import L0CallbackHandler, L0ChatModel

QUESTION = "Is it warm in Paris?"
ANSWER = f"You said: {QUESTION}. That is all there is to say."
CHAIN = ChatPromptTemplate.from_template("{x}") | RuleModel() | StrOutputParser()


async def invoked(chain: Any, handler: BaseCallbackHandler) -> Any:
    return await asyncio.to_thread(chain.invoke, {"x": QUESTION}, {"callbacks": [handler]})


async def streamed(chain: Any, handler: BaseCallbackHandler) -> Any:
    return "".join(await asyncio.to_thread(lambda: list(chain.stream({"x": QUESTION}, {"callbacks": [handler]}))))


async def awaited(chain: Any, handler: BaseCallbackHandler) -> Any:
    return await chain.ainvoke({"x": QUESTION}, {"callbacks": [handler]})


async def astreamed(chain: Any, handler: BaseCallbackHandler) -> Any:
    return "".join([text async for text in chain.astream({"x": QUESTION}, {"callbacks": [handler]})])


class GetWeather(BaseModel):
    """Look up the weather."""

    city: str


ways = pytest.mark.parametrize("way", [invoked, streamed, awaited, astreamed])
streaming = pytest.mark.parametrize("way", [streamed, astreamed])


# What it changes: nothing


@ways
async def test_a_chain_answers_as_it_did(way: Any) -> None:
    """G7: with guards, bounds and listeners on, and nothing that they object to."""
    handler = L0CallbackHandler(
        guards=[guards.patterns(["Rome"])],
        on_violation="abort",
        deadline=60,
        calls_max=1,
        tokens_max=1_000,
        on=Lifecycle(),
    )
    assert await way(CHAIN, handler) == ANSWER


@ways
async def test_what_a_chain_raises_stays_that(way: Any) -> None:
    handler = L0CallbackHandler(guards=[guards.not_empty()])
    with pytest.raises(ConnectionResetError, match="it was cut"):
        await way(ChatPromptTemplate.from_template("{x}") | Flaky(), handler)
    assert [(call.kind, call.error) for call in handler.calls] == [("model", "ConnectionResetError")]


@ways
async def test_a_handler_that_fails_itself_is_no_failure_of_the_chain(
    way: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug")

    for name in ("_judge", "_finish", "_enter"):
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "l0"):
            patch.setattr(L0CallbackHandler, name, fail)
            assert await way(CHAIN, L0CallbackHandler(guards=[guards.not_empty()])) == ANSWER
    assert "RuntimeError" in caplog.text
    assert "a bug" not in caplog.text, "it may quote a prompt"


async def test_disabled_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L0_DISABLE", "1")
    handler = L0CallbackHandler(calls_max=0)
    assert await invoked(CHAIN, handler) == ANSWER
    assert not handler.calls


# Measures


@ways
async def test_calls_are_measured(way: Any) -> None:
    handler = L0CallbackHandler()
    await way(CHAIN, handler)
    (call,) = handler.calls
    assert (call.kind, call.name, call.error) == ("model", "rules-1", None)
    assert call.usage == (7, len(ANSWER), 0, 0, 0)
    assert call.seconds > 0
    if way in {streamed, astreamed}:
        assert call.tokens > 10
        assert 0 < (call.first_seconds or 0) < call.seconds
        assert 0 < call.gap_seconds < call.seconds
    else:
        assert (call.tokens, call.first_seconds) == (0, None)


async def test_tools_and_retrievers_are_measured_too() -> None:
    @tool
    def look_up(city: str) -> str:
        """Look up."""
        return city

    handler = L0CallbackHandler()
    chain: Any = RunnableLambda(lambda value: {"city": value["x"]}) | look_up
    await invoked(chain, handler)
    assert [(call.kind, call.name) for call in handler.calls] == [("tool", "look_up")]


def test_what_never_ends_is_forgotten_in_the_end() -> None:
    """Bounded: a stream that nobody closes tells no end."""
    from uuid import uuid4

    from l0_langchain._handler import RUNS_MAX

    handler = L0CallbackHandler()
    for _ in range(RUNS_MAX + 50):
        handler.on_llm_start({}, [], run_id=uuid4())
    assert len(handler._running) == len(handler._invocations) == RUNS_MAX


# Guards


@ways
async def test_what_a_guard_finds_is_noted(way: Any) -> None:
    """G8."""
    handler = L0CallbackHandler(guards=[guards.patterns(["in Paris?"]), guards.patterns(["Rome"])])
    assert await way(CHAIN, handler) == ANSWER
    (call,) = handler.calls
    assert [(found.guard, found.start, found.end) for found in call.objections] == [("patterns", 21, 30)]


@ways
async def test_what_a_guard_finds_can_end_it(way: Any) -> None:
    handler = L0CallbackHandler(guards=[guards.patterns(["in Paris?"], severity="fatal")], on_violation="abort")
    with pytest.raises(l0_core.ContentError) as raised:
        await way(CHAIN, handler)
    assert "Paris" not in str(raised.value), "no output in a message"
    assert [(call.error, len(call.objections)) for call in handler.calls] == [("ContentError", 1)]


async def test_it_ends_at_the_token_that_shows_it() -> None:
    """The violating chunk is never given."""
    handler = L0CallbackHandler(guards=[guards.patterns(["in Paris?"])], on_violation="abort")
    shown: list[str] = []
    with pytest.raises(l0_core.ContentError):
        shown.extend(CHAIN.stream({"x": QUESTION}, {"callbacks": [handler]}))
    assert "".join(shown) == "You said: Is it warm in "


def protocol(model: Any, config: Any) -> Iterator[str]:
    yield from model.stream_events(QUESTION, version="v3", config=config).text


def texts(model: Any, config: Any) -> Iterator[str]:
    yield from (chunk.text for chunk in model.stream(QUESTION, config))


def blocks(model: Any, config: Any) -> Iterator[str]:
    """Some providers stream blocks where there are tools."""
    yield from texts(model.bind_tools([GetWeather]), config)


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
@pytest.mark.parametrize("bound", [{"guards": [guards.patterns(["in Paris"])]}, {"tokens_max": 10}])
@pytest.mark.parametrize("way", [texts, blocks, protocol])
def test_whatever_a_client_calls_a_token_it_ends_in_time(
    way: Any, bound: Any, client: Client, provider: FaultyProvider
) -> None:
    provider.reply(
        "It is as warm as can be in Paris, " * 9, chunks=60, tool_calls=[ToolCall("GetWeather", {"city": "Paris"})]
    )
    shown: list[str] = []
    with pytest.raises((l0_core.ContentError, l0_core.LimitError)):
        shown.extend(way(client(provider), {"callbacks": [L0CallbackHandler(on_violation="abort", **bound)]}))
    assert 0 < len("".join(shown)) < 50


@ways
async def test_what_shows_only_at_the_end_is_found_there(way: Any) -> None:
    handler = L0CallbackHandler(policy=Policy(guards=[guards.json()]), on_violation="abort")
    with pytest.raises(l0_core.ContentError, match="the guard json"):
        await way(CHAIN, handler)


@streaming
async def test_guards_judge_the_whole_however_it_is_cut(way: Any) -> None:
    class Letters(RuleModel):
        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            for chunk in super()._stream(*args, **kwargs):
                for letter in chunk.text:
                    yield ChatGenerationChunk(message=AIMessageChunk(content=letter))

    handler = L0CallbackHandler(guards=[guards.patterns(["in Paris?"])])
    await way(ChatPromptTemplate.from_template("{x}") | Letters() | StrOutputParser(), handler)
    assert [(found.start, found.end) for found in handler.calls[0].objections] == [(21, 30)]


def test_a_completion_model_is_judged_as_well() -> None:
    handler = L0CallbackHandler(guards=[guards.patterns(["Paris"])])
    FakeListLLM(responses=["In Paris."]).invoke(QUESTION, {"callbacks": [handler]})
    assert len(handler.calls[0].objections) == 1


def test_a_mistake_is_told_at_once() -> None:
    with pytest.raises(l0_core.PolicyError, match="on_violation is record or abort, not 'ignore'"):
        L0CallbackHandler(on_violation="ignore")  # type: ignore[arg-type]
    with pytest.raises(l0_core.PolicyError):
        L0CallbackHandler(policy="nonsense")


@guards.guard(name="no-capitals", version=1, on="whole")
def no_capitals(text: str, final: bool) -> str | None:  # noqa: FBT001 - as guards are asked
    return "names a capital" if "Paris" in text else None


@guards.guard(name="slow", version=1)
async def slow(text: str, final: bool) -> None:  # noqa: FBT001 - as above
    await asyncio.sleep(0)


@guards.guard(name="broken", version=1)
def broken(text: str, final: bool) -> None:  # noqa: FBT001 - as above
    raise RuntimeError("a bug in a guard")


@ways
async def test_guards_of_ones_own_are_asked(way: Any) -> None:
    with pytest.raises(l0_core.ContentError, match="no-capitals"):
        await way(CHAIN, L0CallbackHandler(guards=[no_capitals], on_violation="abort"))
    handler = L0CallbackHandler(guards=[broken])
    assert await way(CHAIN, handler) == ANSWER


def test_a_guard_that_would_have_to_be_awaited_is_refused_by_name() -> None:
    with pytest.raises(l0_core.PolicyError, match="the guard slow is async"):
        L0CallbackHandler(guards=[slow])


def test_guards_of_ones_own_judge_a_wrapped_model_whatever_else_the_policy_says() -> None:
    """Also where the policy has the rung that LangChain has no place for."""
    policy = Policy(guards=[no_capitals], continuation=Continuation(rungs=["rerun", "reset"]), delivery="whole")
    with pytest.raises(l0_core.ContentError):
        L0ChatModel(model=RuleModel(), policy=policy).invoke(QUESTION)


# Bounds


class Counting(RuleModel):
    made: list[int] = []  # noqa: RUF012 - pydantic copies it

    def _answer(self, messages: list[BaseMessage], **kwargs: Any) -> tuple[str, list[dict[str, Any]]]:
        self.made.append(1)
        return super()._answer(messages, **kwargs)


@ways
async def test_a_call_too_many_is_not_made(way: Any) -> None:
    """G3: and every invocation has its own."""
    model = Counting()
    ask = ChatPromptTemplate.from_template("{x}") | model | StrOutputParser()
    chain = ask | (lambda text: {"x": text}) | ask | (lambda text: {"x": text}) | ask
    handler = L0CallbackHandler(calls_max=2)
    for number in (2, 4):
        with pytest.raises(l0_core.LimitError):
            await way(chain, handler)
        assert len(model.made) == number


@ways
async def test_tokens_that_nobody_counted_are_estimated(way: Any) -> None:
    """G3: a provider that tells of no usage is no way round the budget."""
    made: list[int] = []

    class Silent(RuleModel):
        def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
            made.append(1)
            return ChatResult(generations=[ChatGeneration(message=AIMessage("word " * 40))])

        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            made.append(1)
            yield from (ChatGenerationChunk(message=AIMessageChunk(content="word ")) for _ in range(40))

    ask = Silent() | StrOutputParser()
    chain = ChatPromptTemplate.from_template("{x}") | ask | ask | ask | ask
    with pytest.raises(l0_core.LimitError):
        await way(chain, L0CallbackHandler(tokens_max=99))
    assert len(made) == 2


@ways
async def test_tokens_too_many_end_it(way: Any) -> None:
    """G3: at the token while it streams, before the next call otherwise."""
    model = Counting()
    ask = ChatPromptTemplate.from_template("{x}") | model | StrOutputParser()
    chain = ask | (lambda text: {"x": text}) | ask
    with pytest.raises(l0_core.LimitError):
        await way(chain, L0CallbackHandler(tokens_max=5 if way in {streamed, astreamed} else 50))
    assert len(model.made) == 1


@ways
async def test_time_that_has_passed_begins_nothing(way: Any, virtual_clock: VirtualClock) -> None:
    """G3: whatever reaches out, tools too."""

    def wait(text: str) -> dict[str, str]:
        virtual_clock.advance(5)
        return {"x": text}

    model = Counting()
    ask = ChatPromptTemplate.from_template("{x}") | model | StrOutputParser()
    with pytest.raises(l0_core.DeadlineError):
        await way(ask | wait | ask | wait | ask, L0CallbackHandler(deadline=9))
    assert len(model.made) == 2


async def test_time_that_passes_while_it_streams_ends_it(virtual_clock: VirtualClock) -> None:
    class Slow(RuleModel):
        def _stream(
            self,
            messages: list[BaseMessage],
            stop: list[str] | None = None,
            run_manager: CallbackManagerForLLMRun | None = None,
            **kwargs: Any,
        ) -> Iterator[ChatGenerationChunk]:
            for chunk in super()._stream(messages, stop, run_manager, **kwargs):
                virtual_clock.advance(1)
                yield chunk

    shown: list[Any] = []
    with pytest.raises(l0_core.DeadlineError):
        shown.extend(Slow().stream(QUESTION, {"callbacks": [L0CallbackHandler(deadline=4.5)]}))
    assert len(shown) == 4


async def test_parallel_branches_share_an_invocation() -> None:
    ask = ChatPromptTemplate.from_template("{x}") | Counting() | StrOutputParser()
    branches: Any = RunnableParallel(a=ask, b=ask, c=ask)
    with pytest.raises(l0_core.LimitError):
        await branches.ainvoke({"x": QUESTION}, {"callbacks": [L0CallbackHandler(calls_max=2)]})


# Listeners


@ways
@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async def"])
async def test_listeners_are_told(way: Any, *, is_async: bool) -> None:
    told: list[tuple[str, Any]] = []
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell(event: str, fact: Any) -> None:
        told.append((event, fact))
        if len(told) == 3:
            loop.call_soon_threadsafe(done.set)

    def listener(event: str) -> Any:
        async def awaitable(*facts: Any) -> None:
            tell(event, facts[-1])

        return awaitable if is_async else lambda *facts: tell(event, facts[-1])

    on = Lifecycle(on_start=listener("start"), on_guard=listener("guard"), on_complete=listener("complete"))
    await way(CHAIN, L0CallbackHandler(guards=[guards.patterns(["Paris"])], on=on))
    await asyncio.wait_for(done.wait(), 10)
    assert {event for event, _ in told} == {"start", "guard", "complete"}
    result = next(fact for event, fact in told if event == "complete")
    assert (result.text, result.finish_reason, result.served_by, result.usage.input) == (ANSWER, "stop", "rules-1", 7)


# Beside protection


def test_on_a_protected_model_it_sees_one_call_and_what_the_reader_sees() -> None:
    handler = L0CallbackHandler(guards=[guards.patterns(["Paris"])], calls_max=1)
    message = L0ChatModel(model=Flaky()).invoke(QUESTION, {"callbacks": [handler]})
    assert isinstance(message, AIMessage)
    assert message.response_metadata["l0"]["attempts"] == 2
    (call,) = handler.calls
    assert (call.error, len(call.objections)) == (None, 1)
