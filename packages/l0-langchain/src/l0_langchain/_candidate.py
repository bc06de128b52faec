"""What can answer in the place of a wrapped model."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.fallbacks import RunnableWithFallbacks

_PORTABLE = ("max_tokens", "temperature", "top_p")
"""Keywords of a call that mean the same to every make of model."""

_FOR_TRACES = frozenset({"ls_structured_output_format", "structured_output_format"})
"""Keywords of a binding that the framework keeps to itself."""

_CHOICES = frozenset({"any", "auto"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model, unwrapped: what was bound to it is kept beside it, and never called through.

    Attributes:
        model: An object with the model's state.
        kind: The class whose methods reach the provider.
        bound: Keywords that were bound to it.
        format: Keywords that bind the tools of the wrapped model in its own format.
    """

    model: BaseChatModel
    kind: type[BaseChatModel]
    bound: Mapping[str, Any]
    format: Mapping[str, Any] | None = None

    def is_sibling_of(self, kind: type[BaseChatModel]) -> bool:
        """Return whether both send their requests through the same code, so that keywords for one fit the other."""
        return self.kind._generate is kind._generate

    def keywords(self, call: Mapping[str, Any], kind: type[BaseChatModel]) -> dict[str, Any]:
        """Return the keywords it is called with, where the wrapped model, of class `kind`, is called with `call`."""
        if self.is_sibling_of(kind):
            return {**{name: value for name, value in call.items() if name != "model"}, **self.bound}
        portable = {name: call[name] for name in _PORTABLE if name in call}
        fitting = self.format
        if fitting is None and call.get("tools"):
            fitting = self.with_tools(call["tools"], {"tool_choice": call.get("tool_choice")}).format
        return {**portable, **(fitting or {}), **self.bound}

    def with_tools(self, tools: Sequence[Any], options: Mapping[str, Any]) -> "Candidate":
        """Return it with tools bound in its own format, as far as there are any and it takes them at all."""
        if not tools or not has_own(self.kind, "bind_tools"):
            return self
        accepted = inspect.signature(self.kind.bind_tools).parameters
        fitting = {
            name: value for name, value in options.items() if name in accepted and name != "tools" and value is not None
        }
        if "tool_choice" in fitting and (choice := _choice(fitting["tool_choice"])):
            fitting["tool_choice"] = choice
        else:
            fitting.pop("tool_choice", None)
        leaf = leaf_of(self.kind.bind_tools(self.model, tools, **fitting))
        return replace(self, format=leaf[1]) if leaf else self

    def with_schema(self, schema: Any) -> "Candidate":
        """Return it such that it is asked, in its own format, for an answer in JSON; itself, where it has none."""
        if "method" not in inspect.signature(self.kind.with_structured_output).parameters:
            return self
        leaf = leaf_of(self.kind.with_structured_output(self.model, schema, method="json_schema"))
        if leaf is None:
            return self
        return replace(self, format={name: value for name, value in leaf[1].items() if name not in _FOR_TRACES})


def _choice(choice: object) -> str | None:
    """Return which tool must be called, in the words that every `bind_tools` takes."""
    match choice:
        case True | "required":
            return "any"
        case {"type": "function", "function": {"name": str(name)}} | {"type": "tool", "name": str(name)}:
            return name
        case {"type": str(kind)} if kind in _CHOICES:
            return kind
        case str() if choice != "none":
            return choice
        case _:
            return None


def has_own(kind: type[BaseChatModel], method: str) -> bool:
    """Return whether a class does something of its own where every chat model has a method of that name."""
    return getattr(kind, method) is not getattr(BaseChatModel, method)


def leaf_of(runnable: object) -> tuple[BaseChatModel, dict[str, Any]] | None:
    """Return the model at the end of a row of bindings, and everything that was bound on the way."""
    bound: dict[str, Any] = {}
    while isinstance(runnable, RunnableBindingBase):
        bound = {**runnable.kwargs, **bound}
        runnable = runnable.bound
    first = getattr(runnable, "first", None)
    if first is not None and not isinstance(runnable, BaseChatModel):  # A binding that is followed by a check.
        return leaf_of(first)
    return (runnable, bound) if isinstance(runnable, BaseChatModel) else None


def candidates_of(
    source: Runnable[Any, Any], unwrap: Callable[[BaseChatModel], type[BaseChatModel]]
) -> list[Candidate]:
    """Return the models in a fallback: bindings and retries around them come off, fallbacks of theirs line up.

    Args:
        source: What the caller gave.
        unwrap: Tells the class of a model whose methods reach the provider.
    """
    if isinstance(source, RunnableWithFallbacks):
        return [made for each in (source.runnable, *source.fallbacks) for made in candidates_of(each, unwrap)]
    leaf = leaf_of(source)
    if leaf is None:
        raise TypeError(f"a fallback must be a chat model, with or without bindings, not {type(source).__name__}")
    model, bound = leaf
    return [Candidate(model, unwrap(model), bound)]
