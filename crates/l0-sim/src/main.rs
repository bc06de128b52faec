//! Plays seeds of the simulated world and says which promises held.
//!
//! `l0-sim --seeds 10000 [--from N]` plays many and counts; `l0-sim --seed 7 --verbose` tells the story of one.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it reports to a terminal")]

use std::process::ExitCode;
use std::time::Instant;

use l0_sim::World;
use l0_sim::tally::Tally;

/// Failing seeds that are named before the run is given up.
const FAILURES_MAX: usize = 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let place = args.iter().position(|arg| arg == name)?;
        args.get(place + 1)?.parse::<u64>().ok()
    };
    match (number("--seed"), number("--seeds")) {
        (Some(seed), _) => tell(seed, args.iter().any(|arg| arg == "--verbose")),
        (None, seeds) => play(number("--from").unwrap_or(0), seeds.unwrap_or(10_000)),
    }
}

fn tell(seed: u64, verbose: bool) -> ExitCode {
    let (lines, result) = World::tell(seed);
    if verbose {
        for line in lines {
            println!("{line}");
        }
    }
    match result {
        Ok(_) => {
            println!("seed {seed}: every promise held");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("seed {seed}: {:?} broken: {}", violation.promise, violation.what);
            ExitCode::FAILURE
        }
    }
}

fn play(from: u64, seeds: u64) -> ExitCode {
    let began = Instant::now();
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    for seed in from..from.saturating_add(seeds) {
        match World::play(seed) {
            Ok(one) => tally.add(&one),
            Err(violation) => failures.push((seed, violation)),
        }
        if failures.len() >= FAILURES_MAX {
            break;
        }
    }
    println!("{tally:#?}");
    let seconds = began.elapsed().as_secs_f64();
    println!("{seeds} seeds from {from} in {seconds:.1} s");
    for row in tally.coverage.missing() {
        println!("never taken: {row}");
    }
    for (seed, violation) in &failures {
        println!("seed {seed}: {:?} broken: {}", violation.promise, violation.what);
        println!("  cargo run -p l0-sim --profile dev-opt -- --seed {seed} --verbose");
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
