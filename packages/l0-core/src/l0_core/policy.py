"""The policy: what L0 does when, in numbers. The engine defines what each of them means; these models mirror it.

A policy is a value: immutable, compared by what it says, quoted in every journal by its `digest`. The models refuse
what the engine would refuse, with pydantic's own `ValidationError`; `Policy.load` and `Policy.of`, which read what
somebody wrote elsewhere, raise a `PolicyError` that names the place.
"""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from l0_core import _native
from l0_core._errors import PolicyError
from l0_core.guards import Drift, Guard, UserGuard

Jitter = Literal["full", "equal", "decorrelated", "none"]
Delivery = Literal["live", "guarded", "whole"]
Rung = Literal["native", "prefill", "prompt", "rerun", "reset"]
Refusal = Literal["raise", "next"]

_SECONDS_MAX: Final = 31 * 24 * 3_600.0
_FILE_BYTES_MAX: Final = 1 << 20
_PRINTED_CHARS_MAX: Final = 80


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _to_nanosecond(seconds: float) -> float:
    """Return what the engine keeps of a number of seconds."""
    return round(seconds, 9)


_Exact = Annotated[float, Field(ge=0.0, allow_inf_nan=False), AfterValidator(_to_nanosecond)]
Wait = Annotated[_Exact, Field(ge=0.0, le=_SECONDS_MAX)]
Clock = Annotated[_Exact, Field(ge=0.001, le=_SECONDS_MAX)]
Tokens = Annotated[int, Field(ge=0, le=1_000_000)]


class _Part(BaseModel):
    """What all parts of a policy have in common: strict, closed, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002 - nothing in it can change
        """Return the same with other values in some fields, validated like any other."""
        if not update:
            return self
        return self.model_validate({name: getattr(self, name) for name in self.model_fields_set} | dict(update))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self


class Retry(_Part):
    """How to try again."""

    attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        3, description="Attempts one target is given whose answer was empty or unacceptable."
    )
    max_retries: Annotated[int, Field(ge=0, le=1_000)] = Field(
        6, description="Retries a session is given, whatever for. The first attempt on a target is not a retry."
    )
    base: Wait = Field(0.5, description="The first backoff, in seconds.")
    base_overload: Wait = Field(
        1.0, description="The first backoff where the target said that it is overloaded, in seconds."
    )
    cap: Wait = Field(20.0, description="The longest backoff, in seconds.")
    jitter: Jitter = Field("full", description="How a backoff is spread.")
    retry_after_slack: Wait = Field(5.0, description="How much later than a Retry-After a retry may come, in seconds.")


class RetryBudget(_Part):
    """A store of tokens that retries are paid from, shared by all sessions of a process for one target and tenant."""

    tokens: Tokens = Field(500, description="Tokens it holds when full.")
    cost: Tokens = Field(14, description="Tokens a retry costs.")
    cost_throttled: Tokens = Field(5, description="Tokens a retry costs after the target said that it is overloaded.")
    refund: Tokens = Field(1, description="Tokens a success at the first try returns.")


class Breaker(_Part):
    """When to leave a failing target alone for a while."""

    window: Clock = Field(60.0, description="How far back outcomes count, in seconds.")
    min_outcomes: Annotated[int, Field(ge=1, le=10_000)] = Field(10, description="Outcomes needed before it judges.")
    ratio: Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)] = Field(
        0.5, description="The share of failures at which it opens."
    )
    open: Clock = Field(30.0, description="How long it stays open before it lets one probe through, in seconds.")


class Limits(_Part):
    """Calls at a time, per target and tenant. Off unless set."""

    concurrent: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        None, description="Calls in flight at most; further ones wait in order until their deadline."
    )


class Timeouts(_Part):
    """The clocks of an attempt, and the one of the session."""

    open: Clock = Field(30.0, description="Until the response begins, in seconds.")
    first: Clock = Field(120.0, description="Until its first content, in seconds.")
    first_reasoning: Clock = Field(600.0, description="Until its first content, in seconds, where the target reasons.")
    text: Clock = Field(30.0, description="Between content, after text, in seconds.")
    reasoning: Clock = Field(120.0, description="Between content, after reasoning, in seconds.")
    tool_args: Clock = Field(300.0, description="Between content, after a fragment of a tool call, in seconds.")
    call: Clock = Field(600.0, description="Until a call that is not streamed has answered, in seconds.")
    total: Clock = Field(900.0, description="Until the session has ended, whatever happens, in seconds.")
    linger: Clock = Field(
        5.0, description="How long a stream is still read after it said that it has finished, in seconds."
    )


class Continuation(_Part):
    """How to go on after an answer broke off in front of the consumer."""

    rungs: Annotated[Sequence[Rung], AfterValidator(tuple)] = Field(
        ("prefill", "prompt", "rerun"), description="The ways allowed, in the order they are tried."
    )
    prompt: str | None = Field(
        None, description="What a target is asked on the `prompt` rung; `{anchor}` stands for the words to repeat."
    )
    hold_chars: Annotated[int, Field(ge=64, le=65_536)] = Field(
        512, description="Characters of a new answer looked at for the words to repeat."
    )
    restart_chars: Annotated[int, Field(ge=8, le=4_096)] = Field(
        32, description="Characters that must equal the beginning shown for an answer to count as started over."
    )
    overlap_chars: Annotated[int, Field(ge=4, le=4_096)] = Field(
        12, description="Characters an overlap must have to be taken for one."
    )

    @field_validator("rungs")
    @classmethod
    def _each_rung_once(cls, rungs: Sequence[Rung]) -> Sequence[Rung]:
        for place, rung in enumerate(rungs):
            if rung in rungs[:place]:
                raise ValueError(f"names {rung!r} twice; each may stand once")
        return rungs

    @field_validator("prompt")
    @classmethod
    def _anchor_has_a_place(cls, prompt: str | None) -> str | None:
        if prompt is not None and "{anchor}" not in prompt:
            raise ValueError("must hold {anchor}, where the words to repeat go")
        if prompt is not None and not _is_unicode(prompt):
            raise ValueError("must be valid Unicode: it holds half of a surrogate pair")
        return prompt


class WorstCase(NamedTuple):
    """The most a session can cost.

    Attributes:
        calls: Calls to providers.
        total: Seconds from its beginning to its end.
        waiting: Seconds of them spent waiting between calls, where no provider asks for more.
    """

    calls: int
    total: float
    waiting: float


class Policy(_Part):
    """Everything the engine decides by.

    Example:
        >>> from l0_core import Policy, Retry
        >>> policy = Policy(retry=Retry(max_retries=2), delivery="whole")
        >>> policy.worst_case(targets=2)
        WorstCase(calls=4, total=900.0, waiting=3.0)
        >>> policy.diff(Policy.standard())
        {'retry.max_retries': (2, 6), 'delivery': ('whole', 'live')}
    """

    retry: Retry = Field(Retry(), description="How to try again.")
    budget: RetryBudget = Field(RetryBudget(), description="What retries are paid from.")
    breaker: Breaker = Field(Breaker(), description="When to leave a failing target alone.")
    limits: Limits = Field(Limits(), description="Calls at a time.")
    timeouts: Timeouts = Field(Timeouts(), description="The clocks.")
    delivery: Delivery = Field(
        "live", description="When the consumer is given what arrived; `whole` by default where a guard wants JSON."
    )
    continuation: Continuation = Field(Continuation(), description="How to go on after an answer broke off.")
    refusal: Refusal = Field("raise", description="What to do when a target refuses to answer.")
    guards: Annotated[Sequence[Guard], AfterValidator(tuple)] = Field((), description="What must not be in an answer.")
    input_guards: Annotated[Sequence[Guard], AfterValidator(tuple)] = Field(
        (), description="What must not be in what a model is given."
    )
    drift: Drift | None = Field(None, description="How an answer may go astray.")

    @model_validator(mode="before")
    @classmethod
    def _a_document_is_whole(cls, fields: Any) -> Any:
        """Half of a document is of no use to anybody who did not say so."""
        if not isinstance(fields, Mapping) or "delivery" in fields:
            return fields
        guards = fields.get("guards")
        wants_json = isinstance(guards, Sequence) and any(map(_wants_json, guards))
        return {**fields, "delivery": "whole"} if wants_json else fields

    @model_validator(mode="after")
    def _guards_compile(self) -> Self:
        """Ask the engine, which alone knows what an expression may be."""
        for place, guard in enumerate(self.guards):
            if "user" in guard.check and not isinstance(guard, UserGuard):
                raise ValueError(f"guards[{place}]: a guard of your own is a function: make it with guards.guard")
        if self.guards or self.input_guards or self.drift:
            try:
                _native.Policy(self.model_dump_json(include={"guards", "input_guards", "drift"}))
            except ValueError as error:
                raise ValueError(": ".join(map(str, error.args))) from None
        return self

    @staticmethod
    @cache
    def standard() -> "Policy":
        """Return the policy where nothing else is said."""
        return Policy()

    @staticmethod
    @cache
    def interactive() -> "Policy":
        """Return the policy for a person who waits: short clocks."""
        clocks = Timeouts(open=5, first=15, first_reasoning=60, text=8, reasoning=60, tool_args=60, call=60, total=60)
        return Policy(timeouts=clocks)

    @staticmethod
    @cache
    def batch() -> "Policy":
        """Return the policy for work nobody waits for: long clocks."""
        clocks = Timeouts(
            open=60, first=600, first_reasoning=600, text=120, reasoning=600, tool_args=600, call=1_800, total=3_600
        )
        return Policy(timeouts=clocks)

    @staticmethod
    @cache
    def strict() -> "Policy":
        """Return the policy for answers without a seam that a model was talked into: no `prompt` rung, guarded."""
        return Policy(delivery="guarded", continuation=Continuation(rungs=("prefill", "rerun")))

    @staticmethod
    def load(path: str | os.PathLike[str]) -> "Policy":
        """Read a policy from a TOML or JSON file.

        Raises:
            PolicyError: It cannot be read, is neither, or holds what a policy does not; each such field is named.
        """
        file = Path(path)
        return _checked(_parsed(file), str(file))

    @staticmethod
    def of(value: "Policy | str | os.PathLike[str] | Mapping[str, Any] | None") -> "Policy":
        """Return what somebody means by a policy.

        Args:
            value: A policy, the name of a preset, the path of a file, a mapping of fields, or nothing: then the
                preset or file that the environment names in `L0_POLICY`, read once, or else the standard policy.

        Raises:
            PolicyError: It is none of them.
        """
        match value:
            case Policy():
                return value
            case None:
                return _of_environment(os.environ.get("L0_POLICY", ""))
            case str() if value in _PRESETS:
                return _preset(value)
            case str() if Path(value).suffix.lower() not in _FORMATS:
                raise PolicyError(f"no policy is called {_short(value)}: say {_listed(_PRESETS)}, or a file's path")
            case str() | os.PathLike():
                return Policy.load(value)
            case Mapping():
                return _checked(value, "policy")
            case _:
                raise PolicyError(
                    f"a policy is a Policy, the name of a preset, a path, or a mapping, not {type(value).__name__}"
                )

    @cached_property
    def native(self) -> _native.Policy:
        """The engine's own copy, which sessions are started with."""
        try:
            users = {place: guard for place, guard in enumerate(self.guards) if isinstance(guard, UserGuard)}
            return _native.Policy(self.model_dump_json(), users or None)
        except ValueError as error:  # A bound that is not mirrored here: still refused, and by name.
            raise PolicyError(": ".join(map(str, error.args))) from None

    @property
    def digest(self) -> str:
        """A hash of every field, the same on every machine."""
        return self.native.digest

    def worst_case(self, targets: int = 1) -> WorstCase:
        """Return the most a session over so many targets can cost."""
        return WorstCase(*self.native.worst_case(targets))

    def diff(self, other: "Policy") -> dict[str, tuple[object, object]]:
        """Return the fields in which the two differ, by dotted name: the value here and the value there."""
        mine, theirs = _flat(self.model_dump()), _flat(other.model_dump())
        return {name: (value, theirs[name]) for name, value in mine.items() if value != theirs[name]}

    def __getstate__(self) -> dict[Any, Any]:
        # The engine's copy stays in its process; the other side makes its own.
        state = super().__getstate__()
        fields = {name: value for name, value in state["__dict__"].items() if name != "native"}
        return {**state, "__dict__": fields}


_PRESETS: Final = ("standard", "interactive", "batch", "strict")
_FORMATS: Final = (".toml", ".json")


def _wants_json(guard: object) -> bool:
    check = guard.check if isinstance(guard, Guard) else guard.get("check") if isinstance(guard, Mapping) else None
    return isinstance(check, Mapping) and not {"json", "json_schema"}.isdisjoint(check)


def _preset(name: str) -> Policy:
    preset: Policy = getattr(Policy, name)()
    return preset


@lru_cache(maxsize=8)
def _of_environment(value: str) -> Policy:
    if not value:
        return Policy.standard()
    try:
        return Policy.of(value)
    except PolicyError as error:
        raise PolicyError(f"L0_POLICY in the environment: {error}") from None


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Return nested fields by their dotted names."""
    flat: dict[str, object] = {}
    for name, value in fields.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


# Files ---------------------------------------------------------------------------------------------------------------


def _parsed(file: Path) -> Mapping[str, Any]:
    """Read a file as what its suffix says it is."""
    kind = file.suffix.lower()
    if kind not in _FORMATS:
        raise PolicyError(f"{file}: a policy file is named {' or '.join(f'*{end}' for end in _FORMATS)}")
    try:
        with file.open("rb") as opened:
            content = opened.read(_FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise PolicyError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > _FILE_BYTES_MAX:
        raise PolicyError(f"{file}: is larger than {_FILE_BYTES_MAX} bytes, which no policy is")
    try:
        text = content.decode()
        parsed = tomllib.loads(text) if kind == ".toml" else json.loads(text, object_pairs_hook=_no_field_twice)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{file}: is not valid {kind[1:].upper()}: {error}") from None
    if not isinstance(parsed, dict):
        raise PolicyError(f"{file}: must hold the fields of a policy, not a {type(parsed).__name__}")
    return parsed


def _no_field_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise ValueError(f"field {_short(name)} stands twice")
        fields[name] = value
    return fields


# What is wrong -------------------------------------------------------------------------------------------------------


def _checked(fields: Mapping[str, Any], source: str) -> Policy:
    """Return fields as a policy, or say what of them is not one, where, and what is allowed there."""
    try:
        return Policy.model_validate(dict(fields))
    except ValidationError as error:
        problems = [_problem(details) for details in error.errors(include_url=False)]
    raise PolicyError("\n".join(f"{source}: {problem}" for problem in problems))


def _problem(details: ErrorDetails) -> str:
    """Say in one line what is wrong with a field and what is allowed there."""
    path = [str(part) for part in details["loc"]]
    where = ".".join(path) or "policy"
    found = _short(details["input"])
    match details["type"]:
        case "extra_forbidden":
            known = list(_fields_at(path[:-1]))
            guesses = get_close_matches(path[-1], known, n=1)
            hint = f"; did you mean {guesses[0]!r}?" if guesses else ""
            return f"{where}: no such field: there are {', '.join(known)}{hint}"
        case "value_error":
            return f"{where}: {details['ctx']['error']}"
        case "sequence_str":
            return f"{where}: must be a list of names, not {found}"
        case "literal_error":
            return f"{where}: must be {details['ctx']['expected']}, not {found}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{where}: must be a group of fields ({', '.join(_fields_at(path))}), not {found}"
        case _:
            allowed = _allowed(path)
            return f"{where}: {f'must be {allowed}' if allowed else details['msg']}, not {found}"


def _fields_at(path: Sequence[str]) -> Mapping[str, Any]:
    """Return the fields of the part at that path; none where there is no part."""
    part: Any = Policy
    for name in path:
        field = part.model_fields.get(name)
        part = field.annotation if field else None
        if not (isinstance(part, type) and issubclass(part, BaseModel)):
            return {}
    fields: Mapping[str, Any] = part.model_fields
    return fields


def _allowed(path: Sequence[str]) -> str:
    """Return the words for what a field takes, from its own schema."""
    *parents, name = path or [""]
    field = _fields_at(parents).get(name)
    if field is None:
        return ""
    bounds = {
        name: value
        for mark in _marks(field)
        for name in ("ge", "gt", "le")
        if (value := getattr(mark, name, None)) is not None
    }
    if "le" not in bounds:
        return ""
    kind = "a whole number" if _is_whole(field) else "a number"
    least = f"from {bounds['ge']:g}" if "ge" in bounds else f"over {bounds['gt']:g}"
    unit = " seconds" if any(isinstance(mark, AfterValidator) for mark in _marks(field)) else ""
    return f"{kind} {least} to {bounds['le']:.10g}{unit}"


def _marks(field: Any) -> list[Any]:
    """Return a field's constraints, where it is optional those of what it is otherwise."""
    options = [getattr(option, "__metadata__", ()) for option in getattr(field.annotation, "__args__", ())]
    nested = [mark for marks in options for mark in marks]
    return [*field.metadata, *nested, *(inner for mark in nested for inner in getattr(mark, "metadata", ()))]


def _is_whole(field: Any) -> bool:
    return field.annotation is int or any(
        getattr(option, "__origin__", None) is int for option in getattr(field.annotation, "__args__", ())
    )


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _short(value: object) -> str:
    """Return a value as it may stand in a message."""
    try:
        shown = repr(value)
    except Exception:  # noqa: BLE001 - whatever somebody's class does: a message is no place to fail
        return f"this {type(value).__name__}"
    return shown if len(shown) <= _PRINTED_CHARS_MAX else f"{shown[: _PRINTED_CHARS_MAX - 1]}…"
