"""The vocabulary of failure: every way a provider lets its callers down, by name.

Each name makes a `Fault` for one request. `a + b` is both, in that order. `script` says which request gets which,
`flaky` fails the first few, `mix` draws by weight. `named` and `parse` make faults from text and refuse what does not
exist with the list of what does.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final, Literal, get_args

from l0_core.testing.answer import CONTENT, Answer, Cut, Head, HowToEnd, Pause, Piece, Step
from l0_core.testing.dialects.dialect import FAILURES, STATUS_FAILURES, encode
from l0_core.testing.fault import DraftEdit, Fault, Misuse, Plan
from l0_core.testing.reply import split
from l0_core.testing.schedule import Schedule, flaky, mix, script
from l0_core.testing.vocabulary import named, names, parse, unknown, word

if TYPE_CHECKING:
    from collections.abc import Callable

    from l0_core.testing.dialects.dialect import Failure
    from l0_core.testing.reply import Draft

__all__ = [
    "Fault",
    "Schedule",
    "bad_utf8",
    "blank",
    "blocked",
    "close_after",
    "close_after_headers",
    "close_before_headers",
    "context_overflow",
    "corrupt",
    "cut_json",
    "cut_utf8",
    "diverging_restart",
    "done_only",
    "drip",
    "duplicate_tail",
    "empty_200",
    "eof_after",
    "error_event",
    "finish_content_filter",
    "finish_length",
    "flaky",
    "half_close_after",
    "html_200",
    "json_200",
    "keep_alive_after",
    "keep_alive_only",
    "lost_chunk",
    "malformed_event",
    "mix",
    "named",
    "names",
    "no_done",
    "no_finish",
    "null_choices",
    "ok",
    "overloaded",
    "parse",
    "preamble",
    "quota",
    "rate_limit",
    "refusal",
    "refused",
    "repeated_chunk",
    "reset_after",
    "reset_after_headers",
    "reset_before_headers",
    "restart",
    "role_only",
    "script",
    "stall",
    "status",
    "swapped_chunks",
    "tool_args_cut",
    "two_message_starts",
]

CODES: Final = range(400, 600)
SERVER_CODES: Final = range(500, 600)
DAY_SECONDS: Final = 86_400
ALL_CHUNKS: Final = 1_000_000


def __getattr__(name: str) -> object:
    raise AttributeError(unknown(name))


# Refused before an answer begins


@word
def ok() -> Fault:
    """All is well."""
    return Fault("ok")


@word
def status(
    code: int,
    retry_after: float | None = None,
    form: Literal["seconds", "date", "ms"] = "seconds",
    body: Literal["json", "html", "empty"] = "json",
) -> Fault:
    """An HTTP error with the provider's own document, a proxy's page or nothing; Retry-After in any of its forms."""
    if code not in CODES:
        raise ValueError(f"code is an HTTP error status, 400 to 599; got {code}")
    kind = STATUS_FAILURES.get(code, "server_error" if code in SERVER_CODES else "bad_request")
    failure = replace(FAILURES[kind], status=code, anthropic_status=None)
    return _refusal_of(failure, retry_after, form, body)


@word
def rate_limit(retry_after: float | None = None, form: Literal["seconds", "date", "ms"] = "seconds") -> Fault:
    """429: too many requests, with or without a word on when to come back."""
    return _refusal_of(FAILURES["rate_limit"], retry_after, form, "json")


@word
def overloaded(retry_after: float | None = None, form: Literal["seconds", "date", "ms"] = "seconds") -> Fault:
    """The provider has no capacity: 503 in the OpenAI dialects, 529 in Anthropic's."""
    return _refusal_of(FAILURES["overloaded"], retry_after, form, "json")


@word
def quota() -> Fault:
    """The account is used up: 429 `insufficient_quota` in the OpenAI dialects, 402 `billing_error` in Anthropic's."""
    return _refusal_of(FAILURES["quota"], None, "seconds", "json")


@word
def context_overflow() -> Fault:
    """400: the prompt is longer than the model's window."""
    return _refusal_of(FAILURES["context_overflow"], None, "seconds", "json")


@word
def blocked() -> Fault:
    """400: a content policy forbids the answer."""
    return _refusal_of(FAILURES["blocked"], None, "seconds", "json")


@word
def refused() -> Fault:
    """Nobody listens: the client is sent on to a port where the connection is refused."""

    def edit(_answer: Answer, plan: Plan) -> Answer:
        # A listener cannot refuse one request of many; every client library follows this, and is then refused.
        location = f"http://127.0.0.1:{plan.closed_port}/"
        return Answer((Head(307, (("location", location),), "length"),))

    return Fault("refused", answers=(edit,))


@word
def reset_before_headers() -> Fault:
    """The connection is reset after the request, before a byte of the answer."""
    return _cut_at_start("reset")


@word
def close_before_headers() -> Fault:
    """The connection is closed after the request, before a byte of the answer."""
    return _cut_at_start("close")


# The connection breaks


@word
def reset_after_headers() -> Fault:
    """The connection is reset once the headers are sent."""
    return _cut_after_head("reset")


@word
def close_after_headers() -> Fault:
    """The connection is closed once the headers are sent, the body announced and missing."""
    return _cut_after_head("close")


@word
def reset_after(chunks: int | None = None, bytes: int | None = None) -> Fault:  # noqa: A002 - what is counted
    """The connection is reset after so many chunks of content, or bytes of body."""
    return _cut_after(chunks, bytes, "reset")


@word
def close_after(chunks: int | None = None, bytes: int | None = None) -> Fault:  # noqa: A002 - what is counted
    """The connection is closed after so many chunks or bytes, without what ends a body."""
    return _cut_after(chunks, bytes, "close")


@word
def half_close_after(chunks: int | None = None, bytes: int | None = None) -> Fault:  # noqa: A002 - what is counted
    """The provider stops sending after so many chunks or bytes, and goes on listening."""
    return _cut_after(chunks, bytes, "half_close")


@word
def eof_after(chunks: int | None = None, bytes: int | None = None) -> Fault:  # noqa: A002 - what is counted
    """The body ends after so many chunks or bytes as if it were whole: framed by the end of the connection."""
    cut = _cut_after(chunks, bytes, "close")
    return replace(cut, answers=(lambda answer, _plan: answer.with_head(framing="close"), *cut.answers))


@word
def cut_utf8(chunks: int = 4, how: HowToEnd = "close") -> Fault:
    """The body ends inside a UTF-8 sequence, after so many chunks."""
    _among("how", how, get_args(HowToEnd))
    first_byte_of_two = b"\xc3"

    def edit(answer: Answer, _plan: Plan) -> Answer:
        at = answer.after_chunks(_count("chunks", chunks))
        begun = _opening_of_an_event(answer, at) + first_byte_of_two
        return _ended(answer.insert(at, Piece(begun, "close"), Cut(how)), how)

    return Fault("cut_utf8", answers=(edit,))


@word
def cut_json(chunks: int = 4, how: HowToEnd = "close") -> Fault:
    """The body ends inside a JSON string, after so many chunks."""
    _among("how", how, get_args(HowToEnd))

    def edit(answer: Answer, _plan: Plan) -> Answer:
        at = answer.after_chunks(_count("chunks", chunks))
        return _ended(answer.insert(at, Piece(_opening_of_an_event(answer, at), "close"), Cut(how)), how)

    return Fault("cut_json", answers=(edit,))


# Nothing comes, or too slowly

Phase = Literal["open", "first", "text", "reasoning", "tool_args", "end"]


@word
def stall(phase: Phase = "text", chunks: int = 2, seconds: float | None = None) -> Fault:
    """Nothing more comes: before the headers, before content, after so many chunks of a kind, or before the finish."""
    _among("phase", phase, get_args(Phase))
    _count("chunks", chunks)
    _seconds("seconds", seconds)

    def edit(answer: Answer, plan: Plan) -> Answer:
        return answer.insert(_at_phase(answer, plan, phase, chunks), Pause(seconds))

    return Fault("stall", answers=(edit,))


@word
def keep_alive_only(interval: float = 0.02, seconds: float | None = None) -> Fault:
    """Headers, then nothing but keep-alives."""
    return _keep_alive(0, interval, seconds)


@word
def keep_alive_after(chunks: int = 2, interval: float = 0.02, seconds: float | None = None) -> Fault:
    """After so many chunks, nothing but keep-alives."""
    return _keep_alive(chunks, interval, seconds)


@word
def drip(seconds: float = 0.02, bytes: int | None = None) -> Fault:  # noqa: A002 - what is counted
    """Everything comes, but with a pause before each chunk, or after so many bytes each."""
    _seconds("seconds", seconds)
    if bytes is not None and bytes < 1:
        raise ValueError(f"bytes is how much comes at once, at least 1; got {bytes}")

    def edit(answer: Answer, _plan: Plan) -> Answer:
        steps: list[Step] = []
        for step in answer.steps:
            if not isinstance(step, Piece):
                steps.append(step)
            elif bytes is None:
                steps += [Pause(seconds), step]
            else:
                for start in range(0, len(step.data), bytes):
                    last = start + bytes >= len(step.data)
                    part = step.data[start : start + bytes]
                    steps += [Pause(seconds), Piece(part, step.kind, step.text if last else "")]
        return Answer(tuple(steps))

    return Fault("drip", answers=(edit,))


# What comes cannot be read


@word
def malformed_event(chunks: int = 2) -> Fault:
    """After so many chunks, an event that is no JSON; where nothing is streamed, a document that is none."""

    def edit(answer: Answer, plan: Plan) -> Answer:
        if not plan.request.stream:
            return _with_document(answer, _document(answer)[:-1] + b', "usage": {]')
        event = b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{]}\n\n'
        if plan.request.dialect == "openai":
            event = b'data: {"id":"chatcmpl-0","choices":[{"index":0,"delta":{"content":]}\n\n'
        return answer.insert(answer.after_chunks(_count("chunks", chunks)), Piece(event, "close"))

    return Fault("malformed_event", answers=(edit,))


@word
def bad_utf8(chunks: int = 2) -> Fault:
    """After so many chunks, bytes that are no UTF-8 inside a JSON string."""

    def edit(answer: Answer, plan: Plan) -> Answer:
        at = answer.after_chunks(_count("chunks", chunks))
        if not plan.request.stream:
            document = _document(answer)
            middle = document.index(b'"', len(document) // 2) + 1
            return _with_document(answer, document[:middle] + b"\xff\xfe" + document[middle:])
        return answer.insert(at, Piece(_opening_of_an_event(answer, at) + b'\xff\xfe"}\n\n', "close"))

    return Fault("bad_utf8", answers=(edit,))


@word
def corrupt(byte: int = 100) -> Fault:
    """One byte of the body arrives changed."""

    def edit(answer: Answer, _plan: Plan) -> Answer:
        left = byte
        for position, step in enumerate(answer.steps):
            if isinstance(step, Piece):
                if left < len(step.data):
                    flipped = bytes([step.data[left] ^ 0x15])
                    piece = replace(step, data=step.data[:left] + flipped + step.data[left + 1 :])
                    return Answer((*answer.steps[:position], piece, *answer.steps[position + 1 :]))
                left -= len(step.data)
        raise Misuse(f"corrupt(byte={byte}): the body has fewer bytes")

    if byte < 0:
        raise ValueError(f"byte is a position in the body, from 0; got {byte}")
    return Fault("corrupt", answers=(edit,))


@word
def error_event(chunks: int = 2, kind: Literal["overloaded", "server_error", "rate_limit"] = "overloaded") -> Fault:
    """After so many chunks, an error reported inside the answer that began with 200."""
    _among("kind", kind, ("overloaded", "server_error", "rate_limit"))

    def edit(answer: Answer, plan: Plan) -> Answer:
        failure = FAILURES[kind]
        if not plan.request.stream:
            return _with_document(answer, encode(plan.dialect.failure(failure, plan.request_id)[1]))
        at = answer.after_chunks(_count("chunks", chunks))
        return answer.insert(at, plan.dialect.failure_event(failure, at - answer.after_head()), Cut("end"))

    return Fault("error_event", answers=(edit,))


@word
def html_200() -> Fault:
    """200, and a proxy's page instead of an answer."""

    def edit(answer: Answer, _plan: Plan) -> Answer:
        page = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>"
        return answer.with_head(media="text/html; charset=utf-8", framing="length").with_body([Piece(page, "close")])

    return Fault("html_200", answers=(edit,))


@word
def json_200() -> Fault:
    """200, and a JSON document of another shape than was asked for."""

    def edit(answer: Answer, _plan: Plan) -> Answer:
        document = Piece(b'{"detail":"accepted","queued":true}', "close")
        return answer.with_head(media="application/json", framing="length").with_body([document])

    return Fault("json_200", answers=(edit,))


@word
def empty_200() -> Fault:
    """200, and nothing."""
    return Fault("empty_200", answers=(lambda answer, _plan: answer.with_body([]),))


@word
def done_only() -> Fault:
    """Only what ends a stream; where nothing is streamed, an answer without choices or content."""

    def edit(answer: Answer, plan: Plan) -> Answer:
        if plan.request.stream:
            return answer.with_body(plan.dialect.ending())
        hollow = {"openai": b'"choices":[]', "responses": b'"output":[]', "anthropic": b'"content":[]'}
        document = b'{"id":"hollow","object":"chat.completion","created":0,"model":"hollow",%s}'
        return _with_document(answer, document % hollow[plan.request.dialect])

    return Fault("done_only", answers=(edit,))


@word
def role_only() -> Fault:
    """The answer opens and ends well, without content."""
    return _said(
        "role_only", lambda draft, _plan: replace(draft, text=(), reasoning=(), tools=(), finish="stop", nothing=True)
    )


@word
def blank(text: str = " \n ") -> Fault:
    """The answer is white space."""
    if text.strip():
        raise ValueError(f"text is white space; got {text!r}")
    return _said("blank", lambda draft, _plan: replace(draft, text=(text,), tools=(), finish="stop"))


@word
def null_choices(chunks: int = 2) -> Fault:
    """After so many chunks, an event whose content is null; where nothing is streamed, the answer's content is."""

    def edit(answer: Answer, plan: Plan) -> Answer:
        if not plan.request.stream:
            return answer
        return answer.insert(answer.after_chunks(_count("chunks", chunks)), plan.dialect.null_event(_drafted(plan)))

    return Fault("null_choices", (lambda draft, _plan: replace(draft, null=True),), (edit,))


# The end is missing, or not the one expected


@word
def no_done() -> Fault:
    """Everything comes but the dialect's last event (`[DONE]`, `message_stop`, `response.completed`)."""
    return _said("no_done", lambda draft, _plan: replace(draft, done=False))


@word
def no_finish(chunks: int | None = 4) -> Fault:
    """So many chunks (None: all of them), no finish reason, then a proper end."""

    def edit(draft: Draft, _plan: Plan) -> Draft:
        return replace(draft if chunks is None else _shortened(draft, chunks), finish=None)

    return _said("no_finish", edit)


@word
def finish_length(chunks: int = 4) -> Fault:
    """The answer ends after so many chunks because the token limit is reached, and says so."""
    return _said("finish_length", lambda draft, _plan: replace(_shortened(draft, chunks), finish="length"))


@word
def finish_content_filter(chunks: int = 4) -> Fault:
    """The answer ends after so many chunks because of a content filter, and says so."""
    return _said(
        "finish_content_filter", lambda draft, _plan: replace(_shortened(draft, chunks), finish="content_filter")
    )


@word
def refusal(text: str = "I cannot help with that.") -> Fault:
    """The model declines, in the field its dialect has for it."""
    return _said(
        "refusal",
        lambda draft, plan: replace(
            draft, text=(), tools=(), refusal=text, finish="refusal", nothing=plan.request.dialect == "anthropic"
        ),
    )


@word
def tool_args_cut(chunks: int = 2, how: Literal["length", "end", "close", "reset"] = "length") -> Fault:
    """The arguments of the last tool call stop after so many fragments: at the token limit, or with the connection."""
    _among("how", how, ("length", "end", "close", "reset"))
    _count("chunks", chunks)

    def edit(draft: Draft, _plan: Plan) -> Draft:
        if not draft.tools:
            raise Misuse("tool_args_cut: the scripted reply calls no tool")
        last = draft.tools[-1]
        kept = last.fragments[: min(chunks, len(last.fragments) - 1)]
        return replace(draft, tools=(*draft.tools[:-1], replace(last, fragments=kept)), finish="length")

    def end(answer: Answer, plan: Plan) -> Answer:
        if how == "length":
            return answer
        if plan.request.stream:
            at = answer.after_chunks(ALL_CHUNKS)
        else:
            answer, at = answer.after_bytes(
                _document(answer).rindex(b'"arguments"' if b'"arguments"' in _document(answer) else b'"input"')
            )
        return _ended(answer.insert(at, Cut(how)), how)

    return Fault("tool_args_cut", (edit,), (end,))


# What comes is not what was said


@word
def duplicate_tail(chunks: int = 4, tail: int = 2) -> Fault:
    """After so many chunks the last ones are sent again, as a proxy does that reconnects; the rest follows."""
    _count("tail", tail)

    def edit(draft: Draft, _plan: Plan) -> Draft:
        head = draft.text[: _enough(draft, _count("chunks", chunks))]
        return replace(draft, text=(*head, *head[len(head) - min(tail, len(head)) :], *draft.text[len(head) :]))

    return _said("duplicate_tail", edit)


@word
def lost_chunk(chunk: int = 3) -> Fault:
    """One chunk of content never arrives."""
    return _rearranged("lost_chunk", chunk, lambda _found: [])


@word
def repeated_chunk(chunk: int = 3) -> Fault:
    """One chunk of content arrives twice."""
    return _rearranged("repeated_chunk", chunk, lambda found: [found[0], found[0]])


@word
def swapped_chunks(chunk: int = 3) -> Fault:
    """One chunk of content arrives after the one that follows it."""
    return _rearranged("swapped_chunks", chunk, lambda found: [found[1], found[0]], width=2)


@word
def restart(chunks: int = 4) -> Fault:
    """After so many chunks the answer starts again, in the same words."""

    def edit(draft: Draft, _plan: Plan) -> Draft:
        return replace(draft, text=(*draft.text[: _enough(draft, _count("chunks", chunks))], *draft.text))

    return _said("restart", edit)


@word
def diverging_restart(chunks: int = 4) -> Fault:
    """After so many chunks the answer starts again, in other words."""

    def edit(draft: Draft, plan: Plan) -> Draft:
        if plan.reply is None:
            raise Misuse("diverging_restart: recorded bytes have no other words")
        head = draft.text[: _enough(draft, _count("chunks", chunks))]
        other = plan.reply.wordings("varied").other(plan.rng, than=draft.whole_text)
        return replace(draft, text=(*head, *split(other, plan.reply.chunks, None)))

    return _said("diverging_restart", edit)


@word
def preamble(text: str = "Sure! Here is the answer:\n\n") -> Fault:
    """The answer is led up to."""
    if not text.strip():
        raise ValueError("text is what comes before the answer")
    return _said("preamble", lambda draft, _plan: replace(draft, text=(text, *draft.text)))


@word
def two_message_starts(chunks: int = 2) -> Fault:
    """After so many chunks the stream opens a second time."""

    def edit(answer: Answer, plan: Plan) -> Answer:
        if not plan.request.stream:
            return answer
        opening = next((piece for piece in answer.pieces if piece.kind == "open"), None)
        if opening is None:
            raise Misuse("two_message_starts: the answer never opens")
        return answer.insert(answer.after_chunks(_count("chunks", chunks)), opening)

    return Fault("two_message_starts", answers=(edit,))


# How they are made


def _refusal_of(failure: Failure, retry_after: float | None, form: str, body: str) -> Fault:
    _among("form", form, ("seconds", "date", "ms"))
    _among("body", body, ("json", "html", "empty"))
    _seconds("retry_after", retry_after)

    def edit(_answer: Answer, plan: Plan) -> Answer:
        code, document = plan.dialect.failure(failure, plan.request_id)
        headers = [(plan.dialect.request_id_header, plan.request_id)]
        if retry_after is not None:
            headers.append(_retry_after(retry_after, form))
        match body:
            case "json":
                media, data = "application/json", encode(document)
            case "html":
                media, data = "text/html", b"<html><body><h1>%d</h1><hr>proxy</body></html>" % code
            case _:
                media, data = "application/json", b""
        return Answer((Head(code, (("content-type", media), *headers), "length"), Piece(data, "close")))

    return Fault("refusal", answers=(edit,))


def _retry_after(seconds: float, form: str) -> tuple[str, str]:
    match form:
        case "ms":
            return "retry-after-ms", str(round(seconds * 1000))
        case "date":
            moment = datetime.now(UTC) + timedelta(seconds=seconds)
            return "retry-after", format_datetime(moment, usegmt=True)
        case _:
            return "retry-after", f"{seconds:g}"


def _cut_at_start(how: HowToEnd) -> Fault:
    return Fault("cut", answers=(lambda answer, _plan: Answer((Cut(how), *answer.steps)),))


def _cut_after_head(how: HowToEnd) -> Fault:
    return Fault("cut", answers=(lambda answer, _plan: answer.insert(answer.after_head(), Cut(how)),))


def _cut_after(chunks: int | None, byte_count: int | None, how: HowToEnd) -> Fault:
    if (chunks is None) == (byte_count is None):
        raise ValueError("give chunks= or bytes=, one of them")

    def edit(answer: Answer, _plan: Plan) -> Answer:
        if chunks is not None:
            return answer.insert(answer.after_chunks(chunks), Cut(how))
        divided, at = answer.after_bytes(byte_count or 0)
        return divided.insert(at, Cut(how))

    _count("chunks", chunks or 0)
    _count("bytes", byte_count or 0)
    return Fault("cut", answers=(edit,))


def _ended(answer: Answer, how: str) -> Answer:
    """An answer that ends early as if it were whole announces no length it does not keep."""
    return answer.with_head(framing="chunked") if how == "end" else answer


def _keep_alive(chunks: int, interval: float, seconds: float | None) -> Fault:
    _count("chunks", chunks)
    _seconds("seconds", seconds)
    if interval <= 0:
        raise ValueError(f"interval is the time between keep-alives in seconds, above 0; got {interval}")

    def edit(answer: Answer, plan: Plan) -> Answer:
        if not plan.request.stream:  # white space before or inside a document changes nothing
            answer = answer.with_head(framing="chunked")
            return answer.insert(answer.after_head(), Pause(seconds, b"\n", interval))
        at = answer.after_chunks(chunks) if chunks else answer.after_head()
        return answer.insert(at, Pause(seconds, plan.dialect.keep_alive, interval))

    return Fault("keep_alive", answers=(edit,))


def _at_phase(answer: Answer, plan: Plan, phase: Phase, chunks: int) -> int:
    match phase:
        case "open":
            return 0
        case "first":
            return answer.after_head()
        case "end" if not plan.request.stream:
            return len(answer.steps) - 1
        case "end":
            return answer.after_chunks(ALL_CHUNKS)
        case _:
            if not plan.request.stream:
                return answer.after_chunks(chunks)
            if not any(piece.kind == phase for piece in answer.pieces):
                raise Misuse(f"stall(phase={phase!r}): there is no {phase} in the answer")
            return answer.after_chunks(chunks, phase)


def _said(name: str, edit: DraftEdit) -> Fault:
    """A fault in what the model says: it needs a scripted reply."""
    return Fault(name, drafts=(edit,))


def _rearranged(name: str, chunk: int, change: Callable[[list[Piece]], list[Piece]], width: int = 1) -> Fault:
    """Content pieces from the `chunk`-th on (counted from 1), changed on the way; a document has none to change."""
    if chunk < 1:
        raise ValueError(f"chunk is which one, counted from 1; got {chunk}")

    def edit(answer: Answer, plan: Plan) -> Answer:
        if not plan.request.stream:
            return answer
        content = [index for index, step in enumerate(answer.steps) if isinstance(step, Piece) and step.kind in CONTENT]
        if len(content) < width:
            raise Misuse(f"{name}: the answer has {len(content)} chunks of content")
        first = min(chunk - 1, len(content) - width)
        where = content[first : first + width]
        found = [step for step in (answer.steps[index] for index in where) if isinstance(step, Piece)]
        between = answer.steps[where[0] + 1 : where[-1]]
        return Answer((*answer.steps[: where[0]], *change(found), *between, *answer.steps[where[-1] + 1 :]))

    return Fault(name, answers=(edit,))


def _shortened(draft: Draft, chunks: int) -> Draft:
    """The draft with so many chunks of text, fewer than it has, and no tool call that would follow."""
    return replace(draft, text=draft.text[: min(_count("chunks", chunks), max(len(draft.text) - 1, 0))], tools=())


def _enough(draft: Draft, chunks: int) -> int:
    """At least one chunk, at most one fewer than there are: a repetition of everything or nothing would not show."""
    if not draft.text:
        raise Misuse("the scripted reply has no text to repeat")
    return max(1, min(chunks, len(draft.text) - 1))


def _opening_of_an_event(answer: Answer, at: int) -> bytes:
    """The beginning of the next content event, cut inside a string; of a document, nothing more is needed."""
    following = next((step for step in answer.steps[at:] if isinstance(step, Piece)), None)
    if following is None:
        return b'data: {"choices":[{"delta":{"content":"'
    colon = following.data.rfind(b'":"')
    return following.data[: colon + 3] if colon > 0 else following.data[: len(following.data) // 2]


def _document(answer: Answer) -> bytes:
    return b"".join(piece.data for piece in answer.pieces)


def _with_document(answer: Answer, document: bytes) -> Answer:
    return answer.with_body([Piece(document, "close")])


def _drafted(plan: Plan) -> Draft:
    if plan.draft is None:
        raise Misuse("this fault needs a scripted reply, not recorded bytes")
    return plan.draft


def _count(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:  # a scenario file may say anything
        raise ValueError(f"{name} is a count, 0 or more; got {value!r}")
    return value


def _seconds(name: str, value: object) -> None:
    if value is not None and not (isinstance(value, int | float) and 0 <= value <= DAY_SECONDS):
        raise ValueError(f"{name} is a time in seconds, 0 to {DAY_SECONDS}; got {value!r}")


def _among(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is one of {', '.join(map(repr, allowed))}; got {value!r}")
