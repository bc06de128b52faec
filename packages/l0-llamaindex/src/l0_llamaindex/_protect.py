"""`protect`: what is built already, made reliable."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import LLM
from llama_index.core.settings import Settings
from llama_index.core.tools import BaseTool
from workflows import Workflow
from workflows.resource import ResourceManager

from l0_core import Lifecycle
from l0_core._settings import PolicyLike
from l0_llamaindex._guarded import Guard, Guarded, bare_of, guarded
from l0_llamaindex._llm import L0LLM, Protection, StallGuard, unwrap, wrap
from l0_llamaindex._loud import Loud, drops_errors, loud, quiet
from l0_llamaindex._reach import Reach, Step, shell_of
from l0_llamaindex._report import Found, ProtectionReport, What
from l0_llamaindex._resources import Given, Protecting, given_to, manager_of, plain, protecting
from l0_llamaindex._tool import Once, changes_its_workflow, name_of

if TYPE_CHECKING:
    from l0_core._journal import JournalLike

T = TypeVar("T")

_KINDS: dict[What, type] = {"llm": LLM, "retriever": BaseRetriever, "embedding": BaseEmbedding, "tool": BaseTool}
_ONCE = "in a run it is called once"
_GIVEN = "when the step is given it"
_OF_A_WORKFLOW = "no recorded result changes the workflow it is handed: make an l0_core.step of what it must do once"
_OBJECTS = frozenset({"object_map", "_object_map"})
"""What a retriever's nodes stand for: asked after it has found them."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was asked for."""

    fallbacks: tuple[Any, ...]
    policy: PolicyLike
    on: Lifecycle | None
    tenant: str | None
    stall_guard: StallGuard
    journal: "JournalLike"

    def of(self, kind: type) -> tuple[Any, ...]:
        """Return the fallbacks of a kind, without protection of their own."""
        return tuple(_bare(each) for each in self.fallbacks if isinstance(each, kind))

    def whole(self, made: Any) -> Any:
        """Return something as `protect` returns it; itself, if there is nothing to protect in it."""
        if all(_what(step.found) is None and not given_to(step.found) for step in Reach(made).steps.values()):
            return made
        return protect(made, **{each.name: getattr(self, each.name) for each in fields(self)})


def protect(
    found: T,
    *,
    fallbacks: Sequence[LLM | BaseRetriever | BaseEmbedding] = (),
    policy: PolicyLike = None,
    on: Lifecycle | None = None,
    tenant: str | None = None,
    stall_guard: StallGuard = "thread",
    journal: "JournalLike" = None,
    in_place: bool = False,
) -> T:
    """Return an engine, agent, workflow, retriever, synthesizer, selector or index whose LLMs cannot let it down.

    Everything it holds is looked through: LLMs are protected as by `L0LLM`; embeddings, and retrievers that ask no LLM
    themselves, are tried again and answered by fallbacks. Inside `l0_core.run` calls of tools are steps: called once,
    their results remembered. The result is a copy that shares indexes, stores and memories with the original, which
    stays as it is. `result.l0_report` lists what was found, where an object takes attributes.

    Protecting what is protected replaces its policy.

    Args:
        found: What is protected. Of `Settings` there is one, so it is changed itself.
        fallbacks: What is asked when something fails for good, each for its own kind. An embedding must give the same
            vectors: the same model elsewhere. Nodes that a fallback retriever found say so in their metadata.
        policy: A `Policy`, the name of a preset, or a file; `L0_POLICY`, or the standard one, where nothing is said.
        on: Listeners.
        tenant: Whose budgets and breakers it counts against.
        stall_guard: As for `L0LLM`.
        journal: As for `L0LLM`.
        in_place: Change `found` and what it holds, and not a copy of them.

    Example:
        >>> from llama_index.core.chat_engine import SimpleChatEngine
        >>> from llama_index.core.llms import MockLLM
        >>> from l0_llamaindex import protect
        >>> engine = protect(SimpleChatEngine.from_defaults(llm=MockLLM(max_tokens=2)))
        >>> print(engine.l0_report)
        protected     llm        MockLLM  _llm
    """
    wanted = _Wanted(tuple(fallbacks), policy, on, tenant, stall_guard, journal)
    in_place = in_place or found is Settings
    reach = Reach(found)
    becomes: dict[int, Callable[[Any], Any]] = {}
    report: list[Found] = []
    late: list[Callable[[], None]] = []
    for step in list(reach.steps.values()):
        what = _what(step.found)
        if what is None:
            continue
        name = _name(step.found)
        why = _why_alone(step.found)
        if why:
            report.append(Found(what, name, step.where, "left alone", why))
            continue
        becomes[id(step.found)] = _protected(step.found, wanted, late)
        report.append(Found(what, name, step.where, "protected", _ONCE if what == "tool" else ""))
    report += _beyond(reach)
    if in_place:
        _refuse(found, becomes)
    for step in reach.steps.values():
        given = given_to(step.found)
        if given:
            manager = manager_of(step.found)
            becomes[id(manager)] = protecting(manager, wanted.whole, in_place=in_place)
            report += _reported(step, given)
    held = reach.between(becomes)
    becomes |= {
        id(step.found): loud for step in reach.steps.values() if drops_errors(step.found) and id(step.found) in held
    }
    result = reach.rebuilt(becomes, in_place=in_place)
    for do in late:
        do()
    return _noted(result, found, ProtectionReport(tuple(report)), in_place=in_place)


def unprotect(found: T, *, in_place: bool = False) -> T:
    """Return the same without protection: a copy, or itself if `in_place`."""
    in_place = in_place or found is Settings
    reach = Reach(found)
    becomes: dict[int, Callable[[Any], Any]] = {
        id(step.found): _bare for step in reach.steps.values() if isinstance(step.found, L0LLM | Guarded)
    }
    if in_place:
        _refuse(found, becomes)
    becomes |= {
        id(step.found): plain(step.found, in_place=in_place)
        for step in reach.steps.values()
        if isinstance(step.found, Protecting) and isinstance(step.found, ResourceManager)
    }
    becomes |= {id(step.found): quiet for step in reach.steps.values() if isinstance(step.found, Loud)}
    result = reach.rebuilt(becomes, in_place=in_place)
    if result is not found or in_place:
        getattr(result, "__dict__", {}).pop("l0_report", None)
    return cast("T", result)


def _refuse(found: object, becomes: Mapping[int, object]) -> None:
    if id(found) in becomes:
        raise TypeError(
            f"nothing holds the {type(found).__name__} that is to be changed in place: use what is returned"
        )


def _what(found: object) -> What | None:
    return _what_of(type(found))


def _what_of(kind: type) -> What | None:
    return next((what for what, base in _KINDS.items() if issubclass(kind, base)), None)


def _reported(workflow: Step, given: Sequence[Given]) -> Iterator[Found]:
    """Yield what the steps of a workflow say they are given."""
    for each in given:
        what = _what_of(each.kind)
        if what is not None:
            yield Found(what, each.kind.__name__, _joined(workflow, each), "protected", _GIVEN)


def _name(found: object) -> str:
    kind = type(found).__name__
    return f"{kind}/{name_of(found)}" if isinstance(found, BaseTool) else kind


def _why_alone(found: object) -> str:
    """Return why something is better not protected; nothing if it is to be."""
    if isinstance(found, BaseRetriever) and _asks_others(found):
        return "what it asks is protected"
    return _OF_A_WORKFLOW if isinstance(found, BaseTool) and changes_its_workflow(found) else ""


def _bare(found: Any) -> Any:
    if isinstance(found, LLM):
        return unwrap(found)
    return bare_of(found) if isinstance(found, Guarded) else found


def _asks_others(retriever: BaseRetriever) -> bool:
    """Return whether a retriever asks an LLM, or others of its kind, which are protected one by one."""
    asked = Reach(retriever, but=_OBJECTS).steps.values()
    return any(isinstance(step.found, LLM | BaseRetriever | BaseQueryEngine) for step in asked if step.where)


def _protected(found: Any, wanted: _Wanted, late: list[Callable[[], None]]) -> Callable[[Any], Any]:
    """Return what makes a protected one of an object, once what it holds has been dealt with."""
    if isinstance(found, LLM):
        fallbacks = wanted.of(LLM)
        if isinstance(found, L0LLM):
            before = found._l0  # noqa: SLF001 - it is ours
            policy = before.policy if wanted.policy is None else wanted.policy
            journal = before.journal if wanted.journal is None else wanted.journal
            changed = replace(before, policy=policy, fallbacks=fallbacks or before.fallbacks, journal=journal)
            return lambda _: wrap(changed)
        protection = Protection(
            found, fallbacks, wanted.policy, wanted.on, wanted.tenant, wanted.stall_guard, wanted.journal
        )
        return lambda _: wrap(protection)
    if isinstance(found, BaseTool):
        return lambda changed: guarded(Once(_bare(changed)))
    kind = BaseEmbedding if isinstance(found, BaseEmbedding) else BaseRetriever
    fallbacks = wanted.of(kind)

    def made(changed: Any) -> Any:
        bare = _bare(changed)
        before: Guard = changed._l0 if isinstance(changed, Guarded) else Guard(bare)  # type: ignore[assignment]  # noqa: SLF001 - it is ours
        policy = before.policy if wanted.policy is None else wanted.policy
        view = guarded(
            Guard(
                bare, fallbacks or before.fallbacks, policy, wanted.on, wanted.tenant, wanted.journal or before.journal
            )
        )
        if kind is BaseRetriever and wanted.of(BaseEmbedding):
            late.append(lambda: _with_other_embeddings(view, wanted.of(BaseEmbedding)))
        return view

    return made


def _with_other_embeddings(view: Guarded, embeddings: Sequence[BaseEmbedding]) -> None:
    """Let a retriever fall back to itself with another embedding: inside its attempts, that of its own has no say."""
    guard: Guard = view._l0  # type: ignore[assignment]  # noqa: SLF001 - it is ours, and a retriever's
    reach = Reach(guard.inner)
    held = [step.found for step in reach.steps.values() if isinstance(step.found, BaseEmbedding)]
    if not held:
        return
    twins = [reach.rebuilt({id(each): _always(other) for each in held}, in_place=False) for other in embeddings]
    object.__setattr__(view, "_l0", replace(guard, fallbacks=(*twins, *guard.fallbacks)))


def _always(answer: Any) -> Callable[[Any], Any]:
    return lambda _: answer


def _beyond(reach: Reach) -> list[Found]:
    """Return what would be used and cannot be changed: globals that functions and methods name."""
    found: list[Found] = []
    seen: set[int] = set()
    for start in reach.beyond:
        for step in Reach(start.found).steps.values():
            what = _what(step.found)
            if what is None or id(step.found) in seen or isinstance(step.found, L0LLM | Guarded):
                continue
            seen.add(id(step.found))
            where = _joined(start, step)
            why = "code names it, and no object holds it: protect it where it is"
            found.append(Found(what, _name(step.found), where, "out of reach", why))
    return found


def _joined(start: Step, step: Step | Given) -> str:
    return ".".join(filter(None, (start.where, step.where)))


def _noted(result: Any, found: T, report: ProtectionReport, *, in_place: bool) -> T:
    if result is found and not in_place:
        result = shell_of(found)  # Nothing was changed, and nothing is noted on what is not ours.
    if isinstance(result, Workflow) and not in_place:
        result._runtime.track_workflow(result)  # noqa: SLF001 - as its `__init__` does
    with suppress(AttributeError):  # A list, or an object of nothing but slots.
        object.__setattr__(result, "l0_report", report)
    return cast("T", result)
