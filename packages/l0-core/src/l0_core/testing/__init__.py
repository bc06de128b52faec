"""Failure on purpose: a provider that fails as it is told, and what is needed to test with it.

Nothing in here needs the native module. Names load on first use.
"""

from l0_core.testing import faults
from l0_core.testing.phrasing import Template
from l0_core.testing.provider import FaultyProvider
from l0_core.testing.recording import Recording
from l0_core.testing.reply import Reply, ToolCall

__all__ = ["FaultyProvider", "Recording", "Reply", "Template", "ToolCall", "faults"]
