"""What a dialect must know: to read a request, to write an answer, and to say that something went wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from l0_core.testing.answer import Piece
    from l0_core.testing.conversation import DialectName, Message, Request
    from l0_core.testing.reply import Draft

__all__ = ["BadRequest", "Dialect", "Failure", "FAILURES", "STATUS_FAILURES", "encode", "sse", "text_of"]


class BadRequest(Exception):  # noqa: N818 - what the provider answers, not a failure of ours
    """The request is none the provider it imitates would take: answered with 400 and these words."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A way to say no: what each dialect calls it."""

    status: int
    message: str
    openai_type: str
    openai_code: str | None
    anthropic_type: str
    anthropic_status: int | None = None
    """Where this dialect answers with another status."""
    anthropic_message: str | None = None


FAILURES: Final[Mapping[str, Failure]] = {
    "bad_request": Failure(
        400, "Unsupported value in the request.", "invalid_request_error", "unsupported_value", "invalid_request_error"
    ),
    "blocked": Failure(
        400,
        "The response was filtered: the prompt triggered the content management policy.",
        "invalid_request_error",
        "content_filter",
        "invalid_request_error",
        anthropic_message="Output blocked by content filtering policy",
    ),
    "context_overflow": Failure(
        400,
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 131072 tokens.",
        "invalid_request_error",
        "context_length_exceeded",
        "invalid_request_error",
        anthropic_message="prompt is too long: 208310 tokens > 200000 maximum",
    ),
    "unauthorized": Failure(
        401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key", "authentication_error"
    ),
    "forbidden": Failure(
        403,
        "The project does not have access to this model.",
        "invalid_request_error",
        "model_not_found",
        "permission_error",
    ),
    "not_found": Failure(
        404, "The model does not exist.", "invalid_request_error", "model_not_found", "not_found_error"
    ),
    "timeout": Failure(408, "The request took too long to arrive.", "invalid_request_error", None, "timeout_error"),
    "conflict": Failure(
        409, "The resource was changed by another request.", "invalid_request_error", None, "conflict_error"
    ),
    "too_large": Failure(413, "The request is too large.", "invalid_request_error", None, "request_too_large"),
    "unprocessable": Failure(
        422,
        "The request was well-formed but cannot be followed.",
        "invalid_request_error",
        None,
        "invalid_request_error",
    ),
    "rate_limit": Failure(
        429, "Rate limit reached for requests.", "requests", "rate_limit_exceeded", "rate_limit_error"
    ),
    "quota": Failure(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
        "billing_error",
        anthropic_status=402,
        anthropic_message="Your credit balance is too low to access the API.",
    ),
    "server_error": Failure(
        500, "The server had an error while processing your request.", "server_error", None, "api_error"
    ),
    "unavailable": Failure(503, "The service is temporarily unavailable.", "server_error", None, "api_error"),
    "overloaded": Failure(
        503,
        "The engine is currently overloaded, please try again later.",
        "server_error",
        "overloaded",
        "overloaded_error",
        anthropic_status=529,
        anthropic_message="Overloaded",
    ),
}

STATUS_FAILURES: Final[Mapping[int, str]] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    422: "unprocessable",
    429: "rate_limit",
    500: "server_error",
    502: "unavailable",
    503: "unavailable",
    504: "unavailable",
    529: "overloaded",
}


class Dialect(Protocol):
    """One provider's wire format."""

    name: DialectName
    keep_alive: bytes
    """What is sent on a stream to say that the connection lives."""
    request_id_header: str
    """The header that carries the request's id."""

    def takes(self, method: str, path: str) -> bool:
        """Whether a request with this target is meant for this dialect."""
        ...

    def parse(self, body: Mapping[str, Any]) -> Sequence[Message]:
        """The conversation of a request; raises `BadRequest` as the provider would."""
        ...

    def tokens_max(self, body: Mapping[str, Any]) -> int | None:
        """How many tokens the answer may have."""
        ...

    def stream(self, draft: Draft, request: Request, /) -> list[Piece]:
        """The events of a streamed answer."""
        ...

    def body(self, draft: Draft, request: Request, /) -> dict[str, Any]:
        """The document of an answer that is not streamed."""
        ...

    def failure(self, failure: Failure, request_id: str, /) -> tuple[int, dict[str, Any]]:
        """Status and document of an error."""
        ...

    def failure_event(self, failure: Failure, number: int, /) -> Piece:
        """An error reported inside a stream, as its `number`-th event."""
        ...

    def ending(self) -> list[Piece]:
        """What ends a stream that had nothing in it."""
        ...

    def null_event(self, draft: Draft, /) -> Piece:
        """An event whose content is null."""
        ...


def encode(value: object) -> bytes:
    """JSON as providers send it: UTF-8, not escaped, so that a cut may fall inside a character."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", errors="surrogatepass")


def sse(value: object, event: str | None = None) -> bytes:
    """One server-sent event."""
    name = b"event: " + event.encode() + b"\n" if event else b""
    return name + b"data: " + encode(value) + b"\n\n"


def text_of(content: object, kinds: frozenset[str] = frozenset({"text", "input_text", "output_text"})) -> str:
    """The text of a message's content, given as a string or as parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        raise BadRequest("content is a string or a list of parts")
    parts = []
    for part in content:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, Mapping) and part.get("type") in kinds:
            text = part.get("text")
            if not isinstance(text, str):
                raise BadRequest("a text part needs its text")
            parts.append(text)
        elif not isinstance(part, Mapping):
            raise BadRequest("content is a string or a list of parts")
    return "".join(parts)


def list_of(body: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    """A list of objects the request must have."""
    value = body.get(key)
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise BadRequest(f"'{key}' must be a list of objects")
    if not value:
        raise BadRequest(f"'{key}' must not be empty")
    return value
