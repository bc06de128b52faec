//! Ten thousand worlds in which every promise is kept, and those in which one once was not.

use l0_sim::run;

/// Seeds played in the tests.
const SEEDS: u64 = 10_000;
/// Seeds played on a disk: each opens a database.
const PAPER_SEEDS: u64 = 300;

/// G1 to G8: every promise, in every world, and no corner of the world left unseen.
#[test]
fn every_promise_is_kept_in_ten_thousand_worlds() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = run::seeds(0..SEEDS, threads, false);
    let failures: Vec<String> = run
        .failures
        .iter()
        .map(|(seed, violation)| {
            format!("{:?}: {}\n    {}", violation.promise, violation.what, run::reproduce(*seed, false))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(run.blind_spots(), Vec::<String>::new());
}

/// G5 and G6 on a disk that tears, fails, forgets and dies: what was released is written, and what is written is right.
#[test]
fn every_promise_is_kept_on_paper() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = run::seeds(0..PAPER_SEEDS, threads, true);
    let failures = run.failures.iter().map(|(seed, violation)| {
        format!("{:?}: {}\n    {}", violation.promise, violation.what, run::reproduce(*seed, true))
    });
    let failures: Vec<String> = failures.collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(run.blind_spots_on_paper(), Vec::<String>::new());
}

/// Seeds that once showed a mistake stay.
#[test]
fn what_once_went_wrong_stays_right() {
    for line in include_str!("../regressions.txt").lines().filter(|line| !line.starts_with('#')) {
        let (seed, what) = line.split_once(' ').expect("a seed, and what it had shown");
        let seed: u64 = seed.parse().expect("a seed");
        if let Err(violation) = run::play(seed, false) {
            panic!("{what}: {violation:?}\n    {}", run::reproduce(seed, false));
        }
    }
}

/// The same seed is the same world, on every machine and every time.
#[test]
fn a_seed_is_one_world() {
    for seed in 0..50 {
        let (first, again) = (l0_sim::World::tell(seed, false).0, l0_sim::World::tell(seed, false).0);
        assert_eq!(first, again, "seed {seed}");
    }
}
