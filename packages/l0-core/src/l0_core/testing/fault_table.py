"""What every fault is taken for, and what the bare clients make of it: the table of `docs/faults.md`, as data.

`python -m l0_core.testing faults` prints it. The matrix tests run every row through the real clients, so that a row
that is no longer true is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from l0_core.testing import faults
from l0_core.testing.continuation import MANNERS

__all__ = ["Row", "TABLE", "markdown"]


@dataclass(frozen=True, slots=True)
class Row:
    """One fault as an example: what L0 takes it for, and what comes out of each client without L0.

    An outcome is the exception (of LangChain's own module, or the library it came from), or what the caller is given:
    `right`, `cut`, `wrong`, `empty`, `blank` text, a `right` or `cut call` of a tool, with the finish reason reported.
    """

    fault: str
    fault_class: str
    """Of the engine's classes; `none` where nothing is wrong, or nothing can be told."""
    heals: bool
    """Whether the same request, made again, succeeds once the fault is over."""
    openai_stream: str
    openai_call: str
    anthropic_stream: str
    anthropic_call: str


def _same(fault: str, fault_class: str, *, heals: bool, openai: str, anthropic: str) -> Row:
    """Streamed or not, the same comes out."""
    return Row(fault, fault_class, heals, openai, openai, anthropic, anthropic)


def _broken(fault: str) -> Row:
    """The connection breaks inside the body."""
    return Row(
        fault,
        "network",
        True,
        "httpx.ReadError" if "reset" in fault else "httpx.RemoteProtocolError",
        "OpenAIConnectionError",
        "httpx2.ReadError" if "reset" in fault else "httpx2.RemoteProtocolError",
        "AnthropicConnectionError",
    )


def _stalled(fault: str) -> Row:
    """The client's read timeout ends it; without one nothing does."""
    return Row(
        fault, "stall", True, "httpx.ReadTimeout", "OpenAITimeoutError", "httpx2.ReadTimeout", "AnthropicTimeoutError"
    )


def _said(fault: str, fault_class: str, openai: str, anthropic: str, *, heals: bool = True) -> Row:
    return _same(fault, fault_class, heals=heals, openai=openai, anthropic=anthropic)


_OWN_WORD: Final = "none: the upstream's own word"
_NUMBERED: Final = "network where events are numbered (responses), else none"

TABLE: Final = (
    _same("ok()", "none", heals=True, openai="right [stop]", anthropic="right [end_turn]"),
    _same(
        "status(code=400)",
        "request",
        heals=False,
        openai="OpenAIInvalidRequestError",
        anthropic="AnthropicInvalidRequestError",
    ),
    _same(
        "context_overflow()",
        "request",
        heals=False,
        openai="OpenAIContextOverflowError",
        anthropic="AnthropicContextOverflowError",
    ),
    _same(
        "blocked()",
        "refused",
        heals=False,
        openai="OpenAIInvalidRequestError",
        anthropic="AnthropicInvalidRequestError",
    ),
    _same(
        "status(code=401)",
        "auth",
        heals=False,
        openai="OpenAIAuthenticationError",
        anthropic="AnthropicAuthenticationError",
    ),
    _same(
        "status(code=403)",
        "auth",
        heals=False,
        openai="OpenAIPermissionDeniedError",
        anthropic="AnthropicPermissionDeniedError",
    ),
    _same(
        "status(code=404)",
        "request",
        heals=False,
        openai="OpenAIModelNotFoundError",
        anthropic="AnthropicModelNotFoundError",
    ),
    _same(
        "status(code=408)",
        "overload",
        heals=True,
        openai="openai.APIStatusError",
        anthropic="anthropic.RequestTimeoutError",
    ),
    _same(
        "status(code=409)",
        "overload",
        heals=True,
        openai="openai.ConflictError",
        anthropic="anthropic.ConflictError",
    ),
    _same(
        "status(code=413)",
        "request",
        heals=False,
        openai="openai.APIStatusError",
        anthropic="anthropic.ContentTooLargeError",
    ),
    _same(
        "status(code=422)",
        "request",
        heals=False,
        openai="openai.UnprocessableEntityError",
        anthropic="anthropic.UnprocessableEntityError",
    ),
    *(
        _same(fault, "overload", heals=True, openai="OpenAIRateLimitError", anthropic="AnthropicRateLimitError")
        for fault in (
            "rate_limit()",
            "rate_limit(retry_after=0.2)",
            "rate_limit(retry_after=0.2, form='ms')",
            "rate_limit(retry_after=2, form='date')",
        )
    ),
    _same("quota()", "quota", heals=False, openai="OpenAIRateLimitError", anthropic="anthropic.PaymentRequiredError"),
    *(
        _same(fault, "overload", heals=True, openai="OpenAIAPIError", anthropic="AnthropicAPIError")
        for fault in (
            "status(code=500)",
            "status(code=502, body='html')",
            "status(code=503)",
            "status(code=504, body='empty')",
        )
    ),
    _same("overloaded()", "overload", heals=True, openai="OpenAIAPIError", anthropic="AnthropicOverloadedError"),
    *(
        _same(fault, "network", heals=True, openai="OpenAIConnectionError", anthropic="AnthropicConnectionError")
        for fault in ("refused()", "reset_before_headers()", "close_before_headers()")
    ),
    _broken("reset_after_headers()"),
    _broken("close_after_headers()"),
    _broken("reset_after(chunks=4)"),
    _broken("reset_after(bytes=300)"),
    _broken("close_after(chunks=4)"),
    _broken("half_close_after(chunks=4)"),
    Row(
        "eof_after(chunks=4)",
        "network",
        True,
        "cut [None]",
        "json.JSONDecodeError",
        "cut [None]",
        "json.JSONDecodeError",
    ),
    _broken("cut_utf8(chunks=4)"),
    _same("cut_utf8(how='end')", "protocol", heals=True, openai="UnicodeDecodeError", anthropic="UnicodeDecodeError"),
    _broken("cut_json(chunks=4)"),
    Row(
        "cut_json(how='end')",
        "network",
        True,
        "cut [None]",
        "json.JSONDecodeError",
        "cut [None]",
        "json.JSONDecodeError",
    ),
    _same("stall(phase='open')", "stall", heals=True, openai="OpenAITimeoutError", anthropic="AnthropicTimeoutError"),
    *(_stalled(f"stall(phase={phase!r})") for phase in ("first", "text", "reasoning", "tool_args", "end")),
    *(
        _same(fault, "stall", heals=True, openai="right [stop]", anthropic="right [end_turn]")
        for fault in ("keep_alive_only(seconds=0.3)", "keep_alive_after(seconds=0.3)")
    ),
    *(
        _same(fault, "none", heals=True, openai="right [stop]", anthropic="right [end_turn]")
        for fault in ("drip()", "drip(bytes=200)")
    ),
    _same("malformed_event()", "protocol", heals=True, openai="json.JSONDecodeError", anthropic="json.JSONDecodeError"),
    _same("bad_utf8()", "protocol", heals=True, openai="UnicodeDecodeError", anthropic="UnicodeDecodeError"),
    Row("error_event()", "overload", True, "openai.APIError", "ValueError", "anthropic.APIStatusError", "TypeError"),
    Row(
        "error_event(chunks=0)",
        "overload",
        True,
        "openai.APIError",
        "ValueError",
        "anthropic.APIStatusError",
        "TypeError",
    ),
    Row(
        "html_200()",
        "empty; protocol when not streamed",
        True,
        "ValueError",
        "ValueError",
        "ValueError",
        "AttributeError",
    ),
    Row("json_200()", "empty; protocol when not streamed", True, "ValueError", "TypeError", "ValueError", "TypeError"),
    Row(
        "empty_200()",
        "empty; protocol when not streamed",
        True,
        "ValueError",
        "json.JSONDecodeError",
        "ValueError",
        "json.JSONDecodeError",
    ),
    Row(
        "done_only()",
        "empty; protocol when not streamed",
        True,
        "ValueError",
        "IndexError",
        "ValueError",
        "empty [None]",
    ),
    _said("role_only()", "empty", "empty [stop]", "empty [end_turn]"),
    _said("blank()", "empty", "blank [stop]", "blank [end_turn]"),
    Row(
        "null_choices()",
        "none; protocol where it raises",
        True,
        "right [stop]",
        "TypeError",
        "AttributeError",
        "TypeError",
    ),
    _said("no_done()", "none", "right [stop]", "right [end_turn]"),
    _said("no_finish()", "network", "cut [None]", "cut [None]"),
    _said("no_finish(chunks=None)", "network", "right [None]", "right [None]"),
    _said("finish_length()", "none: surfaced", "cut [length]", "cut [max_tokens]", heals=False),
    _said("finish_content_filter()", "refused", "cut [content_filter]", "cut [refusal]", heals=False),
    _said("refusal()", "refused", "empty [stop]", "empty [refusal]", heals=False),
    Row(
        "tool_args_cut()",
        "content",
        True,
        "cut call [length]",
        "no call [length]",
        "cut call [max_tokens]",
        "cut call [max_tokens]",
    ),
    Row(
        "tool_args_cut(how='end')",
        "network",
        True,
        "cut call [None]",
        "json.JSONDecodeError",
        "cut call [None]",
        "json.JSONDecodeError",
    ),
    Row(
        "tool_args_cut(how='reset')",
        "network",
        True,
        "httpx.ReadError",
        "OpenAIConnectionError",
        "httpx2.ReadError",
        "AnthropicConnectionError",
    ),
    _said("duplicate_tail()", _OWN_WORD, "wrong [stop]", "wrong [end_turn]", heals=False),
    *(
        Row(fault, _NUMBERED, False, "wrong [stop]", "right [stop]", "wrong [end_turn]", "right [end_turn]")
        for fault in ("lost_chunk()", "repeated_chunk()", "swapped_chunks()")
    ),
    _said("restart()", _OWN_WORD, "wrong [stop]", "wrong [end_turn]", heals=False),
    _said("diverging_restart()", _OWN_WORD, "wrong [stop]", "wrong [end_turn]", heals=False),
    _said("preamble()", _OWN_WORD, "wrong [stop]", "wrong [end_turn]", heals=False),
    _said("two_message_starts()", "none", "right [stop]", "right [end_turn]"),
    Row(
        "corrupt(byte=0)",
        "protocol when not streamed",
        True,
        "right [stop]",
        "json.JSONDecodeError",
        "right [end_turn]",
        "json.JSONDecodeError",
    ),
)


def markdown() -> str:
    """The page: the vocabulary, what clients make of it, the manners of going on."""
    return "\n".join([*_vocabulary(), "", *_behaviour(), "", *_manners(), ""])


def _vocabulary() -> Iterator[str]:
    yield "# Faults"
    yield ""
    yield "<!-- Written by `python -m l0_core.testing faults`. -->"
    yield ""
    yield "`l0_core.testing.faults` names every way in which a provider lets its callers down. `a + b` is both at once."
    yield "`script(a, b)` gives each request its own, the last for ever; `flaky(a, times)` fails the first few;"
    yield "`mix({a: 3, b: 1}, seed)` draws. A scenario file and `faults.parse` spell them as they stand here. A chunk is"
    yield "a piece of content: text, reasoning or tool arguments; where nothing is streamed, a slice of the document."
    yield ""
    yield "| fault | what happens |"
    yield "|---|---|"
    for name in faults.names():
        yield f"| `{name}{faults.signature_text(name)}` | {_cell(faults.meaning(name))} |"


def _behaviour() -> Iterator[str]:
    yield "## What the bare clients make of them"
    yield ""
    yield "`ChatOpenAI` and `ChatAnthropic` without L0, their own retries off, a read timeout set. Sync and async agree."
    yield "*Class* is what L0 takes the fault for; *heals* says whether the same request succeeds when it is made again."
    yield "Text is `right`, `cut`, `wrong`, `empty` or `blank`, with the finish reason that was reported: what has no"
    yield "exception is a silent success."
    yield ""
    yield "| fault | class | heals | OpenAI, streamed | OpenAI, called | Anthropic, streamed | Anthropic, called |"
    yield "|---|---|---|---|---|---|---|"
    for row in TABLE:
        heals = "yes" if row.heals else "no"
        outcomes = (row.openai_stream, row.openai_call, row.anthropic_stream, row.anthropic_call)
        yield f"| `{row.fault}` | {row.fault_class} | {heals} | {' | '.join(map(_cell, outcomes))} |"


def _manners() -> Iterator[str]:
    yield "## How an answer goes on"
    yield ""
    yield 'Under `wording="varied"` a model that is asked to repeat its last words and go on does so in one of these'
    yield "manners, drawn by weight; `FaultyProvider(continuations={…})` changes the weights."
    yield ""
    yield "| manner | weight | what the model does |"
    yield "|---|---|---|"
    for name, manner in MANNERS.items():
        yield f"| `{name}` | {manner.weight:g} | {manner.meaning} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
