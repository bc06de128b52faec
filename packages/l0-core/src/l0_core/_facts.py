"""What an exception says about the fault behind it. It is read here, and judged by the engine alone.

Exceptions are read by what they carry and not by their classes, because the classes belong to a dozen packages, of
which none need be installed: `openai` and `anthropic` SDKs, `httpx` and its forks, `aiohttp`, `requests`, `urllib`,
`botocore`, Google's clients, and the frameworks' own. An attribute that raises, or holds something odd, is passed over.
"""

import re
import sysconfig
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import PurePath
from types import FrameType
from typing import Any, Final, Literal

Stage = Literal["call", "open", "read"]

_CHAIN_MAX: Final = 8
_NAMES_MAX: Final = 64
_NAME_CHARS_MAX: Final = 200
_VALUE_CHARS_MAX: Final = 128
_MESSAGE_CHARS_MAX: Final = 4_096
_FRAMES_MAX: Final = 10_000
_HEADERS_MAX: Final = 256

_CODE: Final = re.compile(r"[\w.:/-]{1,64}", re.ASCII)
"""What is a code and not a sentence: facts are written down, and what quotes a prompt or a key must not be."""

_UNTELLING: Final = {object, BaseException, Exception, BaseExceptionGroup, ExceptionGroup}
_OURS: Final = {"l0_core", "l0_langchain", "l0_llamaindex"}
_LOOPS: Final = {"asyncio", "uvloop"}
_LOOP_IS_ANOTHER: Final = {"_check_closed", "_get_loop"}
"""Where an event loop refuses to go on because it has ended, and a lock because it is another loop's."""
_INSTALLED: Final = {"site-packages", "dist-packages"}
_LIBRARY: Final = tuple(
    f"{path}/" for name in ("stdlib", "platstdlib") if (path := sysconfig.get_paths().get(name, "").rstrip("/"))
)


def read(exception: BaseException, *, stage: Stage, bytes_seen: bool) -> tuple[dict[str, object], str]:
    """Return the facts of an exception, as the engine takes them, and apart from them its message.

    The engine looks at the message once for words that tell, and forgets it: it may quote a prompt or a key, so it is
    never logged or kept. Whatever the exception's attributes do, this does not raise.

    Args:
        exception: What was raised.
        stage: How far the attempt had come.
        bytes_seen: Whether any byte of the response had arrived.
    """
    chain = _first_hand(list(_chain(exception)))
    facts: dict[str, object] = {
        "stage": stage,
        "bytes": bytes_seen,
        "own_code": _is_own_code(exception),
        "types": _types(chain),
    }
    for link in chain:
        for name, value in _told(link):
            if value is not None:
                facts.setdefault(name, value)
    message = "\n".join(_message(link) for link in chain)[:_MESSAGE_CHARS_MAX]
    return facts, _clean(message)


# The chain -----------------------------------------------------------------------------------------------------------


def _chain(exception: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what caused it, outermost first."""
    seen: set[int] = set()
    waiting = [exception]
    while waiting and len(seen) < _CHAIN_MAX:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting.extend(_causes(link))


def _first_hand(chain: list[BaseException]) -> list[BaseException]:
    """Leave out LiteLLM's exceptions where what they were raised from has a status: it makes 400 of 408 and 409."""
    others = [link for link in chain if type(link).__module__.partition(".")[0] != "litellm"]
    if len(others) == len(chain):
        return chain
    has_status = any(name == "status" and value is not None for link in others for name, value in _told(link))
    return others if has_status else chain


def _causes(link: BaseException) -> Iterator[BaseException]:
    """Yield what an exception was raised from.

    What was being handled when it was raised counts only for a library's own class, which wraps what it met. An
    exception of Python itself, raised by code that was handling another, is more likely that code's own fault.
    """
    group = _get(link, "exceptions") if isinstance(link, BaseExceptionGroup) else None
    if isinstance(group, tuple):
        yield from (member for member in group[:_CHAIN_MAX] if isinstance(member, BaseException))
    if link.__cause__ is not None:
        yield link.__cause__
    elif link.__context__ is not None and not link.__suppress_context__ and type(link).__module__ != "builtins":
        yield link.__context__


def _types(chain: list[BaseException]) -> list[str]:
    names = (_qualified(kind) for link in chain for kind in type(link).__mro__ if kind not in _UNTELLING)
    return list(dict.fromkeys(name for name in names if name))[:_NAMES_MAX]


def _qualified(kind: type) -> str:
    module, name = _text(_get(kind, "__module__")), _text(_get(kind, "__qualname__"))
    full = name if module in {None, "builtins"} else f"{module}.{name}"
    return _clean((full or "")[-_NAME_CHARS_MAX:])


def _message(link: BaseException) -> str:
    try:
        return str(link)[:_MESSAGE_CHARS_MAX]
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - a class that cannot say what happened says nothing
        return ""


# Whose code ----------------------------------------------------------------------------------------------------------


def _is_of_an_ended_loop(link: BaseException) -> bool:
    """Whether a connection was met that was opened in an event loop which has ended, or in another: only asyncio knows.

    A client that outlives its loop fails so, and nothing can be told from it about who it talks to.
    """
    if type(link) is not RuntimeError:
        return False
    frame = _innermost(link)
    if frame is None:
        return False
    name = frame.f_code.co_name.rpartition(".")[2]  # Compiled code has its whole name there.
    return _package(frame) in _LOOPS and name in _LOOP_IS_ANOTHER


def _innermost(exception: BaseException) -> FrameType | None:
    """Return the frame that an exception was raised in."""
    trace = exception.__traceback__
    if trace is None:
        return None
    for _ in range(_FRAMES_MAX):
        if trace.tb_next is None:
            break
        trace = trace.tb_next
    return trace.tb_frame


def _is_own_code(exception: BaseException) -> bool:
    """Whether the frame it was raised in belongs to the caller's program: not to Python, a package, or L0."""
    frame = _innermost(exception)
    if frame is None:
        return False
    return _package(frame) not in _OURS and not is_installed(frame.f_code.co_filename)


def _package(frame: FrameType) -> str:
    """Return the name of the package whose code a frame runs."""
    module = frame.f_globals.get("__name__")
    return module.partition(".")[0] if isinstance(module, str) else ""


@lru_cache(maxsize=1_024)
def is_installed(file: str) -> bool:
    """Return whether a file belongs to Python or to a package, and not to the caller's program."""
    if file.startswith("<frozen "):
        return True
    path = PurePath(file)
    return not _INSTALLED.isdisjoint(path.parts) or path.as_posix().startswith(_LIBRARY)


# What it carries -----------------------------------------------------------------------------------------------------


def _told(link: BaseException) -> Iterator[tuple[str, object]]:
    """Yield the facts an exception carries, the most reliable place for each first."""
    response, body = _get(link, "response"), _body(link)
    meta = _item(response, "ResponseMetadata")  # botocore's response is a mapping
    headers = [_get(response, "headers"), _get(link, "headers"), _item(meta, "HTTPHeaders")]
    for name in ("status_code", "status", "http_status", "code"):
        yield "status", _status(_get(link, name))
    for name in ("status_code", "status"):
        yield "status", _status(_get(response, name))
    yield "status", _status(_item(meta, "HTTPStatusCode"))
    yield "code", "ended_loop" if _is_of_an_ended_loop(link) else None
    yield "code", _code(_get(link, "code"))
    yield "code", _code(_get(link, "error_code"))
    for inner in (body, _item(response, "Error")):
        yield "code", _code(_item(inner, "code"))
        yield "code", _code(_item(inner, "Code"))
    yield "kind", _code(_get(link, "type"))
    yield "kind", _code(_item(body, "type"))
    yield "request_id", _text(_get(link, "request_id"))
    for name in ("x-request-id", "request-id", "x-amzn-requestid"):
        yield "request_id", _header(headers, name)
    yield "request_id", _text(_item(meta, "RequestId"))
    yield "retry_after", _header(headers, "retry-after")
    yield "retry_after_ms", _header(headers, "retry-after-ms")
    yield "date", _header(headers, "date")
    retryable = _get(link, "is_retryable")
    yield "is_retryable", retryable if isinstance(retryable, bool) else None


def _body(link: BaseException) -> Any:
    """Return the error object of a response's body, which some providers wrap in another."""
    body = _get(link, "body")
    inner = _item(body, "error")
    return inner if isinstance(inner, Mapping) else body


def _status(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return int(value) if 100 <= value <= 599 else None  # noqa: PLR2004 - what HTTP has


def _code(value: object) -> str | None:
    """Return an error code. Some providers write numbers, some enumerations; a sentence is a message, and may quote."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value)) if abs(value) < 1 << 32 else None
    text = _text(value)
    return text if text is not None and _CODE.fullmatch(text) else None


def _header(places: list[object], name: str) -> str | None:
    for headers in places:
        found = _item(headers, name)
        if found is None and isinstance(headers, Mapping):
            found = _any_case(headers, name)
        if isinstance(found, bytes):
            found = found.decode("latin-1")
        if (text := _text(found)) is not None:
            return text
    return None


def _any_case(headers: Mapping[object, object], name: str) -> object:
    try:
        for place, (key, value) in enumerate(headers.items()):
            if place >= _HEADERS_MAX:
                break
            if isinstance(key, str) and key.lower() == name:
                return value
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - as `_get`
        return None
    return None


def _text(value: object) -> str | None:
    return _clean(value[:_VALUE_CHARS_MAX]) if isinstance(value, str) and value else None


def _clean(text: str) -> str:
    """Return text without halves of surrogate pairs, which JSON and the engine have no place for."""
    return text.encode("utf-8", "replace").decode()


def _get(holder: object, name: str) -> Any:
    """Return an attribute, whatever asking for it does."""
    try:
        return getattr(holder, name, None)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - a property of somebody's exception may do anything, and must not replace it
        return None


def _item(holder: object, name: str) -> Any:
    """Return what a mapping, or something like one, holds under a name."""
    get = _get(holder, "get")
    if not callable(get) or isinstance(holder, type):
        return None
    try:
        return get(name)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - as `_get`
        return None
