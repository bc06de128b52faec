//! The one fleet of a process.

use std::sync::{Mutex, PoisonError};

use l0_engine as engine;
use pyo3::prelude::*;

use crate::policy::Policy;

/// Budgets, breakers and limits, shared by all sessions of a process.
#[pyclass(frozen, module = "l0_core._native")]
pub(crate) struct Fleet(Mutex<State>);

#[derive(Default)]
struct State {
    fleet: engine::Fleet,
    tickets: Vec<(u64, engine::Ticket)>,
    last: u64,
}

impl Fleet {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn key(target: &str, tenant: &str) -> engine::Key {
    engine::Key { target: target.to_owned(), tenant: tenant.to_owned() }
}

pub(crate) const fn purpose(code: u8) -> engine::Purpose {
    match code {
        0 => engine::Purpose::First,
        1 => engine::Purpose::Retry,
        _ => engine::Purpose::RetryThrottled,
    }
}

#[pymethods]
impl Fleet {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(State::default()))
    }

    /// Whether an attempt may be opened: `(0, 0)` yes, `(1, 0)` over budget, `(2, ns)` breaker open, `(3, ticket)` queued.
    fn ask(
        &self,
        now: u64,
        target: &str,
        tenant: &str,
        purpose: u8,
        force: bool,
        policy: &Policy,
    ) -> (u8, u64) {
        let purpose = self::purpose(purpose);
        self.with(|state| {
            let answer =
                state.fleet.ask(engine::Instant(now), &key(target, tenant), purpose, force, &policy.engine);
            match answer {
                engine::Answer::Now(engine::Admission::Granted) => (0, 0),
                engine::Answer::Now(engine::Admission::OverBudget) => (1, 0),
                engine::Answer::Now(engine::Admission::BreakerOpen { reopens_in }) => (2, reopens_in),
                engine::Answer::Queued(ticket) => {
                    state.last += 1;
                    state.tickets.push((state.last, ticket));
                    (3, state.last)
                }
            }
        })
    }

    /// Whether the turn of a queued session has come; if so it holds a place now.
    fn is_called(
        &self,
        now: u64,
        target: &str,
        tenant: &str,
        ticket: u64,
        purpose: u8,
        policy: &Policy,
    ) -> bool {
        let purpose = self::purpose(purpose);
        self.with(|state| {
            let Some(place) = state.tickets.iter().position(|held| held.0 == ticket) else { return false };
            let held = state.tickets[place].1;
            let called = state.fleet.is_called(
                engine::Instant(now),
                &key(target, tenant),
                held,
                purpose,
                &policy.engine,
            );
            if called {
                state.tickets.swap_remove(place);
            }
            called
        })
    }

    /// Gives up a place in the queue.
    fn leave(&self, target: &str, tenant: &str, ticket: u64) {
        self.with(|state| {
            if let Some(place) = state.tickets.iter().position(|held| held.0 == ticket) {
                let (_, held) = state.tickets.swap_remove(place);
                state.fleet.leave(&key(target, tenant), held);
            }
        });
    }

    /// What became of an attempt that had been granted; `outcome` is what the session put out.
    fn report(&self, now: u64, target: &str, tenant: &str, outcome: &Report, policy: &Policy) {
        self.with(|state| {
            state.fleet.report(engine::Instant(now), &key(target, tenant), outcome.0, &policy.engine);
        });
    }
}

/// How an attempt ended, on its way from a session to the fleet.
#[pyclass(frozen, module = "l0_core._native")]
pub(crate) struct Report(pub(crate) engine::AttemptOutcome);
