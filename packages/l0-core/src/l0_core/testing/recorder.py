"""Recording what a live endpoint sends: a proxy on loopback that keeps the bytes and when they came, and no secret."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import threading
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from l0_core.testing.answer import Head
from l0_core.testing.recording import Recording
from l0_core.testing.server import Connection, RawRequest, Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

__all__ = ["Recorder"]

READ_BYTES: Final = 64 * 1024
TIMEOUT_SECONDS: Final = 600.0

_HOP_BY_HOP: Final = frozenset(
    {"connection", "content-length", "host", "keep-alive", "proxy-authorization", "te", "transfer-encoding", "upgrade"}
)
_KEPT_HEADERS: Final = frozenset(
    {"content-type", "openai-processing-ms", "request-id", "retry-after", "retry-after-ms", "x-request-id"}
)
_SECRET_HEADERS: Final = (
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "openai-organization",
    "openai-project",
)
_SECRET_PARAMETERS: Final = frozenset({"access_token", "api-key", "api_key", "key", "sig", "signature", "token"})
# Whatever looks like a key or says whose account it was, in a request or an answer.
_SECRETS: Final = re.compile(
    rb"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{8,}"
    rb"|\b(?:org|proj|user|acct|wrkspc|wrkspcid)[-_][A-Za-z0-9]{8,}"
    rb"|\bgsk_[A-Za-z0-9]{8,}|\bAIza[A-Za-z0-9_-]{20,}|\bAKIA[A-Z0-9]{12,}|\bey[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_.-]{10,}"
    rb"|(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{6,}"
)
_ACCOUNT_FIELDS: Final = re.compile(
    rb'(?P<before>"(?:organization|organization_id|org_id|account_id|project_id|user|user_id|safety_identifier)"\s*:\s*")'
    rb'(?:[^"\\]|\\.)+'
)


class Recorder:
    """Stands between a client and a provider, passes everything on, and writes what came back.

    ```python
    with Recorder("https://api.openai.com", folder="recordings") as recorder:
        ChatOpenAI(base_url=f"{recorder.url}/v1").invoke("Hi")
    ```

    Each answer becomes `NAME-1.sse` and `NAME-1.json`, and so on: the raw body, what was asked, and when each part of
    it came. Request headers are not kept. Keys and organisation ids are overwritten in place, with as many `x`, so
    that every offset stays true.

    Args:
        upstream: The provider, without a path.
        folder: Where to write; made if it is missing.
        name: What the files are called.
    """

    def __init__(self, upstream: str, *, folder: str | Path, name: str = "stream", host: str = "127.0.0.1") -> None:
        parts = urllib.parse.urlsplit(upstream)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError(f"upstream is a scheme and a host, like https://api.openai.com; got {upstream!r}")
        self._upstream = parts
        self._folder = Path(folder)
        self._name = name
        self._host = host
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._server: Server | None = None
        self.recordings: list[Recording] = []
        """What was recorded so far, scrubbed, in the order it ended."""

    def start(self) -> Self:
        """Listen; `with` does it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._server = Server(self._forward, self._host)
        return self

    def close(self) -> None:
        """Stop; what is still coming is cut and written as far as it came."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """What takes the provider's place in a client's base URL."""
        if self._server is None:
            raise RuntimeError("the recorder is not running: use it in a with statement, or call start()")
        return f"http://{self._server.host}:{self._server.port}"

    def _forward(self, raw: RawRequest, connection: Connection) -> bool:
        started = time.monotonic()
        kind = http.client.HTTPSConnection if self._upstream.scheme == "https" else http.client.HTTPConnection
        upstream = kind(self._upstream.hostname or "", self._upstream.port, timeout=TIMEOUT_SECONDS)
        headers = {name: value for name, value in raw.headers.items() if name not in _HOP_BY_HOP}
        headers["accept-encoding"] = "identity"
        try:
            try:
                upstream.request(raw.method, raw.target, raw.body or None, headers)
                response = upstream.getresponse()
            except OSError as error:
                connection.refuse_rubbish(502, f"The provider cannot be reached: {type(error).__name__}")
                return False
            arrivals: list[tuple[int, float]] = []
            received = bytearray()

            def parts() -> Iterator[bytes]:
                try:
                    while data := response.read1(READ_BYTES):
                        received.extend(data)
                        arrivals.append((len(received), round(time.monotonic() - started, 6)))
                        yield data
                except http.client.HTTPException as error:
                    raise OSError("the provider broke off") from error

            kept = tuple((name.lower(), value) for name, value in response.getheaders())
            passed = tuple((name, value) for name, value in kept if name not in _HOP_BY_HOP)
            ending = connection.stream(Head(response.status, passed, "chunked"), parts())
            self._write(raw, response.status, kept, bytes(received), arrivals)
            return ending == "complete"
        finally:
            upstream.close()

    def _write(
        self,
        raw: RawRequest,
        status: int,
        headers: tuple[tuple[str, str], ...],
        data: bytes,
        arrivals: list[tuple[int, float]],
    ) -> None:
        secrets = _secrets(raw.headers)
        try:
            request: Any = json.loads(_scrub(raw.body, secrets))
        except ValueError:
            request = None
        recording = Recording(
            _scrub(data, secrets),
            _scrub_uri(urllib.parse.urljoin(self._upstream.geturl(), raw.target), secrets),
            status,
            tuple((name, _scrub(value.encode(), secrets).decode()) for name, value in headers if name in _KEPT_HEADERS),
            request,
            tuple(arrivals),
        )
        with self._lock:
            self.recordings.append(recording)
            recording.save(self._folder / f"{self._name}-{next(self._numbers)}.sse")


def _secrets(headers: Mapping[str, str]) -> list[bytes]:
    """What the client proved itself with: it must not show anywhere."""
    values = [headers[name] for name in _SECRET_HEADERS if name in headers]
    return [value.removeprefix("Bearer ").encode() for value in values if value]


def _scrub(data: bytes, secrets: list[bytes]) -> bytes:
    """The same bytes, as many of them, without keys and account ids."""
    for secret in secrets:
        data = data.replace(secret, b"x" * len(secret))
    data = _SECRETS.sub(lambda found: b"x" * len(found.group()), data)
    return _ACCOUNT_FIELDS.sub(lambda found: found["before"] + b"x" * (len(found.group()) - len(found["before"])), data)


def _scrub_uri(uri: str, secrets: list[bytes]) -> str:
    parts = urllib.parse.urlsplit(uri)
    query = [
        (name, "x" * len(value) if name.lower() in _SECRET_PARAMETERS else value)
        for name, value in urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
    ]
    cleaned = urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(query)))
    return _scrub(cleaned.encode(), secrets).decode()
