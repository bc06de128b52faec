"""A value asked for inside a run is a step of it: had once, had again without a call, gone on with (G1, G5, G6)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

import l0_core
from l0_core import Attempt, Journal, ReplayDivergence


class Killed(KeyboardInterrupt):
    """The process dies here."""


class City(BaseModel):
    name: str
    people: int = Field(ge=1)


class Town(BaseModel):
    name: str
    people: int


WRONG = '{"name": "Paris", "people": 0}'
BROKEN = "Here: {name: 'Paris', people: 2100000}"
PARIS = City(name="Paris", people=2_100_000)


class Model:
    """Gives one answer an attempt, and has the process killed in the attempt that the test says."""

    def __init__(self, *answers: str, killed_in: int = -1) -> None:
        self.answers = answers
        self.killed_in = killed_in
        self.attempts: list[Attempt] = []

    def __call__(self, attempt: Attempt) -> Iterator[str]:
        self.attempts.append(attempt)
        if len(self.attempts) - 1 == self.killed_in:
            raise Killed
        answer = self.answers[min(attempt.number, len(self.answers) - 1)]
        for at in range(0, len(answer), 5):
            yield answer[at : at + 5]


@pytest.fixture(params=["disk", "memory"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    if request.param == "memory":
        yield Journal.memory()
    else:
        with Journal.open(tmp_path / "l0.db") as journal:
            yield journal


Ask = Callable[..., tuple[Any, l0_core.Result, list[Any]]]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """One run with one value in it: the value, how the session went, and the partial values where they are wanted."""

    def sync(model: Model, journal: Journal, *, partials: bool, mode: Any, schema: Any, **options: Any) -> Any:
        target = l0_core.Target(model, name="model")
        with l0_core.run("job", journal=journal, mode=mode):
            session = l0_core.structured(schema, target, stall_guard="off", **options)
            grown = [*session.partials()] if partials else []
            return session.value, session.result, grown

    async def awaited(model: Model, journal: Journal, *, partials: bool, mode: Any, schema: Any, **options: Any) -> Any:
        async def source(attempt: Attempt) -> AsyncIterator[str]:
            for piece in model(attempt):
                yield piece

        target = l0_core.Target(source, name="model")
        async with l0_core.run("job", journal=journal, mode=mode):
            session = l0_core.astructured(schema, target, **options)
            grown = [value async for value in session.partials()] if partials else []
            return await session, session.result, grown

    def asked(model: Model, journal: Journal, **options: Any) -> Any:
        options = {"partials": False, "mode": "auto", "schema": City, **options}
        if request.param == "async":
            return asyncio.run(awaited(model, journal, **options))
        return sync(model, journal, **options)

    return asked


@pytest.mark.parametrize("partials", [False, True], ids=["value", "partials"])
def test_a_value_is_asked_for_once(ask: Ask, journal: Journal, *, partials: bool) -> None:
    """G6: it is had again without a call, partial values and how it went included."""
    answers = (BROKEN,) if partials else (WRONG, BROKEN)
    model = Model(*answers)
    value, result, grown = ask(model, journal, partials=partials)
    assert (value, result.reasks, len(model.attempts)) == (PARIS, len(answers) - 1, len(answers))
    assert "unquoted_key" in result.repaired
    for mode in ("auto", "replay"):
        again = Model("never asked")
        known, remembered, regrown = ask(again, journal, partials=partials, mode=mode)
        assert (known, regrown, again.attempts) == (PARIS, grown, [])
        told = ("repaired", "reasks", "invalid", "attempts", "text")
        assert [getattr(remembered, name) for name in told] == [getattr(result, name) for name in told]
    assert len(journal.sessions()) == 1
    assert l0_core.replay(journal, result.session_id).text == result.text


def test_a_refusal_is_remembered(ask: Ask, journal: Journal) -> None:
    """G6: what was refused is refused again, for the same reason, without a call."""
    with pytest.raises(l0_core.RefusedOutput) as refused:
        ask(Model(WRONG), journal)
    again = Model("never asked")
    with pytest.raises(l0_core.RefusedOutput) as remembered:
        ask(again, journal, mode="replay")
    assert again.attempts == []
    assert remembered.value.session_id == refused.value.session_id
    assert remembered.value.result is not None
    assert remembered.value.result.invalid == {"model": {"people": 3}}


def test_a_process_that_dies_between_two_answers_goes_on_with_the_second(ask: Ask, journal: Journal) -> None:
    """G5: the first is not asked for again."""
    with pytest.raises(Killed):
        ask(Model(WRONG, BROKEN, killed_in=1), journal)
    model = Model("never asked", "never asked", BROKEN)
    value, result, _ = ask(model, journal)
    assert value == PARIS
    assert [attempt.number for attempt in model.attempts] == [2]
    assert result.invalid == {"model": {"people": 1}}


@pytest.mark.parametrize(
    "change", [{"schema": Town}, {"input": "another prompt"}, {"reasks": 1}], ids=["schema", "input", "reasks"]
)
def test_another_question_is_another_step(ask: Ask, journal: Journal, change: dict[str, Any]) -> None:
    """G6: what was answered to one question is never given for the answer to another."""
    ask(Model(BROKEN), journal, input="a prompt")
    with pytest.raises(ReplayDivergence):
        ask(Model("never asked"), journal, mode="replay", **{"input": "a prompt", **change})
    value, _, _ = ask(Model("never asked"), journal, input="a prompt")
    assert value == PARIS
