"""The stories `l0 demo` tells with LangChain's own client: a chain, an agent, over HTTP to a provider that fails."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough

from l0_core import Policy, Retry, guards
from l0_core.demo import Side, Story
from l0_core.testing import FaultyProvider, Reply, faults
from l0_core.testing.schedule import Schedule
from l0_langchain import L0ChatModel

QUESTION = "Where does the Seine rise, and how long is it?"
ANSWER = (
    "The Seine rises in Burgundy, near Dijon. It passes through Troyes and Paris, and meets the sea at Le Havre, "
    "775 kilometres later. Barges go up as far as Burgundy to this day."
)
NOTES = [
    Document("The Seine rises at Source-Seine, near Dijon in Burgundy."),
    Document("The Seine is 775 kilometres long and ends at Le Havre."),
    Document("The Loire is the longest river of France."),
]
PACE = faults.drip(seconds=0.025)

Wrap = Callable[..., BaseChatModel]


def bare(model: BaseChatModel, **_: Any) -> BaseChatModel:
    """Take the model as it is."""
    return model


def reliable(model: BaseChatModel, **options: Any) -> BaseChatModel:
    """Make the model reliable."""
    return L0ChatModel(model=model, **options)


def client(provider: FaultyProvider, **options: Any) -> BaseChatModel:
    """Return LangChain's own client of the provider, as everybody makes it."""
    model: BaseChatModel = init_chat_model(
        "gpt-5-mini", model_provider="openai", base_url=provider.openai_url, api_key="none", **options
    )
    return model


def find(question: str) -> str:
    """Return the notes that have a word in common with the question."""
    words = {word.strip("?,.").lower() for word in question.split() if len(word) > 4}  # noqa: PLR2004 - no "the"
    found = [note.page_content for note in NOTES if words & {word.lower() for word in note.page_content.split()}]
    return "\n".join(found)


def chain(model: BaseChatModel) -> Runnable[str, Any]:
    """Return a small retrieval chain."""
    prompt = ChatPromptTemplate.from_messages([("system", "Answer from these notes:\n{notes}"), ("user", "{question}")])
    return {"notes": RunnableLambda(find), "question": RunnablePassthrough()} | prompt | model


@contextmanager
def provider(*script: Schedule, answer: str | Reply = ANSWER, chunks: int = 40) -> Iterator[FaultyProvider]:
    """Give a provider that words its answers anew each time, as models do."""
    with FaultyProvider(wording="varied", seed=7) as server:
        server.reply(answer, chunks=chunks)
        server.script(*script)
        yield server


def stream(side: Side, model: BaseChatModel, server: FaultyProvider) -> None:
    """Ask the chain, and show what its reader sees."""
    told: dict[str, Any] = {}
    try:
        for chunk in chain(model).stream(QUESTION):
            side.write(chunk.text)
            told |= chunk.response_metadata.get("l0", {})
    except Exception as error:  # noqa: BLE001 - whatever the program is left with is what is shown
        side.failed(error)
    if told:
        side.told(told)
    else:
        requests = server.request_count
        side.remark(f"{requests} request{'' if requests == 1 else 's'}")


def dies(wrap: Wrap) -> Callable[[Side], None]:
    """Break the connection in the middle of the answer."""

    def play(side: Side) -> None:
        with provider(PACE + faults.reset_after(chunks=22), PACE) as server:
            stream(side, wrap(client(server, max_retries=2)), server)

    return play


def throttled(wrap: Wrap) -> Callable[[Side], None]:
    """Turn the first target's callers away, for longer than anybody waits."""

    def play(side: Side) -> None:
        with provider(faults.rate_limit(retry_after=1)) as busy, provider(PACE) as spare:
            policy = Policy(retry=Retry(max_retries=1))
            stream(side, wrap(client(busy, max_retries=2), fallbacks=[client(spare)], policy=policy), busy)

    return play


def cut_tool(wrap: Wrap) -> Callable[[Side], None]:
    """Cut the arguments of a tool call."""

    def play(side: Side) -> None:
        def weather(city: str) -> str:
            """Tell the weather in a city."""
            side.remark(f"the tool ran: weather(city={city!r})")
            return f"{city}: sunny, 24 °C"

        with FaultyProvider() as server:
            server.conversation(
                Reply.of("", tool_calls=[("weather", {"city": "Paris, France"})]),
                Reply.of("It is sunny there, at 24 °C.", chunks=12),
            )
            server.script(faults.tool_args_cut(chunks=4, how="end"), PACE)
            agent = create_agent(wrap(client(server)), [weather])
            asked: Any = {"messages": [("user", "What is the weather in Paris?")]}
            try:
                for chunk, _ in agent.stream(asked, stream_mode="messages"):
                    if isinstance(chunk, AIMessageChunk):
                        side.write(chunk.text)
            except Exception as error:  # noqa: BLE001 - whatever the program is left with is what is shown
                side.failed(error)

    return play


def leaks(wrap: Wrap) -> Callable[[Side], None]:
    """Let the model say a key that was in its notes."""
    key = "-".join(["sk", "proj", "b7Qw93kfLzT2xYvN0aRt" + "T3Blbk" + "FJ" + "h4Jd8sMcPq5uEgWi1oXn"])
    answer = f"The staging service listens on port 8080. Its key is {key} and it runs in Dijon."

    def play(side: Side) -> None:
        with FaultyProvider() as server:
            server.reply(answer, chunks=30)
            server.script(PACE)
            policy = Policy(guards=[guards.secrets(mask="[key removed]")], delivery="guarded")
            stream(side, wrap(client(server), policy=policy), server)

    return play


def story(place: int, title: str, setting: str, play: Callable[[Wrap], Callable[[Side], None]]) -> Story:
    """Return a story that is the same program on both sides but for the wrapper."""
    return Story(place, title, setting, play(bare), play(reliable))


STORIES = [
    story(
        1,
        "The connection dies in the middle of the answer",
        "A retrieval chain streams to its reader; the provider resets the connection, and words the answer anew "
        "when it is asked again. The bare client has two retries of its own.",
        dies,
    ),
    story(
        3,
        "429 with Retry-After, for longer than the reader waits, then a fallback",
        "The provider turns everybody away. A second, simpler model is there; bare, nobody asks it.",
        throttled,
    ),
    story(
        4,
        "The arguments of a tool call are cut",
        "An agent calls weather(city='Paris, France'); the stream ends in the middle of the arguments.",
        cut_tool,
    ),
    story(
        5,
        "The answer leaks a key",
        "A guard looks for keys while the answer streams, and holds back what may become one.",
        leaks,
    ),
]
