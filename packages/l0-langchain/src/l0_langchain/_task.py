"""A task of a graph that has a checkpointer, and what the calls in it are to whoever does it again.

LangGraph gives a task an id that follows from its thread, its checkpoint, its step and its node. When the process died
in it, or it asked somebody and was answered, the task is done again under the same id; a further turn, and whatever is
forked off an earlier checkpoint, has tasks with ids of their own. So a call is known by its task, its name, what it is
given, and how many such calls came before it in the task.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from langchain_core.runnables.config import var_child_runnable_config

from l0_core import Journal, JournalError
from l0_core._context import current_frame, scope
from l0_core._journal import JournalLike
from l0_core._keys import Counts, digest_of, form_of
from l0_core._piece import Piece
from l0_core._settings import passes_through

_CHECKPOINTER, _READ = "__pregel_checkpointer", "__pregel_read"
"""Where LangGraph tells a node what keeps the checkpoints, and how it reads its state."""

_counts: "WeakKeyDictionary[object, Counts]" = WeakKeyDictionary()
"""The calls made so far, by the time that a task is being done: what it reads its state with is made anew for each."""


class Task(NamedTuple):
    """A task that is being done.

    Attributes:
        thread: The thread it belongs to.
        place: The nodes and tasks it is nested in, and its own.
        checkpoints: By graph, the checkpoints it starts from.
        checkpointer: What keeps them.
        counts: The calls made in it so far.
    """

    thread: str
    place: str
    checkpoints: Mapping[str, str]
    checkpointer: Any
    counts: Counts

    def is_past(self) -> bool:
        """Return whether its thread has gone on from its checkpoints, or that cannot be known.

        Then it is done again for another reason than that it was broken off.
        """
        try:
            return any(self._is_later(at, self.checkpointer.get_tuple(self._config(ns))) for ns, at in self._each())
        except Exception:  # noqa: BLE001 - some checkpointers cannot be asked from here, each in a way of its own
            return True

    async def is_past_async(self) -> bool:
        """Return the same, awaited."""
        try:
            for ns, at in self._each():
                if self._is_later(at, await self.checkpointer.aget_tuple(self._config(ns))):
                    return True
        except Exception:  # noqa: BLE001 - as above
            return True
        return False

    def _each(self) -> list[tuple[str, str]]:
        return list(self.checkpoints.items())

    def _config(self, ns: str) -> dict[str, Any]:
        return {"configurable": {"thread_id": self.thread, "checkpoint_ns": ns}}

    @staticmethod
    def _is_later(mine: str, found: Any) -> bool:
        """Return whether a checkpoint comes after another: ids are in the order they were made in."""
        return found is not None and str(found.checkpoint["id"]) > mine


def task_here() -> Task | None:
    """Return the task this code runs in; nothing where nobody does it again, or a run of its own is around the call."""
    config = var_child_runnable_config.get()
    said: Mapping[str, Any] = (config or {}).get("configurable") or {}
    thread, place, reads = said.get("thread_id"), said.get("checkpoint_ns"), said.get(_READ)
    if not place or reads is None or thread in {None, ""} or said.get(_CHECKPOINTER) in (None, False):
        return None
    if current_frame() is not None or scope() is not None or passes_through():
        return None
    try:
        counts = _counts.setdefault(reads, Counts())
    except TypeError:  # It is of a kind that cannot be told from another.
        return None
    return Task(str(thread), place, said.get("checkpoint_map") or {}, said[_CHECKPOINTER], counts)


class Begun:
    """A call that is being made.

    Attributes:
        is_twin: Whether it was begun the other way it can be made.
        failure: What it failed with, though its caller was given something all the same.
    """

    def __init__(self, piece: Piece | None, *, is_twin: bool) -> None:
        self._piece = piece
        self.is_twin = is_twin
        self.failure: Exception | None = None

    def around(self) -> AbstractContextManager[None]:
        """Have what begins in the block remembered."""
        return nullcontext() if self._piece is None else self._piece.around()


class TaskPiece:
    """One call of a task.

    Args:
        task: The task.
        piece: The call.
        twin: The same call, made the other way: what was streamed when it was made may be wanted whole now.
    """

    def __init__(self, task: Task, piece: Piece, twin: Piece | None) -> None:
        self._task = task
        self._pieces = (piece, twin)

    @contextmanager
    def taken_up(self) -> Iterator[Begun]:
        """Find out what is known of it, and write down how it ends."""
        piece = self._opened()
        if piece is not None and piece.is_known and (not piece.is_whole or self._task.is_past()):
            piece.abandon()
            piece = None
        with self._followed(piece) as begun:
            yield begun

    @asynccontextmanager
    async def ataken_up(self) -> AsyncIterator[Begun]:
        """Do the same, awaited."""
        opening = asyncio.ensure_future(asyncio.to_thread(self._opened))
        try:
            piece = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opened = await opening
            if opened is not None:
                opened.abandon()
            raise
        if piece is not None and piece.is_known and (not piece.is_whole or await self._task.is_past_async()):
            piece.abandon()
            piece = None
        with self._followed(piece) as begun:
            yield begun

    def _opened(self) -> Piece | None:
        """Take it up; return nothing where that cannot be.

        Then somebody else is at it, or nothing can be written or read: it is a call like any other, and what that does
        about its journal is up to it.
        """
        piece, twin = self._pieces
        try:
            if twin is not None and twin.exists and not piece.exists:
                piece = twin
            piece.open()
        except JournalError:
            return None
        return piece

    @contextmanager
    def _followed(self, piece: Piece | None) -> Iterator[Begun]:
        begun = Begun(piece, is_twin=piece is not None and piece is self._pieces[1])
        if piece is None:
            yield begun
            return
        try:
            yield begun
        except BaseException as error:
            piece.close(error)
            raise
        piece.close(begun.failure)


def piece_of(
    task: Task,
    journal: JournalLike,
    name: str,
    given: object,
    *,
    ways: tuple[str, ...] = (),
    of: str | None = None,
    key: str | None = None,
    tenant: str | None = None,
    user: str | None = None,
) -> TaskPiece | None:
    """Return a call that is made in a task; nothing where it cannot be remembered.

    Args:
        task: The task.
        journal: Where it is written down. One that keeps no content cannot give anything again.
        name: What is called.
        given: Everything that makes it another call where it differs.
        ways: How it is made, and how else it can be.
        of: The run it is found under; its thread, where nothing is said.
        key: The idempotency key it was given from around it.
        tenant: Whose it is.
        user: For whom it is.
    """
    found = Journal.of(journal)
    if found is None or set(found.levels) != {"full"} or (found.durability == "off" and found.path is not None):
        return None
    digest = digest_of(form_of(given))
    nth = task.counts.key("", name, digest).nth
    id_ = "/".join((task.thread, task.place, name, digest, str(nth)))
    pieces = [
        Piece(f"{id_}/{way}", found, of=of or task.thread, key=key, tenant=tenant, user=user) for way in ways or ("",)
    ]
    return TaskPiece(task, pieces[0], pieces[1] if ways else None)
