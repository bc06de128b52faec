"""How a streamed answer ends when its provider fails once: bare, with what users take instead, and with L0."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ending import WAIT, Remedy, endings
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelFallbackMiddleware, ModelRetryMiddleware
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from row import Row
from tenacity import Retrying, stop_after_attempt, wait_fixed

from l0_core import Policy, Retry
from l0_core.testing import FaultyProvider
from l0_langchain import L0ChatModel, L0Middleware

QUICK = Policy(retry=Retry(base=WAIT, base_overload=WAIT))
PEER = Path(__file__).parent.parent / ".cache/peers/bin/python"


def _client(provider: FaultyProvider) -> ChatOpenAI:
    fields: dict[str, Any] = {"model": "m", "base_url": provider.openai_url, "api_key": "none", "max_retries": 2}
    return ChatOpenAI(**fields)


def _agent(provider: FaultyProvider, middleware: AgentMiddleware[Any, Any, Any]) -> Iterator[Any]:
    agent: Any = create_agent(_client(provider), [], middleware=[middleware])
    for message, _ in agent.stream({"messages": [("user", "What?")]}, stream_mode="messages"):
        if isinstance(message, AIMessage):
            yield message


def _tenacity(provider: FaultyProvider, _: FaultyProvider) -> Iterator[Any]:
    """Try the loop over the stream again: a decorated generator function would try nothing again."""
    for attempt in Retrying(stop=stop_after_attempt(3), wait=wait_fixed(WAIT), reraise=True):
        with attempt:
            yield from _client(provider).stream("What?")


REMEDIES: dict[str, Remedy] = {
    "bare": lambda provider, _: _client(provider).stream("What?"),
    "with_retry": lambda provider, _: _client(provider).with_retry(wait_exponential_jitter=False).stream("What?"),
    "with_fallbacks": lambda provider, spare: _client(provider).with_fallbacks([_client(spare)]).stream("What?"),
    "tenacity around the loop": _tenacity,
    "ModelRetryMiddleware": lambda provider, _: _agent(provider, ModelRetryMiddleware(initial_delay=WAIT)),
    "ModelFallbackMiddleware": lambda provider, spare: _agent(provider, ModelFallbackMiddleware(_client(spare))),
}
RELIABLE: dict[str, Remedy] = {
    "L0": lambda provider, _: L0ChatModel(model=_client(provider), policy=QUICK).stream("What?"),
    "L0 with a fallback": lambda provider, spare: L0ChatModel(
        model=_client(provider), fallbacks=[_client(spare)], policy=QUICK
    ).stream("What?"),
    "L0Middleware": lambda provider, _: _agent(provider, L0Middleware(policy=QUICK)),
}


def _router() -> Iterator[Row]:
    """LiteLLM's Router, in an environment of its own, through the same faults."""
    if not PEER.exists():
        return
    script = Path(__file__).with_name("router.py")
    answer = subprocess.run([str(PEER), str(script)], check=True, stdout=subprocess.PIPE, text=True)
    yield from (Row(**fields) for fields in json.loads(answer.stdout))


def rows() -> Iterator[Row]:
    """Yield how calls ended, remedy by remedy."""
    for name, remedy in REMEDIES.items():
        yield from endings(name, remedy)
    yield from _router()
    for name, remedy in RELIABLE.items():
        yield from endings(name, remedy, right=90, wrong=0)
