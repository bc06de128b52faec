"""OpenAI responses: numbered events, and responses that go on in the background and can be read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from l0_core.testing.answer import Kind, Piece
from l0_core.testing.conversation import DialectName, Message
from l0_core.testing.dialects.dialect import BadRequest, Failure, list_of, sse, text_of
from l0_core.testing.dialects.openai_chat import OpenAIChat, token_logprobs
from l0_core.testing.reply import ToolCall, tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from l0_core.testing.conversation import Request
    from l0_core.testing.reply import Draft

__all__ = ["OpenAIResponses"]

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class OpenAIResponses:
    """`POST …/responses`; the provider answers `GET …/responses/ID` from what it kept."""

    name: DialectName = "responses"
    keep_alive = b": keep-alive\n\n"
    request_id_header = "x-request-id"

    def takes(self, method: str, path: str) -> bool:
        """Under any base path."""
        return method == "POST" and path.endswith("/responses")

    def parse(self, body: Mapping[str, Any]) -> Sequence[Message]:
        """Instructions, messages, calls and their outputs, in the order of the input."""
        messages = []
        if isinstance(body.get("instructions"), str) and body["instructions"]:
            messages.append(Message("system", body["instructions"]))
        if isinstance(body.get("input"), str):
            return [*messages, Message("user", body["input"])]
        names: dict[str, str] = {}
        for item in list_of(body, "input"):
            match item.get("type", "message"):
                case "message":
                    messages.append(_message(item))
                case "function_call":
                    identity, name = str(item.get("call_id")), str(item.get("name"))
                    names[identity] = name
                    call = ToolCall(name, str(item.get("arguments", "")), identity)
                    if messages and messages[-1].role == "assistant":
                        last = messages.pop()
                        messages.append(Message("assistant", last.text, (*last.tool_calls, call)))
                    else:
                        messages.append(Message("assistant", tool_calls=(call,)))
                case "function_call_output":
                    tool = names.get(str(item.get("call_id")), "")
                    messages.append(Message("tool", text_of(item.get("output")), tool_name=tool))
                case _:
                    pass  # reasoning and built-in tools: nothing is said in them
        return messages

    def tokens_max(self, body: Mapping[str, Any]) -> int | None:
        """Its name here."""
        value = body.get("max_output_tokens")
        return value if isinstance(value, int) else None

    def stream(self, draft: Draft, request: Request) -> list[Piece]:
        """Created, the items with their parts and deltas, and how it ended; every event numbered."""
        pieces: list[Piece] = []
        background = request.body.get("background") is True

        def add(kind: Kind, type_: str, fields: dict[str, Any], text: str = "") -> None:
            event = {"type": type_, "sequence_number": len(pieces), **fields}
            pieces.append(Piece(sse(event, type_), kind, text))

        def item(index: int, kind: str, value: dict[str, Any]) -> None:
            add(
                "open" if kind == "added" else "close",
                f"response.output_item.{kind}",
                {"output_index": index, "item": value},
            )

        status = "queued" if background else "in_progress"
        add("open", "response.created", {"response": self._response(draft, request, status, output=[])})
        add("open", "response.in_progress", {"response": self._response(draft, request, "in_progress", output=[])})
        output = self._output(draft)
        for index, value in enumerate(output):
            place = {"item_id": value["id"], "output_index": index}
            match value["type"]:
                case "reasoning":
                    item(index, "added", {**value, "summary": []})
                    part = {**place, "summary_index": 0}
                    empty = {"type": "summary_text", "text": ""}
                    add("open", "response.reasoning_summary_part.added", {**part, "part": empty})
                    for thought in draft.reasoning:
                        add("reasoning", "response.reasoning_summary_text.delta", {**part, "delta": thought})
                    whole = value["summary"][0]
                    add("close", "response.reasoning_summary_text.done", {**part, "text": whole["text"]})
                    add("close", "response.reasoning_summary_part.done", {**part, "part": whole})
                case "message":
                    item(index, "added", {**value, "status": "in_progress", "content": []})
                    part = {**place, "content_index": 0}
                    whole = value["content"][0]
                    field = "refusal" if whole["type"] == "refusal" else "text"
                    add("open", "response.content_part.added", {**part, "part": {**whole, field: ""}})
                    name = "response.refusal" if field == "refusal" else "response.output_text"
                    for words in (draft.refusal,) if field == "refusal" else draft.text:
                        more = {} if field == "refusal" else {"logprobs": self._logprobs(words, draft, request)}
                        add("text", f"{name}.delta", {**part, "delta": words, **more}, words if more else "")
                    done: dict[str, Any] = {} if field == "refusal" else {"logprobs": []}
                    add("close", f"{name}.done", {**part, field: whole[field], **done})
                    add("close", "response.content_part.done", {**part, "part": whole})
                case _:
                    item(index, "added", {**value, "status": "in_progress", "arguments": ""})
                    tool = next(tool for tool in draft.tools if tool.id == value["call_id"])
                    for fragment in tool.fragments:
                        add("tool_args", "response.function_call_arguments.delta", {**place, "delta": fragment})
                    add(
                        "close",
                        "response.function_call_arguments.done",
                        {**place, "arguments": tool.arguments, "name": tool.name},
                    )
            item(index, "done", value)
        if draft.finish is not None and draft.done:
            ended = "incomplete" if draft.finish in INCOMPLETE else "completed"
            add("finish", f"response.{ended}", {"response": self._response(draft, request, ended, output=output)})
        return pieces

    def body(self, draft: Draft, request: Request) -> dict[str, Any]:
        """One response."""
        ended = "incomplete" if draft.finish in INCOMPLETE else "completed" if draft.finish else "in_progress"
        output = None if draft.null else self._output(draft)
        return self._response(draft, request, ended, output=output)

    def failure(self, failure: Failure, request_id: str) -> tuple[int, dict[str, Any]]:
        """As in chat completions."""
        return OpenAIChat().failure(failure, request_id)

    def failure_event(self, failure: Failure, number: int) -> Piece:
        """The `error` event."""
        event = {
            "type": "error",
            "sequence_number": number,
            "code": failure.openai_code or failure.openai_type,
            "message": failure.message,
            "param": None,
        }
        return Piece(sse(event, "error"), "close")

    def ending(self) -> list[Piece]:
        """This dialect has no event that carries nothing: a comment."""
        return [Piece(b": done\n\n", "done")]

    def null_event(self, _draft: Draft) -> Piece:
        """A response that is null."""
        event = {"type": "response.in_progress", "sequence_number": 1, "response": None}
        return Piece(sse(event, "response.in_progress"), "close")

    def _logprobs(self, text: str, draft: Draft, request: Request) -> list[dict[str, Any]]:
        include = request.body.get("include")
        if not isinstance(include, list) or "message.output_text.logprobs" not in include:
            return []
        content: list[dict[str, Any]] = token_logprobs(text, draft, request.body)["content"]
        return content

    def _output(self, draft: Draft) -> list[dict[str, Any]]:
        output: list[dict[str, Any]] = []
        tail = draft.id.removeprefix("resp_")
        if draft.reasoning:
            summary = [{"type": "summary_text", "text": "".join(draft.reasoning)}]
            output.append({"id": f"rs_{tail}", "type": "reasoning", "summary": summary})
        if draft.text or draft.refusal or not (draft.tools or draft.nothing):
            part = (
                {"type": "refusal", "refusal": draft.refusal}
                if draft.refusal
                else {"type": "output_text", "text": draft.whole_text, "annotations": [], "logprobs": []}
            )
            status = "incomplete" if draft.finish in INCOMPLETE else "completed"
            output.append(
                {"id": f"msg_{tail}", "type": "message", "role": "assistant", "status": status, "content": [part]}
            )
        output += [
            {
                "id": f"fc_{number}_{tail}",
                "type": "function_call",
                "status": "completed",
                "call_id": tool.id,
                "name": tool.name,
                "arguments": tool.arguments,
            }
            for number, tool in enumerate(draft.tools)
        ]
        return output

    def _response(
        self, draft: Draft, request: Request, status: str, *, output: list[dict[str, Any]] | None
    ) -> dict[str, Any]:
        ended = status in ("completed", "incomplete")
        reason = INCOMPLETE.get(draft.finish or "")
        usage = {
            "input_tokens": draft.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": draft.output_tokens,
            "output_tokens_details": {"reasoning_tokens": tokens("".join(draft.reasoning))},
            "total_tokens": draft.input_tokens + draft.output_tokens,
        }
        return {
            "id": draft.id,
            "object": "response",
            "created_at": draft.created,
            "status": status,
            "background": request.body.get("background") is True,
            "error": None,
            "incomplete_details": {"reason": reason} if status == "incomplete" else None,
            "instructions": request.body.get("instructions"),
            "max_output_tokens": request.body.get("max_output_tokens"),
            "model": draft.model,
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": request.body.get("previous_response_id"),
            "store": request.body.get("store", True),
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": request.body.get("tool_choice", "auto"),
            "tools": request.body.get("tools", []),
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": usage if ended else None,
            "metadata": {},
        }


def _message(item: Mapping[str, Any]) -> Message:
    role = item.get("role")
    text = text_of(item.get("content"))
    match role:
        case "system" | "developer":
            return Message("system", text)
        case "user":
            return Message("user", text)
        case "assistant":
            return Message("assistant", text)
        case _:
            raise BadRequest(f"Invalid role: {role!r}")
