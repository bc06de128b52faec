"""Integrations of other makes, by fakes of their shape: how they retry, how they say that an answer has ended."""

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from asking_llm import QUESTION, Way
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, TextBlock, ToolCallBlock
from llama_index.core.llms import CustomLLM, LLMMetadata
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from scripted_llm import Ask, Scripted
from tenacity import RetryError, retry, stop_after_attempt, wait_none

import l0_core
from l0_llamaindex import L0LLM

TEXT = "The capital of France is Paris, on the Seine, and it has been so for a very long time indeed."
CALLS = [("chat", (QUESTION,)), ("stream_chat", (QUESTION,)), ("complete", ("?",)), ("stream_complete", ("?",))]
ONCE = l0_core.Policy(retry=l0_core.Retry(attempts=3, max_retries=2))


class RefusedError(Exception):
    """What an SDK raises."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code


class Trying(CustomLLM):
    """One that tries again by itself, as its field says, and counts how often it is asked."""

    max_retries: int = 10
    requests: int = 0
    additional_kwargs: dict[str, Any] = Field(default_factory=dict)
    _status: int = PrivateAttr(default=503)
    _fails: int = PrivateAttr(default=1_000)
    _said: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="trying")

    def _request(self) -> str:
        self._said.append(dict(self.additional_kwargs))
        if len(self._said) <= self._fails:
            raise RefusedError(self._status)
        return TEXT

    def _tried(self) -> str:
        said: str = retry(stop=stop_after_attempt(self.max_retries), wait=wait_none())(self._request)()
        return said

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        self.requests += 1
        return CompletionResponse(text=self._tried())

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Iterator[CompletionResponse]:  # type: ignore[override]  # noqa: FBT001, FBT002 - as LlamaIndex has it
        def chunks() -> Iterator[CompletionResponse]:
            yield CompletionResponse(text=self._tried(), delta=TEXT)

        return chunks()


class Counting(Trying):
    """One that counts its attempts from nought, and has no answer where there are to be none."""

    def _tried(self) -> str:
        for left in reversed(range(self.max_retries)):
            try:
                return self._request()
            except RefusedError:
                if not left:
                    raise
        raise AssertionError("it was not to try at all")


@pytest.mark.parametrize("kind", [Trying, Counting])
@pytest.mark.parametrize(("method", "args"), CALLS)
def test_an_integration_that_tries_again_by_itself_does_not_within_an_attempt(
    way: Way, method: str, args: tuple[Any, ...], kind: Callable[[], Trying]
) -> None:
    """G3: there are as many requests as the policy allows, and not ten times as many."""
    inner = kind()
    seen = way(L0LLM(llm=inner, policy=ONCE), method, *args)
    assert isinstance(seen.error, l0_core.ExhaustedError)
    assert len(inner._said) == 3
    assert inner.max_retries == 10


@pytest.mark.parametrize(("method", "args"), CALLS)
def test_it_is_healed_and_a_refusal_raised_as_it_raises_one(way: Way, method: str, args: tuple[Any, ...]) -> None:
    """G4."""
    healed = Trying()
    healed._fails = 1
    assert way(L0LLM(llm=healed), method, *args).text == TEXT
    assert len(healed._said) == 2
    refused = Trying()
    refused._status = 401
    seen = way(L0LLM(llm=refused), method, *args)
    assert isinstance(seen.error, RetryError), "as it does bare"
    assert isinstance(seen.error.__cause__, RefusedError)
    assert len(refused._said) == 1


def test_what_an_integration_writes_down_about_itself_in_an_attempt_stays() -> None:
    """G7: an attempt is made on a twin, whose fields are the wrapped one's."""
    inner = Trying()
    inner._fails = 0
    wrapped: Any = L0LLM(llm=inner)
    for _ in range(3):
        wrapped.complete("?")
    wrapped.max_retries = 7
    wrapped.complete("?")
    assert (inner.requests, inner.max_retries) == (3, 7), "those before the last, which is followed by the next"


class Slotted(Trying):
    """One that keeps something beside its fields."""

    __slots__ = ("beside",)

    def _request(self) -> str:
        me: Any = self
        assert me.beside == [1]
        return super()._request()


def test_what_a_class_keeps_in_slots_is_there(way: Way) -> None:
    """G7."""
    inner: Any = Slotted()
    object.__setattr__(inner, "beside", [1])
    inner._fails = 1
    wrapped: Any = L0LLM(llm=inner)
    assert way(wrapped, "complete", "?").text == TEXT
    assert wrapped.beside is inner.beside


def of_make(module: str, name: str, base: type[Any]) -> Any:
    """Return a class that is known by its name."""
    return type(name, (base,), {"__module__": f"llama_index.llms.{module}.base", "__qualname__": name})


@pytest.mark.parametrize(
    ("module", "name", "given", "passed"),
    [
        ("litellm", "LiteLLM", {"api_key": "x"}, {"api_key": "x", "num_retries": 0}),
        ("cohere", "Cohere", {}, {"request_options": {"max_retries": 0}}),
        (
            "cohere",
            "Cohere",
            {"request_options": {"timeout_in_seconds": 5, "max_retries": 4}},
            {"request_options": {"timeout_in_seconds": 5, "max_retries": 0}},
        ),
    ],
)
def test_what_is_called_beneath_is_told_not_to_retry(
    module: str, name: str, given: dict[str, Any], passed: dict[str, Any]
) -> None:
    """G3: their SDKs retry as well, and take what they are to do from what is passed on with a request."""
    inner = of_make(module, name, Trying)(additional_kwargs=given)
    with pytest.raises(l0_core.ExhaustedError):
        L0LLM(llm=inner, policy=ONCE).complete("?")
    assert inner._said == [passed] * 3
    assert inner.additional_kwargs == given


class _Endpoint:
    """Says whether to send again."""

    def _needs_retry(self, attempts: int) -> bool:
        return attempts < 5


class _Client:
    """A client of AWS: its methods are made for its service, and what it does not have it asks its service for."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self._endpoint = _Endpoint()
        self._service = object()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    def converse(self) -> None:
        attempts = 1
        while self._endpoint._needs_retry(attempts):
            attempts += 1
        self.calls.append(attempts)
        raise RefusedError(503)


_Client.__module__ = "botocore.client"


class Amazing(Scripted):
    """One that talks to a client of AWS."""

    _client: Any = PrivateAttr(default_factory=_Client)

    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        self._client.converse()
        raise AssertionError("it refuses")


def test_a_client_of_aws_does_not_retry_within_an_attempt() -> None:
    """G3."""
    inner = Amazing()
    with pytest.raises(l0_core.ExhaustedError):
        L0LLM(llm=inner, policy=ONCE).chat(QUESTION)
    assert inner._client.calls == [1, 1, 1]
    with pytest.raises(RefusedError):
        inner.chat(QUESTION)
    assert inner._client.calls[-1] == 5, "bare it retries as ever"


class Sdk:
    """A generated client."""

    def __init__(self, sent: list[int], max_retries: int = 2) -> None:
        self.sent, self.max_retries = sent, max_retries

    def _prepare_request(self, request: Any) -> None: ...

    def with_options(self, *, max_retries: int) -> "Sdk":
        return Sdk(self.sent, max_retries)


class Part:
    """What a client has its methods in."""

    def __init__(self, client: Sdk) -> None:
        self._client = client

    def create(self) -> None:
        self._client.sent.append(1 + self._client.max_retries)
        raise RefusedError(503)


class Model(BaseModel):
    """A model of another framework."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    root: Sdk
    part: Part


class Around(Scripted):
    """One around a model of another framework."""

    _llm: Model = PrivateAttr()

    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        self._llm.part.create()
        raise AssertionError("it refuses")


def test_a_model_of_another_framework_does_not_retry_within_an_attempt() -> None:
    """G3: neither in its client, nor in the part of it that is called."""
    inner, client = Around(), Sdk([])
    model = inner._llm = Model(root=client, part=Part(client))
    with pytest.raises(l0_core.ExhaustedError):
        L0LLM(llm=inner, policy=ONCE).chat(QUESTION)
    assert client.sent == [1, 1, 1]
    assert inner._llm is model
    with pytest.raises(RefusedError):
        inner.chat(QUESTION)
    assert client.sent[-1] == 3, "bare it retries as ever"


class Weather(BaseModel):
    """What is predicted."""

    city: str


class Predicting(Trying):
    """One that asks its provider for a value by a way of its own."""

    def structured_predict(self, output_cls: Any, *args: Any, **kwargs: Any) -> Any:
        self._request()
        return output_cls(city="Paris")

    async def astructured_predict(self, output_cls: Any, *args: Any, **kwargs: Any) -> Any:
        return self.structured_predict(output_cls)

    def stream_structured_predict(self, output_cls: Any, *args: Any, **kwargs: Any) -> Any:
        yield self.structured_predict(output_cls)


@pytest.mark.parametrize("name", ["structured_predict", "astructured_predict", "stream_structured_predict"])
def test_a_value_that_is_asked_for_by_a_way_of_its_own_is_asked_for_again(name: str) -> None:
    """G4."""
    inner = of_make("google_genai", "GoogleGenAI", Predicting)()
    inner._fails = 1
    said = getattr(L0LLM(llm=inner), name)(Weather, PromptTemplate("?"))
    value = asyncio.run(said) if name.startswith("a") else list(said)[-1] if "stream" in name else said
    assert value == Weather(city="Paris")
    assert len(inner._said) == 2


# Calls whose arguments are no text ----------------------------------------------------------------------------------


class Parsed(Scripted):
    """One that parses the arguments of a call, as far as they have come, and does not say why an answer ends."""

    _cut: list[int | None] = PrivateAttr(default_factory=list)

    def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
        self._asked.append(Ask("stream_chat", messages))
        return self._chunks(self._cut.pop(0) if self._cut else None)

    async def astream_chat(self, messages: Any, **kwargs: Any) -> Any:
        self._asked.append(Ask("astream_chat", messages))
        cut = self._cut.pop(0) if self._cut else None

        async def chunks() -> Any:
            for chunk in self._chunks(cut):
                yield chunk

        return chunks()

    def _chunks(self, cut: int | None) -> Iterator[ChatResponse]:
        for place, args in enumerate(GROWING):
            if place == cut:
                raise ConnectionResetError
            call = ToolCallBlock(tool_call_id="call-1", tool_name="weather", tool_kwargs=args)
            message = ChatMessage(role="assistant", blocks=[TextBlock(text="I look."), call])
            yield ChatResponse(message=message, delta="I look." if not place else "", raw={"contentBlockDelta": {}})


GROWING: list[dict[str, Any]] = [{}, {"city": "Pa"}, {"city": "Paris"}, {"city": "Paris", "days": 3}]
WEATHER = FunctionTool.from_defaults(fn=lambda city, days=1: f"{city} {days}", name="weather", description="d")


@pytest.mark.parametrize("cut", [None, 0, 1, 2, 3])
def test_arguments_that_are_parsed_as_they_come_are_whole_at_the_end(way: Way, cut: int | None) -> None:
    """G2, G7: nothing else says so, and no chunk with less of them is given."""
    inner = Parsed()
    inner._cut = [cut]
    seen = way(L0LLM(llm=inner), "stream_chat_with_tools", [WEATHER], user_msg="?")
    assert seen.error is None
    assert seen.text == "I look."
    calls = [[block for block in chunk.message.blocks if isinstance(block, ToolCallBlock)] for chunk in seen.chunks]
    assert [call.tool_kwargs for call in calls[-1]] == [GROWING[-1]]
    assert len(inner.asked) == (1 if cut is None else 2)
    if cut is None:
        bare = way(Parsed(), "stream_chat_with_tools", [WEATHER], user_msg="?")
        assert [chunk.message for chunk in seen.chunks] == [chunk.message for chunk in bare.chunks]


def test_a_call_without_arguments_is_one(way: Way) -> None:
    """G7."""
    tool = FunctionTool.from_defaults(fn=lambda: "sunny", name="weather", description="d")
    seen = way(L0LLM(llm=MockFunctionCallingLLM()), "stream_chat_with_tools", [tool], user_msg="?")
    assert seen.error is None
    (call,) = seen.chunks[-1].message.blocks
    assert (call.tool_name, call.tool_kwargs) == ("weather", {})


# How an answer ends --------------------------------------------------------------------------------------------------


class Lines(CustomLLM):
    """One whose chunks are an answer's lines, of a provider that always says at the end that it is one."""

    _cut: list[int] = PrivateAttr(default_factory=lambda: [3])
    _asked: list[str] = PrivateAttr(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="lines")

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        raise NotImplementedError

    def raw(self, text: str, *, ends: bool) -> Any:
        done = {"done": True, "done_reason": "stop", "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
        return {"response": text, **(done if ends else {"done": False, "done_reason": None})}

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Iterator[CompletionResponse]:  # type: ignore[override]  # noqa: FBT001, FBT002 - as LlamaIndex has it
        self._asked.append(prompt)
        last = prompt.rstrip().splitlines()[-1]
        begin = TEXT.find(last) if "Begin by repeating" in prompt else 0
        pieces = [TEXT[place : place + 8] for place in range(begin, len(TEXT), 8)]
        cut = self._cut.pop() if self._cut else None

        def chunks() -> Iterator[CompletionResponse]:
            said = ""
            for piece in pieces[:cut]:
                said += piece
                yield CompletionResponse(text=said, delta=piece, raw=self.raw(piece, ends=False))
            if cut is None:
                yield CompletionResponse(text=said, delta="", raw=self.raw("", ends=True))

        return chunks()


class OldLines(Lines):
    """Of an older server, which does not say why."""

    def raw(self, text: str, *, ends: bool) -> Any:
        return {"response": text, "done": ends}


class Events(Lines):
    """Whose SDK gives events, in which the chunk is."""

    def raw(self, text: str, *, ends: bool) -> Any:
        choice = SimpleNamespace(delta=SimpleNamespace(content=text), finish_reason="stop" if ends else None)
        usage = SimpleNamespace(prompt_tokens=3, completion_tokens=4) if ends else None
        return SimpleNamespace(data=SimpleNamespace(choices=[choice], usage=usage))


class Endings(Lines):
    """Whose events are of several kinds."""

    def raw(self, text: str, *, ends: bool) -> Any:
        if not ends:
            return {"event_type": "text-generation", "text": text}
        return {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": SimpleNamespace()}


@pytest.mark.parametrize(
    ("module", "name", "base"),
    [
        ("ollama", "Ollama", Lines),
        ("ollama", "Ollama", OldLines),
        ("mistralai", "MistralAI", Events),
        ("cohere", "Cohere", Endings),
    ],
)
@pytest.mark.parametrize("method", ["stream_complete", "stream_chat"])
def test_a_stream_that_ends_without_its_end_is_gone_on_with(
    way: Way, method: str, module: str, name: str, base: type[Any]
) -> None:
    """G1: cut between two lines, nothing but the missing end tells."""
    inner = of_make(module, name, base)()
    seen = way(L0LLM(llm=inner), method, "?" if method == "stream_complete" else [ChatMessage(content="?")])
    assert seen.error is None
    assert seen.text == seen.snapshot == TEXT
    assert len(inner._asked) == 2
    assert seen.l0["continued"]
    if base in {Lines, Events}:
        assert (seen.l0["usage"]["input"], seen.l0["usage"]["output"]) == (3, 4)
    whole = of_make(module, name, base)()
    whole._cut = []
    seen = way(L0LLM(llm=whole), "stream_complete", "?")
    assert (seen.text, len(whole._asked)) == (TEXT, 1), "a whole one is not taken for cut"
