"""Chunks that hold the whole text so far: after a seam each is fitted to those the consumer has (G1)."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from driving import Driver, policy

import l0_core
from l0_core import Facts

TEXT = "The Seine rises in Burgundy, near Dijon; it flows through Troyes and Paris, and ends in the sea at Le Havre."


@dataclass(frozen=True)
class Snapshot:
    """One chunk: the answer's id, its place, everything said so far; the first names the model, the last the end."""

    id: str
    place: int
    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Snapshots:
    """Knows where each snapshot's own piece begins: at the end of the one before it in the same answer."""

    def __init__(self) -> None:
        self._ends: dict[tuple[str, int], int] = {}
        self._given: list[str] = []
        self._first: Snapshot | None = None
        self._places = 0

    def _piece(self, chunk: Snapshot) -> str:
        self._ends[chunk.id, chunk.place] = len(chunk.text)
        return chunk.text[self._ends.get((chunk.id, chunk.place - 1), 0) :]

    def text(self, chunk: Snapshot) -> str | None:
        piece = self._piece(chunk)
        if not chunk.metadata:
            self._note(chunk, piece)
            return piece
        return None

    def facts(self, chunk: Snapshot) -> Facts:
        piece = self._piece(chunk)
        self._note(chunk, piece)
        return Facts(text=piece, finish=chunk.metadata.get("finish"))

    def _note(self, chunk: Snapshot, piece: str) -> None:
        """Chunks of the first answer reach the consumer as they are."""
        if self._first is None or chunk.id == self._first.id:
            self._first = self._first or chunk
            if chunk.place == self._places:
                self._given.append(piece)
                self._places += 1

    def cut(self, chunk: Snapshot, start: int, end: int, shown: object) -> Snapshot:
        assert self._first is not None
        self._given.append(self._piece(chunk)[start:end])
        metadata = {name: value for name, value in chunk.metadata.items() if name != "model"}
        fitted = replace(chunk, id=self._first.id, place=self._places, text="".join(self._given), metadata=metadata)
        self._places += 1
        return fitted

    def encode(self, chunk: Snapshot) -> str:
        return json.dumps(vars(chunk))

    def decode(self, text: str) -> Snapshot:
        return Snapshot(**json.loads(text))

    def final(self, metadata: Mapping[str, object]) -> Snapshot | None:
        return None


def said(number: int, rest: str, size: int) -> Iterator[Snapshot]:
    """One answer: `rest` in pieces, each snapshot with all of this answer so far."""
    ends = [*range(size, len(rest), size), len(rest)]
    for place, end in enumerate(ends):
        first = {"model": f"m{number}"} if place == 0 else {}
        last = {"finish": "stop"} if end == len(rest) else {}
        yield Snapshot(f"answer-{number}", place, rest[:end], first | last)


RUNGS: dict[str, Callable[[l0_core.Attempt], str]] = {
    "prefill": lambda attempt: TEXT[len(attempt.prefix) :],
    "prompt": lambda attempt: TEXT[TEXT.index(attempt.anchor) :] if attempt.anchor else TEXT,
    "rerun": lambda _: TEXT,
}


def check(given: list[Snapshot]) -> None:
    """What the consumer has reads like one answer that never broke off."""
    assert given[-1].text == TEXT
    assert {chunk.id for chunk in given} == {"answer-0"}
    assert [chunk.place for chunk in given] == list(range(len(given)))
    for earlier, later in pairwise(given):
        assert later.text.startswith(earlier.text)
    assert [chunk.metadata.get("model") for chunk in given if "model" in chunk.metadata] == ["m0"]
    assert [chunk.metadata.get("finish") for chunk in given if "finish" in chunk.metadata] == ["stop"]


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("rung", RUNGS)
def test_an_answer_cut_anywhere_reads_as_one(drive: Driver, rung: str, size: int) -> None:
    rungs = policy(
        continuation={"rungs": [rung] if rung == "rerun" else [rung, "rerun"]},
        budget={"tokens": 1_000_000},
        breaker={"min_outcomes": 10_000},
    )
    pieces = -(-len(TEXT) // size)
    for after in range(1, pieces):
        sent: list[Snapshot] = []

        def source(attempt: l0_core.Attempt, after: int = after, sent: list[Snapshot] = sent) -> Iterator[Snapshot]:
            if attempt.number > 0:
                yield from said(attempt.number, RUNGS[rung](attempt), 5)
                return
            for chunk in said(0, TEXT, size):
                if chunk.place == after:
                    raise ConnectionResetError
                sent.append(chunk)
                yield chunk

        target = l0_core.Target(source, name="snapshots", terminal="finish_reason", prefill=rung == "prefill")
        run = drive(target, policy=rungs, port=Snapshots())
        assert run.error is None, (after, run.error)
        assert run.result is not None
        assert (run.result.text, run.result.attempts, run.result.continued) == (TEXT, 2, True)
        assert all(given is chunk for given, chunk in zip(run.chunks, sent, strict=False)), "until the seam, the same"
        check(run.chunks)


def test_an_answer_cut_twice_reads_as_one(drive: Driver) -> None:
    def source(attempt: l0_core.Attempt) -> Iterator[Snapshot]:
        for chunk in said(attempt.number, TEXT[len(attempt.prefix) :], 7):
            if attempt.number < 2 and chunk.place == 4:
                raise ConnectionResetError
            yield chunk

    target = l0_core.Target(source, name="snapshots", terminal="finish_reason", prefill=True)
    run = drive(target, port=Snapshots(), policy=policy(continuation={"rungs": ["prefill"]}))
    assert run.error is None
    assert run.result is not None
    assert run.result.attempts == 3
    check(run.chunks)
