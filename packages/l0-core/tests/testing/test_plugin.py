"""The pytest plugin: a provider for every test that asks, at no cost to those that do not."""

import subprocess
import sys

import pytest
from by_hand import ask

from l0_core.testing import FaultyProvider, samples

pytest_plugins = ["pytester"]


def test_the_fixture_is_a_running_provider(faulty_provider: FaultyProvider) -> None:
    assert ask(faulty_provider).text == samples.PROSE.canonical


def test_a_script_that_cannot_work_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]")
    pytester.makepyfile(
        """
        import urllib.request, urllib.error
        from l0_core.testing import faults

        def test_it(faulty_provider):
            faulty_provider.script(faults.tool_args_cut())
            body = b'{"messages": [{"role": "user", "content": "Hi"}]}'
            try:
                urllib.request.urlopen(f"{faulty_provider.openai_url}/chat/completions", body).close()
            except urllib.error.HTTPError as error:
                error.close()
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*Misuse: tool_args_cut: the scripted reply calls no tool*"])


def test_loading_the_plugin_loads_nothing_else() -> None:
    program = "import l0_core.testing.plugin, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True).stdout
    ours = {name for name in loaded.split() if name.startswith("l0_core")}
    assert ours <= {"l0_core", "l0_core._lazy", "l0_core.testing", "l0_core.testing.plugin", "l0_core.testing.recorded"}
    assert "h11" not in loaded.split()
