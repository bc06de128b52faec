//! The simulator at the command line.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people to run")]

use std::process::ExitCode;
use std::time::Instant;

use l0_sim::{World, breaks, run};

const USAGE: &str = "\
usage: l0-sim [--seeds N] [--from SEED]    plays N seeds (10000), from SEED (0) on
       l0-sim --seed SEED [--verbose]      plays one seed, and tells all that happens in it
       l0-sim --paper ...                  either, written down in a journal on a disk that fails (1000 seeds)
       l0-sim --breaks [NAME]              breaks engine and journal on purpose, and sees that tests notice
exit codes: 0 all promises kept, 1 one was not, 2 misuse";

enum Order {
    Seeds { from: u64, count: u64, paper: bool },
    Seed { seed: u64, verbose: bool, paper: bool },
    Breaks(Option<String>),
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match order(&args) {
        Some(Order::Seeds { from, count, paper }) => sweep(from, count, paper),
        Some(Order::Seed { seed, verbose, paper }) => one(seed, verbose, paper),
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
    let (mut from, mut count, mut seed, mut verbose, mut paper) = (0, None, None, false, false);
    while let Some(arg) = rest.next() {
        match arg {
            "--seeds" => count = Some(rest.next()?.parse().ok()?),
            "--from" => from = rest.next()?.parse().ok()?,
            "--seed" => seed = Some(rest.next()?.parse().ok()?),
            "--verbose" => verbose = true,
            "--paper" => paper = true,
            "--breaks" => return Some(Order::Breaks(rest.next().map(str::to_owned))),
            _ => return None,
        }
    }
    Some(match seed {
        Some(seed) => Order::Seed { seed, verbose, paper },
        None => Order::Seeds { from, count: count.unwrap_or(if paper { 1_000 } else { 10_000 }), paper },
    })
}

fn sweep(from: u64, count: u64, paper: bool) -> ExitCode {
    // A panic inside a world is told with its seed, once.
    std::panic::set_hook(Box::new(|_| ()));
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = run::seeds(from..from.saturating_add(count), threads, paper);
    print!("{}", run.report(began.elapsed()));
    for (seed, violation) in &run.failures {
        println!("\nseed {seed} broke {:?}: {}", violation.promise, violation.what);
        println!("    {}", run::reproduce(*seed, paper));
    }
    // Fewer seeds than this may well miss something.
    let blind_spots = match count {
        1_000.. if paper => run.blind_spots_on_paper(),
        10_000.. if !paper => run.blind_spots(),
        _ => Vec::new(),
    };
    for spot in &blind_spots {
        println!("blind spot: {spot}");
    }
    if run.failures.is_empty() && blind_spots.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, verbose: bool, paper: bool) -> ExitCode {
    let result = if verbose {
        let (lines, result) = World::tell(seed, paper);
        for line in &lines {
            println!("{line}");
        }
        result
    } else {
        run::play(seed, paper)
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
