"""Answers that break off, and what the consumer sees of it."""

import json
import os
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from asking_llm import QUESTION, Way, listening, policy
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.core.types import PydanticProgramMode
from providers import CLIENTS, client
from pydantic import BaseModel
from scripted_llm import Reply, Scripted

import l0_core
from l0_core import _fleet
from l0_core.testing import FaultyProvider, faults
from l0_llamaindex import L0LLM

TEXT = "The capital of France is Paris, on the Seine, and it has been so for a very long time indeed."
ARGS = '{"city": "Paris", "days": 3}'
WEATHER = FunctionTool.from_defaults(fn=lambda city, days=1: f"{city} {days}", name="weather", description="d")
STREAMS = ["stream_chat", "stream_complete", "stream_chat_with_tools"]
CUTS = range(1, len(TEXT) // 5 + 1)


def breaking(at: int, text: str = TEXT, error: type[Exception] = ConnectionResetError, **more: Any) -> Scripted:
    """An LLM that breaks off once, and goes on as it is asked, or starts over."""

    def respond(prompt: str, _: dict[str, Any]) -> Reply:
        number = len(llm.asked)
        if number == 1:
            return Reply(text, fails=(at, error()), **more)
        last = prompt.rstrip().splitlines()[-1]
        found = text.find(last) if "Begin by repeating" in prompt else -1
        return Reply(text[found:] if found >= 0 else text, **more)

    llm = Scripted(responder=respond)
    return llm


def args_of(method: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if method == "stream_complete":
        return ("What is the capital of France?",), {}
    if method == "stream_chat":
        return (QUESTION,), {}
    return ([WEATHER],), {"user_msg": "What is the capital of France?", "chat_history": []}


@pytest.mark.parametrize("method", STREAMS)
def test_what_breaks_off_anywhere_is_given_once(way: Way, method: str) -> None:
    """G1: pieces, last snapshot and blocks agree wherever the first attempt broke off."""
    args, kwargs = args_of(method)
    for at in CUTS:
        _fleet.renew()
        llm = L0LLM(llm=breaking(at))
        seen = way(llm, method, *args, **kwargs)
        assert seen.error is None, at
        assert seen.text == seen.snapshot == TEXT, at
        told = seen.l0
        assert (told["attempts"], told["continued"], told["faults"][0]["fault"]) == (2, True, "network"), at
        grown = ""
        for chunk in seen.chunks:
            grown += chunk.delta
            if isinstance(chunk, ChatResponse):
                assert chunk.message.content == grown
                assert [type(block) for block in chunk.message.blocks] == [TextBlock]
            else:
                assert chunk.text == grown


@settings(max_examples=60)
@given(
    text=st.text(min_size=1, max_size=80).filter(lambda text: text.strip()),
    at=st.integers(0, 20),
    size=st.integers(1, 7),
    again=st.integers(1, 7),
)
@pytest.mark.parametrize("method", ["stream_chat", "stream_complete"])
def test_any_text_in_any_chunks_is_given_once(method: str, text: str, at: int, size: int, again: int) -> None:
    """G1: a model that says the same again is joined without a seam, whatever it says."""
    _fleet.renew()
    error = (at, ConnectionResetError())
    inner = Scripted(Reply(text, size=size, fails=error), Reply(text, size=again))
    seen = Way("sync")(L0LLM(llm=inner, policy=policy(continuation={"rungs": ["rerun"]})), method, *args_of(method)[0])
    assert seen.error is None
    assert seen.text == seen.snapshot == text


def test_a_model_is_asked_to_go_on_in_messages(way: Way) -> None:
    inner = breaking(6)
    way(L0LLM(llm=inner), "stream_chat", QUESTION)
    first, second = (ask.given for ask in inner.asked)
    assert second[: len(first)] == first
    shown, instruction = second[len(first) :]
    assert (shown.role, instruction.role) == (MessageRole.ASSISTANT, MessageRole.USER)
    assert TEXT.startswith(shown.content)
    assert instruction.content.splitlines()[-1] in shown.content


def test_a_model_with_tools_is_asked_to_go_on_with_its_tools(way: Way) -> None:
    inner = breaking(6)
    history = [ChatMessage(role="system", content="Be brief.")]
    way(L0LLM(llm=inner), "stream_chat_with_tools", [WEATHER], user_msg="The capital?", chat_history=history)
    first, second = inner.asked
    assert second.kwargs["tools"] == first.kwargs["tools"]
    assert second.kwargs["tools"][0]["function"]["name"] == "weather"
    roles = [message.role.value for message in second.given]
    assert roles == ["system", "user", "assistant", "user"]
    assert len(history) == 1


def test_usage_of_all_attempts_is_summed(way: Way) -> None:
    first = Reply("The capital of France", usage=(10, 4), finish="error")
    inner = Scripted(first, Reply("The capital of France is Paris.", usage=(12, 6)))
    seen = way(L0LLM(llm=inner), "stream_chat", QUESTION)
    assert seen.text == "The capital of France is Paris."
    assert seen.chunks[-1].additional_kwargs["total_tokens"] == 32
    assert (seen.l0["usage"]["input"], seen.l0["usage"]["output"]) == (22, 10)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Anthropic's SDK has dates for its models.
def test_usage_told_before_the_text_of_a_cut_attempt_is_summed(way: Way) -> None:
    """G8: a provider may tell at the beginning of an answer what its prompt costs, and the cut takes its end alone."""
    with FaultyProvider() as provider, client("anthropic", provider) as llm:
        provider.reply(TEXT, chunks=10)
        cut = way(llm, "stream_chat", QUESTION)
        provider.script(faults.reset_after(chunks=7), faults.ok())
        seen = way(L0LLM(llm=llm), "stream_chat", QUESTION)
        assert provider.request_count == 3
    assert seen.text == seen.snapshot == TEXT
    first, told = (chunk.message.additional_kwargs["usage"] for chunk in (cut.chunks[0], seen.chunks[-1]))
    assert seen.l0["usage"]["input"] == told["input_tokens"] > first["input_tokens"] * 2, (
        "a longer prompt, and the first"
    )
    assert seen.l0["usage"]["output"] == told["output_tokens"] == seen.chunks[-1].raw["usage"].output_tokens + 1


@pytest.mark.parametrize("at", range(16))
def test_thinking_before_a_seam_is_one_block(way: Way, at: int) -> None:
    inner = breaking(at, text="The capital is Paris, on the Seine.", thinking="Let me think of it.")
    seen = way(L0LLM(llm=inner), "stream_chat", QUESTION)
    assert seen.text == seen.snapshot == "The capital is Paris, on the Seine."
    blocks = seen.chunks[-1].message.blocks
    assert [type(block) for block in blocks] == [ThinkingBlock, TextBlock]
    assert blocks[0].content == "Let me think of it."


@pytest.mark.parametrize("text", ["I look it up.", ""])
@pytest.mark.parametrize("at", range(1, 16))
def test_a_call_comes_whole_and_once(way: Way, at: int, text: str) -> None:
    """G2: wherever the answer broke off, no chunk shows arguments that are not the whole."""
    reply = Reply(text, calls=(("weather", ARGS), ("weather", '{"city": "Rome"}')), finish="tool_calls")
    first = Reply(reply.text, calls=reply.calls, finish=reply.finish, fails=(at, ConnectionResetError()))
    seen = way(L0LLM(llm=Scripted(first, reply)), "stream_chat", QUESTION)
    assert seen.error is None
    assert seen.text == seen.snapshot == text
    last = [block for block in seen.chunks[-1].message.blocks if isinstance(block, ToolCallBlock)]
    assert [(call.tool_name, call.tool_kwargs) for call in last] == list(reply.calls)
    assert [type(block) for block in seen.chunks[-1].message.blocks] == [TextBlock, ToolCallBlock, ToolCallBlock]


def test_ids_of_calls_that_were_given_stay(way: Way) -> None:
    """A provider that starts over gives its calls new ids; the consumer goes on by those it has."""

    class Renaming(Scripted):
        def renamed(self, chunk: ChatResponse) -> ChatResponse:
            for block in chunk.message.blocks:
                if isinstance(block, ToolCallBlock):
                    block.tool_call_id = f"{block.tool_call_id}-of-{len(self.asked)}"
            return chunk

        def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
            return (self.renamed(chunk) for chunk in super().stream_chat(messages, **kwargs))

        async def astream_chat(self, messages: Any, **kwargs: Any) -> Any:
            stream = await super().astream_chat(messages, **kwargs)

            async def gen() -> Any:
                async for chunk in stream:
                    yield self.renamed(chunk)

            return gen()

    calls = (("weather", ARGS), ("weather", '{"city": "Rome"}'))
    first = Reply(calls=calls, finish="tool_calls", fails=(9, ConnectionResetError()))
    inner = Renaming()
    inner._replies = [first, Reply(calls=calls, finish="tool_calls")]
    seen = way(L0LLM(llm=inner), "stream_chat", QUESTION)
    assert seen.error is None
    ids = [block.tool_call_id for block in seen.chunks[-1].message.blocks if isinstance(block, ToolCallBlock)]
    assert ids == ["call-0-of-1", "call-1-of-2"]


@pytest.mark.parametrize("how", ["length", "stop", None])
def test_cut_arguments_are_never_given(way: Way, how: str | None) -> None:
    """G2: not when the provider says that it has finished, and not when it just ends."""
    cut = Reply(calls=(("weather", ARGS[:-6]),), finish=how)
    seen = way(L0LLM(llm=Scripted(cut)), "stream_chat", QUESTION)
    assert isinstance(seen.error, l0_core.ContentError)
    assert seen.chunks == []
    seen = way(L0LLM(llm=Scripted(cut, Reply(calls=(("weather", ARGS),)))), "stream_chat", QUESTION)
    assert seen.chunks[-1].message.blocks[-1].tool_kwargs == ARGS


@pytest.mark.parametrize("method", ["chat", "chat_with_tools"])
def test_cut_arguments_are_not_given_whole_either(way: Way, method: str) -> None:
    """G2: a call that is not streamed is looked at too."""
    cut, good = Reply(calls=(("weather", ARGS[:-6]),), finish="length"), Reply(calls=(("weather", ARGS),))
    llm = L0LLM(llm=Scripted(cut, good))
    seen = way(llm, method, QUESTION) if method == "chat" else way(llm, method, [WEATHER], user_msg="x")
    assert seen.chunks[0].message.blocks[-1].tool_kwargs == ARGS


@pytest.mark.parametrize("method", ["chat", "complete", "stream_chat", "stream_complete"])
@pytest.mark.parametrize("text", ["", " \n "])
def test_an_empty_answer_is_asked_for_again_and_then_said(way: Way, method: str, text: str) -> None:
    """G4, G8: never an answer of nothing."""
    given = "x" if "complete" in method else QUESTION
    assert way(L0LLM(llm=Scripted(text, "Paris.")), method, given).text == "Paris."
    seen = way(L0LLM(llm=Scripted(text)), method, given)
    assert isinstance(seen.error, l0_core.ExhaustedError)
    assert seen.chunks == []


@pytest.mark.parametrize("method", ["chat", "stream_chat"])
def test_length_is_told_and_no_fault(way: Way, method: str) -> None:
    seen = way(L0LLM(llm=Scripted(Reply("The capital", finish="length"))), method, QUESTION)
    assert seen.text == "The capital"
    assert (seen.l0["finish_reason"], seen.l0["attempts"]) == ("length", 1)


@pytest.mark.parametrize("method", ["chat", "complete"])
@pytest.mark.parametrize("text", ["", "The capi"])
def test_what_a_filter_stopped_is_refused(way: Way, method: str, text: str) -> None:
    given = "x" if "complete" in method else QUESTION
    seen = way(L0LLM(llm=Scripted(Reply(text, finish="content_filter"))), method, given)
    assert isinstance(seen.error, l0_core.RefusedOutput)


def raised(call: Callable[[], object]) -> Exception:
    """Return what a library raises: by its innermost frame it is told from the caller's own code."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - it is what is wanted
        return error
    raise AssertionError


RUBBISH = {
    "json": lambda: json.loads("<html>"),
    "type": lambda: Fraction([]),  # type: ignore[call-overload]
    "index": lambda: random.choice([]),  # noqa: S311 - nothing is drawn
    "key": lambda: os.environ["NO_SUCH_NAME"],
}


@pytest.mark.parametrize("kind", RUBBISH)
def test_what_a_client_makes_of_rubbish_is_the_providers_fault(way: Way, kind: str) -> None:
    """The same classes are the caller's at call time; from inside an attempt they are healed, or said typed."""
    error = raised(RUBBISH[kind])
    inner = Scripted(Reply("The capital is Paris.", fails=(2, error)), "The capital is Paris.")
    seen = way(L0LLM(llm=inner), "stream_chat", QUESTION)
    assert seen.text == "The capital is Paris."
    assert seen.l0["faults"][0]["fault"] == "protocol"
    seen = way(L0LLM(llm=Scripted(Reply("x", fails=(0, error)))), "chat", QUESTION)
    assert isinstance(seen.error, l0_core.L0Error)
    assert seen.error.__cause__ is error


def test_a_mistake_in_the_callers_own_code_is_raised_as_it_is(way: Way) -> None:
    mistake = KeyError("x")
    inner = Scripted(Reply("The capital is Paris.", fails=(2, mistake)))
    seen = way(L0LLM(llm=inner), "stream_chat", QUESTION)
    assert seen.error is mistake
    assert len(inner.asked) == 1


def test_what_cannot_be_completed_is_said_and_not_cut_short(way: Way) -> None:
    """G1, G8: never a silent truncation."""
    llm = L0LLM(llm=Scripted(Reply(TEXT, fails=(3, ConnectionResetError()))), policy=policy(retry={"max_retries": 0}))
    seen = way(llm, "stream_chat", QUESTION)
    assert isinstance(seen.error, l0_core.IncompleteError)
    assert seen.error.result is not None
    assert seen.error.result.text == seen.text == TEXT[:15]


def test_a_consumer_that_opted_in_is_told_to_discard(way: Way) -> None:
    inner = Scripted(Reply("Bordeaux is", fails=(2, ConnectionResetError())), "The capital is Paris.")
    seen = way(L0LLM(llm=inner, policy=policy(continuation={"rungs": ["reset"]})), "stream_chat", QUESTION)
    (place,) = [at for at, chunk in enumerate(seen.chunks) if chunk.additional_kwargs.get("l0", {}).get("reset")]
    assert "".join(chunk.delta for chunk in seen.chunks[place:]) == seen.snapshot == "The capital is Paris."


# Fallbacks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["chat", "complete", "stream_chat", "stream_complete"])
def test_a_fallback_answers_and_it_is_said(way: Way, method: str) -> None:
    """G8: a fallback is marked on the result."""
    given = "x" if "complete" in method else QUESTION
    broken = Scripted(Reply(fails=(0, ConnectionResetError())), model="broken")
    llm = L0LLM(llm=broken, fallbacks=[Scripted("Paris.", model="other")])
    seen = way(llm, method, given)
    assert seen.text == "Paris."
    assert (seen.l0["served_by"], seen.l0["degraded"]) == ("other", True)


@pytest.mark.parametrize("method", ["chat_with_tools", "stream_chat_with_tools"])
def test_a_fallback_prepares_tools_in_its_own_way(way: Way, method: str) -> None:
    class Other(Scripted):
        def _prepare_chat_with_tools(self, tools: Any, user_msg: Any = None, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
            return {"messages": [ChatMessage(role="user", content=user_msg)], "functions": len(tools)}

    other = Other(model="other")
    other._replies = [Reply(calls=(("weather", ARGS),))]
    plain = Scripted("no tools here", model="plain", is_function_calling=False)
    broken = Scripted(Reply(fails=(0, ConnectionResetError())), model="broken")
    seen = way(L0LLM(llm=broken, fallbacks=[plain, other]), method, [WEATHER], user_msg="The weather?")
    assert seen.chunks[-1].message.blocks[-1].tool_kwargs == ARGS
    assert [ask.kwargs for ask in other.asked] == [{"functions": 1}]
    assert plain.asked == []


def test_reasoning_is_not_told_to_another_vendor(way: Way) -> None:
    thought = ChatMessage(role="assistant", blocks=[ThinkingBlock(content="secret"), TextBlock(text="Paris.")])

    class Other(Scripted):
        pass

    broken, other = Scripted(Reply(fails=(0, ConnectionResetError()))), Other()
    other._replies = [Reply("Still Paris.")]
    way(L0LLM(llm=broken, fallbacks=[other]), "chat", [*QUESTION, thought, *QUESTION])
    assert [type(block) for block in broken.asked[0].given[1].blocks] == [ThinkingBlock, TextBlock]
    assert [type(block) for block in other.asked[0].given[1].blocks] == [TextBlock]
    assert len(thought.blocks) == 2


def test_words_of_one_provider_are_not_told_to_another(way: Way) -> None:
    class Other(Scripted):
        pass

    other = Other()
    broken = Scripted(Reply(fails=(0, ConnectionResetError())))
    seen = way(L0LLM(llm=broken, fallbacks=[other]), "chat", QUESTION, response_format={"type": "json_object"})
    assert isinstance(seen.error, l0_core.ExhaustedError)
    assert other.asked == []


def test_a_wrapped_fallback_is_unwrapped(way: Way) -> None:
    """G3: its own retries do not multiply with ours."""
    broken, other = (Scripted(Reply(fails=(0, ConnectionResetError()))) for _ in range(2))
    seen = way(
        L0LLM(llm=broken, fallbacks=[L0LLM(llm=other)], policy=policy(retry={"max_retries": 2})), "chat", QUESTION
    )
    assert isinstance(seen.error, l0_core.ExhaustedError)
    assert len(broken.asked) + len(other.asked) <= 4


def test_a_stream_inside_an_attempt_passes_through(way: Way) -> None:
    """What is protected twice is retried once."""
    from llama_index.core.llms.structured_llm import StructuredLLM
    from pydantic import BaseModel

    class City(BaseModel):
        name: str

    inner = Scripted(Reply(fails=(0, ConnectionResetError())), Reply(calls=(("City", '{"name": "Paris"}'),)))
    llm = L0LLM(llm=StructuredLLM(llm=L0LLM(llm=inner), output_cls=City))
    seen = way(llm, "chat", QUESTION)
    assert seen.error is None
    assert seen.chunks[0].raw == City(name="Paris")
    assert len(inner.asked) == 2


def test_a_stream_left_early_is_closed(way: Way) -> None:
    """G3: the provider's stream is closed when nobody wants more."""
    with listening() as (events, _):
        llm = L0LLM(llm=Scripted(TEXT))
        stream = llm.stream_chat(QUESTION)
        next(stream)
        stream.close()
    assert events.names.count("LLMChatStartEvent") == 1


LEAVES: dict[str, Any] = {
    "stream_chat": lambda llm: llm.stream_chat(QUESTION),
    "stream_complete": lambda llm: llm.stream_complete("?"),
    "stream_structured_predict": lambda llm: llm.stream_structured_predict(Named, PromptTemplate("Name one.")),
}


class Named(BaseModel):
    name: str


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Anthropic's SDK has dates for its models.
@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("left", LEAVES)
def test_a_provider_that_says_no_more_is_hung_up_on(name: str, left: str) -> None:
    """G3: a stream read in a thread ends with its consumer, and not with the client's read timeout."""
    if name == "anthropic" and left == "stream_structured_predict":
        pytest.skip("asks for it in one answer")
    with FaultyProvider() as provider, client(name, provider) as inner:
        provider.reply('{"name": "Paris, the capital of France, which lies on the Seine"}', chunks=10)
        provider.script(faults.stall(phase="text"))
        inner.pydantic_program_mode = PydanticProgramMode.LLM
        stream = LEAVES[left](L0LLM(llm=inner))
        next(stream)
        next(stream)
        stream.close()
        assert provider.requests[0].wait_ended() == "client"
