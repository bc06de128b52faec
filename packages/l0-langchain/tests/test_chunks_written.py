"""G6: what is written of a chunk is all of it, and no more than it says."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk, ChatMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import BaseModel

from l0_langchain._port import ChatChunks


class Place(BaseModel):
    """What a client may keep beside a message: no JSON."""

    city: str


MESSAGES = {
    "text": AIMessageChunk(content="token ", id="run-1"),
    "empty": AIMessageChunk(content=""),
    "blocks": AIMessageChunk(content=[{"type": "text", "text": "token ", "index": 0}], response_metadata={"a": 1}),
    "no blocks": AIMessageChunk(content=[], chunk_position="last"),
    "call": AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(name="f", args='{"a": 1}', id="1", index=0)]),
    "broken call": AIMessageChunk(
        content="", tool_call_chunks=[tool_call_chunk(name="f", args='{"a', id="1", index=0)]
    ),
    "usage": AIMessageChunk(content="", usage_metadata={"input_tokens": 1, "output_tokens": 0, "total_tokens": 1}),
    "named": AIMessageChunk(content="token ", name="poet", additional_kwargs={"refusal": None}),
    "unknown field": AIMessageChunk(content="token ", mood="good"),  # type: ignore[call-arg]  # further fields are kept
    "another class": ChatMessageChunk(content="token ", role="narrator"),
}


@pytest.mark.parametrize("info", [None, {"finish_reason": "stop"}], ids=["no info", "info"])
@pytest.mark.parametrize("name", MESSAGES)
def test_a_chunk_comes_back_as_it_was(name: str, info: dict[str, Any] | None) -> None:
    chunk = ChatGenerationChunk(message=MESSAGES[name], generation_info=info)
    again = ChatChunks().decode(ChatChunks().encode(chunk))
    assert again == chunk
    assert type(again.message) is type(chunk.message)
    assert again.message.__dict__ == chunk.message.__dict__


def test_a_field_that_is_no_json_is_written_as_pydantic_has_it() -> None:
    message = AIMessageChunk(content="token ", additional_kwargs={"parsed": Place(city="Paris")})
    again = ChatChunks().decode(ChatChunks().encode(ChatGenerationChunk(message=message)))
    assert again.message.additional_kwargs == {"parsed": {"city": "Paris"}}


def test_what_says_nothing_is_not_written() -> None:
    written = json.loads(ChatChunks().encode(ChatGenerationChunk(message=MESSAGES["text"])))
    assert written["message"]["data"] == {"content": "token ", "id": "run-1"}
