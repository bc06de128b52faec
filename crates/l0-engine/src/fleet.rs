//! What sessions of one process share: retry budgets, breakers and limits, per target and tenant.
//!
//! The engine never reads this state. A session *asks* through an output, its driver puts the question to the one
//! [`Fleet`] of the process, and the answer comes back as a recorded input. `now` is the fleet's own clock, which all
//! drivers of the process share.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::fault::FaultClass;
use crate::instant::Instant;
use crate::policy::{Breaker, Policy, RetryBudget};

/// Whose budget a question is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The target's name.
    pub target: String,
    /// The tenant, or nothing.
    pub tenant: String,
}

/// What a session wants to open an attempt for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The first attempt on a target.
    First,
    /// Another attempt after a fault.
    Retry,
    /// Another attempt after the target said that it is overloaded.
    RetryThrottled,
}

/// The fleet's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// Go on.
    Granted,
    /// The retry budget is empty.
    OverBudget,
    /// The breaker is open, and reopens after this many nanoseconds.
    BreakerOpen {
        /// Nanoseconds until it lets a probe through.
        reopens_in: u64,
    },
}

/// The fleet's answer to a driver: the session's, or a place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Pass this on to the session.
    Now(Admission),
    /// All places are taken. Ask [`Fleet::is_called`] whenever another session reports.
    Queued(Ticket),
}

/// A place in a target's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// How an attempt ended, as the fleet sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// It served its answer.
    Success {
        /// What it had been opened for.
        purpose: Purpose,
    },
    /// It failed.
    Failure {
        /// The fault.
        class: FaultClass,
        /// Whether the target asked for fewer calls.
        throttled: bool,
        /// Nanoseconds it asked to be left alone.
        retry_after: Option<u64>,
    },
    /// It was stopped from this side, which says nothing of the target.
    Stopped,
}

/// Budgets, breakers and limits of one process.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    members: BTreeMap<Key, Member>,
    tickets: u64,
}

#[derive(Debug, Clone)]
struct Member {
    tokens: u32,
    failures: Circuit,
    throttling: Circuit,
    in_flight: u32,
    queue: VecDeque<Ticket>,
}

impl Member {
    const fn full(budget: &RetryBudget) -> Self {
        let (failures, throttling) = (Circuit::closed(), Circuit::closed());
        Self { tokens: budget.tokens, failures, throttling, in_flight: 0, queue: VecDeque::new() }
    }
}

impl Fleet {
    /// A fleet that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether an attempt may be opened. `force` passes over an open breaker, for a target nothing can replace.
    pub fn ask(&mut self, now: Instant, key: &Key, purpose: Purpose, force: bool, policy: &Policy) -> Answer {
        let member = self.members.entry(key.clone()).or_insert_with(|| Member::full(&policy.budget));
        if !force && let Some(left) = member.closed_for(now, &policy.breaker) {
            let reopens_in = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
            return Answer::Now(Admission::BreakerOpen { reopens_in });
        }
        let cost = cost(purpose, &policy.budget);
        if member.tokens < cost {
            return Answer::Now(Admission::OverBudget);
        }
        if let Some(limit) = policy.limits.concurrent
            && (member.in_flight >= limit || !member.queue.is_empty())
        {
            self.tickets += 1;
            let ticket = Ticket(self.tickets);
            member.queue.push_back(ticket);
            return Answer::Queued(ticket);
        }
        member.enter(cost, now);
        Answer::Now(Admission::Granted)
    }

    /// Whether a queued session's turn has come; if so it holds a place now.
    pub fn is_called(
        &mut self,
        now: Instant,
        key: &Key,
        ticket: Ticket,
        purpose: Purpose,
        policy: &Policy,
    ) -> bool {
        let Some(member) = self.members.get_mut(key) else {
            return false;
        };
        let limit = policy.limits.concurrent.unwrap_or(u32::MAX);
        if member.queue.front() != Some(&ticket) || member.in_flight >= limit {
            return false;
        }
        member.queue.pop_front();
        member.enter(cost(purpose, &policy.budget), now);
        true
    }

    /// Gives up a place in the queue.
    pub fn leave(&mut self, key: &Key, ticket: Ticket) {
        if let Some(member) = self.members.get_mut(key) {
            member.queue.retain(|&waiting| waiting != ticket);
        }
    }

    /// What became of an attempt that had been granted.
    pub fn report(&mut self, now: Instant, key: &Key, outcome: AttemptOutcome, policy: &Policy) {
        let member = self.members.entry(key.clone()).or_insert_with(|| Member::full(&policy.budget));
        member.in_flight = member.in_flight.saturating_sub(1);
        let Policy { budget, breaker, .. } = policy;
        match outcome {
            AttemptOutcome::Success { purpose } => {
                let back = if purpose == Purpose::First { budget.refund } else { cost(purpose, budget) };
                member.tokens = member.tokens.saturating_add(back).min(budget.tokens);
                member.failures.count(now, breaker, false, Duration::ZERO);
                member.throttling.count(now, breaker, false, Duration::ZERO);
            }
            AttemptOutcome::Failure { class, throttled, retry_after } => {
                let floor = Duration::from_nanos(retry_after.unwrap_or(0));
                let counts = matches!(
                    class,
                    FaultClass::Network | FaultClass::Overload | FaultClass::Stall | FaultClass::Protocol
                );
                member.throttling.count(now, breaker, counts && throttled, floor);
                member.failures.count(now, breaker, counts && !throttled, floor);
            }
            AttemptOutcome::Stopped => {
                member.failures.abandon_probe();
                member.throttling.abandon_probe();
            }
        }
    }
}

const fn cost(purpose: Purpose, budget: &RetryBudget) -> u32 {
    match purpose {
        Purpose::First => 0,
        Purpose::Retry => budget.cost,
        Purpose::RetryThrottled => budget.cost_throttled,
    }
}

impl Member {
    /// How long the target is still to be left alone, if it is.
    fn closed_for(&self, now: Instant, rule: &Breaker) -> Option<Duration> {
        self.failures.open_for(now, rule).max(self.throttling.open_for(now, rule))
    }

    fn enter(&mut self, cost: u32, now: Instant) {
        self.tokens = self.tokens.saturating_sub(cost);
        self.in_flight = self.in_flight.saturating_add(1);
        self.failures.enter(now);
        self.throttling.enter(now);
    }
}

/// Slices a window is counted in: old outcomes leave in steps of a tenth of it.
const SLICES: usize = 10;

/// One breaker: a sliding count of outcomes and whether it is open.
#[derive(Debug, Clone)]
struct Circuit {
    slices: [Slice; SLICES],
    state: CircuitState,
}

#[derive(Debug, Clone, Copy)]
struct Slice {
    number: u64,
    ok: u32,
    failed: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CircuitState {
    Closed,
    Open { until: Instant },
    Probing { since: Instant },
}

impl Circuit {
    const fn closed() -> Self {
        Self { slices: [Slice { number: 0, ok: 0, failed: 0 }; SLICES], state: CircuitState::Closed }
    }

    fn open_for(&self, now: Instant, rule: &Breaker) -> Option<Duration> {
        match self.state {
            CircuitState::Closed => None,
            CircuitState::Open { until } => (until > now).then(|| until.since(now)),
            // A probe that never came back is forgotten after as long as the breaker would have stayed open.
            CircuitState::Probing { since } => {
                let forgotten = since.after(rule.open);
                (forgotten > now).then(|| forgotten.since(now))
            }
        }
    }

    fn enter(&mut self, now: Instant) {
        if self.state != CircuitState::Closed {
            self.state = CircuitState::Probing { since: now };
        }
    }

    fn abandon_probe(&mut self) {
        if let CircuitState::Probing { since } = self.state {
            self.state = CircuitState::Open { until: since };
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the remainder by ten is a small index")]
    fn count(&mut self, now: Instant, rule: &Breaker, failed: bool, floor: Duration) {
        if let CircuitState::Probing { .. } = self.state {
            if failed {
                self.state = CircuitState::Open { until: now.after(rule.open.max(floor)) };
            } else {
                *self = Self::closed();
            }
            return;
        }
        let width = (rule.window / 10).as_nanos().max(1);
        let number = u64::try_from(u128::from(now.0) / width).unwrap_or(u64::MAX);
        let slice = &mut self.slices[(number % SLICES as u64) as usize];
        if slice.number != number {
            *slice = Slice { number, ok: 0, failed: 0 };
        }
        if failed {
            slice.failed = slice.failed.saturating_add(1);
        } else {
            slice.ok = slice.ok.saturating_add(1);
        }
        let recent = self.slices.iter().filter(|slice| slice.number + SLICES as u64 > number);
        let (ok, bad) = recent.fold((0u32, 0u32), |(ok, bad), slice| {
            (ok.saturating_add(slice.ok), bad.saturating_add(slice.failed))
        });
        let all = ok.saturating_add(bad);
        if failed && all >= rule.min_outcomes && f64::from(bad) >= rule.ratio * f64::from(all) {
            self.state = CircuitState::Open { until: now.after(rule.open.max(floor)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const FAILED: AttemptOutcome =
        AttemptOutcome::Failure { class: FaultClass::Network, throttled: false, retry_after: None };

    fn key() -> Key {
        Key { target: "a".into(), tenant: String::new() }
    }

    fn at(seconds: u64) -> Instant {
        Instant::default().after(SECOND * u32::try_from(seconds).unwrap())
    }

    fn granted(fleet: &mut Fleet, now: Instant, purpose: Purpose, policy: &Policy) -> bool {
        fleet.ask(now, &key(), purpose, false, policy) == Answer::Now(Admission::Granted)
    }

    #[test]
    fn retries_are_paid_from_a_budget_that_successes_refill() {
        let mut policy = Policy::default();
        policy.budget.tokens = 30;
        let mut fleet = Fleet::new();
        assert!(granted(&mut fleet, at(0), Purpose::Retry, &policy));
        assert!(granted(&mut fleet, at(0), Purpose::Retry, &policy));
        assert_eq!(
            fleet.ask(at(0), &key(), Purpose::Retry, false, &policy),
            Answer::Now(Admission::OverBudget)
        );
        assert!(granted(&mut fleet, at(0), Purpose::First, &policy), "a first attempt is free");
        fleet.report(at(1), &key(), AttemptOutcome::Success { purpose: Purpose::Retry }, &policy);
        assert!(
            granted(&mut fleet, at(1), Purpose::Retry, &policy),
            "a retry that served gives back what it cost"
        );
        let other = Key { target: "a".into(), tenant: "acme".into() };
        assert_eq!(
            fleet.ask(at(1), &other, Purpose::Retry, false, &policy),
            Answer::Now(Admission::Granted),
            "tenants do not share"
        );
    }

    #[test]
    fn a_breaker_opens_probes_once_and_closes() {
        let policy = Policy::default();
        let mut fleet = Fleet::new();
        for second in 0..10 {
            assert!(granted(&mut fleet, at(second), Purpose::First, &policy));
            fleet.report(at(second), &key(), FAILED, &policy);
        }
        let answer = fleet.ask(at(10), &key(), Purpose::First, false, &policy);
        let left = u64::try_from((SECOND * 29).as_nanos()).unwrap();
        assert_eq!(answer, Answer::Now(Admission::BreakerOpen { reopens_in: left }));
        assert_eq!(
            fleet.ask(at(10), &key(), Purpose::First, true, &policy),
            Answer::Now(Admission::Granted),
            "a target nothing can replace is tried all the same"
        );
        fleet.report(at(10), &key(), FAILED, &policy);
        assert!(granted(&mut fleet, at(40), Purpose::First, &policy), "one probe after 30 s");
        assert!(!granted(&mut fleet, at(40), Purpose::First, &policy), "and only one");
        fleet.report(at(41), &key(), AttemptOutcome::Success { purpose: Purpose::First }, &policy);
        assert!(granted(&mut fleet, at(41), Purpose::First, &policy));
        assert!(granted(&mut fleet, at(41), Purpose::First, &policy));
    }

    #[test]
    fn old_failures_leave_the_window() {
        let policy = Policy::default();
        let mut fleet = Fleet::new();
        for second in 0..9 {
            fleet.report(at(second), &key(), FAILED, &policy);
        }
        fleet.report(at(100), &key(), FAILED, &policy);
        assert!(
            granted(&mut fleet, at(100), Purpose::First, &policy),
            "nine of the ten are too old to count"
        );
    }

    #[test]
    fn throttling_has_a_breaker_of_its_own_and_honours_the_targets_wish() {
        let policy = Policy::default();
        let mut fleet = Fleet::new();
        let throttled = AttemptOutcome::Failure {
            class: FaultClass::Overload,
            throttled: true,
            retry_after: Some(u64::try_from((SECOND * 90).as_nanos()).unwrap()),
        };
        for _ in 0..9 {
            fleet.report(at(1), &key(), throttled, &policy);
            fleet.report(at(1), &key(), FAILED, &policy);
        }
        fleet.report(at(1), &key(), throttled, &policy);
        assert!(!granted(&mut fleet, at(60), Purpose::First, &policy), "open for as long as it asked");
        assert!(granted(&mut fleet, at(92), Purpose::First, &policy));
    }

    #[test]
    fn a_limit_is_kept_in_order() {
        let mut policy = Policy::default();
        policy.limits.concurrent = Some(1);
        let mut fleet = Fleet::new();
        assert!(granted(&mut fleet, at(0), Purpose::First, &policy));
        let Answer::Queued(first) = fleet.ask(at(0), &key(), Purpose::First, false, &policy) else {
            panic!()
        };
        let Answer::Queued(second) = fleet.ask(at(0), &key(), Purpose::First, false, &policy) else {
            panic!()
        };
        assert!(!fleet.is_called(at(1), &key(), first, Purpose::First, &policy), "the place is taken");
        fleet.report(at(1), &key(), AttemptOutcome::Stopped, &policy);
        assert!(!fleet.is_called(at(1), &key(), second, Purpose::First, &policy), "not before its turn");
        fleet.leave(&key(), first);
        assert!(fleet.is_called(at(1), &key(), second, Purpose::First, &policy));
    }
}
