"""`L0LLM` under the name where integrations are looked for."""

from l0_llamaindex import L0LLM

__all__ = ["L0LLM"]
