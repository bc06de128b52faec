"""What a structured prediction must be, where the call that asks for it can be told from others.

LlamaIndex parses an answer above the LLM's methods, when it is too late to ask again. Whoever predicts something
structured says so around the call (`wanting`), and the tool that a program makes of its output class says it by itself.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from llama_index.core.base.llms.types import (
    ChatResponse,
    CompletionResponse,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from l0_core._structured import Misfit, Shape, shape_of

_wanted: ContextVar[Shape[Any] | None] = ContextVar("l0_llamaindex_wanted", default=None)


@contextmanager
def wanting(output_cls: Any) -> Iterator[None]:
    """Let the answers asked for inside be of a class."""
    is_model = isinstance(output_cls, type) and issubclass(output_cls, BaseModel)
    token = _wanted.set(shape_of(output_cls) if is_model else None)
    try:
        yield
    finally:
        _wanted.reset(token)


def shape_in(tools: Sequence[Any] | None, *, may_be_parallel: bool) -> Shape[Any] | None:
    """Return what an answer must be, if that is known: of the one tool that a program has, the class it makes."""
    if tools is None:
        return _wanted.get()
    if may_be_parallel or len(tools) != 1:
        return None
    (tool,) = tools
    schema = tool.metadata.fn_schema if isinstance(tool, FunctionTool) else None
    made = getattr(getattr(tool, "real_fn", None), "__qualname__", "").startswith(f"{get_function_tool.__qualname__}.")
    return shape_of(schema) if made and schema is not None else None


Reading = Callable[[Any], str]
"""Returns the JSON that an answer is."""


def said_in(response: ChatResponse | CompletionResponse) -> str:
    """Return what an answer says."""
    return response.text if isinstance(response, CompletionResponse) else response.message.content or ""


def called_in(response: ChatResponse) -> str:
    """Return the arguments of the call that an answer is: one that calls nothing is none."""
    calls = [block.tool_kwargs for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    # Of an integration that has no blocks for them.
    legacy = (getattr(call, "function", None) for call in response.message.additional_kwargs.get("tool_calls") or ())
    told = next(iter((*calls, *(getattr(function, "arguments", "") for function in legacy))), "")
    return told if isinstance(told, str) else json.dumps(told)


def mended(response: Any, shape: Shape[Any], reads: Reading) -> Any:
    """Return a valid answer with its JSON put right, where it had to be: what parses it is stricter."""
    try:
        value, repaired = shape.read(reads(response))
    except Misfit:  # where nothing was checked: inside an attempt, or where L0 is off
        return response
    if not repaired:
        return response
    written = value.model_dump_json()
    if isinstance(response, CompletionResponse):
        return response.model_copy(update={"text": written})
    blocks = response.message.blocks
    if reads is called_in:
        blocks = [
            block.model_copy(update={"tool_kwargs": written}) if isinstance(block, ToolCallBlock) else block
            for block in blocks
        ]
    else:
        blocks = [*(block for block in blocks if not isinstance(block, TextBlock)), TextBlock(text=written)]
    return response.model_copy(update={"message": response.message.model_copy(update={"blocks": blocks})})
