"""Reliable model streams, without a framework. Every public name loads on first use."""

from typing import TYPE_CHECKING

__all__ = ["BuildInfo", "__version__", "build_info"]

if TYPE_CHECKING:
    from l0_core._native import BuildInfo, build_info
    from l0_core._version import __version__
else:  # Hidden from type checkers, which would otherwise let any misspelt name pass.
    from l0_core._lazy import lazy

    __getattr__, __dir__ = lazy(
        __name__,
        {
            "BuildInfo": "._native:BuildInfo",
            "__version__": "._version:__version__",
            "build_info": "._native:build_info",
        },
    )
    del lazy
