"""SDK streams through L0 against a provider that fails: what passes is healed, and nothing wrong is ever returned.

G1 and G4, measured with the standard policy, sync and async, for answers of text, tool calls and reasoning. Under
identical wording every fault that passes ends exactly right. Under varied wording so it does where the endpoint goes on
from an answer's beginning, or the consumer takes a Reset; elsewhere a session may end incomplete, where the model did
not go on as it was asked to, and is told so.
"""

from typing import Final

import pytest

import l0_core
from l0_core.testing import FaultyProvider, Report, faults, samples, virtual_time
from l0_core.testing.fault_table import TABLE
from l0_core.testing.proof import CASES, Case, Mix, Program, passing, program, prove, reply_of

# What always can be healed, and what may be told incomplete instead where the model words it differently.
CERTAIN: Final = ("chat-prefix", "chat-reset", "messages-prefill")
# What is run on every change; the rest is a sweep.
SAMPLE: Final = {
    Case("chat", "text", "identical", is_async=False),
    Case("chat", "text", "varied", is_async=True),
    Case("messages-prefill", "tools", "varied", is_async=True),
    Case("messages", "reasoning", "identical", is_async=True),
    Case("litellm", "text", "identical", is_async=False),
}


def label(case: Case) -> str:
    return f"{case.program}-{case.mix}-{case.wording}-{'async' if case.is_async else 'sync'}"


def check(report: Report, case: Case) -> None:
    assert report.outcomes["wrong"] == 0, report.wrongs
    assert report.outcomes["raised"] == 0, report.errors
    if case.wording == "identical":
        assert report.share("exact") == 1.0, report.errors
    if case.program in CERTAIN or case.mix == "tools":
        assert report.share("exact", "complete") == 1.0, report.errors
    assert report.share("exact", "complete") > 0.8, str(report)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=label(case), marks=() if case in SAMPLE else pytest.mark.matrix) for case in CASES],
)
def test_what_passes_is_healed_and_nothing_wrong_is_returned(case: Case) -> None:
    report = prove(case, seed=1)
    check(report, case)
    assert set(report.by_fault) == {str(fault) for fault in passing(case.mix)}, "each was met"


@pytest.mark.matrix
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", [case for case in CASES if case.mix == "text"], ids=label)
@pytest.mark.parametrize("sample", sorted(samples.ALL))
def test_so_it_is_for_answers_of_every_shape(case: Case, sample: str) -> None:
    check(prove(case, rounds=3, seed=2, reply=reply_of("text", samples.ALL[sample])), case)


def test_every_fault_that_heals_is_met_in_some_mix() -> None:
    met = {fault.name.partition("(")[0] for mix in ("text", "tools", "reasoning") for fault in passing(mix)}
    assert met == {row.fault.partition("(")[0] for row in TABLE if row.heals}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("seed", "rounds"), [(5, 2), pytest.param(6, 30, marks=pytest.mark.matrix)])
def test_an_answer_begun_again_in_other_words_is_never_joined_to_the_first(seed: int, rounds: int) -> None:
    """G1. The model does not do as it is told, and comes to the same words all the same."""
    cuts = [faults.reset_after(chunks=count) for count in range(1, 8)]
    case = Case("chat", "text", "varied", is_async=False)
    for sample in samples.ALL.values():
        report = prove(
            case, cuts, rounds=rounds, seed=seed, reply=reply_of("text", sample), continuations={"diverge": 1}
        )
        assert report.outcomes["wrong"] == 0, report.wrongs
        assert report.outcomes["raised"] == 0, report.errors


@pytest.mark.parametrize("name", ["chat-prefix", pytest.param("messages-prefill", marks=pytest.mark.matrix)])
def test_a_fault_is_what_the_table_says_and_healed_by_what_it_says(name: Program) -> None:
    """One fault of the row's class and a second request; or none of either; and a seam where something was shown."""
    seen: dict[str, tuple[list[str], str]] = {}
    told: dict[str, tuple[list[str], str]] = {}
    with FaultyProvider() as provider, virtual_time(), program(name) as call:
        for row in TABLE:
            streamed = row.fault_class.partition(",")[0].partition(";")[0].partition(":")[0]
            told[row.fault] = ([] if streamed == "none" else [streamed], row.healing)
            endless = row.fault.partition("(")[0] if row.fault.startswith("keep_alive") else row.fault
            mix: Mix = "tools" if "tool_args" in row.fault else "reasoning" if "reasoning" in row.fault else "text"
            provider.reply(reply_of(mix))
            provider.script(faults.parse(endless), faults.ok())
            try:
                result = call(provider)
            except Exception as error:  # noqa: BLE001 - what the caller is told, which carries how it went
                result = error.result if isinstance(error, l0_core.L0Error) else error.l0  # type: ignore[attr-defined,assignment]
            healing = "ladder" if result.splices else "retry" if result.attempts == 2 else "-"
            if result.status != "complete" or (row.healing == "no" and result.attempts == 1):
                healing = "no"  # told, or nobody can know
            seen[row.fault] = ([fault.fault for fault in result.faults], healing)
    assert seen == told
