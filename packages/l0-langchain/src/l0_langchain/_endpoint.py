"""What is known of the endpoint behind a model, by its class, settings and profile. Nothing is imported for it."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from l0_core.ports.prefill import Dialect, form_of

Terminal = Literal["end_of_stream", "finish_reason", "status"]

_NAMES = ("model_name", "model", "model_id")
_ADDRESSES = ("openai_api_base", "anthropic_api_url", "azure_endpoint", "base_url", "endpoint_url", "api_base")
_TELLING = frozenset(
    {
        "BaseChatOpenAI",
        "ChatBedrockConverse",
        "ChatCohere",
        "ChatFireworks",
        "ChatGoogleGenerativeAI",
        "ChatGroq",
        "ChatLiteLLM",
        "ChatMistralAI",
        "ChatNVIDIA",
        "ChatOllama",
        "ChatOpenRouter",
        "ChatSambaNova",
        "HuggingFaceEndpoint",
    }
)
"""The classes that always tell why an answer ends: one that does not say so was cut."""

_TELLING_STREAMS = frozenset({"ChatPerplexity"})
"""Those that tell it of streams alone."""


class Endpoint(NamedTuple):
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
    def of(cls, model: BaseChatModel, kwargs: Mapping[str, Any], *, whole: bool = False) -> "Endpoint":
        """Return what is known of the endpoint that `model`, called with `kwargs`, reaches.

        Args:
            model: The model.
            kwargs: What it is called with.
            whole: Whether its answer comes in one piece.
        """
        kinds = _kinds(type(model))
        if "llm" in model.__dict__:  # It is around a model of text.
            kinds |= _kinds(model.__dict__["llm"].__class__)
        profile: Mapping[str, Any] = model.profile or {}
        name, address = model_name(model, kwargs), _address(model)
        terminal: Terminal = "end_of_stream"
        prefill: bool | None = None
        reasons = bool(profile.get("reasoning_output"))
        if not kinds.isdisjoint(_TELLING) or (not whole and not kinds.isdisjoint(_TELLING_STREAMS)):
            terminal = "finish_reason"
        if "BaseChatOpenAI" in kinds:
            prefill = _prefills("chat", address or "api.openai.com", name)
        elif "ChatAnthropic" in kinds:
            # Told to leave out the usage, the client leaves out the event that says why a stream ends.
            terminal = "finish_reason" if whole or _tells_usage(model, kwargs) else "end_of_stream"
            reasons = _thinks(model, kwargs)
            prefill = _prefills("messages", address, name) if not reasons else False
        window = profile.get("max_input_tokens")
        return cls(
            name=f"{model._llm_type}/{name}{_host(address)}",
            terminal=terminal,
            prefill=prefill,
            reasons=reasons,
            context_window=window if isinstance(window, int) else None,
        )


def model_name(model: BaseChatModel, kwargs: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Return how a provider calls the model."""
    return _first((kwargs.get("model"), *_said(model, _NAMES))) or "model"


def _address(model: BaseChatModel) -> str:
    return _first(getattr(model, name, None) for name in _addresses(type(model)))


def _first(values: Iterable[object]) -> str:
    return next((value for value in values if isinstance(value, str) and value), "")


def _said(model: BaseChatModel, names: tuple[str, ...]) -> Iterator[object]:
    return (getattr(model, name, None) for name in _known(type(model), names))


@lru_cache(maxsize=256)
def _kinds(kind: type) -> frozenset[str]:
    return frozenset(each.__name__ for each in kind.__mro__)


@lru_cache(maxsize=256)
def _known(kind: type[BaseChatModel], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the attributes a class has: asking a pydantic object for one it has not takes some microseconds."""
    return tuple(name for name in names if name in kind.model_fields or hasattr(kind, name))


@lru_cache(maxsize=256)
def _addresses(kind: type[BaseChatModel]) -> tuple[str, ...]:
    """Return the attributes that say where an endpoint is: every make has its own, and most an alias in common."""
    own = (name for name, field in kind.model_fields.items() if field.alias in _ADDRESSES and name not in _ADDRESSES)
    return (*own, *_known(kind, _ADDRESSES))


def _host(address: str) -> str:
    """Return where it is reached, if that is anywhere in particular: without credentials, path or query."""
    return f"@{urlsplit(address).netloc.rpartition('@')[2]}" if address else ""


def _thinks(model: BaseChatModel, kwargs: Mapping[str, Any]) -> bool:
    thinking = kwargs.get("thinking") or getattr(model, "thinking", None)
    return isinstance(thinking, Mapping) and thinking.get("type") not in {None, "disabled"}


def _tells_usage(model: BaseChatModel, kwargs: Mapping[str, Any]) -> bool:
    said = kwargs.get("stream_usage")
    return bool(getattr(model, "stream_usage", True) if said is None else said)


def _prefills(dialect: Dialect, address: str, name: str) -> bool | None:
    """Return whether an endpoint goes on from an assistant's words as LangChain's clients send them: unmarked."""
    form = form_of(dialect, address, name)
    return None if form is None else form == "assistant"


def secrets_of(model: BaseChatModel) -> tuple[str, ...]:
    """Return the credentials a model carries, to be compared and forgotten."""
    values = _said(model, tuple(sorted(model.lc_secrets)))
    return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))
