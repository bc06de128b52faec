"""What SDKs hand out: read without trust, copied, written down.

SDKs build their models without validation, so that a field may be missing, null, or of another type than declared:
providers differ, and a proxy may stand between. Nothing here raises over that.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from l0_core._port import LogProb, Opaque

ModelT = TypeVar("ModelT")

_COUNT_MAX: Final = 1 << 53
_LOGPROB_MIN: Final = -1e6
_NO_MODEL: Final = object()


def get(holder: object, name: str) -> Any:
    """Return what a model or a mapping has under a name, or nothing."""
    if holder is None:
        return None
    # A model that is asked for an attribute it lacks takes a hundred times as long to say so.
    fields = getattr(holder, "__dict__", None)
    if fields is not None and name in fields:
        return fields[name]
    extra: Any = getattr(holder, "__pydantic_extra__", _NO_MODEL)
    if extra is not _NO_MODEL:
        return extra.get(name) if extra else None
    if isinstance(holder, Mapping):
        return holder.get(name)
    return getattr(holder, name, None)


def text_in(holder: object, name: str) -> str:
    """Return a piece of text, empty where there is none."""
    value = get(holder, name)
    return value if isinstance(value, str) else ""


def count_in(holder: object, name: str) -> int:
    """Return a number of things, nought where nobody counted."""
    value = get(holder, name)
    sound = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _COUNT_MAX
    return int(value) if sound else 0


def index_in(holder: object, name: str) -> int | None:
    """Return a place in a list."""
    value = get(holder, name)
    sound = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32
    return int(value) if sound else None


def items_in(holder: object, name: str) -> list[Any]:
    """Return the items of a list, none where there is no list."""
    value = get(holder, name)
    return list(value) if isinstance(value, list | tuple) else []


def opaque(content: object, *, more: bool = False) -> Opaque:
    """Return a part that is told from others by a hash of its content."""
    text = content if isinstance(content, str) else repr(content)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return Opaque(int.from_bytes(digest), more)


def logprob(tokens: list[Any]) -> LogProb | None:
    """Return the log-probabilities of tokens, summed."""
    found = [get(token, "logprob") for token in tokens]
    numbers = [number for number in found if isinstance(number, int | float) and _LOGPROB_MIN < number <= 0]
    return LogProb(float(sum(numbers)), len(numbers)) if numbers else None


def quoted(text: str) -> str:
    """Return text as it stands inside a JSON string."""
    return json.dumps(text)[1:-1]


def copied(model: ModelT, **changes: object) -> ModelT:
    """Return a copy of a model with other values, or what is no model as it is; neither is altered."""
    copy = getattr(model, "model_copy", None)
    copied: ModelT = copy(update=changes) if copy is not None else model
    return copied


def written(model: Any) -> dict[str, Any]:
    """Return a model as what its provider sent. What no SDK had a model for is that already."""
    dump = getattr(model, "model_dump", None)
    fields: dict[str, Any] = (
        model if dump is None else dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
    )
    return fields


def read(kind: Any, fields: dict[str, Any]) -> Any:
    """Return the model of a class that `written` has written, as an SDK makes one of several kinds of event."""
    from pydantic import ValidationError

    if kind is None:
        return fields
    try:
        return kind.model_validate(fields)
    except ValidationError:
        return kind.construct(**fields)
