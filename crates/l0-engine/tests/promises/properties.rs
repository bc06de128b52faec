//! What holds for any text, any split and any order of calls.

use std::sync::Arc;

use l0_engine::{Ending, Facts, Mode, Outcome, Part, Policy, Rung, replay};
use proptest::prelude::*;

use crate::oracle;
use crate::rig::{Rig, cut, fragment, plan};

/// Text as it gives seams trouble: words that repeat, quotes, emphasis, fences, graphemes of several characters.
fn text(pieces: core::ops::Range<usize>) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-e]{1,7} ",
        2 => Just("ha ".to_owned()),
        1 => Just("the light of the old house ".to_owned()),
        1 => prop_oneof![Just("**"), Just("\""), Just("\u{201c}"), Just("`"), Just("- "), Just("... ")]
            .prop_map(str::to_owned),
        1 => prop_oneof![Just("e\u{301}"), Just("\u{1f469}\u{200d}\u{1f680}"), Just("\u{4e2d}\u{6587}")]
            .prop_map(str::to_owned),
        1 => prop_oneof![Just("\n"), Just("\n\n"), Just("```\n"), Just("  ")].prop_map(str::to_owned),
    ];
    proptest::collection::vec(piece, pieces).prop_map(|pieces| pieces.concat())
}

/// How a second answer relates to what was shown.
#[derive(Debug, Clone)]
enum Manner {
    /// It repeats the last so many characters of what was shown, and goes on.
    Repeats(usize),
    /// So, behind a line of its own.
    Behind(usize),
    /// So, in capitals.
    Loudly(usize),
    /// So, in quotes.
    Quoted(usize),
    /// It starts over.
    Again,
    /// It goes on without a word.
    Mute,
    /// It is another answer.
    Other(String),
}

fn manner() -> impl Strategy<Value = Manner> {
    prop_oneof![
        (0usize..200).prop_map(Manner::Repeats),
        (0usize..120).prop_map(Manner::Behind),
        (0usize..120).prop_map(Manner::Loudly),
        (0usize..120).prop_map(Manner::Quoted),
        Just(Manner::Again),
        Just(Manner::Mute),
        text(0..30).prop_map(Manner::Other),
    ]
}

fn answer(shown: &str, manner: &Manner, rest: &str) -> String {
    let tail = |count: &usize| {
        let body = shown.trim_end();
        let start = body.char_indices().rev().take(*count).last().map_or(body.len(), |(at, _)| at);
        body[start..].to_owned()
    };
    match manner {
        Manner::Repeats(count) => format!("{}{rest}", tail(count)),
        Manner::Behind(count) => format!("Yes, going on:\n{}{rest}", tail(count)),
        Manner::Loudly(count) => format!("{}{rest}", tail(count).to_uppercase()),
        Manner::Quoted(count) => format!("\"{}\"{rest}", tail(count)),
        Manner::Again => format!("{shown}{rest}"),
        Manner::Mute => rest.to_owned(),
        Manner::Other(other) => other.clone(),
    }
}

fn on(rung: Rung) -> Policy {
    let mut policy = Policy::default();
    policy.continuation.rungs = vec![rung];
    policy
}

/// A session that has shown a text and lost its stream, one step before it goes on.
fn broken_off(policy: Policy, shown: &str) -> Rig {
    let mut rig = Rig::simple(policy);
    rig.says(shown).fails(cut()).waits_out();
    rig
}

/// Hands a text in as chunks of the given sizes, again and again, as long as the attempt lives.
fn chunked(rig: &mut Rig, answer: &str, sizes: &[usize]) {
    let attempt = rig.attempt();
    let mut sizes = sizes.iter().cycle();
    let mut rest = answer;
    while !rest.is_empty() && !rig.is_done() && rig.attempt() == attempt {
        let size = sizes.next().copied().unwrap_or(1).max(1);
        let end = rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at);
        rig.says(&rest[..end]);
        rest = &rest[end..];
    }
    if !rig.is_done() && rig.attempt() == attempt {
        rig.ends();
    }
}

/// The text at the end, if the answer completed it.
fn completed(rig: &Rig) -> Option<String> {
    (rig.is_done() && rig.ending() == Ending::Complete).then(|| rig.text().to_owned())
}

const SPLITS: [&[usize]; 4] = [&[usize::MAX], &[1], &[3, 1, 7], &[40, 2]];

proptest! {
    /// G1. A prompted answer is joined where a slow and obvious search finds the only place, however it is split.
    #[test]
    fn a_prompted_seam_is_where_it_obviously_is(
        shown in text(4..60), manner in manner(), rest in text(0..12),
    ) {
        let answer = answer(&shown, &manner, &rest);
        for split in SPLITS {
            let mut rig = broken_off(on(Rung::Prompt), &shown);
            if rig.is_done() || rig.opening().mode != Mode::Prompt {
                return Ok(());
            }
            let anchor = rig.opening().anchor.clone();
            oracle::is_anchor(&shown, &anchor)?;
            chunked(&mut rig, &answer, split);
            prop_assert_eq!(completed(&rig), oracle::prompted(&shown, &anchor, &answer), "split {:?}", split);
        }
    }

    /// G1. An answer that goes on from a prefix is taken as it is, but for white space and a full restart.
    #[test]
    fn a_prefilled_seam_is_where_it_obviously_is(
        shown in text(1..60), manner in manner(), rest in text(0..12),
    ) {
        let answer = answer(&shown, &manner, &rest);
        for split in SPLITS {
            let mut rig = broken_off(on(Rung::Prefill), &shown);
            if rig.is_done() || rig.opening().mode != Mode::Prefill {
                return Ok(());
            }
            chunked(&mut rig, &answer, split);
            prop_assert_eq!(completed(&rig), oracle::prefilled(&shown, &answer), "split {:?}", split);
        }
    }

    /// G1. A rerun completes an answer if, and only if, it is the same again.
    #[test]
    fn a_rerun_is_the_same_again_or_nothing(
        shown in text(1..40), manner in manner(), rest in text(0..12),
    ) {
        let answer = answer(&shown, &manner, &rest);
        for split in SPLITS {
            let mut rig = broken_off(on(Rung::Rerun), &shown);
            if rig.is_done() || rig.opening().mode != Mode::Rerun {
                return Ok(());
            }
            chunked(&mut rig, &answer, split);
            prop_assert_eq!(completed(&rig), oracle::rerun(&shown, &answer), "split {:?}", split);
        }
    }

    /// G1, G2, G8. However each attempt's words are split into chunks: the same text, calls, seams and ending.
    #[test]
    fn splitting_changes_nothing(
        attempts in proptest::collection::vec((text(0..14), 0u8..7), 1..5),
        rungs in proptest::sample::subsequence(
            vec![Rung::Prefill, Rung::Prompt, Rung::Rerun, Rung::Reset], 0..=4),
        split in proptest::collection::vec(1usize..12, 1..5),
    ) {
        let mut policy = Policy::default();
        policy.continuation.rungs = rungs;
        let whole = told(&policy, &attempts, &[usize::MAX]);
        let pieces = told(&policy, &attempts, &split);
        prop_assert_eq!(whole, pieces);
    }

    /// G2, G5, G6. Whatever is called in whatever order, and whenever the process dies.
    #[test]
    fn no_order_of_calls_breaks_anything(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert_eq!(l0_sim::operations::play(&bytes), Ok(()));
    }

    /// G6. A session replays to itself from any point its journal may be cut at.
    #[test]
    fn a_cut_journal_replays(
        attempts in proptest::collection::vec((text(0..10), 0u8..7), 1..4), at in any::<prop::sample::Index>(),
    ) {
        let policy = Policy::default();
        let rig = played(&policy, &attempts, &[5, 1]);
        let journal = rig.driver.journal();
        let policy = Arc::new(policy);
        let again = replay(Arc::clone(&policy), journal).unwrap();
        prop_assert_eq!(again.outcome(), rig.driver.session().outcome());
        prop_assert_eq!(again.text(), rig.text());
        let cut = at.index(journal.len() - 1) + 1;
        prop_assert!(replay(policy, &journal[..cut]).is_ok());
    }
}

/// Plays attempts one after another; the number says how each of them ends.
fn played(policy: &Policy, attempts: &[(String, u8)], sizes: &[usize]) -> Rig {
    let mut rig = Rig::of(plan(policy.clone(), &["a", "b"]));
    for (text, end) in attempts {
        if rig.is_done() {
            break;
        }
        let attempt = rig.attempt();
        let mut sizes = sizes.iter().cycle();
        let mut rest = text.as_str();
        let goes_on = |rig: &Rig| !rig.is_done() && rig.attempt() == attempt;
        while !rest.is_empty() && goes_on(&rig) {
            let size = sizes.next().copied().unwrap_or(1);
            let cut = rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at);
            rig.says(&rest[..cut]);
            rest = &rest[cut..];
        }
        if goes_on(&rig) && end % 2 == 1 {
            rig.part(Part { tools: vec![fragment(0, "look", "{\"x\": 1}", true)], ..Part::default() });
        }
        if goes_on(&rig) {
            match end {
                0 | 1 => rig.finishes("stop"),
                2 => rig.ends(),
                _ => rig.fails(Facts { bytes: true, ..cut() }),
            };
        }
        if goes_on(&rig) && *end < 2 {
            rig.ends();
        }
        rig.waits_out();
    }
    if !rig.is_done() {
        rig.cancels();
    }
    rig
}

fn told(policy: &Policy, attempts: &[(String, u8)], sizes: &[usize]) -> (String, Outcome, Vec<Mode>) {
    let rig = played(policy, attempts, sizes);
    let modes = rig.openings.iter().map(|opening| opening.mode).collect();
    // How much arrives of an answer before it is seen not to fit depends on where its chunks end.
    let mut outcome = rig.outcome().clone();
    outcome.waste.bytes = 0;
    (rig.text().to_owned(), outcome, modes)
}
