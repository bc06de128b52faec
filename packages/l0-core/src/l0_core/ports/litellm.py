"""Chunks of LiteLLM, which are those of chat completions with attributes that may not exist."""

import json
from collections.abc import Mapping
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

    def decode(self, text: str) -> Any:
        """Return the chunk that `encode` wrote, without what LiteLLM keeps beside its fields."""
        from litellm.types.utils import ModelResponseStream  # type: ignore[import-not-found,unused-ignore]

        return ModelResponseStream(**json.loads(text))

    def final(self, metadata: Mapping[str, object]) -> Any:
        """Return an empty chunk that carries the metadata as further fields."""
        choice = {"index": 0, "delta": {}, "finish_reason": None}
        common = {name: get(self._seen, name) for name in ("id", "created", "model")} | self._identity
        return self.decode(json.dumps({**common, "choices": [choice], **metadata}))
