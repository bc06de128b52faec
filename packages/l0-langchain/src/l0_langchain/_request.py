"""The messages of an attempt."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from l0_core import Attempt
from l0_langchain._content import REASONING


def messages_for(attempt: Attempt, messages: list[BaseMessage], *, is_stranger: bool) -> list[BaseMessage]:
    """Return what the target is sent: the caller's messages, and what asks it to go on where the answer broke off.

    Args:
        attempt: What the engine wants.
        messages: What the caller sent.
        is_stranger: Whether the target is of another make than the model the caller wrapped: reasoning in the
            conversation is not for its eyes, and its signatures would be refused.
    """
    sent = [_stripped(message, is_stranger=is_stranger) for message in messages]
    if all(ours is theirs for ours, theirs in zip(sent, messages, strict=True)):
        sent = messages
    match attempt.mode:
        case "prefill" if attempt.prefix:
            return _with_answer(sent, attempt.prefix)
        case "prompt":
            return [*_with_answer(sent, attempt.shown), HumanMessage(attempt.instruction)]
        case _ if attempt.errors:
            said = _with_answer(sent, attempt.rejected) if attempt.rejected else sent
            return [*said, HumanMessage(attempt.instruction)]
        case _:
            return sent


def _with_answer(messages: Sequence[BaseMessage], text: str) -> list[BaseMessage]:
    """Return the messages with the answer so far; after words of the assistant's already there it goes on from them."""
    *before, last = messages
    if isinstance(last, AIMessage) and isinstance(last.content, str) and not last.tool_calls:
        return [*before, last.model_copy(update={"content": last.content + text})]
    return [*messages, AIMessage(text)]


def _stripped(message: BaseMessage, *, is_stranger: bool) -> BaseMessage:
    """Return the message without reasoning that was abandoned, and for strangers without any.

    What of it stays comes before the words it led to, also before those of them that another attempt had said: a
    provider that signs its reasoning refuses an answer that begins with anything else.
    """
    if not isinstance(message, AIMessage):
        return message
    told = message.response_metadata.get("l0")
    told = told if isinstance(told, dict) else {}
    abandoned: Any = told.get("abandoned", ())
    if not (abandoned or is_stranger or told.get("continued")) or isinstance(message.content, str):
        return message
    kept = [
        block
        for block in message.content
        if not _is_reasoning(block) or not (is_stranger or block.get("index") in abandoned)  # type: ignore[union-attr]  # one is no string
    ]
    if told.get("continued"):
        kept = _reasoning_first(kept)
    return message if kept == message.content else message.model_copy(update={"content": kept})


def _is_reasoning(block: str | dict[Any, Any]) -> bool:
    return isinstance(block, dict) and block.get("type") in REASONING


def _reasoning_first(content: list[str | dict[Any, Any]]) -> list[str | dict[Any, Any]]:
    """Return the content with the first reasoning in it before everything else."""
    begins = next((place for place, block in enumerate(content) if _is_reasoning(block)), 0)
    ends = begins
    while ends < len(content) and _is_reasoning(content[ends]):
        ends += 1
    return [*content[begins:ends], *content[:begins], *content[ends:]]
