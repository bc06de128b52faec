"""Chunks of OpenAI's chat completions, as its SDK gives them, and of the many servers that speak like it.

The answer is choice 0. Further choices (`n` over 1) pass as they come while nothing fails; after a seam they are left
out, because nothing could say where they go on.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from l0_core._port import ChunkPort, Facts, Opaque, Shown, ToolFragment, Usage
from l0_core.ports._sdk import copied, count_in, get, index_in, items_in, logprob, opaque, quoted, text_in, written

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionChunk

_REASONING: Final = ("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks")
_PARTS: Final = ("audio", "images")
_BESIDE_TEXT: Final = frozenset((*_REASONING, *_PARTS))


_NO_CHOICES: Final = {"choices": None}
_NO_DELTA: Final = {"delta": None}
_NO_CONTENT: Final = {"content": None}
_FLAT: Final = frozenset((type(None), str, int, float, bool))


def besides(chunk: Any) -> tuple[object, ...] | None:
    """Return what a chunk says besides its text, to be compared; nothing where it has no single choice.

    Of fields that its SDK has no names for, only the names: see `unnamed`.
    """
    try:
        whole = chunk.__dict__
        (choice,) = whole["choices"]
        said = choice.__dict__
        delta = said["delta"]
        return (
            whole | _NO_CHOICES,
            said | _NO_DELTA,
            delta.__dict__ | _NO_CONTENT,
            {**(choice.__pydantic_extra__ or {})},
            {**(delta.__pydantic_extra__ or {})},
            (*(chunk.__pydantic_extra__ or ()),),
            frozenset(chunk.__pydantic_fields_set__),
            frozenset(choice.__pydantic_fields_set__),
            frozenset(delta.__pydantic_fields_set__),
            type(chunk),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def kept(found: tuple[object, ...] | None) -> tuple[object, ...] | None:
    """Return it where it can be kept: where nothing in it can change meanwhile."""
    parts = [part for part in found or () if isinstance(part, dict)]
    is_flat = all(type(value) in _FLAT for part in parts for value in part.values())
    return found if is_flat else None


def unnamed(chunk: Any) -> str:
    """Return the fields of a chunk that its SDK has no names for, as JSON; nothing where there are none."""
    extra = chunk.__pydantic_extra__
    return json.dumps(extra) if extra else ""


def with_content(told: dict[str, Any], text: str, rest: str) -> dict[str, Any]:
    """Return a chunk, as it was sent, with another text, and with what `unnamed` returned."""
    (choice,) = told["choices"]
    choice = {**choice, "delta": {**choice["delta"], "content": text}}
    return {**told, "choices": [choice], **(json.loads(rest) if rest else {})}


class ChatPort:
    """The port of one attempt's `ChatCompletionChunk`s."""

    def __init__(self) -> None:
        self._calls: dict[tuple[int, str | None], int] = {}
        """The number of each tool call, by the index and the id it is sent with."""
        self._latest: dict[int, int] = {}
        """The number of the call that a fragment without an id belongs to, by index."""
        self._free_form: set[int] = set()
        """Calls whose input is text of any form."""
        self._refused = False
        self._seen: object = None
        """A chunk of this attempt, for what all of them have in common."""
        self._identity: dict[str, object] = {}
        """What the chunks given before have in common, where this attempt goes on with them."""
        self._besides: tuple[object, ...] | None = None
        """What the last chunk that was written says besides its text, if it says text at all."""
        self._told: dict[str, Any] = {}
        """The last chunk that was read."""

    def text(self, chunk: "ChatCompletionChunk") -> str | None:
        """Return the text of a chunk that holds nothing else but the name of its role."""
        # Fields are read from the models' dictionaries: attributes would take almost twice as long.
        try:
            whole = chunk.__dict__
            (choice,) = whole["choices"]
            said = choice.__dict__
            delta = said["delta"]
            fields = delta.__dict__
            text = fields["content"]
            if (
                type(text) is not str
                or said["finish_reason"]
                or said["index"]
                or said["logprobs"]
                or whole["usage"]
                or fields["tool_calls"]
                or fields["refusal"]
                or fields["function_call"]
            ):
                return None
            extra = delta.__pydantic_extra__
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        for name in extra or ():
            if extra[name] and name in _BESIDE_TEXT:
                return None
        return text or None

    def facts(self, chunk: "ChatCompletionChunk") -> Facts:
        """Return what a chunk holds. Asking twice does no harm."""
        self._seen = chunk
        usage = _usage(chunk)
        choice = _answer(chunk)
        if choice is None:
            return Facts(usage=usage)
        delta = get(choice, "delta")
        text, thinks = _content(get(delta, "content"))
        self._refused |= bool(text_in(delta, "refusal"))
        finish = text_in(choice, "finish_reason") or None
        tools = self._fragments(delta)
        if finish:
            tools += [ToolFragment(number, args='"', last=True) for number in sorted(self._free_form)]
        return Facts(
            text=text,
            reasoning=thinks or any(get(delta, name) for name in _REASONING),
            tools=tuple(tools),
            opaque=_part(delta),
            finish="refusal" if self._refused and finish == "stop" else finish,
            usage=usage,
            logprob=logprob(items_in(get(choice, "logprobs"), "content")),
        )

    def follow(self, before: ChunkPort[Any], last: "ChatCompletionChunk", text: str) -> None:  # noqa: ARG002 - chunks do not repeat what was before
        """Go on from what the consumer has been given: its chunks are of the same completion."""
        self._identity = {name: value for name in ("id", "created") if (value := get(last, name)) is not None}

    def cut(self, chunk: "ChatCompletionChunk", start: int, end: int, shown: Shown) -> "ChatCompletionChunk":  # noqa: ARG002 - as above
        """Return a chunk with a part of its text, as one of the completion that is gone on with."""
        choice = _answer(chunk)
        if choice is None:
            rest = [_emptied(other) for other in items_in(chunk, "choices")[:1]]
            return copied(chunk, choices=rest, **self._identity)
        delta = get(choice, "delta")
        content, logprobs = get(delta, "content"), get(choice, "logprobs")
        changes: dict[str, object] = {}
        if get(delta, "role") is not None:
            changes["role"] = None
        if content is not None:
            changes["content"] = _sliced(content, start, end)
        changed: dict[str, object] = {"delta": copied(delta, **changes)} if delta is not None else {}
        if logprobs is not None and changes.get("content") != content:
            changed["logprobs"] = _tokens(logprobs, start, end)
        return copied(chunk, choices=[copied(choice, **changed)], **self._identity)

    def replaced(self, chunk: "ChatCompletionChunk", text: str, shown: Shown) -> "ChatCompletionChunk":  # noqa: ARG002 - as above
        """Return a chunk with another text, without the log-probabilities of its own."""
        choice = _answer(chunk)
        if choice is None:
            return chunk
        role = None if self._identity else get(get(choice, "delta"), "role")
        said = copied(choice, delta=copied(get(choice, "delta"), content=text, role=role), logprobs=None)
        return copied(chunk, choices=[said], **self._identity)

    def encode(self, chunk: "ChatCompletionChunk") -> str:
        """Return the chunk as the provider's own JSON."""
        self._besides = kept(besides(chunk))
        return json.dumps(written(chunk))

    def decode(self, text: str) -> "ChatCompletionChunk":
        """Return the chunk that `encode` wrote."""
        self._told = json.loads(text)
        return self._read(self._told)

    def rest(self, chunk: "ChatCompletionChunk") -> str | None:
        """Return what it says in fields that the SDK has no names for, as JSON; `None` if it must be written whole."""
        return unnamed(chunk) if self._besides is not None and besides(chunk) == self._besides else None

    def again(self, text: str, rest: str) -> "ChatCompletionChunk":
        """Return the last chunk that `decode` returned, with another text, and with what `rest` returned."""
        return self._read(with_content(self._told, text, rest))

    def _read(self, told: dict[str, Any]) -> "ChatCompletionChunk":
        from openai.types.chat import ChatCompletionChunk

        return ChatCompletionChunk.construct(**told)

    def final(self, metadata: Mapping[str, object]) -> "ChatCompletionChunk | None":
        """Return an empty chunk that carries the metadata as further fields.

        It has a choice, unlike a chunk of usage, because most consumers look at the first choice of every chunk.
        """
        choice = {"index": 0, "delta": {}, "finish_reason": None}
        common = {name: get(self._seen, name) for name in ("id", "created", "model")} | self._identity
        return self.decode(json.dumps({**common, "object": "chat.completion.chunk", "choices": [choice], **metadata}))

    def _fragments(self, delta: object) -> list[ToolFragment]:
        fragments = []
        for place, call in enumerate(items_in(delta, "tool_calls")):
            identity = text_in(call, "id") or None
            number = self._number(index_in(call, "index"), identity, place)
            custom, function = get(call, "custom"), get(call, "function")
            if custom is not None or number in self._free_form:
                args = quoted(text_in(custom, "input"))
                if number not in self._free_form:
                    self._free_form.add(number)
                    args = f'"{args}'
                fragments.append(ToolFragment(number, identity, text_in(custom, "name") or None, args))
            else:
                name = text_in(function, "name") or None
                fragments.append(ToolFragment(number, identity, name, text_in(function, "arguments")))
        single = get(delta, "function_call")
        if single is not None:
            fragments.append(ToolFragment(0, None, text_in(single, "name") or None, text_in(single, "arguments")))
        return fragments

    def _number(self, index: int | None, identity: str | None, place: int) -> int:
        """Return which call a fragment belongs to.

        By its index; but there are servers that give every call the same index, or none, and another id.
        """
        sent = place if index is None else index
        if identity is None:
            return self._latest.get(sent, sent)
        number = self._calls.get((sent, identity))
        if number is None:
            taken = set(self._calls.values())
            number = sent if sent not in taken else max(taken) + 1
            self._calls[sent, identity] = number
        self._latest[sent] = number
        return number


def _answer(chunk: object) -> Any:
    """Return choice 0, if the chunk has anything of it."""
    return next((choice for choice in items_in(chunk, "choices") if choice and not index_in(choice, "index")), None)


def _content(content: object) -> tuple[str, bool]:
    """Return text, and whether there is reasoning beside it. Some providers send a list of parts."""
    if isinstance(content, str):
        return content, False
    parts = content if isinstance(content, list) else []
    text = "".join(text_in(part, "text") for part in parts if text_in(part, "type") == "text")
    return text, any(text_in(part, "type") == "thinking" for part in parts)


def _sliced(content: object, start: int, end: int) -> object:
    """Return content with a part of its text, in the form it came in."""
    if isinstance(content, str):
        return content[start:end]
    if not isinstance(content, list):
        return content
    parts: list[object] = []
    for part in content:
        if text_in(part, "type") != "text":
            parts.append(part)
            continue
        text = text_in(part, "text")
        piece = text[max(start, 0) : max(end, 0)]
        start, end = start - len(text), end - len(text)
        if piece:
            parts.append({**part, "text": piece} if isinstance(part, dict) else copied(part, text=piece))
    return parts


def _part(delta: object) -> Opaque | None:
    audio = get(delta, "audio")
    if audio:
        return opaque(get(audio, "data") or get(audio, "transcript"), more=not get(audio, "expires_at"))
    images = items_in(delta, "images")
    return opaque(images) if images else None


def _usage(chunk: object) -> Usage | None:
    usage = get(chunk, "usage") or get(get(chunk, "x_groq"), "usage")
    if not usage:
        return None
    answer, prompt = get(usage, "completion_tokens_details"), get(usage, "prompt_tokens_details")
    return Usage(
        input=count_in(usage, "prompt_tokens"),
        output=count_in(usage, "completion_tokens"),
        reasoning=count_in(answer, "reasoning_tokens"),
        cache_read=count_in(prompt, "cached_tokens") or count_in(usage, "prompt_cache_hit_tokens"),
        cache_write=count_in(prompt, "cache_write_tokens"),
    )


def _tokens(logprobs: Any, start: int, end: int) -> object:
    """Return the log-probabilities of the tokens that begin between two characters of the text."""
    kept, at = [], 0
    for token in items_in(logprobs, "content"):
        if start <= at < end:
            kept.append(token)
        at += len(text_in(token, "token"))
    return copied(logprobs, content=kept)


def _emptied(choice: Any) -> object:
    """Return a choice as choice 0 without anything in it."""
    nothing = dict.fromkeys(("role", "content", "tool_calls", "refusal", "function_call"))
    delta = get(choice, "delta")
    emptied = {} if delta is None else {"delta": copied(delta, **nothing)}
    return copied(choice, index=0, finish_reason=None, logprobs=None, **emptied)
