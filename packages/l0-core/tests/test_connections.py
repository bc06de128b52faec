"""Loops have connections of their own, and take them along."""

import asyncio
import gc
import threading
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


async def test_what_the_caller_made_is_left_alone() -> None:
    async with httpx.AsyncClient() as http:
        client = openai.AsyncOpenAI(api_key="x", http_client=http)
        assert connections_here(client) is http
