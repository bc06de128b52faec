"""The errors of L0.

```
L0Error                  an outcome that L0 made
├── ExhaustedError       everything allowed was tried
├── IncompleteError      the consumer was given a part, and nothing allowed could complete it
├── DeadlineError        the time allowed has passed
├── LimitError           a budget or a breaker allowed no further call
├── ContentError         what arrived was not acceptable
├── RefusedOutput        the model declined, or nothing it said could be validated
├── ReplayDivergence     a replay met a record that it would not have written
├── JournalError         the journal cannot be read or written
├── PolicyError          a policy, or another setting, is wrong
├── StepNotSerializable  a step's result cannot be remembered
├── StepFailed           a step failed when it was recorded, with an exception unknown here
└── UnknownOutcome       a step was begun, and whether it happened is not known
```

None of them is a `ValueError` or a `TypeError`: frameworks swallow those in places. A failure that the bare call would
have raised as well (a bad request, wrong credentials, a bug of the caller's) is raised as that same object, with the
`Result` so far as its attribute `l0`.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from l0_core._divergence import Change
    from l0_core._result import Result


class L0Error(Exception):
    """An outcome that L0 made.

    Attributes:
        result: How far the session came: its partial text, its attempts and faults.
    """

    is_retryable = False
    """Whatever could be retried has been."""
    result: "Result | None" = None

    def __init__(self, message: str, result: "Result | None" = None) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.result)

    @property
    def fault(self) -> str | None:
        """The class of the last fault, such as `network`."""
        return self.result.faults[-1].fault if self.result and self.result.faults else None

    @property
    def category(self) -> str | None:
        """Whose matter it is: `user`, `dependency`, `internal` or `cancelled`."""
        return self.result.faults[-1].category if self.result and self.result.faults else None

    @property
    def session_id(self) -> str | None:
        """The session, as the journal and the log know it."""
        return self.result.session_id if self.result else None

    @property
    def attempts(self) -> int:
        """How many attempts were made."""
        return self.result.attempts if self.result else 0

    @property
    def target(self) -> str | None:
        """The target that failed last."""
        return self.result.faults[-1].target if self.result and self.result.faults else None

    @property
    def partial_chars(self) -> int:
        """How many characters the consumer was given."""
        return len(self.result.text) if self.result else 0


class ExhaustedError(L0Error):
    """Everything allowed was tried."""


class IncompleteError(L0Error):
    """The consumer was given a part, and nothing allowed could complete it."""


class DeadlineError(L0Error):
    """The time allowed has passed."""


class LimitError(L0Error):
    """A budget or a breaker allowed no further call."""


class ContentError(L0Error):
    """What arrived was not acceptable."""


class RefusedOutput(L0Error):  # noqa: N818 - an outcome with a name of its own, not a malfunction
    """The model declined, or nothing it said could be validated."""


class ReplayDivergence(L0Error):  # noqa: N818 - as above
    """A replay, or a run that is resumed, met a record that it would not have written.

    The message says where and holds nothing of what was said; the attributes do.

    Attributes:
        record: The first record that differs, in its stream.
        expected: What was recorded.
        actual: What there is now.
        changes: What differs, field by field: each has a `path`, `expected` and `actual`.
    """

    def __init__(
        self,
        message: str,
        result: "Result | None" = None,
        *,
        record: int | None = None,
        expected: object = None,
        actual: object = None,
        changes: Sequence["Change"] = (),
    ) -> None:
        super().__init__(message, result)
        self.record = record
        self.expected = expected
        self.actual = actual
        self.changes = changes

    def __reduce__(self) -> tuple[Any, ...]:
        said: dict[str, Any] = {
            "record": self.record,
            "expected": self.expected,
            "actual": self.actual,
            "changes": self.changes,
        }
        return partial(type(self), **said), (str(self), self.result)


class JournalError(L0Error):
    """The journal cannot be read or written.

    Attributes:
        reason: Why, in one word: `full`, `read_only`, `busy`, `held`, `fenced`, `unleased`, `lost`, `conflict`,
            `corrupt`, `removed`, `not_a_journal`, `newer`, `key`, `too_large`, `backlog`, `forked`, `closed`,
            `payload`, `invalid` or `other`.
        is_transient: Whether the same may succeed later, with nothing changed but the world.
        stream: The id of the stream it is about, where damage has a place.
        record: The record in it.
    """

    def __init__(
        self,
        message: str,
        result: "Result | None" = None,
        *,
        reason: str = "other",
        is_transient: bool = False,
        stream: bytes | None = None,
        record: int | None = None,
    ) -> None:
        super().__init__(message, result)
        self.reason = reason
        self.is_transient = is_transient
        self.stream = stream
        self.record = record

    def __reduce__(self) -> tuple[Any, ...]:
        said: dict[str, Any] = {
            "reason": self.reason,
            "is_transient": self.is_transient,
            "stream": self.stream,
            "record": self.record,
        }
        return partial(type(self), **said), (str(self), self.result)


class PolicyError(L0Error):
    """A policy, or another setting, is wrong."""


class StepNotSerializable(L0Error):  # noqa: N818 - as above
    """A step's result cannot be remembered."""


class StepFailed(L0Error):  # noqa: N818 - as above
    """A step failed when it was recorded, with an exception that this program has no class for."""


class UnknownOutcome(L0Error):  # noqa: N818 - as above
    """A step was begun and the process died: whether its side effect happened, only a person can say."""
