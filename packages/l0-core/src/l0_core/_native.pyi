"""The compiled half of `l0_core`. Private: use what `l0_core` exports."""

from typing import final

__all__ = ["BuildInfo", "build_info", "version"]

@final
class BuildInfo:
    """The facts about this build that a bug report needs."""

    @property
    def version(self) -> str:
        """The version of the whole workspace."""
    @property
    def profile(self) -> str:
        """The Cargo profile: `release` in a wheel, `dev-opt` in a checkout. Only `release` figures mean anything."""
    @property
    def rustc(self) -> str:
        """The version of the compiler."""
    @property
    def pyo3(self) -> str:
        """The version of the bridge to Python."""
    @property
    def features(self) -> list[str]:
        """What this build was compiled with: `abi3`, `free-threaded`, `debug-assertions`."""

def build_info() -> BuildInfo:
    """How this module was built."""

def version() -> str:
    """The version of the whole workspace; the Python packages carry the same."""
