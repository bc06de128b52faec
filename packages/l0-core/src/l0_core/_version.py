"""The version, which the compiled module knows and nothing repeats."""

from typing import Final

from l0_core._native import version

__version__: Final = version()
