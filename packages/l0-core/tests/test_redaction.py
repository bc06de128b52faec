"""What is not to be kept is nowhere: not in the file, the log, an error's message, an export."""

import logging
import os
import sqlite3
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driving import Driver, policy

import l0_core
from l0_core import Chunk, Journal, JournalError, ToolFragment
from l0_core._archive import export
from l0_core._journal import Redaction

NAMES = (
    "prompt",
    "system prompt",
    "completion",
    "abandoned completion",
    "reasoning",
    "metadata",
    "tool argument",
    "whole argument",
    "exception",
    "cause",
    "note",
    "body message",
    "body param",
    "body code",
    "body type",
    "header",
    "request header",
    "key",
    "listener",
    "encoding",
)
CANARIES = {name: f"canary {place:02} of {name}: {os.urandom(6).hex()}" for place, name in enumerate(NAMES)}


class Refused(Exception):  # noqa: N818 - what it is about
    """What an SDK raises, with all that it carries."""

    def __init__(self) -> None:
        super().__init__(CANARIES["exception"])
        self.status_code = 503
        self.code = CANARIES["body code"]
        self.body = {
            "error": {
                "message": CANARIES["body message"],
                "param": CANARIES["body param"],
                "code": CANARIES["body code"],
                "type": CANARIES["body type"],
            }
        }
        self.headers = {"authorization": f"Bearer {CANARIES['header']}"}
        self.request = {"headers": {"x-api-key": CANARIES["request header"]}, "key": CANARIES["key"]}
        self.add_note(CANARIES["note"])


class Source:
    """Knows the prompt and the key, fails once, and answers with what must not be kept."""

    def __init__(self) -> None:
        self.prompt, self.key = CANARIES["prompt"], CANARIES["key"]
        self.system = CANARIES["system prompt"]

    def __call__(self, attempt: l0_core.Attempt) -> Iterator[Any]:
        if attempt.number == 0:
            yield Chunk(reasoning=CANARIES["reasoning"])
            raise Refused from ValueError(CANARIES["cause"])
        if attempt.number == 1:
            yield CANARIES["abandoned completion"]
            raise ConnectionResetError(CANARIES["exception"])
        yield CANARIES["abandoned completion"]
        yield Chunk(text=CANARIES["completion"], metadata={"x": CANARIES["metadata"]})
        yield Chunk(tools=(ToolFragment(0, "c", "pay", '{"to": "' + CANARIES["tool argument"]),))
        yield Chunk(tools=(ToolFragment(0, None, None, '", "x": "' + CANARIES["whole argument"] + '"}', last=True),))
        yield Chunk(finish_reason="stop")


def _boom(*_: object) -> None:
    raise RuntimeError(CANARIES["listener"])


LISTENERS = l0_core.Lifecycle(on_start=_boom, on_fault=_boom, on_splice=_boom, on_complete=_boom)
PLAN: dict[str, Any] = {"continuation": {"rungs": ["rerun"]}, "retry": {"max_retries": 3}}


def _planted(text: bytes) -> list[str]:
    return [name for name, canary in CANARIES.items() if canary.encode() in text or canary[:20].encode() in text]


def _files(folder: Path) -> bytes:
    """Every byte of a journal as it lies on the disk: the database, its log, the spool."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("redaction", ["none", "hashed"])
def test_twenty_canaries(drive: Driver, tmp_path: Path, caplog: pytest.LogCaptureFixture, redaction: Redaction) -> None:
    """Redacted, no word of what was asked, answered, thrown or carried along is anywhere."""
    caplog.set_level(logging.DEBUG)
    journal = Journal.open(tmp_path / "l0.db", redaction=redaction)
    run = drive(Source(), journal=journal, policy=policy(**PLAN), on=LISTENERS)
    assert run.error is None
    assert run.result is not None
    assert CANARIES["completion"] in run.result.text
    with pytest.raises(JournalError) as redacted:
        l0_core.replay(journal, run.result.session_id)
    written = _files(tmp_path)
    journal.flush()
    exported = "\n".join(export(journal)).encode()
    assert journal.verify().is_sound
    journal.close()
    told = caplog.text.encode() + repr(run.result.metadata()).encode() + str(redacted.value).encode()
    for place in (written, _files(tmp_path), exported, told):
        assert len(place) > 500
        assert _planted(place) == []


@pytest.mark.parametrize("redaction", ["none", "hashed"])
def test_twenty_canaries_in_a_run(tmp_path: Path, caplog: pytest.LogCaptureFixture, redaction: Redaction) -> None:
    """The same for runs: what steps are given, return and throw, and what a model is asked there."""
    caplog.set_level(logging.DEBUG)

    @l0_core.step
    def look_up(argument: str) -> str:
        return CANARIES["completion"]

    @l0_core.step
    def fails(argument: str) -> str:
        raise Refused from ValueError(CANARIES["cause"])

    journal = Journal.open(tmp_path / "l0.db", redaction=redaction)
    with pytest.raises(Refused), l0_core.run("job", journal=journal):  # noqa: PT012 - what raises is the run as a whole
        look_up(CANARIES["tool argument"])
        list(l0_core.stream(Source(), policy=policy(**PLAN), on=LISTENERS, input={"role": CANARIES["prompt"]}))
        l0_core.call(lambda: CANARIES["whole argument"], input=CANARIES["system prompt"])
        fails(CANARIES["tool argument"])
    written = _files(tmp_path)
    with pytest.raises(l0_core.L0Error) as ours, l0_core.run("job", journal=journal):
        look_up(CANARIES["note"])
    trace = "".join(traceback.format_exception(type(ours.value), ours.value, ours.value.__traceback__, chain=False))
    exported = "\n".join(export(journal)).encode()
    assert journal.verify().is_sound
    journal.close()
    for place in (written, _files(tmp_path), exported, (caplog.text + trace).encode()):
        assert len(place) > 300
        assert _planted(place) == []


def test_what_is_kept_can_be_found() -> None:
    """The search above would find a canary: with nothing redacted what was said is there, and nothing else is."""
    journal = Journal.memory()
    stream = l0_core.stream(Source(), journal=journal, policy=policy(**PLAN))
    list(stream)
    found = _planted("\n".join(export(journal)).encode())
    assert found == [
        "completion",
        "abandoned completion",
        "reasoning",
        "metadata",
        "tool argument",
        "whole argument",
    ]


def test_an_error_of_ours_quotes_nothing(drive: Driver, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def failing(attempt: l0_core.Attempt) -> Iterator[str]:
        yield CANARIES["completion"]
        raise Refused

    with Journal.open(tmp_path / "l0.db", redaction="none") as journal:
        run = drive(failing, journal=journal, policy=policy(retry={"max_retries": 1}, continuation={"rungs": []}))
    assert isinstance(run.error, l0_core.IncompleteError)
    assert _planted(str(run.error).encode()) == []
    assert _planted(caplog.text.encode()) == []
    assert _planted(_files(tmp_path)) == []


def test_classes_of_content_are_redacted_apart(drive: Driver, tmp_path: Path) -> None:
    redaction: Redaction = {"tool_arguments": "none", "completion": "full"}
    with Journal.open(tmp_path / "l0.db", redaction=redaction) as journal:
        drive(lambda _: iter([Chunk(text="said "), *_call()]), journal=journal)
        journal.flush()
        (row,) = journal.sessions()
        kept = [content for record in journal.load(row["id"]) for content in record.contents]
        assert ("completion", "full", b"said ") in kept
        assert {state for name, state, _ in kept if name == "tool_arguments"} == {"absent"}
    with pytest.raises(JournalError, match="redaction is full, hashed or none"):
        Journal.memory(redaction={"everything": "none"})  # type: ignore[dict-item]


def _call() -> list[Chunk]:
    return [Chunk(tools=(ToolFragment(0, "c", "pay", "{}", last=True),)), Chunk(finish_reason="stop")]


def test_hashed_content_is_recognised_and_proven(tmp_path: Path) -> None:
    """The hash of what was said still says whether it was this; a byte of it changed is found."""
    path = tmp_path / "l0.db"
    with Journal.open(path, redaction="hashed") as journal:
        stream = l0_core.stream(lambda _: iter(["The capital ", "is Paris."]), journal=journal)
        list(stream)
        key = bytes.fromhex(stream.result.session_id)
        hashes = [content[2] for record in journal.load(key) for content in record.contents]
        assert [journal.disk.matches(key, digest, b"The capital ") for digest in hashes] == [True, False]
        assert journal.verify().is_sound
    with sqlite3.connect(path) as connection:
        bodies = [body for (body,) in connection.execute("SELECT body FROM blocks") if hashes[0] in body]
        (body,) = bodies
        connection.execute("UPDATE blocks SET body = ? WHERE body = ?", (_flipped(body, hashes[0]), body))
    connection.close()
    with Journal.open(path) as journal:
        found = journal.verify()
        assert not found.is_sound
        assert found.findings[0].stream == stream.result.session_id
        assert found.findings[0].record is not None


def _flipped(body: bytes, digest: bytes) -> bytes:
    at = body.index(digest)
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def test_an_erased_user_leaves_hashes_that_verify(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "l0.db") as journal:
        from l0_core._context import Scope, within

        with within(Scope(journal, user="ada")):
            list(l0_core.stream(lambda _: iter([CANARIES["completion"]])))
        list(l0_core.stream(lambda _: iter(["another's"]), journal=journal))
        journal.flush()
        head = journal.head()
        assert journal.erase(user="ada") == 1
        assert journal.verify(head).is_sound
        assert "another's" in "\n".join(export(journal))
    assert _planted(_files(tmp_path)) == []
