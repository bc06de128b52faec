"""The names of faults: how a name and its parameters make one, and what is said of a name that does not exist."""

from __future__ import annotations

import ast
import difflib
import functools
import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Final, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from l0_core.testing.fault import Fault

__all__ = ["meaning", "named", "names", "parse", "signature", "unknown", "word"]

P = ParamSpec("P")
_VOCABULARY: Final[dict[str, Callable[..., Fault]]] = {}


def word(make: Callable[P, Fault]) -> Callable[P, Fault]:
    """Enter a name into the vocabulary; the fault is called by what was given, so that a name can be parsed again."""
    parameters = inspect.signature(make)

    @functools.wraps(make)
    def named_fault(*args: P.args, **kwargs: P.kwargs) -> Fault:
        try:
            given = parameters.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{make.__name__}{signature(make.__name__)}: {error}") from None
        written = ", ".join(f"{name}={value!r}" for name, value in given.items())
        return replace(make(*args, **kwargs), name=f"{make.__name__}({written})")

    _VOCABULARY[make.__name__] = named_fault
    return named_fault


def names() -> tuple[str, ...]:
    """Everything there is, in the order of this module."""
    return tuple(_VOCABULARY)


def signature(name: str) -> str:
    """The parameters of a fault, as they are written."""
    parameters = inspect.signature(_VOCABULARY[name]).parameters.values() if name in _VOCABULARY else ()
    return f"({', '.join(_parameter(parameter) for parameter in parameters)})"


def meaning(name: str) -> str:
    """What a fault does, in one sentence."""
    return (inspect.getdoc(_VOCABULARY[name]) or "").partition("\n\n")[0].replace("\n", " ")


def _parameter(parameter: inspect.Parameter) -> str:
    return parameter.name if parameter.default is parameter.empty else f"{parameter.name}={parameter.default!r}"


def named(name: str, /, *values: object, **parameters: object) -> Fault:
    """The fault of that name, as in a scenario file."""
    make = _VOCABULARY.get(name)
    if make is None:
        raise ValueError(unknown(name))
    try:
        return make(*values, **parameters)
    except TypeError as error:
        raise ValueError(f"{name}{signature(name)}: {error}") from None


def parse(text: str) -> Fault:
    """A fault as it is written, `reset_after(chunks=4)`; several with `+` between them."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"a fault is written like reset_after(chunks=4); got {text!r}") from None
    parts: list[Fault] = []
    stack = [tree]
    while stack:
        match stack.pop():
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                stack += [right, left]
            case ast.Call(func=ast.Name(id=name), args=values, keywords=keywords) if all(key.arg for key in keywords):
                try:
                    by_position = [ast.literal_eval(value) for value in values]
                    by_name = {str(key.arg): ast.literal_eval(key.value) for key in keywords}
                except ValueError:
                    raise ValueError(f"the parameters of {name} are plain values; got {text!r}") from None
                parts.append(named(name, *by_position, **by_name))
            case ast.Name(id=name):
                parts.append(named(name))
            case _:
                raise ValueError(f"a fault is written like reset_after(chunks=4); got {text!r}")
    return functools.reduce(lambda first, second: first + second, parts)


def unknown(name: str) -> str:
    """What to say of a name that does not exist."""
    close = difflib.get_close_matches(name, _VOCABULARY, 1)
    hint = f"; did you mean {close[0]}?" if close else "."
    return f"there is no fault {name!r}{hint} There are {', '.join(names())}"
