"""JSON in Python: held against the standard library where it is valid, against the engine's table where it is not."""

import json as std
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from l0_core import json

TABLE = Path(__file__).parents[3] / "crates" / "l0-engine" / "tests" / "data" / "broken_json.jsonl"

# Characters that a document can hold; half a surrogate pair is none.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5), max_leaves=30
)
CONTAINERS = st.lists(VALUES, max_size=5) | st.dictionaries(TEXT, VALUES, max_size=5)


@st.composite
def written(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> str:
    return std.dumps(
        draw(values),
        indent=draw(st.none() | st.integers(0, 3)),
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.none() | st.just((",", ":"))),
    )


def same(mine: Any, theirs: Any) -> bool:
    """Equality that tells 1 from 1.0, True from 1 and 0.0 from -0.0, and keeps the order of keys."""
    return repr(mine) == repr(theirs)


def cuts(text: str, sizes: list[int]) -> Iterator[str]:
    at = 0
    for size in sizes:
        yield text[at : at + size]
        at += size
    yield text[at:]


# Documents that are right --------------------------------------------------------------------------------------------


@given(written(VALUES))
@example("1e400")
@example("-0")
@example("-0.0")
@example("123456789012345678901234567890")
@example('{"a": 1, "b": 2, "a": 3}')
@example('"\\ud83d"')
@example('"\\ud83d\\ude00 \\u0000"')
@example('"\ud83d"')
@example(" [1,\n2]\t")
@example("[" * 400 + "]" * 400)
def test_a_document_is_returned_as_it_is_and_reads_as_it_always_did(text: str) -> None:
    repaired = json.repair(text)
    assert repaired.text is text
    assert repaired.changes == []
    assert not repaired.cut
    assert same(repaired.value, std.loads(text))


@given(written(CONTAINERS), st.lists(st.integers(0, 12), max_size=40))
@example('{"a": 1, "b": [2], "a": {"b": 3}}', [1] * 30)
@example('{"a": -0, "b": -0.0, "c": 1e400, "d": 123456789012345678901234567890}', [1] * 70)
def test_a_document_in_pieces_grows_into_what_it_says(text: str, sizes: list[int]) -> None:
    partial = json.Partial()
    seen: list[tuple[str, Any]] = []
    for piece in cuts(text, sizes):
        before = partial.value
        changed = partial.feed(piece)
        assert changed == (not same(before, partial.value))
        seen.append((repr(partial.value), partial.value))
    assert partial.is_complete
    assert partial.status == "complete"
    assert same(partial.value, std.loads(text))
    # What was read once is not changed afterwards.
    assert all(then == repr(value) for then, value in seen)


def test_reading_in_between_makes_no_difference() -> None:
    text = std.dumps({"list": [{"name": f"n{place}", "of": [place, None, True]} for place in range(50)]})
    often, once = json.Partial(), json.Partial()
    for piece in text:
        once.feed(piece)
        if often.feed(piece):
            assert often.value is often.value
    assert same(often.value, once.value)


def test_what_is_closed_is_shared_and_what_is_open_is_not() -> None:
    partial = json.Partial()
    partial.feed('{"closed": [1, 2], "open": [3')
    before = partial.value
    partial.feed(", 4")
    after = partial.value
    assert (before, after) == ({"closed": [1, 2], "open": []}, {"closed": [1, 2], "open": [3]})
    assert before["closed"] is after["closed"]


# Documents that are broken ------------------------------------------------------------------------------------------


def rows() -> list[dict[str, Any]]:
    return [std.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]


def test_every_broken_text_of_the_table_means_what_was_meant() -> None:
    table = rows()
    assert len(table) >= 200
    for row in table:
        documents = row.get("documents", "longest")
        if row.get("no_json"):
            with pytest.raises(json.Unrepairable):
                json.repair(row["text"], documents=documents)
            continue
        repaired = json.repair(row["text"], documents=documents)
        assert same(repaired.value, row["value"]) or repaired.value == row["value"], row
        assert same(std.loads(repaired.text), repaired.value), row
        assert all(0 <= change.at <= len(row["text"]) for change in repaired.changes), row


@given(written(CONTAINERS), st.data())
def test_what_was_cut_is_a_beginning(text: str, data: st.DataObject) -> None:
    """A cut document, repaired, holds nothing that the whole does not begin with."""
    cut = data.draw(st.integers(1, len(text)))
    repaired = json.repair(text[:cut])
    assert repaired.cut == (cut < len(text.rstrip()))
    assert begins(repaired.value, std.loads(text))


def begins(part: Any, whole: Any) -> bool:
    match part, whole:
        case dict(), dict():
            # A key whose value is cut may stand earlier with another one: a document that says a key twice.
            return all(key in whole and begins(value, whole[key]) for key, value in part.items())
        case list(), list():
            return len(part) <= len(whole) and all(map(begins, part, whole))
        case str(), str():
            return whole.startswith(part.rstrip("\ufffd"))
        case ((int() | float()), (int() | float())):
            return True  # `12` of `120`: the repair says that it was cut
        case _:
            return bool(part == whole)


@given(st.text(st.sampled_from("{}[]:,\"'\\ntru0-.e/*`# \ud800é”“") | st.characters(), max_size=60))
def test_any_text_is_repaired_or_refused(text: str) -> None:
    try:
        repaired = json.repair(text)
    except json.Unrepairable:
        return
    again = json.repair(repaired.text)
    assert again.changes == []
    assert same(again.value, repaired.value)
    assert same(std.loads(repaired.text), repaired.value)


@given(st.lists(st.text(st.sampled_from('{}[]:,"\\u12ntrue ') | st.characters(), max_size=10), max_size=20))
def test_any_text_can_be_fed(pieces: list[str]) -> None:
    partial, whole = json.Partial(), json.Partial()
    for piece in pieces:
        partial.feed(piece)
        assert std.dumps(partial.value) is not None
    whole.feed("".join(pieces))
    assert same(partial.value, whole.value)
    assert partial.status == whole.status


def test_what_is_in_a_string_stays() -> None:
    inside = ["http://x.y/*z*/", "```json\n{}\n```", "/* no */", "a, ]", "// x", "{'a': None,}"]
    text = std.dumps(inside)
    assert json.repair(text).text is text
    assert json.repair(text[:-1]).value == inside


def test_the_caller_chooses_among_documents() -> None:
    text = '{"a": 1} and {"b": [1, 2, 3]} and {"c": 2}'
    chosen = {which: json.repair(text, documents=which).value for which in ("longest", "first", "last", "all")}
    assert chosen == {
        "longest": {"b": [1, 2, 3]},
        "first": {"a": 1},
        "last": {"c": 2},
        "all": [{"a": 1}, {"b": [1, 2, 3]}, {"c": 2}],
    }
    with pytest.raises(TypeError, match="longest, first, last or all"):
        json.repair(text, documents="best")  # type: ignore[arg-type]


def test_places_are_characters_and_surrogates_do_no_harm() -> None:
    repaired = json.repair('{"é😀": "\ud800", b: 1}')
    assert repaired.value == {"é😀": "\ufffd", "b": 1}
    assert [(change.fix, change.at) for change in repaired.changes] == [("unquoted_key", 12)]
    partial = json.Partial()
    partial.feed('["\ud83d')
    partial.feed("\ude00")
    assert partial.value == ["\ufffd\ufffd"]


def test_nesting_is_bounded() -> None:
    with pytest.raises(json.Unrepairable, match="character 1 is nested deeper than 1"):
        json.repair("[[]]", depth_max=1)
    partial = json.Partial(depth_max=1)
    partial.feed('["a", [')
    assert (partial.status, partial.value) == ("invalid", ["a"])


def test_whole_numbers_python_does_not_take_are_floats() -> None:
    text = f"[{'9' * 5_000}]"
    partial = json.Partial()
    partial.feed(text)
    assert json.repair(text).value == partial.value == [math.inf]


def test_a_partial_is_read_by_one_thread_at_a_time() -> None:
    """Whatever threads do, they are answered or refused, and nothing hangs."""
    partial, refused = json.Partial(), []

    def feed() -> None:
        for _ in range(300):
            try:
                partial.feed('[{"a": "b')
                partial.value  # noqa: B018 - reading is the test
            except RuntimeError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=feed) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert set(refused) <= {"a Partial is read by one thread at a time"}
