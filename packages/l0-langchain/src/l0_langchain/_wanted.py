"""What a structured answer must be: the core reads it, puts it right, asks again or refuses, below any parser.

`with_structured_output` says in the call's own keywords how an answer is asked for, as it does for traces; the schema
itself, as the caller has it, stays with the model.
"""

import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableAssign, RunnableBinding, RunnableConfig, RunnableParallel
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel

from l0_core._structured import Reads, Shape, shape_of
from l0_core.policy import Policy
from l0_langchain._errors import UnfitOutput

_log = logging.getLogger("l0")

_FORMATS = ("ls_structured_output_format", "structured_output_format")
"""Where a binding says for traces what was asked for."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the answers of a call must be.

    Attributes:
        shape: Their shape.
        reads: Where of an answer the value is.
        tool: The tool that is to be called, where that is how it is given.
        made: The class of which the provider's own client makes objects, if it does.
        is_whole: Whether nothing is shown before it is known to be valid, unless the policy says otherwise.
    """

    shape: Shape[Any]
    reads: Reads
    tool: str | None = None
    made: type[BaseModel] | None = None
    is_whole: bool = True

    def policy(self, policy: Policy) -> Policy:
        """Return a policy under which answers are of the shape; one that says how they are delivered is heeded."""
        whole = self.is_whole and "delivery" not in policy.model_fields_set
        return self.shape.policy(policy, whole=whole, reads=self.reads, tool=self.tool)

    def keywords(self, keywords: dict[str, Any]) -> dict[str, Any]:
        """Return a call's keywords such that the provider's client does not judge the answer: its text is needed."""
        if self.made is None or keywords.get("response_format") is not self.made:
            return keywords
        return {**keywords, "response_format": _described(self.made)}

    def completed(self, message: BaseMessage, text: str) -> None:
        """Put beside an answer what the provider's client would have made of it."""
        if self.made is not None:
            parsed = self.made.model_validate_json(text)
            message.additional_kwargs = {**message.additional_kwargs, "parsed": parsed}


def wanted_of(keywords: Mapping[str, Any], schema: Any) -> Wanted | None:
    """Return what the answers of a call must be; nothing, where it does not ask for structured ones.

    Args:
        keywords: Those of the call.
        schema: As the caller gave it; nothing where it was not given to a protected model.
    """
    said = next((keywords[name] for name in _FORMATS if keywords.get(name)), None)
    if not isinstance(said, Mapping):
        return None
    method = (said.get("kwargs") or {}).get("method")
    shape = _shape(said.get("schema") if schema is None else schema)
    if shape is None:
        return None
    if method == "function_calling":
        names = [_name(tool) for tool in keywords.get("tools") or ()]
        return Wanted(shape, "calls", names[0]) if len(names) == 1 else None
    if keywords.get("tools"):  # It may be answered with a call of one of them.
        return None
    made = keywords.get("response_format")
    return Wanted(shape, "text", made=made if _is_model(made) else None)


_NATIVE = ("response_format", "output_config", "output_format")
"""Where a call says in the words of its provider what the answer is to be."""


def wanted_of_agent(keywords: Mapping[str, Any], schema: Any) -> Wanted | None:
    """Return what the answers of an agent's call must be; nothing, where its provider is not asked for it.

    While it has tools, an answer may be words on the way to a call, which are not kept back.

    Args:
        keywords: Those of the call.
        schema: What the agent's last answer is to be.
    """
    shape = _shape(schema) if any(keywords.get(name) for name in _NATIVE) else None
    return None if shape is None else Wanted(shape, "text_without_calls", is_whole=not keywords.get("tools"))


def _shape(schema: Any) -> Shape[Any] | None:
    """Return the shape of a schema in any of the framework's forms; nothing where it cannot be checked."""
    if schema is None:
        return None
    try:
        return shape_of(schema if _is_model(schema) else convert_to_json_schema(schema))
    except Exception as error:  # noqa: BLE001 - what the bare model takes is taken
        _log.warning("a schema is not checked: %s", type(error).__name__)
        return None


def _is_model(schema: Any) -> bool:
    return isinstance(schema, type) and issubclass(schema, BaseModel)


def _name(tool: Mapping[str, Any]) -> str | None:
    """Return a tool's name, in the format of whichever provider it was bound for."""
    name = (tool.get("function") or tool).get("name")
    return name if isinstance(name, str) else None


@lru_cache(maxsize=256)
def _described(schema: type[BaseModel]) -> Any:
    """Return a class as the provider's client describes it to the provider; itself, where that cannot be known."""
    client = sys.modules.get("openai.lib._parsing._completions")
    describe = getattr(client, "type_to_response_format_param", None)
    return schema if describe is None else describe(schema)


# What is made of it above the model ----------------------------------------------------------------------------------

REFUSED = "refused"
"""Says in a message's `l0` metadata that no answer fitted, where the caller wants it raw all the same."""


def with_leaf(bound: Any, changed: Callable[[Any], Any], is_leaf: Callable[[Any], bool]) -> Any:
    """Return a binding, or a row of steps that begins with one, over another model."""
    if is_leaf(bound):
        return changed(bound)
    if isinstance(bound, RunnableBinding):
        return bound.model_copy(update={"bound": with_leaf(bound.bound, changed, is_leaf)})
    if isinstance(bound, RunnableParallel):
        steps = {name: with_leaf(step, changed, is_leaf) for name, step in bound.steps__.items()}
        return bound.model_copy(update={"steps__": steps})
    first = getattr(bound, "first", None)
    if isinstance(bound, BaseModel) and isinstance(first, Runnable):
        return bound.model_copy(update={"first": with_leaf(first, changed, is_leaf)})
    return bound


class _Refusing(RunnableAssign):
    """What parses beside the raw answer: of one that was refused nothing is parsed, whichever way it is asked.

    It raises before it gives anything: so the fallback that tells what was raised also tells it where the framework
    streams, which takes no fallback once something was given.
    """

    @classmethod
    def lc_id(cls) -> list[str]:
        return RunnableAssign.lc_id()

    def invoke(self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        _check(input)
        return super().invoke(input, config, **kwargs)

    async def ainvoke(
        self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        _check(input)
        return await super().ainvoke(input, config, **kwargs)

    def stream(
        self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[dict[str, Any]]:
        _check(input)
        return super().stream(input, config, **kwargs)

    async def astream(
        self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[dict[str, Any]]:
        _check(input)
        async for part in super().astream(input, config, **kwargs):
            yield part


def refusing(made: Any) -> Any:
    """Return what `include_raw` made, in which a refused answer is a parsing error and never a value."""
    parses = made.last.runnable  # A parser that falls back to telling what it raised.
    last = made.last.model_copy(update={"runnable": _Refusing(mapper=parses.mapper)})
    return made.model_copy(update={"last": last})


def _check(given: Mapping[str, Any]) -> None:
    """Raise what a parser would, where no answer fitted."""
    message = given["raw"]
    told = message.response_metadata.get("l0") if isinstance(message, AIMessage) else None
    if isinstance(told, Mapping) and told.get(REFUSED):
        raise UnfitOutput(f"no answer fits the schema (session {told.get('session_id')}); `raw` is the last one")
