"""Pieces: single calls that are remembered without a run around them.

What makes programs durable in its own way (a graph with a checkpointer) does a piece of work again when its process
died in it. Each call in such a piece that it names the same way again is a small run: one step, nobody's rival, found
under the name of what it belongs to.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from l0_core._context import Scope, nested, within
from l0_core._journal import Journal, run_id
from l0_core._run import Frame, Run, Taken

OPEN: Final = "open"
"""How something stands that has no end of its own: pieces are added to it."""


class Piece(Run):
    """One call. What it is given is part of its id: with another input it is another one, which knows nothing.

    Args:
        id_: What it is known by: the same id again takes the same call up.
        journal: Where it is written down.
        of: The run that its steps and sessions are found under.
        key: The idempotency key of what it does, where that is not for it to say.
        tenant: Whose it is.
        user: For whom it is.
    """

    must_remember = False

    def __init__(
        self,
        id_: str,
        journal: Journal,
        *,
        of: str,
        key: str | None = None,
        tenant: str | None = None,
        user: str | None = None,
    ) -> None:
        super().__init__(
            id_, journal, mode="auto", on_change="live", wait=0.0, limit=None, ask=None, tenant=tenant, user=user
        )
        self._of, self._of_name = run_id(of), of
        self._key = key

    @property
    def lets_go(self) -> bool:  # type: ignore[override]  # it comes to be
        """Whether it is over: whoever made the call does not know of it, and may go on in the background."""
        return self._over

    @property
    def exists(self) -> bool:
        """Whether anything of it is in the journal."""
        return self.journal.native.info(self._id) is not None

    @property
    def is_known(self) -> bool:
        """Whether it was begun before."""
        return self.mode == "resume"

    @property
    def is_whole(self) -> bool:
        """Whether what is known of it is still there: its user may have had it erased."""
        contents = (kept for step in self._history.steps.values() for kept in (step.input, step.result))
        return all(kept is None or kept.state == "full" for kept in contents)

    @property
    def row_id(self) -> bytes:
        """The run that its rows name."""
        return self._of

    @property
    def part_id(self) -> bytes:  # type: ignore[override]  # it is always one
        """The stream its steps are in."""
        return self._id

    def scope(self, step: bytes | None = None) -> Scope:
        """Return what sessions are written down under."""
        return Scope(self.journal, self._of, step, self._user, self._lease)

    def open(self) -> None:
        """Take it up; raise a `JournalError` where somebody else has."""
        self._open()

    def close(self, error: BaseException | None) -> None:
        """Write down how it ended, and let go of it."""
        self._over = True
        self._close(error)

    def abandon(self) -> None:
        """Let go of it, with nothing done."""
        self._over = True
        self._release()

    @contextmanager
    def around(self) -> Iterator[None]:
        """Have the session or the call that begins in the block be its step."""
        with nested(Frame(self, "")), within(self.scope()):
            yield

    def take(self, frame: Frame, name: str, form: Any, **said: Any) -> Taken:
        """Find out what is known of the step that the program has come to."""
        taken = super().take(frame, name, form, **said)
        if self._key is not None and not frame.parent and taken.step is None:
            taken.idempotency_key = self._key
        return taken

    def _row(self, columns: dict[str, Any]) -> None:
        """Have what it is part of found, which is a run to those who look; it has no row of its own.

        Where that is a run that somebody opened, its row is his.
        """
        if "started_at_ms" not in columns:  # It ends, or is done again.
            return
        rows, _ = self.journal.native.runs(id=self._of, limit=1)
        if not rows:
            self.journal.native.put_run(**{**columns, "id": self._of, "name": self._of_name, "status": OPEN})
