"""Where calls are written down, and how what LlamaIndex's steps return is."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.core.base.response.schema import PydanticResponse, Response
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.schema import (
    BaseComponent,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    Node,
    NodeWithScore,
    TextNode,
)

from l0_core._codec import Codec, Results, register_codec
from l0_core._keys import form

if TYPE_CHECKING:
    from l0_core._journal import Journal, JournalLike


def journal_of(journal: "JournalLike") -> "Journal | None":
    """Return what was said as a journal. One that is no journal is refused here, and not with the first call."""
    if journal is None:
        return None
    from l0_core._journal import for_session

    return for_session(journal)


_NODES: Mapping[str, Any] = {
    kind.class_name(): kind for kind in (Node, TextNode, ImageNode, IndexNode, Document, ImageDocument)
}
_PLAIN: Mapping[str, Any] = {
    kind.__name__: kind for kind in (ChatMessage, ChatResponse, CompletionResponse, ToolSelection)
}
_ANSWERS: Mapping[str, Any] = {kind.__name__: kind for kind in (Response, PydanticResponse)}
_PARTS = Results("an answer")
"""Writes what answers of engines hold: objects of the classes that the program has given to `l0_core.remember`."""


def _encode(value: Any) -> Any:
    kind = type(value)
    if kind is NodeWithScore:
        return [kind.__name__, _encode(value.node), value.score]
    if kind.__name__ in _ANSWERS:
        parts = [value.response, value.source_nodes, value.metadata]
        return [kind.__name__, json.loads(_PARTS.encode(parts))]
    if kind.__name__ in _PLAIN:
        return [kind.__name__, value.model_dump(mode="json", serialize_as_any=True)]
    return [kind.class_name(), value.model_dump(mode="json", serialize_as_any=True)]


def _decode(written: Any) -> Any:
    name, said, *more = written
    if name == NodeWithScore.__name__:
        return NodeWithScore(node=_decode(said), score=more[0])
    if name in _ANSWERS:
        return _ANSWERS[name](*_PARTS.decode(json.dumps(said)))
    return (_PLAIN.get(name) or _NODES[name]).model_validate(said)


def _knows(value: Any) -> bool:
    kind = type(value)
    if kind is NodeWithScore:
        return _knows(value.node)
    if kind in _ANSWERS.values() or _PLAIN.get(kind.__name__) is kind:
        return True
    return issubclass(kind, BaseComponent) and kind in _NODES.values()


@form("llama_index.core.tools.types.BaseTool")
def _tool(tool: Any) -> Any:
    """What a model is told of it."""
    metadata = tool.metadata
    return [metadata.name, metadata.description, metadata.get_parameters_dict()]


register_codec(Codec("llama_index", _knows, _encode, _decode))
