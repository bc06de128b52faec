"""HTTP over plain sockets: requests are parsed strictly, answers are performed to the byte, however wrong they are."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import select
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

import h11

from l0_core.testing.answer import Answer, Cut, Framing, Head, HowToEnd, Pause, Piece

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from l0_core.testing.conversation import Ending

__all__ = ["Connection", "Observer", "RawRequest", "Server", "stalls_between"]

BODY_BYTES_MAX: Final = 32 * 1024 * 1024
HEADER_BYTES_MAX: Final = 64 * 1024
CONNECTIONS_MAX: Final = 1024
READ_BYTES: Final = 64 * 1024
IDLE_SECONDS_MAX: Final = 120.0
DRAIN_SECONDS_MAX: Final = 0.5
CLOSE_SECONDS_MAX: Final = 0.8
SIOCOUTQNSD: Final = 0x894B  # Linux: bytes in the send buffer that have not been sent


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool
    """Whether the client will use the connection again."""


class Observer(Protocol):
    """What wants to know how far an answer got. It is told before the client can know."""

    def sending(self, piece: Piece) -> None:
        """A piece is on its way."""
        ...

    def ending(self, ending: Ending) -> None:
        """What comes now is the end."""
        ...

    def stalled(self) -> None:
        """Nothing more will be sent by itself."""
        ...


class _Gone(Exception):  # noqa: N818 - no failure: the client left
    """The client left, or the server is closing."""


_stalls: Final[dict[Connection, int]] = {}


def stalls_between(after: int, before: int) -> bool:
    """Whether some answer of this process stalls without end, and began to between these `time.monotonic_ns`.

    One that is older than a request is not its answer: the connection may stay open long after its client gave up.
    """
    return any(after <= began <= before for began in tuple(_stalls.values()))


class Server:
    """Accepts connections on one address and serves each in a thread of its own, until it is closed.

    `close` ends everything within a second, whatever the connections are doing.
    """

    def __init__(
        self, handle: Callable[[RawRequest, Connection], bool], host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._handle = handle
        self._listener = socket.create_server((host, port), family=_family(host), backlog=256)
        self._address: tuple[str, int] = self._listener.getsockname()[:2]
        self._closed_port = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._closed_port.bind(("127.0.0.1", 0))  # bound and never listening: connections to it are refused
        self._closed_port_number: int = self._closed_port.getsockname()[1]
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._threads: set[threading.Thread] = set()
        self._signals = _Signals()
        self._acceptor: threading.Thread | None = None
        self.listen()

    @property
    def host(self) -> str:
        """The address it is bound to."""
        return self._address[0]

    @property
    def port(self) -> int:
        """The port it is bound to."""
        return self._address[1]

    @property
    def closed_port(self) -> int:
        """A loopback port that refuses connections as long as the server lives."""
        return self._closed_port_number

    @property
    def closing(self) -> bool:
        """Whether the end has begun."""
        return self._signals.closing.is_set()

    def listen(self) -> None:
        """Accept connections, again if it had stopped; on the same port."""
        if self._acceptor is not None:
            return
        if self._listener.fileno() < 0:
            self._listener = socket.create_server(self._address, family=_family(self.host), backlog=256)
        self._listener.settimeout(0.5)  # where shutting a listener down wakes nobody
        self._acceptor = threading.Thread(target=self._accept, name="l0-provider-accept", daemon=True)
        self._acceptor.start()

    def refuse(self) -> None:
        """Let nobody in: connections are refused by the system, open idle ones are closed."""
        acceptor, self._acceptor = self._acceptor, None
        _shut(self._listener)
        self._listener.close()
        if acceptor is not None:
            acceptor.join(CLOSE_SECONDS_MAX)
        for connection in self._all():
            connection.wake_if_idle()

    def release(self) -> None:
        """Let every endless stall go on, those to come too, until `hold`."""
        self._signals.release()

    def hold(self) -> None:
        """Stalls are endless again."""
        self._signals.hold()

    def close(self) -> None:
        """Stop listening, end every connection, wait for the threads."""
        self._signals.close()
        self.refuse()
        self._closed_port.close()
        for connection in self._all():
            connection.wake()
        deadline = time.monotonic() + CLOSE_SECONDS_MAX
        with self._lock:
            threads = tuple(self._threads)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        self._signals.dispose()

    def _all(self) -> tuple[Connection, ...]:
        with self._lock:
            return tuple(self._connections)

    def _accept(self) -> None:
        listener = self._listener
        while not self.closing and self._acceptor is threading.current_thread():
            try:
                raw, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                if listener.fileno() < 0 or self._acceptor is not threading.current_thread():
                    return
                self._signals.closing.wait(0.01)  # out of descriptors: others must finish first
                continue
            connection = Connection(raw, self._signals)
            thread = threading.Thread(target=self._serve, args=(connection,), name="l0-provider", daemon=True)
            with self._lock:
                full = len(self._connections) >= CONNECTIONS_MAX
                if not full:
                    self._connections.add(connection)
                    self._threads.add(thread)
            if full:
                connection.close()
            else:
                thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            for request in connection.requests():
                if not self._handle(request, connection) or self.closing:
                    break
        except (_Gone, OSError):
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)
                self._threads.discard(threading.current_thread())
            connection.close()


class _Signals:
    """What every connection listens for beside its client: the end, and the release of stalls."""

    def __init__(self) -> None:
        self.closing = threading.Event()
        self.released = threading.Event()
        self.reader, self._writer = socket.socketpair()
        self.reader.settimeout(0)
        self._lock = threading.Lock()

    def close(self) -> None:
        self.closing.set()
        with contextlib.suppress(OSError):
            self._writer.send(b"!")  # never read: whoever waits is woken

    def release(self) -> None:
        with self._lock:
            if not self.released.is_set():
                self.released.set()
                self._writer.send(b"!")

    def hold(self) -> None:
        with self._lock:
            if self.released.is_set():
                self.released.clear()
                self.reader.recv(1)

    def dispose(self) -> None:
        self.reader.close()
        self._writer.close()


class Connection:
    """One client's connection."""

    def __init__(self, raw: socket.socket, signals: _Signals) -> None:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.settimeout(IDLE_SECONDS_MAX)
        self._socket = raw
        self._signals = signals
        self._left_over = b""
        self._idle = True
        self._over = False

    def requests(self) -> Iterator[RawRequest]:
        """The requests of this connection; rubbish is told so, once, and ends it."""
        while not self._over and (request := self._read()) is not None:
            yield request
            if not request.keep_alive:
                return

    def perform(self, answer: Answer, observer: Observer) -> Ending:
        """Send an answer step by step; say whether it came to its end, or who ended it."""
        framing = answer.head.framing
        length = sum(len(piece.data) for piece in answer.pieces)
        last = answer.steps[-1]
        try:
            for step in answer.steps:
                if isinstance(step, Cut):
                    observer.ending("cut")
                    return self._cut(step.how, framing)
                if step is last and framing != "chunked":
                    observer.ending("complete")
                self._take(step, framing, length, observer)
            if framing == "chunked":
                observer.ending("complete")
                self._socket.sendall(b"0\r\n\r\n")
            if framing == "close":
                self._cut("close", framing)
        except (_Gone, OSError):
            self._over = True
            return "closed" if self._signals.closing.is_set() else "client"
        return "complete"

    def _take(self, step: Head | Piece | Pause, framing: Framing, length: int, observer: Observer) -> None:
        match step:
            case Head():
                self._socket.sendall(_head(step, length))
            case Piece():
                observer.sending(step)
                self._send(step.data, chunked=framing == "chunked")
            case Pause():
                self._pause_or_stall(step, observer, chunked=framing == "chunked")

    def stream(self, head: Head, parts: Iterable[bytes]) -> Ending:
        """Send what `parts` yields as it comes; an `OSError` it raises breaks the connection as it broke there."""
        try:
            self._socket.sendall(_head(head, 0))
            for part in parts:
                self._send(part, chunked=True)
            self._socket.sendall(b"0\r\n\r\n")
        except (_Gone, OSError):
            self._over = True
            return "closed" if self._signals.closing.is_set() else "cut"
        return "complete"

    def refuse_rubbish(self, status: int, words: str) -> None:
        """Answer what is no request, and end the connection."""
        phrase = HTTPStatus(status).phrase
        body = f"{words}\n".encode(errors="replace")
        head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        with contextlib.suppress(OSError):
            self._socket.sendall(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
            self._close_gently()

    def wake(self) -> None:
        """End what the serving thread waits for, from any thread; that thread closes the socket."""
        _shut(self._socket)

    def wake_if_idle(self) -> None:
        """The same, if no answer is being sent."""
        if self._idle:
            self.wake()

    def close(self) -> None:
        """Give the socket back."""
        _shut(self._socket)
        self._socket.close()

    def _read(self) -> RawRequest | None:
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_BYTES_MAX)
        if self._left_over:
            parser.receive_data(self._left_over)
            self._left_over = b""
        head: h11.Request | None = None
        body = bytearray()
        self._idle = not parser.trailing_data[0]
        try:
            for event in self._events(parser):
                if isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > BODY_BYTES_MAX:
                        self.refuse_rubbish(413, "The body is too large.")
                        return None
                elif isinstance(event, h11.EndOfMessage) and head is not None:
                    self._left_over = bytes(parser.trailing_data[0])
                    return _raw_request(head, bytes(body))
                else:  # the connection was closed, or is being switched to another protocol
                    return None
        except h11.RemoteProtocolError as error:
            if not self._idle:
                self.refuse_rubbish(error.error_status_hint, f"This is no HTTP request: {error}")
        return None

    def _events(self, parser: h11.Connection) -> Iterator[object]:
        while True:
            event = parser.next_event()
            if event is not h11.NEED_DATA:
                yield event
                continue
            if parser.they_are_waiting_for_100_continue:
                self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                parser.send(h11.InformationalResponse(status_code=100, headers=[]))
            data = self._socket.recv(READ_BYTES)
            self._idle = self._idle and not data
            parser.receive_data(data)

    def _send(self, data: bytes, *, chunked: bool) -> None:
        if self._signals.closing.is_set():
            raise _Gone
        if data:
            self._socket.sendall(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)

    def _pause_or_stall(self, pause: Pause, observer: Observer, *, chunked: bool) -> None:
        if pause.seconds is not None:
            self._pause(pause, chunked=chunked)
            return
        observer.stalled()
        _stalls[self] = time.monotonic_ns()
        try:
            self._pause(pause, chunked=chunked)
        finally:
            _stalls.pop(self, None)

    def _pause(self, pause: Pause, *, chunked: bool) -> None:
        ends = math.inf if pause.seconds is None else time.monotonic() + pause.seconds
        while (left := ends - time.monotonic()) > 0:
            if pause.seconds is None and self._signals.released.is_set():
                return
            if pause.keep_alive is not None:
                self._send(pause.keep_alive, chunked=chunked)
                left = min(left, pause.interval)
            self._wait(None if left == math.inf else left)

    def _wait(self, seconds: float | None) -> None:
        """Do nothing for so long; a client that leaves, or the end of the server, is noticed at once."""
        signal = None if self._signals.released.is_set() else self._signals.reader
        if self._signals.closing.is_set():
            raise _Gone
        if _readable(self._socket, signal, seconds):
            if self._signals.closing.is_set() or not self._socket.recv(1, socket.MSG_PEEK):
                raise _Gone
            self._signals.closing.wait(0.05 if seconds is None else seconds)  # a pipelined request: it waits its turn

    def _cut(self, how: HowToEnd, framing: Framing) -> Ending:
        match how:
            case "end" if framing == "chunked":
                self._socket.sendall(b"0\r\n\r\n")
                return "cut"
            case "reset":
                self._wait_until_sent()
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._socket.close()
            case "half_close":
                self._socket.shutdown(socket.SHUT_WR)
                with contextlib.suppress(_Gone, OSError):
                    while True:
                        self._wait(1.0)
            case _:
                self._close_gently()
        self._over = True
        return "cut"

    def _wait_until_sent(self) -> None:
        """A reset throws away what the system has not sent yet: let it go first."""
        if not sys.platform.startswith("linux"):
            return
        import fcntl

        for _ in range(200):
            unsent = struct.unpack("i", fcntl.ioctl(self._socket.fileno(), SIOCOUTQNSD, b"\0\0\0\0"))[0]
            if unsent == 0:
                return
            self._wait(0.005)

    def _close_gently(self) -> None:
        """Send FIN and read what is still coming: closing with unread bytes would be a reset."""
        self._socket.shutdown(socket.SHUT_WR)
        self._socket.settimeout(DRAIN_SECONDS_MAX)
        deadline = time.monotonic() + DRAIN_SECONDS_MAX
        with contextlib.suppress(OSError):
            while time.monotonic() < deadline and self._socket.recv(READ_BYTES):
                pass
        self._socket.close()


def _raw_request(head: h11.Request, body: bytes) -> RawRequest:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
    keep_alive = head.http_version != b"1.0" and headers.get("connection", "").lower() != "close"
    return RawRequest(head.method.decode("latin-1"), head.target.decode("latin-1"), headers, body, keep_alive)


def _head(head: Head, length: int) -> bytes:
    try:
        phrase = HTTPStatus(head.status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {head.status} {phrase}", *(f"{name}: {value}" for name, value in head.headers)]
    match head.framing:
        case "chunked":
            lines.append("transfer-encoding: chunked")
        case "length":
            lines.append(f"content-length: {length}")
        case "close":
            lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", errors="replace")


def _family(host: str) -> socket.AddressFamily:
    with contextlib.suppress(ValueError):
        if isinstance(ipaddress.ip_address(host), ipaddress.IPv6Address):
            return socket.AF_INET6
    return socket.AF_INET


def _readable(raw: socket.socket, signal: socket.socket | None, seconds: float | None) -> bool:
    """Whether the client has something to say before `seconds` are over or a signal comes."""
    watched = [raw] if signal is None else [raw, signal]
    if not hasattr(select, "poll"):  # Windows
        return raw in select.select(watched, [], [], seconds)[0]
    poll = select.poll()
    for one in watched:
        poll.register(one, select.POLLIN)
    found = poll.poll(None if seconds is None else math.ceil(seconds * 1000))
    return any(descriptor == raw.fileno() for descriptor, _ in found)


def _shut(raw: socket.socket) -> None:
    """Wake whoever is blocked on it: closing alone would not."""
    with contextlib.suppress(OSError):
        raw.shutdown(socket.SHUT_RDWR)
