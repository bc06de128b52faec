"""Run managers for attempts: what a model tells of its tokens is kept back until the consumer is given them.

A model that is handed a run manager reports tokens as they arrive, before anybody knows whether they will be given, and
those of an attempt that fails must never have been.
"""

from typing import Any, NamedTuple

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.outputs import ChatGenerationChunk


class Told(NamedTuple):
    """One token as a model told of it."""

    token: Any
    chunk: Any
    keywords: dict[str, Any]


class Tokens:
    """What the live attempt has told and the consumer has not been given."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.tells = False
        """Whether the model tells of its tokens at all."""

    def begin(self) -> None:
        """Forget what an attempt told that failed."""
        self.told = []

    def tell(self, token: Any, chunk: Any, keywords: dict[str, Any]) -> None:
        """Keep a token."""
        self.tells = True
        self.told.append(Told(token, chunk, keywords))

    def of(self, chunk: ChatGenerationChunk, *, is_final: bool) -> Told | None:
        """Return what is to be told of a chunk that the consumer is given now."""
        for place, told in enumerate(self.told):
            if told.chunk is chunk:
                del self.told[: place + 1]
                return told
        if self.tells and not is_final and isinstance(chunk.message.content, str):
            return Told(chunk.text, chunk, {})  # It was cut to fit: the model told of it as it came.
        return None


class HeldTokens(CallbackManagerForLLMRun):
    """The run manager of an attempt, called."""

    def __init__(self, real: BaseRunManager, tokens: Tokens) -> None:
        super().__init__(**_bound(real))
        self._tokens = tokens

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **kwargs: Any) -> None:
        """Keep the token back."""
        self._tokens.tell(token, chunk, kwargs)


class AsyncHeldTokens(AsyncCallbackManagerForLLMRun):
    """The run manager of an attempt, awaited."""

    def __init__(self, real: BaseRunManager, tokens: Tokens) -> None:
        super().__init__(**_bound(real))
        self._tokens = tokens

    async def on_llm_new_token(self, token: Any, *, chunk: Any = None, **kwargs: Any) -> None:
        """Keep the token back."""
        self._tokens.tell(token, chunk, kwargs)

    def get_sync(self) -> CallbackManagerForLLMRun:
        """Return the one that is called, for models that are run in a thread."""
        return HeldTokens(self, self._tokens)


def _bound(real: BaseRunManager) -> dict[str, Any]:
    return {
        "run_id": real.run_id,
        "handlers": real.handlers,
        "inheritable_handlers": real.inheritable_handlers,
        "parent_run_id": real.parent_run_id,
        "tags": real.tags,
        "inheritable_tags": real.inheritable_tags,
        "metadata": real.metadata,
        "inheritable_metadata": real.inheritable_metadata,
    }
