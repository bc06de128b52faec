"""Connections of an SDK's async client, which end with the event loop they were opened in.

The client keeps them for its next call. Where that runs in another loop (a program that calls `asyncio.run` for each,
an engine with loops of its own) it is made on connections nobody reads any more, and fails though nothing is wrong with
the provider. The SDK's own retries hide that, which are off inside an attempt. So each loop gets its own connections.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

_MADE_BY_SDK: Final = "AsyncHttpxClientWrapper"
"""The class that generated SDKs make an HTTP client of where they are given none."""


class _Pool(NamedTuple):
    """Connections, and what closes them before their loop ends."""

    http: Any
    keeper: AsyncGenerator[None, None]


_pools: WeakKeyDictionary[Any, dict[asyncio.AbstractEventLoop, _Pool]] = WeakKeyDictionary()


def connections_here(client: Any) -> Any:
    """Return the HTTP client with which an SDK's async client is to make its calls in the running loop.

    One that the caller made is used as it is: nobody else knows how it was meant.
    """
    http = client._client  # noqa: SLF001 - it has no other name
    if type(http).__name__ != _MADE_BY_SDK:
        return http
    loop = asyncio.get_running_loop()
    pools = _pools.setdefault(http, {})
    pool = pools.get(loop)
    if pool is None or pool.http.is_closed:
        for other in [other for other in pools if other.is_closed()]:
            pools.pop(other, None)
        pool = pools[loop] = _opened(http)
    return pool.http


def _opened(http: Any) -> _Pool:
    """Make an HTTP client as the SDK makes it, but for what that does when it is collected in some other loop."""
    made = type(http).__bases__[0](base_url=http.base_url, timeout=http.timeout)
    keeper = _kept(made)
    with suppress(StopIteration):  # It has no reason to wait before its `yield`.
        keeper.__anext__().send(None)
    return _Pool(made, keeper)


async def _kept(http: Any) -> AsyncGenerator[None, None]:
    """Keep a client until the loop that first ran this ends, which closes its generators."""
    try:
        yield
    finally:
        await http.aclose()
