"""What a structured prediction must be, where the call that asks for it can be told from others.

LlamaIndex parses an answer above the LLM's methods, when it is too late to ask again, and tells them nothing of it.
Three things do: the tool that a program makes of its output class; the program of text that is calling; and, around
methods that predict something structured by a way of their own, what L0 says there (`wanting`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from hashlib import sha256
from inspect import unwrap
from types import FrameType
from typing import Any, Final, Literal, NamedTuple

from llama_index.core.output_parsers import PydanticOutputParser
from llama_index.core.output_parsers.base import OutputParserException
from llama_index.core.program import LLMTextCompletionProgram
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.tools import FunctionTool
from llama_index.core.types import BaseOutputParser
from pydantic import BaseModel

from l0_core import AsyncStream, Result, Stream
from l0_core._check import Dissent
from l0_core._settings import PolicyLike
from l0_core._structured import Misfit, Parsed, Shape, Validating, shape_of


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


class Growing:
    """A value that is predicted part by part. Each part stands for those before it, so that any can be taken back.

    LlamaIndex makes the parts of what is streamed, as far as it can: it reads no JSON that has to be put right, and
    once it has a part with more fields it keeps that.
    """

    def __init__(self, output_cls: Any) -> None:
        self.wanted = _of(output_cls)
        self._asked: tuple[Wanted, Stream[Any] | AsyncStream[Any]] | None = None

    def follow(self, wanted: Wanted, stream: Stream[Any] | AsyncStream[Any]) -> None:
        """Note which session the value is made of."""
        self._asked = wanted, stream

    def missing(self, last: object) -> Any:
        """Return the value, where it is not the part given last; `None` where it is, or where nothing was checked."""
        if self._asked is None:
            return None
        wanted, stream = self._asked
        value = wanted.value_of(stream.result)
        return None if type(last) is type(value) and last == value else value

    def close(self) -> None:
        """Stop, if it is not over: LlamaIndex leaves what it no longer reads to the collector."""
        asked, self._asked = self._asked, None
        if asked is not None and isinstance(asked[1], Stream):
            asked[1].close()

    async def aclose(self) -> None:
        """Stop, if it is not over."""
        asked, self._asked = self._asked, None
        if asked is not None and isinstance(asked[1], AsyncStream):
            await asked[1].aclose()


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
        parser, output_cls = program._output_parser, program.output_cls  # noqa: SLF001 - it has no other name
        if type(parser) is PydanticOutputParser:
            return _of(parser.output_cls)
        return None if caller.f_code in _STREAMING_PROGRAMS else Wanted(_ByParser(parser, output_cls))
    return _wanted.get()


_STREAMING_PROGRAMS: Final = frozenset(
    method.__code__ for method in (LLMTextCompletionProgram.stream_call, LLMTextCompletionProgram.astream_call)
)
"""Those that do not ask their parser."""
_PROGRAMS: Final = _STREAMING_PROGRAMS | {
    LLMTextCompletionProgram.__call__.__code__,
    LLMTextCompletionProgram.acall.__code__,
}


class _ByParser(Shape[Any]):
    """What a parser of the program's own makes of an answer: it is asked here, and then by the program as ever."""

    def __init__(self, parser: BaseOutputParser, output_cls: type[BaseModel]) -> None:
        super().__init__(output_cls)
        self.version = sha256(f"{self.version} {type(parser).__qualname__}".encode()).hexdigest()[:16]
        self._parse = unwrap(parser.parse)  # without its span: what is asked here is no step of the program
        self._output_cls = output_cls

    def parse(self, text: str) -> Parsed:
        """Return what the parser makes of an answer.

        Raises:
            Misfit: It makes nothing of it, or something else.
        """
        try:
            value = self._parse(text)
        except _UNPARSED as error:
            raise Misfit([], Dissent("not what its parser takes", [str(error) or type(error).__name__])) from None
        if not isinstance(value, self._output_cls):
            wrong = f"it reads as a {type(value).__name__}, and a {self._output_cls.__name__} was asked for"
            raise Misfit([], Dissent("not of its class", [wrong]))
        return Parsed(value, (), text)


_UNPARSED = (ValueError, TypeError, LookupError, AttributeError, AssertionError, OutputParserException)
"""What parsers raise at what they cannot read. Anything else is a mistake in the parser."""


def _of(output_cls: Any) -> Wanted | None:
    is_model = isinstance(output_cls, type) and issubclass(output_cls, BaseModel)
    return Wanted(shape_of(output_cls)) if is_model else None
