"""What is scripted, what is recorded of a request, and that a script which cannot work fails the test that wrote it."""

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from by_hand import QUESTION, ask, send

from l0_core.testing import FaultyProvider, Request, Template, faults, samples
from l0_core.testing.fault import Misuse

TOOL_TURNS = [
    {
        "role": "assistant",
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "18 °C"},
]
CLAUDE_TOOL_TURNS = [
    {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "weather", "input": {}}]},
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "18 °C"}]}],
    },
]
RESPONSES_TOOL_TURNS = [
    {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "18 °C"},
]
TURNS: dict[str, list[Any]] = {"openai": TOOL_TURNS, "anthropic": CLAUDE_TOOL_TURNS, "responses": RESPONSES_TOOL_TURNS}


@pytest.fixture
def provider(faulty_provider: FaultyProvider) -> FaultyProvider:
    return faulty_provider


def test_it_is_a_context_manager_of_both_kinds() -> None:
    with FaultyProvider() as provider:
        assert ask(provider).text == samples.PROSE.canonical
    with pytest.raises(RuntimeError, match="not running"):
        _ = provider.url

    async def run() -> str:
        async with FaultyProvider() as provider:
            return (await asyncio.to_thread(ask, provider)).text

    assert asyncio.run(run()) == samples.PROSE.canonical


def test_it_is_started_once_at_a_time_and_may_be_started_again() -> None:
    provider = FaultyProvider()
    provider.start()
    with pytest.raises(RuntimeError, match="running already"):
        provider.start()
    provider.close()
    provider.close()
    with provider:
        assert ask(provider).status == 200


def test_a_fixed_port_is_taken_again() -> None:
    with FaultyProvider() as provider:
        port = int(provider.url.rpartition(":")[2])
    with FaultyProvider(port=port) as again:
        assert again.url.endswith(f":{port}")


@pytest.mark.parametrize("dialect", sorted(TURNS))
def test_an_agent_loop_is_scripted_turn_by_turn(provider: FaultyProvider, dialect: str) -> None:
    first = provider.reply("", tool_calls=[("weather", {"city": "Paris"})])
    provider.conversation(first, "It is 18 °C in Paris.")
    asked = [*QUESTION]
    assert b"weather" in ask(provider, asked, dialect=dialect).body
    assert b"weather" in ask(provider, asked, dialect=dialect).body
    answered = [*asked, *TURNS[dialect]]
    for _ in range(2):
        assert ask(provider, answered, dialect=dialect).text == "It is 18 °C in Paris."
    result = provider.requests[-1].messages[-1]
    assert (result.role, result.text, result.tool_name) == ("tool", "18 °C", "weather")
    again = [*answered, {"role": "assistant", "content": "It is 18 °C in Paris."}, *QUESTION]
    assert b"weather" in ask(provider, again, dialect=dialect).body


def test_a_reply_may_be_for_some_questions_only(provider: FaultyProvider) -> None:
    provider.reply("Everything else.")
    provider.reply("Berlin.", when="GERMANY")
    provider.reply("Long.", when=lambda request: len(request.question) > 100)
    assert ask(provider, [{"role": "user", "content": "Capital of Germany?"}]).text == "Berlin."
    assert ask(provider, [{"role": "user", "content": "x" * 101}]).text == "Long."
    assert ask(provider).text == "Everything else."
    provider.reply("Bonn.", when="GERMANY")
    assert ask(provider, [{"role": "user", "content": "Germany " + "x" * 101}]).text == "Bonn."


def test_what_arrived_is_kept_parsed(provider: FaultyProvider) -> None:
    messages = [{"role": "system", "content": "Be brief."}, *QUESTION]
    ask(provider, messages)
    [request] = provider.requests
    assert isinstance(request, Request)
    assert (request.dialect, request.model, request.stream) == ("openai", "m", True)
    assert (request.system, request.question) == ("Be brief.", "What is the capital of France?")
    assert request.body["messages"] == messages
    assert request.headers["content-type"] == "application/json"
    assert (request.fault, request.ending, request.sent_text) == ("ok()", "complete", samples.PROSE.canonical)
    assert request.whole == samples.PROSE.canonical
    assert request.sent_chunks == 8
    assert 0 < request.input_tokens < request.output_tokens
    assert request.duration > 0


def test_no_key_is_shown(provider: FaultyProvider) -> None:
    ask(provider, None)
    assert "content-type" not in repr(provider.requests[0])
    assert "capital" not in repr(provider.requests[0])


def test_parts_of_a_message_are_one_text(provider: FaultyProvider) -> None:
    parts = [
        {"type": "text", "text": "What is "},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "it?"},
    ]
    ask(provider, [{"role": "user", "content": parts}])
    assert provider.requests[0].question == "What is it?"


def test_waiting_for_requests_that_do_not_come_says_so(provider: FaultyProvider) -> None:
    with pytest.raises(TimeoutError, match="0 of 2 requests"):
        provider.wait_for_requests(2, timeout=0.01)


def test_identical_wording_says_the_same_every_time(provider: FaultyProvider) -> None:
    provider.reply("A large house.", chunks=3)
    heard = [ask(provider) for _ in range(3)]
    assert {one.text for one in heard} == {"A large house."}
    assert len({tuple(len(event["choices"]) for event in one.events) for one in heard}) == 1
    assert provider.is_right("A large house.")
    assert not provider.is_right("A big house.")


def test_varied_wording_says_it_in_other_words_and_other_pieces() -> None:
    def texts(seed: int) -> list[str]:
        with FaultyProvider(wording="varied", seed=seed) as provider:
            provider.reply("The large house lies near the sea.", chunks=5)
            heard = [ask(provider) for _ in range(20)]
            assert all(provider.is_right(one.text) for one in heard)
            assert len({str([said["choices"][0]["delta"].get("content") for said in one.events]) for one in heard}) > 10
            return [one.text for one in heard]

    first = texts(1)
    assert len(set(first)) > 5
    assert first == texts(1) != texts(2)


@pytest.mark.parametrize("wrong", ["", "The large house lies near the", "The large house lies near the sea. The large"])
def test_what_is_not_whole_is_not_right(wrong: str) -> None:
    with FaultyProvider(wording="varied") as provider:
        provider.reply("The large house lies near the sea.")
        assert not provider.is_right(wrong)


def test_right_is_what_any_reply_may_be(provider: FaultyProvider) -> None:
    assert provider.is_right(samples.PROSE.canonical)
    provider.reply("One.", when="one")
    provider.conversation("Two.", "Three.")
    assert [provider.is_right(text) for text in ("One.", "Two.", "Three.", samples.PROSE.canonical)] == [
        True,
        True,
        True,
        False,
    ]


def test_arguments_of_a_call_may_be_any_text(provider: FaultyProvider) -> None:
    provider.reply("", tool_calls=[{"name": "broken", "args": '{"a": '}])
    assert '{\\"a\\": ' in ask(provider, stream=False).body.decode()


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"chunks": 0}, "at least 1"),
        ({"logprob": 0.5}, "at most 0"),
        ({"tool_calls": [{"args": {}}]}, "a name, args"),
        ({"tool_calls": [{"name": "x", "arguments": {}}]}, "a name, args"),
    ],
)
def test_a_wrong_reply_is_refused(provider: FaultyProvider, given: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        provider.reply("x", **given)
    with pytest.raises(ValueError, match="one turn or more"):
        provider.conversation()
    with pytest.raises(ValueError, match="'identical' or 'varied'"):
        FaultyProvider(wording="loud")  # type: ignore[arg-type]


def test_a_fault_that_can_have_no_effect_fails_the_test_that_scripted_it() -> None:
    for fault in (
        faults.tool_args_cut(),
        faults.stall("reasoning"),
        faults.corrupt(byte=10**9),
        faults.restart() + faults.role_only(),
    ):
        provider = FaultyProvider()
        with pytest.raises(Misuse), provider:  # noqa: PT012 - leaving the block is what raises
            if "restart" in fault.name:
                provider.reply("")
            provider.script(fault)
            assert ask(provider).status == 500


def test_another_error_in_the_block_is_not_hidden_by_it() -> None:
    def misused() -> None:
        with FaultyProvider() as provider:
            provider.script(faults.tool_args_cut())
            ask(provider)
            raise KeyError("the test's own")

    with pytest.raises(KeyError, match="own"):
        misused()


def test_a_script_counts_from_the_moment_it_is_set(provider: FaultyProvider) -> None:
    ask(provider)
    provider.script(faults.flaky(faults.status(500), 2))
    assert [ask(provider).status for _ in range(4)] == [500, 500, 200, 200]
    provider.script(faults.status(503))
    assert [ask(provider).status for _ in range(2)] == [503, 503]


def test_concurrent_requests_each_take_their_turn_of_the_script(provider: FaultyProvider) -> None:
    provider.script(*[faults.status(500 + number) for number in range(20)], faults.ok())
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: ask(provider).status, range(20)))
    assert sorted(statuses) == list(range(500, 520))
    assert [request.number for request in provider.requests] == list(range(20))


def test_only_the_latest_requests_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("l0_core.testing.provider.REQUESTS_KEPT", 3)
    with FaultyProvider() as provider:
        for _ in range(5):
            ask(provider)
        assert [request.number for request in provider.requests] == [2, 3, 4]
        assert [request.number for request in provider.requests_from(3)] == [3, 4]
        assert provider.request_count == 5


def test_a_template_is_a_reply() -> None:
    with FaultyProvider(wording="varied") as provider:
        provider.reply(Template("{Yes|No}, {sir|madam}."))
        heard = {ask(provider).text for _ in range(40)}
        assert heard == {"Yes, sir.", "Yes, madam.", "No, sir.", "No, madam."}


def test_models_are_listed_and_not_counted(provider: FaultyProvider) -> None:
    assert send(provider, "GET", "/v1/models").json["data"][0]["id"]
    assert provider.requests == []


def test_every_public_parameter_is_documented() -> None:
    for function in (FaultyProvider, FaultyProvider.reply, FaultyProvider.serve_recording):
        documented = inspect.getdoc(function) or ""
        parameters = [name for name in inspect.signature(function).parameters if name != "self"]
        assert [name for name in parameters if f"{name}:" not in documented] == []
