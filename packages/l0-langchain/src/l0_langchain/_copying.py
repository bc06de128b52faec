"""A copy of an object in which some of what it leads to is replaced: nothing that is not on the way is copied."""

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from types import CellType, FunctionType, MethodType
from typing import Any, TypeVar

from langchain_core.language_models import BaseLanguageModel
from langchain_core.runnables import Runnable
from pydantic import BaseModel

from l0_langchain._guarded import is_guardable
from l0_langchain._reach import VISITED_MAX

T = TypeVar("T")

_FRAMEWORK = {"langchain", "langchain_classic", "langchain_community", "langchain_core", "langgraph"}
"""Whose objects may be copied: a program's own may be meant to be one only, but for runnables."""


def copied(root: T, replaced: Callable[[Any], Any]) -> tuple[T, set[int]]:
    """Return a copy of `root`, and the ids of what was replaced in it.

    Args:
        root: What is copied, as far as it leads to something that is replaced.
        replaced: Given an object, what stands in its place in the copy: itself, where it stays.
    """
    return _Copy(replaced).of(root)


class _Copy:
    def __init__(self, replaced: Callable[[Any], Any]) -> None:
        self._replaced = replaced
        self._made: dict[int, Any] = {}
        """What stands in the place of an object of that id."""
        self._kept: list[Any] = []
        """What was looked at, so that no id is given away meanwhile."""
        self._hits: set[int] = set()

    def of(self, root: T) -> tuple[T, set[int]]:
        way = [found for found in self._way(root) if not _is_fixed(found)]
        for found in sorted(way, key=lambda found: not isinstance(found, CellType)):  # Functions are made of cells.
            self._made[id(found)] = self._shell(found)
        for found in way:
            self._fill(found)
        return self._new(root), self._hits

    def _way(self, root: Any) -> list[Any]:
        """Return everything from which something leads to what is replaced."""
        holders: dict[int, list[Any]] = {id(root): []}
        queue, hits = [root], list[Any]()
        for number, found in enumerate(queue):  # It grows while it is read.
            if number >= VISITED_MAX:
                break
            self._kept.append(found)
            made = self._replaced(found)
            if made is not found:
                self._made[id(found)] = made
                self._hits.add(id(found))
                hits.append(found)
                continue
            for part in _parts(found):
                if id(part) in holders:
                    holders[id(part)].append(found)
                else:
                    holders[id(part)] = [found]
                    queue.append(part)
        way: dict[int, Any] = {}
        while hits:
            for holder in holders[id(hits.pop())]:
                if id(holder) not in way:
                    way[id(holder)] = holder
                    hits.append(holder)
        return list(way.values())

    def _new(self, found: Any) -> Any:
        """Return what stands in the place of an object in the copy."""
        if id(found) in self._made:
            return self._made[id(found)]
        return self._fixed(found) if _is_fixed(found) else found

    def _fixed(self, found: Any) -> Any:
        """Return a copy of what cannot be changed once it is made, if anything in it has another in its place."""
        parts = list(_parts(found))
        news = [self._new(part) for part in parts]
        if all(new is part for new, part in zip(news, parts, strict=True)):
            return found
        match found:
            case MethodType(__name__=name):
                made: Any = getattr(news[0], name, None)  # Of the class of what stands there now.
                if not isinstance(made, MethodType) or getattr(found.__self__, name, None) != found:
                    made = MethodType(news[1], news[0])
            case partial():
                func, args, keywords = news
                made = type(found)(func, *args, **keywords)
            case _ if hasattr(found, "_fields"):
                made = type(found)(*news)
            case _:
                made = tuple(news)
        self._made[id(found)] = made
        return made

    def _shell(self, found: Any) -> Any:
        """Return a new object of the same kind, in which what leads on is still to be filled in."""
        if isinstance(found, CellType):
            return CellType()
        if isinstance(found, FunctionType):
            cells = tuple(self._made.get(id(cell), cell) for cell in found.__closure__ or ())
            made = FunctionType(found.__code__, found.__globals__, found.__name__, found.__defaults__, cells)
            for name in ("__doc__", "__module__", "__qualname__", "__annotations__", "__kwdefaults__"):
                setattr(made, name, getattr(found, name))
            made.__dict__.update(vars(found))
            return made
        made = copy.copy(found)
        if not isinstance(found, dict | list):
            for name in [name for name in getattr(made, "__dict__", ()) if _is_worked_out(type(made), name)]:
                del made.__dict__[name]
        return made

    def _fill(self, found: Any) -> None:
        made, new = self._made[id(found)], self._new
        match found:
            case CellType():
                made.cell_contents = new(found.cell_contents)
            case FunctionType():
                made.__defaults__, made.__kwdefaults__ = new(found.__defaults__), new(found.__kwdefaults__)
                made.__dict__.update({name: new(value) for name, value in vars(found).items()})
            case dict():
                made.update({key: new(value) for key, value in found.items()})
            case list():
                made[:] = map(new, found)
            case _:
                for name, value in _fields(found).items():
                    if (changed := new(value)) is not value:
                        object.__setattr__(made, name, changed)
                if isinstance(found, BaseModel) and found.__pydantic_private__:
                    private = {name: new(value) for name, value in found.__pydantic_private__.items()}
                    object.__setattr__(made, "__pydantic_private__", private)


def _is_fixed(found: Any) -> bool:
    return isinstance(found, MethodType | partial | tuple)


def _parts(found: Any) -> Iterator[Any]:
    """Yield what an object that can be copied holds."""
    match found:
        case dict():
            yield from found.values()
        case list() | tuple():
            yield from found
        case FunctionType():
            yield from found.__closure__ or ()
            yield from (found.__defaults__, found.__kwdefaults__, *vars(found).values())
        case CellType():
            try:
                yield found.cell_contents
            except ValueError:  # Not filled yet.
                return
        case MethodType():
            yield from (found.__self__, found.__func__)
        case partial():
            yield from (found.func, found.args, found.keywords)
        case _:
            if is_copyable(found):
                yield from _fields(found).values()
                yield from (getattr(found, "__pydantic_private__", None) or {}).values()


def is_copyable(found: object) -> bool:
    """Return whether a copy of an object does what the object does."""
    if isinstance(found, type | BaseLanguageModel):
        return False
    if isinstance(found, Runnable) or is_guardable(found):
        return True
    return type(found).__module__.partition(".")[0] in _FRAMEWORK


def _fields(found: Any) -> Mapping[str, Any]:
    """Return the attributes of an object, without those that are worked out from others."""
    kind = type(found)
    held = {name: value for name, value in getattr(found, "__dict__", {}).items() if not _is_worked_out(kind, name)}
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith("__") and hasattr(found, name):
                held[name] = getattr(found, name)
    return held


def _is_worked_out(kind: type, name: str) -> bool:
    return isinstance(getattr(kind, name, None), cached_property)
