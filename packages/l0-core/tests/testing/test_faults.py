"""The vocabulary: names, parameters, schedules."""

import pytest

from l0_core.testing import faults
from l0_core.testing.fault import Fault
from l0_core.testing.fault_table import TABLE
from l0_core.testing.vocabulary import meaning, signature


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.fault)
def test_a_fault_is_called_as_it_is_written(row: object) -> None:
    text = getattr(row, "fault", "")
    assert str(faults.parse(text)) == text
    assert faults.parse(str(faults.parse(text))) == faults.parse(text)


@pytest.mark.parametrize("name", faults.names())
def test_every_name_is_exported_and_says_what_it_means(name: str) -> None:
    assert name in faults.__all__
    assert meaning(name).endswith(".")
    assert signature(name).startswith("(")


def test_an_unknown_name_is_refused_with_the_list_of_what_exists() -> None:
    with pytest.raises(ValueError, match=r"no fault 'reset_aftr'; did you mean reset_after\? There are ok, status, .*"):
        faults.named("reset_aftr")
    with pytest.raises(AttributeError, match="did you mean stall"):
        faults.stal  # noqa: B018
    with pytest.raises(ValueError, match="There are ok"):
        faults.parse("nonsense(1)")


@pytest.mark.parametrize(
    "text", ["", "reset_after(", "1 + ok()", "ok().name", "__import__('os')", "ok", "status(print())", "status(*[1])"]
)
def test_only_faults_are_parsed(text: str) -> None:
    if text == "ok":
        assert faults.parse(text) == faults.ok()
        return
    with pytest.raises(ValueError, match=r"written like|plain values|no fault"):
        faults.parse(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("status(200)", "400 to 599"),
        ("status()", r"status\(code, retry_after=None"),
        ("status(500, after=3)", r"status\(code, retry_after=None"),
        ("status(500, body='xml')", "'json', 'html', 'empty'"),
        ("rate_limit(retry_after=-1)", "retry_after is a time"),
        ("rate_limit(form='minutes')", "'seconds', 'date', 'ms'"),
        ("reset_after()", "chunks= or bytes="),
        ("reset_after(chunks=1, bytes=1)", "chunks= or bytes="),
        ("reset_after(chunks=-1)", "chunks is a count"),
        ("reset_after(bytes='x')", "bytes is a count"),
        ("stall(phase='late')", "'open', 'first', 'text'"),
        ("stall(seconds=-1)", "seconds is a time"),
        ("keep_alive_only(interval=0)", "interval is the time"),
        ("cut_utf8(how='softly')", "'reset', 'close', 'half_close', 'end'"),
        ("error_event(kind='odd')", "'overloaded', 'server_error', 'rate_limit'"),
        ("tool_args_cut(how='softly')", "'length', 'end', 'close', 'reset'"),
        ("lost_chunk(chunk=0)", "counted from 1"),
        ("blank(text='x')", "white space"),
        ("preamble(text=' ')", "before the answer"),
        ("corrupt(byte=-1)", "position in the body"),
        ("drip(bytes=0)", "at least 1"),
        ("drip(seconds='slowly')", "seconds is a time"),
    ],
)
def test_a_wrong_parameter_is_refused_when_the_fault_is_made(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        faults.parse(text)


def test_a_wrong_parameter_of_a_call_names_the_right_ones() -> None:
    with pytest.raises(TypeError, match=r"stall\(phase='text', chunks=2, seconds=None\)"):
        faults.stall(after=2)  # type: ignore[call-arg]


def picked(schedule: faults.Schedule, count: int) -> list[str]:
    return [str(schedule.pick(number)).partition("(")[0] for number in range(count)]


def test_a_script_goes_in_order_and_stays_at_its_last_entry() -> None:
    schedule = faults.script(faults.quota(), faults.blank(), faults.ok())
    assert picked(schedule, 5) == ["quota", "blank", "ok", "ok", "ok"]


def test_flaky_passes_and_takes_its_turns_in_a_script() -> None:
    assert picked(faults.flaky(faults.quota(), 2), 4) == ["quota", "quota", "ok", "ok"]
    schedule = faults.script(faults.flaky(faults.quota(), 2), faults.blank(), faults.flaky(faults.refusal()))
    assert picked(schedule, 6) == ["quota", "quota", "blank", "refusal", "ok", "ok"]
    nested = faults.script(faults.script(faults.quota(), faults.blank()), faults.ok())
    assert picked(nested, 4) == ["quota", "blank", "ok", "ok"]


def test_a_mix_draws_by_weight_and_the_same_seed_draws_the_same() -> None:
    weights = {faults.ok(): 3.0, faults.quota(): 1.0, faults.blank(): 0.0}
    drawn = picked(faults.mix(weights, seed=5), 2000)
    assert drawn == picked(faults.mix(weights, seed=5), 2000)
    assert drawn != picked(faults.mix(weights, seed=6), 2000)
    assert 0.20 < drawn.count("quota") / len(drawn) < 0.30
    assert "blank" not in drawn
    assert picked(faults.script(faults.quota(), faults.mix(weights, seed=5)), 9)[1:] == drawn[:8]


def test_wrong_schedules_are_refused() -> None:
    with pytest.raises(ValueError, match="one entry or more"):
        faults.script()
    with pytest.raises(TypeError, match="made of faults"):
        faults.script("reset_after")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="only be the last"):
        faults.script(faults.mix({faults.ok(): 1}), faults.ok())
    with pytest.raises(ValueError, match="times is how many"):
        faults.flaky(faults.ok(), 0)
    with pytest.raises(TypeError, match="there are ok"):
        faults.mix({"reset": 1})  # type: ignore[dict-item]
    for weights in ({}, {faults.ok(): 0}, {faults.ok(): -1, faults.quota(): 1}):
        with pytest.raises(ValueError, match="no weight below 0"):
            faults.mix(weights)


def test_faults_are_equal_by_name_and_add_up() -> None:
    both = faults.drip(seconds=0) + faults.reset_after(chunks=2)
    assert both == faults.parse("drip(seconds=0) + reset_after(chunks=2)")
    assert {both: 1}[faults.parse("drip(seconds=0) + reset_after(chunks=2)")] == 1
    assert repr(faults.ok()) == "faults.ok()"
    assert isinstance(both, Fault)
    with pytest.raises(TypeError):
        both + 1  # type: ignore[operator]
