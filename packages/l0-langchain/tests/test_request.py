"""What a target is sent beside the caller's own messages."""

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from l0_core import Attempt
from l0_langchain._request import messages_for

ASKED = [HumanMessage("A price, as JSON.")]


def attempt(rejected: str, *errors: str) -> Attempt:
    instruction = "Put it right." if errors else ""
    return Attempt("t", 1, "fresh", "", "", "", instruction, 0, 60.0, "k", rejected=rejected, errors=errors)


def test_a_target_is_told_what_to_put_right() -> None:
    told = HumanMessage("Put it right.")
    assert messages_for(attempt("{}", "price: missing"), [*ASKED], is_stranger=False) == [*ASKED, AIMessage("{}"), told]
    assert messages_for(attempt("", "price: missing"), [*ASKED], is_stranger=False) == [*ASKED, told]


def test_otherwise_the_messages_are_the_callers_own() -> None:
    asked: list[BaseMessage] = [*ASKED]
    assert messages_for(attempt(""), asked, is_stranger=False) is asked
