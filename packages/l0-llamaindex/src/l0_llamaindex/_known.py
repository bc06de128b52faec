"""What is known of integrations: what ends their answers, who goes on from a prefix, how endpoints are told apart.

Known by name and not by import: an integration that is not installed is not needed.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llama_index.core.llms import LLM

Terminal = Literal["end_of_stream", "finish_reason", "status"]

# The fact that each class's real endpoint ends a stream with, by the name of the class that talks to it. Subclasses
# inherit it. A class that is not here is taken at its stream's word.
_TERMINALS: Mapping[str, Terminal] = {
    "llama_index.llms.openai.responses.OpenAIResponses": "status",
    "llama_index.llms.openai.base.OpenAI": "finish_reason",
    "llama_index.llms.anthropic.base.Anthropic": "finish_reason",
    "llama_index.llms.ollama.base.Ollama": "finish_reason",
    "llama_index.llms.mistralai.base.MistralAI": "finish_reason",
    "llama_index.llms.cohere.base.Cohere": "finish_reason",
    "llama_index.llms.bedrock_converse.base.BedrockConverse": "finish_reason",
}

# Models that go on from an assistant message, by endpoint and the beginning of their names. It is a fact of the
# endpoint: the same weights behind another one may start over, which would be glued. Newer families refuse it.
_PREFILLS: Mapping[str, Sequence[str]] = {
    "llama_index.llms.anthropic.base.Anthropic": (
        "claude-3",
        "claude-haiku-4-5",
        "claude-opus-4-0",
        "claude-opus-4-1",
        "claude-opus-4-2025",
        "claude-opus-4-5",
        "claude-sonnet-4-0",
        "claude-sonnet-4-2025",
        "claude-sonnet-4-5",
    ),
}

# What classes pass on with every request, by which what they call does not retry beneath them.
_ONCE: Mapping[str, Mapping[str, Any]] = {
    "llama_index.llms.cohere.base.Cohere": {"request_options": {"max_retries": 0}},
    "llama_index.llms.litellm.base.LiteLLM": {"num_retries": 0},
}


def asked_once(llm: Any) -> dict[str, Any]:
    """Return the fields of an LLM by which what it calls does not retry, where it passes that on."""
    once = next((_ONCE[name] for name in class_names(llm) if name in _ONCE), None)
    if once is None:
        return {}
    given = getattr(llm, "additional_kwargs", None) or {}
    more = {
        name: {**(given.get(name) or {}), **said} if isinstance(said, dict) else said for name, said in once.items()
    }
    return {"additional_kwargs": {**given, **more}}


_COMPLETES = "llama_index.llms.openai.base.OpenAI"
"""The class with such an endpoint."""

# Classes whose structured predictions go to the provider by a way of their own, and not through `chat`; and whether
# those that stream do.
_PREDICTING: Mapping[str, bool] = {
    "llama_index.llms.anthropic.base.Anthropic": True,
    "llama_index.llms.openai.responses.OpenAIResponses": False,
    "llama_index.llms.google_genai.base.GoogleGenAI": True,
}
_CAN_PREDICT = "is_anthropic_structured_output_supported"
_CANNOT_PREDICT = frozenset({"AnthropicVertex", "AnthropicBedrock"})


def predicts_by_itself(llm: LLM, *, streams: bool) -> bool:
    """Return whether what is predicted structured is asked for by a way of its own.

    Args:
        llm: The LLM.
        streams: Whether it is shown as it grows.
    """
    for kind in type(llm).__mro__:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name in _PREDICTING:
            return (_PREDICTING[name] or not streams) and _can_predict(llm, kind)
    return False


def _can_predict(llm: LLM, kind: type) -> bool:
    """Return whether an LLM takes its class's own way, where the class asks that of its model and its endpoint."""
    is_supported = getattr(sys.modules.get(kind.__module__), _CAN_PREDICT, None)
    if is_supported is None:
        return True
    client = getattr(llm, "_client", None)
    elsewhere = any(base.__name__ in _CANNOT_PREDICT for base in type(client).__mro__)
    return not elsewhere and bool(is_supported(getattr(llm, "model", "")))


def class_names(llm: LLM) -> list[str]:
    """Return the full names of an LLM's classes, its own first."""
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in type(llm).__mro__]


def family(llm: LLM) -> str:
    """Return what decides whether two LLMs are asked in the same words: the class that talks to the endpoint."""
    names = class_names(llm)
    return next((name for name in names if name in _TERMINALS), names[0])


def terminal(llm: LLM) -> Terminal:
    """Return what ends a stream of this LLM for certain."""
    return next((_TERMINALS[name] for name in class_names(llm) if name in _TERMINALS), "end_of_stream")


def goes_on(llm: LLM, *, completes: bool) -> bool:
    """Return whether an LLM is known to go on from the beginning of an answer.

    Args:
        llm: The LLM.
        completes: Whether it is asked to complete a prompt, and not to answer messages.
    """
    metadata = metadata_of(llm)
    if completes and metadata is not None and not metadata.is_chat_model:
        # The endpoint for plain text goes on from whatever it is given: that is all it does. Others may only look so.
        return _COMPLETES in class_names(llm)
    if getattr(llm, "thinking_dict", None):
        return False
    model = str(getattr(llm, "model", ""))
    begins = next((_PREFILLS[name] for name in class_names(llm) if name in _PREFILLS), ())
    return model.startswith(tuple(begins)) and not getattr(llm, "vertex_project_id", None)


def metadata_of(llm: LLM) -> Any:
    """Return an LLM's metadata; `None` where it has none to give: some refuse models they do not know."""
    try:
        return llm.metadata
    except Exception:  # noqa: BLE001 - it is asked for what helps, and not for what is needed
        return None


def name_of(llm: LLM) -> str:
    """Return the name that results and the fleet know an LLM by."""
    metadata = metadata_of(llm)
    model = getattr(metadata, "model_name", None) or getattr(llm, "model", None)
    return str(model) if model and model != "unknown" else type(llm).__name__


def endpoint_of(llm: LLM) -> tuple[str, ...]:
    """Return what tells endpoints apart whose credentials are refused together."""
    return (family(llm), *(str(getattr(llm, name, "")) for name in ("api_base", "base_url", "api_key")))
