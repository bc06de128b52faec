"""The requests that attempts send, through the real SDKs, as a server sees them."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from wire import (
    anthropic_client,
    chat_body,
    events,
    messages_body,
    openai_client,
    responses_body,
)

import l0_core
from l0_core import Attempt, Target, ports
from l0_core.ports.prefill import RULES, Rule, form_of
from l0_core.ports.sources import _CHAT, _continued

USER = {"role": "user", "content": "The capital of France?"}
INSTRUCTION = "Go on after: is Par"


def attempt(mode: str, shown: str = "It is Par") -> Attempt:
    return Attempt(
        target="t",
        number=1,
        mode=mode,
        prefix=shown if mode == "prefill" else "",
        shown=shown,
        anchor=shown if mode == "prompt" else "",
        instruction=INSTRUCTION if mode == "prompt" else "",
        tokens_shown=3 if mode in {"prefill", "prompt"} else 0,
        time_left=60.0,
        idempotency_key="k",
    )


class Server:
    """What arrives at a provider."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[Any] = []

    def answer(self, response: Callable[..., Any]) -> Callable[[Any], Any]:
        def take(request: Any) -> Any:
            self.requests.append(json.loads(request.content))
            self.headers.append(request.headers)
            return response(200, content=events([]))

        return take

    def openai(self, **options: Any) -> openai.OpenAI:
        return openai_client(self.answer(httpx.Response), **options)

    def anthropic(self, **options: Any) -> anthropic.Anthropic:
        return anthropic_client(self.answer(httpx2.Response), **options)

    def sent(self, target: Target, made: Attempt) -> dict[str, Any]:
        target.open(made).close()
        return self.requests[-1]


@pytest.fixture
def server() -> Server:
    return Server()


def chat(client: Any, **request: Any) -> Target:
    return ports.openai_chat(client, **{"model": "m", "messages": [USER], **request})


def messages(client: Any, **request: Any) -> Target:
    return ports.anthropic_messages(client, **{"model": "m", "max_tokens": 100, "messages": [USER], **request})


def responses(client: Any, **request: Any) -> Target:
    return ports.openai_responses(client, **{"model": "m", "input": "The capital of France?", **request})


# The answer was objected to -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rejected", ["{}", ""])
def test_a_target_is_told_what_to_put_right(server: Server, rejected: str) -> None:
    made = attempt("fresh", "")._replace(instruction="Put it right.", errors=["price: missing"], rejected=rejected)
    said = [{"role": "assistant", "content": rejected}] if rejected else []
    asked = {"role": "user", "content": "Put it right."}
    assert server.sent(chat(server.openai()), made)["messages"] == [USER, *said, asked]
    assert server.sent(messages(server.anthropic()), made)["messages"] == [USER, *said, asked]
    sent = server.sent(responses(server.openai(), max_output_tokens=99), made)
    assert (sent["input"], sent["max_output_tokens"]) == ([USER, *said, asked], 99)


# The request as it stands -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["fresh", "rerun", "native"])
def test_from_nothing_the_request_is_the_bare_one(server: Server, mode: str) -> None:
    """G7: what a bare client would have sent."""
    request: dict[str, Any] = {"model": "m", "messages": [USER], "temperature": 0.5, "max_completion_tokens": 9}
    client = server.openai()
    client.chat.completions.create(**request, stream=True).close()
    assert server.sent(chat(client, **request), attempt(mode)) == server.requests[0]

    said: dict[str, Any] = {"model": "claude-x", "max_tokens": 9, "messages": [USER], "system": "Be brief."}
    other = server.anthropic()
    other.messages.create(**said, stream=True).close()
    bare = server.requests[-1]
    assert server.sent(messages(other, **said), attempt(mode)) == bare

    asked: dict[str, Any] = {"model": "m", "input": "hi", "max_output_tokens": 99}
    client.responses.create(**asked, stream=True).close()
    bare = server.requests[-1]
    assert server.sent(responses(client, **asked), attempt(mode)) == bare


def test_the_sdks_own_retries_are_off_and_the_client_is_left_as_it_is() -> None:
    calls = 0

    def fail(_: Any) -> httpx.Response:
        nonlocal calls
        calls += 1
        return httpx.Response(500)

    client = openai_client(fail, max_retries=2)
    target = chat(client)
    with pytest.raises(openai.InternalServerError):
        target.open(attempt("fresh"))
    assert calls == 1
    assert client.max_retries == 2


def test_an_async_client_opens_an_async_stream() -> None:
    body = chat_body(["Par", "is."])

    async def run() -> tuple[str, l0_core.Result]:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
        async with httpx.AsyncClient(transport=transport) as http:
            client = openai.AsyncOpenAI(api_key="x", http_client=http)
            stream = l0_core.astream(chat(client))
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            return text, stream.result

    text, result = asyncio.run(run())
    assert text == result.text == "Paris."


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (lambda body: chat(openai_client(lambda _: httpx.Response(200, content=body))), chat_body),
        (lambda body: messages(anthropic_client(lambda _: httpx2.Response(200, content=body))), messages_body),
        (lambda body: responses(openai_client(lambda _: httpx.Response(200, content=body))), responses_body),
    ],
    ids=["chat", "messages", "responses"],
)
def test_a_stream_of_a_client_from_one_end_to_the_other(
    target: Callable[[bytes], Target], body: Callable[[list[str]], bytes]
) -> None:
    stream = l0_core.stream(target(body(["Par", "is."])))
    assert list(stream)
    assert stream.result.text == "Paris."
    assert stream.result.finish_reason == "stop"


@pytest.mark.parametrize("body", [chat_body, messages_body, responses_body], ids=["chat", "messages", "responses"])
def test_an_end_without_the_word_for_it_is_no_end(body: Callable[..., bytes]) -> None:
    unfinished = body(["Par", "is."], **({"status": None} if body is responses_body else {"finish": None}))
    whole = body(["Par", "is."])
    bodies = iter([unfinished, whole])
    if body is messages_body:
        target = messages(anthropic_client(lambda _: httpx2.Response(200, content=next(bodies))), prefill=False)
    else:
        make = chat if body is chat_body else responses
        target = make(openai_client(lambda _: httpx.Response(200, content=next(bodies))))
    stream = l0_core.stream(target, policy={"continuation": {"rungs": ["rerun"]}})
    assert list(stream)
    assert (stream.result.text, stream.result.attempts) == ("Paris.", 2)
    assert [fault.code for fault in stream.result.faults] == ["terminal_missing"]


# Going on -----------------------------------------------------------------------------------------------------------


def test_a_prompt_adds_the_answer_so_far_and_asks(server: Server) -> None:
    turns = [USER, {"role": "assistant", "content": "It is Par"}, {"role": "user", "content": INSTRUCTION}]
    assert server.sent(chat(server.openai()), attempt("prompt"))["messages"] == turns
    assert server.sent(messages(server.anthropic()), attempt("prompt"))["messages"] == turns
    assert server.sent(responses(server.openai()), attempt("prompt"))["input"] == turns
    assert server.sent(responses(server.openai(), input=[USER]), attempt("prompt"))["input"] == turns


@pytest.mark.parametrize(
    ("prefill", "last", "beside"),
    [
        ("assistant", {"role": "assistant", "content": "It is Par"}, {}),
        ("prefix", {"role": "assistant", "content": "It is Par", "prefix": True}, {}),
        (
            "continue",
            {"role": "assistant", "content": "It is Par"},
            {"continue_final_message": True, "add_generation_prompt": False, "top_k": 3},
        ),
    ],
)
def test_a_prefix_is_sent_in_the_form_the_endpoint_takes(
    server: Server, prefill: str, last: dict[str, Any], beside: dict[str, Any]
) -> None:
    extra = {"extra_body": {"top_k": 3}} if prefill == "continue" else {}
    sent = server.sent(chat(server.openai(), prefill=prefill, **extra), attempt("prefill"))
    assert sent["messages"] == [USER, last]
    assert beside.items() <= sent.items()


def test_a_prefix_goes_after_the_callers_own(server: Server) -> None:
    own = {"role": "assistant", "content": "Sure: "}
    sent = server.sent(messages(server.anthropic(), messages=[USER, own]), attempt("prefill"))
    assert sent["messages"] == [USER, {"role": "assistant", "content": "Sure: It is Par"}]
    parts = {"role": "assistant", "content": [{"type": "text", "text": "Sure: "}]}
    sent = server.sent(messages(server.anthropic(), messages=[USER, parts]), attempt("prefill"))
    assert sent["messages"][1]["content"] == [{"type": "text", "text": "Sure: "}, {"type": "text", "text": "It is Par"}]
    asked = {"role": "assistant", "tool_calls": [{"id": "t"}], "content": ""}
    sent = server.sent(chat(server.openai(), messages=[USER, asked]), attempt("prompt"))
    assert sent["messages"][1:3] == [asked, {"role": "assistant", "content": "It is Par"}]


def test_the_callers_request_is_never_altered(server: Server) -> None:
    turns = [USER, {"role": "assistant", "content": "Sure: "}]
    before = json.dumps(turns)
    target = chat(server.openai(), messages=turns, prefill="prefix")
    for mode in ["prefill", "prompt", "fresh"]:
        server.sent(target, attempt(mode))
    assert json.dumps(turns) == before
    assert server.requests[-1]["messages"] == turns


def test_turns_that_can_be_read_once_are_sent_every_time(server: Server) -> None:
    target = chat(server.openai(), messages=iter([USER]))
    assert server.sent(target, attempt("fresh"))["messages"] == [USER]
    assert server.sent(target, attempt("rerun"))["messages"] == [USER]


@pytest.mark.parametrize(
    ("request_", "left"),
    [
        ({}, {}),
        ({"max_tokens": 100}, {"max_tokens": 97}),
        ({"max_completion_tokens": 100}, {"max_completion_tokens": 97}),
        ({"max_tokens": 3}, {"max_tokens": 1}),
        ({"max_tokens": None}, {"max_tokens": None}),
    ],
)
def test_a_limit_of_the_caller_is_lowered_by_what_was_shown(request_: dict[str, Any], left: dict[str, Any]) -> None:
    base = {"model": "m", "messages": [USER], **request_}
    for mode in ["prefill", "prompt"]:
        sent = _continued(_CHAT, "assistant", base, attempt(mode))
        assert {name: value for name, value in sent.items() if name.startswith("max")} == left
    assert _continued(_CHAT, "assistant", base, attempt("rerun")) == base


def test_a_limit_stays_above_what_the_provider_asks_for(server: Server) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1_024}
    made = attempt("prompt")
    target = messages(server.anthropic(), max_tokens=1_026, thinking=thinking)
    assert server.sent(target, made)["max_tokens"] == 1_025
    assert server.sent(responses(server.openai(), max_output_tokens=17), made)["max_output_tokens"] == 16


# What is known of a target ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "host", "model", "form"),
    [
        ("chat", "https://api.openai.com/v1/", "gpt-5-mini", "no"),
        ("chat", "https://x.openai.azure.com/openai", "mine", "no"),
        ("chat", "https://api.deepseek.com/beta/", "deepseek-chat", "prefix"),
        ("chat", "https://api.deepseek.com/", "deepseek-chat", "no"),
        ("chat", "https://api.mistral.ai/v1/", "mistral-large-latest", "prefix"),
        ("chat", "http://localhost:8000/v1/", "qwen", None),
        ("chat", "https://openrouter.ai/api/v1/", "deepseek/deepseek-chat", None),
        ("messages", "https://api.anthropic.com", "claude-3-5-sonnet-20241022", "assistant"),
        ("messages", "https://api.anthropic.com", "claude-opus-4-20250514", "assistant"),
        ("messages", "https://api.anthropic.com", "claude-opus-4-1-20250805", "assistant"),
        ("messages", "https://api.anthropic.com", "claude-haiku-4-5", "assistant"),
        ("messages", "https://bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", "assistant"),
        ("messages", "https://vertex", "claude-sonnet-4-5@20250929", "assistant"),
        ("messages", "https://api.anthropic.com", "claude-opus-4-6", "no"),
        ("messages", "https://api.anthropic.com", "claude-opus-4-10", "no"),
        ("messages", "https://api.anthropic.com", "claude-sonnet-4-6-20260301", "no"),
        ("messages", "https://api.anthropic.com", "claude-sonnet-5", "no"),
        ("messages", "https://api.anthropic.com", "claude-haiku-5-5", "no"),
        ("messages", "https://api.deepseek.com/anthropic", "deepseek-chat", None),
        ("responses", "https://api.openai.com/v1/", "gpt-5-mini", "no"),
        ("litellm", "", "gpt-5-mini", "no"),
        ("litellm", "", "deepseek/deepseek-chat", "prefix"),
        ("litellm", "", "vertex_ai/deepseek-ai/deepseek-v3.2", "no"),
        ("litellm", "", "anthropic/claude-sonnet-4-5", "prefix"),
        ("litellm", "", "anthropic/claude-sonnet-5", "no"),
        ("litellm", "", "groq/llama", None),
    ],
)
def test_who_goes_on_from_a_beginning(dialect: Any, host: str, model: str, form: str | None) -> None:
    assert form_of(dialect, host, model) == form


def test_every_rule_about_prefixes_is_tried() -> None:
    marks = test_who_goes_on_from_a_beginning.pytestmark
    cases = marks[0].args[1]
    first = {next((rule for rule in RULES if matches(rule, *case[:3])), None) for case in cases}
    assert first == {*RULES, None}


def matches(rule: Rule, dialect: str, host: str, model: str) -> bool:
    return rule.dialect == dialect and bool(re.search(rule.host, host)) and bool(re.search(rule.model, model))


@pytest.mark.parametrize(
    ("said", "taken"), [(None, None), (True, True), (False, False), ("no", False), ("prefix", True), ("continue", True)]
)
def test_what_is_said_of_a_prefix_outranks_the_table(server: Server, said: Any, taken: bool | None) -> None:  # noqa: FBT001 - pytest passes by keyword
    target = chat(server.openai(base_url="http://localhost:8000/v1"), prefill=said)
    assert target.prefill is taken


def test_a_message_that_thinks_or_has_a_form_takes_no_prefix(server: Server) -> None:
    def takes_prefix(**request: Any) -> bool | None:
        return messages(server.anthropic(), model="claude-sonnet-4-5", **request).prefill

    assert takes_prefix()
    assert takes_prefix(thinking={"type": "disabled"})
    assert takes_prefix(thinking={"type": "enabled", "budget_tokens": 1_024}) is False
    assert takes_prefix(thinking={"type": "adaptive"}) is False
    assert takes_prefix(output_config={"format": {}}) is False
    assert takes_prefix(thinking={"type": "adaptive"}, prefill=True)


def test_a_target_says_what_it_is(server: Server) -> None:
    target = chat(server.openai(), reasoning_effort="high", quality="best", cost="high", credentials="a")
    assert (target.name, target.terminal, target.prefill, target.reasons) == ("m", "finish_reason", False, True)
    assert (target.quality, target.cost, target.credentials) == ("best", "high", "a")
    assert "quality" not in server.sent(target, attempt("fresh"))
    assert chat(server.openai(base_url="http://localhost:8000/v1")).name == "m@localhost:8000"
    assert chat(server.openai(), name="mine", reasons=True).name == "mine"
    assert responses(server.openai(), reasoning={"effort": "low"}).reasons
    assert not responses(server.openai(), reasoning={"effort": "none"}).reasons
    assert not chat(server.openai()).reasons
    assert responses(server.openai()).terminal == "status"
    assert messages(server.anthropic(), thinking={"type": "adaptive"}).reasons


# What cannot be -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        ({"messages": [USER]}, TypeError, "lacks 'model'"),
        ({"model": "m"}, TypeError, "lacks 'messages'"),
        ({"model": "m", "messages": [USER], "stream": True}, TypeError, "leave out 'stream'"),
        ({"model": "m", "messages": [USER], "n": 2}, ValueError, "n must be 1"),
        ({"model": "m", "messages": [USER], "prefill": "perhaps"}, ValueError, "prefill must be"),
    ],
)
def test_a_request_that_cannot_be_made_is_refused_at_once(
    server: Server, request_: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        ports.openai_chat(server.openai(), **request_)
    assert server.requests == []
