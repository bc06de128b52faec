"""LLMs that answer as they are told, with the events, spans and snapshots of real ones."""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    ContentBlock,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection


@dataclass(frozen=True)
class Reply:
    """One answer, and how it fails.

    Attributes:
        text: The text.
        calls: The tools it calls: name and the arguments' JSON.
        thinking: What it thinks before.
        finish: Why it ends; none leaves the reason out.
        usage: Tokens of prompt and completion, told with the last chunk.
        size: Characters in a chunk.
        fails: What is raised, and after how many chunks.
    """

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    thinking: str = ""
    finish: str | None = "stop"
    usage: tuple[int, int] | None = None
    size: int = 5
    fails: tuple[int, BaseException] | None = None


@dataclass
class Ask:
    """One call that reached the provider."""

    method: str
    given: Any
    kwargs: dict[str, Any] = field(default_factory=dict)


Responder = Callable[[str, dict[str, Any]], Reply]


class Scripted(FunctionCallingLLM):
    """Answers with its replies in order, or as a function of what it is asked."""

    model: str = "scripted"
    is_function_calling: bool = True
    is_chat: bool = True
    temperature: float = 0.5
    lists_calls: bool = False
    """Whether a message's extras list its calls as well, of which LlamaIndex makes values as they grow."""
    _replies: list[Reply] = PrivateAttr(default_factory=list)
    _responder: Responder | None = PrivateAttr(default=None)
    _asked: list[Ask] = PrivateAttr(default_factory=list)

    def __init__(self, *replies: Reply | str, responder: Responder | None = None, **fields: Any) -> None:
        super().__init__(**fields)
        self._replies = [reply if isinstance(reply, Reply) else Reply(reply) for reply in replies]
        self._responder = responder

    @classmethod
    def class_name(cls) -> str:
        return "scripted"

    @property
    def asked(self) -> list[Ask]:
        return self._asked

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(
            model_name=self.model,
            is_chat_model=self.is_chat,
            is_function_calling_model=self.is_function_calling,
            context_window=16_000,
        )

    def _next(self, method: str, given: Any, kwargs: dict[str, Any]) -> Reply:
        self._asked.append(Ask(method, list(given) if isinstance(given, list) else given, dict(kwargs)))
        if self._responder is not None:
            prompt = given if isinstance(given, str) else "\n".join(str(message) for message in given)
            return self._responder(prompt, kwargs)
        return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    def _listed(self, answer: Iterator[ChatResponse]) -> Iterator[ChatResponse]:
        for chunk in answer:
            calls = [block for block in chunk.message.blocks if isinstance(block, ToolCallBlock)]
            if self.lists_calls and calls:
                chunk.message.additional_kwargs["tool_calls"] = [{"id": call.tool_call_id} for call in calls]
            yield chunk

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return whole(self._next("chat", messages, kwargs))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return whole(self._next("achat", messages, kwargs))

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        def gen() -> ChatResponseGen:
            yield from self._listed(chunks(self._next("stream_chat", messages, kwargs)))

        return gen()

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        async def gen() -> AsyncGenerator[ChatResponse, None]:
            for chunk in self._listed(chunks(self._next("astream_chat", messages, kwargs))):
                yield chunk

        return gen()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        return completed(self._next("complete", prompt, kwargs))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        return completed(self._next("acomplete", prompt, kwargs))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        def gen() -> CompletionResponseGen:
            yield from map(as_completion, chunks(self._next("stream_complete", prompt, kwargs)))

        return gen()

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        async def gen() -> AsyncGenerator[CompletionResponse, None]:
            for chunk in chunks(self._next("astream_complete", prompt, kwargs)):
                yield as_completion(chunk)

        return gen()

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
        messages = chat_history if chat_history is not None else []
        if isinstance(user_msg, str):
            user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
        if user_msg is not None:
            messages.append(user_msg)  # As real integrations do, to the caller's own list.
        specs = [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]
        return {"messages": messages, "tools": specs, "tool_required": tool_required, **kwargs}

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,  # noqa: FBT001, FBT002 - as LlamaIndex has it
        **kwargs: Any,
    ) -> list[ToolSelection]:
        calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if not calls and error_on_no_tool_call:
            raise ValueError("no tool call")
        selections = []
        for call in calls:
            arguments = call.tool_kwargs
            if isinstance(arguments, str):
                from llama_index.core.llms.utils import parse_partial_json

                try:
                    arguments = parse_partial_json(arguments)
                except ValueError:
                    arguments = {}
            selections.append(
                ToolSelection(tool_id=call.tool_call_id or "", tool_name=call.tool_name, tool_kwargs=arguments)
            )
        return selections


def raw_of(reason: str | None) -> dict[str, Any]:
    return {"choices": [{"finish_reason": reason}]}


def counts(reply: Reply) -> dict[str, Any]:
    if reply.usage is None:
        return {}
    prompt, completion = reply.usage
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def whole(reply: Reply) -> ChatResponse:
    if reply.fails is not None:
        raise reply.fails[1]
    blocks: list[ContentBlock] = [ThinkingBlock(content=reply.thinking)] if reply.thinking else []
    if reply.text or not reply.calls:
        blocks.append(TextBlock(text=reply.text))
    blocks += [
        ToolCallBlock(tool_call_id=f"call-{place}", tool_name=name, tool_kwargs=args)
        for place, (name, args) in enumerate(reply.calls)
    ]
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks)
    return ChatResponse(message=message, raw=raw_of(reply.finish), additional_kwargs=counts(reply))


def completed(reply: Reply) -> CompletionResponse:
    if reply.fails is not None:
        raise reply.fails[1]
    return CompletionResponse(text=reply.text, raw=raw_of(reply.finish), additional_kwargs=counts(reply))


def as_completion(chunk: ChatResponse) -> CompletionResponse:
    return CompletionResponse(
        text=chunk.message.content or "", delta=chunk.delta, raw=chunk.raw, additional_kwargs=chunk.additional_kwargs
    )


def pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def chunks(reply: Reply) -> Iterator[ChatResponse]:
    """Give the answer in chunks of cumulative blocks, as most integrations do; fail where the reply says so."""
    for given, chunk in enumerate(_chunks(reply)):
        if reply.fails is not None and reply.fails[0] == given:
            raise reply.fails[1]
        yield chunk


def _chunks(reply: Reply) -> Iterator[ChatResponse]:
    thought, said = "", ""
    made: list[ToolCallBlock] = []

    def chunk(delta: str = "", thinking: str = "", reason: str | None = None, **more: Any) -> ChatResponse:
        blocks: list[ContentBlock] = [ThinkingBlock(content=thought)] if thought else []
        blocks += [TextBlock(text=said), *(call.model_copy() for call in made)]
        extras = {"thinking_delta": thinking} if thinking else {}
        return ChatResponse(
            message=ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks),
            delta=delta,
            raw=raw_of(reason),
            additional_kwargs={**extras, **more},
        )

    for piece in pieces(reply.thinking, reply.size):
        thought += piece
        yield chunk(thinking=piece)
    for piece in pieces(reply.text, reply.size):
        said += piece
        yield chunk(piece)
    for place, (name, args) in enumerate(reply.calls):
        made.append(ToolCallBlock(tool_call_id=f"call-{place}", tool_name=name, tool_kwargs=""))
        yield chunk()
        for piece in pieces(args, reply.size):
            made[-1] = made[-1].model_copy(update={"tool_kwargs": f"{made[-1].tool_kwargs}{piece}"})
            yield chunk()
    if reply.finish is not None:
        yield chunk(reason=reply.finish, **counts(reply))
    if reply.fails is not None:
        # Failing after the last chunk is possible too.
        yield chunk()
