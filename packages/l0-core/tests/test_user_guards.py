"""Guards of your own: asked by the engine before anything is shown, on every driver."""
# ruff: noqa: FBT001 - a guard is given what every guard is given

import asyncio
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from driving import Driver
from pydantic import ValidationError

import l0_core
from l0_core import Policy, _clock, guards

Asked = list[tuple[str, bool]]


def politics_once(attempt: l0_core.Attempt) -> Iterator[str]:
    yield "It is "
    yield "about politics" if attempt.number == 0 else "about the weather"
    yield "."


@guards.guard(name="no-politics", version=1)
def no_politics(text: str, final: bool) -> str | None:
    return "politics" if "politics" in text else None


@guards.guard(name="no-politics", version=1)
async def no_politics_async(text: str, final: bool) -> str | None:
    await asyncio.sleep(0)
    return "politics" if "politics" in text else None


@pytest.mark.parametrize("guard", [no_politics, no_politics_async], ids=["def", "async def"])
@pytest.mark.parametrize("delivery", ["live", "guarded", "whole"])
def test_a_chunk_that_a_guard_objects_to_is_not_shown(drive: Driver, guard: guards.UserGuard, delivery: Any) -> None:
    run = drive(politics_once, policy=Policy(guards=[guard], delivery=delivery))
    assert run.error is None
    assert run.text == "It is about the weather."
    assert run.result is not None
    assert [(fault.fault, fault.code) for fault in run.result.faults] == [("content", "no-politics")]
    assert [(said.guard, said.reason) for said in run.result.objections] == [("no-politics", "politics")]


def test_a_window_is_what_is_new_and_a_thousand_characters_before(drive: Driver) -> None:
    asked: Asked = []

    @guards.guard(name="looks", version=1)
    def looks(text: str, final: bool) -> None:
        asked.append((text, final))

    chunks = ["a" * 1_000, "b" * 1_000, "c", "d"]
    run = drive(lambda _: iter(chunks), policy=Policy(guards=[looks]))
    assert run.chunks == chunks
    last = "a" * 24 + "b" * 1_000
    assert asked == [
        ("a" * 1_000, False),
        ("a" * 1_000 + "b" * 1_000, False),
        (last + "c", False),
        (last[1:] + "cd", False),
        (last[2:] + "cd", True),
    ]


def test_the_whole_is_asked_about_once(drive: Driver) -> None:
    asked: Asked = []

    @guards.guard(name="looks", version="2026-11", on="whole")
    def looks(text: str, final: bool) -> str | None:
        asked.append((text, final))
        return "politics" if "politics" in text else None

    run = drive(politics_once, policy=Policy(guards=[looks], delivery="whole"))
    assert run.text == "It is about the weather."
    assert asked == [("It is about politics.", True), ("It is about the weather.", True)]


def test_a_target_is_told_what_to_put_right(drive: Driver) -> None:
    told: list[l0_core.Attempt] = []

    @guards.guard(name="short", version=1, on="whole", retries=1)
    def short(text: str, final: bool) -> guards.Dissent | None:
        return guards.Dissent("too long", ["Say it in five characters."]) if len(text) > 5 else None

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        told.append(attempt)
        yield "much too long" if attempt.target == "first" else "short"

    first, second = l0_core.Target(source, name="first"), l0_core.Target(source, name="second")
    run = drive(first, fallbacks=(second,), policy=Policy(guards=[short], delivery="whole"))
    assert run.text == "short"
    assert [(attempt.target, attempt.mode, attempt.rejected, [*attempt.errors]) for attempt in told] == [
        ("first", "fresh", "", []),
        ("first", "fresh", "much too long", ["Say it in five characters."]),
        ("second", "fresh", "", []),
    ]
    assert "Say it in five characters." in told[1].instruction
    assert not told[2].instruction
    assert run.result is not None
    assert run.result.degraded


@pytest.mark.parametrize("on", ["window", "whole"])
def test_what_a_guard_raises_is_the_callers_own_fault(drive: Driver, on: Any) -> None:
    @guards.guard(name="broken", version=1, on=on)
    def broken(text: str, final: bool) -> None:
        raise KeyError("threshold")

    run = drive(politics_once, policy=Policy(guards=[broken]))
    assert isinstance(run.error, KeyError)
    assert run.error.l0.faults[0].fault == "internal"  # type: ignore[attr-defined]
    assert run.result is not None
    assert run.result.attempts == 1


def test_an_answer_that_is_none_is_refused_by_name(drive: Driver) -> None:
    @guards.guard(name="vague", version=1)
    def vague(text: str, final: bool) -> Any:
        return True

    run = drive(politics_once, policy=Policy(guards=[vague]))
    assert isinstance(run.error, TypeError)
    assert "guard 'vague' must return None" in str(run.error)


def test_a_warning_lets_it_pass(drive: Driver) -> None:
    @guards.guard(name="notes", version=1, severity="warn")
    def notes(text: str, final: bool) -> str | None:
        return "politics" if "politics" in text and not final else None

    run = drive(politics_once, policy=Policy(guards=[notes]))
    assert run.text == "It is about politics."
    assert run.result is not None
    assert [said.severity for said in run.result.objections] == ["warn", "warn"]


def test_nobody_is_asked_where_there_are_none(drive: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Free for those who have none: no question, and the same objects (G7)."""
    monkeypatch.setattr("l0_core._drive.Drive._check", None)
    chunks = ["one ", "two"]
    run = drive(lambda _: iter(chunks), policy=Policy(guards=[guards.secrets()]))
    assert all(given is sent for given, sent in zip(run.chunks, chunks, strict=True))


def test_an_async_guard_of_a_sync_stream_is_left_at_the_deadline() -> None:
    """It has a loop of its own, in a thread, which can be left."""
    _clock.run_by(None)
    never = threading.Event()

    @guards.guard(name="slow", version=1)
    async def slow(text: str, final: bool) -> None:
        await asyncio.to_thread(never.wait, 20)

    with l0_core.deadline(0.05), pytest.raises(l0_core.DeadlineError):
        list(l0_core.stream(politics_once, policy=Policy(guards=[slow]), stall_guard="off"))
    never.set()


async def test_an_async_guard_is_awaited_no_longer_than_the_deadline() -> None:
    _clock.run_by(None)
    cancelled = False

    @guards.guard(name="slow", version=1)
    async def slow(text: str, final: bool) -> None:
        nonlocal cancelled
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled = True
            raise

    async def source(attempt: l0_core.Attempt) -> Any:
        yield "one"

    with l0_core.deadline(0.05), pytest.raises(l0_core.DeadlineError):
        [chunk async for chunk in l0_core.astream(source, policy=Policy(guards=[slow]))]
    assert cancelled


def test_a_policy_carries_its_guards_and_quotes_them() -> None:
    policy = Policy(guards=[guards.secrets(), no_politics])
    assert policy.digest != Policy(guards=[guards.secrets()]).digest
    again = pickle.loads(pickle.dumps(policy))  # noqa: S301 - its own
    assert again.guards[1] is no_politics
    assert again.digest == policy.digest
    assert no_politics("politics", final=False) == "politics"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Policy(guards=[guards.Guard(name="x", check={"user": {"version": "1"}})]),
            "make it with guards.guard",
        ),
        (lambda: Policy(input_guards=[no_politics]), "input_guards"),
        (lambda: Policy(guards=[guards.guard(name="", version=1)(lambda text, final: None)]), r"guards\[0\]\.name"),
    ],
)
def test_a_guard_that_cannot_be_is_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make()


def test_a_local_guard_crosses_no_process() -> None:
    with pytest.raises(TypeError, match="must be a name at the top of a module"):
        pickle.dumps(guards.guard(name="x", version=1)(lambda text, final: None))


# Inputs ---------------------------------------------------------------------------------------------------------------

SECRET = "AKIA" + "IOSFODNN7EXAMQLE"


@pytest.mark.parametrize("severity", ["warn", "error", "fatal"])
def test_what_the_model_would_be_given_is_checked_first(drive: Driver, severity: Any) -> None:
    opened: list[int] = []

    def source(attempt: l0_core.Attempt) -> Iterator[str]:
        opened.append(attempt.number)
        yield "ok"

    policy = Policy(input_guards=[guards.secrets(severity=severity)])
    run = drive(source, policy=policy, input=["harmless", f"my key is {SECRET}"])
    assert run.result is not None
    assert [(said.guard, said.start) for said in run.result.objections] == [("secrets", 10)]
    if severity == "warn":
        assert run.text == "ok"
        return
    assert isinstance(run.error, l0_core.ContentError)
    assert opened == []
    assert SECRET not in str(run.error)
    assert "would have been given" in str(run.error)


async def test_calls_check_what_they_are_told_they_send() -> None:
    policy = Policy(input_guards=[guards.secrets()])
    with pytest.raises(l0_core.ContentError):
        l0_core.call(lambda: 1, policy=policy, input=[SECRET])

    async def two() -> int:
        return 2

    with pytest.raises(l0_core.ContentError):
        await l0_core.acall(two, policy=policy, input=[SECRET])
    assert l0_core.call(lambda: 1, policy=policy, input=["fine", "\ud800"]) == 1
