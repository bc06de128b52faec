"""What a structured prediction must be, where the call that asks for it can be told from others.

LlamaIndex parses an answer above the LLM's methods, when it is too late to ask again, and tells them nothing of it.
Three things do: the tool that a program makes of its output class; the program of text that is calling; and, around
methods that predict something structured by a way of their own, what L0 says there (`wanting`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType
from typing import Any, Final, Literal, NamedTuple

from llama_index.core.output_parsers import PydanticOutputParser
from llama_index.core.program import LLMTextCompletionProgram
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from l0_core._settings import PolicyLike
from l0_core._structured import Shape, shape_of


class Wanted(NamedTuple):
    """What an answer must be.

    Attributes:
        shape: Its shape.
        reads: Where it is: in the text, or in the arguments of a call.
        tool: The tool that is to be called.
    """

    shape: Shape[Any]
    reads: Literal["text", "calls"] = "text"
    tool: str | None = None

    def policy(self, policy: PolicyLike, *, whole: bool) -> PolicyLike:
        """Return a policy that accepts nothing else."""
        return self.shape.policy(policy, whole=whole, reads=self.reads, tool=self.tool)


_wanted: ContextVar[Wanted | None] = ContextVar("l0_llamaindex_wanted", default=None)


@contextmanager
def wanting(output_cls: Any) -> Iterator[None]:
    """Let the answers asked for inside be of a class."""
    token = _wanted.set(_of(output_cls))
    try:
        yield
    finally:
        with suppress(
            ValueError
        ):  # A stream that is given up may be closed in another context, which is left as it is.
            _wanted.reset(token)


def wanted_of(tools: Sequence[Any]) -> Wanted | None:
    """Return what the answer to a call with tools must be, if it has the one tool that a program makes of a class."""
    if len(tools) != 1:
        return None
    (tool,) = tools
    schema = tool.metadata.fn_schema if isinstance(tool, FunctionTool) else None
    made = getattr(getattr(tool, "real_fn", None), "__qualname__", "").startswith(f"{get_function_tool.__qualname__}.")
    if not made or schema is None:
        return None
    name = tool.metadata.name
    return Wanted(shape_of(schema), "calls", name if name and name.isidentifier() else None)


def wanted_by(caller: FrameType | None) -> Wanted | None:
    """Return what the answer to a call without tools must be: what the calling program parses it as, or what is wanted.

    A program of text hands over messages and keeps to itself what it makes of the answer. It is known by its code.
    """
    if caller is not None and caller.f_code in _PROGRAMS:
        program = caller.f_locals["self"]
        parser = program._output_parser  # noqa: SLF001 - it has no other name
        return _of(parser.output_cls) if type(parser) is PydanticOutputParser else None
    return _wanted.get()


_PROGRAMS: Final = frozenset(
    method.__code__
    for method in (
        LLMTextCompletionProgram.__call__,
        LLMTextCompletionProgram.acall,
        LLMTextCompletionProgram.stream_call,
        LLMTextCompletionProgram.astream_call,
    )
)


def _of(output_cls: Any) -> Wanted | None:
    is_model = isinstance(output_cls, type) and issubclass(output_cls, BaseModel)
    return Wanted(shape_of(output_cls)) if is_model else None
