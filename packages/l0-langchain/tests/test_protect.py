"""What `protect` reaches, what it says it does not, and that what it was given stays as it was."""

from typing import Any

import pytest
from shapes import SHAPES

from l0_langchain import ProtectionReport, protect, unprotect

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    pytest.mark.filterwarnings("ignore:.*(create_react_agent|InMemoryChatMessageHistory|RunnableWithMessageHistory).*"),
]

BEYOND_A_COPY = {"global", "method", "middleware"}
"""Held by a module, and by objects of the program's own, which may be meant to be one only."""

BEYOND = {"made_inside"}
"""Not there before the function runs."""


def outcome(made: Any, value: Any) -> str:
    try:
        answer = made.invoke(value)
    except ConnectionResetError:
        return "fails"
    assert "Paris." in str(answer)
    return "survives"


def test_there_are_twenty_seven_shapes() -> None:
    assert len(SHAPES) == 27


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_fails_by_itself(name: str) -> None:
    made, value = SHAPES[name]()
    assert outcome(made, value) == "fails"


@pytest.mark.parametrize("name", SHAPES)
def test_a_copy_survives(name: str) -> None:
    made, value = SHAPES[name]()
    copy = protect(made)
    assert isinstance(copy.l0_report, ProtectionReport)
    states = {found.state for found in copy.l0_report if found.what == "model"}
    if name in BEYOND | BEYOND_A_COPY:
        assert "out of reach" in states
        assert all(found.why for found in copy.l0_report.out_of_reach)
        return
    assert states == {"protected"}
    assert outcome(copy, value) == "survives"


@pytest.mark.parametrize("name", SHAPES)
def test_protected_in_place_it_survives(name: str) -> None:
    made, value = SHAPES[name]()
    assert protect(made, in_place=True) is made
    states = {found.state for found in made.l0_report if found.what == "model"}
    if name in BEYOND:
        assert states == {"out of reach"}
        return
    assert states == {"protected"}
    assert outcome(made, value) == "survives"


@pytest.mark.parametrize("name", sorted(set(SHAPES) - set()))
@pytest.mark.parametrize("in_place", [False, True], ids=["copy", "in place"])
def test_unprotected_it_is_as_it_was(name: str, *, in_place: bool) -> None:
    made, value = SHAPES[name]()
    again = unprotect(protect(made, in_place=in_place))
    assert (again is made) == in_place
    assert not hasattr(again, "l0_report")
    assert outcome(again, value) == "fails"


@pytest.mark.parametrize("name", sorted(set(SHAPES) - set()))
def test_a_copy_leaves_the_original_as_it_was(name: str) -> None:
    made, value = SHAPES[name]()
    protect(made)
    assert not hasattr(made, "l0_report")
    assert outcome(made, value) == "fails"
