//! Ten thousand worlds, in each of which every promise of the engine is checked.
#![allow(clippy::unwrap_used, reason = "that is how a test says what it expects")]

use std::sync::Arc;

use l0_engine::{Instant, Plan, Policy, Session};
use l0_sim::World;
use l0_sim::tally::{Promise, Tally};

const SEEDS: u64 = 10_000;

fn play(seeds: impl Iterator<Item = u64>) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        match World::play(seed) {
            Ok(one) => tally.add(&one),
            Err(violation) => panic!(
                "{:?} broken: {}\n  cargo run -p l0-sim --profile dev-opt -- --seed {seed} --verbose",
                violation.promise, violation.what
            ),
        }
    }
    tally
}

#[test]
fn every_promise_holds_and_every_transition_is_taken() {
    let mut tally = play(0..SEEDS);
    // A session that has no time to begin ends as it begins, which no upstream can bring about.
    let plan = Plan { deadline: Some(Instant(1)), ..Plan::simple(Arc::new(Policy::default())) };
    let mut late = Session::new(Arc::new(plan)).unwrap();
    late.handle_start(Instant(2)).unwrap();
    tally.coverage = tally.coverage.plus(late.coverage());
    assert_eq!(tally.coverage.missing(), Vec::<String>::new(), "a transition nobody takes is not proven");
    for promise in [Promise::G1, Promise::G2, Promise::G3, Promise::G4, Promise::G5, Promise::G6, Promise::G8]
    {
        assert!(
            tally.checks.get(&promise).is_some_and(|checks| *checks > 0),
            "{promise:?} was never checked"
        );
    }
    assert!(tally.splices.values().sum::<u64>() > 500, "too few answers were put together to prove anything");
}

#[test]
fn seeds_that_once_showed_a_fault_show_none() {
    let corpus = include_str!("../regressions.txt");
    let seeds = corpus.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok());
    assert!(play(seeds).sessions > 0);
}
