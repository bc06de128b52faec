"""What is known of the endpoint behind a model, from its class, its settings and its profile. Nothing is imported for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

Terminal = Literal["end_of_stream", "finish_reason", "status"]

_NAMES = ("model_name", "model", "model_id")
_ADDRESSES = ("openai_api_base", "anthropic_api_url", "azure_endpoint", "base_url", "endpoint_url")
_SHORT_NUMBER = 2
"""Digits of a version in a model's name at most; a date has eight."""

_LAST_PREFILL = (4, 5)
"""The last generation of Claude that goes on from an assistant's words; later ones refuse the request."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the engine is told of a target.

    Attributes:
        name: Its name in results and logs, and the key of its budgets and breakers.
        terminal: What ends an answer for certain.
        prefill: Whether it goes on from an assistant's words; `None` where nobody knows.
        reasons: Whether it thinks before it speaks.
        context_window: Tokens its context holds.
    """

    name: str
    terminal: Terminal
    prefill: bool | None
    reasons: bool
    context_window: int | None

    @classmethod
    def of(cls, model: BaseChatModel, kwargs: Mapping[str, Any]) -> "Endpoint":
        """Return what is known of the endpoint that `model`, called with `kwargs`, reaches."""
        kinds = {kind.__name__ for kind in type(model).__mro__}
        profile: Mapping[str, Any] = model.profile or {}
        name = _model_name(model, kwargs)
        terminal: Terminal = "end_of_stream"
        prefill: bool | None = None
        reasons = bool(profile.get("reasoning_output"))
        if "BaseChatOpenAI" in kinds:
            terminal, prefill = "finish_reason", False
        elif "ChatAnthropic" in kinds:
            terminal, reasons = "finish_reason", _thinks(model, kwargs)
            prefill = _claude_prefills(name) and not reasons
        window = profile.get("max_input_tokens")
        return cls(
            name=f"{model._llm_type}/{name}{_host(model)}",  # noqa: SLF001 - a partner package's own name for itself
            terminal=terminal,
            prefill=prefill,
            reasons=reasons,
            context_window=window if isinstance(window, int) else None,
        )


def _model_name(model: BaseChatModel, kwargs: Mapping[str, Any]) -> str:
    candidates = (kwargs.get("model"), *(getattr(model, name, None) for name in _NAMES))
    return next((name for name in candidates if isinstance(name, str) and name), "model")


def _host(model: BaseChatModel) -> str:
    """Return where it is reached, if that is anywhere in particular: without credentials, path or query."""
    for name in _ADDRESSES:
        address = getattr(model, name, None)
        if isinstance(address, str) and address:
            return f"@{urlsplit(address).netloc.rpartition('@')[2]}"
    return ""


def _thinks(model: BaseChatModel, kwargs: Mapping[str, Any]) -> bool:
    thinking = kwargs.get("thinking") or getattr(model, "thinking", None)
    return isinstance(thinking, Mapping) and thinking.get("type") not in {None, "disabled"}


def _claude_prefills(name: str) -> bool | None:
    """Return whether this Claude goes on from an assistant's words, as far as its name tells its generation."""
    version = tuple(int(part) for part in name.split("-") if part.isdigit() and len(part) <= _SHORT_NUMBER)[:2]
    return version <= _LAST_PREFILL if version else None


def secrets_of(model: BaseChatModel) -> tuple[str, ...]:
    """Return the credentials a model carries, to be compared and forgotten."""
    values = (getattr(model, name, None) for name in sorted(model.lc_secrets))
    return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))
