"""G6: what is written of a chunk is all of it, and no more than it says."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
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


def passed_on(chunks: list[ChatGenerationChunk]) -> Iterator[tuple[ChatGenerationChunk, ChatGenerationChunk, bool]]:
    """Write chunks down as the driver does; yield each, what is read of it, and whether little was written."""
    writer, reader = ChatChunks(), ChatChunks()
    for chunk in chunks:
        text = writer.text(chunk)
        rest = writer.rest(chunk) if text else None
        if not text:
            writer.facts(chunk)
        before = chunk.model_copy(deep=True)
        read = reader.decode(writer.encode(chunk)) if rest is None or not text else reader.again(text, rest)
        yield before, read, rest is not None
        # Its consumer does with it as it likes.
        chunk.message.response_metadata["seen"] = True
        read.message.response_metadata["seen"] = True


PLAIN: dict[str, Any] = {"content": "token ", "id": "run-1", "response_metadata": {"model_provider": "openai"}}
CHANGES: list[dict[str, Any]] = [
    {"content": ""},
    {"content": "\ud83c"},
    {"content": "é"},
    {"id": "run-2"},
    {"name": "poet"},
    {"response_metadata": {}},
    {"response_metadata": {"model_provider": "x"}},
    {"response_metadata": {"seen": True}},
    {"chunk_position": "last"},
    {"tool_calls": [{"name": "f", "args": {}, "id": "1", "type": "tool_call"}]},
    {"mood": "good"},
]


def changed(changes: list[dict[str, Any]]) -> AIMessageChunk:
    """Most messages of a stream are alike: what differs in one thing from the one before is what could be missed."""
    said = copy.deepcopy(PLAIN)
    for change in changes:
        said |= copy.deepcopy(change)
    return AIMessageChunk(**said)


MESSAGES_OF_A_STREAM = st.lists(st.sampled_from(CHANGES), max_size=2).map(changed)


@given(st.lists(st.builds(ChatGenerationChunk, message=MESSAGES_OF_A_STREAM), max_size=12))
def test_a_stream_comes_back_as_it_was(chunks: list[ChatGenerationChunk]) -> None:
    for chunk, read, _ in passed_on(chunks):
        assert read == chunk
        assert read.message.__dict__ == chunk.message.__dict__
        assert read.message.__pydantic_extra__ == chunk.message.__pydantic_extra__


def test_of_most_chunks_only_the_text_is_written() -> None:
    metadata = {"model_provider": "openai"}
    messages = [AIMessageChunk(content=f"{n} ", id="run-1", response_metadata=metadata) for n in range(20)]
    littles = [little for _, _, little in passed_on([ChatGenerationChunk(message=each) for each in messages])]
    assert littles == [False] + [True] * 19
