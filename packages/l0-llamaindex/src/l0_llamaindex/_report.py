"""What `protect` found, and what became of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

What = Literal["llm", "retriever", "embedding", "tool"]
State = Literal["protected", "left alone", "out of reach"]


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was found.

    Attributes:
        what: `llm`, `retriever`, `embedding` or `tool`.
        name: The name of its class, and that of a tool.
        where: How it is reached from what was given.
        state: What became of it.
        why: Why that, and what to do about it, where it is not protected; how it is, where that is not as all are.
    """

    what: What
    name: str
    where: str
    state: State
    why: str = ""


@dataclass(frozen=True, slots=True)
class ProtectionReport:
    """Everything `protect` found in an object. Printed, it is a list to read.

    Attributes:
        found: What was found, the nearest first.
    """

    found: tuple[Found, ...]

    @property
    def protected(self) -> tuple[Found, ...]:
        """What is protected."""
        return self._of("protected")

    @property
    def left_alone(self) -> tuple[Found, ...]:
        """What needs no protection of its own, because what it asks has it."""
        return self._of("left alone")

    @property
    def out_of_reach(self) -> tuple[Found, ...]:
        """What will be used and could not be protected."""
        return self._of("out of reach")

    def _of(self, state: State) -> tuple[Found, ...]:
        return tuple(each for each in self.found if each.state == state)

    def __iter__(self) -> Iterator[Found]:
        return iter(self.found)

    def __str__(self) -> str:
        lines = [f"{each.state:12}  {each.what:9}  {each.name}  {each.where}  {each.why}".rstrip() for each in self]
        return "\n".join(lines) or "nothing was found"
