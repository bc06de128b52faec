"""A fault: what happens to one answer, to what the model says and to what is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from l0_core.testing.answer import Answer
    from l0_core.testing.conversation import Request
    from l0_core.testing.dialects.dialect import Dialect
    from l0_core.testing.reply import Draft, Reply, Wording

__all__ = ["AnswerEdit", "DraftEdit", "Fault", "Misuse", "Plan"]


class Misuse(ValueError):  # noqa: N818 - read aloud: a misuse
    """A fault was put where it can have no effect; reported when the provider stops, so that no test passes by it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a fault may look at: one request and the answer meant for it."""

    request: Request
    dialect: Dialect
    reply: Reply | None
    """None where recorded bytes are served."""
    wording: Wording
    rng: random.Random
    closed_port: int
    """A loopback port where nobody listens."""
    request_id: str
    draft: Draft | None = None


DraftEdit = Callable[["Draft", Plan], "Draft"]
AnswerEdit = Callable[["Answer", Plan], "Answer"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail, or several at once. It changes what the model says (`drafts`), then what is sent (`answers`)."""

    name: str
    drafts: tuple[DraftEdit, ...] = ()
    answers: tuple[AnswerEdit, ...] = ()

    def __add__(self, other: Fault) -> Fault:
        if not isinstance(other, Fault):
            return NotImplemented
        return Fault(f"{self.name} + {other.name}", self.drafts + other.drafts, self.answers + other.answers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fault) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"faults.{self.name}" if "+" not in self.name else self.name

    @property
    def length(self) -> int:
        """As an entry of a script it is for one request."""
        return 1

    def pick(self, _number: int) -> Fault:
        """As a schedule it is for every request."""
        return self
