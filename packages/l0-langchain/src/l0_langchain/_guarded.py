"""Tools, retrievers and embeddings whose calls are tried again, and answered by something else where that is said."""

import inspect
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any, TypeVar, cast

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool
from pydantic import BaseModel

import l0_core
from l0_core import Lifecycle, Target
from l0_core._settings import PolicyLike, is_disabled
from l0_langchain._twin import STATE, twin_of

T = TypeVar("T")

KINDS: dict[type, tuple[str, ...]] = {
    BaseTool: ("_run", "_arun"),
    BaseRetriever: ("_get_relevant_documents", "_aget_relevant_documents"),
    Embeddings: ("embed_documents", "embed_query", "aembed_documents", "aembed_query"),
}
"""What can be guarded, and the methods that do the work: below the framework's callbacks, so that these happen once."""

_KEY = "_l0"


@dataclass(frozen=True)
class Guard:
    """What an object is guarded with. A value: copies of the object share it."""

    policy: PolicyLike = None
    fallbacks: tuple[Any, ...] = ()
    on: Lifecycle | None = None
    tenant: str | None = None
    in_place: bool = False


class Guarded:
    """Mixed into the class of an object whose calls are guarded."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _revived, (unguarded_class(type(self)),), _state(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        _put(self, state)


def guarded(found: T, guard: Guard) -> T:
    """Return a guarded object with the state of `found`.

    Protecting what is protected changes what is said anew.
    """
    if isinstance(found, Guarded):
        changes = {name: value for name, value in vars(guard).items() if value not in (None, (), False)}
        guard = replace(guard_of(found), **changes)
    made = _new(class_for(type(found)))
    _put(made, _state(found))
    _note(made, guard)
    return cast("T", made)


def guard_in_place(found: Any, guard: Guard) -> None:
    """Guard an object itself, and with it everywhere it is held."""
    object.__setattr__(found, "__class__", class_for(type(found)))
    _note(found, replace(guard, in_place=True))


def release(found: T) -> T:
    """Return an object with the state of a guarded one, and without its guard."""
    made = _new(unguarded_class(type(found)))
    _put(made, _state(found))
    return cast("T", made)


def release_in_place(found: Any) -> None:
    """Take the guard off an object itself."""
    object.__setattr__(found, "__class__", unguarded_class(type(found)))
    _held(found).pop(_KEY, None)


def guard_of(found: Any) -> Guard:
    """Return what an object is guarded with."""
    return cast("Guard", _held(found).get(_KEY) or Guard())


def unguarded_class(kind: type) -> type:
    """Return the class a guarded one was made for."""
    return _bare.get(kind, kind)


def is_guardable(found: object) -> bool:
    """Return whether an object is a tool, a retriever or an embedding."""
    return isinstance(found, tuple(KINDS))


# State ---------------------------------------------------------------------------------------------------------------


def _new(kind: type) -> Any:
    return kind.__new__(kind)


def _held(found: Any) -> dict[str, Any]:
    """Return where an object keeps its guard: among a pydantic object's private attributes, else with the others."""
    if not isinstance(found, BaseModel):
        return cast("dict[str, Any]", found.__dict__)
    return found.__pydantic_private__ if found.__pydantic_private__ is not None else {}


def _note(made: Any, guard: Guard) -> None:
    if isinstance(made, BaseModel):
        object.__setattr__(made, "__pydantic_private__", {**(made.__pydantic_private__ or {}), _KEY: guard})
    else:
        made.__dict__[_KEY] = guard


def _state(found: Any) -> dict[str, Any]:
    if isinstance(found, BaseModel):
        return {slot: getattr(found, slot) for slot in STATE}
    return {"__dict__": dict(found.__dict__)}


def _put(made: Any, state: dict[str, Any]) -> None:
    for slot, value in state.items():
        object.__setattr__(made, slot, value)


def _revived(kind: type) -> Any:
    return _new(class_for(kind))


# Composing -----------------------------------------------------------------------------------------------------------

_classes: dict[type, type] = {}
_bare: dict[type, type] = {}
_lock = threading.Lock()


def class_for(kind: type) -> type:
    """Return the guarded class for a class: the same one every time."""
    if issubclass(kind, Guarded):
        return kind
    with _lock:
        if kind not in _classes:
            made = _compose(kind)
            _classes[kind], _bare[made] = made, kind
        return _classes[kind]


def _compose(kind: type) -> type:
    names: dict[str, Any] = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    for base, methods in KINDS.items():
        if issubclass(kind, base):
            names |= {method: _guarding(kind, base, method) for method in methods}
    return cast("type", type(kind)(kind.__name__, (Guarded, kind), names))


def _guarding(kind: type, base: type, method: str) -> Callable[..., Any]:
    """Return the method of a guarded class: with the signature of the one it guards, which the framework reads."""
    work = getattr(kind, method)
    is_async = method.removeprefix("_").startswith("a")

    def sources(self: Any, *args: Any, **kwargs: Any) -> tuple[list[Target], dict[str, Any]]:
        guard = guard_of(self)
        targets = [Target(partial(work, _bare_twin(self, is_async=is_async), *args, **kwargs), name=_name(self))]
        targets += [_alternative(other, base, method, args, kwargs) for other in guard.fallbacks]
        carried = [replace(target, open=(_acarrying if is_async else _carrying)(target.open)) for target in targets]
        return carried, {"policy": guard.policy, "on": guard.on, "tenant": guard.tenant}

    if is_async:

        @wraps(work)
        async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
            if is_disabled():
                return await work(self, *args, **kwargs)
            (first, *others), options = sources(self, *args, **kwargs)
            try:
                return await l0_core.acall(first, fallbacks=others, **options)
            except _Carried as carried:
                raise carried.error from None

        return acall

    @wraps(work)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if is_disabled():
            return work(self, *args, **kwargs)
        (first, *others), options = sources(self, *args, **kwargs)
        try:
            return l0_core.call(first, fallbacks=others, **options)
        except _Carried as carried:
            raise carried.error from None

    return call


def _bare_twin(found: Any, *, is_async: bool) -> Any:
    """Return an object of the bare class, for one call: its own retries, where it has any, are off."""
    kind = unguarded_class(type(found))
    if isinstance(found, BaseModel):
        return twin_of(found, kind, is_async=is_async)
    made = _new(kind)
    _put(made, {"__dict__": found.__dict__})
    return made


def _name(found: Any) -> str:
    name = getattr(found, "name", None)
    return f"{unguarded_class(type(found)).__name__}/{name}" if isinstance(name, str) else type(found).__name__


# What answers in its place -------------------------------------------------------------------------------------------


def _alternative(other: Any, base: type, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Target:
    """Return another object of the kind, a callable, or an answer that is always there, as a target."""
    is_async = method.removeprefix("_").startswith("a")
    if isinstance(other, base):
        work = getattr(unguarded_class(type(other)), method)
        taken = inspect.signature(work).parameters
        is_open = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
        fitting = {name: value for name, value in kwargs.items() if is_open or name in taken}
        return Target(partial(work, _bare_twin(other, is_async=is_async), *args, **fitting), name=_name(other))
    if callable(other):
        own = {name: value for name, value in kwargs.items() if name not in {"run_manager", "config"}}
        answer = partial(other, *args, **own)
        return Target(partial(_awaited, answer) if is_async else answer, name=getattr(other, "__name__", "fallback"))
    if not isinstance(other, Sequence | str):
        raise TypeError(f"a fallback is another {base.__name__}, a callable or an answer, not {type(other).__name__}")
    return Target(partial(_constant_async if is_async else _constant, other), name="constant")


def _constant(answer: Any) -> Any:
    return _marked(answer)


async def _constant_async(answer: Any) -> Any:
    return _marked(answer)


async def _awaited(answer: Callable[[], Any]) -> Any:
    made = answer()
    return await made if inspect.isawaitable(made) else made


def _marked(answer: Any) -> Any:
    """Return an answer that was there before the question, with documents that say so."""
    if isinstance(answer, str) or not isinstance(answer, Iterable):
        return answer
    return [
        each.model_copy(update={"metadata": {**each.metadata, "l0": {"degraded": True}}})
        if isinstance(each, Document)
        else each
        for each in answer
    ]


# Control flow of graphs passes ---------------------------------------------------------------------------------------


class _Carried(BaseException):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def _is_control(error: Exception) -> bool:
    """Return whether it is how a graph talks to itself: an interrupt, a command to a parent."""
    errors = sys.modules.get("langgraph.errors")
    return errors is not None and isinstance(error, errors.GraphBubbleUp)


def _carrying(work: Callable[[], T]) -> Callable[[], T]:
    def call() -> T:
        try:
            return work()
        except Exception as error:
            if _is_control(error):
                raise _Carried(error) from None
            raise

    return call


def _acarrying(work: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    async def call() -> T:
        try:
            return await work()
        except Exception as error:
            if _is_control(error):
                raise _Carried(error) from None
            raise

    return call
