"""Chunks of LiteLLM, which are those of chat completions with attributes that may not exist."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from l0_core.ports._sdk import get
from l0_core.ports.chat import ChatPort

_OF_CHOICE = ("finish_reason", "index", "logprobs")
_OF_DELTA = (
    "tool_calls",
    "refusal",
    "function_call",
    "reasoning_content",
    "reasoning",
    "thinking_blocks",
    "audio",
    "images",
)


class AsSent:
    """LiteLLM's stream without the end it makes up: where a provider breaks off, it says `stop` all the same."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Any]:
        for chunk in self._stream:
            yield self._as_sent(chunk)

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for chunk in self._stream:
            yield self._as_sent(chunk)

    def _as_sent(self, chunk: Any) -> Any:
        choices = get(chunk, "choices")
        said = isinstance(choices, list) and any(get(choice, "finish_reason") for choice in choices)
        if said and not any(get(self._stream, name) for name in _RECEIVED):
            chunk = chunk.model_copy(deep=True)
            for choice in chunk.choices:
                choice.finish_reason = None
        return chunk


_RECEIVED = ("received_finish_reason", "intermittent_finish_reason")
"""Where LiteLLM's streams keep what the provider said of the end."""


class LiteLLMPort(ChatPort):
    """The port of one attempt's `ModelResponseStream`s."""

    def text(self, chunk: Any) -> str | None:
        """Return the text of a chunk that holds nothing else but the name of its role."""
        choices = get(chunk, "choices")
        if not isinstance(choices, list) or len(choices) != 1 or get(chunk, "usage"):
            return None
        choice, delta = choices[0], get(choices[0], "delta")
        text = get(delta, "content")
        if type(text) is not str or any(get(choice, name) for name in _OF_CHOICE):
            return None
        return None if any(get(delta, name) for name in _OF_DELTA) else text or None

    def _read(self, told: dict[str, Any]) -> Any:
        """Return the chunk as it was written: without what LiteLLM keeps beside its fields."""
        from litellm.types.utils import ModelResponseStream  # type: ignore[import-not-found,unused-ignore]

        return ModelResponseStream(**told)

    def final(self, metadata: Mapping[str, object]) -> Any:
        """Return an empty chunk that carries the metadata as further fields."""
        choice = {"index": 0, "delta": {}, "finish_reason": None}
        common = {name: get(self._seen, name) for name in ("id", "created", "model")} | self._identity
        return self.decode(json.dumps({**common, "choices": [choice], **metadata}))
