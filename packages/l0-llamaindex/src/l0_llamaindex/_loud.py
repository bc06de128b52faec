"""Engines and agents that go on without what they asked for: what L0 could not have answered they must not leave out.

LlamaIndex drops a sub-question that fails, whatever was raised, and with none of them left it says `Empty Response`. An
agent that is to answer with an object of a class answers with none. In a protected one an error that ended a session
passes by that, and reaches the caller as itself.
"""

from collections.abc import Mapping
from functools import cache, wraps
from typing import Any

from llama_index.core.agent.workflow import AgentWorkflow, BaseWorkflowAgent
from llama_index.core.llms import LLM
from llama_index.core.query_engine import SubQuestionQueryEngine

from l0_core import L0Error
from l0_llamaindex._reach import shell_of


class Loud:
    """Mixed into the class of what tells what it would leave out."""

    __slots__ = ()


def loud(engine: Any) -> Any:
    """Have an engine or an agent tell."""
    object.__setattr__(engine, "__class__", _loud_class(quiet_class(type(engine))))
    return engine


def quiet(engine: Any) -> Any:
    """Have it do what it did."""
    object.__setattr__(engine, "__class__", quiet_class(type(engine)))
    return engine


def quiet_class(kind: type) -> type:
    """Return the class it had."""
    return kind.__bases__[0] if issubclass(kind, Loud) else kind


class _Carried(BaseException):
    """An error on its way past a handler of all others."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _Telling:
    """A sub-engine whose errors pass by."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def query(self, question: str) -> Any:
        """See `BaseQueryEngine.query`."""
        try:
            return self._engine.query(question)
        except Exception as error:
            if _is_ours(error):
                raise _Carried(error) from None
            raise

    async def aquery(self, question: str) -> Any:
        """See `BaseQueryEngine.aquery`."""
        try:
            return await self._engine.aquery(question)
        except Exception as error:
            if _is_ours(error):
                raise _Carried(error) from None
            raise


def _is_ours(error: Exception) -> bool:
    """Return whether an error ended a session: one of L0's, or the provider's own that nothing could be done about."""
    return isinstance(error, L0Error) or hasattr(error, "l0")


class _TellingLLM:
    """An LLM whose structured form has errors that pass by."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llm, name)

    def as_structured_llm(self, *args: Any, **kwargs: Any) -> "_TellingStructured":
        """See `LLM.as_structured_llm`."""
        return _TellingStructured(self._llm.as_structured_llm(*args, **kwargs))


class _TellingStructured:
    def __init__(self, llm: LLM) -> None:
        self._llm = llm

    async def achat(self, *args: Any, **kwargs: Any) -> Any:
        """See `LLM.achat`."""
        try:
            return await self._llm.achat(*args, **kwargs)
        except Exception as error:
            if _is_ours(error):
                raise _Carried(error) from None
            raise


@cache
def _loud_class(kind: Any) -> type:
    names = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    methods = _of_engine(kind) if issubclass(kind, SubQuestionQueryEngine) else _of_agent(kind)
    made: type = type(kind)(kind.__name__, (kind, Loud), {**names, "__slots__": (), **methods})
    return made


def _of_agent(kind: Any) -> Mapping[str, Any]:
    @wraps(kind.parse_agent_output)  # It is a step, and its function says so.
    async def parse_agent_output(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await kind.parse_agent_output(_telling(self), *args, **kwargs)
        except _Carried as carried:
            raise carried.error from carried.error.__cause__

    return {"parse_agent_output": parse_agent_output}


def _telling(agent: Any) -> Any:
    """Return an agent, or a workflow of several, as it is, whose structured answers tell."""
    made = shell_of(agent)
    if isinstance(agent, AgentWorkflow):
        made.agents = {name: _telling(each) for name, each in agent.agents.items()}
    else:
        vars(made)["llm"] = _TellingLLM(agent.llm)
    return made


def _of_engine(kind: Any) -> Mapping[str, Any]:
    def engines(self: Any) -> Mapping[str, _Telling]:
        return {name: _Telling(engine) for name, engine in vars(self)["_query_engines"].items()}

    def change(self: Any, value: Any) -> None:
        vars(self)["_query_engines"] = value

    def ask(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return kind._query_subq(self, *args, **kwargs)  # noqa: SLF001 - what drops it
        except _Carried as carried:
            raise carried.error from carried.error.__cause__

    async def ask_async(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return await kind._aquery_subq(self, *args, **kwargs)  # noqa: SLF001 - what drops it
        except _Carried as carried:
            raise carried.error from carried.error.__cause__

    return {"_query_engines": property(engines, change), "_query_subq": ask, "_aquery_subq": ask_async}


def drops_errors(found: object) -> bool:
    """Return whether something is an engine, or an agent, that leaves out what fails."""
    if isinstance(found, AgentWorkflow):
        holders: list[Any] = [found, *found.agents.values()]
        return any(each.output_cls is not None for each in holders)
    if isinstance(found, BaseWorkflowAgent):
        return found.output_cls is not None
    return isinstance(found, SubQuestionQueryEngine)
