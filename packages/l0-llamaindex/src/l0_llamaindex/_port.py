"""The seam between LlamaIndex's responses and the driver.

A chunk of LlamaIndex holds what is new (`delta`) and a growing snapshot (`message`, `text`). Only what is new is read:
snapshots differ between providers (some lag, some hold the last piece alone) and reading them costs more with every
chunk. They are looked at where an answer was put together from two attempts, because then they must be rewritten.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ContentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from l0_core import Attempt, Facts, LogProb, Opaque, ToolCall, ToolFragment, Usage
from l0_core._port import Shown
from l0_core.ports.chat import besides, kept, unnamed, with_content
from l0_llamaindex._raw import NOTHING, Finish, block_event_of, finish_of, refuses, usage_of

ResponseT = TypeVar("ResponseT", ChatResponse, CompletionResponse)

_KNOWN = (TextBlock, ThinkingBlock, ToolCallBlock, CachePoint)
_PLAIN = frozenset((ChatResponse, CompletionResponse))
_LIMITS = ("length", "max_tokens", "MAX_TOKENS")
"""Why an answer ends that is longer than it may be: one that ends with a whole call says so instead."""
_END, _TAIL = 64, 256
"""Characters at the end of a snapshot that are compared, and of the text by which: an earlier snapshot is told, too."""
_COUNTS = (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"), ("total_tokens",))


class _Calls:
    """The tool calls of one attempt, told apart and cut into the pieces that are new."""

    def __init__(self) -> None:
        self._of_block: dict[int, int] = {}
        self._seen: list[_Call] = []

    def of_events(self, blocks: Sequence[ContentBlock], event: tuple[int, str | None, bool]) -> list[ToolFragment]:
        """Return what an event of a messages stream adds: it has the piece, the snapshot has the call's name."""
        place, piece, last = event
        index = self._of_block.get(place)
        if index is None:
            if piece is None and not last:
                return []
            call = next((call for call in _calls(blocks) if all(call.tool_call_id != c.id for c in self._seen)), None)
            if call is None:
                return []
            index = self._of_block[place] = len(self._seen)
            self._seen.append(_Call(call.tool_call_id))
            return [ToolFragment(index, call.tool_call_id, call.tool_name, piece or "", last)]
        return [ToolFragment(index, args=piece or "", last=last)]

    def of_blocks(self, blocks: Sequence[ContentBlock], *, ended: bool) -> list[ToolFragment]:
        """Return what a snapshot adds to the one before. Arguments that are no text yet may still change.

        The provider's own pieces would be nearer, but integrations put a call together in the object of its first
        piece: by the time it is looked at, what comes later may be in it.
        """
        fragments = []
        for place, block in enumerate(_calls(blocks)):
            index, call = self._find(place, block.tool_call_id)
            told = block.tool_kwargs
            args = told if isinstance(told, str) else json.dumps(told) if ended else ""
            piece = args.removeprefix(call.args)
            if piece or not call.named:
                name = None if call.named else block.tool_name
                fragments.append(ToolFragment(index, block.tool_call_id, name or None, piece))
                call.args, call.named = args, call.named or bool(name)
        return fragments

    def _find(self, place: int, id_: str | None) -> "tuple[int, _Call]":
        for index, call in enumerate(self._seen):
            if (id_ is not None and call.id == id_) or (index == place and (id_ is None or call.id is None)):
                call.id = call.id or id_
                return index, call
        self._seen.append(_Call(id_))
        return len(self._seen) - 1, self._seen[-1]


class _Call:
    __slots__ = ("args", "id", "named")

    def __init__(self, id_: str | None) -> None:
        self.id = id_
        self.args = ""
        self.named = False


def _calls(blocks: Sequence[ContentBlock]) -> list[ToolCallBlock]:
    return [block for block in blocks if type(block) is ToolCallBlock]


class _Port:
    """What both kinds of response have in common. One for each session: it remembers what the consumer was given."""

    grows = True
    """Each response has all of the text so far: after one was altered, all are."""

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._shown = ""
        self._shown_calls: Sequence[ToolCall] = ()
        self._last: Any = None
        self._usage: Usage | None = None
        self._before = Usage()
        self._begins = True
        """Whether no chunk of this attempt was read: what its provider told before the text comes with the first."""
        self._calls = _Calls()
        self._args: dict[int, str] = {}
        """Arguments that were put right, by call: every snapshot from then on has them."""
        self._parts = 0
        self._refused = False
        self._counts = False
        """Whether `_shown` is all of what the consumer has: from the first chunk of this attempt that was altered."""
        self._written = 0
        self._read = ""
        self._tail = ""
        """The text that was written, or at least its end."""
        self._noted: tuple[object, tuple[object, ...] | None] | None = None
        """Of the last chunk that was written, if it was text, all there was so far: whose, and what it was made of."""
        self._told: dict[str, Any] = {}
        """The last chunk that was read."""
        self._end: Any = None
        """The chunk that an attempt ended with, where it is one that waited for what comes after it."""

    def begin(self, attempt: Attempt) -> None:
        """Forget the attempt before this one, but not what the consumer has."""
        self._shown = attempt.shown
        self._shown_calls = attempt.calls
        if self._usage is not None:
            self._before = Usage(*map(sum, zip(self._before, self._usage, strict=True)))
        self._usage = None
        self._begins = True
        self._calls = _Calls()
        self._args = {}
        self._parts = 0
        self._refused = False
        self._written = 0
        self._read = ""
        self._tail = ""
        self._noted = None
        self._counts = False
        self._end = None

    def waits(self, chunk: ChatResponse | CompletionResponse) -> bool:
        """Return whether only what comes after a chunk tells what it holds: a call whose arguments may grow."""
        blocks = chunk.message.blocks if isinstance(chunk, ChatResponse) else ()
        if not any(type(block) is ToolCallBlock and isinstance(block.tool_kwargs, dict) for block in blocks):
            return False
        return finish_of(chunk.raw) is NOTHING and block_event_of(chunk.raw) is None

    def ends_with(self, chunk: ChatResponse | CompletionResponse) -> None:
        """Note the last chunk of an attempt: nothing in it grows any more."""
        self._end = chunk

    def _count(self, text: str, shown: Shown) -> None:
        """Note a text that is given in the place of another."""
        if not self._counts:
            self._shown = shown.text
            self._counts = True
        self._shown += text

    def final(self, metadata: Mapping[str, object]) -> None:
        """Put the metadata on the last response there was.

        A trailing chunk of our own would be one more event for every agent and chat engine.
        """
        if self._last is not None:
            self._last.additional_kwargs.update(metadata)

    def _ending(self, raw: Any) -> Finish:
        """Return why the answer ends, where the chunk says so. One that was declined ends like any other."""
        self._refused = self._refused or refuses(raw)
        finish, status = finish_of(raw)
        return ("refusal" if self._refused and (finish == "stop" or status) else finish), status

    def _grows(self, delta: str, snapshot: Sequence[str]) -> bool:
        """Return whether a snapshot is what the pieces amount to, or was a little before: by its length and its end."""
        self._written += len(delta)
        tail = self._tail = self._tail[-_TAIL:] + delta
        length = sum(map(len, snapshot))
        upto = len(tail) - (self._written - length)
        seen = min(length, _END)
        end = "".join(text[-_END:] for text in snapshot)[-_END:]
        return seen <= upto <= len(tail) and tail[upto - seen : upto] == end

    def _note(self, chunk: ChatResponse | CompletionResponse, length: int | None, role: object = None) -> None:
        """Note what a chunk that was written says besides its text, if it says nothing that can change meanwhile."""
        raw = None if chunk.raw is None else kept(besides(chunk.raw))
        is_text = length == self._written and type(chunk) in _PLAIN and not (chunk.additional_kwargs or chunk.logprobs)
        self._noted = (role, raw) if is_text and (raw is None) == (chunk.raw is None) else None

    def _rest(self, chunk: ChatResponse | CompletionResponse, snapshot: str, role: object = None) -> str | None:
        """Return what of a chunk is not as in the one noted; `None` where its text has not grown by its piece alone."""
        noted, delta, raw = self._noted, chunk.delta, chunk.raw
        if noted is None or not delta or type(chunk) not in _PLAIN:
            return None
        speaker, origin = noted
        length = self._written + len(delta)
        if len(snapshot) != length or role != speaker or not snapshot.endswith(delta):
            return None
        if raw is None or origin is None:
            if raw is not None or origin is not None:
                return None
        elif besides(raw) != origin or raw.choices[0].delta.content != delta:
            return None
        self._written, self._tail = length, snapshot
        return "" if raw is None else unnamed(raw)

    def _more(self, text: str, rest: str) -> tuple[str, dict[str, Any] | None]:
        """Return the text that the last chunk read has grown to, and what the chunk that brought it was made of."""
        self._read += text
        raw = self._told["raw"]
        return self._read, None if raw is None else with_content(raw, text, rest)

    def _counted(self, usage: Usage | None) -> Usage | None:
        if usage is not None:
            self._usage = usage
        return usage

    def _summed(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return counts with those of the attempts before added: together they made this answer."""
        before = (self._before.input, self._before.output, self._before.input + self._before.output)
        more: dict[str, Any] = {
            name: kwargs[name] + tokens
            for names, tokens in zip(_COUNTS, before, strict=True)
            for name in names
            if isinstance(kwargs.get(name), int)
        }
        told = kwargs.get("usage")
        if isinstance(told, dict):
            more["usage"] = self._summed(told)
        return {**kwargs, **more}


class ChatPort(_Port):
    """Knows `ChatResponse`."""

    def text(self, chunk: ChatResponse) -> str | None:
        """Return the text of a chunk that holds nothing else. Never reads the snapshot's text."""
        self._last = chunk
        delta = chunk.delta
        if not delta or chunk.additional_kwargs or chunk.logprobs:
            return None
        if self._begins:
            self._begins = False
            if chunk.message.additional_kwargs:
                return None
        blocks = chunk.message.blocks
        if blocks and (len(blocks) > 1 or type(blocks[0]) is not TextBlock):
            return None
        return delta if finish_of(chunk.raw) is NOTHING else None

    def facts(self, chunk: ChatResponse) -> Facts:
        """Return all that the chunk holds."""
        self._last = chunk
        message, raw = chunk.message, chunk.raw
        blocks = message.blocks
        finish, status = self._ending(raw)
        usage = self._counted(usage_of(chunk.additional_kwargs, raw) or usage_of(message.additional_kwargs, None))
        tools: tuple[ToolFragment, ...] = ()
        if self._whole:
            text = message.content or ""
            told = self._calls.of_blocks(blocks, ended=True) or legacy_calls(message)
            if finish in _LIMITS and blocks and type(blocks[-1]) is ToolCallBlock:
                told = [*told[:-1], _cut_off(told[-1], blocks[-1])]
            tools = tuple(fragment._replace(last=True) for fragment in told)
        elif chunk.delta is None:
            # Whole objects, one after another, as structured models stream them: not text that grows.
            digest = _digest(message.model_dump_json())
            return Facts(opaque=Opaque(digest) if blocks else None, finish=finish, status=status, usage=usage)
        else:
            text = chunk.delta
            ended = finish is not None or status is not None or chunk is self._end
            tools = tuple(self._tools(blocks, raw, ended=ended))
        return Facts(
            text=text,
            reasoning=not text and _reasons(chunk),
            tools=tools,
            opaque=self._part(blocks),
            finish=finish,
            status=status,
            usage=usage,
            logprob=_logprob(chunk),
        )

    def cut(self, chunk: ChatResponse, start: int, end: int, shown: object) -> ChatResponse:  # noqa: ARG002 - we keep count
        """Return the chunk as it reads after what was shown: one text block, the ids of calls already given."""
        if chunk.delta is None:
            return chunk
        piece = chunk.delta[start:end]
        self._counts = True
        self._shown += piece
        message = self._refitted(chunk.message)
        kwargs = self._summed(chunk.additional_kwargs)
        fitted = chunk.model_copy(update={"message": message, "delta": piece, "additional_kwargs": kwargs})
        self._last = fitted
        return fitted

    def replaced(self, chunk: ChatResponse, text: str, shown: Shown) -> ChatResponse:
        """Return the chunk with another text. Its raw form, which has its own, goes; so do log-probabilities."""
        self._count(text, shown)
        message = self._refitted(chunk.message)
        kwargs = self._summed(chunk.additional_kwargs)
        delta = None if chunk.delta is None else text
        changes = {"message": message, "delta": delta, "additional_kwargs": kwargs, "raw": None, "logprobs": None}
        self._last = replaced = chunk.model_copy(update=changes)
        return replaced

    def rewritten(self, chunk: ChatResponse, text: str | None, args: Mapping[int, str], shown: Shown) -> ChatResponse:
        """Return the chunk with what was put right in it. Its raw form is what the provider sent, and stays that."""
        self._args |= {index: told for index, told in args.items() if told}
        if text is not None:
            self._count(text, shown)
        elif chunk.delta is not None:
            self._count(chunk.delta, shown)
        elif not self._counts:
            self._shown = chunk.message.content or ""
        message = self._refitted(chunk.message)
        delta = chunk.delta if chunk.delta is None or text is None else text
        changes = {"message": message, "delta": delta, "additional_kwargs": self._summed(chunk.additional_kwargs)}
        self._last = rewritten = chunk.model_copy(update=changes)
        return rewritten

    @property
    def reset(self) -> ChatResponse:
        """What a consumer that opted in to it is given when it is to discard what it has."""
        message = ChatMessage(role=MessageRole.ASSISTANT, content="")
        return ChatResponse(message=message, delta="", additional_kwargs={"l0": {"reset": True}})

    def corrected(self, last: ChatResponse, text: str) -> ChatResponse:
        """Return a chunk to come after the last: nothing is new in it, and its snapshot is another text."""
        message = last.message.model_copy(update={"blocks": [TextBlock(text=text)]})
        return last.model_copy(update={"message": message, "delta": ""})

    def encode(self, chunk: ChatResponse) -> str:
        """Return the chunk as JSON. Of a growing text its length is told: the pieces have the rest."""
        told = chunk.model_dump(mode="json", serialize_as_any=True, exclude={"message": {"blocks"}})
        blocks = chunk.message.blocks
        grows = chunk.delta is not None and self._grows(chunk.delta, [b.text for b in blocks if type(b) is TextBlock])
        told["message"]["blocks"] = [
            len(block.text)
            if grows and type(block) is TextBlock
            else block.model_dump(mode="json", serialize_as_any=True)
            for block in blocks
        ]
        message, length = chunk.message, None
        if grows and type(message) is ChatMessage and not message.additional_kwargs and len(blocks) == 1:
            length = len(blocks[0].text) if type(blocks[0]) is TextBlock else None
        self._note(chunk, length, message.role)
        return json.dumps(told, separators=(",", ":"))

    def rest(self, chunk: ChatResponse) -> str | None:
        """Return what of the chunk is not as in the last that `encode` wrote; `None` where it is another kind."""
        message = chunk.message
        said = message.__dict__
        blocks = said["blocks"]
        if len(blocks) != 1 or said["additional_kwargs"] or type(message) is not ChatMessage:
            return None
        return self._rest(chunk, blocks[0].text, said["role"])

    def again(self, text: str, rest: str) -> ChatResponse:
        """Return the last chunk that `decode` returned, with more text."""
        snapshot, raw = self._more(text, rest)
        message = ChatMessage(role=self._told["message"]["role"], blocks=[TextBlock(text=snapshot)])
        return ChatResponse(message=message, delta=text, raw=raw)

    def decode(self, text: str) -> ChatResponse:
        """Return the chunk that `encode` wrote, given all those before it; what was an SDK's object is a dict."""
        told = self._told = json.loads(text)
        self._read += told["delta"] or ""
        begin, blocks = 0, told["message"]["blocks"]
        for place, block in enumerate(blocks):
            if isinstance(block, int):
                blocks[place] = {"block_type": "text", "text": self._read[begin : begin + block]}
                begin += block
        return ChatResponse.model_validate(told)

    def _tools(self, blocks: Sequence[ContentBlock], raw: Any, *, ended: bool) -> Sequence[ToolFragment]:
        event = block_event_of(raw)
        if event is not None:
            return self._calls.of_events(blocks, event)
        if ended and type(raw) is dict and raw.get("type") == "message_delta":
            return ()
        return self._calls.of_blocks(blocks, ended=ended)

    def _part(self, blocks: Sequence[ContentBlock]) -> Opaque | None:
        """Return the part that is new in this chunk: an image, audio, a citation."""
        parts = [block for block in blocks if not isinstance(block, _KNOWN)]
        if len(parts) <= self._parts:
            return None
        self._parts = len(parts)
        return Opaque(_digest(parts[-1].model_dump_json()))

    def _refitted(self, message: ChatMessage) -> ChatMessage:
        """Return a message as it reads with what the consumer was given before."""
        blocks, kwargs = self._joined(message.blocks), self._summed(self._with_ids(message.additional_kwargs))
        return message.model_copy(update={"blocks": blocks, "additional_kwargs": kwargs})

    def _joined(self, blocks: Sequence[ContentBlock]) -> list[ContentBlock]:
        """Return the blocks with the text shown so far as one of them: two would read as two lines."""
        calls = 0
        place: int | None = None
        has_text = bool(self._shown)
        joined: list[ContentBlock] = []
        for block in blocks:
            if isinstance(block, TextBlock):
                place = len(joined) if place is None else place
                has_text = True  # Even of nothing: an integration that has it says something else without it.
                continue
            fitted: ContentBlock = block
            if isinstance(block, ToolCallBlock):
                place = len(joined) if place is None else place
                changes: dict[str, Any] = {}
                if calls < len(self._shown_calls):
                    changes["tool_call_id"] = self._shown_calls[calls].id
                if calls in self._args:
                    args = self._args[calls]
                    changes["tool_kwargs"] = args if isinstance(block.tool_kwargs, str) else json.loads(args)
                fitted = block.model_copy(update=changes) if changes else block
                calls += 1
            joined.append(fitted)
        if has_text:
            joined.insert(len(joined) if place is None else place, TextBlock(text=self._shown))
        return joined

    def _with_ids(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return a message's extras with the calls that the consumer was given before, and arguments put right."""
        calls = kwargs.get("tool_calls")
        if not calls or not (self._shown_calls or self._args):
            return dict(kwargs)
        return {**kwargs, "tool_calls": [self._fitted(index, call) for index, call in enumerate(calls)]}

    def _fitted(self, index: int, call: Any) -> Any:
        changes: dict[str, Any] = {}
        if index < len(self._shown_calls):
            changes["id"] = self._shown_calls[index].id
        if index in self._args and hasattr(getattr(call, "function", None), "model_copy"):
            changes["function"] = call.function.model_copy(update={"arguments": self._args[index]})
        return call.model_copy(update=changes) if changes and hasattr(call, "model_copy") else call


class CompletionPort(_Port):
    """Knows `CompletionResponse`."""

    def text(self, chunk: CompletionResponse) -> str | None:
        """Return the text of a chunk that holds nothing else. Never reads the snapshot."""
        self._last = chunk
        delta = chunk.delta
        if not delta or chunk.additional_kwargs or chunk.logprobs:
            return None
        return delta if finish_of(chunk.raw) is NOTHING else None

    def facts(self, chunk: CompletionResponse) -> Facts:
        """Return all that the chunk holds."""
        self._last = chunk
        finish, status = self._ending(chunk.raw)
        usage = self._counted(usage_of(chunk.additional_kwargs, chunk.raw))
        if chunk.delta is None and not self._whole:
            opaque = Opaque(_digest(chunk.text)) if chunk.text else None
            return Facts(opaque=opaque, finish=finish, status=status, usage=usage)
        text = chunk.text if self._whole else chunk.delta or ""
        return Facts(text, finish=finish, status=status, usage=usage, logprob=_logprob(chunk))

    def cut(self, chunk: CompletionResponse, start: int, end: int, shown: object) -> CompletionResponse:  # noqa: ARG002 - we keep count
        """Return the chunk as it reads after what was shown."""
        if chunk.delta is None:
            return chunk
        piece = chunk.delta[start:end]
        self._counts = True
        self._shown += piece
        kwargs = self._summed(chunk.additional_kwargs)
        fitted = chunk.model_copy(update={"text": self._shown, "delta": piece, "additional_kwargs": kwargs})
        self._last = fitted
        return fitted

    def replaced(self, chunk: CompletionResponse, text: str, shown: Shown) -> CompletionResponse:
        """Return the chunk with another text. Its raw form, which has its own, goes; so do log-probabilities."""
        self._count(text, shown)
        delta = None if chunk.delta is None else text
        kwargs = self._summed(chunk.additional_kwargs)
        changes = {"text": self._shown, "delta": delta, "additional_kwargs": kwargs, "raw": None, "logprobs": None}
        self._last = replaced = chunk.model_copy(update=changes)
        return replaced

    def rewritten(
        self,
        chunk: CompletionResponse,
        text: str | None,
        args: Mapping[int, str],  # noqa: ARG002 - a completion calls nothing
        shown: Shown,
    ) -> CompletionResponse:
        """Return the chunk with what was put right in it. Its raw form is what the provider sent, and stays that."""
        if text is None:
            return chunk
        self._count(text, shown)
        delta = None if chunk.delta is None else text
        changes = {"text": self._shown, "delta": delta, "additional_kwargs": self._summed(chunk.additional_kwargs)}
        self._last = rewritten = chunk.model_copy(update=changes)
        return rewritten

    @property
    def reset(self) -> CompletionResponse:
        """What a consumer that opted in to it is given when it is to discard what it has."""
        return CompletionResponse(text="", delta="", additional_kwargs={"l0": {"reset": True}})

    def corrected(self, last: CompletionResponse, text: str) -> CompletionResponse:
        """Return a chunk to come after the last: nothing is new in it, and its snapshot is another text."""
        return last.model_copy(update={"text": text, "delta": ""})

    def encode(self, chunk: CompletionResponse) -> str:
        """Return the chunk as JSON. Of a growing text its length is told: the pieces have the rest."""
        told = chunk.model_dump(mode="json", serialize_as_any=True, exclude={"text"})
        grows = chunk.delta is not None and self._grows(chunk.delta, [chunk.text])
        told["text"] = len(chunk.text) if grows else chunk.text
        self._note(chunk, len(chunk.text) if grows else None)
        return json.dumps(told, separators=(",", ":"))

    def rest(self, chunk: CompletionResponse) -> str | None:
        """Return what of the chunk is not as in the last that `encode` wrote; `None` where it is another kind."""
        return self._rest(chunk, chunk.text)

    def again(self, text: str, rest: str) -> CompletionResponse:
        """Return the last chunk that `decode` returned, with more text."""
        snapshot, raw = self._more(text, rest)
        return CompletionResponse(text=snapshot, delta=text, raw=raw)

    def decode(self, text: str) -> CompletionResponse:
        """Return the chunk that `encode` wrote, given all those before it; what was an SDK's object is a dict."""
        told = self._told = json.loads(text)
        self._read += told["delta"] or ""
        if isinstance(told["text"], int):
            told["text"] = self._read[: told["text"]]
        return CompletionResponse.model_validate(told)


def _cut_off(fragment: ToolFragment, block: ToolCallBlock) -> ToolFragment:
    """Return a call that a limit cut off: an SDK that parses arguments makes a whole object of what there was."""
    return fragment if isinstance(block.tool_kwargs, str) else fragment._replace(args=fragment.args[:-1] or "{")


def legacy_calls(message: ChatMessage) -> list[ToolFragment]:
    """Return calls of an integration that has no blocks for them."""
    calls = message.additional_kwargs.get("tool_calls") or ()
    return [
        ToolFragment(index, getattr(call, "id", None), getattr(function, "name", None), function.arguments or "")
        for index, call in enumerate(calls)
        if (function := getattr(call, "function", None)) is not None
    ]


def _reasons(chunk: ChatResponse) -> bool:
    for kwargs in (chunk.additional_kwargs, chunk.message.additional_kwargs):
        if "thinking_delta" in kwargs:
            return bool(kwargs["thinking_delta"])
    return bool(chunk.message.blocks) and type(chunk.message.blocks[-1]) is ThinkingBlock


def _logprob(chunk: ChatResponse | CompletionResponse) -> LogProb | None:
    tokens = [alternatives[0].logprob for alternatives in chunk.logprobs or () if alternatives]
    return LogProb(sum(tokens), len(tokens)) if tokens else None


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())
