"""Engines that ask sub-questions, and drop those that fail: what L0 could not have answered they must not leave out.

LlamaIndex goes on without a sub-question's answer, whatever was raised, and with none of them it says `Empty Response`.
In a protected engine an error that L0 raised passes by that, and reaches the caller as itself.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from llama_index.core.query_engine import SubQuestionQueryEngine

from l0_core import L0Error


class Loud:
    """Mixed into the class of an engine that tells what it would leave out."""

    __slots__ = ()


def loud(engine: Any) -> Any:
    """Have an engine tell."""
    object.__setattr__(engine, "__class__", _loud_class(quiet_class(type(engine))))
    return engine


def quiet(engine: Any) -> Any:
    """Have an engine do what it did."""
    object.__setattr__(engine, "__class__", quiet_class(type(engine)))
    return engine


def quiet_class(kind: type) -> type:
    """Return the class an engine had."""
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


@cache
def _loud_class(kind: Any) -> type:
    names = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}

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

    methods = {"_query_engines": property(engines, change), "_query_subq": ask, "_aquery_subq": ask_async}
    made: type = type(kind)(kind.__name__, (kind, Loud), {**names, "__slots__": (), **methods})
    return made


def drops_errors(found: object) -> bool:
    """Return whether something is an engine that leaves out what fails."""
    return isinstance(found, SubQuestionQueryEngine)
