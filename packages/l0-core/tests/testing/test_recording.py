"""Recorded bytes, served again."""

import json
from pathlib import Path

import pytest
from by_hand import ask, send

from l0_core.testing import FaultyProvider, Recording, faults
from l0_core.testing.fault import Misuse

DATA = b'data: {"n":1}\n\n: ping\n\ndata: {"n":2}\r\n\r\ndata: [DONE]\n\n'
RECORDING = Recording(DATA, "https://example.test/v1", 200, (("content-type", "text/event-stream"), ("server", "x")))


@pytest.fixture
def provider(faulty_provider: FaultyProvider) -> FaultyProvider:
    return faulty_provider


def test_two_files_hold_it_all(tmp_path: Path) -> None:
    recording = Recording(
        DATA, "https://example.test/v1", 201, (("content-type", "text/x"),), {"a": "ü"}, ((4, 0.5), (len(DATA), 1.0))
    )
    recording.save(tmp_path / "one.sse")
    assert Recording.load(tmp_path / "one.sse") == recording
    assert (tmp_path / "one.sse").read_bytes() == DATA
    assert json.loads((tmp_path / "one.json").read_text())["arrivals"] == [[4, 0.5], [len(DATA), 1.0]]
    (tmp_path / "one.json").unlink()
    assert Recording.load(tmp_path / "one.sse").data == DATA


def test_it_is_served_to_the_byte_with_its_status_and_content_type(provider: FaultyProvider) -> None:
    provider.serve_recording(Recording(DATA, status=207, headers=RECORDING.headers))
    heard = ask(provider)
    assert (heard.status, heard.body, heard.headers["content-type"]) == (207, DATA, "text/event-stream")
    assert "server" not in heard.headers


def test_recordings_are_served_in_order_and_the_last_goes_on(provider: FaultyProvider, tmp_path: Path) -> None:
    Recording(b"data: 1\n\n").save(tmp_path / "a.sse")
    provider.serve_recording(tmp_path / "a.sse", Recording(b"data: 2\n\n"))
    assert [ask(provider).body for _ in range(3)] == [b"data: 1\n\n", b"data: 2\n\n", b"data: 2\n\n"]
    assert send(provider, "GET", "/v1/responses/resp_1?stream=true&starting_after=0").body == b"data: 2\n\n"
    provider.reply("Paris.")
    assert ask(provider).text == "Paris."


@pytest.mark.parametrize("chunk_bytes", [None, 1, 5, 1000])
def test_pieces_of_any_size_are_the_same_bytes(provider: FaultyProvider, chunk_bytes: int | None) -> None:
    provider.serve_recording(RECORDING, chunk_bytes=chunk_bytes)
    assert ask(provider).body == DATA
    pieces = {None: 4, 1: len(DATA), 5: -(-len(DATA) // 5), 1000: 1}
    assert provider.requests[0].sent_chunks == pieces[chunk_bytes]


@pytest.mark.parametrize("position", range(len(DATA) + 1))
def test_it_may_end_after_any_byte(provider: FaultyProvider, position: int) -> None:
    provider.serve_recording(RECORDING, cut_at=position, how="end")
    assert ask(provider).body == DATA[:position]


def test_it_may_be_corrupted_at_any_byte(provider: FaultyProvider) -> None:
    for position in range(len(DATA)):
        provider.serve_recording(RECORDING, corrupt_at=position)
        body = ask(provider).body
        assert [at for at, (now, then) in enumerate(zip(body, DATA, strict=True)) if now != then] == [position]


def test_it_may_stall_at_any_byte(provider: FaultyProvider) -> None:
    provider.release()
    provider.serve_recording(RECORDING, stall_at=20)
    assert ask(provider).body == DATA
    assert provider.requests[0].wait_stalled(0)


def test_the_same_faults_happen_to_recorded_bytes(provider: FaultyProvider) -> None:
    provider.serve_recording(RECORDING)
    provider.script(faults.eof_after(bytes=7), faults.status(503), faults.repeated_chunk(chunk=1))
    assert ask(provider).body == DATA[:7]
    assert ask(provider).status == 503
    assert ask(provider).body == b'data: {"n":1}\n\n' + DATA


def test_what_a_recording_cannot_do_is_a_misuse() -> None:
    for fault in (faults.role_only(), faults.diverging_restart(), faults.null_choices()):
        provider = FaultyProvider()
        with pytest.raises(Misuse), provider:  # noqa: PT012 - leaving the block is what raises
            provider.serve_recording(RECORDING)
            provider.script(fault)
            assert ask(provider).status == 500


def test_the_pauses_of_the_original_may_be_kept(provider: FaultyProvider) -> None:
    arrivals = ((10, 0.0), (20, 0.03), (len(DATA), 0.06))
    provider.serve_recording(Recording(DATA, arrivals=arrivals), timed=True)
    assert ask(provider).body == DATA
    assert provider.requests[0].sent_chunks == 3
    assert provider.requests[0].duration >= 0.06


def test_wrong_parameters_are_refused_at_once(provider: FaultyProvider) -> None:
    with pytest.raises(ValueError, match="no arrival times"):
        provider.serve_recording(RECORDING, timed=True)
    with pytest.raises(ValueError, match="at least 1"):
        provider.serve_recording(RECORDING, chunk_bytes=0)
    with pytest.raises(ValueError, match="one recording or more"):
        provider.serve_recording()
    with pytest.raises(FileNotFoundError):
        provider.serve_recording("missing.sse")
