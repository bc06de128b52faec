"""The stories `l0 demo` tells with LangChain's own client: a chain, an agent, over HTTP to a provider that fails."""

import logging
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain.agents import create_agent
from langchain.chat_models import init_chat_model
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from pydantic import BaseModel

import l0_core
from l0_core import Journal, Policy, ReplayDivergence, Retry, guards
from l0_core.demo import Side, Story
from l0_core.testing import FaultyProvider, Reply, faults
from l0_core.testing.schedule import Schedule
from l0_langchain import L0ChatModel

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

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


def ask(side: Side, model: BaseChatModel, question: str = QUESTION, *, quietly: bool = False) -> dict[str, Any]:
    """Ask the chain, and show what its reader sees; return what the answer tells of itself."""
    told: dict[str, Any] = {}
    try:
        for chunk in chain(model).stream(question):
            if not quietly:
                side.write(chunk.text)
            told |= chunk.response_metadata.get("l0", {})
    except ReplayDivergence:  # Whoever replays has more to show of it.
        raise
    except Exception as error:  # noqa: BLE001 - whatever the program is left with is what is shown
        side.failed(error)
    return told


def stream(side: Side, model: BaseChatModel, server: FaultyProvider) -> None:
    """Ask the chain, and show what its reader sees, and what it took."""
    told = ask(side, model)
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
        side.began()

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


class River(BaseModel):
    """A river, as a program needs it."""

    name: str
    length_km: int
    mouth: str


def cut_json(wrap: Wrap) -> Callable[[Side], None]:
    """Break a JSON answer: its end is missing, and what there is is not quite JSON."""
    broken = "Here you are:\n```json\n{'name': 'Seine', 'length_km': 775, 'mouth': 'Le Havre',}\n```"

    def play(side: Side) -> None:
        with FaultyProvider() as server:
            server.reply(broken, chunks=12)
            server.script(PACE + faults.eof_after(chunks=8), PACE)
            rivers = wrap(client(server)).with_structured_output(River, include_raw=True)
            for _ in range(2):  # The program tries a second time, if it must.
                try:
                    found: Any = rivers.invoke("Describe the Seine.")
                except Exception as error:  # noqa: BLE001 - whatever the program is left with is what is shown
                    side.failed(error)
                    continue
                side.write(repr(found["parsed"]))
                told = found["raw"].response_metadata["l0"]
                side.remark(f"put right: {', '.join(dict.fromkeys(told['repaired']))}")
                side.told(told)
                break
            side.remark(f"{server.request_count} request{'' if server.request_count == 1 else 's'}")

    return play


def work(base_url: str, folder: Path, *, is_durable: bool, question: str = QUESTION) -> Iterator[str]:
    """Do the program's work: ask the chain, inside a run where it is to be durable."""
    model = init_chat_model("gpt-5-mini", model_provider="openai", base_url=base_url, api_key="none")
    inside = l0_core.run("question-1", journal=folder / "l0.db") if is_durable else nullcontext()
    with inside:
        for chunk in chain(L0ChatModel(model=model) if is_durable else model).stream(question):
            yield chunk.text


def program(base_url: str, folder: Path, told: "Connection[str, None]", *, is_durable: bool) -> None:
    """Be the program that is killed: say chunk by chunk what it prints."""
    logging.getLogger("l0").setLevel(logging.CRITICAL)
    for text in work(base_url, folder, is_durable=is_durable):
        told.send(text)


def killed(wrap: Wrap) -> Callable[[Side], None]:
    """Kill the process in the middle of the answer, and start it again."""

    def play(side: Side) -> None:
        with provider(PACE) as server, tempfile.TemporaryDirectory() as folder:
            is_durable = wrap is not bare
            side.remark("the program starts")
            first = _run(side, server, Path(folder), is_durable=is_durable, kill_after=14)
            side.remark("kill -9; the program starts again" + (", with the same id" if is_durable else ""))
            second = _run(side, server, Path(folder), is_durable=is_durable, kill_after=None)
            if second.startswith(first):
                side.remark(f"the {len(first)} characters shown before stand: the answer went on behind them")
            else:
                side.remark(f"the {len(first)} characters shown before do not: this is another answer")

    return play


def _run(side: Side, server: FaultyProvider, folder: Path, *, is_durable: bool, kill_after: int | None) -> str:
    """Run the program in a process of its own; kill it, as a machine does, after so many chunks."""
    # Processes are forked from one that has imported what the program imports: four times that would be half the demo.
    fork = "forkserver" in multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if fork else "spawn")
    if fork:
        context.set_forkserver_preload([__name__, "langchain_openai"])
    heard, told = context.Pipe(duplex=False)
    options = {"is_durable": is_durable}
    running = context.Process(target=program, args=(server.openai_url, folder, told), kwargs=options, daemon=True)
    running.start()
    told.close()
    seen: list[str] = []
    with heard:
        while len(seen) != kill_after:
            try:
                seen.append(heard.recv())
            except EOFError:  # It has ended.
                break
            side.write(seen[-1])
        if kill_after is not None:
            running.kill()
    running.join()
    running.close()
    return "".join(seen)


def replayed(wrap: Wrap) -> Callable[[Side], None]:
    """Close the provider, and ask again; then ask with another word."""

    def play(side: Side) -> None:
        with tempfile.TemporaryDirectory() as folder:
            journal = Journal.open(Path(folder) / "l0.db")
            with provider(PACE + faults.reset_after(chunks=20), PACE) as server:
                model = wrap(client(server, max_retries=0))
                with l0_core.run("q", journal=journal) if wrap is not bare else nullcontext():
                    ask(side, model, quietly=True)
            side.remark("the provider is gone; the same question again")
            with l0_core.run("q", journal=journal, mode="replay") if wrap is not bare else nullcontext():
                ask(side, model)
            if wrap is not bare:
                side.remark("a word of the prompt is changed")
                try:
                    with l0_core.run("q", journal=journal, mode="replay"):
                        ask(side, model, QUESTION.replace("long", "wide"))
                except ReplayDivergence as error:
                    side.failed(error)
                    for change in error.changes:
                        side.remark(f"recorded: {_around(change.expected, change.at)}")
                        side.remark(f"now:      {_around(change.actual, change.at)}")
            journal.close()

    return play


def _around(text: object, place: int | None) -> str:
    """Return the words around a place of a text."""
    near = 24
    return f"… {str(text)[max(0, (place or 0) - near) : (place or 0) + near]} …"


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
        "429 with Retry-After, again and again; then a fallback",
        "The provider turns everybody away and says when to come back. A second, simpler model is there; the bare "
        "client comes back twice, and nobody asks the other.",
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
    story(
        6,
        "JSON that is cut off, and not quite JSON",
        "model.with_structured_output(River): the first answer ends in the middle; the second is whole, inside a "
        "fence, with single quotes and a comma too many. The program asks a second time where the first raises.",
        cut_json,
    ),
    story(
        7,
        "The process is killed in the middle of the answer, and started again",
        "The program prints an answer as it comes, and is killed with signal 9 after 14 chunks. A supervisor starts it "
        "again. With L0 the chain is inside a run.",
        killed,
    ),
    story(
        8,
        "Replay with the network off, then with a changed prompt",
        "A question was asked an hour ago, through a connection that broke. The provider is not there any more.",
        replayed,
    ),
]
