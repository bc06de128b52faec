"""Retrievers and embeddings whose calls are tried again, and answered by something else where that is said; and tools.

What is guarded is an object of one class for each guarded class, a subclass of it, that shares the state of what it
guards. The methods it overrides are those below LlamaIndex's events, so that these happen once.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import NodeWithScore
from llama_index.core.tools import AsyncBaseTool, BaseTool
from llama_index_instrumentation.dispatcher import DISPATCHER_SPAN_DECORATED_ATTR

import l0_core
from l0_core import Lifecycle, Target
from l0_core._settings import PolicyLike, policy_of
from l0_llamaindex._attempts import unsent
from l0_llamaindex._journal import journal_of
from l0_llamaindex._tool import Once
from l0_llamaindex._twin import Sent, Twins

if TYPE_CHECKING:
    from l0_core._journal import JournalLike

Guardable: TypeAlias = BaseRetriever | BaseEmbedding

SERVED_BY = "l0_served_by"
"""The metadata key of nodes that a fallback found. Neither an LLM nor an embedding is shown it."""

_METHODS: dict[type, tuple[str, ...]] = {
    BaseRetriever: ("_retrieve", "_aretrieve"),
    BaseEmbedding: tuple(
        f"_{a}get_{what}"
        for a in ("", "a")
        for what in ("query_embedding", "text_embedding", "text_embeddings", "image_embedding", "image_embeddings")
    ),
    AsyncBaseTool: ("call", "acall"),
    BaseTool: ("__call__",),
}
"""What is overridden of a class, by the first of its bases that stands here."""


@dataclass(slots=True)
class Guard:
    """What an object is guarded with."""

    inner: Guardable
    fallbacks: tuple[Guardable, ...] = ()
    policy: PolicyLike = None
    on: Lifecycle | None = None
    tenant: str | None = None
    journal: "JournalLike" = None
    _candidates: list["_Candidate"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        policy_of(self.policy)  # What is wrong is refused here.
        self.journal = journal_of(self.journal)
        self._candidates = [_Candidate(each) for each in (self.inner, *self.fallbacks)]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Guard, (self.inner, self.fallbacks, self.policy, self.on, self.tenant, self.journal)

    def ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call the method of what is guarded, and of its fallbacks, as the policy allows."""
        awaits = method.startswith("_a")
        first, *others = self._targets(method, args, kwargs)
        call = l0_core.acall if awaits else l0_core.call
        options: dict[str, Any] = {"fallbacks": others, "policy": self.policy, "on": self.on, "tenant": self.tenant}
        return call(
            first, **options, journal=self.journal, input={"ask": method.replace("_a", "_", 1), "args": args, **kwargs}
        )

    def _targets(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Target]:
        targets: list[Target] = []
        able = [candidate for candidate in self._candidates if hasattr(candidate.inner, method)]
        for place, candidate in enumerate(able):
            name = _name(candidate.inner)
            name = name if all(name != target.name for target in targets) else f"{name}#{place}"
            targets.append(Target(_opener(candidate, method, args, kwargs, name if place else None), name=name))
        return targets


class _Candidate:
    """What may answer."""

    def __init__(self, inner: Guardable) -> None:
        self.inner = inner
        self._twins = Twins(inner) if isinstance(inner, BaseEmbedding) else None

    def twin(self, sent: Sent, *, awaits: bool) -> Any:
        """Return what an attempt is made on."""
        return self.inner if self._twins is None else self._twins.twin({}, sent, awaits=awaits)


def _opener(
    candidate: _Candidate, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], stands_in: str | None
) -> Callable[[], Any]:
    """Return what makes one attempt; `stands_in` is the name of one that is not the first."""

    def asked() -> Any:
        sent = Sent()
        twin = candidate.twin(sent, awaits=False)
        with unsent(sent):
            return _marked(getattr(twin, method)(*args, **kwargs), stands_in)

    async def asked_async() -> Any:
        sent = Sent()
        twin = candidate.twin(sent, awaits=True)
        with unsent(sent):
            return _marked(await getattr(twin, method)(*args, **kwargs), stands_in)

    return asked_async if method.startswith("_a") else asked


def _marked(answer: Any, stands_in: str | None) -> Any:
    """Return nodes with a mark that says who found them, if it was a fallback; an index's own stay as they are."""
    if stands_in is None or not isinstance(answer, list):
        return answer
    return [_marked_node(each, stands_in) if isinstance(each, NodeWithScore) else each for each in answer]


def _marked_node(found: NodeWithScore, name: str) -> NodeWithScore:
    node = found.node.model_copy(
        update={
            "metadata": {**found.node.metadata, SERVED_BY: name},
            "excluded_embed_metadata_keys": [*found.node.excluded_embed_metadata_keys, SERVED_BY],
            "excluded_llm_metadata_keys": [*found.node.excluded_llm_metadata_keys, SERVED_BY],
        }
    )
    return found.model_copy(update={"node": node})


def _name(guarded: Guardable) -> str:
    """Return the name that results and the fleet know it by: what it talks to fails together."""
    kind = type(guarded).__name__
    if isinstance(guarded, BaseEmbedding):
        return guarded.model_name if guarded.model_name != "unknown" else kind
    store = getattr(guarded, "_vector_store", None)
    return kind if store is None else f"{kind}/{type(store).__name__}"


# One class for each guarded class ------------------------------------------------------------------------------------


class Guarded:
    """Mixed into the class of what is guarded."""

    __slots__ = ()

    _l0: Guard | Once

    @property
    def unprotected(self) -> Any:
        """What is guarded, without its guard."""
        return bare_of(self)

    def __copy__(self) -> Any:
        return guarded(replace(self._l0, inner=copy(bare_of(self))))

    def __reduce_ex__(self, _protocol: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return guarded, (self._l0,)


def guarded(guard: Guard | Once) -> Any:
    """Return an object that shares the state of what is guarded and asks as `guard` says."""
    view = _sharing(_view_class(type(guard.inner)), guard.inner)
    object.__setattr__(view, "_l0", guard)
    return view


def bare_of(view: Guarded) -> Any:
    """Return what is guarded, as it is now: a copy of its view may lead elsewhere."""
    inner: Any = view._l0.inner  # noqa: SLF001 - it is ours
    return inner if inner.__dict__ is view.__dict__ else _sharing(type(inner), view)


def _sharing(kind: type, other: Any) -> Any:
    """Return an object of a class with the very state of another."""
    made: Any = object.__new__(kind)
    for name in ("__dict__", "__pydantic_private__", "__pydantic_fields_set__", "__pydantic_extra__"):
        if hasattr(other, name):
            object.__setattr__(made, name, getattr(other, name))
    return made


@cache
def _view_class(kind: type) -> type:
    names: dict[str, Any] = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    names["__slots__"] = ("_l0", "l0_report")
    names["__copy__"], names["__reduce_ex__"] = Guarded.__copy__, Guarded.__reduce_ex__
    methods = next(methods for base, methods in _METHODS.items() if issubclass(kind, base))
    names.update({name: _method(name) for name in methods if hasattr(kind, name)})
    return type(kind)(kind.__name__, (kind, Guarded), names)


def _method(name: str) -> Callable[..., Any]:
    def called(self: Guarded, *args: Any, **kwargs: Any) -> Any:
        return self._l0.ask(name, *args, **kwargs)

    async def awaited(self: Guarded, *args: Any, **kwargs: Any) -> Any:
        return await called(self, *args, **kwargs)

    method: Any = awaited if name.startswith(("_a", "ac")) else called
    method.__name__ = name
    setattr(method, DISPATCHER_SPAN_DECORATED_ATTR, True)  # The attempt's own method makes the span, where it has one.
    return method  # type: ignore[no-any-return]
