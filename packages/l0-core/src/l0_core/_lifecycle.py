"""Listening to what happens in a session."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Listener = Callable[..., Any]

_log = logging.getLogger("l0")
_log.addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Callables that are told what happens, sync or async. What they raise goes no further; its class is logged.

    They are called between chunks and never for one, so that they cannot slow a stream; still, keep them quick.

    Attributes:
        on_start: `(session_id)`: a session begins.
        on_attempt: `(session_id, number, target, mode)`: an attempt is opened.
        on_fault: `(session_id, fault)`: something went wrong; `fault` is a `Fault`.
        on_retry: `(session_id, target, mode, seconds)`: the same target will be tried again after so many seconds.
        on_fallback: `(session_id, from_target, to_target)`: another target is tried.
        on_splice: `(session_id, splice)`: the answer was put together; `splice` is a `Splice`.
        on_guard: `(session_id, objection)`: a guard objected; `objection` is an `Objection`.
        on_invalid: `(session_id, target, fields)`: an answer did not fit the schema asked for; names of fields only.
        on_drift: `(session_id, signal, score)`: the answer goes astray; the score is from 0 to 1.
        on_tool_call: `(session_id, number)`: a complete tool call was given to the consumer.
        on_complete: `(session_id, result)`: the answer is complete.
        on_error: `(session_id, error)`: the session raises.
    """

    on_start: Listener | None = None
    on_attempt: Listener | None = None
    on_fault: Listener | None = None
    on_retry: Listener | None = None
    on_fallback: Listener | None = None
    on_splice: Listener | None = None
    on_guard: Listener | None = None
    on_invalid: Listener | None = None
    on_drift: Listener | None = None
    on_tool_call: Listener | None = None
    on_complete: Listener | None = None
    on_error: Listener | None = None

    def tell(self, event: str, *facts: object) -> Awaitable[object] | None:
        """Call the listener for `event`, if there is one; return what is to be awaited, if anything is."""
        listener: Listener | None = getattr(self, f"on_{event}")
        if listener is None:
            return None
        try:
            answer = listener(*facts)
        except Exception as error:  # noqa: BLE001 - a listener is a guest
            _log.warning("listener on_%s failed: %s", event, type(error).__name__)
            return None
        return answer if isinstance(answer, Awaitable) else None


async def heed(event: Awaitable[object]) -> None:
    """Await what an async listener returned; what it raises goes no further."""
    try:
        await event
    except Exception as error:  # noqa: BLE001 - a listener is a guest
        _log.warning("async listener failed: %s", type(error).__name__)
