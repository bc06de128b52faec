"""Runs: finished steps are never done again, whatever happens in between (G5, G6)."""

# ruff: noqa: PT012 - what raises is the run as a whole

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import l0_core
from l0_core import Journal, JournalError, ReplayDivergence
from l0_core._history import STEP_BEGAN, History
from l0_core._journal import run_id


class Killed(KeyboardInterrupt):
    """The process dies here: nobody may catch it."""


@pytest.fixture
def journal() -> Journal:
    return Journal.memory()


@dataclass
class World:
    """What is outside: it counts what was done to it, and has the process killed at a moment of the test's choosing."""

    done: "Counter[object]"
    keys: "dict[object, set[str | None]]"
    kill_at: int = -1
    moments: int = 0

    @classmethod
    def new(cls) -> "World":
        return cls(Counter(), {})

    def moment(self) -> None:
        self.moments += 1
        if self.moments - 1 == self.kill_at:
            raise Killed

    def do(self, what: object) -> object:
        self.moment()
        self.done[what] += 1
        self.keys.setdefault(what, set()).add(l0_core.idempotency_key())
        self.moment()
        return what


def made(name: str, fn: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    step: Callable[..., Any] = l0_core.step(name=name, **options)(fn)
    return step


Program = Callable[[World], Any]


def program(world: World) -> list[Any]:
    @l0_core.step
    def retrieve(query: str) -> list[str]:
        return [str(world.do(f"retrieve {query}"))]

    @l0_core.step
    def charge(order: int) -> int:
        world.do(f"charge {order}")
        return order

    @l0_core.step
    def outer(order: int) -> int:
        return charge(order) + charge(order)

    world.moment()
    found = retrieve("a")
    charged = [charge(number) for number in (1, 2, 1)]
    world.moment()
    return [found, charged, outer(3), retrieve("b")]


def aprogram(world: World) -> list[Any]:
    @l0_core.step
    async def retrieve(query: str) -> list[str]:
        await asyncio.sleep(0)
        return [str(world.do(f"retrieve {query}"))]

    @l0_core.step
    async def charge(order: int) -> int:
        world.do(f"charge {order}")
        await asyncio.sleep(0)
        return order

    @l0_core.step
    async def outer(order: int) -> int:
        return await charge(order) + await charge(order)

    async def main() -> list[Any]:
        world.moment()
        found = await retrieve("a")
        charged = [await charge(number) for number in (1, 2, 1)]
        world.moment()
        return [found, charged, await outer(3), await retrieve("b")]

    return main()  # type: ignore[return-value]


@pytest.fixture(params=["sync", "async"])
def play(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run the program once, in a run."""

    def sync(world: World, journal: Journal, **options: Any) -> Any:
        with l0_core.run("job-42", journal=journal, **options):
            return program(world)

    def coro(world: World, journal: Journal, **options: Any) -> Any:
        async def main() -> Any:
            async with l0_core.run("job-42", journal=journal, **options):
                return await aprogram(world)  # type: ignore[misc]

        return asyncio.run(main())

    return sync if request.param == "sync" else coro


EXPECTED = [["retrieve a"], [1, 2, 1], 6, ["retrieve b"]]
ONCE: Counter[object] = Counter({"retrieve a": 1, "charge 1": 2, "charge 2": 1, "charge 3": 2, "retrieve b": 1})


def test_killed_anywhere_and_started_again_it_ends_as_if_nothing_had_happened(play: Callable[..., Any]) -> None:
    whole = World.new()
    assert play(whole, Journal.memory()) == EXPECTED
    for moment in range(whole.moments):
        journal, world = Journal.memory(), World.new()
        world.kill_at = moment
        with pytest.raises(Killed):
            play(world, journal)
        assert play(world, journal) == EXPECTED
        # What the kill fell into is unknown and done again, with the same key; nothing else is.
        again = world.done - ONCE
        assert sum(again.values()) <= 1
        for what, keys in world.keys.items():
            assert None not in keys
            assert len(keys) == ONCE[what]
        before = world.done.copy()
        assert play(world, journal) == EXPECTED
        assert world.done == before, "a finished run returns its records"


def test_killed_again_and_again(play: Callable[..., Any]) -> None:
    journal, world = Journal.memory(), World.new()
    kills = 0
    while True:
        world.moments, world.kill_at = 0, 4
        try:
            assert play(world, journal) == EXPECTED
            break
        except Killed:
            kills += 1
    assert kills > 3
    assert {what: len(keys) for what, keys in world.keys.items()} == ONCE


def test_a_replay_calls_nothing(play: Callable[..., Any], journal: Journal) -> None:
    world = World.new()
    play(world, journal)
    records = len(journal.load(run_id("job-42")))
    still = World.new()
    assert play(still, journal, mode="replay") == EXPECTED
    assert not still.done
    assert len(journal.load(run_id("job-42"))) == records, "and writes nothing"


def test_rows_say_what_there_was(journal: Journal) -> None:
    with pytest.raises(ZeroDivisionError), l0_core.run("job", journal=journal, tenant="acme"):
        made("fine", lambda: 1)()
        made("bad", lambda: 1 / 0)()
    (row,) = journal.runs()
    assert (row["name"], row["status"], row["fault"], row["tenant"]) == ("job", "failed", "ZeroDivisionError", "acme")
    assert row["started_at_ms"] > 0
    steps = {step["name"]: step for step in journal.steps("job")}
    assert {name: step["status"] for name, step in steps.items()} == {"fine": "finished", "bad": "failed"}
    assert steps["bad"]["fault"] == "ZeroDivisionError"
    assert len(steps["fine"]["idempotency_key"]) == 32


class Ticket:
    """A disk that takes its time: who waits for it is written down."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def wait(self) -> bool:
        self.events.append("on disk")
        return True

    def on_answer(self, callback: Callable[[Exception | None], object]) -> None:
        def answer() -> None:
            self.events.append("on disk")
            callback(None)

        threading.Thread(target=answer).start()


def test_a_side_effect_waits_until_its_intent_is_on_disk(
    play: Callable[..., Any], journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One barrier for each side effect, after its intent and before it is done; none for what has none."""
    events: list[str] = []
    write = l0_core.Run.write

    def written(run: l0_core.Run, kind: int, said: dict[str, Any], content: Any = None) -> int:
        seq = write(run, kind, said, content)
        if kind == STEP_BEGAN:
            events.append(f"intent {said['name']}")
        return seq

    monkeypatch.setattr(l0_core.Run, "write", written)
    monkeypatch.setattr(l0_core.Run, "barrier", lambda _: Ticket(events))
    world = World.new()
    do = world.do

    def doing(what: object) -> object:
        events.append(f"done {what}")
        return do(what)

    monkeypatch.setattr(world, "do", doing)
    play(world, journal)
    done = [place for place, event in enumerate(events) if event.startswith("done")]
    assert len(done) == 7
    for place in done:
        assert events[place - 2].startswith("intent")
        assert events[place - 1] == "on disk"
    assert events.count("on disk") == sum(event.startswith("intent") for event in events) == 8
    events.clear()
    with l0_core.run("other", journal=journal):
        made("pure", lambda: events.append("done"), side_effect=False)()
    assert events == ["intent pure", "done"]


# Modes ---------------------------------------------------------------------------------------------------------------


def test_modes_do_what_they_say_and_nothing_else(journal: Journal) -> None:
    with pytest.raises(JournalError, match="no run job"), l0_core.run("job", journal=journal, mode="resume"):
        pass
    with pytest.raises(JournalError, match="no run job"), l0_core.run("job", journal=journal, mode="replay"):
        pass
    with l0_core.run("job", journal=journal, mode="record") as run:
        assert run.mode == "record"
    with pytest.raises(JournalError, match="already"), l0_core.run("job", journal=journal, mode="record"):
        pass
    with pytest.raises(Killed), l0_core.run("other", journal=journal):
        raise Killed
    with l0_core.run("other", journal=journal, mode="resume") as run:
        assert run.mode == "resume"


def test_what_is_said_wrongly_is_refused(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("L0_JOURNAL", raising=False)
    for wrong in ({"mode": "later"}, {"on_change": "maybe"}):
        with pytest.raises(l0_core.L0Error):
            l0_core.run("job", journal=journal, **wrong)  # type: ignore[arg-type]
    with pytest.raises(l0_core.L0Error, match="characters"):
        l0_core.run("", journal=journal)
    with pytest.raises(JournalError, match="L0_JOURNAL"):
        l0_core.run("job")
    with pytest.raises(l0_core.L0Error, match="unknown is"):
        l0_core.step(unknown="guess")  # type: ignore[call-overload]

    def chunks() -> Iterator[int]:
        yield 1

    with pytest.raises(l0_core.L0Error, match="stream"):
        l0_core.step(chunks)
    run = l0_core.run("job", journal=journal)
    with run:
        pass
    with pytest.raises(l0_core.L0Error, match="entered before"), run:
        pass


def test_outside_of_a_run_a_step_is_the_function_itself() -> None:
    world = World.new()
    assert program(world) == EXPECTED
    assert world.keys["charge 2"] == {None}


# What is unknown -----------------------------------------------------------------------------------------------------


def unknown_charge(journal: Journal, **options: Any) -> tuple[Callable[..., int], list[int]]:
    """A step that was killed inside its first call."""
    calls: list[int] = []

    @l0_core.step(**options)
    def charge(order: int) -> int:
        calls.append(order)
        if len(calls) == 1:
            raise Killed
        return order

    with pytest.raises(Killed), l0_core.run("job", journal=journal):
        charge(7)
    return charge, calls


def test_an_unknown_outcome_is_retried_refused_or_asked_for(journal: Journal) -> None:
    charge, calls = unknown_charge(journal, unknown="fail")
    with (
        pytest.raises(l0_core.UnknownOutcome, match=r"idempotency key [0-9a-f]{32}"),
        l0_core.run("job", journal=journal),
    ):
        charge(7)
    assert calls == [7]

    doubts: list[l0_core.Doubt] = []

    def ask(doubt: l0_core.Doubt) -> str:
        doubts.append(doubt)
        return "fail" if len(doubts) == 1 else "retry"

    journal = Journal.memory()
    charge, calls = unknown_charge(journal, unknown="ask")
    with pytest.raises(l0_core.UnknownOutcome), l0_core.run("job", journal=journal):
        charge(7)
    with pytest.raises(l0_core.UnknownOutcome), l0_core.run("job", journal=journal, ask=ask):
        charge(7)
    with l0_core.run("job", journal=journal, ask=ask):
        assert charge(7) == 7
    assert calls == [7, 7]
    assert doubts[0].step == "charge"
    assert doubts[0].input == {"order": 7}
    assert doubts[0].idempotency_key == doubts[1].idempotency_key

    journal = Journal.memory()
    charge, calls = unknown_charge(journal, unknown="retry")
    with l0_core.run("job", journal=journal):
        assert charge(7) == 7


async def test_who_is_asked_may_be_awaited(journal: Journal) -> None:
    calls: list[int] = []

    @l0_core.step(unknown="ask")
    async def charge(order: int) -> int:
        calls.append(order)
        if len(calls) == 1:
            raise asyncio.CancelledError
        return order

    async def ask(doubt: l0_core.Doubt) -> str:
        await asyncio.sleep(0)
        return "retry"

    with pytest.raises(asyncio.CancelledError):
        async with l0_core.run("job", journal=journal):
            await charge(7)
    async with l0_core.run("job", journal=journal, ask=ask):
        assert await charge(7) == 7


def test_what_has_no_side_effect_is_never_unknown(journal: Journal) -> None:
    charge, _ = unknown_charge(journal, side_effect=False, unknown="fail")
    with l0_core.run("job", journal=journal):
        assert charge(7) == 7


# What fails ----------------------------------------------------------------------------------------------------------


class DeclinedError(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"declined: {code}")
        self.code = code
        self.reason = reason
        self._request = {"authorization": "secret"}


def test_the_failure_that_ended_a_run_is_tried_again(journal: Journal) -> None:
    outcomes: list[Any] = [ValueError("no"), ValueError("no"), 5]

    @l0_core.step
    def flaky() -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return int(outcome)

    for _ in range(2):
        with pytest.raises(ValueError, match="no"), l0_core.run("job", journal=journal):
            flaky()
    with l0_core.run("job", journal=journal):
        assert flaky() == 5


def test_a_failure_that_the_program_went_on_after_is_part_of_what_happened(journal: Journal) -> None:
    tried: list[str] = []
    told: list[tuple[object, ...]] = []

    @l0_core.step
    def pay(card: str) -> str:
        tried.append(card)
        if card == "first":
            raise DeclinedError(51, reason="funds")
        return card

    @l0_core.step
    def ship() -> str:
        tried.append("ship")
        if tried.count("ship") == 1:
            raise Killed
        return "shipped"

    def work() -> str:
        try:
            return pay("first")
        except DeclinedError as error:
            told.append((str(error), error.code, error.reason))
            return pay("second")
        finally:
            ship()

    with pytest.raises(Killed), l0_core.run("job", journal=journal):
        work()
    with l0_core.run("job", journal=journal):
        assert work() == "second"
    assert tried == ["first", "second", "ship", "ship"]
    assert told == [("declined: 51", 51, "funds")] * 2
    with l0_core.run("job", journal=journal, mode="replay"):
        assert work() == "second"
    written = b"".join(content for record in journal.load(run_id("job")) for _, _, content in record.contents)
    assert b"secret" not in written


def test_an_exception_unknown_here_is_told_by_name(journal: Journal) -> None:
    gone = type("Gone", (Exception,), {"__module__": "no_such_module"})

    @l0_core.step
    def bad() -> None:
        raise gone("x")

    def work() -> str:
        try:
            bad()
        except Exception as error:  # noqa: BLE001 - it is looked at
            return f"{type(error).__name__}: {error}"
        return "fine"

    with l0_core.run("job", journal=journal):
        assert work() == "Gone: x"
    with l0_core.run("job", journal=journal, mode="replay"):
        assert work() == "StepFailed: the step bad failed with no_such_module.Gone when it was recorded"


def test_a_result_that_cannot_be_remembered_is_refused(journal: Journal) -> None:
    with pytest.raises(l0_core.StepNotSerializable, match="step bad"), l0_core.run("job", journal=journal):
        made("bad", object)()


# What changed --------------------------------------------------------------------------------------------------------


def two_steps(prompt: str, calls: list[str]) -> str:
    @l0_core.step
    def find(query: str) -> str:
        calls.append(f"find {query}")
        return query

    @l0_core.step
    def ask(messages: list[dict[str, str]]) -> str:
        calls.append(f"ask {messages[0]['content']}")
        return messages[0]["content"].upper()

    return ask([{"role": "user", "content": f"{prompt} {find('docs')}"}])


def test_one_word_changed_is_told_exactly_where(journal: Journal) -> None:
    calls: list[str] = []
    with l0_core.run("job", journal=journal):
        two_steps("please read", calls)
    for mode in ("auto", "replay"):
        with pytest.raises(ReplayDivergence) as caught, l0_core.run("job", journal=journal, mode=mode):
            two_steps("please skim", calls)
        error = caught.value
        assert error.record == 3
        (change,) = error.changes
        assert (change.path, change.expected, change.actual, change.at) == (
            "messages[0].content",
            "please read docs",
            "please skim docs",
            7,
        )
        assert "messages[0].content differs from character 7" in str(error)
        assert "read" not in str(error), "a message quotes no prompt"
    assert len(calls) == 2


def test_a_change_that_is_allowed_goes_live_with_all_after_it(journal: Journal) -> None:
    calls: list[str] = []

    @l0_core.step
    def after() -> str:
        calls.append("after")
        return "after"

    with l0_core.run("job", journal=journal):
        two_steps("read", calls)
        after()
    with l0_core.run("job", journal=journal, on_change="live") as run:
        assert two_steps("skim", calls) == "SKIM DOCS"
        after()
        assert isinstance(run, l0_core.Run)
        assert run.is_live
    assert calls == ["find docs", "ask read docs", "after", "ask skim docs", "after"]
    with l0_core.run("job", journal=journal):
        assert two_steps("skim", calls) == "SKIM DOCS"
        after()
    assert len(calls) == 5
    with pytest.raises(ReplayDivergence), l0_core.run("job", journal=journal):
        two_steps("read", calls)


def test_a_step_that_is_new_or_gone_diverges_in_a_replay(journal: Journal) -> None:
    first, second, third = (made(name, lambda: 1) for name in ("first", "second", "third"))
    with l0_core.run("job", journal=journal):
        first()
        second()
    with pytest.raises(ReplayDivergence, match="without the step third") as caught, l0_core.run("job", journal=journal):
        first()
        third()
    assert (caught.value.expected, caught.value.actual) == ("second", "third")
    with pytest.raises(ReplayDivergence, match="ended without the step second"), l0_core.run("job", journal=journal):
        first()
    with pytest.raises(ReplayDivergence, match="without the step first"), l0_core.run("job", journal=journal):
        first()
        second()
        first()


def test_a_replay_ends_where_the_recording_broke_off(journal: Journal) -> None:
    charge, calls = unknown_charge(journal)
    with pytest.raises(ReplayDivergence, match="broke off"), l0_core.run("job", journal=journal, mode="replay"):
        charge(7)
    assert calls == [7]


def test_a_changed_input_of_the_step_that_was_interrupted_diverges(journal: Journal) -> None:
    charge, calls = unknown_charge(journal)
    with pytest.raises(ReplayDivergence, match="order differs"), l0_core.run("job", journal=journal):
        charge(8)
    assert calls == [7]


# Side by side --------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.data())
def test_the_order_of_branches_does_not_matter(data: st.DataObject) -> None:  # noqa: C901 - one program
    """However tasks are interleaved, before the kill and after it: nothing finished is done again, nothing diverges."""
    inputs = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=8))
    orders = [random.Random(data.draw(st.integers(0, 1000))) for _ in range(2)]  # noqa: S311 - no secret
    kill_at = data.draw(st.integers(0, 4 * len(inputs)))
    finished: Counter[Any] = Counter()
    journal, moments = Journal.memory(), 0

    async def attempt(order: random.Random, kill_at: int) -> list[Any]:
        nonlocal moments
        moments = 0

        async def pause() -> None:
            nonlocal moments
            for _ in range(order.randrange(4)):
                await asyncio.sleep(0)
            moments += 1
            if moments - 1 == kill_at:
                raise Killed

        @l0_core.step
        async def look(n: int) -> int:
            await pause()
            finished["look", n] += 1
            return n

        @l0_core.step
        async def tell(n: int) -> int:
            await pause()
            finished["tell", n] += 1
            return -n

        async def branch(n: int) -> int:
            await pause()
            return await tell(await look(n))

        async with l0_core.run("job", journal=journal):
            mixed = list(enumerate(inputs))
            order.shuffle(mixed)
            answers = await asyncio.gather(*(branch(n) for _, n in mixed))
            return [answer for _, answer in sorted(zip((place for place, _ in mixed), answers, strict=True))]

    def go(order: random.Random, kill_at: int) -> list[Any] | None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # the dead retrieve nothing
        try:
            return loop.run_until_complete(attempt(order, kill_at))
        except Killed:
            return None
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            while pending := asyncio.all_tasks(loop):
                with suppress(Killed):
                    loop.run_until_complete(asyncio.wait(pending))
            loop.close()

    first = go(orders[0], kill_at)
    kept = History.read(journal.load(run_id("job"))).steps
    before = Counter((step.key.name, step.key.digest) for step in kept.values() if step.status == "finished")
    done_before = finished.copy()
    assert go(orders[1], -1) == [-n for n in inputs]
    wanted = Counter([(name, n) for name in ("look", "tell") for n in inputs])
    if first is not None:
        assert finished == wanted
    again = finished - done_before
    assert sum(again.values()) == sum(wanted.values()) - sum(before.values())


def test_branches_in_threads(journal: Journal) -> None:
    done: Counter[int] = Counter()
    killing = True

    @l0_core.step
    def work(n: int) -> int:
        if killing and n == 13:
            raise Killed
        done[n] += 1
        return n * n

    def branch(n: int) -> int:
        return work(n) + work(n + 100)

    def play() -> list[int]:
        with l0_core.run("job", journal=journal), ThreadPoolExecutor(4) as pool:
            contexts = [copy_context() for _ in range(20)]
            return list(pool.map(lambda n: contexts[n].run(branch, n), range(20)))

    with pytest.raises(Killed):
        play()
    killing = False
    assert play() == [n * n + (n + 100) ** 2 for n in range(20)]
    assert set(done.values()) == {1}
    assert play() == [n * n + (n + 100) ** 2 for n in range(20)]
    assert set(done.values()) == {1}


async def test_a_changed_input_in_a_branch_is_found(journal: Journal) -> None:
    calls: list[str] = []
    killing = True

    @l0_core.step
    async def look(n: int) -> int:
        return n

    @l0_core.step
    async def tell(text: str) -> str:
        calls.append(text)
        return text

    @l0_core.step
    async def close() -> None:
        if killing:
            raise Killed

    async def branch(n: int, word: str) -> str:
        return await tell(f"{word} {await look(n)}")

    async def play(word: str) -> None:
        async with l0_core.run("job", journal=journal):
            await asyncio.gather(branch(1, "a"), branch(2, word))
            await close()

    with pytest.raises(Killed):
        await play("b")
    killing = False
    with pytest.raises(ReplayDivergence, match="step tell"):
        await play("c")
    await play("b")
    assert sorted(calls) == ["a 1", "b 2"]


async def test_a_branch_whose_first_step_changed_is_found_once_the_parent_had_gone_on(journal: Journal) -> None:
    killing = True

    @l0_core.step
    async def tell(text: str) -> str:
        return text

    @l0_core.step
    async def close() -> None:
        if killing:
            raise Killed

    async def play(word: str) -> None:
        async with l0_core.run("job", journal=journal):
            await asyncio.gather(tell("a"), tell(word))
            await close()

    with pytest.raises(Killed):
        await play("b")
    killing = False
    with pytest.raises(ReplayDivergence, match="step tell"):
        await play("c")
    await play("b")


# Nesting -------------------------------------------------------------------------------------------------------------


def test_a_run_inside_a_run_is_a_part_of_it(journal: Journal) -> None:
    calls: list[str] = []
    killing = True

    @l0_core.step
    def note(text: str) -> str:
        calls.append(text)
        if killing and text == "last":
            raise Killed
        return text

    def play() -> list[str]:
        with l0_core.run("outer", journal=journal):
            with l0_core.run("inner") as inner:
                assert inner.journal is journal
                first = [note("same"), note("same")]
            with l0_core.run("other"):
                return [*first, note("same"), note("last")]

    with pytest.raises(Killed):
        play()
    killing = False
    assert play() == ["same", "same", "same", "last"]
    assert calls == ["same", "same", "same", "last", "last"]
    assert [row["name"] for row in journal.runs()] == ["outer"]
    play()
    assert len(calls) == 5


def test_a_run_with_a_journal_of_its_own_is_a_run_of_its_own(journal: Journal) -> None:
    other = Journal.memory()
    with l0_core.run("outer", journal=journal), l0_core.run("inner", journal=other) as inner:
        made("f", lambda: 1)()
        assert isinstance(inner, l0_core.Run)
    assert len(other.steps("inner")) == 1
    assert journal.steps("outer") == []


def test_a_deadline_of_a_run_holds_inside(journal: Journal) -> None:
    done: list[int] = []
    late = made("late", lambda: done.append(1))
    with pytest.raises(l0_core.DeadlineError), l0_core.run("job", journal=journal, deadline=0.0):
        late()
    assert not done
    with pytest.raises(l0_core.DeadlineError), l0_core.run("job", journal=journal, deadline=0.0):
        "".join(l0_core.stream(lambda _: iter(["x"])))


# Who works on it -----------------------------------------------------------------------------------------------------


def test_one_works_on_a_run_and_the_other_waits_or_fails(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "l0.db")
    inside, leave, order = threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        with l0_core.run("job", journal=journal):
            inside.set()
            leave.wait()
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    with pytest.raises(JournalError, match="somebody else") as caught, l0_core.run("job", journal=journal):
        pass
    assert caught.value.reason == "held"
    leave.set()
    with l0_core.run("job", journal=journal, wait=30.0):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


async def test_waiting_for_a_run_does_not_hold_the_loop_up(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "l0.db")
    async with l0_core.run("job", journal=journal):

        async def other() -> None:
            async with l0_core.run("job", journal=journal, wait=30.0, mode="resume"):
                pass

        waiting = asyncio.create_task(other(), context=copy_context())
        for _ in range(3):
            await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with l0_core.run("job", journal=journal):
        pass


def test_what_still_runs_when_the_run_is_over_is_told(journal: Journal) -> None:
    late = made("late", lambda: 1)
    with l0_core.run("job", journal=journal):
        context = copy_context()
    with pytest.raises(l0_core.L0Error, match="is over"):
        context.run(late)


# A journal that fails ------------------------------------------------------------------------------------------------


class Failing:
    """A store that takes a number of records and then none."""

    def __init__(self, takes: int) -> None:
        self.takes = takes
        self.records: list[Any] = []

    def append(self, stream: bytes, kind: int, payload: bytes, contents: Any, at_ns: int) -> int:
        if len(self.records) >= self.takes:
            raise JournalError("full", reason="full")
        self.records.append((kind, payload, contents))
        return len(self.records) - 1

    def load(self, stream: bytes, from_: int, limit: int) -> list[Any]:
        return []

    def put(self, table: str, row: Any) -> None: ...

    def list(self, table: str, conditions: Any) -> Any:
        return [], None

    def lease(self, run: bytes, wait: float) -> Any:
        return Journal.memory().lease(run)


def test_side_effects_fail_closed_and_the_rest_goes_on() -> None:
    done: list[str] = []
    pure = made("pure", lambda: done.append("pure"), side_effect=False)
    charge = made("charge", lambda: done.append("charge"))
    with pytest.raises(JournalError), l0_core.run("job", journal=Journal(Failing(1))) as run:
        pure()
        assert isinstance(run, l0_core.Run)
        assert run.lost
        charge()
    assert done == ["pure"]
    done.clear()
    with pytest.raises(JournalError), l0_core.run("job", journal=Journal(Failing(1), on_loss="raise")):
        pure()
    assert done == []


def test_a_side_effect_that_cannot_be_written_down_afterwards_is_told() -> None:
    done: list[str] = []
    charge = made("charge", lambda: done.append("charge"))
    with pytest.raises(JournalError), l0_core.run("job", journal=Journal(Failing(2))):
        charge()
    assert done == ["charge"]


def test_redacted_results_cannot_be_resumed_and_that_is_told() -> None:
    journal = Journal.memory(redaction={"tool_result": "none", "tool_arguments": "hashed"})
    twice = made("twice", lambda n: 2 * n)
    with l0_core.run("job", journal=journal):
        twice(21)
    with pytest.raises(JournalError, match="redacted"), l0_core.run("job", journal=journal):
        twice(21)
    with pytest.raises(ReplayDivergence, match="digest differs"), l0_core.run("job", journal=journal):
        twice(22)


class Asked:
    """A journal's native half that notes what had to be waited for."""

    def __init__(self, native: Any) -> None:
        self.asked: list[str] = []
        self._native = native

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def barrier(self, before: str) -> Any:
        self.asked.append(before)
        return self._native.barrier(before)


@pytest.mark.parametrize("durability", ["fast", "safe", "paranoid"])
def test_what_a_charge_returned_is_seen_once_it_is_on_disk(tmp_path: Path, durability: Any) -> None:
    """G5 in `paranoid`: whoever has the receipt has it after a loss of power."""
    with Journal.open(tmp_path / "l0.db", durability=durability) as journal:
        asked = Asked(journal._native)
        journal._native = asked  # type: ignore[assignment]
        with l0_core.run("job", journal=journal):
            assert made("charge", lambda: "receipt")() == "receipt"
            assert asked.asked == (["release"] if durability == "paranoid" else [])
        journal._native = asked._native
