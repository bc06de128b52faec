"""Connections of an SDK's async client, which end with the event loop they were opened in.

The client keeps them for its next call. Where that runs in another loop (a program that calls `asyncio.run` for each,
an engine with loops of its own) it is made on connections nobody reads any more, and fails though nothing is wrong with
the provider. The SDK's own retries hide that, which are off inside an attempt. So each loop gets its own connections.
"""

import asyncio
import copy
from collections.abc import AsyncGenerator
from contextlib import suppress
from inspect import signature
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

_NOBODYS: Final = {"AsyncHttpxClientWrapper", "_AsyncHttpxClientWrapper"}
"""The classes that generated SDKs, and LangChain for them, make an HTTP client of where they are given none."""

_HELD: Final = {"_connections", "_requests", "_optional_thread_lock"}
"""What a pool has besides the options it was made with."""


class _Pool(NamedTuple):
    """Connections, and what closes them before their loop ends."""

    http: Any
    keeper: AsyncGenerator[None, None]


_pools: WeakKeyDictionary[Any, dict[asyncio.AbstractEventLoop, _Pool]] = WeakKeyDictionary()


def connections_here(client: Any) -> Any:
    """Return the HTTP client with which an SDK's async client is to make its calls in the running loop.

    One that the caller made is used as it is: nobody else knows how it was meant. So is one whose connections somebody
    else put there, or that is instrumented.
    """
    http: Any = getattr(client, "_client", None)
    if type(http).__name__ not in _NOBODYS or http.is_closed:
        return http
    loop = asyncio.get_running_loop()
    pools = _pools.setdefault(http, {})
    pool = pools.get(loop)
    if pool is None or pool.http.is_closed:
        made = _like(http)
        if made is None:
            return http
        for other in [other for other in list(pools) if other.is_closed()]:
            pools.pop(other, None)
        pool = pools[loop] = _opened(made)
    return pool.http


def _like(http: Any) -> Any:
    """Return the same HTTP client on other connections, or `None` where it has more to it than can be seen.

    Its class is the one before what is done when it is collected, which may be in some other loop.
    """
    parts = vars(http)
    mounts: dict[Any, Any] = parts.get("_mounts", {})
    transport = _transport_like(parts.get("_transport"))
    mounted = [_transport_like(each) for each in mounts.values()]
    if transport is None or mounted.count(None) != list(mounts.values()).count(None):
        return None
    kind: Any = type(http).__bases__[0]
    made = kind.__new__(kind)
    vars(made).update(parts, _transport=transport, _mounts=dict(zip(mounts, mounted, strict=True)))
    return made


def _transport_like(transport: Any) -> Any:
    """Return the same transport with a pool that holds nothing yet, or `None`."""
    if type(transport).__name__ != "AsyncHTTPTransport" or list(vars(transport)) != ["_pool"]:
        return None
    pool = vars(transport)["_pool"]
    plain = next((kind for kind in type(pool).__mro__ if kind.__name__ == "AsyncConnectionPool"), None)
    if plain is None:
        return None
    options = signature(plain).parameters
    held = {name: value for name, value in vars(plain()).items() if name.removeprefix("_") not in options}
    if held.keys() != _HELD:
        return None  # A version that keeps its options in some other way.
    made, vacant = copy.copy(transport), copy.copy(pool)
    vars(vacant).update(held)
    vars(made).update(_pool=vacant)
    return made


def _opened(http: Any) -> _Pool:
    keeper = _kept(http)
    with suppress(StopIteration):  # It has no reason to wait before its `yield`.
        keeper.__anext__().send(None)
    return _Pool(http, keeper)


async def _kept(http: Any) -> AsyncGenerator[None, None]:
    """Keep a client until the loop that first ran this ends, which closes its generators."""
    try:
        yield
    finally:
        await http.aclose()
