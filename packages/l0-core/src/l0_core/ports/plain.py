"""Chunks that need no SDK: `str`, and `Chunk` where there is more to say than text."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, Final

from l0_core._port import Chunk, Facts, LogProb, Opaque, Shown, ToolFragment, Usage

PlainChunk = str | Chunk


class PlainPort:
    """The port of sources that yield `str`, `Chunk`, or both."""

    def text(self, chunk: PlainChunk) -> str | None:
        """Return the text of a `str`, or of a `Chunk` that says nothing else: its metadata is not looked into."""
        if isinstance(chunk, str):
            return chunk or None
        if (
            chunk.tools
            or chunk.reasoning
            or chunk.opaque is not None
            or chunk.finish_reason is not None
            or chunk.usage is not None
            or chunk.logprob is not None
            or chunk.sequence is not None
        ):
            return None
        return chunk.text or None

    def facts(self, chunk: PlainChunk) -> Facts:
        """Return what a `Chunk` says, which speaks the engine's words already."""
        if isinstance(chunk, str):
            return Facts(chunk)
        return Facts(
            text=chunk.text,
            reasoning=bool(chunk.reasoning),
            tools=tuple(chunk.tools),
            opaque=chunk.opaque,
            finish=chunk.finish_reason,
            usage=chunk.usage,
            logprob=chunk.logprob,
            sequence=chunk.sequence,
        )

    def cut(self, chunk: PlainChunk, start: int, end: int, shown: Shown) -> PlainChunk:  # noqa: ARG002 - holds nothing of what was before
        """Return the chunk with a part of its text."""
        return chunk[start:end] if isinstance(chunk, str) else replace(chunk, text=chunk.text[start:end])

    def replaced(self, chunk: PlainChunk, text: str, shown: Shown) -> PlainChunk:  # noqa: ARG002 - as above
        """Return the chunk with another text."""
        return text if isinstance(chunk, str) else replace(chunk, text=text)

    def rewritten(
        self,
        chunk: PlainChunk,
        text: str | None,
        args: Mapping[int, str],
        shown: Shown,  # noqa: ARG002 - as above
    ) -> PlainChunk:
        """Return the chunk with another text, and other arguments in the first of its fragments of each call."""
        if isinstance(chunk, str):
            return chunk if text is None else text
        left = dict(args)
        tools = tuple(
            tool._replace(args=left.pop(tool.index, "")) if tool.index in args else tool for tool in chunk.tools
        )
        return replace(chunk, text=chunk.text if text is None else text, tools=tools)

    def encode(self, chunk: PlainChunk) -> str:
        """Return a `str` as a JSON string, a `Chunk` as an object of the fields that say something."""
        if isinstance(chunk, str):
            return _written(chunk)
        said: dict[str, object] = {"text": chunk.text}
        if self.text(chunk) is None:
            said = {name: value for name in _FIELDS if (value := getattr(chunk, name)) != _NOTHING[name]}
        if chunk.metadata:
            said["metadata"] = dict(chunk.metadata)
        return _written(said)

    def decode(self, text: str) -> PlainChunk:
        """Return the chunk that `encode` wrote."""
        said, _ = _read(text)
        return said if isinstance(said, str) else _chunk(said)

    def final(self, metadata: Mapping[str, object]) -> PlainChunk | None:  # noqa: ARG002 - a string has no place for it
        """Return nothing: consumers of `str` join what they get."""
        return None


class ChunkedPort(PlainPort):
    """The port of sources that begin with a `Chunk`: their consumers know that text is not all."""

    def final(self, metadata: Mapping[str, object]) -> PlainChunk | None:
        """Return an empty `Chunk` that carries the metadata."""
        return Chunk(metadata=metadata)


PLAIN: Final = PlainPort()

_FIELDS: Final = tuple(field.name for field in fields(Chunk) if field.name != "metadata")
_NOTHING: Final = {name: getattr(Chunk(), name) for name in _FIELDS}
_written: Final = json.JSONEncoder().encode
_read: Final = json.JSONDecoder().raw_decode
"""As `json.loads`, in a third of the time: it does not look for white space around what `encode` wrote."""


def _chunk(said: dict[str, Any]) -> Chunk:
    for name, value in said.items():
        if name in _KINDS:
            said[name] = _KINDS[name](value)
    return Chunk(**said)


_KINDS: Final[Mapping[str, Callable[[Any], object]]] = {
    "tools": lambda fragments: tuple(ToolFragment(*fields) for fields in fragments),
    "opaque": lambda fields: Opaque(*fields),
    "usage": lambda fields: Usage(*fields),
    "logprob": lambda fields: LogProb(*fields),
}
"""What JSON has no word for."""
