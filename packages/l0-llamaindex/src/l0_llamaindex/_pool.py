"""LLMs of several classes as one, which is none of them: what it says of itself holds whichever answers.

Everything else here keeps the class of what is wrapped. A pool has no first among its members, so it has a class of its
own: one that calls tools if all of them do.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json
from llama_index_instrumentation.dispatcher import DISPATCHER_SPAN_DECORATED_ATTR
from pydantic import Field, SerializeAsAny

from l0_llamaindex._port import legacy_calls

Fn = TypeVar("Fn", bound=Callable[..., Any])


def _told_by_the_member(method: Fn) -> Fn:
    """Leave the span to the member that is asked."""
    setattr(method, DISPATCHER_SPAN_DECORATED_ATTR, True)
    return method


class Pool(LLM):
    """LLMs of several classes as one. By itself it asks the first; protected it asks all, in order."""

    members: list[SerializeAsAny[LLM]] = Field(description="What may answer, in this order.", exclude=True)

    _calls: ClassVar[bool] = False
    """Whether it has the methods for tools."""

    @classmethod
    def class_name(cls) -> str:
        """Return the name LlamaIndex knows it by."""
        return "l0_pool"

    @property
    def metadata(self) -> LLMMetadata:
        """What holds for every member: the smallest window, and no ability that one of them lacks."""
        told = [member.metadata for member in self.members]
        roles = {one.system_role for one in told}
        return LLMMetadata(
            context_window=min(one.context_window for one in told),
            num_output=min(one.num_output for one in told),
            is_chat_model=all(one.is_chat_model for one in told),
            is_function_calling_model=self._calls and all(one.is_function_calling_model for one in told),
            model_name=" | ".join(one.model_name for one in told),
            system_role=roles.pop() if len(roles) == 1 else MessageRole.SYSTEM,
        )

    @_told_by_the_member
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """See `LLM.chat`."""
        return self.members[0].chat(messages, **kwargs)

    @_told_by_the_member
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """See `LLM.achat`."""
        return await self.members[0].achat(messages, **kwargs)

    @_told_by_the_member
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """See `LLM.stream_chat`."""
        return self.members[0].stream_chat(messages, **kwargs)

    @_told_by_the_member
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """See `LLM.astream_chat`."""
        return await self.members[0].astream_chat(messages, **kwargs)

    @_told_by_the_member
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        """See `LLM.complete`."""
        return self.members[0].complete(prompt, formatted, **kwargs)

    @_told_by_the_member
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        """See `LLM.acomplete`."""
        return await self.members[0].acomplete(prompt, formatted, **kwargs)

    @_told_by_the_member
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        """See `LLM.stream_complete`."""
        return self.members[0].stream_complete(prompt, formatted, **kwargs)

    @_told_by_the_member
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        """See `LLM.astream_complete`."""
        return await self.members[0].astream_complete(prompt, formatted, **kwargs)


class CallingPool(Pool, FunctionCallingLLM):
    """A pool whose members all call tools. Each is given them as tools, and prepares them in its own format."""

    _calls: ClassVar[bool] = True

    def _prepare_chat_with_tools(  # noqa: PLR0917 - as LlamaIndex has it
        self,
        tools: Sequence[Any],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,  # noqa: FBT001, FBT002 - as LlamaIndex has it
        allow_parallel_tool_calls: bool = False,  # noqa: FBT001, FBT002 - as LlamaIndex has it
        tool_required: bool = False,  # noqa: FBT001, FBT002 - as LlamaIndex has it
        **kwargs: Any,
    ) -> dict[str, Any]:
        first = self.members[0]
        assert isinstance(first, FunctionCallingLLM), "they all are"  # noqa: S101 - as `pool_of` sees to
        given = (tools, user_msg, chat_history, verbose, allow_parallel_tool_calls)
        return first._prepare_chat_with_tools_compat(*given, tool_required=tool_required, **kwargs)  # noqa: SLF001 - the hook

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,  # noqa: FBT001, FBT002 - as LlamaIndex has it
        **kwargs: Any,  # noqa: ARG002
    ) -> list[ToolSelection]:
        """Return the calls an answer holds, whichever member gave it."""
        return calls_in(response, required=error_on_no_tool_call)


def pool_of(members: Sequence[LLM]) -> LLM:
    """Return LLMs as one."""
    if len(members) == 1:
        return members[0]
    calls = all(isinstance(member, FunctionCallingLLM) for member in members)
    return (CallingPool if calls else Pool)(members=list(members))


def members_of(llm: LLM) -> Sequence[LLM]:
    """Return what may answer in the place of an LLM: itself, or the members of a pool."""
    return llm.members if isinstance(llm, Pool) else (llm,)


def calls_in(response: ChatResponse, *, required: bool) -> list[ToolSelection]:
    """Return the calls an answer holds, of whatever make: integrations read what they write themselves.

    Raises:
        ValueError: There is none, and one is required.
    """
    blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    calls = [(block.tool_call_id, block.tool_name, block.tool_kwargs) for block in blocks] or [
        (fragment.id, fragment.name or "", fragment.args) for fragment in legacy_calls(response.message)
    ]
    if required and not calls:
        raise ValueError("the answer calls no tool, and one was expected")
    return [
        ToolSelection(tool_id=id_ or "", tool_name=name, tool_kwargs=_parsed(told) if isinstance(told, str) else told)
        for id_, name, told in calls
    ]


def _parsed(arguments: str) -> dict[str, Any]:
    """Return arguments, as far as they have come: a chunk may hold a part of them."""
    try:
        parsed: Any = parse_partial_json(arguments)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
