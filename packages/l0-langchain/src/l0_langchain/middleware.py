"""`L0Middleware` for `create_agent`: needs the extra `agents`.

The model of each call is replaced by a protected one, below the stream, so that a token that was shown is never shown
again. Tools are tried again where a fault may pass, under one idempotency key, which is that of the model's own call:
an agent that is resumed from a checkpoint calls the tool under the same key. What cannot be healed is raised. It never
becomes a message, which everything behind the agent would take for an answer.
"""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import blake2b
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    ExtendedModelResponse,
    ModelRequest,
    ModelResponse,
    PrivateStateAttr,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool  # noqa: TC002 - no cycle to break
from langgraph.channels.untracked_value import UntrackedValue
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command
from pydantic import BaseModel

import l0_core
from l0_core import Lifecycle
from l0_core._clock import SECOND, clock
from l0_core._context import keyed
from l0_core._journal import JournalLike
from l0_core._settings import PolicyLike, is_disabled
from l0_core._sync import StallGuard
from l0_langchain._chosen import chosen, is_chosen
from l0_langchain._errors import ContentError, DeadlineError, LimitError
from l0_langchain._guarded import Guard, Guarded, guarded
from l0_langchain._model import L0ChatModel, candidates_in, composed, protection_of
from l0_langchain._protection import Protection
from l0_langchain._reach import reach_of
from l0_langchain._wanted import with_leaf

__all__ = ["L0Middleware"]

_TOOLS_MAX = 1_024

_Spent = Annotated[int, UntrackedValue, PrivateStateAttr]


class L0State(AgentState[Any]):
    """What an agent's run has spent so far: kept beside the messages, for this invocation alone."""

    l0_model_calls: NotRequired[_Spent]
    l0_tool_calls: NotRequired[_Spent]
    l0_tokens: NotRequired[_Spent]
    l0_ends_at: NotRequired[_Spent]


class L0Middleware(AgentMiddleware[L0State, Any, Any]):
    """Makes the models and tools of an agent reliable, and bounds what one invocation of it may spend.

    Put it last in `middleware`: what stands outside of it sees one answer, whatever it took.

    Args:
        policy: A `Policy`, the name of a preset or a file; `L0_POLICY`, or the standard one, where nothing is said.
        fallbacks: What answers when the model fails for good, in this order.
        on: Listeners.
        tenant: Whose budgets and breakers it counts against.
        journal: Where models and tools are written down; that of `L0_JOURNAL` where nothing is said.
        stall_guard: As for `L0ChatModel`.
        deadline: Seconds from the first model call of an invocation; what is left of them bounds every call.
        model_calls_max: Model calls of one invocation.
        tool_calls_max: Tool calls of one invocation: a round of calls that would exceed it is not begun.
        tokens_max: Tokens of one invocation, as the provider counts them, estimated where it does not tell: after that
            no call is begun.
        repeats_max: How often in a row the same calls may have the same results before asking for them once more is
            taken for a loop.

    Example:
        >>> from langchain.agents import create_agent
        >>> from langchain_core.language_models import FakeListChatModel
        >>> agent = create_agent(FakeListChatModel(responses=["Paris."]), middleware=[L0Middleware(model_calls_max=9)])
        >>> agent.invoke({"messages": "The capital of France?"})["messages"][-1].content
        'Paris.'
    """

    state_schema = L0State

    def __init__(
        self,
        *,
        policy: PolicyLike = None,
        fallbacks: Sequence[Runnable[Any, Any]] = (),
        on: Lifecycle | None = None,
        tenant: str | None = None,
        journal: JournalLike = None,
        stall_guard: StallGuard | None = None,
        deadline: float | None = None,
        model_calls_max: int | None = None,
        tool_calls_max: int | None = None,
        tokens_max: int | None = None,
        repeats_max: int | None = 10,
    ) -> None:
        super().__init__()
        self._protection = Protection().changed(
            policy=policy,
            fallbacks=candidates_in(fallbacks),
            on=on,
            tenant=tenant,
            journal=journal,
            stall_guard=stall_guard,
        )
        self._guard = Guard(policy=policy, on=on, tenant=tenant, journal=journal)
        self._deadline = deadline
        self._limits = {"l0_model_calls": model_calls_max, "l0_tokens": tokens_max}
        self._tool_calls_max = tool_calls_max
        self._repeats_max = repeats_max
        self._tools: dict[int, tuple[BaseTool, BaseTool]] = {}
        self._asked: tuple[Any, Any] = (None, None)

    # Models ----------------------------------------------------------------------------------------------------------

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """See `AgentMiddleware.wrap_model_call`."""
        if is_disabled():
            return handler(request)
        spent = self._spent(request.state)
        with self._in_time(spent):
            response = handler(self._protected(request))
        return self._counted(request, response, spent)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """See `AgentMiddleware.awrap_model_call`."""
        if is_disabled():
            return await handler(request)
        spent = self._spent(request.state)
        with self._in_time(spent):
            response = await handler(self._protected(request))
        return self._counted(request, response, spent)

    def _protected(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        answer = self._answer(request.response_format)

        def over(model: Any) -> Any:
            said = protection_of(model) if isinstance(model, L0ChatModel) else Protection()
            said = said.changed(**{**self._protection.said, "answer": answer})
            return chosen(model, said) if is_chosen(model) else composed(model, said)

        return request.override(model=with_leaf(request.model, over, _is_model))

    def _answer(self, asked: Any) -> Any:
        """Return what the agent's last answer is to be, where its provider may be asked for it in its own words."""
        if asked is None or isinstance(asked, ToolStrategy):
            return None
        known = self._asked
        if known[0] is not asked:  # An agent asks for the same one each time.
            strategy = (
                asked if isinstance(asked, ProviderStrategy) else ProviderStrategy(getattr(asked, "schema", asked))
            )
            spec = strategy.schema_spec
            is_model = isinstance(spec.schema, type) and issubclass(spec.schema, BaseModel)
            known = self._asked = asked, spec.schema if is_model else spec.json_schema
        return known[1]

    # Tools -----------------------------------------------------------------------------------------------------------

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """See `AgentMiddleware.wrap_tool_call`."""
        if is_disabled():
            return handler(request)
        with self._in_time(self._spent(request.state)), keyed(_key(request)):
            return handler(self._guarded(request))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """See `AgentMiddleware.awrap_tool_call`."""
        if is_disabled():
            return await handler(request)
        with self._in_time(self._spent(request.state)), keyed(_key(request)):
            return await handler(self._guarded(request))

    def _guarded(self, request: ToolCallRequest) -> ToolCallRequest:
        tool = request.tool
        if tool is None or isinstance(tool, Guarded):  # One that was protected by itself stays as it is.
            return request
        known = self._tools.get(id(tool))
        if known is None:
            # One that works through models is as reliable as they are, and is not done twice.
            made = guarded(tool, self._guard) if reach_of(tool).leaves == [tool] else tool
            if len(self._tools) >= _TOOLS_MAX:
                self._tools.clear()
            known = self._tools[id(tool)] = (tool, made)
        return request.override(tool=known[1])

    # Bounds ----------------------------------------------------------------------------------------------------------

    def _spent(self, state: Any) -> dict[str, int]:
        names = ("l0_model_calls", "l0_tool_calls", "l0_tokens", "l0_ends_at")
        return {name: state[name] for name in names if isinstance(state, Mapping) and name in state}

    @contextmanager
    def _in_time(self, spent: dict[str, int]) -> Iterator[None]:
        """Let what is left of the time bound the call; begin none for which nothing is left."""
        with ExitStack() as stack:
            if self._deadline is not None:
                now = clock().now()
                ends_at = spent.setdefault("l0_ends_at", now + int(self._deadline * SECOND))
                if ends_at <= now:
                    raise DeadlineError(
                        f"the agent's {self._deadline:g} seconds have passed; see L0Middleware.deadline"
                    )
                stack.enter_context(l0_core.deadline((ends_at - now) / SECOND))
            yield

    def _counted(
        self, request: ModelRequest[Any], response: ModelResponse[Any], spent: dict[str, int]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Return the response, with what has been spent put down; raise where the next step would be too much."""
        answer = next((message for message in response.result if isinstance(message, AIMessage)), None)
        if answer is None:
            return response
        if answer.tool_calls:
            self._check_loop(request.messages, answer)
        if self._deadline is None and self._tool_calls_max is None and not any(self._limits.values()):
            return response
        usage = answer.usage_metadata
        used = usage["total_tokens"] if usage else count_tokens_approximately([*request.messages, answer])
        for name, more in (("model_calls", 1), ("tool_calls", len(answer.tool_calls)), ("tokens", used)):
            spent[f"l0_{name}"] = spent.get(f"l0_{name}", 0) + more
        if answer.tool_calls:
            self._check_budgets(spent)
        return ExtendedModelResponse(response, Command(update=spent))

    def _check_budgets(self, spent: Mapping[str, int]) -> None:
        if self._tool_calls_max is not None and spent["l0_tool_calls"] > self._tool_calls_max:
            raise LimitError(f"the agent would make more than {self._tool_calls_max} tool calls; see tool_calls_max")
        for name, limit in self._limits.items():
            if limit is not None and spent[name] >= limit:
                what = name.removeprefix("l0_").replace("_", " ")
                raise LimitError(f"the agent has had its {limit} {what}, and is not done; see L0Middleware")

    def _check_loop(self, messages: Sequence[BaseMessage], answer: AIMessage) -> None:
        if self._repeats_max is None:
            return
        rounds = _rounds(messages)
        last = rounds[-self._repeats_max :]
        if len(last) == self._repeats_max and last.count(last[0]) == len(last) and last[0][0] == _calls(answer):
            raise ContentError(
                f"the agent goes round in circles: {len(last)} times the same calls had the same results, and it asks "
                "for them again; see L0Middleware.repeats_max"
            )


def _is_model(found: Any) -> bool:
    return isinstance(found, BaseChatModel) or is_chosen(found)


def _key(request: ToolCallRequest) -> str:
    """Return the key of a tool call: that of the step it runs in, else of the model's own call in its thread."""
    inherited = l0_core.idempotency_key()
    if inherited is not None:
        return inherited
    config = getattr(request.runtime, "config", None) or {}
    thread = config.get("configurable", {}).get("thread_id", "")
    return blake2b(f"{thread}\0{request.tool_call['id']}".encode(), digest_size=16).hexdigest()


def _rounds(messages: Sequence[BaseMessage]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the calls an agent made since it was last spoken to, and what came of them."""
    rounds: list[tuple[str, tuple[str, ...]]] = []
    results: list[str] = []
    for message in reversed(messages):
        match message:
            case HumanMessage():
                break
            case ToolMessage():
                results.append(json.dumps(message.content, sort_keys=True, default=str))
            case AIMessage(tool_calls=[_, *_]):
                rounds.append((_calls(message), tuple(results)))
                results = []
            case _:
                results = []
    return rounds[::-1]


def _calls(message: AIMessage) -> str:
    return json.dumps([[call["name"], call["args"]] for call in message.tool_calls], sort_keys=True, default=str)
