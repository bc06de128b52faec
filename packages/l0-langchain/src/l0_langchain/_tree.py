"""An invocation somebody else makes, written down as a run: what called what, with what, and what came of it."""

import contextvars
from contextlib import AbstractContextManager
from uuid import UUID

from l0_core import Journal, StepNotSerializable
from l0_core._codec import Results
from l0_core._context import within
from l0_core._keys import form_of
from l0_core._run import Frame, Run, Taken


class Tree:
    """One invocation. Its run is known by the id the framework gave it.

    It can be looked at like any run, and replayed by what is in the middle: the same program, protected. Who only
    listens can give nothing again.

    Args:
        journal: Where.
        root: The id of the outermost thing that was called.
        user: For whom.
    """

    def __init__(self, journal: Journal, root: UUID, user: str | None = None) -> None:
        self._run = Run(
            str(root),
            journal,
            mode="record",
            on_change="raise",
            wait=0.0,
            limit=None,
            ask=None,
            tenant=None,
            user=user,
            is_heard=True,
        )
        self._run._open()
        self._frames: dict[UUID, Frame] = {}
        self._open: dict[UUID, tuple[Taken, str]] = {}
        self._silent: set[UUID] = set()
        """Models that have not begun to speak: their step is written down with their session."""
        self._top = contextvars.Context().run(Frame, self._run, "")

    def begin(self, node: UUID, parent: UUID | None, kind: str, name: str, given: object) -> Taken:
        """Write down that something is called."""
        around = self._frames.get(parent, self._top) if parent is not None else self._top
        taken = self._run.take(around, name, form_of(given), kind=kind, side_effect=False)
        self._open[node] = taken, name
        self._frames[node] = Frame(self._run, taken.key.id)
        if kind == "model":
            self._silent.add(node)
        else:
            taken.intend()
        return taken

    def session(self, node: UUID) -> AbstractContextManager[None]:
        """Return what a model's session begins in."""
        return within(self._open[node][0].scope)

    def speaks(self, node: UUID, session_id: str) -> None:
        """Write down that a model's session has begun."""
        taken, _ = self._open[node]
        taken.session = session_id
        self._intend(node, taken)

    def end(self, node: UUID, result: object = None) -> None:
        """Write down what something returned."""
        if node not in self._open:
            return
        taken, name = self._left(node)
        results = Results(name)
        try:
            taken.finish(results.encode(result))
        except StepNotSerializable:
            taken.finish(results.encode({"unwritten": type(result).__qualname__}))

    def fail(self, node: UUID, error: BaseException) -> None:
        """Write down what something raised."""
        if node in self._open and isinstance(error, Exception):
            taken, _ = self._left(node)
            taken.fail(error)

    def close(self, error: BaseException | None = None) -> None:
        """Write down that the invocation is over."""
        self._run._over = True
        self._run._close(error)

    def _left(self, node: UUID) -> tuple[Taken, str]:
        taken, name = self._open.pop(node)
        self._frames.pop(node, None)
        self._intend(node, taken)
        return taken, name

    def _intend(self, node: UUID, taken: Taken) -> None:
        if node in self._silent:
            self._silent.discard(node)
            taken.intend()
