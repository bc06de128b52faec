"""What a message holds, in the engine's words."""

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from l0_core import LogProb, Opaque, Usage

Content = str | list[str | dict[Any, Any]]

TEXT = frozenset({"text", "output_text"})
REASONING = frozenset({"reasoning", "reasoning_content", "redacted_thinking", "thinking"})
CALLS = frozenset({"custom_tool_call", "function_call", "input_json_delta", "tool_call", "tool_call_chunk", "tool_use"})
"""Blocks that repeat what a message's tool calls say."""

_FINISH = ("finish_reason", "stop_reason", "done_reason", "stopReason")
_NO_PART = frozenset({"parsed", "refusal", "tool_calls"}) | REASONING
"""What of the additional keywords is no part of the answer, or is told otherwise."""


def text_of(content: Content) -> str:
    """Return the text in a message's content."""
    if isinstance(content, str):
        return content
    return "".join(map(block_text, content))


def with_text(content: Content, text: str) -> Content:
    """Return the content with another text: in the place of its first block of text, and no other in the rest."""
    if isinstance(content, str):
        return text
    replaced: list[str | dict[Any, Any]] = []
    for block in content:
        if not block_text(block):
            replaced.append(block)
        elif text:
            replaced.append(text if isinstance(block, str) else {**block, "text": text})
            text = ""
    return replaced


def with_arguments(content: Content, args: Mapping[Any, str]) -> Content:
    """Return the content with other arguments in the blocks that repeat what its tool calls say, by their index."""
    if isinstance(content, str):
        return content
    return [
        block if isinstance(block, str) or block.get("index") not in args else _with_arguments(block, args)
        for block in content
    ]


def _with_arguments(block: dict[Any, Any], args: Mapping[Any, str]) -> dict[Any, Any]:
    kind = block.get("type")
    if kind not in CALLS:
        return block
    name = next((name for name in ("partial_json", "arguments", "args") if isinstance(block.get(name), str)), None)
    if name is None and kind != "tool_use":
        return block
    return {**block, name or "partial_json": args[block["index"]]}


def block_text(block: str | Mapping[Any, Any]) -> str:
    """Return the text in a block."""
    if isinstance(block, str):
        return block
    text = block.get("text") if block.get("type") in TEXT else None
    return text if isinstance(text, str) else ""


def blocks_of(content: Content) -> Iterator[dict[Any, Any]]:
    """Yield the blocks of a content that are more than a string."""
    if not isinstance(content, str):
        yield from (block for block in content if isinstance(block, dict))


def reasons(content: Content, keywords: Mapping[str, Any]) -> bool:
    """Return whether there is reasoning in it."""
    if keywords and any(map(keywords.get, REASONING)):
        return True
    return not isinstance(content, str) and any(block.get("type") in REASONING for block in blocks_of(content))


def opaque_of(content: Content, keywords: Mapping[str, Any], info: Mapping[str, Any] | None = None) -> Opaque | None:
    """Return the parts that are passed and not looked into, as one.

    Args:
        content: The content.
        keywords: The additional keywords; what they say that `info` has as well is said about the answer.
        info: What is said about it.
    """
    if not keywords and isinstance(content, str):
        return None
    parts: list[Any] = [block for block in blocks_of(content) if block.get("type") not in TEXT | REASONING | CALLS]
    parts += [
        {name: part} for name, part in keywords.items() if part and name not in _NO_PART and name not in (info or ())
    ]
    if not parts:
        return None
    written = json.dumps(parts, sort_keys=True, default=repr)
    return Opaque(int.from_bytes(blake2b(written.encode(errors="replace"), digest_size=8).digest()))


def finish_of(*metadata: Mapping[str, Any] | None) -> str | None:
    """Return why the answer ends, in the provider's words, if any of the mappings says so."""
    for told in metadata:
        if not told:
            continue
        for name in _FINISH:
            word = told.get(name)
            if isinstance(word, str) and word:
                return word
        status = told.get("status")
        if isinstance(status, str) and status in {"completed", "incomplete", "failed", "cancelled"}:
            details = told.get("incomplete_details")
            reason = details.get("reason") if isinstance(details, Mapping) else None
            return reason if isinstance(reason, str) else status
        if told.get("done") is True:  # Ollama's servers of old say no more.
            return "stop"
    return None


def usage_of(usage: Mapping[str, Any] | None) -> Usage | None:
    """Return the tokens a message tells of."""
    if not usage:
        return None
    put, out = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    counts = (
        usage.get("input_tokens"),
        usage.get("output_tokens"),
        out.get("reasoning"),
        put.get("cache_read"),
        put.get("cache_creation"),
    )
    return Usage(*(count if isinstance(count, int) and count > 0 else 0 for count in counts))


def logprob_of(info: Mapping[str, Any] | None) -> LogProb | None:
    """Return the log-probabilities of the tokens, where they come in the usual shape."""
    told = info.get("logprobs") if info else None
    tokens = told.get("content") if isinstance(told, Mapping) else None
    if not isinstance(tokens, Sequence):
        return None
    logs = [token["logprob"] for token in tokens if isinstance(token, Mapping) and "logprob" in token]
    return LogProb(float(sum(logs)), len(logs)) if logs else None
