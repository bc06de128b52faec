"""Agents with `L0Middleware`: one clean stream, tools under one key, bounds that hold, and no outage in disguise."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from clients import Client
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.exceptions import ModelError
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel, Field

import l0_core
from l0_core import Policy, Retry
from l0_core._clock import SECOND, VirtualClock
from l0_core.testing import FaultyProvider, Reply, ToolCall, faults
from l0_langchain import L0Middleware, protect

QUESTION = "How is the weather in Paris?"
CALLING, ANSWER = "Let me look that up for you.", "It is sunny in Paris, and it will be so for the whole week."
ONCE = Policy(retry=Retry(attempts=1, max_retries=0))


class Scripted(BaseChatModel):
    """Says what it is told to, one message a call, and the last one for ever."""

    replies: list[AIMessage]
    calls: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bind()

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.calls.append(messages)
        reply = self.replies[min(len(self.calls), len(self.replies)) - 1]
        return ChatResult(generations=[ChatGeneration(message=reply.model_copy())])


def asking(number: int = 1, *, city: str = "Paris", tokens: int = 10) -> AIMessage:
    call = {"name": "get_weather", "args": {"city": city}, "id": f"call_{number}", "type": "tool_call"}
    usage: Any = {"input_tokens": 1, "output_tokens": tokens - 1, "total_tokens": tokens} if tokens else None
    return AIMessage("", tool_calls=[call], usage_metadata=usage)


def weather(error: Exception | None = None, *, failures: int = 1) -> tuple[BaseTool, list[str | None]]:
    keys: list[str | None] = []

    @tool
    def get_weather(city: str) -> str:
        """Look up the weather."""
        keys.append(l0_core.idempotency_key())
        if error is not None and len(keys) <= failures:
            raise error
        return f"Sunny in {city}."

    return get_weather, keys


async def invoked(agent: Any, value: Any = QUESTION, config: Any = None) -> list[BaseMessage]:
    state = await asyncio.to_thread(agent.invoke, {"messages": [HumanMessage(value)]}, config)
    return list(state["messages"])


async def awaited(agent: Any, value: Any = QUESTION, config: Any = None) -> list[BaseMessage]:
    state = await agent.ainvoke({"messages": [HumanMessage(value)]}, config)
    return list(state["messages"])


ways = pytest.mark.parametrize("way", [invoked, awaited])


# Models


async def streamed(agent: Any, *, is_async: bool) -> tuple[str, set[str | None], list[BaseMessage]]:
    """The pieces a reader was shown, the ids they came under, and the messages at the end."""
    text, ids, last = "", set(), []

    def see(mode: str, data: Any) -> None:
        nonlocal text, last
        if mode == "messages" and isinstance(data[0], AIMessageChunk):
            text += data[0].text
            ids.add(data[0].id)
        elif mode == "values":
            last = data["messages"]

    given = {"messages": [HumanMessage(QUESTION)]}
    if is_async:
        async for mode, data in agent.astream(given, stream_mode=["messages", "values"]):
            see(mode, data)
    else:
        for mode, data in await asyncio.to_thread(
            lambda: list(agent.stream(given, stream_mode=["messages", "values"]))
        ):
            see(mode, data)
    return text, ids, last


@pytest.mark.parametrize("is_async", [False, True], ids=["stream", "astream"])
async def test_a_reader_sees_one_clean_stream(client: Client, provider: FaultyProvider, *, is_async: bool) -> None:
    """G1, G2: both answers broke off once, and nothing was shown twice; the tool ran once."""
    call = ToolCall("get_weather", {"city": "Paris"}, id="call_1")
    provider.conversation(Reply.of(CALLING, tool_calls=[call]), Reply.of(ANSWER))
    provider.script(faults.reset_after(chunks=4), faults.ok(), faults.reset_after(chunks=6), faults.ok())
    made, keys = weather()
    bare = client(provider)
    agent = create_agent(bare, [made], middleware=[L0Middleware()])
    text, ids, messages = await streamed(agent, is_async=is_async)
    assert text == CALLING + ANSWER
    assert len(ids) == 2
    assert len(keys) == 1
    assert [type(message) for message in messages] == [HumanMessage, AIMessage, ToolMessage, AIMessage]
    assert messages[-1].response_metadata["l0"]["attempts"] == 2
    await client.close(bare)


@ways
async def test_an_outage_is_raised_and_never_becomes_an_answer(
    way: Any, client: Client, provider: FaultyProvider
) -> None:
    """Also not where a middleware outside would make one of it: it is told that nothing is left to be retried."""
    provider.script(faults.status(503))
    bare = client(provider)
    middleware: list[Any] = [ModelRetryMiddleware(on_failure="error"), L0Middleware(policy=ONCE)]
    agent = create_agent(bare, [], middleware=middleware)
    with pytest.raises(l0_core.ExhaustedError) as raised:
        await way(agent)
    assert isinstance(raised.value, ModelError)
    assert raised.value.is_retryable is False
    assert provider.request_count == 1
    await client.close(bare)


@ways
async def test_a_fallback_answers_with_the_agents_tools(way: Any, client: Client, provider: FaultyProvider) -> None:
    call = ToolCall("get_weather", {"city": "Paris"}, id="call_1")
    with FaultyProvider() as other:
        provider.script(faults.status(503))
        other.conversation(Reply.of(CALLING, tool_calls=[call]), Reply.of(ANSWER))
        stranger = Client("anthropic" if client.make == "openai" else "openai")
        first, second = client(provider), stranger(other)
        made, keys = weather()
        middleware = L0Middleware(policy=ONCE, fallbacks=[second])
        messages = await way(create_agent(first, [made], middleware=[middleware]))
        await client.close(first)
        await stranger.close(second)
    assert messages[-1].text == ANSWER
    assert messages[-1].response_metadata["l0"]["degraded"] is True
    assert len(keys) == 1


# What an agent is to answer


class Forecast(BaseModel):
    """A forecast."""

    city: str
    warm: bool


FIT = '{"city": "Paris", "warm": true}'
ANSWERS: dict[str, tuple[str, int]] = {
    "right": (FIT, 0),
    "not quite JSON": ("{city: 'Paris', \"warm\": True,}", 0),
    "not of the schema": ('{"city": "Paris", "warm": "perhaps"}', 1),
    "cut": (FIT[:-6], 1),
    "words": ("I would rather not.", 1),
}
"""What is said first, and how often it is asked for again."""


def answering(provider: FaultyProvider, *answers: str | Reply) -> None:
    """Have the provider give these answers, one a request, and the last one for ever."""
    provider.reply(answers[-1])
    for number, answer in enumerate(answers[:-1]):
        provider.reply(answer, when=lambda request, number=number: request.number == number)


@ways
@pytest.mark.parametrize("said", ANSWERS)
@pytest.mark.parametrize("tools", [0, 1], ids=["no tool", "a tool"])
async def test_an_answer_in_the_providers_own_format_is_put_right_or_asked_for_again(
    way: Any, tools: int, said: str, client: Client
) -> None:
    """G4: the framework's parser takes nothing but what fits, and does not ask again. G7: what fits is as it was."""
    first, more = ANSWERS[said]
    call = Reply.of(CALLING, tool_calls=[ToolCall("get_weather", {"city": "Paris"}, id="call_1")])
    seen = []
    for middleware in ([L0Middleware()], []) if said == "right" else ([L0Middleware()],):
        made, keys = weather()
        with FaultyProvider() as provider:
            answering(provider, *[call] * tools, first, *[FIT] * more)
            bare = client(provider, max_retries=0)
            strategy = ProviderStrategy(Forecast)
            agent = create_agent(bare, [made] * tools, response_format=strategy, middleware=middleware)
            state = await way(agent)
            await client.close(bare)
            seen.append(([request.body for request in provider.requests], [message.text for message in state]))
        assert Forecast.model_validate_json(state[-1].text) == Forecast(city="Paris", warm=True)
        assert provider.request_count == tools + 1 + more
        assert len(keys) == tools
    assert seen[0] == seen[-1]


def asked() -> Any:
    return {"messages": [HumanMessage(QUESTION)]}


@ways
async def test_an_answer_that_never_fits_is_refused_within_one_budget(
    way: Any, client: Client, provider: FaultyProvider
) -> None:
    """G3: by another make in its own format, too, before it is refused."""
    with FaultyProvider() as other:
        answering(provider, "No.")
        answering(other, "No.", FIT)
        stranger = Client("anthropic" if client.make == "openai" else "openai")
        first, second = client(provider), stranger(other)
        for fallbacks in ([second], []):
            middleware = L0Middleware(fallbacks=fallbacks)
            agent = create_agent(first, [], response_format=ProviderStrategy(Forecast), middleware=[middleware])
            before = provider.request_count
            if fallbacks:
                messages = await way(agent)
                assert messages[-1].response_metadata["l0"]["degraded"] is True
                assert {"response_format", "output_config", "output_format"} & other.requests[0].body.keys()
                assert other.request_count == 2
            else:
                with pytest.raises(l0_core.RefusedOutput):
                    await way(agent)
            assert provider.request_count == before + 3
        await client.close(first)
        await stranger.close(second)


@pytest.mark.parametrize("said", ["not quite JSON", "not of the schema"])
async def test_an_answer_by_a_tool_is_asked_for_again_by_the_agent_itself(
    said: str, client: Client, provider: FaultyProvider
) -> None:
    """Arguments that are no JSON never reach it (G2); those that do not fit it tells the model, as without L0."""
    first, _ = ANSWERS[said]

    def reply(args: str) -> Reply:
        return Reply.of("", tool_calls=[ToolCall("Forecast", args, id="call_1")])

    answering(provider, reply(first), reply(FIT))
    bare = client(provider, max_retries=0)
    agent = create_agent(bare, [], response_format=ToolStrategy(Forecast), middleware=[L0Middleware()])
    state = await agent.ainvoke(asked())
    assert state["structured_response"] == Forecast(city="Paris", warm=True)
    assert provider.request_count == 2
    await client.close(bare)


@pytest.mark.parametrize("is_async", [False, True], ids=["stream", "astream"])
async def test_words_on_the_way_to_a_call_are_not_kept_back(*, is_async: bool) -> None:
    """While there are tools an answer is shown as it comes, though what it must be is checked."""
    shown: list[str] = []

    class Speaking(Scripted):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self.bind(tools=tools, **kwargs)

        def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
            self.calls.append([])
            if len(self.calls) > 1:
                yield ChatGenerationChunk(message=AIMessageChunk(content=FIT))
                return
            yield ChatGenerationChunk(message=AIMessageChunk(content="Let me "))
            yield ChatGenerationChunk(message=AIMessageChunk(content="see."))
            deadline = 20
            assert seen.wait(deadline), "the reader has the first words before the answer is over"
            call: Any = {
                "name": "get_weather",
                "args": '{"city": "Paris"}',
                "id": "1",
                "index": 0,
                "type": "tool_call_chunk",
            }
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[call]))

    seen = threading.Event()
    made, keys = weather()
    agent = create_agent(
        Speaking(replies=[]), [made], response_format=ProviderStrategy(Forecast), middleware=[L0Middleware()]
    )

    def see(told: Any) -> None:
        shown.append(told[0].text)
        if told[0].text:
            seen.set()

    if is_async:
        async for told in agent.astream(asked(), stream_mode="messages"):
            see(told)
    else:
        await asyncio.to_thread(lambda: deque(map(see, agent.stream(asked(), stream_mode="messages")), maxlen=0))
    assert "".join(shown).startswith("Let me see.")
    assert len(keys) == 1


# Tools


@ways
async def test_a_tool_is_tried_again_under_the_key_of_its_call(way: Any) -> None:
    made, keys = weather(ConnectionResetError())
    agent = create_agent(Scripted(replies=[asking(), AIMessage(ANSWER)]), [made], middleware=[L0Middleware()])
    messages = await way(agent)
    assert [message.text for message in messages if isinstance(message, ToolMessage)] == ["Sunny in Paris."]
    assert len(keys) == 2
    assert keys[0] == keys[1] is not None


@ways
async def test_an_agent_that_is_resumed_calls_its_tool_under_the_same_key(way: Any) -> None:
    made, keys = weather(RuntimeError("the process died"), failures=1)
    agent = create_agent(
        Scripted(replies=[asking(), AIMessage(ANSWER)]),
        [made],
        middleware=[L0Middleware()],
        checkpointer=InMemorySaver(),
    )
    config: Any = {"configurable": {"thread_id": "1"}}
    with pytest.raises(RuntimeError, match="the process died"):
        await way(agent, QUESTION, config)
    state = await agent.ainvoke(None, config) if way is awaited else agent.invoke(None, config)
    assert state["messages"][-1].text == ANSWER
    assert len(keys) == 2
    assert keys[0] == keys[1]
    other: Any = {"configurable": {"thread_id": "2"}}
    agent.nodes["model"].bound  # noqa: B018 - it has the same nodes
    await way(
        create_agent(Scripted(replies=[asking(), AIMessage(ANSWER)]), [made], middleware=[L0Middleware()]), "x", other
    )
    assert keys[2] != keys[0]


@ways
async def test_what_a_tool_raises_itself_stays_that_and_happens_once(way: Any) -> None:
    error = ValueError("no such city")
    made, keys = weather(error)
    agent = create_agent(Scripted(replies=[asking(), AIMessage(ANSWER)]), [made], middleware=[L0Middleware()])
    with pytest.raises(ValueError, match="no such city") as raised:
        await way(agent)
    assert raised.value is error
    assert len(keys) == 1


@ways
async def test_a_tool_that_was_protected_by_itself_stays_as_it_is(way: Any) -> None:
    made, keys = weather(ConnectionResetError())
    once = protect(made, policy=ONCE)
    agent = create_agent(Scripted(replies=[asking(), AIMessage(ANSWER)]), [once], middleware=[L0Middleware()])
    with pytest.raises(l0_core.ExhaustedError):
        await way(agent)
    assert len(keys) == 1


# Bounds


BOUNDS: dict[str, tuple[dict[str, Any], int]] = {
    "model_calls_max": ({"model_calls_max": 3}, 2),
    "tool_calls_max": ({"tool_calls_max": 3}, 3),
    "tokens_max": ({"tokens_max": 25}, 2),
}


@ways
@pytest.mark.parametrize("name", BOUNDS)
async def test_a_budget_ends_it_before_the_call(way: Any, name: str) -> None:
    """G3: and without a message that says so in the model's name."""
    said, rounds = BOUNDS[name]
    made, keys = weather()
    model = Scripted(replies=[asking(number, city=str(number)) for number in range(1, 20)])
    with pytest.raises(l0_core.LimitError):
        await way(create_agent(model, [made], middleware=[L0Middleware(**said)]))
    assert len(keys) == rounds


@ways
async def test_tokens_that_nobody_counted_are_estimated(way: Any) -> None:
    """G3: a provider that tells of no usage is no way round the budget."""
    made, keys = weather()
    model = Scripted(replies=[asking(number, city=str(number), tokens=0) for number in range(1, 40)])
    with pytest.raises(l0_core.LimitError):
        await way(create_agent(model, [made], middleware=[L0Middleware(tokens_max=200)]))
    assert 0 < len(keys) < 10


@ways
@pytest.mark.parametrize("name", BOUNDS)
async def test_what_keeps_within_its_budget_is_left_alone(way: Any, name: str) -> None:
    said, _ = BOUNDS[name]
    made, _ = weather()
    model = Scripted(replies=[asking(1), AIMessage(ANSWER)])
    agent = create_agent(model, [made], middleware=[L0Middleware(**said)], checkpointer=InMemorySaver())
    for _ in range(4):  # A budget is that of one invocation: another one of the thread begins anew.
        model.calls.clear()
        messages = await way(agent, QUESTION, {"configurable": {"thread_id": "1"}})
        assert messages[-1].text == ANSWER
    bare = create_agent(Scripted(replies=[asking(1), AIMessage(ANSWER)]), [made])
    state = await agent.ainvoke({"messages": [HumanMessage(QUESTION)]}, {"configurable": {"thread_id": "2"}})
    assert set(state) == set(await bare.ainvoke({"messages": [HumanMessage(QUESTION)]}))


@ways
async def test_a_deadline_bounds_the_whole_invocation(way: Any, virtual_clock: VirtualClock) -> None:
    """G3."""
    left: list[float] = []

    @tool
    def get_weather(city: str) -> str:
        """Look up the weather."""
        from l0_core._context import inherited_deadline

        left.append(((inherited_deadline() or 0) - virtual_clock.now()) / SECOND)
        virtual_clock.advance(4)
        return f"Sunny in {city}."

    model = Scripted(replies=[asking(number, city=str(number)) for number in range(1, 20)])
    with pytest.raises(l0_core.DeadlineError):
        await way(create_agent(model, [get_weather], middleware=[L0Middleware(deadline=10)]))
    assert [round(seconds) for seconds in left] == [10, 6, 2]


@ways
async def test_going_round_in_circles_ends(way: Any) -> None:
    made, keys = weather()
    model = Scripted(replies=[asking(number) for number in range(1, 40)])
    with pytest.raises(l0_core.ContentError, match="round in circles"):
        await way(create_agent(model, [made], middleware=[L0Middleware(repeats_max=3)]))
    assert len(keys) == 3


@ways
async def test_asking_again_is_no_circle_while_something_changes(way: Any) -> None:
    counted: list[int] = []

    @tool
    def get_weather(city: str) -> str:
        """Look up the weather."""
        counted.append(1)
        return f"Sunny in {city}, says look {len(counted)}."

    model = Scripted(replies=[*(asking(number) for number in range(1, 9)), AIMessage(ANSWER)])
    messages = await way(create_agent(model, [get_weather], middleware=[L0Middleware(repeats_max=3)]))
    assert messages[-1].text == ANSWER


@ways
async def test_disabled_an_agent_is_as_it_was(way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L0_DISABLE", "1")
    made, keys = weather(ConnectionResetError())
    agent = create_agent(Scripted(replies=[asking(), AIMessage(ANSWER)]), [made], middleware=[L0Middleware()])
    with pytest.raises(ConnectionResetError):
        await way(agent)
    assert len(keys) == 1
