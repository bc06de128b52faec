"""Calls that are not streams: retrieval, tools, any callable."""
# ruff: noqa: ARG002 - a port is given what every port is given

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from l0_core._async import AsyncStream
from l0_core._drive import Drive, ErrorClasses, sources_of
from l0_core._lifecycle import Lifecycle
from l0_core._port import Attempt, ChunkPort, Facts, Opaque
from l0_core._settings import PolicyLike, policy_of
from l0_core._sync import Stream
from l0_core._target import Target

if TYPE_CHECKING:
    from l0_core._journal import JournalLike

T = TypeVar("T")


class _Value:
    """What a call returned, as the one chunk of its stream."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class _ValuePort:
    """Values are passed whole and not looked into."""

    def text(self, chunk: _Value) -> str | None:
        return None

    def facts(self, chunk: _Value) -> Facts:
        return Facts(opaque=Opaque(0))

    def cut(self, chunk: _Value, start: int, end: int, shown: object) -> _Value:
        return chunk

    def encode(self, chunk: _Value) -> str:
        raise NotImplementedError

    def decode(self, text: str) -> _Value:
        raise NotImplementedError

    def final(self, metadata: Mapping[str, object]) -> _Value | None:
        return None


_PORT = _ValuePort()


def _targets(
    sources: Sequence[Target | Callable[..., Any]], wrap: Callable[[Callable[..., Any]], Callable[[Attempt], Any]]
) -> list[Target]:
    """Return targets whose stream is the one value that the source returns."""
    return [
        replace(target, open=wrap(target.open), name=target.label(place), whole=True)
        for place, target in enumerate(sources_of(*sources))
    ]


def _plan(
    on: Lifecycle | None, tenant: str | None, port: ChunkPort[Any] | None, inputs: Sequence[str]
) -> dict[str, Any]:
    return {"streamed": False, "on": on, "tenant": tenant, "port": _PORT if port is None else port, "inputs": inputs}


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
    inputs: Sequence[str] = (),
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
        journal: Where it is written down; that of `L0_JOURNAL` where nothing is said.
        inputs: What is sent, where the policy's `input_guards` are to see it.

    Example:
        >>> import l0_core
        >>> l0_core.call(lambda: ["a document"])
        ['a document']
    """

    def wrap(fn: Callable[..., Any]) -> Callable[[Attempt], Iterator[_Value]]:
        def open_(_: Attempt) -> Iterator[Any]:
            yield _Value(fn()) if port is None else fn()

        return open_

    said = _plan(on, tenant, port, inputs)
    drive = Drive(_targets([fn, *fallbacks], wrap), policy_of(policy), **said, errors=errors, journal=journal)
    (value,) = Stream[Any](drive)
    return value.value if port is None else value  # type: ignore[no-any-return]


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
    inputs: Sequence[str] = (),
) -> T:
    """Await `fn()`, and again, and its fallbacks, as the policy allows; return what the first that succeeds returns."""

    def wrap(fn: Callable[..., Any]) -> Callable[[Attempt], AsyncIterator[_Value]]:
        async def open_(_: Attempt) -> AsyncIterator[Any]:
            yield _Value(await fn()) if port is None else await fn()

        return open_

    said = _plan(on, tenant, port, inputs)
    drive = Drive(_targets([fn, *fallbacks], wrap), policy_of(policy), **said, errors=errors, journal=journal)
    (value,) = [value async for value in AsyncStream[Any](drive)]
    return value.value if port is None else value  # type: ignore[no-any-return]
