"""The one fleet of the process: retry budgets, breakers and limits, shared by all its sessions."""

import os
import threading
from collections.abc import Callable

from l0_core import _native
from l0_core._clock import clock


class Fleet:
    """Answers whether an attempt may be opened, and wakes whoever waits for a place."""

    def __init__(self) -> None:
        self._native = _native.Fleet()
        self._waiters: dict[int, Callable[[], object]] = {}
        self._lock = threading.Lock()

    def ask(self, key: tuple[str, str], purpose: int, force: bool, policy: _native.Policy) -> tuple[int, int]:  # noqa: FBT001 - the engine's own question
        """Return the answer as the session takes it, or `(3, ticket)` for a place in the queue."""
        return self._native.ask(clock().now(), *key, purpose, force, policy)

    def wait(self, ticket: int, wake: Callable[[], object]) -> None:
        """Call `wake`, from any thread, whenever the turn of `ticket` may have come."""
        with self._lock:
            self._waiters[ticket] = wake

    def is_called(self, key: tuple[str, str], ticket: int, purpose: int, policy: _native.Policy) -> bool:
        """Return whether the turn of `ticket` has come; if so it holds a place now."""
        called = self._native.is_called(clock().now(), *key, ticket, purpose, policy)
        if called:
            self._forget(ticket)
        return called

    def leave(self, key: tuple[str, str], ticket: int) -> None:
        """Give up a place in the queue."""
        self._native.leave(*key, ticket)
        self._forget(ticket)

    def report(self, key: tuple[str, str], outcome: "_native.Report", policy: _native.Policy) -> None:
        """Take in how an attempt ended."""
        self._native.report(clock().now(), *key, outcome, policy)
        self._wake()

    def _forget(self, ticket: int) -> None:
        with self._lock:
            self._waiters.pop(ticket, None)
        self._wake()

    def _wake(self) -> None:
        if self._waiters:
            with self._lock:
                waiters = list(self._waiters.values())
            for wake in waiters:
                wake()


_fleet = Fleet()


def fleet() -> Fleet:
    """Return the process's fleet."""
    return _fleet


def renew() -> None:
    """Begin with a fleet that has seen nothing: for tests, and for a process that was forked."""
    global _fleet  # noqa: PLW0603 - one fleet a process
    _fleet = Fleet()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renew)
