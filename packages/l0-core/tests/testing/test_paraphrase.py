"""Plain text worded anew."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l0_core.testing.paraphrase import VOICES, paraphrased
from l0_core.testing.phrasing import dice

CODE = "It is simple, because it is small.\n\n```python\nlarge = many  # a quick fix\n```\n\nRun it often."


@given(st.text(min_size=1))
def test_a_text_is_its_own_first_wording(text: str) -> None:
    template = paraphrased(text)
    assert template.canonical == text
    assert template.accepts(text)
    for number in range(3):
        drawn = template.sample(dice(number))
        assert template.accepts(drawn)
        assert not drawn.strip() or not template.accepts(drawn[: len(drawn) // 2])


def test_every_prose_has_every_voice() -> None:
    drawn = {paraphrased("Paris.").sample(dice(number)) for number in range(100)}
    assert drawn == {f"{opening}Paris.{ending}" for opening, ending in VOICES}


def test_words_and_the_order_of_clauses_change() -> None:
    drawn = {paraphrased("The house is large because it was built so.").sample(dice(number)) for number in range(400)}
    assert any("Because it was constructed so, the house is big." in text for text in drawn)
    assert any("The house is sizeable because it was built so." in text for text in drawn)


def test_code_in_fences_stays_as_it_is() -> None:
    fence = CODE[CODE.index("```") : CODE.rindex("```") + 3]
    assert all(fence in paraphrased(CODE).sample(dice(number)) for number in range(50))


def test_an_article_still_fits() -> None:
    drawn = {paraphrased("It is an important and a large thing.").sample(dice(number)) for number in range(200)}
    assert not any("an significant" in text or "a important" in text for text in drawn)


@pytest.mark.parametrize("text", ['{"b": 1, "a": [true, "x y"]}', "[1, 2, 3]", '{\n  "city": "Köln"\n}'])
def test_a_document_is_laid_out_differently_and_says_the_same(text: str) -> None:
    wordings = list(paraphrased(text).phrasings())
    assert len(wordings) >= 2
    assert all(json.loads(wording) == json.loads(text) for wording in wordings)


@pytest.mark.parametrize("text", ["{not json", "[1, 2", "{}[]"])
def test_what_only_looks_like_a_document_is_prose(text: str) -> None:
    assert len(list(paraphrased(text).phrasings())) == len(VOICES)


def test_white_space_has_no_other_words() -> None:
    assert list(paraphrased(" \n").phrasings()) == [" \n"]
