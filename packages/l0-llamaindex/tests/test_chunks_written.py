"""G6: what is written of a response is all of it, and no more than it says."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, MessageRole, TextBlock
from openai.types.chat import ChatCompletionChunk

from l0_llamaindex._port import ChatPort, CompletionPort

Response = ChatResponse | CompletionResponse


def passed_on(port: type[Any], chunks: list[Any]) -> Iterator[tuple[Response, Response, bool]]:
    """Write responses down as the driver does; yield each, what is read of it, and whether little was written."""
    writer, reader = port(), port()
    for chunk in chunks:
        text = writer.text(chunk)
        rest = writer.rest(chunk) if text else None
        read = reader.decode(writer.encode(chunk)) if rest is None else reader.again(text, rest)
        yield chunk, read, rest is not None


def origin(text: str, number: int, *, odd: bool) -> ChatCompletionChunk:
    """What an SDK gave, as some providers pad it."""
    choice = {"index": 0, "delta": {"content": text, "role": None}, "finish_reason": None}
    said = {"id": "chatcmpl-1", "created": 1, "model": "m", "object": "chat.completion.chunk", "choices": [choice]}
    return ChatCompletionChunk.construct(**said, **({"obfuscation": "x" * number} if odd else {}))  # type: ignore[arg-type]


def chat(delta: str, snapshot: str, raw: Any, role: MessageRole = MessageRole.ASSISTANT, **kwargs: Any) -> ChatResponse:
    message = ChatMessage(role=role, blocks=[TextBlock(text=snapshot)], **kwargs)
    return ChatResponse(message=message, delta=delta, raw=raw)


def completion(delta: str, snapshot: str, raw: Any) -> CompletionResponse:
    return CompletionResponse(text=snapshot, delta=delta, raw=raw)


@st.composite
def streams(draw: st.DrawFn, make: Any) -> list[Response]:
    """Snapshots grow, lag behind, are the last piece alone, or other words; what they were made of is there, or not."""
    grown, chunks = "", list[Response]()
    for number in range(draw(st.integers(0, 10))):
        piece = draw(st.sampled_from(["token ", "é", "", "ab"]))
        snapshot = draw(st.sampled_from([grown + piece, grown + piece, grown, piece, "~" * len(grown + piece)]))
        raw = draw(st.sampled_from([None, "plain", "plain", "padded", "unlike"]))
        text = "other" if raw == "unlike" else piece
        chunks.append(make(piece, snapshot, raw and origin(text, number, odd=raw == "padded")))
        grown += piece
    return chunks


def said(response: Response) -> dict[str, Any]:
    """What a response holds, with what was an SDK's object as it was sent."""
    return response.model_dump(mode="json", serialize_as_any=True)


@pytest.mark.parametrize(("port", "make"), [(ChatPort, chat), (CompletionPort, completion)], ids=["chat", "completion"])
def test_a_stream_comes_back_as_it_was(port: Any, make: Any) -> None:
    @given(streams(make))
    def check(chunks: list[Response]) -> None:
        for chunk, read, _ in passed_on(port, chunks):
            assert said(read) == said(chunk)

    check()


@pytest.mark.parametrize("odd", [None, False, True], ids=["no origin", "an origin", "a padded origin"])
@pytest.mark.parametrize(("port", "make"), [(ChatPort, chat), (CompletionPort, completion)], ids=["chat", "completion"])
def test_of_most_chunks_little_is_written(port: Any, make: Any, *, odd: bool | None) -> None:
    pieces = [f"{number} " for number in range(20)]
    chunks = [
        make(piece, "".join(pieces[: number + 1]), None if odd is None else origin(piece, number, odd=odd))
        for number, piece in enumerate(pieces)
    ]
    made = list(passed_on(port, chunks))
    assert [little for _, _, little in made] == [False] + [True] * 19
    assert [said(read) for _, read, _ in made] == [said(chunk) for chunk in chunks]


def test_what_was_given_may_be_changed() -> None:
    """A chunk that was written is its consumer's: what is read afterwards is as it was sent all the same."""
    writer, reader = ChatPort(), ChatPort()
    first: Any
    first, second = chat("a", "a", origin("a", 1, odd=False)), chat("b", "ab", origin("b", 2, odd=False))
    reader.decode(writer.encode(first))
    first.raw.model, first.message.role = "another", MessageRole.TOOL
    rest = writer.rest(second)
    assert rest is not None
    read: Any = reader.again("b", rest)
    assert said(read) == said(second)
    read.raw["model"] = "another"
    assert said(reader.again("c", "")) == said(chat("c", "abc", origin("c", 3, odd=False)))
