"""Tools of agents in a run: one that has ended is not called again, one that was cut off is, under the same key."""

import asyncio
import copy
import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import durable_agent
import pytest
from asking_llm import listening
from engines import QUESTION, City, docs_tool, index, said
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.base.response.schema import Response
from llama_index.core.tools import BaseTool, FunctionTool, QueryEngineTool, ToolMetadata, ToolOutput
from llama_index.core.workflow import Context
from scripted_llm import Reply, Scripted

import l0_core
from l0_core.testing import FaultyProvider, faults
from l0_core.testing import Reply as Forecast
from l0_llamaindex import L0LLM, protect

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::workflows.context.state_store.UnserializableKeyWarning",
)


@pytest.fixture(autouse=True)
def _left_open(left_open: None) -> None: ...


class Sun:
    """A tool that keeps count."""

    def __init__(self, *, awaits: bool = False, fails: bool = False) -> None:
        self.calls: list[str | None] = []
        self.fails = fails
        function: Callable[..., Any] = self.aweather if awaits else self.weather
        self.tool = FunctionTool.from_defaults(function, name="weather")

    def weather(self, city: str) -> str:
        """Tell the weather in a city."""
        self.calls.append(l0_core.idempotency_key())
        if self.fails:
            raise LookupError("no such city")
        return f"It is sunny in {city}."

    async def aweather(self, city: str) -> str:
        """Tell the weather in a city."""
        return self.weather(city)


def handing_over(llm: Any, tool: FunctionTool) -> Any:
    host = FunctionAgent(name="host", description="Greets.", tools=[], llm=llm, can_handoff_to=["forecaster"])
    forecaster = FunctionAgent(name="forecaster", description="Knows the weather.", tools=[tool], llm=llm)
    return AgentWorkflow(agents=[host, forecaster], root_agent="host")


AGENTS: dict[str, Callable[[Any, FunctionTool], Any]] = {
    "function agent": lambda llm, tool: FunctionAgent(tools=[tool], llm=llm),
    "react agent": lambda llm, tool: ReActAgent(tools=[tool], llm=llm),
    "agents with a handoff": handing_over,
}


def asked(agent: Any) -> str:
    async def main() -> str:
        return str(await agent.run(user_msg=QUESTION))

    return asyncio.run(main())


def breaking(after: str) -> Scripted:
    """An LLM whose provider is gone for good once a prompt has a text in it."""

    def respond(prompt: str, kwargs: dict[str, Any]) -> Reply:
        return Reply(fails=(0, ConnectionResetError())) if after in prompt else said(prompt, kwargs)

    return Scripted(responder=respond)


def nobody(*_: Any) -> Reply:
    raise AssertionError("a replay asks nobody")


@pytest.mark.parametrize("awaits", [False, True], ids=["def", "async def"])
@pytest.mark.parametrize("name", AGENTS)
def test_a_tool_that_has_ended_is_not_called_again(name: str, *, awaits: bool) -> None:
    """G5, G6: only what was not answered is asked for; a replay calls neither model nor tool."""
    journal, sun = l0_core.Journal.memory(), Sun(awaits=awaits)
    bare = Scripted(responder=said)
    expected = asked(AGENTS[name](bare, Sun().tool))
    with pytest.raises(l0_core.L0Error), l0_core.run("job", journal=journal):
        asked(protect(AGENTS[name](breaking("It is sunny"), sun.tool)))
    assert len(sun.calls) == 1
    again = Scripted(responder=said)
    with l0_core.run("job", journal=journal):
        assert asked(protect(AGENTS[name](again, sun.tool))) == expected
    assert len(sun.calls) == 1
    assert len(again.asked) == 1 < len(bare.asked)
    with l0_core.run("job", journal=journal, mode="replay"):
        assert asked(protect(AGENTS[name](Scripted(responder=nobody), sun.tool))) == expected
    assert len(sun.calls) == 1
    (row,) = [row for row in journal.steps("job") if row["kind"] == "tool"]
    assert (row["name"], row["status"]) == ("weather", "finished")


def test_what_a_tool_raised_is_what_the_model_was_told_again() -> None:
    """Its failure is part of what happened: the agent went on after it."""
    journal, sun = l0_core.Journal.memory(), Sun(fails=True)

    def respond(prompt: str, kwargs: dict[str, Any]) -> Reply:
        return Reply("Nobody knows.") if "no such city" in prompt else said(prompt, kwargs)

    for responder in (respond, nobody):
        with l0_core.run("job", journal=journal):
            agent = protect(FunctionAgent(tools=[sun.tool], llm=Scripted(responder=responder)))
            assert asked(agent) == "Nobody knows."
    assert len(sun.calls) == 1


class Died(BaseException):
    """What ends a process, as far as a run can tell."""


@pytest.mark.parametrize("awaits", [False, True], ids=["def", "async def"])
def test_one_that_was_cut_off_is_called_again_under_the_same_key(*, awaits: bool) -> None:
    journal, sun = l0_core.Journal.memory(), Sun(awaits=awaits)

    def work() -> str:
        tool = protect(sun.tool)
        return str(asyncio.run(tool.acall(city="Paris")) if awaits else tool(city="Paris"))

    weather = sun.tool.fn

    def dying(city: str) -> str:
        weather(city)
        raise Died

    async def adying(city: str) -> str:
        return dying(city)

    dies = protect(FunctionTool.from_defaults(dying, async_fn=adying, name="weather"))
    with pytest.raises(Died), l0_core.run("job", journal=journal):
        asyncio.run(dies.acall(city="Paris")) if awaits else dies(city="Paris")
    with l0_core.run("job", journal=journal):
        assert work() == "It is sunny in Paris."
    with l0_core.run("job", journal=journal):
        assert work() == "It is sunny in Paris."
    first, second = sun.calls
    assert first == second is not None


def test_what_a_tool_asks_is_nested_in_it_and_taken_up_there() -> None:
    """An engine that answered inside a tool that was cut off is not asked again."""
    journal = l0_core.Journal.memory()
    ends = [Died(), None]

    def both(question: str) -> str:
        """Ask twice."""
        first = engine.query(question)
        end = ends.pop(0)
        if end is not None:
            raise end
        return f"{first} {engine.query('And Italy?')}"

    inner = Scripted(responder=said)
    engine = index().as_query_engine(llm=inner)
    tool = protect(FunctionTool.from_defaults(both))
    with pytest.raises(Died), l0_core.run("job", journal=journal):
        tool(QUESTION)
    assert len(inner.asked) == 1
    with l0_core.run("job", journal=journal):
        told = str(tool(QUESTION))
    assert len(inner.asked) == 2
    with l0_core.run("job", journal=journal, mode="replay"):
        assert str(tool(QUESTION)) == told
    rows = {row["id"]: row for row in journal.steps("job")}
    (step,) = [row for row in rows.values() if row["name"] == "both"]
    assert {row["parent"] for row in rows.values() if row["kind"] == "model"} == {step["id"]}


def test_a_tool_that_is_handed_its_workflow_is_called_each_time() -> None:
    """What it changes there is no result: remembered, it would be lost."""
    journal, calls = l0_core.Journal.memory(), []

    async def note(ctx: Context, city: str) -> str:
        """Note a city."""
        calls.append(city)
        await ctx.store.set("city", city)
        return f"It is sunny in {city}."

    def agent(llm: Any) -> Any:
        return protect(FunctionAgent(tools=[FunctionTool.from_defaults(note, name="weather")], llm=llm))

    (alone,) = agent(Scripted("x")).l0_report.left_alone
    assert (alone.what, alone.name) == ("tool", "FunctionTool/weather")
    assert "l0_core.step" in alone.why

    async def main(llm: Any) -> Any:
        made = agent(llm)
        context = Context(made)
        await made.run(user_msg=QUESTION, ctx=context)
        return await context.store.get("city")

    for responder in (said, nobody):
        with l0_core.run("job", journal=journal):
            assert asyncio.run(main(Scripted(responder=responder))) == "Paris"
    assert len(calls) == 2


# What it returns -----------------------------------------------------------------------------------------------------


def replayed(tool: Any, **kwargs: Any) -> tuple[ToolOutput, ToolOutput]:
    """What a tool returned, and what a replay of it does."""
    journal = l0_core.Journal.memory()
    with l0_core.run("job", journal=journal):
        first = protect(tool)(**kwargs)
    with l0_core.run("job", journal=journal, mode="replay"):
        second = protect(tool)(**kwargs)
    return first, second


def test_an_answer_comes_back_with_its_sources() -> None:
    first, second = replayed(docs_tool(Scripted(responder=said)), input=QUESTION)
    assert isinstance(second.raw_output, Response)
    assert second == first
    assert second.raw_output.source_nodes
    assert second.raw_output is not first.raw_output


def test_objects_come_back_that_the_annotation_names() -> None:
    def capital(country: str) -> City:
        """Tell the capital."""
        return City(name=f"The capital of {country}", inhabitants=1)

    first, second = replayed(FunctionTool.from_defaults(capital), country="France")
    assert second == first
    assert type(second.raw_output) is City


class Unknown:
    """Something that has no form."""

    def __str__(self) -> str:
        return "something odd"


def test_what_has_no_form_comes_back_as_its_text_and_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """G8: the model is told the same; the program is told that it has less in hand."""

    def odd(given: str) -> Any:
        """Return something odd."""
        return Unknown()

    with caplog.at_level(logging.WARNING, "l0"):
        first, second = replayed(FunctionTool.from_defaults(odd), given="x")
    assert second.blocks == first.blocks
    assert second.raw_input == first.raw_input
    assert second.raw_output == "something odd"
    assert [record.getMessage() for record in caplog.records] == [
        "tool=odd: a Unknown it returned is remembered as text"
    ]


def test_blocks_and_errors_of_a_tools_own_come_back() -> None:
    blocks: list[Any] = [TextBlock(text="a map"), ImageBlock(image=b"\x89PNG", image_mimetype="image/png")]

    class Own(BaseTool):
        """A tool of the simplest kind."""

        @property
        def metadata(self) -> ToolMetadata:
            return ToolMetadata("Draws.", "draw")

        def __call__(self, input: Any) -> ToolOutput:  # noqa: A002 - as LlamaIndex has it
            return ToolOutput(
                "draw", blocks=blocks, raw_input={"input": input}, raw_output=1, is_error=True, exception=OSError("ink")
            )

    first, second = replayed(Own(), input="x")
    assert (second.blocks, second.is_error, second.raw_output) == (first.blocks, True, 1)
    assert isinstance(second.exception, OSError)
    assert str(second.exception) == "ink"


# Otherwise it is what it was -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["__call__", "call", "acall"])
def test_outside_of_a_run_nothing_is_different(method: str) -> None:
    """G7: the same output and the same spans, none doubled."""

    def called(tool: Any) -> tuple[Any, Any]:
        with listening() as (events, spans):
            output = getattr(tool, method)(city="Paris")
            output = asyncio.run(output) if method == "acall" else output
        return output, (events.names, spans.tree)

    bare = Sun().tool
    reliable = protect(bare)
    assert called(reliable) == called(bare)
    assert isinstance(reliable, FunctionTool)
    assert reliable.metadata is bare.metadata
    assert type(reliable).__name__ == "FunctionTool"


def plain(city: str) -> str:
    """Tell the weather."""
    return f"It is sunny in {city}."


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_a_copy_is_apart_and_as_protected(how: Callable[[Any], Any]) -> None:
    tool: Any = protect(FunctionTool.from_defaults(plain))
    retriever: Any = protect(index().as_retriever())
    for first, name in ((tool, "partial_params"), (retriever, "_similarity_top_k")):
        second = how(first)
        assert type(second) is type(first)
        setattr(second, name, {"city": "Rome"})
        assert getattr(first, name) != {"city": "Rome"}
        assert getattr(second.unprotected, name) == {"city": "Rome"}
    assert str(how(tool)(city="Paris")) == "It is sunny in Paris."


def test_an_embedding_is_pickled_with_its_guard() -> None:
    from engines import EMBEDDING

    reliable: Any = protect(EMBEDDING, policy="batch")
    other = pickle.loads(pickle.dumps(reliable))  # noqa: S301 - our own bytes
    assert type(other) is type(reliable)
    assert other._l0.policy == "batch"
    assert other.get_text_embedding("Paris") == EMBEDDING.get_text_embedding("Paris")


def test_an_engine_made_a_tool_is_still_what_it_is() -> None:
    tool: Any = protect(docs_tool(Scripted(responder=said)))
    assert QueryEngineTool in type(tool).__mro__
    assert isinstance(tool.query_engine._response_synthesizer._llm, L0LLM)


# Killed --------------------------------------------------------------------------------------------------------------

PROGRAM = durable_agent.__file__
ANSWER = "It is sunny in Paris today, with a light wind from the west and no cloud between the towers and the sky."


@pytest.fixture
def weather_service() -> Iterator[FaultyProvider]:
    with FaultyProvider(wording="varied", seed=5) as provider:
        call = Forecast.of("", tool_calls=[("weather", {"city": "Paris"})])
        provider.conversation(call, Forecast.of(ANSWER, chunks=12))
        yield provider


class Job:
    """The program, in a process that is killed, and then in this one."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url

    def arguments(self, mode: str, blocks: str) -> tuple[str, str, str, str, str]:
        return str(self.folder / "l0.db"), str(self.folder / "notes"), self.url, mode, blocks

    def start(self, *, blocks: bool = False) -> "subprocess.Popen[bytes]":
        command = [sys.executable, PROGRAM, *self.arguments("auto", "yes" if blocks else "no")]
        return subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE)

    def finish(self, capsys: pytest.CaptureFixture[str], mode: str = "auto") -> str:
        capsys.readouterr()
        asyncio.run(durable_agent.main(*self.arguments(mode, "no")))
        return capsys.readouterr().out

    @property
    def calls(self) -> list[str]:
        return (self.folder / "notes").read_text().splitlines()


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


on_posix = pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
slowly = pytest.mark.timeout(300)  # a program that imports LlamaIndex


@on_posix
@slowly
def test_an_agent_that_is_killed_in_its_answer_goes_on_with_it(
    tmp_path: Path, weather_service: FaultyProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    """G1, G2, G5: over HTTP; its reader's text is whole, once; neither the first turn nor the tool is done again."""
    weather_service.script(faults.ok(), faults.stall(phase="text", chunks=5), faults.ok())
    job = Job(tmp_path, weather_service.openai_url)
    killed = job.start()
    assert killed.stdout is not None
    shown = b""
    while len(shown) < 20:  # less than the provider says before it falls silent
        piece = os.read(killed.stdout.fileno(), 1)
        assert piece, killed.communicate()[1].decode()
        shown += piece
    kill(killed)
    again = job.finish(capsys)
    assert weather_service.is_right(again), again
    assert again.startswith(shown.decode())
    assert weather_service.request_count == 3
    assert len(job.calls) == 1
    weather_service.refuse_connections()
    assert job.finish(capsys, "replay") == again, "offline"
    assert weather_service.request_count == 3
    assert len(job.calls) == 1


@on_posix
@slowly
def test_an_agent_that_is_killed_in_its_tool_calls_it_under_the_same_key(
    tmp_path: Path, weather_service: FaultyProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    """G5: nobody knows whether the tool had done its work; what it calls can tell by the key."""
    job = Job(tmp_path, weather_service.openai_url)
    killed = job.start(blocks=True)
    assert killed.stderr is not None
    told = killed.stderr.readline()
    assert told == b"called\n", told + killed.stderr.read()
    kill(killed)
    again = job.finish(capsys)
    assert weather_service.is_right(again), again
    first, second = job.calls
    assert first == second != "Paris None"
    assert weather_service.request_count == 2
