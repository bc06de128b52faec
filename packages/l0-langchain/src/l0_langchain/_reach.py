"""What an object would use when it runs: the models, tools, retrievers and embeddings it leads to."""

import dis
import gc
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from langchain_core.language_models import BaseChatModel, BaseLanguageModel
from langchain_core.runnables.fallbacks import RunnableWithFallbacks
from langchain_core.runnables.retry import RunnableRetry
from langchain_core.tools import BaseTool

from l0_langchain._chosen import is_chosen
from l0_langchain._guarded import is_guardable

VISITED_MAX = 100_000
"""Objects looked at at most."""

_CLOSED = (str, bytes, int, float, complex, bool, type(None), ModuleType, FrameType, BuiltinFunctionType, CodeType)
"""What leads nowhere, or everywhere."""

_RETRYING = {"ModelRetryMiddleware", "ModelFallbackMiddleware", "ToolRetryMiddleware"}
_MAKERS = {"init_chat_model"}


@dataclass
class Reach:
    """What was met on the way.

    Attributes:
        leaves: What reaches out of the process by itself: models, retrievers, embeddings, and tools.
        composed: Tools that reach out through other leaves.
        around: What tries again around leaves.
        makers: Functions that make a model when they are called, and what is made: nothing to protect exists yet.
        is_cut: Whether there was more than could be looked at.
    """

    leaves: list[Any] = field(default_factory=list)
    composed: list[BaseTool] = field(default_factory=list)
    around: list[Any] = field(default_factory=list)
    makers: list[tuple[str, str]] = field(default_factory=list)
    is_cut: bool = False


def reach_of(root: object) -> Reach:
    """Return what `root` leads to, nearest first.

    Of a function only what it uses is followed: its closure, its defaults and the globals it loads.
    """
    return _walk([root])


def leads_out(inside: list[Any]) -> bool:
    """Return whether any of these objects leads to a leaf."""
    return bool(_walk(inside, until_first=True).leaves)


def _walk(queue: list[Any], *, until_first: bool = False) -> Reach:
    reach, seen = Reach(), set[int]()
    for number, found in enumerate(queue):  # It grows while it is read.
        if number >= VISITED_MAX:
            reach.is_cut = True
            break
        if until_first and reach.leaves:
            break
        if isinstance(found, (*_CLOSED, type)) or id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, BaseTool):
            inside = gc.get_referents(found)
            if leads_out(inside.copy()):
                reach.composed.append(found)
                queue += inside
            else:
                reach.leaves.append(found)
            continue
        if isinstance(found, BaseLanguageModel) or is_guardable(found) or is_chosen(found):
            reach.leaves.append(found)
            continue
        if _is_middleware(found) or (_is_retrying(found) and leads_out(gc.get_referents(found))):
            reach.around.append(found)
        if isinstance(found, FunctionType):
            reach.makers += [(found.__qualname__, made) for made in _made(found)]
            queue += _used(found)
        else:
            queue += gc.get_referents(found)
    return reach


def _is_middleware(found: object) -> bool:
    """Return whether it is a middleware that calls a model or a tool again when that fails, or another."""
    return type(found).__name__ in _RETRYING


def _is_retrying(found: object) -> bool:
    """Return whether something calls what it holds again when that fails, or another."""
    if isinstance(found, RunnableRetry | RunnableWithFallbacks):
        return True
    is_node = type(found).__module__.startswith("langgraph.pregel")
    return is_node and bool(inspect.getattr_static(found, "retry_policy", None))


# Functions -----------------------------------------------------------------------------------------------------------


def _used(function: FunctionType) -> list[Any]:
    used: list[Any] = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    used += [cell for cell in function.__closure__ or () if not _is_empty(cell)]
    used += [value for value in _globals(function) if not isinstance(value, type)]
    return [*used, *vars(function).values()]


def _is_empty(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False


def _globals(function: FunctionType) -> Iterator[Any]:
    """Yield the globals a function loads; an attribute of the same name is something else."""
    known = function.__globals__
    for code in _codes(function.__code__):
        for step in dis.get_instructions(code):
            if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"} and step.argval in known:
                yield known[step.argval]


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield code and the code inside it: of functions, comprehensions and classes that are written in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _made(function: FunctionType) -> Iterator[str]:
    """Yield the names of model classes, and makers of models, that a program's own function uses."""
    if function.__module__ and function.__module__.partition(".")[0] in {"langchain", "langchain_core", "langgraph"}:
        return
    enclosed = [cell.cell_contents for cell in function.__closure__ or () if not _is_empty(cell)]
    for value in {id(value): value for value in (*enclosed, *_globals(function), *_imported(function))}.values():
        name = getattr(value, "__name__", "")
        if (isinstance(value, type) and issubclass(value, BaseChatModel)) or (
            isinstance(value, FunctionType) and name in _MAKERS
        ):
            yield name


def _imported(function: FunctionType) -> Iterator[Any]:
    """Yield what a function imports when it runs, as far as it has been loaded already."""
    for code in _codes(function.__code__):
        module = ""
        for step in dis.get_instructions(code):
            if step.opname == "IMPORT_NAME":
                module = step.argval
            elif step.opname == "IMPORT_FROM" and module in sys.modules:
                yield getattr(sys.modules[module], step.argval, None)
