"""Failure on purpose: a provider that fails as it is told, and what is needed to test with it.

But for `store_suite` nothing in here needs the native module. Names load on first use, so that the pytest plugin costs
a test run nothing.
"""

from typing import TYPE_CHECKING

__all__ = [
    "FaultyProvider",
    "Message",
    "Recorder",
    "Recording",
    "Reply",
    "Report",
    "Request",
    "StoreSuite",
    "Template",
    "ToolCall",
    "VirtualTime",
    "ameasure",
    "faults",
    "measure",
    "samples",
    "store_suite",
    "virtual_time",
]

if TYPE_CHECKING:
    from l0_core.testing import faults, samples, store_suite
    from l0_core.testing.clock import VirtualTime, virtual_time
    from l0_core.testing.conversation import Message, Request
    from l0_core.testing.meter import Report, ameasure, measure
    from l0_core.testing.phrasing import Template
    from l0_core.testing.provider import FaultyProvider
    from l0_core.testing.recorder import Recorder
    from l0_core.testing.recording import Recording
    from l0_core.testing.reply import Reply, ToolCall
    from l0_core.testing.store_suite import StoreSuite
else:  # Hidden from type checkers, which would otherwise let any misspelt name pass.
    from l0_core._lazy import lazy

    __getattr__, __dir__ = lazy(
        __name__,
        {
            "FaultyProvider": ".provider:FaultyProvider",
            "Message": ".conversation:Message",
            "Recorder": ".recorder:Recorder",
            "Recording": ".recording:Recording",
            "Reply": ".reply:Reply",
            "Report": ".meter:Report",
            "Request": ".conversation:Request",
            "StoreSuite": ".store_suite:StoreSuite",
            "Template": ".phrasing:Template",
            "ToolCall": ".reply:ToolCall",
            "VirtualTime": ".clock:VirtualTime",
            "ameasure": ".meter:ameasure",
            "faults": ".faults:",
            "measure": ".meter:measure",
            "samples": ".samples:",
            "store_suite": ".store_suite:",
            "virtual_time": ".clock:virtual_time",
        },
    )
    del lazy
