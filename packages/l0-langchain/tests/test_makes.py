"""Integrations of many makes (G1, G3, G4): none is needed here, each is stood in for by something of the same shape.

Where the real SDK's code is what matters, and it is there, it is taken.
"""

import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel, FakeMessagesListChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import BaseModel, Field

from l0_core import L0Error, Policy, Retry
from l0_langchain import L0ChatModel
from l0_langchain._endpoint import Endpoint

WORDS = ("The capital ", "of France ", "is Paris.")
ANSWER = "".join(WORDS)
TWICE_MORE = Policy(retry=Retry(attempts=3, max_retries=2))
WAYS = ("invoke", "ainvoke", "stream", "astream")


async def text_of(way: str, model: Any) -> str:
    """Return the text of an answer, however it is asked for."""
    if way == "invoke":
        return str(model.invoke("hi").text)
    if way == "ainvoke":
        return str((await model.ainvoke("hi")).text)
    if way == "stream":
        return "".join(chunk.text for chunk in model.stream("hi"))
    return "".join([chunk.text async for chunk in model.astream("hi")])


class Speaking(BaseChatModel):
    """Answers with words, and says of the last one what it was made to say. The first answer may be cut, cleanly."""

    last: dict[str, Any] = Field(default_factory=lambda: {"finish_reason": "stop"})
    cut: int = 0
    seen: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "speaking"

    def _chunks(self, keywords: dict[str, Any]) -> Iterator[ChatGenerationChunk]:
        self.seen.append(keywords)
        is_cut = len(self.seen) <= self.cut
        for number, word in enumerate(WORDS[:2] if is_cut else WORDS):
            info = self.last if number == len(WORDS) - 1 else None
            yield ChatGenerationChunk(message=AIMessageChunk(content=word), generation_info=info)

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        return self._chunks(kwargs)

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        *_, last = chunks = list(self._chunks(kwargs))
        message = AIMessage("".join(chunk.text for chunk in chunks))
        return ChatResult(generations=[ChatGeneration(message=message, generation_info=last.generation_info)])


def named(name: str, base: type = Speaking, **names: Any) -> Any:
    """Return a class of model with the name that an integration's has."""
    return type(name, (base,), {"__module__": __name__, **names})


# Ends ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["ChatGroq", "ChatMistralAI", "ChatOllama", "ChatOpenRouter", "ChatCohere"])
async def test_an_answer_that_does_not_say_why_it_ends_was_cut_where_they_always_say(name: str, way: str) -> None:
    """G1: the clients take a clean end for the end, and some an error event, too."""
    inner = named(name)(cut=1)
    assert await text_of(way, L0ChatModel(model=inner, tenant=f"{name}-{way}")) == ANSWER
    assert len(inner.seen) == 2


@pytest.mark.parametrize("way", WAYS)
async def test_an_end_that_is_told_in_another_way_is_one(way: str) -> None:
    """G7: servers of Ollama's that say no more than that they are done."""
    inner = named("ChatOllama")(last={"done": True})
    assert await text_of(way, L0ChatModel(model=inner, tenant=way)) == ANSWER
    assert len(inner.seen) == 1


def test_a_make_that_tells_it_of_streams_alone_is_not_asked_elsewhere() -> None:
    """G7."""
    model = named("ChatPerplexity")()
    assert [Endpoint.of(model, {}, whole=whole).terminal for whole in (False, True)] == [
        "finish_reason",
        "end_of_stream",
    ]


def test_nothing_is_asked_of_a_make_that_is_not_known() -> None:
    """G7."""
    assert Endpoint.of(Speaking(), {}).terminal == "end_of_stream"


def test_a_chat_model_ends_as_the_model_of_text_in_it() -> None:
    class Around(Speaking):
        llm: Any = None

    telling = type("HuggingFaceEndpoint", (), {})()
    assert Endpoint.of(Around(llm=telling), {}).terminal == "finish_reason"
    assert Endpoint.of(Around(llm=object()), {}).terminal == "end_of_stream"


async def test_what_is_said_about_an_empty_answer_is_no_answer() -> None:
    """G4: some put the same facts among a message's additional keywords."""

    class Empty(Speaking):
        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
            self.seen.append(kwargs)
            told = {"id": "x", "finish_reason": "COMPLETE", "token_count": {"input_tokens": 5.0}}
            message = AIMessage("" if len(self.seen) == 1 else ANSWER, additional_kwargs=told)
            return ChatResult(generations=[ChatGeneration(message=message, generation_info=told)])

    inner = Empty()
    assert L0ChatModel(model=inner).invoke("hi").text == ANSWER
    assert len(inner.seen) == 2


class Choice(BaseModel):
    """One of a chunk of LiteLLM's."""

    text: str
    finish_reason: str | None = None


class Piece(BaseModel):
    """A chunk of LiteLLM's."""

    choices: list[Choice]


class MadeUp:
    """A stream of LiteLLM's: it says `stop` at its end, whatever the provider did, which it keeps beside."""

    def __init__(self, words: Sequence[str], received: str | None) -> None:
        self.received_finish_reason = received
        self._pieces = [*(Piece(choices=[Choice(text=word)]) for word in words)]
        self._pieces.append(Piece(choices=[Choice(text="", finish_reason="stop")]))

    def __iter__(self) -> Iterator[Piece]:
        yield from self._pieces

    async def __aiter__(self) -> AsyncIterator[Piece]:
        for piece in self._pieces:
            yield piece


def litellm() -> tuple[ModuleType, list[dict[str, Any]]]:
    """Return a stand-in for the module, whose first stream was cut, and what it was called with."""
    module, given = ModuleType("litellm"), []

    def completion(**keywords: Any) -> MadeUp:
        given.append(keywords)
        return MadeUp(WORDS[:2], None) if len(given) == 1 else MadeUp(WORDS, "stop")

    async def acompletion(**keywords: Any) -> MadeUp:
        return completion(**keywords)

    module.__dict__.update(completion=completion, acompletion=acompletion)
    return module, given


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_an_end_that_was_made_up_is_none(way: str) -> None:
    """G1."""

    class ChatLiteLLM(Speaking):
        client: Any = None

        def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            for piece in self.client.completion(stream=True, **kwargs):
                yield said(piece)

        async def _astream(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            async for piece in await self.client.acompletion(stream=True, **kwargs):
                yield said(piece)

    def said(piece: Piece) -> ChatGenerationChunk:
        (choice,) = piece.choices
        info = {"finish_reason": choice.finish_reason} if choice.finish_reason else None
        return ChatGenerationChunk(message=AIMessageChunk(content=choice.text), generation_info=info)

    module, given = litellm()
    assert await text_of(way, L0ChatModel(model=ChatLiteLLM(client=module), tenant=way)) == ANSWER
    assert given == [{"stream": True, "max_retries": 0, "num_retries": 0}] * 2


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_a_message_that_a_model_keeps_is_not_written_on(way: str) -> None:
    """G7: it gives the same one again, to others too."""
    kept = AIMessage(ANSWER, response_metadata={"own": 1})
    model = L0ChatModel(model=FakeMessagesListChatModel(responses=[kept]))
    answer = model.invoke("hi") if way == "invoke" else await model.ainvoke("hi")
    assert answer.response_metadata.keys() == {"own", "l0"}
    assert kept.response_metadata == {"own": 1}


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
async def test_what_one_make_says_of_an_answer_is_not_read_by_another(way: str) -> None:
    """G4: each class adds up what its own answers say."""

    class Counting(Speaking):
        def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
            return {"tokens": sum(output["token_usage"] for output in llm_outputs if output is not None)}

        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
            raise ConnectionResetError("it was cut")

    class Other(Speaking):
        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
            made = super()._generate(messages, stop, run_manager, **kwargs)
            return made.model_copy(update={"llm_output": {"says": "something else"}})

    model = L0ChatModel(model=Counting(), fallbacks=[Other()], policy=TWICE_MORE, tenant=f"other-{way}")
    assert await text_of(way, model) == ANSWER


# Where they are ------------------------------------------------------------------------------------------------------


def test_two_endpoints_of_one_make_are_two_targets() -> None:
    """Else the one would be passed over for the other's failures: every make has its own word for the address."""

    class Elsewhere(Speaking):
        groq_api_base: str | None = Field(default=None, alias="base_url")

    one, other = (Endpoint.of(Elsewhere(base_url=f"https://u:p@{host}/v1"), {}).name for host in ("a.test", "b.test"))
    assert one == "speaking/model@a.test"
    assert other == "speaking/model@b.test"


# Retries -------------------------------------------------------------------------------------------------------------


class Configured:
    """A client whose resources are made as they are asked for, and retry as its configuration says; unsaid, always."""

    def __init__(self, retry_config: Any) -> None:
        self.sdk_configuration = SimpleNamespace(retry_config=retry_config, connections=object())
        self.sent: list[object] = []

    def __getattr__(self, name: str) -> Any:
        if name != "chat":
            raise AttributeError(name)
        self.chat = Resource(self.sdk_configuration, self.sent)
        return self.chat


class Resource:
    """One of its resources."""

    def __init__(self, sdk_configuration: Any, sent: list[object]) -> None:
        self.sdk_configuration = sdk_configuration
        self.sent = sent

    def send(self) -> None:
        """Fail, as often as it is retried."""
        for _ in range(1 if self.sdk_configuration.retry_config is None else 5):
            self.sent.append(self.sdk_configuration.connections)
        raise ConnectionResetError("it was cut")


class Sending(Speaking):
    """Reaches its provider by the one client it has, whether it is awaited or not."""

    client: Any = None

    def _chunks(self, keywords: dict[str, Any]) -> Iterator[ChatGenerationChunk]:
        self.client.chat.send()
        return super()._chunks(keywords)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_used", [False, True], ids=["new", "used"])
@pytest.mark.parametrize("retry_config", ["unset", "backoff"])
async def test_a_client_that_retries_as_it_is_configured_does_not(
    retry_config: str,
    *,
    is_used: bool,
    way: str,
) -> None:
    """G3: the caller's own client is left as it is."""
    client = Configured(retry_config)
    if is_used:
        assert client.chat is client.chat
    with pytest.raises(L0Error):
        await text_of(
            way, L0ChatModel(model=Sending(client=client), policy=TWICE_MORE, tenant=f"{retry_config}{is_used}{way}")
        )
    assert len(client.sent) == 3
    assert set(client.sent) == {client.sdk_configuration.connections}
    assert client.chat.sdk_configuration.retry_config == retry_config


@pytest.fixture
def unavailable() -> Iterator[tuple[str, list[str]]]:
    """A server that is not available, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(503)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.filterwarnings("ignore::DeprecationWarning:botocore")
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
@pytest.mark.parametrize("mode", ["legacy", "standard"])
async def test_a_client_of_botocores_does_not_retry(
    mode: Any, way: str, unavailable: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """G3: awaited, it is called in a thread; the caller's own client is left as it is."""
    session = pytest.importorskip("botocore.session", reason="botocore is not installed").get_session()
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None, time=time.time))
    address, asked = unavailable
    config = pytest.importorskip("botocore.config").Config(retries={"mode": mode, "total_max_attempts": 2})
    client = session.create_client(
        "bedrock-runtime",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",  # noqa: S106 - nobody's
        config=config,
    )

    class Conversing(Speaking):
        client: Any = None

        def _chunks(self, keywords: dict[str, Any]) -> Iterator[ChatGenerationChunk]:
            self.client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "hi"}]}])
            return super()._chunks(keywords)

    with pytest.raises(L0Error):
        await text_of(way, L0ChatModel(model=Conversing(client=client), policy=TWICE_MORE, tenant=f"{mode}-{way}"))
    assert len(asked) == 3
    with pytest.raises(Exception, match="503"):
        client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "hi"}]}])
    assert len(asked) == 5, "the caller's own still does"
    client.close()


@pytest.mark.parametrize("way", WAYS)
async def test_a_make_that_is_told_by_each_call_is_told(way: str) -> None:
    """G3: whatever the caller bound."""
    router = named("ChatLiteLLM")()
    await text_of(way, L0ChatModel(model=router).bind(num_retries=4))
    assert router.seen == [{"max_retries": 0, "num_retries": 0}]
    cohere = named("ChatCohere")()
    await text_of(way, L0ChatModel(model=cohere))
    assert cohere.seen == [{"request_options": {"max_retries": 0}}]
    other = Speaking()
    await text_of(way, L0ChatModel(model=other))
    assert other.seen == [{}]
