"""Beginning a stream before it is read, and calls whose values are answers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import l0_core
from l0_core import Facts, Unsent

Source = Callable[[l0_core.Attempt], Any]


class Begun:
    """Begins a stream, and then reads it, in one of the three ways."""

    def __init__(self, way: str) -> None:
        self.way = way

    def __call__(self, source: Source, **options: Any) -> "list[Any]":
        return self.read(self.begin(source, **options))

    def begin(self, source: Source, **options: Any) -> Any:
        if self.way == "async":
            self.loop = asyncio.new_event_loop()

            async def opened(attempt: l0_core.Attempt) -> Any:
                chunks = source(attempt)

                async def pull() -> AsyncIterator[Any]:
                    for chunk in chunks:
                        yield chunk

                return pull()

            return self.loop.run_until_complete(self._begin(opened, options))
        guard: Any = self.way.removeprefix("sync-")
        return l0_core.stream(source, stall_guard=guard, **options).begin()

    async def _begin(self, source: Source, options: Any) -> Any:
        return await l0_core.astream(source, **options).begin()

    def read(self, stream: Any) -> "list[Any]":
        async def all_of() -> list[Any]:
            return [chunk async for chunk in stream]

        try:
            return self.loop.run_until_complete(all_of()) if self.way == "async" else list(stream)
        finally:
            self.close()

    def close(self) -> None:
        if self.way == "async":
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()


@pytest.fixture(params=["sync-thread", "sync-off", "async"])
def begun(request: pytest.FixtureRequest) -> Begun:
    return Begun(request.param)


def test_a_begun_stream_is_open_and_unread(begun: Begun) -> None:
    seen: list[str] = []

    def chunks() -> Iterator[str]:
        seen.append("read")
        yield "Paris."

    def source(_: l0_core.Attempt) -> Iterator[str]:
        seen.append("open")
        return chunks()

    stream = begun.begin(source)
    assert seen == ["open"]
    assert begun.read(stream) == ["Paris."]
    assert seen == ["open", "read"]


def test_a_mistake_in_the_call_is_raised_by_begin(begun: Begun) -> None:
    mistake = TypeError("no such argument")

    def source(_: l0_core.Attempt) -> Iterator[str]:
        raise mistake

    try:
        with pytest.raises(TypeError) as caught:
            begun.begin(source)
    finally:
        begun.close()
    assert caught.value is mistake


def test_what_a_retry_heals_is_not_raised_by_begin(begun: Begun) -> None:
    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        if attempt.number == 0:
            raise ConnectionResetError
        return iter(["Paris."])

    assert begun(source) == ["Paris."]


def test_an_error_before_anything_was_sent_is_the_callers(begun: Begun) -> None:
    mistake = KeyError("field")
    attempts: list[int] = []

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        attempts.append(attempt.number)
        yield from refuse()

    def refuse() -> Iterator[str]:
        raise Unsent from mistake

    stream = begun.begin(source)
    with pytest.raises(KeyError) as caught:
        begun.read(stream)
    assert caught.value is mistake
    assert attempts == [0]


def test_a_stream_that_is_begun_and_forgotten_is_closed() -> None:
    """G3: an upstream that is no longer wanted is closed, even if nobody ever read it."""
    closed: list[bool] = []

    class Upstream:
        def __iter__(self) -> Iterator[str]:
            return self

        def __next__(self) -> str:
            return "x"

        def close(self) -> None:
            closed.append(True)

    stream = l0_core.stream(lambda _: Upstream(), stall_guard="off").begin()
    del stream
    assert closed == [True]


class Answers:
    """Knows answers that are plain strings."""

    def text(self, chunk: str) -> str | None:
        return None

    def facts(self, chunk: str) -> Facts:
        return Facts(chunk)

    def cut(self, chunk: str, start: int, end: int, shown: object) -> str:
        raise AssertionError

    def encode(self, chunk: str) -> str:
        return chunk

    def decode(self, text: str) -> str:
        return text

    def final(self, metadata: object) -> None:
        return None


def test_a_call_whose_value_is_an_answer_does_not_take_an_empty_one() -> None:
    """G4: an empty answer is asked for again, sync and async."""
    answers = iter(["", " \n", "Paris.", "", "Paris."])
    assert l0_core.call(lambda: next(answers), port=Answers()) == "Paris."

    async def answer() -> str:
        return next(answers)

    assert asyncio.run(l0_core.acall(answer, port=Answers())) == "Paris."


def test_a_call_without_a_port_takes_any_value() -> None:
    assert l0_core.call(lambda: "") == ""
