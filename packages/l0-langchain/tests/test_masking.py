"""What a policy masks reaches nobody: not in a chunk, not in the message they add up to, not in a result (G1, G8)."""

from functools import reduce
from operator import add
from typing import Any

import pytest
from clients import Client
from langchain_core.messages import AIMessageChunk

import l0_core
from l0_core import Continuation, Policy, guards
from l0_core.testing import FaultyProvider, faults
from l0_langchain import L0ChatModel

TEXT = "The secret number is 4711, and 4711 it stays, whatever happens on the way to the end."
MASKED = "The secret number is [...], and [...] it stays, whatever happens on the way to the end."
POLICY = Policy(guards=[guards.patterns(["4711"], mask="[...]")])


@pytest.mark.parametrize("chunks", [1, 3, 8, 40])
async def test_a_stream_is_masked(provider: FaultyProvider, client: Client, chunks: int) -> None:
    provider.reply(TEXT, chunks=chunks)
    bare = client(provider, max_retries=0)
    model = L0ChatModel(model=bare, policy=POLICY)
    for given in (list(model.stream("?")), [chunk async for chunk in model.astream("?")]):
        whole = reduce(add, given)
        assert isinstance(whole, AIMessageChunk)
        assert whole.text == MASKED
        assert "4711" not in repr(given)
        assert whole.id == next(chunk.id for chunk in given if chunk.id)
        assert [said["masked"] for said in whole.response_metadata["l0"]["objections"]] == [True, True]
    await client.close(bare)


async def test_a_whole_answer_is_masked(provider: FaultyProvider, client: Client) -> None:
    provider.reply(TEXT)
    bare = client(provider, max_retries=0)
    model = L0ChatModel(model=bare, policy=POLICY)
    for message in (model.invoke("?"), await model.ainvoke("?")):
        assert message.text == MASKED
        assert "4711" not in repr(message)
        assert message.usage_metadata is not None
    await client.close(bare)


@pytest.mark.parametrize("after", [2, 6, 12])
async def test_an_answer_that_breaks_off_shows_nothing_either(
    provider: FaultyProvider, client: Client, after: int
) -> None:
    """What was masked cannot be found again in an answer that starts over: then the end is honest."""
    provider.reply(TEXT, chunks=16)
    provider.script(faults.reset_after(chunks=after), faults.ok())
    bare = client(provider, max_retries=0)
    policy = POLICY.model_copy(update={"continuation": Continuation(rungs=["rerun"])})
    chunks: list[Any] = []
    try:
        chunks.extend(L0ChatModel(model=bare, policy=policy).stream("?"))
    except l0_core.IncompleteError:
        assert after > 2
    else:
        assert reduce(add, chunks).text == MASKED
    assert "4711" not in repr(chunks)
    await client.close(bare)
