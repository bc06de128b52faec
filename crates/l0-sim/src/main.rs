//! The simulator at the command line.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people to run")]

use std::process::ExitCode;
use std::time::Instant;

use l0_sim::{World, breaks, run};

const USAGE: &str = "\
usage: l0-sim [--seeds N] [--from SEED]    plays N seeds (10000), from SEED (0) on
       l0-sim --seed SEED [--verbose]      plays one seed, and tells all that happens in it
       l0-sim --breaks [NAME]              breaks the engine on purpose, and sees that tests notice
exit codes: 0 all promises kept, 1 one was not, 2 misuse";

enum Order {
    Seeds { from: u64, count: u64 },
    Seed { seed: u64, verbose: bool },
    Breaks(Option<String>),
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match order(&args) {
        Some(Order::Seeds { from, count }) => sweep(from, count),
        Some(Order::Seed { seed, verbose }) => one(seed, verbose),
        Some(Order::Breaks(name)) => match breaks::run(name.as_deref(), |line| println!("{line}")) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(problem) => {
                eprintln!("l0-sim: {problem}");
                ExitCode::from(2)
            }
        },
        None => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn order(args: &[String]) -> Option<Order> {
    let mut rest = args.iter().map(String::as_str);
    let (mut from, mut count, mut seed, mut verbose) = (0, 10_000, None, false);
    while let Some(arg) = rest.next() {
        match arg {
            "--seeds" => count = rest.next()?.parse().ok()?,
            "--from" => from = rest.next()?.parse().ok()?,
            "--seed" => seed = Some(rest.next()?.parse().ok()?),
            "--verbose" => verbose = true,
            "--breaks" => return Some(Order::Breaks(rest.next().map(str::to_owned))),
            _ => return None,
        }
    }
    Some(match seed {
        Some(seed) => Order::Seed { seed, verbose },
        None => Order::Seeds { from, count },
    })
}

fn sweep(from: u64, count: u64) -> ExitCode {
    // A panic inside a world is told with its seed, once.
    std::panic::set_hook(Box::new(|_| ()));
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = run::seeds(from..from.saturating_add(count), threads);
    print!("{}", run.report(began.elapsed()));
    for (seed, violation) in &run.failures {
        println!("\nseed {seed} broke {:?}: {}", violation.promise, violation.what);
        println!("    {}", run::reproduce(*seed));
    }
    // Fewer seeds than this may well miss something.
    let blind_spots = if count >= 10_000 { run.blind_spots() } else { Vec::new() };
    for spot in &blind_spots {
        println!("blind spot: {spot}");
    }
    if run.failures.is_empty() && blind_spots.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, verbose: bool) -> ExitCode {
    let result = if verbose {
        let (lines, result) = World::tell(seed);
        for line in &lines {
            println!("{line}");
        }
        result
    } else {
        World::play(seed)
    };
    match result {
        Ok(tally) => {
            println!(
                "seed {seed}: {} sessions, {} attempts, every promise kept",
                tally.sessions, tally.attempts
            );
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("seed {seed} broke {:?}: {}", violation.promise, violation.what);
            ExitCode::FAILURE
        }
    }
}
