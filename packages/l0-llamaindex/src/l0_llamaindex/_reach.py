"""What an object of a program leads to, and how to have it lead elsewhere.

Engines, agents and workflows hold what they ask in attributes, lists, tools, bound methods and closures. `Reach`
follows these, and can rebuild every holder on a way to something that is replaced: as a copy that shares all else with
the original, or in place.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dis import get_instructions
from functools import cache, partial
from inspect import unwrap
from types import BuiltinFunctionType, CellType, CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple, TypeVar, cast

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager
from llama_index.core.graph_stores.types import PropertyGraphStore
from llama_index.core.llms import LLM
from llama_index.core.schema import BaseNode, NodeWithScore
from llama_index.core.storage.docstore.types import BaseDocumentStore
from llama_index.core.storage.index_store.types import BaseIndexStore
from llama_index.core.storage.kvstore.types import BaseKVStore
from llama_index.core.storage.storage_context import StorageContext
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from l0_core._facts import is_installed

T = TypeVar("T")

VISITED_MAX: Final = 100_000
"""Objects looked at at most."""

_ENDS = (LLM, BaseEmbedding)
"""What is asked, and not followed: what it holds is its own business."""

_CLOSED = (
    *(str, bytes, int, float, complex, type(None), type, ModuleType, FrameType, CodeType, BuiltinFunctionType),
    *(BaseException, BaseNode, NodeWithScore, CallbackManager),
    *(StorageContext, BaseDocumentStore, BaseIndexStore, BaseKVStore),
    *(BasePydanticVectorStore, PropertyGraphStore),
)
"""What leads nowhere, or to a user's documents: there may be millions."""

_FRAMEWORK: Final = {"llama_index", "workflows"}
_STATE: Final = ("__dict__", "__pydantic_private__", "__pydantic_extra__")


class Way(NamedTuple):
    """One step from a holder to what it holds."""

    label: str
    child: Any
    fixed: bool = False
    """Whether it cannot lead elsewhere."""


class Step(NamedTuple):
    """Something that can be reached, and how."""

    found: Any
    where: str


class Reach:
    """All that can be reached from an object by ways that can be changed, the nearest first.

    Attributes:
        root: The object.
        steps: What is reached.
        beyond: What lies behind ways that are fixed.
    """

    def __init__(self, root: object, *, but: frozenset[str] = frozenset()) -> None:
        self.root = root
        self.steps: dict[int, Step] = {}
        self._holders: dict[int, list[int]] = {}
        fixed: list[Step] = []
        self._follow(Step(root, ""), fixed, but)
        self.beyond = [step for step in fixed if id(step.found) not in self.steps]

    def _follow(self, first: Step, fixed: list[Step], but: frozenset[str]) -> None:
        waiting = deque([first])
        self.steps[id(first.found)] = first
        while waiting and len(self.steps) < VISITED_MAX:
            holder, where = waiting.popleft()
            for label, child, is_fixed in ways(holder):
                if label in but or not is_followed(child):
                    continue
                step = Step(child, label if not where else f"{where}{label if label[0] in '[(' else f'.{label}'}")
                if is_fixed:
                    fixed.append(step)
                    continue
                self._holders.setdefault(id(child), []).append(id(holder))
                if id(child) not in self.steps:
                    self.steps[id(child)] = step
                    waiting.append(step)

    def between(self, ends: Mapping[int, Any]) -> set[int]:
        """Return what lies on a way from the root to any of `ends`."""
        on_the_way: set[int] = set()
        waiting = list(ends)
        while waiting:
            for holder in self._holders.get(waiting.pop(), ()):
                if holder not in on_the_way:
                    on_the_way.add(holder)
                    waiting.append(holder)
        return on_the_way

    def rebuilt(self, becomes: Mapping[int, Callable[[Any], Any]], *, in_place: bool) -> Any:
        """Return the root, leading to what `becomes` makes of each object in it, by `id`.

        What is replaced is given as it is after what it holds was: for that it is called with it.
        """
        return _Rebuilding(self.between(becomes), becomes, in_place=in_place).run(self.root)


class _Rebuilding:
    def __init__(self, changing: set[int], becomes: Mapping[int, Callable[[Any], Any]], *, in_place: bool) -> None:
        self._changing = changing
        self._becomes = becomes
        self._in_place = in_place
        self._done: dict[int, Any] = {}
        self._kept: list[Any] = []
        self._filling: deque[Callable[[], None]] = deque()

    def run(self, root: T) -> T:
        made = self._of(root)
        while self._filling:
            self._filling.popleft()()
        return made

    def _of(self, found: T) -> T:
        key = id(found)
        if key in self._done:
            return cast("T", self._done[key])
        made: Any = found
        if key in self._changing:
            made = self._changed(found)
        if key in self._becomes:
            made = self._becomes[key](made)
        self._done[key] = made
        self._kept.append(found)  # Ids are of what is alive.
        return cast("T", made)

    def _changed(self, found: Any) -> Any:
        """Return what holds something else from now on. What can be changed later is: ways may lead back to it."""
        match found:
            case tuple():
                values = map(self._of, found)
                return type(found)._make(values) if hasattr(found, "_make") else type(found)(values)
            case frozenset():
                return type(found)(map(self._of, found))
            case partial():
                keywords = {name: self._of(value) for name, value in found.keywords.items()}
                return partial(self._of(found.func), *self._of(found.args), **keywords)
            case MethodType():
                holder = self._of(found.__self__)
                bound = getattr(holder, found.__name__, None)  # It may have a method of its own by that name.
                return bound if isinstance(bound, MethodType) else MethodType(found.__func__, holder)
            case FunctionType():
                return _function_like(found, self._of)
            case _:
                pass
        made = found if self._in_place else shell_of(found)
        self._filling.append(lambda: self._fill(found, made))
        return made

    def _fill(self, found: Any, made: Any) -> None:
        match found:
            case dict():
                made.update([(key, self._of(value)) for key, value in found.items()])
            case list() | deque():
                values = list(map(self._of, found))
                made.clear()
                made.extend(values)
            case set():
                values = list(map(self._of, found))
                made.clear()
                made.update(values)
            case CellType():
                made.cell_contents = self._of(found.cell_contents)
            case _:
                for name, value in _held(found):
                    fitted = self._of(value)
                    if fitted is not value:
                        _put(made, name, fitted)


def is_followed(found: object) -> bool:
    """Return whether something can lead to what is asked: objects of the frameworks and the program, and containers."""
    if isinstance(found, (*_ENDS, MethodType)):  # Methods that are decorated only say that they are some.
        return True
    if isinstance(found, _CLOSED):
        return False
    kind = type(found)
    if kind.__module__ in {"builtins", "functools", "collections"}:
        return isinstance(
            found,
            dict | list | tuple | set | frozenset | deque | partial | MethodType | FunctionType | CellType,
        )
    return any(base.__module__.partition(".")[0] in _FRAMEWORK or _is_of_the_program(base) for base in kind.__mro__)


def ways(holder: Any) -> Iterator[Way]:
    """Yield all that something holds."""
    match holder:
        case LLM() | BaseEmbedding():
            return
        case dict():
            yield from (Way(f"[{key!r}]" if isinstance(key, str | int) else "[…]", holder[key]) for key in [*holder])
        case list() | tuple() | deque():
            yield from (Way(f"[{place}]", child) for place, child in enumerate(holder))
        case set() | frozenset():
            yield from (Way("[…]", child) for child in holder)
        case partial():
            yield Way("func", holder.func)
            yield Way("args", holder.args)
            yield from (Way(name, child) for name, child in holder.keywords.items())
        case MethodType():
            yield Way("__self__", holder.__self__)
        case FunctionType():
            yield from _used(holder)
        case CellType():
            if holder != CellType():
                yield Way("()", holder.cell_contents)
        case _:
            yield from (Way(name, child) for name, child in _held(holder))
            yield from _named(type(holder))


def _named(kind: type) -> Iterator[Way]:
    """Yield what the methods of the program's classes use that no object of theirs holds: nobody may change it."""
    for base in filter(_is_of_the_program, kind.__mro__):
        for method in list(vars(base).values()):
            function = unwrap(getattr(method, "__func__", method))
            if isinstance(function, FunctionType):
                cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
                yield from (Way(f"({name})", cell, fixed=True) for name, cell in cells)
                yield from _globals_of(function)


def _held(holder: Any) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of an object, private ones and slots included, and what its class holds for it."""
    for name in _STATE:
        yield from list((getattr(holder, name, None) or {}).items())
    for kind in type(holder).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if not slot.startswith("__") and hasattr(holder, slot):
                yield slot, getattr(holder, slot)
        if _is_of_the_program(kind):
            own = getattr(holder, "__dict__", {})
            for name, value in list(vars(kind).items()):
                if isinstance(value, _ENDS) and name not in own:
                    yield name, value


def _put(made: Any, name: str, value: Any) -> None:
    for place in _STATE[1:]:
        state = getattr(made, place, None)
        if state and name in state:
            state[name] = value
            return
    own = getattr(made, "__dict__", None)
    if own is not None and (
        name in own or not hasattr(type(made), name) or isinstance(getattr(type(made), name), _ENDS)
    ):
        own[name] = value
    else:
        object.__setattr__(made, name, value)


def shell_of(found: Any) -> Any:
    """Return an object with the same state, of which it shares every part but not the whole."""
    if isinstance(found, FunctionType):
        return _function_like(found, lambda held: held)
    if isinstance(found, dict | list | tuple | set | frozenset | deque | partial | MethodType):
        return copy(found)
    if isinstance(found, CellType):
        return CellType()
    made = object.__new__(type(found))
    for kind in type(found).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot not in {"__dict__", "__weakref__"} and hasattr(found, slot):
                object.__setattr__(made, slot, copy(getattr(found, slot)) if slot in _STATE else getattr(found, slot))
    if hasattr(found, "__dict__"):
        object.__setattr__(made, "__dict__", dict(found.__dict__))
    return made


def _function_like(found: FunctionType, held: Callable[[Any], Any]) -> FunctionType:
    """Return a function of the same code, with what `held` makes of everything it holds."""
    closure = tuple(map(held, found.__closure__ or ())) or None
    made = FunctionType(found.__code__, found.__globals__, found.__name__, held(found.__defaults__), closure)
    made.__kwdefaults__ = held(found.__kwdefaults__)
    made.__qualname__, made.__module__, made.__doc__ = found.__qualname__, found.__module__, found.__doc__
    made.__annotations__ = found.__annotations__
    vars(made).update({name: held(value) for name, value in vars(found).items()})
    return made


def _used(function: FunctionType) -> Iterator[Way]:
    """Yield what a function uses: of the globals those it names, which nobody may change for it."""
    names = function.__code__.co_freevars
    yield from (Way(f"({name})", cell) for name, cell in zip(names, function.__closure__ or (), strict=True))
    yield Way("__defaults__", function.__defaults__)
    yield Way("__kwdefaults__", function.__kwdefaults__)
    yield from (Way(name, child) for name, child in vars(function).items())
    if _is_of_the_program(function):
        yield from _globals_of(function)


def _globals_of(function: FunctionType) -> Iterator[Way]:
    known = function.__globals__
    yield from (Way(f"(global {name})", known[name], fixed=True) for name in _globals(function.__code__) & {*known})


@cache
def _globals(code: CodeType) -> frozenset[str]:
    """Return the names of globals that code loads; attributes of the same name are something else."""
    names = {step.argval for step in get_instructions(code) if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _globals(constant)
    return frozenset(names)


def _is_of_the_program(found: Any) -> bool:
    """Return whether a class or function belongs to the caller's program: not to Python, a package, or L0."""
    module = sys.modules.get(found.__module__ or "")
    if module is None or found.__module__.partition(".")[0] in {"builtins", "l0_core", "l0_llamaindex"}:
        return False
    file = getattr(module, "__file__", None)
    return found.__module__ == "__main__" if file is None else not is_installed(file)
