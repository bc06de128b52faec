"""Tests that are recorded once: replayed without a call or a connection, and failing where they differ (G6)."""

import asyncio
import socket
from pathlib import Path

import pytest

from l0_core import Journal
from l0_core.testing.recorded import no_connections

pytest_plugins = ["pytester"]

MODULE = """
    import os, socket
    import pytest
    import l0_core

    @l0_core.step
    def look(what):
        with open("calls", "a") as calls:
            calls.write(f"look {what}\\n")
        return {"found": what}

    @pytest.mark.l0_recorded("a story")
    def test_it(l0_journal):
        def model(attempt):
            with open("calls", "a") as calls:
                calls.write("model\\n")
            yield "It "
            yield "works."

        assert look(os.environ.get("WHAT", "this")) == {"found": os.environ.get("WHAT", "this")}
        assert "".join(l0_core.stream(model, input="prompt")) == "It works."
        assert l0_core.idempotency_key() is None
        if "CONNECTS" in os.environ:
            try:
                socket.create_connection(("127.0.0.1", 9))
            except OSError:
                pass

    @pytest.mark.l0_recorded("an async story")
    async def test_async(l0_journal):
        async def model(attempt):
            with open("calls", "a") as calls:
                calls.write("amodel\\n")
            yield "It works."

        assert "".join([chunk async for chunk in l0_core.astream(model)]) == "It works."
"""


@pytest.fixture
def story(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # plugins of frameworks take seconds to load
    for name in ("WHAT", "CONNECTS"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(MODULE)
    return pytester


def play(story: pytest.Pytester, *options: str) -> pytest.RunResult:
    plugins = ("-p", "l0_core.testing.plugin", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider")
    return story.runpytest_subprocess(*plugins, "--strict-markers", *options)


def calls(story: pytest.Pytester) -> list[str]:
    return (story.path / "calls").read_text().splitlines()


def test_it_is_recorded_once_and_replayed_after(story: pytest.Pytester) -> None:
    play(story).assert_outcomes(passed=2)
    assert calls(story) == ["look this", "model", "amodel"]
    kept = story.path / "recorded" / "a_story.jsonl"
    first = kept.read_text()
    assert "It " in first
    for _ in range(2):
        play(story).assert_outcomes(passed=2)
    assert len(calls(story)) == 3
    assert kept.read_text() == first
    play(story, "--l0-record").assert_outcomes(passed=2)
    assert len(calls(story)) == 6
    assert {file.name for file in kept.parent.iterdir()} == {"a_story.jsonl", "an_async_story.jsonl"}


def test_it_fails_where_it_differs(story: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    play(story).assert_outcomes(passed=2)
    monkeypatch.setenv("WHAT", "that")
    result = play(story)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*ReplayDivergence: the input of step look of run a story has changed at record 1: *"])
    assert len(calls(story)) == 3


def test_it_fails_where_it_connects(story: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    play(story).assert_outcomes(passed=2)
    monkeypatch.setenv("CONNECTS", "1")
    result = play(story)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*this test is replayed, and yet tried to connect to 127.0.0.1*"])


def test_a_test_that_fails_is_not_kept(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.l0_recorded("broken")
        def test_it():
            assert False
        """
    )
    play(pytester).assert_outcomes(failed=1)
    assert not (pytester.path / "recorded").exists()


def test_without_the_marker_the_journal_is_a_new_file(l0_journal: Journal, tmp_path: Path) -> None:
    assert l0_journal.path == str(tmp_path / "l0.db")
    assert l0_journal.runs() == []


def test_nobody_connects_where_nobody_may() -> None:
    with pytest.raises(pytest.fail.Exception, match="tried to connect"), no_connections():  # noqa: PT012 - it fails at its end
        with pytest.raises(ConnectionRefusedError), socket.socket() as plain:
            plain.connect(("127.0.0.1", 9))
        asyncio.run(asyncio.sleep(0))
    with no_connections():
        asyncio.run(asyncio.sleep(0))
