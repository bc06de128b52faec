"""Every store of L0's own, and the smallest there could be, keeps what the suite asks."""

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from l0_core import Journal, JournalError, Store
from l0_core._journal import Content, Cursor, Row
from l0_core.testing.store_suite import NativeStore, StoreSuite


class TestFile(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return NativeStore(Journal.open(tmp_path / "l0.db"))


class TestMemory(StoreSuite):
    @pytest.fixture
    def store(self) -> Store:
        return NativeStore(Journal.memory())


class _Record:
    def __init__(self, *fields: Any) -> None:
        self.seq, self.at_ns, self.kind, self.payload, self.contents = fields


class _Lease:
    def __init__(self, fence: int, held: dict[bytes, "_Lease"], run: bytes) -> None:
        self.fence, self._held, self._run = fence, held, run

    def check(self) -> None:
        if self._held.get(self._run) is not self:
            raise JournalError("it was given back", reason="unleased")

    renew = check

    def release(self) -> None:
        if self._held.get(self._run) is self:
            del self._held[self._run]


class Lists:
    """A store of lists and dictionaries: what somebody writes in an hour."""

    def __init__(self) -> None:
        self._records: dict[bytes, list[_Record]] = {}
        self._rows: dict[tuple[str, Any], Row] = {}
        self._held: dict[bytes, _Lease] = {}
        self._fence = 0
        self._lock = threading.Lock()

    def append(self, stream: bytes, kind: int, payload: bytes, contents: Sequence[Content], at_ns: int) -> int:
        with self._lock:
            records = self._records.setdefault(stream, [])
            records.append(_Record(len(records), at_ns, kind, payload, list(contents)))
            return len(records) - 1

    def load(self, stream: bytes, from_: int, limit: int) -> list[_Record]:
        return self._records.get(stream, [])[from_ : from_ + limit]

    def put(self, table: str, row: Row) -> None:
        key = (row["session"], row["number"]) if table == "attempts" else row["id"]
        said = {name: value for name, value in row.items() if value is not None}
        self._rows.setdefault((table, key), {"started_at_ms": 0}).update(said)

    def list(self, table: str, conditions: Mapping[str, Any]) -> tuple[list[Row], Cursor | None]:
        asked = dict(conditions)
        limit, after = asked.pop("limit", 100), asked.pop("after", None)
        since, until = asked.pop("since_ms", 0), asked.pop("until_ms", 1 << 63)
        rows = [row for (name, _), row in self._rows.items() if name == table]
        rows = [row for row in rows if all(row.get(name) == value for name, value in asked.items())]
        rows = [row for row in rows if since <= row["started_at_ms"] < until]
        rows.sort(key=_cursor, reverse=True)
        rows = [row for row in rows if after is None or _cursor(row) < after]
        return rows[:limit], _cursor(rows[limit - 1]) if len(rows) > limit else None

    def lease(self, run: bytes, wait: float) -> _Lease:
        give_up = time.monotonic() + wait
        while True:
            with self._lock:
                if run not in self._held:
                    self._fence += 1
                    self._held[run] = _Lease(self._fence, self._held, run)
                    return self._held[run]
            if time.monotonic() >= give_up:
                raise JournalError("somebody else works on it", reason="held")
            threading.Event().wait(0.01)


def _cursor(row: Row) -> Cursor:
    return row["started_at_ms"], row.get("id", b"")


class TestOnesOwn(StoreSuite):
    @pytest.fixture
    def store(self) -> Store:
        return Lists()


class Forgetful(Lists):
    """A store that loses what it was told last: the suite must notice."""

    def load(self, stream: bytes, from_: int, limit: int) -> list[_Record]:
        return super().load(stream, from_, limit)[:-1]


def test_a_store_that_loses_records_does_not_pass() -> None:
    suite = StoreSuite()
    with pytest.raises((AssertionError, ValueError)):
        suite.test_records_come_back_as_they_went_in(Forgetful())
    with pytest.raises(AssertionError):
        suite.test_what_is_appended_can_be_read_at_once(Forgetful())
