//! What a run has seen and checked.

use std::collections::BTreeMap;

use l0_engine::Coverage;

/// What the engine promises, as far as a world without a disk can hold it to that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// One clean stream.
    G1,
    /// Nothing partial is executed.
    G2,
    /// Bounded.
    G3,
    /// Only what can succeed is retried, and whatever can still be completed is.
    G4,
    /// Written before shown.
    G5,
    /// Replay is exact.
    G6,
    /// Invisible when nothing goes wrong.
    G7,
    /// Degradation is never silent.
    G8,
    /// The engine keeps its own contract with its driver.
    Contract,
    /// Every session comes to an end.
    Liveness,
    /// What cannot be acted on changes nothing.
    Inert,
}

impl Promise {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::G1,
        Self::G2,
        Self::G3,
        Self::G4,
        Self::G5,
        Self::G6,
        Self::G7,
        Self::G8,
        Self::Contract,
        Self::Liveness,
        Self::Inert,
    ];
}

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// How.
    pub what: String,
}

/// Counts of everything.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Sessions that came to their end.
    pub sessions: u64,
    /// Attempts opened.
    pub attempts: u64,
    /// Chunks handed in.
    pub chunks: u64,
    /// Virtual nanoseconds, summed over worlds.
    pub nanos: u128,
    /// Checks made, by promise.
    pub checks: BTreeMap<Promise, u64>,
    /// Troubles that happened.
    pub troubles: BTreeMap<&'static str, u64>,
    /// How sessions ended.
    pub endings: BTreeMap<String, u64>,
    /// How answers were joined.
    pub splices: BTreeMap<String, u64>,
    /// Faults, as the engine named them.
    pub faults: BTreeMap<&'static str, u64>,
    /// Journals that were bent, and what came of it.
    pub bent: BTreeMap<&'static str, u64>,
    /// Rows of the transition tables that were taken.
    pub coverage: Coverage,
}

impl Tally {
    /// A check was made.
    pub fn checked(&mut self, promise: Promise) {
        *self.checks.entry(promise).or_default() += 1;
    }

    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.attempts += other.attempts;
        self.chunks += other.chunks;
        self.nanos += other.nanos;
        self.coverage = self.coverage.plus(other.coverage);
        add(&mut self.checks, &other.checks);
        add(&mut self.troubles, &other.troubles);
        add(&mut self.endings, &other.endings);
        add(&mut self.splices, &other.splices);
        add(&mut self.faults, &other.faults);
        add(&mut self.bent, &other.bent);
    }
}

fn add<K: Ord + Clone>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        *to.entry(key.clone()).or_default() += count;
    }
}
