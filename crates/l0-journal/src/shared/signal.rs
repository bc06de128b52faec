//! When the writer thread of a journal has something to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What the writer thread is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Put what the spool holds into the database.
    Drain,
    /// Nothing came for a while: let go of the files that are no longer needed.
    Tidy,
    /// Say that the leases' holder lives.
    Beat,
}

/// Wakes the writer thread, seldom: the first append after a drain does, and one that finds too much waiting.
pub(crate) struct Signal {
    /// Something was appended since the last drain began.
    pending: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
    /// How long appends are gathered before they are stored together.
    linger: Duration,
}

struct State {
    stop: bool,
    urgent: bool,
    /// There are files that only hold what the database has.
    untidy: bool,
    beat_every: Option<Duration>,
    next_beat: Option<Instant>,
    /// How many drains got somewhere.
    progress: u64,
    /// How many failed.
    failures: u64,
}

impl Signal {
    pub(crate) const fn new(linger: Duration) -> Self {
        let state = State {
            stop: false,
            urgent: false,
            untidy: false,
            beat_every: None,
            next_beat: None,
            progress: 0,
            failures: 0,
        };
        Self { pending: AtomicBool::new(false), state: Mutex::new(state), changed: Condvar::new(), linger }
    }

    /// Something was appended.
    #[inline]
    pub(crate) fn appended(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            // Under the lock, so that a thread between looking and waiting is not missed.
            drop(self.state());
            self.changed.notify_all();
        }
    }

    /// A drain begins: what is appended from now on is news. Must come before looking at what there is.
    pub(crate) fn drain_begins(&self) {
        self.pending.store(false, Ordering::SeqCst);
    }

    /// A drain got somewhere, or failed; either way there may be files to let go of.
    pub(crate) fn drained(&self, succeeded: bool) {
        let mut state = self.state();
        state.untidy = true;
        if succeeded {
            state.progress += 1;
        } else {
            state.failures += 1;
            // To be tried again, after a while.
            self.pending.store(true, Ordering::SeqCst);
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(crate) fn tidied(&self) {
        self.state().untidy = false;
    }

    /// Too much is waiting: do not linger.
    pub(crate) fn hurry(&self) {
        self.state().urgent = true;
        self.changed.notify_all();
    }

    pub(crate) fn stop(&self) {
        self.state().stop = true;
        self.changed.notify_all();
    }

    /// From now on, say regularly that the holder of leases lives.
    pub(crate) fn beat_every(&self, interval: Option<Duration>) {
        let mut state = self.state();
        state.beat_every = interval;
        state.next_beat = interval.map(|interval| Instant::now() + interval);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until a drain got somewhere since `since`, and says how far drains have come. Not longer than `patience`.
    pub(crate) fn wait_for_progress(&self, since: u64, patience: Duration) -> u64 {
        let state = self.state();
        let failures = state.failures;
        let nothing_new =
            |state: &mut State| state.progress == since && state.failures == failures && !state.stop;
        let waited = self.changed.wait_timeout_while(state, patience, nothing_new);
        waited.unwrap_or_else(PoisonError::into_inner).0.progress
    }

    pub(crate) fn progress(&self) -> u64 {
        self.state().progress
    }

    /// Waits for something to do; `None` when it is time to stop.
    pub(crate) fn wait(&self) -> Option<Work> {
        let mut state = self.state();
        let (mut pending_since, mut untidy_since) = (None, None);
        loop {
            if state.stop {
                return None;
            }
            if std::mem::take(&mut state.urgent) {
                return Some(Work::Drain);
            }
            let now = Instant::now();
            if state.next_beat.is_some_and(|beat| beat <= now) {
                state.next_beat = state.beat_every.map(|interval| now + interval);
                return Some(Work::Beat);
            }
            let (since, work) = if self.pending.load(Ordering::SeqCst) {
                (&mut pending_since, Work::Drain)
            } else {
                (&mut untidy_since, Work::Tidy)
            };
            let anything = work == Work::Drain || state.untidy;
            let due = anything.then(|| *since.get_or_insert(now) + self.linger);
            if due.is_some_and(|due| due <= now) {
                return Some(work);
            }
            let until = [due, state.next_beat].into_iter().flatten().min();
            state = match until {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(now);
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);
    const NEVER: Duration = Duration::from_secs(3600);

    #[test]
    fn what_is_appended_is_drained_then_tidied_then_there_is_peace() {
        let signal = Signal::new(SHORT);
        signal.appended();
        assert_eq!(signal.wait(), Some(Work::Drain));
        signal.drain_begins();
        signal.drained(true);
        assert_eq!(signal.wait(), Some(Work::Tidy));
        signal.tidied();
        signal.stop();
        assert_eq!(signal.wait(), None);
    }

    #[test]
    fn a_drain_that_failed_is_tried_again_and_a_full_spool_does_not_linger() {
        let signal = Signal::new(SHORT);
        signal.drained(false);
        assert_eq!(signal.wait(), Some(Work::Drain));
        let slow = Signal::new(NEVER);
        slow.appended();
        slow.hurry();
        assert_eq!(slow.wait(), Some(Work::Drain));
    }

    #[test]
    fn leases_beat_while_nothing_else_happens() {
        let signal = Signal::new(NEVER);
        signal.beat_every(Some(SHORT));
        assert_eq!(signal.wait(), Some(Work::Beat));
        assert_eq!(signal.wait(), Some(Work::Beat));
    }

    #[test]
    fn progress_is_waited_for() {
        let signal = Signal::new(NEVER);
        assert_eq!(signal.wait_for_progress(0, SHORT), 0);
        signal.drained(true);
        assert_eq!(signal.wait_for_progress(0, NEVER), 1);
    }
}
