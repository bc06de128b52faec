"""How the twelve entry points of an LLM are asked in an attempt, of any of the LLMs that may answer.

An attempt that starts over asks exactly what the caller asked. One that goes on adds what was shown, and the words the
engine wants asked; tools are handed to each LLM as tools, so that a fallback prepares them in its own format.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import InitVar, dataclass, field
from itertools import count
from types import FrameType
from typing import Any, Literal, TypeAlias

from llama_index.core.base.llms.generic_utils import (
    astream_chat_response_to_completion_response,
    chat_response_to_completion_response,
    stream_chat_response_to_completion_response,
)
from llama_index.core.base.llms.types import ChatMessage, MessageRole, ThinkingBlock
from llama_index.core.llms import LLM
from llama_index_instrumentation.dispatcher import active_instrument_tags

from l0_core import Attempt, Target, Unsent
from l0_llamaindex import _known
from l0_llamaindex._port import ChatPort, CompletionPort
from l0_llamaindex._shape import Growing, Wanted, shown_value, wanted_by, wanted_of
from l0_llamaindex._twin import Sent, Twins

Family = Literal["chat", "complete", "tools"]
Port: TypeAlias = ChatPort | CompletionPort

_WIRE = ("tools", "tool_choice", "response_format", "parallel_tool_calls", "text_format", "functions", "function_call")
"""Keywords that are already in one provider's words."""

_CHOICES = {"auto": False, "required": True, "any": True}
"""What they call whether a tool must be called, which LlamaIndex has a word for as well."""

_ASKS_FOR = "Answer with one JSON document and nothing else. This is its schema:\n"

_GIVEN = {"chat": "messages", "complete": "prompt", "tools": "tools"}
_NAMES = {
    "chat": ("messages",),
    "complete": ("prompt", "formatted"),
    "tools": ("tools", "user_msg", "chat_history", "verbose", "allow_parallel_tool_calls", "tool_required"),
}
"""What the arguments are called, by position."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One of the entry points."""

    name: str
    family: Family
    streams: bool
    awaits: bool


def _entry(name: str) -> Entry:
    family: Family = "tools" if name.endswith("with_tools") else "complete" if name.endswith("complete") else "chat"
    return Entry(name, family, "stream" in name, name.startswith("a"))


PRIMITIVES = tuple(
    map(
        _entry,
        (
            *("chat", "complete", "stream_chat", "stream_complete"),
            *("achat", "acomplete", "astream_chat", "astream_complete"),
        ),
    )
)
"""What every LLM has."""

WITH_TOOLS = tuple(
    map(_entry, ("chat_with_tools", "achat_with_tools", "stream_chat_with_tools", "astream_chat_with_tools"))
)
"""What an LLM has that calls tools."""


@dataclass(slots=True)
class Candidate:
    """An LLM that may answer."""

    llm: LLM
    twins: Twins = field(init=False)

    def __post_init__(self) -> None:
        self.twins = Twins(self.llm)


@dataclass(slots=True)
class Question:
    """One call of an entry point, ready to be asked again.

    Attributes:
        entry: The entry point.
        args: What the caller gave, by position.
        kwargs: What the caller gave, by name.
        caller: The frame that it was called in.
        announced: Whether it is told what attempt an event is of.
    """

    entry: Entry
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    caller: InitVar[FrameType | None] = None
    announced: bool = False
    port: Port = field(init=False)
    wanted: Wanted | None = field(init=False)
    growing: Growing | None = field(init=False)

    def __post_init__(self, caller: FrameType | None) -> None:
        family = self.entry.family
        self.wanted = wanted_of(self._given.get("tools") or ()) if family == "tools" else wanted_by(caller)
        self.growing = shown_value() if self.wanted is not None and self.entry.streams else None
        self.port = (CompletionPort if family == "complete" else ChatPort)(whole=not self.entry.streams)

    @property
    def _given(self) -> dict[str, Any]:
        """What the caller gave, by name."""
        return dict(zip(_NAMES[self.entry.family], self.args, strict=False)) | self.kwargs

    @property
    def _calls(self) -> bool:
        """Whether the answer may call tools."""
        return self.entry.family == "tools" or bool(self.kwargs.get("tools"))

    @property
    def is_asked(self) -> bool:
        """Whether there is a question at all: it may have been left out."""
        return bool(self.args) or _GIVEN[self.entry.family] in self.kwargs

    @property
    def input(self) -> dict[str, Any]:
        """What is asked, by name: inside a run it tells this call from others, sync or async."""
        entry = self.entry
        return {"ask": entry.name[1:] if entry.awaits else entry.name, **self._given}

    def targets(self, candidates: Sequence[Candidate]) -> list[Target]:
        """Return the candidates that can be asked this, in order, as the engine knows them."""
        first = candidates[0].llm
        able = [candidate for candidate in candidates if candidate.llm is first or self._suits(candidate.llm, first)]
        endpoints = [_known.endpoint_of(candidate.llm) for candidate in able]
        names: list[str] = []
        targets = []
        numbers = count()
        for place, candidate in enumerate(able):
            name = _known.name_of(candidate.llm)
            names.append(name if name not in names else f"{name}#{place}")
            metadata = _known.metadata_of(candidate.llm)
            targets.append(
                Target(
                    self._opener(candidate, first, names[-1], numbers),
                    name=names[-1],
                    terminal=_known.terminal(candidate.llm),
                    prefill=_known.goes_on(candidate.llm, completes=self.entry.family == "complete"),
                    credentials=str(endpoints.index(endpoints[place])),
                    context_window=getattr(metadata, "context_window", None),
                    whole=not self.entry.streams,
                )
            )
        return targets

    def _suits(self, llm: LLM, first: LLM) -> bool:
        """Return whether a fallback can be asked: what is in one provider's words is not for another's ears."""
        if not hasattr(llm, self.entry.name):
            return False
        if self.entry.family == "tools" and not getattr(_known.metadata_of(llm), "is_function_calling_model", True):
            return False
        if _known.family(llm) == _known.family(first):
            return True
        return not any(self.kwargs.get(name) for name in _WIRE if name not in self._translated)

    @property
    def _translated(self) -> set[str]:
        """The keywords that can be said to an LLM of another make: those in nobody's words yet, and what is known."""
        if self.entry.family == "tools":  # They are handed over as tools.
            choice = self.kwargs.get("tool_choice")
            known = choice is None or choice in [*_CHOICES, *map(_name_of, self._given.get("tools") or ())]
            return {"tools", "tool_choice"} if known else {"tools"}
        return {"response_format"} if self.wanted is not None else set()

    def _translate(self, kwargs: dict[str, Any]) -> str:
        """Take out of the keywords what an LLM of another make is not given; return what it is told in its place."""
        if self.entry.family == "tools":
            choice = kwargs.pop("tool_choice", None) or "auto"
            if choice not in _CHOICES:  # It is the name of one of them, which nobody else has a word for.
                kwargs["tools"] = [tool for tool in kwargs["tools"] if _name_of(tool) == choice]
            if _CHOICES.get(choice, True):
                kwargs["tool_required"] = True
            return ""
        if self.wanted is None or kwargs.pop("response_format", None) is None:
            return ""
        return f"{_ASKS_FOR}{json.dumps(self.wanted.shape.json_schema)}"

    def _opener(self, candidate: Candidate, first: LLM, name: str, numbers: Iterator[int]) -> Callable[..., Any]:
        entry = self.entry
        foreign = _known.family(candidate.llm) != _known.family(first)

        def asked(attempt: Attempt) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], Sent]:
            sent = Sent()
            fields = _less(candidate.llm.__dict__, attempt)
            twin = candidate.twins.twin(fields, sent, awaits=entry.awaits)
            ask, args, keywords = self._asked_of(twin, attempt, foreign=foreign)
            return ask, args, keywords, sent

        def stream(attempt: Attempt) -> Iterable[Any]:
            ask, args, keywords, sent = asked(attempt)
            with self._tagged(attempt), unsent(sent):
                chunks = ask(*args, **keywords)
            return self._read(chunks, sent)

        async def stream_async(attempt: Attempt) -> AsyncIterator[Any]:
            ask, args, keywords, sent = asked(attempt)
            with self._tagged(attempt), unsent(sent):
                chunks = await ask(*args, **keywords)
            return self._read_async(chunks, sent)

        def whole() -> Any:
            attempt = _fresh(name, next(numbers))
            ask, args, keywords, sent = asked(attempt)
            with self._tagged(attempt), unsent(sent):
                return ask(*args, **keywords)

        async def whole_async() -> Any:
            attempt = _fresh(name, next(numbers))
            ask, args, keywords, sent = asked(attempt)
            with self._tagged(attempt), unsent(sent):
                return await ask(*args, **keywords)

        def one(attempt: Attempt) -> Iterator[Any]:
            ask, args, keywords, sent = asked(attempt)
            with self._tagged(attempt), unsent(sent):
                yield ask(*args, **keywords)

        async def one_async(attempt: Attempt) -> AsyncIterator[Any]:
            ask, args, keywords, sent = asked(attempt)
            with self._tagged(attempt), unsent(sent):
                yield await ask(*args, **keywords)

        if entry.streams:
            return stream_async if entry.awaits else stream
        if self.wanted is not None:  # Its attempts differ: they say what is to be put right.
            return one_async if entry.awaits else one
        return whole_async if entry.awaits else whole

    def _read(self, chunks: Any, sent: Sent) -> Iterable[Any]:
        """Return an answer's chunks as they are to be read: of a client that says what it does, or to their end."""
        if sent.told:
            return _Answer(chunks, sent)
        return _to_the_end(chunks, self.port) if self._calls else chunks

    def _read_async(self, chunks: Any, sent: Sent) -> AsyncIterator[Any]:
        if sent.told:
            return _watched_async(chunks, sent)
        return _to_the_end_async(chunks, self.port) if self._calls else chunks

    @contextmanager
    def _tagged(self, attempt: Attempt) -> Iterator[None]:
        """Tag what the framework reports of an attempt: of a further one its number, of all that are announced more."""
        tags: dict[str, object] = {}
        if self.announced:
            tags = {"l0.attempt": attempt.number, "l0.target": attempt.target, "l0.mode": attempt.mode}
        elif attempt.number:
            tags = {"l0.attempt": attempt.number}
        if not tags:
            yield
            return
        token = active_instrument_tags.set({**active_instrument_tags.get(), **tags})
        try:
            yield
        finally:
            active_instrument_tags.reset(token)

    def _asked_of(
        self, llm: LLM, attempt: Attempt, *, foreign: bool
    ) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """Return the method and the arguments with which to ask an LLM for the answer, or for the rest of it.

        Lists are copied: integrations append to those they are given. What starts over is asked as the caller did.
        """
        entry, goes_on = self.entry, _goes_on(attempt)
        ask = getattr(llm, entry.name)
        args = tuple(map(_copied, self.args))
        kwargs = {name: _copied(value) for name, value in self.kwargs.items()}
        if not goes_on and not foreign:
            return ask, args, kwargs
        kwargs |= zip(_NAMES[entry.family], args, strict=False)
        kwargs |= _less(kwargs, attempt)
        told = self._translate(kwargs) if foreign else ""
        rest = args[len(_NAMES[entry.family]) :]
        given = kwargs.pop(_GIVEN[entry.family])
        if entry.family == "tools":
            return ask, (given, *rest), _said(kwargs, goes_on, foreign=foreign)
        if entry.family == "chat":
            messages = [_impersonal(message) for message in given] if foreign else given
            if told:
                messages = [*messages, ChatMessage(role=MessageRole.USER, content=told)]
            return ask, ([*messages, *goes_on], *rest), kwargs
        if not goes_on:
            return ask, (given, *rest), kwargs
        if getattr(_known.metadata_of(llm), "is_chat_model", False):
            kwargs.pop("formatted", None)  # Messages need no formatting.
            messages = [ChatMessage(role=MessageRole.USER, content=given), *goes_on]
            return _completing(llm, entry), (messages,), kwargs
        tail = attempt.prefix or f"{attempt.shown or attempt.rejected}\n\n{attempt.instruction}\n"
        return ask, (f"{given}{tail}", *rest), kwargs


def _said(kwargs: dict[str, Any], goes_on: Sequence[ChatMessage], *, foreign: bool) -> dict[str, Any]:
    """Return the keywords of a call with tools, with what was said since as its history."""
    history = list(kwargs.get("chat_history") or ())
    if foreign:
        history = [_impersonal(message) for message in history]
    if goes_on:
        said = kwargs.get("user_msg")
        said = ChatMessage(role=MessageRole.USER, content=said) if isinstance(said, str) else said
        history += [*([said] if said is not None else ()), *goes_on]
        return {**kwargs, "user_msg": None, "chat_history": history}
    return {**kwargs, "chat_history": history}


def _completing(llm: LLM, entry: Entry) -> Callable[..., Any]:
    """Return a way to ask a chat model for a completion in messages: a prompt has no place for what was said."""

    async def complete_whole_async(messages: Sequence[ChatMessage], **keywords: Any) -> Any:
        return chat_response_to_completion_response(await llm.achat(messages, **keywords))

    def complete_whole(messages: Sequence[ChatMessage], **keywords: Any) -> Any:
        return chat_response_to_completion_response(llm.chat(messages, **keywords))

    async def complete_async(messages: Sequence[ChatMessage], **keywords: Any) -> Any:
        return astream_chat_response_to_completion_response(await llm.astream_chat(messages, **keywords))

    def complete(messages: Sequence[ChatMessage], **keywords: Any) -> Any:
        return stream_chat_response_to_completion_response(llm.stream_chat(messages, **keywords))

    if entry.streams:
        return complete_async if entry.awaits else complete
    return complete_whole_async if entry.awaits else complete_whole


def _goes_on(attempt: Attempt) -> list[ChatMessage]:
    """Return the messages by which an answer that broke off is taken up."""
    if attempt.prefix:
        return [ChatMessage(role=MessageRole.ASSISTANT, content=attempt.prefix)]
    if attempt.instruction:
        said = attempt.shown or attempt.rejected
        return [
            *([ChatMessage(role=MessageRole.ASSISTANT, content=said)] if said else ()),
            ChatMessage(role=MessageRole.USER, content=attempt.instruction),
        ]
    return []


def _less(holder: Mapping[str, Any], attempt: Attempt) -> dict[str, Any]:
    """Return a limit on the answer's length, less what was shown."""
    limit = holder.get("max_tokens")
    return (
        {"max_tokens": max(1, limit - attempt.tokens_shown)} if attempt.tokens_shown and isinstance(limit, int) else {}
    )


def _name_of(tool: Any) -> str | None:
    name: str | None = tool.metadata.name
    return name


def _copied(value: Any) -> Any:
    return list(value) if type(value) is list else value


def _impersonal(message: ChatMessage) -> ChatMessage:
    """Return a message without reasoning: it is signed, or worded, for the one who thought it."""
    if not any(isinstance(block, ThinkingBlock) for block in message.blocks):
        return message
    blocks = [block for block in message.blocks if not isinstance(block, ThinkingBlock)]
    return message.model_copy(update={"blocks": blocks})


def _fresh(name: str, number: int) -> Attempt:
    return Attempt(name, number, "fresh", "", "", "", "", 0, float("inf"), "")


@contextmanager
def unsent(sent: Sent) -> Iterator[None]:
    """Let what any code can raise be the caller's where the request had not gone out: no provider can be behind it."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        if sent.nothing:
            raise Unsent from error
        raise


class _Answer:
    """Chunks, and the response they are read from: who stops reading in another thread can hang up by it."""

    def __init__(self, chunks: Generator[Any, None, None], sent: Sent) -> None:
        self._chunks = chunks
        self._sent = sent

    @property
    def response(self) -> Any:
        return self._sent.response

    def __iter__(self) -> Iterator[Any]:
        try:
            with unsent(self._sent):
                yield from self._chunks
        finally:  # What an integration trips over it leaves open.
            if self._sent.response is not None:
                self._sent.response.close()

    def close(self) -> None:
        self._chunks.close()


async def _watched_async(chunks: Any, sent: Sent) -> AsyncIterator[Any]:
    try:
        with unsent(sent):
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk
    finally:  # As above.
        if sent.response is not None:
            await sent.response.aclose()


class _Waiting:
    """Chunks as they come, but for those that tell more if they are the last: these when it is known."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._late: list[Any] = []

    def next(self, chunk: Any) -> list[Any]:
        """Return what is to be given now that a chunk has come."""
        due = [*self._late, chunk]
        self._late = [due.pop()] if self._port.waits(chunk) else []
        return due

    def last(self) -> list[Any]:
        """Return what is left when no more comes."""
        for chunk in self._late:
            self._port.ends_with(chunk)
        return self._late


def _to_the_end(chunks: Iterable[Any], port: Port) -> Iterator[Any]:
    waiting = _Waiting(port)
    try:
        for chunk in chunks:
            yield from waiting.next(chunk)
        yield from waiting.last()
    finally:
        if isinstance(chunks, Generator):
            chunks.close()


async def _to_the_end_async(chunks: Any, port: Port) -> AsyncIterator[Any]:
    waiting = _Waiting(port)
    try:
        async for chunk in chunks:
            for due in waiting.next(chunk):
                yield due
        for due in waiting.last():
            yield due
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
