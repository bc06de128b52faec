"""A chat model that costs nothing: what is measured is everything else."""

from collections.abc import AsyncIterator, Iterator
from itertools import cycle, islice
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

CHUNKS = [ChatGenerationChunk(message=AIMessageChunk(content="token ", id="run-1")) for _ in range(2_000)]


class Ready(BaseChatModel):
    """Gives an answer, or as many chunks as it is told, that were made before."""

    count: int = len(CHUNKS)

    @property
    def _llm_type(self) -> str:
        return "ready"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:  # noqa: ARG002 - it is asked as any is
        return ChatResult(generations=[ChatGeneration(message=AIMessage("It is Paris."))])

    def _stream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:  # noqa: ARG002 - as above
        yield from islice(cycle(CHUNKS), self.count)

    async def _astream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:  # noqa: ARG002 - as above
        for chunk in islice(cycle(CHUNKS), self.count):
            yield chunk
