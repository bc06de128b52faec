"""Streams of real providers, served again, read by the SDK of their dialect: whole, in any pieces, cut anywhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from l0_core.testing import FaultyProvider, Recording
from l0_core.testing.answer import HowToEnd

WIRE = Path(__file__).parents[3] / "shared" / "wire"
RECORDINGS = sorted(WIRE.glob("*/*.sse"))
MESSAGES: Any = [{"role": "user", "content": "Hi"}]

pytestmark = pytest.mark.skipif(not RECORDINGS, reason="no recorded streams at ../shared/wire")


@pytest.fixture(scope="module")
def reader() -> Iterator["Reader"]:
    with (
        FaultyProvider() as provider,
        openai.OpenAI(base_url=provider.openai_url, api_key="x", max_retries=0) as client,
        anthropic.Anthropic(base_url=provider.anthropic_url, api_key="x", max_retries=0) as claude,
    ):
        yield Reader(provider, client, claude)


@pytest.fixture(params=RECORDINGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def path(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def data_of(recording: Recording) -> list[Any]:
    """The JSON of every event, read by hand."""
    lines = [line.removeprefix(b"data:").strip() for line in recording.data.splitlines() if line.startswith(b"data:")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


class Reader:
    """The SDKs, and a provider they talk to."""

    def __init__(self, provider: FaultyProvider, client: openai.OpenAI, claude: anthropic.Anthropic) -> None:
        self.provider = provider
        self.client: Any = client
        self.claude: Any = claude

    def read(self, path: Path, **how: Any) -> tuple[list[Any], Exception | None]:
        """The events that the SDK of the recording's dialect hands out, and what ended them."""
        self.provider.serve_recording(path, **how)
        events: list[Any] = []
        match path.parent.name:
            case "anthropic":
                stream = self.claude.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=True)
            case "openai_responses":
                stream = self.client.responses.create(model="m", input="Hi", stream=True)
            case _:
                stream = self.client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        return events, drain(stream, events)


def drain(stream: Any, events: list[Any]) -> Exception | None:
    try:
        events.extend(iter_dumped(stream))
    except Exception as error:  # noqa: BLE001 - what ends a stream is what is asked for
        return error
    return None


def iter_dumped(stream: Any) -> Iterator[Any]:
    for event in stream:
        yield event.to_dict(mode="json", warnings=False)  # what a dialect adds is no news here


def expected(recording: Recording) -> tuple[list[str], bool]:
    """What tells the events apart, up to an error event, and whether there is one."""
    told: list[str] = []
    for event in data_of(recording):
        if event.get("error"):
            return told, True
        if event.get("type") != "ping":
            told.append(shape(event))
    return told, False


def shape(event: Any) -> str:
    """The parts of an event that every SDK passes on as they are."""
    choices = event.get("choices")
    text = choices[0]["delta"].get("content") if choices else event.get("delta")
    return json.dumps([event.get("type"), event.get("id"), text if isinstance(text, str) else None])


def test_a_recording_served_whole_is_read_by_the_sdk_of_its_dialect(reader: Reader, path: Path) -> None:
    recording = Recording.load(path)
    events, error = reader.read(path)
    there, broken = expected(recording)
    assert [shape(event) for event in events] == there
    assert isinstance(error, openai.APIError) if broken else error is None
    assert reader.provider.requests[-1].sent_bytes == len(recording.data)


def test_pieces_of_any_size_say_the_same(reader: Reader, path: Path) -> None:
    whole, _ = reader.read(path)
    for size in (100_003, 4096, 61):
        assert reader.read(path, chunk_bytes=size)[0] == whole


@pytest.mark.parametrize("how", ["close", "reset", "end"])
def test_a_recording_cut_anywhere_is_a_beginning_of_the_whole(reader: Reader, path: Path, how: HowToEnd) -> None:
    size = len(Recording.load(path).data)
    whole, _ = reader.read(path)
    for part in (1, 3, 7, 11):
        events, error = reader.read(path, cut_at=size * part // 13, how=how)
        assert events == whole[: len(events)]
        assert len(events) < len(whole) or part > 1  # behind the last event stands what ends the stream
        assert how == "end" or error is not None


def test_a_changed_byte_changes_no_more_than_its_event(reader: Reader, path: Path) -> None:
    size = len(Recording.load(path).data)
    whole, _ = reader.read(path)
    for part in range(1, 12):
        events, error = reader.read(path, corrupt_at=size * part // 13)
        same = sum(map(whole.__contains__, events))
        assert same >= len(events) - 1
        assert error is not None or len(events) >= len(whole) - 1
