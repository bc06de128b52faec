"""How the results of steps are remembered: as JSON from which the same value comes back, or not at all.

What a result may be made of: JSON's own values, tuples, sets, bytes, dates, decimals, UUIDs; enums, dataclasses and
pydantic models that the step's return annotation names or that were registered; what a framework's codec knows. No name
in a journal is ever imported and nothing is ever unpickled: a class is found because the program at hand names it.
"""

import dataclasses
import enum
import inspect
import json
import sys
import typing
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from l0_core._errors import JournalError, StepFailed, StepNotSerializable

DEPTH_MAX = 100
"""How deep a result may be."""


class Codec(NamedTuple):
    """How values of one framework are written as JSON and read back.

    Attributes:
        name: What the journal calls it; it is found by this name again.
        knows: Says whether a value is one of its own.
        encode: Returns a value as what `json` can write.
        decode: Returns the value that was written.
    """

    name: str
    knows: Callable[[Any], bool]
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


KindT = TypeVar("KindT", bound=type)

_CODECS: dict[str, Codec] = {}
_REGISTERED: dict[str, type] = {}


def register_codec(codec: Codec) -> None:
    """Let results of steps hold what a framework's codec knows. The same name again replaces it."""
    _CODECS[codec.name] = codec


def remember(kind: KindT) -> KindT:
    """Let results of steps hold objects of a class that no return annotation names: a decorator for the class.

    Args:
        kind: A dataclass, pydantic model, enum, named tuple, or an exception: it is raised again where it is replayed.

    Example:
        >>> import dataclasses, l0_core
        >>> @l0_core.remember
        ... @dataclasses.dataclass
        ... class Receipt:
        ...     number: int
    """
    if not _is_storable(kind) and not issubclass(kind, Exception):
        raise StepNotSerializable(
            f"{_name(kind)} is no dataclass, pydantic model, enum, named tuple or exception: give it a codec"
        )
    _REGISTERED[_name(kind)] = kind
    return kind


class Results:
    """Writes and reads the results of one step.

    Args:
        step: The step's name, for messages.
        fn: The function whose return annotation names classes; nothing where there is none.
    """

    def __init__(self, step: str, fn: Callable[..., Any] | None = None) -> None:
        self._step = step
        self._fn = fn
        self._named: dict[str, type] | None = None

    def encode(self, value: object) -> str:
        """Return the value as JSON.

        Raises:
            StepNotSerializable: Where it, or something in it, would not come back as it is.
        """
        return json.dumps(self._encoded(value, "the result", 0), separators=(",", ":"), ensure_ascii=False)

    def decode(self, text: str) -> Any:
        """Return the value that `encode` wrote.

        Raises:
            JournalError: Where it holds a class that the program no longer names.
        """
        return self._decoded(json.loads(text))

    # Writing ---------------------------------------------------------------------------------------------------------

    def _encoded(self, value: Any, where: str, depth: int) -> Any:  # noqa: PLR0911 - one return for each sort of value
        kind = type(value)
        if value is None or kind is bool or kind is int or kind is str:
            return value
        if kind is float:
            return value if value - value == 0 else {_TAG: "float", "value": repr(value)}
        if depth > DEPTH_MAX:
            self._refuse(where, value, f"lies deeper than {DEPTH_MAX} levels")
        if kind is dict:
            return self._mapping(value, where, depth)
        if kind is list:
            return [self._encoded(item, f"{where}[{place}]", depth + 1) for place, item in enumerate(value)]
        scalar = _SCALARS.get(kind)
        if scalar is not None:
            return {_TAG: kind.__name__, "value": scalar.write(value)}
        if kind in _CONTAINERS:
            items = [self._encoded(item, f"{where}[{place}]", depth + 1) for place, item in enumerate(value)]
            return {_TAG: kind.__name__, "value": items}
        for codec in _CODECS.values():
            if codec.knows(value):
                return {_TAG: f"codec:{codec.name}", "value": codec.encode(value)}
        return self._object(value, where, depth)

    def _mapping(self, value: dict[Any, Any], where: str, depth: int) -> Any:
        if all(type(key) is str for key in value) and _TAG not in value:
            return {key: self._encoded(item, f"{where}[{key!r}]", depth + 1) for key, item in value.items()}
        pairs = [
            [self._encoded(key, f"a key of {where}", depth + 1), self._encoded(item, f"{where}[…]", depth + 1)]
            for key, item in value.items()
        ]
        return {_TAG: "dict", "value": pairs}

    def _object(self, value: Any, where: str, depth: int) -> Any:
        kind = type(value)
        name = _name(kind)
        if not _is_storable(kind):
            self._refuse(
                where,
                value,
                "no step can remember: return JSON, a dataclass, a pydantic model, an enum or a named tuple of such",
            )
        if self._class(name) is not kind:
            self._refuse(
                where,
                value,
                "is not named by the step's return annotation: annotate it, or give the class to l0_core.remember",
            )
        if isinstance(value, enum.Enum):
            return {_TAG: f"enum:{name}", "value": value.name}
        if _is_named_tuple(kind):
            fields = {key: self._encoded(item, f"{where}.{key}", depth + 1) for key, item in value._asdict().items()}
            return {_TAG: f"tuple:{name}", "value": fields}
        if dataclasses.is_dataclass(kind):
            names = [field.name for field in dataclasses.fields(kind)]
            beside = sorted(set(getattr(value, "__dict__", ())) - set(names) - _cached(kind))
            if beside:
                self._refuse(where, value, f"holds {beside[0]!r}, which is none of its fields")
            fields = {key: self._encoded(getattr(value, key), f"{where}.{key}", depth + 1) for key in names}
            return {_TAG: f"dataclass:{name}", "value": fields}
        written = json.loads(value.model_dump_json(round_trip=True, by_alias=True))
        try:
            same = kind.model_validate_json(json.dumps(written)) == value
        except Exception as error:  # noqa: BLE001 - whatever a validator raises
            self._refuse(where, value, f"its own class does not read back ({type(error).__name__})")
        if not same:
            self._refuse(where, value, "does not read back as it was: something in it is left out or altered in JSON")
        return {_TAG: f"model:{name}", "value": written}

    def _refuse(self, where: str, value: object, why: str) -> typing.NoReturn:
        raise StepNotSerializable(f"step {self._step}: {where} is a {_name(type(value))}, which {why}")

    # Reading ---------------------------------------------------------------------------------------------------------

    def _decoded(self, written: Any) -> Any:  # noqa: PLR0911 - one return for each sort of value
        if isinstance(written, list):
            return [self._decoded(item) for item in written]
        if not isinstance(written, dict):
            return written
        if _TAG not in written:
            return {key: self._decoded(item) for key, item in written.items()}
        tag, value = written[_TAG], written["value"]
        sort, _, name = tag.partition(":")
        if name:
            return self._object_of(sort, name, value)
        if tag == "dict":
            return {self._decoded(key): self._decoded(item) for key, item in value}
        if tag in _CONTAINERS_NAMED:
            return _CONTAINERS_NAMED[tag](self._decoded(item) for item in value)
        if tag in _READERS:
            return _READERS[tag](value)
        return self._too_new(tag)

    def _object_of(self, sort: str, name: str, value: Any) -> Any:
        if sort == "codec":
            codec = _CODECS.get(name)
            if codec is None:
                raise JournalError(
                    f"step {self._step}: its result needs the codec {name!r}: import the package that has it"
                )
            return codec.decode(value)
        kind: Any = self._class(name)
        if kind is None:
            raise JournalError(
                f"step {self._step}: its result is a {name}, which its return annotation no longer names: "
                "annotate it, or give the class to l0_core.remember"
            )
        match sort:
            case "enum":
                return kind[value]
            case "tuple":
                return kind(**{key: self._decoded(item) for key, item in value.items()})
            case "dataclass":
                return _dataclass(kind, {key: self._decoded(item) for key, item in value.items()})
            case "model":
                return kind.model_validate_json(json.dumps(value))
            case _:
                return self._too_new(sort)

    def _too_new(self, what: str) -> typing.NoReturn:
        raise JournalError(f"step {self._step}: its result was written by a later version, which calls it {what!r}")

    def _class(self, name: str) -> type | None:
        found = _REGISTERED.get(name)
        if found is None:
            if self._named is None:
                self._named = _classes_of(self._fn) if self._fn is not None else {}
            found = self._named.get(name)
        if found is None and name.startswith(_MAIN):
            # The program was run itself then, and is imported now.
            alike = [kind for known, kind in (self._named or {}).items() if known.endswith(name[len(_MAIN) - 1 :])]
            found = alike[0] if len(alike) == 1 else None
        return found


_TAG = "$"
_MAIN = "__main__."


class _Scalar(NamedTuple):
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


_SCALARS: dict[type, _Scalar] = {
    bytes: _Scalar(lambda value: b64encode(value).decode(), b64decode),
    date: _Scalar(str, date.fromisoformat),
    datetime: _Scalar(datetime.isoformat, datetime.fromisoformat),
    time: _Scalar(str, time.fromisoformat),
    timedelta: _Scalar(lambda value: [value.days, value.seconds, value.microseconds], lambda value: timedelta(*value)),
    Decimal: _Scalar(str, Decimal),
    UUID: _Scalar(str, UUID),
}
_CONTAINERS: tuple[type[Any], ...] = (tuple, set, frozenset)
_CONTAINERS_NAMED = {kind.__name__: kind for kind in _CONTAINERS}
_READERS = {"float": float} | {kind.__name__: scalar.read for kind, scalar in _SCALARS.items()}


def _dataclass(kind: Any, values: Mapping[str, Any]) -> Any:
    """Make a dataclass of its fields as they were, without doing again what its `__init__` did."""
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def _cached(kind: type) -> set[str]:
    """Return the names of what an object computes by itself when it is asked."""
    return {name for base in kind.__mro__ for name, item in vars(base).items() if isinstance(item, cached_property)}


def _is_storable(kind: type) -> bool:
    return dataclasses.is_dataclass(kind) or issubclass(kind, enum.Enum) or _is_named_tuple(kind) or _is_model(kind)


def _is_named_tuple(kind: type) -> bool:
    return issubclass(kind, tuple) and hasattr(kind, "_fields")


def _is_model(kind: type) -> bool:
    """Return whether a class is a pydantic model, without importing pydantic."""
    return hasattr(kind, "__pydantic_fields__") and hasattr(kind, "model_validate_json")


# Exceptions ----------------------------------------------------------------------------------------------------------


def written_exception(error: Exception) -> str:
    """Return an exception as JSON: its class by name, and of its arguments and attributes what JSON has words for."""
    plain = Results("an exception")

    def kept(value: object) -> Any:
        try:
            return json.loads(plain.encode(value))
        except StepNotSerializable:
            return None

    state = {name: kept(value) for name, value in vars(error).items() if not name.startswith("_")}
    said = {
        "type": _name(type(error)),
        "args": [kept(value) for value in error.args],
        "state": {name: value for name, value in state.items() if value is not None},
    }
    return json.dumps(said, separators=(",", ":"), ensure_ascii=False)


def read_exception(text: str, step: str) -> Exception:
    """Return the exception that was written: of its own class where the program has that loaded, without calling it."""
    said = json.loads(text)
    plain = Results(step)
    args = [plain.decode(json.dumps(value)) for value in said["args"]]
    kind = _exception_class(said["type"])
    if kind is None:
        return StepFailed(f"the step {step} failed with {said['type']} when it was recorded")
    error = kind.__new__(kind, *args)
    error.args = tuple(args)
    for name, value in said["state"].items():
        with suppress(AttributeError, TypeError):
            setattr(error, name, plain.decode(json.dumps(value)))
    return error


def _exception_class(name: str) -> type[Exception] | None:
    """Return an exception's class by name, if it was registered or its module is loaded: nothing is imported for it."""
    if name in _REGISTERED:
        kind = _REGISTERED[name]
        return kind if issubclass(kind, Exception) else None
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:end]))
        if found is not None:
            for part in parts[end:]:
                found = vars(found).get(part) if hasattr(found, "__dict__") else None
            return found if isinstance(found, type) and issubclass(found, Exception) else None
    return None


# What an annotation names --------------------------------------------------------------------------------------------


def _classes_of(fn: Callable[..., Any]) -> dict[str, type]:
    """Return every class that the return annotation of a function names, or a field of such a class."""
    found: dict[str, type] = {}
    waiting = [_hints(inspect.unwrap(fn)).get("return")]
    seen: set[int] = set()
    while waiting:
        hint = waiting.pop()
        if hint is None or id(hint) in seen:
            continue
        seen.add(id(hint))
        waiting.extend(typing.get_args(hint))
        kind = typing.get_origin(hint) or hint
        if not isinstance(kind, type) or not _is_storable(kind):
            continue
        found[_name(kind)] = kind
        if dataclasses.is_dataclass(kind) or _is_named_tuple(kind):
            waiting.extend(_hints(kind).values())
    return found


def _hints(thing: Any) -> dict[str, Any]:
    """Return the annotations of a function or a class; those of names that cannot be found as far as they can."""
    try:
        return typing.get_type_hints(thing)
    except (NameError, TypeError, AttributeError):
        return {name: hint for name, hint in inspect.get_annotations(thing).items() if not isinstance(hint, str)}


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
