"""Reliable model streams, without a framework. Every public name loads on first use."""

from typing import TYPE_CHECKING

__all__ = [
    "AsyncStream",
    "AsyncStructured",
    "Attempt",
    "Breaker",
    "BuildInfo",
    "Chunk",
    "ChunkPort",
    "ContentError",
    "Continuation",
    "DeadlineError",
    "Doubt",
    "Drift",
    "ExhaustedError",
    "Facts",
    "Fault",
    "IncompleteError",
    "Journal",
    "JournalError",
    "L0Error",
    "Lifecycle",
    "LimitError",
    "Limits",
    "LogProb",
    "Objection",
    "Opaque",
    "Policy",
    "PolicyError",
    "RESET",
    "RefusedOutput",
    "ReplayDivergence",
    "ReplayReport",
    "Result",
    "Retry",
    "RetryBudget",
    "Run",
    "Splice",
    "StepFailed",
    "StepNotSerializable",
    "Store",
    "Stream",
    "Structured",
    "Target",
    "Timeouts",
    "ToolCall",
    "ToolFragment",
    "UnknownOutcome",
    "Unsent",
    "Usage",
    "__version__",
    "acall",
    "areplay_stream",
    "astream",
    "astructured",
    "build_info",
    "call",
    "deadline",
    "fork",
    "guards",
    "idempotency_key",
    "json",
    "remember",
    "replay",
    "replay_stream",
    "run",
    "step",
    "stream",
    "structured",
]

if TYPE_CHECKING:
    from l0_core import guards, json
    from l0_core._async import AsyncStream, astream
    from l0_core._call import acall, call
    from l0_core._codec import remember
    from l0_core._context import deadline, idempotency_key
    from l0_core._drive import RESET
    from l0_core._errors import (
        ContentError,
        DeadlineError,
        ExhaustedError,
        IncompleteError,
        JournalError,
        L0Error,
        LimitError,
        PolicyError,
        RefusedOutput,
        ReplayDivergence,
        StepFailed,
        StepNotSerializable,
        UnknownOutcome,
    )
    from l0_core._fork import fork
    from l0_core._journal import Journal, Store
    from l0_core._lifecycle import Lifecycle
    from l0_core._native import BuildInfo, build_info
    from l0_core._port import Attempt, Chunk, ChunkPort, Facts, LogProb, Opaque, ToolFragment, Unsent, Usage
    from l0_core._replay import ReplayReport, areplay_stream, replay, replay_stream
    from l0_core._result import Fault, Objection, Result, Splice, ToolCall
    from l0_core._run import Doubt, Run, run
    from l0_core._step import step
    from l0_core._structured import AsyncStructured, Structured, astructured, structured
    from l0_core._sync import Stream, stream
    from l0_core._target import Target
    from l0_core._version import __version__
    from l0_core.guards import Drift
    from l0_core.policy import Breaker, Continuation, Limits, Policy, Retry, RetryBudget, Timeouts
else:  # Hidden from type checkers, which would otherwise let any misspelt name pass.
    from l0_core._lazy import lazy

    _HOMES = {
        "._async": ["AsyncStream", "astream"],
        "._call": ["acall", "call"],
        "._codec": ["remember"],
        "._context": ["deadline", "idempotency_key"],
        "._drive": ["RESET"],
        "._errors": [name for name in __all__ if name.endswith("Error")]
        + ["RefusedOutput", "ReplayDivergence", "StepFailed", "StepNotSerializable", "UnknownOutcome"],
        "._fork": ["fork"],
        "._journal": ["Journal", "Store"],
        "._lifecycle": ["Lifecycle"],
        "._native": ["BuildInfo", "build_info"],
        "._port": ["Attempt", "Chunk", "ChunkPort", "Facts", "LogProb", "Opaque", "ToolFragment", "Unsent", "Usage"],
        "._replay": ["ReplayReport", "areplay_stream", "replay", "replay_stream"],
        "._result": ["Fault", "Objection", "Result", "Splice", "ToolCall"],
        "._run": ["Doubt", "Run", "run"],
        "._step": ["step"],
        "._structured": ["AsyncStructured", "Structured", "astructured", "structured"],
        "._sync": ["Stream", "stream"],
        "._target": ["Target"],
        "._version": ["__version__"],
        ".guards": ["Drift"],
        ".policy": ["Breaker", "Continuation", "Limits", "Policy", "Retry", "RetryBudget", "Timeouts"],
    }
    __getattr__, __dir__ = lazy(
        __name__,
        {"guards": ".guards", "json": ".json"}
        | {name: f"{module}:{name}" for module, names in _HOMES.items() for name in names},
    )
    del lazy
