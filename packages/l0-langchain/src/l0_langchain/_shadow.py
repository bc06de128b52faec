"""A model call that somebody else makes, as the engine sees it: judged, and never acted upon."""

import json
from collections.abc import Generator
from typing import Any

from l0_core import Lifecycle, Objection, Result, Target
from l0_core._drive import DRAIN, HOLD, Check, Drive, Open, Step
from l0_core._journal import JournalLike
from l0_core._native import Policy as NativePolicy
from l0_core._recording import Recording
from l0_core.ports.plain import PLAIN


class Shadow:
    """One session over an answer that arrives elsewhere.

    Args:
        name: What the model is called.
        policy: Its guards note what they find, and no more: see `watching`.
        port: What knows the chunks, where they are written down: text is all that guards need.
        whole: Whether the answer comes in one piece.
    """

    def __init__(self, name: str, policy: NativePolicy, port: Any = PLAIN, *, whole: bool = False) -> None:
        self.found: list[Objection] = []
        """What guards found and nobody has looked at."""
        self._drive = _Watching(
            [Target(_never, name=name, whole=whole)],
            policy,
            streamed=not whole,
            port=port,
            on=Lifecycle(on_guard=lambda _, objection: self.found.append(objection)),
        )
        self._run(self._drive.start())
        self._push, self._now = self._drive.session.chunk, self._drive.clock.now

    def text(self, text: str) -> None:
        """Take in a piece of the text. The hot path."""
        signal = self._push(self._now(), 0, text)
        if signal and signal in {HOLD, DRAIN}:
            self._drive.held.append(text)
            if signal == DRAIN:
                self._run(self._drive.steps())

    def chunk(self, chunk: Any) -> None:
        """Take in a chunk, or a whole answer, and write it down."""
        drive = self._drive
        text, encode = drive.text_of(chunk), drive.encode_text
        signal = self._push(self._now(), 0, text, encode and encode(chunk, text)) if text else drive.part(chunk, 0)
        if signal in {HOLD, DRAIN}:
            drive.held.append(chunk)
        if signal == DRAIN:
            self._run(drive.steps())

    def fail(self, error: Exception) -> None:
        """Take in that the call failed."""
        if not self._drive.is_over:
            self._drive.failed(error, bytes_seen=True)
            self._run(self._drive.steps())

    @property
    def session_id(self) -> str:
        """The session, as the journal knows it."""
        return self._drive.session_id

    def end(self) -> None:
        """Take in that nothing more comes."""
        if not self._drive.is_over:
            self._drive.session.ended(self._now(), 0)
            self._run(self._drive.steps())

    @property
    def result(self) -> Result:
        """How it went."""
        return self._drive.result

    def _run(self, steps: Generator[Step, None, None]) -> None:
        for step in steps:
            if isinstance(step, Open):
                self._drive.session.opened(self._drive.clock.now(), self._drive.attempt)
            elif isinstance(step, Check):
                self._check(step)

    def _check(self, step: Check) -> None:
        """Ask the caller's own guards."""
        try:
            answers = [ask() for _, ask in step.asked]
        except Exception as error:  # noqa: BLE001 - the engine says what it amounts to
            self._drive.unjudged(step, error)
            return
        self._drive.judged(step, answers)


class _Watching(Drive):
    """Asks nobody whether a call may be made: it is being made. It is written down where it belongs to a run."""

    def _ask(self, target: int, purpose: int, force: bool) -> Generator[Step, None, None]:  # noqa: ARG002, FBT001 - as the engine asks
        self.session.admitted(self.clock.now(), 0, 0)
        yield from ()

    def _recording(self, journal: JournalLike) -> Recording | None:
        return None if self.port is PLAIN else super()._recording(journal)

    def _key(self, target: int) -> tuple[str, str]:
        return f"watched:{self._names[target]}", self._tenant


def _never(attempt: object) -> Any:
    raise AssertionError(f"a call that is watched is made elsewhere: {attempt}")


def watching(policy: NativePolicy) -> NativePolicy:
    """Return a policy by which a session goes on whatever its guards find, and tries nothing itself."""
    fields = json.loads(policy.json)
    fields["guards"] = [{**guard, "severity": "warn", "mask": None} for guard in fields["guards"]]
    fields["retry"] |= {"attempts": 1, "max_retries": 0}
    fields["continuation"]["rungs"] = []
    fields["delivery"] = "live"
    return NativePolicy(json.dumps(fields), policy.users)
