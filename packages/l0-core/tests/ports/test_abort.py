"""A stream that nobody can wait for any longer is cut off from outside. G3."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from wire import chat_body, messages_body

from l0_core.ports import abort

PATIENCE = 10.0
"""Seconds after which something that should have happened has not."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for loopback, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + made.public_bytes(serialization.Encoding.PEM)
    file = tmp_path_factory.mktemp("tls") / "loopback.pem"
    file.write_bytes(pem)
    return file


class StallingServer:
    """Answers the first request with the head of a stream, and then says nothing; notes when its client is gone."""

    def __init__(self, begun: bytes, tls: ssl.SSLContext | None = None) -> None:
        self._begun = begun
        self._tls = tls
        self.gone = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with suppress(OSError), ExitStack() as stack:
            plain, _ = self._listener.accept()
            connection = stack.enter_context(self._tls.wrap_socket(plain, server_side=True) if self._tls else plain)
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(65_536)
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            connection.sendall(head + b"%x\r\n%b\r\n" % (len(self._begun), self._begun))
            with suppress(OSError):
                while connection.recv(65_536):  # the rest of the request, and then nothing
                    pass
            self.gone.set()

    def close(self) -> None:
        self._thread.join(PATIENCE)
        self._listener.close()


def openai_stream(url: str, http: Any) -> Any:
    client = openai.OpenAI(api_key="x", base_url=url, max_retries=0, http_client=http)
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)


def anthropic_stream(url: str, http: Any) -> Any:
    client = anthropic.Anthropic(api_key="x", base_url=url, max_retries=0, http_client=http)
    turns: Any = [{"role": "user", "content": "hi"}]
    return client.messages.create(model="m", max_tokens=9, messages=turns, stream=True)


def httpx_response(url: str, http: Any) -> Any:
    return http.send(http.build_request("POST", url), stream=True)


SDKS: dict[str, tuple[Any, Callable[[str, Any], Any], bytes]] = {
    "openai": (httpx, openai_stream, chat_body(["Par"], finish=None).removesuffix(b"data: [DONE]\n\n")),
    "anthropic": (httpx2, anthropic_stream, messages_body(["Par"], finish=None)),
    "httpx": (httpx, httpx_response, b"data: x\n\n"),
}


@pytest.fixture(params=["plain", "TLS"])
def tls(request: pytest.FixtureRequest, certificate: Path) -> tuple[ssl.SSLContext, ssl.SSLContext] | None:
    if request.param == "plain":
        return None
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    return server, ssl.create_default_context(cafile=str(certificate))


@pytest.mark.parametrize("name", SDKS)
def test_a_blocked_read_returns_at_once(name: str, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None) -> None:
    library, open_, begun = SDKS[name]
    server = StallingServer(begun, tls[0] if tls else None)
    http = library.Client(verify=tls[1] if tls else True)
    stream = open_(server.url, http)
    chunks: list[object] = []
    ended: list[BaseException] = []
    reading = threading.Event()

    def read() -> None:
        try:
            for chunk in chunks_of(stream):
                chunks.append(chunk)
                reading.set()
        except Exception as error:  # noqa: BLE001 - that is what is asked for
            ended.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert reading.wait(PATIENCE)
    assert abort(stream)
    reader.join(PATIENCE)
    assert not reader.is_alive(), "the read is still blocked"
    assert chunks
    assert [type(error).__name__ for error in ended] in (["RemoteProtocolError"], ["ReadError"])
    assert server.gone.wait(PATIENCE), "the provider still holds the connection"
    stream.close()
    assert not abort(stream), "there is no connection any more"
    http.close()
    server.close()


def chunks_of(stream: Any) -> Iterator[object]:
    return iter(stream.iter_bytes()) if isinstance(stream, httpx.Response) else iter(stream)


class Holder:
    """Something that has what a test gives it."""

    def __init__(self, **held: object) -> None:
        self.__dict__ |= held


def response_over(connection: object, version: bytes = b"HTTP/1.1") -> Holder:
    stream = Holder(get_extra_info=lambda name: connection if name == "socket" else None)
    return Holder(extensions={"network_stream": stream, "http_version": version})


def test_a_stream_within_a_stream_is_found() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert abort(Holder(completion_stream=Holder(response=response_over(here))))
        assert there.recv(1) == b""


def test_a_connection_that_others_share_is_left_alone() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert not abort(Holder(response=response_over(here, b"HTTP/2")))
        here.send(b"x")
        assert there.recv(1) == b"x"


def test_what_has_no_connection_is_left_alone() -> None:
    class Odd:
        @property
        def response(self) -> object:
            raise RuntimeError

    def generator() -> Iterator[int]:
        yield 1

    endless = Holder()
    endless.__dict__["response"] = endless
    closed = socket.socket()
    closed.close()
    nothings = [None, 3, generator(), Odd(), endless, Holder(response=Holder(extensions=None)), response_over(None)]
    assert not any(abort(nothing) for nothing in [*nothings, response_over(closed), response_over(Holder())])
    assert not abort(httpx.Response(200, content=b"x"))
