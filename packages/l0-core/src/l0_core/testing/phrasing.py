"""What an answer may be worded like, and whether a text is one of those answers.

A `Template` is a finite language: every way of taking its choices is one complete phrasing. The provider samples from
it as a model would, goes on from any text that begins a phrasing, and says of any text whether it is one complete
phrasing. Choices that share a name are taken together, so that a text made of two phrasings is none itself.
"""

from __future__ import annotations

import random
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Choice", "Node", "Template", "dice"]

CHECK_STATES_MAX: Final = 50_000


@dataclass(frozen=True, slots=True)
class Choice:
    """One place with several wordings; places with the same `link` take the alternative of the same position."""

    options: tuple[Node, ...]
    link: str | None = None


Node = str | Choice | tuple["Node", ...]


def dice(*seed: object) -> random.Random:
    """A generator for one purpose: the same seed gives the same draws in every process."""
    return random.Random(":".join(map(str, seed)))  # noqa: S311 - reproducible, not secret


class _Edge(NamedTuple):
    label: str
    to: int
    link: str | None
    option: int


class _State(NamedTuple):
    """Where a text has led: `offset` characters into `edge` of `vertex`, with these linked choices taken."""

    vertex: int
    edge: int
    offset: int
    links: _Links


_Links = frozenset[tuple[str, int]]
# Two readers of two phrasings that agree so far: one's vertex and links, the other's, and the text the other is ahead.
_Pair = tuple[int, _Links, int, _Links, str]


class Template:
    """An answer with alternatives: `Template("The {big|large} {@tone:dog sleeps|hound slumbers}.")`.

    `{a|b}` is a choice, `{@name:a|b}` one that is taken together with every other of that name; choices nest, and a
    backslash makes the next character plain. What cannot be judged by reading the result is refused: an empty
    alternative, two alternatives of which one is the other with a piece missing or doubled (unless their choice is
    linked), a phrasing that another one begins with.
    """

    def __init__(self, source: str) -> None:
        node = _parse(source)
        _refuse_look_alikes(node, _links(node))
        self._build(node)
        self._refuse_prefixes()

    @classmethod
    def of(cls, node: Node) -> Template:
        """A template from its parts, without the checks that a person's source needs."""
        template = cls.__new__(cls)
        template._build(node)  # noqa: SLF001 - a second constructor
        return template

    @classmethod
    def exactly(cls, text: str) -> Template:
        """The one phrasing there is, braces and all."""
        return cls.of(text)

    def _build(self, node: Node) -> None:
        self._edges: list[list[_Edge]] = [[], []]
        self._final = 1
        self._widths: dict[str, int] = {}
        self._grow(node, 0, 1)
        self._canonical = self._walk(0, frozenset(), None)

    def _grow(self, node: Node, start: int, end: int) -> None:
        match node:
            case str():
                self._edges[start].append(_Edge(node, end, None, 0))
            case Choice(options, link):
                if link is not None and self._widths.setdefault(link, len(options)) != len(options):
                    raise ValueError(
                        f"choices linked as {link!r} have {self._widths[link]} and {len(options)} alternatives: "
                        "linked choices need as many"
                    )
                for position, option in enumerate(options):
                    inner = self._vertex()
                    self._edges[start].append(_Edge("", inner, link, position))
                    self._grow(option, inner, end)
            case _:
                here = start
                for part in node[:-1]:
                    following = self._vertex()
                    self._grow(part, here, following)
                    here = following
                self._grow(node[-1] if node else "", here, end)

    def _vertex(self) -> int:
        self._edges.append([])
        return len(self._edges) - 1

    @property
    def canonical(self) -> str:
        """The phrasing that takes the first alternative everywhere."""
        return self._canonical

    @property
    def is_plain(self) -> bool:
        """Whether there is one phrasing only."""
        return all(len(edges) <= 1 for edges in self._edges)

    def sample(self, rng: random.Random) -> str:
        """One phrasing, drawn."""
        return self._walk(0, frozenset(), rng)

    def other(self, rng: random.Random, than: str) -> str:
        """A phrasing that differs from `than`; `than` itself where there is no other."""
        for _ in range(64):
            drawn = self.sample(rng)
            if drawn != than:
                return drawn
        return than

    def accepts(self, text: str) -> bool:
        """Whether `text` is one complete phrasing, from its first character to its last."""
        return self._match(text)[1]

    def begins(self, text: str) -> bool:
        """Whether some phrasing starts with `text`."""
        states, accepted = self._match(text)
        return bool(states) or accepted

    def rest(self, prefix: str, rng: random.Random | None = None) -> str | None:
        """What may follow `prefix`, keeping to the choices it has made; None where no phrasing starts with it."""
        states, accepted = self._match(prefix)
        if accepted:
            return ""
        if not states:
            return None
        state = states[0] if rng is None else states[rng.randrange(len(states))]
        edge = self._edges[state.vertex][state.edge]
        return edge.label[state.offset :] + self._walk(edge.to, state.links, rng)

    def phrasings(self) -> Iterator[str]:
        """Every phrasing; there may be very many."""
        stack: list[tuple[int, str, _Links]] = [(0, "", frozenset())]
        while stack:
            vertex, text, links = stack.pop()
            if vertex == self._final:
                yield text
                continue
            for edge in reversed(self._edges[vertex]):
                taken = _take(links, edge)
                if taken is not None:
                    stack.append((edge.to, text + edge.label, taken))

    def _walk(self, vertex: int, links: _Links, rng: random.Random | None) -> str:
        parts: list[str] = []
        while vertex != self._final:
            open_edges = [(edge, taken) for edge in self._edges[vertex] if (taken := _take(links, edge)) is not None]
            edge, links = open_edges[0 if rng is None else rng.randrange(len(open_edges))]
            parts.append(edge.label)
            vertex = edge.to
        return "".join(parts)

    def _match(self, text: str) -> tuple[list[_State], bool]:
        """The places inside a label where `text` ends, and whether it also ends a phrasing."""
        ends: list[_State] = []
        accepted = False
        start: tuple[int, int, _Links] = (0, 0, frozenset())
        seen = {start}
        stack = [start]
        while stack:
            vertex, consumed, links = stack.pop()
            if vertex == self._final:
                accepted = accepted or consumed == len(text)
                continue
            for number, edge in enumerate(self._edges[vertex]):
                taken = _take(links, edge)
                if taken is None:
                    continue
                left = len(text) - consumed
                if left < len(edge.label):
                    if edge.label.startswith(text[consumed:]):
                        ends.append(_State(vertex, number, left, taken))
                elif text.startswith(edge.label, consumed):
                    following = (edge.to, consumed + len(edge.label), taken)
                    if following not in seen:
                        seen.add(following)
                        stack.append(following)
        return ends, accepted

    def _refuse_prefixes(self) -> None:
        """Read two phrasings side by side: neither may end where the other goes on."""
        start: _Pair = (0, frozenset(), 0, frozenset(), "")
        seen = {start}
        stack = [start]
        while stack:
            for pair in self._after(stack.pop()):
                if pair not in seen:
                    if len(seen) >= CHECK_STATES_MAX:
                        raise ValueError(
                            "the template has too many phrasings to be checked: link choices, or take fewer"
                        )
                    seen.add(pair)
                    stack.append(pair)

    def _after(self, pair: _Pair) -> Iterator[_Pair]:
        behind, its, ahead, theirs, lead = pair
        if behind == self._final:
            if lead:
                raise ValueError(f"a phrasing ends where another goes on with {lead!r}: a cut would not be seen")
            if ahead != self._final:
                yield (ahead, theirs, behind, its, "")
            return
        for edge in self._edges[behind]:
            taken = _take(its, edge)
            if taken is None:
                continue
            if lead.startswith(edge.label):
                yield (edge.to, taken, ahead, theirs, lead[len(edge.label) :])
            elif edge.label.startswith(lead):
                more = edge.label[len(lead) :]
                if ahead == self._final:
                    raise ValueError(f"a phrasing ends where another goes on with {more!r}: a cut would not be seen")
                yield (ahead, theirs, edge.to, taken, more)

    def __repr__(self) -> str:
        return f"Template<{textwrap.shorten(self.canonical, 60, placeholder='…')!r}>"


def _take(links: _Links, edge: _Edge) -> _Links | None:
    """The choices taken after following `edge`, or None where an earlier linked choice forbids it."""
    if edge.link is None:
        return links
    wanted = (edge.link, edge.option)
    if wanted in links:
        return links
    if any(name == edge.link for name, _ in links):
        return None
    return links | {wanted}


def _parse(source: str) -> Node:
    """Read the notation; what is wrong with it is said with its position."""
    reader = _Reader(source)
    node = reader.sequence(inside=False)
    if reader.position < len(source):
        raise ValueError(f"a brace closes nothing at character {reader.position} of the template")
    return node


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        self.position = 0

    def sequence(self, *, inside: bool) -> Node:
        parts: list[Node] = []
        text: list[str] = []
        while self.position < len(self.source):
            character = self.source[self.position]
            if character == "}" or (character == "|" and inside):
                break
            self.position += 1
            if character == "{":
                if text:
                    parts.append("".join(text))
                    text = []
                parts.append(self.choice())
            elif character == "\\" and self.position < len(self.source):
                text.append(self.source[self.position])
                self.position += 1
            else:
                text.append(character)
        if text or not parts:
            parts.append("".join(text))
        return parts[0] if len(parts) == 1 else tuple(parts)

    def choice(self) -> Choice:
        opened = self.position - 1
        link = None
        if self.source.startswith("@", self.position):
            end = self.source.find(":", self.position)
            link = self.source[self.position + 1 : end]
            if end < 0 or not link.isidentifier():
                raise ValueError(f"a linked choice is written {{@name:a|b}}; see character {opened} of the template")
            self.position = end + 1
        options = [self.sequence(inside=True)]
        while self.source.startswith("|", self.position):
            self.position += 1
            options.append(self.sequence(inside=True))
        if not self.source.startswith("}", self.position):
            raise ValueError(f"the choice opened at character {opened} of the template is never closed")
        self.position += 1
        return Choice(tuple(options), link)


def _links(node: Node) -> dict[str, int]:
    """How often each link is used."""
    found: dict[str, int] = {}
    stack = [node]
    while stack:
        match stack.pop():
            case Choice(options, link):
                if link is not None:
                    found[link] = found.get(link, 0) + 1
                stack.extend(options)
            case tuple(parts):
                stack.extend(parts)
            case _:
                pass
    return found


def _refuse_look_alikes(node: Node, links: dict[str, int]) -> None:
    """Refuse alternatives that hide a loss: where a missing piece turns one wording into another, nobody can tell."""
    stack = [node]
    while stack:
        current = stack.pop()
        if isinstance(current, tuple):
            stack.extend(current)
        elif isinstance(current, Choice):
            stack.extend(current.options)
            if current.link is not None and links[current.link] > 1:
                continue
            plain = [option for option in current.options if isinstance(option, str)]
            if len(current.options) == 1 or "" in plain:
                raise ValueError(f"a choice needs two alternatives or more, none of them empty: {current.options!r}")
            for first in plain:
                for second in plain:
                    if first is not second and _is_with_piece_removed(first, second):
                        raise ValueError(f"{first!r} is {second!r} with a piece removed: a loss would not be seen")


def _is_with_piece_removed(short: str, long: str) -> bool:
    same_start = 0
    while same_start < min(len(short), len(long)) and short[same_start] == long[same_start]:
        same_start += 1
    same_end = 0
    while same_end < min(len(short), len(long)) - same_start and short[-1 - same_end] == long[-1 - same_end]:
        same_end += 1
    return same_start + same_end >= len(short) and len(short) <= len(long)
