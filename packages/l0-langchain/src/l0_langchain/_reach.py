"""What a program's object can reach: the models, tools and retrievers that it would use."""

import dis
import gc
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from langchain_core.language_models import BaseLanguageModel
from langchain_core.runnables.fallbacks import RunnableWithFallbacks
from langchain_core.runnables.retry import RunnableRetry

from l0_langchain._guarded import is_guardable

VISITED_MAX = 100_000
"""Objects looked at at most."""

_CLOSED = (str, bytes, int, float, complex, bool, type(None), type, ModuleType, FrameType, BuiltinFunctionType)
"""What leads nowhere, or everywhere."""


def reachable(root: object) -> Iterator[Any]:
    """Yield every model, tool, retriever, embedding, retry and fallback that `root` leads to, nearest first.

    Of a function only what it uses is followed: its closure, its defaults and the globals it names.
    """
    seen: set[int] = set()
    queue: list[object] = [root]
    for number, found in enumerate(queue):  # It grows while it is read.
        if number >= VISITED_MAX:
            return
        if isinstance(found, _CLOSED) or id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, BaseLanguageModel) or is_guardable(found):
            yield found
            if isinstance(found, BaseLanguageModel):
                continue
        elif isinstance(found, RunnableRetry | RunnableWithFallbacks):
            yield found
        queue += _used(found) if isinstance(found, FunctionType) else gc.get_referents(found)


def _used(function: FunctionType) -> list[object]:
    used: list[object] = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        try:
            used.append(cell.cell_contents)
        except ValueError:  # Not filled yet.
            continue
    known = function.__globals__
    used += [known[name] for name in _globals(function.__code__) if name in known]
    wrapped = getattr(function, "__wrapped__", None)
    return [*used, *vars(function).values(), wrapped]


def _globals(code: CodeType) -> set[str]:
    """Return the names of globals that code loads; attributes of the same name are something else."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _globals(constant)
    return names
