"""What a structured prediction must be, where the call that asks for it can be told from others.

LlamaIndex parses an answer above the LLM's methods, when it is too late to ask again, and tells them nothing of it.
Three things do: the tool that a program makes of its output class; the program of text that is calling; and, around
methods that predict something structured by a way of their own, what L0 says there (`wanting`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType
from typing import Any, Final, Literal, NamedTuple, Protocol

from llama_index.core.output_parsers import PydanticOutputParser
from llama_index.core.program import LLMTextCompletionProgram
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from l0_core import Result
from l0_core._settings import PolicyLike
from l0_core._structured import Shape, Validating, shape_of


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

    def policy(self, policy: PolicyLike, *, whole: bool, replaces: bool) -> PolicyLike:
        """Return a policy that accepts nothing else."""
        return self.shape.policy(policy, whole=whole, reads=self.reads, tool=self.tool, replaces=replaces)

    def value_of(self, result: Result) -> Any:
        """Return what the answer of a session that ended well says."""
        return Validating(self.shape, self.reads, self.tool).value_of(result)

    def json_of(self, result: Result) -> str:
        """Return the JSON of that value, where it is in a text."""
        return self.shape.parse(result.text).json


class Streamed(Protocol):
    """A stream of a session."""

    @property
    def result(self) -> Result:
        """How it went."""
        ...


class Growing:
    """A value that is predicted part by part. Each part stands for those before it, so that any can be taken back.

    LlamaIndex makes the parts of what is streamed, as far as it can: it reads no JSON that has to be put right, and
    once it has a part with more fields it keeps that.
    """

    def __init__(self, output_cls: Any) -> None:
        self.wanted = _of(output_cls)
        self._asked: tuple[Wanted, Streamed] | None = None

    def follow(self, wanted: Wanted, stream: Streamed) -> None:
        """Note which session the value is made of."""
        self._asked = wanted, stream

    def missing(self, last: object) -> Any:
        """Return the value, where it is not the part given last; `None` where it is, or where nothing was checked."""
        if self._asked is None:
            return None
        wanted, stream = self._asked
        value = wanted.value_of(stream.result)
        return None if type(last) is type(value) and last == value else value


_wanted: ContextVar[Wanted | None] = ContextVar("l0_llamaindex_wanted", default=None)
_growing: ContextVar[Growing | None] = ContextVar("l0_llamaindex_growing", default=None)


@contextmanager
def wanting(output_cls: Any) -> Iterator[None]:
    """Let the answers asked for inside be of a class."""
    token = _wanted.set(_of(output_cls))
    try:
        yield
    finally:
        _wanted.reset(token)


@contextmanager
def showing(value: Growing) -> Iterator[None]:
    """Let the answers asked for inside be what a value is made of that is shown as it grows."""
    tokens = _wanted.set(value.wanted), _growing.set(value)
    try:
        yield
    finally:
        with suppress(ValueError):  # One that is given up may be closed in another context, which is left as it is.
            _wanted.reset(tokens[0])
            _growing.reset(tokens[1])


def shown_value() -> Growing | None:
    """Return the value that is shown of what is asked for here."""
    return _growing.get()


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
