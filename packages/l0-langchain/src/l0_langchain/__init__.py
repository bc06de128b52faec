"""Reliable LangChain models. Every public name loads on first use."""

from typing import TYPE_CHECKING

__all__ = ["L0ChatModel", "__version__"]

__version__ = "0.1.0"

if TYPE_CHECKING:
    from l0_langchain._model import L0ChatModel
else:  # Hidden from type checkers, which would otherwise let any misspelt name pass.
    from l0_core._lazy import lazy

    __getattr__, __dir__ = lazy(__name__, {"L0ChatModel": "._model:L0ChatModel"})
    del lazy
