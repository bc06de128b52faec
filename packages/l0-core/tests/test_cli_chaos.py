"""`l0 chaos`, as a shell and a program see it."""

import http.client
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from by_hand import QUESTION

from l0_core.testing import FaultyProvider

RUN = [sys.executable, "-c", "from l0_core.cli import main; main()", "chaos"]
SCENARIO = """
[[fault]]
fault = "rate_limit(retry_after=1)"

[[fault]]
fault = "ok()"
"""


def ask(url: str) -> int:
    host = url.removeprefix("http://").partition("/")[0]
    connection = http.client.HTTPConnection(host, timeout=10)
    try:
        body = json.dumps({"model": "m", "stream": True, "messages": QUESTION})
        connection.request("POST", "/v1/chat/completions", body, {"authorization": "Bearer sk-secret"})
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_a_scenario_with_one_line_a_request_until_it_is_told_to_stop(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "scenario.toml").write_text(SCENARIO)
    command = [*RUN, str(tmp_path / "scenario.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        openai, anthropic = process.stdout.readline().split(), process.stdout.readline().split()
        assert (openai[0], anthropic[0]) == ("OpenAI", "Anthropic")
        assert openai[1].startswith("http://127.0.0.1:")
        assert [ask(openai[1]), ask(openai[1])] == [429, 200]
        lines = [process.stdout.readline(), process.stdout.readline()]
        process.send_signal(number)
        rest, errors = process.communicate(timeout=10)
    assert lines[0].startswith("#0 POST /v1/chat/completions m stream: rate_limit(retry_after=1), ")
    assert lines[1].startswith("#1 POST /v1/chat/completions m stream: ok(), 8 chunks, ")
    assert (rest, errors, process.returncode) == ("", "", 0)
    assert "secret" not in "".join(lines)


def test_it_says_it_to_programs() -> None:
    with subprocess.Popen([*RUN, "--json"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        where = json.loads(process.stdout.readline())
        assert sorted(where) == ["anthropic", "openai"]
        assert ask(where["openai"]) == 200
        told = json.loads(process.stdout.readline())
        process.terminate()
    assert (told["number"], told["fault"], told["chunks"], told["ending"]) == (0, "ok()", 8, "complete")
    assert "Paris" not in json.dumps(told)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("colour = 1", "unknown colour; there are wording, seed"), ("[[fault]]\nfault = 'reset_aftr()'", "did you mean")],
)
def test_what_it_cannot_serve_is_misuse_and_says_what_there_is(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    for arguments in ([str(path)], [str(path), "--json"], [str(tmp_path / "missing.toml")]):
        ran = subprocess.run([*RUN, *arguments], check=False, capture_output=True, text=True)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert "Traceback" not in ran.stderr
        assert (complaint if "wrong" in arguments[0] else "missing.toml") in ran.stderr


def test_a_port_that_is_taken_is_said_so() -> None:
    with FaultyProvider() as provider:
        port = provider.url.rpartition(":")[2]
        ran = subprocess.run([*RUN, "--port", port], check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "in use" in ran.stderr


def test_without_the_extra_it_says_how_to_get_it() -> None:
    run = f"import sys; sys.modules['h11'] = None\n{RUN[2]}"
    ran = subprocess.run([RUN[0], "-c", run, "chaos"], check=False, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (2, "l0 chaos: the server needs h11: pip install 'l0-core[testing]'\n")
