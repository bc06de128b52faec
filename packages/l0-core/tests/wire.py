"""What providers send, recorded or made up, and what their SDKs make of it."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

RECORDINGS = Path(__file__).parents[4] / "shared/wire"

_PARTS = 97

CHAT = ("deepseek", "groq", "mistral", "openai", "openrouter")
"""Providers that speak chat completions."""


def recordings(*providers: str) -> list[Any]:
    """The names of recorded streams, as test parameters; one that is skipped where there are none."""
    found = sorted(file for provider in providers for file in (RECORDINGS / provider).glob("*.sse"))
    if not found:
        absent = pytest.mark.skip(reason=f"the recordings in {RECORDINGS.name} are not here")
        return [pytest.param("absent", marks=absent)]
    return [f"{file.parent.name}/{file.stem}" for file in found]


def recorded(name: str) -> bytes:
    return (RECORDINGS / f"{name}.sse").read_bytes()


def sent(body: bytes) -> list[dict[str, Any]]:
    """The JSON objects in a body, read without any SDK."""
    lines = body.decode().splitlines()
    data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
    return [json.loads(line) for line in data if line != "[DONE]"]


class Body(httpx.SyncByteStream, httpx.AsyncByteStream, httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """Bytes that stop with the connection."""

    def __init__(self, body: bytes, cut_at: int | None, error: type[Exception]) -> None:
        self.body, self.error = body[:cut_at], error
        self.is_cut = cut_at is not None

    def __iter__(self) -> Iterator[bytes]:
        yield self.body
        if self.is_cut:
            raise self.error("cut")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def cuts(names: list[Any]) -> Iterator[Any]:
    """Recordings and where they are cut, as test parameters: in two places every day, in the matrix in 96."""
    for name in names:
        if not isinstance(name, str):
            yield pytest.param("absent", 0, marks=name.marks)
            continue
        size = (RECORDINGS / f"{name}.sse").stat().st_size
        for place in range(1, _PARTS):
            at = size * place // _PARTS
            marks = () if place % (_PARTS // 2) == 0 else pytest.mark.matrix
            yield pytest.param(name, at, id=f"{name}-{at}", marks=marks)


# What the SDKs make of it ---------------------------------------------------------------------------------------------


def openai_client(answer: Callable[[httpx.Request], httpx.Response], **options: Any) -> openai.OpenAI:
    http = httpx.Client(transport=httpx.MockTransport(answer))
    return openai.OpenAI(api_key="x", http_client=http, **options)


def anthropic_client(answer: Callable[[httpx2.Request], httpx2.Response], **options: Any) -> anthropic.Anthropic:
    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    return anthropic.Anthropic(api_key="x", http_client=http, **options)


def chat_stream(body: bytes) -> Iterator[Any]:
    client = openai_client(lambda _: httpx.Response(200, content=body))
    return iter(client.chat.completions.create(model="m", messages=[], stream=True))


def responses_stream(body: bytes) -> Iterator[Any]:
    client = openai_client(lambda _: httpx.Response(200, content=body))
    return iter(client.responses.create(model="m", input="", stream=True))


def messages_stream(body: bytes) -> Iterator[Any]:
    client = anthropic_client(lambda _: httpx2.Response(200, content=body))
    return iter(client.messages.create(model="m", max_tokens=9, messages=[], stream=True))


def beta_messages_stream(body: bytes) -> Iterator[Any]:
    client = anthropic_client(lambda _: httpx2.Response(200, content=body))
    return iter(client.beta.messages.create(model="m", max_tokens=9, messages=[], stream=True))


def all_of(stream: Iterator[Any]) -> list[Any]:
    """The chunks of a stream, up to its end or an error event."""
    chunks: list[Any] = []
    with suppress(openai.APIError, anthropic.APIError):
        chunks.extend(stream)
    return chunks


# Made up --------------------------------------------------------------------------------------------------------------


def events(objects: Iterable[dict[str, Any]], *, end: bytes = b"") -> bytes:
    """Objects as server-sent events, named by their type where they have one."""
    lines = []
    for event in objects:
        name = f"event: {event['type']}\n" if "type" in event else ""
        lines.append(f"{name}data: {json.dumps(event)}\n\n".encode())
    return b"".join(lines) + end


def chat_body(pieces: Iterable[str], *, identity: str = "chat-1", finish: str | None = "stop") -> bytes:
    """A chat completion that says those pieces of text."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces)]
    common = {"id": identity, "object": "chat.completion.chunk", "created": len(identity), "model": "m"}
    chunks = [{**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    if finish:
        chunks.append({**common, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return events(chunks, end=b"data: [DONE]\n\n")


def messages_body(
    pieces: Iterable[str], *, identity: str = "msg-1", thinks: bool = False, finish: str | None = "end_turn"
) -> bytes:
    """An Anthropic message that says those pieces of text."""
    head: dict[str, Any] = {
        "id": identity,
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
    }
    parts: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**head, "usage": {"input_tokens": 7, "output_tokens": 1}}}
    ]
    place = 0
    if thinks:
        parts += [
            {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}},
            {"type": "content_block_stop", "index": 0},
        ]
        place = 1
    parts.append({"type": "content_block_start", "index": place, "content_block": {"type": "text", "text": ""}})
    for piece in pieces:
        delta: dict[str, Any] = {"type": "text_delta", "text": piece}
        parts.append({"type": "content_block_delta", "index": place, "delta": delta})
    if finish:
        delta = {"stop_reason": finish, "stop_sequence": None}
        parts += [
            {"type": "content_block_stop", "index": place},
            {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 9}},
            {"type": "message_stop"},
        ]
    return events(parts)


def responses_body(
    pieces: Iterable[str], *, identity: str = "resp-1", thinks: bool = False, status: str | None = "completed"
) -> bytes:
    """An OpenAI response that says those pieces of text."""
    response: dict[str, Any] = {"id": identity, "object": "response", "status": "in_progress", "output": []}
    parts: list[dict[str, Any]] = [{"type": "response.created", "response": response}]
    reasoning = {"id": f"rs-{identity}", "type": "reasoning", "summary": []}
    outputs: list[dict[str, Any]] = []
    if thinks:
        parts += [
            {"type": "response.output_item.added", "output_index": 0, "item": reasoning},
            {"type": "response.output_item.done", "output_index": 0, "item": reasoning},
        ]
        outputs.append(reasoning)
    item: dict[str, Any] = {"id": f"item-{identity}", "type": "message", "role": "assistant", "content": []}
    empty: dict[str, Any] = {"type": "output_text", "text": "", "annotations": []}
    at = {"output_index": len(outputs), "content_index": 0, "item_id": item["id"]}
    parts += [
        {"type": "response.output_item.added", "output_index": len(outputs), "item": item},
        {"type": "response.content_part.added", **at, "part": empty},
    ]
    pieces = list(pieces)
    parts += [{"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []} for piece in pieces]
    if status:
        text = "".join(pieces)
        full = {**item, "content": [{**empty, "text": text}], "status": "completed"}
        ended = {**response, "status": status, "output": [*outputs, full]}
        parts += [
            {"type": "response.output_text.done", **at, "text": text, "logprobs": []},
            {"type": "response.content_part.done", **at, "part": {**empty, "text": text}},
            {"type": "response.output_item.done", "output_index": len(outputs), "item": full},
            {"type": f"response.{status}", "response": ended},
        ]
    return events({**part, "sequence_number": number} for number, part in enumerate(parts))
