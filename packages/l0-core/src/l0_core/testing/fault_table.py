"""What every fault is taken for, and what the bare clients make of it: the table of `docs/faults.md`, as data.

`python -m l0_core.testing faults` prints it. The matrix tests run every row through the real clients, so that a row
that is no longer true is noticed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from l0_core.testing import faults
from l0_core.testing.continuation import MANNERS
from l0_core.testing.vocabulary import meaning, signature

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Healing", "Row", "TABLE", "markdown"]

Healing = Literal["-", "retry", "ladder", "no"]


@dataclass(frozen=True, slots=True)
class Row:
    """One fault as an example: what L0 takes it for, and what comes out of each client without L0.

    An outcome is the exception (of LangChain's own module, or with the library it came from), or what the caller is
    given: `right`, `cut`, `wrong`, `empty` or `blank` text, a `cut call` of a tool or none, and the finish reason.
    """

    fault: str
    fault_class: str
    """Of the engine's classes; `none` where nothing is wrong, or nothing can be told."""
    healing: Healing
    """By what the same request, made again, heals it once it is over: nothing need be healed, a retry of which nobody
    knows, or the recovery ladder, because something was shown; or that it does not."""
    openai_stream: str
    openai_call: str
    anthropic_stream: str
    anthropic_call: str

    @property
    def heals(self) -> bool:
        """Whether the same request, made again, succeeds once the fault is over."""
        return self.healing != "no"

    @property
    def healed_by(self) -> str:
        """The same in words, and who can help where that does not."""
        if self.healing != "no":
            return _HEALINGS[self.healing]
        return _HOPELESS[self.fault_class]


_HEALINGS: Final = {"-": "nothing to heal", "retry": "a retry", "ladder": "the recovery ladder"}
_HOPELESS: Final = {
    "request": "nobody: raised as it is",
    "auth": "another target, with other credentials",
    "quota": "another target",
    "refused": "nobody: told, unless the policy says another target",
    "none: surfaced": "nobody: told by the finish reason",
    "none: its own word": "nobody: it cannot be told from an answer",
}


# fault | class | healed by | OpenAI streamed | OpenAI called | Anthropic streamed | Anthropic called; `=` is what it
# says for the streamed answer.
_TABLE: Final = """
ok() | none | - | right [stop] | = | right [end_turn] | =
status(code=400) | request | no | OpenAIInvalidRequestError | = | AnthropicInvalidRequestError | =
context_overflow() | request | no | OpenAIContextOverflowError | = | AnthropicContextOverflowError | =
blocked() | refused | no | OpenAIInvalidRequestError | = | AnthropicInvalidRequestError | =
status(code=401) | auth | no | OpenAIAuthenticationError | = | AnthropicAuthenticationError | =
status(code=403) | auth | no | OpenAIPermissionDeniedError | = | AnthropicPermissionDeniedError | =
status(code=404) | request | no | OpenAIModelNotFoundError | = | AnthropicModelNotFoundError | =
status(code=408) | overload | retry | openai.APIStatusError | = | anthropic.RequestTimeoutError | =
status(code=409) | overload | retry | openai.ConflictError | = | anthropic.ConflictError | =
status(code=413) | request | no | openai.APIStatusError | = | anthropic.ContentTooLargeError | =
status(code=422) | request | no | openai.UnprocessableEntityError | = | anthropic.UnprocessableEntityError | =
rate_limit() | overload | retry | OpenAIRateLimitError | = | AnthropicRateLimitError | =
rate_limit(retry_after=0.2) | overload | retry | OpenAIRateLimitError | = | AnthropicRateLimitError | =
rate_limit(retry_after=0.2, form='ms') | overload | retry | OpenAIRateLimitError | = | AnthropicRateLimitError | =
rate_limit(retry_after=2, form='date') | overload | retry | OpenAIRateLimitError | = | AnthropicRateLimitError | =
quota() | quota | no | OpenAIRateLimitError | = | anthropic.PaymentRequiredError | =
status(code=500) | overload | retry | OpenAIAPIError | = | AnthropicAPIError | =
status(code=502, body='html') | overload | retry | OpenAIAPIError | = | AnthropicAPIError | =
status(code=503) | overload | retry | OpenAIAPIError | = | AnthropicAPIError | =
status(code=504, body='empty') | overload | retry | OpenAIAPIError | = | AnthropicAPIError | =
overloaded() | overload | retry | OpenAIAPIError | = | AnthropicOverloadedError | =
refused() | network | retry | OpenAIConnectionError | = | AnthropicConnectionError | =
reset_before_headers() | network | retry | OpenAIConnectionError | = | AnthropicConnectionError | =
close_before_headers() | network | retry | OpenAIConnectionError | = | AnthropicConnectionError | =
reset_after_headers() | network | retry | httpx.ReadError | OpenAIConnectionError | httpx2.ReadError | AnthropicConnectionError
close_after_headers() | network | retry | httpx.RemoteProtocolError | OpenAIConnectionError | httpx2.RemoteProtocolError | AnthropicConnectionError
reset_after(chunks=4) | network | ladder | httpx.ReadError | OpenAIConnectionError | httpx2.ReadError | AnthropicConnectionError
reset_after(bytes=300) | network | retry | httpx.ReadError | OpenAIConnectionError | httpx2.ReadError | AnthropicConnectionError
close_after(chunks=4) | network | ladder | httpx.RemoteProtocolError | OpenAIConnectionError | httpx2.RemoteProtocolError | AnthropicConnectionError
half_close_after(chunks=4) | network | ladder | httpx.RemoteProtocolError | OpenAIConnectionError | httpx2.RemoteProtocolError | AnthropicConnectionError
eof_after(chunks=4) | network, called: protocol | ladder | cut [None] | json.JSONDecodeError | cut [None] | json.JSONDecodeError
cut_utf8(chunks=4) | network | ladder | httpx.RemoteProtocolError | OpenAIConnectionError | httpx2.RemoteProtocolError | AnthropicConnectionError
cut_utf8(how='end') | protocol | ladder | UnicodeDecodeError | = | UnicodeDecodeError | =
cut_json(chunks=4) | network | ladder | httpx.RemoteProtocolError | OpenAIConnectionError | httpx2.RemoteProtocolError | AnthropicConnectionError
cut_json(how='end') | network, called: protocol | ladder | cut [None] | json.JSONDecodeError | cut [None] | json.JSONDecodeError
stall(phase='open') | stall | retry | OpenAITimeoutError | = | AnthropicTimeoutError | =
stall(phase='first') | stall | retry | httpx.ReadTimeout | OpenAITimeoutError | httpx2.ReadTimeout | AnthropicTimeoutError
stall(phase='text') | stall | ladder | httpx.ReadTimeout | OpenAITimeoutError | httpx2.ReadTimeout | AnthropicTimeoutError
stall(phase='reasoning') | stall | retry | httpx.ReadTimeout | OpenAITimeoutError | httpx2.ReadTimeout | AnthropicTimeoutError
stall(phase='tool_args') | stall | ladder | httpx.ReadTimeout | OpenAITimeoutError | httpx2.ReadTimeout | AnthropicTimeoutError
stall(phase='end') | stall | ladder | httpx.ReadTimeout | OpenAITimeoutError | httpx2.ReadTimeout | AnthropicTimeoutError
keep_alive_only(seconds=0.4) | stall | retry | right [stop] | = | right [end_turn] | =
keep_alive_after(seconds=0.4) | stall | ladder | right [stop] | = | right [end_turn] | =
drip() | none | - | right [stop] | = | right [end_turn] | =
drip(bytes=200) | none | - | right [stop] | = | right [end_turn] | =
malformed_event() | protocol | ladder | json.JSONDecodeError | = | json.JSONDecodeError | =
bad_utf8() | protocol | ladder | UnicodeDecodeError | = | UnicodeDecodeError | =
corrupt(byte=0) | none, called: protocol | - | right [stop] | json.JSONDecodeError | right [end_turn] | json.JSONDecodeError
error_event() | overload, called: protocol | ladder | openai.APIError | ValueError | anthropic.APIStatusError | TypeError
error_event(chunks=0) | overload, called: protocol | retry | openai.APIError | ValueError | anthropic.APIStatusError | TypeError
html_200() | network, called: protocol | retry | ValueError | = | ValueError | AttributeError
json_200() | network, called: protocol | retry | ValueError | TypeError | ValueError | TypeError
empty_200() | network, called: protocol | retry | ValueError | json.JSONDecodeError | ValueError | json.JSONDecodeError
done_only() | network, called: protocol | retry | ValueError | IndexError | ValueError | empty [None]
role_only() | empty | retry | empty [stop] | = | empty [end_turn] | =
blank() | empty | retry | blank [stop] | = | blank [end_turn] | =
null_choices() | none; protocol where it raises | - | right [stop] | TypeError | AttributeError | TypeError
no_done() | none | - | right [stop] | = | right [end_turn] | =
no_finish() | network | ladder | cut [None] | = | cut [None] | =
no_finish(chunks=None) | network | ladder | right [None] | = | right [None] | =
finish_length() | none: surfaced | no | cut [length] | = | cut [max_tokens] | =
finish_content_filter() | refused | no | cut [content_filter] | = | cut [refusal] | =
refusal() | refused | no | empty [stop] | = | empty [refusal] | =
tool_args_cut() | content | ladder | cut call [length] | no call [length] | cut call [max_tokens] | =
tool_args_cut(how='end') | network, called: protocol | ladder | cut call [None] | json.JSONDecodeError | cut call [None] | json.JSONDecodeError
tool_args_cut(how='reset') | network | ladder | httpx.ReadError | OpenAIConnectionError | httpx2.ReadError | AnthropicConnectionError
duplicate_tail() | none: its own word | no | wrong [stop] | = | wrong [end_turn] | =
lost_chunk() | none: its own word | no | wrong [stop] | right [stop] | wrong [end_turn] | right [end_turn]
repeated_chunk() | none: its own word | no | wrong [stop] | right [stop] | wrong [end_turn] | right [end_turn]
swapped_chunks() | none: its own word | no | wrong [stop] | right [stop] | wrong [end_turn] | right [end_turn]
restart() | none: its own word | no | wrong [stop] | = | wrong [end_turn] | =
diverging_restart() | none: its own word | no | wrong [stop] | = | wrong [end_turn] | =
preamble() | none: its own word | no | wrong [stop] | = | wrong [end_turn] | =
two_message_starts() | none | - | right [stop] | = | right [end_turn] | =
"""  # noqa: E501 - a table is read by its columns


def _row(line: str) -> Row:
    fault, fault_class, healing, *outcomes = (cell.strip() for cell in line.split(" | "))
    openai_stream, openai_call, anthropic_stream, anthropic_call = outcomes
    return Row(
        fault,
        fault_class,
        next(known for known in get_args(Healing) if known == healing),
        openai_stream,
        openai_stream if openai_call == "=" else openai_call,
        anthropic_stream,
        anthropic_stream if anthropic_call == "=" else anthropic_call,
    )


TABLE: Final = tuple(map(_row, _TABLE.strip().splitlines()))


def markdown() -> str:
    """The page: every fault with what becomes of it, and the manners of going on."""
    return "\n".join([*_faults(), "", *_manners(), ""])


def _faults() -> Iterator[str]:
    yield "# Faults"
    yield ""
    yield "<!-- Written by `python -m l0_core.testing faults`. -->"
    yield ""
    yield "`l0_core.testing.faults` names every way in which a provider lets its callers down. `a + b` is both,"
    yield "`script(a, b)` gives each request its own and the last for ever, `flaky(a, times)` fails the first few,"
    yield "`mix({a: 3, b: 1}, seed)` draws. A scenario file and `faults.parse` spell them as they stand here. Chunks"
    yield "are pieces of content (text, reasoning, tool arguments); where nothing is streamed, slices of the document."
    yield ""
    yield "*Class* is what L0 takes the fault for, if it can be told. *Healed by* says what helps once it is over: a"
    yield "retry nobody knows of, or, where something was shown, the recovery ladder. The last four columns are"
    yield "`ChatOpenAI` and `ChatAnthropic` without L0, their own retries off, a read timeout shorter than a stall;"
    yield "sync and async agree. There it is `right`, `cut`, `wrong`, `empty` or `blank` text, or the `cut call` of a"
    yield "tool, with the finish reason reported: everything returned but `right` is a silent failure. A read timeout"
    yield "never sees keep-alives: those two rows end because the fault does. What an upstream repeats, loses or says"
    yield "before its answer is its own word in dialects whose events are not numbered; the responses dialect numbers"
    yield "them, and a gap there is a `network` fault."
    yield ""
    clients = "OpenAI, streamed | OpenAI, called | Anthropic, streamed | Anthropic, called"
    yield f"| fault | what happens | for example | class | healed by | {clients} |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name in faults.names():
        told = (f"`{name}{signature(name)}`", _cell(meaning(name)))
        for row in TABLE:
            if row.fault.partition("(")[0] == name:
                outcomes = (row.openai_stream, row.openai_call, row.anthropic_stream, row.anthropic_call)
                cells = (*told, f"`faults.{row.fault}`", row.fault_class, row.healed_by, *map(_cell, outcomes))
                yield f"| {' | '.join(cells)} |"
                told = ("", "")  # once is enough


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
