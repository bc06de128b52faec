"""Targets made of an SDK's client and a request.

Each attempt sends the request as it stands, or, to go on with an answer, with what was shown after its messages. The
request is the caller's in every other respect. The SDK's own retries are off, because they would multiply with L0's
and wait behind its back; the client that was passed is left as it is.

Beside the request's own keywords a builder takes those of `Target` that concern it: `name`, `reasons`, `credentials`,
`context_window`, `quality`, `cost`, and `prefill`: whether the endpoint goes on from an answer's beginning, or in which
form of `ports.prefill` it takes one. What is not said is taken from the request and from `ports.prefill.RULES`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

from l0_core._port import Attempt
from l0_core._target import Target
from l0_core.ports.prefill import Dialect, Form, form_of


def openai_chat(client: Any, /, **request: Any) -> Target:
    """Return a target that asks for a chat completion, of OpenAI or any server that speaks like it.

    Args:
        client: An `OpenAI` for `stream`, or an `AsyncOpenAI` for `astream`; Azure's do as well.
        **request: What `client.chat.completions.create` takes, without `stream`; and what is known of the target.

    Example:
        `ports.openai_chat(OpenAI(), model="gpt-5-mini", messages=[{"role": "user", "content": "Hello"}])`
    """
    if request.get("n") not in {None, 1}:
        raise ValueError("n must be 1: one answer that broke off can be gone on with, several cannot")
    create = client.with_options(max_retries=0).chat.completions.create
    return _target(_CHAT, create, str(client.base_url), request)


def openai_responses(client: Any, /, **request: Any) -> Target:
    """Return a target that asks OpenAI for a response.

    Args:
        client: An `OpenAI` for `stream`, or an `AsyncOpenAI` for `astream`.
        **request: What `client.responses.create` takes, without `stream`; and what is known of the target.
    """
    create = client.with_options(max_retries=0).responses.create
    return _target(_RESPONSES, create, str(client.base_url), request)


def anthropic_messages(client: Any, /, **request: Any) -> Target:
    """Return a target that asks for a message, of Anthropic or any server that speaks like it.

    Args:
        client: An `Anthropic` for `stream`, or an `AsyncAnthropic` for `astream`; those for Bedrock and Vertex do too.
        **request: What `client.messages.create` takes, without `stream`; and what is known of the target.
    """
    create = client.with_options(max_retries=0).messages.create
    return _target(_MESSAGES, create, str(client.base_url), request)


def litellm_completion(**request: Any) -> Target:
    """Return a target that asks LiteLLM for a completion, for `stream`.

    Args:
        **request: What `litellm.completion` takes, without `stream`; and what is known of the target.
    """
    import litellm  # type: ignore[import-not-found,unused-ignore]

    return _of_litellm(litellm.completion, request)


def litellm_acompletion(**request: Any) -> Target:
    """Return a target that asks LiteLLM for a completion, for `astream`.

    Args:
        **request: What `litellm.acompletion` takes, without `stream`; and what is known of the target.
    """
    import litellm

    return _of_litellm(litellm.acompletion, request)


def _of_litellm(create: Callable[..., Any], request: dict[str, Any]) -> Target:
    host = str(request.get("api_base") or request.get("base_url") or "")
    return _target(_LITELLM, create, host, {**request, "num_retries": 0, "max_retries": 0})


class _Api(NamedTuple):
    """What differs between the requests of the dialects.

    Attributes:
        dialect: Its name.
        turns: The parameter that holds the conversation.
        part: The type of a part of an assistant's message that is text.
        limits: Parameters that limit the answer's length.
        limit_min: The least such a limit may be.
        terminal: What ends an answer.
    """

    dialect: Dialect
    turns: str
    part: str
    limits: tuple[str, ...]
    limit_min: int
    terminal: Literal["finish_reason", "status"]


_CHAT: Final = _Api("chat", "messages", "text", ("max_tokens", "max_completion_tokens"), 1, "finish_reason")
_LITELLM: Final = _CHAT._replace(dialect="litellm")
_MESSAGES: Final = _Api("messages", "messages", "text", ("max_tokens",), 1, "finish_reason")
_RESPONSES: Final = _Api("responses", "input", "output_text", ("max_output_tokens",), 16, "status")

_DECLARED: Final = ("name", "prefill", "reasons", "credentials", "context_window", "quality", "cost")
_DEFAULT_HOSTS: Final = {"", "api.openai.com", "api.anthropic.com"}


def _target(api: _Api, create: Callable[..., Any], address: str, request: dict[str, Any]) -> Target:
    for name in ("model", api.turns):
        if name not in request:
            raise TypeError(f"the request lacks {name!r}")
    if "stream" in request:
        raise TypeError("leave out 'stream': it always is one")
    declared = {name: request.pop(name) for name in _DECLARED if name in request}
    if not isinstance(request[api.turns], str):
        request[api.turns] = list(request[api.turns])  # It is read once for each attempt.
    form = _form(api, address, request, declared.pop("prefill", None))
    host, model = urlsplit(address).netloc, str(request["model"])

    def open_(attempt: Attempt) -> Any:
        return create(**_continued(api, form or "assistant", request, attempt), stream=True)

    known: dict[str, Any] = {
        "name": model if host in _DEFAULT_HOSTS else f"{model}@{host}",
        "terminal": api.terminal,
        "prefill": None if form is None else form != "no",
        "reasons": _reasons(request),
    }
    return Target(open_, **(known | declared))


def _form(api: _Api, address: str, request: Mapping[str, Any], said: object) -> Form | None:
    """Return how the endpoint takes an answer's beginning, with this request; nothing where nobody knows."""
    known = form_of(api.dialect, address, str(request["model"]))
    if said is False or (said is None and _forbids_prefill(api, request)):
        return "no"
    if said is None:
        return known
    if said is True:
        return known if known not in {None, "no"} else "assistant"
    for form in get_args(Form):
        if said == form:
            found: Form = form
            return found
    raise ValueError(f"prefill must be True, False, None or one of {', '.join(get_args(Form))}, not {said!r}")


def _forbids_prefill(api: _Api, request: Mapping[str, Any]) -> bool:
    """Whether the request itself asks for what an answer's beginning may not be given with."""
    speaks_messages = api.dialect == "messages" or "claude" in str(request["model"])
    return speaks_messages and (
        _thinks(request) or any(request.get(name) for name in ("output_format", "output_config"))
    )


def _thinks(request: Mapping[str, Any]) -> bool:
    thinking = request.get("thinking")
    return isinstance(thinking, Mapping) and thinking.get("type") in {"enabled", "adaptive"}


def _reasons(request: Mapping[str, Any]) -> bool:
    reasoning = request.get("reasoning")
    effort = reasoning.get("effort") if isinstance(reasoning, Mapping) else request.get("reasoning_effort")
    return _thinks(request) or effort not in {None, "none"}


# One attempt's request ------------------------------------------------------------------------------------------------


def _continued(api: _Api, form: Form, request: Mapping[str, Any], attempt: Attempt) -> dict[str, Any]:
    """Return the request that an attempt sends. The request itself is left as it is."""
    turns = request[api.turns]
    turns = [{"role": "user", "content": turns}] if isinstance(turns, str) else turns
    if attempt.errors:
        said = _with_answer(api, turns, attempt.rejected) if attempt.rejected else turns
        return {**request, api.turns: [*said, {"role": "user", "content": attempt.instruction}]}
    if attempt.mode not in {"prefill", "prompt"}:
        return dict(request)
    changed = {**request, **_lowered(api, request, attempt.tokens_shown)}
    if attempt.mode == "prompt":
        changed[api.turns] = [
            *_with_answer(api, turns, attempt.shown),
            {"role": "user", "content": attempt.instruction},
        ]
        return changed
    *before, answer = _with_answer(api, turns, attempt.prefix)
    changed[api.turns] = [*before, {**answer, "prefix": True} if form == "prefix" else answer]
    if form == "continue":
        extra = request.get("extra_body") or {}
        changed["extra_body"] = {**extra, "continue_final_message": True, "add_generation_prompt": False}
    return changed


def _with_answer(api: _Api, turns: list[Any], text: str) -> list[Any]:
    """Return the conversation with an answer's beginning at its end: after the caller's own, if it has one there."""
    last = turns[-1] if turns else None
    if isinstance(last, Mapping) and last.get("role") == "assistant" and not last.get("tool_calls"):
        content = last.get("content")
        if isinstance(content, str):
            return [*turns[:-1], {**last, "content": content + text}]
        if isinstance(content, list | tuple):
            return [*turns[:-1], {**last, "content": [*content, {"type": api.part, "text": text}]}]
    return [*turns, {"role": "assistant", "content": text}]


def _lowered(api: _Api, request: Mapping[str, Any], shown: int) -> dict[str, int]:
    """Return the caller's own limits of the answer's length, less what was shown of it."""
    thinking = request.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else None
    least = budget + 1 if isinstance(budget, int) else api.limit_min
    return {
        name: max(limit - shown, min(least, limit))
        for name in api.limits
        if isinstance(limit := request.get(name), int) and not isinstance(limit, bool)
    }
