"""What identifies a step: where it stands, what it is called, and what it is given.

What a step is given is brought into a *form*: JSON that is equal for inputs that mean the same. It leaves out what
differs from one run of the same program to the next though nothing changed: ids that were generated, addresses, the
moment a message was made. Ids by which one message refers to another become numbers in order of appearance, so that
what refers to what stays part of the input. Nor does it hold credentials: forms are written down,
and a call made with another key is the same call.
"""

import dataclasses
import enum
import functools
import inspect
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from hashlib import blake2b
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, TypeAlias, TypeVar
from uuid import UUID

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Fn = TypeVar("Fn", bound=Callable[..., Any])

DEPTH_MAX = 100
"""How deep an input is looked into; what lies deeper counts by its type."""


class StepKey(NamedTuple):
    """What identifies a step inside its run.

    Attributes:
        parent: The id of the step it is nested in; empty at the top.
        name: Its name in the program.
        digest: That of its input.
        nth: How many steps with the same parent, name and digest came before it.
    """

    parent: str
    name: str
    digest: str
    nth: int

    @property
    def id(self) -> str:
        """The key in 32 characters."""
        return _id_of(self)

    @property
    def place(self) -> tuple[str, str]:
        """What alone chooses the record that a changed input is compared with."""
        return self.parent, self.name


class Counts:
    """Counts steps by what they are given, so that the order of unlike ones does not matter. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: dict[tuple[str, str, str], int] = {}

    def following(self, parent: str, name: str, digest: str) -> StepKey:
        """Return the key that the next step with this parent, name and digest will have."""
        return StepKey(parent, name, digest, self._next.get((parent, name, digest), 0))

    def key(self, parent: str, name: str, digest: str) -> StepKey:
        """Return the key of the next step with this parent, name and digest, and count it."""
        with self._lock:
            nth = self._next.get((parent, name, digest), 0)
            self._next[parent, name, digest] = nth + 1
        return StepKey(parent, name, digest, nth)


@functools.lru_cache(maxsize=1_024)
def _id_of(key: StepKey) -> str:
    return digest_of(list(key))


def digest_of(form: Json) -> str:
    """Return the digest of a form: 32 hexadecimal characters."""
    return blake2b(text_of(form).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def text_of(form: Json) -> str:
    """Return a form as the one JSON text that is written for it."""
    return _ENCODER.encode(form)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def arguments(fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a call of `fn` hands over, by parameter: however it is written, the same call is the same input.

    The object a method is called on is left out if it has no form of its own.
    """
    try:
        signature = _signature(fn) if isinstance(fn, FunctionType) else inspect.signature(fn)
    except ValueError:  # some functions of other languages do not say
        return {"args": list(args), "kwargs": dict(kwargs)}
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    given = dict(bound.arguments)
    first = next(iter(given), None)
    if first in {"self", "cls"} and not _has_form(given[first]):
        del given[first]
    return given


_signature = functools.lru_cache(maxsize=1_024)(inspect.signature)


# Forms ---------------------------------------------------------------------------------------------------------------

_FORMS: dict[str, Callable[[Any], Any]] = {}
"""By qualified name of the class, so that nothing needs to be imported for it."""


def form(kind: type | str) -> Callable[[Fn], Fn]:
    """Let what is decorated say what of an object of `kind`, or of a class below it, is input.

    It returns what counts, of any types. Ids that objects refer to each other by it wraps in `Reference`.

    Args:
        kind: The class, or its qualified name (`package.module.Class`) where it is not to be imported for this.
    """
    name = kind if isinstance(kind, str) else _name(kind)

    def register(fn: Fn) -> Fn:
        _FORMS[name] = fn
        return fn

    return register


class Reference(NamedTuple):
    """A generated id that parts of an input refer to each other by: only where it returns counts."""

    id: object


def form_of(value: object) -> Json:
    """Return the form of a value. Every value has one; of one that nothing is known of, it is the name of its class."""
    return _Forming().of(value, 0)


def texts_in(value: object) -> list[str]:
    """Return every text in a value of any shape, in order."""
    found: list[str] = []
    waiting: list[Json] = [form_of(value)]
    while waiting:
        match waiting.pop():
            case str() as text:
                found.append(text)
            case list() as items:
                waiting.extend(reversed(items))
            case dict() as fields:
                waiting.extend(reversed([item for name, item in fields.items() if name != _TAG]))
            case _:
                pass
    return found


class _Forming:
    """One input on its way to its form."""

    def __init__(self) -> None:
        self._references: dict[object, int] = {}
        self._path: set[int] = set()

    def of(self, value: object, depth: int) -> Json:
        kind = type(value)
        if value is None or kind is bool or kind is int or kind is str:
            return value  # type: ignore[return-value]
        if kind is float:
            return _float(value)  # type: ignore[arg-type]
        plain = _SCALARS.get(kind)
        if plain is not None:
            return {_TAG: kind.__name__, "value": plain(value)}
        if isinstance(value, Reference):
            return {_TAG: "reference", "value": self._references.setdefault(value.id, len(self._references))}
        if depth >= DEPTH_MAX or id(value) in self._path:
            return {_TAG: _called(kind)}
        self._path.add(id(value))
        try:
            return self._whole(value, depth + 1)
        finally:
            self._path.discard(id(value))

    def _whole(self, value: Any, depth: int) -> Json:  # noqa: PLR0911 - one return for each sort of value
        kind = type(value)
        if isinstance(value, enum.Enum):
            return {_TAG: _called(kind), "value": value.name}
        known = _known(kind)
        if known is not None:
            return {_TAG: _called(kind), "value": self.of(known(value), depth)}
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple):
            return [self.of(item, depth) for item in value]
        if isinstance(value, AbstractSet):
            return {_TAG: "set", "value": sorted((self.of(item, depth) for item in value), key=text_of)}
        if isinstance(value, bool | int | float | str):  # a class below one of them
            base = next(base for base in (bool, int, float, str) if isinstance(value, base))
            return self.of(base(value), depth)
        fields = _fields(value)
        if fields is not None:
            return {_TAG: _called(kind), "value": self._mapping(fields, depth)}
        return self._opaque(value, depth)

    def _mapping(self, mapping: Mapping[Any, Any], depth: int) -> Json:
        if all(type(key) is str for key in mapping) and _TAG not in mapping:
            return {
                key: self.of(sorted(map(str, item)) if key in _HEADERS and isinstance(item, Mapping) else item, depth)
                for key, item in mapping.items()
                if not key.lower().endswith(_CREDENTIALS)
            }
        pairs: list[Json] = [[self.of(key, depth), self.of(item, depth)] for key, item in mapping.items()]
        return {_TAG: "mapping", "value": sorted(pairs, key=text_of)}

    def _opaque(self, value: Any, depth: int) -> Json:
        if isinstance(value, functools.partial):
            given: Json = [self.of(part, depth) for part in (value.func, value.args, value.keywords)]
            return {_TAG: "partial", "value": given}
        if isinstance(value, MethodType):
            return {_TAG: "method", "value": [value.__func__.__qualname__, self.of(value.__self__, depth)]}
        if isinstance(value, type | FunctionType | BuiltinFunctionType):
            return {_TAG: "code", "value": _called(value)}
        if isinstance(value, ModuleType):
            return {_TAG: "code", "value": value.__name__}
        if hasattr(value, "dtype") and hasattr(value, "shape") and callable(getattr(value, "tobytes", None)):
            data = [str(value.dtype), list(value.shape), _bytes(value.tobytes())]
            return {_TAG: "array", "value": data}
        return {_TAG: _called(type(value))}


_TAG = "$"
"""Marks what JSON has no word for. A mapping that has this key itself is written as pairs."""


_CREDENTIALS = ("api_key", "api-key", "auth_token", "authorization")
"""How the names end of what lets a caller in: wherever they stand, what they name is no input."""

_HEADERS = {"default_headers", "extra_headers"}
"""Headers of a request: any may hold a credential, so they count by their names alone."""


def _float(value: float) -> Json:
    return value if value - value == 0 else {_TAG: "float", "value": repr(value)}  # infinite, or no number


def _bytes(value: bytes | bytearray | memoryview) -> Json:
    return [len(value), blake2b(value, digest_size=16).hexdigest()]


_SCALARS: dict[type, Callable[[Any], Json]] = {
    bytes: _bytes,
    bytearray: _bytes,
    complex: repr,
    date: str,
    time: str,
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    Decimal: str,
    Fraction: str,
    UUID: str,
}


def _known(kind: type) -> Callable[[Any], Any] | None:
    """Return what somebody registered for a class or the nearest one above it."""
    for base in kind.__mro__:
        found = _FORMS.get(_name(base))
        if found is not None:
            return found
    return None


def _fields(value: Any) -> dict[str, Any] | None:
    """Return the fields of a dataclass or of a pydantic model, without importing pydantic."""
    kind = type(value)
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    declared = getattr(kind, "__pydantic_fields__", None)
    if isinstance(declared, Mapping):
        return {name: getattr(value, name, None) for name in declared} | (
            getattr(value, "__pydantic_extra__", None) or {}
        )
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name, None) for field in kind.__attrs_attrs__}
    return None


def _has_form(value: object) -> bool:
    """Return whether more is known of an object than the name of its class."""
    kind = type(value)
    return isinstance(value, type) or _known(kind) is not None or _fields(value) is not None or kind in _SCALARS


def _called(thing: Any) -> str:
    """Return what a form calls a class or a function: without its module, which a program may be moved to and from."""
    return str(getattr(thing, "__qualname__", type(thing).__name__))


def _name(kind: Any) -> str:
    return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', type(kind).__name__)}"


@form("datetime.datetime")
def _datetime(value: Any) -> Any:
    return value.isoformat()


@form("pathlib.PurePath")
def _path(value: PurePath) -> Any:
    return value.as_posix()


@form("datetime.tzinfo")
def _zone(value: tzinfo) -> Any:
    return str(value)


# Messages of frameworks ----------------------------------------------------------------------------------------------
# Known by name, so that no framework is imported; a framework's package may register better ones over these.


@form("langchain_core.messages.base.BaseMessage")
def _langchain_message(message: Any) -> Any:
    """What a provider is sent of it. What one reported beside its answer (usage, times, ids) is not input."""
    content = message.content
    blocks = content if isinstance(content, str) else [_block(block) for block in content]
    given = {"type": message.type, "content": blocks, "name": message.name}
    for name in ("tool_calls", "invalid_tool_calls"):
        calls = getattr(message, name, None)
        if calls:
            given[name] = [[call["name"], call["args"], Reference(call["id"])] for call in calls]
    if getattr(message, "tool_call_id", None) is not None:
        given |= {"tool_call_id": Reference(message.tool_call_id), "status": getattr(message, "status", None)}
    return given


_BLOCK_IDS = {"id", "call_id", "tool_call_id", "tool_use_id"}


def _block(block: Any) -> Any:
    """A content block as providers write them: whatever the dialect, these are where it keeps generated ids."""
    if not isinstance(block, Mapping):
        return block
    return {key: Reference(item) if key in _BLOCK_IDS else item for key, item in block.items()}


@form("langchain_core.documents.base.Document")
def _langchain_document(document: Any) -> Any:
    return {"content": document.page_content, "metadata": document.metadata}


@form("langchain_core.prompt_values.PromptValue")
def _langchain_prompt(prompt: Any) -> Any:
    return prompt.to_messages()


@form("llama_index.core.base.llms.types.ChatMessage")
def _llama_message(message: Any) -> Any:
    extra = dict(message.additional_kwargs)
    given = {"role": str(getattr(message.role, "value", message.role)), "blocks": message.blocks}
    if "tool_call_id" in extra:
        given["tool_call_id"] = Reference(extra["tool_call_id"])
    if extra.get("tool_calls"):
        given["tool_calls"] = [_llama_call(call) for call in extra["tool_calls"]]
    return given


def _llama_call(call: Any) -> Any:
    """A provider's own tool call: an object or a mapping, its name and arguments at the top or one level down."""

    def of(value: Any, name: str) -> Any:
        return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)

    inner = of(call, "function") or call
    return [of(inner, "name"), of(inner, "arguments") or of(inner, "input"), Reference(of(call, "id"))]


@form("llama_index.core.base.llms.types.ToolCallBlock")
def _llama_tool_call(block: Any) -> Any:
    return [block.tool_name, block.tool_kwargs, Reference(block.tool_call_id)]


@form("llama_index.core.schema.BaseNode")
def _llama_node(node: Any) -> Any:
    return {"content": node.get_content(), "metadata": node.metadata}


@form("llama_index.core.schema.NodeWithScore")
def _llama_scored(scored: Any) -> Any:
    return [scored.node, scored.score]


@form("llama_index.core.schema.QueryBundle")
def _llama_query(query: Any) -> Any:
    return [query.query_str, query.custom_embedding_strs]
