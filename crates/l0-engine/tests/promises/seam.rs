//! §6: the seam between two answers is in the right place, however the second one is split into chunks.

use l0_engine::{Ending, Method, Mode, Policy, Rung};

use crate::rig::{Rig, cut};

fn on(rung: Rung) -> Policy {
    let mut policy = Policy::default();
    policy.continuation.rungs = vec![rung];
    policy
}

/// What was shown, broken off, and the attempt that goes on.
fn broken_off(rung: Rung, shown: &str) -> Rig {
    let mut rig = Rig::simple(on(rung));
    rig.says(shown).fails(cut()).waits_out();
    let mode = match rung {
        Rung::Native => Mode::Native,
        Rung::Prefill => Mode::Prefill,
        Rung::Prompt => Mode::Prompt,
        Rung::Rerun => Mode::Rerun,
        Rung::Reset => Mode::Fresh,
    };
    assert_eq!(rig.opening().mode, mode, "{shown:?}");
    rig
}

/// The text at the end, the same whether the answer comes in one piece or in many.
fn continued(rung: Rung, shown: &str, answer: &str) -> (Option<String>, Option<Method>) {
    let sizes = [usize::MAX, 1, 2, 3, 7, 40];
    let mut ends = sizes.iter().map(|&size| {
        let mut rig = broken_off(rung, shown);
        let attempt = rig.attempt();
        let chars: Vec<char> = answer.chars().collect();
        for piece in chars.chunks(size.min(chars.len().max(1))) {
            if rig.attempt() == attempt && !rig.is_done() {
                rig.says(&piece.iter().collect::<String>());
            }
        }
        if rig.attempt() == attempt && !rig.is_done() {
            rig.ends();
        }
        if !rig.is_done() {
            return (None, None);
        }
        let text = (rig.ending() == Ending::Complete).then(|| rig.text().to_owned());
        (text, rig.outcome().splices.last().map(|splice| splice.method))
    });
    let first = ends.next().unwrap();
    for (end, size) in ends.zip(&sizes[1..]) {
        assert_eq!(end, first, "in pieces of {size}: {answer:?} after {shown:?}");
    }
    first
}

const REFRAIN: &str = "Row, row, row your boat, gently down the stream. ";

/// G1. Whatever a model adds around the words it was asked to repeat, the text goes on behind them.
#[test]
fn a_prompted_answer_goes_on_behind_the_words_it_repeats() {
    let story = "The old harbour sleeps under fog, and the gulls wait on the wall for the boats ";
    let anchor = broken_off(Rung::Prompt, story).opening().anchor.clone();
    let whole = format!("{story}to come home.");
    let loud = anchor.to_uppercase();
    let wide = anchor.replace(' ', "  ");
    let cases = [
        (format!("{anchor} to come home."), Method::Anchor),
        (format!("Of course, here it is:\n{anchor} to come home."), Method::Anchor),
        (format!("\"{anchor}\" to come home."), Method::Anchor),
        (format!("{loud} to come home."), Method::AnchorLoosely),
        (format!("{wide} to come home."), Method::AnchorLoosely),
        (format!("{story}to come home."), Method::Restart),
    ];
    for (answer, method) in cases {
        assert_eq!(
            continued(Rung::Prompt, story, &answer),
            (Some(whole.clone()), Some(method)),
            "{answer:?}"
        );
    }
}

/// G1. Emphasis that closed just before the break is not closed twice.
#[test]
fn emphasis_after_repeated_words_is_not_doubled() {
    let shown = "What matters more than anything else in such a night is **patience and care**";
    let whole = format!("{shown}, nothing else.");
    for said in ["**patience and care**", "**Patience And Care**", "Patience and care"] {
        let answer = format!("anything else in such a night is {said}, nothing else.");
        let (text, _) = continued(Rung::Prompt, shown, &answer);
        assert_eq!(text.as_ref(), Some(&whole), "{said}");
    }
}

/// G1. An answer that starts over is not taken for one that goes on because it holds the anchor early.
#[test]
fn an_answer_that_starts_over_is_known_by_its_beginning() {
    let verse = "The tide comes in with silver on its back and nobody to see it.\n";
    for head in ["", "Song\n", "A song of three verses:\n\n"] {
        let shown = format!("{head}{verse}Between them other words are said.\n{verse}");
        let whole = format!("{shown}And then it ends.");
        let (text, _) = continued(Rung::Prompt, shown.trim_end(), &whole);
        assert!(text.is_none() || text.as_ref() == Some(&whole), "{head:?}: {text:?}");
    }
}

/// G1. An answer begun anew in other words is not joined where it happens to come to the words that were to be repeated.
#[test]
fn an_answer_begun_anew_in_other_words_is_not_joined() {
    let cases = [
        (
            "What was measured:\n\n| place | people |\n|---|---|\n| Paris",
            "Here are the numbers:\n\n| place | people |\n|---|---|\n| Paris | 2,100,000 |\n",
        ),
        (
            "You can add two numbers so:\n\n```python\ndef plus(a: int, b: int) -> int:\n",
            "This function adds two:\n\n```python\ndef plus(a: int, b: int) -> int:\n    # int plus int\n",
        ),
        (
            "Tea is made like this:\n\n1. Boil half a litre of water",
            "To make tea:\n\n1. Boil half a litre of water in a kettle.\n",
        ),
        (
            "Paris: that is the capital of France",
            "The capital of France is Paris. It stands on the banks of the Seine.",
        ),
    ];
    for (shown, anew) in cases {
        assert_eq!(continued(Rung::Prompt, shown, anew), (None, None), "{anew:?}");
    }
}

/// G4. Behind a line of preamble the words are found where an answer begun anew would not have them.
#[test]
fn a_preamble_is_told_from_an_answer_begun_anew() {
    let cases = [
        ("The city lies on the Seine, and about 2.1 million people", "Sure:\n{} live there."),
        (
            "A list:\n1. Boil the water.\n2. Put two heaped spoons of the leaves that you like best into the can",
            "Of course!\n{} and wait.",
        ),
        (
            "A list:\n1. Boil.\n2. Put in the leaves.\n3. Pour the water over them all",
            "Here:\n3. {} and wait.",
        ),
    ];
    for (shown, answer) in cases {
        let anchor = broken_off(Rung::Prompt, shown).opening().anchor.clone();
        let answer = answer.replace("{}", anchor.trim_start_matches("3. "));
        let (text, _) = continued(Rung::Prompt, shown, &answer);
        assert!(text.is_some(), "{shown:?} {anchor:?} {answer:?}");
    }
}

/// G1. Text that repeats itself goes on as it began, and that is not starting over.
#[test]
fn what_repeats_itself_is_not_a_restart() {
    let ruler = "-".repeat(40);
    let laugh = "ha ".repeat(20);
    let zeros = "0000\n".repeat(12);
    let rows = "| 1 | ok |\n".repeat(5);
    let refrain = REFRAIN.repeat(3);
    for shown in [ruler, laugh, zeros, rows, refrain] {
        let more = shown.clone();
        let answer = format!("{more}and so on");
        let (text, _) = continued(Rung::Prefill, shown.trim_end(), &answer);
        let whole = format!("{}{more}and so on", shown.trim_end());
        assert_eq!(text, Some(whole), "{shown:?}");
    }
}

/// G1. A target that was given a beginning and starts over all the same is skipped forward.
#[test]
fn a_restart_after_a_prefix_is_skipped_forward() {
    let shown = "There was a miller who had three sons, a mill, a donkey and a cat.";
    let whole = format!("{shown} The sons had to grind.");
    assert_eq!(continued(Rung::Prefill, shown, &whole), (Some(whole.clone()), Some(Method::Restart)));
    assert_eq!(
        continued(Rung::Prefill, shown, " The sons had to grind."),
        (Some(whole), Some(Method::Appended))
    );
}

/// G1. White space around the break is neither lost nor doubled.
#[test]
fn white_space_at_the_break_is_kept_once() {
    let shown = "First, a line that is long enough to have an anchor.\n\n";
    let whole = format!("{shown}Then the next.");
    for rung in [Rung::Prefill, Rung::Rerun] {
        let answer = if rung == Rung::Prefill { "\n\nThen the next." } else { &whole };
        assert_eq!(continued(rung, shown, answer).0.as_ref(), Some(&whole), "{rung:?}");
    }
    assert_eq!(continued(Rung::Prefill, shown, "Then the next.").0, Some(whole));
}

/// G4. Going on is asked for only where it can be told from starting over.
#[test]
fn text_without_words_of_its_own_has_no_anchor() {
    for shown in ["-".repeat(300), "ha ".repeat(100), "0000\n".repeat(60), REFRAIN.repeat(9)] {
        let mut rig = Rig::simple(on(Rung::Prompt));
        rig.says(&shown).fails(cut()).waits_out();
        assert_eq!(rig.ending(), Ending::Incomplete, "{shown:?}");
    }
}

/// G1. A word or two stand at the start of many an answer: such an answer is not one that goes on.
#[test]
fn a_few_letters_are_no_anchor() {
    for shown in ["The", "I am"] {
        let mut rig = Rig::simple(on(Rung::Prompt));
        rig.says(shown).fails(cut()).waits_out();
        assert_eq!(rig.ending(), Ending::Incomplete);
    }
}

/// G1. White space at the beginning of an answer whose text was not shown yet is the answer's own.
#[test]
fn a_rerun_loses_no_white_space_it_did_not_show() {
    let mut rig = Rig::simple(on(Rung::Rerun));
    rig.calls("look", "{}").fails(cut()).waits_out();
    rig.calls("look", "{}").says("\n\nHere").ends();
    assert_eq!((rig.ending(), rig.text()), (Ending::Complete, "\n\nHere"));
}

/// G1. An answer that starts over and ends at once adds nothing, though too little of it came to be sure.
#[test]
fn a_restart_cut_short_is_not_appended() {
    let shown = "There was a miller who had three sons, a mill, a donkey and a cat";
    for cut_at in [12, 20, 31, 40] {
        assert_eq!(continued(Rung::Prefill, shown, &shown[..cut_at]).0, None, "{cut_at}");
    }
}

/// G1. A part of the words is not enough where they stand in two places.
#[test]
fn a_part_of_the_words_that_stands_twice_does_not_join() {
    let shown = "bells ring slow and deep.\n\nUnder young! bells ring slow and deep.";
    let answer = "bells ring slow and deep.\n\nUnder young! bells";
    assert_eq!(continued(Rung::Prompt, shown, answer).0, None);
}

/// G1. Another answer is not gone on with because its second line shares some words with the last ones shown.
#[test]
fn a_part_of_the_words_behind_another_line_does_not_join() {
    let shown = "| n | otherwise word |\n|---|---|\n| 0 | harbour";
    let answer = "| n | word |\n|---|---|\n| 0 | harbours |";
    assert_eq!(continued(Rung::Prompt, shown, answer).0, None);
}

/// G1. White space behind emphasis is the answer's own, in one chunk as in many.
#[test]
fn space_behind_emphasis_is_not_taken_for_space_before_it() {
    let shown = "Here is what the harbour master wrote ```\n";
    let answer = format!("{}```\n", shown.trim_end().to_uppercase());
    assert_eq!(continued(Rung::Prompt, shown, &answer).0, Some(format!("{shown}```\n")));
}

/// G1. An answer in other words is not gone on with because it begins with what was said last: it has a capital.
#[test]
fn an_answer_in_other_words_that_begins_with_the_last_ones_does_not_join() {
    let shown = "Paris: that is the capital of France";
    let answer = "The capital of France is Paris. The city lies on the Seine.";
    assert_eq!(continued(Rung::Prompt, shown, answer).0, None);
    let answer = "the capital of France, and has been for long.";
    let whole = format!("{shown}, and has been for long.");
    assert_eq!(continued(Rung::Prompt, shown, answer), (Some(whole), Some(Method::Overlap)));
}

/// G1. A second line that two answers share is no reason to go on in the second with the first.
#[test]
fn an_answer_in_other_words_that_shares_a_line_does_not_join() {
    let cases = [
        (
            "Tea is made like this:\n\n1. Heat up half a litre of water",
            "To make tea:\n\n1. Heat up half a litre of water in a kettle.",
        ),
        (
            "Like this:\n```python\ndef answer(question):\n",
            "Here it is:\n```python\ndef answer(question):\n    return 42\n",
        ),
    ];
    for (shown, answer) in cases {
        assert_eq!(continued(Rung::Prompt, shown, answer).0, None, "{shown:?}");
    }
    let shown = "Tea is made like this:\n\nFirst, a kettle.\n\n1. Heat up half a litre of water";
    let answer = "Of course, here is the rest:\n\n1. Heat up half a litre of water on the stove.";
    assert_eq!(continued(Rung::Prompt, shown, answer).0, Some(format!("{shown} on the stove.")));
}
