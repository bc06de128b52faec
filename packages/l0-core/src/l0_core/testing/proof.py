"""What L0 makes of every fault that passes: the SDKs through `l0_core.ports`, measured; LiteLLM where it is installed.

`python -m l0_core.testing measure` prints it. Sessions run by the standard policy, in virtual time, each with a fleet
that has seen nothing, as the first session of a process does: that every call meets a fault is the experiment's doing,
and what protects a provider from that would end it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

import l0_core
from l0_core import ports
from l0_core.testing import faults, samples
from l0_core.testing.clock import virtual_time
from l0_core.testing.fault_table import TABLE
from l0_core.testing.meter import ameasure, measure
from l0_core.testing.reply import Reply, Wording

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from l0_core import Result, Target
    from l0_core.testing.fault import Fault
    from l0_core.testing.meter import Outcome, Report
    from l0_core.testing.phrasing import Template
    from l0_core.testing.provider import FaultyProvider

__all__ = [
    "CASES",
    "Case",
    "HEADER",
    "MIXES",
    "Mix",
    "PROGRAMS",
    "Program",
    "aprogram",
    "line",
    "passing",
    "program",
    "prove",
    "reply_of",
]

Program = Literal["chat", "chat-prefix", "chat-reset", "responses", "messages", "messages-prefill", "litellm"]
PROGRAMS: Final[tuple[Program, ...]] = tuple(
    name for name in get_args(Program) if name != "litellm" or find_spec("litellm") is not None
)
"""Which endpoint is asked; whether it is known to go on from an answer's beginning, or the consumer takes a Reset."""

Mix = Literal["text", "tools", "reasoning"]
MIXES: Final[tuple[Mix, ...]] = get_args(Mix)
"""What is answered: some faults need a tool call, or reasoning, to happen to."""

MESSAGES: Final[Any] = [{"role": "user", "content": "What is the capital of France?"}]
TOOLS_ANSWER: Final = Reply.of(
    "I look it up.",
    tool_calls=[("weather", {"city": "Paris, the capital of France"}), ("time", {"zone": "Europe/Paris"})],
)
REASONING: Final = "The question is easy: it asks for the capital of a country. I know it, and I shall say it plainly."


def passing(mix: Mix) -> list[Fault]:
    """Every fault of the table that the same request heals when it is made again, as far as this kind of answer goes.

    Keep-alives go on without end here: the table lets them stop, so that a bare client does.
    """
    rows = [faults.parse(row.fault) for row in TABLE if row.heals and not row.fault.startswith("keep_alive")]
    special: dict[str, Mix] = {"tool_args": "tools", "phase='reasoning'": "reasoning"}
    chosen = [
        fault
        for fault in rows
        if next((found for word, found in special.items() if word in fault.name), mix) == mix
        and not (mix == "tools" and fault.drafts and "tool_args" not in fault.name)  # they shorten or replace a text
    ]
    return [*chosen, faults.keep_alive_after(), faults.keep_alive_only()]


def reply_of(mix: Mix, answer: Template = samples.PROSE) -> Reply:
    """What the provider answers."""
    match mix:
        case "text":
            return Reply.of(answer)
        case "tools":
            return TOOLS_ANSWER
        case "reasoning":
            return Reply.of(answer, reasoning=REASONING)


@contextlib.contextmanager
def program(name: Program) -> Iterator[Callable[[FaultyProvider], Result]]:
    """A program for `measure`: asks through an SDK and `l0_core.stream`."""
    import anthropic
    import openai

    from l0_core import _fleet

    with contextlib.ExitStack() as stack:
        clients: dict[str, Any] = {}

        def client(kind: Callable[..., Any], url: str) -> Any:
            if url not in clients:
                clients[url] = stack.enter_context(kind(base_url=url, api_key="x", timeout=600))
            return clients[url]

        openais, claudes = partial(client, openai.OpenAI), partial(client, anthropic.Anthropic)
        sdks = _Sdks(openais, claudes, ports.litellm_completion)

        def call(provider: FaultyProvider) -> Result:
            _fleet.renew()
            target = _target(name, provider, sdks)
            stream = l0_core.stream(target, policy=_policy(name))
            given = _Given()
            for chunk in stream:
                given.take(chunk)
            return given.checked(stream.result)

        yield call


@contextlib.asynccontextmanager
async def aprogram(name: Program) -> AsyncIterator[Callable[[FaultyProvider], Awaitable[Result]]]:
    """A program for `ameasure`: asks through an asynchronous SDK and `l0_core.astream`."""
    import anthropic
    import openai

    from l0_core import _fleet

    async with contextlib.AsyncExitStack() as stack:
        clients: dict[str, Any] = {}

        def client(kind: Callable[..., Any], url: str) -> Any:
            if url not in clients:
                clients[url] = kind(base_url=url, api_key="x", timeout=600)
                stack.push_async_callback(clients[url].close)
            return clients[url]

        openais, claudes = partial(client, openai.AsyncOpenAI), partial(client, anthropic.AsyncAnthropic)
        sdks = _Sdks(openais, claudes, ports.litellm_acompletion)

        async def call(provider: FaultyProvider) -> Result:
            _fleet.renew()
            target = _target(name, provider, sdks)
            stream = l0_core.astream(target, policy=_policy(name))
            given = _Given()
            async for chunk in stream:
                given.take(chunk)
            return given.checked(stream.result)

        yield call


def _policy(name: Program) -> Any:
    if name != "chat-reset":
        return "standard"
    return l0_core.Policy(continuation=l0_core.Continuation(rungs=["prefill", "prompt", "rerun", "reset"]))


class _Sdks(NamedTuple):
    """Clients for an address; LiteLLM has none, and makes targets at once."""

    openai: Callable[[str], Any]
    anthropic: Callable[[str], Any]
    litellm: Callable[..., Target]


def _target(name: Program, provider: FaultyProvider, sdks: _Sdks) -> Target:
    match name:
        case "chat" | "chat-prefix" | "chat-reset":
            prefill: Any = "prefix" if name == "chat-prefix" else False
            return ports.openai_chat(sdks.openai(provider.openai_url), model="m", messages=MESSAGES, prefill=prefill)
        case "responses":
            return ports.openai_responses(sdks.openai(provider.openai_url), model="m", input=MESSAGES)
        case "messages" | "messages-prefill":
            return ports.anthropic_messages(
                sdks.anthropic(provider.anthropic_url),
                model="m",
                max_tokens=1000,
                messages=MESSAGES,
                prefill=name == "messages-prefill",
            )
        case "litellm":
            os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # It fetches its list of prices otherwise.
            import litellm

            litellm.suppress_debug_info = True
            return sdks.litellm(model="openai/m", messages=MESSAGES, api_base=provider.openai_url, api_key="x")


class _Given:
    """What the consumer was given, chunk by chunk: it must be what the result says (G1)."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._port: Any = None
        self._text: list[str] = []
        self._args: defaultdict[int, str] = defaultdict(str)

    def take(self, chunk: Any) -> None:
        if chunk is l0_core.RESET:
            self._begin()
            return
        if self._port is None:
            self._port = ports.port_for(chunk)
        told = self._port.facts(chunk)
        self._text.append(told.text)
        for fragment in told.tools:
            self._args[fragment.index] += fragment.args

    def checked(self, result: Result) -> Result:
        text, args = "".join(self._text), sorted(self._args.values())
        if text != result.text or args != sorted(call.args for call in result.tool_calls):
            raise AssertionError(f"given {text!r} {args}, but the result says {result!r}")
        return result


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table: what is asked how, and how the model words it."""

    program: Program
    mix: Mix
    wording: Wording
    is_async: bool


CASES: Final = tuple(
    Case(name, mix, wording, is_async)
    for mix in MIXES
    for name in PROGRAMS
    for is_async in (False, True)
    for wording in get_args(Wording)
)

OUTCOMES: Final[tuple[Outcome, ...]] = ("exact", "complete", "incomplete", "raised", "wrong")
HEADER: Final = "".join(f"{outcome:>12}" for outcome in OUTCOMES) + "   p50 s   p95 s  more calls"


def line(report: Report) -> str:
    """The figures of a line, under `HEADER`."""
    counts = "".join(f"{report.outcomes[outcome] or '·':>12}" for outcome in OUTCOMES)
    return f"{counts}  {report.delay(0.5):6.2f}  {report.delay(0.95):6.2f}  {report.extra_calls / report.calls:10.2f}"


def prove(case: Case, met: Sequence[Fault] | None = None, *, rounds: int = 1, seed: int = 0, **how: Any) -> Report:
    """Make a call through each fault that passes, or through each of `met`.

    Args:
        case: What is asked how.
        met: Other faults than those of the table.
        rounds: How often each fault is met.
        seed: Of everything drawn.
        **how: More for `measure`: `continuations`, `times`, another `reply`.
    """
    met = passing(case.mix) if met is None else met
    how = {"n": rounds * len(met), "seed": seed, "wording": case.wording, "reply": reply_of(case.mix), **how}
    with virtual_time():
        if case.is_async:
            return asyncio.run(_aprove(case.program, met, how))
        with program(case.program) as call:
            return measure(call, met, **how)


async def _aprove(name: Program, met: Sequence[Fault], how: dict[str, Any]) -> Report:
    async with aprogram(name) as call:
        return await ameasure(call, met, **how)
