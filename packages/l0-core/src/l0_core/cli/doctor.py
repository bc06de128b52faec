"""`l0 doctor`: what is installed, how it was built, and whether it works here."""

import asyncio
import json
import os
import platform
import sys
import sysconfig
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module, metadata
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import l0_core

PACKAGES = (
    *("l0-core", "l0-langchain", "l0-llamaindex"),
    *("langchain-core", "langchain", "langgraph", "llama-index-core"),
    *("openai", "anthropic", "litellm", "httpx", "pydantic"),
)
"""What a bug report is incomplete without."""

SETTINGS = ("L0_POLICY", "L0_JOURNAL", "L0_DISABLE")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried.

    Attributes:
        name: What it was.
        verdict: How it went.
        detail: What was found, and what to do about it.
    """

    name: str
    verdict: Literal["ok", "warning", "failed"]
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """Everything there is to say.

    Attributes:
        python: The interpreter.
        build: The compiled module.
        packages: Versions of what is installed, nothing where it is not.
        settings: What the environment says.
        checks: What was tried.
    """

    python: dict[str, Any]
    build: dict[str, Any]
    packages: dict[str, str | None]
    settings: dict[str, str]
    checks: list[Check]

    @property
    def works(self) -> bool:
        """Whether nothing that was tried failed."""
        return all(check.verdict != "failed" for check in self.checks)


def command(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False
) -> None:
    """Say what is installed, how it was built, and whether it works here. Ends with 1 if something does not."""
    report = examine()
    if as_json:
        typer.echo(json.dumps(asdict(report) | {"works": report.works}, indent=2))
    else:
        _print(report)
    raise typer.Exit(0 if report.works else 1)


def examine() -> Report:
    """Look at everything."""
    build = l0_core.build_info()
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    has_gil: bool = getattr(sys, "_is_gil_enabled", lambda: True)()
    return Report(
        python={
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "platform": platform.platform(),
            "free_threaded": free_threaded,
            "gil": has_gil,
        },
        build={
            "version": build.version,
            "profile": build.profile,
            "rustc": build.rustc,
            "pyo3": build.pyo3,
            "features": list(build.features),
        },
        packages={name: _version(name) for name in PACKAGES},
        settings={name: os.environ[name] for name in SETTINGS if name in os.environ},
        checks=[
            _built(build.profile),
            _threads(free_threaded=free_threaded, has_gil=has_gil),
            _enabled(),
            _tried("policy", _policy),
            _tried("sync stream", _sync_stream),
            _tried("async stream", _async_stream),
            *(_tried(name, partial(_framework, name)) for name in _frameworks()),
        ],
    )


# What is tried -------------------------------------------------------------------------------------------------------


def _built(profile: str) -> Check:
    if profile == "release":
        return Check("build", "ok", "an optimised build")
    return Check("build", "warning", f"a {profile} build: correct, but no figure measured with it means anything")


def _threads(*, free_threaded: bool, has_gil: bool) -> Check:
    if free_threaded and has_gil:
        return Check(
            "threads", "warning", "this Python can run in parallel, but some module has turned its lock on again"
        )
    return Check("threads", "ok", "in parallel" if free_threaded else "one at a time in Python")


def _enabled() -> Check:
    from l0_core._settings import passes_through

    if passes_through():
        return Check("enabled", "warning", "L0_DISABLE is set: every call passes straight through")
    return Check("enabled", "ok", "yes")


def _tried(name: str, attempt: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", attempt())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the doctor was asked for
        return Check(name, "failed", f"{type(error).__name__}: {error}")


def _policy() -> str:
    from l0_core.policy import Policy

    policy = Policy.of(None)
    return f"{os.environ.get('L0_POLICY') or 'standard'}, digest {policy.digest}"


def _sync_stream() -> str:
    stream = l0_core.stream(lambda _: iter(_SAID), policy="standard")
    return _as_expected("".join(stream))


def _async_stream() -> str:
    async def source(_: l0_core.Attempt) -> AsyncIterator[str]:
        for piece in _SAID:
            yield piece

    async def read() -> str:
        return "".join([chunk async for chunk in l0_core.astream(source, policy="standard")])

    return _as_expected(asyncio.run(read()))


_SAID = ("It ", "works.")


def _as_expected(text: str) -> str:
    if text != "".join(_SAID):
        raise RuntimeError(f"a stream of {''.join(_SAID)!r} gave {text!r}")
    return "gives what it was given"


def _frameworks() -> list[str]:
    return [name for name in ("l0-langchain", "l0-llamaindex") if _version(name)]


def _framework(name: str) -> str:
    module = import_module(name.replace("-", "_"))
    version: str = module.__version__
    if version != l0_core.__version__:
        raise RuntimeError(f"version {version} does not fit l0-core {l0_core.__version__}: install the same of both")
    return f"version {version}"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


# How it is shown -----------------------------------------------------------------------------------------------------

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red"}


def _print(report: Report) -> None:
    console = Console()
    facts = Table.grid(padding=(0, 2))
    python, build = report.python, report.build
    threading = "free-threaded" if python["free_threaded"] else ""
    facts.add_row("python", f"{python['implementation']} {python['version']} {threading}".strip())
    facts.add_row("platform", python["platform"])
    facts.add_row("build", f"{build['profile']}, rustc {build['rustc']}, pyo3 {build['pyo3']}")
    for name, version in report.packages.items():
        facts.add_row(name, version or Text("not installed", style="dim"))
    for name, value in report.settings.items():
        facts.add_row(name, Text(value))
    console.print(facts)
    console.print()
    checks = Table.grid(padding=(0, 2))
    for check in report.checks:
        checks.add_row(check.name, Text(check.verdict, style=_COLOURS[check.verdict]), Text(check.detail))
    console.print(checks)
