"""Writing a session down: what the driver adds to the engine's own records, and the rows it is found by.

The engine's records are written by the native session itself, in the call that hands a chunk in. Here are the notes
between them (kinds from 16 on) and the rows. A journal that fails is left alone from then on: the session goes on and
says so, unless the journal was opened with `on_loss="raise"`.
"""

import contextlib
import json
import logging
import sys
import time
import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from l0_core import _native
from l0_core._clock import SECOND
from l0_core._errors import JournalError, StepNotSerializable

if TYPE_CHECKING:
    from l0_core._context import Scope
    from l0_core._journal import Journal
    from l0_core._port import ChunkPort
    from l0_core._result import Fault, Result

_log = logging.getLogger("l0")

SESSION: Final = 16
"""The kind of a session's first note: what a replay needs beside the engine's records."""

PORT: Final = 17
"""The kind of the note that says which port an attempt's objects were written by."""

_FORMAT: Final = 1
_ODD: Final = b"\x00"
"""What the object of a string begins with that is no text: it holds halves of surrogate pairs."""
_UNWRITTEN: Final = b"\x01"
"""What stands in the place of an object that could not be written; the class follows."""
AGAIN: Final = b"\x02"
"""What an object begins with that differs in little but its text from the one written before it; the rest follows."""
_MARKS_MAX: Final = 2
"""No JSON begins with a byte as low as these."""
_MS: Final = 1_000_000


class Facts(NamedTuple):
    """A session's first note.

    Attributes:
        policy: The policy, as JSON.
        began_ms: When it began, in milliseconds since 1970.
        port: The port of all its chunks, where one was given.
        tenant: Whose it is.
    """

    policy: str
    began_ms: int
    port: str | None
    tenant: str


class Recording:
    """What is written down of one session beside the engine's records."""

    def __init__(
        self,
        journal: "Journal",
        scope: "Scope | None",
        session_id: str,
        policy: _native.Policy,
        names: Sequence[str],
        *,
        tenant: str,
        port: str | None,
    ) -> None:
        self.id = bytes.fromhex(session_id)
        self.failure: JournalError | None = None
        """Why nothing more is written, where it is this side that found out."""
        self.stream: _native.JournalStream | None = None
        self.closes = journal.on_loss == "raise"
        self._session_id = session_id
        self._journal = journal
        self._scope = scope
        self._policy = policy
        self._names = names
        self._tenant = tenant
        self._port = port
        self._noted: int | None = None
        self._began = (0, 0)
        self._opened: dict[int, int] = {}
        self._told = False
        try:
            user, lease = (scope.user, scope.lease) if scope else (None, None)
            self.stream = journal.stream(self.id, "session", tenant=tenant or None, user=user, lease=lease)
        except JournalError as error:
            if self.closes:
                raise
            self.failure = error

    # What happens ----------------------------------------------------------------------------------------------------

    def begin(self, now: int) -> None:
        """Write the first note and the row of a session that begins."""
        self._began = (now, _now_ms())
        scope, stream = self._scope, self.stream
        if stream is None:
            return
        facts: dict[str, object] = {"began_ms": self._began[1], "port": self._port, "tenant": self._tenant}
        try:
            stream.append(SESSION, _header(facts) + _packed(self._policy.digest, self._policy.json), [], now)
            self._journal.native.put_session(
                id=self.id,
                run=scope.run if scope else None,
                step=scope.step if scope else None,
                user=scope.user if scope else None,
                tenant=self._tenant or None,
                target=_short(self._names[0]),
                status="running",
                started_at_ms=self._began[1],
                policy_digest=self._policy.digest,
                engine_version=_native.version(),
            )
        except JournalError as error:
            self.failure = error

    def resumed(self, now: int) -> None:
        """Say that a session goes on after its process died, and that what that process had open is over."""
        self._began = (now, _now_ms())
        self._put(self._journal.native.put_session, id=self.id, status="running")
        attempts_over(self._journal, self.id)

    def opened(self, number: int, target: int, mode: str, now: int) -> None:
        """Write the row of an attempt that is opened."""
        self._opened[number] = now
        self._put(
            self._journal.native.put_attempt,
            session=self.id,
            number=number,
            target=_short(self._names[target]),
            mode=mode,
            status="running",
            started_at_ms=_now_ms(),
        )

    def failed(self, fault: "Fault", now: int) -> None:
        """Say how an attempt ended that failed."""
        if fault.attempt is None:
            return
        self._put(
            self._journal.native.put_attempt,
            session=self.id,
            number=fault.attempt,
            status="failed",
            fault=fault.fault,
            request_id=_short(fault.request_id),
            duration_ms=self._since(fault.attempt, now),
        )

    def encode(self, port: "ChunkPort[Any]", chunk: Any, attempt: int, now: int) -> bytes | None:
        """Return what is written of a chunk beside its text."""
        if self.stream is None or self.failure is not None:
            return None
        if self._noted != attempt and self._port is None:
            self._noted = attempt
            try:
                self.stream.append(PORT, json.dumps({"attempt": attempt, "port": port_name(port)}).encode(), [], now)
            except JournalError:
                return None  # the session itself will find out
        try:
            return port.encode(chunk).encode()
        except Exception as error:  # noqa: BLE001 - a chunk that cannot be written is given all the same
            _log.debug("session=%s: a %s cannot be written: %s", self.id.hex(), _class(chunk), type(error).__name__)
            return _UNWRITTEN + _class(chunk).encode()

    def end(self, session: _native.Session, result: "Result", now: int) -> None:
        """Write the rows of a session that has ended; the disk need not be waited for."""
        firsts = dict(session.firsts)
        served = result.attempts - 1 if result.status == "complete" else None
        faulted = {fault.attempt for fault in result.faults}
        put = self._journal.native.put_attempt
        for number, opened in self._opened.items():
            first = firsts.get(number)
            status = "served" if number == served else "failed" if number in faulted else "stopped"
            times = {"first_content_ms": None if first is None else (first - opened) // _MS}
            if number not in faulted:
                times["duration_ms"] = (now - opened) // _MS
            self._put(put, session=self.id, number=number, status=status, **times)
        usage, waste = result.usage, result.waste
        first_at = min(firsts.values(), default=None)
        self._put(
            self._journal.native.put_session,
            id=self.id,
            status=result.status,
            served_by=_short(result.served_by),
            fault=result.faults[-1].fault if result.faults else None,
            attempts=result.attempts,
            degraded=result.degraded,
            continued=result.continued,
            input_tokens=usage.input,
            output_tokens=usage.output,
            wasted_tokens=waste.input + waste.output,
            first_content_ms=None if first_at is None else (first_at - self._began[0]) // _MS,
            duration_ms=(now - self._began[0]) // _MS,
            journal="lost" if self.state(session) == "lost" else None,
        )
        if self.state(session) == "on":
            self._journal.native.barrier("side_effect")

    def lost(self, session: _native.Session) -> Exception | None:
        """Return why it is no longer written down, if it is not."""
        return self.failure or session.lost

    def state(self, session: _native.Session) -> str:
        """Return `on` or `lost`."""
        error = self.lost(session)
        if error is None:
            return "on"
        if not self._told:
            self._told = True
            _log.warning("journal=lost session=%s reason=%s", self._session_id, getattr(error, "reason", "other"))
        return "lost"

    def _since(self, attempt: int, now: int) -> int:
        return (now - self._opened.get(attempt, now)) // _MS

    def _put(self, put: Any, **row: object) -> None:
        if self.stream is None or self.failure is not None:
            return
        try:
            put(**row)
        except JournalError as error:
            self.failure = error


def attempts_over(journal: "Journal", session: bytes, served: int | None = None) -> None:
    """Write the rows of attempts that a dead process left running: one may have served, the others were stopped."""
    with contextlib.suppress(JournalError):
        for row in journal.native.attempts(session):
            number = row["number"]
            if row.get("status") == "running":
                status = "served" if number == served else "stopped"
                journal.native.put_attempt(session=session, number=number, status=status)


def _now_ms() -> int:
    return time.time_ns() // _MS


def _short(text: str | None) -> str | None:
    """Return what a row has room for."""
    return text if text is None or len(text) <= 200 else text[:200]  # noqa: PLR2004 - rows are for looking up


def _class(chunk: object) -> str:
    return f"{type(chunk).__module__}.{type(chunk).__qualname__}"


# The first note: a line of JSON, then the policy, compressed ----------------------------------------------------------


def _header(facts: dict[str, object]) -> bytes:
    return json.dumps({"format": _FORMAT, **facts}).encode() + b"\n"


@lru_cache(maxsize=64)
def _packed(digest: str, policy: str) -> bytes:  # noqa: ARG001 - the digest is the quicker key
    return zlib.compress(policy.encode(), 9)


def facts_of(payload: bytes) -> Facts:
    """Return what a session's first note says."""
    try:
        line, _, packed = payload.partition(b"\n")
        said = json.loads(line)
        if said["format"] != _FORMAT:
            raise JournalError(f"the session was written in format {said['format']}: update L0", reason="newer")
        policy = zlib.decompressobj().decompress(packed, 1 << 24).decode()
        return Facts(policy, int(said["began_ms"]), said["port"], said["tenant"])
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise JournalError("a session's first note cannot be read", reason="corrupt", record=0) from error


# Objects -------------------------------------------------------------------------------------------------------------


def port_name(port: "ChunkPort[Any]") -> str:
    """Return what a journal calls a port."""
    return f"{type(port).__module__}:{type(port).__qualname__}"


def port_named(name: str) -> "ChunkPort[Any]":
    """Return a new port of that name. Nothing is imported because a journal names it, but for L0's own."""
    module, _, kind = name.partition(":")
    if module in _HOMES:
        from importlib import import_module

        found = getattr(import_module(module), kind, None)
    else:
        found = getattr(sys.modules.get(module), kind, None)
    if not isinstance(found, type) or not callable(getattr(found, "decode", None)):
        raise JournalError(
            f"its chunks were written by {name}: import the package that has it, or pass port=", reason="payload"
        )
    port: ChunkPort[Any] = found()
    return port


_HOMES: Final = frozenset(
    ("l0_core._call", *(f"l0_core.ports.{name}" for name in ("chat", "litellm", "messages", "plain", "responses")))
)


def chunk_of(port: "ChunkPort[Any] | None", text: str, written: bytes | None) -> Any:
    """Return the chunk as it was, from its text and what was written beside it."""
    if written is None:
        return text
    if not written or written[0] > _MARKS_MAX:
        if port is None:
            raise JournalError("it is not said which port wrote its chunks: pass port=", reason="payload")
        return port.decode(written.decode())
    if written.startswith(AGAIN):
        again = getattr(port, "again", None)  # of a `RepeatingPort`
        if again is None:
            raise JournalError("its chunks were written by another port than reads them: pass port=", reason="payload")
        return again(text, written[1:].decode())
    if written.startswith(_ODD):
        return written[1:].decode("utf-8", "surrogatepass")
    raise StepNotSerializable(f"a {written[1:].decode()} could not be written down, and cannot be given again")


def seconds(nanoseconds: int) -> float:
    """Return nanoseconds as seconds."""
    return nanoseconds / SECOND
