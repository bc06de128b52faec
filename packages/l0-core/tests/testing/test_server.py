"""The server underneath: it survives rubbish, does to the byte what it is told, and ends at once (G3)."""

import contextlib
import random
import socket
import struct
import threading
import time

import pytest
from by_hand import PATHS, ask, dial, port_of, read_all, request_bytes, send

from l0_core.testing import FaultyProvider, faults
from l0_core.testing.fault import Fault

RUBBISH = {
    "nothing": b"",
    "a newline": b"\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "endless headers": b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: " + b"b" * 100_000,
    "a wrong length": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
    "wrong chunks": b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "a body cut off": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\nhello",
    "random bytes": random.Random(7).randbytes(3000),  # noqa: S311
}
BODIES = {
    "no JSON": b"{",
    "no object": b"[1, 2]",
    "nothing": b"",
    "deep JSON": b"[" * 100_000,
    "a huge number": b'{"messages": ' + b"9" * 10_000 + b"}",
    "bad UTF-8": b'{"messages": "\xff\xfe"}',
    "lone surrogates": rb'{"model": "\ud800", "max_tokens": 5, "messages": [{"role": "user", "content": "\udfff"}]}',
    "no messages": b'{"model": "m", "max_tokens": 5}',
    "messages of another type": b'{"messages": 7, "input": 7, "max_tokens": 5}',
    "no message": b'{"messages": [], "input": [], "max_tokens": 5}',
    "messages that are none": b'{"messages": [1], "input": [1], "max_tokens": 5}',
    "an unknown role": b'{"messages": [{"role": "wizard"}], "input": [{"role": "wizard"}], "max_tokens": 5}',
    "content of another type": b'{"messages": [{"role": "user", "content": 5}],'
    b' "input": [{"role": "user", "content": 5}], "max_tokens": 5}',
    "parts that are none": b'{"messages": [{"role": "user", "content": [5]}],'
    b' "input": [{"role": "user", "content": [5]}], "max_tokens": 5}',
    "a part without text": b'{"messages": [{"role": "user", "content": [{"type": "text"}]}],'
    b' "input": [{"role": "user", "content": [{"type": "input_text"}]}], "max_tokens": 5}',
}


@pytest.fixture
def provider(faulty_provider: FaultyProvider) -> FaultyProvider:
    return faulty_provider


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_is_told_so_and_harms_nobody_else(provider: FaultyProvider, rubbish: bytes) -> None:
    with dial(provider) as raw:
        raw.sendall(rubbish)
        with contextlib.suppress(OSError):
            raw.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            answer = read_all(raw)
            assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
    assert ask(provider).status == 200


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("dialect", sorted(PATHS))
def test_a_request_that_is_none_is_refused_as_the_provider_would(
    provider: FaultyProvider, dialect: str, body: bytes
) -> None:
    heard = send(provider, "POST", PATHS[dialect], body)
    surrogates = b"ud800" in body and dialect != "responses"
    assert heard.status == (200 if surrogates else 400)
    if not surrogates:
        assert heard.json["error"]["message"]
        assert heard.json.get("type") == ("error" if dialect == "anthropic" else None)


def test_other_paths_say_what_there_is(provider: FaultyProvider) -> None:
    heard = send(provider, "GET", "/v1/completions")
    assert heard.status == 404
    assert "/chat/completions" in heard.json["error"]["message"]
    assert send(provider, "GET", "/v1/models").json["data"]
    assert send(provider, "DELETE", "/v1/messages").status == 404
    assert provider.requests == []


def test_it_listens_on_loopback_and_nowhere_else_unless_told_to(provider: FaultyProvider) -> None:
    assert provider.url.startswith("http://127.0.0.1:")
    for family, host in ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as raw, pytest.raises(OSError, match=r".*"):
            raw.connect((host, port_of(provider)))
    with FaultyProvider(host="127.0.0.2") as other:
        assert other.url.startswith("http://127.0.0.2:")


def test_it_ends_within_a_second_with_streams_open() -> None:
    script = [
        faults.stall(),
        faults.stall("open"),
        faults.keep_alive_only(),
        faults.drip(seconds=60),
        faults.half_close_after(chunks=1),
    ]
    before = set(threading.enumerate())
    provider = FaultyProvider().start()
    provider.script(*script)
    streams = [dial(provider) for _ in script]
    idle, half = dial(provider), dial(provider)
    half.sendall(b"POST /v1/chat")
    for number, stream in enumerate(streams, 1):
        stream.sendall(request_bytes())
        provider.wait_for_requests(number)
    requests = provider.requests
    started = time.monotonic()
    provider.close()
    assert time.monotonic() - started < 5, "under a second, and a busy machine's four"
    assert {request.wait_ended() for request in requests} <= {"closed", "cut"}
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive(), thread
    for raw in (*streams, idle, half):
        raw.settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            read_all(raw)
        raw.close()


def test_a_slow_reader_does_not_keep_it_from_ending() -> None:
    provider = FaultyProvider().start()
    provider.reply("x" * 20_000_000, chunks=100)
    with dial(provider) as raw:
        raw.sendall(request_bytes())
        provider.wait_for_requests(1)
        raw.recv(100)
        started = time.monotonic()
        provider.close()
        assert time.monotonic() - started < 5, "under a second, and a busy machine's four"


def test_a_client_that_leaves_is_noticed_at_once(provider: FaultyProvider) -> None:
    provider.script(faults.stall())
    raw = dial(provider)
    raw.sendall(request_bytes())
    request = provider.wait_for_requests(1)[0]
    assert request.wait_stalled()
    assert request.ending is None
    raw.close()
    assert request.wait_ended() == "client"


def test_a_stall_goes_on_when_released_and_stays_when_held(provider: FaultyProvider) -> None:
    provider.script(faults.stall())
    with dial(provider) as raw, dial(provider) as other:
        raw.sendall(request_bytes())
        assert provider.wait_for_requests(1)[0].wait_stalled()
        provider.release()
        provider.release()
        assert provider.requests[0].wait_ended() == "complete"
        provider.hold()
        provider.hold()
        other.sendall(request_bytes())
        second = provider.wait_for_requests(2)[1]
        assert second.wait_stalled()
        assert second.ending is None


def test_a_connection_is_used_again_and_pipelined_requests_wait_their_turn(provider: FaultyProvider) -> None:
    with dial(provider) as raw:
        raw.sendall(request_bytes() + request_bytes(stream=False))
        raw.shutdown(socket.SHUT_WR)
        answer = read_all(raw)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.index(b"[DONE]") < answer.index(b"application/json")


def test_the_connection_ends_where_the_client_asked_for_it(provider: FaultyProvider) -> None:
    with dial(provider) as raw:
        raw.sendall(request_bytes().replace(b"host: x", b"host: x\r\nconnection: close"))
        assert read_all(raw).endswith(b"0\r\n\r\n")


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(provider: FaultyProvider) -> None:
    head, _, body = request_bytes().partition(b"\r\n\r\n")
    with dial(provider) as raw:
        raw.sendall(head + b"\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 100")
        raw.sendall(body)
        assert b"[DONE]" in read_all(raw)


def test_a_body_may_come_in_chunks(provider: FaultyProvider) -> None:
    _, _, body = request_bytes().partition(b"\r\n\r\n")
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    with dial(provider) as raw:
        raw.sendall(head + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
        assert b"[DONE]" in read_all(raw)


def test_a_body_without_end_is_refused(provider: FaultyProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l0_core.testing.server.BODY_BYTES_MAX", 1000)
    assert send(provider, "POST", PATHS["openai"], b"x" * 5000).status == 413


def test_connections_are_refused_by_the_system_while_nobody_listens(provider: FaultyProvider) -> None:
    with dial(provider) as idle:
        idle.sendall(request_bytes(stream=False))
        assert provider.wait_for_requests(1)[0].wait_ended() == "complete"
        provider.refuse_connections()
        with pytest.raises(ConnectionRefusedError):
            dial(provider)
        assert b"200 OK" in idle.recv(65_536), "what is open stays open"
    provider.accept_connections()
    provider.accept_connections()
    assert ask(provider).status == 200


# What goes over the wire


def exchange(provider: FaultyProvider, fault: Fault, *, stream: bool = True) -> tuple[bytes, str]:
    """The bytes that arrived, and what came after them: `fin`, `reset`, or nothing, the connection being `open`."""
    provider.script(fault)
    got = bytearray()
    with dial(provider) as raw:
        raw.sendall(request_bytes(stream=stream))
        try:
            while not is_whole(got):
                data = raw.recv(65536)
                if not data:
                    return bytes(got), "fin"
                got += data
        except ConnectionResetError:
            return bytes(got), "reset"
        return bytes(got), "open"


def is_whole(data: bytearray) -> bool:
    head, _, body = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"\r\n0\r\n\r\n")
    length = head.partition(b"content-length: ")[2].split(b"\r\n")[0]
    return bool(length) and len(body) == int(length)


def unchunked(data: bytes) -> tuple[bytes, bool]:
    """The body out of its chunks, and whether it was ended properly."""
    body = bytearray()
    rest = data.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            return bytes(body), True
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return bytes(body), False


def test_a_whole_stream(provider: FaultyProvider) -> None:
    data, end = exchange(provider, faults.ok())
    body, proper = unchunked(data)
    assert (body.endswith(b"data: [DONE]\n\n"), proper, end) == (True, True, "open")
    assert data.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream")


@pytest.mark.parametrize(
    ("fault", "end", "proper"),
    [
        (faults.reset_after(chunks=3), "reset", False),
        (faults.close_after(chunks=3), "fin", False),
        (faults.half_close_after(chunks=3), "fin", False),
    ],
    ids=str,
)
def test_a_broken_stream_breaks_after_exactly_so_many_chunks(
    *, provider: FaultyProvider, fault: Fault, end: str, proper: bool
) -> None:
    data, ended = exchange(provider, fault)
    body, ended_properly = unchunked(data)
    assert (ended, ended_properly) == (end, proper)
    assert body.count(b'"content":"') - 1 == 3
    assert provider.requests[0].sent_chunks == 3


@pytest.mark.parametrize("count", [0, 1, 57, 300, 301])
def test_a_broken_stream_breaks_after_exactly_so_many_bytes(provider: FaultyProvider, count: int) -> None:
    for fault in (faults.reset_after(bytes=count), faults.close_after(bytes=count)):
        body, _ = unchunked(exchange(provider, fault)[0])
        assert len(body) == count
        assert body.startswith(b"data: {"[:count])


def test_a_reset_loses_nothing_that_was_sent_before(provider: FaultyProvider) -> None:
    provider.reply("word " * 200_000, chunks=50)
    data, end = exchange(provider, faults.reset_after(chunks=49))
    assert end == "reset"
    assert unchunked(data)[0].count(b"\n\n") == 50


def test_an_end_of_file_as_the_only_frame(provider: FaultyProvider) -> None:
    data, end = exchange(provider, faults.eof_after(chunks=2))
    assert (b"connection: close" in data, b"transfer-encoding" in data, end) == (True, False, "fin")
    assert data.count(b"\n\n") == 3


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("fault", "end"), [(faults.reset_before_headers(), "reset"), (faults.close_before_headers(), "fin")]
)
def test_nothing_comes_before_the_headers(*, provider: FaultyProvider, fault: Fault, end: str, stream: bool) -> None:
    assert exchange(provider, fault, stream=stream) == (b"", end)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("fault", "end"), [(faults.reset_after_headers(), "reset"), (faults.close_after_headers(), "fin")]
)
def test_headers_and_nothing_after_them(*, provider: FaultyProvider, fault: Fault, end: str, stream: bool) -> None:
    data, ended = exchange(provider, fault, stream=stream)
    assert data.endswith(b"\r\n\r\n")
    assert ended == end


def test_a_document_announces_its_length_and_breaks_inside_it(provider: FaultyProvider) -> None:
    whole, _ = exchange(provider, faults.ok(), stream=False)
    part, end = exchange(provider, faults.close_after(chunks=4), stream=False)
    assert end == "fin"
    assert (
        whole.partition(b"content-length")[2].split(b"\r\n")[0]
        == part.partition(b"content-length")[2].split(b"\r\n")[0]
    )
    assert 0.4 < len(part.partition(b"\r\n\r\n")[2]) / len(whole.partition(b"\r\n\r\n")[2]) < 0.6


def test_a_cut_inside_a_character_leaves_half_of_it(provider: FaultyProvider) -> None:
    body, proper = unchunked(exchange(provider, faults.cut_utf8(chunks=2, how="end"))[0])
    assert proper
    assert body.endswith(b"\xc3")
    with pytest.raises(UnicodeDecodeError):
        body.decode()


def test_keep_alives_come_and_nothing_else(provider: FaultyProvider) -> None:
    data, end = exchange(provider, faults.keep_alive_only(interval=0.01, seconds=0.1))
    body, proper = unchunked(data)
    assert body.count(b": keep-alive\n\n") >= 3
    assert body.startswith(b": keep-alive")
    assert (proper, end) == (True, "open")


def test_a_drip_comes_in_pieces_of_a_size(provider: FaultyProvider) -> None:
    data, _ = exchange(provider, faults.drip(seconds=0, bytes=100))
    sizes = [int(line, 16) for line in data.partition(b"\r\n\r\n")[2].split(b"\r\n")[::2] if line]
    assert max(sizes) == 100
    assert unchunked(data)[1]


def test_a_reset_by_the_client_is_survived(provider: FaultyProvider) -> None:
    provider.script(faults.drip(seconds=0.01), faults.ok())
    raw = dial(provider)
    raw.sendall(request_bytes())
    raw.recv(10)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()
    assert provider.requests[0].wait_ended() == "client"
    assert ask(provider).status == 200


def test_many_connections_at_once(provider: FaultyProvider) -> None:
    sockets = [dial(provider) for _ in range(100)]
    for raw in sockets:
        raw.sendall(request_bytes().replace(b"host: x", b"host: x\r\nconnection: close"))
    assert all(b"[DONE]" in read_all(raw) for raw in sockets)
    for raw in sockets:
        raw.close()


def test_more_connections_than_allowed_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l0_core.testing.server.CONNECTIONS_MAX", 2)
    with FaultyProvider() as provider:
        first, second = dial(provider), dial(provider)
        provider.script(faults.stall())
        for number, raw in enumerate((first, second), 1):
            raw.sendall(request_bytes())
            provider.wait_for_requests(number)
        with dial(provider) as third, contextlib.suppress(ConnectionResetError):
            assert third.recv(10) == b""
        first.close()
        second.close()
