"""Events of Anthropic's messages, as its SDK gives them from `messages.create(stream=True)`, plain and beta.

Work that the provider does by itself (searches, code, remote tools) counts as reasoning: it takes as long, and is not
the answer.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from l0_core._port import ChunkPort, Facts, Shown, ToolFragment, Usage
from l0_core.ports._sdk import copied, count_in, get, index_in, read, text_in, written

if TYPE_CHECKING:
    from anthropic.types import RawMessageStreamEvent

_IN_TEXT: Final = {"text", "text_delta", "citations_delta"}


class MessagesPort:
    """The port of one attempt's `RawMessageStreamEvent`s."""

    def __init__(self) -> None:
        self._tools: set[int] = set()
        """Blocks that are calls of the program's tools."""
        self._used = Usage()
        self.thread: _Thread | None = None
        """What the consumer has of the message, where this attempt goes on with it."""

    def text(self, event: "RawMessageStreamEvent") -> str | None:
        """Return the text of a piece of a text block."""
        try:
            if event.type != "content_block_delta" or event.delta.type != "text_delta":
                return None
            text = event.delta.text
        except AttributeError:
            return None
        return text if type(text) is str and text else None

    def facts(self, event: "RawMessageStreamEvent") -> Facts:
        """Return what an event holds. Asking twice does no harm."""
        match text_in(event, "type"):
            case "message_start":
                return Facts(usage=self._count(get(get(event, "message"), "usage")))
            case "content_block_start":
                return self._block(event)
            case "content_block_delta":
                return self._piece(event)
            case "content_block_stop" if (number := index_in(event, "index")) in self._tools and number is not None:
                return Facts(tools=(ToolFragment(number, last=True),))
            case "message_delta":
                finish = text_in(get(event, "delta"), "stop_reason") or None
                return Facts(finish=finish, usage=self._count(get(event, "usage")))
            case _:
                return Facts()

    def follow(self, before: ChunkPort[Any], last: "RawMessageStreamEvent", text: str) -> None:  # noqa: ARG002 - events do not repeat what was before
        """Go on from what the consumer has been given: its events are of the same message."""
        thread = before.thread if isinstance(before, MessagesPort) else None
        self.thread = thread or _Thread(last)
        self.thread.renew()

    def cut(self, event: Any, start: int, end: int, shown: Shown) -> Any:  # noqa: ARG002 - as above
        """Return an event with a part of its text, as one of the message that is gone on with."""
        return self._fitted(_with_text(event, _text_of(event)[start:end]))

    def replaced(self, event: Any, text: str, shown: Shown) -> Any:  # noqa: ARG002 - as above
        """Return an event with another text."""
        return self._fitted(_with_text(event, text))

    def encode(self, event: "RawMessageStreamEvent") -> str:
        """Return the event as the provider's own JSON, with the name of its class."""
        return json.dumps([type(event).__name__, written(event)])

    def decode(self, text: str) -> "RawMessageStreamEvent":
        """Return the event that `encode` wrote."""
        from anthropic import types

        name, fields = json.loads(text)
        event: RawMessageStreamEvent = read(
            getattr(types.beta if name.startswith("Beta") else types, name, None), fields
        )
        return event

    def final(self, metadata: Mapping[str, object]) -> None:
        """Return nothing: after the event that ends a message there is none."""

    def _fitted(self, event: Any) -> Any:
        return event if self.thread is None else self.thread.fitted(event)

    def _block(self, event: object) -> Facts:
        block, number = get(event, "content_block"), index_in(event, "index")
        match text_in(block, "type"):
            case "text":
                return Facts(text=text_in(block, "text"))
            case "tool_use" if number is not None:
                self._tools.add(number)
                whole = get(block, "input")  # Empty where pieces follow; some servers send it whole.
                args = json.dumps(whole) if whole else ""
                return Facts(tools=(ToolFragment(number, text_in(block, "id") or None, text_in(block, "name"), args),))
            case _:
                return Facts(reasoning=True)

    def _piece(self, event: object) -> Facts:
        delta, number = get(event, "delta"), index_in(event, "index")
        match text_in(delta, "type"):
            case "text_delta":
                return Facts(text=text_in(delta, "text"))
            case "citations_delta":
                return Facts()
            case "input_json_delta" if number in self._tools and number is not None:
                return Facts(tools=(ToolFragment(number, args=text_in(delta, "partial_json")),))
            case _:
                return Facts(reasoning=True)

    def _count(self, usage: object) -> Usage | None:
        """Return what has been used so far. Counts are totals, and an event leaves out what has not changed."""
        if not usage:
            return None
        read, write = count_in(usage, "cache_read_input_tokens"), count_in(usage, "cache_creation_input_tokens")
        told = Usage(
            input=count_in(usage, "input_tokens") + read + write if get(usage, "input_tokens") is not None else 0,
            output=count_in(usage, "output_tokens"),
            reasoning=count_in(get(usage, "output_tokens_details"), "thinking_tokens"),
            cache_read=read,
            cache_write=write,
        )
        self._used = Usage(*map(max, self._used, told))
        return self._used


class _Thread:
    """What a consumer has been given of a message, so that other attempts can go on with it."""

    def __init__(self, last: object) -> None:
        self._next = 0
        self._open: int | None = None
        """The text that has begun and not ended."""
        inside = get(last, "delta") or get(last, "content_block")
        number = index_in(last, "index")
        if number is not None:
            self._next = number + 1
            self._open = number if text_in(inside, "type") in _IN_TEXT else None
        self._blocks: dict[int, int] = {}
        """The place of each of the attempt's blocks among the consumer's."""

    def renew(self) -> None:
        """Go on with another attempt."""
        self._blocks = {}

    def fitted(self, event: Any) -> Any:
        """Return an event as it must read after those before it."""
        kind, number = text_in(event, "type"), index_in(event, "index")
        if kind == "message_start":
            return self._nothing(event)
        if number is None:
            return event
        if kind == "content_block_start":
            block = get(event, "content_block")
            is_text = text_in(block, "type") == "text"
            if is_text and self._open is not None and self._open not in self._blocks.values():
                self._blocks[number] = self._open
                return self._nothing(event, text_in(block, "text"))
            self._blocks[number] = self._next
            self._open = self._next if is_text else self._open
            self._next += 1
        place = self._blocks.get(number, number)
        if kind == "content_block_stop" and place == self._open:
            self._open = None
        return copied(event, index=place)

    def _nothing(self, event: object, text: str = "") -> Any:
        """Return an event that says nothing new but that text, and where the consumer stands.

        Where no text is open it is a ping, as the provider itself may send at any time.
        """
        from anthropic import BaseModel, types

        is_beta = type(event).__name__.startswith("Beta")
        if self._open is None:
            return BaseModel.construct(type="ping")
        kind = types.beta.BetaRawContentBlockDeltaEvent if is_beta else types.RawContentBlockDeltaEvent
        delta = {"type": "text_delta", "text": text}
        return kind.construct(type="content_block_delta", index=self._open, delta=delta)


def _text_of(event: object) -> str:
    return text_in(get(event, "delta"), "text") or text_in(get(event, "content_block"), "text")


def _with_text(event: Any, text: str) -> Any:
    """Return an event with another text, or one that has none as it is."""
    delta, block = get(event, "delta"), get(event, "content_block")
    if text_in(delta, "type") == "text_delta":
        return copied(event, delta=copied(delta, text=text))
    if text_in(block, "type") == "text" and text_in(block, "text"):
        return copied(event, content_block=copied(block, text=text))
    return event
