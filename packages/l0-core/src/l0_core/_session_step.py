"""A session inside a run is a step of it: remembered when it ended, gone on with when the process died in it."""

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from l0_core import _native
from l0_core._codec import read_exception
from l0_core._context import within
from l0_core._divergence import MISSING, diverged
from l0_core._drive import Drive, ErrorClasses
from l0_core._errors import JournalError, L0Error
from l0_core._keys import form_of
from l0_core._lifecycle import Lifecycle
from l0_core._port import ChunkPort
from l0_core._replay import Again, Recorded, resumable
from l0_core._settings import frame_here
from l0_core._target import Target

if TYPE_CHECKING:
    from l0_core._run import Frame

T = TypeVar("T")


def was_streamed(target: Target, input: object) -> bool | None:  # noqa: A002 - what it is
    """Return whether a session that was recorded, and begins here again, was streamed; nothing where none was.

    Args:
        target: What it is opened on first.
        input: What it is given.
    """
    frame = frame_here()
    step = None if frame is None else frame.run.expected(frame, target.label(0), input, kind="model")
    if frame is None or step is None or step.session is None:
        return None
    recorded = resumable(frame.run.journal, step.session)
    return None if recorded is None else recorded.header.get("streamed")


class SessionStep:
    """A session as a step.

    Args:
        frame: What it is nested in.
        sources: What it is opened on.
        policy: By which rules.
        input: What it is given, which tells it from others of the same name; nothing: the order in which they come.
        distinct: What else tells it from others.
        from_offset: How many characters of its text the consumer has already.
        streamed: As for a session.
        on: As for a session.
        tenant: As for a session.
        port: As for a session.
        errors: As for a session.
    """

    def __init__(
        self,
        frame: "Frame",
        sources: Sequence[Target],
        policy: _native.Policy,
        *,
        input: object = None,  # noqa: A002 - what it is
        distinct: object = None,
        from_offset: int = 0,
        streamed: bool = True,
        on: Lifecycle | None = None,
        tenant: str | None = None,
        port: ChunkPort[Any] | None = None,
        errors: ErrorClasses | None = None,
    ) -> None:
        run = self._run = frame.run
        name = sources[0].label(0)
        asked = input if distinct is None else {"input": input, "distinct": distinct}
        taken = self._taken = run.take(frame, name, form_of(asked), kind="model", side_effect=False)
        self._again = taken.is_remembered
        recorded = self._recorded()
        if recorded is not None:
            goes_on = None if self._again else sources
            self.drive: Drive = Again(
                recorded, goes_on, policy=policy, from_offset=from_offset, port=port, on=on, errors=errors
            )
            self.drive.step = self
            return
        if from_offset:
            raise JournalError(
                f"the step {name} of run {run.id} has no answer yet to go on from at {from_offset}", reason="invalid"
            )
        begun = taken.step.session if taken.step is not None and taken.step.status == "open" else None
        with within(taken.scope):
            self.drive = Drive(
                sources,
                policy,
                streamed=streamed,
                on=on,
                tenant=tenant,
                port=port,
                errors=errors,
                input=input,
                session_id=begun,  # it may have its row already, and nothing else
            )
        self.drive.step = self
        taken.session = self.drive.session_id

    def _recorded(self) -> Recorded | None:
        """Return the session that was recorded, if it is to be given again or gone on with."""
        step, run = self._taken.step, self._run
        if step is None or step.session is None or (step.status != "open" and not self._again):
            return None
        recorded = resumable(run.journal, step.session)
        if recorded is None and self._again:
            raise JournalError(f"the session of step {step.key.name} of run {run.id} is not there", reason="removed")
        return recorded

    def follow(self, chunks: Generator[T, None, None]) -> Generator[T, None, None]:
        """Yield the session's chunks, and write down how it goes. A consumer that leaves early leaves it open."""
        if not self._again:
            self._taken.intend()
        try:
            yield from chunks
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again
            self._failed(error)
        self._ended()

    async def afollow(self, chunks: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """Yield the session's chunks, and write down how it goes."""
        if not self._again:
            self._taken.intend()
        try:
            async for chunk in chunks:
                yield chunk
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)
        finally:
            await chunks.aclose()
        self._ended()

    def _failed(self, error: Exception) -> NoReturn:
        step = self._taken.step
        if not self._again:
            self._taken.fail(error)
        elif step is not None and step.status == "failed" and step.result is not None:
            known = read_exception(step.result.text("an exception"), step.key.name)
            if type(known) is not type(error) and isinstance(error, L0Error):
                known.l0 = error.result  # type: ignore[attr-defined]
                raise known from None
        raise error

    def _ended(self) -> None:
        taken, status = self._taken, self.drive.result.status
        if not self._again:
            # What was not written down to its end is not remembered: it is gone on with from where the record ends.
            if self.drive.result.journal != "lost":
                taken.finish("null")
            return
        step = taken.step
        if step is not None and status == "running":
            if step.status == "open":
                raise diverged(
                    f"the recording of run {self._run.id} broke off in the step {step.key.name}",
                    step.seq,
                    None,
                    MISSING,
                )
            raise JournalError(
                f"the record of step {step.key.name} of run {self._run.id} ends too early", reason="lost"
            )
