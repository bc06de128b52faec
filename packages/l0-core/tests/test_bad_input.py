"""What can never work is said at once, by name, and tried once; the caller's own exception is raised as it is."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

import l0_core
from l0_core import _clock
from l0_core._context import listening, sent

Ask = Callable[..., Any]


def streamed(source: Any, **options: Any) -> list[Any]:
    return list(l0_core.stream(source, **options))


def read_directly(source: Any, **options: Any) -> list[Any]:
    return list(l0_core.stream(source, stall_guard="off", **options))


def astreamed(source: Any, **options: Any) -> list[Any]:
    async def read() -> list[Any]:
        return [chunk async for chunk in l0_core.astream(source, **options)]

    return asyncio.run(read())


def called(source: Any, **options: Any) -> Any:
    return l0_core.call(source, **options)


def acalled(source: Any, **options: Any) -> Any:
    return asyncio.run(l0_core.acall(source, **options))


STREAMS = [streamed, read_directly, astreamed]
ALL = [*STREAMS, called, acalled]


class Count:
    """How often a source was opened."""

    def __init__(self) -> None:
        self.opened = 0

    def giving(self, value: object, *, is_async: bool = False) -> Callable[..., Any]:
        """A source, or a function, that returns this, or raises it."""

        def plain(*_: object) -> object:
            self.opened += 1
            if isinstance(value, BaseException):
                raise value
            return value

        async def awaited(*_: object) -> object:
            return plain()

        return awaited if is_async else plain


async def async_chunks() -> AsyncIterator[str]:
    yield "x"


@pytest.fixture
def count() -> Count:
    return Count()


@pytest.mark.parametrize("ask", ALL)
@pytest.mark.parametrize("source", [3, None, "text", ["a"], {"open": 1}], ids=repr)
def test_what_is_not_callable_is_refused_before_anything_is_opened(ask: Ask, source: object, count: Count) -> None:
    with pytest.raises(TypeError, match=r"the source must be a callable.* not (int|NoneType|str|list|dict)$"):
        ask(source)
    fine = count.giving(iter(["x"]), is_async=ask is acalled)
    with pytest.raises(TypeError, match=r"fallback 2 must be a callable"):
        ask(fine, fallbacks=[fine, source])
    assert count.opened == 0


@pytest.mark.parametrize("make", [l0_core.stream, l0_core.astream])
def test_a_stream_refuses_it_when_it_is_made_and_not_when_it_is_read(make: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="the source must be a callable"):
        make(3)


@pytest.mark.parametrize("ask", STREAMS)
@pytest.mark.parametrize("value", [3, None, object()], ids=["int", "None", "object"])
def test_what_gives_no_iterator_is_refused_by_name(ask: Ask, value: object, count: Count) -> None:
    with pytest.raises(TypeError, match=rf"open_ must return an .*iterator of chunks.* not {type(value).__name__}"):
        ask(count.giving(value))
    assert count.opened == 1


def test_the_wrong_kind_of_iterator_says_which_function_takes_it(count: Count) -> None:
    for ask in (streamed, read_directly):
        with pytest.raises(TypeError, match=r"not async_generator: for an async iterator use astream"):
            ask(lambda _: async_chunks())
    with pytest.raises(TypeError, match=r"for a plain iterator use stream"):
        astreamed(count.giving(iter(["x"])))


@pytest.mark.parametrize("ask", STREAMS)
@pytest.mark.parametrize("chunk", [3, b"bytes", None], ids=repr)
def test_a_chunk_of_no_known_kind_is_refused_by_name(ask: Ask, chunk: object, count: Count) -> None:
    async def one() -> AsyncIterator[object]:
        yield chunk

    def make(attempt: l0_core.Attempt) -> Any:
        count.opened += 1
        return one() if ask is astreamed else iter([chunk])

    with pytest.raises(TypeError, match=f"a source yields builtins.{type(chunk).__name__}, which is no kind of chunk"):
        ask(make)
    assert count.opened == 1


@pytest.mark.parametrize("ask", ALL)
@pytest.mark.parametrize("kind", [TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError])
def test_a_mistake_before_any_byte_is_raised_as_it_is(ask: Ask, kind: type[Exception], count: Count) -> None:
    mistake = kind("mine")
    with pytest.raises(kind) as caught:
        ask(count.giving(mistake, is_async=ask in {astreamed, acalled}))
    assert caught.value is mistake
    assert mistake.l0.attempts == 1  # type: ignore[attr-defined]
    assert count.opened == 1, "a bug is not tried again"


@pytest.mark.parametrize("ask", ALL)
def test_a_source_of_the_wrong_arity_is_the_callers_mistake(ask: Ask) -> None:
    opened = 0

    def with_two(first: object, second: object) -> Iterator[str]:
        nonlocal opened
        opened += 1
        yield "x"

    async def awaited(first: object, second: object) -> str:
        return "x"

    with pytest.raises(TypeError, match="positional argument"):
        ask(awaited if ask is acalled else with_two)
    assert opened == 0


def test_a_call_of_a_coroutine_function_says_which_function_takes_it(count: Count) -> None:
    with pytest.raises(TypeError, match=r"awaited is a coroutine function: use acall$"):
        l0_core.call(count.giving("x", is_async=True))
    plain: Callable[[], Awaitable[str]] = count.giving("x")
    with pytest.raises(TypeError, match=r"plain must return an awaitable, not str: use call$"):
        asyncio.run(l0_core.acall(plain))
    assert count.opened == 1, "it was not tried again"


@pytest.mark.parametrize("ask", ALL)
def test_a_policy_that_is_none_is_refused_before_anything_is_opened(ask: Ask, count: Count) -> None:
    fine = count.giving(iter(["x"]), is_async=ask is acalled)
    for wrong in ("no-such-preset", 3):
        with pytest.raises((l0_core.PolicyError, TypeError)):
            ask(fine, policy=wrong)
    assert count.opened == 0


@pytest.mark.parametrize("ask", STREAMS)
@pytest.mark.parametrize("went_out", [False, True, None], ids=["unsent", "sent", "nobody says"])
def test_where_a_client_says_when_it_sends_a_mistake_before_that_is_the_callers(
    ask: Ask, *, went_out: bool | None, count: Count
) -> None:
    """G4: what no provider can be behind, no other attempt could mend; each attempt says it for itself."""

    def parse() -> Iterator[str]:
        if went_out is not None:
            listening()
        if went_out:
            sent()
        yield json.loads("no JSON")

    async def parse_async() -> AsyncIterator[str]:
        for chunk in parse():
            yield chunk

    def make(_: l0_core.Attempt) -> Any:
        count.opened += 1
        return parse_async() if ask is astreamed else parse()

    _clock.run_by(_clock.VirtualClock())
    try:
        with pytest.raises(json.JSONDecodeError if went_out is False else l0_core.ExhaustedError):
            ask(make)
    finally:
        _clock.run_by(None)
    assert count.opened == (1 if went_out is False else 2)
