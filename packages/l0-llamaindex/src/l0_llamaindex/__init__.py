"""Reliable LlamaIndex models. Every public name loads on first use, and LlamaIndex with it."""

from typing import TYPE_CHECKING

__all__ = ["L0LLM", "__version__"]

__version__ = "0.1.0"

if TYPE_CHECKING:
    from l0_llamaindex._llm import L0LLM
else:  # Hidden from type checkers, which would otherwise let any misspelt name pass.
    from l0_core._lazy import lazy

    __getattr__, __dir__ = lazy(__name__, {"L0LLM": "._llm:L0LLM"})
    del lazy
