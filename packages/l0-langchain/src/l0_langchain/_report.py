"""What `protect` found, and what became of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

State = Literal["protected", "out of reach", "left alone", "multiplies"]


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was found.

    Attributes:
        what: `model`, `tool`, `retriever`, `embeddings`, `retry` or `fallbacks`.
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
    """Everything `protect` found in an object. Printed, it is a list to read."""

    found: tuple[Found, ...]

    def of(self, state: State) -> tuple[Found, ...]:
        """Return what is in a state."""
        return tuple(each for each in self.found if each.state == state)

    @property
    def protected(self) -> tuple[Found, ...]:
        """What is protected."""
        return self.of("protected")

    @property
    def out_of_reach(self) -> tuple[Found, ...]:
        """What was found and could not be protected."""
        return self.of("out of reach")

    def __iter__(self) -> Iterator[Found]:
        return iter(self.found)

    def __str__(self) -> str:
        lines = [f"{each.state:12}  {each.what:10}  {each.name}  {each.why}".rstrip() for each in self.found]
        return "\n".join(lines) or "nothing was found"
