"""What holds where a call says nothing: the environment's defaults."""

import os
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from l0_core import _native
from l0_core._context import current_frame, in_attempt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from l0_core._run import Frame
    from l0_core.policy import Policy

PRESETS = ("standard", "interactive", "batch", "strict")

PolicyLike: TypeAlias = "Policy | _native.Policy | str | os.PathLike[str] | Mapping[str, object] | None"
"""What can be said of a policy: a `Policy`, the name of a preset, a file, its fields, or nothing."""


def policy_of(value: PolicyLike) -> _native.Policy:
    """Return the policy that a call asks for: where it says nothing that of `L0_POLICY`, else the standard one."""
    if value is None:
        value = said_of("L0_POLICY") or "standard"
    if isinstance(value, _native.Policy):
        return value
    if isinstance(value, str) and value in PRESETS:
        return _preset(value)
    from l0_core.policy import Policy

    return Policy.of(value).native


@cache
def _preset(name: str) -> _native.Policy:
    return _native.Policy.preset(name)


def said_of(name: str) -> str:
    """Return what the environment says of something, or nothing. Asked for each call: a miss of `get` is dear."""
    return os.environ[name] if name in os.environ else ""  # noqa: SIM401 - see above


def is_disabled() -> bool:
    """Return whether `L0_DISABLE` is set: everything is as if it were not protected."""
    return said_of("L0_DISABLE") not in {"", "0", "false", "no"}


def passes_through() -> bool:
    """Return whether a session that begins here has nothing to do: inside an attempt, or where `L0_DISABLE` is set."""
    return in_attempt() or is_disabled()


def frame_here() -> "Frame | None":
    """Return what a session that begins here is a step of, if it is one."""
    frame = current_frame()
    return None if frame is None or passes_through() else frame
