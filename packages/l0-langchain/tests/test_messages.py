"""One message, whatever it was put together from: blocks, reasoning, images, usage, limits, prefixes (G1, G3, G8)."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from functools import reduce
from operator import add
from typing import Any

import pytest
from clients import Client
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from langgraph.errors import GraphInterrupt
from pydantic import Field
from rules import RuleModel
from shapes import Flaky

from l0_core import Continuation, Policy
from l0_core.testing import FaultyProvider, faults
from l0_langchain import L0ChatModel

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris, which lies on the Seine, and it has been so for long."
Chunks = list[AIMessageChunk]


class Played(RuleModel):
    """Streams what it is told to, one list an attempt; a chunk that is an exception is raised."""

    plays: list[list[Any]]
    sent: list[list[BaseMessage]] = Field(default_factory=list)
    given: list[dict[str, Any]] = Field(default_factory=list)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        self.sent.append(messages)
        self.given.append({**kwargs, "max_tokens": self.max_tokens})
        for chunk in self.plays[min(len(self.sent), len(self.plays)) - 1]:
            if isinstance(chunk, Exception):
                raise chunk
            yield ChatGenerationChunk(message=chunk.model_copy())


def said(content: Any, **fields: Any) -> AIMessageChunk:
    return AIMessageChunk(content=content, id="m1", **fields)


def block(index: int, text: str) -> AIMessageChunk:
    return said([{"type": "text", "text": text, "index": index}])


def thought(index: int, text: str) -> AIMessageChunk:
    return said([{"type": "thinking", "thinking": text, "index": index}])


CUT = ConnectionResetError("it was cut")
RERUN = Policy(continuation=Continuation(rungs=["rerun"]))


async def streamed(model: Any, value: Any = QUESTION) -> Any:
    return reduce(add, await asyncio.to_thread(lambda: list(model.stream(value))))


async def astreamed(model: Any, value: Any = QUESTION) -> Any:
    return reduce(add, [chunk async for chunk in model.astream(value)])


ways = pytest.mark.parametrize("way", [streamed, astreamed])


@ways
async def test_a_text_that_goes_on_is_one_block(way: Any) -> None:
    """Whatever index the later attempt gives it."""
    first = [block(0, "The capital of "), block(0, "France is "), CUT]
    second = [block(1, "The capital of "), block(1, "France is Paris, "), block(1, "of course."), thought(2, "Done.")]
    message = await way(L0ChatModel(model=Played(plays=[first, second]), policy=RERUN))
    parts = [(part["index"], part.get("text", part.get("thinking"))) for part in message.content]
    (text, said_in_full), (after, done) = parts
    assert (text, said_in_full) == (0, "The capital of France is Paris, of course.")
    assert (after > text, done) == (True, "Done.")


@ways
async def test_a_block_that_goes_on_keeps_its_id(way: Any) -> None:
    """As OpenAI's responses tell it: at the end of the block, and another one for every answer."""

    def ended(ident: str) -> AIMessageChunk:
        return said([{"type": "text", "text": "", "id": ident, "index": 0}])

    words = [block(0, "The capital of "), block(0, "France is Paris.")]
    plays: list[list[Any]] = [
        [*words, ended("msg_1"), CUT],
        [*words, ended("msg_2"), said("", response_metadata={"status": "done"})],
    ]
    message = await way(L0ChatModel(model=Played(plays=plays), policy=RERUN))
    assert message.content == [{"type": "text", "text": "The capital of France is Paris.", "index": 0, "id": "msg_1"}]


@ways
async def test_reasoning_that_was_abandoned_is_flagged_and_not_sent_again(way: Any) -> None:
    first = [thought(0, "Let me see"), block(1, "The capital of "), CUT]
    second = [thought(0, "Again"), block(1, "The capital of "), block(1, "France is Paris.")]
    inner = Played(plays=[first, second, [said("Yes.")]])
    model = L0ChatModel(model=inner, policy=RERUN)
    message = await way(model)
    assert message.text == "The capital of France is Paris."
    thoughts = {part["index"]: part["thinking"] for part in message.content if part["type"] == "thinking"}
    assert list(thoughts.values()) == ["Let me see", "Again"], "neither is added to the other"
    abandoned = message.response_metadata["l0"]["abandoned"]
    assert [thoughts[index] for index in abandoned] == ["Let me see"]
    await way(model, [HumanMessage(QUESTION), message, HumanMessage("Sure?")])
    sent: Any = inner.sent[-1][1].content
    assert [part["thinking"] for part in sent if part["type"] == "thinking"] == ["Again"]


@ways
@pytest.mark.parametrize("reasoned", [False, True], ids=["not the first attempt", "both"])
async def test_reasoning_is_sent_again_before_the_words_it_led_to(way: Any, *, reasoned: bool) -> None:
    """A provider that signs it takes no answer that begins with anything else; the reader had other words first."""
    first = [*[thought(0, "Let me see")] * reasoned, block(1, "The capital of "), CUT]
    second = [thought(0, "Again"), thought(1, "once more"), block(2, "The capital of "), block(2, "France is Paris.")]
    inner = Played(plays=[first, second, [said("Yes.")]])
    model = L0ChatModel(model=inner, policy=RERUN)
    message = await way(model)
    assert message.text == "The capital of France is Paris."
    before = [dict(part) for part in message.content]
    await way(model, [HumanMessage(QUESTION), message, HumanMessage("Sure?")])
    sent: Any = inner.sent[-1][1].content
    assert [part.get("thinking") for part in sent[:2]] == ["Again", "once more"]
    assert "".join(part.get("text", "") for part in sent[2:]) == message.text
    assert message.content == before, "the caller's own message stays as it is"


@ways
@pytest.mark.parametrize("kind", ["image", "audio", "file"])
async def test_parts_that_are_not_looked_into_pass_in_order(way: Any, kind: str) -> None:
    part = {"type": kind, "base64": "AAAA", "mime_type": "x/y"}
    play = [block(0, "Look: "), said([part]), block(2, "that is it.")]
    message = await way(L0ChatModel(model=Played(plays=[[CUT], play])))
    bare = reduce(add, Played(plays=[play]).stream(QUESTION))
    assert message.content == bare.content
    assert message.response_metadata["l0"]["attempts"] == 2


@ways
async def test_usage_is_that_of_all_attempts(way: Any) -> None:
    """G8: what was paid for is told, what of it was of no use apart."""

    def used(put: int, out: int) -> Any:
        usage = {"input_tokens": put, "output_tokens": out, "total_tokens": put + out}
        return said("", usage_metadata=usage)

    first = [used(10, 0), said("The capital of "), said("France is "), used(0, 5), CUT]
    second = [used(10, 0), said("The capital of "), said("France is "), said("Paris."), used(0, 9)]
    message = await way(L0ChatModel(model=Played(plays=[first, second]), policy=RERUN))
    assert message.text == "The capital of France is Paris."
    told = message.response_metadata["l0"]
    assert (told["usage"]["input"], told["usage"]["output"]) == (20, 14)
    assert (message.usage_metadata["input_tokens"], message.usage_metadata["output_tokens"]) == (20, 14)


@ways
@pytest.mark.parametrize("known", [None, True, False], ids=["unknown", "yes", "no"])
async def test_whether_an_endpoint_takes_a_prefix_can_be_said(way: Any, known: bool | None) -> None:  # noqa: FBT001 - a parameter
    """One nobody knows is not given one; what the caller says holds."""
    inner = Played(plays=[[said("The capital of "), CUT], [said("France is Paris.")]], max_tokens=500)
    policy = Policy(continuation=Continuation(rungs=["prefill"]))
    model = L0ChatModel(model=inner, policy=policy, prefill=known)
    if known:
        assert (await way(model)).text == "The capital of France is Paris."
        assert isinstance(inner.sent[1][-1], AIMessage)
        assert inner.sent[1][-1].content == "The capital of", "without the space that providers refuse"
        assert inner.given[0]["max_tokens"] == 500
        assert inner.given[1]["max_tokens"] == 500 - len("The capital of ") // 4, "less what was shown"
        return
    with pytest.raises(Exception, match="broke off"):
        await way(model)
    assert len(inner.sent) == 1


def test_endpoints_that_are_known_are_known_by_address_and_model(provider: FaultyProvider) -> None:
    from l0_langchain._endpoint import Endpoint

    def prefill_of(make: Any, **fields: Any) -> bool | None:
        return Endpoint.of(Client(make)(provider, **fields), {}).prefill

    assert prefill_of("anthropic", base_url="https://api.anthropic.com", model="claude-haiku-4-5") is True
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert prefill_of("anthropic", base_url="https://api.anthropic.com", max_tokens=2048, thinking=thinking) is False
    assert prefill_of("openai", base_url="https://api.openai.com/v1") is False
    assert prefill_of("openai", base_url="https://models.example.org/v1", model="some-model") is None


def test_a_stream_that_does_not_say_why_it_ends_is_not_expected_to(provider: FaultyProvider) -> None:
    """G7: `ChatAnthropic` leaves that out with the usage; an answer in one piece says it all the same."""
    from l0_langchain._endpoint import Endpoint

    def terminal_of(kwargs: dict[str, Any], *, whole: bool = False, **fields: Any) -> str:
        return Endpoint.of(Client("anthropic")(provider, **fields), kwargs, whole=whole).terminal

    assert terminal_of({}) == "finish_reason"
    assert terminal_of({}, stream_usage=False) == terminal_of({"stream_usage": False}) == "end_of_stream"
    assert terminal_of({"stream_usage": True}, stream_usage=False) == "finish_reason"
    assert terminal_of({}, stream_usage=False, whole=True) == "finish_reason"


@pytest.mark.parametrize("is_async", [False, True], ids=["stream", "astream"])
async def test_a_reader_who_leaves_closes_the_models_own_stream(*, is_async: bool) -> None:
    """G3."""
    closed = threading.Event()

    class Open(RuleModel):
        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            try:
                yield from super()._stream(*args, **kwargs)
            finally:
                closed.set()

    model = L0ChatModel(model=Open())
    if is_async:
        stream: Any = model.astream(QUESTION)
        await anext(stream)
        await stream.aclose()
    else:
        given: Any = model.stream(QUESTION)
        next(given)
        given.close()
    assert await asyncio.to_thread(closed.wait, 20)


CALLS: dict[str, Callable[[Any], Any]] = {
    "invoke": lambda model: model.invoke(QUESTION),
    "stream": lambda model: reduce(add, model.stream(QUESTION)),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_model_that_does_not_stream_is_healed_as_well(call: str) -> None:
    """Its stream is one chunk, as that of the bare model, and not an error because it has none."""
    message = await asyncio.to_thread(CALLS[call], L0ChatModel(model=Flaky()))
    assert (message.text, message.response_metadata["l0"]["attempts"]) == ("Paris.", 2)
    model = L0ChatModel(model=Flaky())
    chunks = [chunk async for chunk in model.astream(QUESTION)]
    assert [chunk.text for chunk in chunks] == ["Paris."]


@pytest.mark.parametrize("call", CALLS)
def test_control_flow_of_a_graph_is_nobodys_fault(call: str) -> None:
    """The same object, after one call, from whatever depth."""
    stop = GraphInterrupt()

    made: list[None] = []

    class Asking(RuleModel):
        def _answer(self, messages: list[BaseMessage], **kwargs: Any) -> Any:
            made.append(None)
            raise stop

    with pytest.raises(GraphInterrupt) as raised:
        CALLS[call](L0ChatModel(model=Asking(), fallbacks=[RuleModel()]))
    assert raised.value is stop
    assert len(made) == 1


async def test_cancelling_is_nobodys_fault(provider: FaultyProvider) -> None:
    """G3: it is not tried again, and the provider is left."""
    client = Client("openai")
    provider.reply(ANSWER)
    provider.script(faults.stall(chunks=1))
    bare = client(provider)
    task = asyncio.ensure_future(L0ChatModel(model=bare).ainvoke(QUESTION, stream=True))
    await asyncio.to_thread(provider.wait_for_requests, 1, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert provider.request_count == 1
    await client.close(bare)
