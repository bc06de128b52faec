"""The runner that calls."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from contextvars import copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar

from l0_core._clock import SECOND
from l0_core._context import Pulling, enter
from l0_core._drive import (
    DRAIN,
    HOLD,
    SETTLE,
    Check,
    Close,
    Drive,
    Emit,
    ErrorClasses,
    Open,
    Pause,
    Queue,
    Settle,
    Step,
    Tell,
    drive_of,
    sources_of,
)
from l0_core._fleet import fleet
from l0_core._lifecycle import Lifecycle, heed
from l0_core._port import ChunkPort, Unsent
from l0_core._reader import Reader, close_quietly, iterator_of, run_aside
from l0_core._settings import PolicyLike, passes_through, policy_of
from l0_core._target import Target

if TYPE_CHECKING:
    from l0_core._journal import JournalLike
    from l0_core._result import Result

ChunkT = TypeVar("ChunkT")

_GLANCE = 0.1
"""Seconds between looks at whether the consumer of a stream has left it while a guard is asked."""
StallGuard = Literal["thread", "off"]


class Stream(Generic[ChunkT]):
    """One clean stream. Iterate it; `close` it if you stop early; `result` says how it went."""

    def __init__(self, drive: Drive, stall_guard: StallGuard = "thread") -> None:
        self._drive = drive
        self._runner = _Runner(drive, stall_guard)
        chunks: Generator[ChunkT, None, None] = self._runner.through() if passes_through() else self._runner.run()
        self._chunks = chunks if drive.step is None else drive.step.follow(chunks)

    def begin(self) -> Self:
        """Open the first attempt now, so that a mistake in the call is raised here and not with the first chunk.

        Nothing is read before the first chunk is asked for. What a retry could heal is left to the iteration.
        """
        if self._drive.is_given_again:  # What was recorded needs no opening.
            return self
        self._runner.begins = True
        next(self._chunks)
        return self

    def __iter__(self) -> Iterator[ChunkT]:
        return self._chunks

    def __next__(self) -> ChunkT:
        return next(self._chunks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop, and close the provider's stream. From any thread; more than once does no harm."""
        self._runner.interrupt()
        with suppress(ValueError):  # It is running in another thread, which stops now.
            self._chunks.close()

    @property
    def result(self) -> "Result":
        """How the session went, or goes."""
        return self._drive.result


class _Runner:
    def __init__(self, drive: Drive, stall_guard: StallGuard) -> None:
        self._drive = drive
        self._guarded = stall_guard == "thread"
        self._reader: Reader | None = None
        self._pull: Callable[[], Any] | None = None
        self._direct: Any = None
        self._context = copy_context()
        self._pulling = Pulling(active=True)
        """Of the attempt that was opened last: one that was abandoned may still be sending."""
        self._closing = False
        self._nap: threading.Event | None = None
        self.begins = False
        """Whether the first thing given is nothing, as soon as the first attempt is open."""

    def interrupt(self) -> None:
        """Let a wait return; the session is cancelled by whoever waits."""
        self._closing = True
        if self._nap is not None:
            self._nap.set()
        if self._reader is not None:
            self._reader.interrupt()

    def run(self) -> Generator[Any, None, None]:  # noqa: C901, PLR0912 - as its async twin: no hop too many
        drive = self._drive
        try:
            for step in drive.start():
                if type(step) is Emit:
                    if self.begins:  # It is given again: there is nothing to open for that.
                        self.begins = False
                        yield None
                    yield step.chunk
                else:
                    self._do(step)
            if self.begins:
                yield from self._begin()
            while not drive.is_over:
                if self._reader is not None:
                    yield from self._read(self._reader)
                elif self._pull is not None:
                    yield from self._read_directly(self._pull)
                else:
                    self._wait()
                for step in drive.steps():
                    if type(step) is Emit:
                        yield step.chunk
                    else:
                        self._do(step)
            for step in drive.end():
                if type(step) is Emit:
                    yield step.chunk
                else:
                    self._do(step)
        finally:
            self._leave()

    def _begin(self) -> Generator[Any, None, None]:
        """Wait until the first attempt is open; say so, and read on when the consumer wants to."""
        drive, reader = self._drive, self._reader
        while reader is not None and self._reader is reader and not reader.opened and not drive.is_over:
            self._starved(reader)
            for step in drive.steps():
                self._do(step)
        if drive.is_over:
            for step in drive.end():
                self._do(step)
        yield None
        if reader is not None:
            reader.go()

    def through(self) -> Generator[Any, None, None]:
        """What is opened inside an attempt is protected already, and passes as it comes."""
        drive = self._drive
        source = drive.through()
        try:
            chunks = iterator_of(source.target.open(source.attempt))
            if self.begins:
                yield None
            for chunk in chunks:
                drive.saw(chunk)
                yield chunk
        except Unsent as error:
            raise error.__cause__ or error from None
        drive.saw_end()

    def _leave(self) -> None:
        """Whatever way the session is left, nothing stays open."""
        drive = self._drive
        if not drive.is_over:
            drive.cancel()
            for step in drive.steps():
                if not isinstance(step, Emit):
                    self._do(step)
        self._close()

    # Steps -----------------------------------------------------------------------------------------------------------

    def _do(self, step: Step) -> None:
        match step:
            case Open():
                self._open(step)
            case Close():
                self._close()
            case Queue():
                self._queue(step)
            case Check():
                self._check(step)
            case Tell(event):
                _heed(event)
            case Settle():
                self._settle(step)
            case Pause(until):
                self._wait_until(until)
            case Emit():
                pass

    def _open(self, step: Open) -> None:
        self._close()
        drive = self._drive
        self._pulling = Pulling(active=True)
        context = self._context.copy()  # one for each attempt: an abandoned one may still be in use
        context.run(enter, self._pulling)
        if self._guarded:
            at_once, tells_opening = not self.begins or drive.attempt > 0, not drive.is_whole
            self._reader = Reader(step, drive.clock, context, at_once=at_once, tells_opening=tells_opening)
            return
        try:
            self._direct = context.run(step.target.open, step.attempt)
            pull = iterator_of(self._direct).__next__
        except Exception as error:  # noqa: BLE001 - the engine says what it amounts to
            self._failed(error, bytes_seen=False)
            return
        drive.session.opened(drive.clock.now(), drive.attempt)
        self._pull = lambda: context.run(pull)

    def _close(self) -> None:
        reader, self._reader = self._reader, None
        direct, self._direct, self._pull = self._direct, None, None
        if reader is not None:
            reader.abandon()
        if direct is not None:
            close_quietly(direct)

    def _queue(self, step: Queue) -> None:
        drive, turn = self._drive, threading.Event()
        fleet().wait(step.ticket, turn.set)
        while not fleet().is_called(step.key, step.ticket, step.purpose, drive.policy):
            due = drive.session.poll_timeout()
            if self._closing or due is None or drive.clock.now() >= due:
                fleet().leave(step.key, step.ticket)
                self._cancel_or_time_out()
                return
            turn.wait(min(due - drive.clock.now(), SECOND) / SECOND)
            turn.clear()
        drive.session.admitted(drive.clock.now(), 0, 0)

    def _settle(self, step: Settle) -> None:
        step.ticket.wait_quietly(step.seconds)
        self._drive.session.settled(step.ticket)

    def _check(self, step: Check) -> None:
        drive = self._drive
        answers: list[object] = []
        for _, ask in step.asked:
            try:
                said = ask()
                if isinstance(said, Awaitable):
                    waited = self._awaited(said)
                    if waited is None:
                        self._cancel_or_time_out()
                        return
                    said = waited.result()
            except Exception as error:  # noqa: BLE001 - the engine says what it amounts to
                drive.unjudged(step, error)
                return
            answers.append(said)
        drive.judged(step, answers)

    def _awaited(self, said: Awaitable[object]) -> "Future[object] | None":
        """Let an async guard answer in a loop of its own, until the session's time is up or its consumer has left."""
        drive, answer, context = self._drive, Future[object](), copy_context()

        async def wait() -> object:
            return await said

        def job() -> None:
            try:
                answer.set_result(context.run(asyncio.run, wait()))
            except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
                answer.set_exception(error)

        run_aside(job)
        while not self._closing:
            due = drive.session.poll_timeout()
            if due is None or drive.clock.now() >= due:
                return None
            with suppress(FutureTimeout):
                answer.exception(min(_GLANCE, (due - drive.clock.now()) / SECOND))
                return answer
        return None

    def _cancel_or_time_out(self) -> None:
        if self._closing:
            self._drive.cancel()
        else:
            self._drive.session.timeout(self._drive.clock.now())

    def _wait(self) -> None:
        drive = self._drive
        due = drive.session.poll_timeout()
        if due is not None:
            self._wait_until(due)
        self._cancel_or_time_out()

    def _wait_until(self, until: int) -> None:
        """Return at that moment, or when the consumer leaves: who wakes says so first, and looks for whom to wake."""
        wake = self._nap = threading.Event()
        if not self._closing:
            self._drive.clock.wait(until, wake)

    # Reading ---------------------------------------------------------------------------------------------------------

    def _read(self, reader: Reader) -> Generator[Any, None, None]:
        """Give the engine what the reader brings, and the consumer what the engine passes, until it says drain."""
        drive = self._drive
        push, text_of, attempt, seamed, now = (
            drive.session.chunk,
            drive.reads,
            drive.attempt,
            drive.seamed,
            drive.clock.now,
        )
        items, hold, encode = reader.items, drive.held.append, drive.encode_text
        take = items.popleft
        while True:
            if not items:
                if self._starved(reader):
                    return
                continue
            chunk = take()
            try:
                if type(chunk) is str and chunk:
                    signal = push(now(), attempt, chunk)
                else:
                    waited, chunk = (0, chunk) if type(chunk) is str else chunk
                    text = text_of(chunk)
                    signal = (
                        push(now(), attempt, text, encode and encode(chunk, text))
                        if text
                        else drive.part(chunk, waited)
                    )
            except Exception as error:  # noqa: BLE001 - the engine says what it amounts to
                self._failed(error, bytes_seen=True)
                return
            if not signal:
                drive.given = chunk
                yield drive.fit(chunk) if seamed else chunk
            elif signal == HOLD:
                hold(chunk)
            elif signal == DRAIN:
                hold(chunk)
                return
            elif signal == SETTLE:
                yield self._settled(chunk)

    def _settled(self, chunk: Any) -> Any:
        """Return a chunk as the consumer may have it, once what was written of it is settled."""
        for step in self._drive.settle():
            self._do(step)
        return self._drive.fit(chunk)

    def _starved(self, reader: Reader) -> bool:
        """Wait for the reader; return whether the engine has been told something new."""
        drive = self._drive
        session, now = drive.session, drive.clock.now
        opened = reader.opened
        if opened:
            session.opened(now(), drive.attempt)
        if reader.over:
            if reader.items:
                return False
            if reader.error is None:
                session.ended(now(), drive.attempt)
                self._close()
            else:
                self._failed(reader.error, bytes_seen=reader.opened)
            return True
        reading = reader.reading
        # While the reader pauses nothing is pending; but it goes on any moment, and then the clocks of content run.
        due = session.poll_timeout(now() if reading is None else reading)
        if due is not None:
            reader.wait(drive.clock.patience(due), opened=opened)
        if reader.items or reader.over:
            return False
        if self._closing:
            drive.cancel()
        else:
            moment, reading = now(), reader.reading
            session.timeout(moment, max(0, moment - reading) if reading is not None else None)
        return True

    def _failed(self, error: BaseException, *, bytes_seen: bool) -> None:
        self._close()
        if not isinstance(error, Exception):
            raise error
        self._drive.failed(error, bytes_seen=bytes_seen and not self._pulling.is_unsent)

    def _read_directly(self, pull: Callable[[], Any]) -> Generator[Any, None, None]:
        """Do what `_read` does without a thread: a blocked read blocks the consumer."""
        drive = self._drive
        push, text_of, attempt, seamed, now = (
            drive.session.chunk,
            drive.reads,
            drive.attempt,
            drive.seamed,
            drive.clock.now,
        )
        hold, encode = drive.held.append, drive.encode_text
        while True:
            began = now()
            try:
                chunk = pull()
                if type(chunk) is str and chunk:
                    signal = push(now(), attempt, chunk)
                else:
                    text = text_of(chunk)
                    signal = (
                        push(now(), attempt, text, encode and encode(chunk, text))
                        if text
                        else drive.part(chunk, now() - began)
                    )
            except StopIteration:
                drive.session.ended(now(), attempt)
                self._close()
                return
            except Exception as error:  # noqa: BLE001 - the engine says what it amounts to
                self._failed(error, bytes_seen=True)
                return
            if not signal:
                drive.given = chunk
                yield drive.fit(chunk) if seamed else chunk
            elif signal == HOLD:
                hold(chunk)
            elif signal == DRAIN:
                hold(chunk)
                return
            elif signal == SETTLE:
                yield self._settled(chunk)


def _heed(event: Awaitable[object]) -> None:
    run_aside(lambda: asyncio.run(heed(event)))


def stream(
    open_: Target | Callable[..., Any],
    *,
    fallbacks: Sequence[Target | Callable[..., Any]] = (),
    policy: PolicyLike = None,
    on: Lifecycle | None = None,
    tenant: str | None = None,
    port: ChunkPort[Any] | None = None,
    streamed: bool = True,
    errors: ErrorClasses | None = None,
    journal: "JournalLike" = None,
    input: object = None,  # noqa: A002 - what it is
    resume: str | None = None,
    from_offset: int = 0,
    stall_guard: StallGuard = "thread",
) -> Stream[Any]:
    """Return one clean stream, whatever fails on the way.

    Args:
        open_: Starts one attempt: is given an `Attempt` and returns an iterator of `str`, `Chunk` or an SDK's chunks.
        fallbacks: What to try when it fails for good, in this order.
        policy: A `Policy`, the name of a preset, or a file; `L0_POLICY`, or the standard one, where nothing is said.
        on: Listeners.
        tenant: Whose budgets and breakers it counts against.
        port: What knows the source's chunks, where they are of a kind of your own.
        streamed: Whether chunks are given as they come; if not, none is before the answer is complete.
        errors: What a framework raises in place of an error of L0: a child of both.
        journal: Where it is written down: a `Journal`, a file or a `Store`; that of `L0_JOURNAL` where nothing is said.
            Inside a run it is the run's.
        input: What the model is given, in any shape: prompt, tool results, retrieved text. The policy's `input_guards`
            see every text in it; inside a run it tells the step from others of the same name, as else their order does.
        resume: The id of a session: what the journal has of it is given again, and it goes on from there; where it has
            nothing, it begins under this id. A run does this by itself.
        from_offset: Where a session is gone on with: how many characters of the answer the consumer has already.
        stall_guard: `thread` reads in a thread, so that a silent provider can be left; `off` reads directly.

    Example:
        >>> import l0_core
        >>> stream = l0_core.stream(lambda attempt: iter(["The capital ", "is Paris."]))
        >>> "".join(stream), stream.result.attempts
        ('The capital is Paris.', 1)
    """
    drive = drive_of(
        sources_of(open_, *fallbacks),
        policy_of(policy),
        streamed=streamed,
        on=on,
        tenant=tenant,
        port=port,
        errors=errors,
        journal=journal,
        input=input,
        resume=resume,
        from_offset=from_offset,
    )
    return Stream(drive, stall_guard)
