"""What a step returned comes back as it was, or is refused by name."""

import dataclasses
import enum
import math
import pickle
from collections import OrderedDict, defaultdict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, PrivateAttr

from l0_core import _codec
from l0_core._codec import Codec, Results, register_codec, remember
from l0_core._errors import JournalError, StepNotSerializable


class Colour(enum.Enum):
    RED = "r"


class Point(NamedTuple):
    x: int
    y: float


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    text: str
    at: Point
    when: datetime


@dataclasses.dataclass
class Order:
    lines: list[Line]
    colour: Colour
    total: float = dataclasses.field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.total += 1

    @cached_property
    def size(self) -> int:
        return len(self.lines)


class Model(BaseModel):
    name: str = Field(alias="Name")
    when: datetime
    tags: set[str] = set()


class Secretive(BaseModel):
    shown: int
    hidden: int = Field(exclude=True)


class Remembers(BaseModel):
    shown: int
    _private: int = PrivateAttr(0)


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_codec, "_REGISTERED", {})
    monkeypatch.setattr(_codec, "_CODECS", {})


def order() -> Order | dict[str, Model | None]: ...  # type: ignore[empty-body]


def plain(): ...  # type: ignore[no-untyped-def]  # noqa: ANN201


NOW = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
SCALARS = [b"\x00\xff", date(2026, 1, 2), NOW, time(1, 2), timedelta(1, 2, 3), Decimal("1.10"), UUID(int=7)]


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, "x\ud800"], "$": "not a tag"},
        {1: "a", (1, 2): {3}},
        (1, [2], {"x": (3,)}),
        frozenset({1, "a"}),
        *SCALARS,
        Order([Line("a", Point(1, 2.0), NOW)], Colour.RED),
        {"k": Model(Name="n", when=NOW, tags={"a", "b"}), "none": None},
    ],
    ids=lambda value: str(value)[:40].encode("ascii", "replace").decode(),
)
def test_a_result_comes_back_as_it_was(value: Any) -> None:
    read = Results("order", order).decode(Results("order", order).encode(value))
    assert read == value
    assert type(read) is type(value)


def test_what_is_no_number_comes_back_too() -> None:
    results = Results("f")
    assert math.isnan(results.decode(results.encode(float("nan"))))
    assert results.decode(results.encode([-math.inf])) == [-math.inf]


def test_what_init_did_is_not_done_again() -> None:
    made = Order([], Colour.RED)
    assert made.size == 0
    read = Results("order", order).decode(Results("order", order).encode(made))
    assert read.total == made.total == 1.0


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text()
        | st.binary()
        | st.decimals(allow_nan=False),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.text() | st.integers(), inner)
            | st.tuples(inner, inner)
            | st.sets(st.integers() | st.text())
        ),
        max_leaves=20,
    )
)
def test_whatever_is_taken_comes_back(value: Any) -> None:
    results = Results("f")
    assert results.decode(results.encode(value)) == value


class Stranger:
    pass


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Stranger(), "Stranger"),
        ([1, {"a": Stranger()}], r"the result\[1\]\['a'\] is a .*Stranger"),
        (lambda: 1, "function"),
        (OrderedDict(a=1), "OrderedDict"),
        (defaultdict(list), "defaultdict"),
        (iter([1]), "iterator"),
        (Secretive(shown=1, hidden=2), "Secretive"),
        (Line("a", Point(1, 2), NOW), r"Line.*return annotation"),
    ],
)
def test_anything_else_is_refused_by_name(value: Any, named: str) -> None:
    with pytest.raises(StepNotSerializable, match=named) as refused:
        Results("charge", plain).encode(value)
    assert "charge" in str(refused.value)


def test_what_would_not_come_back_is_refused_where_it_is_written() -> None:
    remember(Secretive)
    remember(Remembers)
    with pytest.raises(StepNotSerializable, match="Secretive"):
        Results("f").encode(Secretive(shown=1, hidden=2))
    private = Remembers(shown=1)
    private._private = 5
    with pytest.raises(StepNotSerializable, match="does not read back"):
        Results("f").encode(private)
    beside = Order([], Colour.RED)
    beside.note = "x"  # type: ignore[attr-defined]
    with pytest.raises(StepNotSerializable, match="note"):
        Results("order", order).encode(beside)
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(StepNotSerializable, match="deeper"):
        Results("f").encode(deep)


def test_a_class_is_found_because_the_program_names_it_and_never_imported() -> None:
    written = Results("order", order).encode(Colour.RED)
    with pytest.raises(JournalError, match="Colour"):
        Results("plain", plain).decode(written)
    remember(Colour)
    assert Results("plain", plain).decode(written) is Colour.RED
    planted = '{"$":"dataclass:subprocess.Popen","value":{"args":"touch pwned"}}'
    with pytest.raises(JournalError, match="Popen"):
        Results("order", order).decode(planted)


def test_a_frameworks_codec_knows_its_own() -> None:
    codec = Codec("strange", lambda value: isinstance(value, Stranger), lambda _: {"s": 1}, lambda _: Stranger())
    register_codec(codec)
    written = Results("f").encode([Stranger()])
    assert type(Results("f").decode(written)[0]) is Stranger
    _codec._CODECS.clear()
    with pytest.raises(JournalError, match="strange"):
        Results("f").decode(written)


def test_a_pickle_is_nothing_but_bytes() -> None:
    results = Results("f")
    assert results.decode(results.encode(pickle.dumps(1))) == pickle.dumps(1)
    with pytest.raises(StepNotSerializable):
        remember(Stranger)
