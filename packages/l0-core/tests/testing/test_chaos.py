"""The provider as a program: a scenario file, one line for every request, wrong files refused by name."""

import threading
from pathlib import Path

import pytest
from by_hand import QUESTION, ask, send

from l0_core.testing import FaultyProvider, Recording
from l0_core.testing.__main__ import main
from l0_core.testing.chaos import Scenario, chaos

SCENARIO = """
wording = "varied"
seed = 7

[continuations]
exact = 1

[[reply]]
template = "{Yes|No}, {sir|madam}."

[[reply]]
text = "Berlin."
when = "germany"
chunks = 1

[[fault]]
fault = "rate_limit(retry_after=1)"
times = 2

[[fault]]
fault = "status(503)"

[mix]
"reset_after(chunks=1)" = 0
"ok()" = 1
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO)
    return path


def test_a_scenario_says_what_is_answered_and_how_it_fails(path: Path) -> None:
    scenario = Scenario.load(path)
    with FaultyProvider(**scenario.provider) as provider:
        scenario.apply(provider)
        assert [ask(provider).status for _ in range(5)] == [429, 429, 503, 200, 200]
        assert ask(provider, [{"role": "user", "content": "Germany?"}]).text.count("Berlin.") == 1
        assert {ask(provider).text for _ in range(20)} == {"Yes, sir.", "Yes, madam.", "No, sir.", "No, madam."}


def test_the_last_fault_goes_on_unless_it_says_how_often() -> None:
    for entry, statuses in (({}, [500, 500, 500]), ({"times": 2}, [500, 500, 200])):
        scenario = Scenario.of({"fault": [{"fault": "status(500)", **entry}]})
        with FaultyProvider() as provider:
            scenario.apply(provider)
            assert [ask(provider).status for _ in range(3)] == statuses


def test_recordings_stand_beside_the_file(tmp_path: Path) -> None:
    Recording(b"data: 1\n\n").save(tmp_path / "one.sse")
    (tmp_path / "s.toml").write_text('recordings = ["one.sse"]')
    with FaultyProvider() as provider:
        Scenario.load(tmp_path / "s.toml").apply(provider)
        assert ask(provider).body == b"data: 1\n\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("colour = 1", "unknown colour; there are wording, seed"),
        ("[[reply]]\nwords = 'x'", "unknown words; there are text, template"),
        ("[[reply]]\nchunks = 3", "a text or a template"),
        ("[[fault]]\nname = 'ok()'", "unknown name; there are fault, times"),
        ("[[fault]]\ntimes = 1", "each has a fault"),
        ("[[fault]]\nfault = 'reset_aftr(chunks=1)'", "did you mean reset_after"),
        ("[[fault]]\nfault = 'ok()'\ntimes = 0", "at least 1"),
        ("[mix]\n'ok()' = -1", "no weight below 0"),
        ("wording = 'loud'", "'identical' or 'varied'"),
        ("[continuations]\nperfect = 1", "unknown: perfect; there are exact"),
        ("wording = ", "Invalid value"),
    ],
)
def test_a_wrong_file_is_refused_with_what_there_is(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        Scenario.load(path)


def test_one_line_for_every_request_without_prompt_answer_or_key() -> None:
    lines: list[str] = []
    stop, told, adding = threading.Event(), threading.Event(), threading.Lock()

    def say(line: str) -> None:
        with adding:  # requests are answered in threads of their own
            lines.append(line)
            if len(lines) in (2, 5):
                told.set()

    thread = threading.Thread(target=chaos, kwargs={"say": say, "stop": stop}, daemon=True)
    thread.start()
    assert told.wait(60)
    told.clear()
    port = int(lines[0].rpartition(":")[2].removesuffix("/v1"))
    stranger = FaultyProvider()
    stranger._server = type("Running", (), {"host": "127.0.0.1", "port": port})()
    ask(stranger)
    ask(stranger, stream=False, dialect="anthropic")
    last = {"role": "assistant", "content": "The capital", "prefix": True}
    ask(stranger, [*QUESTION, last])
    send(stranger, "GET", "/v1/models")
    assert told.wait(60)
    stop.set()
    thread.join(60)
    lines[2:] = sorted(lines[2:])  # each is told when its answer is through, which the next may overtake
    assert lines[2].startswith("#0 POST /v1/chat/completions m stream: ok(), 8 chunks, ")
    assert lines[2].endswith(" ms, complete")
    assert lines[3].startswith("#1 POST /v1/messages m call: ok()")
    assert lines[4].startswith("#2 POST /v1/chat/completions m stream prefill:exact: ok()")
    assert "capital" not in "".join(lines)


def test_the_command_needs_a_name() -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
