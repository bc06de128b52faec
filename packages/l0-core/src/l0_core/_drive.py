"""The one driver: carries out what the engine decides.

`Drive.steps` turns the engine's outputs into steps. It does everything itself that needs no waiting, and yields what
does, or what goes to the consumer; the two runners, `_sync` and `_async`, carry those out by calling and by awaiting.
"""

import json
import logging
import os
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from l0_core import _native
from l0_core._check import Asked, Called, Dissent, Piece, Reading, Validation
from l0_core._clock import SECOND, clock
from l0_core._context import inherited_deadline, scope
from l0_core._errors import (
    ContentError,
    DeadlineError,
    ExhaustedError,
    IncompleteError,
    JournalError,
    L0Error,
    LimitError,
    PolicyError,
    RefusedOutput,
)
from l0_core._facts import Stage, read
from l0_core._fleet import fleet
from l0_core._lifecycle import Lifecycle
from l0_core._port import Attempt, ChunkPort, FollowingPort, LogProb, MaskingPort, RewritingPort, Unsent, Usage
from l0_core._result import Fault, Objection, Result, Splice, ToolCall
from l0_core._settings import frame_here, passes_through, said_of
from l0_core._target import Target
from l0_core.ports import UnknownChunk, port_for
from l0_core.ports.plain import PLAIN

if TYPE_CHECKING:
    from l0_core._journal import JournalLike
    from l0_core._recording import Recording
    from l0_core._session_step import SessionStep
    from l0_core.guards import UserGuard

_log = logging.getLogger("l0")

_NOBODY = Lifecycle()

PASS, HOLD, DRAIN, SKIP, SETTLE = range(5)
"""What is answered to a chunk: the engine's four, and to pass it on when what was written of it is settled."""

_NOWHERE = _native.JournalStream.to(bytes(16), lambda *_: 0)
"""Where the end of a session is written that is to stay open."""

_SETTLE_SECONDS_MAX = 30.0
"""How long a disk is waited for, at most, before the session goes on without its journal."""


class NotAStream(TypeError):  # noqa: N818 - it says what was given
    """What a source returned cannot be read."""


class Reset:
    """Discard what you were given: the answer begins anew. Only where the policy has the rung `reset`."""

    def __repr__(self) -> str:
        return "RESET"


RESET = Reset()


class Emit(NamedTuple):
    """Give a chunk to the consumer."""

    chunk: Any


class Open(NamedTuple):
    """Open an attempt."""

    target: Target
    attempt: Attempt


class Close(NamedTuple):
    """Close the stream of the attempt that was opened last."""


class Queue(NamedTuple):
    """Wait for a place with a target, and say whether it was given."""

    key: tuple[str, str]
    ticket: int
    purpose: int


class Check(NamedTuple):
    """Ask guards of the caller's own, and hand their answers to `judged`, or what one raises to `unjudged`."""

    attempt: int
    number: int
    asked: Sequence[tuple[int, Callable[[], object]]]


class Tell(NamedTuple):
    """Await what a listener returned, whenever there is time."""

    event: Awaitable[object]


class Settle(NamedTuple):
    """Wait until what was written is on disk, at most so many seconds; then tell the session."""

    ticket: _native.JournalTicket
    seconds: float


class Pause(NamedTuple):
    """Wait until a moment, or until the consumer leaves."""

    until: int


ErrorClasses = Mapping[type[L0Error], type[L0Error]]
"""What a framework raises in place of an error of L0: a child of both."""

Step = Emit | Open | Close | Queue | Check | Tell | Settle | Pause


class Drive:
    """One session, on its way through the engine."""

    is_given_again = False
    """Whether it begins with what was recorded of it."""

    def __init__(
        self,
        sources: Sequence[Target],
        policy: _native.Policy,
        *,
        streamed: bool = True,
        on: Lifecycle | None = None,
        tenant: str | None = None,
        port: ChunkPort[Any] | None = None,
        errors: ErrorClasses | None = None,
        journal: "JournalLike" = None,
        input: object = None,  # noqa: A002 - what it is
        session_id: str | None = None,
    ) -> None:
        self.clock = clock().of_session()
        self.session_id = os.urandom(16).hex() if session_id is None else uuid.UUID(hex=session_id).hex
        self.sources = sources
        self.port = port
        self.attempt = -1
        """The attempt that was opened last."""
        self.target = 0
        """The place of its target."""
        self.is_whole = False
        """Whether one clock runs from its beginning to its end: that it is open changes nothing."""
        self.given: Any = None
        """The last chunk the consumer has been given; nothing before the first."""
        self._giver: tuple[Any, ChunkPort[Any] | None] = (None, None)
        self._followed: str | None = None
        self.seamed = False
        """Whether chunks must be fitted to those the consumer has from an earlier attempt."""
        self.held: deque[Any] = deque()
        """Chunks that the engine has seen and the consumer has not, in step with the engine's own queue."""
        self.exceptions: dict[int, Exception] = {}
        self._on = on or _NOBODY
        self._errors = errors or {}
        self._input = input
        users: Mapping[int, UserGuard] = policy.users or {}
        self._users: Mapping[int, Asked] = {rule: guard.begin() for rule, guard in users.items()}
        self.validation: Validation | None = next((user for user in self._users.values() if _validates(user)), None)
        """What makes of the answer what the caller wants, if anything does."""
        self._tenant = tenant or ""
        self.policy = policy
        self._names = [target.label(place) for place, target in enumerate(sources)]
        self._began = 0
        self._fixed_port = port is not None
        self._outcome: _native.Outcome | None = None
        self._result: Result | None = None
        """How it went, once it is over: asked for by several, and long to put together."""
        self._through: list[str] | None = None
        self._through_status = "running"
        self.step: SessionStep | None = None
        """The step of a run that it is, if it is one. A consumer that leaves then ends it for this process only."""
        self.recording, self.session = self._begun(journal, streamed=streamed)

    def _begun(self, journal: "JournalLike", *, streamed: bool) -> "tuple[Recording | None, _native.Session]":
        """Return the session, and what writes it down."""
        recording = self._recording(journal)
        declared = [target.declared(place) for place, target in enumerate(self.sources)]
        try:
            session = _native.Session(
                self.policy,
                declared,
                seed=int(self.session_id[:16], 16),
                streamed=streamed,
                deadline=inherited_deadline(),
                stream=recording.stream if recording else None,
                closes=recording is not None and recording.closes,
            )
        except ValueError as error:
            field, problem = error.args
            raise PolicyError(f"{field}: {problem}") from None
        return recording, session

    def _recording(self, journal: "JournalLike") -> "Recording | None":
        """Return what writes the session down, if anything does."""
        around = scope()
        if not (journal or around or said_of("L0_JOURNAL")) or passes_through():
            return None
        from l0_core import _journal, _recording

        port = None if self.port is None else _recording.port_name(self.port)
        known = around.journal if around is not None and journal is None else _journal.for_session(journal)
        if known.durability == "off" and known.path is not None:
            return None
        around = around if around is not None and known is around.journal else None
        return _recording.Recording(
            known, around, self.session_id, self.policy, self._names, tenant=self._tenant, port=port
        )

    def start(self) -> Generator[Step, None, None]:
        """Begin, and carry out the first steps."""
        self._began = self.clock.now()
        if self.recording is not None:
            self.recording.begin(self._began)
        if self._input is not None and self.policy.guards_inputs:
            from l0_core._keys import texts_in

            self.session.inputs(self._began, texts_in(self._input))
        self.session.start(self._began)
        if self.recording is not None:
            self.session.start_barrier()
            if self.recording.closes:
                yield from self.settle()
        yield from self._tell("start")
        yield from self.steps()

    def steps(self) -> Generator[Step, None, None]:  # noqa: C901, PLR0912 - one branch an output, and no more
        """Carry out what the engine wants done; yield what the runner must do, in order.

        What every session does is looked for first.
        """
        poll = self.session.poll
        while (output := poll()) is not None:
            match output:
                case "ask", target, purpose, force:
                    yield from self._ask(target, purpose, force)
                case "open", attempt, target, mode:
                    if self.recording is not None:
                        self.recording.opened(attempt, target, mode, self.clock.now())
                    yield from self._tell("attempt", attempt, self._names[target], mode)
                    yield Open(self.sources[target], self._opening(attempt))
                case "release", count:
                    yield from self.settle()
                    for _ in range(count):
                        yield Emit(self.fit(self.held.popleft()))
                case "report", target, outcome:
                    self._report(target, outcome)
                case ("done",):
                    self._outcome = self.session.outcome
                    if self.recording is not None:
                        self.recording.end(self.session, self.result, self.clock.now())
                case "event", *event:
                    yield from self._event(event)
                case "cut", start, end:
                    yield from self.settle()
                    yield Emit(self._cut(self.held.popleft(), start, end))
                case "drop", count:
                    for _ in range(count):
                        self.held.popleft()
                case "mask", text, at:
                    yield from self.settle()
                    yield Emit(self._replaced(self.held.popleft(), text, at))
                case "rewrite", text, at, calls:
                    yield from self.settle()
                    yield Emit(self._rewritten(self.held.popleft(), text, at, dict(calls)))
                case "check", attempt, number:
                    yield self._check(attempt, number)
                case "cancel", _:
                    yield Close()
                case ("reset",):
                    self.seamed, self.given = False, None
                    yield Emit(getattr(self.port, "reset", RESET))
                case _:
                    pass  # "wait": the runner asks the session how long

    def _ask(self, target: int, purpose: int, force: bool) -> Generator[Step, None, None]:  # noqa: FBT001 - as the engine asks
        kind, value = fleet().ask(self._key(target), purpose, force, self.policy)
        if kind == 3:  # noqa: PLR2004 - queued; the other kinds are the session's to read
            yield Queue(self._key(target), value, purpose)
        else:
            self.session.admitted(self.clock.now(), kind, value)

    def _report(self, target: int, outcome: _native.Report) -> None:
        fleet().report(self._key(target), outcome, self.policy)

    def _key(self, target: int) -> tuple[str, str]:
        return self._names[target], self._tenant

    def _opening(self, number: int) -> Attempt:
        opening = self.session.opening()
        assert opening is not None, "the engine has just asked for it"  # noqa: S101 - an invariant of the engine
        self.attempt = number
        self.target, self.is_whole = opening.target, opening.whole
        self.clock.opens()
        self.seamed = self.given is not None
        if self.given is not self._giver[0]:
            self._giver = self.given, self.port
        self._followed = opening.shown if self.seamed else None
        if not self._fixed_port:
            self.port = None
        attempt = Attempt(
            target=self._names[opening.target],
            number=number,
            mode=opening.mode,
            prefix=opening.prefix,
            shown=opening.shown,
            anchor=opening.anchor,
            instruction=opening.instruction,
            tokens_shown=opening.tokens_shown,
            time_left=opening.time_left,
            idempotency_key=self.session_id,
            calls=self._calls() if self.seamed else (),
            rejected=opening.rejected,
            errors=opening.errors,
        )
        begin = getattr(self.port, "begin", None)  # A `BeginningPort`: asking the protocol itself takes 20 us.
        if begin is not None:
            begin(attempt)
        return attempt

    def _calls(self) -> tuple[ToolCall, ...]:
        """Return the tool calls the consumer has been given."""
        return tuple(ToolCall(call.id, call.name, call.args) for call in self.session.tool_calls)

    def settle(self) -> Generator[Step, None, None]:
        """Have what was written settled before anything that depends on it is given to the consumer."""
        if self.recording is None:
            return
        ticket = self.session.unsettled()
        if ticket is not None:
            left = (self.session.deadline - self.clock.now()) / SECOND
            yield Settle(ticket, max(0.0, min(left, _SETTLE_SECONDS_MAX)))
        if self.recording.closes and (lost := self.recording.lost(self.session)) is not None:
            raise lost

    @property
    def encode(self) -> Callable[[Any], bytes | None] | None:
        """What returns a chunk as it is written down; nothing where nothing is."""
        recording = self.recording
        if recording is None:
            return None
        return lambda chunk: recording.encode(self._port_of(chunk), chunk, self.attempt, self.clock.now())

    @property
    def encode_text(self) -> Callable[[Any, str], bytes | None] | None:
        """What does so for a chunk that `text_of` gave the text of: often there is little else to write."""
        encode = self.encode
        if encode is None:
            return None
        from l0_core._recording import AGAIN

        def of_its_port(chunk: Any) -> str | None:
            said: str | None = getattr(self._port_of(chunk), "rest", _everything)(chunk)
            return said

        # The rest is that of a `RepeatingPort`, whose method is looked up once where it is the same for all chunks.
        rest_of = getattr(self.port, "rest", _everything) if self._fixed_port else of_its_port

        def encoded(chunk: Any, text: str) -> bytes | None:
            rest = rest_of(chunk) if text.isascii() or _is_sound(text) else None
            if rest is None:
                return encode(chunk)
            return AGAIN + rest.encode() if rest else AGAIN

        return encoded

    # What arrives ----------------------------------------------------------------------------------------------------

    def text_of(self, chunk: Any) -> str | None:
        """Return the text of a chunk that holds nothing else; `None` where `part` must look."""
        return self._port_of(chunk).text(chunk)

    @property
    def reads(self) -> Callable[[Any], str | None]:
        """What does as `text_of` does, for the inner loops: the port's own, where it is the same for all chunks."""
        return self.port.text if self._fixed_port and self.port is not None else self.text_of

    def part(self, chunk: Any, waited: int) -> int:
        """Hand in a chunk that is more, or less, than plain text; return the engine's answer."""
        facts = self._port_of(chunk).facts(chunk)
        text, reasoning, tools, opaque, finish, status, usage, logprob, sequence = facts
        encode = self.encode
        written = encode(chunk) if encode is not None and type(chunk) is not str else None
        return self.session.part(
            self.clock.now(),
            self.attempt,
            waited,
            text,
            reasoning,
            tools,
            opaque,
            finish,
            status,
            usage,
            logprob,
            sequence,
            written,
        )

    def fit(self, chunk: Any) -> Any:
        """Return the chunk as it must read after those the consumer has."""
        if not self.seamed:
            self.given = chunk
            return chunk
        text = chunk if isinstance(chunk, str) else self._port_of(chunk).facts(chunk).text
        return self._cut(chunk, 0, len(text))

    def _cut(self, chunk: Any, start: int, end: int) -> Any:
        port = self._followed_port(chunk)
        self.given = port.cut(chunk, start, end, self)
        return self.given

    def _replaced(self, chunk: Any, text: str, at: int) -> Any:
        port = self._followed_port(chunk)
        if not isinstance(port, MaskingPort):
            raise PolicyError(f"the policy masks, which chunks of {type(chunk).__name__} cannot be: use severity error")
        self.given = port.replaced(chunk, text, _Before(self, at))
        self.seamed |= getattr(port, "grows", False)
        return self.given

    def _rewritten(self, chunk: Any, text: str | None, at: int, args: Mapping[int, str]) -> Any:
        port: Any = self._followed_port(chunk)  # a `RewritingPort`: nothing is put right for others
        self.given = port.rewritten(chunk, text, args, _Before(self, at))
        self.seamed |= getattr(port, "grows", False)
        return self.given

    def _followed_port(self, chunk: Any) -> ChunkPort[Any]:
        """Return the port, once it knows what it goes on from."""
        port, shown = self._port_of(chunk), self._followed
        if shown is not None:
            self._followed = None
            last, giver = self._giver
            if giver is not None and isinstance(port, FollowingPort):
                port.follow(giver, last, shown)
        return port

    def _port_of(self, chunk: Any) -> ChunkPort[Any]:
        port = self.port
        if port is None:
            port = self.port = port_for(chunk)
        return port

    def cancel(self) -> None:
        """End it, because the consumer has left."""
        if self.session.state == "idle":  # Interrupted before it began.
            return
        now = self.clock.now()
        if self.step is not None and self.recording is not None:
            self.session.attach(now, _NOWHERE)
        self.session.cancel(now)

    @property
    def text(self) -> str:
        """The text the consumer has been given, for ports that need it."""
        return self.session.text

    def failed(self, error: Exception, *, bytes_seen: bool) -> None:
        """Hand in an exception of the live attempt."""
        own = isinstance(error, NotAStream | UnknownChunk | Unsent)
        if isinstance(error, Unsent) and isinstance(error.__cause__, Exception):
            error = error.__cause__
        self.exceptions[self.attempt] = error
        stage: Stage = "call" if own else "read" if bytes_seen else "open"
        facts, message = read(error, stage=stage, bytes_seen=bytes_seen)
        self.session.failed(self.clock.now(), self.attempt, json.dumps(facts), message)

    # Guards of the caller's own --------------------------------------------------------------------------------------

    def _check(self, attempt: int, number: int) -> Check:
        checking = self.session.checking()
        assert checking is not None, "the engine has just asked for it"  # noqa: S101 - an invariant of the engine
        target, final = self._names[checking.target], checking.at_end
        shown = [(rule, checking.window) for rule in checking.on_window]
        shown += [(rule, checking.whole) for rule in checking.on_whole]
        if any(rule not in self._users for rule, _ in shown):
            raise PolicyError("the policy names guards of your own and lacks their functions: make it with Policy")
        calls = [Called(*call) for call in checking.calls]
        asked = [(rule, partial(self._users[rule].ask, Piece(text, final, target, calls))) for rule, text in shown]
        return Check(attempt, number, asked)

    def judged(self, check: Check, answers: Sequence[object]) -> None:
        """Hand in what the guards said: nothing, why they object, or what one has read."""
        dissents: list[tuple[int, str, list[str]]] = []
        read: tuple[int, list[str], list[str], str | None, list[tuple[int, str]]] | None = None
        for (rule, _), said in zip(check.asked, answers, strict=True):
            match said:
                case None:
                    pass
                case str(reason):
                    dissents.append((rule, reason, []))
                case Dissent(reason, errors):
                    dissents.append((rule, reason, [*errors]))
                case Reading(dissent, fields, fixes, text, args):
                    if dissent is not None:
                        dissents.append((rule, dissent.reason, [*dissent.errors]))
                    if not (self.held and isinstance(self._port_of(self.held[-1]), RewritingPort)):
                        text, args = None, {}
                    read = rule, [*fields], [*fixes], text, [*args.items()]
                case _:
                    name, kind = self._users[rule].title, type(said).__name__
                    problem = f"guard {name!r} must return None, or why it objects as a str or Dissent, not {kind}"
                    self.unjudged(check, TypeError(problem))
                    return
        self.session.judged(self.clock.now(), check.attempt, check.number, dissents, read)

    def unjudged(self, check: Check, error: Exception) -> None:
        """Hand in what a guard raised: it is the caller's own fault."""
        self.exceptions[check.attempt] = error
        facts, _ = read(error, stage="call", bytes_seen=True)
        self.session.unjudged(self.clock.now(), check.attempt, check.number, json.dumps(facts))

    # What passes through, because it is protected already ------------------------------------------------------------

    def through(self) -> Open:
        """Return the one attempt there is."""
        self._through = []
        self.attempt = 0
        source = self.sources[0]
        return Open(source, Attempt(self._names[0], 0, "fresh", "", "", "", "", 0, float("inf"), self.session_id))

    def saw(self, chunk: Any) -> None:
        """Note a chunk on its way."""
        text = chunk if isinstance(chunk, str) else self.text_of(chunk)
        assert self._through is not None, "it has been opened"  # noqa: S101 - an invariant of the runners
        self._through.append(text or (self.port.facts(chunk).text if self.port else ""))

    def saw_end(self) -> None:
        """Note that nothing more comes."""
        self._through_status = "complete"

    # How it ends -----------------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether the session has ended."""
        return self._outcome is not None

    def end(self) -> Generator[Step, None, None]:
        """Give the consumer the trailing chunk that says how it went, if there is one; raise what it is to be told."""
        assert self._outcome is not None, "it is over"  # noqa: S101 - an invariant of the runners
        yield from self.settle()
        if self._outcome.ending != "complete":
            failure, cause = self._failure(self.result)
            yield from self._tell("error", failure)
            raise failure from cause
        if self._on.on_complete is not None:
            yield from self._tell("complete", self.result)
        if self.port is not None and self.port is not PLAIN:
            final = self.port.final({"l0": self.result.metadata()})
            if final is not None:
                yield Emit(final)

    def _failure(self, result: Result) -> tuple[Exception, BaseException | None]:
        """Return what to raise, and from what."""
        outcome = self._outcome
        cause = self.exceptions[max(self.exceptions)] if self.exceptions else None
        if outcome is not None and outcome.raised_by is not None:
            error = self.exceptions.get(outcome.raised_by)
            if error is None:  # It was raised in another process, of which only the facts are left.
                return failure_of(result, self._errors), cause
            try:
                error.l0 = result  # type: ignore[attr-defined]
            except AttributeError:  # an exception with slots: it is raised all the same
                _log.debug("session=%s: %s takes no attributes", self.session_id, type(error).__name__)
            return error, error.__cause__
        if outcome is not None and outcome.unfit:
            return failure_of(result, self._errors, "unfit"), cause
        return failure_of(result, self._errors), cause

    @property
    def result(self) -> Result:
        """How the session went, or goes."""
        session, outcome = self.session, self._outcome
        if self._through is not None:
            return Result(
                self._through_status, self.session_id, "".join(self._through), attempts=1, served_by=self._names[0]
            )
        if outcome is None:
            faults = tuple(map(self._fault, session.faults))
            attempts = self.attempt + 1
            return Result(
                "running",
                self.session_id,
                session.text,
                self._calls(),
                attempts=attempts,
                faults=faults,
                journal=self._journal_state,
            )
        journal = self._journal_state
        if self._result is None or self._result.journal != journal:
            self._result = self._result_of(outcome, journal)
        return self._result

    def _result_of(self, outcome: _native.Outcome, journal: str) -> Result:
        served = self.sources[outcome.served_by] if outcome.served_by is not None else None
        return Result(
            status=outcome.ending,
            session_id=self.session_id,
            text=self.session.text,
            tool_calls=tuple(ToolCall(call.id, call.name, call.args) for call in outcome.tool_calls),
            finish_reason=outcome.finish,
            attempts=outcome.attempts,
            served_by=self._names[outcome.served_by] if outcome.served_by is not None else None,
            quality=served.quality if served else None,
            cost=served.cost if served else None,
            degraded=outcome.degraded,
            continued=outcome.continued,
            resets=outcome.resets,
            splices=tuple(map(_splice, outcome.splices)),
            faults=tuple(map(self._fault, outcome.faults)),
            objections=tuple(map(_objection, outcome.objections)),
            drifts=outcome.drifts,
            usage=Usage(*outcome.usage),
            waste=Usage(*outcome.waste),
            waste_bytes=outcome.waste_bytes,
            logprob=LogProb(*outcome.logprob) if outcome.logprob else None,
            journal=journal,
            repaired=tuple(outcome.repaired),
            reasks=outcome.reasks,
            invalid=self._invalid(outcome.misfits),
        )

    def _invalid(self, misfits: Sequence[tuple[int, str, int]]) -> Mapping[str, Mapping[str, int]]:
        """Return how often answers did not fit, by target and field."""
        invalid: dict[str, dict[str, int]] = {}
        for target, field, count in misfits:
            invalid.setdefault(self._names[target], {})[field] = count
        return invalid

    @property
    def _journal_state(self) -> str:
        return "off" if self.recording is None else self.recording.state(self.session)

    def _fault(self, fault: _native.Fault) -> Fault:
        return Fault(
            fault.fault,
            fault.category,
            self._names[fault.target],
            fault.attempt,
            fault.code,
            fault.status,
            fault.request_id,
            (fault.at - self._began) / SECOND,
        )

    # Who listens -----------------------------------------------------------------------------------------------------

    def _tell(self, event: str, *facts: object) -> Generator[Step, None, None]:
        awaitable = None if self._on is _NOBODY else self._on.tell(event, self.session_id, *facts)
        if awaitable is not None:
            yield Tell(awaitable)

    def _event(self, event: Sequence[Any]) -> Generator[Step, None, None]:
        match event:
            case "fault", native:
                fault = self._fault(native)
                if self.recording is not None:
                    self.recording.failed(fault, self.clock.now())
                _log.warning(
                    "fault=%s session=%s target=%s attempt=%s code=%s status=%s",
                    *(fault.fault, self.session_id, fault.target, fault.attempt, _code(fault.code), fault.status),
                )
                yield from self._tell("fault", fault)
            case "retry", target, mode, wait:
                yield from self._tell("retry", self._names[target], mode, wait / SECOND)
            case "fallback", source, target:
                yield from self._tell("fallback", self._names[source], self._names[target])
            case "splice", native:
                yield from self._tell("splice", _splice(native))
            case "guard", native:
                yield from self._tell("guard", _objection(native))
            case "drift", signal, permille:
                yield from self._tell("drift", signal, permille / 1_000)
            case "misfit", target, fields:
                yield from self._tell("invalid", self._names[target], fields)
            case "tool_call", number:
                yield from self._tell("tool_call", number)
            case _:
                pass  # "reasoning_abandoned": told to ports that flag it


def _code(code: str | None) -> str | None:
    """Return a provider's error code if it is one: an identifier, and not a sentence that might quote the prompt."""
    return code if code is None or (len(code) <= 64 and code.replace(".", "_").isidentifier()) else "unprintable"  # noqa: PLR2004 - longer than any code


def _objection(found: _native.Objection) -> Objection:
    return Objection(found.guard, found.reason, found.severity, found.start, found.end, found.masked)


def _splice(splice: _native.Splice) -> Splice:
    return Splice(splice.attempt, splice.mode, splice.method, splice.at, splice.dropped)


_FAILURES: dict[str, tuple[type[L0Error], str]] = {
    "exhausted": (
        ExhaustedError,
        "no attempt succeeded; see .result.faults, and give the policy more retries or a fallback",
    ),
    "incomplete": (
        IncompleteError,
        (
            "the answer broke off and nothing the policy allows could complete it; .result.text has what was given: "
            'allow more rungs (a Reset with "reset"), add a fallback, or show it as incomplete'
        ),
    ),
    "deadline": (DeadlineError, "the time allowed has passed; see Policy.timeouts.total and l0_core.deadline"),
    "limited": (
        LimitError,
        "a retry budget or a breaker allowed no call; see .result.faults, and wait or add a fallback",
    ),
    "content": (ContentError, "what arrived was not acceptable; see .result.faults"),
    "unfit": (
        RefusedOutput,
        "no answer fits the schema; .result.invalid names the fields: make the schema simpler, or add a fallback",
    ),
    "refused": (RefusedOutput, "the model declined to answer; see .result.finish_reason and Policy.refusal"),
    "cancelled": (L0Error, "the session was cancelled"),
    "raise": (L0Error, "the call failed when it was recorded, with an exception that was not; see .result.faults"),
}


def failure_of(result: Result, errors: ErrorClasses, status: str | None = None) -> L0Error:
    """Return the error that says how a session ended. It names what to do, and holds no prompt, output or key."""
    kind, what = _FAILURES[status or result.status]
    if result.status == "content" and not result.attempts:
        what = "what the model would have been given is not acceptable; see .result.objections"
    kind = errors.get(kind, kind)
    faults = ", ".join(f"{fault.fault}@{fault.target}" for fault in result.faults[-5:]) or "none"
    head = f"{result.attempts} attempt{'s' if result.attempts != 1 else ''}, last faults: {faults}"
    return kind(f"{what} (session {result.session_id}; {head})", result)


def drive_of(
    sources: Sequence[Target],
    policy: _native.Policy,
    *,
    journal: "JournalLike" = None,
    resume: str | None = None,
    from_offset: int = 0,
    distinct: object = None,
    **options: Any,
) -> Drive:
    """Return the drive of a new session, or of one that may have been begun before: a step, where there is a run.

    What is `distinct` about the call tells the step from others, beside its input.
    """
    frame = frame_here()
    if frame is not None and resume is None:
        from l0_core._session_step import SessionStep

        return SessionStep(frame, sources, policy, from_offset=from_offset, distinct=distinct, **options).drive
    if resume is not None and not passes_through():
        from l0_core._replay import gone_on_with

        return gone_on_with(sources, policy, journal, resume, from_offset=from_offset, **options)
    if from_offset and resume is None:
        raise JournalError(
            "from_offset goes on with an answer: there is no run here, and no resume= that says which", reason="invalid"
        )
    return Drive(sources, policy, journal=journal, **options)


class _Before:
    """What the consumer has before a chunk: others may have been released with it."""

    __slots__ = ("_at", "_drive", "seamed")

    def __init__(self, drive: Drive, at: int) -> None:
        self._drive = drive
        self._at = at
        self.seamed = drive.seamed

    @property
    def text(self) -> str:
        return self._drive.text.encode()[: self._at].decode()


def _everything(_: object) -> None:
    """Stand in where chunks are written whole."""


def _is_sound(text: str) -> bool:
    """Return whether a text is one, without halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _validates(user: object) -> TypeGuard[Validation]:
    return hasattr(user, "value_of")


def sources_of(*sources: Target | Callable[..., Any]) -> list[Target]:
    """Return what to try, in order; refuse at once what could never be opened."""
    return [Target.of(source, place) for place, source in enumerate(sources)]
