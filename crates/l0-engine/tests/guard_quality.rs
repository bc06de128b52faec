//! Floors under the quality of the guards. `cargo run --release -p l0-engine --example guard_quality` prints the table.
#![expect(clippy::disallowed_methods, reason = "recorded answers are read from where they are")]

mod quality;

use quality::{Should, measure};

/// What has to be found of what each corpus should give, and what may be flagged of what it should not.
#[test]
fn every_guard_finds_what_it_should_and_leaves_the_rest_alone() {
    for score in measure() {
        let (least, most) = match (score.should, score.guard.as_str()) {
            (Should::Pass, _) => (0, 0),
            (Should::Flag, "json" | "markdown" | "latex" | "repetition" | "drift") => (1_000, 1_000),
            // Randomness is judged by chance: a few in a thousand look like words.
            (Should::Flag, _) => (985, 1_000),
            (Should::Know, _) => (0, 40),
        };
        let permille = score.permille();
        assert!(
            (least..=most).contains(&permille) && score.texts > 0,
            "{}, {}: {} of {} flagged, for example {:#?}",
            score.guard,
            score.corpus,
            score.flagged,
            score.texts,
            score.wrong,
        );
    }
}
