"""What real providers sent is written down and given again: the same objects, with the same boundaries."""

from functools import cache
from typing import Any

import pytest
from wire import CHAT, all_of, beta_messages_stream, chat_stream, recorded, recordings, responses_stream

import l0_core
from l0_core import Journal

STREAMS: dict[str, Any] = {
    **dict.fromkeys(CHAT, chat_stream),
    "openai_responses": responses_stream,
    "anthropic": beta_messages_stream,
}


@cache
def _chunks(name: str) -> list[Any]:
    return all_of(STREAMS[name.partition("/")[0]](recorded(name)))


@pytest.fixture(params=recordings(*STREAMS))
def chunks(request: pytest.FixtureRequest) -> list[Any]:
    return _chunks(request.param)


def test_sdk_objects_come_back_as_they_were(chunks: list[Any]) -> None:
    """G6: ids, usage and all that no port looks into included; however the stream ended."""
    journal = Journal.memory()
    stream = l0_core.stream(lambda _: iter(chunks), journal=journal, policy="strict")
    given, failure = _all(stream)
    again, failed_again = _all(l0_core.replay_stream(journal, stream.result.session_id))
    assert [type(chunk) for chunk in again] == [type(chunk) for chunk in given]
    assert again == given
    assert type(failed_again) is type(failure) or isinstance(failed_again, l0_core.L0Error)
    assert l0_core.replay(journal, stream.result.session_id).status == stream.result.status


def _all(stream: Any) -> tuple[list[Any], Exception | None]:
    chunks: list[Any] = []
    try:
        for chunk in stream:
            chunks.append(chunk)  # noqa: PERF402 - those before an error count
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the consumer saw
        return chunks, error
    return chunks, None
