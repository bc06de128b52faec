"""The faulty provider: a real HTTP server on loopback that answers like a model and fails as it is told."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
import traceback
import urllib.parse
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Final, Self

from l0_core.testing import faults, samples
from l0_core.testing.answer import Answer, Cut, Head, HowToEnd, Pause, Piece
from l0_core.testing.continuation import Resumption, asks_to_go_on, check_manners, prefilled, prompted, resume
from l0_core.testing.conversation import CHARACTERS_PER_TOKEN, Message, Request
from l0_core.testing.dialects import DIALECTS, BadRequest, Dialect
from l0_core.testing.dialects.dialect import FAILURES, encode
from l0_core.testing.fault import Fault, Misuse, Plan
from l0_core.testing.phrasing import Template, dice
from l0_core.testing.recording import Recording
from l0_core.testing.reply import Draft, Reply, ToolCall, ToolDraft, Wording, split, tokens
from l0_core.testing.server import Connection, RawRequest, Server

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from l0_core.testing.conversation import Ending
    from l0_core.testing.schedule import Schedule

__all__ = ["FaultyProvider"]

BACKGROUND_RESPONSES_MAX: Final = 256
REQUESTS_KEPT: Final = 20_000

When = str | Callable[[Request], bool]
ToolCallLike = ToolCall | Mapping[str, Any] | tuple[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class _Route:
    matches: Callable[[Request], bool]
    key: object
    replies: tuple[Reply, ...]


@dataclass(frozen=True, slots=True)
class _Served:
    """Recorded bytes for one request, and what is to happen to them."""

    recording: Recording
    chunk_bytes: int | None
    timed: bool
    fault: Fault


class FaultyProvider:
    """A server that speaks OpenAI chat completions, OpenAI responses and Anthropic messages, and fails on purpose.

    ```python
    with FaultyProvider() as provider:
        provider.reply("The capital of France is Paris.")
        provider.script(faults.reset_after(chunks=4), faults.ok())
        ChatOpenAI(base_url=provider.openai_url, api_key="x").invoke("What is the capital of France?")
    ```

    Args:
        wording: `identical` answers a question always in the same words and goes on exactly as asked; `varied` answers
            in other words each time and goes on as imperfectly as models do.
        seed: Of everything drawn: wordings, borders of chunks, manners of going on, ids.
        prefill: Whether a conversation that ends with the assistant's turn is gone on from. Without, Anthropic's
            dialect refuses it with 400, as its newer models do, and the OpenAI dialects answer anew.
        continuations: The manners of going on when prompted to, by weight; see `continuation.MANNERS`.
        host: Where to listen. Nothing but loopback is reachable from outside this machine's own programs.
        port: 0 takes a free one.
    """

    def __init__(
        self,
        *,
        wording: Wording = "identical",
        seed: int = 0,
        prefill: bool = True,
        continuations: Mapping[str, float] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        if wording not in ("identical", "varied"):
            raise ValueError(f"wording is 'identical' or 'varied'; got {wording!r}")
        self.wording: Wording = wording
        self.seed = seed
        self.prefill = prefill
        self._manners = check_manners(continuations)
        self._host, self._port = host, port
        self._server: Server | None = None
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._requests: deque[Request] = deque(maxlen=REQUESTS_KEPT)
        self._count = 0
        self._routes: list[_Route] = []
        self._default = Reply.of(samples.PROSE)
        self._schedule: Schedule = faults.ok()
        self._scheduled_from = 0
        self._recordings: tuple[_Served, ...] = ()
        self._recorded_from = 0
        self._background: OrderedDict[str, tuple[Request, tuple[Piece, ...]]] = OrderedDict()
        self._problems: list[BaseException] = []
        self.on_request: Callable[[Request], object] | None = None
        """Called when a request has been answered, from the server's thread."""

    # Its life

    def start(self) -> Self:
        """Listen; `with` and `async with` do it."""
        if self._server is not None:
            raise RuntimeError("the provider is running already")
        self._server = Server(self._handle, self._host, self._port)
        return self

    def close(self) -> None:
        """End every connection and stop listening, within a second; then raise what went wrong inside, if it did."""
        self._stop()
        if self._problems:
            raise self._problems[0]

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if kind is None and self._problems:
            raise self._problems[0]

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._stop)
        if kind is None and self._problems:
            raise self._problems[0]

    @property
    def _running(self) -> Server:
        if self._server is None:
            raise RuntimeError("the provider is not running: use it in a with statement, or call start()")
        return self._server

    @property
    def url(self) -> str:
        """Where it listens."""
        host = f"[{self._running.host}]" if ":" in self._running.host else self._running.host
        return f"http://{host}:{self._running.port}"

    @property
    def openai_url(self) -> str:
        """The `base_url` of OpenAI clients, for chat completions and responses."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """The `base_url` of Anthropic clients."""
        return self.url

    # What it answers

    def reply(
        self,
        text: str | Template | Reply = "",
        *,
        chunks: int = 8,
        tool_calls: Sequence[ToolCallLike] = (),
        reasoning: str = "",
        logprob: float = -0.1,
        when: When | None = None,
    ) -> Reply:
        """Say what is answered: to every question, or to those `when` fits.

        Args:
            text: The answer. Plain text is worded anew where wording is varied; a `Template` says how itself.
            chunks: How many pieces of text, and of each tool call's arguments, it comes in.
            tool_calls: What the model calls after its text: `ToolCall`, `{"name": …, "args": …}` or `(name, args)`.
            reasoning: What it thinks before.
            logprob: The log-probability of each token, reported where the request asks for them.
            when: Words in the last user turn, or a predicate on the request. Of several that fit, the latest counts.
        """
        reply = Reply.of(text, chunks=chunks, tool_calls=tool_calls, reasoning=reasoning, logprob=logprob)
        return self.conversation(reply, when=when)[0]

    def conversation(self, *turns: str | Template | Reply, when: When | None = None) -> tuple[Reply, ...]:
        """Say what is answered turn by turn: the first to a question, the next to each round of tool results after it.

        The turn is found in the conversation itself, so that a request made again gets the same turn again.
        """
        if not turns:
            raise ValueError("a conversation needs one turn or more")
        replies = tuple(Reply.of(turn) for turn in turns)
        with self._lock:
            self._routes = [route for route in self._routes if route.key != when]
            self._routes.append(_Route(_matcher(when), when, replies))
            if when is None:
                self._recordings = ()
        return replies

    def script(self, *entries: Schedule) -> None:
        """Say which request fails how: in order, from the next one on; the last entry goes on for ever."""
        schedule = faults.script(*entries)
        with self._lock:
            self._schedule = schedule
            self._scheduled_from = self._count

    def serve_recording(
        self,
        *paths: str | Path | Recording,
        chunk_bytes: int | None = None,
        timed: bool = False,
        cut_at: int | None = None,
        how: HowToEnd = "close",
        stall_at: int | None = None,
        corrupt_at: int | None = None,
    ) -> None:
        """Answer the next requests with recorded bytes, in order; the last recording goes on, until a `reply` is set.

        Args:
            paths: `NAME.sse` files, with `NAME.json` beside them, or recordings.
            chunk_bytes: How much is sent at once; None sends event by event.
            timed: Send as the bytes came then, pauses and all.
            cut_at: End after so many bytes.
            how: The way it ends there.
            stall_at: Send nothing more after so many bytes.
            corrupt_at: Change the byte at this position.
        """
        if not paths:
            raise ValueError("give one recording or more")
        fault = faults.ok()
        if corrupt_at is not None:
            fault += faults.corrupt(byte=corrupt_at)
        if stall_at is not None:
            fault += _stall_at(stall_at)
        if cut_at is not None:
            fault += _cut_at(cut_at, how)
        loaded = [path if isinstance(path, Recording) else Recording.load(path) for path in paths]
        served = tuple(_Served(recording, chunk_bytes, timed, fault) for recording in loaded)
        for one in served:
            one.recording.answer(chunk_bytes=chunk_bytes, timed=timed)  # refuse wrong parameters here, not in a thread
        with self._lock:
            self._recordings = served
            self._recorded_from = self._count

    # What became of it

    @property
    def requests(self) -> list[Request]:
        """What arrived so far, parsed, in order; of very many, the latest 20,000."""
        with self._lock:
            return list(self._requests)

    @property
    def request_count(self) -> int:
        """How many requests arrived so far."""
        with self._lock:
            return self._count

    def requests_from(self, number: int) -> list[Request]:
        """What arrived from that request on, as far as it is kept."""
        with self._lock:
            return list(islice(self._requests, max(0, number - self._count + len(self._requests)), None))

    def wait_for_requests(self, count: int, timeout: float = 30.0) -> list[Request]:
        """Wait until so many requests have arrived."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._count >= count, timeout):
                raise TimeoutError(f"{self._count} of {count} requests arrived within {timeout:g} s")
            return list(self._requests)

    def is_right(self, text: str) -> bool:
        """Whether `text` is one complete answer this provider could have given: not cut, doubled, glued or led up to.

        Under varied wording that is any complete wording; the answers are those of the replies it is scripted with.
        """
        with self._lock:
            replies = [reply for route in self._routes for reply in route.replies] or [self._default]
        return any(reply.is_right(text, self.wording) for reply in replies)

    def release(self) -> None:
        """Let everything that stalls without end go on; `hold` makes later stalls endless again."""
        self._running.release()

    def hold(self) -> None:
        """Take `release` back."""
        self._running.hold()

    def refuse_connections(self) -> None:
        """Let nobody in: every connection is refused by the system, until `accept_connections`."""
        self._running.refuse()

    def accept_connections(self) -> None:
        """Listen again, on the same port."""
        self._running.listen()

    # How a request is answered

    def _handle(self, raw: RawRequest, connection: Connection) -> bool:
        try:
            return self._answer(raw, connection)
        except Exception as error:  # noqa: BLE001 - reported when the provider is closed
            self._problems.append(error)
            if not isinstance(error, Misuse):
                traceback.print_exc(file=sys.stderr)
            connection.refuse_rubbish(500, f"{type(error).__name__}: {error}")
            return False

    def _answer(self, raw: RawRequest, connection: Connection) -> bool:
        target = urllib.parse.urlsplit(raw.target)
        path = target.path
        query = dict(urllib.parse.parse_qsl(target.query))
        dialect = next((one for one in DIALECTS if one.takes(raw.method, path)), None)
        if dialect is not None:
            return self._answer_model_call(raw, connection, dialect, path, query)
        head, _, last = path.rpartition("/")
        if raw.method == "GET" and head.endswith("/responses"):
            return self._answer_kept(raw, connection, last, path, query)
        if raw.method == "GET" and path.endswith("/models"):
            model = {"id": "l0-faulty", "object": "model", "created": 0, "owned_by": "l0", "type": "model"}
            return self._document(connection, 200, {"object": "list", "data": [model], "has_more": False})
        known = "POST …/chat/completions, …/responses, …/messages; GET …/responses/ID, …/models"
        message = f"{raw.method} {path} is not served here. There are {known}."
        return self._document(connection, 404, {"error": {"message": message, "type": "invalid_request_error"}})

    def _answer_model_call(
        self, raw: RawRequest, connection: Connection, dialect: Dialect, path: str, query: Mapping[str, str]
    ) -> bool:
        body, complaint = _body(raw.body)
        messages: Sequence[Message] = ()
        if not complaint:
            try:
                messages = dialect.parse(body)
            except BadRequest as error:
                complaint = str(error)
        request = Request(
            0,
            dialect.name,
            raw.method,
            path,
            query,
            raw.headers,
            body,
            str(body.get("model", "")),
            body.get("stream") is True,
            tuple(messages),
        )
        request.input_tokens = sum(tokens(message.text) for message in messages)
        fault, served, routes = self._enter(request)
        rng = dice("answer", self.seed, request.number)
        request_id = f"req_{rng.getrandbits(64):016x}"
        resumption: Resumption | None = None
        if not complaint:
            resumption, complaint = self._resumption(request, dialect, routes)
        if complaint:
            failure = replace(FAILURES["bad_request"], message=complaint)
            status, document = dialect.failure(failure, request_id)
            return self._perform(request, connection, _document(status, document, dialect, request_id))
        plan = Plan(request, dialect, None, self.wording, rng, self._running.closed_port, request_id)
        if served is not None:
            if fault.drafts:
                raise Misuse(f"{fault}: recorded bytes cannot be worded differently, only sent differently")
            answer = served.recording.answer(chunk_bytes=served.chunk_bytes, timed=served.timed)
            fault = served.fault + fault
        else:
            answer, plan = self._scripted(plan, resumption, fault)
        for edit in fault.answers:
            answer = edit(answer, plan)
        return self._perform(request, connection, answer)

    def _enter(self, request: Request) -> tuple[Fault, _Served | None, Sequence[_Route]]:
        """Give the request its number, its fault and its recording."""
        with self._arrived:
            request.number = self._count
            self._count += 1
            fault = self._schedule.pick(request.number - self._scheduled_from)
            served = None
            if self._recordings:
                served = self._recordings[min(request.number - self._recorded_from, len(self._recordings) - 1)]
            self._requests.append(request)
            self._arrived.notify_all()
            routes = tuple(self._routes)
        request.fault = str(fault)
        return fault, served, routes

    def _resumption(
        self, request: Request, dialect: Dialect, routes: Sequence[_Route]
    ) -> tuple[Resumption | None, str]:
        """Which reply answers the request, and whether it is to go on from a text; or why it is refused."""
        asked = prefilled(request.messages)
        if asked is not None and dialect.name == "anthropic":
            refusal = self._refusal_of_prefill(request, asked[1])
            if refusal:
                return None, refusal
        elif asked is not None and not (self.prefill and request.messages[-1].prefix):
            asked = None
        if asked is None:
            asked = prompted(request.messages)
            if asked is not None:
                before = self._routed(replace(request, messages=tuple(asked[0])), routes)
                complete = before.wordings(self.wording).accepts(asked[1].prefix)
                if (complete and not asks_to_go_on(request.question)) or not before.source.canonical:
                    asked = None  # a complete answer, and a question about it
        if asked is None:
            request.reply = self._routed(request, routes)
            return None, ""
        request.reply = self._routed(replace(request, messages=tuple(asked[0])), routes)
        request.resumption = asked[1]
        return asked[1], ""

    def _refusal_of_prefill(self, request: Request, asked: Resumption) -> str:
        """Why Anthropic's dialect will not go on from the assistant's turn, or nothing."""
        if not self.prefill:
            return (
                "This model does not support assistant message prefill. The conversation must end with a user message."
            )
        thinking = request.body.get("thinking")
        if isinstance(thinking, Mapping) and thinking.get("type") == "enabled":
            return "messages: when `thinking` is enabled, a final `assistant` message must start with a thinking block"
        if asked.prefix != asked.prefix.rstrip():
            return "messages: final assistant content cannot end with trailing whitespace"
        return ""

    def _routed(self, request: Request, routes: Sequence[_Route]) -> Reply:
        latest_first = routes[::-1]
        particular = [route for route in latest_first if route.key is not None]
        for route in (*particular, *(route for route in latest_first if route.key is None)):
            if route.matches(request):
                return route.replies[min(_rounds(request.messages), len(route.replies) - 1)]
        return self._default

    def _scripted(self, plan: Plan, resumption: Resumption | None, fault: Fault) -> tuple[Answer, Plan]:
        """The answer as the model means it, then as the fault wants it said."""
        request, reply, rng = plan.request, plan.request.reply, plan.rng
        if reply is None:
            raise RuntimeError("no reply was chosen")
        draft = self._draft(request, reply, resumption, rng)
        plan = replace(plan, reply=reply, draft=draft)
        for edit in fault.drafts:
            draft = edit(draft, plan)
        media = "text/event-stream; charset=utf-8" if request.stream else "application/json"
        headers = (("content-type", media), (plan.dialect.request_id_header, plan.request_id))
        if request.stream:
            pieces = plan.dialect.stream(draft, request)
            if request.dialect == "responses" and request.body.get("background") is True:
                healthy = plan.dialect.stream(plan.draft or draft, request)
                self._keep(draft.id, request, healthy)
            return Answer((Head(200, headers, "chunked"), *pieces)), plan
        document = encode(plan.dialect.body(draft, request))
        return Answer((Head(200, headers, "length"), *_slices(document, draft, reply.chunks))), plan

    def _draft(self, request: Request, reply: Reply, resumption: Resumption | None, rng: random.Random) -> Draft:
        varied = rng if self.wording == "varied" else None
        wordings = reply.wordings(self.wording)
        if resumption is None:
            text = wordings.canonical if varied is None else wordings.sample(varied)
            request.whole = text
        else:
            text, request.whole = resume(resumption, wordings, self._manners, varied)
        finish = "tool_calls" if reply.tool_calls else "stop"
        limit = next(one for one in DIALECTS if one.name == request.dialect).tokens_max(request.body)
        tools = reply.tool_calls
        if limit is not None and tokens(text) > limit:
            text, finish, tools = text[: limit * CHARACTERS_PER_TOKEN], "length", ()
        prefix = {"openai": "chatcmpl-", "responses": "resp_", "anthropic": "msg_"}[request.dialect]
        return Draft(
            id=f"{prefix}{rng.getrandbits(96):024x}",
            model=request.model or "l0-faulty",
            created=int(time.time()),
            input_tokens=request.input_tokens,
            text=split(text, reply.chunks, varied),
            reasoning=split(reply.reasoning, reply.chunks, varied),
            tools=tuple(
                ToolDraft(
                    call.id or f"call_{rng.getrandbits(96):024x}",
                    call.name,
                    split(call.arguments, reply.chunks, varied),
                )
                for call in tools
            ),
            finish="tool_calls" if finish == "tool_calls" else "length" if finish == "length" else "stop",
            logprob=reply.logprob,
        )

    # Responses that go on in the background

    def _keep(self, identity: str, request: Request, pieces: Sequence[Piece]) -> None:
        with self._lock:
            self._background[identity] = (request, tuple(pieces))
            while len(self._background) > BACKGROUND_RESPONSES_MAX:
                self._background.popitem(last=False)

    def _answer_kept(
        self, raw: RawRequest, connection: Connection, identity: str, path: str, query: Mapping[str, str]
    ) -> bool:
        """Read a background response again: from the event after `starting_after`, or as it stands."""
        dialect = next(one for one in DIALECTS if one.name == "responses")
        with self._lock:
            kept = self._background.get(identity)
        stream = query.get("stream") == "true"
        request = Request(0, "responses", raw.method, path, query, raw.headers, {}, stream=stream)
        if kept is not None:
            request.model, request.messages, request.reply = kept[0].model, kept[0].messages, kept[0].reply
            request.whole = kept[0].whole
        fault, served, _ = self._enter(request)
        rng = dice("answer", self.seed, request.number)
        request_id = f"req_{rng.getrandbits(64):016x}"
        plan = Plan(request, dialect, request.reply, self.wording, rng, self._running.closed_port, request_id)
        after = query.get("starting_after", "-1")
        if served is not None:
            answer = served.recording.answer(chunk_bytes=served.chunk_bytes, timed=served.timed)
            fault = served.fault + fault
        elif kept is None:
            failure = replace(
                FAILURES["not_found"], message=f"Response with id '{identity}' not found.", openai_code=None
            )
            status, document = dialect.failure(failure, request_id)
            return self._perform(request, connection, _document(status, document, dialect, request_id))
        elif not after.lstrip("-").isdigit():
            failure = replace(FAILURES["bad_request"], message="starting_after must be an integer.")
            status, document = dialect.failure(failure, request_id)
            return self._perform(request, connection, _document(status, document, dialect, request_id))
        elif stream:
            pieces = kept[1][max(0, int(after) + 1) :]
            headers = (("content-type", "text/event-stream; charset=utf-8"), ("x-request-id", request_id))
            answer = Answer((Head(200, headers, "chunked"), *pieces))
        else:
            last = kept[1][-1].data.partition(b"data: ")[2]
            answer = _document(200, json.loads(last)["response"], dialect, request_id)
        if fault.drafts:
            raise Misuse(f"{fault}: a background response is said already, it can only be sent differently")
        for edit in fault.answers:
            answer = edit(answer, plan)
        return self._perform(request, connection, answer)

    # Sending

    def _perform(self, request: Request, connection: Connection, answer: Answer) -> bool:
        ending = connection.perform(answer, _Progress(request))
        if request.ending != ending:
            request.end(ending)
        if self.on_request is not None:
            self.on_request(request)
        return ending in ("complete", "cut")

    def _document(self, connection: Connection, status: int, document: Mapping[str, Any]) -> bool:
        """Answer what is no model call: not counted, never at fault."""
        head = Head(status, (("content-type", "application/json"),), "length")
        connection.perform(Answer((head, Piece(encode(document), "close"))), _Unobserved())
        return True


class _Progress:
    """Notes on the request how far its answer got."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def sending(self, piece: Piece) -> None:
        request = self._request
        request.sent_bytes += len(piece.data)
        if piece.kind in ("text", "reasoning", "tool_args"):
            request.sent_chunks += 1
            request.sent_pieces.append(piece.text)

    def ending(self, ending: Ending) -> None:
        self._request.end(ending)

    def stalled(self) -> None:
        self._request.stall()


class _Unobserved:
    def sending(self, piece: Piece) -> None:
        pass

    def ending(self, ending: Ending) -> None:
        pass

    def stalled(self) -> None:
        pass


def _body(data: bytes) -> tuple[Mapping[str, Any], str]:
    """The JSON object that was sent, or a complaint."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}, "We could not parse the JSON body of your request."
    if not isinstance(value, dict):
        return {}, "The JSON body of your request must be an object."
    return value, ""


def _matcher(when: When | None) -> Callable[[Request], bool]:
    if when is None:
        return lambda _request: True
    if isinstance(when, str):
        words = when.casefold()
        return lambda request: words in request.question.casefold()
    return when


def _rounds(messages: Sequence[Message]) -> int:
    """How many rounds of tool calls have been answered since the last user turn."""
    count = 0
    for before, message in pairwise(messages):
        if message.role == "user":
            count = 0
        elif message.role == "tool" and before.role == "assistant":
            count += 1
    return count


def _document(status: int, document: Mapping[str, Any], dialect: Dialect, request_id: str) -> Answer:
    headers = (("content-type", "application/json"), (dialect.request_id_header, request_id))
    return Answer((Head(status, headers, "length"), Piece(encode(document), "close")))


def _slices(document: bytes, draft: Draft, chunks: int) -> Iterator[Piece]:
    """A document in as many slices as a stream would have chunks; the text counts as sent with the last one."""
    size = max(1, -(-len(document) // chunks))
    for start in range(0, len(document), size):
        last = start + size >= len(document)
        yield Piece(document[start : start + size], "text", draft.whole_text if last else "")


def _stall_at(position: int) -> Fault:
    def edit(answer: Answer, _plan: Plan) -> Answer:
        divided, at = answer.after_bytes(position)
        return divided.insert(at, Pause(None))

    return Fault(f"stall_at({position})", answers=(edit,))


def _cut_at(position: int, how: HowToEnd) -> Fault:
    def edit(answer: Answer, _plan: Plan) -> Answer:
        divided, at = answer.after_bytes(position)
        return divided.insert(at, Cut(how))

    return Fault(f"cut_at({position}, {how})", answers=(edit,))
