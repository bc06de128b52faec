"""Tests that are recorded once and replayed after: the marker `l0_recorded` and the fixture `l0_journal`.

The test runs inside a run. The first time it does what it does, and what it did is kept beside it, in
`recorded/<name>.jsonl`. From then on it is replayed: no step and no session makes a call, no socket is connected, and
the test fails where it does anything else than it did.
"""

from __future__ import annotations

import functools
import inspect
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import pytest

__all__ = ["Recording", "l0_journal", "no_connections", "pytest_addoption", "pytest_configure", "pytest_runtest_setup"]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from l0_core._journal import Journal

MARKER = "l0_recorded(name): record this test's model calls and steps once, and replay them from then on"
FOLDER = "recorded"


class Recording:
    """What is kept of one test.

    Attributes:
        name: What it is known by.
        file: Where it is kept.
        journal: What the test runs on.
        mode: What is done this time.
    """

    def __init__(self, name: str, file: Path, *, again: bool) -> None:
        from l0_core._archive import import_
        from l0_core._journal import Journal

        self.name = name
        self.file = file
        self.journal = Journal.memory()
        self.mode: Literal["record", "replay"] = "record" if again or not file.exists() else "replay"
        if self.mode == "replay":
            with file.open(encoding="utf-8") as lines:
                import_(self.journal, lines)

    def around(self, test: Callable[..., Any]) -> Callable[..., Any]:
        """Return a test as it runs inside its run."""
        if inspect.iscoroutinefunction(test):

            @functools.wraps(test)
            async def arun(*args: Any, **kwargs: Any) -> None:
                with self._sockets():
                    async with self._run():
                        await test(*args, **kwargs)
                self._keep()

            return arun

        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            with self._sockets(), self._run():
                test(*args, **kwargs)
            self._keep()

        return run

    def _run(self) -> Any:
        from l0_core._run import run

        return run(self.name, journal=self.journal, mode=self.mode)

    def _sockets(self) -> Any:
        return no_connections() if self.mode == "replay" else _nothing()

    def _keep(self) -> None:
        """Keep what was recorded, once the test has passed; a file is whole or not there."""
        if self.mode == "replay":
            return
        from l0_core._archive import export

        self.file.parent.mkdir(exist_ok=True)
        draft = self.file.with_suffix(".draft")
        draft.write_text("".join(f"{line}\n" for line in export(self.journal, runs=[self.name])), encoding="utf-8")
        draft.replace(self.file)


@contextmanager
def no_connections() -> Iterator[None]:
    """Refuse every connection that is tried in this block; fail after it if one was, whoever swallowed the refusal."""
    tried: list[object] = []

    def refuse(_: object, address: object, *__: object) -> None:
        tried.append(address)
        raise ConnectionRefusedError(f"a test that is replayed connects to nothing, and not to {address}")

    def no_address(host: object, *_: object, **__: object) -> None:
        refuse(None, host)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", refuse)
    patch.setattr(socket.socket, "connect_ex", refuse)
    patch.setattr(socket, "getaddrinfo", no_address)
    try:
        yield
    finally:
        patch.undo()
    if tried:
        pytest.fail(f"this test is replayed, and yet tried to connect to {tried[0]}", pytrace=False)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


_recording: pytest.StashKey[Recording] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--l0-record`."""
    parser.getgroup("l0").addoption(
        "--l0-record", action="store_true", help="Record tests marked l0_recorded again, in place of replaying them."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Put a marked test inside its run."""
    marker = item.get_closest_marker("l0_recorded")
    if marker is None or not isinstance(item, pytest.Function):
        return
    (name,) = marker.args or (item.name,)
    file = item.path.parent / FOLDER / f"{_file_name(name)}.jsonl"
    recording = item.stash[_recording] = Recording(name, file, again=item.config.getoption("--l0-record"))
    item.obj = recording.around(item.obj)


def _file_name(name: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)
    if not kept.strip("._"):
        raise pytest.UsageError(f"l0_recorded needs a name for a file, not {name!r}")
    return kept


@pytest.fixture
def l0_journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    """A journal of the test's own: that of its recording where it is marked `l0_recorded`, else a new file."""
    recording = request.node.stash.get(_recording, None)
    if recording is not None:
        yield recording.journal
        return
    from l0_core._journal import Journal

    with Journal.open(tmp_path / "l0.db") as journal:
        yield journal
