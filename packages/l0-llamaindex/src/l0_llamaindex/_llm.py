"""`L0LLM`: an LLM of LlamaIndex whose answers arrive whole.

What it answers with is an object of one class for each wrapped class, a subclass of it and of `L0LLM`. The object
shares the state of the wrapped LLM, both ways, and differs in the methods that reach a provider: all else is inherited
and runs on it. So `isinstance`, attributes, metadata, prompts, programs and wire requests stay what they were.

Those methods are undecorated. Each attempt calls the public method of the wrapped LLM (or of its twin), which is: so
every attempt reports its own events and spans, as it would have without L0, and nothing is reported twice.
"""

import copy
import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from llama_index.core.llms import LLM
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index_instrumentation.dispatcher import DISPATCHER_SPAN_DECORATED_ATTR
from pydantic import BaseModel

import l0_core
from l0_core import Lifecycle
from l0_core._settings import PolicyLike, passes_through, policy_of
from l0_llamaindex import _known
from l0_llamaindex._attempts import PRIMITIVES, WITH_TOOLS, Candidate, Entry, Question, unsent
from l0_llamaindex._events import Announcing
from l0_llamaindex._journal import journal_of
from l0_llamaindex._pool import calls_in, members_of, pool_of
from l0_llamaindex._shape import Growing, Wanted, showing, wanting
from l0_llamaindex._twin import Sent, like, share_slots

if TYPE_CHECKING:
    from llama_index.core.base.llms.types import LLMMetadata

    from l0_core._journal import JournalLike

StallGuard = Literal["thread", "off"]


@dataclass(frozen=True, slots=True)
class Protection:
    """How an LLM is protected, and with what."""

    inner: LLM
    fallbacks: tuple[LLM, ...] = ()
    policy: PolicyLike = None
    on: Lifecycle | None = None
    tenant: str | None = None
    stall_guard: StallGuard = "thread"
    journal: "JournalLike" = None
    candidates: tuple[Candidate, ...] = field(init=False, repr=False, compare=False)
    is_mixed: bool = field(init=False, repr=False, compare=False)
    """Whether an answer may be of another make than the wrapped LLM's."""
    _options: dict[str, Any] = field(init=False, repr=False, compare=False)
    _held: "L0LLM | None" = field(default=None, init=False, repr=False, compare=False)
    """What a structured LLM holds, protected."""

    def __post_init__(self) -> None:
        candidates = tuple(map(Candidate, (*members_of(self.inner), *self.fallbacks)))
        # A policy that is wrong is refused here; one that is not named may still come from the environment, per call.
        policy = None if self.policy is None else policy_of(self.policy)
        object.__setattr__(self, "candidates", candidates)
        object.__setattr__(self, "is_mixed", len({_known.family(each.llm) for each in candidates}) > 1)
        # So is a journal: one file is one journal, however many share it.
        options = {"policy": policy, "on": self.on, "tenant": self.tenant, "journal": journal_of(self.journal)}
        object.__setattr__(self, "_options", options)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Protection, (
            self.inner,
            self.fallbacks,
            self.policy,
            self.on,
            self.tenant,
            self.stall_guard,
            self.journal,
        )

    def ask(self, question: Question) -> Any:
        """Ask the candidates, as the policy allows, in the way of the question's entry point."""
        entry = question.entry
        question.announced = isinstance(self.on, Announcing)
        if not question.is_asked:
            return getattr(self.inner, entry.name)(*question.args, **question.kwargs)
        if isinstance(self.inner, StructuredLLM):
            return getattr(self._over_protected(self.inner), entry.name)(*question.args, **question.kwargs)
        first, *others = question.targets(self.candidates)
        options = {**self._options, "fallbacks": others, "port": question.port, "input": question.input}
        if question.wanted is not None:
            streams = entry.streams
            replaces = question.growing is not None
            options["policy"] = question.wanted.policy(self.policy, whole=not streams, replaces=replaces)
            if not streams:
                return (_valid_async if entry.awaits else _valid)(first, options)
        if entry.awaits:
            return self._stream_async(question, first, options) if entry.streams else l0_core.acall(first, **options)
        if entry.streams:
            stream = l0_core.stream(first, stall_guard=self.stall_guard, **options).begin()
            wanted = _wanted_of_text(question, stream)
            return iter(stream) if wanted is None else _put_right(wanted, question.port, stream)
        return l0_core.call(first, **options)

    def predict(self, name: str, output_cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Have something predicted structured, as a whole, where the LLM does so by a way of its own."""
        awaits, streams = name.startswith("a"), "stream" in name
        if isinstance(output_cls, type) and issubclass(output_cls, BaseModel):
            l0_core.remember(output_cls)

        def asked(candidate: Candidate, sent: Sent) -> Any:
            twin = candidate.twins.twin({}, sent, awaits=awaits)
            return getattr(twin, name)(output_cls, *args, **kwargs)

        def attempt(candidate: Candidate) -> Any:
            sent = Sent()
            with unsent(sent):
                predicted = asked(candidate, sent)
                return list(predicted) if streams else predicted

        async def attempt_async(candidate: Candidate) -> Any:
            sent = Sent()
            with unsent(sent):
                predicted = await asked(candidate, sent)
                return [part async for part in predicted] if streams else predicted

        attempts = attempt_async if awaits else attempt
        first, *others = (
            l0_core.Target(partial(attempts, each), name=_known.name_of(each.llm)) for each in self.candidates
        )
        call = l0_core.acall if awaits else l0_core.call
        return call(
            first, fallbacks=others, input={"ask": name.removeprefix("a"), "args": args, **kwargs}, **self._options
        )

    def _over_protected(self, structured: StructuredLLM) -> StructuredLLM:
        """Return a structured LLM as it is now, over a protected one: what asks the provider is what it holds."""
        held = unwrap(structured.llm)
        if self._held is None or self._held._l0.inner is not held:  # noqa: SLF001 - it is ours
            fallbacks = tuple(_asked_by(each) for each in self.fallbacks)
            object.__setattr__(self, "_held", wrap(replace(self, inner=held, fallbacks=fallbacks)))
        over: StructuredLLM = like(structured, {"llm": self._held}, {})
        return over

    async def _stream_async(self, question: Question, first: l0_core.Target, options: dict[str, Any]) -> Any:
        stream = await l0_core.astream(first, **options).begin()
        wanted = _wanted_of_text(question, stream)
        return aiter(stream) if wanted is None else _put_right_async(wanted, question.port, stream)


def _wanted_of_text(question: Question, stream: l0_core.Stream[Any] | l0_core.AsyncStream[Any]) -> Wanted | None:
    """Return what a text must be that is given before it is known to be; where a value is made of it, say of what."""
    wanted = None if passes_through() else question.wanted
    if wanted is None or question.growing is None:
        return wanted if wanted is not None and wanted.reads == "text" else None
    question.growing.follow(wanted, stream)
    return None


def _put_right(wanted: Wanted, port: Any, stream: l0_core.Stream[Any]) -> Iterator[Any]:
    """Yield a text, and once more its end where that had to be put right: who reads the snapshot finds JSON in it."""
    chunk = None
    with closing(iter(stream)) as chunks:  # type: ignore[type-var]  # they are a generator
        for chunk in chunks:
            yield chunk
    if stream.result.repaired:
        yield port.corrected(chunk, wanted.json_of(stream.result))


async def _put_right_async(wanted: Wanted, port: Any, stream: l0_core.AsyncStream[Any]) -> AsyncIterator[Any]:
    chunk = None
    async with aclosing(aiter(stream)) as chunks:  # type: ignore[type-var]  # they are a generator
        async for chunk in chunks:
            yield chunk
    if stream.result.repaired:
        yield port.corrected(chunk, wanted.json_of(stream.result))


def _valid(first: l0_core.Target, options: dict[str, Any]) -> Any:
    """Return an answer whose attempts differ, as those of a stream do: they say what is to be put right."""
    (answer,) = l0_core.stream(first, streamed=False, **options)
    return answer


async def _valid_async(first: l0_core.Target, options: dict[str, Any]) -> Any:
    (answer,) = [answer async for answer in l0_core.astream(first, streamed=False, **options)]
    return answer


class _Meta(type(LLM)):  # type: ignore[misc]  # the metaclass of whatever version of pydantic there is
    """Makes calls of the class answer with an object of the class for what is wrapped."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is L0LLM:
            return _wrapped(*args, **kwargs)
        # The class of a wrapped object, called as the wrapped class is: by `from_dict`, by code that asks for `type`.
        return wrap(Protection(_inner_class(cls)(*args, **kwargs)))


class L0LLM(LLM, metaclass=_Meta):
    """An LLM whose answers arrive whole: retries, fallbacks and recovery happen under it.

    Example:
        >>> from llama_index.core.llms import MockLLM
        >>> from l0_llamaindex import L0LLM
        >>> llm = L0LLM(llm=MockLLM(max_tokens=3), policy="interactive")
        >>> isinstance(llm, MockLLM), llm.complete("Hello").text
        (True, 'text text text')
    """

    if TYPE_CHECKING:
        # What the class takes is said here, and read by the metaclass.
        def __init__(
            self,
            llm: LLM | Sequence[LLM],
            *,
            fallbacks: Sequence[LLM] = (),
            policy: PolicyLike = None,
            on: Lifecycle | None = None,
            tenant: str | None = None,
            stall_guard: StallGuard = "thread",
            journal: "JournalLike" = None,
        ) -> None:
            """Protect an LLM.

            Args:
                llm: What is protected. It stays what it is, and can go on being used without protection. Several are a
                    pool: asked in this order, and none of their classes; what it says of itself holds for all of them.
                fallbacks: What is asked when it fails for good, in this order.
                policy: A `Policy`, the name of a preset, or a file; `L0_POLICY`, or the standard one, where nothing
                    is said.
                on: Listeners.
                tenant: Whose budgets and breakers it counts against.
                stall_guard: `thread` reads streams in a thread, so that a silent provider can be left; `off` reads
                    directly.
                journal: Where every call is written down: a `Journal`, or a file; that of `L0_JOURNAL` where nothing is
                    said.
            """

        _l0: Protection

        # An object has the methods and attributes of what it wraps, which no type can say.
        def __getattr__(self, item: str) -> Any: ...
        @property
        def metadata(self) -> LLMMetadata: ...

        chat: Any
        complete: Any
        stream_chat: Any
        stream_complete: Any
        achat: Any
        acomplete: Any
        astream_chat: Any
        astream_complete: Any

    @property
    def unprotected(self) -> LLM:
        """The LLM without protection."""
        return self._l0.inner

    def with_policy(self, policy: PolicyLike) -> Self:
        """Return the same LLM under another policy."""
        return wrap(replace(self._l0, policy=policy))  # type: ignore[return-value]


def _wrapped(
    llm: LLM | Sequence[LLM],
    *,
    fallbacks: Sequence[LLM] = (),
    policy: PolicyLike = None,
    on: Lifecycle | None = None,
    tenant: str | None = None,
    stall_guard: StallGuard = "thread",
    journal: "JournalLike" = None,
) -> LLM:
    members: list[Any] = list(llm) if isinstance(llm, list | tuple) else [llm]
    if not members:
        raise TypeError("llm must be an LLM of LlamaIndex, or several: there is none")
    for what, given in (
        *(("llm" if len(members) == 1 else f"llm {place}", member) for place, member in enumerate(members, 1)),
        *((f"fallback {place}", fallback) for place, fallback in enumerate(fallbacks, 1)),
    ):
        if not isinstance(given, LLM):
            raise TypeError(f"{what} must be an LLM of LlamaIndex, not {type(given).__name__}")
    inner = pool_of(list(map(unwrap, members)))
    return wrap(Protection(inner, tuple(map(unwrap, fallbacks)), policy, on, tenant, stall_guard, journal))


def _asked_by(llm: LLM) -> LLM:
    """Return what asks a provider: of a structured LLM what it holds."""
    return unwrap(llm.llm) if isinstance(llm, StructuredLLM) else llm


def unwrap(llm: LLM) -> LLM:
    """Return the LLM without protection."""
    return llm._l0.inner if isinstance(llm, L0LLM) else llm  # noqa: SLF001 - it is ours


def wrap(protection: Protection) -> LLM:
    """Return an object that shares the state of the protected LLM and asks as `protection` says."""
    inner = protection.inner
    view: LLM = object.__new__(_view_class(type(inner)))
    for name in ("__dict__", "__pydantic_private__", "__pydantic_fields_set__", "__pydantic_extra__"):
        object.__setattr__(view, name, getattr(inner, name))
    share_slots(inner, view)
    object.__setattr__(view, "_l0", protection)
    return view


# One class for each wrapped class ------------------------------------------------------------------------------------

_views: dict[type[LLM], type[LLM]] = {}


def _view_class(kind: type[LLM]) -> type[LLM]:
    view = _views.get(kind)
    if view is None:
        view = _views.setdefault(kind, _made_view_class(kind))
    return view


def _inner_class(view: type) -> type[LLM]:
    return next(kind for kind, made in _views.items() if made is view)


def _made_view_class(kind: type[LLM]) -> type[LLM]:
    entries = [*PRIMITIVES, *(entry for entry in WITH_TOOLS if hasattr(kind, entry.name))]
    namespace = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "__slots__": ("_l0", "l0_report"),
        "__copy__": _copy,
        "__deepcopy__": _deepcopy,
        "__reduce_ex__": _reduce_ex,
        **{entry.name: _method(entry, kind) for entry in entries},
        **{name: _predicting(name, kind) for name in _PREDICT},
        **{name: _growing(name, kind) for name in _GROW},
        **({_SELECTS: _selecting(kind)} if hasattr(kind, _SELECTS) else {}),
    }
    meta = _Meta if issubclass(_Meta, type(kind)) else type("_Meta", (_Meta, type(kind)), {})
    view: type[LLM] = meta(kind.__name__, (kind, L0LLM), namespace)
    return view


_PREDICT = tuple(f"{a}{streams}structured_predict" for a in ("", "a") for streams in ("", "stream_"))
_GROW = ("_structured_stream_call", "_structured_astream_call")
"""What `stream_structured_predict` and its async twin make the parts of a value with, and then report them."""


def _predicting(name: str, kind: type[LLM]) -> Callable[..., Any]:
    """Return the method of a wrapped class that predicts something structured: what it asks must answer with that."""
    original = getattr(kind, name)

    def predict(self: L0LLM, output_cls: Any, *args: Any, **kwargs: Any) -> Any:
        if _known.predicts_by_itself(self._l0.inner, streams=False):
            return self._l0.predict(name, output_cls, args, kwargs)
        with wanting(output_cls):
            return original(self, output_cls, *args, **kwargs)

    async def predict_async(self: L0LLM, output_cls: Any, *args: Any, **kwargs: Any) -> Any:
        if _known.predicts_by_itself(self._l0.inner, streams=False):
            return await self._l0.predict(name, output_cls, args, kwargs)
        with wanting(output_cls):
            return await original(self, output_cls, *args, **kwargs)

    def stream(self: L0LLM, output_cls: Any, *args: Any, **kwargs: Any) -> Any:
        if _known.predicts_by_itself(self._l0.inner, streams=True):
            return _each(self._l0.predict(name, output_cls, args, kwargs))
        return original(self, output_cls, *args, **kwargs)

    async def stream_async(self: L0LLM, output_cls: Any, *args: Any, **kwargs: Any) -> Any:
        if _known.predicts_by_itself(self._l0.inner, streams=True):
            return _each_async(await self._l0.predict(name, output_cls, args, kwargs))
        return await original(self, output_cls, *args, **kwargs)

    methods: dict[str, Any] = dict(zip(_PREDICT, (predict, stream, predict_async, stream_async), strict=True))
    return _in_place_of(original, methods[name], kind)


def _growing(name: str, kind: type[LLM]) -> Callable[..., Any]:
    """Return the method of a wrapped class that makes the parts of a value: the last is the value."""
    original = getattr(kind, name)

    def grow(self: L0LLM, output_cls: Any, *args: Any, **kwargs: Any) -> Any:
        return _parts(Growing(output_cls), original(self, output_cls, *args, **kwargs))

    async def grow_async(self: L0LLM, output_cls: Any, *args: Any, **kwargs: Any) -> Any:
        value = Growing(output_cls)
        with showing(value):  # Some ask here, and some when the first part is asked for.
            parts = await original(self, output_cls, *args, **kwargs)
        return _parts_async(value, parts)

    return _in_place_of(original, grow if name == _GROW[0] else grow_async, kind)


def _parts(value: Growing, parts: Generator[Any, None, None]) -> Iterator[Any]:
    """Yield the parts of a value, and the value. The LLM is asked for the first part, and from then on no more."""
    with closing(value), closing(parts):
        with showing(value):
            last = next(parts, _NOTHING)
        if last is _NOTHING:
            return
        yield last
        for last in parts:
            yield last
        missing = value.missing(last)
        if missing is not None:
            yield missing


async def _parts_async(value: Growing, parts: AsyncGenerator[Any, None]) -> AsyncIterator[Any]:
    async with aclosing(value), aclosing(parts):
        with showing(value):
            last = await anext(parts, _NOTHING)
        if last is _NOTHING:
            return
        yield last
        async for last in parts:
            yield last
        missing = value.missing(last)
        if missing is not None:
            yield missing


def _each(values: Sequence[Any]) -> Iterator[Any]:
    yield from values


async def _each_async(values: Sequence[Any]) -> AsyncIterator[Any]:
    for value in values:
        yield value


_NOTHING = object()
_SELECTS = "get_tool_calls_from_response"


def _selecting(kind: type[LLM]) -> Callable[..., Any]:
    """Return the method of a wrapped class that reads calls off an answer: it may be a fallback's of another make."""
    original: Callable[..., Any] = getattr(kind, _SELECTS)

    def select(self: L0LLM, response: Any, error_on_no_tool_call: bool = True, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - as LlamaIndex has it
        if self._l0.is_mixed:
            return calls_in(response, required=error_on_no_tool_call)
        return original(self, response, error_on_no_tool_call, **kwargs)

    return _in_place_of(original, select, kind)


def _copy(self: L0LLM) -> LLM:
    protection = self._l0
    return wrap(replace(protection, inner=copy.copy(protection.inner)))


def _deepcopy(self: L0LLM, memo: dict[int, Any] | None = None) -> LLM:
    protection = self._l0
    return wrap(replace(protection, inner=copy.deepcopy(protection.inner, memo)))


def _reduce_ex(self: L0LLM, _protocol: Any) -> tuple[Callable[[Protection], LLM], tuple[Protection]]:
    return wrap, (self._l0,)


def _method(entry: Entry, kind: type[LLM]) -> Callable[..., Any]:
    """Return the method of a wrapped class for one entry point, with the signature it has there."""
    original = getattr(kind, entry.name)
    signature = inspect.signature(original)

    def called(self: L0LLM, *args: Any, **kwargs: Any) -> Any:
        if not _binds(signature, self, args, kwargs):
            return getattr(self._l0.inner, entry.name)(*args, **kwargs)
        return self._l0.ask(Question(entry, args, kwargs, sys._getframe(1)))  # noqa: SLF001 - it is the documented way

    async def awaited(self: L0LLM, *args: Any, **kwargs: Any) -> Any:
        if not _binds(signature, self, args, kwargs):
            return await getattr(self._l0.inner, entry.name)(*args, **kwargs)
        return await self._l0.ask(Question(entry, args, kwargs, sys._getframe(1)))  # noqa: SLF001 - as above

    return _in_place_of(original, awaited if entry.awaits else called, kind)


def _binds(signature: inspect.Signature, *given: Any) -> bool:
    """Return whether a method can be called so: if not, its own has its own words for it."""
    llm, args, kwargs = given
    try:
        signature.bind(llm, *args, **kwargs)
    except TypeError:
        return False
    return True


def _in_place_of(original: Any, method: Any, kind: type[LLM]) -> Callable[..., Any]:
    """Return a method that looks like the wrapped class's own.

    The one it calls makes the span. `__wrapped__` must not be set: with it callbacks take the method for one that
    reports already.
    """
    name = original.__name__
    method.__name__, method.__qualname__ = name, f"{kind.__qualname__}.{name}"
    method.__module__, method.__doc__ = kind.__module__, original.__doc__
    method.__signature__ = inspect.signature(original)
    setattr(method, DISPATCHER_SPAN_DECORATED_ATTR, True)
    return cast("Callable[..., Any]", method)
