"""What `l0 demo` tells: every story is played on both sides, and ends as it says."""

import os
import subprocess
import sys

import pytest

from l0_core.demo import Side, Story, stories

# The clients are left to the collector, as programs leave them.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::DeprecationWarning"
)

LAST_WORDS = "as far as Burgundy to this day."
KEY = "sk-proj-"
STORIES = {story.place: story for story in stories()}


class Seen:
    """What a side showed."""

    def __init__(self, side: Side) -> None:
        self.text = "".join(line.text for line in side.lines if not line.is_remark)
        self.remarks = "\n".join(line.text for line in side.lines if line.is_remark)


@pytest.fixture(params=sorted(STORIES), ids=str)
def played(request: pytest.FixtureRequest) -> tuple[Story, Seen, Seen]:
    """A story, bare and with L0."""
    story = STORIES[request.param]
    sides = Side("bare"), Side("with L0")
    story.bare(sides[0])
    story.reliable(sides[1])
    return story, Seen(sides[0]), Seen(sides[1])


def test_there_are_eight() -> None:
    assert sorted(STORIES) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_story_ends_as_it_says(played: tuple[Story, Seen, Seen]) -> None:
    story, bare, reliable = played
    match story.place:
        case 1:
            assert LAST_WORDS not in bare.text
            assert "raised" in bare.remarks
            assert LAST_WORDS in reliable.text
            assert reliable.text.count("rises in Burgundy") == 1
            assert "2 attempts after network" in reliable.remarks
        case 2:
            assert reliable.text.count("rises at Source-Seine") == 1
            assert "longest wait" in bare.remarks
        case 3:
            assert not bare.text
            assert "3 requests" in bare.remarks
            assert LAST_WORDS in reliable.text
            assert "marked as degraded" in reliable.remarks
        case 4:
            assert "weather(city='Pa')" in bare.remarks
            assert reliable.remarks.splitlines() == ["the tool ran: weather(city='Paris, France')"]
        case 5:
            assert KEY in bare.text
            assert KEY not in reliable.text
            assert "[key removed]" in reliable.text
        case 6:
            assert bare.remarks.count("raised") == 2
            assert "2 requests" in reliable.remarks
            assert "River(name='Seine', length_km=775, mouth='Le Havre')" in reliable.text
        case 7:
            assert "this is another answer" in bare.remarks
            assert "the answer went on behind them" in reliable.remarks
        case _:
            assert bare.remarks.count("raised") == 2
            assert LAST_WORDS in reliable.text
            assert "raised ReplayDivergence" in reliable.remarks
            assert "wide is it" in reliable.remarks


def test_it_is_read_as_plain_text_when_it_is_piped() -> None:
    """Without a colour or a cursor, in a hundred columns."""
    command = [sys.executable, "-c", "from l0_core.cli import main; main()", "demo", "5"]
    environment = dict(os.environ, COLUMNS="60")
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert "\x1b" not in done.stdout
    assert "[key removed]" in done.stdout
    assert "docs/start-langchain.md" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert not done.stderr


def test_a_story_that_is_not_there_is_misuse() -> None:
    command = [sys.executable, "-c", "from l0_core.cli import main; main()", "demo", "99"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there are stories 1, 2, 3, 4, 5, 6, 7, 8, not 99" in done.stderr
