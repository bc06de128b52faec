"""Outcomes that L0 made, as the framework's own kind of error.

Each is also what `l0_core` calls by the same name, and a `ModelError` that is not retryable: what could be retried has
been, and whoever stands outside (a retry middleware, a node's retry policy) reads that off it.
"""

from typing import TYPE_CHECKING

from langchain_core.exceptions import ModelError, OutputParserException

import l0_core

if TYPE_CHECKING:
    from collections.abc import Mapping

    from l0_core import Result


class L0Error(l0_core.L0Error, ModelError):
    """An outcome that L0 made, of a model call."""

    is_retryable = False


class ExhaustedError(l0_core.ExhaustedError, L0Error):
    """Everything allowed was tried."""


class IncompleteError(l0_core.IncompleteError, L0Error):
    """The consumer was given a part, and nothing allowed could complete it."""


class DeadlineError(l0_core.DeadlineError, L0Error):
    """The time allowed has passed."""


class LimitError(l0_core.LimitError, L0Error):
    """A budget or a breaker allowed no further call."""


class ContentError(l0_core.ContentError, L0Error):
    """What arrived was not acceptable."""


class RefusedOutput(l0_core.RefusedOutput, L0Error):
    """The model declined, or nothing it said could be validated."""


class UnfitOutput(RefusedOutput, OutputParserException):
    """Nothing the model said fits the schema: also what the framework's own parsers raise of such an answer."""

    observation = None
    llm_output = None
    send_to_llm = False

    def __init__(self, message: str, result: "Result | None" = None) -> None:
        Exception.__init__(self, message)
        self.result = result


MODEL_ERRORS: "Mapping[type[l0_core.L0Error], type[l0_core.L0Error]]" = {
    l0_core.L0Error: L0Error,
    l0_core.ExhaustedError: ExhaustedError,
    l0_core.IncompleteError: IncompleteError,
    l0_core.DeadlineError: DeadlineError,
    l0_core.LimitError: LimitError,
    l0_core.ContentError: ContentError,
    l0_core.RefusedOutput: RefusedOutput,
}
"""What a session over a model raises, in place of the errors of `l0_core`."""

VALUE_ERRORS: "Mapping[type[l0_core.L0Error], type[l0_core.L0Error]]" = {
    **MODEL_ERRORS,
    l0_core.RefusedOutput: UnfitOutput,
}
"""The same, of a session that is asked for a value."""
