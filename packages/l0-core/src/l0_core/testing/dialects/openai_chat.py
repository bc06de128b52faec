"""OpenAI chat completions, and what the providers that imitate it add (`reasoning_content`, a prefix)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from l0_core.testing.answer import Kind, Piece
from l0_core.testing.conversation import DialectName, Message
from l0_core.testing.dialects.dialect import BadRequest, Failure, list_of, sse, text_of
from l0_core.testing.reply import ToolCall, tokens

if TYPE_CHECKING:
    from l0_core.testing.conversation import Request
    from l0_core.testing.reply import Draft

__all__ = ["OpenAIChat", "token_logprobs", "tool_calls_of"]

DONE: Final = b"data: [DONE]\n\n"
ROLES: Final[Mapping[object, Any]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
FINISH: Final = {"refusal": "stop"}


class OpenAIChat:
    """`POST …/chat/completions`."""

    name: DialectName = "openai"
    keep_alive = b": keep-alive\n\n"
    request_id_header = "x-request-id"

    def takes(self, method: str, path: str) -> bool:
        """Under any base path, as the imitators have it."""
        return method == "POST" and path.endswith("/chat/completions")

    def parse(self, body: Mapping[str, Any]) -> Sequence[Message]:
        """The messages, tool results with the name of their tool."""
        messages = []
        names: dict[str, str] = {}
        for item in list_of(body, "messages"):
            role = ROLES.get(item.get("role"))
            if role is None:
                raise BadRequest(f"Invalid role: {item.get('role')!r}")
            calls = tool_calls_of(item.get("tool_calls"), names)
            tool = names.get(str(item.get("tool_call_id")), "") if role == "tool" else ""
            prefix = item.get("prefix") is True or body.get("continue_final_message") is True
            messages.append(Message(role, text_of(item.get("content")), calls, tool, prefix))
        return messages

    def tokens_max(self, body: Mapping[str, Any]) -> int | None:
        """Either of its names."""
        value = body.get("max_completion_tokens", body.get("max_tokens"))
        return value if isinstance(value, int) else None

    def stream(self, draft: Draft, request: Request) -> list[Piece]:
        """Role, reasoning, text, tool calls in fragments, finish reason, usage where asked, `[DONE]`."""
        options = request.body.get("stream_options")
        wants_usage = isinstance(options, Mapping) and options.get("include_usage") is True
        extra = {"usage": None} if wants_usage else {}
        wants_logprobs = request.body.get("logprobs") is True

        def piece(kind: Kind, delta: Mapping[str, Any], finish: str | None = None, text: str = "") -> Piece:
            logprobs = token_logprobs(text, draft, request.body) if wants_logprobs and text else None
            choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            return Piece(sse(self._chunk(draft, [choice]) | extra), kind, text)

        pieces = [piece("open", {"role": "assistant", "content": "", "refusal": None})]
        pieces += [piece("reasoning", {"reasoning_content": part}) for part in draft.reasoning]
        pieces += [piece("text", {"content": part}, text=part) for part in draft.text]
        if draft.refusal:
            pieces.append(piece("text", {"refusal": draft.refusal}))
        for index, tool in enumerate(draft.tools):
            opening = {
                "index": index,
                "id": tool.id,
                "type": "function",
                "function": {"name": tool.name, "arguments": ""},
            }
            pieces.append(piece("open", {"tool_calls": [opening]}))
            pieces += [
                piece("tool_args", {"tool_calls": [{"index": index, "function": {"arguments": fragment}}]})
                for fragment in tool.fragments
            ]
        if draft.finish is not None:
            pieces.append(piece("finish", {}, FINISH.get(draft.finish, draft.finish)))
            if wants_usage:
                pieces.append(Piece(sse(self._chunk(draft, []) | {"usage": _usage(draft)}), "close"))
        if draft.done:
            pieces.append(Piece(DONE, "done"))
        return pieces

    def body(self, draft: Draft, request: Request) -> dict[str, Any]:
        """One completion."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": draft.whole_text if draft.text or not draft.tools else None,
            "refusal": draft.refusal or None,
        }
        if draft.reasoning:
            message["reasoning_content"] = "".join(draft.reasoning)
        if draft.tools:
            message["tool_calls"] = [
                {"id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": tool.arguments}}
                for tool in draft.tools
            ]
        finish = None if draft.finish is None else FINISH.get(draft.finish, draft.finish)
        choice: dict[str, Any] = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        if request.body.get("logprobs") is True:
            choice["logprobs"] = token_logprobs(draft.whole_text, draft, request.body)
        return {
            "id": draft.id,
            "object": "chat.completion",
            "created": draft.created,
            "model": draft.model,
            "choices": None if draft.null else [choice],
            "usage": _usage(draft),
            "service_tier": "default",
            "system_fingerprint": "fp_l0",
        }

    def failure(self, failure: Failure, _request_id: str) -> tuple[int, dict[str, Any]]:
        """The `error` object."""
        return failure.status, {"error": _error(failure)}

    def failure_event(self, failure: Failure, _number: int) -> Piece:
        """The same object as an event."""
        return Piece(sse({"error": _error(failure)}), "close")

    def ending(self) -> list[Piece]:
        """`[DONE]`."""
        return [Piece(DONE, "done")]

    def null_event(self, draft: Draft) -> Piece:
        """A chunk without choices."""
        return Piece(sse(self._chunk(draft, None)), "close")

    def _chunk(self, draft: Draft, choices: list[dict[str, Any]] | None) -> dict[str, Any]:
        return {
            "id": draft.id,
            "object": "chat.completion.chunk",
            "created": draft.created,
            "model": draft.model,
            "service_tier": "default",
            "system_fingerprint": "fp_l0",
            "choices": choices,
        }


def tool_calls_of(value: object, names: dict[str, str]) -> tuple[ToolCall, ...]:
    """The calls of an assistant turn; `names` learns which id calls which tool."""
    if not isinstance(value, list):
        return ()
    calls = []
    for call in value:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise BadRequest("a tool call needs its function")
        name, arguments, identity = str(function.get("name")), str(function.get("arguments", "")), str(call.get("id"))
        names[identity] = name
        calls.append(ToolCall(name, arguments, identity))
    return tuple(calls)


def token_logprobs(text: str, draft: Draft, body: Mapping[str, Any]) -> dict[str, Any]:
    """One entry for each piece of text, with as many alternatives as were asked for."""
    top = body.get("top_logprobs")
    count = top if isinstance(top, int) else 0

    def entry(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", errors="replace"))}

    alternatives = [entry(text if rank == 0 else f"{text[:1]}{rank}", draft.logprob - rank) for rank in range(count)]
    return {"content": [entry(text, draft.logprob) | {"top_logprobs": alternatives}], "refusal": None}


def _usage(draft: Draft) -> dict[str, Any]:
    return {
        "prompt_tokens": draft.input_tokens,
        "completion_tokens": draft.output_tokens,
        "total_tokens": draft.input_tokens + draft.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": tokens("".join(draft.reasoning))},
    }


def _error(failure: Failure) -> dict[str, Any]:
    return {
        "message": failure.message,
        "type": failure.openai_type,
        "param": None,
        "code": failure.openai_code,
    }
