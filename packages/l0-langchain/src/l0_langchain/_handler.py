"""`L0CallbackHandler`: watches any chain through the framework's callbacks; measures, judges, and keeps to budgets.

A handler is told what happens and can stop it. It cannot make a call again, or answer in a model's place: that takes
`L0ChatModel` or `protect`.
"""
# ruff: noqa: ARG002 - a handler is told what every handler is told

import asyncio
import inspect
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import ChatGeneration, ChatResult, LLMResult
from langchain_core.tracers.context import register_configure_hook

import l0_core
from l0_core import Journal, Lifecycle, Objection, Policy, Result, Usage
from l0_core._clock import SECOND, RealClock, clock
from l0_core._journal import JournalLike
from l0_core._lifecycle import heed
from l0_core._native import Policy as NativePolicy
from l0_core._reader import run_aside
from l0_core._settings import PolicyLike, is_disabled, policy_of
from l0_core.guards import Guard, UserGuard
from l0_langchain._content import finish_of, text_of, usage_of
from l0_langchain._errors import ContentError, DeadlineError, LimitError
from l0_langchain._port import ChatChunks, ChatResults
from l0_langchain._shadow import Shadow, watching
from l0_langchain._tree import Tree

_log = logging.getLogger("l0")
_now = RealClock.now
"""What measures are taken by; bounds go by the clock that sessions go by."""

RUNS_MAX: Final = 10_000
"""Runs kept in mind at most: one whose end is never told is forgotten when so many others have begun."""

KEPT_MAX: Final = 1_000
"""Calls and objections that are kept, the latest ones."""

_CHARS_PER_TOKEN: Final = 4

Method = TypeVar("Method", bound=Callable[..., Any])

_BREACHES = (ContentError, DeadlineError, LimitError)
"""What a handler raises, and means to."""


def _contained(method: Method) -> Method:
    """Let nothing out but what is meant to stop the program: a handler is a guest."""

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            method(*args, **kwargs)
        except _BREACHES:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            _log.warning("handler: %s failed: %s", method.__name__, type(error).__name__)

    return call  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Measured:
    """One call of a model, a tool or a retriever.

    Attributes:
        kind: `model`, `tool` or `retriever`.
        name: Its name.
        seconds: How long it took.
        first_seconds: How long a streaming model took for its first token.
        gap_seconds: The longest silence between two tokens.
        tokens: How many tokens were told of as they came.
        usage: What the provider counted.
        error: The class of what it raised.
        objections: What guards found.
    """

    kind: str
    name: str
    seconds: float
    first_seconds: float | None = None
    gap_seconds: float = 0.0
    tokens: int = 0
    usage: Usage = field(default_factory=Usage)
    error: str | None = None
    objections: Sequence[Objection] = ()


class L0CallbackHandler(BaseCallbackHandler):
    """Watches any chain, without its being changed: `chain.invoke(x, {"callbacks": [L0CallbackHandler(...)]})`.

    Bounds hold for each invocation by itself. What would break one is raised before the call is made, or at the token
    that breaks it, as an error of L0's; nothing else a handler does is ever raised.

    Args:
        policy: Whose guards judge what models say; `guards` are added to them. Nothing else of it applies.
        guards: What must not be in an answer: see `l0_core.guards`.
        on_violation: What becomes of an answer a guard objects to: `record` notes it, `abort` raises `ContentError` at
            the token that shows it, or at the end where it can only be seen then.
        deadline: Seconds for an invocation.
        calls_max: Model calls of an invocation.
        tokens_max: Tokens of an invocation, as the provider counts them; while an answer streams, and where it does not
            tell, four characters of the answer count as one.
        journal: Where each invocation is written down as a run, all of it, under the id the framework gives it; that of
            `L0_JOURNAL` where nothing is said. The same chain, made reliable with `protect`, gives it again without a
            call, inside `l0_core.run(id, mode="replay")`.
        on: Listeners. `on_start`, `on_guard`, `on_tool_call`, `on_complete` and `on_error` are called.

    Attributes:
        calls: The latest calls, in the order in which they ended.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> from l0_core import guards
        >>> watch = L0CallbackHandler(guards=[guards.patterns(["Paris"])], calls_max=10)
        >>> FakeListChatModel(responses=["Paris."]).invoke("The capital of France?", {"callbacks": [watch]}).text
        'Paris.'
        >>> [objection.guard for objection in watch.calls[0].objections]
        ['patterns']
    """

    raise_error = True
    run_inline = True
    ignore_custom_event = True
    ignore_retry = True

    def __init__(
        self,
        *,
        policy: PolicyLike = None,
        guards: Sequence[Guard] = (),
        on_violation: Literal["record", "abort"] = "record",
        deadline: float | None = None,
        calls_max: int | None = None,
        tokens_max: int | None = None,
        journal: JournalLike = None,
        on: Lifecycle | None = None,
    ) -> None:
        if on_violation not in {"record", "abort"}:
            raise l0_core.PolicyError(f"on_violation is record or abort, not {on_violation!r}")
        self.calls: deque[Measured] = deque(maxlen=KEPT_MAX)
        self._policy = _judging(policy, guards)
        self._aborts = on_violation == "abort"
        self._deadline = None if deadline is None else int(deadline * SECOND)
        self._calls_max = calls_max
        self._tokens_max = tokens_max
        self._journal = Journal.of(journal)
        self._on = on or Lifecycle()
        self._invocations: dict[UUID, _Invocation] = {}
        self._running: dict[UUID, _Call] = {}
        self._lock = threading.Lock()

    # Models ----------------------------------------------------------------------------------------------------------

    @_contained
    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A chat model is about to be called."""
        self._begin("model", serialized, messages, run_id, parent_run_id, kwargs)

    @_contained
    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A completion model is about to be called."""
        self._begin("model", serialized, prompts, run_id, parent_run_id, kwargs)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, chunk: Any = None, **_: Any) -> None:
        """A token has arrived. The hot path."""
        call = self._running.get(run_id)
        if call is None:
            return
        now = _now()
        if call.tokens:
            gap = now - call.last
            if gap > call.gap:  # noqa: PLR1730 - a call of `max` for every token
                call.gap = gap
        else:
            call.first = now
        call.last = now
        call.tokens += 1
        if call.is_watched:
            try:
                self._judge(call, token, chunk)
            except _BREACHES:
                raise
            except Exception as error:  # noqa: BLE001 - a handler is a guest
                call.is_watched = False
                _log.warning("handler: a token could not be judged: %s", type(error).__name__)

    @_contained
    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **_: Any) -> None:
        """A model has answered."""
        call = self._running.get(run_id)
        if call is not None:
            self._finish(call, run_id, response)

    @_contained
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A model's call has failed."""
        self._fail(error, run_id)

    # What else reaches out -------------------------------------------------------------------------------------------

    @_contained
    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """A tool is about to be called."""
        self._begin("tool", serialized, kwargs.get("inputs") or input_str, run_id, parent_run_id, kwargs)

    @_contained
    def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        """A tool has answered."""
        self._end(run_id, result=output)

    @_contained
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A tool's call has failed."""
        self._fail(error, run_id)

    @_contained
    def on_retriever_start(
        self, serialized: Any, query: str, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """A retriever is about to be called."""
        self._begin("retriever", serialized, query, run_id, parent_run_id, kwargs)

    @_contained
    def on_retriever_end(self, documents: Any, *, run_id: UUID, **_: Any) -> None:
        """A retriever has answered."""
        self._end(run_id, result=documents)

    @_contained
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """A retriever's call has failed."""
        self._fail(error, run_id)

    # What only holds others ------------------------------------------------------------------------------------------

    @_contained
    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        """Something that calls others has begun."""
        if is_disabled():
            return
        with self._lock:
            invocation = self._enter(run_id, parent_run_id)
        if invocation.tree is not None:
            invocation.tree.begin(run_id, parent_run_id, "scope", _name("chain", serialized, kwargs), inputs)

    @_contained
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **_: Any) -> None:
        """Something that calls others is done."""
        self._left(run_id)

    @_contained
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """Something that calls others has failed."""
        self._left(run_id, error)

    # How -------------------------------------------------------------------------------------------------------------

    def _enter(self, run_id: UUID, parent: UUID | None) -> "_Invocation":
        """Return the invocation a run belongs to."""
        around = self._invocations.get(parent) if parent is not None else None
        if around is None:
            tree = None if self._journal is None else Tree(self._journal, run_id)
            around = _Invocation(self._deadline, run_id, tree)
        self._invocations[run_id] = around
        while len(self._invocations) > RUNS_MAX:
            self._invocations.pop(next(iter(self._invocations)))
        return around

    def _begin(
        self, kind: str, serialized: Any, given: object, run_id: UUID, parent: UUID | None, told: dict[str, Any]
    ) -> None:
        if is_disabled():
            return
        with self._lock:
            invocation = self._enter(run_id, parent)
            name = _name(kind, serialized, told)
            self._check_time(invocation)
            if kind == "model":
                if self._calls_max is not None and invocation.calls >= self._calls_max:
                    raise LimitError(f"the invocation has made its {self._calls_max} model calls; see calls_max")
                self._check_tokens(invocation, 0)
                invocation.calls += 1
            call = _Call(kind, name, invocation, is_bounded=self._tokens_max is not None)
            bounds = (self._policy, self._tokens_max, self._deadline, invocation.tree)
            call.is_watched = kind == "model" and any(bound is not None for bound in bounds)
            self._running[run_id] = call
            while len(self._running) > RUNS_MAX:
                self._running.pop(next(iter(self._running)))
        if invocation.tree is not None:
            call.node = run_id
            invocation.tree.begin(run_id, parent, kind if kind == "model" else "function", name, given)
        if kind == "model":
            self._tell("start", run_id.hex)

    def _judge(self, call: "_Call", token: Any, chunk: Any) -> None:
        """Look at a token as far as anybody has asked for that."""
        invocation = call.invocation
        if invocation.ends_at is not None and invocation.now() >= invocation.ends_at:
            self._check_time(invocation)
        if call.node is not None and chunk is not None:
            heard = call.shadow or self._listen(call, whole=False)
            heard.chunk(chunk)
            if heard.found:
                self._object(call)
        text = token if type(token) is str else _said(token)
        if not text:
            return
        if call.is_bounded:
            call.chars += len(text)
            if invocation.tokens + call.chars // _CHARS_PER_TOKEN >= self._tokens_max:  # type: ignore[operator]
                self._check_tokens(invocation, call.chars // _CHARS_PER_TOKEN)
        if self._policy is not None and call.node is None:
            shadow = call.shadow
            if shadow is None:
                shadow = call.shadow = Shadow(call.name, self._policy)
            shadow.text(text)
            if shadow.found:
                self._object(call)

    def _listen(self, call: "_Call", *, whole: bool) -> Shadow:
        """Begin to write down what a model says."""
        tree, node = call.invocation.tree, call.node
        assert tree is not None, "it is written down"  # noqa: S101 - an invariant of its callers
        assert node is not None, "as above"  # noqa: S101 - as above
        with tree.session(node):
            policy = self._policy or watching(policy_of("standard"))
            call.shadow = Shadow(call.name, policy, ChatResults() if whole else ChatChunks(), whole=whole)
        tree.speaks(node, call.shadow.session_id)
        return call.shadow

    def _object(self, call: "_Call") -> None:
        """Tell of what guards found."""
        assert call.shadow is not None, "it has found something"  # noqa: S101 - an invariant of its callers
        found, call.shadow.found = call.shadow.found, []
        call.objections += found
        for objection in found:
            self._tell("guard", call.shadow.result.session_id, objection)
        if self._aborts:
            first = found[0]
            raise ContentError(
                f"the guard {first.guard} objects to an answer of {call.name}: {first.reason}", call.shadow.result
            )

    def _finish(self, call: "_Call", run_id: UUID, response: LLMResult) -> None:
        answer = next((made for row in response.generations for made in row), None)
        message = answer.message if isinstance(answer, ChatGeneration) else None
        call.usage = usage_of(getattr(message, "usage_metadata", None)) or Usage()
        text = answer.text if answer is not None else ""
        with self._lock:
            call.invocation.tokens += call.usage.input + call.usage.output or len(text) // _CHARS_PER_TOKEN
        try:
            if call.node is not None and call.shadow is None and isinstance(answer, ChatGeneration):
                whole = ChatResult(generations=[answer], llm_output=response.llm_output)
                self._listen(call, whole=True).chunk(whole)
            elif self._policy is not None and call.shadow is None:
                call.shadow = Shadow(call.name, self._policy)
                if text:
                    call.shadow.text(text)
            if call.shadow is not None:
                call.shadow.end()
                if call.shadow.found:
                    self._object(call)
        except l0_core.L0Error as error:
            self._end(run_id, error)
            raise
        self._end(run_id)
        info = answer.generation_info if answer is not None else None
        tools = [l0_core.ToolCall(made["id"], made["name"], str(made["args"])) for made in _tools(message)]
        for number in range(len(tools)):
            self._tell("tool_call", run_id.hex, number)
        if self._on.on_complete is not None:
            finish = finish_of(info, getattr(message, "response_metadata", None), response.llm_output)
            known = {"text": text, "tool_calls": tools, "usage": call.usage, "objections": tuple(call.objections)}
            result = Result("complete", run_id.hex, finish_reason=finish, attempts=1, served_by=call.name, **known)  # type: ignore[arg-type]
            self._tell("complete", run_id.hex, result)

    def _fail(self, error: BaseException, run_id: UUID) -> None:
        call = self._running.get(run_id)
        if call is not None:
            self._end(run_id, error)
            if call.kind == "model":
                self._tell("error", run_id.hex, error)

    def _left(self, run_id: UUID, error: BaseException | None = None, result: object = None) -> None:
        """Forget a run that is over; where it was the outermost one, so is the invocation."""
        invocation = self._invocations.pop(run_id, None)
        if invocation is None or invocation.tree is None:
            return
        if error is None:
            invocation.tree.end(run_id, result)
        else:
            invocation.tree.fail(run_id, error)
        if run_id == invocation.root:
            invocation.tree.close(error)

    def _end(self, run_id: UUID, error: BaseException | None = None, result: object = None) -> None:
        """Put down what a call took."""
        call = self._running.pop(run_id, None)
        if call is not None and isinstance(error, Exception) and call.shadow is not None and call.node is not None:
            call.shadow.fail(error)
        self._left(run_id, error, result)
        if call is None:
            return
        now = _now()
        self.calls.append(
            Measured(
                kind=call.kind,
                name=call.name,
                seconds=(now - call.began) / SECOND,
                first_seconds=(call.first - call.began) / SECOND if call.tokens else None,
                gap_seconds=call.gap / SECOND,
                tokens=call.tokens,
                usage=call.usage,
                error=type(error).__qualname__ if error is not None else None,
                objections=tuple(call.objections[-KEPT_MAX:]),
            )
        )

    def _check_time(self, invocation: "_Invocation") -> None:
        if invocation.ends_at is not None and invocation.now() >= invocation.ends_at:
            seconds = (self._deadline or 0) / SECOND
            raise DeadlineError(f"the invocation's {seconds:g} seconds have passed; see L0CallbackHandler")

    def _check_tokens(self, invocation: "_Invocation", more: int) -> None:
        if self._tokens_max is not None and invocation.tokens + more >= self._tokens_max:
            raise LimitError(f"the invocation has had its {self._tokens_max} tokens; see tokens_max")

    def _tell(self, event: str, *facts: object) -> None:
        told = self._on.tell(event, *facts)
        if told is not None:
            run_aside(lambda: asyncio.run(heed(told)))


class _Tracing(L0CallbackHandler):
    """One that nobody passed: the framework adds none where there is one of its class, as a caller's own would be."""


_tracing: ContextVar[_Tracing | None] = ContextVar("l0_tracing", default=None)
register_configure_hook(_tracing, inheritable=True, handle_class=_Tracing, env_var="L0_TRACE")


@contextmanager
def trace(journal: JournalLike = None, **options: Any) -> Iterator[L0CallbackHandler]:
    """Watch everything that is called inside, without its being told: with `L0_TRACE=true`, all a program calls.

    Args:
        journal: Where it is written down; that of `L0_JOURNAL` where nothing is said.
        **options: As for `L0CallbackHandler`.

    Example:
        >>> from langchain_core.language_models import FakeListChatModel
        >>> import l0_core
        >>> with trace(l0_core.Journal.memory()) as watch:
        ...     answer = FakeListChatModel(responses=["Paris."]).invoke("The capital of France?")
        >>> [call.kind for call in watch.calls]
        ['model']
    """
    handler = _Tracing(journal=journal, **options)
    token = _tracing.set(handler)
    try:
        yield handler
    finally:
        _tracing.reset(token)


class _Invocation:
    """What belongs to one call from outside, however deep."""

    __slots__ = ("calls", "ends_at", "now", "root", "tokens", "tree")

    def __init__(self, nanoseconds: int | None, root: UUID, tree: Tree | None) -> None:
        self.root = root
        self.tree = tree
        self.now = clock().now
        self.ends_at = None if nanoseconds is None else self.now() + nanoseconds
        self.calls = 0
        self.tokens = 0


class _Call:
    """One call that is being made."""

    __slots__ = (
        *("began", "chars", "first", "gap", "invocation", "is_bounded", "is_watched", "kind", "last", "name"),
        *("node", "objections", "shadow", "tokens", "usage"),
    )

    def __init__(self, kind: str, name: str, invocation: _Invocation, *, is_bounded: bool) -> None:
        self.kind = kind
        self.name = name
        self.invocation = invocation
        self.is_bounded = is_bounded
        self.is_watched = False
        self.began = self.first = self.last = _now()
        self.gap = self.tokens = self.chars = 0
        self.usage = Usage()
        self.node: UUID | None = None
        """What it is written down as, if it is."""
        self.shadow: Shadow | None = None
        self.objections: list[Objection] = []


def _judging(policy: PolicyLike, guards: Sequence[Guard]) -> NativePolicy | None:
    """Return the policy that judges answers, if there is anything to judge them by."""
    if policy is None and not guards:
        return None
    if isinstance(policy, NativePolicy):
        if guards:
            raise l0_core.PolicyError("guards are added to a Policy, not to the engine's copy of one")
        return watching(policy)
    said = Policy.of(policy if policy is not None else Policy())
    said = said.model_copy(update={"guards": (*said.guards, *guards)})
    for guard in said.guards:
        if isinstance(guard, UserGuard) and inspect.iscoroutinefunction(guard._judge):
            raise l0_core.PolicyError(
                f"the guard {guard.title} is async, and a handler cannot wait: make it with `def`"
            )
    return watching(said.native)


def _name(kind: str, serialized: dict[str, Any] | None, told: dict[str, Any]) -> str:
    """Return what is called, as far as the framework says."""
    params = told.get("metadata") or {}
    known = params.get("ls_model_name") if kind == "model" else told.get("name") or (serialized or {}).get("name")
    return str(known or (serialized or {}).get("name") or kind)


def _said(token: Any) -> str:
    """Return the text of a token that is no plain string: blocks, or a string of a class of its own."""
    return text_of(token) if isinstance(token, str | list) else ""


def _tools(message: Any) -> list[Any]:
    return list(getattr(message, "tool_calls", ()))
