"""A template out of plain text: the same answer, as a model would word it on another day."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Final

from l0_core.testing.phrasing import Choice, Node, Template

__all__ = ["paraphrased"]

# Openings and endings are taken together: an answer that lost its opening or was finished in another voice is none.
VOICES: Final = (
    ("", ""),
    ("In short: ", "\n\nThere is little more to say about it."),
    ("Here is what I can tell you.\n\n", "\n\nI hope this settles the question."),
    ("Certainly. ", "\n\nTell me if you would like to know more."),
    ("To put it plainly: ", "\n\nThat covers what you asked for."),
)

# Words that may stand for each other in most sentences. No member is another one with a piece missing.
_FAMILIES: Final = (
    ("because", "since"),
    ("begin", "start"),
    ("begins", "starts"),
    ("build", "construct"),
    ("built", "constructed"),
    ("buy", "purchase"),
    ("called", "known as"),
    ("demonstrates", "makes plain", "shows"),
    ("difficult", "hard"),
    ("employ", "use"),
    ("entire", "whole"),
    ("famous", "renowned", "well known"),
    ("fast", "quick", "swift"),
    ("frequently", "often"),
    ("hence", "therefore", "for that reason"),
    ("however", "nevertheless", "even so"),
    ("important", "significant"),
    ("is located", "is situated", "lies"),
    ("large", "big", "sizeable"),
    ("many", "numerous"),
    ("needs", "requires"),
    ("normally", "usually", "as a rule"),
    ("nowadays", "today"),
    ("obtain", "get"),
    ("roughly", "approximately"),
    ("small", "little", "modest"),
    ("wonderful", "splendid"),
)
_MEMBERS: Final = {member: family for family in _FAMILIES for member in family}
_WORDS: Final = re.compile(
    r"(?<![\w-])(?:" + "|".join(sorted(map(re.escape, _MEMBERS), key=len, reverse=True)) + r")(?![\w-])", re.IGNORECASE
)
# "It rains because the wind turned." may also be "Because the wind turned, it rains."
_CLAUSE: Final = re.compile(
    r"(?P<main>(?:The|This|That|It|There|They|We|You|A|An|In|People) [^.!?,;:\n]+?)"
    r" (?P<word>because|if|when|while|although) (?P<reason>[^.!?,;:\n]+)(?P<end>[.!])"
)
_FENCE: Final = re.compile(r"^(```|~~~).*?(?:^\1[^\n]*$|\Z)", re.MULTILINE | re.DOTALL)


@lru_cache(maxsize=256)
def paraphrased(text: str) -> Template:
    """Every wording of `text` this module knows; `text` itself is the canonical one.

    A JSON document is laid out differently, prose changes voice, words and the order of clauses. Code in fences,
    figures and names stay as they are.
    """
    if not text.strip():
        return Template.exactly(text)
    layouts = _layouts(text)
    if layouts:
        return Template.of(Choice(layouts) if len(layouts) > 1 else text)
    return Template.of(
        (
            Choice(tuple(opening for opening, _ in VOICES), link="voice"),
            _reworded(text),
            Choice(tuple(ending for _, ending in VOICES), link="voice"),
        )
    )


def _layouts(text: str) -> tuple[str, ...]:
    """The ways to write the same JSON document, or nothing where `text` is none."""
    if text.lstrip()[:1] not in ("{", "["):
        return ()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    written = (
        text,
        json.dumps(value, ensure_ascii=False, separators=(",", ":")),
        json.dumps(value, ensure_ascii=False, indent=2),
        json.dumps(value, ensure_ascii=False, indent=4, sort_keys=True),
    )
    return tuple(dict.fromkeys(written))


def _reworded(text: str) -> Node:
    parts: list[Node] = []
    position = 0
    for fence in _FENCE.finditer(text):
        parts += _clauses(text[position : fence.start()])
        parts.append(fence.group())
        position = fence.end()
    parts += _clauses(text[position:])
    return tuple(parts)


def _clauses(text: str) -> list[Node]:
    parts: list[Node] = []
    position = 0
    for match in _CLAUSE.finditer(text):
        parts += _words(text[position : match.start()])
        main, word, reason, end = match["main"], match["word"], match["reason"], match["end"]
        parts.append(
            Choice(
                (
                    tuple(_words(match.group())),
                    tuple(_words(f"{word.capitalize()} {reason}, {main[0].lower()}{main[1:]}{end}")),
                )
            )
        )
        position = match.end()
    return parts + _words(text[position:])


def _words(text: str) -> list[Node]:
    parts: list[Node] = []
    position = 0
    for match in _WORDS.finditer(text):
        found = match.group()
        others = [member for member in _MEMBERS[found.lower()] if member != found.lower()]
        article = re.search(r"\b(an?) $", text[: match.start()], re.IGNORECASE)
        if article:
            vowel = article.group(1).lower() == "an"
            others = [other for other in others if (other[0] in "aeiou") is vowel]
        if not others:
            continue
        if found[0].isupper():
            others = [other.capitalize() for other in others]
        parts.append(text[position : match.start()])
        parts.append(Choice((found, *others)))
        position = match.end()
    return [*parts, text[position:]]
