"""How a streamed answer ends when its provider fails once: bare, the framework's own remedies, and L0."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

from langchain_core.runnables import Runnable
from langchain_openai import ChatOpenAI
from row import Row

from l0_core import Policy, Retry
from l0_core.testing import FaultyProvider, faults, measure
from l0_langchain import L0ChatModel

CALLS = 120
MIX = {
    faults.reset_after(chunks=4): 3,
    faults.eof_after(chunks=4): 2,
    faults.no_finish(): 1,
    faults.overloaded(): 2,
    faults.rate_limit(): 2,
    faults.malformed_event(): 1,
    faults.error_event(): 1,
    faults.role_only(): 1,
}
QUICK = Policy(retry=Retry(base=0.01, base_overload=0.01))
WORDINGS: tuple[Literal["identical", "varied"], ...] = ("identical", "varied")


def _client(provider: FaultyProvider) -> ChatOpenAI:
    fields: dict[str, Any] = {"model": "m", "base_url": provider.openai_url, "api_key": "none", "max_retries": 2}
    return ChatOpenAI(**fields)


REMEDIES: dict[str, Callable[[FaultyProvider], Runnable[Any, Any]]] = {
    "bare": _client,
    "with_retry": lambda provider: _client(provider).with_retry(wait_exponential_jitter=False),
    "with_fallbacks": lambda provider: _client(provider).with_fallbacks([_client(provider)]),
    "L0": lambda provider: L0ChatModel(model=_client(provider), policy=QUICK),
}


class _Heard:
    """What a reader of the stream has in the end."""

    def __init__(self, chunks: Iterator[Any]) -> None:
        self.text = ""
        self.response_metadata: dict[str, Any] = {}
        for chunk in chunks:
            self.text += chunk.text
            self.response_metadata |= chunk.response_metadata


def rows() -> Iterator[Row]:
    """Yield the shares of calls that ended right, and wrong without a word."""
    for wording in WORDINGS:
        for name, remedy in REMEDIES.items():
            report = measure(lambda p, remedy=remedy: _Heard(remedy(p).stream("What?")), MIX, CALLS, 1, wording=wording)  # type: ignore[misc]
            right = report.share("exact", "complete", "degraded")
            what = f"{name}, {wording} wording"
            yield Row("recovery", f"{what}: right", right * 100, "%", 90 if name == "L0" else None)
            yield Row("recovery", f"{what}: told incomplete", report.share("incomplete") * 100, "of 100")
            yield Row("recovery", f"{what}: raised", report.share("raised") * 100, "of 100")
            wrong = report.share("wrong") * 100
            yield Row("recovery", f"{what}: wrong, and nobody told", wrong, "of 100", 0 if name == "L0" else None)
            yield Row("recovery", f"{what}: added delay, p95", report.delay(0.95) * 1e3, "ms")
            yield Row("recovery", f"{what}: more tokens a call", report.extra_tokens / CALLS, "tokens")
