"""Every fault, through the real clients, in every shape an answer is asked for: right once, or a typed error."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from asking_llm import policy
from engines import index
from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.core.chat_engine.simple import SimpleChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from providers import CLIENTS, client

import l0_core
from l0_core.testing import FaultyProvider, faults, samples
from l0_core.testing.fault_table import TABLE, Row
from l0_llamaindex import L0LLM

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    # LlamaIndex leaves connections of its memories open, and asyncio those of a client whose loop is gone.
    "ignore::pytest.PytestUnraisableExceptionWarning",
    # A chat engine's own thread raises what it has handed to the reader as well.
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
)

QUESTION = "What do you know?"
ARGS = {"city": "Paris, the capital of France"}
# Long enough for a busy machine: a stall that was none would be healed, but not seen for what it is.
POLICY = policy(timeouts={"open": 2.0, "first": 0.3, "text": 0.3, "reasoning": 0.3, "tool_args": 0.3, "call": 1.0})
SAMPLE = {
    "ok()",
    "rate_limit()",
    "quota()",
    "status(code=401)",
    "reset_after(chunks=4)",
    "eof_after(chunks=4)",
    "stall(phase='text')",
    "malformed_event()",
    "error_event()",
    "html_200()",
    "finish_length()",
    "finish_content_filter()",
}

Shape = Callable[[Any], str]
SHAPES: dict[str, Shape] = {}


def shape(run: Shape) -> Shape:
    SHAPES[run.__name__] = run
    return run


def messages() -> list[ChatMessage]:
    return [ChatMessage(role="user", content=QUESTION)]


@shape
def chat(llm: Any) -> str:
    return llm.chat(messages()).message.content  # type: ignore[no-any-return]


@shape
def complete(llm: Any) -> str:
    return llm.complete(QUESTION).text  # type: ignore[no-any-return]


@shape
def stream_chat(llm: Any) -> str:
    grown = ""
    for chunk in llm.stream_chat(messages()):
        grown += chunk.delta or ""
    return grown


@shape
def stream_complete(llm: Any) -> str:
    return "".join(chunk.delta or "" for chunk in llm.stream_complete(QUESTION))


@shape
def achat(llm: Any) -> str:
    async def main() -> Any:
        return (await llm.achat(messages())).message.content

    return asyncio.run(main())  # type: ignore[no-any-return]


@shape
def acomplete(llm: Any) -> str:
    async def main() -> Any:
        return (await llm.acomplete(QUESTION)).text

    return asyncio.run(main())  # type: ignore[no-any-return]


@shape
def astream_chat(llm: Any) -> str:
    async def main() -> str:
        return "".join([chunk.delta or "" async for chunk in await llm.astream_chat(messages())])

    return asyncio.run(main())


@shape
def astream_complete(llm: Any) -> str:
    async def main() -> str:
        return "".join([chunk.delta or "" async for chunk in await llm.astream_complete(QUESTION)])

    return asyncio.run(main())


@shape
def query_engine(llm: Any) -> str:
    return str(index().as_query_engine(llm=llm).query(QUESTION))


@shape
def streaming_query_engine(llm: Any) -> str:
    response: Any = index().as_query_engine(llm=llm, streaming=True).query(QUESTION)
    return "".join(response.response_gen)


@shape
def async_query_engine(llm: Any) -> str:
    engine = index().as_query_engine(llm=llm)

    async def main() -> str:
        return str(await engine.aquery(QUESTION))

    return asyncio.run(main())


@shape
def streaming_chat_engine(llm: Any) -> str:
    engine = SimpleChatEngine.from_defaults(llm=llm)
    text = "".join(engine.stream_chat(QUESTION).response_gen)
    kept = [message.content for message in engine.chat_history if message.role == "assistant"]
    assert kept == [text], "memory has the turn, whole"
    return text


@shape
def agent(llm: Any) -> str:
    """An agent that has a tool and does not need it."""

    async def main() -> str:
        tool = FunctionTool.from_defaults(fn=lambda city: city, name="weather", description="d")
        made: Any = FunctionAgent(tools=[tool], llm=llm)
        handler = made.run(user_msg=QUESTION)
        streamed = "".join([event.delta async for event in handler.stream_events() if isinstance(event, AgentStream)])
        answer = str(await handler)
        assert streamed == answer
        return answer

    return asyncio.run(main())


@pytest.fixture(scope="module")
def provider() -> Iterator[FaultyProvider]:
    with FaultyProvider() as provider:
        for name in CLIENTS:  # What a client loads with its first call is no part of how long an answer takes.
            with client(name, provider) as inner:
                inner.chat(messages())
        yield provider


@pytest.fixture(autouse=True)
def _left_open(left_open: None) -> None: ...


def is_told(row: Row) -> bool:
    """Whether anything can be told of the fault: what an upstream repeats or leaves out is its own word."""
    return not row.fault_class.startswith("none: its own word")


def cases(rows: list[Row], shapes: list[str]) -> Iterator[Any]:
    """All rows in all shapes for all clients; on every change, a sample in which each of them stands."""
    place = 0
    for row in rows:
        for name in CLIENTS:
            for asked in shapes:
                place += 1
                often = row.fault in SAMPLE and place % 11 == 0
                marks = () if often else pytest.mark.matrix
                yield pytest.param(row, name, asked, id=f"{name}-{asked}-{row.fault}", marks=marks)


TEXTS = [row for row in TABLE if is_told(row) and "tool_args" not in row.fault]
NO_PART_OF_A_CALL = ("reasoning", "blank", "phase='text'")
CALLS = [row for row in TABLE if is_told(row) and not any(part in row.fault for part in NO_PART_OF_A_CALL)]


@pytest.mark.parametrize(("row", "name", "asked"), list(cases(TEXTS, list(SHAPES))))
def test_an_answer_is_right_once_or_an_error_says_why(
    row: Row, name: str, asked: str, provider: FaultyProvider
) -> None:
    """G1, G4, G8: whatever passes is healed; whatever stays reaches the caller as what it is."""
    provider.script(faults.parse(row.fault), faults.ok())
    if "reasoning" in row.fault:
        provider.reply(samples.PROSE, reasoning="Let me think of all that I know, slowly and in order.")
    else:
        provider.reply(samples.PROSE)
    before = provider.request_count
    with client(name, provider) as inner:
        llm = L0LLM(llm=inner, policy=POLICY)
        if row.fault == "finish_length()":
            text = SHAPES[asked](llm)
            assert text
            assert samples.PROSE.canonical.startswith(text)
        elif row.heals:
            assert SHAPES[asked](llm) == samples.PROSE.canonical
        else:
            with pytest.raises(Exception) as caught:  # noqa: PT011 - of which class depends on the client
                SHAPES[asked](llm)
            error = caught.value
            assert isinstance(error, l0_core.L0Error) or type(error).__module__.startswith(("openai", "anthropic")), (
                error
            )
            assert not isinstance(error, ValueError | TypeError)
            assert provider.request_count == before + 1


@pytest.mark.parametrize(("row", "name", "asked"), list(cases(CALLS, ["called", "streamed", "agent"])))
def test_a_tool_is_called_once_with_whole_arguments(row: Row, name: str, asked: str, provider: FaultyProvider) -> None:
    """G2: no tool ever sees a part, and none runs twice."""
    provider.script(faults.parse(row.fault), faults.ok())
    provider.conversation(
        l0_core.testing.Reply.of("", tool_calls=[("weather", ARGS)]), l0_core.testing.Reply.of("It is sunny.")
    )
    ran: list[str] = []

    def weather(city: str) -> str:
        """Tell the weather."""
        ran.append(city)
        return "sunny"

    tool = FunctionTool.from_defaults(fn=weather)

    async def run(llm: Any) -> None:
        made: Any = FunctionAgent(tools=[tool], llm=llm)
        await made.run(user_msg=QUESTION)

    def ask(llm: Any) -> None:
        if asked == "agent":
            asyncio.run(run(llm))
            return
        if asked == "called":
            response = llm.chat_with_tools([tool], user_msg=QUESTION)
        else:
            *_, response = llm.stream_chat_with_tools([tool], user_msg=QUESTION)
        for selection in llm.get_tool_calls_from_response(response, error_on_no_tool_call=False):
            tool(**selection.tool_kwargs)

    with client(name, provider) as inner:
        llm: Any = L0LLM(llm=inner, policy=POLICY)
        if row.heals:
            ask(llm)
            assert ran == [ARGS["city"]]
            return
        with nullcontext() if row.fault == "finish_length()" else pytest.raises(Exception):  # noqa: PT011 - of which class depends on the client
            ask(llm)
        assert ran == []


@pytest.mark.parametrize("awaits", [False, True], ids=["sync", "async"])
def test_what_an_integration_stumbles_over_is_hung_up_on(monkeypatch: pytest.MonkeyPatch, *, awaits: bool) -> None:
    """G3: it raises, and leaves its response to the collector."""
    responses: list[Any] = []
    closed: list[bool] = []

    def noted(response: Any) -> Any:
        closed.extend(each.is_closed for each in responses)
        responses.append(response)
        return response

    async def main(llm: Any) -> str:
        return "".join([chunk.delta or "" async for chunk in await llm.astream_chat(messages())])

    with FaultyProvider() as provider, client("anthropic", provider) as inner:
        http = (inner._aclient if awaits else inner._client)._client  # type: ignore[attr-defined]
        kind: Any = next(kind for kind in type(http).__mro__ if "send" in vars(kind))
        send = kind.send

        async def send_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            return noted(await send(self, *args, **kwargs))

        def send_sync(self: Any, *args: Any, **kwargs: Any) -> Any:
            return noted(send(self, *args, **kwargs))

        monkeypatch.setattr(kind, "send", send_async if awaits else send_sync)
        provider.script(faults.null_choices(), faults.ok())
        llm = L0LLM(llm=inner)
        asked = main(llm) if awaits else None
        text = asyncio.run(asked) if asked else "".join(chunk.delta or "" for chunk in llm.stream_chat(messages()))
        assert provider.is_right(text)
    assert closed == [True], "when it was asked again"
