"""The meter tells right from wrong: programs of known quality get the figures they deserve, under both wordings."""

import asyncio
import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from by_hand import PATHS, QUESTION, ask, said_in_event

from l0_core.testing import FaultyProvider, Report, ameasure, faults, measure, samples
from l0_core.testing.meter import text_of
from l0_core.testing.reply import Wording

MIX = {
    faults.reset_after(chunks=3): 2.0,
    faults.reset_after(bytes=900): 1.0,
    faults.close_after(chunks=5): 1.0,
    faults.eof_after(chunks=4): 1.0,
    faults.status(503): 1.0,
    faults.ok(): 1.0,
}
N = 60


@pytest.fixture
def provider(faulty_provider: FaultyProvider) -> FaultyProvider:
    return faulty_provider


class Broken(Exception):  # noqa: N818 - what the line did
    """A stream that ended without saying so, with what came before."""

    def __init__(self, text: str) -> None:
        super().__init__("the stream broke")
        self.text = text


def listen(provider: FaultyProvider, messages: list[Any], dialect: str = "openai") -> str:
    """One attempt, by hand: the whole text, or `Broken` with a part of it."""
    connection = http.client.HTTPConnection("127.0.0.1", int(provider.url.rpartition(":")[2]), timeout=5)
    body = {"model": "m", "stream": True, "max_tokens": 500, "messages": messages}
    text, finished = "", False
    try:
        connection.request("POST", PATHS[dialect], json.dumps(body))
        response = connection.getresponse()
        if response.status != 200:
            raise Broken("")
        for line in response:
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                text += said_in_event(event)
                finished = finished or bool(event.get("choices") and event["choices"][0]["finish_reason"])
                finished = finished or event.get("type") == "message_stop"
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Broken(text) from error
    finally:
        connection.close()
    if not finished:
        raise Broken(text)
    return text


def naive(provider: FaultyProvider) -> str:
    """Takes what comes."""
    try:
        return listen(provider, QUESTION)
    except Broken as broken:
        return broken.text


def glueing(provider: FaultyProvider) -> str:
    """Asks again and puts the second answer behind what it has."""
    text = ""
    for _ in range(4):
        try:
            return text + listen(provider, QUESTION)
        except Broken as broken:
            text += broken.text
    raise AssertionError


def patching(provider: FaultyProvider) -> str:
    """Asks again and skips as many characters as it has."""
    text = ""
    for _ in range(4):
        try:
            return text + listen(provider, QUESTION)[len(text) :]
        except Broken as broken:
            text += broken.text[len(text) :]
    raise AssertionError


def patient(provider: FaultyProvider) -> str:
    """Shows nothing before it has everything."""
    for _ in range(4):
        try:
            return listen(provider, QUESTION)
        except Broken:
            continue
    raise AssertionError


def prefilling(provider: FaultyProvider) -> str:
    """Goes on from what it has, where the provider takes a prefix; an end without blanks is what it takes."""
    text = ""
    for _ in range(6):
        last: list[Any] = [{"role": "assistant", "content": text.rstrip()}] if text.strip() else []
        try:
            return text.rstrip() + listen(provider, [*QUESTION, *last], "anthropic")
        except Broken as broken:
            text = text.rstrip() + broken.text
    raise AssertionError


def prompting(provider: FaultyProvider, *, finds_words: bool) -> str:
    """Asks to repeat the last words and go on; takes the seam where it finds them, or anywhere."""
    text = ""
    for _ in range(8):
        anchor = text[-24:].strip()
        request = f"You broke off. Repeat these words and go on: {anchor}"
        more: list[Any] = [{"role": "assistant", "content": text}, {"role": "user", "content": request}] if text else []
        try:
            heard = listen(provider, [*QUESTION, *more])
        except Broken as broken:
            if not text:
                text = broken.text
            continue
        if not text:
            return heard
        at = heard.find(anchor)
        if at >= 0 and not (finds_words and heard[at + len(anchor) :].startswith("”")):
            return text.rstrip() + heard[at + len(anchor) :]
        if not finds_words:
            return text + heard
    raise AssertionError


@pytest.mark.parametrize("wording", ["identical", "varied"])
@pytest.mark.parametrize("program", [patient, prefilling, lambda provider: prompting(provider, finds_words=True)])
def test_a_program_that_recovers_rightly_is_never_wrong(
    wording: Wording, program: Callable[[FaultyProvider], str]
) -> None:
    report = measure(program, MIX, n=N, seed=1, wording=wording)
    assert report.share("exact", "complete") == 1.0, report.wrongs
    assert report.share("exact") == 1.0 or wording == "varied"
    assert report.extra_calls > 0
    assert report.extra_tokens > 0


@pytest.mark.parametrize("wording", ["identical", "varied"])
@pytest.mark.parametrize("program", [naive, glueing])
def test_a_program_that_cuts_or_glues_is_wrong_wherever_a_chunk_was_shown(
    wording: Wording, program: Callable[[FaultyProvider], str]
) -> None:
    report = measure(
        program, {faults.reset_after(chunks=3): 1, faults.eof_after(chunks=4): 1}, n=N, seed=2, wording=wording
    )
    assert report.share("wrong") == 1.0


def test_what_works_on_identical_answers_only_shows_under_varied_wording() -> None:
    mix = {faults.reset_after(chunks=4): 1}
    assert measure(patching, mix, n=N, seed=3).share("exact") == 1.0
    assert measure(patching, mix, n=N, seed=3, wording="varied").share("wrong") > 0.5

    def careless(provider: FaultyProvider) -> str:
        return prompting(provider, finds_words=False)

    assert measure(careless, mix, n=N, seed=3).share("exact") == 1.0
    assert measure(careless, mix, n=N, seed=3, wording="varied").share("wrong") > 0.1


@dataclass
class Answer:
    """A result that says more than its text."""

    text: str
    degraded: bool = False
    finish_reason: str | None = None
    response_metadata: dict[str, Any] = field(default_factory=dict)


class IncompleteError(Exception):
    """Named as L0's."""


def test_an_honest_failure_is_told_from_a_wrong_answer() -> None:
    def one(result: Callable[[str], object]) -> Callable[[FaultyProvider], object]:
        """Right while nothing fails, then whatever `result` makes of the part that came."""

        def call(provider: FaultyProvider) -> object:
            try:
                return listen(provider, QUESTION)
            except Broken as broken:
                return result(broken.text)

        return call

    def raising(error: Exception) -> Callable[[str], object]:
        def result(_text: str) -> object:
            raise error

        return result

    outcomes = {
        "incomplete": [
            raising(IncompleteError()),
            lambda text: Answer(text, finish_reason="length"),
            lambda text: Answer(text, response_metadata={"stop_reason": "max_tokens"}),
            lambda text: Answer(text, response_metadata={"l0": {"incomplete": True}}),
        ],
        "raised": [raising(RuntimeError("no"))],
        "wrong": [
            lambda text: text,
            lambda text: Answer(text, finish_reason="stop"),
            lambda text: Answer(text, degraded=True),
            lambda _text: "",
            lambda _text: None,
            lambda text: Answer(text, response_metadata={"l0": {"degraded": True}}),
        ],
        "degraded": [
            lambda _text: Answer(samples.PROSE.canonical, degraded=True),
            lambda _text: Answer(samples.PROSE.canonical, response_metadata={"l0": {"degraded": True}}),
        ],
        "exact": [lambda _text: Answer(samples.PROSE.canonical)],
    }
    for outcome, results in outcomes.items():
        for result in results:
            report = measure(one(result), [faults.reset_after(chunks=3)], n=2)
            assert report.share(outcome) == 1.0, (outcome, report)  # type: ignore[arg-type]
    assert measure(one(raising(RuntimeError())), [faults.status(500)], n=3).raised == {"RuntimeError": 3}


def test_an_answer_of_the_fallback_is_degraded_when_marked_and_counted() -> None:
    with FaultyProvider() as spare:
        spare.reply("The answer of another model.")

        def call(provider: FaultyProvider) -> Answer:
            try:
                return Answer(listen(provider, QUESTION))
            except Broken:
                return Answer(listen(spare, QUESTION), degraded=True)

        report = measure(call, [faults.status(500)], n=4, fallback=spare)
        assert report.share("degraded") == 1.0
        assert report.extra_calls == 4
        unmarked = measure(lambda provider: call(provider).text, [faults.status(500)], n=4, fallback=spare)
        assert unmarked.share("complete") == 1.0
        unknown = measure(call, [faults.status(500)], n=4)
        assert unknown.share("wrong") == 1.0


def test_a_fault_hits_as_many_requests_of_a_call_as_it_is_told_to() -> None:
    seen: list[list[str]] = []

    def call(provider: FaultyProvider) -> str:
        before = provider.request_count
        for _ in range(3):
            ask(provider)
        seen.append([request.fault for request in provider.requests_from(before)])
        return ask(provider).text if provider.request_count % 4 == 3 else samples.PROSE.canonical

    for times, expected in ((1, 1), (2, 2), (None, 3)):
        seen.clear()
        measure(call, [faults.role_only()], n=2, times=times)
        assert [faults_seen.count("role_only()") for faults_seen in seen[-2:]] == [expected, expected]


def test_the_same_seed_draws_the_same_faults_and_the_same_words() -> None:
    def texts(seed: int) -> tuple[list[str], dict[str, Any]]:
        heard: list[str] = []

        def call(provider: FaultyProvider) -> str:
            heard.append(patient(provider))
            return heard[-1]

        report = measure(call, MIX, n=20, seed=seed, wording="varied")
        return heard, {fault: dict(counts) for fault, counts in report.by_fault.items()}

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_it_measures_coroutines_the_same_way() -> None:
    async def call(provider: FaultyProvider) -> str:
        return await asyncio.to_thread(patient, provider)

    report = asyncio.run(ameasure(call, MIX, n=20, seed=1, wording="varied"))
    assert report.outcomes == measure(patient, MIX, n=20, seed=1, wording="varied").outcomes


def test_the_report_says_it_in_a_table() -> None:
    report = measure(naive, {faults.eof_after(chunks=2): 1, faults.status(500): 1}, n=10, seed=4)
    text = str(report)
    assert text.startswith("10 calls, wording identical, seed 4, faults hit 1 of each call's requests\n")
    assert "wrong 100.0%" in text
    assert "eof_after(chunks=2)" in text
    assert report.wrongs[0].text in report.wrongs[0].whole
    assert report.delay(0.95) >= report.delay(0.5) >= 0
    with pytest.raises(ValueError, match="from 0 to 1"):
        report.delay(95)
    assert Report("identical", 0, None).share("wrong") == 0.0


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(RuntimeError, match="never reached the provider"):
        measure(lambda _provider: "x", MIX)
    with pytest.raises(RuntimeError, match="without any fault the call ended wrong"):
        measure(lambda provider: ask(provider).text[:5], MIX)
    with pytest.raises(RuntimeError, match="without any fault the call ended raised"):
        measure(lambda provider: ask(provider).text + 5, MIX)  # type: ignore[operator]
    with pytest.raises(ValueError, match="n is how many calls"):
        measure(naive, MIX, n=0)
    with pytest.raises(ValueError, match="times is how many requests"):
        measure(naive, MIX, times=0)
    with pytest.raises(ValueError, match="no weight below 0"):
        measure(naive, {})
    with pytest.raises(TypeError, match=r"\.text or \.content"):
        text_of(object())


def test_a_text_is_found_in_whatever_has_one() -> None:
    @dataclass
    class Message:
        content: object

    @dataclass
    class Response:
        message: Message

    assert text_of("x") == text_of(Message("x")) == text_of(Message([{"type": "text", "text": "x"}])) == "x"
    assert text_of(Message(["x", {"type": "image"}])) == text_of(Response(Message("x"))) == "x"
    assert text_of(None) == ""
