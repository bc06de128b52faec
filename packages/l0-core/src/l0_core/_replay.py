"""A session, out of its journal: decided again, given again, gone on with.

`replay` decides again and compares; no chunk is made. `replay_stream` gives the same chunks with the same boundaries.
A session whose process died is given again up to where it was and goes on from there. The last two are one drive: the
same steps as a live session's, fed with what was recorded instead of what a provider says.
"""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

from l0_core import _native
from l0_core._clock import Clock
from l0_core._context import scope
from l0_core._divergence import MISSING, Side, diverged
from l0_core._drive import HOLD, PASS, SKIP, Check, Drive, Emit, ErrorClasses, Pause, Step
from l0_core._errors import JournalError, ReplayDivergence
from l0_core._journal import Journal, JournalLike, Stored, id_of
from l0_core._lifecycle import Lifecycle
from l0_core._port import ChunkPort
from l0_core._recording import PORT, SESSION, Facts, Recording, attempts_over, chunk_of, facts_of, port_named
from l0_core._result import ToolCall
from l0_core._target import Target

if TYPE_CHECKING:
    import threading

    from l0_core._async import AsyncStream
    from l0_core._sync import Stream


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a session comes to when it is decided again, which is what it came to.

    Attributes:
        session_id: The session.
        status: How it ended; `running` where its process died, or it is not over yet.
        records: How many records of the engine there are.
        text: What the consumer was given.
        tool_calls: The calls the consumer was given.
        faults: The classes of what went wrong, in order.
        policy: The digest of its policy.
    """

    session_id: str
    status: str
    records: int
    text: str
    tool_calls: tuple[ToolCall, ...]
    faults: tuple[str, ...]
    policy: str


@dataclass(frozen=True, slots=True)
class State:
    """A session as it stood after one of its records.

    Attributes:
        seq: The record.
        status: `idle`, `asking`, `waiting`, `opening`, `reading` or `done`.
        text: What the consumer had.
        tool_calls: The calls the consumer had.
        faults: The classes of what had gone wrong.
        next: What the engine was about to do: the decisions recorded from there to the next input.
    """

    seq: int
    status: str
    text: str
    tool_calls: tuple[ToolCall, ...]
    faults: tuple[str, ...]
    next: tuple[Mapping[str, Any], ...]


class SessionRecord(NamedTuple):
    """One record of a session, readable.

    Attributes:
        seq: Its place.
        at_ns: When it was written, in nanoseconds of the session's clock.
        kind: `start`, `input`, `chunk`, `decision`, or `note` for what the driver adds.
        what: What it says.
        is_whole: Whether all of its content is there.
    """

    seq: int
    at_ns: int
    kind: str
    what: Mapping[str, Any]
    is_whole: bool


class Recorded:
    """A session as it is in a journal."""

    def __init__(self, journal: Journal, session_id: str) -> None:
        self.session_id = session_id
        self.journal = journal
        self.log = self._read()

    def _read(self) -> _native.SessionLog:
        key, native = id_of(self.session_id), self.journal.native
        try:
            if isinstance(native, _native.Journal):
                return _native.SessionLog.load(native, key)
            return _native.SessionLog.of([_as_record(record) for record in native.load(key)])
        except JournalError as error:
            if error.reason != "corrupt":
                raise
            raise ReplayDivergence(str(error), record=error.record) from error

    @property
    def is_begun(self) -> bool:
        """Whether there is anything to replay."""
        return len(self.log) > 0 and any(kind == SESSION for _, kind, _, _ in self.log.notes)

    @cached_property
    def facts(self) -> Facts:
        """What its first note says."""
        notes = [payload for _, kind, payload, _ in self.log.notes if kind == SESSION]
        if notes:
            return facts_of(notes[-1])  # There are two where a process died before the engine's first record.
        raise JournalError(f"there is no session {self.session_id} in {self.journal!r}", reason="missing")

    @cached_property
    def policy(self) -> _native.Policy:
        """The policy it ran under."""
        try:
            return _native.Policy(self.facts.policy)
        except ValueError as error:
            raise ReplayDivergence(f"its policy is none that this version knows: {error}", record=0) from error

    @cached_property
    def header(self) -> dict[str, Any]:
        """The engine's first record."""
        for _, record, _ in self.log.json(0, 1):
            said: dict[str, Any] = json.loads(record).get("start", {})
            return said
        return {}

    @property
    def target_names(self) -> list[str]:
        """The names of its targets."""
        return [target["name"] for target in self.header.get("targets", [])]

    @cached_property
    def ports(self) -> dict[int, str]:
        """The name of the port by which the objects of each attempt were written."""
        notes = (json.loads(payload) for _, kind, payload, _ in self.log.notes if kind == PORT)
        return {note["attempt"]: note["port"] for note in notes}

    def must_be_whole(self) -> None:
        """Refuse to decide again what is no longer there."""
        missing = self.log.first_missing
        if missing is not None:
            raise JournalError(
                f"session {self.session_id}: the content of record {missing} was redacted or erased, so that it cannot "
                "be decided again; Journal.verify still proves what is left",
                reason="removed",
                record=missing,
            )

    def replay(self, until: int | None = None) -> _native.Session:
        """Decide it again; return it as it stands at the end, or after record `until`."""
        _ = self.facts
        self.must_be_whole()
        session, divergence = self.log.replay(self.policy, until)
        if session is None:
            self.diverge(divergence)
        return session

    def diverge(self, divergence: tuple[int, str | None, str | None] | None) -> NoReturn:
        """Raise what differs."""
        record, recorded, decided = divergence or (0, None, None)
        expected, actual = _side(recorded), _side(decided)
        what = "decides something else" if expected is not MISSING and actual is not MISSING else None
        what = what or ("expects a further record" if expected is MISSING else "would not have written this")
        raise diverged(f"session {self.session_id}: the engine {what}", record, expected, actual)


def _side(record: str | None) -> Side:
    return MISSING if record is None else cast("Side", json.loads(record))


def _as_record(record: Stored) -> _native.JournalRecord:
    if isinstance(record, _native.JournalRecord):
        return record
    return _native.JournalRecord(record.seq, record.at_ns, record.kind, record.payload, list(record.contents))


# Decided again -------------------------------------------------------------------------------------------------------


def replay(journal: JournalLike, session_id: str) -> ReplayReport:
    """Decide a session again from its journal, and compare: no call is made, no chunk is built.

    Raises:
        ReplayDivergence: At the first record that is not what the engine would write, or not what was written.
        JournalError: Where the session is not there, or its content is not.

    Example:
        >>> import l0_core
        >>> journal = l0_core.Journal.memory()
        >>> stream = l0_core.stream(lambda attempt: iter(["Paris."]), journal=journal)
        >>> text = "".join(stream)
        >>> l0_core.replay(journal, stream.result.session_id).text
        'Paris.'
    """
    recorded = Recorded(_journal(journal), session_id)
    _ = recorded.facts
    if len(recorded.log) == 0:
        # Its process died before the engine's first word: nothing was asked, and nothing was said.
        return ReplayReport(session_id, "running", 0, "", (), (), recorded.policy.digest)
    session = recorded.replay()
    outcome = session.outcome
    return ReplayReport(
        session_id=session_id,
        status="running" if outcome is None else outcome.ending,
        records=len(recorded.log),
        text=session.text,
        tool_calls=_calls(session),
        faults=tuple(fault.fault for fault in session.faults),
        policy=recorded.policy.digest,
    )


def state_at(journal: JournalLike, session_id: str, seq: int) -> State:
    """Return a session as it stood after record `seq`: what the consumer had, and what the engine was about to do."""
    recorded = Recorded(_journal(journal), session_id)
    session = recorded.replay(seq)
    coming: list[Mapping[str, Any]] = []
    for place, record, _ in recorded.log.json(0, len(recorded.log)):
        if place <= seq:
            continue
        said = json.loads(record)
        if "decision" not in said:
            break
        decision = said["decision"]
        coming.append(decision if isinstance(decision, dict) else {decision: {}})
    faults = tuple(fault.fault for fault in session.faults)
    return State(seq, session.state, session.text, _calls(session), faults, tuple(coming))


def records_of(journal: Journal, session_id: str) -> list[SessionRecord]:
    """Return every record of a session, readable."""
    recorded = Recorded(journal, session_id)
    whole = {seq: (text, missing) for seq, text, missing in recorded.log.json(0, len(recorded.log))}
    found: list[SessionRecord] = []
    for record in journal.load(session_id):
        if record.seq in whole:
            text, missing = whole[record.seq]
            ((kind, what),) = json.loads(text).items()
            found.append(
                SessionRecord(
                    record.seq, record.at_ns, kind, what if isinstance(what, dict) else {what: {}}, not missing
                )
            )
        else:
            note = {"note": record.kind, **json.loads(record.payload.partition(b"\n")[0])}
            found.append(SessionRecord(record.seq, record.at_ns, "note", note, is_whole=True))
    return found


def _calls(session: _native.Session) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(call.id, call.name, call.args) for call in session.tool_calls)


def _journal(value: JournalLike) -> Journal:
    journal = Journal.of(value)
    if journal is None:
        raise JournalError("there is no journal: pass one, or set L0_JOURNAL", reason="invalid")
    return journal


# Given again, and gone on with ---------------------------------------------------------------------------------------


class Again(Drive):
    """A session that is given again as it was recorded; with sources, it goes on from there.

    Args:
        recorded: The session.
        sources: What it goes on with, where its process died; nothing for a replay.
        policy: Where guards of the caller's own are found. It goes on under the policy it began with.
        from_offset: How many characters of its text the consumer has already.
        timed: Whether chunks come as far apart as they came.
        port: What decodes its chunks, where no port of that name is known.
        on: Listeners, for what happens from then on.
        errors: What a framework raises in place of an error of L0.
    """

    is_given_again = True

    def __init__(
        self,
        recorded: Recorded,
        sources: Sequence[Target] | None = None,
        *,
        policy: _native.Policy | None = None,
        from_offset: int = 0,
        timed: bool = False,
        port: ChunkPort[Any] | None = None,
        on: Lifecycle | None = None,
        errors: ErrorClasses | None = None,
    ) -> None:
        self._recorded = recorded
        self._goes_on = sources is not None
        self._is_live = False
        self._to_skip = from_offset
        self._offset = from_offset
        self._timed = timed
        self._listeners = on or Lifecycle()
        self._stopped = False
        self._is_broken = False
        facts = recorded.facts
        if len(recorded.log) == 0:
            raise JournalError(
                f"session {recorded.session_id} was given an id and no more before its process died", reason="missing"
            )
        recorded.must_be_whole()
        names = recorded.target_names
        if sources is None:
            sources = [Target(_nothing_to_open, name=name) for name in names]
        elif (given := [target.label(place) for place, target in enumerate(sources)]) != names:
            message = f"session {recorded.session_id}: the targets are not those it began with"
            raise diverged(message, 1, {"targets": list(names)}, {"targets": list(given)})
        if from_offset < 0:
            raise ValueError(f"from_offset must not be negative, not {from_offset}")
        if port is None and facts.port is not None:
            port = port_named(facts.port)
        super().__init__(sources, _rules(recorded, policy), tenant=facts.tenant, port=port, errors=errors)
        self.session_id = recorded.session_id

    def _begun(self, journal: JournalLike, *, streamed: bool) -> tuple[Recording | None, _native.Session]:  # noqa: ARG002 - it is begun already
        session, divergence = _native.Session.again(self._recorded.log, self._recorded.policy)
        if session is None:
            self._recorded.diverge(divergence)
        return None, session

    # The steps of a live session, of which only what the consumer is given counts -------------------------------------

    def start(self) -> Generator[Step, None, None]:
        """Give what was recorded; then go on, if it is to."""
        try:
            yield from self._given_again()
        except Exception:
            self._stopped = self._is_broken = True
            raise
        if self._to_skip > 0 and (self.is_over or self._goes_on):
            had = self._offset - self._to_skip
            raise JournalError(
                f"from_offset {self._offset} lies behind the {had} characters there are", reason="invalid"
            )
        if self._goes_on and super().is_over:
            # Its process may have died between its last record and its rows.
            journal, id_, result = self._recorded.journal, id_of(self.session_id), self.result
            attempts_over(journal, id_, result.attempts - 1 if result.status == "complete" else None)
            with suppress(JournalError):
                journal.native.put_session(id=id_, status=result.status)
        elif self._goes_on:
            yield from self._resumed()
        self._stopped = not self._goes_on

    def steps(self) -> Generator[Step, None, None]:
        """Carry out what the engine decides; while it is decided again, only what the consumer is given."""
        if self._is_broken:
            return  # what it would still be given cannot be given
        for step in super().steps():
            if self._is_live or type(step) is Emit:
                yield step

    @property
    def is_over(self) -> bool:
        """Whether the session has ended, or what was recorded of it."""
        return self._stopped or super().is_over

    def end(self) -> Generator[Step, None, None]:
        """End as the session did; as if nothing were, where only its process did."""
        if self._outcome is not None:
            yield from super().end()

    def _given_again(self) -> Generator[Step, None, None]:
        ahead: int | None = None
        while True:
            fed, divergence = self.session.next_again()
            if divergence is not None:
                self._recorded.diverge(divergence)
            if fed is None:
                return
            at, signal, attempt, text, written, is_resumed = fed
            if ahead is None:
                self._began, ahead = at, self.clock.now() - at
            elif self._timed:
                yield Pause(ahead + at)
            if is_resumed:
                self.held.clear()  # What the process before had kept died with it.
            if text is None or attempt is None:
                yield from self._released()
                continue
            chunk = self._looked_at(text, written, attempt)
            if signal == PASS and self._to_skip <= 0:  # What most chunks come to; each generator on the way costs.
                yield Emit(self.fit(chunk))
            else:
                yield from self._chunk_again(chunk, signal)

    def _chunk_again(self, chunk: Any, signal: int | None) -> Generator[Step, None, None]:
        """Do with a chunk what was done with it."""
        if signal == PASS:
            yield from self._skipping(self.fit(chunk))
        elif signal != SKIP:
            self.held.append(chunk)
            if signal != HOLD:
                yield from self._released()

    def _released(self) -> Generator[Step, None, None]:
        """Carry out what was decided; give the consumer what of it is new to it."""
        for step in self.steps():
            if type(step) is Emit:
                yield from self._skipping(step.chunk)

    def _looked_at(self, text: str, written: bytes | None, attempt: int) -> Any:
        """Return a chunk, once its port has seen of it what it saw then."""
        port = self.port
        if port is None and written is not None and attempt in self._recorded.ports:
            port = self.port = port_named(self._recorded.ports[attempt])
        chunk = chunk_of(port, text, written)
        if (type(chunk) is not str or not chunk) and not self.text_of(chunk):
            self._port_of(chunk).facts(chunk)
        return chunk

    def _skipping(self, chunk: Any) -> Generator[Step, None, None]:
        """Give a chunk, but for what of it the consumer has already."""
        if self._to_skip <= 0:
            yield Emit(chunk)
            return
        text = chunk if isinstance(chunk, str) else self._port_of(chunk).facts(chunk).text
        skipped = min(self._to_skip, len(text))
        self._to_skip -= skipped
        if skipped < len(text):
            yield Emit(self._port_of(chunk).cut(chunk, skipped, len(text), self))

    def _resumed(self) -> Generator[Step, None, None]:
        """Go on where the process died."""
        self.clock = _Later(self.clock, self._recorded.log.last_at + 1)
        now = self.clock.now()
        self.held.clear()
        self._on = self._listeners
        around = scope()
        recording = Recording(
            self._recorded.journal,
            around if around is not None and around.journal is self._recorded.journal else None,
            self.session_id,
            self.policy,
            self._names,
            tenant=self._tenant,
            port=None if not self._fixed_port else self._recorded.facts.port,
        )
        self.recording = recording
        if recording.stream is not None:
            self.session.attach(now, recording.stream, recording.closes)
        recording.resumed(now)
        self._is_live = True
        if self.session.state == "idle":
            self.session.start(now)
        else:
            self.session.resume(now)
        self.session.start_barrier()
        yield from self.steps()

    # What is not done twice -------------------------------------------------------------------------------------------

    def _ask(self, target: int, purpose: int, force: bool) -> Generator[Step, None, None]:  # noqa: FBT001 - as the engine asks
        if self._is_live:
            yield from super()._ask(target, purpose, force)

    def _report(self, target: int, outcome: _native.Report) -> None:
        if self._is_live:
            super()._report(target, outcome)

    def _check(self, attempt: int, number: int) -> Check:
        return super()._check(attempt, number) if self._is_live else Check(attempt, number, ())

    def _event(self, event: Sequence[Any]) -> Generator[Step, None, None]:
        if self._is_live:
            yield from super()._event(event)

    @property
    def _journal_state(self) -> str:
        return "on" if self.recording is None else super()._journal_state


def _rules(recorded: Recorded, policy: _native.Policy | None) -> _native.Policy:
    """Return the policy it began with, with the functions of the caller's own guards."""
    began, users = recorded.policy, policy.users if policy is not None else None
    if policy is None or not users:
        return began
    if policy.digest != began.digest:
        message = f"session {recorded.session_id}: guards of the caller's own belong to the policy it began with"
        raise diverged(message, 1, json.loads(began.json), json.loads(policy.json))
    return _native.Policy(recorded.facts.policy, users)


class _Later:
    """A clock that goes on from the time another process came to."""

    def __init__(self, machine: Clock, at: int) -> None:
        self._machine = machine
        self._ahead = at - machine.now()

    def now(self) -> int:
        return self._machine.now() + self._ahead

    def wait(self, until: int, wake: "threading.Event") -> None:
        self._machine.wait(until - self._ahead, wake)

    async def wait_async(self, until: int) -> None:
        await self._machine.wait_async(until - self._ahead)

    def patience(self, until: int) -> float:
        return self._machine.patience(until - self._ahead)

    def opens(self) -> None:
        self._machine.opens()

    def of_session(self) -> Clock:
        return self


def _nothing_to_open(attempt: object) -> NoReturn:  # noqa: ARG001 - as a source
    raise JournalError("a replay opens nothing", reason="invalid")


def replay_stream(
    journal: JournalLike,
    session_id: str,
    *,
    from_offset: int = 0,
    timed: bool = False,
    port: ChunkPort[Any] | None = None,
) -> "Stream[Any]":
    """Return a session's stream as its consumer had it: the same chunks with the same boundaries, and no call.

    It ends as the session ended: with the same error, where it is one of L0's. What a session whose process died had
    given by then is all that is given.

    Args:
        journal: Where it is.
        session_id: `Result.session_id`.
        from_offset: How many characters of its text to leave out at the beginning.
        timed: Whether chunks come as far apart as they came.
        port: What decodes its chunks, where they are of a kind of your own.
    """
    from l0_core._sync import Stream

    return Stream(Again(Recorded(_journal(journal), session_id), from_offset=from_offset, timed=timed, port=port))


def areplay_stream(
    journal: JournalLike,
    session_id: str,
    *,
    from_offset: int = 0,
    timed: bool = False,
    port: ChunkPort[Any] | None = None,
) -> "AsyncStream[Any]":
    """Return a session's stream as its consumer had it: the async twin of `replay_stream`."""
    from l0_core._async import AsyncStream

    return AsyncStream(Again(Recorded(_journal(journal), session_id), from_offset=from_offset, timed=timed, port=port))


def resumable(journal: JournalLike, session_id: str) -> Recorded | None:
    """Return a session that a drive can go on with or give again; nothing where none of it was written."""
    recorded = Recorded(_journal(journal), session_id)
    return recorded if recorded.is_begun else None


def gone_on_with(
    sources: Sequence[Target],
    policy: _native.Policy,
    journal: JournalLike,
    session_id: str,
    *,
    from_offset: int = 0,
    streamed: bool = True,
    on: Lifecycle | None = None,
    tenant: str | None = None,
    port: ChunkPort[Any] | None = None,
    errors: ErrorClasses | None = None,
    input: object = None,  # noqa: A002 - what it is
) -> Drive:
    """Return the drive of a session that may have been begun before.

    What is in the journal of it is given again, from `from_offset` on, under the policy it began with; then it goes on
    down the recovery ladder, unless it was over. Where nothing is, it begins now, under this id.
    """
    around = scope()
    known = around.journal if journal is None and around is not None else _journal(journal)
    recorded = Recorded(known, session_id)
    if recorded.is_begun:
        return Again(recorded, sources, policy=policy, from_offset=from_offset, port=port, on=on, errors=errors)
    if from_offset:
        raise JournalError(f"from_offset {from_offset} lies behind the 0 characters there are", reason="invalid")
    return Drive(
        sources,
        policy,
        streamed=streamed,
        on=on,
        tenant=tenant,
        port=port,
        errors=errors,
        journal=journal,
        input=input,
        session_id=session_id,
    )
