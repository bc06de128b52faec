"""Sessions inside a run are steps: given again when they ended, gone on with where the process died (G1, G5, G6)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import l0_core
from l0_core import Attempt, Journal, JournalError, ReplayDivergence
from l0_core._recording import Recording


class Killed(KeyboardInterrupt):
    """The process dies here."""


TEXT = "The capital of France is Paris, and that of Italy is Rome."
PIECES = [TEXT[at : at + 5] for at in range(0, len(TEXT), 5)]
GIVEN = [*PIECES, "", ""]
"""What a consumer is given: the last but one says that nothing more comes, the last how it went."""


class Model:
    """Says `TEXT` in pieces, or the rest of it; and has the process killed where the test says."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []

    def __call__(self, attempt: Attempt) -> Iterator[Any]:
        self.attempts.append(attempt)
        left = TEXT[len(attempt.prefix) :]
        for at in range(0, len(left), 5):
            yield left[at : at + 5]
        yield l0_core.Chunk(finish_reason="stop")  # without which nothing said is nothing to go by


@pytest.fixture(params=["disk", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    if request.param == "memory":
        yield Journal.memory()
    else:
        with Journal.open(tmp_path / "l0.db") as journal:
            yield journal


Ask = Callable[..., list[str]]


@pytest.fixture(params=["sync-thread", "sync-off", "sync-begun", "async", "async-begun"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """One run with one answer in it; the process is killed after so many chunks."""

    def sync(model: Model, journal: Journal, kill_after: int = -1, **options: Any) -> list[str]:
        given: list[str] = []
        target = l0_core.Target(model, name="model", prefill=True)
        with l0_core.run("job", journal=journal, mode=options.pop("mode", "auto")):
            guard: Any = "off" if request.param == "sync-off" else "thread"
            stream = l0_core.stream(target, stall_guard=guard, **options)
            for chunk in stream.begin() if request.param == "sync-begun" else stream:
                given.append(chunk if isinstance(chunk, str) else chunk.text)
                if len(given) == kill_after:
                    raise Killed
        return given

    async def main(model: Model, journal: Journal, kill_after: int, options: dict[str, Any]) -> list[str]:
        async def source(attempt: Attempt) -> AsyncIterator[Any]:
            for piece in model(attempt):
                yield piece

        given: list[str] = []
        target = l0_core.Target(source, name="model", prefill=True)
        async with l0_core.run("job", journal=journal, mode=options.pop("mode", "auto")):
            stream = l0_core.astream(target, **options)
            async for chunk in await stream.begin() if request.param == "async-begun" else stream:
                given.append(chunk if isinstance(chunk, str) else chunk.text)
                if len(given) == kill_after:
                    raise Killed
        return given

    def coro(model: Model, journal: Journal, kill_after: int = -1, **options: Any) -> list[str]:
        return asyncio.run(main(model, journal, kill_after, options))

    return coro if request.param.startswith("async") else sync


def test_a_finished_answer_is_given_again_with_its_boundaries_and_no_call(ask: Ask, journal: Journal) -> None:
    model = Model()
    assert ask(model, journal) == GIVEN
    for mode in ("auto", "replay"):
        assert ask(model, journal, mode=mode) == GIVEN
    assert len(model.attempts) == 1
    (row,) = journal.sessions("job")
    (step,) = journal.steps("job")
    assert (step["kind"], step["status"], step["session"]) == ("model", "finished", row["id"])
    assert row["step"] == step["id"]


@pytest.mark.parametrize("kill_after", [1, 2, 7, *range(len(PIECES) - 1, len(GIVEN) + 1)])
def test_killed_in_the_middle_of_an_answer_it_goes_on_from_there(ask: Ask, journal: Journal, kill_after: int) -> None:
    model = Model()
    with pytest.raises(Killed):
        ask(model, journal, kill_after)
    given = ask(model, journal)
    assert "".join(given) == TEXT
    assert given[:kill_after] == GIVEN[:kill_after], "what was given is given again as it was"
    first, *others = model.attempts
    assert first.prefix == ""
    for attempt in others:
        assert attempt.prefix == "".join(GIVEN[:kill_after]), "and not asked for again"
    again = ask(model, journal)
    assert "".join(again) == TEXT
    assert len(model.attempts) == 1 + len(others)


def test_the_consumer_names_what_it_has_already(ask: Ask, journal: Journal) -> None:
    model = Model()
    with pytest.raises(Killed):
        ask(model, journal, 4)
    assert "".join(ask(model, journal, from_offset=12)) == TEXT[12:]
    assert "".join(ask(model, journal, from_offset=30)) == TEXT[30:]


def test_an_offset_into_nothing_is_refused(ask: Ask, journal: Journal) -> None:
    with pytest.raises(JournalError, match="no answer yet"):
        ask(Model(), journal, from_offset=3)
    with pytest.raises(JournalError, match="no run"):
        l0_core.stream(Model(), from_offset=3)
    with pytest.raises(JournalError, match="no run"):
        l0_core.astream(Model(), from_offset=3)


def test_a_changed_prompt_is_told(ask: Ask, journal: Journal) -> None:
    ask(Model(), journal, input={"messages": ["read this"]})
    model = Model()
    with pytest.raises(ReplayDivergence, match=r"messages\[0\] differs from character 0") as caught:
        ask(model, journal, input={"messages": ["skim this"]})
    assert caught.value.changes[0].actual == "skim this"
    assert model.attempts == []


def test_a_replay_of_an_answer_that_broke_off_says_so(ask: Ask, journal: Journal) -> None:
    model = Model()
    with pytest.raises(Killed):
        ask(model, journal, 4)
    with pytest.raises(ReplayDivergence, match="broke off in the step model"):
        ask(model, journal, mode="replay")
    assert len(model.attempts) == 1


def test_a_consumer_that_leaves_early_leaves_at_the_same_place_again(journal: Journal) -> None:
    model = Model()

    def play(**options: Any) -> list[str]:
        with l0_core.run("job", journal=journal, **options):
            given = []
            for chunk in l0_core.stream(model):
                given.append(chunk)
                if len(given) == 3:
                    break
            given.append(l0_core.step(str.upper)("then"))
            return given

    for mode in ("auto", "auto", "replay"):
        assert play(mode=mode) == [*PIECES[:3], "THEN"]
    assert len(model.attempts) == 1


def test_a_failure_that_the_program_went_on_after_comes_again(journal: Journal) -> None:
    class RefusedError(Exception):
        status_code = 400

    calls: list[str] = []
    killing = True

    def bad(attempt: Attempt) -> Iterator[str]:
        calls.append("bad")
        yield from ()
        raise RefusedError("no")

    def play(**options: Any) -> str:
        with l0_core.run("job", journal=journal, **options):
            try:
                text = "".join(l0_core.stream(bad))
            except Exception as error:  # noqa: BLE001 - it is looked at
                text = f"{type(error).__name__}: {error}"
            text += "".join(filter(lambda chunk: isinstance(chunk, str), l0_core.stream(Model())))
            if killing:
                raise Killed
            return text

    with pytest.raises(Killed):
        play()
    killing = False
    first = len(calls)
    for mode in ("auto", "auto", "replay"):
        assert play(mode=mode).endswith(TEXT)
    assert len(calls) == first


def test_the_failure_that_ended_a_run_is_tried_again_in_a_session_of_its_own(journal: Journal) -> None:
    works = False

    def source(attempt: Attempt) -> Iterator[str]:
        if not works:
            raise TypeError("a bug")
        yield "fine"

    def play() -> str:
        with l0_core.run("job", journal=journal):
            return "".join(
                l0_core.stream(source, policy=l0_core.Policy(retry=l0_core.Retry(attempts=1, max_retries=0)))
            )

    with pytest.raises(Exception, match=r"a bug|no attempt"):
        play()
    works = True
    assert play() == "fine"
    assert play() == "fine"
    assert len(journal.sessions("job")) == 2


def test_answers_side_by_side_are_told_apart_by_their_input(journal: Journal) -> None:
    calls: list[str] = []

    async def play(order: list[str], kill: bool) -> dict[str, str]:  # noqa: FBT001 - a test's own
        async def tell(word: str) -> str:
            async def source(attempt: Attempt) -> AsyncIterator[str]:
                calls.append(word)
                yield f"{word}, "
                await asyncio.sleep(0)
                yield word

            target = l0_core.Target(source, name="model")
            return "".join([chunk async for chunk in l0_core.astream(target, input=word)])

        async with l0_core.run("job", journal=journal):
            told = await asyncio.gather(*map(tell, order))
            if kill:
                raise Killed
            return dict(zip(order, told, strict=True))

    with pytest.raises(Killed):
        asyncio.run(play(["a", "b", "c"], kill=True))
    expected = {word: f"{word}, {word}" for word in "abc"}
    assert asyncio.run(play(["c", "a", "b"], kill=False)) == expected
    assert sorted(calls) == ["a", "b", "c"]


def test_a_call_is_a_step_that_is_done_once(journal: Journal) -> None:
    calls: list[str | None] = []

    def find() -> tuple[int, str]:
        calls.append(l0_core.idempotency_key())
        return 1, "x"

    async def afind() -> tuple[int, str]:
        return find()

    def play() -> list[tuple[int, str]]:
        async def main() -> list[tuple[int, str]]:
            async with l0_core.run("job", journal=journal):
                return [l0_core.call(find, input="q"), await l0_core.acall(afind, input="q")]

        return asyncio.run(main())

    for _ in range(3):
        assert play() == [(1, "x"), (1, "x")]
    assert len(calls) == len(set(calls)) == 2
    assert None not in calls


def test_a_fork_asks_anew_for_the_answer_it_was_cut_in(journal: Journal) -> None:
    model = Model()

    def play(name: str) -> str:
        with l0_core.run(name, journal=journal):
            return "".join(chunk for chunk in l0_core.stream(model) if isinstance(chunk, str))

    assert play("job") == TEXT
    l0_core.fork(journal, "job", at=2, id="cut")
    l0_core.fork(journal, "job", at=3, id="whole")
    assert play("whole") == TEXT
    assert len(model.attempts) == 1
    assert play("cut") == TEXT
    assert len(model.attempts) == 2
    assert play("job") == TEXT


def test_an_answer_that_is_begun_before_it_is_read_is_given_again_whole(journal: Journal) -> None:
    model = Model()

    async def source(attempt: Attempt) -> AsyncIterator[Any]:
        for piece in model(attempt):
            yield piece

    async def play() -> list[Any]:
        async with l0_core.run("job", journal=journal):
            begun = await l0_core.astream(source).begin()
            return [*l0_core.stream(model).begin(), *[chunk async for chunk in begun]]

    first = asyncio.run(play())
    again = asyncio.run(play())
    assert len(first) == len(again) == 2 * len(GIVEN)
    assert [chunk for chunk in again if isinstance(chunk, str)] == PIECES * 2
    assert len(model.attempts) == 2


def test_a_session_that_died_before_it_started_begins_under_its_id(
    ask: Ask, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G5. Its row is there already: another id would leave that running for ever."""
    begin = Recording.begin

    def begin_and_die(recording: Recording, now: int) -> None:
        begin(recording, now)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Recording, "begin", begin_and_die)
        with pytest.raises(Killed):
            ask(Model(), journal)
    assert ask(Model(), journal) == GIVEN
    assert [row["status"] for row in journal.sessions()] == ["complete"]
    assert ask(Model(), journal, mode="replay") == GIVEN
    assert l0_core.replay(journal, journal.sessions()[0]["id"]).text == TEXT
