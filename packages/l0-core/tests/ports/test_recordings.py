"""Ports over what real providers sent, through their real SDKs."""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from anthropic.lib.streaming._beta_messages import accumulate_event
from openai._types import omit
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from wire import (
    CHAT,
    all_of,
    beta_messages_stream,
    chat_stream,
    messages_stream,
    recorded,
    recordings,
    responses_stream,
    sent,
)

import l0_core
from l0_core import Facts, ToolFragment
from l0_core.ports import port_for


@dataclass(frozen=True)
class Recording:
    """What a provider sent, and what its SDK gave for it."""

    name: str
    body: bytes
    chunks: list[Any]


STREAMS: dict[str, Callable[[bytes], Iterator[Any]]] = {
    **dict.fromkeys(CHAT, chat_stream),
    "openai_responses": responses_stream,
    "anthropic": beta_messages_stream,
}


@pytest.fixture(params=recordings(*STREAMS))
def recording(request: pytest.FixtureRequest) -> Recording:
    return recording_of(request.param)


@cache
def recording_of(name: str) -> Recording:
    body = recorded(name)
    return Recording(name, body, all_of(STREAMS[name.partition("/")[0]](body)))


def facts_of(recording: Recording) -> list[Facts]:
    port = port_for(recording.chunks[0])
    return [port.facts(chunk) for chunk in recording.chunks]


def answered(recording: Recording) -> str:
    """The text of an answer, read off the wire without any SDK."""
    text = ""
    for event in sent(recording.body):
        if event.get("type") == "response.output_text.delta":
            text += event["delta"]
        if event.get("type") == "content_block_delta":
            text += event["delta"].get("text", "")
        for choice in [] if "error" in event else event.get("choices", []):
            content = choice["delta"].get("content") or ""
            parts = [part for part in content if part["type"] == "text"] if isinstance(content, list) else []
            text += content if isinstance(content, str) else "".join(part["text"] for part in parts)
    return text


def test_the_text_is_what_was_sent(recording: Recording) -> None:
    assert "".join(facts.text for facts in facts_of(recording)) == answered(recording)


def test_plain_text_holds_nothing_else(recording: Recording) -> None:
    port = port_for(recording.chunks[0])
    plain = 0
    for chunk in recording.chunks:
        if (text := port.text(chunk)) is not None:
            assert text
            assert port.facts(chunk) == Facts(text=text)
            plain += 1
    speaks = answered(recording) and not recording.name.startswith("openai_responses/")
    assert bool(plain) == bool(speaks), "the fast way is taken where there is one"


def test_asking_twice_does_no_harm(recording: Recording) -> None:
    port = port_for(recording.chunks[0])
    first = [port.facts(chunk) for chunk in recording.chunks]
    for chunk in recording.chunks:
        port.facts(chunk)
    again = [port.facts(chunk) for chunk in recording.chunks]
    assert [facts.text for facts in again] == [facts.text for facts in first]
    assert [facts.tools for facts in again] == [facts.tools for facts in first]


def test_a_chunk_survives_the_journal(recording: Recording) -> None:
    port = port_for(recording.chunks[0])
    for chunk in recording.chunks:
        written = port.encode(chunk)
        read = port.decode(written)
        assert type(read) is type(chunk)
        assert read == chunk
        assert read.model_fields_set == chunk.model_fields_set
        assert port.encode(read) == written


def fields_sent(chunk: Any) -> object:
    return chunk.model_dump(exclude_unset=True, warnings=False)


def test_a_stream_survives_the_journal(recording: Recording) -> None:
    """Replay: the same chunks, also where next to nothing is written of most of them."""
    journal = l0_core.Journal.memory()
    target = l0_core.Target(lambda _: iter(copy.deepcopy(recording.chunks)), prefill=False)
    stream = l0_core.stream(target, journal=journal, stall_guard="off")
    given: list[Any] = []
    with suppress(l0_core.L0Error):
        given.extend(stream)
    again: list[Any] = []
    with suppress(l0_core.L0Error):
        again.extend(l0_core.replay_stream(journal, stream.result.session_id))
    assert again == given
    assert list(map(fields_sent, again)) == list(map(fields_sent, given))


@pytest.mark.parametrize("name", recordings("openai", "groq", "deepseek"))
def test_of_most_chunks_little_is_written(name: str) -> None:
    recording = recording_of(name)
    if len({chunk.id for chunk in recording.chunks}) > 1:
        pytest.skip("the provider gives every chunk an id of its own")
    port: Any = port_for(recording.chunks[0])
    rests = []
    for chunk in recording.chunks:
        rest = port.rest(chunk) if port.text(chunk) else None
        if rest is None:
            port.encode(chunk)
        rests.append(rest)
    texts = sum(bool(port.text(chunk)) for chunk in recording.chunks)
    assert len([rest for rest in rests if rest is not None]) >= texts - 2
    assert all(len(rest) < 100 for rest in rests if rest is not None)


class Shown:
    text = ""
    seamed = True


def test_a_chunk_is_left_as_it_is(recording: Recording) -> None:
    before = copy.deepcopy(recording.chunks)
    port = port_for(recording.chunks[0])
    for chunk in recording.chunks:
        text = port.facts(chunk).text
        port.cut(chunk, 0, len(text) // 2, Shown())
        port.encode(chunk)
    assert recording.chunks == before


def test_events_are_numbered_without_a_gap(recording: Recording) -> None:
    numbers = [facts.sequence for facts in facts_of(recording)]
    if recording.name.startswith("openai_responses/") and any(numbers):
        assert all(next_ - this == 1 for this, next_ in pairwise(numbers))  # type: ignore[operator]
    else:
        assert set(numbers) == {None}


def test_nothing_fails_so_nothing_changes(recording: Recording) -> None:
    """G7: the same objects in the same order, and G1: their text is the answer's."""
    target = l0_core.Target(lambda _: iter(recording.chunks), prefill=False)
    expected = facts_of(recording)
    if not any(facts.status or facts.finish in {"stop", "tool_calls", "end_turn"} for facts in expected):
        pytest.skip("the provider broke this stream off")
    stream = l0_core.stream(target, stall_guard="off")
    given = list(stream)
    extra = given[len(recording.chunks) :]
    assert [id(chunk) for chunk in given[: len(recording.chunks)]] == [id(chunk) for chunk in recording.chunks]
    takes_metadata = recording.name.partition("/")[0] in CHAT
    assert [chunk.l0["status"] for chunk in extra] == (["complete"] if takes_metadata else [])
    assert stream.result.text == answered(recording)
    assert stream.result.attempts == 1


# What the SDKs themselves make of it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recordings("openai", "groq", "deepseek"))
def test_it_is_what_the_openai_sdk_puts_together(name: str) -> None:
    recording = recording_of(name)
    state: Any = ChatCompletionStreamState()
    for chunk in recording.chunks:
        state.handle_chunk(chunk)
    message = state.current_completion_snapshot.choices[0].message
    assert "".join(facts.text for facts in facts_of(recording)) == (message.content or "")
    calls = [(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or []]
    assert put_together(facts_of(recording)) == calls


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # the SDK's, over its own models
@pytest.mark.parametrize("name", recordings("openai_responses"))
def test_it_is_what_the_openai_sdk_says_a_response_was(name: str) -> None:
    recording = recording_of(name)
    response = recording.chunks[-1].response
    assert "".join(facts.text for facts in facts_of(recording)) == response.output_text
    made = [item for item in response.output if item.type == "function_call"]
    assert put_together(facts_of(recording)) == [(call.call_id, call.name, call.arguments) for call in made]
    if recording.chunks[0].type == "response.created":
        state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
        for event in recording.chunks:
            state.handle_event(event)


@pytest.mark.parametrize("name", recordings("anthropic"))
def test_it_is_what_the_anthropic_sdk_puts_together(name: str) -> None:
    chunks = recording_of(name).chunks
    port, buffers, text = port_for(chunks[0]), dict[int, bytes](), ""
    snapshot: Any = None
    for chunk in chunks:
        headers: Any = None
        snapshot = accumulate_event(event=chunk, current_snapshot=snapshot, json_bufs=buffers, request_headers=headers)
        text += port.facts(chunk).text
    assert text == "".join(block.text for block in snapshot.content if block.type == "text")


@pytest.mark.parametrize("name", recordings("anthropic"))
def test_plain_and_beta_events_say_the_same(name: str) -> None:
    plain, beta = all_of(messages_stream(recorded(name))), all_of(beta_messages_stream(recorded(name)))
    one, other = port_for(plain[0]), port_for(beta[0])
    assert [one.facts(event) for event in plain] == [other.facts(event) for event in beta]


def put_together(all_facts: list[Facts]) -> list[tuple[str | None, str | None, str]]:
    """The tool calls in fragments, each complete."""
    calls: dict[int, list[ToolFragment]] = {}
    for facts in all_facts:
        for fragment in facts.tools:
            calls.setdefault(fragment.index, []).append(fragment)
    for fragments in calls.values():
        json.loads("".join(fragment.args for fragment in fragments) or "{}")
    return [
        (
            next((f.id for f in fragments if f.id), None),
            next((f.name for f in fragments if f.name), None),
            "".join(f.args for f in fragments),
        )
        for fragments in calls.values()
    ]


# What else they say --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """What a provider said beside the text: why it ended, what became of it, what it used, whether it reasoned."""

    finish: str | None = None
    status: str | None = None
    usage: tuple[int, ...] | None = None
    reasons: bool = False


ASKED = (15, 9, 0, 0, 0)
TOLD = {
    "anthropic/anthropic_code_execution_tool_stream-1": Told("end_turn", None, (4714, 304, 0, 0, 0), reasons=True),
    "anthropic/anthropic_compaction_usage_with_cache_streaming-1": Told(
        "end_turn", None, (55196, 8, 0, 55096, 0), reasons=True
    ),
    "anthropic/anthropic_model_thinking_part_stream-1": Told("end_turn", None, (43, 282, 0, 0, 0), reasons=True),
    "anthropic/anthropic_model_web_search_tool_stream-1": Told("end_turn", None, (22397, 637, 0, 0, 0), reasons=True),
    "deepseek/deepseek_model_thinking_stream-1": Told("stop", None, (6, 212, 198, 0, 0), reasons=True),
    "groq/groq_model_web_search_tool_stream-1": Told("stop", None, (5003, 359, 0, 0, 0), reasons=True),
    "groq/tool_use_failed_error_streaming-1": Told(reasons=True),
    "groq/tool_use_failed_error_streaming-2": Told("tool_calls", None, (304, 49, 23, 0, 0), reasons=True),
    "mistral/mistral_model_thinking_part_iter-1": Told("stop", None, (10, 232, 0, 0, 0), reasons=True),
    "openai/openai_moderation_stream-1": Told("stop", None, (13, 11, 0, 0, 0)),
    "openai/run_stream_sync_streams_real_model-1": Told("tool_calls", None, (53, 15, 0, 0, 0)),
    "openai/run_stream_sync_streams_real_model-2": Told("stop", None, (78, 9, 0, 0, 0)),
    "openai_responses/background_mode_streaming_starting_after_vcr-1": Told(None, "completed", ASKED),
    "openai_responses/background_mode_streaming_starting_after_vcr-2": Told(None, "completed", ASKED),
    "openai_responses/background_mode_streaming_vcr-1": Told(None, "completed", ASKED),
    "openai_responses/openai_responses_model_web_search_tool_stream-1": Told(
        None, "completed", (9463, 582, 512, 8320, 0), reasons=True
    ),
    "openai_responses/openai_responses_stream-1": Told("tool_calls", "completed", (255, 16, 0, 0, 0)),
    "openai_responses/openai_responses_stream-2": Told(None, "completed", (278, 9, 0, 0, 0)),
    "openai_responses/openai_responses_streaming_usage-1": Told(
        "tool_calls", "completed", (53, 469, 448, 0, 0), reasons=True
    ),
    "openrouter/openrouter_stream_error-1": Told("length", reasons=True),
    "openrouter/openrouter_streaming_reasoning-1": Told("stop", None, (43, 36, 13, 0, 0), reasons=True),
}


def test_what_else_was_said_is_read(recording: Recording) -> None:
    all_facts = facts_of(recording)
    last: dict[str, Any] = {}
    for facts in all_facts:
        last |= {name: value for name, value in facts._asdict().items() if value}
    usage = last.get("usage")
    reasons = any(facts.reasoning for facts in all_facts)
    told = Told(last.get("finish"), last.get("status"), usage and tuple(usage), reasons=reasons)
    assert told == TOLD[recording.name]
    assert not any(facts.opaque for facts in all_facts)
