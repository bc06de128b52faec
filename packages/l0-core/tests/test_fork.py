"""Time travel: a run that shares another's history, and goes its own way from there (G6)."""

from typing import Any

import pytest

import l0_core
from l0_core import Journal, JournalError, ReplayDivergence


class Shop:
    """Prices that change, and what was charged."""

    def __init__(self) -> None:
        self.price = 10
        self.charged: list[tuple[int, str | None]] = []
        self.dies = False

    def play(self) -> int:
        @l0_core.step(side_effect=False)
        def look() -> int:
            return self.price

        @l0_core.step
        def charge(amount: int) -> int:
            self.charged.append((amount, l0_core.idempotency_key()))
            if self.dies:
                raise KeyboardInterrupt
            return amount

        return charge(look()) + charge(look())


@pytest.fixture
def journal() -> Journal:
    return Journal.memory()


def run(shop: Shop, journal: Journal, id_: str = "job", **options: Any) -> int:
    with l0_core.run(id_, journal=journal, **options):
        return shop.play()


def test_what_came_before_is_shared_and_what_comes_after_is_live(journal: Journal) -> None:
    shop = Shop()
    assert run(shop, journal) == 20
    shop.price = 50
    for at, total in ((0, 100), ("look", 100), ("charge", 60), (5, 60), (7, 20), (9, 20)):
        name = f"fork-{at}"
        stream = l0_core.fork(journal, "job", at=at, id=name)
        assert run(shop, journal, name) == total
        row = next(row for row in journal.runs() if row["name"] == name)
        assert (row["id"], row["status"]) == (stream, "finished")
        assert row["forked_from"] == next(row["id"] for row in journal.runs() if row["name"] == "job")
        assert run(shop, journal, name, mode="replay") == total
    assert run(shop, journal, mode="replay") == 20, "the run itself is as it was"


def test_a_fork_does_not_do_again_what_was_done_and_keeps_apart_what_it_does(journal: Journal) -> None:
    shop = Shop()
    run(shop, journal)
    first, second = (key for _, key in shop.charged)
    l0_core.fork(journal, "job", at=7, id="b")  # before the second charge
    run(shop, journal, "b")
    assert len(shop.charged) == 3
    assert shop.charged[2][1] not in {first, second}


def test_an_unknown_side_effect_is_unknown_in_the_fork_as_well(journal: Journal) -> None:
    shop = Shop()
    shop.dies = True
    with pytest.raises(KeyboardInterrupt):
        run(shop, journal)
    shop.dies = False
    l0_core.fork(journal, "job", at=4, id="b")
    run(shop, journal, "b")
    assert shop.charged[0] == shop.charged[1], "it is retried with the key it was begun with"


def test_a_change_that_diverges_can_be_forked_from_where_it_did(journal: Journal) -> None:
    @l0_core.step
    def say(text: str) -> str:
        return text

    with l0_core.run("job", journal=journal):
        say("a")
        say("b")
    with pytest.raises(ReplayDivergence) as caught, l0_core.run("job", journal=journal):  # noqa: PT012 - the run raises
        say("a")
        say("changed")
    assert caught.value.record is not None
    l0_core.fork(journal, "job", at=caught.value.record, id="changed")
    with l0_core.run("changed", journal=journal):
        say("a")
        assert say("changed") == "changed"


def test_what_cannot_be_forked_is_refused(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("L0_JOURNAL", raising=False)
    run(Shop(), journal)
    for run_, at, id_, why in (
        ("none", 0, "b", "no run none"),
        ("job", 99, "b", "not 99"),
        ("job", "wave", "b", "no step wave"),
        ("job", 0, "job", "already|held"),
    ):
        with pytest.raises(JournalError, match=why):
            l0_core.fork(journal, run_, at=at, id=id_)
    with pytest.raises(JournalError, match="needs the journal"):
        l0_core.fork(None, "job", at=0, id="b")
