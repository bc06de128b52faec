"""Asked to go on, the provider does as models do: exactly under identical wording, imperfectly under varied."""

from collections import Counter
from typing import Any

import pytest
from by_hand import QUESTION, ask

from l0_core.testing import FaultyProvider, Message, Template, samples
from l0_core.testing.continuation import MANNERS, PREAMBLES, Resumption, prefilled, prompted, quoted_end, resume
from l0_core.testing.phrasing import dice

WHOLE = samples.PROSE.canonical
CUT = WHOLE[:87]  # "… and about 2.1 million peop"
ANCHOR = CUT[-30:]
REQUEST = f"You were interrupted. Repeat the last words exactly, then go on: {ANCHOR}"


@pytest.fixture
def provider(faulty_provider: FaultyProvider) -> FaultyProvider:
    return faulty_provider


def turns(prefix: str, request: str = REQUEST) -> list[dict[str, str]]:
    return [*QUESTION, {"role": "assistant", "content": prefix}, {"role": "user", "content": request}]


def manner(name: str, *, prefix: str = CUT, anchor: str = ANCHOR, seed: int = 0) -> tuple[str, str]:
    """What is sent in one manner, and the complete answer it belongs to."""
    return resume(Resumption("prompt", prefix, anchor), samples.PROSE, {name: 1.0}, dice("manner", seed))


@pytest.mark.parametrize("dialect", ["openai", "responses", "anthropic"])
@pytest.mark.parametrize("stream", [True, False])
def test_identical_wording_repeats_the_words_and_goes_on(
    *, provider: FaultyProvider, dialect: str, stream: bool
) -> None:
    heard = ask(provider, turns(CUT), dialect=dialect, stream=stream)
    assert heard.text == ANCHOR + WHOLE[len(CUT) :]
    request = provider.requests[-1]
    assert request.resumption is not None
    assert (request.resumption.kind, request.resumption.anchor) == ("prompt", ANCHOR)
    assert request.whole == WHOLE


def test_blanks_nobody_quoted_come_back_after_the_words(provider: FaultyProvider) -> None:
    cut = WHOLE[:12]
    assert cut.endswith(" ")
    heard = ask(provider, turns(cut, f'Go on after "{cut.strip()}"'))
    assert heard.text == WHOLE


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("end", [1, 4, 11, 87, len(WHOLE) - 1])
def test_prefill_goes_on_from_the_last_character(provider: FaultyProvider, dialect: str, end: int) -> None:
    prefix = WHOLE[:end].rstrip()
    last = {"role": "assistant", "content": prefix, "prefix": True}
    assert ask(provider, [*QUESTION, last], dialect=dialect).text == WHOLE[len(prefix) :]


def test_a_prefix_has_to_be_asked_for_in_the_openai_dialects(provider: FaultyProvider) -> None:
    assert ask(provider, [*QUESTION, {"role": "assistant", "content": CUT}]).text == WHOLE


def test_anthropic_refuses_a_prefill_as_it_does() -> None:
    with FaultyProvider() as provider:
        blank_end = ask(provider, [*QUESTION, {"role": "assistant", "content": "The "}], dialect="anthropic")
        assert (blank_end.status, "trailing whitespace" in blank_end.json["error"]["message"]) == (400, True)
        last = {"role": "assistant", "content": "The"}
        thinking = ask(provider, [*QUESTION, last], dialect="anthropic", thinking={"type": "enabled"})
        assert (thinking.status, "thinking" in thinking.json["error"]["message"]) == (400, True)
    with FaultyProvider(prefill=False) as provider:
        assert ask(provider, [*QUESTION, last], dialect="anthropic").status == 400
        assert ask(provider, [*QUESTION, {**last, "prefix": True}]).text == WHOLE


def test_a_question_about_a_complete_answer_is_a_new_question(provider: FaultyProvider) -> None:
    provider.reply("Twice, because it is true.", when="twice")
    heard = ask(provider, turns(WHOLE, f"Why did you say twice: {WHOLE[-30:]}"))
    assert heard.text == "Twice, because it is true."
    assert provider.requests[-1].resumption is None


def test_a_complete_answer_that_is_to_be_gone_on_with_ends_after_the_words(provider: FaultyProvider) -> None:
    request = f"Your last message broke off before its end. Begin by repeating these last words: {WHOLE[-30:]}"
    assert ask(provider, turns(WHOLE, request)).text == WHOLE[-30:].lstrip()


def test_vllm_is_asked_for_a_prefix_in_its_own_way(provider: FaultyProvider) -> None:
    more: Any = {"continue_final_message": True, "add_generation_prompt": False}
    heard = ask(provider, [*QUESTION, {"role": "assistant", "content": CUT}], **more)
    assert heard.text == WHOLE[len(CUT) :]


def test_a_turn_that_quotes_nothing_is_a_new_question(provider: FaultyProvider) -> None:
    provider.reply("Lyon.", when="second")
    assert ask(provider, turns(CUT, "And the second city?")).text == "Lyon."


def test_what_was_never_said_is_answered_from_the_start(provider: FaultyProvider) -> None:
    stranger = "The moon is made of green cheese and"
    assert ask(provider, turns(stranger, f"Go on after: {stranger}")).text == WHOLE
    assert provider.requests[-1].resumption is not None
    assert provider.requests[-1].resumption.manner == "restart"


def test_a_text_with_another_beginning_is_gone_on_from_where_its_end_is_found(provider: FaultyProvider) -> None:
    odd = "Sure! " + CUT
    assert ask(provider, turns(odd, f"Go on after: {ANCHOR}")).text == ANCHOR + WHOLE[len(CUT) :]


@pytest.mark.parametrize("name", sorted(set(MANNERS) - {"missing", "missing_preamble", "restart", "diverge", "fence"}))
def test_these_manners_repeat_the_words_somehow_and_go_on_rightly(name: str) -> None:
    sent, whole = manner(name)
    rest = whole[len(CUT) :]
    assert samples.PROSE.accepts(CUT + rest)
    assert sent.endswith(rest)
    repeated = sent.removesuffix(rest)
    plain = "".join(repeated.casefold().split()).replace("“", "").replace("”", "")
    assert plain.endswith("".join(ANCHOR.casefold().split()))


def test_each_manner_does_what_it_says() -> None:
    rest = manner("exact")[1][len(CUT) :]
    assert manner("exact")[0] == ANCHOR + rest
    assert manner("preamble")[0].partition(ANCHOR)[0] in PREAMBLES
    assert manner("sentence")[0].startswith("The city lies on")
    assert ANCHOR.replace(" ", "  ") in manner("spaces")[0]
    assert ANCHOR not in manner("case")[0]
    assert f"“{ANCHOR}”" in manner("quoted")[0]
    assert manner("missing")[0] == rest
    assert manner("missing_preamble")[0].endswith(rest)
    assert ANCHOR not in manner("missing_preamble")[0]
    assert manner("restart")[0] == CUT + rest
    diverged, whole = manner("diverge")
    assert diverged == whole
    assert samples.PROSE.accepts(whole)


def test_other_quotation_marks() -> None:
    resumption = Resumption("prompt", "He said \"it's so", "said \"it's so")
    template = Template('He said "it\'s so" {and left|then went}.')
    sent, _ = resume(resumption, template, {"quotes": 1.0}, dice(0))
    assert sent.startswith("said ”it\u2019s so")


def test_a_fence_is_opened_again_only_inside_one() -> None:
    inside = samples.CODE.canonical[:90]
    resumption = Resumption("prompt", inside, inside[-20:])
    sent, _ = resume(resumption, samples.CODE, {"fence": 1.0}, dice(0))
    assert sent.startswith(f"```python\n{inside[-20:]}")
    outside = Resumption("prompt", CUT, ANCHOR)
    resume(outside, samples.PROSE, {"fence": 1.0}, dice(0))
    assert outside.manner == "exact"


def test_every_manner_is_drawn_by_its_weight_and_the_same_seed_draws_the_same() -> None:
    def drawn(seed: int, weights: dict[str, float] | None) -> list[str]:
        with FaultyProvider(wording="varied", seed=seed, continuations=weights) as provider:
            for _ in range(60):
                ask(provider, turns(CUT))
            return [request.resumption.manner for request in provider.requests if request.resumption]

    counted = Counter(drawn(1, None))
    assert len(counted) >= 6
    assert counted.most_common(1)[0][0] == "exact"
    assert drawn(1, None) == drawn(1, None) != drawn(2, None)
    assert set(drawn(1, {"case": 1, "missing": 0})) == {"case"}


@pytest.mark.parametrize("weights", [{"perfect": 1}, {"exact": -1}, {"exact": 0}, {}])
def test_wrong_weights_are_refused_with_the_list(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="there are exact, preamble"):
        FaultyProvider(continuations=weights)


def test_the_longest_end_that_is_quoted_is_found() -> None:
    assert quoted_end("one two three", "go on after: two three.") == "two three"
    assert quoted_end("one two three  ", 'go on after "one two three"') == "one two three"
    assert quoted_end("one", "go on after one") == "one"
    assert quoted_end("one two three", "something else") == ""


def test_only_a_conversation_that_ends_so_asks_to_go_on() -> None:
    user, part, tail = Message("user", "Q"), Message("assistant", "An answer that"), Message("user", "answer that …")
    assert prefilled([user, part]) is not None
    assert prompted([user, part, tail]) is not None
    assert prefilled([part]) is None
    assert prefilled([user]) is None
    assert prefilled([]) is None
    assert prompted([part, tail]) is None
    assert prompted([user, user, tail]) is None
    assert prompted([user, part, Message("user", "What else?")]) is None
