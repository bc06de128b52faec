"""HTTP spoken by hand: what the provider does must not hang on what a client library makes of it."""

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

from l0_core.testing import FaultyProvider

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
PATHS = {"openai": "/v1/chat/completions", "responses": "/v1/responses", "anthropic": "/v1/messages"}


@dataclass
class Heard:
    """One answer, whole."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The JSON of every server-sent event."""
        lines = self.body.decode().splitlines()
        return [json.loads(line[6:]) for line in lines if line.startswith("data: ") and line != "data: [DONE]"]

    @property
    def text(self) -> str:
        """What the answer says, streamed or not, in any dialect."""
        if self.headers.get("content-type", "").startswith("application/json"):
            return said(self.json)
        return "".join(map(said_in_event, self.events))


def said(document: Any) -> str:
    if "choices" in document:
        return document["choices"][0]["message"]["content"] or ""
    if "output" in document:
        parts = [part for item in document["output"] if item["type"] == "message" for part in item["content"]]
        return "".join(part["text"] for part in parts if part["type"] == "output_text")
    return "".join(block["text"] for block in document["content"] if block["type"] == "text")


def said_in_event(event: Any) -> str:
    if "choices" in event:
        return "".join(choice["delta"].get("content") or "" for choice in event["choices"] or ())
    if event["type"] == "response.output_text.delta":
        return str(event["delta"])
    if event["type"] == "content_block_delta" and event["delta"]:
        return str(event["delta"].get("text", ""))
    return ""


def ask(
    provider: FaultyProvider,
    messages: list[Any] | None = None,
    *,
    dialect: str = "openai",
    stream: bool = True,
    **more: Any,
) -> Heard:
    """Ask a question by hand, in any dialect."""
    body: dict[str, Any] = {"model": "m", "stream": stream, **more}
    body["input" if dialect == "responses" else "messages"] = messages or QUESTION
    if dialect == "anthropic":
        body.setdefault("max_tokens", 1000)
    return send(provider, "POST", PATHS[dialect], json.dumps(body).encode())


def send(provider: FaultyProvider, method: str, path: str, body: bytes = b"") -> Heard:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(provider), timeout=10)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        return Heard(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def port_of(provider: FaultyProvider) -> int:
    return int(provider.url.rpartition(":")[2])


def dial(provider: FaultyProvider) -> socket.socket:
    """A bare connection."""
    return socket.create_connection(("127.0.0.1", port_of(provider)), timeout=10)


def read_all(raw: socket.socket) -> bytes:
    """Everything until the other side ends."""
    parts = []
    while data := raw.recv(65536):
        parts.append(data)
    return b"".join(parts)


def request_bytes(*, stream: bool = True, path: str = PATHS["openai"]) -> bytes:
    body = json.dumps({"model": "m", "stream": stream, "messages": QUESTION}).encode()
    return b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(body), body)
