"""What a policy masks reaches nobody: not in a delta, not in the snapshots after it, not in a raw response (G1, G8)."""

from typing import Any

import pytest
from asking_llm import QUESTION
from llama_index.core.base.llms.types import ChatResponse
from scripted_llm import Reply, Scripted

from l0_core import Continuation, Policy, guards
from l0_llamaindex import L0LLM

TEXT = "The secret number is 4711, and 4711 it stays, whatever happens on the way to the end."
MASKED = "The secret number is [...], and [...] it stays, whatever happens on the way to the end."
POLICY = Policy(guards=[guards.patterns(["4711"], mask="[...]")])


def model(size: int, **more: Any) -> L0LLM:
    return L0LLM(llm=Scripted(Reply(TEXT, size=size, usage=(3, 9), **more), Reply(TEXT, size=size)), policy=POLICY)


@pytest.mark.parametrize("size", [1, 2, 5, 30, 200])
async def test_a_stream_is_masked(size: int) -> None:
    streams: list[list[Any]] = [
        list(model(size).stream_chat(QUESTION)),
        [chunk async for chunk in await model(size).astream_chat(QUESTION)],
        list(model(size).stream_complete("?")),
        [chunk async for chunk in await model(size).astream_complete("?")],
    ]
    for chunks in streams:
        assert "".join(chunk.delta for chunk in chunks) == MASKED
        shown = ""
        for chunk in chunks:
            shown += chunk.delta
            snapshot = chunk.message.content if isinstance(chunk, ChatResponse) else chunk.text
            assert (snapshot or "") == shown
        assert "4711" not in repr(chunks)
        objections = chunks[-1].additional_kwargs["l0"]["objections"]
        assert [said["masked"] for said in objections] == [True, True]


async def test_a_whole_answer_is_masked() -> None:
    answers = [model(5).chat(QUESTION).message.content, (await model(5).achat(QUESTION)).message.content]
    answers += [model(5).complete("?").text, (await model(5).acomplete("?")).text]
    assert answers == [MASKED] * 4


@pytest.mark.parametrize("after", [2, 6, 12])
def test_an_answer_that_breaks_off_shows_nothing_either(after: int) -> None:
    """An answer that starts over says what was masked again, and is known by it."""
    policy = POLICY.model_copy(update={"continuation": Continuation(rungs=["rerun"])})
    llm = Scripted(Reply(TEXT, fails=(after, ConnectionResetError())), Reply(TEXT, size=7))
    chunks: list[Any] = []
    chunks.extend(L0LLM(llm=llm, policy=policy).stream_chat(QUESTION))
    assert chunks[-1].message.content == MASKED
    assert "4711" not in repr(chunks)
