"""Forks: a new run that shares the history of another up to a record, and goes live after it."""

import json
import time
from collections.abc import Sequence

from l0_core import _native
from l0_core._errors import JournalError
from l0_core._history import BEGAN, ENDED, STEP_BEGAN, STEP_ENDED, VERSION, History
from l0_core._journal import Journal, JournalLike, Stored, run_id
from l0_core._keys import StepKey


def fork(
    journal: JournalLike,
    run: str,
    *,
    at: int | str,
    id: str,  # noqa: A002 - as for a run
) -> str:
    """Make a run that shares the history of another; resume it with `l0_core.run(id)`, and it goes live from there.

    Side effects that were done before stay done. One that had been begun and not ended by then is unknown in the fork
    as well; an answer that had begun is asked for anew.

    Args:
        journal: Where the run is.
        run: The run, by the id its user gave it.
        at: The record before which the history is shared: a number, such as `ReplayDivergence.record`, or the name of a
            step: then the first of that name.
        id: What the new run is known by.

    Returns:
        The 32 digits of the new run in the journal.

    Example:
        >>> import l0_core
        >>> journal, price = l0_core.Journal.memory(), [10]
        >>> look = l0_core.step(name="look")(lambda: price[0])
        >>> double = l0_core.step(name="double")(lambda n: 2 * n)
        >>> with l0_core.run("job", journal=journal):
        ...     double(look())
        20
        >>> price[0] = 50
        >>> _ = l0_core.fork(journal, "job", at="double", id="again")
        >>> _ = l0_core.fork(journal, "job", at="look", id="anew")
        >>> for name in ("again", "anew"):
        ...     with l0_core.run(name, journal=journal):
        ...         double(look())
        20
        100
    """
    found = Journal.of(journal)
    if found is None:
        raise JournalError("a fork needs the journal that has the run", reason="invalid")
    source, target = run_id(run), run_id(id)
    records = found.load(source)
    if not records:
        raise JournalError(f"there is no run {run} in this journal to fork", reason="invalid")
    cut = _place(records, at, run)
    lease = found.lease(target)
    try:
        if found.load(target, 0, 1):
            raise JournalError(f"there is a run {id} in this journal already", reason="invalid")
        _write(found, records[:cut], source, target, name=id, lease=lease)
    finally:
        lease.release()
    return target.hex()


def _place(records: Sequence[Stored], at: int | str, run: str) -> int:
    if isinstance(at, int):
        if not 0 <= at <= len(records):
            raise JournalError(f"run {run} has records 0 to {len(records) - 1}, not {at}", reason="invalid")
        return at
    for record in records:
        if record.kind == STEP_BEGAN and json.loads(record.payload)["name"] == at:
            return record.seq
    raise JournalError(f"run {run} has no step {at}", reason="invalid")


def _write(
    journal: Journal, shared: Sequence[Stored], source: bytes, target: bytes, *, name: str, lease: object
) -> None:
    history = History.read(shared)
    stream = journal.stream(target, "run", lease=lease)
    now, at = time.time_ns() // 1_000_000, len(shared)
    began = {
        "v": VERSION,
        "id": name,
        "at_ms": now,
        "engine": _native.version(),
        "forked_from": source.hex(),
        "forked_at": at,
    }
    stream.append(BEGAN, json.dumps(began, ensure_ascii=False).encode(), [], 0)
    # An answer goes on in its own session, which is the other run's.
    cut_off = {id_ for id_, step in history.steps.items() if step.status == "open" and step.session}
    for record in shared:
        if record.kind in {BEGAN, ENDED}:
            continue
        if record.kind in {STEP_BEGAN, STEP_ENDED} and _step_of(record) in cut_off:
            continue
        contents = [(kind, value) for kind, state, value in record.contents if state == "full"]
        stream.append(record.kind, record.payload, contents, record.at_ns)
    journal.native.put_run(
        id=target,
        name=name,
        status="forked",
        started_at_ms=now,
        engine_version=_native.version(),
        forked_from=source,
        forked_at=at,
    )
    journal.flush()


def _step_of(record: Stored) -> str:
    said = json.loads(record.payload)
    if record.kind == STEP_ENDED:
        return str(said["id"])
    return StepKey(said["parent"], said["name"], said["digest"], said["nth"]).id
