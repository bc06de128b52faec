"""Loops have connections of their own, and take them along."""

import asyncio
import gc
import socket
import threading
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import openai
import pytest

from l0_core import _connections
from l0_core._connections import connections_here
from l0_core.testing import FaultyProvider


def openai_client(provider: FaultyProvider) -> Any:
    return openai.AsyncOpenAI(base_url=provider.openai_url, api_key="x", max_retries=0, timeout=37)


def anthropic_client(provider: FaultyProvider) -> Any:
    return anthropic.AsyncAnthropic(base_url=provider.anthropic_url, api_key="x", max_retries=0, timeout=37)


async def ask(client: Any) -> Any:
    question: Any = [{"role": "user", "content": "What do you know?"}]
    here = client.with_options(http_client=connections_here(client))
    if isinstance(client, openai.AsyncOpenAI):
        return await here.chat.completions.create(model="m", messages=question)
    return await here.messages.create(model="m", messages=question, max_tokens=1_000)


@pytest.mark.parametrize("made", [openai_client, anthropic_client])
def test_a_client_outlives_its_loops(made: Any) -> None:
    """What was left open would be a warning, and that an error here."""
    with FaultyProvider() as provider:
        client = made(provider)
        for _ in range(6):
            asyncio.run(ask(client))
        assert provider.request_count == 6
        assert len(_connections._pools[client._client]) == 1, "of loops that have ended nothing is kept"
        asyncio.run(client.close())
    gc.collect()


@pytest.mark.parametrize("made", [openai_client, anthropic_client])
def test_a_loop_has_one_pool_made_as_the_sdk_makes_it(made: Any) -> None:
    async def main() -> None:
        with FaultyProvider() as provider:
            client = made(provider)
            here = connections_here(client)
            assert here is connections_here(client)
            assert here is not client._client
            assert (here.base_url, here.timeout) == (client._client.base_url, client._client.timeout)
            assert here.follow_redirects == client._client.follow_redirects
            assert here._transport._pool._max_connections == client._client._transport._pool._max_connections
            await client.close()

    asyncio.run(main())


def test_loops_of_several_threads_do_not_meet() -> None:
    with FaultyProvider() as provider:
        client = openai_client(provider)
        answers: list[Any] = []

        def run() -> None:
            answers.extend(asyncio.run(ask(client)) for _ in range(3))

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == provider.request_count == 12
        asyncio.run(client.close())


class _AsyncHttpxClientWrapper(httpx.AsyncClient):
    """What a framework makes for an SDK that is built on httpx."""


def framework_client(**options: Any) -> Any:
    return openai.AsyncOpenAI(api_key="x", http_client=_AsyncHttpxClientWrapper(**options))


def options_of(transport: Any) -> dict[str, Any]:
    """What a transport was made with: all that a pool has but for what it holds."""
    kept = vars(transport._pool)
    return {name: kept[name] for name in kept.keys() - {"_connections", "_requests", "_optional_thread_lock"}}


@pytest.mark.parametrize("proxy", ["http://localhost:1", "https://localhost:1", "http://user:word@localhost:1"])
async def test_all_that_a_framework_chose_is_kept(proxy: str) -> None:
    limits = httpx.Limits(max_connections=7, max_keepalive_connections=3, keepalive_expiry=2.5)
    keepalive = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    proxied = httpx.AsyncHTTPTransport(proxy=httpx.Proxy(proxy), limits=limits, socket_options=keepalive)
    client = framework_client(
        transport=httpx.AsyncHTTPTransport(verify=False, limits=limits, socket_options=keepalive, retries=2),
        mounts={"http://far": proxied, "http://near": None},
        base_url="http://localhost:1/v1",
        timeout=httpx.Timeout(37, connect=3),
        headers={"x-of-mine": "1"},
        max_redirects=4,
    )
    bare, here = client._client, connections_here(client)
    assert here is not bare
    changed = {name for name, value in vars(here).items() if vars(bare)[name] is not value}
    assert changed == {"_transport", "_mounts"}
    for url, its_own in (("http://elsewhere", bare._transport), ("http://far", proxied)):
        transport = here._transport_for_url(httpx.URL(url))
        assert transport._pool is not its_own._pool
        assert type(transport._pool) is type(its_own._pool)
        assert options_of(transport) == options_of(its_own)
        assert transport._pool._connections is not its_own._pool._connections
        assert transport._pool._requests is not its_own._pool._requests
    assert here._transport_for_url(httpx.URL("http://near")) is here._transport
    await client.close()


class OwnTransport(httpx.AsyncHTTPTransport):
    pass


def instrumented() -> Any:
    transport: Any = httpx.AsyncHTTPTransport()
    transport.handle_async_request = transport.handle_async_request
    return transport


@pytest.mark.parametrize(
    "made", [OwnTransport, instrumented, lambda: httpx.MockTransport(lambda _: httpx.Response(200))]
)
@pytest.mark.parametrize("place", ["transport", "mounts"])
async def test_a_transport_that_cannot_be_seen_through_is_left_alone(made: Callable[[], Any], place: str) -> None:
    client = framework_client(**{place: made() if place == "transport" else {"http://far": made()}})
    assert connections_here(client) is client._client
    await client.close()


async def test_a_client_that_was_closed_stays_closed() -> None:
    client = framework_client()
    assert connections_here(client) is not client._client
    await client.close()
    assert connections_here(client) is client._client


async def test_what_the_caller_made_is_left_alone() -> None:
    async with httpx.AsyncClient() as http:
        client = openai.AsyncOpenAI(api_key="x", http_client=http)
        assert connections_here(client) is http
