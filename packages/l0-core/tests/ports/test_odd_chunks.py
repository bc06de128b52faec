"""What providers, proxies and servers that only sound alike send: nothing of it makes a port raise, or lie."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from anthropic.types import RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import BaseModel, ConfigDict
from wire import chat_body, chat_stream, events, messages_body, messages_stream, responses_body, responses_stream, sent

import l0_core
from l0_core import Facts, LogProb, Opaque, ToolFragment, Usage
from l0_core._port import MaskingPort
from l0_core.ports.chat import ChatPort
from l0_core.ports.litellm import LiteLLMPort
from l0_core.ports.messages import MessagesPort
from l0_core.ports.responses import ResponsesPort


class Shown:
    text = ""
    seamed = True


SHOWN = Shown()


def chat_chunks(*choices: Any, **beside: Any) -> list[ChatCompletionChunk]:
    """Chunks of one choice each, as the SDK reads them."""
    common = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", **beside}
    return list(chat_stream(events({**common, "choices": [choice]} for choice in choices)))


def delta(**fields: Any) -> dict[str, Any]:
    return {"index": 0, "delta": fields, "finish_reason": None}


def chat_facts(*choices: Any, **beside: Any) -> list[Facts]:
    port = ChatPort()
    return [port.facts(chunk) for chunk in chat_chunks(*choices, **beside)]


# Chat completions ---------------------------------------------------------------------------------------------------


PLAIN_ONES = [
    delta(content="x"),
    delta(role="assistant", content="x"),
    delta(content="x", refusal=None, tool_calls=None, function_call=None, reasoning_content=None, reasoning_details=[]),
    {"index": 0, "delta": {"content": "x"}, "finish_reason": "", "logprobs": None},
    {"delta": {"content": "x"}},
]


@pytest.mark.parametrize("choice", PLAIN_ONES)
def test_nulls_and_names_leave_text_plain(choice: dict[str, Any]) -> None:
    (chunk,) = chat_chunks(choice, usage=None)
    assert ChatPort().text(chunk) == "x"
    assert ChatPort().facts(chunk) == Facts("x")


BESIDE = [
    delta(content="x", reasoning_content="y"),
    delta(content="x", tool_calls=[{"index": 0, "function": {"name": "f"}}]),
    delta(content="x", refusal="y"),
    delta(content="x", function_call={"name": "f"}),
    delta(content="x", audio={"data": "AA"}),
    delta(content=[{"type": "text", "text": "x"}]),
    {"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"},
    {"index": 0, "delta": {"content": "x"}, "logprobs": {"content": [{"token": "x", "logprob": -1.0}]}},
    {"index": 1, "delta": {"content": "x"}},
]


@pytest.mark.parametrize("choice", BESIDE)
def test_text_with_something_beside_it_is_not_plain(choice: dict[str, Any]) -> None:
    (chunk,) = chat_chunks(choice)
    assert ChatPort().text(chunk) is None


def test_text_with_usage_is_not_plain() -> None:
    (chunk,) = chat_chunks(delta(content="x"), usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3})
    assert ChatPort().text(chunk) is None
    assert ChatPort().facts(chunk) == Facts("x", usage=Usage(1, 2))


def test_tool_calls_are_told_apart() -> None:
    def call(index: int | None, args: str, identity: str | None = None, name: str | None = None) -> dict[str, Any]:
        return delta(tool_calls=[{"index": index, "id": identity, "function": {"name": name, "arguments": args}}])

    def fragments(*choices: dict[str, Any]) -> list[ToolFragment]:
        return [fragment for facts in chat_facts(*choices) for fragment in facts.tools]

    by_index = fragments(call(0, '{"a":', "x", "f"), call(0, "1}"), call(1, "{}", "y", "g"))
    assert by_index == [
        ToolFragment(0, "x", "f", '{"a":'),
        ToolFragment(0, None, None, "1}"),
        ToolFragment(1, "y", "g", "{}"),
    ]
    same_index = fragments(call(0, "{}", "x", "f"), call(0, "", "y", "g"), call(0, "[]"), call(0, "", "y"))
    assert [fragment.index for fragment in same_index] == [0, 1, 1, 1]
    no_index = fragments(call(None, "{}", "x", "f"), call(None, "{}", "y", "g"))
    assert [fragment.index for fragment in no_index] == [0, 1]
    (single,) = fragments(delta(function_call={"name": "f", "arguments": "{}"}))
    assert single == ToolFragment(0, None, "f", "{}")


def test_a_call_with_input_of_any_form_is_one_json_string() -> None:
    """G2: what the engine holds until it is complete must be something that can be."""

    def custom(**fields: Any) -> dict[str, Any]:
        return delta(tool_calls=[{"index": 0, "type": "custom", **fields}])

    choices = [
        custom(id="x", custom={"name": "shell", "input": 'say "'}),
        custom(custom={"input": 'hi"\n'}),
        {"index": 0, "delta": {}, "finish_reason": "tool_calls"},
    ]
    fragments = [fragment for facts in chat_facts(*choices) for fragment in facts.tools]
    assert json.loads("".join(fragment.args for fragment in fragments)) == 'say "hi"\n'
    assert [fragment.last for fragment in fragments] == [False, False, True]
    assert (fragments[0].id, fragments[0].name) == ("x", "shell")


def test_a_refusal_is_one_however_it_ends() -> None:
    facts = chat_facts(
        delta(refusal="I can"), delta(refusal="not."), {"index": 0, "delta": {}, "finish_reason": "stop"}
    )
    assert [fact.finish for fact in facts] == [None, None, "refusal"]
    assert [fact.text for fact in facts] == ["", "", ""]


def test_parts_that_are_not_looked_into_are_told_apart() -> None:
    one, other, done = chat_facts(
        delta(audio={"id": "a", "data": "AAAA"}), delta(audio={"data": "BBBB"}), delta(audio={"expires_at": 9})
    )
    assert one.opaque is not None
    assert other.opaque is not None
    assert one.opaque.digest != other.opaque.digest
    assert one.opaque.open
    assert done.opaque is not None
    assert not done.opaque.open
    (image,) = chat_facts(delta(images=[{"type": "image_url", "image_url": {"url": "data:"}}]))
    assert isinstance(image.opaque, Opaque)


def test_log_probabilities_are_summed() -> None:
    tokens = [{"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": []}, {"token": "b", "logprob": -9999.0}]
    (facts,) = chat_facts({"index": 0, "delta": {"content": "ab"}, "logprobs": {"content": tokens}})
    assert facts.logprob == LogProb(-9999.5, 2)
    (chunk,) = chat_chunks({"index": 0, "delta": {"content": "ab"}, "logprobs": {"content": tokens}})
    cut = ChatPort().cut(chunk, 1, 2, SHOWN)
    assert cut.choices[0].logprobs is not None
    assert [token.token for token in cut.choices[0].logprobs.content or []] == ["b"]


@pytest.mark.parametrize("choices", [[], None, [None], "x", 3, [{}], [{"delta": None}], [{"delta": {"content": 7}}]])
def test_choices_that_are_none(choices: Any) -> None:
    (chunk,) = chat_stream(events([{"id": "c", "object": "chat.completion.chunk", "choices": choices}]))
    port = ChatPort()
    assert port.text(chunk) is None
    assert port.facts(chunk) == Facts()
    assert port.facts(port.cut(chunk, 0, 0, SHOWN)) == Facts()


def test_further_choices_pass_and_are_left_out_after_a_seam() -> None:
    def chunk(index: int, text: str) -> dict[str, Any]:
        return {"index": index, "delta": {"role": "assistant", "content": text}, "finish_reason": None}

    first, second = chat_chunks(chunk(0, "a"), chunk(1, "b"))
    port = ChatPort()
    assert [port.facts(first).text, port.facts(second).text] == ["a", ""]
    port.follow(ChatPort(), first, "a")
    (emptied,) = port.cut(second, 0, 0, SHOWN).choices
    assert (emptied.index, emptied.delta.content, emptied.finish_reason) == (0, None, None)


def test_the_last_chunk_carries_the_metadata() -> None:
    (chunk,) = chat_chunks(delta(role="assistant", content=""))
    port = ChatPort()
    port.facts(chunk)
    final: Any = port.final({"l0": {"attempts": 2}})
    assert final.l0 == {"attempts": 2}
    assert (final.id, final.created, final.model) == ("c", 1, "m")
    assert final.choices[0].delta.content is None
    assert final.choices[0].finish_reason is None
    assert port.facts(final) == Facts()


def test_what_pads_every_chunk_is_given_again() -> None:
    """G6: also of a chunk that is written as little but its text."""
    texts = [
        chunk for number in range(5) for chunk in chat_chunks(delta(content=f"{number} "), obfuscation="x" * number)
    ]
    chunks = [*texts, *chat_chunks({**delta(), "finish_reason": "stop"})]
    journal = l0_core.Journal.memory()
    stream = l0_core.stream(lambda _: iter(chunks), journal=journal, stall_guard="off")
    given = list(stream)
    assert given[: len(chunks)] == chunks
    assert list(l0_core.replay_stream(journal, stream.result.session_id)) == given


# Messages -----------------------------------------------------------------------------------------------------------


def message_facts(*parts: dict[str, Any]) -> list[Facts]:
    port = MessagesPort()
    return [port.facts(event) for event in messages_stream(events(parts))]


def test_a_tool_call_of_a_message() -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    facts = message_facts(
        {"type": "content_block_start", "index": 2, "content_block": block},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}},
        {"type": "content_block_stop", "index": 2},
        {"type": "content_block_stop", "index": 1},
    )
    assert [fact.tools for fact in facts] == [
        (ToolFragment(2, "t", "f"),),
        (ToolFragment(2, args='{"a":1}'),),
        (ToolFragment(2, last=True),),
        (),
    ]


def test_a_tool_call_sent_whole() -> None:
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    (facts,) = message_facts({"type": "content_block_start", "index": 0, "content_block": block})
    assert facts.tools == (ToolFragment(0, "t", "f", '{"a": 1}'),)


def test_work_of_the_provider_is_no_call_of_ours() -> None:
    block = {"type": "server_tool_use", "id": "t", "name": "web_search", "input": {}}
    facts = message_facts(
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_stop", "index": 0},
    )
    assert [(fact.tools, fact.reasoning) for fact in facts] == [((), True), ((), True), ((), False)]


def test_a_message_that_starts_twice_is_counted_once() -> None:
    start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 7, "output_tokens": 1}}}
    facts = message_facts(
        start,
        start,
        {"type": "message_delta", "delta": {"stop_reason": "refusal"}, "usage": {"output_tokens": 9}},
    )
    assert facts[-1] == Facts(finish="refusal", usage=Usage(7, 9))


def test_a_prompt_is_counted_whole_whether_cached_or_not() -> None:
    usage = {"input_tokens": 3, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20, "output_tokens": 1}
    (facts,) = message_facts({"type": "message_start", "message": {"id": "m", "usage": usage}})
    assert facts.usage == Usage(input=123, output=1, cache_read=100, cache_write=20)


# Responses ----------------------------------------------------------------------------------------------------------


def response_facts(*parts: dict[str, Any]) -> list[Facts]:
    port = ResponsesPort()
    return [port.facts(event) for event in responses_stream(events(parts))]


@pytest.mark.parametrize(
    ("event", "facts"),
    [
        (
            {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}},
            Facts(finish="max_output_tokens", status="incomplete"),
        ),
        (
            {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "content_filter"}}},
            Facts(finish="content_filter", status="incomplete"),
        ),
        ({"type": "response.failed", "response": {"status": "failed"}}, Facts(finish="error", status="failed")),
        ({"type": "response.failed", "response": None}, Facts(finish="error", status="failed")),
        ({"type": "response.completed", "response": {"status": "completed"}}, Facts(status="completed")),
        ({"type": "error", "code": "server_error", "message": "no"}, Facts(finish="error")),
        ({"type": "response.reasoning_summary_text.delta", "delta": "Hm"}, Facts(reasoning=True)),
        ({"type": "response.reasoning_text.delta", "delta": "Hm"}, Facts(reasoning=True)),
        ({"type": "response.web_search_call.searching", "output_index": 0}, Facts(reasoning=True)),
        ({"type": "response.queued", "response": {}}, Facts()),
        ({"type": "response.of_tomorrow", "delta": "x"}, Facts()),
        ({"type": "response.in_progress", "sequence_number": 4}, Facts(sequence=4)),
    ],
)
def test_an_event_of_a_response(event: dict[str, Any], facts: Facts) -> None:
    assert response_facts(event) == [facts]


def test_a_refusal_of_a_response_is_one() -> None:
    facts = response_facts(
        {"type": "response.refusal.delta", "delta": "I cannot."},
        {"type": "response.completed", "response": {"status": "completed"}},
    )
    assert [fact.finish for fact in facts] == [None, "refusal"]
    assert facts[1].status == "completed"


def test_a_function_call_sent_whole_at_its_end() -> None:
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
    facts = response_facts(
        {"type": "response.output_item.added", "output_index": 3, "item": item},
        {"type": "response.function_call_arguments.done", "output_index": 3, "arguments": '{"a":1}'},
        {"type": "response.output_item.done", "output_index": 3, "item": {**item, "arguments": '{"a":1}'}},
        {"type": "response.completed", "response": {"status": "completed"}},
    )
    assert [fact.tools for fact in facts[:3]] == [
        (ToolFragment(3, "c", "f"),),
        (ToolFragment(3, args='{"a":1}', last=True),),
        (ToolFragment(3, last=True),),
    ]
    assert facts[3].finish == "tool_calls"


def test_a_custom_call_of_a_response_is_one_json_string() -> None:
    item = {"type": "custom_tool_call", "call_id": "c", "name": "shell", "input": ""}
    facts = response_facts(
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.custom_tool_call_input.delta", "output_index": 0, "delta": 'say "hi"\n'},
        {"type": "response.custom_tool_call_input.done", "output_index": 0, "input": 'say "hi"\n'},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    )
    assert json.loads("".join(fragment.args for fact in facts for fragment in fact.tools)) == 'say "hi"\n'
    assert facts[2].tools[0].last


def test_calls_that_are_not_json_are_passed_whole() -> None:
    item = {"type": "shell_call", "id": "s", "call_id": "c", "action": {"commands": ["ls"]}}
    added, done = response_facts(
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "action": {}}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    )
    assert added == Facts(reasoning=True)
    assert done.opaque is not None
    assert not done.opaque.open


# Anything -----------------------------------------------------------------------------------------------------------


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted({*"abc", "type", "text"})), inner)
    ),
    max_leaves=6,
)
CALL = {"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}
BODIES: dict[str, list[dict[str, Any]]] = {
    "chat": [*sent(chat_body(["a"])), {"choices": [delta(tool_calls=[CALL], content=[{"type": "text", "text": "x"}])]}],
    "messages": sent(messages_body(["a"], thinks=True)),
    "responses": sent(responses_body(["a"], thinks=True)),
}


def spoiled(draw: Callable[..., Any], value: Any) -> Any:
    """A value with something else somewhere in it."""
    if isinstance(value, dict | list) and value and draw(st.integers(0, 3)):
        place = draw(st.sampled_from(list(value) if isinstance(value, dict) else range(len(value))))
        inner = spoiled(draw, value[place])
        pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        fitted = [(key, inner if key == place else old) for key, old in pairs]
        return dict(fitted) if isinstance(value, dict) else [new for _, new in fitted]
    return draw(JSON)


PORTS: dict[str, tuple[Callable[[], Any], Any]] = {
    "chat": (ChatPort, ChatCompletionChunk),
    "messages": (MessagesPort, RawMessageStreamEvent),
    "responses": (ResponsesPort, ResponseStreamEvent),
}


def built(kind: Any, fields: dict[str, Any]) -> Any:
    """An SDK's model of whatever came, as the SDK builds it."""
    from openai._models import construct_type

    return construct_type(value=fields, type_=kind)


@pytest.mark.parametrize("name", PORTS)
@given(data=st.data())
def test_whatever_comes_a_port_stands_it(name: str, data: st.DataObject) -> None:
    make, kind = PORTS[name]
    body = BODIES[name]
    wild = [spoiled(data.draw, data.draw(st.sampled_from(body))) for _ in range(4)]
    chunks = [built(kind, fields) for fields in wild if isinstance(fields, dict)]
    port, before = make(), make()
    for chunk in chunks:
        assert isinstance(before.text(chunk), str | None)
        before.facts(chunk)
    for chunk in chunks[:1]:
        port.follow(before, chunk, "before")
    for chunk in chunks:
        text = port.facts(chunk).text
        port.cut(chunk, 0, len(text) // 2, SHOWN)
        port.decode(port.encode(chunk))


TEXT = st.text(st.characters(), max_size=12)


@given(TEXT, st.integers(0, 13), st.integers(0, 13), st.booleans())
def test_a_cut_is_a_slice(text: str, start: int, end: int, follows: bool) -> None:  # noqa: FBT001 - hypothesis passes by position
    content = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    told = {"type": "response.output_text.delta", "delta": text, "output_index": 0, "content_index": 0, "item_id": "i"}
    halves = [
        {"type": "text", "text": text[:5]},
        {"type": "thinking", "thinking": []},
        {"type": "text", "text": text[5:]},
    ]
    cases: list[tuple[Callable[[], Any], Any, dict[str, Any]]] = [
        (ChatPort, ChatCompletionChunk, {"id": "c", "choices": [delta(content=text)]}),
        (ChatPort, ChatCompletionChunk, {"id": "c", "choices": [delta(content=halves)]}),
        (MessagesPort, RawMessageStreamEvent, content),
        (ResponsesPort, ResponseStreamEvent, told),
    ]
    for make, kind, fields in cases:
        chunk, port, before = built(kind, fields), make(), make()
        dumped = chunk.model_dump(warnings=False)
        if follows:
            port.follow(before, chunk, "")
        assert before.facts(chunk).text == text
        assert before.facts(port.cut(chunk, start, end, SHOWN)).text == text[start:end]
        assert chunk.model_dump(warnings=False) == dumped
        assert port.decode(port.encode(chunk)) == chunk


@given(TEXT, TEXT)
def test_a_text_is_masked_and_nothing_else(text: str, masked: str) -> None:
    tokens = {"content": [{"token": text, "logprob": -1.0, "bytes": None, "top_logprobs": []}]}
    content = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    choice = {**delta(content=text, role="assistant"), "logprobs": tokens}
    chat, message = built(ChatCompletionChunk, {"id": "c", "choices": [choice]}), built(RawMessageStreamEvent, content)
    cases: list[tuple[Any, Any]] = [(ChatPort(), chat), (MessagesPort(), message)]
    for port, chunk in cases:
        masking = port
        assert isinstance(masking, MaskingPort)
        replaced = masking.replaced(chunk, masked, SHOWN)
        assert port.facts(replaced) == Facts(masked)
        assert port.facts(chunk).text == text
    assert ChatPort().replaced(chat, masked, SHOWN).choices[0].delta.role == "assistant"
    assert not isinstance(ResponsesPort(), MaskingPort), "the events at its end would repeat what was masked"


# LiteLLM, whose attributes may not exist ----------------------------------------------------------------------------


class Loose(BaseModel):
    """A model as LiteLLM's are: what is null is not there."""

    model_config = ConfigDict(extra="allow")


def loose(value: Any) -> Any:
    if isinstance(value, dict):
        return Loose(**{name: loose(inner) for name, inner in value.items() if inner is not None})
    return [loose(inner) for inner in value] if isinstance(value, list) else value


def test_attributes_that_do_not_exist_say_nothing() -> None:
    port = LiteLLMPort()
    text = loose({"id": "c", "created": 1, "choices": [delta(role="assistant", content="ab")]})
    assert port.text(text) == "ab"
    assert port.facts(text) == Facts("ab")
    assert port.cut(text, 1, 2, SHOWN).choices[0].delta.content == "b"
    assert text.choices[0].delta.content == "ab"
    thinks = loose({"choices": [delta(reasoning_content="Hm")]})
    assert port.text(thinks) is None
    assert port.facts(thinks) == Facts(reasoning=True)
    end = loose({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}})
    assert port.text(end) is None
    assert port.facts(end) == Facts(finish="stop", usage=Usage(3))
    for nothing in [loose({}), loose({"choices": []}), loose({"choices": [{}]})]:
        assert port.text(nothing) is None
        assert port.facts(nothing) == Facts()


@pytest.mark.timeout(300)  # LiteLLM takes its time to be imported
def test_what_litellm_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it fetches its list of prices otherwise
    import litellm

    answer = litellm.completion(
        model="gpt-5-mini",
        messages=[{"role": "user", "content": "hi"}],
        mock_response="The capital is Paris.",
        stream=True,
    )
    chunks = list(answer)
    port = LiteLLMPort()
    assert "".join(port.facts(chunk).text for chunk in chunks) == "The capital is Paris."
    assert any(port.text(chunk) for chunk in chunks)
    assert [facts.finish for chunk in chunks if (facts := port.facts(chunk)).finish] == ["stop"]
    for chunk in chunks:  # what LiteLLM keeps beside a chunk's fields is not its provider's word
        assert port.decode(port.encode(chunk)).model_dump() == chunk.model_dump()
    final = port.final({"l0": {"attempts": 1}})
    assert final.l0 == {"attempts": 1}
    assert final.id == chunks[0].id
