"""LangChain's own suites: what passes for a bare model passes for the wrapped one, and the same is skipped (G7).

The suites find out from a class what it can do, so that a wrapper which loses tools is skipped where it should fail.
"""

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from rules import RuleModel

from l0_langchain import L0ChatModel

pytestmark = [
    pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning"),
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20"),
]

SKIPPED = {
    "test_init_from_env",
    "test_serdes",
    "test_invoke_with_model_override",
    "test_ainvoke_with_model_override",
    "test_stream_with_model_override",
    "test_astream_with_model_override",
    "test_json_mode",
    "test_pdf_inputs",
    "test_audio_inputs",
    "test_image_inputs",
    "test_image_tool_message",
    "test_pdf_tool_message",
    "test_anthropic_inputs",
    "test_stream_time",
}
"""What the model says it cannot do, or has no recordings for."""


class Bare:
    """The model as it is."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RuleModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "rules-1"}


class Wrapped(Bare):
    """The class that is composed: what the suites look at to find out what a model can do."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return type(L0ChatModel(model=RuleModel()))


class TestBareUnit(Bare, ChatModelUnitTests): ...


class TestWrappedUnit(Wrapped, ChatModelUnitTests): ...


class TestBareIntegration(Bare, ChatModelIntegrationTests): ...


class TestWrappedIntegration(Wrapped, ChatModelIntegrationTests): ...


def test_the_same_tests_pass_and_the_same_are_skipped(outcomes: dict[str, dict[str, str]]) -> None:
    """Runs last in its file; says so where it cannot know."""
    for suite in ("Unit", "Integration"):
        bare, wrapped = outcomes.get(f"TestBare{suite}", {}), outcomes.get(f"TestWrapped{suite}", {})
        if len(wrapped) < len(bare) or not bare:
            pytest.skip("needs the whole file to run before it, in one process")
        assert wrapped == bare
        assert set(bare.values()) == {"passed", "skipped"}
    seen = {
        name.partition("[")[0] for suite in outcomes.values() for name, outcome in suite.items() if outcome == "skipped"
    }
    assert seen == SKIPPED
