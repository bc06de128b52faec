"""`@l0_core.step`: a function that is done once in a run."""

import functools
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

from l0_core._codec import Results
from l0_core._context import current_frame
from l0_core._errors import L0Error, StepNotSerializable
from l0_core._keys import arguments, form_of
from l0_core._run import Taken, Unknown, answered_by, settled

Fn = TypeVar("Fn", bound=Callable[..., Any])
T = TypeVar("T")

_log = logging.getLogger("l0")


@overload
def step(fn: Fn, /) -> Fn: ...


@overload
def step(*, name: str | None = None, side_effect: bool = True, unknown: Unknown = "retry") -> Callable[[Fn], Fn]: ...


def step(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    side_effect: bool = True,
    unknown: Unknown = "retry",
) -> Any:
    """Make a function a step of whatever run it is called in: done once, its result remembered. Outside it is itself.

    What it returns is JSON, a dataclass, pydantic model, enum or named tuple that its return annotation names, or what
    a framework's codec knows; anything else raises `StepNotSerializable`. `l0_core.idempotency_key()` inside it is the
    same however often it is tried.

    Args:
        fn: The function, `def` or `async def`.
        name: What it is known by; the function's own name where nothing is said. Renaming it makes it another step.
        side_effect: Whether it changes something outside. If so, the intent is on disk before it is called, as far as
            the journal's durability says.
        unknown: What becomes of one that was begun and has no outcome, because the process died in it: it is done again
            (`retry`), refused with `UnknownOutcome` (`fail`), or the run's `ask` decides.

    Example:
        >>> import l0_core
        >>> @l0_core.step
        ... def charge(order: int) -> str:
        ...     return f"charged {order} with {l0_core.idempotency_key()}"
        >>> charge(7)  # outside of a run
        'charged 7 with None'
    """
    if unknown not in {"retry", "fail", "ask"}:
        raise L0Error(f"unknown is retry, fail or ask, not {unknown!r}")
    if fn is None:
        return functools.partial(_step, name=name, side_effect=side_effect, unknown=unknown)
    return _step(fn, name=name, side_effect=side_effect, unknown=unknown)


def _step(fn: Callable[..., Any], *, name: str | None, side_effect: bool, unknown: Unknown) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise L0Error("a step returns one value: a stream is a step by itself, opened with l0_core.stream inside a run")
    known_as = name or fn.__qualname__.rpartition("<locals>.")[2]
    results = Results(known_as, fn)

    def take(args: Any, kwargs: Any) -> Taken | None:
        frame = current_frame()
        if frame is None:
            return None
        form = form_of(arguments(fn, args, kwargs))
        taken: Taken = frame.run.take(frame, known_as, form, kind="function", side_effect=side_effect)
        return taken

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        taken = take(args, kwargs)
        return fn(*args, **kwargs) if taken is None else perform(taken, results, lambda: fn(*args, **kwargs), unknown)

    @functools.wraps(fn)
    async def acall(*args: Any, **kwargs: Any) -> Any:
        taken = take(args, kwargs)
        if taken is None:
            return await fn(*args, **kwargs)
        return await aperform(taken, results, lambda: fn(*args, **kwargs), unknown)

    return acall if inspect.iscoroutinefunction(fn) else call


def perform(taken: Taken, results: Results, do: Callable[[], T], unknown: Unknown = "retry") -> T:
    """Return what `do` returns, or what it returned when it was recorded."""
    if taken.is_remembered:
        return results.decode(taken.result())  # type: ignore[no-any-return]
    if taken.is_unknown and unknown != "retry":
        _decide(taken, answered_by(taken.run, taken) if unknown == "ask" else "fail")
    ticket = taken.intend()
    if ticket is not None:
        ticket.wait()
    try:
        with taken.inside():
            value = do()
        written = _written(taken, results, value)
    except Exception as error:
        taken.fail(error)
        raise
    if written is None:
        return value
    ticket = taken.finish(written)
    if ticket is not None:
        ticket.wait()
    return value


async def aperform(taken: Taken, results: Results, do: Callable[[], Awaitable[T]], unknown: Unknown = "retry") -> T:
    """Return what `do` returns, or what it returned when it was recorded: the async twin of `perform`."""
    if taken.is_remembered:
        return results.decode(taken.result())  # type: ignore[no-any-return]
    if taken.is_unknown and unknown != "retry":
        answer = answered_by(taken.run, taken) if unknown == "ask" else "fail"
        _decide(taken, await answer if inspect.isawaitable(answer) else answer)
    ticket = taken.intend()
    if ticket is not None:
        await settled(ticket)
    try:
        with taken.inside():
            value = await do()
        written = _written(taken, results, value)
    except Exception as error:
        taken.fail(error)
        raise
    if written is None:
        return value
    ticket = taken.finish(written)
    if ticket is not None:
        await settled(ticket)
    return value


def _written(taken: Taken, results: Results, value: object) -> str | None:
    """Return a result as it is written down; nothing where that cannot be, and need not."""
    try:
        return results.encode(value)
    except StepNotSerializable as error:
        if taken.run.must_remember:
            raise
        _log.warning("run=%s: a result is not remembered: %s", taken.run.id, error)
        return None


def _decide(taken: Taken, answer: object) -> None:
    if answer == "fail":
        taken.give_up()
    if answer != "retry":
        raise L0Error(f"whoever is asked about the step {taken.key.name} answers retry or fail, not {answer!r}")
