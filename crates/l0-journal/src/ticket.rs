//! The receipt for work that goes on elsewhere.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Error;
use crate::fork::process_id;

type Answer = Result<(), Error>;
type Callback = Box<dyn FnOnce(Answer) + Send>;

/// A receipt that says, once it is known, whether something is on disk. Wait for it, look at it, be told, or drop it.
#[derive(Clone)]
pub struct Ticket(Arc<Inner>);

struct Inner {
    /// Threads do not cross a fork: in a child nobody would ever answer.
    process: u32,
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Default)]
struct State {
    answer: Option<Answer>,
    callbacks: Vec<Callback>,
}

impl Ticket {
    /// A receipt for work that somebody will do.
    pub(crate) fn open() -> Self {
        Self::new(None)
    }

    /// A receipt for work that is done, or was not needed.
    pub(crate) fn done(answer: Answer) -> Self {
        Self::new(Some(answer))
    }

    fn new(answer: Option<Answer>) -> Self {
        let state = Mutex::new(State { answer, callbacks: Vec::new() });
        Self(Arc::new(Inner { process: process_id(), state, answered: Condvar::new() }))
    }

    pub(crate) fn answer(&self, answer: &Answer) {
        let callbacks = {
            let mut state = self.state();
            state.answer = Some(answer.clone());
            std::mem::take(&mut state.callbacks)
        };
        self.0.answered.notify_all();
        for callback in callbacks {
            callback(answer.clone());
        }
    }

    /// The answer, if it is there already.
    #[must_use]
    pub fn poll(&self) -> Option<Result<(), Error>> {
        self.state().answer.clone()
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// Why it is not on disk.
    pub fn wait(&self) -> Result<(), Error> {
        self.wait_for(Duration::MAX).unwrap_or(Err(Error::Closed))
    }

    /// Waits for the answer, but not for ever. `None` when the time was up first.
    #[must_use]
    pub fn wait_for(&self, how_long: Duration) -> Option<Result<(), Error>> {
        if process_id() != self.0.process {
            return Some(Err(Error::Forked));
        }
        let until = Instant::now().checked_add(how_long);
        let mut state = self.state();
        loop {
            if let Some(answer) = &state.answer {
                return Some(answer.clone());
            }
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.0.answered.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return None,
                Some(left) => {
                    self.0.answered.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Calls `callback` with the answer: at once if it is there, else on the thread that finds it, which it must not hold up.
    pub fn on_answer(&self, callback: impl FnOnce(Result<(), Error>) + Send + 'static) {
        let answer = {
            let mut state = self.state();
            match &state.answer {
                Some(answer) => answer.clone(),
                None => return state.callbacks.push(Box::new(callback)),
            }
        };
        callback(answer);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ticket").field(&self.poll()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn everybody_gets_the_answer() {
        let ticket = Ticket::open();
        assert_eq!(ticket.poll(), None);
        assert_eq!(ticket.wait_for(Duration::ZERO), None);
        let (sender, answers) = mpsc::channel();
        let early = sender.clone();
        ticket.on_answer(move |answer| early.send(answer).unwrap());
        let waiting = std::thread::spawn({
            let ticket = ticket.clone();
            move || ticket.wait()
        });
        ticket.answer(&Err(Error::Closed));
        ticket.on_answer(move |answer| sender.send(answer).unwrap());
        assert_eq!(waiting.join().unwrap(), Err(Error::Closed));
        assert_eq!(answers.iter().take(2).collect::<Vec<_>>(), [Err(Error::Closed), Err(Error::Closed)]);
    }
}
