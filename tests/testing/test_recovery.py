"""SDK streams through L0 against a provider that fails: what passes is healed, and nothing wrong is returned.

G1 and G4, measured: under identical wording every fault that passes ends exactly right; under varied wording a session
may end incomplete, where the model did not go on as it was asked, and is then told so.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import anthropic
import openai
import pytest

import l0_core
from l0_core import ports
from l0_core.policy import Breaker, Policy, Retry, RetryBudget, Timeouts
from l0_core.testing import FaultyProvider, Report, faults, measure, samples
from l0_core.testing.fault_table import TABLE
from l0_core.testing.reply import Wording

# What the same request heals, without what a bare client does not mind, and without tools: the meter judges text.
PASSING: Final = [
    faults.parse(row.fault)
    for row in TABLE
    if row.heals
    and not any(word in row.fault for word in ("tool_args", "reasoning", "retry_after", "drip", "keep_alive"))
] + [faults.keep_alive_after(), faults.keep_alive_only()]
QUICK: Final = [fault for fault in PASSING if not fault.name.startswith(("stall", "keep_alive"))]
MESSAGES: Final[Any] = [{"role": "user", "content": "What is the capital of France?"}]
CLOCK: Final = 0.3
POLICY: Final = Policy(
    retry=Retry(base=0.0, base_overload=0.0),
    timeouts=Timeouts(open=5, first=CLOCK, text=CLOCK, total=30),
    # Every call fails once here: what protects a provider from that would end the experiment.
    budget=RetryBudget(tokens=1_000_000),
    breaker=Breaker(min_outcomes=10_000),
)

Program = Callable[[FaultyProvider], l0_core.Result]


class Clients:
    """An SDK client for each provider, kept: making one takes longer than a call."""

    def __init__(self) -> None:
        self._kept: dict[str, Any] = {}

    def openai(self, provider: FaultyProvider) -> openai.OpenAI:
        url = provider.openai_url
        client: openai.OpenAI = self._kept.setdefault(url, None) or openai.OpenAI(base_url=url, api_key="x", timeout=10)
        self._kept[url] = client
        return client

    def anthropic(self, provider: FaultyProvider) -> anthropic.Anthropic:
        url = provider.anthropic_url
        client: anthropic.Anthropic = self._kept.setdefault(url, None) or anthropic.Anthropic(
            base_url=url, api_key="x", timeout=10
        )
        self._kept[url] = client
        return client

    def close(self) -> None:
        for client in self._kept.values():
            client.close()


@pytest.fixture
def clients() -> Iterator[Clients]:
    clients = Clients()
    yield clients
    clients.close()


@pytest.fixture(params=["chat", "chat-prefix", "responses", "messages", "messages-prefill"])
def program(request: pytest.FixtureRequest, clients: Clients) -> Program:
    def call(provider: FaultyProvider) -> l0_core.Result:
        match request.param:
            case "chat" | "chat-prefix" as kind:
                prefill: Any = "prefix" if kind == "chat-prefix" else False
                target = ports.openai_chat(clients.openai(provider), model="m", messages=MESSAGES, prefill=prefill)
            case "responses":
                target = ports.openai_responses(clients.openai(provider), model="m", input=MESSAGES)
            case kind:
                target = ports.anthropic_messages(
                    clients.anthropic(provider),
                    model="m",
                    max_tokens=500,
                    messages=MESSAGES,
                    prefill=kind == "messages-prefill",
                )
        stream = l0_core.stream(target, policy=POLICY)
        for _ in stream:
            pass
        return stream.result

    return call


def check(report: Report, wording: Wording) -> None:
    assert report.outcomes["wrong"] == 0, report.wrongs
    assert report.outcomes["raised"] == 0, report.errors
    if wording == "identical":
        assert report.share("exact") == 1.0, str(report)
    assert report.share("exact", "complete") > 0.8, str(report)


@pytest.mark.parametrize("wording", ["identical", "varied"])
def test_what_passes_is_healed_and_nothing_wrong_is_returned(program: Program, wording: Wording) -> None:
    check(measure(program, QUICK, n=len(QUICK), seed=1, wording=wording), wording)


@pytest.mark.matrix
@pytest.mark.parametrize("wording", ["identical", "varied"])
@pytest.mark.parametrize("sample", sorted(samples.ALL))
def test_so_it_is_for_answers_of_every_shape(program: Program, wording: Wording, sample: str) -> None:
    check(measure(program, PASSING, n=40, seed=2, wording=wording, reply=samples.ALL[sample]), wording)


@pytest.mark.parametrize("program", ["chat"], indirect=True)
def test_an_answer_begun_again_in_other_words_is_never_joined_to_the_first(program: Program) -> None:
    cuts = [faults.reset_after(chunks=count) for count in range(1, 8)]
    for sample in (samples.TABLE, samples.PROSE, samples.LIST, samples.CODE):
        report = measure(program, cuts, n=20, seed=5, wording="varied", reply=sample, continuations={"diverge": 1})
        assert report.outcomes["wrong"] == 0, report.wrongs
