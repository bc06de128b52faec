"""Runs: a unit of work with one id, whose finished steps are never done again.

A run is one stream of the journal. Before a step does anything its intent is written, after it its result; a process
that takes the run up again reads them (`_history`), is given the results of finished steps without a call, and does
the rest. What the program does now is compared with what it did by the keys of its steps (`_keys`).
"""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, NoReturn, Self

from l0_core import _native
from l0_core._clock import clock
from l0_core._codec import read_exception, written_exception
from l0_core._context import Scope, current_frame, inherited_deadline, keyed, nested, within
from l0_core._context import deadline as deadline_
from l0_core._divergence import MISSING, diverged
from l0_core._errors import DeadlineError, JournalError, L0Error, UnknownOutcome
from l0_core._history import BEGAN, ENDED, STEP_BEGAN, STEP_ENDED, VERSION, WENT_LIVE, History, Step, idempotency_key
from l0_core._journal import Journal, JournalLike, run_id
from l0_core._keys import Counts, Json, StepKey, digest_of, form_of, text_of

_log = logging.getLogger("l0")

Mode = Literal["auto", "record", "resume", "replay"]
OnChange = Literal["raise", "live"]
Unknown = Literal["retry", "fail", "ask"]
Ask = Callable[["Doubt"], Any]

NAME_CHARS_MAX: Final = 500
"""The longest name of a run or a step."""

_MS: Final = 1_000_000


class Doubt:
    """A step that was begun and whose outcome nobody wrote down: whoever is asked answers `retry` or `fail`.

    Attributes:
        step: Its name.
        idempotency_key: What was given to whatever it called: ask there whether it happened.
        input: What it was given, as the journal has it.
    """

    def __init__(self, step: Step) -> None:
        self.step = step.key.name
        self.idempotency_key = step.idempotency_key
        self._step = step

    @property
    def input(self) -> Json:
        """What it was given, as the journal has it."""
        return self._step.input_form()


class Run:
    """A unit of work with one id: use it with `with` or `async with`. `run` makes one.

    Attributes:
        id: The id its user gave it.
        stream_id: Its 32 digits in the journal.
        mode: What is done: `record`, `resume` or `replay`; known once it is entered.
        journal: Where it is written down.
        is_live: Whether a changed input was allowed, and recorded results count no more.
        lost: Whether the journal failed on the way: what can go on without it does.
    """

    def __init__(
        self,
        id_: str,
        journal: Journal,
        *,
        mode: Mode,
        on_change: OnChange,
        wait: float,
        limit: AbstractContextManager[None] | None,
        ask: Ask | None,
        tenant: str | None,
        user: str | None,
        is_heard: bool = False,
    ) -> None:
        self.id = id_
        self.journal = journal
        self.mode: str = mode
        self.is_live = False
        self.lost = False
        self._id = run_id(id_)
        self.stream_id = self._id.hex()
        self._on_change = on_change
        self._wait = wait
        self._limit = limit
        self.ask = ask
        self._tenant, self._user = tenant, user
        self._is_heard = is_heard
        self._history = History()
        self._counts = Counts()
        self._lock = threading.Lock()
        self._lease: Any = None
        self._stream: _native.JournalStream | None = None
        self._inside = ExitStack()
        self._entered = False
        self._began_ns = 0
        self._over = False

    def __repr__(self) -> str:
        return f"<Run {self.id!r} {self.mode}>"

    # Entering and leaving --------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._open()
        return self._enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(kind, error, trace)
        self._close(error)

    async def __aenter__(self) -> Self:
        opening = asyncio.ensure_future(asyncio.to_thread(self._open))
        try:
            await asyncio.shield(opening)
        except asyncio.CancelledError:
            with suppress(Exception):
                await opening
                self._release()
            raise
        return self._enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(kind, error, trace)
        await asyncio.to_thread(self._close, error)

    def _open(self) -> None:
        if self._entered:
            raise L0Error(f"run {self.id} was entered before: make another with l0_core.run")
        self._entered = True
        try:
            if self.mode != "replay":
                self._lease = self._leased()
            self._history = History.read(
                self.journal.load(self._id), exactly=self._id if self.mode == "replay" else None
            )
            self._choose()
            if self.mode != "replay":
                self._begin()
        except BaseException:
            self._release()
            raise

    def _leased(self) -> Any:
        try:
            return self.journal.lease(self._id, self._wait)
        except JournalError as error:
            if error.reason != "held":
                raise
            raise JournalError(
                f"run {self.id} is being worked on by somebody else: give `wait` more seconds, or leave it to them",
                reason="held",
                is_transient=True,
            ) from error

    def _choose(self) -> None:
        exists = self._history.records > 0
        if self.mode in {"resume", "replay"} and not exists:
            raise JournalError(f"there is no run {self.id} in this journal to {self.mode}", reason="invalid")
        if self.mode == "record" and exists:
            raise JournalError(
                f"there is a run {self.id} in this journal already: resume it, or give this one another id",
                reason="invalid",
            )
        if self.mode == "auto":
            self.mode = "resume" if exists else "record"
        if self._history.is_heard and self.mode == "resume" and self._history.status != "finished":
            raise JournalError(
                f"run {self.id} was written down by a handler, and did not finish: it can be replayed as far as it "
                'came, with mode="replay", and not resumed',
                reason="invalid",
            )
        if self.mode == "resume" and self._history.status == "finished" and self._on_change == "raise":
            # Whoever wrote the record may have died before the row.
            self._told(partial(self._row, {"id": self._id, "status": "finished"}))
            self._release()
            self.mode = "replay"

    def _begin(self) -> None:
        self._stream = self.journal.stream(self._id, "run", tenant=self._tenant, user=self._user, lease=self._lease)
        self._began_ns = clock().now() - self._history.last_ns
        now = time.time_ns() // _MS
        heard = {"heard": True} if self._is_heard else {}
        self.write(BEGAN, {"v": VERSION, "id": self.id, "at_ms": now, "engine": _native.version(), **heard})
        columns: dict[str, Any] = {"id": self._id, "name": self.id, "status": "running"}
        if not self._history.records:
            columns |= {"started_at_ms": now, "engine_version": _native.version()}
        for name, value in (("tenant", self._tenant), ("user", self._user)):
            if value is not None:
                columns[name] = value
        self._row(columns)

    def _row(self, columns: dict[str, Any]) -> None:
        """Write what it is found by."""
        self.journal.native.put_run(**columns)

    def _enter(self) -> Self:
        self._inside.enter_context(nested(Frame(self, "")))
        self._inside.enter_context(within(self.scope()))
        if self._limit is not None:
            self._inside.enter_context(self._limit)
        return self

    must_remember = True
    """Whether what cannot be remembered is refused."""
    lets_go = False
    """Whether it is over, and what still runs inside it is no part of it: that of a run somebody opened is refused."""

    @property
    def row_id(self) -> bytes:
        """The run that the rows of its steps name."""
        return self._id

    part_id: bytes | None = None
    """What its steps are nested in, where the run that their rows name is not the one whose stream they are in."""

    def scope(self, step: bytes | None = None) -> Scope:
        """Return what sessions are written down under."""
        return Scope(self.journal, self._id, step, self._user, self._lease)

    def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside.__exit__(kind, error, trace)
        self._over = True

    def _close(self, error: BaseException | None) -> None:
        try:
            unclaimed = self._history.unclaimed_heard if self._history.is_heard else self._history.unclaimed
            left = unclaimed() if error is None and not self.is_live else None
            if left is not None and self.mode == "replay":
                raise diverged(
                    f"run {self.id} ended without the step {left.key.name}, which was recorded",
                    left.seq,
                    left.key.name,
                    MISSING,
                )
            if self.mode == "replay" and error is None and self._history.status == "failed":
                said: Json = {"status": "failed"}
                raise diverged(f"run {self.id} ends otherwise", self._history.ended, said, {"status": "finished"})
            if left is not None:
                _log.warning("run=%s: the step %s was recorded and not asked for again", self.id, left.key.name)
            if self.mode != "replay":
                self._end(error)
        finally:
            self._release()

    def _end(self, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, Exception):
            return  # stopped from outside: it is neither finished nor failed, and resumed as if it had died
        status = "finished" if error is None else "failed"
        kind = type(error).__qualname__ if error is not None else None
        self._contained(lambda: self.write(ENDED, {"status": status, "error": kind}))
        duration = (clock().now() - self._began_ns) // _MS
        row = {"id": self._id, "status": status, "duration_ms": max(0, duration), **({"fault": kind} if kind else {})}
        self._told(partial(self._row, row))

    def _release(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()

    # Writing ---------------------------------------------------------------------------------------------------------

    def write(self, kind: int, said: dict[str, Any], content: tuple[str, str] | None = None) -> int:
        """Append a record; return its number."""
        stream = self._stream
        if stream is None or (self._over and kind != ENDED):
            raise L0Error(f"run {self.id} is over: what still runs for it can write nothing down")
        payload = json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
        contents = [] if content is None else [(content[0], content[1].encode("utf-8", "surrogatepass"))]
        return stream.append(kind, payload, contents, max(0, clock().now() - self._began_ns))

    def barrier(self) -> _native.JournalTicket | None:
        """Return what a side effect must wait for."""
        return self._stream.barrier() if self._stream is not None else None

    def put(self, method: str, **columns: Any) -> None:
        """Write columns of a row, which are for looking things up: what fails is not worth a failure."""
        self._told(partial(getattr(self.journal.native, method), **columns))

    def _told(self, write: Callable[[], object]) -> None:
        try:
            write()
        except JournalError as error:
            _log.warning("run=%s: a row was not written (%s)", self.id, error.reason)

    def _contained(self, write: Callable[[], object]) -> None:
        """Write something without which the run can go on: a journal that fails is told and borne."""
        try:
            write()
        except JournalError as error:
            if error.reason in _NOT_MINE or self.journal.on_loss == "raise":
                raise
            if not self.lost:
                _log.warning("run=%s: the journal is lost (%s)", self.id, error.reason)
            self.lost = True

    # Steps -----------------------------------------------------------------------------------------------------------

    def take(
        self, frame: "Frame", name: str, form: Json, *, kind: str, side_effect: bool, session: str | None = None
    ) -> "Taken":
        """Find out what is known of the step that the program has come to."""
        if self._over:
            raise L0Error(f"run {self.id} is over: the step {name} cannot be part of it any more")
        name = name[:NAME_CHARS_MAX]
        if self._history.is_heard and self.mode == "replay":
            return self._heard(name, form, kind)
        lane = frame.lane()
        with self._lock:
            key = self._counts.key(frame.parent, name, digest_of(form))
            step = None if self.is_live else self._history.claim(key)
            if lane.number is None:
                known = step is not None
                lane.number = step.lane if step is not None else None
                if not known:
                    self._compare(key, form, None)
                    lane.number = self._new_lane(frame.parent)
            elif step is None:
                self._compare(key, form, lane.number)
        if step is not None and step.status != "open" and self.mode != "replay":
            # Whoever wrote the record may have died before the row.
            self.put("put_step", id=_row_id(self, key.id), status=step.status)
        if step is not None and self.mode == "replay":
            self._same(step, form, kind, side_effect=side_effect)
        return Taken(self, key, form, lane.number or 0, kind, side_effect=side_effect, session=session, step=step)

    def expected(self, frame: "Frame", name: str, given: object, *, kind: str) -> Step | None:
        """Return what is known of the step that the program is about to come to, if anything is."""
        if self.is_live or not self._history.steps:
            return None
        form = form_of(given)
        if self._history.is_heard and self.mode == "replay":
            return self._history.heard(kind, form)
        key = self._counts.following(frame.parent, name[:NAME_CHARS_MAX], digest_of(form))
        return self._history.steps.get(key.id)

    def _same(self, step: Step, form: Json, kind: str, *, side_effect: bool) -> None:
        """Refuse what was recorded of a step under the key of another, or of another sort."""
        recorded: Json = {"kind": step.kind, "side_effect": step.side_effect}
        now: Json = {"kind": kind, "side_effect": side_effect}
        if recorded != now:
            raise diverged(f"the step {step.key.name} of run {self.id} is of another sort", step.seq, recorded, now)
        if step.input.state == "full" and digest_of(step.input_form()) != step.key.digest:
            message = f"what was recorded as the input of step {step.key.name} of run {self.id} is not"
            raise diverged(message, step.seq, step.input_form(), form)

    def _heard(self, name: str, form: Json, kind: str) -> "Taken":
        """Return the step as it was heard; refuse one that was not."""
        step = self._history.claim_heard(kind, form)
        if step is None:
            following = self._history.unclaimed_heard()
            raise diverged(
                f"the step {name} of run {self.id} was not heard, or not with this input",
                following.seq if following else self._history.records,
                following.input_form() if following else MISSING,
                form,
            )
        return Taken(self, step.key, form, 0, kind, side_effect=False, session=None, step=step)

    def _new_lane(self, parent: str) -> int:
        number = self._history.lanes.get(parent, 0) + 1
        self._history.lanes[parent] = number
        return number

    def _compare(self, key: StepKey, form: Json, lane: int | None) -> None:
        """Refuse a step that was recorded with another input; in a replay, also what was never recorded."""
        if self.is_live:
            return
        rival = self._history.rival(key, lane)
        if rival is None and self.mode != "replay":
            return
        if self._on_change == "live" and self.mode != "replay":
            keep = self._history.forget()
            self.is_live = True
            self._contained(lambda: self.write(WENT_LIVE, {"keep": keep, "instead_of": rival.seq if rival else None}))
            return
        rival = rival or self._history.unclaimed(key.place)
        if rival is not None:
            expected: Json = rival.input_form() if rival.input.state == "full" else {"digest": rival.key.digest}
            actual: Json = form if rival.input.state == "full" else {"digest": key.digest}
            raise diverged(f"the input of step {key.name} of run {self.id} has changed", rival.seq, expected, actual)
        following = self._history.unclaimed()
        raise diverged(
            f"run {self.id} was recorded without the step {key.name} that comes now",
            following.seq if following else self._history.records,
            following.key.name if following else MISSING,
            key.name,
        )


_NOT_MINE: Final = frozenset({"fenced", "unleased"})
"""Why a journal takes nothing from somebody whose run is somebody else's by now: not to be borne."""


# Where steps stand ---------------------------------------------------------------------------------------------------


class _Lane:
    """One branch of a program under one parent. `number` is unknown until its first step."""

    __slots__ = ("frame", "me", "number")

    def __init__(self, frame: "Frame", me: tuple[int, object], number: int | None) -> None:
        self.frame, self.me, self.number = frame, me, number


_lane: ContextVar[_Lane | None] = ContextVar("l0_lane", default=None)


class Frame:
    """What steps are nested in: the run itself, or a step of it."""

    __slots__ = ("_trunk", "parent", "run")

    def __init__(self, run: Run, parent: str) -> None:
        self.run = run
        self.parent = parent
        self._trunk = _Lane(self, _me(), 0)

    def lane(self) -> _Lane:
        """Return the branch this code runs in. A context copied into a thread or a task is a new one."""
        me = _me()
        if me == self._trunk.me:
            return self._trunk
        lane = _lane.get()
        if lane is None or lane.frame is not self or lane.me != me:
            lane = _Lane(self, me, None)
            _lane.set(lane)
        return lane


def _me() -> tuple[int, object]:
    try:
        task: object = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident(), task


class Taken:
    """A step that the program has come to: remembered, or to be done.

    Whoever does it calls `intend`, waits for what that returns, does it inside `inside`, and calls `finish` or `fail`.
    """

    def __init__(
        self,
        run: Run,
        key: StepKey,
        form: Json,
        lane: int,
        kind: str,
        *,
        side_effect: bool,
        session: str | None,
        step: Step | None,
    ) -> None:
        self.run = run
        self.key = key
        self.step = step
        self._form, self._lane, self._kind, self._side_effect = form, lane, kind, side_effect
        self.session = step.session if step is not None and step.session else session
        self.idempotency_key = step.idempotency_key if step else idempotency_key(run._id, key)  # noqa: SLF001 - its own module
        self._began = 0

    @property
    def is_remembered(self) -> bool:
        """Whether it was done and is not to be done again."""
        step = self.step
        if step is None:
            return False
        if self.run.mode == "replay" and step.status == "open" and step.session is not None:
            return True  # as far as it was recorded: its consumer may have left there
        if self.run.mode == "replay" and step.status == "open":
            raise diverged(
                f"the recording of run {self.run.id} broke off in the step {self.key.name}", step.seq, None, MISSING
            )
        return step.status == "finished" or (step.status == "failed" and (step.handled or self.run.mode == "replay"))

    def result(self) -> str:
        """Return what was recorded of its result; raise what it raised."""
        step = self.step
        assert step is not None and step.result is not None, "it is remembered"  # noqa: S101, PT018 - an invariant
        if step.status == "failed":
            raise read_exception(step.result.text("an exception"), self.key.name)
        return step.result.text(f"the result of step {self.key.name}")

    @property
    def is_unknown(self) -> bool:
        """Whether its side effect may have happened."""
        return self.step is not None and self.step.status == "open" and self.step.side_effect

    def give_up(self) -> NoReturn:
        """Raise that nobody knows whether it happened."""
        raise UnknownOutcome(
            f"the step {self.key.name} of run {self.run.id} was begun, and the process died before it said whether "
            f"it happened: look there for the idempotency key {self.idempotency_key}, and give the step "
            'unknown="retry" where doing it again does no harm'
        )

    def intend(self) -> "_native.JournalTicket | None":
        """Write down what is about to be done; return what to wait for before doing it."""
        limit = inherited_deadline()
        self._began = clock().now()
        if limit is not None and self._began >= limit:
            raise DeadlineError(f"the time allowed has passed before the step {self.key.name} could begin")
        parent, name, digest, nth = self.key
        said = {
            "parent": parent,
            "name": name,
            "digest": digest,
            "nth": nth,
            "lane": self._lane,
            "kind": self._kind,
            "side_effect": self._side_effect,
            "idempotency_key": self.idempotency_key,
            "session": self.session,
        }
        content = ("prompt" if self._kind == "model" else "tool_arguments", text_of(self._form))
        run = self.run
        if self._side_effect:
            run.write(STEP_BEGAN, said, content)
        else:
            run._contained(lambda: run.write(STEP_BEGAN, said, content))  # noqa: SLF001 - its own module
        columns: dict[str, Any] = {
            "id": self.row_id,
            "run": run.row_id,
            "name": name,
            "kind": self._kind,
            "key": self.key.id,
            "input_digest": digest,
            "idempotency_key": self.idempotency_key,
            "status": "running",
            "started_at_ms": time.time_ns() // _MS,
        }
        if parent:
            columns["parent"] = _row_id(run, parent)
        elif run.part_id is not None:
            columns["parent"] = run.part_id
        if self.session:
            columns["session"] = bytes.fromhex(self.session)
        run.put("put_step", **columns)
        return run.barrier() if self._side_effect else None

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Let steps be nested in this one, and what it calls know its idempotency key."""
        with nested(Frame(self.run, self.key.id)), within(self.scope), keyed(self.idempotency_key):
            yield

    @property
    def scope(self) -> Scope:
        """What sessions in it are written down under."""
        return self.run.scope(self.row_id)

    def finish(self, result: str) -> "_native.JournalTicket | None":
        """Write down what it returned; return what to wait for before anybody sees it: in `paranoid`, the disk."""
        self._end("finished", result)
        journal = self.run.journal
        seen = self._side_effect and journal.durability == "paranoid"
        return journal.native.barrier("release") if seen else None

    def fail(self, error: Exception) -> None:
        """Write down what it raised. It is not finished: a run that ended with it tries again."""
        self._end("failed", written_exception(error), error)

    def _end(self, status: str, content: str, error: Exception | None = None) -> None:
        run = self.run
        said = {"id": self.key.id, "status": status}

        def write() -> None:
            run.write(STEP_ENDED, said, ("completion" if self._kind == "model" else "tool_result", content))

        if self._side_effect and error is None:
            write()
        else:
            run._contained(write)  # noqa: SLF001 - its own module
        fault = {"fault": type(error).__qualname__} if error is not None else {}
        duration = max(0, clock().now() - self._began) // _MS
        run.put("put_step", id=self.row_id, status=status, duration_ms=duration, **fault)

    @property
    def row_id(self) -> bytes:
        """The id of its row."""
        return _row_id(self.run, self.key.id)


def _row_id(run: Run, key: str) -> bytes:
    return bytes.fromhex(digest_of([run.stream_id, "step", key]))


async def settled(ticket: _native.JournalTicket) -> None:
    """Wait for a ticket's answer; raise it where it is a failure."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[None] = loop.create_future()

    def answer(error: Exception | None) -> None:
        if not answered.done():
            answered.set_result(None) if error is None else answered.set_exception(error)

    ticket.on_answer(lambda error: loop.call_soon_threadsafe(partial(answer, error)))
    await answered


# Parts ---------------------------------------------------------------------------------------------------------------


class Part:
    """A run inside another of the same journal: a step of that one, in which its own steps are nested."""

    def __init__(self, id_: str, outer: Frame, limit: AbstractContextManager[None] | None) -> None:
        self.id = id_
        self.mode = outer.run.mode
        self._outer = outer
        self._limit = limit
        self._taken: Taken | None = None
        self._inside: AbstractContextManager[None] | None = None

    @property
    def journal(self) -> Journal:
        """Where it is written down."""
        return self._outer.run.journal

    @property
    def stream_id(self) -> str:
        """The 32 digits in the journal of the run it is part of."""
        return self._outer.run.stream_id

    def __enter__(self) -> Self:
        taken = self._taken = self._outer.run.take(self._outer, self.id, None, kind="scope", side_effect=False)
        if not taken.is_remembered:
            taken.intend()
        self._inside = taken.inside()
        self._inside.__enter__()
        if self._limit is not None:
            self._limit.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._limit is not None:
            self._limit.__exit__(kind, error, trace)
        taken, inside = self._taken, self._inside
        if inside is not None:
            inside.__exit__(None, None, None)
        if taken is None or taken.is_remembered:
            return
        if error is None:
            taken.finish("null")
        elif isinstance(error, Exception):
            taken.fail(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def run(
    id: str,  # noqa: A002 - what it is
    *,
    journal: JournalLike = None,
    mode: Mode = "auto",
    on_change: OnChange = "raise",
    wait: float = 0.0,
    deadline: float | None = None,
    ask: Ask | None = None,
    tenant: str | None = None,
    user: str | None = None,
) -> Run | Part:
    """Return a run: inside it, what was done is remembered, and is not done again.

    Inside another run of the same journal it is a part of that one. Sync and async: `with` and `async with`.

    Args:
        id: What it is known by: the same id again takes the same run up.
        journal: Where it is written down: a `Journal`, a file, or nothing: that of the run around, or of `L0_JOURNAL`.
        mode: `auto` resumes a run that exists and records one that does not. `record` and `resume` do only that.
            `replay` calls nothing at all, and raises `ReplayDivergence` where the program leaves the recording.
        on_change: What becomes of a step that was recorded with another input: `raise` a `ReplayDivergence`, or let it
            and all after it go `live`.
        wait: Seconds to wait for somebody else who works on this run.
        deadline: Seconds for everything inside, as with `l0_core.deadline`.
        ask: Decides for steps with `unknown="ask"` that were begun and have no outcome: is given a `Doubt`, returns
            `retry` or `fail`; an async step may be given a coroutine function.
        tenant: Whose it is.
        user: For whom it is: what `Journal.erase` goes by.

    Example:
        >>> import l0_core
        >>> journal, calls = l0_core.Journal.memory(), []
        >>> @l0_core.step
        ... def double(number: int) -> int:
        ...     calls.append(number)
        ...     return 2 * number
        >>> for _ in range(2):
        ...     with l0_core.run("job-42", journal=journal):
        ...         print(double(21), calls)
        42 [21]
        42 [21]
    """
    if not id or len(id) > NAME_CHARS_MAX:
        raise L0Error(f"the id of a run has 1 to {NAME_CHARS_MAX} characters")
    if mode not in {"auto", "record", "resume", "replay"} or on_change not in {"raise", "live"}:
        raise L0Error(
            f"mode is auto, record, resume or replay, and on_change raise or live; not {mode!r}, {on_change!r}"
        )
    limit = deadline_(deadline) if deadline is not None else None
    outer: Frame | None = current_frame()
    found = outer.run.journal if outer is not None and journal is None else Journal.of(journal)
    if found is None:
        raise JournalError(f"run {id} needs a journal: pass journal=, or name a file in L0_JOURNAL", reason="invalid")
    if outer is not None and found is outer.run.journal and mode == "auto":
        return Part(id, outer, limit)
    return Run(id, found, mode=mode, on_change=on_change, wait=wait, limit=limit, ask=ask, tenant=tenant, user=user)


def answered_by(run_: Run, taken: Taken) -> Any | Awaitable[Any]:
    """Return what is to become of a step with an unknown outcome, as whoever is asked says."""
    assert taken.step is not None, "it was begun"  # noqa: S101 - an invariant of its callers
    return run_.ask(Doubt(taken.step)) if run_.ask is not None else "fail"
