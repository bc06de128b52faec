//! Many seeds at once, and what to say about them.

use core::fmt::Write as _;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};

use l0_engine::Coverage;

use crate::World;
use crate::paper;
use crate::swarm::Trouble;
use crate::tally::{Promise, Tally, Violation};
use crate::wrong;

/// Failing seeds that are kept. One is enough to begin with.
const FAILURES_MAX: usize = 20;

/// What became of a run.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Everything seen and checked in seeds that kept every promise.
    pub tally: Tally,
    /// Seeds that did not, in order, and what they broke.
    pub failures: Vec<(u64, Violation)>,
}

/// Plays every seed of a range, on so many threads.
#[must_use]
pub fn seeds(range: Range<u64>, threads: usize, on_paper: bool) -> Run {
    let next = AtomicU64::new(range.start);
    let work = || {
        let mut run = Run::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= range.end || run.failures.len() >= FAILURES_MAX {
                return run;
            }
            match play(seed, on_paper) {
                Ok(tally) => run.tally.add(&tally),
                Err(violation) => run.failures.push((seed, violation)),
            }
        }
    };
    let mut all = Run::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Ok(run) = worker.join() {
                all.tally.add(&run.tally);
                all.failures.extend(run.failures);
            }
        }
    });
    all.failures.sort_by_key(|failure| failure.0);
    all.failures.truncate(FAILURES_MAX);
    all
}

/// Plays one seed. A panic is a promise that was not kept.
///
/// # Errors
/// The promise.
pub fn play(seed: u64, on_paper: bool) -> Result<Tally, Violation> {
    let both = || {
        if on_paper {
            return World::play_on_paper(seed);
        }
        let mut tally = World::play(seed)?;
        wrong::play(seed, &mut tally)?;
        Ok(tally)
    };
    catch_unwind(AssertUnwindSafe(both)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = format!("a panic: {}", said.unwrap_or_default());
        Err(Violation { promise: Promise::Inert, what })
    })
}

/// The line that plays a seed again.
#[must_use]
pub fn reproduce(seed: u64, on_paper: bool) -> String {
    let paper = if on_paper { "--paper " } else { "" };
    format!("cargo run -p l0-sim --profile dev-opt -- {paper}--seed {seed} --verbose")
}

impl Run {
    /// What of the world this run has not seen: promises nobody checked, troubles that never happened, rows of the
    /// transition tables that nobody took. Empty after enough seeds.
    #[must_use]
    pub fn blind_spots(&self) -> Vec<String> {
        let Tally { checks, troubles, coverage, .. } = &self.tally;
        let unchecked = Promise::ALL.iter().filter(|promise| !checks.contains_key(promise));
        let unseen = Trouble::ALL.iter().filter(|trouble| !troubles.contains_key(trouble.name()));
        let unchecked = unchecked.map(|promise| format!("{promise:?} was never checked"));
        let unsaid = wrong::WRONGS.iter().filter(|what| !troubles.contains_key(*what));
        let unseen = unseen.map(|trouble| trouble.name()).chain(unsaid.copied());
        let unseen = unseen.map(|trouble| format!("{trouble} never happened"));
        let untaken = coverage.missing().into_iter().map(|row| format!("{row} was never taken"));
        unchecked.chain(unseen).chain(untaken).collect()
    }

    /// What can happen to paper and has not.
    #[must_use]
    pub fn blind_spots_on_paper(&self) -> Vec<String> {
        let unseen = paper::ACCIDENTS.iter().filter(|what| !self.tally.troubles.contains_key(*what));
        unseen.map(|what| format!("{what} never happened")).collect()
    }

    /// A page about it.
    #[must_use]
    pub fn report(&self, took: Duration) -> String {
        let tally = &self.tally;
        let mut page = String::new();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
        let rate = tally.sessions as f64 / took.as_secs_f64().max(1e-9);
        let days = tally.nanos / 86_400_000_000_000;
        let _ = writeln!(
            page,
            "{} sessions, {} attempts, {} chunks in {:.1} s: {rate:.0} sessions/s, {days} days of simulated time",
            tally.sessions,
            tally.attempts,
            tally.chunks,
            took.as_secs_f64(),
        );
        let checks = tally.checks.iter().map(|(promise, count)| (format!("{promise:?}"), *count));
        table(&mut page, "checks", checks);
        table(&mut page, "troubles", named(&tally.troubles));
        table(&mut page, "faults", named(&tally.faults));
        table(&mut page, "endings", tally.endings.iter().map(|(name, count)| (name.clone(), *count)));
        table(&mut page, "joined", tally.splices.iter().map(|(name, count)| (name.clone(), *count)));
        table(&mut page, "bent journals", named(&tally.bent));
        let rows = Coverage::default().missing().len();
        let taken = rows - tally.coverage.missing().len();
        let _ = writeln!(page, "transitions: {taken} of {rows} taken");
        page
    }
}

fn named<'a>(
    counts: &'a std::collections::BTreeMap<&'static str, u64>,
) -> impl Iterator<Item = (String, u64)> + 'a {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count))
}

fn table(page: &mut String, title: &str, rows: impl Iterator<Item = (String, u64)>) {
    let cells: Vec<String> = rows.map(|(name, count)| format!("{name} {count}")).collect();
    let _ = writeln!(page, "{title}: {}", cells.join(", "));
}
