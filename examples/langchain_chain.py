"""A LangChain chain whose provider breaks off in the middle of the answer, and whose reader does not notice."""

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI

from l0_core.testing import FaultyProvider, faults
from l0_langchain import L0ChatModel


def main() -> None:
    """Ask once, through two connections."""
    with FaultyProvider(wording="varied") as provider:
        provider.reply("The Seine rises in Burgundy, passes through Paris and ends at Le Havre.", chunks=16)
        provider.script(faults.reset_after(chunks=9), faults.ok())

        model = L0ChatModel(model=ChatOpenAI(model="gpt-5-mini", base_url=provider.openai_url, api_key="none"))
        chain = ChatPromptTemplate.from_template("Tell me about {topic}.") | model | StrOutputParser()

        answer = ""
        for text in chain.stream({"topic": "the Seine"}):
            print(text, end="", flush=True)
            answer += text
        print(f"\n\n{provider.request_count} requests, one whole answer: {provider.is_right(answer)}")


if __name__ == "__main__":
    main()
