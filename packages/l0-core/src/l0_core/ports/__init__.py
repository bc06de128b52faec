"""Kinds of chunks, and sources of them.

A stream may consist of `str`, of `Chunk`, or of what the `openai`, `anthropic` and `litellm` SDKs stream. What a chunk
is, is seen by its class's name, so that no SDK is imported before it has been used. The builders make a `Target` of an
SDK's client and a request: they open each attempt as the engine wants it, with the SDK's own retries off.

```python
from l0_core import ports, stream
from openai import OpenAI

request = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "The capital of France?"}]}
for chunk in stream(ports.openai_chat(OpenAI(), **request)):
    print(chunk.choices[0].delta.content or "", end="")
```
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from l0_core._port import ChunkPort
from l0_core.ports.plain import PLAIN
from l0_core.ports.sockets import abort

__all__ = [
    "UnknownChunk",
    "abort",
    "anthropic_messages",
    "litellm_acompletion",
    "litellm_completion",
    "openai_chat",
    "openai_responses",
    "port_for",
]

if TYPE_CHECKING:
    from l0_core.ports.sources import (
        anthropic_messages,
        litellm_acompletion,
        litellm_completion,
        openai_chat,
        openai_responses,
    )
else:
    from l0_core._lazy import lazy

    __getattr__, __dir__ = lazy(
        __name__, {name: f".sources:{name}" for name in __all__ if name.startswith(("anthropic", "litellm", "openai"))}
    )
    del lazy


def as_sent(source: Any) -> Any:
    """Return what a source returned without what its SDK adds to what the provider sent."""
    if type(source).__name__ != "CustomStreamWrapper":
        return source
    from l0_core.ports.litellm import AsSent

    return AsSent(source)


class UnknownChunk(TypeError):  # noqa: N818 - what it is about, not that it went wrong
    """A source yields what no port knows."""


def port_for(chunk: object) -> ChunkPort[Any]:
    """Return a port for the attempt that this chunk is of.

    Raises:
        UnknownChunk: No port knows chunks of its class.
    """
    if isinstance(chunk, str):
        return PLAIN
    kind = type(chunk)
    port: ChunkPort[Any] = (_makers.get(kind) or _maker(kind))()
    return port


_PORTS: Final = (
    ("l0_core._port", "Chunk", "plain:ChunkedPort"),
    ("openai.types.chat", "ChatCompletionChunk", "chat:ChatPort"),
    ("openai.types.responses", "Response", "responses:ResponsesPort"),
    ("anthropic.types", "Raw", "messages:MessagesPort"),
    ("anthropic.types.beta", "BetaRaw", "messages:MessagesPort"),
    ("litellm", "ModelResponseStream", "litellm:LiteLLMPort"),
)
"""The package a chunk's class is from, what its name begins with, and where its port is."""


_makers: dict[type, Any] = {}


def _maker(kind: type) -> Any:
    for ancestor in kind.__mro__:
        for package, name, home in _PORTS:
            if f"{ancestor.__module__}.".startswith(f"{package}.") and ancestor.__name__.startswith(name):
                module, _, port = home.partition(":")
                _makers[kind] = getattr(import_module(f"l0_core.ports.{module}"), port)
                return _makers[kind]
    raise UnknownChunk(
        f"a source yields {kind.__module__}.{kind.__qualname__}, which is no kind of chunk known here: let it yield "
        "str or l0_core.Chunk, or what the openai, anthropic and litellm SDKs give for stream=True, or pass a port"
    )
