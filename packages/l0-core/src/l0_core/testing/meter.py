"""The recovery meter: drive any program through faults and say how it ended, how often, and at what price."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from l0_core._clock import SECOND, clock
from l0_core.testing import faults
from l0_core.testing.phrasing import Template, dice
from l0_core.testing.provider import FaultyProvider

if TYPE_CHECKING:
    from l0_core.testing.conversation import Request
    from l0_core.testing.fault import Fault
    from l0_core.testing.reply import Reply, Wording

__all__ = ["Outcome", "Report", "Wrong", "ameasure", "measure"]

Outcome = Literal["exact", "complete", "degraded", "incomplete", "raised", "wrong"]
Calls = list[tuple[str, str]]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

WARM_UP_CALLS: Final = 5
KEPT_MAX: Final = 20
# Finish reasons that tell the caller that the text is not whole.
TOLD: Final = frozenset({"length", "max_tokens", "max_output_tokens", "content_filter", "refusal", "incomplete"})


@dataclass(frozen=True, slots=True)
class Wrong:
    """A call that returned what no model said, and did not say so."""

    number: int
    fault: str
    text: str
    whole: str
    """What was being answered."""


@dataclass(slots=True)
class Report:
    """How the calls ended.

    `exact`: the very text that was being sent. `complete`: a whole answer in other words. `degraded`: a whole answer,
    marked as not the primary's. `incomplete`: cut, and told so. `raised`: an exception. `wrong`: anything else that
    was returned: cut, doubled, glued from two answers, led up to, empty.
    """

    wording: Wording
    seed: int
    times: int | None
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    by_fault: dict[str, Counter[Outcome]] = field(default_factory=dict)
    raised: Counter[str] = field(default_factory=Counter)
    """Exceptions by the name of their class."""
    wrongs: list[Wrong] = field(default_factory=list)
    """The first few."""
    errors: list[str] = field(default_factory=list)
    """The first few exceptions: which call, after which fault, what they said."""
    delays: list[float] = field(default_factory=list)
    """Seconds each call took longer than one without a fault; in virtual time, with what was waited for in it."""
    extra_calls: int = 0
    extra_tokens: int = 0

    @property
    def calls(self) -> int:
        """How many were made."""
        return self.outcomes.total()

    def share(self, *outcomes: Outcome) -> float:
        """The part of all calls that ended so."""
        return sum(self.outcomes[outcome] for outcome in outcomes) / self.calls if self.calls else 0.0

    def delay(self, quantile: float) -> float:
        """The added delay in seconds that this part of the calls stayed under: 0.5 is the median."""
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile is from 0 to 1; got {quantile}")
        ordered = sorted(self.delays)
        return ordered[min(int(quantile * len(ordered)), len(ordered) - 1)] if ordered else 0.0

    def __str__(self) -> str:
        hit = "every request" if self.times is None else f"{self.times} of each call's requests"
        calls = max(self.calls, 1)
        lines = [
            f"{self.calls} calls, wording {self.wording}, seed {self.seed}, faults hit {hit}",
            ", ".join(f"{outcome} {self.share(outcome):.1%}" for outcome in OUTCOMES),
            f"added delay p50 {self.delay(0.5):.3f} s, p95 {self.delay(0.95):.3f} s",
            f"per call {self.extra_calls / calls:.2f} more requests, {self.extra_tokens / calls:.0f} more tokens",
            "",
        ]
        width = max([5, *map(len, self.by_fault)])
        lines.append(f"{'fault':{width}}  calls" + "".join(f"  {outcome:>10}" for outcome in OUTCOMES))
        for fault, counts in sorted(self.by_fault.items()):
            row = "".join(f"  {counts[outcome] or '·':>10}" for outcome in OUTCOMES)
            lines.append(f"{fault:{width}}  {counts.total():5}{row}")
        if self.raised:
            lines += ["", "raised: " + ", ".join(f"{name} {count}" for name, count in self.raised.most_common())]
        return "\n".join(lines)


def measure(
    call: Callable[[FaultyProvider], object],
    mix: Mapping[Fault, float] | Iterable[Fault],
    n: int = 200,
    seed: int = 0,
    *,
    times: int | None = 1,
    wording: Wording = "identical",
    reply: str | Template | Reply | None = None,
    prefill: bool = True,
    continuations: Mapping[str, float] | None = None,
    fallback: FaultyProvider | None = None,
) -> Report:
    """Make `n` calls, each through a fault of `mix`, and report how they ended.

    ```python
    report = measure(lambda provider: chain(provider).invoke("…"), {faults.reset_after(chunks=4): 1}, n=50)
    assert not report.outcomes["wrong"]
    ```

    What `call` returns is a text, or has one as `text` or `content`. It is known to be degraded or incomplete by what
    it carries: `degraded` or a finish reason, on itself, on its `l0`, or in the `l0` of its `response_metadata` or
    `additional_kwargs`. Where it has `tool_calls`, they are judged as well: every call that was to be made, with its
    arguments, once, and no other. An exception is `incomplete` if a class in its ancestry is called `IncompleteError`.

    Args:
        call: The program; it is given a running provider to talk to.
        mix: Faults with weights, of which each call draws one, or faults alone, which are met in turn.
        n: How many calls.
        seed: Of the faults drawn and of everything the provider draws.
        times: How many requests of a call are hit, from its first: 1 is a fault that passes, None one that stays.
        wording: Whether the provider says the same thing in the same words.
        reply: What it answers; without one, its sample of prose.
        prefill: Whether it goes on from the assistant's own turn.
        continuations: In which manners it goes on when it is prompted to, by weight, where wording is varied.
        fallback: A second provider the program may use: its answers count as degraded, its requests as extra.
    """
    with _provider(wording, seed, reply, prefill=prefill, continuations=continuations) as provider:
        meter = _Meter(provider, mix, n, seed=seed, times=times, fallback=fallback)
        for number in meter.numbers():
            begun = meter.begin(number)
            try:
                result: object = call(provider)
            except Exception as error:  # noqa: BLE001 - how it ends is what is measured
                result = error
            meter.end(begun, result)
        return meter.report


async def ameasure(
    call: Callable[[FaultyProvider], Awaitable[object]],
    mix: Mapping[Fault, float] | Iterable[Fault],
    n: int = 200,
    seed: int = 0,
    *,
    times: int | None = 1,
    wording: Wording = "identical",
    reply: str | Template | Reply | None = None,
    prefill: bool = True,
    continuations: Mapping[str, float] | None = None,
    fallback: FaultyProvider | None = None,
) -> Report:
    """The same as `measure`, of an asynchronous program."""
    async with _provider(wording, seed, reply, prefill=prefill, continuations=continuations) as provider:
        meter = _Meter(provider, mix, n, seed=seed, times=times, fallback=fallback)
        for number in meter.numbers():
            begun = meter.begin(number)
            try:
                result: object = await call(provider)
            except Exception as error:  # noqa: BLE001 - how it ends is what is measured
                result = error
            meter.end(begun, result)
        return meter.report


def _provider(
    wording: Wording,
    seed: int,
    reply: str | Template | Reply | None,
    *,
    prefill: bool,
    continuations: Mapping[str, float] | None,
) -> FaultyProvider:
    provider = FaultyProvider(wording=wording, seed=seed, prefill=prefill, continuations=continuations)
    if reply is not None:
        provider.reply(reply)
    return provider


@dataclass(frozen=True, slots=True)
class _Call:
    number: int
    fault: Fault
    first_request: int
    fallback_requests: int
    started: float


class _Meter:
    """Draws the faults, keeps the time, judges what came out."""

    def __init__(
        self,
        provider: FaultyProvider,
        mix: Mapping[Fault, float] | Iterable[Fault],
        n: int,
        *,
        seed: int,
        times: int | None,
        fallback: FaultyProvider | None,
    ) -> None:
        if n < 1:
            raise ValueError(f"n is how many calls are made, at least 1; got {n}")
        if times is not None and times < 1:
            raise ValueError(f"times is how many requests of a call are hit, at least 1, or None for all; got {times}")
        weights = dict(mix) if isinstance(mix, Mapping) else dict.fromkeys(mix, 1.0)
        in_turn = tuple(weights)
        drawn = faults.mix(weights, dice("measure", seed).getrandbits(32))
        self._pick = drawn.pick if isinstance(mix, Mapping) else lambda number: in_turn[number % len(in_turn)]
        self._n = n
        self._times = times
        self._provider = provider
        self._fallback = fallback
        self._healthy: list[tuple[float, int, int]] = []
        self.report = Report(provider.wording, seed, times)

    def numbers(self) -> range:
        """The calls to make: those below zero warm up and say what a call takes when nothing fails."""
        return range(-WARM_UP_CALLS, self._n)

    def begin(self, number: int) -> _Call:
        fault = faults.ok() if number < 0 else self._pick(number)
        self._provider.script(fault if self._times is None else faults.flaky(fault, self._times))
        seen = len(self._fallback.requests) if self._fallback else 0
        return _Call(number, fault, self._provider.request_count, seen, clock().now() / SECOND)

    def end(self, call: _Call, result: object) -> None:
        took = clock().now() / SECOND - call.started
        requests = self._provider.requests_from(call.first_request)
        spare = self._fallback.requests[call.fallback_requests :] if self._fallback else []
        if not requests:
            raise RuntimeError("the call never reached the provider: use the URL it is given") from (
                result if isinstance(result, BaseException) else None
            )
        for request in (*requests, *spare):
            request.wait_ended(1.0)
        spent = sum(request.input_tokens + request.output_tokens for request in (*requests, *spare))
        outcome = self._judged(result, requests, spare)
        if call.number < 0:
            if outcome != "exact":
                raise RuntimeError(f"without any fault the call ended {outcome}: {result!r}") from (
                    result if isinstance(result, BaseException) else None
                )
            self._healthy.append((took, len(requests), spent))
            return
        usual_time, usual_requests, usual_tokens = sorted(self._healthy)[len(self._healthy) // 2]
        report = self.report
        report.outcomes[outcome] += 1
        report.by_fault.setdefault(str(call.fault), Counter())[outcome] += 1
        report.delays.append(max(0.0, took - usual_time))
        report.extra_calls += max(0, len(requests) + len(spare) - usual_requests)
        report.extra_tokens += max(0, spent - usual_tokens)
        if isinstance(result, BaseException):
            report.raised[type(result).__name__] += 1
            if len(report.errors) < KEPT_MAX:
                report.errors.append(f"#{call.number} {call.fault}: {type(result).__name__}: {result}")
        elif outcome == "wrong" and len(report.wrongs) < KEPT_MAX:
            report.wrongs.append(Wrong(call.number, str(call.fault), text_of(result), requests[0].whole))

    def _judged(self, result: object, requests: Sequence[Request], spare: Sequence[Request]) -> Outcome:
        if isinstance(result, BaseException):
            ancestry = {kind.__name__ for kind in type(result).__mro__}
            return "incomplete" if "IncompleteError" in ancestry else "raised"
        text = text_of(result)
        calls = calls_of(result)
        mine = _right_for(text, calls, requests, self._provider)
        if (mine or _right_for(text, calls, spare, self._fallback)) and _marked(result, "degraded"):
            return "degraded"
        if mine:
            return "exact" if text == mine[0].whole else "complete"
        if _marked(result, "incomplete") or _finish(result) in TOLD:
            return "incomplete"
        return "complete" if _right_for(text, calls, spare, self._fallback) else "wrong"


def _right_for(
    text: str, calls: Calls | None, requests: Sequence[Request], provider: FaultyProvider | None
) -> list[Request]:
    """The requests this text, with these calls if they can be seen, is a whole answer to."""
    if provider is None:
        return []
    return [
        one
        for one in requests
        if one.reply is not None
        and one.reply.is_right(text, provider.wording)
        and (calls is None or calls == _calls((call.name, call.args) for call in one.reply.tool_calls))
    ]


def calls_of(result: object) -> Calls | None:
    """The tool calls of whatever a program returns, in an order of their own; None where it has no place for them."""
    calls = getattr(result, "tool_calls", None)
    if not isinstance(calls, Sequence):
        return None
    return _calls((_look(call, "name"), _look(call, "args")) for call in calls)


def _calls(calls: Iterable[tuple[object, object]]) -> Calls:
    return sorted((str(name), json.dumps(_parsed(args), sort_keys=True)) for name, args in calls)


def _parsed(args: object) -> object:
    if not isinstance(args, str):
        return args
    try:
        return json.loads(args)
    except ValueError:
        return args


def text_of(result: object) -> str:
    """The text of whatever a program returns."""
    if result is None or isinstance(result, str):
        return result or ""
    for name in ("text", "content"):
        value = getattr(result, name, None)
        if isinstance(value, str):
            return str(value)
        if isinstance(value, list):
            return "".join(
                part if isinstance(part, str) else str(part.get("text", ""))
                for part in value
                if isinstance(part, (str, dict))
            )
    message = getattr(result, "message", None)
    if message is not None:
        return text_of(message)
    raise TypeError(f"a call returns a text, or something with one as .text or .content; got {type(result).__name__}")


def _facts(result: object) -> list[Any]:
    """Every place where a result may carry what L0, or its provider, says about it."""
    found = [result, getattr(result, "l0", None)]
    for name in ("response_metadata", "additional_kwargs"):
        metadata = getattr(result, name, None)
        if isinstance(metadata, Mapping):
            found += [metadata, metadata.get("l0")]
    return [one for one in found if one is not None]


def _look(facts: object, name: str) -> object:
    return facts.get(name) if isinstance(facts, Mapping) else getattr(facts, name, None)


def _marked(result: object, name: str) -> bool:
    return any(_look(facts, name) is True for facts in _facts(result))


def _finish(result: object) -> object:
    for facts in _facts(result):
        for name in ("finish_reason", "stop_reason"):
            reason = _look(facts, name)
            if isinstance(reason, str):
                return reason
    return None
