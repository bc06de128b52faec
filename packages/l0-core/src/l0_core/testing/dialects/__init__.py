"""The wire formats the provider speaks, one file each."""

from __future__ import annotations

from typing import Final

from l0_core.testing.dialects.anthropic import AnthropicMessages
from l0_core.testing.dialects.dialect import BadRequest, Dialect, Failure
from l0_core.testing.dialects.openai_chat import OpenAIChat
from l0_core.testing.dialects.openai_responses import OpenAIResponses

__all__ = ["BadRequest", "DIALECTS", "Dialect", "Failure"]

DIALECTS: Final[tuple[Dialect, ...]] = (OpenAIChat(), OpenAIResponses(), AnthropicMessages())
