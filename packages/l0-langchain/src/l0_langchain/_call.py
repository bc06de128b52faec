"""One call of a protected model: the attempts it may make, and how each is made."""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import aclosing, closing
from functools import cache, partial
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import agenerate_from_stream, generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

import l0_core
from l0_core import AsyncStream, Attempt, Stream, Target
from l0_core._context import in_attempt
from l0_core._settings import frame_here
from l0_langchain._candidate import Candidate
from l0_langchain._endpoint import Endpoint, secrets_of
from l0_langchain._errors import MODEL_ERRORS, VALUE_ERRORS, UnfitOutput
from l0_langchain._events import Events
from l0_langchain._port import ChatChunks, ChatResults, Kept, KeptChunks, KeptResults
from l0_langchain._protection import Protection
from l0_langchain._quiet import quiet_keywords
from l0_langchain._request import messages_for
from l0_langchain._task import TaskPiece, piece_of, task_here
from l0_langchain._tokens import AsyncHeldTokens, HeldTokens, Tokens
from l0_langchain._twin import changed, shorter_kwargs, twin_of
from l0_langchain._wanted import REFUSED, Wanted


class Call:
    """The attempts of one call, on the model and on its fallbacks."""

    def __init__(
        self,
        model: BaseChatModel,
        kind: type[BaseChatModel],
        protection: Protection,
        messages: list[BaseMessage],
        stop: list[str] | None,
        kwargs: dict[str, Any],
    ) -> None:
        self._kind = kind
        self._protection = protection
        self._messages = messages
        self._stop = stop
        self._kwargs = kwargs
        self._candidates = [Candidate(model, kind, {}), *protection.fallbacks]
        self._port: ChatChunks
        self._results: ChatResults
        """The one or the other, as the call is made."""
        self._tokens = Tokens()
        self._is_inner = in_attempt()
        wanted = self._wanted = None if self._is_inner else protection.wanted
        self._events: Events | None = None
        self._raw = Kept() if wanted is not None and protection.wants_raw else None
        """What the last attempt said, where the caller wants it though it does not fit."""
        self._unfit: UnfitOutput | None = None
        """Why it does not."""
        self._strangers: set[str] = set()
        """The targets of another make than the wrapped model."""

    # The four ways a model is called ---------------------------------------------------------------------------------

    def stream(self, manager: CallbackManagerForLLMRun | None) -> Iterator[ChatGenerationChunk]:
        """Return one clean stream."""
        piece = self._piece(whole=False)
        if piece is not None:
            return self._following(piece, manager)
        return _in_one(self._generate(manager)) if self._was(streamed=False) else self._stream(manager)

    def _following(self, piece: TaskPiece, manager: CallbackManagerForLLMRun | None) -> Iterator[ChatGenerationChunk]:
        with piece.taken_up() as begun:
            with begun.around():
                chunks = _in_one(self._generate(manager)) if begun.is_twin else self._stream(manager)
            with closing(cast("Generator[ChatGenerationChunk]", chunks)):
                yield from chunks
            begun.failure = self._unfit

    def _stream(self, manager: CallbackManagerForLLMRun | None) -> Iterator[ChatGenerationChunk]:
        opening = partial(self._open_stream, self._held(manager))
        stream: Stream[ChatGenerationChunk] = self._begin(l0_core.stream, opening, may_reset=manager is None)
        chunks = iter(stream) if self._wanted is None else self._valued(stream, self._wanted)
        if self._events is not None:
            chunks = self._events.follow(chunks)
        return chunks if manager is None else self._telling(chunks, manager)

    def astream(self, manager: AsyncCallbackManagerForLLMRun | None) -> AsyncIterator[ChatGenerationChunk]:
        """Return one clean stream, to be awaited."""
        piece = self._piece(whole=False)
        if piece is not None:
            return self._afollowing(piece, manager)
        return self._ain_one(manager) if self._was(streamed=False) else self._astream(manager)

    async def _afollowing(
        self, piece: TaskPiece, manager: AsyncCallbackManagerForLLMRun | None
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with piece.ataken_up() as begun:
            with begun.around():
                chunks = self._ain_one(manager) if begun.is_twin else self._astream(manager)
            async with aclosing(cast("AsyncGenerator[ChatGenerationChunk]", chunks)):
                async for chunk in chunks:
                    yield chunk
            begun.failure = self._unfit

    def _astream(self, manager: AsyncCallbackManagerForLLMRun | None) -> AsyncIterator[ChatGenerationChunk]:
        opening = partial(self._aopen_stream, self._aheld(manager))
        stream: AsyncStream[ChatGenerationChunk]
        stream = self._begin(l0_core.astream, opening, is_async=True, may_reset=manager is None)
        chunks = aiter(stream) if self._wanted is None else self._avalued(stream, self._wanted)
        if self._events is not None:
            chunks = self._events.afollow(chunks)
        return chunks if manager is None else self._atelling(chunks, manager)

    def generate(self, manager: CallbackManagerForLLMRun | None) -> ChatResult:
        """Return one whole answer."""
        piece = self._piece(whole=True)
        if piece is None:
            return generate_from_stream(self._stream(None)) if self._was(streamed=True) else self._generate(manager)
        with piece.taken_up() as begun:
            with begun.around():
                result = generate_from_stream(self._stream(None)) if begun.is_twin else self._generate(manager)
            begun.failure = self._unfit
        return result

    def _generate(self, manager: CallbackManagerForLLMRun | None) -> ChatResult:
        opening = partial(self._open_result, manager)
        stream: Stream[ChatResult]
        stream = self._begin(l0_core.stream, opening, whole=True)
        try:
            (result,) = stream
        except UnfitOutput as error:
            return self._refused(error)
        if manager is not None:
            for token, chunk, keywords in self._tokens.told:
                manager.on_llm_new_token(token, chunk=chunk, **keywords)
        return self._marked(result, stream)

    async def agenerate(self, manager: AsyncCallbackManagerForLLMRun | None) -> ChatResult:
        """Return one whole answer, awaited."""
        piece = self._piece(whole=True)
        if piece is None:
            was_streamed = self._was(streamed=True)
            return await (agenerate_from_stream(self._astream(None)) if was_streamed else self._agenerate(manager))
        async with piece.ataken_up() as begun:
            with begun.around():
                if begun.is_twin:
                    result = await agenerate_from_stream(self._astream(None))
                else:
                    result = await self._agenerate(manager)
            begun.failure = self._unfit
        return result

    async def _agenerate(self, manager: AsyncCallbackManagerForLLMRun | None) -> ChatResult:
        opening = partial(self._aopen_result, manager)
        stream: AsyncStream[ChatResult]
        stream = self._begin(l0_core.astream, opening, is_async=True, whole=True)
        try:
            (result,) = [result async for result in stream]
        except UnfitOutput as error:
            return self._refused(error)
        if manager is not None:
            for token, chunk, keywords in self._tokens.told:
                await manager.on_llm_new_token(token, chunk=chunk, **keywords)
        return self._marked(result, stream)

    async def _ain_one(self, manager: AsyncCallbackManagerForLLMRun | None) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _in_one(await self._agenerate(manager)):
            yield chunk

    def _was(self, *, streamed: bool) -> bool:
        """Whether the run around the call has it already, made in that way: so it is given again, or gone on with."""
        if frame_here() is None:
            return False
        from l0_core._session_step import was_streamed

        return was_streamed(next(self._targets(_never, whole=not streamed)), self._input) is streamed

    def _piece(self, *, whole: bool) -> TaskPiece | None:
        """Return what this call is to the task of a graph that it is made in, if that can be done again."""
        task = task_here()
        if task is None:
            return None
        said = self._protection
        policy = said.native(may_reset=False).digest
        targets = [target.name for target in self._targets(_never, whole=whole)]
        given = [targets, policy, self._input]
        ways = ("whole", "streamed") if whole else ("streamed", "whole")
        name = targets[0] or ""
        found_by = {"of": said.run, "tenant": said.tenant, "user": said.user}
        return piece_of(task, said.journal, name, given, ways=ways, **found_by)

    @property
    def _input(self) -> dict[str, Any]:
        return {"messages": self._messages, "stop": self._stop, **self._kwargs}

    def _held(self, manager: CallbackManagerForLLMRun | None) -> HeldTokens | None:
        """Return the run manager of an attempt, where there is one of the call."""
        return None if manager is None else HeldTokens(manager, self._tokens)

    def _aheld(self, manager: AsyncCallbackManagerForLLMRun | None) -> AsyncHeldTokens | None:
        return None if manager is None else AsyncHeldTokens(manager, self._tokens)

    # What they share -------------------------------------------------------------------------------------------------

    def _begin(
        self,
        start: Callable[..., Any],
        opening: Callable[..., Any],
        *,
        is_async: bool = False,
        whole: bool = False,
        may_reset: bool = False,
    ) -> Any:
        """Start a session over the wrapped model and its fallbacks."""
        said = self._protection
        if said.events and not self._is_inner:
            self._events = Events(is_async=is_async)
        first, *fallbacks = self._targets(opening, whole=whole)
        port: ChatChunks | ChatResults
        if whole:
            port = self._results = ChatResults() if self._raw is None else KeptResults(self._raw)
        else:
            port = self._port = ChatChunks() if self._raw is None else KeptChunks(self._raw)
        with said.filed():
            return start(
                first,
                fallbacks=fallbacks,
                port=port,
                streamed=not whole,
                policy=said.native(may_reset=may_reset and self._events is not None),
                on=said.on if self._events is None else self._events.heard_by(said.on),
                tenant=said.tenant,
                errors=MODEL_ERRORS if self._wanted is None else VALUE_ERRORS,
                journal=said.journal,
                input=self._input,
                **({} if is_async else {"stall_guard": said.stall_guard or "thread"}),
            )

    def _targets(self, opening: Callable[..., Any], *, whole: bool = False) -> Iterator[Target]:
        """Yield the targets, the wrapped model first."""
        said, secrets = self._protection, self._secrets()
        names: set[str] = set()
        for place, candidate in enumerate(self._candidates):
            known = Endpoint.of(candidate.model, self._keywords(place), whole=whole)
            name = known.name if known.name not in names else f"{known.name}#{place}"
            names.add(name)
            if not candidate.is_sibling_of(self._kind):
                self._strangers.add(name)
            yield Target(
                partial(opening, place),
                name=name,
                terminal=(said.terminal if place == 0 else None) or known.terminal,
                prefill=said.prefill if place == 0 and said.prefill is not None else known.prefill,
                reasons=known.reasons,
                whole=whole,
                credentials=str(secrets.index(secrets[place])) if secrets[place] else None,
                context_window=known.context_window,
            )

    def _secrets(self) -> list[tuple[str, ...]]:
        """Return the credentials of each, where there are several: then those are passed over whose have failed."""
        if len(self._candidates) == 1:
            return [()]
        return [secrets_of(candidate.model) for candidate in self._candidates]

    def _keywords(self, place: int) -> dict[str, Any]:
        return self._kwargs if place == 0 else self._candidates[place].keywords(self._kwargs, self._kind)

    def _attempt(
        self, place: int, attempt: Attempt, *, is_async: bool
    ) -> tuple[BaseChatModel, list[BaseMessage], dict[str, Any]]:
        """Return what an attempt is made on, and what it sends."""
        candidate = self._candidates[place]
        shown = attempt.tokens_shown if attempt.mode in {"prefill", "prompt"} else 0
        self._tokens.begin()
        keywords = self._keywords(place)
        if self._wanted is not None and "response_format" in keywords:
            keywords = self._wanted.keywords(keywords)
        return (
            twin_of(candidate.model, candidate.kind, is_async=is_async, tokens_shown=shown),
            messages_for(attempt, self._messages, is_stranger=not candidate.is_sibling_of(self._kind)),
            {"stop": self._stop, **shorter_kwargs(keywords, shown), **quiet_keywords(candidate.kind)},
        )

    def _must_queue(self, place: int, attempt: Attempt) -> bool:
        """Whether the framework has not asked the model's rate limiter on behalf of this attempt."""
        return self._candidates[place].model.rate_limiter is not None and (place > 0 or attempt.number > 0)

    def _wait_in_line(self, place: int, attempt: Attempt) -> None:
        limiter = self._candidates[place].model.rate_limiter
        if limiter is not None and self._must_queue(place, attempt):
            limiter.acquire(blocking=True)

    async def _await_in_line(self, place: int, attempt: Attempt) -> None:
        limiter = self._candidates[place].model.rate_limiter
        if limiter is not None and self._must_queue(place, attempt):
            await limiter.aacquire(blocking=True)

    def _marked(self, result: ChatResult, stream: Stream[ChatResult] | AsyncStream[ChatResult]) -> ChatResult:
        metadata = self._results.metadata
        if self._strangers and stream.result.served_by in self._strangers:
            result = changed(result, llm_output=None)  # What its make says of it the wrapped class cannot read.
        if metadata:  # Else it is inside an attempt, and its session has none.
            result = _telling_of(result, metadata)
            if self._wanted is not None:
                self._wanted.completed(result.generations[0].message, stream.result.text)
        return result

    # Opening ---------------------------------------------------------------------------------------------------------

    def _open_stream(self, manager: HeldTokens | None, place: int, attempt: Attempt) -> "_Source":
        self._wait_in_line(place, attempt)
        twin, messages, keywords = self._attempt(place, attempt, is_async=False)
        if manager is not None:
            keywords["run_manager"] = manager
        chunks = twin._stream(messages, **keywords)
        return _Source(chunks, chunks if self._raw is None else _kept(chunks, self._raw))

    def _aopen_stream(self, manager: AsyncHeldTokens | None, place: int, attempt: Attempt) -> Any:
        if self._must_queue(place, attempt):
            return self._aopen_in_line(manager, place, attempt)
        return self._aopen(manager, place, attempt)

    async def _aopen_in_line(self, manager: AsyncHeldTokens | None, place: int, attempt: Attempt) -> Any:
        await self._await_in_line(place, attempt)
        return self._aopen(manager, place, attempt)

    def _aopen(
        self, manager: AsyncHeldTokens | None, place: int, attempt: Attempt
    ) -> AsyncIterator[ChatGenerationChunk]:
        twin, messages, keywords = self._attempt(place, attempt, is_async=True)
        if manager is not None:
            keywords["run_manager"] = manager
        chunks = twin._astream(messages, **keywords)
        return chunks if self._raw is None else _akept(chunks, self._raw)

    def _open_result(
        self, manager: CallbackManagerForLLMRun | None, place: int, attempt: Attempt
    ) -> Iterator[ChatResult]:
        self._wait_in_line(place, attempt)
        twin, messages, keywords = self._attempt(place, attempt, is_async=False)
        if takes_manager(self._candidates[place].kind, "_generate"):
            keywords["run_manager"] = self._held(manager)
        result = twin._generate(messages, **keywords)
        if self._raw is not None:
            self._raw.anew().append(result)
        yield result

    async def _aopen_result(
        self, manager: AsyncCallbackManagerForLLMRun | None, place: int, attempt: Attempt
    ) -> AsyncIterator[ChatResult]:
        await self._await_in_line(place, attempt)
        twin, messages, keywords = self._attempt(place, attempt, is_async=True)
        if takes_manager(self._candidates[place].kind, "_agenerate"):
            keywords["run_manager"] = self._aheld(manager)
        result = await twin._agenerate(messages, **keywords)
        if self._raw is not None:
            self._raw.anew().append(result)
        yield result

    # Answers that are values ------------------------------------------------------------------------------------------

    def _valued(self, stream: Stream[ChatGenerationChunk], wanted: Wanted) -> Iterator[ChatGenerationChunk]:
        """Yield the stream; where no answer fits and the caller wants it raw, the last one, and that it does not."""
        with stream:
            try:
                for chunk in stream:
                    if "l0" in chunk.message.response_metadata:
                        wanted.completed(chunk.message, stream.result.text)
                    yield chunk
            except UnfitOutput as error:
                said, metadata = self._raw_of(error)
                yield from said
                yield self._port.final(metadata)

    async def _avalued(
        self, stream: AsyncStream[ChatGenerationChunk], wanted: Wanted
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with stream:
            try:
                async for chunk in stream:
                    if "l0" in chunk.message.response_metadata:
                        wanted.completed(chunk.message, stream.result.text)
                    yield chunk
            except UnfitOutput as error:
                said, metadata = self._raw_of(error)
                for chunk in said:
                    yield chunk
                yield self._port.final(metadata)

    def _refused(self, error: UnfitOutput) -> ChatResult:
        """Return the last answer, marked as one that does not fit; raise where nobody wants it."""
        said, metadata = self._raw_of(error)
        return _telling_of(said[0], metadata)

    def _raw_of(self, error: UnfitOutput) -> tuple[list[Any], dict[str, object]]:
        """Return what the last attempt said, and the metadata that say it does not fit; raise where nobody wants it."""
        if self._raw is None or not self._raw.said or error.result is None:
            raise error
        self._unfit = error
        return self._raw.said, {"l0": {**error.result.metadata(), REFUSED: True}}

    # Telling ---------------------------------------------------------------------------------------------------------

    def _telling(
        self, chunks: Iterator[ChatGenerationChunk], manager: CallbackManagerForLLMRun
    ) -> Iterator[ChatGenerationChunk]:
        tokens = self._tokens
        with closing(cast("Generator[ChatGenerationChunk]", chunks)):
            for chunk in chunks:
                if tokens.tells:
                    told = tokens.of(chunk, is_final="l0" in chunk.message.response_metadata)
                    if told is not None:
                        manager.on_llm_new_token(told.token, chunk=told.chunk, **told.keywords)
                yield chunk

    async def _atelling(
        self, chunks: AsyncIterator[ChatGenerationChunk], manager: AsyncCallbackManagerForLLMRun
    ) -> AsyncIterator[ChatGenerationChunk]:
        tokens = self._tokens
        async with aclosing(cast("AsyncGenerator[ChatGenerationChunk]", chunks)):
            async for chunk in chunks:
                if tokens.tells:
                    told = tokens.of(chunk, is_final="l0" in chunk.message.response_metadata)
                    if told is not None:
                        await manager.on_llm_new_token(told.token, chunk=told.chunk, **told.keywords)
                yield chunk


def _telling_of(result: ChatResult, metadata: Mapping[str, object]) -> ChatResult:
    """Return an answer whose messages tell how the session went. They are its own: a model may give its again."""
    generations = []
    for generation in result.generations:
        message = generation.message
        message = changed(message, response_metadata={**message.response_metadata, **metadata})
        generations.append(changed(generation, message=message))
    return changed(result, generations=generations)


def _in_one(result: ChatResult) -> Iterator[ChatGenerationChunk]:
    """Yield an answer that was not streamed when it was given, to somebody who streams it now."""
    for generation in result.generations:
        said = generation.message.model_dump(exclude={"type"})
        yield ChatGenerationChunk(message=AIMessageChunk(**said), generation_info=generation.generation_info)


def _never(*_: object) -> Any:
    """Stand in for what opens a target that is only asked its name."""


class _Source:
    """A model's stream, and the response it reads from, by which a read that is blocked can be cut off."""

    __slots__ = ("_chunks", "_given")

    def __init__(self, chunks: Iterator[ChatGenerationChunk], given: Iterator[ChatGenerationChunk]) -> None:
        self._chunks = chunks
        self._given = given

    def __iter__(self) -> Iterator[ChatGenerationChunk]:
        return self._given

    @property
    def response(self) -> object:
        """What the provider's SDK streams from, if the model keeps it where those of today do: in its own frame."""
        frame = getattr(self._chunks, "gi_frame", None)
        if frame is None:
            return None
        return next((frame.f_locals[name] for name in ("response", "stream") if name in frame.f_locals), None)


def _kept(chunks: Iterator[ChatGenerationChunk], kept: Kept) -> Iterator[ChatGenerationChunk]:
    """Yield an attempt's chunks, and keep them in the place of those of the attempt before."""
    keep = kept.anew().append
    for chunk in chunks:
        keep(chunk)
        yield chunk


async def _akept(chunks: AsyncIterator[ChatGenerationChunk], kept: Kept) -> AsyncIterator[ChatGenerationChunk]:
    keep = kept.anew().append
    async with aclosing(cast("AsyncGenerator[ChatGenerationChunk]", chunks)):
        async for chunk in chunks:
            keep(chunk)
            yield chunk


@cache
def takes_manager(kind: type[BaseChatModel], method: str) -> bool:
    """Return whether a class's method wants a run manager, as the framework finds it out."""
    return "run_manager" in inspect.signature(getattr(kind, method)).parameters
