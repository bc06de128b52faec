"""Anthropic messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from l0_core.testing.answer import Kind, Piece
from l0_core.testing.conversation import DialectName, Message
from l0_core.testing.dialects.dialect import BadRequest, Failure, list_of, sse, text_of
from l0_core.testing.reply import ToolCall

if TYPE_CHECKING:
    from l0_core.testing.conversation import Request
    from l0_core.testing.reply import Draft

__all__ = ["AnthropicMessages"]

STOP: Final = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "content_filter": "refusal",
    "refusal": "refusal",
}


class AnthropicMessages:
    """`POST …/v1/messages`."""

    name: DialectName = "anthropic"
    keep_alive = b'event: ping\ndata: {"type": "ping"}\n\n'
    request_id_header = "request-id"

    def takes(self, method: str, path: str) -> bool:
        """Under any base path."""
        return method == "POST" and path.endswith("/messages")

    def parse(self, body: Mapping[str, Any]) -> Sequence[Message]:
        """The turns; a tool's result is a turn of its own here."""
        if not isinstance(body.get("max_tokens"), int):
            raise BadRequest("max_tokens: Field required")
        messages = []
        if body.get("system"):
            messages.append(Message("system", text_of(body["system"])))
        names: dict[str, str] = {}
        for item in list_of(body, "messages"):
            role, content = item.get("role"), item.get("content")
            if role not in ("user", "assistant"):
                raise BadRequest(f"messages: Input should be 'user' or 'assistant'; got {role!r}")
            blocks = content if isinstance(content, list) else []
            calls = []
            for block in blocks:
                if not isinstance(block, Mapping):
                    raise BadRequest("messages: content blocks are objects")
                if block.get("type") == "tool_use":
                    names[str(block.get("id"))] = str(block.get("name"))
                    calls.append(ToolCall(str(block.get("name")), json.dumps(block.get("input")), str(block.get("id"))))
                elif block.get("type") == "tool_result":
                    tool = names.get(str(block.get("tool_use_id")), "")
                    messages.append(Message("tool", text_of(block.get("content")), tool_name=tool))
            text = text_of(content)
            if text or calls or not blocks:
                messages.append(Message("user" if role == "user" else "assistant", text, tuple(calls)))
        return messages

    def tokens_max(self, body: Mapping[str, Any]) -> int | None:
        """Always there."""
        value = body.get("max_tokens")
        return value if isinstance(value, int) else None

    def stream(self, draft: Draft, _request: Request) -> list[Piece]:
        """`message_start`, the blocks with their deltas, `message_delta` with the stop reason, `message_stop`."""
        pieces: list[Piece] = []

        def add(kind: Kind, event: dict[str, Any], text: str = "") -> None:
            pieces.append(Piece(sse(event, event["type"]), kind, text))

        def block(index: int, opening: dict[str, Any], kind: Kind, deltas: list[tuple[dict[str, Any], str]]) -> None:
            add("open", {"type": "content_block_start", "index": index, "content_block": opening})
            for delta, text in deltas:
                add(kind, {"type": "content_block_delta", "index": index, "delta": delta}, text)

        start = self._message(draft, content=[], stop_reason=None, output_tokens=1)
        add("open", {"type": "message_start", "message": start})
        index = 0
        if draft.reasoning:
            thoughts = [({"type": "thinking_delta", "thinking": part}, "") for part in draft.reasoning]
            block(index, {"type": "thinking", "thinking": "", "signature": ""}, "reasoning", thoughts)
            signed = {"type": "signature_delta", "signature": "bDAtc2lnbmF0dXJl"}
            add("close", {"type": "content_block_delta", "index": index, "delta": signed})
            add("close", {"type": "content_block_stop", "index": index})
            index += 1
        if draft.text or not (draft.tools or draft.nothing):
            words = [({"type": "text_delta", "text": part}, part) for part in draft.text]
            block(index, {"type": "text", "text": ""}, "text", words)
            add("close", {"type": "content_block_stop", "index": index})
            index += 1
        for tool in draft.tools:
            fragments = [({"type": "input_json_delta", "partial_json": part}, "") for part in tool.fragments]
            opening = {"type": "tool_use", "id": tool.id, "name": tool.name, "input": {}}
            block(index, opening, "tool_args", fragments)
            add("close", {"type": "content_block_stop", "index": index})
            index += 1
        pieces.insert(2 if len(pieces) > 1 else 1, Piece(self.keep_alive, "close"))
        if draft.finish is not None:
            delta = {"stop_reason": STOP[draft.finish], "stop_sequence": None}
            add("finish", {"type": "message_delta", "delta": delta, "usage": _usage(draft, draft.output_tokens)})
        if draft.done:
            pieces += self.ending()
        return pieces

    def body(self, draft: Draft, _request: Request) -> dict[str, Any]:
        """One message."""
        content: list[dict[str, Any]] = []
        if draft.reasoning:
            content.append({"type": "thinking", "thinking": "".join(draft.reasoning), "signature": "bDAtc2lnbmF0dXJl"})
        if draft.text or not (draft.tools or draft.nothing):
            content.append({"type": "text", "text": draft.whole_text})
        content += [
            {"type": "tool_use", "id": tool.id, "name": tool.name, "input": _input(tool.arguments)}
            for tool in draft.tools
        ]
        stop = None if draft.finish is None else STOP[draft.finish]
        return self._message(
            draft, content=None if draft.null else content, stop_reason=stop, output_tokens=draft.output_tokens
        )

    def failure(self, failure: Failure, request_id: str) -> tuple[int, dict[str, Any]]:
        """The `error` document."""
        return failure.anthropic_status or failure.status, {**_error(failure), "request_id": request_id}

    def failure_event(self, failure: Failure, _number: int) -> Piece:
        """The `error` event."""
        return Piece(sse(_error(failure), "error"), "close")

    def ending(self) -> list[Piece]:
        """`message_stop`."""
        return [Piece(sse({"type": "message_stop"}, "message_stop"), "done")]

    def null_event(self, _draft: Draft) -> Piece:
        """A delta that is null."""
        event = {"type": "content_block_delta", "index": 0, "delta": None}
        return Piece(sse(event, "content_block_delta"), "close")

    def _message(
        self, draft: Draft, *, content: list[dict[str, Any]] | None, stop_reason: str | None, output_tokens: int
    ) -> dict[str, Any]:
        return {
            "id": draft.id,
            "type": "message",
            "role": "assistant",
            "model": draft.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": None,
            "usage": _usage(draft, output_tokens),
        }


def _usage(draft: Draft, output_tokens: int) -> dict[str, int]:
    """What has been used so far: the beginning of a stream and its end both tell all of it."""
    return {
        "input_tokens": draft.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output_tokens,
    }


def _input(arguments: str) -> object:
    """The arguments as an object: this dialect has no way to send text that is none."""
    try:
        value = json.loads(arguments)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _error(failure: Failure) -> dict[str, Any]:
    message = failure.anthropic_message or failure.message
    return {"type": "error", "error": {"type": failure.anthropic_type, "message": message}}
