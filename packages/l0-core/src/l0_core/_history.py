"""What a run's stream of records says: which steps were begun and how they ended.

| record | written | says |
|---|---|---|
| `BEGAN` | when a process takes the run up | the run's name, the time |
| `STEP_BEGAN` | before the step does anything | its key, its lane, the form of its input |
| `STEP_ENDED` | after | its result, or the exception |
| `WENT_LIVE` | where a changed input was allowed | which steps still count |
| `ENDED` | when the program leaves the run | how |

Payloads are JSON without content; inputs and results are content and subject to redaction. Of records about the same
step the last counts. A *lane* is one branch of the program: 0 is where the parent itself runs, and what runs in one
lane runs in order.
"""

import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from l0_core._errors import JournalError
from l0_core._journal import Stored, run_id
from l0_core._keys import Json, StepKey, digest_of

BEGAN, STEP_BEGAN, STEP_ENDED, WENT_LIVE, ENDED = range(16, 21)
"""Kinds of records. Those of sessions are lower, and a chunk's is higher."""

VERSION = 1

Status = Literal["open", "finished", "failed"]


class Kept(NamedTuple):
    """Content as it was found: whole, or why not."""

    state: str
    value: Any

    def text(self, what: str) -> str:
        """Return the content; say so where the journal does not have it."""
        if self.state != "full":
            raise JournalError(f"{what} is not in the journal: it was {_GONE[self.state]}", reason="removed")
        text: str = self.value.decode("utf-8", "surrogatepass")
        return text


_GONE = {"hashed": "redacted", "absent": "redacted", "erased": "erased"}


@dataclass(slots=True)
class Step:
    """A step as it was recorded.

    Attributes:
        key: What it is known by.
        seq: The record in which it began.
        lane: The branch in which it ran.
        kind: What it does: `function`, `model`, `scope`.
        side_effect: Whether it changes something outside.
        idempotency_key: What was given to whatever it calls.
        session: The id of its session, if it is one.
        input: The form of its input.
        status: How it stands.
        result: What it returned, or the exception it ended with.
        ended: The record in which it ended.
        handled: Whether the program went on after it failed.
        claimed: Whether this process has come by it.
    """

    key: StepKey
    seq: int
    lane: int
    kind: str
    side_effect: bool
    idempotency_key: str
    session: str | None
    input: Kept
    status: Status = "open"
    result: Kept | None = None
    ended: int | None = None
    handled: bool = False
    claimed: bool = False

    def input_form(self) -> Json:
        """Return the form of its input."""
        form: Json = json.loads(self.input.text(f"the input of step {self.key.name}"))
        return form


@dataclass(slots=True)
class History:
    """What was recorded of a run before this process took it up. For any number of threads.

    Attributes:
        records: How many records there are.
        last_ns: When the last of them was written, on the run's clock.
        status: How the run ended, if it did.
        ended: The record in which it did so last.
        steps: Every step that counts, by the id of its key, in the order they began.
        lanes: The highest number of a lane, by parent.
    """

    records: int = 0
    last_ns: int = 0
    status: str | None = None
    ended: int | None = None
    steps: dict[str, Step] = field(default_factory=dict)
    lanes: dict[str, int] = field(default_factory=dict)
    is_heard: bool = False
    """Whether somebody wrote it down who only listened."""
    _left: dict[tuple[str, str], dict[str, Step]] = field(default_factory=dict)
    """By place, the steps that the program has not come by."""
    _heard: dict[str, dict[str, Step]] = field(default_factory=dict)
    """By kind, the same."""
    _trunks: dict[str, int] = field(default_factory=dict)
    _begun: set[str] = field(default_factory=set)
    """The ids of all steps that were ever begun."""
    _is_fork: bool = False
    """Whether some steps have their idempotency keys from another run."""
    _exactly: bytes | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def read(cls, records: Iterable[Stored], *, exactly: bytes | None = None) -> "History":
        """Read a run's records; refuse what no run writes, by the number of its record.

        Args:
            records: All of them.
            exactly: The run's id, where nothing is to be borne that hangs in the air because the journal once failed.
        """
        history = cls(_exactly=exactly)
        for record in records:
            if record.seq != history.records:
                raise corrupt(history.records, "is missing")
            history.records, history.last_ns = record.seq + 1, record.at_ns
            try:
                history._take(record)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise corrupt(record.seq, "cannot be read") from error
        history._settle()
        return history

    def _take(self, record: Stored) -> None:
        said = json.loads(record.payload)
        if said.get("v", VERSION) > VERSION:
            raise JournalError("the run was recorded by a later version of L0", reason="newer")
        content = Kept(*record.contents[0][1:]) if record.contents else Kept("absent", None)
        if record.kind == STEP_BEGAN:
            self._begin(record.seq, said, content)
        elif record.kind == STEP_ENDED:
            self._end(record.seq, said, content)
        elif record.kind == BEGAN:
            self._is_fork = self._is_fork or "forked_from" in said
            self.is_heard |= said.get("heard", False)
            if self._exactly not in {None, run_id(said["id"])}:
                raise corrupt(record.seq, "is that of another run")
        elif record.kind == WENT_LIVE:
            self._must_have_begun(said["keep"], record.seq)
            self.steps = {id_: self.steps[id_] for id_ in said["keep"] if id_ in self.steps}
        elif record.kind == ENDED:
            self.status, self.ended = _ending(record.seq, said), record.seq

    def _begin(self, seq: int, said: dict[str, Any], content: Kept) -> None:
        key = StepKey(said["parent"], said["name"], said["digest"], said["nth"])
        if len(bytes.fromhex(said["session"] or "")) not in {0, 16}:
            raise corrupt(seq, "names a session that cannot be")
        self._must_have_begun([key.parent] if key.parent else [], seq)
        checked = self._exactly if not self._is_fork else None
        if checked is not None and said["idempotency_key"] != idempotency_key(checked, key):
            raise corrupt(seq, "is not about the step that it was written for")
        flags = said["lane"], said["kind"], said["side_effect"], said["idempotency_key"], said["session"]
        self.steps.pop(key.id, None)  # begun again: its place in the order is a new one
        self.steps[key.id] = Step(key, seq, *flags, content)
        self.status = None
        self._begun.add(key.id)

    def _end(self, seq: int, said: dict[str, Any], content: Kept) -> None:
        status = _ending(seq, said)
        self._must_have_begun([said["id"]], seq)
        if said["id"] in self.steps:  # else one that still ran when the run went live
            step = self.steps[said["id"]]
            step.status, step.result, step.ended = status, content, seq

    def _must_have_begun(self, ids: Iterable[str], record: int) -> None:
        if self._exactly is not None and not self._begun.issuperset(ids):
            raise corrupt(record, "is about a step that was not begun")

    def _settle(self) -> None:
        """See which failures the program went on after: those are part of what happened, the last one is retried."""
        last: dict[tuple[str, int], int] = {}
        for step in self.steps.values():
            parent, lane = step.key.parent, step.lane
            last[parent, lane] = max(last.get((parent, lane), -1), step.seq)
            self.lanes[parent] = max(self.lanes.get(parent, 0), lane)
            self._left.setdefault(step.key.place, {})[step.key.id] = step
            self._heard.setdefault(step.kind, {})[step.key.id] = step
        self._trunks = {parent: seq for (parent, lane), seq in last.items() if lane == 0}
        for step in self.steps.values():
            if step.status == "failed" and step.ended is not None:
                parent = step.key.parent
                later = max(last[parent, step.lane], self._trunks.get(parent, -1))
                step.handled = self.status == "finished" or later > step.ended

    # Asking ----------------------------------------------------------------------------------------------------------

    def claim(self, key: StepKey) -> Step | None:
        """Return the step with this key, and note that the program has come by it."""
        with self._lock:
            step = self.steps.get(key.id)
            if step is not None:
                step.claimed = True
                self._left[key.place].pop(key.id, None)
            return step

    def heard(self, kind: str, form: Json) -> Step | None:
        """Return the first step of a kind that was heard being given this, and that the program has not come by."""
        with self._lock:
            return self._first_heard(kind, form)

    def _first_heard(self, kind: str, form: Json) -> Step | None:
        left = self._heard.get(kind, {})  # In the order it was heard in, which is mostly that of the program.
        return next((step for step in left.values() if _is_what_was_heard(step, form)), None)

    def rival(self, key: StepKey, lane: int | None) -> Step | None:
        """Return the step that was recorded where one with this key was not: the same one, with another input.

        What runs in one lane runs in order, so that a step of this lane which the program has not come by is the one it
        should have come by now. Of a lane that is not known yet (`lane` is nothing), another branch may still come by
        its steps; unless the parent had already gone on past them.
        """
        with self._lock:
            for step in self._left.get(key.place, {}).values():
                if lane is None:
                    known = step.lane != 0 and step.ended is not None
                    if known and self._trunks.get(key.parent, -1) > (step.ended or 0):
                        return step
                elif step.lane == lane:
                    return step
            return None

    def claim_heard(self, kind: str, form: Json) -> Step | None:
        """Return the first step of a kind that was heard being given this, and note that the program has come by it."""
        with self._lock:
            found = self._first_heard(kind, form)
            if found is not None:
                found.claimed = True
                del self._heard[kind][found.key.id]
            return found

    def unclaimed_heard(self) -> Step | None:
        """Return the first step the program has not come by, of those that do something themselves.

        What works through others is heard beside them, and the program comes by one or by the other.
        """
        with self._lock:
            working = [step for step in self.steps.values() if step.kind != "scope"]
            through = {above.key.id for step in working for above in self._above(step)}
            for step in working:
                if not step.claimed and step.key.id not in through and not any(s.claimed for s in self._above(step)):
                    return step
            return None

    def _above(self, step: Step) -> Iterator[Step]:
        while (above := self.steps.get(step.key.parent)) is not None:
            yield above
            step = above

    def unclaimed(self, place: tuple[str, str] | None = None) -> Step | None:
        """Return the first step that the program has not come by and that came to an end; of one name, or of any."""
        with self._lock:
            steps = self.steps if place is None else self._left.get(place, {})
            for step in steps.values():
                if not step.claimed and step.status != "open" and self._is_due(step):
                    return step
            return None

    def _is_due(self, step: Step) -> bool:
        """Return whether the program must come by a step: not by what is nested in one that is not done again."""
        while step.key.parent:
            above = self.steps.get(step.key.parent)
            if above is None or (above.kind != "scope" and above.status != "open"):
                return False
            step = above
        return True

    def forget(self) -> list[str]:
        """Forget every step that the program has not come by; return those that still count."""
        with self._lock:
            self.steps = {id_: step for id_, step in self.steps.items() if step.claimed}
            self._left, self._heard = {}, {}
            return list(self.steps)


def idempotency_key(run: bytes, key: StepKey) -> str:
    """Return what a step gives to whatever it calls, so that it happens once."""
    return digest_of([run.hex(), key.id])


def _ending(seq: int, said: dict[str, Any]) -> Literal["finished", "failed"]:
    status: Literal["finished", "failed"] = said["status"]
    if status not in {"finished", "failed"}:
        raise corrupt(seq, "ends in no way there is")
    return status


def corrupt(record: int, what: str) -> JournalError:
    """Return the error that says which record is not one of a run."""
    return JournalError(f"record {record} of the run {what}: see Journal.verify", reason="corrupt", record=record)


def _is_what_was_heard(step: Step, form: Json) -> bool:
    """Return whether a step that was heard was given what one is given now.

    A listener hears messages and arguments, and not how the call was put: a model's messages, in a batch of one; a
    function's arguments by name, those left out that have a default, or its one argument.
    """
    heard = step.input_form()
    match form:
        case {"messages": messages}:
            return heard == [messages]
        case [[*given], dict() as named] if isinstance(heard, dict):
            return not given and all(name in named and named[name] == value for name, value in heard.items())
        case [[given], dict()]:
            return heard == given
        case _:
            return heard == form
