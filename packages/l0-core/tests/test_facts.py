"""What exceptions of real clients amount to: read by `_facts`, judged by the engine."""

import asyncio
import importlib
import json
import ssl
import traceback
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from typing import Any, NoReturn

import anthropic
import botocore.exceptions  # type: ignore[import-untyped]
import httpx
import httpx2
import openai
import pytest
import requests
from aiohttp import ClientConnectionError, ClientPayloadError, ClientResponseError, RequestInfo, ServerDisconnectedError
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from l0_core import _native
from l0_core._facts import Stage, read


def raised(by: Callable[[], object]) -> BaseException:
    """What a call raises, with its traceback."""
    try:
        by()
    except BaseException as error:  # noqa: BLE001 - that is what is asked for
        return error
    raise AssertionError("it raised nothing")


def facts_of(error: BaseException, stage: Stage = "read", *, bytes_seen: bool = True) -> dict[str, Any]:
    facts, _ = read(error, stage=stage, bytes_seen=bytes_seen)
    return facts


def judged(error: BaseException, stage: Stage = "read", *, bytes_seen: bool = True) -> str:
    facts, message = read(error, stage=stage, bytes_seen=bytes_seen)
    return _native.classify(json.dumps(facts), message)


# The SDKs, as they raise ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sdk:
    """A provider's SDK over a transport that does what a test wants."""

    http: Any
    client: Callable[[Any], Any]
    create: Callable[[Any], Iterator[object]]
    begun: bytes


def openai_events(client: openai.OpenAI) -> Iterator[object]:
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)


def anthropic_events(client: anthropic.Anthropic) -> Iterator[object]:
    message: Any = {"role": "user", "content": "hi"}
    return client.messages.create(model="m", max_tokens=9, messages=[message], stream=True)


SDKS = {
    "openai": Sdk(
        httpx,
        lambda http: openai.OpenAI(api_key="x", base_url="http://host/v1", max_retries=0, http_client=http),
        openai_events,
        b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m",'
        b'"choices":[{"index":0,"delta":{"content":"The"}}]}\n\n',
    ),
    "anthropic": Sdk(
        httpx2,
        lambda http: anthropic.Anthropic(api_key="x", base_url="http://host", max_retries=0, http_client=http),
        anthropic_events,
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"The"}}\n\n',
    ),
}


@pytest.fixture(params=SDKS)
def sdk(request: pytest.FixtureRequest) -> Sdk:
    return SDKS[request.param]


def failure(sdk: Sdk, answer: Callable[[Any], Any]) -> tuple[BaseException, bool]:
    """What the SDK raises over that answer, and whether it had given a chunk by then."""
    seen = False
    with sdk.http.Client(transport=sdk.http.MockTransport(answer)) as http:
        try:
            for _ in sdk.create(sdk.client(http)):
                seen = True
        except Exception as error:  # noqa: BLE001 - that is what is asked for
            return error, seen
    raise AssertionError("it raised nothing")


def status(sdk: Sdk, code: int, body: object = None, headers: dict[str, str] | None = None) -> Callable[[Any], Any]:
    error = {"message": "no", "type": "some_error", **(body if isinstance(body, dict) else {})}
    content = {"content": body} if isinstance(body, bytes) else {"json": {"type": "error", "error": error}}
    return lambda _: sdk.http.Response(code, headers=headers, **content)


STATUSES: list[tuple[int, object, str]] = [
    (400, None, "request"),
    (401, None, "auth"),
    (402, None, "quota"),
    (403, None, "auth"),
    (404, None, "request"),
    (408, None, "overload"),
    (409, None, "overload"),
    (413, None, "request"),
    (422, None, "request"),
    (429, None, "overload"),
    (500, None, "overload"),
    (502, b"<html>Bad gateway</html>", "overload"),
    (503, None, "overload"),
    (504, None, "overload"),
    (529, {"type": "overloaded_error"}, "overload"),
    (400, {"code": "context_length_exceeded"}, "request"),
    (400, {"message": "prompt is too long: 200001 tokens > 200000 maximum"}, "request"),
    (403, {"type": "billing_error"}, "quota"),
]


@pytest.mark.parametrize(("code", "body", "fault"), STATUSES)
def test_a_refusal_by_status(sdk: Sdk, code: int, body: object, fault: str) -> None:
    error, _ = failure(sdk, status(sdk, code, body))
    assert judged(error, "open", bytes_seen=False) == fault
    assert facts_of(error)["status"] == code


@pytest.mark.parametrize(
    ("code", "body", "fault"),
    [
        (400, {"code": "content_filter"}, "refused"),
        (400, {"code": "content_policy_violation"}, "refused"),
        (429, {"code": "insufficient_quota"}, "quota"),
        (429, {"type": "insufficient_quota"}, "quota"),
        (429, {"code": "rate_limit_exceeded"}, "overload"),
    ],
)
def test_a_code_that_means_one_thing_outranks_the_class(code: int, body: object, fault: str) -> None:
    error, _ = failure(SDKS["openai"], status(SDKS["openai"], code, body))
    assert judged(error, "open", bytes_seen=False) == fault


def test_what_a_response_says_of_waiting_is_read(sdk: Sdk) -> None:
    headers = {
        "Retry-After": "17",
        "retry-after-ms": "250",
        "Date": "Wed, 21 Oct 2026 07:28:00 GMT",
        "x-request-id": "req_1",
        "request-id": "req_1",
    }
    error, _ = failure(sdk, status(sdk, 429, headers=headers))
    facts = facts_of(error)
    assert facts["retry_after"] == "17"
    assert facts["retry_after_ms"] == "250"
    assert facts["date"] == headers["Date"]
    assert facts["request_id"] == "req_1"


BROKEN: dict[str, tuple[str, Callable[[Any], BaseException], str]] = {
    "refused": ("connect", lambda http: http.ConnectError("refused"), "network"),
    "connect timeout": ("connect", lambda http: http.ConnectTimeout("slow"), "network"),
    "silence before headers": ("connect", lambda http: http.ReadTimeout("slow"), "network"),
    "closed before headers": ("connect", lambda http: http.RemoteProtocolError("disconnected"), "network"),
    "no free connection": ("connect", lambda http: http.PoolTimeout("busy"), "network"),
    "reset in the middle": ("body", lambda http: http.ReadError("reset"), "network"),
    "closed in the middle": ("body", lambda http: http.RemoteProtocolError("incomplete chunked read"), "network"),
    "stalled in the middle": ("body", lambda http: http.ReadTimeout("slow"), "network"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_connection_that_fails(sdk: Sdk, case: str) -> None:
    place, make, fault = BROKEN[case]

    def body() -> Iterator[bytes]:
        yield sdk.begun
        raise make(sdk.http)

    def answer(_: object) -> Any:
        if place == "connect":
            raise make(sdk.http)
        return sdk.http.Response(200, content=body())

    error, seen = failure(sdk, answer)
    assert seen == (place == "body")
    assert judged(error, "read" if seen else "open", bytes_seen=seen) == fault


def test_a_certificate_is_a_matter_of_credentials(sdk: Sdk) -> None:
    def answer(_: object) -> NoReturn:
        try:
            raise ssl.SSLCertVerificationError("certificate verify failed")  # noqa: TRY301 - as ssl does
        except ssl.SSLCertVerificationError as error:
            raise sdk.http.ConnectError("certificate verify failed") from error

    error, _ = failure(sdk, answer)
    assert judged(error, "open", bytes_seen=False) == "auth"


@pytest.mark.parametrize("garbage", [b'data: {"id": \n\n', b'data: {"id": "\xff\xfe"}\n\n'], ids=["JSON", "UTF-8"])
def test_bytes_that_make_no_sense(sdk: Sdk, garbage: bytes) -> None:
    error, seen = failure(sdk, lambda _: sdk.http.Response(200, content=sdk.begun + b"event: message_stop\n" + garbage))
    assert seen
    assert not facts_of(error)["own_code"]
    assert judged(error) == "protocol"


OPENAI_IN_STREAM = [
    ({"message": "overloaded", "type": "server_error", "code": None}, "overload"),
    ({"message": "no reason"}, "overload"),
    ({"message": "Token limit reached", "code": 400}, "request"),
    ({"message": "Upstream", "code": 502}, "overload"),
    ({"message": "schema", "type": "invalid_request_error", "code": "tool_use_failed"}, "request"),
    ({"message": "spent", "code": "insufficient_quota"}, "quota"),
]


@pytest.mark.parametrize(("error", "fault"), OPENAI_IN_STREAM)
def test_an_error_inside_a_good_response_of_openai(error: dict[str, object], fault: str) -> None:
    sdk = SDKS["openai"]
    event = f"data: {json.dumps({'error': error})}\n\n".encode()
    exception, seen = failure(sdk, lambda _: sdk.http.Response(200, content=sdk.begun + event))
    assert seen
    assert judged(exception) == fault


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("overloaded_error", "overload"),
        ("api_error", "overload"),
        ("rate_limit_error", "overload"),
        ("authentication_error", "auth"),
        ("invalid_request_error", "request"),
        ("billing_error", "quota"),
    ],
)
def test_an_error_inside_a_good_response_of_anthropic(kind: str, fault: str) -> None:
    sdk = SDKS["anthropic"]
    event = f"event: error\ndata: {json.dumps({'type': 'error', 'error': {'type': kind, 'message': 'no'}})}\n\n"
    exception, seen = failure(sdk, lambda _: sdk.http.Response(200, content=sdk.begun + event.encode()))
    assert seen
    assert facts_of(exception)["kind"] == kind
    assert judged(exception) == fault


# Other clients -------------------------------------------------------------------------------------------------------


def aiohttp_error(code: int) -> ClientResponseError:
    url, headers = URL("http://host"), CIMultiDictProxy(CIMultiDict({"Retry-After": "3"}))
    return ClientResponseError(RequestInfo(url, "POST", headers, url), (), status=code, headers=headers)


def requests_error(code: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code, response.headers["Retry-After"] = code, "3"
    return requests.HTTPError(response=response)


def urllib_error(code: int) -> urllib.error.HTTPError:
    headers = Message()
    headers["Retry-After"] = "3"
    return urllib.error.HTTPError("http://host", code, "no", headers, None)


def botocore_error(code: int) -> botocore.exceptions.ClientError:
    response: Any = {
        "Error": {"Code": "ThrottlingException", "Message": "no"},
        "ResponseMetadata": {"HTTPStatusCode": code, "RequestId": "r", "HTTPHeaders": {"retry-after": "3"}},
    }
    return botocore.exceptions.ClientError(response, "InvokeModel")


@pytest.mark.parametrize("make", [aiohttp_error, requests_error, urllib_error, botocore_error])
def test_a_status_is_read_wherever_a_client_keeps_it(make: Callable[[int], Exception]) -> None:
    error = make(429)
    facts = facts_of(error)
    assert facts["status"] == 429
    assert facts["retry_after"] == "3"
    assert judged(error, "open", bytes_seen=False) == "overload"
    assert judged(make(401), "open", bytes_seen=False) == "auth"
    if isinstance(error, urllib.error.HTTPError):
        error.close()


class WrappedError(RuntimeError):
    """What a program makes of a client's error."""


def wrapped_rate_limit() -> NoReturn:
    try:
        raise aiohttp_error(429)
    except ClientResponseError as error:
        raise WrappedError("no answer") from error


CLIENTS: list[tuple[BaseException, str]] = [
    (ServerDisconnectedError(), "network"),
    (ClientPayloadError("cut"), "network"),
    (ClientConnectionError("reset"), "network"),
    (requests.exceptions.ChunkedEncodingError("cut"), "network"),
    (requests.exceptions.ReadTimeout("slow"), "network"),
    (ConnectionResetError(104, "reset"), "network"),
    (TimeoutError(), "network"),
    (asyncio.IncompleteReadError(b"", 3), "network"),
    (asyncio.CancelledError(), "cancelled"),
    (KeyboardInterrupt(), "cancelled"),
    (openai.ContentFilterFinishReasonError(), "refused"),
    (ValueError("No generation chunks were returned"), "empty"),
    (TypeError("'NoneType' object is not iterable"), "protocol"),
    (ExceptionGroup("unhandled errors", [httpx.ReadError("reset")]), "network"),
    (raised(wrapped_rate_limit), "overload"),
]


@pytest.mark.parametrize(("error", "fault"), CLIENTS, ids=lambda value: getattr(type(value), "__name__", None))
def test_what_other_clients_raise(error: BaseException, fault: str) -> None:
    assert judged(error) == fault


@pytest.mark.parametrize(("said", "fault"), [(True, "overload"), (False, "request")])
def test_what_a_framework_says_of_it_counts(*, said: bool, fault: str) -> None:
    error = RuntimeError("odd")
    error.is_retryable = said  # type: ignore[attr-defined]
    assert facts_of(error)["is_retryable"] is said
    assert judged(error) == fault


# Whose code ----------------------------------------------------------------------------------------------------------


def in_file(file: str, module: str = "somewhere") -> BaseException:
    """An error raised in a file of that name, in a module of that name."""
    code = compile("def fail():\n    raise TypeError('no')\n", file, "exec")
    names: dict[str, Any] = {"__name__": module}
    exec(code, names)  # noqa: S102 - our own words
    return raised(names["fail"])


FILES = [
    (__file__, "app", True),
    ("/srv/app/main.py", "__main__", True),
    ("<stdin>", "__main__", True),
    ("<ipython-input-1-abc>", "__main__", True),
    ("/usr/lib/python3/dist-packages/x.py", "x", False),
    ("/srv/venv/lib/python3.11/site-packages/openai/x.py", "openai.x", False),
    (json.__file__, "json", False),
    ("<frozen importlib._bootstrap>", "importlib._bootstrap", False),
    ("/srv/l0/_drive.py", "l0_core._drive", False),
    ("/srv/l0/model.py", "l0_langchain.model", False),
    ("/srv/l0_corelike/model.py", "l0_corelike.model", True),
]


@pytest.mark.parametrize(("file", "module", "own"), FILES, ids=[file for file, _, _ in FILES])
def test_the_innermost_frame_says_whose_code_it_was(file: str, module: str, *, own: bool) -> None:
    error = in_file(file, module)
    assert facts_of(error)["own_code"] is own
    assert judged(error) == ("internal" if own else "protocol")


def test_a_bug_behind_a_library_call_is_not_the_callers() -> None:
    assert facts_of(raised(lambda: json.loads("{")))["own_code"] is False
    assert facts_of(raised(lambda: importlib.import_module("no_such_module")))["own_code"] is False
    assert facts_of(TypeError("never raised"))["own_code"] is False


def test_a_network_error_is_one_whoever_raised_it() -> None:
    def fail() -> NoReturn:
        raise ConnectionResetError(104, "reset")

    assert facts_of(raised(fail))["own_code"]
    assert judged(raised(fail)) == "network"


def met_an_ended_loop() -> NoReturn:
    loop = asyncio.new_event_loop()
    loop.close()
    loop.call_soon(print)
    raise AssertionError


def met_another_loop() -> NoReturn:
    lock = asyncio.Lock()

    async def wait() -> None:
        async with asyncio.timeout(0):
            await lock.acquire()

    asyncio.run(lock.acquire())
    with suppress(TimeoutError):
        asyncio.run(wait())
    asyncio.run(wait())
    raise AssertionError


@pytest.mark.parametrize("fail", [met_an_ended_loop, met_another_loop])
def test_a_connection_of_another_loop_is_told_by_where_it_was_noticed(fail: Callable[[], NoReturn]) -> None:
    wrapped = httpx.ConnectError("")
    wrapped.__cause__ = raised(fail)
    for error in (wrapped, raised(fail)):
        assert facts_of(error)["code"] == "ended_loop"
        assert judged(error, bytes_seen=False) == "network"


def test_the_words_alone_tell_nothing() -> None:
    def fail() -> NoReturn:
        raise RuntimeError("Event loop is closed")

    assert "code" not in facts_of(raised(fail))


def test_before_any_input_and_output_it_is_the_programs_own() -> None:
    assert judged(httpx.ReadError("reset"), "call", bytes_seen=False) == "internal"


# The chain -----------------------------------------------------------------------------------------------------------


class LibraryError(Exception):
    """A library's own class."""


def chained(outer: Exception, *, how: str) -> BaseException:
    def fail() -> NoReturn:
        try:
            raise httpx.ReadError("reset")  # noqa: TRY301 - the chain is what is tested
        except httpx.ReadError as error:
            if how == "cause":
                raise outer from error
            if how == "suppressed":
                raise outer from None
            raise outer  # noqa: B904 - that is what is tested

    return raised(fail)


@pytest.mark.parametrize(
    ("outer", "how", "followed"),
    [
        (LibraryError(), "cause", True),
        (LibraryError(), "context", True),
        (LibraryError(), "suppressed", False),
        (AttributeError(), "cause", True),
        (AttributeError(), "context", False),
        (AttributeError(), "suppressed", False),
    ],
)
def test_causes_are_followed_and_accidents_are_not(outer: Exception, how: str, *, followed: bool) -> None:
    types = facts_of(chained(outer, how=how))["types"]
    assert ("httpx.ReadError" in types) is followed
    assert types[0].endswith(type(outer).__qualname__)


def test_types_are_named_most_specific_first_and_without_noise() -> None:
    assert facts_of(json.JSONDecodeError("no", "", 0))["types"] == ["json.decoder.JSONDecodeError", "ValueError"]
    assert facts_of(Exception())["types"] == []


def test_a_chain_is_followed_so_far_and_no_further() -> None:
    error: Exception = httpx.ReadError("reset")
    for _ in range(10_000):
        outer = LibraryError()
        outer.__cause__, error = error, outer
    assert len(facts_of(error)["types"]) == 1
    circle, other = LibraryError("a"), WrappedError("b")
    circle.__cause__, other.__cause__ = other, circle
    assert judged(circle) == "internal"


def test_a_long_traceback_is_walked_to_its_end() -> None:
    def deep(left: int) -> None:
        if left:
            deep(left - 1)
        json.loads("{")

    assert facts_of(raised(lambda: deep(500)))["own_code"] is False


# Nothing it does can hurt ---------------------------------------------------------------------------------------------


class Hostile(Exception):  # noqa: N818 - a name is the least of it
    """An exception whose every attribute raises."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return super().__getattribute__(name)
        raise SystemExit(name)

    def __str__(self) -> str:
        raise RecursionError


class Mean:
    """Something whose every use raises."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: object) -> NoReturn:
        raise GeneratorExit


def test_an_exception_that_fights_back_is_read_all_the_same() -> None:
    facts, message = read(Hostile("x"), stage="read", bytes_seen=False)
    assert message == ""
    assert facts["types"] == [f"{__name__}.Hostile"]
    assert judged(Hostile("x")) == "internal"


def test_ctrl_c_is_not_swallowed() -> None:
    class Interrupted(Exception):  # noqa: N818 - as above
        @property
        def status_code(self) -> int:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        facts_of(Interrupted())


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=300),
    st.binary(max_size=9),
    st.builds(Mean),
    st.dictionaries(
        st.sampled_from(["error", "code", "type", "Code", "retry-after", "Date"]), st.integers() | st.text()
    ),
    st.just(("a", "b")),
    st.just(len),
    st.just(dict),
)
NAMES = [
    "status_code",
    "status",
    "code",
    "error_code",
    "type",
    "body",
    "response",
    "headers",
    "request_id",
    "is_retryable",
]


@given(st.dictionaries(st.sampled_from(NAMES), ODD), st.text(st.characters(), max_size=50), st.booleans())
def test_whatever_an_exception_carries_the_engine_can_read_it(carried: dict[str, Any], text: str, seen: bool) -> None:  # noqa: FBT001 - hypothesis passes by position
    error = type("SomeError", (Exception,), carried)(text)
    facts, message = read(error, stage="read", bytes_seen=seen)
    assert _native.classify(json.dumps(facts), message)


def test_a_surrogate_and_a_novel_do_no_harm() -> None:
    error = openai.APIError("\ud83d" * 1_000_000, httpx.Request("GET", "http://host"), body={"code": "\udc00" * 10**6})
    facts, message = read(error, stage="read", bytes_seen=True)
    assert len(message) <= 4_096
    assert len(json.dumps(facts)) < 4_096
    assert judged(error) == "overload"


def test_the_message_is_told_apart_and_stands_nowhere_else() -> None:
    error = raised(lambda: json.loads('{"secret prompt'))
    outer = LibraryError("secret key")
    outer.__cause__ = error
    facts, message = read(outer, stage="read", bytes_seen=True)
    assert "secret key" in message
    assert "secret" not in json.dumps(facts)


def test_reading_leaves_the_exception_as_it_was() -> None:
    error = chained(LibraryError("x"), how="cause")
    before = "".join(traceback.format_exception(error))
    facts_of(error)
    assert "".join(traceback.format_exception(error)) == before
