"""How a session went."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from l0_core._port import LogProb, Usage


class Fault(NamedTuple):
    """One thing that went wrong on the way.

    Attributes:
        fault: What it amounts to: `network`, `overload`, `stall`, ….
        category: Whose matter it is: `user`, `dependency`, `internal` or `cancelled`.
        target: The target's name.
        attempt: The attempt, if one had been opened.
        code: The engine's word for what it saw, or the provider's code.
        status: The HTTP status.
        request_id: The provider's id for the request.
        at: Seconds since the session began.
    """

    fault: str
    category: str
    target: str
    attempt: int | None
    code: str | None
    status: int | None
    request_id: str | None
    at: float


class Splice(NamedTuple):
    """Where an answer was put together from two attempts.

    Attributes:
        attempt: The attempt that went on.
        mode: How it was begun.
        method: How it was joined.
        at: Bytes of text the consumer had by then.
        dropped: Bytes of the new answer that were dropped, because the consumer had them.
    """

    attempt: int
    mode: str
    method: str
    at: int
    dropped: int


class Objection(NamedTuple):
    """What a guard found. It names the guard and never quotes the text.

    Attributes:
        guard: The guard's name.
        reason: What it found, in a few words.
        severity: What becomes of the attempt: `warn`, `error` or `fatal`.
        start: The character of the text where it begins.
        end: The character of the text it ends before.
        masked: Whether it was replaced.
    """

    guard: str
    reason: str
    severity: str
    start: int
    end: int
    masked: bool


class ToolCall(NamedTuple):
    """A complete tool call: the arguments are one JSON document, or empty."""

    id: str | None
    name: str
    args: str


class Result(NamedTuple):
    """How a session went.

    Attributes:
        status: `running`, `complete`, or why it ended without: `raise`, `exhausted`, `incomplete`, `deadline`,
            `limited`, `content`, `refused`, `cancelled`.
        session_id: The session, as the journal and the log know it.
        text: What the consumer was given.
        tool_calls: The calls the consumer was given, each complete.
        finish_reason: Why the answer ended: `stop`, `length`, `tool_calls`, ….
        attempts: How many attempts were made.
        served_by: The target that gave the end of the answer.
        quality: The label of that target.
        cost: The label of that target.
        degraded: Whether that is another than the first.
        continued: Whether the answer was put together from more than one attempt.
        resets: How often the consumer was told to discard.
        splices: Where it was put together.
        faults: What went wrong on the way.
        objections: What guards found, warnings and masks included.
        drifts: How often the answer went astray past its threshold.
        repaired: What had to be put right in its JSON, by fixed words, where a schema was asked for.
        reasks: How often a target was told what to put right in its answer.
        invalid: How often answers of each target did not fit the schema asked for, by field.
        usage: Tokens of all attempts.
        waste: Tokens of the attempts that failed.
        waste_bytes: Bytes of text that arrived and were dropped.
        logprob: Log-probabilities of the answer's tokens, where there were any.
        journal: Whether it was written down: `off`, `on` or `lost`.
    """

    status: str
    session_id: str
    text: str = ""
    tool_calls: Sequence[ToolCall] = ()
    finish_reason: str | None = None
    attempts: int = 0
    served_by: str | None = None
    quality: str | None = None
    cost: str | None = None
    degraded: bool = False
    continued: bool = False
    resets: int = 0
    splices: Sequence[Splice] = ()
    faults: Sequence[Fault] = ()
    objections: Sequence[Objection] = ()
    drifts: int = 0
    repaired: Sequence[str] = ()
    reasks: int = 0
    invalid: Mapping[str, Mapping[str, int]] = {}
    usage: Usage = Usage()
    waste: Usage = Usage()
    waste_bytes: int = 0
    logprob: LogProb | None = None
    journal: str = "off"

    def metadata(self) -> dict[str, object]:
        """Return what is reported beside the answer, ready for JSON: everything but the answer itself."""
        told: dict[str, object] = self._asdict()
        del told["text"], told["tool_calls"]
        told["splices"] = [splice._asdict() for splice in self.splices]
        told["faults"] = [fault._asdict() for fault in self.faults]
        told["objections"] = [objection._asdict() for objection in self.objections]
        told["usage"], told["waste"] = self.usage._asdict(), self.waste._asdict()
        told["logprob"] = self.logprob._asdict() if self.logprob else None
        return told
