"""The journal: what happened, written down as it happens.

`Journal.open("l0.db")` is a file, `Journal.memory()` ends with the process, and a `Store` of one's own may be anywhere.
Ids are 32 hexadecimal digits here, as in results and logs, and 16 bytes below.
"""

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

from l0_core import _native
from l0_core._errors import JournalError

if TYPE_CHECKING:
    from l0_core._replay import SessionRecord, State

Durability = Literal["off", "fast", "safe", "paranoid"]
Level = Literal["full", "hashed", "none"]
Loss = Literal["continue", "raise"]
ContentClass = Literal["prompt", "completion", "tool_arguments", "tool_result"]
Redaction = Level | Mapping[ContentClass, Level]
"""How much is kept of all content, or of each class of it."""

CLASSES: Final[tuple[ContentClass, ...]] = ("prompt", "completion", "tool_arguments", "tool_result")
TABLES: Final = ("runs", "steps", "sessions", "attempts")
CHUNK: Final = 128
"""The kind of a chunk's record; writers number their own below it."""

_LEVELS: Final = ("full", "hashed", "none")
_ID_COLUMNS: Final = frozenset({"id", "run", "parent", "step", "session", "forked_from"})

Levels = tuple[str, str, str, str]
Row = dict[str, Any]
Cursor = tuple[int, bytes]


class Content(NamedTuple):
    """A piece of content as a store keeps it.

    Attributes:
        kind: What it is: `prompt`, `completion`, `tool_arguments` or `tool_result`.
        state: `full`, `hashed`, `absent` or `erased`.
        value: The bytes, the hash, nothing, or the length it had.
    """

    kind: str
    state: str
    value: Any


class Stored(Protocol):
    """A record as a store gives it back."""

    @property
    def seq(self) -> int:
        """Its place in its stream, from 0 without gaps."""

    @property
    def at_ns(self) -> int:
        """When it happened, in nanoseconds of the stream's own clock."""

    @property
    def kind(self) -> int:
        """The writer's number for this kind of record; 128 for a chunk."""

    @property
    def payload(self) -> bytes:
        """The record without its content."""

    @property
    def contents(self) -> Sequence[tuple[str, str, Any]]:
        """Its content, as `Content`."""


class Lease(Protocol):
    """The right to work on a run."""

    @property
    def fence(self) -> int:
        """Higher than that of every holder before."""

    def check(self) -> None:
        """Raise a `JournalError` with the reason `fenced` or `unleased` where it is over."""

    def renew(self) -> None:
        """Say that the holder lives."""

    def release(self) -> None:
        """Give it back. More than once does no harm."""


@runtime_checkable
class Store(Protocol):
    """Where a journal may be kept besides a file: four things, each callable from any thread.

    `l0_core.testing.store_suite` says in tests what each owes. Content arrives as the redaction left it: `full` or
    `absent`.
    """

    def append(self, stream: bytes, kind: int, payload: bytes, contents: Sequence[Content], at_ns: int) -> int:
        """Keep one record so that it survives the process; return its place in its stream."""

    def load(self, stream: bytes, from_: int, limit: int) -> Sequence[Stored]:
        """Return the records of a stream from a place on, in order; none for a stream nobody wrote."""

    def put(self, table: str, row: Row) -> None:
        """Keep a row of `runs`, `steps`, `sessions` or `attempts`; columns that are left out keep their values."""

    def list(self, table: str, conditions: Mapping[str, object]) -> tuple[list[Row], Cursor | None]:
        """Return rows, the latest `started_at_ms` first, and where the next page begins.

        Conditions are columns and their values, `since_ms`, `until_ms`, `limit` and `after`.
        """

    def lease(self, run: bytes, wait: float) -> Lease:
        """Take the right to work on a run; raise a `JournalError` with the reason `held` after so many seconds."""


JournalLike: TypeAlias = "Journal | Store | str | os.PathLike[str] | None"
"""What can be said of a journal: one that is open, a file, or nothing: then that of `L0_JOURNAL`, if it is set."""


class Page(list[Row]):
    """Rows, the latest first.

    Attributes:
        after: Where the next page begins: pass it as `after`; nothing on the last one.
    """

    after: Cursor | None = None


class Finding(NamedTuple):
    """One thing that is not as it was written.

    Attributes:
        what: What, and where, in words.
        stream: The id of the stream, where it is known.
        block: The place in the chain.
        record: The place in the stream.
    """

    what: str
    stream: str | None
    block: int | None
    record: int | None


class Verification(NamedTuple):
    """What a journal holds, and what of it is not as it was written.

    Attributes:
        blocks: How many blocks there are.
        records: How many records they hold or held.
        streams: How many streams these belong to.
        head: The end of the chain: note it elsewhere, and pass it to `verify` later.
        findings: What is wrong; at most a thousand.
        count: How many findings there are in all.
    """

    blocks: int
    records: int
    streams: int
    head: str
    findings: tuple[Finding, ...]
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody looks for here

    @property
    def is_sound(self) -> bool:
        """Whether everything is as it was written."""
        return self.count == 0


class Journal:
    """A journal. Objects are shared freely between threads and loops.

    Args:
        store: Where it is kept.
        redaction: How much of the content is kept: `full`, `hashed` or `none`, for all or for each class.
        on_loss: What becomes of a session whose journal fails: it goes on and is marked, or raises a `JournalError`.
    """

    def __init__(
        self, store: "Store | _native.Journal", *, redaction: Redaction = "full", on_loss: Loss = "continue"
    ) -> None:
        if on_loss not in {"continue", "raise"}:
            raise JournalError(f"on_loss must be continue or raise, not {on_loss!r}", reason="invalid")
        self.levels = levels_of(redaction)
        self.on_loss: Loss = on_loss
        self._open: Callable[[], _native.Journal] | None = None
        if isinstance(store, _native.Journal):
            self._native: _native.Journal | _Own = store
        elif "hashed" in self.levels:
            raise JournalError("a store of one's own keeps content or does not: hashed is for files", reason="invalid")
        else:
            self._native = _Own(store)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "safe",
        redaction: Redaction = "full",
        on_loss: Loss = "continue",
        key: bytes | None = None,
        read_only: bool = False,
        linger: float = 1.0,
        lease_term: float = 30.0,
        host: str | None = None,
    ) -> Self:
        """Open a journal on disk, creating it if need be, and take in what dead processes left.

        Args:
            path: The file. All who open it in one process have the same journal.
            durability: What the records survive: `fast` the death of the process; `safe` besides a loss of power, as
                far as a side effect depends on them; `paranoid` as far as anybody has seen anything of them; `off`:
                nothing is written.
            redaction: How much of the content is kept.
            on_loss: What becomes of a session whose journal fails.
            key: 32 secret bytes that make the chain of hashes unforgeable.
            read_only: Whether to look only: nothing is created, locked or taken in.
            linger: Seconds after which other processes see what was written at the latest.
            lease_term: Seconds after which the lease of a holder on another host that does not beat is over.
            host: What tells this host from others; found out where nothing is said.

        Example:
            >>> import tempfile, l0_core
            >>> with tempfile.TemporaryDirectory() as folder, l0_core.Journal.open(f"{folder}/l0.db") as journal:
            ...     journal.verify().is_sound
            True
        """
        full = os.path.realpath(path)

        def reopen() -> _native.Journal:
            if read_only:
                return _native.Journal.open_read_only(full, key=key)
            return _native.Journal.open(
                full, durability=durability, key=key, linger=linger, lease_term=lease_term, host=host
            )

        journal = cls(reopen(), redaction=redaction, on_loss=on_loss)
        journal._open = reopen
        _on_disk.add(journal)
        return journal

    @classmethod
    def memory(cls, *, redaction: Redaction = "full", on_loss: Loss = "continue") -> Self:
        """Return a journal that ends with the process."""
        return cls(_native.Journal.memory(), redaction=redaction, on_loss=on_loss)

    @classmethod
    def of(cls, value: JournalLike) -> "Journal | None":
        """Return what was said as a journal: a file is opened once a process; nothing is that of `L0_JOURNAL`."""
        if isinstance(value, Journal):
            return value
        if value is None:
            value = os.environ.get("L0_JOURNAL") or None
        if value is None:
            return None
        if isinstance(value, str | os.PathLike):
            return _opened(os.path.realpath(value))
        if isinstance(value, Store):
            return cls(value)
        raise JournalError(f"a journal is a Journal, a file or a Store, not {type(value).__name__}", reason="invalid")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Journal {self.path or 'memory'} {self.durability}>"

    # What is in it ---------------------------------------------------------------------------------------------------

    def runs(self, *, limit: int = 100, after: Cursor | None = None, **conditions: object) -> Page:
        """Return runs, the latest first; conditions are as those of `sessions`, besides `run` and `target`."""
        return self._page(self.native.runs, limit, after, conditions)

    def steps(
        self, run: str | None = None, *, limit: int = 100, after: Cursor | None = None, **conditions: object
    ) -> Page:
        """Return steps, the latest first."""
        return self._page(self.native.steps, limit, after, {"run": run, **conditions})

    def sessions(
        self,
        run: str | None = None,
        status: str | None = None,
        *,
        limit: int = 100,
        after: Cursor | None = None,
        **conditions: object,
    ) -> Page:
        """Return sessions, the latest first.

        Args:
            run: Only those of this run.
            status: Only those that stand so: `running`, `complete`, `exhausted`, ….
            limit: How many at most.
            after: `Page.after` of the page before.
            **conditions: `id`, `tenant`, `user`, `target`, `fault`, `parent`, `since_ms`, `until_ms`.
        """
        return self._page(self.native.sessions, limit, after, {"run": run, "status": status, **conditions})

    def attempts(self, session_id: str) -> list[Row]:
        """Return the attempts of a session, in order."""
        return [_shown(row) for row in self.native.attempts(id_of(session_id))]

    def load(self, stream: str | bytes, from_: int = 0, limit: int = 1_000_000) -> Sequence[Stored]:
        """Return the records of a run, step or session as they are stored."""
        return self.native.load(id_of(stream), from_, limit)

    def records(self, session_id: str) -> "list[SessionRecord]":
        """Return every record of a session, readable."""
        from l0_core._replay import records_of

        return records_of(self, session_id)

    def state_at(self, session_id: str, seq: int) -> "State":
        """Return a session as it stood after record `seq`: what the consumer had, what the engine was about to do."""
        from l0_core._replay import state_at

        return state_at(self, session_id, seq)

    def verify(self, head: str | None = None) -> Verification:
        """Look at every block and say what is not as it was written.

        Args:
            head: A head noted elsewhere: was it on the way to this one?
        """
        blocks, records, streams, end, findings, count = self.disk.verify(head)
        named = tuple(
            Finding(what, stream.hex() if stream else None, block, record) for what, stream, block, record in findings
        )
        return Verification(blocks, records, streams, end, named, count)

    def head(self) -> str:
        """Return the end of the chain: note it elsewhere."""
        return self.disk.head()

    # How it is -------------------------------------------------------------------------------------------------------

    @property
    def path(self) -> str | None:
        """The file, if it is one that is written to."""
        path = self.disk.path if isinstance(self._native, _native.Journal) else None
        return str(path) if path else None

    @property
    def durability(self) -> str:
        """What the records survive."""
        return self.native.durability

    def health(self) -> tuple[int, str | None]:
        """Return the bytes that are written and not yet seen by other processes, and why, if something is wrong."""
        return self.disk.health()

    def flush(self) -> None:
        """Wait until everything written so far is seen by other processes."""
        self.native.flush()

    def close(self) -> None:
        """Flush and let go of every file. Sessions that still run are marked `journal="lost"`."""
        if isinstance(self._native, _native.Journal):
            self._native.close()
        _cache_forget(self)

    def erase(self, *, user: str | None = None, tenant: str | None = None, streams: Sequence[str] | None = None) -> int:
        """Remove all content of a user, a tenant, or some sessions, steps and runs; the hashes stay, and still verify.

        Returns:
            How many streams there were.
        """
        ids = None if streams is None else [id_of(stream) for stream in streams]
        return self.disk.remove("content", user=user, tenant=tenant, streams=ids)[0]

    def prune(self, *, opened_before_ms: int) -> int:
        """Remove the records and rows of what was begun before a time; the hashes stay, and still verify.

        Returns:
            How many streams there were.
        """
        return self.disk.remove("records", opened_before_ms=opened_before_ms)[0]

    # For those who write to it ---------------------------------------------------------------------------------------

    @property
    def native(self) -> "_native.Journal | _Own":
        """What does the work. A child of the process that opened the file opens it again."""
        if self._native is _STALE and self._open is not None:
            self._native = self._open()
        return self._native

    @property
    def disk(self) -> _native.Journal:
        """The same, where it is one of L0's own."""
        native = self.native
        if isinstance(native, _native.Journal):
            return native
        raise JournalError("a store of one's own cannot do this", reason="invalid")

    def stream(
        self,
        stream: bytes,
        kind: Literal["run", "step", "session"],
        *,
        tenant: str | None = None,
        user: str | None = None,
        lease: Any = None,
    ) -> _native.JournalStream:
        """Open a stream to append to it, with the journal's redaction; under a lease, only as long as that is good."""
        return self.native.stream(stream, kind, tenant=tenant, user=user, redaction=self.levels, lease=lease)

    def lease(self, run: bytes, wait: float = 0.0) -> Any:
        """Take the right to work on a run, waiting at most so many seconds for its holder."""
        return self.native.lease(run, wait)

    def _forked(self) -> None:
        if self._open is not None:
            self._native = _STALE

    def _page(
        self,
        list_: Callable[..., tuple[list[Row], Cursor | None]],
        limit: int,
        after: Cursor | None,
        conditions: dict[str, Any],
    ) -> Page:
        for name in ("id", "run", "parent"):
            if isinstance(conditions.get(name), str):
                conditions[name] = run_id(conditions[name])
        rows, next_page = list_(limit=limit, after=after, **conditions)
        page = Page(map(_shown, rows))
        page.after = next_page
        return page


def id_of(name: str | bytes) -> bytes:
    """Return an id as 16 bytes."""
    if isinstance(name, bytes):
        return name
    try:
        found = bytes.fromhex(name)
    except ValueError:
        found = b""
    if len(found) != 16:  # noqa: PLR2004 - as the message says
        raise JournalError("an id has 32 hexadecimal digits, as in Result.session_id", reason="invalid")
    return found


def run_id(name: str | bytes) -> bytes:
    """Return the id of a run: it may be said, or be the name its user gave it."""
    if isinstance(name, bytes):
        return name
    try:
        return id_of(name)
    except JournalError:
        return _native.named_id("run", name)


def levels_of(redaction: Redaction) -> Levels:
    """Return the level of each class of content; refuse what is none."""
    said: Mapping[Any, str] = dict.fromkeys(CLASSES, redaction) if isinstance(redaction, str) else redaction
    for kind, level in said.items():
        if kind not in CLASSES or level not in _LEVELS:
            raise JournalError(
                f"redaction is full, hashed or none for {', '.join(CLASSES)}; not {kind}: {level!r}", reason="invalid"
            )
    prompt, completion, arguments, result = (said.get(kind, "full") for kind in CLASSES)
    return prompt, completion, arguments, result


def _shown(row: Row) -> Row:
    return {
        name: value.hex() if name in _ID_COLUMNS and isinstance(value, bytes) else value for name, value in row.items()
    }


class _Own:
    """A store of the caller's own, with the methods a journal of L0's has."""

    durability: Final = "fast"

    def __init__(self, store: Store) -> None:
        self._store = store

    @cached_property
    def _done(self) -> _native.JournalTicket:
        return _native.Journal.memory().sync()

    def stream(
        self,
        stream_id: bytes,
        kind: str,  # noqa: ARG002 - rows say it
        *,
        tenant: str | None = None,  # noqa: ARG002 - as above
        user: str | None = None,  # noqa: ARG002 - as above
        redaction: Levels | None = None,
        lease: Lease | None = None,
    ) -> _native.JournalStream:
        levels = dict(zip(CLASSES, redaction or levels_of("full"), strict=True))
        append = self._store.append

        def give(kind: int, payload: bytes, contents: Sequence[tuple[str, bytes]], at_ns: int) -> int:
            if lease is not None:
                lease.check()
            kept = [
                Content(name, "full", value) if levels[name] == "full" else Content(name, "absent", None)  # type: ignore[index]
                for name, value in contents
            ]
            return append(stream_id, kind, payload, kept, at_ns)

        found = self._store.load(stream_id, 0, 1_000_000)
        return _native.JournalStream.to(stream_id, give, len(found))

    def load(self, stream_id: bytes, from_: int = 0, limit: int = 1_000_000) -> Sequence[Stored]:
        return self._store.load(stream_id, from_, limit)

    def put_run(self, **row: object) -> None:
        self._store.put("runs", row)

    def put_step(self, **row: object) -> None:
        self._store.put("steps", row)

    def put_session(self, **row: object) -> None:
        self._store.put("sessions", row)

    def put_attempt(self, **row: object) -> None:
        self._store.put("attempts", row)

    def runs(self, **conditions: object) -> tuple[list[Row], Cursor | None]:
        return self._list("runs", conditions)

    def steps(self, **conditions: object) -> tuple[list[Row], Cursor | None]:
        return self._list("steps", conditions)

    def sessions(self, **conditions: object) -> tuple[list[Row], Cursor | None]:
        return self._list("sessions", conditions)

    def attempts(self, session: bytes) -> list[Row]:
        return sorted(self._list("attempts", {"session": session})[0], key=lambda row: row["number"])

    def _list(self, table: str, conditions: dict[str, object]) -> tuple[list[Row], Cursor | None]:
        return self._store.list(table, {name: value for name, value in conditions.items() if value is not None})

    def lease(self, run: bytes, wait: float = 0.0) -> Lease:
        return self._store.lease(run, wait)

    def barrier(self, before: str) -> _native.JournalTicket:  # noqa: ARG002 - what it has appended is kept
        return self._done

    def sync(self) -> _native.JournalTicket:
        return self._done

    def flush(self) -> None:
        pass

    def info(self, stream_id: bytes) -> tuple[str, int, int, int, str | None] | None:
        found = self._store.load(stream_id, 0, 1_000_000)
        return ("", len(found), found[-1].at_ns, 0, None) if found else None


# One a process -------------------------------------------------------------------------------------------------------

_STALE: Any = object()
"""In the place of a journal that was opened before a fork."""

_on_disk: "weakref.WeakSet[Journal]" = weakref.WeakSet()
_by_path: dict[str, Journal] = {}
_lock = threading.Lock()


def _opened(path: str) -> Journal:
    with _lock:
        journal = _by_path.get(path)
        if journal is None:
            journal = _by_path[path] = Journal.open(path)
        return journal


def for_session(value: JournalLike) -> Journal:
    """Return the journal a session is to be written to; where it cannot be opened, one in which nothing is kept.

    A model session goes on without its journal. A file that is something else, or needs another key, is a mistake of
    the caller's, and raised.
    """
    try:
        journal = Journal.of(value)
    except JournalError as error:
        if error.reason not in _LOSSES:
            raise
        journal = Journal(_Unopened(error))
    if journal is None:
        raise JournalError("there is no journal: pass one, or set L0_JOURNAL", reason="invalid")
    return journal


_LOSSES: Final = frozenset({"full", "read_only", "busy", "backlog", "closed", "other"})


class _Unopened:
    """In the place of a journal that could not be opened: everything fails as that did."""

    def __init__(self, error: JournalError) -> None:
        self._error = error

    def _fail(self, *_: object) -> Any:
        raise self._error

    append = load = put = list = lease = _fail


def _cache_forget(journal: Journal) -> None:
    with _lock:
        for path in [path for path, known in _by_path.items() if known is journal or path == journal.path]:
            del _by_path[path]


@atexit.register
def _flush_all() -> None:
    """What was written is seen by others before this process is gone; what fails stays in the spool for the next."""
    for journal in list(_on_disk):
        try:
            journal.flush()
        except Exception:  # noqa: BLE001, S112 - closed, or its file is gone: there is nobody left to tell
            continue


def _after_in_child() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()
    _native.fork_after_in_child()
    for journal in list(_on_disk):
        journal._forked()  # noqa: SLF001 - its own module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_native.fork_before,
        after_in_parent=_native.fork_after_in_parent,
        after_in_child=_after_in_child,
    )
