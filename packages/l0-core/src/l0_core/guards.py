"""What must not be in an answer, and what becomes of one in which it is.

Each function returns a `Guard` for `Policy.guards` or `Policy.input_guards`. All of them take `severity`: `warn` notes
what is found, `error` (the default) fails the attempt so that another is made, `fatal` ends the session; and
`recoverable`: whether the same target may do better. Those that look for something take `mask`: what is put in its
place, in which case nothing fails.

Example:
    >>> from l0_core import Policy, guards
    >>> policy = Policy(
    ...     guards=[guards.secrets(severity="fatal"), guards.patterns(["internal only"])], delivery="guarded"
    ... )
    >>> [guard.title for guard in policy.guards]
    ['secrets', 'patterns']
"""

import json as _json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from operator import attrgetter
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from l0_core._check import Asked, Dissent, Piece

__all__ = [
    "Dissent",
    "Drift",
    "Guard",
    "UserGuard",
    "guard",
    "json",
    "json_schema",
    "latex",
    "markdown",
    "max_length",
    "not_empty",
    "patterns",
    "pii",
    "repetition",
    "secrets",
]

Severity = Literal["warn", "error", "fatal"]
SecretKind = Literal[
    "aws", "azure", "google", "forge", "registry", "model", "chat", "payment", "mail", "service", "jwt",
    "private_key", "url_password", "assigned",
]  # fmt: skip
PiiKind = Literal["email", "phone", "iban", "card", "ssn"]


class Guard(BaseModel):
    """One guard of a policy: what it looks for, and what becomes of an attempt in which it finds it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: str | None = Field(None, description="How results and records call it; the name of its check by default.")
    check: Mapping[str, Mapping[str, Any]] = Field(
        description="What it looks for: one check, by name, with its fields."
    )
    severity: Severity = Field("error", description="What becomes of the attempt.")
    recoverable: bool = Field(default=True, description="Whether another attempt on the same target may do better.")
    mask: str | None = Field(None, description="What to put in the place of what it finds; `severity` is then `warn`.")

    @property
    def title(self) -> str:
        """How results and records call it."""
        return self.name or next(iter(self.check))


Verdict = str | Dissent | None
Judge = Callable[[str, bool], Verdict | Awaitable[Verdict]]


class UserGuard(Guard):
    """A guard of your own: made by `guard`, called like the function it was made of.

    The engine asks it, and records what it says: a replay does not ask again.
    """

    _judge: Judge = PrivateAttr()

    def __call__(self, text: str, final: bool = True) -> Verdict | Awaitable[Verdict]:  # noqa: FBT001, FBT002 - as the function
        """Return what the function says."""
        return self._judge(text, final)

    def ask(self, piece: Piece) -> object:
        """Return what it says of a piece."""
        return self._judge(piece.text, piece.final)

    def begin(self) -> Asked:
        """Return what a session asks: itself, where it remembers nothing."""
        return self

    def __reduce__(self) -> Any:
        home, name = self._judge.__module__, self._judge.__qualname__
        if "<" in name or _at(home, name) is not self:
            raise TypeError(f"guard {self.title!r} crosses no process: it must be a name at the top of a module")
        return _at, (home, name)


def _at(module: str, name: str) -> Any:
    return attrgetter(name)(import_module(module))


def guard(
    *,
    name: str,
    version: int | str,
    on: Literal["window", "whole"] = "window",
    severity: Severity = "error",
    recoverable: bool = True,
    retries: int | None = None,
) -> Callable[[Judge], UserGuard]:
    """Make a guard of a function, sync or async: `(text, final)` to `None`, or to why it objects.

    It answers with `None`, with a reason in a few words, or with a `Dissent`, whose errors the target is told. What it
    raises ends the session as a fault of the caller's own. No text is given to the consumer before it has answered.

    Args:
        name: How results and records call it.
        version: Which version of it gave the verdicts that a journal holds: another where it judges otherwise.
        on: `window` shows it each new piece with up to 1,024 characters before it, and the last one once more with
            `final`; `whole` shows it the answer once, when it is complete.
        severity: What becomes of an attempt it objects to.
        recoverable: Whether another attempt on the same target may do better.
        retries: How often it may object to answers of one target before the next is tried.

    Example:
        >>> from l0_core import Policy, guards
        >>> @guards.guard(name="no-shouting", version=1, on="whole")
        ... def no_shouting(text: str, final: bool) -> str | None:
        ...     return "shouts" if text.isupper() else None
        >>> policy = Policy(guards=[no_shouting], delivery="whole")
        >>> no_shouting("HELLO")
        'shouts'
    """
    said: dict[str, Any] = {"version": str(version), "on": on}
    if retries is not None:
        said["retries"] = retries

    def make(judge: Judge) -> UserGuard:
        made = UserGuard(name=name, check={"user": said}, severity=severity, recoverable=recoverable)
        made._judge = judge  # noqa: SLF001 - its own
        return made

    return make


class Drift(BaseModel):
    """An answer that goes astray while each of its pieces still looks right."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    action: Literal["record", "retry", "fallback"] = Field("record", description="What to do about it.")
    threshold_permille: int = Field(1_000, ge=1, le=1_000, description="From which score on, in thousandths.")
    signals: tuple[Literal["repetition", "format", "script", "length"], ...] = Field(
        ("repetition", "format", "script"), strict=False, description="What is watched."
    )
    expected_chars: int | None = Field(
        None, ge=1, le=100_000_000, description="How long such answers are, in characters: what `length` measures by."
    )


def _guard(check: str, fields: Mapping[str, Any], how: Mapping[str, Any]) -> Guard:
    said = {name: value for name, value in fields.items() if value is not None}
    if how.get("mask") is not None:
        how = {"severity": "warn", **how}
    return Guard(check={check: said}, **how)


def json(*, root: Literal["any", "object", "array", "container"] = "any", **how: Any) -> Guard:
    """Require one JSON document, of this kind."""
    return _guard("json", {"root": root}, how)


def json_schema(schema: Mapping[str, Any], **how: Any) -> Guard:
    """Require one JSON document that fits a JSON schema."""
    return _guard("json_schema", {"schema": _json.dumps(schema)}, how)


def markdown(*, rows: Literal["any", "even"] = "any", **how: Any) -> Guard:
    """Require that fences are closed and tables hang together; with `even`, that all rows have as many columns."""
    return _guard("markdown", {"rows": rows}, how)


def latex(**how: Any) -> Guard:
    """Require that environments and display math are closed."""
    return _guard("latex", {}, how)


def not_empty(*, min_chars: int = 1, **how: Any) -> Guard:
    """Require text: so many characters that are not white space."""
    return _guard("not_empty", {"min_chars": min_chars}, how)


def max_length(max_chars: int, **how: Any) -> Guard:
    """Allow no more than so many characters."""
    return _guard("max_length", {"max_chars": max_chars}, how)


def patterns(
    literals: Sequence[str] = (), *, regexes: Sequence[str] = (), ignore_case: bool = False, **how: Any
) -> Guard:
    """Allow none of these, however they are cut into chunks. Expressions are in Rust's syntax, without look-around."""
    return _guard("patterns", {"literals": [*literals], "regexes": [*regexes], "ignore_case": ignore_case}, how)


def secrets(kinds: Sequence[SecretKind] | None = None, **how: Any) -> Guard:
    """Allow no credential: keys, tokens, private keys, of all kinds where none are named."""
    return _guard("secrets", {"kinds": [*kinds] if kinds is not None else None}, how)


def pii(kinds: Sequence[PiiKind] | None = None, **how: Any) -> Guard:
    """Allow no data about a person: those with a checksum by default, all of `kinds` where they are named."""
    return _guard("pii", {"kinds": [*kinds] if kinds is not None else None}, how)


def repetition(*, min_repeats: int | None = None, min_chars: int | None = None, **how: Any) -> Guard:
    """Allow no loop: the same words again and again."""
    return _guard("repetition", {"min_repeats": min_repeats, "min_chars": min_chars}, how)
