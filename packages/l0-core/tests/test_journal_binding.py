"""The journal as Python sees it: what goes in comes out, and what fails says why in one word."""

import asyncio
import pickle
from pathlib import Path

import pytest

from l0_core import JournalError, _native

ID, OTHER, RUN = b"s" * 16, b"o" * 16, b"r" * 16


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> _native.Journal:
    if request.param == "memory":
        return _native.Journal.memory()
    return _native.Journal.open(tmp_path / "l0.db")


def test_records_come_back_as_they_went_in(store: _native.Journal) -> None:
    stream = store.stream(ID, "step", tenant="acme", user="ada")
    assert stream.append(3, b"skeleton", [("prompt", b"who?"), ("tool_result", b"she")], 5) == 0
    assert stream.append(128, b"\x02\x00\x00\x00\x01", [("completion", b"Hello"), ("completion", b"{}")], 7) == 1
    assert stream.next_seq == 2
    entry, chunk = store.load(ID)
    assert (entry.seq, entry.at_ns, entry.kind, entry.payload) == (0, 5, 3, b"skeleton")
    assert entry.contents == [("prompt", "full", b"who?"), ("tool_result", "full", b"she")]
    assert (chunk.kind, chunk.payload) == (128, b"\x02\x00\x00\x00\x01")
    assert chunk.contents == [("completion", "full", b"Hello"), ("completion", "full", b"{}")]
    assert [record.seq for record in store.load(ID, 1, 5)] == [1]
    assert (store.info(ID) or ())[:3] == ("step", 2, 7)
    assert store.load(OTHER) == []
    assert store.info(OTHER) is None


def test_what_is_not_kept_is_named_and_a_hash_is_recognised(store: _native.Journal) -> None:
    stream = store.stream(ID, "step", redaction=("hashed", "none", "full", "full"))
    stream.append(1, b"", [("prompt", b"secret"), ("completion", b"answer"), ("tool_arguments", b"{}")], 1)
    (record,) = store.load(ID)
    prompt, completion, arguments = record.contents
    assert prompt[:2] == ("prompt", "hashed")
    assert store.matches(ID, prompt[2], b"secret")
    assert not store.matches(ID, prompt[2], b"other")
    assert completion == ("completion", "absent", None)
    assert arguments == ("tool_arguments", "full", b"{}")


def test_rows_are_found_and_keep_what_is_not_said_again(store: _native.Journal) -> None:
    store.put_run(id=RUN, name="job", started_at_ms=5)
    store.put_run(id=RUN, status="done", duration_ms=9)
    runs, after = store.runs()
    assert runs == [{"id": RUN, "name": "job", "status": "done", "started_at_ms": 5, "duration_ms": 9}]
    assert after is None
    for number in range(5):
        store.put_session(id=bytes([number] * 15 + [1]), run=RUN, started_at_ms=number, degraded=number == 3)
    page, after = store.sessions(run=RUN, limit=2)
    assert [row["started_at_ms"] for row in page] == [4, 3]
    assert page[1]["degraded"] is True
    page, after = store.sessions(run=RUN, limit=9, after=after)
    assert [row["started_at_ms"] for row in page] == [2, 1, 0]
    assert after is None
    store.put_step(id=ID, run=RUN, name="charge", key="k")
    assert [row["name"] for row in store.steps(run=RUN)[0]] == ["charge"]
    store.put_attempt(session=ID, number=0, target="a", mode="fresh")
    assert store.attempts(ID) == [{"session": ID, "number": 0, "target": "a", "mode": "fresh", "started_at_ms": 0}]


def test_a_column_or_a_filter_that_does_not_exist_is_refused(store: _native.Journal) -> None:
    with pytest.raises(TypeError, match="runs have no column"):
        store.put_run(id=RUN, colour="red")
    with pytest.raises(TypeError, match="needs"):
        store.put_run(name="nameless")
    with pytest.raises(TypeError, match="no filter"):
        store.runs(colour="red")
    with pytest.raises(ValueError, match="16 bytes"):
        store.load(b"short")
    with pytest.raises(JournalError) as caught:
        store.runs(target="m")
    assert caught.value.reason == "invalid"


def test_one_holds_a_lease_and_the_next_has_a_higher_number(store: _native.Journal) -> None:
    first = store.lease(RUN)
    with pytest.raises(JournalError) as caught:
        store.lease(RUN, 0.02)
    assert caught.value.reason == "held"
    stream = store.stream(ID, "run", lease=first)
    stream.append(1, b"mine", [], 1)
    first.renew()
    first.check()
    first.release()
    first.release()
    with pytest.raises(JournalError) as caught:
        first.check()
    assert caught.value.reason == "unleased"
    assert store.lease(RUN, 1.0).fence > first.fence
    with pytest.raises(JournalError) as caught:
        stream.append(1, b"late", [], 2)
    assert caught.value.reason in {"unleased", "lost"}


def test_the_chain_is_proven_and_survives_an_erasure(store: _native.Journal) -> None:
    store.stream(ID, "step", user="ada").append(1, b"", [("prompt", b"mine")], 1)
    store.flush()
    head = store.head()
    *_, findings, count = store.verify(head)
    assert (findings, count) == ([], 0)
    streams, _, erased = store.remove("content", user="ada")
    assert streams == 1
    assert erased > 0
    assert store.verify(head)[-1] == 0
    assert store.load(ID)[0].contents == [("prompt", "erased", 4)]
    with pytest.raises(JournalError):
        store.verify("1:00")
    with pytest.raises(ValueError, match="exactly one"):
        store.remove("content")


def test_tickets_are_answered_sync_and_async(tmp_path: Path) -> None:
    store = _native.Journal.open(tmp_path / "l0.db", durability="paranoid")
    store.stream(ID, "session").append(1, b"", [], 1)
    assert store.sync().wait(10)
    ticket = store.barrier("release")
    assert ticket.wait()
    assert ticket.poll()

    async def main() -> Exception | None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Exception | None] = loop.create_future()
        store.sync().on_answer(lambda failure: loop.call_soon_threadsafe(answer.set_result, failure))
        return await asyncio.wait_for(answer, 10)

    assert asyncio.run(main()) is None
    store.close()
    with pytest.raises(JournalError) as caught:
        store.sync().wait()
    assert caught.value.reason == "closed"
    assert _native.Journal.open(tmp_path / "l0.db").load(ID)[0].kind == 1


def test_a_journal_is_opened_with_its_key_and_looked_at_without_writing(tmp_path: Path) -> None:
    path = tmp_path / "l0.db"
    store = _native.Journal.open(path, key=b"k" * 32)
    store.stream(ID, "run").append(1, b"", [], 1)
    store.close()
    with pytest.raises(JournalError) as caught:
        _native.Journal.open(path)
    assert caught.value.reason == "key"
    looking = _native.Journal.open_read_only(path, key=b"k" * 32)
    assert len(looking.load(ID)) == 1
    with pytest.raises(JournalError) as caught:
        looking.stream(ID, "run")
    assert caught.value.reason == "read_only"
    assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "else.db").write_bytes(b"not a database at all, by any means" * 10)
    with pytest.raises(JournalError) as caught:
        _native.Journal.open(tmp_path / "else.db")
    assert caught.value.reason == "not_a_journal"


def test_records_reach_a_store_of_the_callers_own() -> None:
    taken: list[tuple[object, ...]] = []

    def append(kind: int, payload: bytes, contents: list[tuple[str, bytes]], at_ns: int) -> int:
        taken.append((kind, payload, contents, at_ns))
        return len(taken) - 1

    stream = _native.JournalStream.to(ID, append)
    stream.append(1, b"p", [("prompt", b"q")], 1)
    stream.append(128, b"\x00\x00\x00\x00\x00", [("completion", b"a")], 2)
    assert taken == [(1, b"p", [("prompt", b"q")], 1), (128, bytes(5), [("completion", b"a")], 2)]
    assert stream.next_seq == 2


def test_a_journal_error_survives_pickling() -> None:
    error = JournalError("full", reason="full", is_transient=True, stream=ID, record=3)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - its own
    assert (str(copy), copy.reason, copy.is_transient, copy.stream, copy.record) == ("full", "full", True, ID, 3)


def test_a_name_has_one_id() -> None:
    assert _native.named_id("run", "job") == _native.named_id("run", "job") != _native.named_id("step", "job")
    assert len(_native.named_id("run", "job")) == 16
