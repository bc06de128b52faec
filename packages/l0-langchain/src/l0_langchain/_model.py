"""The model that is still itself: one class for each wrapped class, which reaches the provider through a session."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableSerializable,
)
from langchain_core.runnables.configurable import RunnableConfigurableFields
from pydantic import BaseModel

from l0_core import Lifecycle
from l0_core._journal import JournalLike
from l0_core._settings import PolicyLike, is_disabled
from l0_core._sync import StallGuard
from l0_langchain import _remembered  # noqa: F401 - what it registers is needed wherever models are
from l0_langchain._call import Call, takes_manager
from l0_langchain._candidate import Candidate, candidates_of, has_own, leaf_of
from l0_langchain._endpoint import Terminal, model_name
from l0_langchain._protection import Protection, asked_for
from l0_langchain._report import Found, ProtectionReport
from l0_langchain._twin import fields_of, put_state, state_of
from l0_langchain._wanted import refusing, wanted_of, wanted_of_agent, with_leaf

ModelT = TypeVar("ModelT", bound="L0ChatModel")
T = TypeVar("T")

_KEY = "_l0"
"""Where an object keeps its protection: among its private attributes, which every copy takes along."""

_BEFORE = "_l0_before"
"""Where an object that was protected in place keeps what it had before: its protection, or nothing."""

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass as _ModelMeta
else:
    _ModelMeta = type(BaseChatModel)


class _Composing(_ModelMeta):
    """Makes calls of `L0ChatModel` answer with an object of the class that is composed for the given model."""

    def __call__(cls, *args: Any, **keywords: Any) -> Any:
        if cls is L0ChatModel:
            if args or "model" not in keywords:
                raise TypeError("L0ChatModel takes its model by name: L0ChatModel(model=ChatOpenAI(...))")
            return wrap(**keywords)
        return _given(super().__call__(*args, **keywords), Protection())


class L0ChatModel(BaseChatModel, metaclass=_Composing):
    """A chat model that is reliable, and otherwise the one it was made from.

    `L0ChatModel(model=m)` is an object of a class made for `type(m)`: a subclass of it and of this one, with its name,
    its serialization and its traces. It shares the state of `m`; only what reaches the provider is done otherwise.

    Args:
        model: The model.
        fallbacks: What answers when it fails for good, in this order: chat models, with or without bindings.
        policy: A `Policy`, the name of a preset or a file; `L0_POLICY`, or the standard one, where nothing is said.
        on: Listeners.
        tenant: Whose budgets and breakers it counts against.
        journal: Where its sessions are written down: a `Journal`, a file; that of `L0_JOURNAL` where nothing is said.
        stall_guard: `thread` reads sync answers in a thread, so that a silent provider can be left; `off` reads
            directly. `thread`, where nothing is said.
        prefill: Whether the endpoint goes on from an assistant's words, where that is not known or known wrongly.
        terminal: What ends an answer of the endpoint for certain, likewise.
        **wrapped: Fields of the model that are to have another value.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> model = L0ChatModel(model=FakeListChatModel(responses=["Paris."]))
        >>> isinstance(model, FakeListChatModel), model.invoke("The capital of France?").content
        (True, 'Paris.')
    """

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            model: BaseChatModel,
            fallbacks: Sequence[Runnable[Any, Any]] = (),
            policy: PolicyLike = None,
            on: Lifecycle | None = None,
            tenant: str | None = None,
            journal: JournalLike = None,
            stall_guard: StallGuard | None = None,
            prefill: bool | None = None,
            terminal: Terminal | None = None,
            **wrapped: Any,
        ) -> None: ...

        @property
        def _llm_type(self) -> str: ...

        def _generate(
            self,
            messages: list[BaseMessage],
            stop: list[str] | None = None,
            run_manager: CallbackManagerForLLMRun | None = None,
            **kwargs: Any,
        ) -> ChatResult: ...

    @property
    def l0_report(self) -> ProtectionReport:
        """What is protected: the model itself, and its fallbacks."""
        others = (label_of(each.model) for each in protection_of(self).fallbacks)
        return ProtectionReport(tuple(Found("model", name, "protected") for name in (label_of(self), *others)))

    def with_policy(self, policy: PolicyLike) -> Self:
        """Return the same model under another policy."""
        return _with(self, protection_of(self).changed(policy=policy))

    # A call says in its config, and in keywords the framework keeps to itself, what the methods below never hear.

    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:
        """See `BaseChatModel.invoke`."""
        return super(L0ChatModel, _asked(self, config, kwargs)).invoke(input, config, **kwargs)

    async def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        """See `BaseChatModel.ainvoke`."""
        return await super(L0ChatModel, _asked(self, config, kwargs)).ainvoke(input, config, **kwargs)

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """See `BaseChatModel.stream`."""
        return super(L0ChatModel, _asked(self, config, kwargs)).stream(input, config, **kwargs)

    def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """See `BaseChatModel.astream`."""
        return super(L0ChatModel, _asked(self, config, kwargs)).astream(input, config, **kwargs)

    def _chat_model_stream_v3(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        return super(L0ChatModel, _asked(self, config, kwargs))._chat_model_stream_v3(input, config, **kwargs)

    async def _achat_model_stream_v3(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        return await super(L0ChatModel, _asked(self, config, kwargs))._achat_model_stream_v3(input, config, **kwargs)

    def configurable_fields(self, **kwargs: Any) -> RunnableSerializable[LanguageModelInput, AIMessage]:
        """See `RunnableSerializable.configurable_fields`."""
        made = super().configurable_fields(**kwargs)
        if not isinstance(made, RunnableConfigurableFields):
            return made
        return _Configurable(default=made.default, fields=made.fields)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _revived, (wrapped_class(type(self)),), self.__getstate__()


class _Configurable(RunnableConfigurableFields):  # type: ignore[type-arg]  # given arguments it could not be made: its field would be
    """Configurable fields of a protected model: what is made for a call is protected as the model is."""

    @classmethod
    def lc_id(cls) -> list[str]:
        return [*cls.get_lc_namespace(), RunnableConfigurableFields.__name__]

    def _prepare(
        self, config: RunnableConfig | None = None
    ) -> tuple[Runnable[LanguageModelInput, AIMessage], RunnableConfig]:
        made, config = super()._prepare(config)
        if made is not self.default and isinstance(made, L0ChatModel) and isinstance(self.default, L0ChatModel):
            _protect(made, protection_of(self.default))
        return made, config


# What reaches the provider -------------------------------------------------------------------------------------------


def _generate(
    self: L0ChatModel,
    messages: list[BaseMessage],
    stop: list[str] | None = None,
    run_manager: CallbackManagerForLLMRun | None = None,
    **kwargs: Any,
) -> ChatResult:
    kind = wrapped_class(type(self))
    if is_disabled():
        kwargs |= {"run_manager": run_manager} if takes_manager(kind, "_generate") else {}
        return kind._generate(self, messages, stop, **kwargs)
    return Call(self, kind, protection_of(self), messages, stop, kwargs).generate(run_manager)


async def _agenerate(
    self: L0ChatModel,
    messages: list[BaseMessage],
    stop: list[str] | None = None,
    run_manager: AsyncCallbackManagerForLLMRun | None = None,
    **kwargs: Any,
) -> ChatResult:
    kind = wrapped_class(type(self))
    if is_disabled():
        kwargs |= {"run_manager": run_manager} if takes_manager(kind, "_agenerate") else {}
        return await kind._agenerate(self, messages, stop, **kwargs)
    return await Call(self, kind, protection_of(self), messages, stop, kwargs).agenerate(run_manager)


def _stream(
    self: L0ChatModel,
    messages: list[BaseMessage],
    stop: list[str] | None = None,
    run_manager: CallbackManagerForLLMRun | None = None,
    **kwargs: Any,
) -> Iterator[ChatGenerationChunk]:
    kind = wrapped_class(type(self))
    if is_disabled():
        kwargs |= {"run_manager": run_manager} if run_manager is not None else {}
        return kind._stream(self, messages, stop, **kwargs)
    return Call(self, kind, protection_of(self), messages, stop, kwargs).stream(run_manager)


def _astream(
    self: L0ChatModel,
    messages: list[BaseMessage],
    stop: list[str] | None = None,
    run_manager: AsyncCallbackManagerForLLMRun | None = None,
    **kwargs: Any,
) -> AsyncIterator[ChatGenerationChunk]:
    kind = wrapped_class(type(self))
    if is_disabled():
        kwargs |= {"run_manager": run_manager} if run_manager is not None else {}
        return kind._astream(self, messages, stop, **kwargs)
    return Call(self, kind, protection_of(self), messages, stop, kwargs).astream(run_manager)


for _asked_about in (_generate, _agenerate):
    # The framework looks for `run_manager` in it at every call: found out once, that is less than half the time.
    _asked_about.__signature__ = signature(_asked_about)  # type: ignore[union-attr]


# Fallbacks answer in their own format ---------------------------------------------------------------------------------


def _binding(kind: type[BaseChatModel]) -> Callable[..., Runnable[LanguageModelInput, AIMessage]]:
    """Return `bind_tools` for a class: with its signature and annotations, which others read at run time."""
    bind = kind.bind_tools

    @wraps(bind)
    def bind_tools(
        self: L0ChatModel, tools: Sequence[Any], *args: Any, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        bound = bind(self, tools, *args, **kwargs)
        said = protection_of(self)
        fallbacks = tuple(
            candidate if candidate.is_sibling_of(kind) else candidate.with_tools(tools, kwargs)
            for candidate in said.fallbacks
        )
        if fallbacks == said.fallbacks:
            return bound
        return _over(bound, lambda _: _with(self, said.changed(fallbacks=fallbacks)))

    return bind_tools


def _structuring(kind: type[BaseChatModel]) -> Callable[..., Runnable[LanguageModelInput, Any]]:
    """Return `with_structured_output` for a class: what it asks for, the answers are."""
    structure = kind.with_structured_output

    @wraps(structure)
    def with_structured_output(
        self: L0ChatModel, schema: Any = None, *args: Any, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        made = structure(self, schema, *args, **kwargs)
        wants_raw = bool(kwargs.get("include_raw"))

        def wanting(leaf: L0ChatModel) -> L0ChatModel:
            said = protection_of(leaf)
            fallbacks = _asked_for(schema, said.fallbacks, kind)
            return _with(leaf, said.changed(schema=schema, wants_raw=wants_raw, fallbacks=fallbacks))

        made = _over(made, wanting)
        return refusing(made) if wants_raw else made

    return with_structured_output


def _over(bound: T, changed: Callable[[L0ChatModel], BaseChatModel]) -> T:
    made: T = with_leaf(bound, changed, lambda found: isinstance(found, BaseChatModel))
    return made


# Composing -----------------------------------------------------------------------------------------------------------

_classes: dict[type[BaseChatModel], type[L0ChatModel]] = {}
_wrapped: dict[type[BaseChatModel], type[BaseChatModel]] = {}
_lock = threading.Lock()


def class_for(kind: type[BaseChatModel]) -> type[L0ChatModel]:
    """Return the protected class for a class of model: the same one every time."""
    if issubclass(kind, L0ChatModel):
        return kind
    with _lock:
        if kind not in _classes:
            made = _compose(kind)
            _classes[kind], _wrapped[made] = made, kind
        return _classes[kind]


def _compose(kind: type[BaseChatModel]) -> type[L0ChatModel]:
    methods: dict[str, Any] = {"_generate": _generate, "_agenerate": _agenerate}
    if has_own(kind, "_stream"):
        methods["_stream"] = _stream
    if has_own(kind, "_stream") or has_own(kind, "_astream"):
        methods["_astream"] = _astream
    if has_own(kind, "bind_tools"):
        methods["bind_tools"] = _binding(kind)
    if has_own(kind, "with_structured_output") or has_own(kind, "bind_tools"):
        methods["with_structured_output"] = _structuring(kind)
    names = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    meta: type = _Composing if issubclass(_Composing, type(kind)) else type("_Composing", (_Composing, type(kind)), {})
    made = meta(kind.__name__, (L0ChatModel, kind), {**names, **methods})
    for events, stream in (("_stream_chat_model_events", "_stream"), ("_astream_chat_model_events", "_astream")):
        if getattr(kind, events, None) is not None and stream in methods:
            setattr(made, events, None)  # The framework makes events of the stream, which is protected.
    return cast("type[L0ChatModel]", made)


def wrapped_class(kind: type[BaseChatModel]) -> type[BaseChatModel]:
    """Return the class whose methods reach the provider."""
    return _wrapped.get(kind, kind)


def protection_of(model: L0ChatModel) -> Protection:
    """Return what a model is protected with."""
    return cast("Protection", (model.__pydantic_private__ or {})[_KEY])


def _protect(model: BaseChatModel, protection: Protection) -> None:
    """Give an object of a composed class its protection."""
    private = {**(model.__pydantic_private__ or {}), _KEY: protection}
    private.pop(_BEFORE, None)
    object.__setattr__(model, "__pydantic_private__", private)


def unwrapped(model: BaseChatModel) -> type[BaseChatModel]:
    """Return the class whose methods reach the provider of a model."""
    return wrapped_class(type(model))


def label_of(model: BaseChatModel) -> str:
    """Return the name of a model's class, and its own."""
    return f"{unwrapped(model).__name__}/{model_name(model)}"


def candidates_in(fallbacks: Sequence[Runnable[Any, Any]]) -> tuple[Candidate, ...]:
    """Return what may answer in a model's place, in order: a protected fallback is followed by its own."""
    found: list[Candidate] = []
    for source in fallbacks:
        for candidate in candidates_of(source, unwrapped):
            own = protection_of(candidate.model).fallbacks if isinstance(candidate.model, L0ChatModel) else ()
            found += (candidate, *own)
    return tuple(found)


def protect_in_place(model: BaseChatModel, protection: Protection) -> None:
    """Protect a model itself, and with it everywhere it is held."""
    before = None
    if isinstance(model, L0ChatModel):
        before = (model.__pydantic_private__ or {}).get(_BEFORE, protection_of(model))
    object.__setattr__(model, "__class__", class_for(type(model)))
    _protect(model, protection)
    (model.__pydantic_private__ or {})[_BEFORE] = before


def is_in_place(found: Any) -> bool:
    """Return whether an object was protected itself, and may be what it was again."""
    kept = found.__pydantic_private__ if isinstance(found, BaseModel) else getattr(found, "__dict__", None)
    return _BEFORE in (kept or {})


def restore(model: L0ChatModel) -> None:
    """Make a model that was protected in place what it was before."""
    private = {**(model.__pydantic_private__ or {})}
    before = private.pop(_BEFORE, None)
    if before is None:
        del private[_KEY]
        object.__setattr__(model, "__class__", wrapped_class(type(model)))
    else:
        private[_KEY] = before
    object.__setattr__(model, "__pydantic_private__", private or None)


def bare(model: L0ChatModel) -> BaseChatModel:
    """Return the model that was wrapped: another object, and the same state."""
    kind = wrapped_class(type(model))
    made = kind.__new__(kind)
    put_state(made, state_of(model))
    private = {name: value for name, value in (model.__pydantic_private__ or {}).items() if name not in {_KEY, _BEFORE}}
    object.__setattr__(made, "__pydantic_private__", private or None)
    return made


def _given(model: Any, protection: Protection) -> Any:
    _protect(model, protection)
    return model


def composed(model: BaseChatModel, protection: Protection) -> L0ChatModel:
    """Return the protected twin of a model: another object, and the same state."""
    kind = class_for(type(model))
    made = kind.__new__(kind)
    put_state(made, state_of(model))
    _protect(made, protection)
    return made


def _with(model: ModelT, protection: Protection) -> ModelT:
    return cast("ModelT", composed(model, protection))


def _asked(model: ModelT, config: RunnableConfig | None, keywords: Mapping[str, Any]) -> ModelT:
    """Return the model as a call's config and keywords ask for it."""
    changes = asked_for(config)
    said = protection_of(model)
    wanted = wanted_of(keywords, said.schema) if keywords else None
    if wanted is None and keywords and said.answer is not None:
        wanted = wanted_of_agent(keywords, said.answer)
        if wanted is not None and wanted.is_whole:
            changes["fallbacks"] = _asked_for(said.answer, said.fallbacks, wrapped_class(type(model)))
    if wanted is not None:
        changes["wanted"] = wanted
    return _with(model, said.changed(**changes)) if changes else model


def _asked_for(schema: Any, fallbacks: Sequence[Candidate], kind: type[BaseChatModel]) -> tuple[Candidate, ...]:
    """Return fallbacks such that those of another make than `kind` are asked for the schema in their own format."""
    return tuple(
        each if each.format is not None or each.is_sibling_of(kind) else each.with_schema(schema) for each in fallbacks
    )


def _revived(kind: type[BaseChatModel]) -> L0ChatModel:
    """Return an object without state, for what unpickles."""
    made = class_for(kind)
    return made.__new__(made)


def wrap(
    *,
    model: Runnable[Any, Any],
    fallbacks: Sequence[Runnable[Any, Any]] = (),
    policy: PolicyLike = None,
    on: Lifecycle | None = None,
    tenant: str | None = None,
    journal: JournalLike = None,
    stall_guard: StallGuard | None = None,
    prefill: bool | None = None,
    terminal: Terminal | None = None,
    **keywords: Any,
) -> Any:
    """Return the protected model; over a binding, the binding of the protected model."""
    if not isinstance(model, BaseChatModel):
        leaf = leaf_of(model)
        if leaf is None:
            raise TypeError(f"model must be a chat model, not {type(model).__name__}; for anything else see `protect`")
    inner = model if isinstance(model, BaseChatModel) else cast("tuple[BaseChatModel, Any]", leaf_of(model))[0]
    said = protection_of(inner) if isinstance(inner, L0ChatModel) else Protection()
    said = said.changed(
        policy=policy,
        fallbacks=candidates_in(fallbacks),
        on=on,
        tenant=tenant,
        journal=journal,
        stall_guard=stall_guard,
        prefill=prefill,
        terminal=terminal,
    )
    if keywords:
        inner = wrapped_class(type(inner))(**{**fields_of(inner, keywords), **keywords})
    made = composed(inner, said)
    return made if isinstance(model, BaseChatModel) else _over(model, lambda _: made)
