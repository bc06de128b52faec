"""How an answer is asked to go on from a text, and how well the model does as it is asked.

Two ways are understood. *Prefill*: the conversation ends with the assistant's own turn, and the answer goes on from its
last character. *Prompt*: that turn is followed by a user turn that quotes its last words and asks to go on; the model
then repeats the words and goes on, in one of several manners, because real ones do not keep to the letter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from l0_core.testing.conversation import Message
    from l0_core.testing.phrasing import Template

__all__ = ["MANNERS", "Manner", "Resumption", "asks_to_go_on", "check_manners", "prefilled", "prompted", "resume"]

ANCHOR_MIN: Final = 8
_ASKS_TO_GO_ON: Final = re.compile(
    r"\b(?:continu\w*|go on|carry on|left off|interrupted|cut off|broke off)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Manner:
    """One way in which a model does as it is told to repeat the last words and go on."""

    weight: float
    meaning: str


MANNERS: Final[Mapping[str, Manner]] = {
    "exact": Manner(8, "repeats the words exactly and goes on"),
    "preamble": Manner(2, "says that it goes on, on a line of its own, then does so"),
    "sentence": Manner(2, "repeats the whole sentence it was in"),
    "spaces": Manner(1, "repeats the words with other white space between them"),
    "case": Manner(1, "repeats the words with the case of a letter changed"),
    "quotes": Manner(1, "repeats the words with other quotation marks and dashes"),
    "quoted": Manner(1, "puts the words it repeats in quotation marks"),
    "fence": Manner(1, "opens the code fence again that the text ended in"),
    "missing": Manner(1, "goes on without repeating anything"),
    "missing_preamble": Manner(1, "says that it goes on, and does so without repeating anything"),
    "restart": Manner(1, "answers from the start, in the same words"),
    "diverge": Manner(1, "answers from the start, in other words"),
}
PREAMBLES: Final = (
    "Sure, here is the rest:\n",
    "Continuing from where I stopped:\n\n",
    "Of course! Picking up again:\n",
    "Certainly:\n\n",
)


@dataclass(slots=True)
class Resumption:
    """One request to go on."""

    kind: Literal["prefill", "prompt"]
    prefix: str
    """The text to go on from, as it was sent."""
    anchor: str = ""
    """The words that were to be repeated."""
    manner: str = "exact"
    """What the model made of it: one of `MANNERS`."""


def check_manners(weights: Mapping[str, float] | None) -> dict[str, float]:
    """The weights, those of `MANNERS` where none are given, or a refusal that says which manners there are."""
    if weights is None:
        return {name: manner.weight for name, manner in MANNERS.items()}
    unknown = sorted(set(weights) - set(MANNERS))
    if unknown or not weights or min(weights.values()) < 0 or not any(weights.values()):
        named = f"unknown: {', '.join(unknown)}; " if unknown else ""
        raise ValueError(
            f"continuations is {{manner: weight}} with some weight above 0; {named}there are {', '.join(MANNERS)}"
        )
    return dict(weights)


def prefilled(messages: Sequence[Message]) -> tuple[Sequence[Message], Resumption] | None:
    """The conversation before the assistant's last turn, and that turn as the beginning of the answer."""
    match messages:
        case [_, *_, last]:
            before = messages[:-1]
        case _:
            return None
    if last.role != "assistant" or last.tool_calls or not last.text:
        return None
    return before, Resumption("prefill", last.text)


def prompted(messages: Sequence[Message]) -> tuple[Sequence[Message], Resumption] | None:
    """The conversation before the interrupted turn, if the last user turn quotes its end and asks to go on."""
    match messages:
        case [_, *_, interrupted, last]:
            before = messages[:-2]
        case _:
            return None
    if last.role != "user" or interrupted.role != "assistant" or interrupted.tool_calls or not interrupted.text:
        return None
    request = last.text
    anchor = quoted_end(interrupted.text, request)
    if not anchor and not asks_to_go_on(request):
        return None
    return before, Resumption("prompt", interrupted.text, anchor)


def asks_to_go_on(request: str) -> bool:
    """Whether a turn says in so many words that an answer broke off and is to be gone on with."""
    return _ASKS_TO_GO_ON.search(request) is not None


def quoted_end(text: str, request: str) -> str:
    """The longest ending of `text` that stands in `request`; blanks at its very end need not be quoted.

    A few letters that happen to stand there quote nothing.
    """
    least = min(ANCHOR_MIN, len(text.strip()))
    best = ""
    for candidate in (text, text.rstrip()):
        low, high = 0, len(candidate)
        while low < high:  # if an ending is quoted, so is every shorter one
            middle = (low + high + 1) // 2
            if candidate[len(candidate) - middle :] in request:
                low = middle
            else:
                high = middle - 1
        found = candidate[len(candidate) - low :]
        if len(found.strip()) >= max(least, len(best.strip()) + 1):
            best = found.lstrip()
    return best


def resume(
    resumption: Resumption, wordings: Template, manners: Mapping[str, float], rng: random.Random | None
) -> tuple[str, str]:
    """What the model sends, and the complete answer it has in mind; without `rng` it does exactly as it is told.

    A text that no wording begins with is still gone on from, where its end is found in an answer; where it is not, the
    model answers from the start.
    """
    rest = wordings.rest(resumption.prefix, rng)
    if rest is None:
        rest = _rest_after_the_end_of(resumption.prefix, wordings)
    if rest is None:
        resumption.manner = "restart"
        answer = wordings.canonical if rng is None else wordings.sample(rng)
        return answer, answer
    whole = resumption.prefix + rest
    if resumption.kind == "prompt" and rng is not None:
        resumption.manner = _drawn(manners, resumption.prefix, rng)
        if resumption.manner == "diverge":
            whole = wordings.other(rng, than=whole)
    return _begun(resumption, whole, rest, rng), whole


def _drawn(manners: Mapping[str, float], prefix: str, rng: random.Random) -> str:
    fenced = _open_fence(prefix) is not None
    names = [name for name, weight in manners.items() if weight > 0 and (name != "fence" or fenced)]
    return rng.choices(names, [manners[name] for name in names])[0] if names else "exact"


def _begun(resumption: Resumption, whole: str, rest: str, rng: random.Random | None) -> str:
    """What is sent, as the manner has it."""
    if resumption.kind == "prefill":
        return rest
    match resumption.manner:
        case "restart" | "diverge":
            return whole
        case "missing":
            return rest.lstrip(" ")
        case "missing_preamble" if rng is not None:
            return rng.choice(PREAMBLES) + rest.lstrip(" ")
        case manner:
            return _repeated(manner, resumption, rng) + rest


def _repeated(manner: str, resumption: Resumption, rng: random.Random | None) -> str:
    """The last words again, as this manner repeats them, and the blanks after them that nobody quotes."""
    prefix, anchor = resumption.prefix, resumption.anchor
    blanks = "" if prefix.endswith(anchor) else prefix[len(prefix.rstrip()) :]
    if rng is None:
        return anchor + blanks
    match manner:
        case "preamble":
            return rng.choice(PREAMBLES) + anchor + blanks
        case "sentence":
            before = prefix[: len(prefix) - len(blanks) - len(anchor)]
            return re.split(r"(?<=[.!?\n])\s*", before)[-1] + anchor + blanks
        case "fence":
            return f"```{_open_fence(prefix) or ''}\n{anchor}{blanks}"
        case _:
            return _CHANGES.get(manner, str)(anchor) + blanks


def _other_case(anchor: str) -> str:
    return re.sub(r"[^\W\d_]", lambda letter: letter.group().swapcase(), anchor, count=1)


_TYPOGRAPHY: Final = str.maketrans("'\u2019\"\u201c\u201d-\u2013", '\u2019\'\u201d""\u2013-')
_CHANGES: Final[Mapping[str, Callable[[str], str]]] = {
    "spaces": lambda anchor: anchor.replace(" ", "  ") if " " in anchor else f"\n{anchor}",
    "case": _other_case,
    "quotes": lambda anchor: anchor.translate(_TYPOGRAPHY),
    "quoted": lambda anchor: f"“{anchor}”",
}


def _open_fence(text: str) -> str | None:
    """The language of the fence the text ends in (`""` where it names none), or None outside a fence."""
    language: str | None = None
    for line in re.finditer(r"^```([^\n]*)$", text, re.MULTILINE):
        language = line.group(1).strip() if language is None else None
    return language


def _rest_after_the_end_of(prefix: str, wordings: Template) -> str | None:
    """What follows the end of `prefix` in the canonical wording, if that end stands there once."""
    end = prefix[-24:]
    canonical = wordings.canonical
    if len(end) < ANCHOR_MIN or canonical.count(end) != 1:
        return None
    return canonical[canonical.index(end) + len(end) :]
