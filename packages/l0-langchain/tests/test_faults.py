"""Every fault of the faulty provider, through the real clients, on every route (G1, G2, G4, G8).

The right text, once, or a typed error; never a silent truncation. A fault that passes is healed.
"""

from typing import Any

import pytest
from clients import Client
from langchain_core.exceptions import ModelError
from routes import ROUTES, STREAMED, Seen, take

import l0_core
from l0_core import _native
from l0_core.testing import FaultyProvider, Reply, ToolCall, fault_table, faults
from l0_langchain import L0ChatModel

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")

QUESTION = "What is the capital of France, and how is the weather there?"
ANSWER = "The capital of France is Paris, which lies on the Seine, and it has been so for a very long time."
CALLING = "Let me look that up for you."
MAKES = ("openai", "anthropic")
SHORT = _native.Policy(
    '{"timeouts": {"open": 0.5, "first": 0.2, "text": 0.2, '
    '"reasoning": 0.2, "tool_args": 0.2, "call": 1.0, "linger": 0.2}}'
)
"""For faults that keep silent: real time passes while a stream is read."""

SLOW = ("stall", "keep_alive")
CASES = [(row, make, route) for row in fault_table.TABLE for make in MAKES for route in ROUTES]
COMBINATIONS = len(MAKES) * len(ROUTES)


def get_weather(city: str) -> str:
    """Look up the weather."""
    raise AssertionError("nobody runs it here")


def sampled(place: int) -> Any:
    """Each fault on one route in every run, on all of them in the long one."""
    row, make, route = CASES[place]
    number = place // COMBINATIONS
    marks = [] if place % COMBINATIONS == number * 5 % COMBINATIONS else [pytest.mark.matrix]
    return pytest.param(row, make, route, id=f"{row.fault}-{make}-{route}", marks=marks)


def fault_of(row: fault_table.Row) -> Any:
    name, _, arguments = row.fault.partition("(")
    return eval(f"make({arguments}", {"make": getattr(faults, name)})  # noqa: S307 - the table's own words


@pytest.mark.parametrize(("row", "make", "route"), [sampled(place) for place in range(len(CASES))])
async def test_a_fault_is_healed_or_told(row: fault_table.Row, make: Any, route: str, provider: FaultyProvider) -> None:
    client = Client(make)
    calls = [ToolCall("get_weather", {"city": "Paris"}, id="call_1")]
    about_tools = "tool_args" in row.fault
    thought = "Let me think." if "reasoning" in row.fault else ""
    if about_tools or route == "agent":
        provider.conversation(Reply.of(CALLING, tool_calls=calls, reasoning=thought), Reply.of(ANSWER))
    else:
        provider.reply(Reply.of(ANSWER, reasoning=thought))
    provider.script(fault_of(row), faults.ok())
    bare = client(provider, **({"max_retries": 0} if row.fault_class == "none" else {}))
    policy = SHORT if row.fault.startswith(SLOW) else None
    model: Any = L0ChatModel(model=bare, policy=policy)
    if about_tools and route != "agent":
        model = model.bind_tools([get_weather])
    try:
        seen = await take(route, model, QUESTION)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the caller saw
        check_error(error, row)
        return
    finally:
        await client.close(bare)
    check_answer(seen, row, make, route, provider)


NOTHING_CAME = ("html_200", "json_200", "empty_200", "done_only")
"""Nothing came, and so not what ends an answer either: that it was cut is what is seen first."""


def kinds(row: fault_table.Row, *, called: bool) -> set[str]:
    """What a fault may be taken for on a route. Called, all there is to see is what the client makes of the bytes."""
    first, _, other = row.fault_class.partition(", called: ")
    if called:
        more = {"overload"} if "error_event" in row.fault else {"network"} if "done_only" in row.fault else set()
        return {first, other, "protocol"} | more
    if row.fault.startswith(NOTHING_CAME):
        return {"network"}
    if row.fault == "refusal()":
        return {"empty"}  # A streamed refusal is dropped by the client: an empty answer is all that is left of it.
    return {"protocol"} if first.startswith("none; protocol") else {first}


def check_error(error: Exception, row: fault_table.Row) -> None:
    assert not row.heals, f"a fault that passes is healed, not raised: {error!r}"
    if row.fault_class == "refused" and isinstance(error, l0_core.L0Error):
        assert isinstance(error, l0_core.RefusedOutput)
        assert isinstance(error, ModelError)
        assert error.is_retryable is False
        return
    assert not isinstance(error, l0_core.L0Error), "what a bare call would have raised stays that"
    # Anthropic says that it blocked an answer in words alone, under the class of a bad request.
    may_be = {row.fault_class, "request"} if row.fault == "blocked()" else {row.fault_class}
    assert error.l0.faults[-1].fault in may_be  # type: ignore[attr-defined]


def check_answer(seen: Seen, row: fault_table.Row, make: str, route: str, provider: FaultyProvider) -> None:
    message = seen.message
    assert message is not None
    told = message.response_metadata["l0"]
    if "its own word" in row.fault_class or "surfaced" in row.fault_class:
        assert told["faults"] == []
        assert seen.text.endswith(message.text) or route == "agent"
        return
    assert row.heals or (row.fault, make) == ("refusal()", "openai")
    if route == "agent":
        assert seen.tool_runs == ["Paris"], "once, and with the whole arguments"
        assert seen.text == CALLING + ANSWER
        assert message.text == ANSWER
        return
    if "tool_args" in row.fault:
        assert [(call["name"], call["args"]) for call in message.tool_calls] == [("get_weather", {"city": "Paris"})]
        assert seen.text == CALLING
    else:
        assert seen.text == ANSWER
    assert message.text == seen.text
    assert message.invalid_tool_calls == []
    assert len(seen.ids) <= 1, "one message"
    seen_faults = [fault["fault"] for fault in told["faults"]]
    assert told["attempts"] == len(seen_faults) + 1
    expected = kinds(row, called=route not in STREAMED)
    if not seen_faults:
        silent = row.fault.startswith(SLOW) and route not in STREAMED  # A call that is not streamed may take longer.
        assert row.fault_class.startswith("none") or silent
        return
    assert set(seen_faults) <= expected
    assert len(seen_faults) == 1 or expected == {"stall"}, "once, but for time, which passes as it likes"
    finish = message.response_metadata.get("finish_reason") or message.response_metadata.get("stop_reason")
    assert finish in {"stop", "end_turn", "tool_calls", "tool_use"}
    names = message.response_metadata.get("model_name")
    assert names in {"gpt-4o-mini", "claude-haiku-4-5"}, "metadata is not glued"
