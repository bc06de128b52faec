"""One call of a protected model: the attempts it may make, and how each is made."""

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache, partial
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult

import l0_core
from l0_core import AsyncStream, Attempt, Stream, Target
from l0_core._context import in_attempt
from l0_langchain._candidate import Candidate
from l0_langchain._endpoint import Endpoint, secrets_of
from l0_langchain._errors import MODEL_ERRORS
from l0_langchain._events import Events
from l0_langchain._port import RESULTS, ChatChunks
from l0_langchain._protection import Protection
from l0_langchain._request import messages_for
from l0_langchain._tokens import AsyncHeldTokens, HeldTokens, Tokens
from l0_langchain._twin import shorter_kwargs, twin_of


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
        self._port = ChatChunks()
        self._tokens = Tokens()
        self._is_inner = in_attempt()
        self._events: Events | None = None

    # The four ways a model is called ---------------------------------------------------------------------------------

    def stream(self, manager: CallbackManagerForLLMRun | None) -> Iterator[ChatGenerationChunk]:
        """Return one clean stream."""
        opening = partial(self._open_stream, self._held(manager))
        stream: Stream[ChatGenerationChunk] = self._begin(l0_core.stream, opening, may_reset=manager is None)
        if manager is not None:
            return self._telling(stream, manager)
        return iter(stream) if self._events is None else self._events.follow(stream)

    def astream(self, manager: AsyncCallbackManagerForLLMRun | None) -> AsyncIterator[ChatGenerationChunk]:
        """Return one clean stream, to be awaited."""
        opening = partial(self._aopen_stream, self._aheld(manager))
        stream: AsyncStream[ChatGenerationChunk]
        stream = self._begin(l0_core.astream, opening, is_async=True, may_reset=manager is None)
        if manager is not None:
            return self._atelling(stream, manager)
        return aiter(stream) if self._events is None else self._events.afollow(stream)

    def generate(self, manager: CallbackManagerForLLMRun | None) -> ChatResult:
        """Return one whole answer."""
        opening = partial(self._open_result, self._held(manager))
        stream: Stream[ChatResult]
        stream = self._begin(l0_core.stream, opening, whole=True)
        (result,) = stream
        if manager is not None:
            for token, chunk, keywords in self._tokens.told:
                manager.on_llm_new_token(token, chunk=chunk, **keywords)
        return self._marked(result, stream.result)

    async def agenerate(self, manager: AsyncCallbackManagerForLLMRun | None) -> ChatResult:
        """Return one whole answer, awaited."""
        opening = partial(self._aopen_result, self._aheld(manager))
        stream: AsyncStream[ChatResult]
        stream = self._begin(l0_core.astream, opening, is_async=True, whole=True)
        (result,) = [result async for result in stream]
        if manager is not None:
            for token, chunk, keywords in self._tokens.told:
                await manager.on_llm_new_token(token, chunk=chunk, **keywords)
        return self._marked(result, stream.result)

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
        with said.filed():
            return start(
                first,
                fallbacks=fallbacks,
                port=RESULTS if whole else self._port,
                streamed=not whole,
                policy=said.native(may_reset=may_reset and self._events is not None),
                on=said.on if self._events is None else self._events.heard_by(said.on),
                tenant=said.tenant,
                errors=MODEL_ERRORS,
                journal=said.journal,
                input={"messages": self._messages, "stop": self._stop, **self._kwargs},
            )

    def _targets(self, opening: Callable[..., Any], *, whole: bool = False) -> Iterator[Target]:
        """Yield the targets, the wrapped model first."""
        said, secrets = self._protection, list(map(secrets_of, self._candidates_models()))
        names: set[str] = set()
        for place, candidate in enumerate(self._candidates):
            known = Endpoint.of(candidate.model, self._keywords(place))
            name = known.name if known.name not in names else f"{known.name}#{place}"
            names.add(name)
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

    def _candidates_models(self) -> list[BaseChatModel]:
        return [candidate.model for candidate in self._candidates]

    def _keywords(self, place: int) -> dict[str, Any]:
        return self._kwargs if place == 0 else self._candidates[place].keywords(self._kwargs, self._kind)

    def _attempt(
        self, place: int, attempt: Attempt, *, is_async: bool
    ) -> tuple[BaseChatModel, list[BaseMessage], dict[str, Any]]:
        """Return what an attempt is made on, and what it sends."""
        candidate = self._candidates[place]
        shown = attempt.tokens_shown if attempt.mode in {"prefill", "prompt"} else 0
        self._tokens.begin()
        return (
            twin_of(candidate.model, candidate.kind, is_async=is_async, tokens_shown=shown),
            messages_for(attempt, self._messages, is_stranger=not candidate.is_sibling_of(self._kind)),
            {"stop": self._stop, **shorter_kwargs(self._keywords(place), shown)},
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

    def _marked(self, result: ChatResult, how: l0_core.Result) -> ChatResult:
        if not self._is_inner:
            metadata = how.metadata()
            for generation in result.generations:
                message = generation.message
                message.response_metadata = {**message.response_metadata, "l0": metadata}
        return result

    # Opening ---------------------------------------------------------------------------------------------------------

    def _open_stream(self, manager: HeldTokens | None, place: int, attempt: Attempt) -> "_Source":
        self._wait_in_line(place, attempt)
        twin, messages, keywords = self._attempt(place, attempt, is_async=False)
        if manager is not None:
            keywords["run_manager"] = manager
        return _Source(twin._stream(messages, **keywords))

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
        return twin._astream(messages, **keywords)

    def _open_result(self, manager: HeldTokens | None, place: int, attempt: Attempt) -> Iterator[ChatResult]:
        self._wait_in_line(place, attempt)
        twin, messages, keywords = self._attempt(place, attempt, is_async=False)
        if takes_manager(self._candidates[place].kind, "_generate"):
            keywords["run_manager"] = manager
        yield twin._generate(messages, **keywords)

    async def _aopen_result(
        self, manager: AsyncHeldTokens | None, place: int, attempt: Attempt
    ) -> AsyncIterator[ChatResult]:
        await self._await_in_line(place, attempt)
        twin, messages, keywords = self._attempt(place, attempt, is_async=True)
        if takes_manager(self._candidates[place].kind, "_agenerate"):
            keywords["run_manager"] = manager
        yield await twin._agenerate(messages, **keywords)

    # Telling ---------------------------------------------------------------------------------------------------------

    def _telling(
        self, stream: Stream[ChatGenerationChunk], manager: CallbackManagerForLLMRun
    ) -> Iterator[ChatGenerationChunk]:
        with stream:
            for chunk in stream:
                told = self._tokens.of(chunk, is_final="l0" in chunk.message.response_metadata)
                if told is not None:
                    manager.on_llm_new_token(told.token, chunk=told.chunk, **told.keywords)
                yield chunk

    async def _atelling(
        self, stream: AsyncStream[ChatGenerationChunk], manager: AsyncCallbackManagerForLLMRun
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with stream:
            async for chunk in stream:
                told = self._tokens.of(chunk, is_final="l0" in chunk.message.response_metadata)
                if told is not None:
                    await manager.on_llm_new_token(told.token, chunk=told.chunk, **told.keywords)
                yield chunk


class _Source:
    """A model's stream, and the response it reads from, by which a read that is blocked can be cut off."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: Iterator[ChatGenerationChunk]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[ChatGenerationChunk]:
        return self._chunks

    @property
    def response(self) -> object:
        """What the provider's SDK streams from, if the model keeps it where those of today do: in its own frame."""
        frame = getattr(self._chunks, "gi_frame", None)
        if frame is None:
            return None
        return next((frame.f_locals[name] for name in ("response", "stream") if name in frame.f_locals), None)


@cache
def takes_manager(kind: type[BaseChatModel], method: str) -> bool:
    """Return whether a class's method wants a run manager, as the framework finds it out."""
    return "run_manager" in inspect.signature(getattr(kind, method)).parameters
