"""The faulty provider as a program of its own, so that any application can be pointed at it."""

from __future__ import annotations

import json
import threading
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from l0_core.testing import faults
from l0_core.testing.phrasing import Template
from l0_core.testing.provider import FaultyProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from l0_core.testing.conversation import Request
    from l0_core.testing.schedule import Schedule

__all__ = ["Scenario", "chaos"]

_KEYS: Final = {
    "scenario": ("wording", "seed", "prefill", "continuations", "reply", "fault", "mix", "recordings"),
    "reply": ("text", "template", "chunks", "tool_calls", "reasoning", "logprob", "when"),
    "fault": ("fault", "times"),
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a provider answers and how it fails, as a file says it.

    ```toml
    wording = "varied"            # or "identical"
    seed = 7

    [[reply]]                     # the answer to everything, or to what `when` stands in
    text = "The capital of France is Paris."

    [[fault]]                     # for each request one, in order; the last goes on for ever
    fault = "rate_limit(retry_after=1)"
    times = 2

    [mix]                         # or drawn by weight, after those
    "reset_after(chunks=4)" = 1
    "ok()" = 4
    ```

    `prefill`, `[continuations]` and `recordings` are those of `FaultyProvider`; paths are relative to the file.
    """

    provider: Mapping[str, Any] = field(default_factory=dict)
    replies: Sequence[Mapping[str, Any]] = ()
    schedule: Schedule = field(default_factory=faults.ok)
    recordings: Sequence[Path] = ()

    @classmethod
    def load(cls, path: str | Path) -> Scenario:
        """Read a file; what it says wrongly is refused with the names there are."""
        path = Path(path)
        try:
            return cls.of(tomllib.loads(path.read_text(encoding="utf-8")), path.parent)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def of(cls, values: Mapping[str, Any], folder: Path = Path()) -> Scenario:
        """A scenario from the values of a file."""
        _known("scenario", values)
        entries: list[Schedule] = []
        for entry in values.get("fault", []):
            _known("fault", entry)
            entries.append(faults.flaky(faults.parse(entry["fault"]), entry.get("times", 1)))
        if entries and "mix" not in values:
            last = values["fault"][-1]
            entries[-1] = faults.parse(last["fault"]) if "times" not in last else entries[-1]
        if "mix" in values:
            weights = {faults.parse(name): weight for name, weight in values["mix"].items()}
            entries.append(faults.mix(weights, values.get("seed", 0)))
        replies = values.get("reply", [])
        for reply in replies:
            _known("reply", reply)
            if ("text" in reply) == ("template" in reply) and not reply.get("tool_calls"):
                raise ValueError("a reply has a text or a template, one of them, or tool_calls")
        provider = {key: values[key] for key in ("wording", "seed", "prefill", "continuations") if key in values}
        FaultyProvider(**provider)  # refuses wrong values by name, here rather than later
        return cls(
            provider,
            tuple(replies),
            faults.script(*entries) if entries else faults.ok(),
            tuple(folder / name for name in values.get("recordings", [])),
        )

    def apply(self, provider: FaultyProvider) -> None:
        """Tell a provider."""
        for reply in self.replies:
            words = dict(reply)
            template = words.pop("template", None)
            text = Template(template) if template is not None else words.pop("text", "")
            provider.reply(text, **words)
        if self.recordings:
            provider.serve_recording(*self.recordings)
        provider.script(self.schedule)


def _known(kind: str, values: Mapping[str, Any]) -> None:
    unknown = sorted(set(values) - set(_KEYS[kind]))
    if unknown:
        raise ValueError(f"{kind}: unknown {', '.join(unknown)}; there are {', '.join(_KEYS[kind])}")
    if kind == "fault" and "fault" not in values:
        raise ValueError('fault: each has a fault, like fault = "reset_after(chunks=4)"')


def chaos(
    scenario: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    as_json: bool = False,
    say: Callable[[str], object] = print,
    stop: threading.Event | None = None,
) -> None:
    """Serve until stopped, with one line for every request.

    Args:
        scenario: What to answer and how to fail; without one, everything is answered well.
        host: Where to listen; anything but loopback lets other machines in.
        port: 0 takes a free one.
        as_json: Whether each line is a JSON object: first where it listens, then one for every request.
        say: Takes each line.
        stop: Ends it when set; without one, an interrupt does.
    """
    chosen = Scenario.load(scenario) if scenario is not None else Scenario()
    with FaultyProvider(host=host, port=port, **chosen.provider) as provider:
        chosen.apply(provider)
        if as_json:
            provider.on_request = lambda request: say(json.dumps(facts(request)))
            say(json.dumps({"openai": provider.openai_url, "anthropic": provider.anthropic_url}))
        else:
            provider.on_request = lambda request: say(line(request))
            say(f"OpenAI     {provider.openai_url}")
            say(f"Anthropic  {provider.anthropic_url}")
        (stop or threading.Event()).wait()


def facts(request: Request) -> dict[str, Any]:
    """What became of one request, for programs: no prompt, no answer, no key."""
    resumption = request.resumption
    return {
        "number": request.number,
        "method": request.method,
        "path": request.path,
        "dialect": request.dialect,
        "model": request.model,
        "stream": request.stream,
        "resumption": {"kind": resumption.kind, "manner": resumption.manner} if resumption else None,
        "fault": request.fault,
        "chunks": request.sent_chunks,
        "bytes": request.sent_bytes,
        "ms": round(request.duration * 1000),
        "ending": request.ending,
    }


def line(request: Request) -> str:
    """What became of one request: no prompt, no answer, no key."""
    kind = "stream" if request.stream else "call"
    resumed = f" {request.resumption.kind}:{request.resumption.manner}" if request.resumption else ""
    return (
        f"#{request.number} {request.method} {request.path} {request.model or '-'} {kind}{resumed}: {request.fault}, "
        f"{request.sent_chunks} chunks, {request.sent_bytes} bytes, {request.duration * 1000:.0f} ms, {request.ending}"
    )
