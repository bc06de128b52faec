"""Reliable LangChain models. Every public name loads on first use."""

from typing import TYPE_CHECKING

__all__ = [
    "Degraded",
    "Found",
    "L0CallbackHandler",
    "L0ChatModel",
    "L0Middleware",
    "Measured",
    "ProtectionReport",
    "Reset",
    "__version__",
    "protect",
    "trace",
    "unprotect",
]

__version__ = "0.1.0"

if TYPE_CHECKING:
    from l0_langchain._events import Reset
    from l0_langchain._guarded import Degraded
    from l0_langchain._handler import L0CallbackHandler, Measured, trace
    from l0_langchain._model import L0ChatModel
    from l0_langchain._protect import protect, unprotect
    from l0_langchain._report import Found, ProtectionReport
    from l0_langchain.middleware import L0Middleware
else:  # Hidden from type checkers, which would otherwise let any misspelt name pass.
    from l0_core._lazy import lazy

    _HOMES = {
        "._events": ["Reset"],
        "._guarded": ["Degraded"],
        "._handler": ["L0CallbackHandler", "Measured", "trace"],
        "._model": ["L0ChatModel"],
        "._protect": ["protect", "unprotect"],
        "._report": ["Found", "ProtectionReport"],
        ".middleware": ["L0Middleware"],
    }
    __getattr__, __dir__ = lazy(
        __name__, {name: f"{module}:{name}" for module, names in _HOMES.items() for name in names}
    )
    del lazy
