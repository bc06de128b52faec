"""The policy's models say what the engine says, and refuse what it refuses."""

import copy
import json
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from l0_core import _native
from l0_core._errors import PolicyError
from l0_core.policy import Breaker, Continuation, Limits, Policy, Retry, RetryBudget, Timeouts, WorstCase

PRESETS = ["standard", "interactive", "batch", "strict"]
SECONDS_MAX = 31 * 24 * 3_600.0


def leaves(part: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every field that is not a group of fields, with its annotation."""
    for name, field in part.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, (*prefix, name))
        else:
            yield (*prefix, name), field.annotation


# Guards are compiled by the engine alone, which test_guards.py looks at.
LEAVES = {path: kind for path, kind in leaves(Policy) if path[0] not in {"guards", "input_guards", "drift"}}


def holding(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """The fields of a policy that says one thing."""
    *parents, name = path
    fields: dict[str, Any] = {name: value}
    for parent in reversed(parents):
        fields = {parent: fields}
    return fields


def value_of(policy: Policy, path: tuple[str, ...]) -> Any:
    value: Any = policy
    for name in path:
        value = getattr(value, name)
    return value


def engine_takes(fields: dict[str, Any]) -> bool:
    try:
        _native.Policy(json.dumps(fields))
    except ValueError:
        return False
    return True


def models_take(fields: dict[str, Any]) -> bool:
    try:
        Policy.model_validate(fields)
    except ValidationError:
        return False
    return True


# The same as the engine's -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_engines(name: str) -> None:
    policy: Policy = getattr(Policy, name)()
    engine = _native.Policy.preset(name)
    assert policy.model_dump_json() == engine.json
    assert policy.digest == engine.digest
    assert Policy.of(name) is policy


def test_the_defaults_are_the_engines() -> None:
    assert Policy().model_dump_json() == _native.Policy("{}").json


def whole(low: int, high: int) -> list[int]:
    return [low - 1, low, high, high + 1]


def real(low: float, high: float) -> list[float]:
    """Around each bound: a nanosecond and more, which counts, and less than one, which is rounded away."""
    below, above = (math.nextafter(low, -math.inf), low - 2e-9), (math.nextafter(high, math.inf), high + 2e-9)
    return [*below, low, low + 2e-9, high - 2e-9, high, *above]


WAIT, CLOCK = real(0.0, SECONDS_MAX), real(0.001, SECONDS_MAX)
BOUNDARIES: dict[str, list[Any]] = {
    "retry.attempts": whole(1, 100),
    "retry.max_retries": whole(0, 1_000),
    **dict.fromkeys(["retry.base", "retry.base_overload", "retry.cap", "retry.retry_after_slack"], WAIT),
    "retry.jitter": ["full", "equal", "decorrelated", "none", "wild", "Full", ""],
    **dict.fromkeys(["budget.tokens", "budget.cost", "budget.cost_throttled", "budget.refund"], whole(0, 1_000_000)),
    **dict.fromkeys(["breaker.window", "breaker.open"], CLOCK),
    "breaker.min_outcomes": whole(1, 10_000),
    "breaker.ratio": real(0.0, 1.0),
    "limits.concurrent": [None, *whole(1, 1_000_000)],
    **{f"timeouts.{name}": CLOCK for name in Timeouts.model_fields},
    "delivery": ["live", "guarded", "whole", "eager"],
    "continuation.rungs": [
        [],
        ["native", "prefill", "prompt", "rerun", "reset"],
        ["rerun", "rerun"],
        ["magic"],
        "rerun",
    ],
    "continuation.prompt": [None, "", "go on", "go on after {anchor}"],
    "continuation.hold_chars": whole(64, 65_536),
    "continuation.restart_chars": whole(8, 4_096),
    "continuation.overlap_chars": whole(4, 4_096),
    "refusal": ["raise", "next", "ignore"],
}


def test_the_boundaries_of_every_field_are_tried() -> None:
    assert set(BOUNDARIES) == {".".join(path) for path in LEAVES}


@pytest.mark.parametrize("name", BOUNDARIES)
def test_bounds_are_the_engines(name: str) -> None:
    """Both sides of every bound, and that both verdicts occur: a bound that refuses nothing is none."""
    verdicts = set()
    for value in BOUNDARIES[name]:
        fields = holding(tuple(name.split(".")), value)
        assert models_take(fields) == engine_takes(fields), value
        verdicts.add(models_take(fields))
    assert verdicts == {True, False}


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 10**7),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, SECONDS_MAX + 1),
    st.text(max_size=8),
    st.sampled_from(["full", "live", "whole", "next", "raise", "{anchor}"]),
    st.lists(st.sampled_from(["native", "prefill", "prompt", "rerun", "reset", "x"]), max_size=4),
)


@given(st.dictionaries(st.sampled_from(sorted(LEAVES)), ANYTHING, max_size=4))
def test_whatever_is_said_models_and_engine_agree(said: dict[tuple[str, ...], Any]) -> None:
    fields: dict[str, Any] = {}
    for path, value in said.items():
        group = fields
        for name in path[:-1]:
            group = group.setdefault(name, {})
        group[path[-1]] = value
    taken = models_take(fields)
    assert taken == engine_takes(fields)
    if taken:
        policy, engine = Policy.model_validate(fields), _native.Policy(json.dumps(fields))
        assert policy.digest == engine.digest
        assert json.loads(engine.json) == json.loads(policy.model_dump_json())


@given(st.floats(0, SECONDS_MAX))
def test_seconds_are_those_the_engine_keeps(seconds: float) -> None:
    kept: float = json.loads(_native.Policy(json.dumps({"retry": {"cap": seconds}})).json)["retry"]["cap"]
    assert abs(Retry(cap=seconds).cap - kept) <= 1e-9


def test_numbers_with_a_unit_say_it() -> None:
    for path, annotation in LEAVES.items():
        part: Any = Policy
        for name in path[:-1]:
            part = part.model_fields[name].annotation
        description = part.model_fields[path[-1]].description
        assert description
        numbers = [annotation, *get_args(annotation)] if get_origin(annotation) in {Union, UnionType} else [annotation]
        if float in numbers and path != ("breaker", "ratio"):
            assert "seconds" in description, path


# Made by hand --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        (Retry, {"attempts": 0}),
        (Retry, {"attempts": "3"}),
        (Retry, {"attempts": 3.0}),
        (Retry, {"attempts": True}),
        (Retry, {"atempts": 3}),
        (RetryBudget, {"tokens": -1}),
        (Breaker, {"ratio": 0}),
        (Limits, {"concurrent": 0}),
        (Timeouts, {"text": math.inf}),
        (Timeouts, {"text": math.nan}),
        (Continuation, {"rungs": ["rerun", "rerun"]}),
        (Continuation, {"rungs": {"rerun", "prompt"}}),
        (Continuation, {"prompt": "go on"}),
        (Continuation, {"prompt": "{anchor}\ud800"}),
        (Policy, {"retry": {"attempts": 0}}),
    ],
)
def test_a_wrong_value_is_pydantics_own_error(part: type[BaseModel], fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        part(**fields)


def test_whole_seconds_may_be_written_as_such() -> None:
    assert Timeouts(open=30, first=120) == Timeouts()


def test_a_policy_cannot_change() -> None:
    policy = Policy(continuation=Continuation(rungs=["rerun"]))
    with pytest.raises(ValidationError):
        policy.delivery = "whole"  # type: ignore[misc]
    assert policy.continuation.rungs == ("rerun",)
    assert hash(policy) == hash(Policy(continuation=Continuation(rungs=("rerun",))))
    assert copy.copy(policy) is policy
    assert copy.deepcopy(policy) is policy


def test_a_copy_with_other_values_is_validated_and_has_its_own_digest() -> None:
    policy = Policy()
    assert policy.digest
    assert policy.model_copy(update={"delivery": "whole"}).digest == Policy(delivery="whole").digest
    with pytest.raises(ValidationError):
        policy.model_copy(update={"delivery": "eager"})


def test_a_policy_travels_between_processes() -> None:
    policy = Policy(delivery="whole")
    assert policy.digest
    travelled = pickle.loads(pickle.dumps(policy))  # noqa: S301 - our own bytes
    assert travelled == policy
    assert travelled.digest == policy.digest


def test_the_worst_case_is_the_engines() -> None:
    assert Policy().worst_case(2) == WorstCase(calls=8, total=900.0, waiting=51.0)
    assert Policy(retry=Retry(max_retries=0)).worst_case() == WorstCase(calls=1, total=900.0, waiting=0.0)


def test_a_difference_is_named_by_field() -> None:
    assert Policy().diff(Policy()) == {}
    assert Policy.strict().diff(Policy()) == {
        "delivery": ("guarded", "live"),
        "continuation.rungs": (("prefill", "rerun"), ("prefill", "prompt", "rerun")),
    }


# Read from elsewhere -------------------------------------------------------------------------------------------------


def written(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    toml = written(
        tmp_path, "p.toml", 'delivery = "whole"\n[retry]\nattempts = 2\nbase = 1\n[limits]\nconcurrent = 8\n'
    )
    fields = {"delivery": "whole", "retry": {"attempts": 2, "base": 1}, "limits": {"concurrent": 8}}
    loaded = Policy.load(toml)
    assert loaded == Policy.load(written(tmp_path, "p.json", json.dumps(fields))) == Policy.of(fields)
    assert Policy.of(str(toml)) == Policy.of(toml) == loaded
    assert loaded.retry == Retry(attempts=2, base=1)


WRONG: dict[str, tuple[str, str | bytes, list[str]]] = {
    "unknown field": ("p.toml", "[retry]\natempts = 2", ["retry.atempts", "max_retries", "did you mean 'attempts'"]),
    "unknown group": ("p.toml", "[gards]\na = 1", ["gards", "timeouts"]),
    "whole number": ("p.toml", "[retry]\nattempts = 0", ["retry.attempts", "a whole number from 1 to 100, not 0"]),
    "seconds": ("p.json", '{"timeouts": {"text": 0}}', ["timeouts.text", "from 0.001 to 2678400 seconds, not 0"]),
    "ratio": ("p.json", '{"breaker": {"ratio": 1.5}}', ["breaker.ratio", "over 0 to 1, not 1.5"]),
    "optional": ("p.json", '{"limits": {"concurrent": 0}}', ["limits.concurrent", "from 1 to 1000000, not 0"]),
    "choice": ("p.toml", 'delivery = "eager"', ["delivery", "'live', 'guarded' or 'whole', not 'eager'"]),
    "list of choices": ("p.toml", 'continuation.rungs = ["magic"]', ["continuation.rungs.0", "'prefill'", "'magic'"]),
    "text for a list": ("p.toml", 'continuation.rungs = "rerun"', ["continuation.rungs", "a list", "'rerun'"]),
    "prompt": ("p.toml", 'continuation.prompt = "go on"', ["continuation.prompt", "{anchor}"]),
    "value for a group": ("p.json", '{"retry": 3}', ["retry", "group of fields", "attempts", "not 3"]),
    "not a number": ("p.json", '{"timeouts": {"text": NaN}}', ["timeouts.text", "nan"]),
    "all at once": ("p.toml", 'delivery = "x"\nrefusal = "y"', ["delivery", "refusal", "'x'", "'y'"]),
    "field twice": ("p.json", '{"retry": {}, "retry": {}}', ["not valid JSON", "'retry'", "twice"]),
    "broken JSON": ("p.json", '{"retry": ', ["not valid JSON"]),
    "broken TOML": ("p.toml", "retry = ", ["not valid TOML"]),
    "deep JSON": ("p.json", "[" * 100_000, ["not valid JSON"]),
    "not Unicode": ("p.toml", b"\xff", ["not valid TOML"]),
    "not an object": ("p.json", "[]", ["must hold the fields of a policy", "list"]),
    "other suffix": ("p.yaml", "", ["*.toml", "*.json"]),
    "too large": ("p.json", " " * 2_000_000, ["larger"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused_by_name(case: str, tmp_path: Path) -> None:
    name, content, words = WRONG[case]
    file = written(tmp_path, name, content)
    with pytest.raises(PolicyError) as refused:
        Policy.load(file)
    for word in [str(file), *words]:
        assert word in str(refused.value)


@pytest.mark.parametrize("name", ["missing.toml", ".json", "nul\0.toml"])
def test_a_file_that_cannot_be_read_is_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / ".json").mkdir()
    with pytest.raises(PolicyError, match=r"cannot be read|is named"):
        Policy.load(tmp_path / name)


@pytest.mark.parametrize("value", ["intractive", 3, ["standard"], object()])
def test_what_is_no_policy_is_refused(value: Any) -> None:
    with pytest.raises(PolicyError, match=r"standard, interactive, batch or strict|a policy is"):
        Policy.of(value)


def test_a_value_too_long_to_show_is_cut_in_the_message() -> None:
    for value in ["x" * 10_000, 10**10_000]:
        with pytest.raises(PolicyError) as refused:
            Policy.of({"delivery": value})
        assert len(str(refused.value)) < 300


def test_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("L0_POLICY", raising=False)
    assert Policy.of(None) is Policy.standard()
    monkeypatch.setenv("L0_POLICY", "")
    assert Policy.of(None) is Policy.standard()
    monkeypatch.setenv("L0_POLICY", "batch")
    assert Policy.of(None) is Policy.batch()
    file = written(tmp_path, "p.toml", 'delivery = "whole"')
    monkeypatch.setenv("L0_POLICY", str(file))
    assert Policy.of(None) is Policy.of(None)
    assert Policy.of(None).delivery == "whole"
    assert Policy.of("standard").delivery == "live"
    monkeypatch.setenv("L0_POLICY", "nonsense")
    with pytest.raises(PolicyError, match=r"L0_POLICY.*nonsense"):
        Policy.of(None)
