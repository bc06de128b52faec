"""What a policy masks reaches nobody: not in a chunk, not in the message they add up to, not in a result (G1, G8)."""

from functools import reduce
from operator import add
from typing import Any

import pytest
from clients import Client
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field
from rules import RuleModel

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
    """An answer that starts over says what was masked again, and is known by it."""
    provider.reply(TEXT, chunks=16)
    provider.script(faults.reset_after(chunks=after), faults.ok())
    bare = client(provider, max_retries=0)
    policy = POLICY.model_copy(update={"continuation": Continuation(rungs=["rerun"])})
    chunks: list[Any] = []
    chunks.extend(L0ChatModel(model=bare, policy=policy).stream("?"))
    assert reduce(add, chunks).text == MASKED
    assert "4711" not in repr(chunks)
    await client.close(bare)


class Several(RuleModel):
    """Gives several answers at a time, of which the last has the secret in its first attempt."""

    cut: bool = False
    made: list[int] = Field(default_factory=list)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.made.append(len(self.made))
        is_wrong = len(self.made) == 1
        last = AIMessage("The number is 4711." if is_wrong and not self.cut else "It is a secret.")
        if is_wrong and self.cut:
            broken = {"name": "tool", "args": '{"number": 4', "id": "x", "error": None, "type": "invalid_tool_call"}
            last = AIMessage("", invalid_tool_calls=[broken])
        answers = [AIMessage("No."), last]
        return ChatResult(generations=[ChatGeneration(message=answer) for answer in answers])


@pytest.mark.parametrize("cut", [False, True], ids=["secret", "broken call"])
async def test_every_answer_of_several_is_looked_at(*, cut: bool) -> None:
    """G2: a guard, and what a call must be, hold for each."""
    for awaited in (False, True):
        bare = Several(cut=cut)
        model = L0ChatModel(model=bare, policy=Policy(guards=[guards.patterns(["4711"])]))
        said = await model.agenerate([[HumanMessage("?")]]) if awaited else model.generate([[HumanMessage("?")]])
        assert [answer.text for answer in said.generations[0]] == ["No.", "It is a secret."]
        assert len(bare.made) == 2


def test_several_answers_at_a_time_are_not_masked() -> None:
    """G8: what cannot be done is refused, and nothing of it is shown."""
    with pytest.raises(l0_core.PolicyError, match="n=1"):
        L0ChatModel(model=Several(), policy=POLICY).generate([[HumanMessage("?")]])
