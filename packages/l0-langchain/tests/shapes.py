"""The ways in which programs hold a model: twenty-seven, each with a model that fails the first time it is called."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import (
    ConfigurableField,
    Runnable,
    RunnableBranch,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnableWithMessageHistory,
)
from langchain_core.runnables import chain as as_chain
from langchain_core.tools import BaseTool, tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import create_react_agent  # type: ignore[deprecated]  # programs use it

QUESTION = "What is the capital of France?"


class Flaky(BaseChatModel):
    """Loses its connection the first time, and then answers."""

    name_: str = "flaky-1"
    failures: int = 1
    calls: int = 0

    @property
    def _llm_type(self) -> str:
        return "flaky"

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bind(tools=[{"name": getattr(each, "name", str(each))} for each in tools])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionResetError("it was cut")
        calls = []
        if any(each.get("type") == "function" for each in kwargs.get("tools") or ()):
            calls = [{"name": "Answer", "args": {"text": "Paris."}, "id": "call_1", "type": "tool_call"}]
        return ChatResult(generations=[ChatGeneration(message=AIMessage("Paris.", tool_calls=calls))])


class Structured(Flaky):
    """Binds tools as the framework's own structured output expects it."""

    def bind_tools(
        self, tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool], **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bind(tools=[{"type": "function"} for _ in tools])


SCHEMA = {
    "title": "Answer",
    "description": "An answer.",
    "type": "object",
    "properties": {"text": {"type": "string", "description": "It."}},
}
Shape = Callable[[], tuple[Any, Any]]
SHAPES: dict[str, Shape] = {}
PROMPT = ChatPromptTemplate.from_template("{x}")
MODEL: Any = None
"""What `global_` uses."""


def shape(function: Callable[[Any], tuple[Any, Any]]) -> Callable[[Any], tuple[Any, Any]]:
    """Note a shape: given a model it answers with what holds it, and with an input."""

    def made() -> tuple[Any, Any]:
        return function(Structured() if function.__name__.startswith("structured") else Flaky())

    SHAPES[function.__name__.rstrip("_")] = made
    return function


@shape
def sequence(model: Any) -> tuple[Any, Any]:
    return PROMPT | model | StrOutputParser(), {"x": QUESTION}


@shape
def parallel(model: Any) -> tuple[Any, Any]:
    return RunnableParallel(a=model), QUESTION


@shape
def bound(model: Any) -> tuple[Any, Any]:
    return model.bind(stop=["x"]), QUESTION


@shape
def tools_bound(model: Any) -> tuple[Any, Any]:
    return model.bind_tools([str]), QUESTION


@shape
def structured(model: Any) -> tuple[Any, Any]:
    return model.with_structured_output(SCHEMA), QUESTION


@shape
def structured_with_raw(model: Any) -> tuple[Any, Any]:
    return model.with_structured_output(SCHEMA, include_raw=True), QUESTION


@shape
def branch(model: Any) -> tuple[Any, Any]:
    return RunnableBranch((lambda _: True, model), RunnablePassthrough()), QUESTION


@shape
def fallbacks(model: Any) -> tuple[Any, Any]:
    return model.with_fallbacks([Flaky(failures=9)]), QUESTION


@shape
def retried(model: Any) -> tuple[Any, Any]:
    return model.with_retry(stop_after_attempt=1), QUESTION


@shape
def mapped(model: Any) -> tuple[Any, Any]:
    return model.map(), [QUESTION]


@shape
def assigned(model: Any) -> tuple[Any, Any]:
    return RunnablePassthrough.assign(y=PROMPT | model), {"x": QUESTION}


@shape
def configured(model: Any) -> tuple[Any, Any]:
    return model.with_config(tags=["a"]), QUESTION


@shape
def alternatives(model: Any) -> tuple[Any, Any]:
    made: Any = RunnablePassthrough().configurable_alternatives(ConfigurableField(id="which"), flaky=model)
    return made.with_config(configurable={"which": "flaky"}), QUESTION


@shape
def returned(model: Any) -> tuple[Any, Any]:
    return RunnableLambda(lambda _: model), QUESTION


@shape
def closure(model: Any) -> tuple[Any, Any]:
    def ask(question: str) -> Any:
        return model.invoke(question)

    return RunnableLambda(ask), QUESTION


@shape
def global_(model: Any) -> tuple[Any, Any]:
    global MODEL  # noqa: PLW0603 - that is the shape
    MODEL = model
    return RunnableLambda(lambda question: MODEL.invoke([question])), QUESTION


@shape
def applied(model: Any) -> tuple[Any, Any]:
    def ask(asked: Any, question: str) -> Any:
        return asked.invoke(question)

    return RunnableLambda(partial(ask, model)), QUESTION


@shape
def method(model: Any) -> tuple[Any, Any]:
    class Service:
        def __init__(self) -> None:
            self.model = model

        def ask(self, question: str) -> Any:
            return self.model.invoke(question)

    return RunnableLambda(Service().ask), QUESTION


@shape
def history(model: Any) -> tuple[Any, Any]:
    store = InMemoryChatMessageHistory()
    made = RunnableWithMessageHistory(model, lambda _: store)
    return made.with_config(configurable={"session_id": "1"}), QUESTION


@shape
def generator(model: Any) -> tuple[Any, Any]:
    def transform(questions: Iterator[Any]) -> Iterator[Any]:
        for question in questions:
            yield model.invoke(question).content

    return RunnableGenerator(transform), QUESTION


@shape
def decorated(model: Any) -> tuple[Any, Any]:
    @as_chain
    def ask(question: str) -> Any:
        return model.invoke(question)

    return ask, QUESTION


@shape
def tool_(model: Any) -> tuple[Any, Any]:
    @tool
    def ask(question: str) -> str:
        """Ask."""
        return str(model.invoke(question).content)

    return ask, {"question": QUESTION}


@shape
def graph(model: Any) -> tuple[Any, Any]:
    made = StateGraph(MessagesState)
    made.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    made.add_edge(START, "model")
    made.add_edge("model", END)
    return made.compile(), {"messages": [HumanMessage(QUESTION)]}


@shape
def agent(model: Any) -> tuple[Any, Any]:
    return create_agent(model, [_search]), {"messages": [HumanMessage(QUESTION)]}


@shape
def older_agent(model: Any) -> tuple[Any, Any]:
    return create_react_agent(model, [_search]), {"messages": [HumanMessage(QUESTION)]}


@shape
def middleware(model: Any) -> tuple[Any, Any]:
    made = create_agent(Flaky(failures=0), [], middleware=[Routing(model)])
    return made, {"messages": [HumanMessage(QUESTION)]}


@shape
def made_inside(_: Any) -> tuple[Any, Any]:
    made: list[Any] = []

    def ask(question: str) -> Any:
        made.append(1)
        return Flaky(failures=1 if len(made) == 1 else 0).invoke(question)

    return RunnableLambda(ask), QUESTION


@tool
def _search(query: str) -> str:
    """Search."""
    return query


class Routing(AgentMiddleware[Any, Any]):
    """A middleware of a program's own that holds a model."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]) -> Any:
        return handler(request.override(model=self.model))
