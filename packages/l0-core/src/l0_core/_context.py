"""What a session inherits from the code around it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from l0_core._clock import SECOND, clock

if TYPE_CHECKING:
    from l0_core._journal import Journal
    from l0_core._run import Frame


class Pulling:
    """Whether a session is waiting for its provider right now. Cheaper to move than a context variable.

    Attributes:
        active: Whether it is.
        is_unsent: Whether the request has not gone out for certain: no provider can be behind what fails.
    """

    __slots__ = ("active", "is_unsent")

    def __init__(self, *, active: bool = False) -> None:
        self.active = active
        self.is_unsent = False


_pulling: ContextVar[Pulling | None] = ContextVar("l0_pulling", default=None)


def enter(pulling: Pulling) -> None:
    """Let what runs in this context from now on see when `pulling` is active."""
    _pulling.set(pulling)


def in_attempt() -> bool:
    """Return whether this code runs inside an attempt of a session: what is opened here is protected already."""
    pulling = _pulling.get()
    return pulling is not None and pulling.active


def listening() -> None:
    """Say of the attempt this code runs in that its client says `sent` when the request goes out."""
    pulling = _pulling.get()
    if pulling is not None:
        pulling.is_unsent = True


def sent() -> None:
    """Say of the attempt this code runs in that its request goes out."""
    pulling = _pulling.get()
    if pulling is not None:
        pulling.is_unsent = False


_deadline: ContextVar[int | None] = ContextVar("l0_deadline", default=None)
_idempotency_key: ContextVar[str | None] = ContextVar("l0_idempotency_key", default=None)


@contextmanager
def deadline(seconds: float, *, reserve: float = 0.0) -> Iterator[None]:
    """Give every session and step inside what is left of `seconds`, less `reserve`.

    An outer deadline that is sooner wins.

    Args:
        seconds: How long the block may take.
        reserve: Seconds of it that are kept back for what the block does itself.

    Example:
        >>> import l0_core
        >>> with l0_core.deadline(8.0, reserve=1.5):
        ...     answer = "".join(l0_core.stream(lambda attempt: iter(["Paris."])))
        >>> answer
        'Paris.'
    """
    if not 0 <= reserve <= seconds:
        raise ValueError(f"reserve must be from 0 to the deadline's {seconds} seconds, not {reserve}")
    mine = clock().now() + int((seconds - reserve) * SECOND)
    outer = _deadline.get()
    token = _deadline.set(mine if outer is None else min(mine, outer - int(reserve * SECOND)))
    try:
        yield
    finally:
        _deadline.reset(token)


def inherited_deadline() -> int | None:
    """Return the moment by which a session that begins here must end."""
    return _deadline.get()


class Scope(NamedTuple):
    """What sessions that begin here are written down under.

    Attributes:
        journal: Where.
        run: The run they belong to.
        step: The step they are.
        user: For whom they are.
        lease: What must hold for anything to be written.
    """

    journal: "Journal"
    run: bytes | None = None
    step: bytes | None = None
    user: str | None = None
    lease: Any = None


_scope: ContextVar[Scope | None] = ContextVar("l0_scope", default=None)


def scope() -> Scope | None:
    """Return what a session that begins here is written down under."""
    return _scope.get()


@contextmanager
def within(entered: Scope | None) -> Iterator[None]:
    """Write sessions that begin in this block down under `entered`."""
    token = _scope.set(entered)
    try:
        yield
    finally:
        _scope.reset(token)


def idempotency_key() -> str | None:
    """Return the key of the step this code runs in: the same however often the step is tried."""
    return _idempotency_key.get()


@contextmanager
def keyed(key: str) -> Iterator[None]:
    """Let `idempotency_key` say `key` to the code inside: what is tried again there is the same piece of work."""
    token = _idempotency_key.set(key)
    try:
        yield
    finally:
        _idempotency_key.reset(token)


_frame: "ContextVar[Frame | None]" = ContextVar("l0_frame", default=None)


def current_frame() -> "Frame | None":
    """Return what a step that begins here is nested in: a run, a step of one, or nothing."""
    frame = _frame.get()
    return None if frame is None or frame.run.lets_go else frame


@contextmanager
def nested(frame: "Frame") -> Iterator[None]:
    """Nest the steps that begin in this block in `frame`."""
    token = _frame.set(frame)
    try:
        yield
    finally:
        _frame.reset(token)
