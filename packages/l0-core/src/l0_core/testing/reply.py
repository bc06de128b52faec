"""What a model is scripted to say (`Reply`), and one wording of it, cut into pieces as a model would (`Draft`)."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from l0_core.testing.conversation import CHARACTERS_PER_TOKEN
from l0_core.testing.paraphrase import paraphrased
from l0_core.testing.phrasing import Template

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

__all__ = ["Draft", "Finish", "Reply", "ToolCall", "ToolDraft", "Wording", "tokens"]

Wording = Literal["identical", "varied"]
Finish = Literal["stop", "tool_calls", "length", "content_filter", "refusal"]


def tokens(text: str) -> int:
    """About what a tokenizer would count: four characters each."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model asks for. `args` is a mapping, or the very text of the arguments."""

    name: str
    args: Mapping[str, Any] | str = field(default_factory=dict)
    id: str | None = None
    """None: a fresh one for every answer, as providers do."""

    @classmethod
    def of(cls, call: ToolCall | Mapping[str, Any] | tuple[str, Mapping[str, Any]]) -> ToolCall:
        """A call from any of its spellings: `ToolCall`, `{"name": ..., "args": ...}` or `(name, args)`."""
        if isinstance(call, ToolCall):
            return call
        if isinstance(call, tuple):
            name, args = call
            return cls(name, args)
        unknown = set(call) - {"name", "args", "id"}
        if unknown or "name" not in call:
            raise ValueError(f"a tool call has a name, args and perhaps an id; got {sorted(call)}")
        return cls(call["name"], call.get("args", {}), call.get("id"))

    @property
    def arguments(self) -> str:
        """The arguments as JSON text."""
        return self.args if isinstance(self.args, str) else json.dumps(self.args, ensure_ascii=False)


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """What the model is to answer, in every wording it may take."""

    source: Template
    """What it was scripted with: the only wording there is when wording is identical."""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    chunks: int = 8
    logprob: float = -0.1

    @classmethod
    def of(
        cls,
        text: str | Template | Reply,
        *,
        chunks: int = 8,
        tool_calls: Sequence[ToolCall | Mapping[str, Any] | tuple[str, Mapping[str, Any]]] = (),
        reasoning: str = "",
        logprob: float = -0.1,
    ) -> Reply:
        """A reply from text, worded anew where wording is varied, or from a template."""
        if isinstance(text, Reply):
            return text
        if chunks < 1:
            raise ValueError(f"chunks is how many pieces the answer comes in, at least 1; got {chunks}")
        if logprob > 0:
            raise ValueError(f"logprob is the logarithm of a probability, at most 0; got {logprob}")
        source = text if isinstance(text, Template) else Template.exactly(text)
        return cls(source, tuple(map(ToolCall.of, tool_calls)), reasoning, chunks, logprob)

    def wordings(self, wording: Wording) -> Template:
        """Every complete text this reply may be."""
        canonical = self.source.canonical
        if wording == "identical":
            return Template.exactly(canonical)
        return paraphrased(canonical) if self.source.is_plain and not self.tool_calls else self.source

    def is_right(self, text: str, wording: Wording) -> bool:
        """Whether `text` is one complete wording: not cut, doubled, glued from two, or led up to."""
        return self.wordings(wording).accepts(text)


@dataclass(frozen=True, slots=True)
class ToolDraft:
    """One tool call as it will be sent."""

    id: str
    name: str
    fragments: tuple[str, ...]

    @property
    def arguments(self) -> str:
        """The arguments in one piece."""
        return "".join(self.fragments)


@dataclass(frozen=True, slots=True)
class Draft:
    """One answer as the model means to send it, before anything happens to it on the way."""

    id: str
    model: str
    created: int
    input_tokens: int
    text: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    tools: tuple[ToolDraft, ...] = ()
    finish: Finish | None = "stop"
    refusal: str = ""
    done: bool = True
    """Whether the dialect's last event is sent (`[DONE]`, `message_stop`, `response.completed`)."""
    nothing: bool = False
    """Send no content at all: no empty text block either."""
    null: bool = False
    """Send null where the content belongs."""
    logprob: float = -0.1

    @property
    def whole_text(self) -> str:
        """The text in one piece."""
        return "".join(self.text)

    @property
    def output_tokens(self) -> int:
        """What the provider will count as generated."""
        spoken = (
            self.whole_text + "".join(self.reasoning) + self.refusal + "".join(tool.arguments for tool in self.tools)
        )
        return tokens(spoken)


def split(text: str, pieces: int, rng: random.Random | None) -> tuple[str, ...]:
    """Cut `text` into at most `pieces`: between words, or with `rng` anywhere, as tokens fall."""
    if not text:
        return ()
    words = re.findall(r"\s*\S+|\s+$", text)
    if rng is not None or len(words) < pieces:
        count = min(pieces, len(text))
        if rng is None:
            borders = [len(text) * number // count for number in range(1, count)]
        else:
            borders = sorted(rng.sample(range(1, len(text)), count - 1))
        borders = [0, *borders, len(text)]
        return tuple(text[start:end] for start, end in pairwise(borders))
    return tuple(
        "".join(words[len(words) * number // pieces : len(words) * (number + 1) // pieces]) for number in range(pieces)
    )
