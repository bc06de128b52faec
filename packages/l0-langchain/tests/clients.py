"""The real clients, pointed at the faulty provider."""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI

from l0_core.testing import FaultyProvider


@dataclass(frozen=True)
class Client:
    """One make of client."""

    make: Literal["openai", "anthropic"]

    def __call__(self, provider: FaultyProvider, **fields: Any) -> BaseChatModel:
        if self.make == "openai":
            return ChatOpenAI(**{"model": "gpt-4o-mini", "base_url": provider.openai_url, "api_key": "x", **fields})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return ChatAnthropic(
                **{"model": "claude-haiku-4-5", "base_url": provider.anthropic_url, "api_key": "x", **fields}
            )

    async def close(self, model: BaseChatModel) -> None:
        """Close the connections that were awaited, in the loop that opened them; the client itself is shared."""
        await self.sdk(model)._client._transport.aclose()

    def sdk(self, model: BaseChatModel) -> Any:
        """Return the SDK's client that a model awaits."""
        return model.root_async_client if isinstance(model, ChatOpenAI) else model._async_client  # type: ignore[attr-defined]
