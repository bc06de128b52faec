"""A journal, or some runs and sessions of it, as JSON Lines: to keep beside a test, to send with a report, to look at.

The first line says what it is. Then each stream has a line with what is known of it, the lines of its rows and one line
a record. Bytes are text where they are UTF-8, else Base64. Content that was redacted or erased stays so.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from l0_core import _native
from l0_core._errors import JournalError
from l0_core._history import STEP_BEGAN
from l0_core._journal import CLASSES, Journal, Levels, id_of, run_id

ID_COLUMNS: Final = frozenset({"id", "run", "parent", "step", "session", "forked_from"})

FORMAT: Final = 1
_PAGE: Final = 1_000
_RECORDS: Final = 10_000


class Imported(NamedTuple):
    """What an import took in.

    Attributes:
        streams: Runs and sessions that are new.
        records: Records of these.
        known: Runs and sessions that were in the journal already, and were left as they are.
    """

    streams: int
    records: int
    known: int


def export(
    journal: Journal, *, runs: Sequence[str] | None = None, sessions: Sequence[str] | None = None
) -> Iterator[str]:
    """Yield a journal line by line, without line ends.

    Args:
        journal: What is read.
        runs: Only these, with their sessions; and those of `sessions`.
        sessions: Only these; and the runs of `runs`.
    """
    yield _line({"l0": "journal", "format": FORMAT, "version": _native.version()})
    whole = runs is None and sessions is None
    seen: set[bytes] = set()
    for run in pages(journal, "runs") if whole else _named(journal, "runs", runs or (), run_id):
        yield from _run(journal, run)
        if not whole:
            for id_, session in sorted(_sessions_of(journal, run["id"]).items()):
                if id_ not in seen:
                    seen.add(id_)
                    yield from _session(journal, session)
    for session in pages(journal, "sessions") if whole else _named(journal, "sessions", sessions or (), id_of):
        if session["id"] not in seen:
            yield from _session(journal, session)


def import_(journal: Journal, lines: Iterable[str]) -> Imported:
    """Take in what `export` wrote. Runs and sessions that the journal has already are left as they are."""
    streams = records = known = 0
    stream: _native.JournalStream | None = None
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            said = json.loads(text)
            if number == 1:
                _check(said)
            elif "stream" in said:
                id_ = bytes.fromhex(said["stream"])
                stream = None
                if journal.native.info(id_) is not None:
                    known += 1
                    continue
                streams += 1
                stream = journal.native.stream(
                    id_, said["kind"], tenant=said.get("tenant"), user=said.get("user"), redaction=_levels(said)
                )
            elif "row" in said:
                if stream is not None:
                    _put(journal, said)
            elif stream is not None:
                contents = [
                    (kind, _bytes(value) if state == "full" else b"") for kind, state, value in said["contents"]
                ]
                stream.append(said["kind"], _bytes(said["payload"]), contents, said["at_ns"])
                records += 1
        except (ValueError, KeyError, TypeError) as error:
            raise JournalError(f"line {number} is not one of an exported journal", reason="invalid") from error
    journal.flush()
    return Imported(streams, records, known)


# Writing -------------------------------------------------------------------------------------------------------------


def pages(journal: Journal, table: str, **conditions: Any) -> Iterator[dict[str, Any]]:
    """Yield every row of `runs`, `steps` or `sessions` that meets the conditions, the latest first."""
    after = None
    while True:
        rows, after = getattr(journal.native, table)(limit=_PAGE, after=after, **conditions)
        yield from rows
        if after is None:
            return


def row_of(journal: Journal, table: str, id_: bytes) -> dict[str, Any] | None:
    """Return the row of one run, step or session, if there is one."""
    return next(pages(journal, table, id=id_), None)


def _named(
    journal: Journal, table: str, names: Iterable[str], id_of_: Callable[[str], bytes]
) -> Iterator[dict[str, Any]]:
    for name in names:
        row = row_of(journal, table, id_of_(name))
        if row is None:
            raise JournalError(f"there is no {table[:-1]} {name} in this journal", reason="invalid")
        yield row


def _sessions_of(journal: Journal, run: bytes) -> dict[bytes, dict[str, Any]]:
    """Return the sessions of a run, and those that it shares with the run it was forked from."""
    found = {row["id"]: row for row in pages(journal, "sessions", run=run)}
    for record in journal.load(run):
        if record.kind == STEP_BEGAN:
            session = bytes.fromhex(json.loads(record.payload)["session"] or "")
            if session and session not in found:
                row = row_of(journal, "sessions", session)
                if row is not None:
                    found[session] = row
    return found


def _run(journal: Journal, run: dict[str, Any]) -> Iterator[str]:
    """Yield a run with its steps: those of the pieces it is made of, if it is, each with its piece's own stream."""
    found = {step["id"]: step for step in list(pages(journal, "steps", run=run["id"]))[::-1]}
    steps: dict[bytes, list[dict[str, Any]]] = {}
    if journal.native.info(run["id"]) is not None:
        steps[run["id"]] = []
    for step in found.values():
        outer, within = step, step.get("parent")
        for _ in found:  # A journal that was tampered with may go in circles.
            if within not in found:
                break
            outer = found[within]
            within = outer.get("parent")
        home = run["id"] if within is None or journal.native.info(within) is None else within
        steps.setdefault(home, []).append(step)
    for place, (home, inside) in enumerate(steps.items()):
        yield from _stream(journal, home, "run", run, is_row=place == 0)
        yield from (_row("steps", step) for step in inside)


def _session(journal: Journal, session: dict[str, Any]) -> Iterator[str]:
    yield from _stream(journal, session["id"], "session", session)
    for attempt in journal.native.attempts(session["id"]):
        yield _row("attempts", attempt)


def _stream(journal: Journal, id_: bytes, kind: str, row: dict[str, Any], *, is_row: bool = True) -> Iterator[str]:
    """Yield a stream, the row it is found by, and its records; the rows of what belongs to it follow."""
    owners: dict[str, Any] = {name: row[name] for name in ("tenant", "user") if name in row}
    records = journal.load(id_, 0, _RECORDS)
    kept = [(name, state) for record in records for name, state, _ in record.contents]
    gone = sorted({name for name, state in kept if state != "full"})
    yield _line({"stream": id_.hex(), "kind": kind, **owners, "gone": gone})
    if is_row:
        yield _row(f"{kind}s", row)
    while records:
        for record in records:
            contents = [
                [name, state, _text(value) if state == "full" else None] for name, state, value in record.contents
            ]
            payload = _text(record.payload)
            yield _line({"at_ns": record.at_ns, "kind": record.kind, "payload": payload, "contents": contents})
        records = journal.load(id_, records[-1].seq + 1, _RECORDS)


def _row(table: str, row: dict[str, Any]) -> str:
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}
    return _line({"row": table, "columns": shown})


def _line(said: dict[str, Any]) -> str:
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False)


def _text(value: bytes) -> Any:
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return {"b64": b64encode(value).decode()}


# Reading -------------------------------------------------------------------------------------------------------------


def _check(said: Any) -> None:
    if not isinstance(said, dict) or said.get("l0") != "journal":
        raise JournalError("this is no exported journal", reason="invalid")
    if said["format"] > FORMAT:
        raise JournalError(f"this was exported by L0 {said['version']}: update L0", reason="newer")


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else b64decode(value["b64"])


def _levels(said: dict[str, Any]) -> Levels:
    prompt, completion, arguments, result = ("none" if name in said["gone"] else "full" for name in CLASSES)
    return prompt, completion, arguments, result


def _put(journal: Journal, said: dict[str, Any]) -> None:
    columns = {
        name: bytes.fromhex(value) if name in ID_COLUMNS and value is not None else value
        for name, value in said["columns"].items()
    }
    put = {"runs": "put_run", "steps": "put_step", "sessions": "put_session", "attempts": "put_attempt"}[said["row"]]
    getattr(journal.native, put)(**columns)
