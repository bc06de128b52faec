"""A wrapped LLM is still itself."""

import asyncio
import copy
import inspect
import pickle
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest
from asking_llm import QUESTION, Way, listening
from llama_index.core import Settings
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import LLM, ChatMessage, CustomLLM, MockLLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI
from pydantic import BaseModel
from scripted_llm import Reply, Scripted

import l0_core
from l0_llamaindex import L0LLM

METHODS = ["chat", "complete", "stream_chat", "stream_complete"]
NAMES = [prefix + method for prefix in ("", "a") for method in METHODS]


def given(method: str) -> Any:
    return list(QUESTION) if "chat" in method else "What is the capital of France?"


def test_text_inference_embedding_class() -> None:
    assert BaseLLM.__name__ in [base.__name__ for base in L0LLM.__mro__]


def test_it_is_an_instance_of_both() -> None:
    inner = Scripted("Paris.")
    llm: Any = L0LLM(llm=inner)
    assert all(isinstance(llm, kind) for kind in (Scripted, FunctionCallingLLM, L0LLM))
    assert L0LLM not in type(inner).__mro__
    assert type(llm) is type(L0LLM(llm=Scripted()))
    assert llm.unprotected is inner


def test_it_goes_by_the_same_name() -> None:
    inner = OpenAI(model="gpt-4o-mini", api_key="x")
    llm = L0LLM(llm=inner)
    assert type(llm).__name__ == "OpenAI"
    assert type(llm).__module__ == type(inner).__module__
    assert llm.class_name() == inner.class_name()
    assert llm.metadata == inner.metadata
    assert llm.to_dict() == inner.to_dict()
    assert llm.to_payload() == inner.to_payload()
    assert repr(llm) == repr(inner)
    assert list(type(llm).model_fields) == list(OpenAI.model_fields)
    assert {name: field.default for name, field in type(llm).model_fields.items()} == {
        name: field.default for name, field in OpenAI.model_fields.items()
    }


@pytest.mark.parametrize("kind", [MockLLM, OpenAI, StructuredLLM, Scripted])
@pytest.mark.parametrize("method", NAMES)
def test_signatures_are_kept(kind: type[LLM], method: str) -> None:
    fields: dict[str, Any] = {"OpenAI": {"api_key": "x"}, "StructuredLLM": {"llm": MockLLM(), "output_cls": BaseModel}}
    fields = fields.get(kind.__name__, {})
    mine, theirs = getattr(type(L0LLM(llm=kind(**fields))), method), getattr(kind, method)
    assert inspect.signature(mine) == inspect.signature(theirs)
    assert inspect.iscoroutinefunction(mine) == inspect.iscoroutinefunction(theirs)
    assert mine.__name__ == theirs.__name__
    assert not hasattr(mine, "__wrapped__")


def test_only_an_llm_with_tools_gets_methods_for_them() -> None:
    assert hasattr(L0LLM(llm=Scripted()), "astream_chat_with_tools")
    assert not hasattr(L0LLM(llm=MockLLM()), "astream_chat_with_tools")


def test_state_is_shared_both_ways() -> None:
    inner = Scripted("Paris.")
    llm: Any = L0LLM(llm=inner)
    llm.temperature = 0.9
    assert inner.temperature == 0.9
    manager = CallbackManager([])
    inner.callback_manager = manager
    assert llm.callback_manager is manager
    llm.chat(QUESTION)
    assert [ask.method for ask in inner.asked] == ["chat"]
    assert llm.asked is inner.asked


def test_settings_take_it_and_set_through_it(settings: Any) -> None:
    inner = Scripted("Paris.")
    llm = L0LLM(llm=inner)
    Settings.llm = llm
    assert Settings.llm is llm
    manager = CallbackManager([])
    Settings.callback_manager = manager
    assert Settings.llm.callback_manager is inner.callback_manager is manager


@pytest.mark.parametrize(
    "how",
    [copy.copy, copy.deepcopy, lambda llm: llm.model_copy(), lambda llm: llm.model_copy(deep=True)],
    ids=["copy", "deepcopy", "model_copy", "deep model_copy"],
)
def test_a_copy_is_protected_and_apart(how: Any) -> None:
    llm: Any = L0LLM(llm=MockLLM(max_tokens=3), policy="interactive")
    copied: Any = how(llm)
    copied.max_tokens = 7
    assert {L0LLM, MockLLM} <= set(type(copied).__mro__)
    assert (llm.max_tokens, copied.max_tokens, copied.unprotected.max_tokens) == (3, 7, 7)


def test_it_is_pickled_with_its_protection() -> None:
    llm: Any = L0LLM(llm=OpenAI(model="gpt-4o-mini", api_key="x"), fallbacks=[MockLLM(max_tokens=2)], policy="batch")
    other: Any = pickle.loads(pickle.dumps(llm))  # noqa: S301 - our own bytes
    assert {L0LLM, OpenAI} <= set(type(other).__mro__)
    assert other.model == "gpt-4o-mini"
    assert other._l0.policy == "batch"
    assert [fallback.max_tokens for fallback in other._l0.fallbacks] == [2]


def test_its_class_can_be_called_as_the_wrapped_one_is() -> None:
    llm = L0LLM(llm=MockLLM(max_tokens=3))
    other: Any = type(llm).from_dict({"max_tokens": 4})
    assert isinstance(other, L0LLM)
    assert other.max_tokens == 4


def test_wrapping_twice_replaces_the_policy() -> None:
    inner = Scripted("Paris.")
    once = L0LLM(llm=inner, policy="batch")
    twice = L0LLM(llm=once, policy="interactive", fallbacks=[once])
    assert twice.unprotected is inner
    assert twice._l0.fallbacks == (inner,)
    assert twice.with_policy("strict")._l0.policy == "strict"


def test_what_is_wrong_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="llm must be an LLM of LlamaIndex, not str"):
        L0LLM(llm="gpt")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="fallback 1 must be"):
        L0LLM(llm=MockLLM(), fallbacks=[3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="no_such"):
        L0LLM(llm=MockLLM(), no_such=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("method", METHODS)
def test_answers_are_those_of_the_bare_llm(way: Way, method: str) -> None:
    """G7: the same chunks with the same boundaries and the same requests, plus `l0` on the last."""
    bare, inner = Scripted("The capital is Paris."), Scripted("The capital is Paris.")
    expected = way(bare, method, given(method))
    got = way(L0LLM(llm=inner), method, given(method))
    assert got.error is expected.error is None
    told = got.chunks[-1].additional_kwargs.pop("l0")
    assert got.chunks == expected.chunks
    assert inner.asked == bare.asked
    assert (told["status"], told["attempts"], told["degraded"]) == ("complete", 1, False)


def test_streams_are_real_generators() -> None:
    llm = L0LLM(llm=Scripted("Paris."))
    assert isinstance(llm.stream_chat(QUESTION), Generator)
    assert isinstance(llm.stream_complete("x"), Generator)

    async def main() -> None:
        coroutine = llm.astream_chat(QUESTION)
        assert inspect.iscoroutine(coroutine)
        stream = await coroutine
        assert isinstance(stream, AsyncGenerator)
        await stream.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("method", METHODS)
def test_mistakes_in_the_call_are_raised_at_call_time(method: str) -> None:
    llm: Any = L0LLM(llm=Scripted("Paris."))
    with pytest.raises((TypeError, ValueError)):
        getattr(llm, method)()
    with pytest.raises((TypeError, ValueError)):
        asyncio.run(getattr(llm, "a" + method)())
    assert llm.asked == []


def test_they_are_said_in_the_words_of_the_wrapped_class() -> None:
    inner: Any = Scripted("Paris.")
    calls: list[Callable[[Any], Any]] = [
        lambda llm: llm.chat_with_tools(),
        lambda llm: llm.stream_chat_with_tools(),
        lambda llm: asyncio.run(llm.achat_with_tools(user_msg="x")),
        lambda llm: llm.chat([], []),
    ]
    for call in calls:
        said = []
        for llm in (inner, L0LLM(llm=inner)):
            with pytest.raises(TypeError) as caught:
                call(llm)
            said.append(str(caught.value))
        assert said[0] == said[1]
    assert inner.asked == []


def test_a_mistake_found_when_a_stream_is_made_is_raised_then() -> None:
    mistake = ValueError("audio is not supported")

    class Picky(Scripted):
        def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
            raise mistake

        async def astream_chat(self, messages: Any, **kwargs: Any) -> Any:
            raise mistake

    llm = L0LLM(llm=Picky())
    with pytest.raises(ValueError, match="audio") as caught:
        llm.stream_chat(QUESTION)
    assert caught.value is mistake

    async def main() -> None:
        await llm.astream_chat(QUESTION)

    with pytest.raises(ValueError, match="audio"):
        asyncio.run(main())


def test_the_openai_clients_own_refusals_are_the_callers() -> None:
    """What came before the request went out is raised as it is, and nothing is asked again."""
    llm = L0LLM(llm=OpenAI(model="gpt-4o-mini", api_key="x"))
    with pytest.raises(TypeError, match="no_such"):
        llm.chat(QUESTION, no_such=1)
    with pytest.raises(TypeError, match="no_such"):
        list(llm.stream_chat(QUESTION, no_such=1))


@pytest.mark.parametrize("method", METHODS)
def test_events_and_spans_are_those_of_the_bare_llm(way: Way, method: str) -> None:
    """G7: one set for each attempt, none doubled."""
    with listening() as (events, spans):
        way(Scripted("The capital is Paris."), method, given(method))
    with listening() as (more, others):
        way(L0LLM(llm=Scripted("The capital is Paris.")), method, given(method))
    assert more.names == events.names
    assert others.tree == spans.tree


@pytest.mark.parametrize("method", METHODS)
def test_tokens_are_counted_once(way: Way, method: str) -> None:
    def count(llm: LLM) -> tuple[int, int]:
        counter = TokenCountingHandler(tokenizer=str.split)
        llm.callback_manager = CallbackManager([counter])
        way(llm, method, given(method))
        return counter.prompt_llm_token_count, counter.completion_llm_token_count

    bare = count(Scripted("The capital is Paris."))
    assert min(bare) > 0
    assert count(L0LLM(llm=Scripted("The capital is Paris."))) == bare


def test_each_attempt_has_events_and_spans_of_its_own(way: Way) -> None:
    llm = L0LLM(llm=Scripted(Reply("The capital", fails=(1, ConnectionResetError())), "The capital is Paris."))
    with listening() as (events, spans):
        assert way(llm, "stream_chat", QUESTION).text == "The capital is Paris."
    assert events.names.count("LLMChatStartEvent") == 2
    assert events.names.count("LLMChatEndEvent") == 1
    assert events.names.count("ExceptionEvent") == 1
    assert len(spans.tree) == 2
    assert [event.tags.get("l0.attempt") for event in events.seen if type(event).__name__ == "LLMChatStartEvent"] == [
        None,
        1,
    ]


def test_lists_of_the_caller_are_left_alone() -> None:
    """Integrations append to the history they are given; every attempt begins with the caller's own."""
    tool = FunctionTool.from_defaults(fn=lambda city: city, name="weather", description="d")
    inner = Scripted(Reply(fails=(0, ConnectionResetError())), Reply("Sunny."))
    llm: Any = L0LLM(llm=inner)
    history = [ChatMessage(role="user", content="Hello")]
    assert llm.chat_with_tools([tool], user_msg="The weather?", chat_history=history).message.content == "Sunny."
    assert len(history) == 1
    assert [len(ask.given) for ask in inner.asked] == [2, 2]


class Custom(CustomLLM):
    """An LLM of the simplest kind: chat runs on complete."""

    calls: int = 0

    @property
    def metadata(self) -> Any:
        return MockLLM().metadata

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        self.calls += 1
        raise ConnectionResetError

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        raise NotImplementedError


def test_methods_that_run_on_each_other_are_not_retried_twice() -> None:
    """G3: retries do not multiply where `chat` runs on `complete`."""
    llm: Any = L0LLM(llm=Custom())
    with pytest.raises(l0_core.ExhaustedError):
        llm.chat(QUESTION)
    assert llm.calls == 7


def test_engines_cannot_take_its_errors_for_a_bad_answer() -> None:
    for name in l0_core.__all__:
        kind = getattr(l0_core, name)
        if isinstance(kind, type) and issubclass(kind, l0_core.L0Error):
            assert not issubclass(kind, ValueError | TypeError), name


def test_a_tool_selection_comes_from_the_wrapped_class() -> None:
    llm: Any = L0LLM(llm=Scripted(Reply(calls=(("weather", '{"city": "Paris"}'),))))
    response = llm.chat(QUESTION)
    (selection,) = llm.get_tool_calls_from_response(response)
    assert selection == ToolSelection(tool_id="call-0", tool_name="weather", tool_kwargs={"city": "Paris"})
