"""A recorder keeps the bytes and their times, passes everything on, and keeps no secret. vcrpy is the second reader."""

import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import vcr  # type: ignore[import-untyped]
import yaml  # type: ignore[import-untyped]
from by_hand import QUESTION

from l0_core.testing import FaultyProvider, Recorder, Recording, faults, samples

KEY = "sk-proj-abcDEF123456ghiJKL"
SECRETS = {
    "a key": KEY,
    "another provider's key": "sk-ant-api03-abcdefghijk",
    "an organisation": "org-AbCdEfGh12345678",
    "a project": "proj_AbCdEfGh12345678",
    "a token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-def",
}


@pytest.fixture
def provider(faulty_provider: FaultyProvider) -> FaultyProvider:
    return faulty_provider


def read(recorder: Recorder, text: str = "Hi", **more: Any) -> list[Any]:
    with openai.OpenAI(
        base_url=f"{recorder.url}/v1", api_key=KEY, organization="org-AbCdEfGh12345678", max_retries=0
    ) as client:
        messages: Any = [{"role": "user", "content": text}]
        stream: Any = client.chat.completions.create(model="m", messages=messages, stream=True, **more)
        return [chunk.to_dict() for chunk in stream]


def test_the_client_sees_what_it_would_have_seen_and_the_bytes_are_kept(
    provider: FaultyProvider, tmp_path: Path
) -> None:
    with Recorder(provider.url, folder=tmp_path, name="chat") as recorder:
        chunks = read(recorder)
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == samples.PROSE.canonical
    recording = Recording.load(tmp_path / "chat-1.sse")
    assert recording == recorder.recordings[0]
    assert recording.data.endswith(b"data: [DONE]\n\n")
    assert (recording.status, recording.uri) == (200, f"{provider.url}/v1/chat/completions")
    assert recording.request["messages"] == [{"role": "user", "content": "Hi"}]
    provider.serve_recording(tmp_path / "chat-1.sse")
    with Recorder(provider.url, folder=tmp_path, name="again") as recorder:
        assert read(recorder) == chunks
    assert recorder.recordings[0].data == recording.data


def test_arrival_times_are_kept(provider: FaultyProvider, tmp_path: Path) -> None:
    provider.script(faults.drip(seconds=0.01))
    with Recorder(provider.url, folder=tmp_path) as recorder:
        read(recorder)
    counts = [count for count, _ in recorder.recordings[0].arrivals]
    times = [seconds for _, seconds in recorder.recordings[0].arrivals]
    assert counts == sorted(set(counts))
    assert counts[-1] == len(recorder.recordings[0].data)
    assert len(counts) > 5
    assert times == sorted(times)
    assert times[-1] - times[0] > 0.01 * (len(times) - 2)


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_secrets_are_overwritten_wherever_they_stand(provider: FaultyProvider, tmp_path: Path, secret: str) -> None:
    provider.reply(f"Your secret is {secret}, is it not?", chunks=1)
    with Recorder(provider.url, folder=tmp_path) as recorder:
        chunks = read(
            recorder, f"Mine is {secret}.", extra_query={"api-key": "hidden-value"}, user="somebody@example.test"
        )
    assert secret in json.dumps(chunks)
    kept = "".join(path.read_text() for path in tmp_path.iterdir())
    for hidden in (secret, KEY, "org-AbCdEfGh12345678", "hidden-value", "somebody@example.test"):
        assert hidden not in kept
    recording = recorder.recordings[0]
    assert f"Your secret is {'x' * len(secret)}, is it not?" in recording.data.decode()
    assert recording.request["user"] == "x" * len("somebody@example.test")
    assert recording.arrivals[-1][0] == len(recording.data)


def test_nothing_else_is_overwritten(provider: FaultyProvider, tmp_path: Path) -> None:
    innocent = "risk-averse users ask for org charts; sk-8 is a bus, project-based work, task-oriented_thinking"
    provider.reply(innocent)
    with Recorder(provider.url, folder=tmp_path) as recorder:
        read(recorder, innocent)
    assert recorder.recordings[0].request["messages"][0]["content"] == innocent
    assert b"x" * 8 not in recorder.recordings[0].data


def test_errors_are_answers_too(provider: FaultyProvider, tmp_path: Path) -> None:
    provider.script(faults.rate_limit(retry_after=7))
    with Recorder(provider.url, folder=tmp_path) as recorder, pytest.raises(openai.RateLimitError) as caught:
        read(recorder)
    assert caught.value.response.headers["retry-after"] == "7"
    recording = Recording.load(tmp_path / "stream-1.sse")
    assert recording.status == 429
    assert dict(recording.headers)["retry-after"] == "7"


@pytest.mark.parametrize("fault", [faults.reset_after(chunks=3), faults.close_after(chunks=3)], ids=str)
def test_a_stream_that_breaks_breaks_for_the_client_and_is_kept_as_far_as_it_came(
    provider: FaultyProvider, tmp_path: Path, fault: Any
) -> None:
    provider.script(fault)
    with Recorder(provider.url, folder=tmp_path) as recorder, pytest.raises(httpx.TransportError):
        read(recorder)
    data = Recording.load(tmp_path / "stream-1.sse").data
    assert data.count(b'"content":"') == 4
    assert b"[DONE]" not in data


def test_a_provider_that_cannot_be_reached_is_said_so(tmp_path: Path) -> None:
    with FaultyProvider() as provider:
        url = provider.url
    with (
        Recorder(url, folder=tmp_path) as recorder,
        pytest.raises(openai.InternalServerError, match="cannot be reached"),
    ):
        read(recorder)
    assert recorder.recordings == []


@pytest.mark.parametrize("upstream", ["api.openai.com", "https://api.openai.com/v1", "ftp://x", ""])
def test_an_upstream_is_a_scheme_and_a_host(tmp_path: Path, upstream: str) -> None:
    with pytest.raises(ValueError, match="a scheme and a host"):
        Recorder(upstream, folder=tmp_path)
    with pytest.raises(RuntimeError, match="not running"):
        _ = Recorder("https://example.test", folder=tmp_path).url


def test_a_cassette_of_the_same_call_holds_the_same_bytes(provider: FaultyProvider, tmp_path: Path) -> None:
    """What vcrpy records of the client's side of the very exchange is what the recorder saw."""
    upstream_port = int(provider.url.rpartition(":")[2])
    cassette = tmp_path / "cassette.yaml"
    with Recorder(provider.url, folder=tmp_path) as recorder:
        taped = vcr.VCR(before_record_request=lambda request: None if request.port == upstream_port else request)
        with taped.use_cassette(str(cassette)):
            response = httpx.post(
                f"{recorder.url}/v1/chat/completions",
                json={"model": "m", "stream": True, "messages": QUESTION},
            )
            assert response.status_code == 200
    [interaction] = yaml.safe_load(cassette.read_text())["interactions"]
    body = interaction["response"]["body"]["string"]
    assert (body.encode() if isinstance(body, str) else body) == recorder.recordings[0].data == response.content
    assert interaction["response"]["status"]["code"] == recorder.recordings[0].status
