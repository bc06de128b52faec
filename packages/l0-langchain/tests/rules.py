"""A model that answers by rules, with tools and structured output: what the standard suites need and no network."""

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

_numbers = itertools.count()


class RuleModel(BaseChatModel):
    """Calls a tool where it must or is asked to, and else answers with words."""

    model: str = "rules-1"
    temperature: float | None = None
    max_tokens: int | None = None
    timeout: float | None = None
    max_retries: int = 2
    stop: list[str] | None = Field(default=None, alias="stop_sequences")
    calls: int = 0
    """How often it was called: a model may count in its own fields."""

    model_config = {"populate_by_name": True}  # noqa: RUF012 - pydantic copies it

    @property
    def _llm_type(self) -> str:
        return "rules"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model": self.model, "temperature": self.temperature}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        return {**params, "ls_provider": "rules", "ls_model_name": kwargs.get("model", self.model)}

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        if tool_choice is not None:
            kwargs["tool_choice"] = tool_choice
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _answer(self, messages: list[BaseMessage], **kwargs: Any) -> tuple[str, list[dict[str, Any]]]:
        self.calls += 1
        question = next((m.text for m in reversed(messages) if isinstance(m, HumanMessage)), "")
        if not isinstance(messages[-1], ToolMessage) or kwargs.get("tool_choice"):
            tool = _chosen(
                [each["function"] for each in kwargs.get("tools") or ()], question, kwargs.get("tool_choice")
            )
            if tool is not None:
                return "", [{"name": tool["name"], "args": _args(tool["parameters"], question)}]
        return f"You said: {question or 'nothing'}. That is all there is to say.", []

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text, calls = self._answer(messages, **kwargs)
        message = AIMessage(
            text,
            tool_calls=[{**call, "id": f"call_{next(_numbers)}", "type": "tool_call"} for call in calls],
            usage_metadata=_usage(text),
            response_metadata={"model_name": kwargs.get("model", self.model), "finish_reason": "stop"},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        text, calls = self._answer(messages, **kwargs)
        for word in re.findall(r"\S+\s*", text):
            yield _chunk(content=word)
        for index, call in enumerate(calls):
            args = json.dumps(call["args"])
            first: dict[str, Any] = {"name": call["name"], "id": f"call_{next(_numbers)}"}
            for piece in (args[:3], args[3:]):
                fragment = {"name": None, "id": None, **first, "args": piece, "index": index, "type": "tool_call_chunk"}
                yield _chunk(content="", tool_call_chunks=[fragment])
                first = {}
        told = {"model_name": kwargs.get("model", self.model), "finish_reason": "stop"}
        yield _chunk(content="", usage_metadata=_usage(text), response_metadata=told)


def _chunk(**fields: Any) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(**fields))


def _usage(text: str) -> UsageMetadata:
    return {"input_tokens": 7, "output_tokens": len(text), "total_tokens": 7 + len(text)}


def _chosen(tools: list[dict[str, Any]], question: str, choice: str | None) -> dict[str, Any] | None:
    if choice and choice not in {"any", "auto"}:
        return next(tool for tool in tools if tool["name"] == choice)
    asked = ("tool", "magic_function", "weather", "customer", "joke")
    if tools and (choice == "any" or any(word in question.lower() for word in asked)):
        return next((tool for tool in tools if tool["name"] in question), tools[0])
    return None


def _args(schema: dict[str, Any], question: str) -> dict[str, Any]:
    quoted = re.search(r"'([^']+)'", question)
    number = re.search(r"\d+", question)
    texts = quoted.group(1) if quoted else "San Francisco"
    made: dict[str, Any] = {}
    for name, field in schema.get("properties", {}).items():
        match field.get("type"):
            case "integer" | "number":
                made[name] = int(number.group()) if number else 3
            case "array":
                made[name] = []
            case "boolean":
                made[name] = True
            case _:
                made[name] = texts
    return made
