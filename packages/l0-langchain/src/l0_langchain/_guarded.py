"""Tools, retrievers and embeddings whose calls are tried again, and answered by something else where that is said."""

import inspect
import logging
import sys
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any, TypeVar, cast

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.messages import ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import BaseModel

import l0_core
from l0_core import Lifecycle, Target
from l0_core._context import keyed
from l0_core._journal import JournalLike
from l0_core._settings import PolicyLike, is_disabled, policy_of
from l0_langchain._protection import asked_for, filed, portable
from l0_langchain._report import Found, ProtectionReport
from l0_langchain._task import TaskPiece, piece_of, task_here
from l0_langchain._twin import STATE, twin_of

T = TypeVar("T")

KINDS: dict[type, tuple[str, ...]] = {
    BaseTool: ("_run", "_arun"),
    BaseRetriever: ("_get_relevant_documents", "_aget_relevant_documents"),
    Embeddings: ("embed_documents", "embed_query", "aembed_documents", "aembed_query"),
}
"""What can be guarded, and the methods that do the work: below the framework's callbacks, so that these happen once."""

_NOT_GIVEN = {"config", "run_manager"}
"""What a method is given beside its input."""

_WORDS: dict[type, str] = {BaseTool: "tool", BaseRetriever: "retriever", Embeddings: "embeddings"}
_KEY, _BEFORE = "_l0", "_l0_before"
_log = logging.getLogger("l0")


@dataclass(frozen=True)
class Guard:
    """What an object is guarded with. A value: copies of the object share it."""

    policy: PolicyLike = None
    fallbacks: tuple[Any, ...] = ()
    on: Lifecycle | None = None
    tenant: str | None = None
    journal: JournalLike = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "journal": portable(self.journal)}

    def checked(self, kind: type) -> "Guard":
        """Return it, or raise if it cannot guard an object of that class."""
        if self.policy is not None:
            policy_of(self.policy)
        base = base_of(kind)
        for other in self.fallbacks:
            if not isinstance(other, base) and not callable(other) and not isinstance(other, Sequence):
                what = f"another {_WORDS[base]}, a callable or an answer"
                raise TypeError(f"a fallback is {what}, not {type(other).__name__}")
        return self

    def changed(self, other: "Guard") -> "Guard":
        """Return it with what another says in the place of what it says."""
        return replace(self, **{name: value for name, value in vars(other).items() if value not in (None, ())})


class Degraded(list[Any]):
    """What a fallback answered in the place of documents or vectors, which cannot say so themselves when empty.

    Attributes:
        l0: Who served it.
    """

    l0: Mapping[str, object]


class Guarded:
    """Mixed into the class of an object whose calls are guarded."""

    __slots__ = ()  # An object can only change its class for one that is laid out as its own.

    @property
    def l0_report(self) -> ProtectionReport:
        """What is protected: the object itself."""
        return ProtectionReport((Found(word_for(self), name_of(self), "protected"),))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _revived, (unguarded_class(type(self)),), _state(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        _put(self, state)


class GuardedTool(Guarded):
    """Mixed into the class of a tool."""

    __slots__ = ()

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """See `BaseTool.run`."""
        with _noting() as notes:
            return _told(super().run(*args, **kwargs), notes)  # type: ignore[misc]

    async def arun(self, *args: Any, **kwargs: Any) -> Any:
        """See `BaseTool.arun`."""
        with _noting() as notes:
            return _told(await super().arun(*args, **kwargs), notes)  # type: ignore[misc]


class GuardedRetriever(Guarded):
    """Mixed into the class of a retriever, whose work the framework does not tell what the call's config says."""

    __slots__ = ()

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """See `BaseRetriever.invoke`."""
        with _given(config):
            return super().invoke(input, config, **kwargs)  # type: ignore[misc,no-any-return]

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """See `BaseRetriever.ainvoke`."""
        with _given(config):
            return await super().ainvoke(input, config, **kwargs)  # type: ignore[misc,no-any-return]


_config: ContextVar[RunnableConfig | None] = ContextVar("l0_retriever_config", default=None)
"""What the retriever that runs was called with."""


@contextmanager
def _given(config: RunnableConfig | None) -> Iterator[None]:
    token = _config.set(config)
    try:
        yield
    finally:
        _config.reset(token)


def guarded(found: T, guard: Guard) -> T:
    """Return a guarded object with the state of `found`.

    Protecting what is protected changes what is said anew.
    """
    guard = guard_of(found).changed(guard).checked(type(found))
    made = _new(class_for(type(found)))
    _put(made, _state(found))
    _note(made, guard)
    return cast("T", made)


def guard_in_place(found: Any, guard: Guard) -> None:
    """Guard an object itself, and with it everywhere it is held."""
    before = _held(found).get(_BEFORE, _held(found).get(_KEY))
    guard = guard_of(found).changed(guard).checked(type(found))
    object.__setattr__(found, "__class__", class_for(type(found)))
    _note(found, guard)
    _held(found)[_BEFORE] = before


def release(found: T) -> T:
    """Return an object with the state of a guarded one, and without its guard."""
    made = _new(unguarded_class(type(found)))
    _put(made, _state(found))
    for key in (_KEY, _BEFORE):
        _held(made).pop(key, None)
    return cast("T", made)


def release_in_place(found: Any) -> None:
    """Make an object that was guarded in place what it was before."""
    before = _held(found).pop(_BEFORE, None)
    if before is not None:
        _held(found)[_KEY] = before
        return
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


def base_of(kind: type) -> type:
    """Return which of these a class is."""
    return next(base for base in KINDS if issubclass(kind, base))


def word_for(found: object) -> str:
    """Return what an object is, in a word."""
    return _WORDS[base_of(type(found))]


def name_of(found: Any) -> str:
    """Return the name of an object's class, and its own where it has one."""
    name = getattr(found, "name", None)
    kind = unguarded_class(type(found)).__name__
    return f"{kind}/{name}" if isinstance(name, str) and name else kind


# State ---------------------------------------------------------------------------------------------------------------


def _new(kind: Any) -> Any:
    return kind.__new__(kind)


def _held(found: Any) -> dict[str, Any]:
    """Return where an object keeps its guard: among a pydantic object's private attributes, else with the others."""
    if not isinstance(found, BaseModel):
        return cast("dict[str, Any]", found.__dict__)
    return found.__pydantic_private__ if found.__pydantic_private__ is not None else {}


def _note(made: Any, guard: Guard) -> None:
    _held(made).pop(_BEFORE, None)
    if isinstance(made, BaseModel):
        object.__setattr__(made, "__pydantic_private__", {**(made.__pydantic_private__ or {}), _KEY: guard})
    else:
        made.__dict__[_KEY] = guard


def _state(found: Any) -> dict[str, Any]:
    """Return the state of an object, its dictionaries copied: what is put into another is that one's own."""
    if not isinstance(found, BaseModel):
        return {"__dict__": dict(found.__dict__)}
    state = {slot: getattr(found, slot) for slot in STATE}
    return {slot: dict(value) if isinstance(value, dict) else value for slot, value in state.items()}


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
    base = base_of(kind)
    names: dict[str, Any] = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    for method in KINDS[base]:
        # A default calls the method it stands in for: guarded as well, it would be guarded twice.
        if getattr(kind, method) is not getattr(base, method):
            names[method] = _guarding(kind, base, method)
    mixed = _MIXED.get(base, Guarded)
    # Python lays an object of a plain class out as the first base says: its own, if it is to change into this one.
    bases = (mixed, kind) if issubclass(kind, BaseModel) else (kind, mixed)
    return type(kind)(kind.__name__, bases, names)


_MIXED: dict[type, type] = {BaseTool: GuardedTool, BaseRetriever: GuardedRetriever}


def _guarding(kind: type, base: type, method: str) -> Callable[..., Any]:
    """Return the method of a guarded class: with the signature of the one it guards, which the framework reads."""
    work = getattr(kind, method)
    is_async = _is_async(method)

    def sources(self: Any, *args: Any, **kwargs: Any) -> tuple[list[Target], dict[str, Any], dict[str, Any]]:
        guard, asked = guard_of(self), asked_for(_config.get())
        policy, tenant = asked.get("policy", guard.policy), asked.get("tenant", guard.tenant)
        own = Target(partial(work, _bare_twin(self, is_async=is_async), *args, **kwargs), name=name_of(self))
        others = [_alternative(other, base, method, args, kwargs) for other in guard.fallbacks]
        key = uuid.uuid4().hex
        opening = _aopening if is_async else _opening
        targets = [
            replace(target, open=opening(target.open, key), name=f"{target.name}#{place}" if place else target.name)
            for place, target in enumerate((own, *others))
        ]
        given = [args, {name: value for name, value in kwargs.items() if name not in _NOT_GIVEN}]
        said = {"policy": policy, "on": guard.on, "tenant": tenant, "journal": guard.journal, "input": given}
        return targets, said, {"run": asked.get("run"), "user": asked.get("user")}

    if is_async:

        @wraps(work)
        async def acall(self: Any, *args: Any, **kwargs: Any) -> Any:
            if is_disabled():
                return await work(self, *args, **kwargs)
            (first, *others), options, found_by = sources(self, *args, **kwargs)
            try:
                return await _amade(first, others, options, found_by)
            except _Carried as carried:
                raise carried.error from carried.error.__cause__

        return acall

    @wraps(work)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if is_disabled():
            return work(self, *args, **kwargs)
        (first, *others), options, found_by = sources(self, *args, **kwargs)
        try:
            return _made(first, others, options, found_by)
        except _Carried as carried:
            raise carried.error from carried.error.__cause__

    return call


def _made(
    first: Target, others: Sequence[Target], options: Mapping[str, Any], found_by: Mapping[str, str | None]
) -> Any:
    """Return what a call returns; what it returned, where the task of a graph that it is made in is done again."""
    piece = _piece(first, others, options, found_by)
    if piece is None:
        with filed(options["journal"], **found_by):
            return l0_core.call(first, fallbacks=others, **options)
    with piece.taken_up() as begun, begun.around():
        return l0_core.call(first, fallbacks=others, **options)


async def _amade(
    first: Target, others: Sequence[Target], options: Mapping[str, Any], found_by: Mapping[str, str | None]
) -> Any:
    piece = _piece(first, others, options, found_by)
    if piece is None:
        with filed(options["journal"], **found_by):
            return await l0_core.acall(first, fallbacks=others, **options)
    async with piece.ataken_up() as begun:
        with begun.around():
            return await l0_core.acall(first, fallbacks=others, **options)


def _piece(
    first: Target, others: Sequence[Target], options: Mapping[str, Any], found_by: Mapping[str, str | None]
) -> TaskPiece | None:
    """Return what this call is to the task of a graph that it is made in, if that can be done again."""
    task = task_here()
    if task is None:
        return None
    given = [[each.name for each in (first, *others)], options["input"]]
    known = {"of": found_by["run"], "user": found_by["user"], "tenant": options["tenant"]}
    return piece_of(task, options["journal"], first.name or "", given, key=l0_core.idempotency_key(), **known)


def _is_async(method: str) -> bool:
    return method.removeprefix("_").startswith("a")


def _bare_twin(found: Any, *, is_async: bool) -> Any:
    """Return an object of the bare class, for one call: its own retries, where it has any, are off."""
    kind = unguarded_class(type(found))
    if isinstance(found, BaseModel):
        return twin_of(found, kind, is_async=is_async)
    made = _new(kind)
    _put(made, {"__dict__": found.__dict__})
    return made


# What answers in its place -------------------------------------------------------------------------------------------


def _alternative(other: Any, base: type, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Target:
    """Return another object of the kind, a callable, or an answer that is always there, as a target."""
    name, is_async = _alternative_name(other, base), _is_async(method)
    if isinstance(other, base):
        work = getattr(unguarded_class(type(other)), method)
        taken = inspect.signature(work).parameters
        is_open = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
        fitting = {key: value for key, value in kwargs.items() if is_open or key in taken}
        answer = partial(work, _bare_twin(other, is_async=is_async), *args, **fitting)
    elif callable(other):
        own = {key: value for key, value in kwargs.items() if key not in _NOT_GIVEN}
        answer = partial(other, *args, **own)
    else:
        answer = partial(_constant, other)
    return Target(partial(_amarked if is_async else _marked, answer, name), name=name)


def _alternative_name(other: Any, base: type) -> str:
    if isinstance(other, base):
        return name_of(other)
    return getattr(other, "__qualname__", type(other).__name__) if callable(other) else "constant"


def _constant(answer: Any) -> Any:
    return answer


def _marked(answer: Callable[[], Any], name: str) -> Any:
    return _mark(answer(), name)


async def _amarked(answer: Callable[[], Any], name: str) -> Any:
    made = answer()
    return _mark(await made if inspect.isawaitable(made) else made, name)


_notes: ContextVar[dict[str, object] | None] = ContextVar("l0_tool_notes", default=None)
"""What is to be told on the message of the tool that runs."""


@contextmanager
def _noting() -> Iterator[dict[str, object]]:
    notes: dict[str, object] = {}
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


def _told(output: Any, notes: Mapping[str, object]) -> Any:
    if notes and isinstance(output, ToolMessage):
        output.response_metadata = {**output.response_metadata, "l0": dict(notes)}
    return output


def _mark(answer: Any, name: str) -> Any:
    """Return an answer so that it says it is not the one that was asked for."""
    told: dict[str, object] = {"degraded": True, "served_by": name}
    _log.warning("degraded served_by=%s", name)
    if (notes := _notes.get()) is not None:
        notes.update(told)
        return answer
    if not isinstance(answer, list | tuple):
        return answer
    made = Degraded(
        each.model_copy(update={"metadata": {**each.metadata, "l0": told}}) if isinstance(each, Document) else each
        for each in answer
    )
    made.l0 = told
    return made


# An attempt ----------------------------------------------------------------------------------------------------------


class _Carried(BaseException):
    """Control flow of a graph (an interrupt, a command to a parent) on its way past the session: it is no fault."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def _is_control(error: Exception) -> bool:
    errors = sys.modules.get("langgraph.errors")
    return errors is not None and isinstance(error, errors.GraphBubbleUp)


def _opening(work: Callable[[], T], key: str) -> Callable[[], T]:
    """Return a call in which `idempotency_key` says the same however often it is made."""

    def call() -> T:
        with keyed(l0_core.idempotency_key() or key):
            try:
                return work()
            except Exception as error:
                if _is_control(error):
                    raise _Carried(error) from None
                raise

    return call


def _aopening(work: Callable[[], Awaitable[T]], key: str) -> Callable[[], Awaitable[T]]:
    async def call() -> T:
        with keyed(l0_core.idempotency_key() or key):
            try:
                return await work()
            except Exception as error:
                if _is_control(error):
                    raise _Carried(error) from None
                raise

    return call
