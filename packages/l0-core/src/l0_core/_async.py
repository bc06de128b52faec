"""The runner that awaits."""

import asyncio
import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from l0_core._clock import SECOND, Clock
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
    NotAStream,
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
from l0_core._settings import PolicyLike, passes_through, policy_of
from l0_core._target import Target
from l0_core.ports import as_sent

if TYPE_CHECKING:
    from l0_core._journal import JournalLike
    from l0_core._result import Result

if sys.version_info < (3, 12):
    from asyncio.tasks import _current_tasks as _tasks  # type: ignore[attr-defined]

ChunkT = TypeVar("ChunkT")

_CLOSE_SECONDS_MAX = 5.0
"""How long a provider's stream is given to close before the session goes on without it."""


_GLANCE = SECOND // 20
"""Nanoseconds between looks at a session whose time is up while its consumer is busy elsewhere."""


class AsyncStream(Generic[ChunkT]):
    """One clean stream. Iterate it; `aclose` it if you stop early; `result` says how it went."""

    def __init__(self, drive: Drive) -> None:
        self._drive = drive
        self._runner = _Runner(drive)
        chunks: AsyncGenerator[ChunkT, None] = self._runner.through() if passes_through() else self._runner.run()
        self._chunks = chunks if drive.step is None else drive.step.afollow(chunks)

    async def begin(self) -> Self:
        """Open the first attempt now, so that a mistake in the call is raised here and not with the first chunk.

        Nothing is read before the first chunk is asked for. What a retry could heal is left to the iteration.
        """
        if self._drive.is_given_again:  # What was recorded needs no opening.
            return self
        self._runner.begins = True
        await anext(self._chunks)
        return self

    def __aiter__(self) -> AsyncIterator[ChunkT]:
        return self._chunks

    async def __anext__(self) -> ChunkT:
        return await anext(self._chunks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop, and close the provider's stream. More than once does no harm."""
        await self._chunks.aclose()

    @property
    def result(self) -> "Result":
        """How the session went, or goes."""
        return self._drive.result


class _Watch:
    """One timer for all the clocks of a session, moved only when it rings too early.

    It rings as often as the shortest clock could, so that a clock that takes over from a longer one is not missed.

    While a read is pending, `reading` says since when and `task` who waits, which had been cancelled `cancelling` times
    before. If the session's next moment comes first, the task is cancelled out of the read, as `asyncio.timeout` does.

    Whatever is awaited there may swallow a cancellation: `asyncio.wait_for` of Python 3.11 does where a chunk comes in
    the same moment. So one that was made and did not arrive is looked for after every read.
    """

    __slots__ = (
        "_clock",
        "_due",
        "_loop",
        "_shortest",
        "_timer",
        "cancelling",
        "current",
        "fired",
        "pulling",
        "reading",
        "task",
    )

    def __init__(self, drive: Drive) -> None:
        self.pulling = Pulling()
        self.reading: int | None = None
        self.task: asyncio.Task[Any] | None = None
        self.cancelling = 0
        self.fired = False
        self._due = drive.session.poll_timeout
        self._shortest = drive.session.shortest_clock
        self._clock: Clock = drive.clock
        self._loop = asyncio.get_running_loop()
        # Python 3.11 looks the task up in Python, which costs as much as the engine; its table is the same one.
        self.current = partial(_tasks.get, self._loop) if sys.version_info < (3, 12) else asyncio.current_task
        self._timer: asyncio.TimerHandle | None = None

    def follow(self, task: asyncio.Task[Any] | None) -> None:
        """Watch another task: a stream may be handed from one to the next."""
        self.task = task
        self.cancelling = task.cancelling() if task is not None else 0
        enter(self.pulling)

    def arm(self) -> None:
        """Have the session's next moment watched, if it is not already."""
        if self._timer is None:
            self._ring()

    def _ring(self) -> None:
        self._timer = None
        now = self._clock.now()
        due = self._due(self.reading if self.reading is not None else now)
        if due is None:
            return
        if due > now:
            self._timer = self._loop.call_later(min(self._clock.patience(due), self._shortest / SECOND), self._ring)
        elif self.reading is None or self.task is None:
            self._timer = self._loop.call_later(_GLANCE / SECOND, self._ring)
        elif self.task.cancelling() == self.cancelling:
            self._fire()
        else:  # Somebody else has cancelled it: theirs comes first, if it comes.
            self._timer = self._loop.call_later(_CLOSE_SECONDS_MAX, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self.reading is not None and self.task is not None:
            self.fired = True
            self.task.cancel()

    def disarm(self) -> None:
        """Watch nothing any more."""
        self.reading = self.task = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def see_to_it(self) -> None:
        """Raise a cancellation that did not arrive, if it is not the timer's own: the read ended in the last moment."""
        if not self.caught():
            raise asyncio.CancelledError
        self.reading = None  # It is over, and so is its time.
        self.arm()

    def caught(self) -> bool:
        """Return whether a cancellation that arrived is the timer's own, and take it back if so."""
        fired, self.fired = self.fired, False
        return fired and self.task is not None and self.task.uncancel() <= self.cancelling


class _Runner:
    def __init__(self, drive: Drive) -> None:
        self._drive = drive
        self._source: Any = None
        self._opening: Open | None = None
        self._pull: Callable[[], Awaitable[Any]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.begins = False
        """Whether the first thing given is nothing, as soon as the first attempt is open."""

    # One long function: every hop through another generator costs as much as the engine does.
    async def run(self) -> AsyncGenerator[Any, None]:  # noqa: C901, PLR0912, PLR0915
        drive = self._drive
        watch = _Watch(drive)
        try:
            for step in drive.start():
                if type(step) is Emit:
                    if self.begins:  # It is given again: there is nothing to open for that.
                        self.begins = False
                        yield None
                    yield step.chunk
                else:
                    await self._do(step)
            if self.begins:
                await self._begin(watch)
                yield None
            while not drive.is_over:
                if self._opening is not None:
                    await self._open(self._opening, watch)
                elif self._pull is not None:
                    # The inner loop: its own, because every hop through another generator costs as much as the engine.
                    session, now, hold = drive.session, drive.clock.now, drive.held.append
                    push, text_of, pull = session.chunk, drive.reads, self._pull
                    attempt, seamed, current, pulling = drive.attempt, drive.seamed, watch.current, watch.pulling
                    encode = drive.encode_text
                    watch.arm()
                    while True:
                        if (task := current()) is not watch.task:
                            watch.follow(task)
                        watch.cancelling = cancelling = task.cancelling() if task is not None else 0
                        watch.reading = began = now()
                        pulling.active = True
                        try:
                            chunk = await pull()
                            if task is not None and task.cancelling() != cancelling:
                                watch.see_to_it()
                            if type(chunk) is str and chunk:
                                signal = push(now(), attempt, chunk)
                            else:
                                text = text_of(chunk)
                                signal = (
                                    push(now(), attempt, text, encode and encode(chunk, text))
                                    if text
                                    else drive.part(chunk, now() - began)
                                )
                        except StopAsyncIteration:
                            session.ended(now(), attempt)
                            self._pull = None
                            self._ended()
                            break
                        except asyncio.CancelledError:
                            if not watch.caught():
                                raise
                            moment = now()
                            session.timeout(moment, moment - began)
                            break
                        except Exception as error:  # noqa: BLE001 - the engine says what it amounts to
                            if watch.fired:
                                watch.caught()
                            self._pull = None
                            drive.failed(error, bytes_seen=not pulling.is_unsent)
                            break
                        finally:
                            watch.reading = None
                            pulling.active = False
                        if not signal:
                            drive.given = chunk
                            yield drive.fit(chunk) if seamed else chunk
                        elif signal == HOLD:
                            hold(chunk)
                        elif signal == DRAIN:
                            hold(chunk)
                            break
                        elif signal == SETTLE:
                            for step in drive.settle():
                                await self._do(step)
                            yield drive.fit(chunk)
                else:
                    await self._wait()
                for step in drive.steps():
                    if type(step) is Emit:
                        yield step.chunk
                    else:
                        await self._do(step)
            for step in drive.end():
                if type(step) is Emit:
                    yield step.chunk
                else:
                    await self._do(step)
        finally:
            watch.disarm()
            await self._leave()

    async def _begin(self, watch: _Watch) -> None:
        """Open the first attempt, and raise what no retry could heal."""
        drive = self._drive
        if self._opening is not None:
            await self._open(self._opening, watch)
        for step in drive.steps():
            await self._do(step)
        if drive.is_over:
            for step in drive.end():
                await self._do(step)

    async def through(self) -> AsyncGenerator[Any, None]:
        """What is opened inside an attempt is protected already, and passes as it comes."""
        drive = self._drive
        step = drive.through()
        try:
            source = step.target.open(step.attempt)
            if inspect.isawaitable(source):
                source = await source
            chunks = async_iterator_of(source)
            if self.begins:
                yield None
            async for chunk in chunks:
                drive.saw(chunk)
                yield chunk
        except Unsent as error:
            raise error.__cause__ or error from None
        drive.saw_end()

    async def _leave(self) -> None:
        """Whatever way the session is left, nothing stays open."""
        drive = self._drive
        if not drive.is_over:
            drive.cancel()
            for step in drive.steps():
                if not isinstance(step, Emit):
                    await self._do(step)
        await self._close()

    # Steps -----------------------------------------------------------------------------------------------------------

    async def _do(self, step: Step) -> None:
        match step:
            case Open():
                await self._close()
                self._opening = step
            case Close():
                await self._close()
            case Queue():
                await self._queue(step)
            case Check():
                await self._check(step)
            case Tell(event):
                task = asyncio.ensure_future(heed(event))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case Settle():
                await self._settle(step)
            case Pause(until):
                await self._drive.clock.wait_async(until)
            case Emit():
                pass

    async def _open(self, step: Open, watch: _Watch) -> None:
        self._opening = None
        drive = self._drive
        session, now = drive.session, drive.clock.now
        watch.follow(asyncio.current_task())
        watch.reading = began = now()
        watch.arm()
        watch.pulling.active = True
        watch.pulling.is_unsent = False
        try:
            source = step.target.open(step.attempt)
            if inspect.isawaitable(source):
                source = await source
            self._source = source
            if watch.task is not None and watch.task.cancelling() != watch.cancelling:
                watch.see_to_it()
            self._pull = async_iterator_of(source).__anext__
            session.opened(now(), drive.attempt)
        except asyncio.CancelledError:
            if not watch.caught():
                raise
            moment = now()
            session.timeout(moment, moment - began)
        except Exception as error:  # noqa: BLE001 - the engine says what it amounts to
            drive.failed(error, bytes_seen=False)
        finally:
            watch.reading = None
            watch.pulling.active = False

    async def _close(self) -> None:
        source, self._source, self._pull, self._opening = self._source, None, None, None
        if source is None:
            return
        close = getattr(source, "aclose", None) or getattr(source, "close", None)
        if close is None:
            return
        closing = asyncio.ensure_future(_closed(close))
        done, _ = await asyncio.wait([closing], timeout=_CLOSE_SECONDS_MAX)
        if not done:
            closing.cancel()

    def _ended(self) -> None:
        """The stream came to its own end: a generator that did is closed."""
        if inspect.isasyncgen(self._source):
            self._source = None

    async def _queue(self, step: Queue) -> None:
        drive, turn, loop = self._drive, asyncio.Event(), asyncio.get_running_loop()
        fleet().wait(step.ticket, partial(loop.call_soon_threadsafe, turn.set))
        granted = False
        try:
            while not (granted := fleet().is_called(step.key, step.ticket, step.purpose, drive.policy)):
                due = drive.session.poll_timeout()
                left = ((due or 0) - drive.clock.now()) / SECOND
                if left <= 0:
                    drive.session.timeout(drive.clock.now())
                    return
                try:
                    async with asyncio.timeout(left):
                        await turn.wait()
                except TimeoutError:
                    continue
                turn.clear()
            drive.session.admitted(drive.clock.now(), 0, 0)
        finally:
            if not granted:
                fleet().leave(step.key, step.ticket)

    async def _settle(self, step: Settle) -> None:
        loop, answered = asyncio.get_running_loop(), asyncio.Event()

        def tell(_: object) -> None:
            with suppress(RuntimeError):  # The loop is closed: nobody waits.
                loop.call_soon_threadsafe(answered.set)

        step.ticket.on_answer(tell)
        with suppress(TimeoutError):
            async with asyncio.timeout(step.seconds):
                await answered.wait()
        self._drive.session.settled(step.ticket)

    async def _check(self, step: Check) -> None:
        drive = self._drive
        answers: list[object] = []
        due = drive.session.poll_timeout()
        left = None if due is None else (due - drive.clock.now()) / SECOND
        limit = asyncio.timeout(left)
        try:
            async with limit:
                for _, ask in step.asked:
                    said = ask()
                    answers.append(await said if inspect.isawaitable(said) else said)
        except Exception as error:  # noqa: BLE001 - the engine says what it amounts to
            if isinstance(error, TimeoutError) and limit.expired():
                drive.session.timeout(drive.clock.now())
            else:
                drive.unjudged(step, error)
            return
        drive.judged(step, answers)

    async def _wait(self) -> None:
        drive = self._drive
        due = drive.session.poll_timeout()
        if due is not None:
            await drive.clock.wait_async(due)
        drive.session.timeout(drive.clock.now())


async def _closed(close: Callable[[], Any]) -> None:
    try:
        closing = close()
        if inspect.isawaitable(closing):
            await closing
    except Exception:  # noqa: BLE001, S110 - it is being thrown away
        pass


def async_iterator_of(source: Any) -> AsyncIterator[Any]:
    """Return an async iterator over what a source gave; refuse what is none."""
    try:
        return aiter(as_sent(source))
    except TypeError:
        hint = ": for a plain iterator use stream" if hasattr(source, "__iter__") else ""
        kind = type(source).__name__
        raise NotAStream(f"open_ must return an async iterator of chunks, or await to one, not {kind}{hint}") from None


def astream(
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
) -> AsyncStream[Any]:
    """Return one clean stream, whatever fails on the way: the async twin of `stream`.

    Args:
        open_: Starts one attempt: is given an `Attempt` and returns, or awaits to, an async iterator of chunks.
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

    Example:
        >>> import asyncio, l0_core
        >>> async def source(attempt):
        ...     yield "The capital "
        ...     yield "is Paris."
        >>> async def main():
        ...     return [chunk async for chunk in l0_core.astream(source)]
        >>> asyncio.run(main())
        ['The capital ', 'is Paris.']
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
    return AsyncStream(drive)
