"""How LangChain's values are written down as results of steps, and read back. Importing this registers it.

Messages and documents are written by their own fields, everything else the framework can serialize by its own `dumpd`
and `load`. Nothing is ever unpickled, and no class is found by a name that is only in the journal.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from langchain_core._api import suppress_langchain_beta_warning
from langchain_core.documents import Document
from langchain_core.load import dumpd, load
from langchain_core.load.serializable import Serializable
from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict

from l0_core import StepNotSerializable
from l0_core._codec import Codec, Results, register_codec
from l0_langchain._guarded import Degraded

_INNER = Results("a value of LangChain")


def _register(
    name: str, knows: Callable[[Any], bool], encode: Callable[[Any], Any], decode: Callable[[Any], Any]
) -> None:
    """Register how one kind of value is taken apart into what any step can remember, and put together again."""
    register_codec(
        Codec(
            f"langchain.{name}",
            knows,
            lambda value: json.loads(_INNER.encode(encode(value))),
            lambda written: decode(_INNER.decode(json.dumps(written))),
        )
    )


def _message(value: dict[str, Any]) -> BaseMessage:
    (message,) = messages_from_dict([value])
    return message


def _document(value: dict[str, Any]) -> Document:
    return Document(**value)


def _fields(document: Document) -> dict[str, Any]:
    return {"page_content": document.page_content, "metadata": document.metadata, "id": document.id}


def _parts(made: Degraded) -> dict[str, Any]:
    return {"items": [*made], "l0": dict(made.l0)}


def _degraded(value: dict[str, Any]) -> Degraded:
    made = Degraded(value["items"])
    made.l0 = value["l0"]
    return made


def _is_command(value: Any) -> bool:
    """Return whether it is what a tool tells a graph, without importing graphs."""
    types = sys.modules.get("langgraph.types")
    return types is not None and type(value) is types.Command


def _command_fields(command: Any) -> dict[str, Any]:
    if not isinstance(command.goto, str | list | tuple) or not all(isinstance(each, str) for each in command.goto):
        raise StepNotSerializable("a Command that sends to other nodes cannot be remembered: name nodes in goto")
    return {name: getattr(command, name) for name in ("graph", "update", "resume", "goto")}


def _command(value: dict[str, Any]) -> Any:
    from langgraph.types import Command

    return Command(**value)


def _dumped(value: Serializable) -> Any:
    written = dumpd(value)
    if _holds_unserializable(written):
        raise StepNotSerializable(f"a {type(value).__name__} holds what LangChain itself cannot serialize")
    return written


def _holds_unserializable(written: Any) -> bool:
    if isinstance(written, dict):
        return written.get("type") == "not_implemented" or any(map(_holds_unserializable, written.values()))
    return isinstance(written, list) and any(map(_holds_unserializable, written))


def _loaded(written: Any) -> Any:
    with suppress_langchain_beta_warning():
        return load(written, allowed_objects="core")


_register("message", lambda value: isinstance(value, BaseMessage), message_to_dict, _message)
_register("document", lambda value: type(value) is Document, _fields, _document)
_register(
    "degraded", lambda value: type(value) is Degraded, lambda made: {"items": [*made], "l0": dict(made.l0)}, _degraded
)
_register("command", _is_command, _command_fields, _command)
_register(
    "serializable",
    lambda value: isinstance(value, Serializable) and type(value).is_lc_serializable(),
    _dumped,
    _loaded,
)
