"""What type checkers infer in user code: `assert_type` is theirs to check, in `make lint`; here the same code runs."""

from typing import Any, assert_type

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableSerializable
from langchain_core.tools import BaseTool, tool
from rules import RuleModel

from l0_langchain import L0ChatModel, ProtectionReport, protect, unprotect


@tool
def search(query: str) -> str:
    """Search."""
    return query


def test_a_wrapped_model_is_a_chat_model_to_a_type_checker() -> None:
    bare = RuleModel()
    model = L0ChatModel(model=bare, fallbacks=[bare.bind(stop=["x"])], policy="interactive", temperature=0.5)
    assert_type(model, L0ChatModel)
    assert_type(model.with_policy("batch"), L0ChatModel)
    assert_type(model.invoke("x"), AIMessage)
    assert_type(next(model.stream("x")), AIMessageChunk)
    assert_type(model.bind_tools([search]), Runnable[LanguageModelInput, AIMessage])


def test_a_chain_of_a_wrapped_model_has_the_types_of_the_bare_one() -> None:
    chain = ChatPromptTemplate.from_template("{x}") | L0ChatModel(model=RuleModel()) | StrOutputParser()
    assert_type(chain, RunnableSerializable[dict[str, Any], str])
    assert_type(chain.invoke({"x": "y"}), str)


def test_what_is_protected_is_of_the_type_it_was() -> None:
    chain = ChatPromptTemplate.from_template("{x}") | RuleModel() | StrOutputParser()
    assert_type(protect(chain).invoke({"x": "y"}), str)
    assert_type(ProtectionReport.of(protect(chain)).protected[0].name, str)
    with pytest.raises(TypeError, match="RunnableSequence was protected"):
        ProtectionReport.of(chain)
    assert_type(protect(RuleModel()), RuleModel)
    assert_type(protect(search, fallbacks=[search]), BaseTool)
    assert_type(unprotect(protect(DeterministicFakeEmbedding(size=3))), DeterministicFakeEmbedding)
