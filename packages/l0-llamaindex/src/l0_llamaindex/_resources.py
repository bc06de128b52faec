"""Workflows whose steps are given what they ask with: it is made by a function, and protected when it has been made."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from workflows import Workflow
from workflows.resource import ResourceDescriptor, ResourceManager

from l0_llamaindex._reach import shell_of


class Given(NamedTuple):
    """Something that a step is given.

    Attributes:
        kind: Its class, as the step says.
        where: The step, and the name it has there.
    """

    kind: type
    where: str


class Protecting:
    """Mixed into the class of a manager that protects what it hands out."""

    _protect: Callable[[Any], Any]


@cache
def _protecting_class(kind: Any) -> type:
    async def put(self: Any, name: str, val: Any) -> None:
        await kind.set(self, name, self._protect(val))

    async def get(self: Any, resource: ResourceDescriptor) -> Any:
        made = await kind.get(self, resource)
        return self.resources[resource.name] if resource.cache else self._protect(made)

    names = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    made: type = type(kind)(kind.__name__, (kind, Protecting), {**names, "set": put, "get": get})
    return made


def _plain_class(kind: type) -> type:
    return kind.__bases__[0] if issubclass(kind, Protecting) else kind


def given_to(found: object) -> list[Given]:
    """Return what the steps of a workflow are given; nothing, where it is no workflow."""
    return list(_given_to(found)) if isinstance(found, Workflow) else []


def _given_to(workflow: Workflow) -> Iterator[Given]:
    for name, step in workflow._get_steps().items():  # noqa: SLF001 - the steps as its runs have them
        for each in step._step_config.resources:  # noqa: SLF001 - where `step` has put it
            kind = each.type_annotation
            yield Given(kind if isinstance(kind, type) else object, f"{name}({each.name})")


def manager_of(workflow: Any) -> ResourceManager:
    """Return what a workflow has its resources from."""
    manager: ResourceManager = workflow._resource_manager  # noqa: SLF001 - it can be given, and not be asked for
    return manager


def protecting(
    manager: ResourceManager, protect: Callable[[Any], Any], *, in_place: bool
) -> Callable[[ResourceManager], ResourceManager]:
    """Return what has a manager protect what it hands out: itself, or a copy."""

    def made(changed: ResourceManager) -> ResourceManager:
        fitted = changed if in_place else _apart(manager, changed)
        fitted.__class__ = _protecting_class(_plain_class(type(fitted)))
        vars(fitted)["_protect"] = protect
        return fitted

    return made


def plain(manager: ResourceManager, *, in_place: bool) -> Callable[[ResourceManager], ResourceManager]:
    """Return what has a manager hand out what is made as it is: itself, or a copy."""

    def made(changed: ResourceManager) -> ResourceManager:
        fitted = changed if in_place else _apart(manager, changed)
        fitted.__class__ = _plain_class(type(fitted))
        vars(fitted).pop("_protect", None)
        return fitted

    return made


def _apart(manager: ResourceManager, changed: ResourceManager) -> ResourceManager:
    """Return a copy, if it is none yet, that has what the other has made and goes on by itself."""
    made: ResourceManager = shell_of(manager) if changed is manager else changed
    made.resources, made._resolving, made._resolution_cache = dict(made.resources), [], {}  # noqa: SLF001 - its own
    return made
