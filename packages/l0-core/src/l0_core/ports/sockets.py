"""Closing a stream that another thread is blocked in."""

import socket
from typing import Any, Final

_DEPTH_MAX: Final = 4
_INSIDE: Final = ("response", "completion_stream")
"""Where SDK streams keep the HTTP response they read; LiteLLM's keep the SDK stream."""


def abort(stream: object) -> bool:
    """Cut the connection that a sync stream is read from, so that a blocked read of it fails at once.

    A stream's own `close` waits for, or races with, the read; shutting the socket down does neither. The stream still
    has to be closed by whoever reads it. A connection that other requests share is left alone.

    Args:
        stream: A stream of the `openai`, `anthropic` or `litellm` SDK, an HTTP response of `httpx` or a fork of it, or
            anything that has one as its `response`.

    Returns:
        Whether there was a connection to cut.
    """
    holder = stream
    for _ in range(_DEPTH_MAX):
        found = _socket_of(holder)
        if found is not None:
            return _shut(found)
        inner = next((value for name in _INSIDE if (value := _get(holder, name)) is not None), None)
        if inner is None:
            return False
        holder = inner
    return False


def _socket_of(response: object) -> socket.socket | None:
    extensions = _get(response, "extensions")
    if not isinstance(extensions, dict) or extensions.get("http_version") in {b"HTTP/2", b"HTTP/3"}:
        return None
    ask = _get(extensions.get("network_stream"), "get_extra_info")
    if not callable(ask):
        return None
    try:
        found = ask("socket")
    except Exception:  # noqa: BLE001 - the connection may be closing at this moment
        return None
    return found if isinstance(found, socket.socket) else None


def _shut(connection: socket.socket) -> bool:
    try:
        # The plain socket's own: an SSL socket's would first forget its session under the feet of the reader.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:  # It is closed already.
        return False
    return True


def _get(holder: object, name: str) -> Any:
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001 - a property of somebody's stream may do anything
        return None
