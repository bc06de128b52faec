"""Each dialect as its own SDK reads it: text, tools, reasoning, usage, log-probabilities, ids, limits."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
from by_hand import QUESTION, ask, send

from l0_core.testing import FaultyProvider, ToolCall, faults, samples

WHOLE = samples.PROSE.canonical
ARGS = {"city": "Paris", "days": 3}
CALLS: Any = (ToolCall("weather", ARGS), {"name": "time", "args": {"zone": "CET"}}, ("noop", {}))
THOUGHT = "The user wants the weather, and the time; I will ask for both."
MESSAGES: Any = QUESTION


@pytest.fixture
def provider(faulty_provider: FaultyProvider) -> FaultyProvider:
    return faulty_provider


@pytest.fixture
def chat(provider: FaultyProvider) -> Iterator[Any]:
    with openai.OpenAI(base_url=provider.openai_url, api_key="x", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(provider: FaultyProvider) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=provider.anthropic_url, api_key="x", max_retries=0) as client:
        yield client


def test_chat_text_and_usage(chat: Any) -> None:
    answer = chat.chat.completions.create(model="m", messages=MESSAGES)
    assert answer.choices[0].message.content == WHOLE
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 50
    plain = list(chat.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in plain)
    options = {"include_usage": True}
    chunks = list(chat.chat.completions.create(model="m", messages=MESSAGES, stream=True, stream_options=options))
    assert chunks[-1].choices == []
    assert chunks[-1].usage == answer.usage
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]][-1] == "stop"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == WHOLE


def test_chat_tool_calls_come_in_fragments(provider: FaultyProvider, chat: Any) -> None:
    provider.reply("Let me see.", tool_calls=CALLS, chunks=4)
    answer = chat.chat.completions.create(model="m", messages=MESSAGES)
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in answer.choices[0].message.tool_calls]
    assert calls == [("weather", ARGS), ("time", {"zone": "CET"}), ("noop", {})]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content == "Let me see."
    gathered: dict[int, list[str]] = {}
    for chunk in chat.chat.completions.create(model="m", messages=MESSAGES, stream=True):
        for part in chunk.choices[0].delta.tool_calls or ():
            gathered.setdefault(part.index, []).append(part.function.arguments)
    assert {index: json.loads("".join(parts)) for index, parts in gathered.items()} == {
        0: ARGS,
        1: {"zone": "CET"},
        2: {},
    }
    assert len(gathered[0]) == 1 + 4


def test_chat_reasoning_and_logprobs(provider: FaultyProvider, chat: Any) -> None:
    provider.reply("Four.", reasoning=THOUGHT, logprob=-0.5)
    answer = chat.chat.completions.create(model="m", messages=MESSAGES, logprobs=True, top_logprobs=2)
    assert answer.choices[0].message.reasoning_content == THOUGHT
    assert answer.usage.completion_tokens_details.reasoning_tokens > 0
    [entry] = answer.choices[0].logprobs.content
    assert (entry.logprob, len(entry.top_logprobs)) == (-0.5, 2)
    chunks = list(chat.chat.completions.create(model="m", messages=MESSAGES, stream=True, logprobs=True))
    assert "".join(getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks) == THOUGHT
    tokens = [chunk.choices[0].logprobs.content[0].token for chunk in chunks if chunk.choices[0].logprobs]
    assert "".join(tokens) == "Four."


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_chat_keeps_to_the_token_limit(chat: Any, limit: str) -> None:
    answer = chat.chat.completions.create(model="m", messages=MESSAGES, **{limit: 5})
    assert answer.choices[0].message.content == WHOLE[:20]
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 5)


def test_a_limit_that_is_just_enough_cuts_nothing(chat: Any) -> None:
    used = chat.chat.completions.create(model="m", messages=MESSAGES).usage.completion_tokens
    assert (
        chat.chat.completions.create(model="m", messages=MESSAGES, max_tokens=used).choices[0].finish_reason == "stop"
    )


def test_responses_text_usage_and_numbers(chat: Any) -> None:
    answer = chat.responses.create(model="m", input=MESSAGES)
    assert (answer.output_text, answer.status) == (WHOLE, "completed")
    events = list(chat.responses.create(model="m", input="Hi", instructions="Be brief.", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == WHOLE
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage.output_tokens == answer.usage.output_tokens


def test_responses_tools_reasoning_and_logprobs(provider: FaultyProvider, chat: Any) -> None:
    provider.reply("Let me see.", tool_calls=CALLS, reasoning=THOUGHT)
    with chat.responses.stream(model="m", input="Hi", include=["message.output_text.logprobs"]) as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [item.type for item in final.output]
    assert kinds == ["reasoning", "message", "function_call", "function_call", "function_call"]
    assert final.output[0].summary[0].text == THOUGHT
    assert [json.loads(item.arguments) for item in final.output[2:]] == [ARGS, {"zone": "CET"}, {}]
    assert len({item.call_id for item in final.output[2:]}) == 3
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert all(event.logprobs for event in deltas)


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        (faults.finish_length(), "incomplete", "max_output_tokens"),
        (faults.finish_content_filter(), "incomplete", "content_filter"),
    ],
    ids=str,
)
def test_responses_that_end_early_say_why(
    provider: FaultyProvider, chat: Any, fault: Any, status: str, reason: str
) -> None:
    provider.script(fault)
    answer = chat.responses.create(model="m", input="Hi")
    assert (answer.status, answer.incomplete_details.reason) == (status, reason)
    last = list(chat.responses.create(model="m", input="Hi", stream=True))[-1]
    assert (last.type, last.response.incomplete_details.reason) == ("response.incomplete", reason)


def test_responses_hand_out_an_error_event_as_any_other(provider: FaultyProvider, chat: Any) -> None:
    provider.script(faults.error_event(chunks=2))
    events = list(chat.responses.create(model="m", input="Hi", stream=True))
    assert (events[-1].type, events[-1].code) == ("error", "overloaded")
    assert events[-1].sequence_number == len(events) - 1


def test_responses_lost_event_leaves_a_gap_in_the_numbers(provider: FaultyProvider, chat: Any) -> None:
    provider.script(faults.lost_chunk(chunk=3))
    numbers = [event.sequence_number for event in chat.responses.create(model="m", input="Hi", stream=True)]
    assert len(numbers) == numbers[-1]


def test_a_background_response_goes_on_where_it_was_left(provider: FaultyProvider, chat: Any) -> None:
    provider.script(faults.reset_after(chunks=3), faults.close_after(chunks=2), faults.ok())
    events: list[Any] = []
    with pytest.raises(httpx.ReadError):
        events.extend(chat.responses.create(model="m", input="Hi", stream=True, background=True))
    identity = events[0].response.id
    with pytest.raises(httpx.RemoteProtocolError):
        events.extend(chat.responses.retrieve(identity, stream=True, starting_after=events[-1].sequence_number))
    events.extend(chat.responses.retrieve(identity, stream=True, starting_after=events[-1].sequence_number))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == WHOLE
    assert chat.responses.retrieve(identity).output_text == WHOLE
    assert [request.method for request in provider.requests] == ["POST", "GET", "GET", "GET"]
    assert provider.is_right("".join(request.sent_text for request in provider.requests[:3]))


def test_a_response_in_the_foreground_dies_with_its_connection(provider: FaultyProvider, chat: Any) -> None:
    events = list(chat.responses.create(model="m", input="Hi", stream=True))
    with pytest.raises(openai.NotFoundError):
        chat.responses.retrieve(events[0].response.id, stream=True, starting_after=3)
    assert send(provider, "GET", "/v1/responses/resp_none?starting_after=x").status == 404


def test_a_background_response_is_read_again_only_from_a_number(provider: FaultyProvider, chat: Any) -> None:
    identity = next(iter(chat.responses.create(model="m", input="Hi", stream=True, background=True))).response.id
    assert send(provider, "GET", f"/v1/responses/{identity}?stream=true&starting_after=x").status == 400
    assert len(send(provider, "GET", f"/v1/responses/{identity}?stream=true").events) > 10


def test_claude_text_and_usage(claude: Any) -> None:
    answer = claude.messages.create(model="m", max_tokens=500, messages=MESSAGES)
    assert (answer.content[0].text, answer.stop_reason) == (WHOLE, "end_turn")
    with claude.messages.stream(model="m", max_tokens=500, messages=MESSAGES) as stream:
        assert "".join(stream.text_stream) == WHOLE
        assert stream.get_final_message().usage.output_tokens == answer.usage.output_tokens


def test_claude_tools_and_thinking(provider: FaultyProvider, claude: Any) -> None:
    provider.reply("Let me see.", tool_calls=CALLS, reasoning=THOUGHT)
    answer = claude.messages.create(model="m", max_tokens=500, messages=MESSAGES)
    with claude.messages.stream(model="m", max_tokens=500, messages=MESSAGES) as stream:
        final = stream.get_final_message()
    for message in (answer, final):
        assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use", "tool_use"]
        assert message.content[0].thinking == THOUGHT
        assert message.content[0].signature
        assert [block.input for block in message.content[2:]] == [ARGS, {"zone": "CET"}, {}]
        assert message.stop_reason == "tool_use"


def test_claude_keeps_to_the_token_limit(claude: Any) -> None:
    answer = claude.messages.create(model="m", max_tokens=5, messages=MESSAGES)
    assert (answer.content[0].text, answer.stop_reason) == (WHOLE[:20], "max_tokens")


def test_claude_needs_a_token_limit(provider: FaultyProvider) -> None:
    heard = ask(provider, dialect="anthropic", max_tokens="many")
    assert (heard.status, heard.json["error"]["message"]) == (400, "max_tokens: Field required")


@pytest.mark.parametrize("dialect", ["openai", "responses", "anthropic"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_refusal_is_said_in_its_own_field(*, provider: FaultyProvider, dialect: str, stream: bool) -> None:
    provider.script(faults.refusal(text="No."))
    heard = ask(provider, dialect=dialect, stream=stream)
    assert heard.text == ""
    assert ("refusal" in heard.body.decode()) is True
    assert (b"No." in heard.body) is (dialect != "anthropic")


@pytest.mark.parametrize("dialect", ["openai", "responses", "anthropic"])
def test_every_answer_and_every_error_has_a_request_id(provider: FaultyProvider, dialect: str) -> None:
    header = "request-id" if dialect == "anthropic" else "x-request-id"
    seen = {ask(provider, dialect=dialect).headers[header]}
    provider.script(faults.status(500))
    seen.add(ask(provider, dialect=dialect).headers[header])
    provider.script(faults.ok())
    seen.add(ask(provider, dialect=dialect, stream=False).headers[header])
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("form", "header", "value"),
    [("seconds", "retry-after", "1.5"), ("ms", "retry-after-ms", "1500"), ("date", "retry-after", "GMT")],
)
def test_when_to_come_back_is_said_in_each_form(provider: FaultyProvider, form: Any, header: str, value: str) -> None:
    provider.script(faults.rate_limit(retry_after=1.5, form=form))
    assert value in ask(provider).headers[header]
    provider.script(faults.rate_limit())
    assert "retry-after" not in ask(provider).headers
