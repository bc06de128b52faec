"""The oracle of recovery: what is a complete answer, and what is not. G1 is measured with it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0_core.testing import Template, samples
from l0_core.testing.paraphrase import paraphrased
from l0_core.testing.phrasing import dice

PLAIN = "The large house lies near the sea because many people like boats. However, it needs a quick repair."
TEMPLATES = {**samples.ALL, "paraphrased": paraphrased(PLAIN), "short": paraphrased("Paris.")}
CHOSEN = 12


@pytest.fixture(params=sorted(TEMPLATES))
def template(request: pytest.FixtureRequest) -> Template:
    return TEMPLATES[request.param]


@pytest.fixture
def phrasings(template: Template) -> list[str]:
    everything = list(template.phrasings())
    return dice("chosen").sample(everything, min(CHOSEN, len(everything)))


@pytest.fixture
def language(template: Template) -> frozenset[str]:
    return frozenset(template.phrasings())


def test_the_oracle_accepts_every_phrasing_and_nothing_else_of_its_kind(
    template: Template, language: frozenset[str]
) -> None:
    assert all(map(template.accepts, itertools.islice(language, 500)))
    assert template.canonical in language
    assert not template.accepts("")


def test_every_sample_is_worded_in_several_ways(template: Template, language: frozenset[str]) -> None:
    drawn = {template.sample(dice("draw", number)) for number in range(60)}
    assert len(drawn) >= min(5, len(language))
    assert drawn <= language


def test_a_cut_answer_is_never_right(template: Template, phrasings: list[str]) -> None:
    assert not [text[:end] for text in phrasings for end in range(len(text)) if template.accepts(text[:end])]


def test_a_doubled_piece_is_never_right(phrasings: list[str], language: frozenset[str]) -> None:
    doubled = (
        text[:end] + text[end - width :]
        for text in phrasings
        for width in range(1, 60)
        for end in range(width, len(text) + 1)
    )
    assert language.isdisjoint(doubled)


def test_a_lost_piece_is_never_right(phrasings: list[str], language: frozenset[str]) -> None:
    lost = (
        text[:start] + text[start + width :]
        for text in phrasings
        for width in range(1, 60)
        for start in range(len(text) - width + 1)
    )
    assert language.isdisjoint(lost)


def test_an_answer_glued_to_another_is_never_right(phrasings: list[str], language: frozenset[str]) -> None:
    glued = (
        first[:end] + second
        for first, second in itertools.product(phrasings, repeat=2)
        for end in range(1, len(first) + 1)
    )
    assert language.isdisjoint(glued)


def test_a_second_answer_entered_by_length_is_hardly_ever_right(phrasings: list[str], language: frozenset[str]) -> None:
    """Where it is, the words on both sides happen to be as long: then it is a whole answer, whoever put it together."""
    entered = [
        first[:end] + second[end:]
        for first, second in itertools.product(phrasings, repeat=2)
        for end in range(1, min(len(first), len(second)))
    ]
    patched = [text for text in entered if text not in phrasings]
    assert sum(text in language for text in patched) <= len(patched) / 50


@pytest.mark.parametrize("before", ["Sure! ", "Continuing:\n", " ", "```\n", "“"])
def test_what_stands_before_or_after_makes_it_wrong(template: Template, phrasings: list[str], before: str) -> None:
    assert not any(template.accepts(before + text) or template.accepts(text + before) for text in phrasings)


def test_every_beginning_can_be_gone_on_from(template: Template, phrasings: list[str]) -> None:
    for text in phrasings:
        for end in range(len(text) + 1):
            rest = template.rest(text[:end], dice("rest", end))
            assert rest is not None
            assert template.accepts(text[:end] + rest)


def test_what_begins_no_answer_cannot_be_gone_on_from(template: Template) -> None:
    for text in ("Something else", template.canonical + "x", "x" + template.canonical):
        assert not template.begins(text)
        assert template.rest(text) is None


def test_linked_choices_are_kept_after_a_beginning_that_shows_them() -> None:
    template = Template("{@who:He|She} {ran|walked} home with {@who:his|her} dog.")
    assert all("her" in (template.rest("She ", dice(number)) or "") for number in range(20))
    assert not template.accepts("He ran home with her dog.")


@given(st.integers(), st.integers(min_value=0, max_value=300))
def test_going_on_without_a_draw_is_always_the_same(seed: int, end: int) -> None:
    text = samples.PROSE.sample(dice(seed))[:end]
    assert samples.PROSE.rest(text) == samples.PROSE.rest(text)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("{a|}", "none of them empty"),
        ("{a}", "two alternatives or more"),
        ("{very big|big} dog", "with a piece removed"),
        ("{in|inside} it", "with a piece removed"),
        ("{@a:ab|a}{@a:c|bcd}", "a phrasing ends where another goes on"),
        ("{a|b", "never closed"),
        ("a|b}", "closes nothing at character 3"),
        ("{@x:a|b} {@x:c|d|e}", "linked choices need as many"),
        ("{@x y:a|b}", "{@name:a|b}"),
        ("{@:a|b}", "{@name:a|b}"),
    ],
)
def test_a_template_that_could_hide_a_loss_is_refused(source: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace("{", r"\{").replace("|", r"\|")):
        Template(source)


def test_a_template_too_large_to_check_is_refused() -> None:
    source = "".join(f"{{@n{number}:aa|ab}}" for number in range(20)) + "".join(
        f"{{@n{number}:x|y}}" for number in range(20)
    )
    with pytest.raises(ValueError, match="too many phrasings"):
        Template(source)


def test_a_backslash_makes_the_next_character_plain() -> None:
    assert Template(r"\{a\|b\} \\ {c|d}").canonical == r"{a|b} \ c"


def test_an_exact_text_is_taken_as_it_is() -> None:
    text = '{"a": "b|c"} {@x:'
    assert list(Template.exactly(text).phrasings()) == [text]
    assert Template.exactly("").accepts("")
