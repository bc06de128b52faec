"""Events of OpenAI's responses, as its SDK gives them.

Work that the provider does by itself (searches, code, remote tools) counts as reasoning: it takes as long, and is not
the answer. Calls that the program carries out and that are not JSON (a shell, a computer) are parts that are passed
whole. Every event has a number, so none is plain text: a gap must be seen. Text cannot be masked, because the events at
the end of a response repeat it.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from l0_core._port import ChunkPort, Facts, Opaque, Shown, ToolFragment, Usage
from l0_core.ports._sdk import (
    copied,
    count_in,
    get,
    index_in,
    items_in,
    logprob,
    opaque,
    quoted,
    read,
    text_in,
    written,
)

if TYPE_CHECKING:
    from openai.types.responses import ResponseStreamEvent

_TEXT: Final = "response.output_text.delta"
_IN_TEXT: Final = {_TEXT, "response.content_part.added", "response.output_text.annotation.added"}
_BEGINNINGS: Final = {"response.created", "response.queued", "response.in_progress"}
_ENDS: Final = {"response.completed": None, "response.incomplete": None, "response.failed": "error"}
_WORK: Final = (
    "response.reasoning",
    "response.web_search_call",
    "response.file_search_call",
    "response.code_interpreter_call",
    "response.image_generation_call",
    "response.mcp_",
)
_CALLS: Final = {"function_call", "custom_tool_call"}
_WHOLE: Final = {
    "apply_patch_call",
    "computer_call",
    "image_generation_call",
    "local_shell_call",
    "mcp_approval_request",
    "shell_call",
}


class _Place(NamedTuple):
    """Where text stands in a response."""

    output: int
    content: int
    item: str


class ResponsesPort:
    """The port of one attempt's `ResponseStreamEvent`s."""

    def __init__(self) -> None:
        self._with_args: set[int] = set()
        """Calls of which a piece of the arguments has come."""
        self._calls: set[int] = set()
        self._refused = False
        self.response: object = None
        """The response as it began."""
        self.thread: _Thread | None = None
        """What the consumer has of the response, where this attempt goes on with it."""

    def text(self, event: "ResponseStreamEvent") -> str | None:  # noqa: ARG002 - whatever the event is
        """Return nothing: every event has a number, which the engine must see."""
        return None

    def facts(self, event: "ResponseStreamEvent") -> Facts:
        """Return what an event holds. Asking twice does no harm."""
        kind, sequence = text_in(event, "type"), index_in(event, "sequence_number")
        if kind == _TEXT:
            return Facts(text=text_in(event, "delta"), logprob=logprob(items_in(event, "logprobs")), sequence=sequence)
        if kind in _ENDS:
            return self._end(event, kind, sequence)
        if kind in _BEGINNINGS and self.response is None:
            self.response = get(event, "response")
        if kind == "error":
            return Facts(finish="error", sequence=sequence)
        if kind.startswith("response.refusal."):
            self._refused = True
        tool = self._fragment(event, kind)
        return Facts(
            reasoning=kind.startswith(_WORK) or (kind == "response.output_item.added" and _is_work(event)),
            tools=(tool,) if tool else (),
            opaque=_part(event, kind),
            sequence=sequence,
        )

    def follow(self, before: ChunkPort[Any], last: "ResponseStreamEvent", text: str) -> None:
        """Go on from what the consumer has been given: its events are of the same response."""
        thread = response = None
        if isinstance(before, ResponsesPort):
            thread, response = before.thread, before.response
        self.thread = thread or _Thread(response, last)
        self.thread.renew(text)

    def cut(self, event: Any, start: int, end: int, shown: Shown) -> Any:  # noqa: ARG002 - the thread keeps the text itself
        """Return an event with a part of its text, as one of the response that is gone on with.

        Snapshots in the events at the end hold the whole text; where it came from more than one attempt, the part
        that was open at the seam has all of what was before it.
        """
        if self.thread is not None:
            return self.thread.fitted(event, start, end)
        is_text = text_in(event, "type") == _TEXT
        return copied(event, delta=text_in(event, "delta")[start:end]) if is_text else event

    def encode(self, event: "ResponseStreamEvent") -> str:
        """Return the event as the provider's own JSON, with the name of its class."""
        return json.dumps([type(event).__name__, written(event)])

    def decode(self, text: str) -> Any:
        """Return the event that `encode` wrote."""
        from openai.types import responses

        name, fields = json.loads(text)
        return read(getattr(responses, name, None), fields)

    def final(self, metadata: Mapping[str, object]) -> None:
        """Return nothing: after the event that ends a response there is none."""

    def _end(self, event: object, kind: str, sequence: int | None) -> Facts:
        response = get(event, "response")
        status = text_in(response, "status") or kind.removeprefix("response.")
        finish = text_in(get(response, "incomplete_details"), "reason") or _ENDS[kind]
        if self._refused and not finish:
            finish = "refusal"
        elif self._calls and not finish:
            finish = "tool_calls"
        return Facts(finish=finish, status=status, usage=_usage(response), sequence=sequence)

    def _fragment(self, event: object, kind: str) -> ToolFragment | None:  # noqa: PLR0911 - one for each kind of event
        number = index_in(event, "output_index")
        if number is None:
            return None
        match kind:
            case "response.output_item.added":
                return self._begun(number, get(event, "item"))
            case "response.function_call_arguments.delta":
                self._with_args.add(number)
                return ToolFragment(number, args=text_in(event, "delta"))
            case "response.custom_tool_call_input.delta":
                return ToolFragment(number, args=quoted(text_in(event, "delta")))
            case "response.function_call_arguments.done" if number not in self._with_args:
                return ToolFragment(number, args=text_in(event, "arguments"), last=True)
            case "response.function_call_arguments.done" | "response.output_item.done" if number in self._calls:
                return ToolFragment(number, last=True)
            case "response.custom_tool_call_input.done":
                return ToolFragment(number, args='"', last=True)
            case _:
                return None

    def _begun(self, number: int, item: object) -> ToolFragment | None:
        kind = text_in(item, "type")
        if kind not in _CALLS:
            return None
        self._calls.add(number)
        args = f'"{quoted(text_in(item, "input"))}' if kind == "custom_tool_call" else text_in(item, "arguments")
        if args:
            self._with_args.add(number)
        return ToolFragment(number, text_in(item, "call_id") or None, text_in(item, "name") or None, args)


class _Thread:
    """What a consumer has been given of a response, so that other attempts can go on with it."""

    def __init__(self, response: object, last: object) -> None:
        self._response = response
        self._sequence = index_in(last, "sequence_number") or 0
        self._next = 0
        self._open: _Place | None = None
        """The text that has begun and not ended."""
        output, content = index_in(last, "output_index"), index_in(last, "content_index")
        if output is not None:
            self._next = output + 1
            is_text = text_in(get(last, "part"), "type") in {"", "output_text"}
            if text_in(last, "type") in _IN_TEXT and is_text and content is not None:
                self._open = _Place(output, content, text_in(last, "item_id"))
        self._text: list[str] = []
        self._outputs: dict[int, int] = {}
        """The place of each of the attempt's items among the consumer's."""
        self._joined: tuple[int, str] | None = None
        """The item of the attempt that goes on with the consumer's, and its id there."""
        self._home: _Place | None = None
        """Where the consumer has what they go on with."""
        self._content: int | None = None
        """The part of that item that does."""

    def renew(self, text: str) -> None:
        """Go on with another attempt after that text."""
        self._text, self._outputs = [text], {}
        self._home, self._joined, self._content = self._open, None, None

    def fitted(self, event: Any, start: int, end: int) -> Any:
        """Return an event as it must read after those before it."""
        self._sequence += 1
        kind = text_in(event, "type")
        if kind in _BEGINNINGS or self._joins(event, kind):
            return self._nothing()
        changes = {"sequence_number": self._sequence, **self._placed(event), **self._said(event, kind, start, end)}
        fitted = copied(event, **changes)
        self._note(fitted, kind)
        return fitted

    def _joins(self, event: object, kind: str) -> bool:
        """Whether the event opens what the consumer has open already."""
        output = index_in(event, "output_index")
        if self._open is None or output is None:
            return False
        if kind == "response.output_item.added" and self._joined is None:
            item = get(event, "item")
            if text_in(item, "type") != "message":
                return False
            self._joined = output, text_in(item, "id")
            self._outputs[output] = self._open.output
            return True
        if kind == "response.content_part.added" and self._content is None and self._is_joined(output):
            if text_in(get(event, "part"), "type") != "output_text":
                return False
            self._content = index_in(event, "content_index") or 0
            return True
        return False

    def _is_joined(self, output: int | None) -> bool:
        return self._joined is not None and self._joined[0] == output

    def _note(self, given: object, kind: str) -> None:
        """Note which text is open now."""
        output, content = index_in(given, "output_index"), index_in(given, "content_index")
        if output is None or content is None:
            return
        if kind == "response.content_part.added" and text_in(get(given, "part"), "type") == "output_text":
            self._open = _Place(output, content, text_in(given, "item_id"))
        elif kind == "response.content_part.done" and self._open is not None and self._open[:2] == (output, content):
            self._open = None

    def _placed(self, event: object) -> dict[str, object]:
        """Return where the event stands for the consumer."""
        output, content = index_in(event, "output_index"), index_in(event, "content_index")
        if output is None:
            return {}
        place = self._outputs.setdefault(output, self._next)
        self._next = max(self._next, place + 1)
        changes: dict[str, object] = {"output_index": place}
        if self._is_joined(output) and self._home is not None:
            if get(event, "item_id") is not None:
                changes["item_id"] = self._home.item
            if content is not None:
                changes["content_index"] = content - (self._content or 0) + self._home.content
        return changes

    def _said(self, event: Any, kind: str, start: int, end: int) -> dict[str, object]:  # noqa: PLR0911 - as above
        """Return what of the event's words is to be read otherwise."""
        if kind == _TEXT:
            piece = text_in(event, "delta")[start:end]
            self._text.append(piece)
            return {"delta": piece}
        if kind in _ENDS:
            return {"response": self._ended(get(event, "response"))}
        if not self._is_joined(index_in(event, "output_index")):
            return {}
        if kind == "response.output_item.done":
            return {"item": self._snapshot(get(event, "item"))}
        if index_in(event, "content_index") != self._content:
            return {}
        if kind == "response.output_text.done":
            return {"text": self._all()}
        if kind == "response.content_part.done":
            return {"part": copied(get(event, "part"), text=self._all())}
        return {}

    def _nothing(self) -> Any:
        """Return an event that says nothing new."""
        from openai.types.responses import ResponseInProgressEvent, ResponseTextDeltaEvent

        if self._open is not None:
            return ResponseTextDeltaEvent.construct(
                type=_TEXT,
                delta="",
                item_id=self._open.item,
                output_index=self._open.output,
                content_index=self._open.content,
                logprobs=[],
                sequence_number=self._sequence,
            )
        return ResponseInProgressEvent.construct(
            type="response.in_progress", response=self._response, sequence_number=self._sequence
        )

    def _all(self) -> str:
        self._text = ["".join(self._text)]
        return self._text[0]

    def _snapshot(self, item: Any, text: str | None = None) -> object:
        """Return an item of the attempt as the consumer knows it, with all the text in its first text."""
        if text is None:
            later = _texts(item)[1:]
            text = self._all()
            text = text[: len(text) - sum(len(text_in(part, "text")) for part in later)]
        parts: list[object] = []
        for part in items_in(item, "content"):
            is_first = text is not None and text_in(part, "type") == "output_text"
            parts.append(copied(part, text=text) if is_first else part)
            text = None if is_first else text
        changes: dict[str, object] = {"content": parts}
        if self._home is not None and self._joined is not None and text_in(item, "id") == self._joined[1]:
            changes["id"] = self._home.item
        return copied(item, **changes)

    def _ended(self, response: Any) -> object:
        """Return the response as the consumer knows it: its id, and the whole text."""
        outputs = items_in(response, "output")
        texts = [part for item in outputs for part in _texts(item)]
        changes: dict[str, object] = {}
        if (identity := get(self._response, "id")) is not None:
            changes["id"] = identity
        if texts:
            whole = self._all()
            head = whole[: len(whole) - sum(len(text_in(part, "text")) for part in texts[1:])]
            place = next(place for place, item in enumerate(outputs) if _texts(item))
            outputs[place] = self._snapshot(outputs[place], head)
            changes["output"] = outputs
        return copied(response, **changes) if response is not None else None


def _texts(item: object) -> list[Any]:
    return [part for part in items_in(item, "content") if text_in(part, "type") == "output_text"]


def _is_work(event: object) -> bool:
    return text_in(get(event, "item"), "type") not in {*_CALLS, "message", ""}


def _part(event: object, kind: str) -> Opaque | None:
    item = get(event, "item")
    if kind == "response.output_item.done" and text_in(item, "type") in _WHOLE:
        return opaque(json.dumps(written(item), sort_keys=True))
    if kind == "response.image_generation_call.partial_image":
        return opaque(get(event, "partial_image_b64"), more=True)
    if kind == "response.audio.delta":
        return opaque(get(event, "delta"), more=True)
    return opaque("") if kind == "response.audio.done" else None


def _usage(response: object) -> Usage | None:
    usage = get(response, "usage")
    if not usage:
        return None
    answer, prompt = get(usage, "output_tokens_details"), get(usage, "input_tokens_details")
    return Usage(
        input=count_in(usage, "input_tokens"),
        output=count_in(usage, "output_tokens"),
        reasoning=count_in(answer, "reasoning_tokens"),
        cache_read=count_in(prompt, "cached_tokens"),
        cache_write=count_in(prompt, "cache_write_tokens"),
    )
