//! The states of a session and of an attempt, and the only ways between them.
//!
//! Each table is the whole truth: a step that has no row is refused, and a state that ends something has no row that
//! leaves it. The simulator keeps count of the rows taken, so that one nobody takes is noticed.

use serde::{Deserialize, Serialize};

/// Where a session stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// It has not begun.
    #[default]
    Idle,
    /// It waits for the fleet's answer.
    Asking,
    /// It waits for its time to come.
    Waiting,
    /// It waits for a response to begin.
    Opening,
    /// It is given what a response holds.
    Reading,
    /// It has ended. Sticky.
    Done,
}

/// What a session does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionStep {
    /// It asks the fleet.
    Ask,
    /// It is to wait.
    Wait,
    /// It opens an attempt.
    Open,
    /// The attempt's response began.
    Read,
    /// It ends.
    Finish,
}

/// Every step a session can take.
pub const SESSION_STEPS: &[(SessionState, SessionStep, SessionState)] = {
    use SessionState as S;
    use SessionStep as Do;
    &[
        (S::Idle, Do::Ask, S::Asking),
        (S::Idle, Do::Finish, S::Done),
        (S::Asking, Do::Ask, S::Asking),
        (S::Asking, Do::Wait, S::Waiting),
        (S::Asking, Do::Open, S::Opening),
        (S::Asking, Do::Finish, S::Done),
        (S::Waiting, Do::Ask, S::Asking),
        (S::Waiting, Do::Open, S::Opening),
        (S::Waiting, Do::Finish, S::Done),
        (S::Opening, Do::Read, S::Reading),
        (S::Opening, Do::Ask, S::Asking),
        (S::Opening, Do::Finish, S::Done),
        (S::Reading, Do::Ask, S::Asking),
        (S::Reading, Do::Finish, S::Done),
    ]
};

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// Its response has not begun.
    #[default]
    Opening,
    /// Its response is read.
    Reading,
    /// It gave the answer. Sticky.
    Served,
    /// It failed. Sticky.
    Failed,
    /// It was stopped from this side. Sticky.
    Stopped,
}

/// What becomes of an attempt next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptStep {
    /// Its response began.
    Read,
    /// It gave the answer.
    Serve,
    /// It failed.
    Fail,
    /// It was stopped.
    Stop,
}

/// Every step an attempt can take.
pub const ATTEMPT_STEPS: &[(AttemptState, AttemptStep, AttemptState)] = {
    use AttemptState as A;
    use AttemptStep as Do;
    &[
        (A::Opening, Do::Read, A::Reading),
        (A::Opening, Do::Fail, A::Failed),
        (A::Opening, Do::Stop, A::Stopped),
        (A::Reading, Do::Serve, A::Served),
        (A::Reading, Do::Fail, A::Failed),
        (A::Reading, Do::Stop, A::Stopped),
    ]
};

/// Which rows of both tables have been taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage(u32);

impl Coverage {
    /// The rows taken by either.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The rows nobody took, as text.
    #[must_use]
    pub fn missing(self) -> Vec<String> {
        let session =
            SESSION_STEPS.iter().map(|row| format!("session {:?} --{:?}--> {:?}", row.0, row.1, row.2));
        let attempt =
            ATTEMPT_STEPS.iter().map(|row| format!("attempt {:?} --{:?}--> {:?}", row.0, row.1, row.2));
        let rows = session.chain(attempt).enumerate();
        rows.filter(|(row, _)| self.0 & (1 << row) == 0).map(|(_, row)| row).collect()
    }
}

impl SessionState {
    /// The state after `step`, or none where the table has no such row.
    #[must_use]
    pub fn take(self, step: SessionStep, coverage: &mut Coverage) -> Option<Self> {
        let row = SESSION_STEPS.iter().position(|row| (row.0, row.1) == (self, step))?;
        coverage.0 |= 1 << row;
        Some(SESSION_STEPS[row].2)
    }
}

impl AttemptState {
    /// The state after `step`, or none where the table has no such row.
    #[must_use]
    pub fn take(self, step: AttemptStep, coverage: &mut Coverage) -> Option<Self> {
        let row = ATTEMPT_STEPS.iter().position(|row| (row.0, row.1) == (self, step))?;
        coverage.0 |= 1 << (SESSION_STEPS.len() + row);
        Some(ATTEMPT_STEPS[row].2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_something_is_never_left() {
        assert!(SESSION_STEPS.iter().all(|row| row.0 != SessionState::Done));
        let ends = [AttemptState::Served, AttemptState::Failed, AttemptState::Stopped];
        assert!(ATTEMPT_STEPS.iter().all(|row| !ends.contains(&row.0)));
    }

    #[test]
    fn every_state_but_the_last_can_end() {
        for row in SESSION_STEPS {
            let ends = |other: &(SessionState, SessionStep, SessionState)| {
                other.0 == row.0 && other.1 == SessionStep::Finish
            };
            assert!(SESSION_STEPS.iter().any(ends), "{row:?}");
        }
    }
}
