"""A whole chain inside a run: what it did is not done again, what changed is told, a replay calls nothing (G5, G6)."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnableParallel
from llama_index.core.base.llms.types import ChatMessage, CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.llms import CustomLLM

import l0_core
from l0_core import Journal, ReplayDivergence
from l0_langchain import L0ChatModel
from l0_llamaindex import L0LLM


class Killed(KeyboardInterrupt):
    """The process dies here."""


CALLS: list[str] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


class Talker(BaseChatModel):
    """Repeats what it was asked, in words."""

    @property
    def _llm_type(self) -> str:
        return "talker"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        CALLS.append(str(messages[-1].content))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(f"You said: {messages[-1].content}"))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        CALLS.append(str(messages[-1].content))
        for word in f"You said: {messages[-1].content}".split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=f"{word} "))


@l0_core.step(side_effect=False)
def look_up(query: str) -> list[str]:
    CALLS.append(f"look up {query}")
    return [f"{query} is known"]


def chain() -> Runnable[Any, Any]:
    def documents(given: dict[str, str]) -> str:
        return " ".join(Document(text).page_content for text in look_up(given["query"]))

    prompt = ChatPromptTemplate.from_messages([("system", "Be kind."), ("user", "{query}: {found}")])
    both: Runnable[Any, Any] = RunnableParallel(found=RunnableLambda(documents), query=lambda given: given["query"])
    return both | prompt | L0ChatModel(model=Talker())


def test_a_langchain_chain_is_not_done_again() -> None:
    journal = Journal.memory()

    def play(query: str, *, killed: bool = False, **options: Any) -> list[BaseMessage]:
        with l0_core.run("job", journal=journal, **options):
            first = chain().invoke({"query": query})
            given = []
            for chunk in chain().stream({"query": "Rome"}):
                given.append(chunk)
                if killed and len(given) == 3:
                    raise Killed
            whole = given[0]
            for chunk in given[1:]:
                whole += chunk
            return [first, whole]

    with pytest.raises(Killed):
        play("Paris", killed=True)
    calls = CALLS.copy()
    first, second = play("Paris")
    assert (first.text, second.text.strip()) == (
        "You said: Paris: Paris is known",
        "You said: Rome: Rome is known",
    )
    assert CALLS[: len(calls)] == calls
    assert CALLS[len(calls) :] in ([], ["Rome: Rome is known"]), "only the answer that was cut is gone on with"
    after = CALLS.copy()
    again = play("Paris", mode="replay")
    assert [message.content for message in again] == [first.content, second.content]
    with pytest.raises(ReplayDivergence, match="step look_up"):
        play("Prague")
    assert after == CALLS


def test_a_changed_system_prompt_is_told_by_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.memory()
    for word in ("kind", "curt"):
        prompt = ChatPromptTemplate.from_messages([("system", f"Be {word}."), ("user", "{query}")])
        asking = prompt | L0ChatModel(model=Talker())
        if word == "kind":
            with l0_core.run("job", journal=journal):
                asking.invoke({"query": "Paris"})
        else:
            with pytest.raises(ReplayDivergence) as caught, l0_core.run("job", journal=journal):
                asking.invoke({"query": "Paris"})
            (change,) = caught.value.changes
            assert change.path.startswith("messages[0]")
            assert (change.expected, change.actual, change.at) == ("Be kind.", "Be curt.", 3)


class Writer(CustomLLM):
    """Completes in words."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="writer")

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - as the framework has it
        CALLS.append(prompt)
        return CompletionResponse(text=f"Done with {prompt}")

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:  # noqa: FBT001, FBT002 - as above
        CALLS.append(prompt)
        text = ""
        for word in f"Done with {prompt}".split(" "):
            text += f"{word} "
            yield CompletionResponse(text=text, delta=f"{word} ")


def test_a_llama_index_model_is_not_asked_again() -> None:
    journal = Journal.memory()

    def play(prompts: Sequence[str], **options: Any) -> list[str]:
        llm = L0LLM(llm=Writer())
        with l0_core.run("job", journal=journal, **options):
            told = [llm.complete(prompt).text for prompt in prompts]
            told += [llm.chat([ChatMessage(prompt)]).message.content or "" for prompt in prompts]
            return [*told, *("".join(part.delta or "" for part in llm.stream_complete(prompt)) for prompt in prompts)]

    first = play(["a", "b"])
    assert len(CALLS) == 6
    for mode in ("auto", "replay"):
        assert play(["a", "b"], mode=mode) == first
    assert len(CALLS) == 6
