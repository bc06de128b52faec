"""Protecting what is found in a chain, a graph, an agent or any other object."""

from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables.fallbacks import RunnableWithFallbacks

from l0_core import Lifecycle
from l0_core._journal import JournalLike
from l0_core._settings import PolicyLike
from l0_core._sync import StallGuard
from l0_langchain import _chosen
from l0_langchain._chosen import is_chosen
from l0_langchain._copying import copied
from l0_langchain._guarded import (
    Guard,
    Guarded,
    guard_in_place,
    guarded,
    is_guardable,
    name_of,
    release,
    release_in_place,
    word_for,
)
from l0_langchain._model import (
    L0ChatModel,
    bare,
    candidates_in,
    composed,
    is_in_place,
    label_of,
    protect_in_place,
    protection_of,
    restore,
)
from l0_langchain._protection import Protection
from l0_langchain._reach import VISITED_MAX, Reach, reach_of
from l0_langchain._report import Found, ProtectionReport

T = TypeVar("T")


def protect(
    x: T,
    *,
    policy: PolicyLike = None,
    fallbacks: Sequence[Any] = (),
    on: Lifecycle | None = None,
    tenant: str | None = None,
    journal: JournalLike = None,
    stall_guard: StallGuard | None = None,
    in_place: bool = False,
) -> T:
    """Return a copy of an object in which everything that reaches out of the process is protected.

    Chat models become `L0ChatModel`; calls of tools, retrievers and embeddings are tried again when a fault may pass,
    have a time limit, and keep one `l0_core.idempotency_key()` however often they are tried. A tool that does its work
    through models or retrievers is left alone, because these are protected. `l0_report` on what is returned says what
    was found and what became of it.

    Args:
        x: A chain, a graph, an agent, a model, a tool, a retriever, embeddings.
        policy: A `Policy`, the name of a preset or a file; `L0_POLICY`, or the standard one, where nothing is said.
        fallbacks: What answers when something fails for good: chat models for models, tools for tools, retrievers for
            retrievers. For one tool, retriever or embeddings also a callable, or an answer: `[]` is a retrieval
            without documents. Such an answer is marked.
        on: Listeners.
        tenant: Whose budgets and breakers it counts against.
        journal: Where everything is written down: a `Journal`, a file; that of `L0_JOURNAL` where nothing is said.
        stall_guard: As for `L0ChatModel`: of the models.
        in_place: Protect what `x` holds itself, and so everywhere it is held: what a copy cannot reach is reached.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> from langchain_core.output_parsers import StrOutputParser
        >>> chain = protect(FakeListChatModel(responses=["Paris."]) | StrOutputParser())
        >>> chain.invoke("The capital of France?"), len(chain.l0_report.protected)
        ('Paris.', 1)
    """
    if is_guardable(x):
        said = _Said(Protection(), Guard(policy, tuple(fallbacks), on, tenant, journal).checked(type(x)))
    else:
        protection = Protection().changed(
            policy=policy,
            fallbacks=candidates_in(fallbacks),
            on=on,
            tenant=tenant,
            journal=journal,
            stall_guard=stall_guard,
        )
        said = _Said(protection, Guard(policy, (), on, tenant, journal))
    reach = reach_of(x)
    if in_place:
        done = {id(leaf) for leaf in reach.leaves if said.put_on(leaf)}
        made = x
    else:
        leaves = {id(leaf) for leaf in reach.leaves}
        made, done = copied(x, lambda found: said.over(found) if id(found) in leaves else found)
        made = copy(x) if made is x else made
    if not _is_protected(made):
        with suppress(AttributeError):  # An object with slots: its parts are protected all the same.
            object.__setattr__(made, _REPORT, _report(reach, done, in_place=in_place))
    return made


def unprotect(x: T) -> T:
    """Return an object without protection: itself, where that was put on in place, else a copy."""
    marked = [leaf for leaf in reach_of(x).leaves if is_in_place(leaf)]
    for leaf in marked:
        if isinstance(leaf, L0ChatModel):
            restore(leaf)
        elif is_chosen(leaf):
            _chosen.unchoose_in_place(leaf)
        else:
            release_in_place(leaf)
    report = getattr(x, "__dict__", {}).get(_REPORT)
    in_place = marked or (isinstance(report, ProtectionReport) and report.in_place)
    made = x if in_place else copied(x, _bare)[0]
    made = copy(x) if made is x and not in_place else made
    if not _is_protected(made):
        getattr(made, "__dict__", {}).pop(_REPORT, None)
    return made


_REPORT = "l0_report"


@dataclass(frozen=True)
class _Said:
    """What is said of everything that is found."""

    protection: Protection
    guard: Guard

    def over(self, leaf: Any) -> Any:
        """Return a leaf protected; itself, if it is of a kind that cannot be."""
        if isinstance(leaf, BaseChatModel):
            return composed(leaf, self._of(leaf))
        if is_chosen(leaf):
            return _chosen.chosen(leaf, self.protection)
        return guarded(leaf, self.guard) if is_guardable(leaf) else leaf

    def put_on(self, leaf: Any) -> bool:
        """Protect a leaf itself; return whether that could be done."""
        if isinstance(leaf, BaseChatModel):
            protect_in_place(leaf, self._of(leaf))
            return True
        if is_chosen(leaf):
            _chosen.choose_in_place(leaf, self.protection)
            return True
        if not is_guardable(leaf):
            return False
        try:
            guard_in_place(leaf, self.guard)
        except (AttributeError, TypeError):  # An object without a dictionary has no place for a guard.
            return False
        return True

    def _of(self, model: BaseChatModel) -> Protection:
        said = protection_of(model) if isinstance(model, L0ChatModel) else Protection()
        return said.changed(**self.protection.said)


def _is_protected(found: Any) -> bool:
    return isinstance(found, L0ChatModel | Guarded) or _chosen.is_protected(found)


def _bare(found: Any) -> Any:
    if isinstance(found, L0ChatModel):
        return bare(found)
    if is_chosen(found):
        return _chosen.unchosen(found)
    return release(found) if isinstance(found, Guarded) else found


# What it amounts to --------------------------------------------------------------------------------------------------


def _report(reach: Reach, done: set[int], *, in_place: bool) -> ProtectionReport:
    found = [
        Found(_word(leaf), _name(leaf), "protected") if id(leaf) in done else _missed(leaf, in_place=in_place)
        for leaf in reach.leaves
    ]
    found += [
        Found("tool", name_of(tool), "left alone", "it works through what is protected") for tool in reach.composed
    ]
    found += [_multiplying(around) for around in reach.around]
    for function, made in dict.fromkeys(reach.makers):
        why = f"{function} may make one whenever it runs: wrap it there, as L0ChatModel(model={made}(...))"
        found.append(Found("model", made, "out of reach", why))
    if reach.is_cut:
        why = f"more than {VISITED_MAX:,} objects: protect the parts by themselves"
        found.append(Found("rest", "objects", "out of reach", why))
    return ProtectionReport(tuple(found), in_place=in_place)


def _missed(leaf: Any, *, in_place: bool) -> Found:
    if not (isinstance(leaf, BaseChatModel) or is_guardable(leaf)):
        why = "only chat models can be protected: use the chat model of the same provider"
    elif in_place:
        why = "an object of this class cannot be changed: protect it where it is made"
    else:
        why = "a copy cannot reach what holds it: protect it there, or all of this with in_place=True"
    return Found(_word(leaf), _name(leaf), "out of reach", why)


def _multiplying(around: Any) -> Found:
    what = "fallbacks" if isinstance(around, RunnableWithFallbacks) else "retry"
    instead = "fallbacks=[...]" if what == "fallbacks" else "policy=Policy(retry=...)"
    why = f"around something protected it multiplies attempts, above the stream: say {instead} instead"
    return Found(what, type(around).__name__, "multiplies", why)


def _word(leaf: Any) -> str:
    return word_for(leaf) if is_guardable(leaf) else "model"


def _name(leaf: Any) -> str:
    if is_guardable(leaf):
        return name_of(leaf)
    if is_chosen(leaf):
        return _chosen.name_of(leaf)
    return label_of(leaf) if isinstance(leaf, BaseChatModel) else type(leaf).__name__
