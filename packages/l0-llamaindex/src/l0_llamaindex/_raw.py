"""What a chunk of the provider says that LlamaIndex does not repeat: why an answer ended, what it cost, its block.

`raw` may be an SDK's object or a dict, of any provider. Which of the shapes below it has is found out once per class.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from l0_core import Usage

Finish = tuple[str | None, str | None]
"""Why the answer ends, and what became of the response, in the provider's words."""

NOTHING: Finish = (None, None)
"""The answer goes on. Always this object, so that it can be asked for by identity."""

_REASONS = ("finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason", "completionReason")
_WITHIN = ("delta", "data")
_LISTS = ("choices", "candidates", "results", "generations", "outputs", "completions")


def finish_of(raw: Any) -> Finish:
    """Return why the answer ends, where the chunk says so."""
    if raw is None:
        return NOTHING
    kind = type(raw)
    reader = _READERS.get(kind)
    if reader is None:
        reader = _READERS[kind] = _reader_for(raw)
    return reader(raw)


def refuses(raw: Any) -> bool:
    """Return whether a chunk says, in the field its provider has for it, that the model declines to answer.

    LlamaIndex passes such a field over, and has an answer of nothing.
    """
    kind = _get(raw, "type")
    if isinstance(kind, str) and kind.startswith("response.refusal."):
        return True
    for choice in _get(raw, "choices") or ():
        said = _get(choice, "delta") or _get(choice, "message")
        return bool(_get(said, "refusal"))
    return any(_get(part, "type") == "refusal" for item in _items(raw) for part in _get(item, "content") or ())


def _items(raw: Any) -> Sequence[Any]:
    """Return the items of a whole response, which is told from others by what became of it."""
    output = _get(raw, "output") if _get(raw, "incomplete_details") is not None or _get(raw, "status") else None
    return output if isinstance(output, list) else ()


def usage_of(kwargs: Mapping[str, Any], raw: Any) -> Usage | None:
    """Return the tokens used so far, from what LlamaIndex made of them or else from the provider's own count."""
    if "prompt_tokens" in kwargs:
        told = _get(raw, "usage")
        return _usage(kwargs) if told is None else _usage(told)
    told = kwargs.get("usage")
    if told is None:
        told = _get(raw, "usage") or _get(_get(raw, "data"), "usage")
    return None if told is None else _usage(told)


def block_event_of(raw: Any) -> tuple[int, str | None, bool] | None:
    """Return which content block a chunk of a messages stream is of, its piece of JSON, and whether it ends there."""
    if type(raw) is not dict:
        return None
    match raw.get("type"):
        case "content_block_delta":
            return raw["index"], _get(raw.get("delta"), "partial_json"), False
        case "content_block_stop":
            return raw["index"], None, True
        case _:
            return None


def _get(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)


def _word(reason: Any) -> str | None:
    """Return a reason as a word: some SDKs give members of an enumeration."""
    if reason is None or isinstance(reason, str):
        return reason or None
    name = getattr(reason, "name", None)
    return name if isinstance(name, str) else None


def _usage(told: Any) -> Usage:
    details = _get(told, "completion_tokens_details") or _get(told, "output_tokens_details")
    cached = _get(told, "prompt_tokens_details") or _get(told, "input_tokens_details")
    counts = (
        _get(told, "prompt_tokens") or _get(told, "input_tokens"),
        _get(told, "completion_tokens") or _get(told, "output_tokens"),
        _get(details, "reasoning_tokens"),
        _get(cached, "cached_tokens") or _get(told, "cache_read_input_tokens"),
        _get(told, "cache_creation_input_tokens"),
    )
    return Usage(*(count if isinstance(count, int) and count > 0 else 0 for count in counts))


def _of_choices(raw: Any) -> Finish:
    choices = raw.choices
    if not choices:
        return NOTHING
    reason = choices[0].finish_reason
    return (reason, None) if reason else NOTHING


def _of_mapping(raw: Mapping[str, Any]) -> Finish:
    return NOTHING if raw.get("type") in _MIDDLE_EVENTS else _of_anything(raw)


def _of_anything(raw: Any) -> Finish:
    for name in _REASONS:
        word = _word(_get(raw, name))
        if word is not None:
            return word, None
    for name in _LISTS:
        inner = _get(raw, name)
        if isinstance(inner, list | tuple) and inner:
            return _of_anything(inner[0])
    if _get(raw, "done") is True:  # An older server does not say why.
        return "stop", None
    if _get(_get(raw, "metadata"), "usage") is not None:
        return "end", None  # The last event of a stream of AWS: the integration keeps the one with the reason.
    for name in _WITHIN:
        inner = _get(raw, name)
        if inner is not None and not isinstance(inner, str):
            return _of_anything(inner)
    return NOTHING


def _of_event(raw: Any) -> Finish:
    """Read an event of a responses stream: only its last says what became of the response."""
    response = getattr(raw, "response", None)
    if raw.type not in _LAST_EVENTS or response is None:
        return NOTHING
    return _of_response(response)


def _of_response(response: Any) -> Finish:
    status = _get(response, "status")
    reason = _get(_get(response, "incomplete_details"), "reason")
    return _word(reason), _word(status)


_MIDDLE_EVENTS = frozenset({"content_block_delta", "content_block_start", "content_block_stop", "message_start"})
_LAST_EVENTS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})


def _reader_for(raw: Any) -> Callable[[Any], Finish]:
    if not isinstance(raw, Mapping):
        choices = getattr(raw, "choices", None)
        if isinstance(choices, list) and all(hasattr(choice, "finish_reason") for choice in choices[:1]):
            return _of_choices
        kind = getattr(raw, "type", None)
        if isinstance(kind, str) and kind.startswith("response."):
            return _of_event
        if hasattr(raw, "incomplete_details") and hasattr(raw, "output"):
            return _of_response
        return _of_anything
    return _of_mapping


_READERS: dict[type, Callable[[Any], Finish]] = {}
