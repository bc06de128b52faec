"""What a model is protected with."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from json import dumps, loads
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config

from l0_core import Journal, Lifecycle, Policy
from l0_core._context import Scope, scope, within
from l0_core._journal import JournalLike, run_id
from l0_core._native import Policy as NativePolicy
from l0_core._settings import PolicyLike, policy_of
from l0_core._sync import StallGuard
from l0_langchain._candidate import Candidate
from l0_langchain._endpoint import Terminal
from l0_langchain._wanted import Wanted

_ANYWHERE = nullcontext()


@dataclass(frozen=True)
class Protection:
    """Everything that is said about a protected model beside the model. A value: copies of the model share it."""

    policy: PolicyLike = None
    fallbacks: tuple[Candidate, ...] = ()
    on: Lifecycle | None = None
    tenant: str | None = None
    journal: JournalLike = None
    run: str | None = None
    """What its sessions are found under in the journal, where they are no steps of a run."""
    user: str | None = None
    stall_guard: StallGuard | None = None
    """Whether sync answers are read in a thread: they are, where nothing is said."""
    prefill: bool | None = None
    terminal: Terminal | None = None
    schema: Any = None
    """What its structured answers must be, as its caller said it."""
    wants_raw: bool | None = None
    """Whether its caller wants an answer that does not fit all the same."""
    answer: Any = None
    """What the last answer of the agent must be that it works for."""
    wanted: Wanted | None = None
    """What the answers of this call must be."""
    events: bool | None = None
    """Whether its caller wants to be told when its reader waits, and can be told to discard what it was shown."""

    @cached_property
    def _said(self) -> NativePolicy:
        return policy_of(self.policy)

    def native(self, *, may_reset: bool) -> NativePolicy:
        """Return the policy as the engine takes it: where nothing was said, what the environment says now.

        Args:
            may_reset: Whether the consumer can be told to discard.
        """
        if self.wanted is not None:
            policy = self.wanted.policy(Policy.of(None) if self.policy is None else self._whole).native
        else:
            policy = policy_of(None) if self.policy is None else self._said
        return policy if may_reset else _without_reset(policy)

    @cached_property
    def _whole(self) -> Policy:
        return Policy.of(self.policy)  # type: ignore[arg-type]  # the engine's own copy is refused by name

    def checked(self) -> Self:
        """Return it, or raise if its policy is no policy."""
        if self.policy is not None:
            _ = self._said
        return self

    def changed(self, **changes: Any) -> Self:
        """Return it with what is not `None`, and not empty, in the place of what was."""
        return replace(self, **{name: value for name, value in changes.items() if value not in (None, ())}).checked()

    @property
    def said(self) -> dict[str, Any]:
        """What is said, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def filed(self) -> AbstractContextManager[None]:
        """Have a session that begins inside found under the run and the user that were said, if it is no step."""
        return filed(self.journal, self.run, self.user)

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.said, "journal": portable(self.journal)}


def filed(journal: JournalLike, run: str | None, user: str | None) -> AbstractContextManager[None]:
    """Have a session that begins inside found under a run and a user, if it is no step of a run."""
    found = Journal.of(journal) if (run or user) and scope() is None else None
    if found is None:
        return _ANYWHERE
    return within(Scope(found, run=run_id(run) if run is not None else None, user=user))


@lru_cache(maxsize=256)
def _without_reset(policy: NativePolicy) -> NativePolicy:
    """Return the policy without the rung that tells a consumer to discard: most are chains, and would not hear it."""
    fields = loads(policy.json)
    rungs = fields["continuation"]["rungs"]
    if "reset" not in rungs:
        return policy
    fields["continuation"]["rungs"] = [rung for rung in rungs if rung != "reset"]
    return NativePolicy(dumps(fields), policy.users)


_KEYS = (
    *(("conversation_id", "run"), ("session_id", "run"), ("thread_id", "run"), ("user_id", "user")),
    *(("l0_policy", "policy"), ("l0_tenant", "tenant"), ("l0_run", "run"), ("l0_user", "user")),
    ("l0_events", "events"),
)
"""What a config's `configurable` may say, the most telling last."""


def portable(journal: JournalLike) -> JournalLike:
    """Return what another process can open: a file by its name. One that is in memory stays behind."""
    return journal.path if isinstance(journal, Journal) else journal


def asked_for(config: RunnableConfig | None) -> dict[str, Any]:
    """Return what a call's config asks for in `configurable`, or that of the chain it is called from."""
    configurable = config.get("configurable") if config else None
    if configurable is None:
        around = var_child_runnable_config.get()
        configurable = around.get("configurable") if around else None
    if not configurable:
        return {}
    said = {name: configurable[key] for key, name in _KEYS if configurable.get(key) not in (None, "")}
    return {name: str(value) if name in {"run", "user"} else value for name, value in said.items()}
