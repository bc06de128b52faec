"""The one driver: carries out what the engine decides.

`Drive.steps` turns the engine's outputs into steps. It does everything itself that needs no waiting, and yields what
does, or what goes to the consumer; the two runners, `_sync` and `_async`, carry those out by calling and by awaiting.
"""

import json
import logging
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple

from l0_core import _native
from l0_core._clock import SECOND, clock
from l0_core._context import inherited_deadline
from l0_core._errors import (
    ContentError,
    DeadlineError,
    ExhaustedError,
    IncompleteError,
    L0Error,
    LimitError,
    PolicyError,
    RefusedOutput,
)
from l0_core._facts import Stage, read
from l0_core._fleet import fleet
from l0_core._lifecycle import Lifecycle
from l0_core._port import Attempt, ChunkPort, LogProb, MaskingPort, Unsent, Usage
from l0_core._result import Fault, Objection, Result, Splice, ToolCall
from l0_core._target import Target
from l0_core.ports import UnknownChunk, port_for
from l0_core.ports.plain import PLAIN

_log = logging.getLogger("l0")

PASS, HOLD, DRAIN, SKIP = range(4)
"""What the engine answers to a chunk."""


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


class Tell(NamedTuple):
    """Await what a listener returned, whenever there is time."""

    event: Awaitable[object]


ErrorClasses = Mapping[type[L0Error], type[L0Error]]
"""What a framework raises in place of an error of L0: a child of both."""

Step = Emit | Open | Close | Queue | Tell


class Drive:
    """One session, on its way through the engine."""

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
    ) -> None:
        self.clock = clock().of_session()
        name = uuid.uuid4()
        self.session_id = name.hex
        self.sources = sources
        self.port = port
        self.attempt = -1
        """The attempt that was opened last."""
        self.passed = False
        """Whether the consumer has been given any chunk."""
        self.seamed = False
        """Whether chunks must be fitted to those the consumer has from an earlier attempt."""
        self.held: deque[Any] = deque()
        """Chunks that the engine has seen and the consumer has not, in step with the engine's own queue."""
        self.exceptions: dict[int, Exception] = {}
        self._on = on or Lifecycle()
        self._errors = errors or {}
        self._tenant = tenant or ""
        self.policy = policy
        self._names = [target.label(place) for place, target in enumerate(sources)]
        self._began = 0
        self._fixed_port = port is not None
        self._outcome: _native.Outcome | None = None
        self._through: list[str] | None = None
        self._through_status = "running"
        declared = [target.declared(place) for place, target in enumerate(sources)]
        try:
            self.session = _native.Session(
                policy, declared, seed=name.int >> 64, streamed=streamed, deadline=inherited_deadline()
            )
        except ValueError as error:
            field, problem = error.args
            raise PolicyError(f"{field}: {problem}") from None

    def start(self) -> Generator[Step, None, None]:
        """Begin, and carry out the first steps."""
        self._began = self.clock.now()
        self.session.start(self._began)
        yield from self._tell("start")
        yield from self.steps()

    def steps(self) -> Generator[Step, None, None]:  # noqa: C901, PLR0912 - one branch an output, and no more
        """Carry out what the engine wants done; yield what the runner must do, in order."""
        poll = self.session.poll
        while (output := poll()) is not None:
            match output:
                case "release", count:
                    for _ in range(count):
                        yield Emit(self.fit(self.held.popleft()))
                case "cut", start, end:
                    yield Emit(self._cut(self.held.popleft(), start, end))
                case "mask", text:
                    yield Emit(self._replaced(self.held.popleft(), text))
                case "drop", count:
                    for _ in range(count):
                        self.held.popleft()
                case "ask", target, purpose, force:
                    yield from self._ask(target, purpose, force)
                case "open", attempt, target, mode:
                    yield from self._tell("attempt", attempt, self._names[target], mode)
                    yield Open(self.sources[target], self._opening(attempt))
                case "cancel", _:
                    yield Close()
                case "report", target, outcome:
                    fleet().report(self._key(target), outcome, self.policy)
                case "event", *event:
                    yield from self._event(event)
                case ("reset",):
                    self.seamed = self.passed = False
                    yield Emit(getattr(self.port, "reset", RESET))
                case ("done",):
                    self._outcome = self.session.outcome
                case _:
                    pass  # "wait": the runner asks the session how long

    def _ask(self, target: int, purpose: int, force: bool) -> Generator[Step, None, None]:  # noqa: FBT001 - as the engine asks
        kind, value = fleet().ask(self._key(target), purpose, force, self.policy)
        if kind == 3:  # noqa: PLR2004 - queued; the other kinds are the session's to read
            yield Queue(self._key(target), value, purpose)
        else:
            self.session.admitted(self.clock.now(), kind, value)

    def _key(self, target: int) -> tuple[str, str]:
        return self._names[target], self._tenant

    def _opening(self, number: int) -> Attempt:
        opening = self.session.opening()
        assert opening is not None, "the engine has just asked for it"  # noqa: S101 - an invariant of the engine
        self.attempt = number
        self.clock.opens()
        self.seamed = self.passed
        if not self._fixed_port:
            self.port = None
        return Attempt(
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
        )

    def _calls(self) -> tuple[ToolCall, ...]:
        """Return the tool calls the consumer has been given."""
        return tuple(ToolCall(call.id, call.name, call.args) for call in self.session.tool_calls)

    # What arrives ----------------------------------------------------------------------------------------------------

    def text_of(self, chunk: Any) -> str | None:
        """Return the text of a chunk that holds nothing else; `None` where `part` must look."""
        return self._port_of(chunk).text(chunk)

    def part(self, chunk: Any, waited: int) -> int:
        """Hand in a chunk that is more, or less, than plain text; return the engine's answer."""
        facts = self._port_of(chunk).facts(chunk)
        text, reasoning, tools, opaque, finish, status, usage, logprob, sequence = facts
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
        )

    def fit(self, chunk: Any) -> Any:
        """Return the chunk as it must read after those the consumer has."""
        if not self.seamed:
            self.passed = True
            return chunk
        text = chunk if isinstance(chunk, str) else self._port_of(chunk).facts(chunk).text
        return self._cut(chunk, 0, len(text))

    def _cut(self, chunk: Any, start: int, end: int) -> Any:
        self.passed = True
        return self._port_of(chunk).cut(chunk, start, end, self)

    def _replaced(self, chunk: Any, text: str) -> Any:
        self.passed = True
        port = self._port_of(chunk)
        if not isinstance(port, MaskingPort):
            raise PolicyError(f"the policy masks, which chunks of {type(chunk).__name__} cannot be: use severity error")
        return port.replaced(chunk, text, self)

    def _port_of(self, chunk: Any) -> ChunkPort[Any]:
        port = self.port
        if port is None:
            port = self.port = port_for(chunk)
        return port

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
            error = self.exceptions[outcome.raised_by]
            try:
                error.l0 = result  # type: ignore[attr-defined]
            except AttributeError:  # an exception with slots: it is raised all the same
                _log.debug("session=%s: %s takes no attributes", self.session_id, type(error).__name__)
            return error, error.__cause__
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
            return Result("running", self.session_id, session.text, self._calls(), attempts=attempts, faults=faults)
        served = self.sources[outcome.served_by] if outcome.served_by is not None else None
        return Result(
            status=outcome.ending,
            session_id=self.session_id,
            text=session.text,
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
        )

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
        awaitable = self._on.tell(event, self.session_id, *facts)
        if awaitable is not None:
            yield Tell(awaitable)

    def _event(self, event: Sequence[Any]) -> Generator[Step, None, None]:
        match event:
            case "fault", native:
                fault = self._fault(native)
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
    "refused": (RefusedOutput, "the model declined to answer; see .result.finish_reason and Policy.refusal"),
    "cancelled": (L0Error, "the session was cancelled"),
}


def failure_of(result: Result, errors: ErrorClasses) -> L0Error:
    """Return the error that says how a session ended. It names what to do, and holds no prompt, output or key."""
    kind, what = _FAILURES[result.status]
    kind = errors.get(kind, kind)
    faults = ", ".join(f"{fault.fault}@{fault.target}" for fault in result.faults[-5:]) or "none"
    head = f"{result.attempts} attempt{'s' if result.attempts != 1 else ''}, last faults: {faults}"
    return kind(f"{what} (session {result.session_id}; {head})", result)


def sources_of(*sources: Target | Callable[..., Any]) -> list[Target]:
    """Return what to try, in order; refuse at once what could never be opened."""
    return [Target.of(source, place) for place, source in enumerate(sources)]
