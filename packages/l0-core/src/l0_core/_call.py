"""Calls that are not streams: retrieval, tools, any callable."""
# ruff: noqa: ARG002 - a port is given what every port is given

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from l0_core._async import AsyncStream
from l0_core._drive import Drive, ErrorClasses, NotAStream, drive_of, sources_of
from l0_core._lifecycle import Lifecycle
from l0_core._port import Attempt, ChunkPort, Facts, Opaque, Unsent
from l0_core._settings import PolicyLike, frame_here, policy_of
from l0_core._sync import Stream
from l0_core._target import Target

if TYPE_CHECKING:
    from l0_core._codec import Results
    from l0_core._journal import JournalLike
    from l0_core._run import Frame, Taken

T = TypeVar("T")


class _Value:
    """What a call returned, as the one chunk of its stream."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class _ValuePort:
    """Values are passed whole and not looked into; what a step could remember is written down, and is replayed.

    Args:
        fn: What is called: its annotation names the classes of its results.
    """

    def __init__(self, fn: Callable[..., Any] | None = None) -> None:
        self._fn = fn

    def text(self, chunk: _Value) -> str | None:
        return None

    def facts(self, chunk: _Value) -> Facts:
        return Facts(opaque=Opaque(0))

    def cut(self, chunk: _Value, start: int, end: int, shown: object) -> _Value:
        return chunk

    def encode(self, chunk: _Value) -> str:
        return self._results().encode(chunk.value)

    def decode(self, text: str) -> Any:
        return self._results().decode(text)

    def _results(self) -> "Results":
        from l0_core._codec import Results

        return Results("call", self._fn)

    def final(self, metadata: Mapping[str, object]) -> _Value | None:
        return None


def _function(fn: Any) -> Callable[..., Any]:
    """Return what is called, whose annotation names the classes of its results."""
    return fn.open if isinstance(fn, Target) else fn


def _port(port: ChunkPort[Any] | None, fn: Any) -> ChunkPort[Any]:
    """Return the port the caller gave, or one that passes values whole."""
    return _ValuePort(_function(fn)) if port is None else port


def _targets(
    sources: Sequence[Target | Callable[..., Any]], wrap: Callable[[Callable[..., Any]], Callable[[Attempt], Any]]
) -> list[Target]:
    """Return targets whose stream is the one value that the source returns."""
    return [
        replace(target, open=wrap(target.open), name=target.label(place), whole=True)
        for place, target in enumerate(sources_of(*sources))
    ]


class _Options(TypedDict):
    """What a session is given, whichever way it is read."""

    streamed: bool
    on: Lifecycle | None
    tenant: str | None
    port: ChunkPort[Any]
    errors: ErrorClasses | None
    input: object


def _called(fn: Callable[[], T]) -> T:
    """Call what takes no arguments; if it takes some, that is the caller's mistake and no fault."""
    try:
        return fn()
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise Unsent from error
        raise


def _name(fn: Callable[..., Any]) -> str:
    return getattr(fn, "__qualname__", type(fn).__name__)


def call(
    fn: Target | Callable[[], T],
    *,
    fallbacks: Sequence[Target | Callable[[], T]] = (),
    policy: PolicyLike = None,
    on: Lifecycle | None = None,
    tenant: str | None = None,
    errors: ErrorClasses | None = None,
    port: ChunkPort[T] | None = None,
    journal: "JournalLike" = None,
    input: object = None,  # noqa: A002 - what it is
) -> T:
    """Call `fn`, and again, and its fallbacks, as the policy allows; return what the first that succeeds returns.

    Args:
        fn: What is called.
        fallbacks: What is called when it fails for good, in this order.
        policy: A `Policy`, the name of a preset, or a file; `L0_POLICY`, or the standard one, where nothing is said.
        on: Listeners.
        tenant: Whose budgets and breakers it counts against.
        port: What knows the value, where it is an answer to be looked at: then an empty one is a fault.
        errors: Classes of a framework's own, raised in the place of L0's.
        journal: Where it is written down; that of `L0_JOURNAL` where nothing is said. Inside a run it is the run's.
        input: What it is given, in any shape. The policy's `input_guards` see every text in it; inside a run it tells
            the step from others of the same name, as else their order does.

    Example:
        >>> import l0_core
        >>> l0_core.call(lambda: ["a document"])
        ['a document']
    """

    def wrap(fn: Callable[..., Any]) -> Callable[[Attempt], Iterator[_Value]]:
        def open_(_: Attempt) -> Iterator[Any]:
            value = _called(fn)
            if inspect.iscoroutine(value):
                value.close()
                raise NotAStream(f"{_name(fn)} is a coroutine function: use acall")
            yield _Value(value) if port is None else value

        return open_

    sources, rules = _targets([fn, *fallbacks], wrap), policy_of(policy)
    options = _Options(streamed=False, on=on, tenant=tenant, port=_port(port, fn), errors=errors, input=input)
    frame = frame_here()
    if frame is None or port is not None:
        (value,) = Stream[Any](drive_of(sources, rules, **options, journal=journal))
        return value.value if port is None else value  # type: ignore[no-any-return]

    from l0_core._step import perform

    def do() -> T:
        (value,) = Stream[Any](Drive(sources, rules, **options))
        return value.value  # type: ignore[no-any-return]

    return perform(*_step(frame, sources[0].label(0), fn, input), do)


async def acall(
    fn: Target | Callable[[], Awaitable[T]],
    *,
    fallbacks: Sequence[Target | Callable[[], Awaitable[T]]] = (),
    policy: PolicyLike = None,
    on: Lifecycle | None = None,
    tenant: str | None = None,
    errors: ErrorClasses | None = None,
    port: ChunkPort[T] | None = None,
    journal: "JournalLike" = None,
    input: object = None,  # noqa: A002 - what it is
) -> T:
    """Await `fn()`, and again, and its fallbacks, as the policy allows; return what the first that succeeds returns."""

    def wrap(fn: Callable[..., Any]) -> Callable[[Attempt], AsyncIterator[_Value]]:
        async def open_(_: Attempt) -> AsyncIterator[Any]:
            value = _called(fn)
            if not inspect.isawaitable(value):
                raise NotAStream(f"{_name(fn)} must return an awaitable, not {type(value).__name__}: use call")
            yield _Value(await value) if port is None else await value

        return open_

    sources, rules = _targets([fn, *fallbacks], wrap), policy_of(policy)
    options = _Options(streamed=False, on=on, tenant=tenant, port=_port(port, fn), errors=errors, input=input)
    frame = frame_here()
    if frame is None or port is not None:
        (value,) = [value async for value in AsyncStream[Any](drive_of(sources, rules, **options, journal=journal))]
        return value.value if port is None else value  # type: ignore[no-any-return]

    from l0_core._step import aperform

    async def do() -> T:
        (value,) = [value async for value in AsyncStream[Any](Drive(sources, rules, **options))]
        return value.value  # type: ignore[no-any-return]

    return await aperform(*_step(frame, sources[0].label(0), fn, input), do)


def _step(frame: "Frame", name: str, fn: Any, given: object) -> "tuple[Taken, Results]":
    """Return the step that a call inside a run is, and what writes and reads its result."""
    from l0_core._codec import Results
    from l0_core._keys import form_of

    taken = frame.run.take(frame, name, form_of(given), kind="function", side_effect=True)
    return taken, Results(name, _function(fn))
