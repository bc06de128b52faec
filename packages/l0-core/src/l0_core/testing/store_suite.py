"""What every store of a journal owes, as tests: for one's own `Store`, and for those of L0.

```python
import pytest
from l0_core.testing.store_suite import StoreSuite


class TestMyStore(StoreSuite):
    @pytest.fixture
    def store(self, tmp_path):
        return MyStore(tmp_path)
```

Every test begins with an empty store. Stores are shared by threads, so that some tests use several.
"""

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from l0_core import _native
from l0_core._errors import JournalError
from l0_core._journal import Content, Cursor, Journal, Lease, Row, Store, Stored
from l0_core._sync import stream

__all__ = ["NativeStore", "StoreSuite"]


class NativeStore:
    """A journal of L0's own as a `Store`."""

    def __init__(self, journal: Journal) -> None:
        self._native = journal.disk
        self._streams: dict[bytes, _native.JournalStream] = {}
        self._lock = threading.Lock()

    def append(self, stream: bytes, kind: int, payload: bytes, contents: Sequence[Content], at_ns: int) -> int:
        """Append one record."""
        with self._lock:
            opened = self._streams.get(stream)
            if opened is None:
                opened = self._streams[stream] = self._native.stream(stream, "step")
        return opened.append(kind, payload, [(content.kind, content.value) for content in contents], at_ns)

    def load(self, stream: bytes, from_: int, limit: int) -> Sequence[Stored]:
        """Return records."""
        return self._native.load(stream, from_, limit)

    def put(self, table: str, row: Row) -> None:
        """Write a row."""
        getattr(self._native, f"put_{table.removesuffix('s')}")(**row)

    def list(self, table: str, conditions: Mapping[str, object]) -> tuple[list[Row], Cursor | None]:
        """Return rows."""
        if table == "attempts":
            session: Any = conditions["session"]
            return self._native.attempts(session), None
        found: tuple[list[Row], Cursor | None] = getattr(self._native, table)(**conditions)
        return found

    def lease(self, run: bytes, wait: float) -> Lease:
        """Take the right to work on a run."""
        return self._native.lease(run, wait)


def _id(name: str) -> bytes:
    return _native.named_id("test", name)


def _content(text: str) -> Content:
    return Content("prompt", "full", text.encode())


class StoreSuite:
    """Tests that every store passes. Give a fixture `store` that returns an empty one."""

    @pytest.fixture
    def store(self) -> Store:
        """Return an empty store: override it."""
        raise NotImplementedError("a subclass of StoreSuite has a fixture `store`")

    # Records ---------------------------------------------------------------------------------------------------------

    def test_a_stream_nobody_wrote_has_no_records(self, store: Store) -> None:
        """It is no error to ask."""
        assert list(store.load(_id("none"), 0, 100)) == []

    def test_records_come_back_as_they_went_in(self, store: Store) -> None:
        """Every field, in order, with places counted from 0."""
        contents = [_content("what?"), Content("completion", "full", b"\x00\xff")]
        assert store.append(_id("a"), 3, b"payload", contents, 5) == 0
        assert store.append(_id("a"), 127, b"", [], 2**62) == 1
        assert store.append(_id("a"), 128, b"\x02\x00\x00\x00\x01", [Content("completion", "full", b"Hello")], 9) == 2
        first, second, chunk = store.load(_id("a"), 0, 100)
        assert (first.seq, first.at_ns, first.kind, bytes(first.payload)) == (0, 5, 3, b"payload")
        assert [tuple(content) for content in first.contents] == [tuple(content) for content in contents]
        assert (second.seq, second.at_ns, second.kind, bytes(second.payload)) == (1, 2**62, 127, b"")
        assert list(second.contents) == []
        assert (chunk.seq, chunk.kind, bytes(chunk.payload)) == (2, 128, b"\x02\x00\x00\x00\x01")
        assert [tuple(content) for content in chunk.contents] == [("completion", "full", b"Hello")]

    def test_a_part_of_a_stream_can_be_asked_for(self, store: Store) -> None:
        """From a place on, at most so many, and nothing behind the end."""
        for number in range(20):
            store.append(_id("a"), 1, str(number).encode(), [], number)
        assert [record.seq for record in store.load(_id("a"), 5, 3)] == [5, 6, 7]
        assert [record.seq for record in store.load(_id("a"), 18, 100)] == [18, 19]
        assert list(store.load(_id("a"), 20, 100)) == []

    def test_streams_are_counted_apart(self, store: Store) -> None:
        """Each from 0, whatever is written to others meanwhile."""
        for number in range(5):
            assert store.append(_id("a"), 1, b"a", [], number) == number
            assert store.append(_id("b"), 1, b"b", [], number) == number
        assert [bytes(record.payload) for record in store.load(_id("b"), 0, 100)] == [b"b"] * 5

    def test_what_is_appended_can_be_read_at_once(self, store: Store) -> None:
        """By the same process: a replay may follow a recording."""
        for number in range(50):
            store.append(_id("a"), 1, b"", [_content(str(number))], number)
            assert len(store.load(_id("a"), 0, 1000)) == number + 1

    def test_threads_lose_nothing(self, store: Store) -> None:
        """Of many who write at once each keeps its order, and no place is given twice."""
        places: dict[int, list[int]] = {}

        def write(thread: int) -> None:
            places[thread] = [store.append(_id("shared"), 1, bytes([thread]), [], 1) for _ in range(50)]

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(place for mine in places.values() for place in mine) == list(range(200))
        assert all(mine == sorted(mine) for mine in places.values())
        for record in store.load(_id("shared"), 0, 1000):
            assert record.seq in places[record.payload[0]]

    def test_large_and_odd_content(self, store: Store) -> None:
        """A megabyte, nothing at all, and bytes that are no text."""
        contents = [Content("tool_result", "full", os.urandom(1 << 20)), Content("prompt", "full", b"")]
        store.append(_id("a"), 1, bytes(range(256)), contents, 1)
        (record,) = store.load(_id("a"), 0, 10)
        assert bytes(record.payload) == bytes(range(256))
        assert [tuple(content) for content in record.contents] == [tuple(content) for content in contents]

    # Rows ------------------------------------------------------------------------------------------------------------

    def test_a_row_keeps_what_is_not_said_again(self, store: Store) -> None:
        """Rows are written column by column, as more is known."""
        store.put("runs", {"id": _id("run"), "name": "job", "status": "running", "started_at_ms": 5})
        store.put("runs", {"id": _id("run"), "status": "done"})
        ((row,), after) = store.list("runs", {"limit": 10})
        assert (row["id"], row["name"], row["status"], row["started_at_ms"]) == (_id("run"), "job", "done", 5)
        assert after is None

    def test_rows_are_found_by_their_columns(self, store: Store) -> None:
        """Every condition has to hold."""
        for number in range(6):
            row = {"id": _id(str(number)), "tenant": "even" if number % 2 == 0 else "odd", "started_at_ms": number}
            store.put("sessions", {**row, "status": "complete" if number < 3 else "running", "run": _id("run")})
        found = self._numbers(store, "sessions", {"tenant": "even"})
        assert found == [4, 2, 0]
        assert self._numbers(store, "sessions", {"tenant": "even", "status": "complete"}) == [2, 0]
        assert self._numbers(store, "sessions", {"run": _id("run"), "since_ms": 2, "until_ms": 4}) == [3, 2]
        assert self._numbers(store, "sessions", {"run": _id("other")}) == []
        assert self._numbers(store, "sessions", {"id": _id("3")}) == [3]
        assert self._numbers(store, "sessions", {"id": _id("run")}) == []

    def test_pages_follow_each_other(self, store: Store) -> None:
        """The latest first, each row once, until there are no more."""
        for number in range(25):
            store.put("runs", {"id": _id(str(number)), "started_at_ms": number // 3})
        seen: list[bytes] = []
        conditions: dict[str, object] = {"limit": 10}
        while True:
            rows, after = store.list("runs", conditions)
            seen.extend(row["id"] for row in rows)
            if after is None:
                break
            conditions["after"] = after
        assert len(seen) == len(set(seen)) == 25

    def test_attempts_belong_to_their_session(self, store: Store) -> None:
        """Their key is the session and a number."""
        for number in range(3):
            store.put("attempts", {"session": _id("a"), "number": number, "target": "m", "started_at_ms": number})
        store.put("attempts", {"session": _id("a"), "number": 1, "status": "failed"})
        store.put("attempts", {"session": _id("b"), "number": 0, "target": "n", "started_at_ms": 0})
        rows, _ = store.list("attempts", {"session": _id("a")})
        assert sorted((row["number"], row.get("status")) for row in rows) == [(0, None), (1, "failed"), (2, None)]

    def _numbers(self, store: Store, table: str, conditions: dict[str, object]) -> list[int]:
        return [row["started_at_ms"] for row in store.list(table, {**conditions, "limit": 100})[0]]

    # Leases ----------------------------------------------------------------------------------------------------------

    def test_one_at_a_time(self, store: Store) -> None:
        """Who comes second is told; who comes after has a higher number."""
        first = store.lease(_id("run"), 0.0)
        first.check()
        with pytest.raises(JournalError) as caught:
            store.lease(_id("run"), 0.05)
        assert caught.value.reason == "held"
        other = store.lease(_id("another"), 0.0)
        first.release()
        first.release()
        with pytest.raises(JournalError):
            first.check()
        second = store.lease(_id("run"), 5.0)
        assert second.fence > first.fence
        second.renew()
        second.check()
        second.release()
        other.release()

    def test_who_waits_is_given_it(self, store: Store) -> None:
        """As soon as it is given back."""
        first, fences = store.lease(_id("run"), 0.0), list[int]()

        def wait() -> None:
            lease = store.lease(_id("run"), 10.0)
            fences.append(lease.fence)
            lease.release()

        waiting = threading.Thread(target=wait)
        waiting.start()
        first.release()
        waiting.join(15.0)
        assert fences == [first.fence + 1] or fences[0] > first.fence

    # What it is for --------------------------------------------------------------------------------------------------

    def test_a_session_is_recorded_and_replayed(self, store: Store) -> None:
        """What it is for."""
        from l0_core._replay import replay, replay_stream

        journal = Journal(store)
        recorded = stream(lambda _: iter(["The capital ", "is Paris."]), journal=journal)
        assert list(recorded) == ["The capital ", "is Paris."]
        assert recorded.result.journal == "on"
        session_id = recorded.result.session_id
        assert replay(journal, session_id).status == "complete"
        assert list(replay_stream(journal, session_id)) == ["The capital ", "is Paris."]
        assert [row["status"] for row in journal.sessions()] == ["complete"]
