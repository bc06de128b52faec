"""What the driver needs to know of LangChain's chunks and results."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_to_dict, messages_from_dict
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from l0_core import Attempt, Facts, PolicyError, ToolFragment, Usage
from l0_core._port import Shown
from l0_langchain._content import (
    CALLS,
    REASONING,
    TEXT,
    Content,
    block_text,
    blocks_of,
    finish_of,
    logprob_of,
    opaque_of,
    reasons,
    text_of,
    usage_of,
    with_arguments,
    with_text,
)
from l0_langchain._events import Reset

_KEPT = ("additional_kwargs", "id", "name", "response_metadata", "usage_metadata", "chunk_position")
"""What of a message is not its answer."""

_REPEATED = frozenset({"model_provider", "output_version"})
"""Metadata that every chunk has, because it says how the chunk is to be read."""


_PLAIN = frozenset({"content", "id", "name", "chunk_position", "response_metadata"})
"""What a chunk of text says."""


def _besides(message: AIMessageChunk) -> tuple[object, ...]:
    """Return what a chunk of text says besides its text: a copy, as its consumer may do with it as it likes."""
    said = message.__dict__
    return said["id"], said["name"], said["chunk_position"], {**said["response_metadata"]}


def _without_calls(message: BaseMessage) -> Content:
    """Return the content without the blocks that repeat its tool calls in one provider's own format."""
    if isinstance(message.content, str):
        return message.content
    return [block for block in message.content if isinstance(block, str) or block.get("type") not in CALLS]


class ChatChunks:
    """The chunks of one session: what a consumer was given by one attempt decides how those of the next must read."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        """Begin without anything: no chunk has been given."""
        self._id: str | None = None
        self._usage = Usage()
        self._counted: dict[int, object] = {}
        """What it was put together from: kept, so that no other has its id."""
        self._given: dict[str, Any] = {}
        self._keys: dict[str, Any] = {}
        self._listed = False
        """Whether the consumer's content is a list of blocks."""
        self._indexed = False
        """Whether these have indices."""
        self._last_text: Any = None
        """The index of the block of text that can still grow."""
        self._ids: dict[Any, Any] = {}
        """The ids of the blocks of text the consumer has, by index."""
        self._top = -1
        self._indices: dict[Any, Any] = {}
        self._calls: dict[Any, int] = {}
        self._whole: dict[int, int] = {}
        """Which call a fragment is of that says no index: it is all of it."""
        self._number = 0
        self._reasoning: set[Any] = set()
        self._abandoned: set[Any] = set()
        self._altered = False
        self._written: tuple[object, ...] | None = None
        """What the last chunk that was written says besides its text, if it says text at all."""
        self._read: Mapping[str, Any] = {}
        """The message of the last chunk that was read."""

    def begin(self, attempt: Attempt) -> None:
        """Get ready for the chunks of another attempt."""
        self._number = attempt.number
        self._altered |= bool(attempt.shown or attempt.calls)  # Also of what is swallowed none is passed as it is.
        self._given = {**self._keys, **self._given}
        self._abandoned |= self._reasoning
        self._usage = Usage()
        self._written = None
        for notes in (self._counted, self._keys, self._indices, self._calls, self._whole, self._reasoning):
            notes.clear()

    @property
    def reset(self) -> ChatGenerationChunk:
        """Forget what was given, and return the chunk that tells the consumer to do so."""
        message = Reset(content=[] if self._listed else "", id=self._id)
        self._forget()
        return ChatGenerationChunk(message=message)

    # What the engine is told -----------------------------------------------------------------------------------------

    def text(self, chunk: ChatGenerationChunk) -> str | None:
        """Return the text of a chunk that holds nothing else. The hot path: plain attributes, no call that can wait."""
        message = chunk.message.__dict__
        content = message["content"]
        if (
            type(content) is str
            and content
            and not message.get("tool_call_chunks")
            and chunk.generation_info is None
            and not message["additional_kwargs"]
            and message.get("usage_metadata") is None
            and (message["id"] is None or self._id is not None)
        ):
            told = message["response_metadata"]
            if not told or (len(told) == 1 and "model_provider" in told and "model_provider" in self._keys):
                return content
        return None

    def facts(self, chunk: ChatGenerationChunk) -> Facts:
        """Return all that the chunk holds, and note what a later attempt must not give again."""
        message, info = chunk.message, chunk.generation_info
        content, told, keywords = message.content, message.response_metadata, message.additional_kwargs
        finish = finish_of(info, told)
        if finish is None:  # A chunk that ends an attempt is never given by one that fails.
            self._note(message, info)
        return Facts(
            text=text_of(content),
            reasoning=reasons(content, keywords),
            tools=self._fragments(getattr(message, "tool_call_chunks", ())),
            opaque=opaque_of(content, keywords, info),
            finish=finish,
            usage=self._used(getattr(message, "usage_metadata", None)),
            logprob=logprob_of(info),
        )

    def _note(self, message: BaseMessage, info: Mapping[str, Any] | None) -> None:
        self._keys.update(message.response_metadata)
        if info:
            self._keys.update(info)
        if self._id is None and not self._altered:
            self._id = message.id
        for block in blocks_of(message.content):
            self._listed = True
            index = block.get("index")
            self._indexed |= index is not None
            if block.get("type") in REASONING and index is not None:
                self._reasoning.add(self._indices.get(index, index))
            if not self._altered:
                self._pass(block.get("type"), index)
                if block.get("type") in TEXT and block.get("id"):
                    self._ids[index] = block["id"]
        if not self._altered:
            for fragment in getattr(message, "tool_call_chunks", ()):
                self._pass("tool", fragment.get("index"))

    def _pass(self, kind: object, index: Any) -> None:
        """Note that the consumer's message has this block now."""
        self._last_text = index if kind in TEXT else None
        if type(index) is int:
            self._top = max(self._top, index)

    def _fragments(self, fragments: Sequence[Mapping[str, Any]]) -> tuple[ToolFragment, ...]:
        return tuple(
            ToolFragment(
                index=self._call(fragment),
                id=fragment.get("id"),
                name=fragment.get("name"),
                args=fragment.get("args") or "",
                last=fragment.get("index") is None,  # Nothing could be added to it.
            )
            for fragment in fragments
        )

    def _call(self, fragment: Mapping[str, Any]) -> int:
        index = fragment.get("index")
        if index is not None:
            return self._calls.setdefault(index, len(self._calls))
        if id(fragment) not in self._whole:
            self._whole[id(fragment)] = self._calls[object()] = len(self._calls)
        return self._whole[id(fragment)]

    def _used(self, usage: Mapping[str, Any] | None) -> Usage | None:
        """Return what the attempt has used so far: each chunk tells of itself alone."""
        more = usage_of(usage)
        if usage is None or more is None:
            return None
        if id(usage) not in self._counted:  # A chunk that is fitted to others is looked at twice.
            self._counted[id(usage)] = usage
            self._usage = Usage(*map(sum, zip(self._usage, more, strict=True)))
        return self._usage

    # What the consumer is given --------------------------------------------------------------------------------------

    def cut(self, chunk: ChatGenerationChunk, start: int, end: int, shown: object) -> ChatGenerationChunk:  # noqa: ARG002 - a port is given what every port is given
        """Return a chunk of a later attempt as a part of the consumer's message."""
        self._altered = True
        message, info = chunk.message, chunk.generation_info
        changes: dict[str, Any] = {
            "content": self._fit(_without_calls(message) if self._is_strange(message) else message.content, start, end),
            "id": message.id and self._id,
            "response_metadata": self._new(message.response_metadata),
        }
        if fragments := getattr(message, "tool_call_chunks", None):
            changes["tool_call_chunks"] = [
                {**fragment, "index": self._index(fragment.get("index"))} for fragment in fragments
            ]
            self._last_text = None
        return ChatGenerationChunk(
            message=cast("AIMessageChunk", message.model_copy(update=changes)),
            generation_info=self._new(info) or None if info else None,
        )

    def replaced(self, chunk: ChatGenerationChunk, text: str, shown: Shown) -> ChatGenerationChunk:
        """Return a chunk with another text, without the log-probabilities of its own."""
        message, info = chunk.message, chunk.generation_info
        info = {name: told for name, told in info.items() if name != "logprobs"} if info else info
        content = with_text(message.content, text)
        made = ChatGenerationChunk(
            message=cast("AIMessageChunk", message.model_copy(update={"content": content})), generation_info=info
        )
        return self.cut(made, 0, len(text), shown) if shown.seamed else made

    def rewritten(
        self, chunk: ChatGenerationChunk, text: str | None, args: Mapping[int, str], shown: Shown
    ) -> ChatGenerationChunk:
        """Return a chunk with another text, and other arguments in the first of its fragments of each call."""
        message: Any = chunk.message
        content = message.content
        if text is not None and text_of(content):
            content = with_text(content, text)
        left, fragments, given = dict(args), [], []
        for fragment in message.tool_call_chunks:
            call = self._call(fragment)
            piece = left.pop(call, "") if call in args else fragment["args"]
            fragments.append({**fragment, "args": piece})
            given.append((fragment.get("index"), piece))
        if args:
            content = with_arguments(content, dict(given))
        told = {
            "content": content,
            "tool_call_chunks": fragments,
            **{name: getattr(message, name) for name in _KEPT},
        }
        made = ChatGenerationChunk(message=AIMessageChunk(**told), generation_info=chunk.generation_info)
        return self.cut(made, 0, len(text_of(content)), shown) if shown.seamed else made

    def _new(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metadata that the consumer has not: merging adds strings and numbers up."""
        given = self._given
        return {
            name: value
            for name, value in told.items()
            if name not in given or name == "logprobs" or (name in _REPEATED and given[name] == value)
        }

    def _is_strange(self, message: BaseMessage) -> bool:
        """Whether the chunk is of another make than those the consumer has: it could not be read as one of theirs."""
        provider = message.response_metadata.get("model_provider")
        return self._given.get("model_provider", provider) != provider

    def _fit(self, content: Content, start: int, end: int) -> Content:
        if isinstance(content, str):
            text = content[start:end]
            if not self._indexed or not text:
                return text
            return [{"type": "text", "text": text, "index": self._text_index(None)}]
        if not self._listed and all(isinstance(block, str) or block.get("type") in TEXT for block in content):
            return text_of(content)[start:end]
        fitted: list[str | dict[Any, Any]] = []
        at = 0
        for block in content:
            text = block_text(block)
            here = text[max(0, start - at) : max(0, end - at)]
            at += len(text)
            if text and not here:
                continue
            fitted.append(self._fit_block(block, here))
        return fitted

    def _fit_block(self, block: str | dict[Any, Any], text: str) -> str | dict[Any, Any]:
        if isinstance(block, str):
            return text
        self._listed = True
        fitted = dict(block)
        is_text = block.get("type") in TEXT
        if is_text:
            fitted["text"] = text
        if "index" in block:
            self._indexed = True
            fitted["index"] = self._text_index(block["index"]) if is_text else self._index(block["index"])
        if not is_text:
            self._last_text = None
        elif fitted.get("id"):  # A block that goes on keeps its id: under two it would be two.
            fitted["id"] = self._ids.setdefault(fitted.get("index"), fitted["id"])
        if block.get("type") in REASONING and "index" in fitted:
            self._reasoning.discard(block["index"])
            self._reasoning.add(fitted["index"])
        return fitted

    def _text_index(self, index: Any) -> Any:
        """Return the consumer's index for a block of text: the one it has last, if that is text, goes on."""
        if index not in self._indices and self._last_text is not None:
            self._indices[index] = self._last_text
        self._last_text = self._index(index if index is not None else ("text", self._number))
        return self._last_text

    def _index(self, index: Any) -> Any:
        """Return the consumer's index for one of this attempt's: the same block is the same, and none is an old one."""
        if index is None:
            return None
        if index not in self._indices:
            if isinstance(index, str):
                self._indices[index] = f"{index}.{self._number}"
            else:
                self._top += 1
                self._indices[index] = self._top
        return self._indices[index]

    # What is kept ----------------------------------------------------------------------------------------------------

    def encode(self, chunk: ChatGenerationChunk) -> str:
        """Return the chunk as JSON."""
        message, info = chunk.message, chunk.generation_info
        if type(message) is AIMessageChunk and not message.__pydantic_extra__:
            # What says nothing is as it is by default. Asked for all of it, pydantic takes more than twice as long.
            said = {name: value for name, value in message.__dict__.items() if value and name != "type"}
            fields = {"content": message.content, **said}
            with suppress(TypeError):  # A value that is no JSON, which pydantic may have words for.
                written = json.dumps({"message": {"type": message.type, "data": fields}, "info": info})
                self._written = _besides(message) if info is None and said.keys() <= _PLAIN else None
                return written
        self._written = None
        return json.dumps({"message": message_to_dict(message), "info": info})

    def decode(self, text: str) -> ChatGenerationChunk:
        """Return the chunk that `encode` wrote."""
        told = json.loads(text)
        self._read = told["message"]["data"]
        self._read.get("response_metadata", {}).pop("l0", None)  # Of a protected model that a handler heard.
        (message,) = messages_from_dict([told["message"]])
        return ChatGenerationChunk(message=cast("AIMessageChunk", message), generation_info=told["info"])

    def rest(self, chunk: ChatGenerationChunk) -> str | None:
        """Return nothing where the chunk is but for its text as the last that `encode` wrote; `None` where not."""
        message, written = chunk.message, self._written
        if written is None or type(message) is not AIMessageChunk or message.__pydantic_extra__:
            return None
        said = message.__dict__
        ident, name, position, told = written
        is_same = (
            said["id"] == ident
            and said["response_metadata"] == told
            and said["name"] == name
            and said["chunk_position"] == position
            and not said["tool_calls"]
            and not said["invalid_tool_calls"]
        )
        return "" if is_same else None

    def again(self, text: str, rest: str) -> ChatGenerationChunk:  # noqa: ARG002 - there is none
        """Return the last chunk that `decode` returned, with another text."""
        return ChatGenerationChunk(message=AIMessageChunk(**{**self._read, "content": text}))

    def final(self, metadata: Mapping[str, object]) -> ChatGenerationChunk:
        """Return the trailing chunk that says how the session went. It is the one that says it is the last."""
        message = AIMessageChunk(
            content=[] if self._listed else "",
            response_metadata=self.marked(metadata),
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)

    def marked(self, metadata: Mapping[str, object]) -> dict[str, object]:
        """Return the metadata, with the blocks of reasoning that were abandoned."""
        if not self._abandoned:
            return dict(metadata)
        (name, told), *_ = metadata.items()
        assert isinstance(told, Mapping), "it is what `Result.metadata` returns"  # noqa: S101 - between us and the driver
        return {name: {**told, "abandoned": sorted(self._abandoned, key=repr)}}


class ChatResults:
    """Answers that come in one piece."""

    def __init__(self) -> None:
        self.metadata: Mapping[str, object] = {}
        """How the session went, once it has gone: it goes on the message itself."""

    def text(self, chunk: ChatResult) -> str | None:  # noqa: ARG002 - a port is asked what every port is asked
        """Return nothing: there is always more to a result than its text."""
        return None

    def facts(self, chunk: ChatResult) -> Facts:
        """Return what the answers hold: their texts one after the other, so that guards see them all."""
        if not chunk.generations:
            return Facts()
        generation, *others = chunk.generations
        message, info = generation.message, generation.generation_info
        content, told, keywords = message.content, message.response_metadata, message.additional_kwargs
        finish = finish_of(info, told, chunk.llm_output)
        text, tools = text_of(content), _whole_calls(message, finish)
        for other in others:
            text += _APART + text_of(other.message.content)
            calls = _whole_calls(other.message, finish_of(other.generation_info, other.message.response_metadata))
            tools += tuple(call._replace(index=call.index + len(tools)) for call in calls)
        return Facts(
            text=text,
            reasoning=reasons(content, keywords),
            tools=tools,
            opaque=opaque_of(content, keywords, info),
            finish="refusal" if keywords.get("refusal") else finish,
            usage=usage_of(getattr(message, "usage_metadata", None)),
            logprob=logprob_of(info),
        )

    def cut(self, chunk: ChatResult, start: int, end: int, shown: object) -> ChatResult:  # noqa: ARG002 - as above
        """Return it as it is: nothing was given before it."""
        return chunk

    def replaced(self, chunk: ChatResult, text: str, shown: object) -> ChatResult:  # noqa: ARG002 - as above
        """Return it with another text in its first answer, without the log-probabilities of its own."""
        first, *others = chunk.generations
        if others:
            raise PolicyError("the policy masks, which several answers at a time cannot be: ask for n=1")
        message = first.message.model_copy(update={"content": with_text(first.message.content, text)})
        told = {name: said for name, said in message.response_metadata.items() if name != "logprobs"}
        message.response_metadata = told
        info = {name: said for name, said in (first.generation_info or {}).items() if name != "logprobs"}
        made = ChatGeneration(message=message, generation_info=info or None)
        return ChatResult(generations=[made], llm_output=chunk.llm_output)

    def rewritten(self, chunk: ChatResult, text: str | None, args: Mapping[int, str], shown: object) -> ChatResult:  # noqa: ARG002 - as above
        """Return it with another text, and other arguments, in its first answer."""
        first, *others = chunk.generations
        message = cast("AIMessage", first.message)
        changes: dict[str, Any] = {}
        if text is not None:
            changes["content"] = with_text(message.content, text)
        if args:
            changes |= _with_calls(message, args)
        made = ChatGeneration(message=message.model_copy(update=changes), generation_info=first.generation_info)
        return ChatResult(generations=[made, *others], llm_output=chunk.llm_output)

    def encode(self, chunk: ChatResult) -> str:
        """Return the result as JSON."""
        generations = [[message_to_dict(made.message), made.generation_info] for made in chunk.generations]
        return json.dumps({"generations": generations, "output": chunk.llm_output})

    def decode(self, text: str) -> ChatResult:
        """Return the result that `encode` wrote."""
        told = json.loads(text)
        generations = [
            ChatGeneration(message=messages_from_dict([message])[0], generation_info=info)
            for message, info in told["generations"]
        ]
        return ChatResult(generations=generations, llm_output=told["output"])

    def final(self, metadata: Mapping[str, object]) -> None:
        """Keep the metadata, and return nothing: there is no further chunk."""
        self.metadata = metadata


class Kept:
    """What the last attempt said, for a caller who wants it though it is refused."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def anew(self) -> list[Any]:
        """Return where another attempt's is to be put: one that was abandoned may still speak, and has its own."""
        self.said = []
        return self.said


class KeptChunks(ChatChunks):
    """Keeps what is read again of an attempt: whoever opened it then kept it itself."""

    def __init__(self, kept: Kept | None = None) -> None:
        super().__init__()
        self._kept = kept or Kept()

    def begin(self, attempt: Attempt) -> None:
        """Get ready for the chunks of another attempt."""
        self._kept.anew()
        super().begin(attempt)

    def decode(self, text: str) -> ChatGenerationChunk:
        """Return the chunk that `encode` wrote."""
        return self._keeping(super().decode(text))

    def again(self, text: str, rest: str) -> ChatGenerationChunk:
        """Return the last chunk that `decode` returned, with another text."""
        return self._keeping(super().again(text, rest))

    def _keeping(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        self._kept.said.append(chunk)
        return chunk


class KeptResults(ChatResults):
    """Keeps what is read again of an attempt."""

    def __init__(self, kept: Kept | None = None) -> None:
        super().__init__()
        self._kept = kept or Kept()

    def begin(self, attempt: Attempt) -> None:  # noqa: ARG002 - as every port is told
        """Get ready for the answer of another attempt."""
        self._kept.anew()

    def decode(self, text: str) -> ChatResult:
        """Return the result that `encode` wrote."""
        result = super().decode(text)
        self._kept.said.append(result)
        return result


_APART = "\n\n"
"""What stands between answers where they are looked at as one."""

_CUT = "{"
"""Arguments that have not come to an end."""

_CUT_SHORT = frozenset({"length", "max_tokens"})


def _is_call(block: object) -> bool:
    return isinstance(block, dict) and block.get("type") == "tool_use"


def _with_calls(message: AIMessage, args: Mapping[int, str]) -> dict[str, Any]:
    """Return what is changed of a message whose calls have other arguments: numbered as `_whole_calls` does."""
    calls, broken = list[Any](message.tool_calls), list[Any]()
    for number, call in enumerate(message.invalid_tool_calls, len(calls)):
        if number not in args:
            broken.append(call)
        else:
            calls.append({"name": call["name"], "id": call["id"], "type": "tool_call"})
    for number in range(len(calls)):
        if number in args:
            calls[number] = {**calls[number], "args": json.loads(args[number])}
    raw = message.additional_kwargs.get("tool_calls")
    keywords = message.additional_kwargs
    if raw:  # OpenAI's own, in which a call's place is its number.
        written = [
            {**call, "function": {**call["function"], "arguments": args.get(number, call["function"]["arguments"])}}
            for number, call in enumerate(raw)
        ]
        keywords = {**keywords, "tool_calls": written}
    return {"tool_calls": calls, "invalid_tool_calls": broken, "additional_kwargs": keywords}


def _whole_calls(message: BaseMessage, finish: str | None) -> tuple[ToolFragment, ...]:
    if not isinstance(message, AIMessage) or not (message.tool_calls or message.invalid_tool_calls):
        return ()
    whole = [(call["id"], call["name"], json.dumps(call["args"])) for call in message.tool_calls]
    broken = [(call["id"], call["name"], call["args"] or _CUT) for call in message.invalid_tool_calls]
    if whole and finish in _CUT_SHORT and isinstance(message.content, list) and _is_call(message.content[-1]):
        # The provider parsed the arguments itself, as far as they came: nobody can tell whether they came to an end.
        whole[-1] = (*whole[-1][:2], _CUT)
    return tuple(
        ToolFragment(index, ident, name, args, last=True) for index, (ident, name, args) in enumerate(whole + broken)
    )
