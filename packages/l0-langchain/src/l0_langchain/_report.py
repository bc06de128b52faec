"""What `protect` found, and what became of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

State = Literal["protected", "left alone", "out of reach", "multiplies"]


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was found.

    Attributes:
        what: `model`, `tool`, `retriever`, `embeddings`, or what stands around them.
        name: The name of its class, and its own where it has one.
        state: What became of it.
        why: What to do about it, where there is something to do.
    """

    what: str
    name: str
    state: State
    why: str = ""


@dataclass(frozen=True, slots=True)
class ProtectionReport:
    """Everything `protect` found in an object. Printed, it is a list to read.

    Attributes:
        found: What was found, in the order it was met.
        in_place: Whether the object itself was changed.
    """

    found: tuple[Found, ...]
    in_place: bool = False

    @classmethod
    def of(cls, made: object) -> "ProtectionReport":
        """Return the `l0_report` of what `protect` returned, of which type checkers do not know."""
        report = getattr(made, "l0_report", None)
        if not isinstance(report, cls):
            raise TypeError(f"nothing says that this {type(made).__name__} was protected: give what `protect` returned")
        return report

    @property
    def protected(self) -> tuple[Found, ...]:
        """What is protected."""
        return self._in("protected")

    @property
    def left_alone(self) -> tuple[Found, ...]:
        """What needs no protection of its own: what it does is done by things that are protected."""
        return self._in("left alone")

    @property
    def out_of_reach(self) -> tuple[Found, ...]:
        """What was found and is not protected; `why` says what to do."""
        return self._in("out of reach")

    @property
    def multiplies(self) -> tuple[Found, ...]:
        """What retries or falls back around something protected, so that attempts multiply."""
        return self._in("multiplies")

    def _in(self, state: State) -> tuple[Found, ...]:
        return tuple(each for each in self.found if each.state == state)

    def __iter__(self) -> Iterator[Found]:
        return iter(self.found)

    def __str__(self) -> str:
        lines = [f"{each.state:12}  {each.what:10}  {each.name}  {each.why}".rstrip() for each in self.found]
        return "\n".join(lines) or "nothing was found"
