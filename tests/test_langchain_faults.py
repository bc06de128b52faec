"""What LangChain's models raise over a failing provider, and what it amounts to."""

import json
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import anthropic
import httpx
import httpx2
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

from l0_core import _native
from l0_core._facts import read

Answer = Callable[[Any], Any]

CHAT = (
    b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":"The"}}]}\n\n'
)
MESSAGE = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant",'
    b'"model":"m","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"The"}}\n\n'
)


def openai_model(answer: Answer) -> BaseChatModel:
    http = httpx.Client(transport=httpx.MockTransport(answer))
    return ChatOpenAI(model="m", api_key="x", max_retries=0, http_client=http, base_url="http://host/v1")  # type: ignore[call-arg]


def anthropic_model(answer: Answer) -> BaseChatModel:
    class Mocked(ChatAnthropic):
        @cached_property
        def _client(self) -> anthropic.Client:
            http = httpx2.Client(transport=httpx2.MockTransport(answer))
            return anthropic.Client(api_key="x", base_url="http://host", max_retries=0, http_client=http)

    return Mocked(model_name="m", api_key="x", max_retries=0)  # type: ignore[call-arg]


CLIENTS: dict[str, tuple[Any, Callable[[Answer], BaseChatModel], bytes]] = {
    "ChatOpenAI": (httpx, openai_model, CHAT),
    "ChatAnthropic": (httpx2, anthropic_model, MESSAGE),
}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> tuple[Any, Callable[[Answer], BaseChatModel], bytes]:
    return CLIENTS[request.param]


def amounts_to(model: BaseChatModel, *, streamed: bool) -> tuple[str, BaseException]:
    """The fault that a call ends with."""
    seen = False
    try:
        if streamed:
            for _ in model.stream("hi"):
                seen = True
        else:
            model.invoke("hi")
            pytest.fail("it raised nothing")
    except Exception as error:  # noqa: BLE001 - that is what is asked for
        facts, message = read(error, stage="read" if seen else "open", bytes_seen=seen)
        return _native.classify(json.dumps(facts), message), error
    raise AssertionError("it raised nothing")


STATUSES: list[tuple[int, dict[str, str], str]] = [
    (400, {}, "request"),
    (401, {}, "auth"),
    (403, {}, "auth"),
    (404, {}, "request"),
    (408, {}, "overload"),
    (409, {}, "overload"),
    (422, {}, "request"),
    (429, {}, "overload"),
    (500, {}, "overload"),
    (503, {}, "overload"),
    (529, {"type": "overloaded_error"}, "overload"),
]
OPENAI_CODES: list[tuple[int, dict[str, str], str]] = [
    (400, {"code": "content_filter"}, "refused"),
    (400, {"code": "context_length_exceeded"}, "request"),
    (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, "quota"),
]


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "invoke"])
@pytest.mark.parametrize(("status", "said", "fault"), STATUSES)
def test_a_refusal_by_status(client: Any, status: int, said: dict[str, str], fault: str, *, streamed: bool) -> None:
    http, make, _ = client
    body = {"type": "error", "error": {"message": "no", "type": "some_error", **said}}
    found, error = amounts_to(make(lambda _: http.Response(status, json=body)), streamed=streamed)
    assert found == fault, type(error).__mro__


@pytest.mark.parametrize(("status", "said", "fault"), OPENAI_CODES)
def test_a_code_outranks_the_frameworks_own_word(status: int, said: dict[str, str], fault: str) -> None:
    body = {"error": {"message": "no", **said}}
    found, error = amounts_to(openai_model(lambda _: httpx.Response(status, json=body)), streamed=True)
    assert found == fault, type(error).__mro__


BEFORE = ["ConnectError", "ConnectTimeout", "ReadTimeout", "RemoteProtocolError", "ReadError"]


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "invoke"])
@pytest.mark.parametrize("kind", BEFORE)
def test_a_connection_that_fails_before_the_answer(client: Any, kind: str, *, streamed: bool) -> None:
    http, make, _ = client

    def fail(_: Any) -> Any:
        raise getattr(http, kind)("no")

    assert amounts_to(make(fail), streamed=streamed)[0] == "network"


@pytest.mark.parametrize("kind", ["ReadError", "RemoteProtocolError", "ReadTimeout"])
def test_a_connection_that_fails_in_the_answer(client: Any, kind: str) -> None:
    http, make, begun = client

    def body() -> Iterator[bytes]:
        yield begun
        raise getattr(http, kind)("no")

    assert amounts_to(make(lambda _: http.Response(200, content=body())), streamed=True)[0] == "network"


ENDS = {
    "malformed": (b'event: message_delta\ndata: {"x": \n\n', "protocol"),
    "not Unicode": (b'event: message_delta\ndata: {"x": "\xff"}\n\n', "protocol"),
    "error": (
        b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}\n\n',
        "overload",
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_answer_that_goes_wrong(client: Any, end: str) -> None:
    http, make, begun = client
    more, fault = ENDS[end]
    found, error = amounts_to(make(lambda _: http.Response(200, content=begun + more)), streamed=True)
    assert found == fault, type(error).__mro__


@pytest.mark.parametrize("body", [b"", b"data: [DONE]\n\n"], ids=["empty", "DONE only"])
def test_an_answer_without_anything(client: Any, body: bytes) -> None:
    http, make, _ = client
    model = make(lambda _: http.Response(200, content=body, headers={"content-type": "text/event-stream"}))
    assert amounts_to(model, streamed=True)[0] == "empty"
