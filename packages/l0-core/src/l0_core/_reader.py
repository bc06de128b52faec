"""Reading an attempt's stream in a thread, because a blocked read can be abandoned in no other way."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import Context
from typing import Any

from l0_core._clock import Clock
from l0_core._drive import NotAStream, Open
from l0_core.ports import abort, as_sent

AHEAD_MAX = 64
"""Chunks read ahead of the consumer at most."""

_IDLE_MAX = 8
_IDLE_SECONDS = 5.0


class _Gate:
    """Lets the one thread that waits at it pass once. Opening it for nobody lets the next one pass at once."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, seconds: float = -1) -> bool:
        return self._lock.acquire(timeout=seconds)

    def open(self) -> None:
        try:  # noqa: SIM105 - `suppress` takes three times as long as all the rest
            self._lock.release()
        except RuntimeError:  # It is open.
            pass


class Reader:
    """One attempt's stream, read in a thread of the pool; its chunks are taken from `items`.

    One thread puts chunks in, one takes them out: the deque needs no lock. A side that has to wait says so first and
    looks once more, so that the other's wake-up cannot be missed. Each wake-up is dear, and one that comes while the
    other side has the interpreter costs it twice: so a thread begins, and goes on after a pause, when the consumer is
    about to wait, and not before.

    Args:
        step: What is to be opened.
        clock: What the session runs by.
        context: What it is opened and read in.
        at_once: Whether it is read as soon as it is open; else `go` says when.
        tells_opening: Whether it matters to the consumer's clocks that it is open.
    """

    def __init__(
        self, step: Open, clock: Clock, context: Context, *, at_once: bool = True, tells_opening: bool = True
    ) -> None:
        self.items: deque[Any] = deque()
        """Strings; every other chunk with the nanoseconds its read had been pending: it may be a keep-alive."""
        self.reading: int | None = None
        """When the pending read began, if one is pending."""
        self.opened = False
        self.over = False
        """Whether everything there will ever be is in `items`."""
        self.error: BaseException | None = None
        self._step = step
        self._now = clock.now
        self._context = context
        self._begun = False
        self._paused = False
        self._abandoned = False
        self._waiting = False
        self._at_once = at_once
        self._tells_opening = tells_opening or not at_once
        self._signal = _Gate()
        self._resume = _Gate()
        """Where the thread waits to be told to begin, and to read on."""
        self._source: Any = None

    # The reading thread ----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        iterator: Iterator[Any] | None = None
        try:
            iterator = self._open()
            if not self._at_once:
                self.reading = None
                self._resume.wait()
            self._pump(iterator)
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the consumer's to see
            self.error = error
        finally:
            self.reading = None
            if self._abandoned:
                close_quietly(iterator)
                # Its iterator may be another object. Left to the collector, an SDK's stream closes itself in whatever
                # code runs then: inside its own client's lock it would wait for itself for ever.
                close_quietly(self._source)
            self.over = True
            self._wake()

    def _open(self) -> Iterator[Any]:
        source = self._source = self._step.target.open(self._step.attempt)
        iterator = iterator_of(source)
        self.reading = self._now()
        self.opened = True
        if self._waiting and self._tells_opening:
            self._wake()
        return iterator

    def _pump(self, iterator: Iterator[Any]) -> None:
        pull, append, now, items = iterator.__next__, self.items.append, self._now, self.items
        self.reading = began = now()
        while not self._abandoned:
            chunk = pull()
            self.reading = arrived = now()
            append(chunk if type(chunk) is str else (arrived - began, chunk))
            began = arrived
            if self._waiting:
                self._wake()
            if len(items) >= AHEAD_MAX:
                self._pause()
                self.reading = began = now()

    def _wake(self) -> None:
        self._waiting = False
        self._signal.open()

    def _pause(self) -> None:
        self.reading = None
        self._paused = True
        while self.items and not self._abandoned:
            self._resume.wait()
        self._paused = False

    # The consuming thread --------------------------------------------------------------------------------------------

    def wait(self, seconds: float, *, opened: bool) -> None:
        """Return when there is a chunk, when there will be none, or after `seconds`.

        Also when `interrupt` is called, and when the stream has been opened, if that matters and the caller does not
        know it yet.
        """
        self._waiting = True
        if not self.items and not self.over and (self.opened == opened or not self._tells_opening):
            self._go_on()
            self._signal.wait(max(0.0, seconds))
        self._waiting = False

    def _go_on(self) -> None:
        """Let the thread begin, or read on now that there is room again."""
        if not self._begun:
            self._begun = True
            run_aside(lambda: self._context.run(self._read))
        elif self._paused:
            self._resume.open()

    def interrupt(self) -> None:
        """Let `wait` return."""
        self._signal.open()

    def go(self) -> None:
        """Begin to read, if that was put off."""
        self._at_once = True
        self._resume.open()

    def abandon(self) -> None:
        """Stop reading as soon as that can be: at once where the stream's client can be closed from outside."""
        self._abandoned = True
        self._resume.open()
        if not self.over and self._source is not None:
            abort(self._source)


def iterator_of(source: Any) -> Iterator[Any]:
    """Return an iterator over what a source gave; refuse what is none."""
    try:
        return iter(as_sent(source))
    except TypeError:
        hint = (
            ": for an async iterator use astream"
            if hasattr(source, "__aiter__") or hasattr(source, "__await__")
            else ""
        )
        raise NotAStream(f"open_ must return an iterator of chunks, not {type(source).__name__}{hint}") from None


def close_quietly(iterator: Any) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        with suppress(Exception):  # It is being thrown away.
            close()


def run_aside(job: Callable[[], None]) -> None:
    """Run a job in a thread of the pool."""
    _pool.run(job)


class _Pool:
    """Threads that wait a little for more work before they end.

    All are daemons: a stalled read keeps nobody from leaving.
    """

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()

    def run(self, job: Callable[[], None]) -> None:
        with self._lock:
            worker = self._idle.pop() if self._idle else None
        if worker is None:
            worker = _Worker(self)
            worker.give(job)
            worker.start()
        else:
            worker.give(job)

    def take_back(self, worker: "_Worker") -> bool:
        """Return whether the worker is kept for more."""
        with self._lock:
            if len(self._idle) >= _IDLE_MAX:
                return False
            self._idle.append(worker)
            return True

    def dismiss(self, worker: "_Worker") -> bool:
        """Return whether the worker may end: not if a job has been given to it meanwhile."""
        with self._lock:
            if worker not in self._idle:
                return False
            self._idle.remove(worker)
            return True


class _Worker(threading.Thread):
    def __init__(self, pool: _Pool) -> None:
        super().__init__(name="l0-reader", daemon=True)
        self._pool = pool
        self._job: Callable[[], None] | None = None
        self._given = _Gate()

    def give(self, job: Callable[[], None]) -> None:
        self._job = job
        self._given.open()

    def run(self) -> None:
        while True:
            if not self._given.wait(_IDLE_SECONDS) and self._pool.dismiss(self):
                return
            job, self._job = self._job, None
            if job is None:
                continue
            job()
            del job
            if not self._pool.take_back(self):
                return


_pool = _Pool()


def _renew() -> None:
    global _pool  # noqa: PLW0603 - one pool a process; the threads of the old one stayed in the parent
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
