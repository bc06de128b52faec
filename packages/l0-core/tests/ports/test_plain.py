"""Sources that need no SDK."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0_core import Chunk, Facts, LogProb, Opaque, ToolFragment, Usage
from l0_core.ports import UnknownChunk, port_for
from l0_core.ports.plain import PLAIN, ChunkedPort


class Shown:
    text = "before"
    seamed = True


class Name(str):
    """Text of a class of its own."""

    __slots__ = ()


COUNTS = st.integers(0, 2**53)
FRAGMENTS = st.builds(
    ToolFragment, st.integers(0, 9), st.none() | st.text(), st.none() | st.text(), st.text(), st.booleans()
)
CHUNKS = st.builds(
    Chunk,
    text=st.text(st.characters()),
    tools=st.lists(FRAGMENTS, max_size=3).map(tuple),
    reasoning=st.text(),
    opaque=st.none() | st.builds(Opaque, st.integers(0, 2**64 - 1), st.booleans()),
    finish_reason=st.none() | st.text(),
    usage=st.none() | st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS),
    logprob=st.none() | st.builds(LogProb, st.floats(-100, 0), COUNTS),
    sequence=st.none() | COUNTS,
    metadata=st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.booleans())),
)


@given(st.text(st.characters()) | CHUNKS)
def test_a_chunk_survives_the_journal(chunk: str | Chunk) -> None:
    assert PLAIN.decode(PLAIN.encode(chunk)) == chunk
    assert type(PLAIN.decode(PLAIN.encode(chunk))) is type(chunk)
    json.loads(PLAIN.encode(chunk))


@given(st.text(st.characters()), st.integers(0, 20), st.integers(0, 20))
def test_a_cut_is_a_slice(text: str, start: int, end: int) -> None:
    assert PLAIN.cut(text, start, end, Shown()) == text[start:end]
    chunk = Chunk(text, reasoning="r", sequence=3, metadata={"a": 1})
    assert PLAIN.cut(chunk, start, end, Shown()) == Chunk(text[start:end], reasoning="r", sequence=3, metadata={"a": 1})
    assert chunk.text == text


@given(CHUNKS)
def test_a_chunk_says_everything(chunk: Chunk) -> None:
    facts = PLAIN.facts(chunk)
    assert facts == Facts(
        chunk.text,
        bool(chunk.reasoning),
        chunk.tools,
        chunk.opaque,
        chunk.finish_reason,
        None,
        chunk.usage,
        chunk.logprob,
        chunk.sequence,
    )
    # The short way is for what it says nothing less of.
    assert PLAIN.text(chunk) == (chunk.text or None if facts == Facts(chunk.text) else None)


def test_metadata_leaves_a_text_a_text() -> None:
    assert PLAIN.text(Chunk("a", metadata={"id": 1})) == "a"
    assert PLAIN.text(Chunk(metadata={"id": 1})) is None


def test_text_is_text() -> None:
    assert PLAIN.text("a") == PLAIN.text(Name("a")) == "a"
    assert PLAIN.text("") is None
    assert PLAIN.facts("") == Facts()


def test_a_zero_is_not_nothing() -> None:
    chunk = Chunk(sequence=0, usage=Usage(), opaque=Opaque(0), logprob=LogProb(0.0, 0))
    assert PLAIN.decode(PLAIN.encode(chunk)) == chunk


def test_metadata_rides_on_a_chunk_where_there_are_chunks() -> None:
    assert port_for("a").final({"l0": {"attempts": 1}}) is None
    assert port_for(Name("a")) is PLAIN
    port = port_for(Chunk("a"))
    assert isinstance(port, ChunkedPort)
    assert port.final({"l0": {"attempts": 1}}) == Chunk(metadata={"l0": {"attempts": 1}})


@pytest.mark.parametrize("chunk", [b"bytes", 3, None, {"text": "x"}, object()])
def test_what_is_no_chunk_is_refused_by_name(chunk: Any) -> None:
    with pytest.raises(UnknownChunk, match=rf"{type(chunk).__name__}.*str or l0_core.Chunk"):
        port_for(chunk)


def test_a_class_that_only_sounds_alike_is_refused() -> None:
    for module, name in [
        ("mine.openai.types.chat", "ChatCompletionChunk"),
        ("openai.types.chatter", "ChatCompletionChunk"),
    ]:
        with pytest.raises(UnknownChunk):
            port_for(type(name, (), {"__module__": module})())
