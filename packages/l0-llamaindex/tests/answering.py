"""A server that answers as the engines' scripted model would, whatever the client."""

import json
from typing import Any

from engines import instance_of, said

from l0_core.testing import FaultyProvider, Reply
from l0_core.testing.fault import Fault


class Answering(FaultyProvider):
    """Answers every question with what `said` has for it, in six pieces."""

    def _routed(self, request: Any, routes: Any) -> Reply:
        body = request.body
        schema = schema_of(body)
        if schema is not None:
            return Reply.of(json.dumps(instance_of(schema)), chunks=6)
        prompt = "\n".join(f"{message.role}: {message.text}" for message in request.messages)
        told = said(prompt, {"tools": list(map(tool_of, body.get("tools") or ())), "tool_required": is_required(body)})
        calls = [(name, json.loads(args)) for name, args in told.calls]
        return Reply.of(told.text, chunks=6, tool_calls=calls)


class EveryThird:
    """Every third request fails, the first among them."""

    length = None

    def __init__(self, fault: Fault, well: Fault) -> None:
        self.fault, self.well = fault, well

    def pick(self, number: int) -> Fault:
        return self.well if number % 3 else self.fault


def schema_of(body: Any) -> Any:
    """The schema the answer is to be in, in any dialect."""
    for told in (
        body.get("response_format"),
        body.get("text", {}).get("format"),
        body.get("output_config", {}).get("format"),
    ):
        if told and told["type"] == "json_schema":
            return told.get("json_schema", told)["schema"]
    return None


def tool_of(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as OpenAI's chat has it."""
    if "function" in tool:
        return tool
    return {"function": {"name": tool["name"], "parameters": tool.get("input_schema") or tool["parameters"]}}


def is_required(body: Any) -> bool:
    choice = body.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else choice
    return kind in {"required", "any", "tool", "function"}
