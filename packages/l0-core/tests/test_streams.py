"""One clean stream, whatever fails on the way: every promise on every driver."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from driving import Driver, policy

import l0_core
from l0_core import _clock

ANSWER = "The capital of France is Paris, which lies on the Seine, and it has been so for a very long time."
WORDS = [f"{word} " for word in ANSWER.split(" ")]


def healthy(attempt: l0_core.Attempt) -> Iterator[str]:
    yield from WORDS


def cut(after: int, *, times: int = 1, error: Exception | None = None) -> Callable[[l0_core.Attempt], Iterator[str]]:
    """A source that starts over at every attempt, and breaks off in the first ones."""

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        for place, word in enumerate(WORDS):
            if attempt.number < times and place == after:
                raise error or ConnectionResetError("reset by peer")
            yield word

    return source


def test_without_a_fault_the_consumer_gets_the_same_objects(drive: Driver) -> None:
    """G7."""
    run = drive(healthy)
    assert all(given is sent for given, sent in zip(run.chunks, WORDS, strict=True))
    assert run.result is not None
    assert run.result.status == "complete"
    assert (run.result.attempts, run.result.faults, run.result.degraded, run.result.continued) == (1, (), False, False)


@pytest.mark.parametrize("after", range(len(WORDS)))
def test_a_cut_anywhere_is_healed_and_nothing_is_doubled(drive: Driver, after: int) -> None:
    """G1, G4."""
    run = drive(cut(after))
    assert run.error is None
    assert run.text == "".join(WORDS)
    assert run.result is not None
    assert run.result.text == run.text
    assert run.result.attempts == 2
    assert run.result.faults[0].fault == "network"
    assert run.result.continued == (after > 0), "a continuation is never silent (G8)"


def test_a_source_that_takes_a_prefix_goes_on_from_it(drive: Driver) -> None:
    prefixes: list[str] = []

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        prefixes.append(attempt.prefix)
        done = len(attempt.prefix.split())
        for place, word in enumerate(WORDS[done:]):
            if attempt.number == 0 and place == 7:
                raise ConnectionResetError
            yield word

    run = drive(l0_core.Target(source, prefill=True))
    assert run.text == "".join(WORDS)
    assert prefixes == ["", "".join(WORDS[:7]).rstrip()]
    assert run.result is not None
    assert [splice.method for splice in run.result.splices] == ["appended"]


def test_a_source_that_is_asked_repeats_the_last_words_and_goes_on(drive: Driver) -> None:
    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        if attempt.mode == "prompt":
            assert attempt.anchor in attempt.instruction
            yield "Sure, here is the rest:\n"
            yield attempt.anchor.upper()
            yield " in other words, the end."
            return
        yield from WORDS[:12]
        raise ConnectionResetError

    run = drive(source)
    assert run.text == "".join(WORDS[:12]) + "in other words, the end."
    assert run.result is not None
    assert [splice.method for splice in run.result.splices] == ["anchor_loosely"]


def test_two_answers_are_never_glued(drive: Driver) -> None:
    """G1: a source that says it in other words each time, and knows nothing of continuations."""

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        yield from ([*WORDS[:9]] if attempt.number == 0 else ["Paris ", "is the capital."])
        if attempt.number == 0:
            raise ConnectionResetError

    run = drive(source)
    assert isinstance(run.error, l0_core.IncompleteError)
    assert run.text == "".join(WORDS[:9])
    assert run.error.partial_chars == len(run.text)
    assert isinstance(run.error.__cause__, ConnectionResetError)


def test_a_fallback_serves_and_is_marked(drive: Driver) -> None:
    """G8."""

    def down(attempt: l0_core.Attempt) -> Iterator[str]:
        if attempt.number >= 0:
            raise ConnectionRefusedError
        yield ""

    fallback = l0_core.Target(healthy, name="b", quality="basic", cost="low")
    run = drive(down, fallbacks=(fallback,), policy=policy(retry={"max_retries": 1}))
    assert run.text == "".join(WORDS)
    assert run.result is not None
    assert (run.result.served_by, run.result.degraded) == ("b", True)
    assert (run.result.quality, run.result.cost) == ("basic", "low")


def test_a_reset_reaches_only_those_who_asked_for_it(drive: Driver) -> None:
    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        if attempt.number == 0:
            yield "One answer"
            raise ConnectionResetError
        yield "Another one."

    run = drive(source, policy=policy(continuation={"rungs": ["reset"]}))
    assert run.chunks == ["One answer", l0_core.RESET, "Another one."]
    assert run.result is not None
    assert (run.result.text, run.result.resets) == ("Another one.", 1)


class Bug(Exception):  # noqa: N818
    pass


def test_what_is_the_callers_is_raised_as_it_is(drive: Driver) -> None:
    bug = Bug("mine")
    run = drive(cut(3, error=bug, times=9))
    assert run.error is bug
    assert bug.l0.faults[-1].fault == "internal"  # type: ignore[attr-defined]
    assert bug.l0.attempts == 1  # type: ignore[attr-defined]


class Status(Exception):  # noqa: N818
    def __init__(self, status_code: int) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code


@pytest.mark.parametrize(("status", "fault"), [(400, "request"), (401, "auth"), (402, "quota"), (404, "request")])
def test_what_cannot_succeed_is_not_retried(drive: Driver, status: int, fault: str) -> None:
    """G4."""
    error = Status(status)
    run = drive(cut(0, error=error, times=9))
    assert run.error is error
    assert error.l0.attempts == 1  # type: ignore[attr-defined]
    assert error.l0.faults[0].fault == fault  # type: ignore[attr-defined]


def test_what_cannot_be_healed_says_what_to_do(drive: Driver) -> None:
    run = drive(cut(0, times=99))
    assert isinstance(run.error, l0_core.ExhaustedError)
    assert run.error.attempts == 7, "the first attempt and six retries (G3)"
    assert run.error.fault == "network"
    assert run.error.category == "dependency"
    assert not run.error.is_retryable
    assert not isinstance(run.error, ValueError | TypeError)


def test_an_empty_answer_is_asked_for_again(drive: Driver) -> None:
    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        yield "  \n"
        if attempt.number == 1:
            yield "An answer."

    assert drive(source).text == "  \nAn answer."


def test_nothing_is_given_after_the_deadline(drive: Driver, virtual_clock: _clock.VirtualClock) -> None:
    """G3."""

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        yield "in time "
        virtual_clock.advance(3)
        yield "too late"

    run = drive(source, policy=policy(timeouts={"total": 2}))
    assert isinstance(run.error, l0_core.DeadlineError)
    assert "too late" not in run.chunks


def test_a_deadline_is_inherited(drive: Driver, virtual_clock: _clock.VirtualClock) -> None:
    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        assert attempt.time_left <= 5
        yield "in time "
        virtual_clock.advance(6)
        yield "too late"

    with l0_core.deadline(100), l0_core.deadline(8, reserve=3):
        run = drive(source)
    assert isinstance(run.error, l0_core.DeadlineError)


def fragment(args: str, *, name: str | None = None) -> l0_core.Chunk:
    return l0_core.Chunk(tools=(l0_core.ToolFragment(0, name=name, args=args),))


def test_a_tool_call_is_given_whole_or_not_at_all(drive: Driver) -> None:
    """G2."""
    pieces = [fragment("", name="weather"), fragment('{"city": "Pa'), fragment('ris"}')]
    end = l0_core.Chunk(finish_reason="tool_calls", usage=l0_core.Usage(input=3, output=5))

    def source(attempt: l0_core.Attempt) -> Iterator[l0_core.Chunk]:
        if attempt.number == 0:
            yield from pieces[:2]
            return
        yield from pieces
        yield end

    run = drive(l0_core.Target(source, terminal="finish_reason"))
    given = [chunk for chunk in run.chunks if chunk.tools]
    assert all(chunk is piece for chunk, piece in zip(given, pieces, strict=True)), "the same objects (G7)"
    assert run.result is not None
    assert run.result.tool_calls == (l0_core.ToolCall(None, "weather", '{"city": "Paris"}'),)
    assert run.result.usage == l0_core.Usage(input=3, output=5)
    assert run.result.faults[0].fault == "network", "the finish reason it had declared was missing"


@pytest.mark.parametrize("word", ["content_filter", "refusal"])
def test_a_refusal_is_told(drive: Driver, word: str) -> None:
    run = drive(lambda attempt: iter([l0_core.Chunk("I "), l0_core.Chunk(finish_reason=word)]))
    assert isinstance(run.error, l0_core.RefusedOutput)


def test_a_lone_surrogate_passes_unchanged(drive: Driver) -> None:
    """G7."""
    chunks = ["a\ud83d", "\ude00b", "\udcff", "c"]
    assert drive(lambda attempt: iter(chunks)).chunks == chunks


def test_listeners_hear_what_happens_and_cannot_break_it(drive: Driver) -> None:
    heard: list[str] = []

    def listener(name: str) -> Callable[..., None]:
        def hear(*facts: object) -> None:
            heard.append(name)
            raise RuntimeError(name)

        return hear

    names = ["start", "attempt", "fault", "retry", "fallback", "splice", "complete", "error"]
    lifecycle = l0_core.Lifecycle(**{f"on_{name}": listener(name) for name in names})
    assert drive(cut(5), on=lifecycle).text == "".join(WORDS)
    assert heard == ["start", "attempt", "fault", "retry", "attempt", "splice", "complete"]


def test_an_async_listener_is_heard(drive: Driver) -> None:
    import threading

    heard = threading.Event()

    async def hear(*facts: object) -> None:
        heard.set()

    drive(cut(2), on=l0_core.Lifecycle(on_fault=hear))
    assert heard.wait(30)


def test_one_line_a_fault_and_nothing_of_what_was_said(drive: Driver, caplog: pytest.LogCaptureFixture) -> None:
    secret = "sk-very-secret"  # noqa: S105
    with caplog.at_level(logging.DEBUG, "l0"):
        run = drive(cut(4, error=ConnectionResetError(f"prompt and key {secret}")))
    assert run.error is None
    lines = [record.getMessage() for record in caplog.records if record.name == "l0"]
    assert len(lines) == 1
    assert run.result is not None
    assert f"session={run.result.session_id}" in lines[0]
    assert "fault=network" in lines[0]
    assert secret not in caplog.text
    assert "France" not in caplog.text


def test_what_is_protected_already_passes_through(drive: Driver) -> None:
    inner: list[l0_core.Attempt] = []

    def nested(attempt: l0_core.Attempt) -> Iterator[str]:
        inner.append(attempt)
        yield "from inside"
        if len(inner) == 1:
            raise ConnectionResetError

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        yield "An answer "
        yield from l0_core.stream(nested)

    run = drive(source)
    assert run.text == "An answer from inside"
    assert len(inner) == 2, "the outer session retried, the inner one did not"


def test_it_can_be_switched_off(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("L0_DISABLE", "1")
    run = drive(cut(3))
    assert isinstance(run.error, ConnectionResetError)
    assert run.chunks == WORDS[:3]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda attempt: 7, "must return an .*iterator of chunks"),
        (lambda attempt: iter([7]), "int"),
        (lambda: iter(["a"]), "positional argument"),
    ],
    ids=["no iterator", "wrong type", "no argument"],
)
def test_a_source_that_is_none_is_refused_clearly(drive: Driver, source: Any, message: str) -> None:
    run = drive(source)
    assert isinstance(run.error, TypeError)
    with pytest.raises(TypeError, match=message):
        raise run.error
    assert run.result is not None
    assert run.result.attempts == 1, "a bug is not retried"


def test_what_cannot_be_called_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"the source must be a callable.*not list"):
        l0_core.stream(["a"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"fallback 1 must be a callable.*not str"):
        l0_core.astream(healthy, fallbacks=["b"])  # type: ignore[list-item]


def test_two_targets_need_two_names(drive: Driver) -> None:
    with pytest.raises(l0_core.PolicyError, match="two are named"):
        drive(l0_core.Target(healthy, name="a"), fallbacks=(l0_core.Target(healthy, name="a"),))


def test_retries_wait_and_waiting_is_virtual_here(drive: Driver, virtual_clock: _clock.VirtualClock) -> None:
    drive(cut(0, times=3), policy=policy(retry={"jitter": "none"}))
    assert virtual_clock.waited / _clock.SECOND == pytest.approx(0.5 + 1 + 2, abs=0.2)
