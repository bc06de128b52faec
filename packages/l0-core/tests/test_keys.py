"""G6: a step is known again by what it is given, and by nothing that changes on its own."""

import dataclasses
import enum
import functools
import json
import threading
import uuid
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import BaseModel

from l0_core._keys import Counts, Reference, StepKey, arguments, digest_of, form, form_of, text_of


def digest(value: Any) -> str:
    return digest_of(form_of(value))


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Order:
    number: int
    lines: list[str]


@dataclasses.dataclass
class Endpoint:
    url: str
    api_key: str


class Ticket(BaseModel):
    seat: str
    extra: dict[str, int] = {}


class Client:
    """Has nothing to say of itself but its address."""

    def fetch(self, query: str, limit: int = 10) -> None: ...


VALUES: list[Any] = [
    None,
    True,
    1,
    0.5,
    float("nan"),
    float("inf"),
    "1",
    b"1",
    [1, "1"],
    [["1"], 1],
    {"a": 1},
    {1: "a"},
    {"$": 1},
    {"1": "a"},
    {1, 2},
    Decimal(1),
    date(2026, 1, 1),
    datetime(2026, 1, 1, tzinfo=UTC),
    timedelta(days=1),
    uuid.UUID(int=1),
    Colour.RED,
    Colour.BLUE,
    PurePosixPath("a/b"),
    Order(1, ["x"]),
    Order(1, ["y"]),
    Ticket(seat="1A"),
    Ticket(seat="1A", extra={"a": 1}),
    Order,
    len,
    functools.partial(len, "x"),
    functools.partial(len, "y"),
    Client(),
]


def test_unlike_values_have_unlike_digests_and_like_ones_the_same() -> None:
    digests = [digest(value) for value in VALUES]
    assert len(set(digests)) == len(VALUES)
    assert digests == [digest(value) for value in VALUES]


def test_addresses_and_orders_that_mean_nothing_do_not_count() -> None:
    assert digest(Client()) == digest(Client())
    assert digest({"a": 1, "b": [2, 3]}) == digest(OrderedDict([("b", (2, 3)), ("a", 1)]))
    assert digest({"x", "y", "z"}) == digest({"z", "y", "x"})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_a_form_survives_being_written(value: Any) -> None:
    written = form_of(value)
    assert form_of(json.loads(text_of(written))) == form_of(written)
    assert digest_of(json.loads(text_of(written))) == digest_of(written)


@given(json_values, json_values)
def test_unlike_json_has_unlike_digests(one: Any, other: Any) -> None:
    same = text_of(form_of(one)) == text_of(form_of(other))
    assert (digest(one) == digest(other)) == same


@pytest.mark.parametrize(
    "said",
    [
        {"api_key": "sk-1"},
        {"extra_headers": {"x-api-key": "sk-1"}},
        {"messages": [], "default_headers": {"X-Whatever": "sk-1"}},
        {"body": {"openai_api_key": "sk-1"}},
        {"body": {"Authorization": "Bearer sk-1"}},
        {"auth_token": "sk-1"},
    ],
)
def test_a_credential_has_no_form(said: Any) -> None:
    text = text_of(form_of(said))
    assert "sk-1" not in text
    changed = json.loads(json.dumps(said).replace("sk-1", "sk-2"))
    assert digest(changed) == digest(said), "the same question, with another key"
    assert form_of(Endpoint("http://localhost", "sk-1")) == {"$": "Endpoint", "value": {"url": "http://localhost"}}


def test_what_is_said_beside_a_credential_counts() -> None:
    said: dict[str, Any] = {"api_key": "sk-1", "extra_headers": {"x-api-key": "sk-1"}, "city": "Paris"}
    assert form_of(said) == {"extra_headers": ["x-api-key"], "city": "Paris"}
    assert digest(said) != digest(said | {"city": "Rome"})
    assert digest(said) != digest(said | {"extra_headers": {"anthropic-beta": "x"}})


def test_what_contains_itself_has_a_form() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert digest(loop) != digest([1])
    assert digest(deep)


def test_a_call_is_the_same_input_however_it_is_written() -> None:
    client = Client()
    written = [
        arguments(Client.fetch, (client, "q"), {}),
        arguments(Client.fetch, (client, "q", 10), {}),
        arguments(Client.fetch, (client,), {"limit": 10, "query": "q"}),
    ]
    assert written == [{"query": "q", "limit": 10}] * 3
    assert arguments(min, (1, 2), {"key": abs}) == {"args": [1, 2], "kwargs": {"key": abs}}


# Frameworks ----------------------------------------------------------------------------------------------------------


def langchain_history(call: str, message: str, city: str = "Paris") -> list[Any]:
    return [
        HumanMessage("weather?", id=f"{message}-1"),
        AIMessage(
            [{"type": "text", "text": "I look."}, {"type": "tool_use", "id": call, "name": "weather", "input": {}}],
            id=f"{message}-2",
            tool_calls=[{"name": "weather", "args": {"city": city}, "id": call}],
            response_metadata={"created": message, "id": message},
            usage_metadata={"input_tokens": len(message), "output_tokens": 0, "total_tokens": len(message)},
        ),
        ToolMessage("sunny", tool_call_id=call, id=f"{message}-3"),
        Document("text", id=message, metadata={"page": 1}),
    ]


def llama_history(call: str, message: str, city: str = "Paris") -> list[Any]:
    block = ToolCallBlock(tool_call_id=call, tool_name="weather", tool_kwargs={"city": city})
    return [
        ChatMessage("weather?"),
        ChatMessage(role="assistant", blocks=[block]),
        ChatMessage("sunny", role="tool", additional_kwargs={"tool_call_id": call}),
        NodeWithScore(node=TextNode(text="text", id_=message, metadata={"page": 1}), score=0.5),
    ]


@pytest.mark.parametrize("history", [langchain_history, llama_history])
def test_generated_ids_do_not_count_and_what_is_said_does(history: Any) -> None:
    first = digest(history("call_1", "run-1"))
    assert digest(history("call_2", "run-22")) == first
    assert digest(history("call_1", "run-1", city="Rome")) != first


def test_which_call_a_result_belongs_to_counts() -> None:
    def answers(first: str, second: str) -> list[Any]:
        calls: list[Any] = [{"name": "f", "args": {"n": n}, "id": f"call_{n}"} for n in (1, 2)]
        return [
            AIMessage("", tool_calls=calls),
            ToolMessage("x", tool_call_id=first),
            ToolMessage("y", tool_call_id=second),
        ]

    assert digest(answers("call_1", "call_2")) != digest(answers("call_2", "call_1"))


def test_a_class_says_itself_what_of_it_is_input() -> None:
    class Conversation:
        def __init__(self, topic: str) -> None:
            self.topic = topic
            self.id = uuid.uuid4()

    @form(Conversation)
    def _(value: Conversation) -> Any:
        return [value.topic, Reference(value.id)]

    class Below(Conversation): ...

    assert digest(Conversation("a")) == digest(Conversation("a"))
    assert digest(Conversation("a")) != digest(Conversation("b"))
    assert digest(Below("a")) != digest(Below("b"))


# Keys ----------------------------------------------------------------------------------------------------------------


def test_the_same_input_again_is_another_step() -> None:
    counts = Counts()
    keys = [counts.key("", "f", "d"), counts.key("", "g", "d"), counts.key("", "f", "e"), counts.key("", "f", "d")]
    assert [key.nth for key in keys] == [0, 0, 0, 1]
    assert len({key.id for key in keys}) == 4
    assert keys[0] == StepKey("", "f", "d", 0)
    assert len(keys[0].id) == 32


def test_the_order_of_unlike_steps_does_not_matter() -> None:
    names = [f"{n % 7}" for n in range(700)]
    counted: list[set[StepKey]] = []
    for order in (names, names[::-1]):
        counts = Counts()
        barrier = threading.Barrier(4)

        def count(mine: list[str], counts: Counts = counts, barrier: threading.Barrier = barrier) -> list[StepKey]:
            barrier.wait()
            return [counts.key("", name, name) for name in mine]

        with ThreadPoolExecutor(4) as pool:
            counted.append({key for keys in pool.map(count, [order[n::4] for n in range(4)]) for key in keys})
    assert counted[0] == counted[1]
    assert len(counted[0]) == 700
