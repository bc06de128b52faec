"""Reliable LlamaIndex models. Every public name loads on first use, and LlamaIndex with it."""

from typing import TYPE_CHECKING

__all__ = [
    "Found",
    "L0Event",
    "L0EventHandler",
    "L0LLM",
    "ProtectionReport",
    "__version__",
    "announce",
    "protect",
    "unprotect",
]

__version__ = "0.1.0"

if TYPE_CHECKING:
    from l0_llamaindex._events import L0Event, announce
    from l0_llamaindex._handler import L0EventHandler
    from l0_llamaindex._llm import L0LLM
    from l0_llamaindex._protect import protect, unprotect
    from l0_llamaindex._report import Found, ProtectionReport
else:  # Hidden from type checkers, which would otherwise let any misspelt name pass.
    from l0_core._lazy import lazy

    __getattr__, __dir__ = lazy(
        __name__,
        {
            "Found": "._report:Found",
            "L0Event": "._events:L0Event",
            "L0EventHandler": "._handler:L0EventHandler",
            "L0LLM": "._llm:L0LLM",
            "ProtectionReport": "._report:ProtectionReport",
            "announce": "._events:announce",
            "protect": "._protect:protect",
            "unprotect": "._protect:unprotect",
        },
    )
    del lazy
