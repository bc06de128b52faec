"""A LlamaIndex query engine that streams while its provider breaks off."""

from typing import Any

from llama_index.core import Document, SummaryIndex
from llama_index.llms.openai import OpenAI

from l0_core.testing import FaultyProvider, faults
from l0_llamaindex import L0LLM


def main() -> None:
    """Ask once, through two connections."""
    with FaultyProvider(wording="varied") as provider:
        provider.reply("The Seine rises in Burgundy, near Dijon, 446 metres above the sea.", chunks=16)
        provider.script(faults.reset_after(chunks=9), faults.ok())

        llm = L0LLM(llm=OpenAI(model="gpt-4o-mini", api_base=provider.openai_url, api_key="none"))
        index = SummaryIndex.from_documents([Document(text="The Seine rises at Source-Seine, near Dijon.")])
        response: Any = index.as_query_engine(llm=llm, streaming=True).query("Where does the Seine rise?")

        answer = ""
        for text in response.response_gen:
            print(text, end="", flush=True)
            answer += text
        print(f"\n\n{provider.request_count} requests, one whole answer: {provider.is_right(answer)}")


if __name__ == "__main__":
    main()
