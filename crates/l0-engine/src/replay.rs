//! Replay: the same inputs, decided again.

use std::sync::Arc;

use thiserror::Error;

use crate::instant::Instant;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::protocol::{Input, Output};
use crate::record::{Header, Record};
use crate::session::Session;

/// The first record that is not what the engine would write now.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("record {record} differs from what the engine decides now")]
pub struct Divergence {
    /// Its place, from 0.
    pub record: usize,
    /// What the journal holds; nothing where it has ended.
    pub recorded: Option<Box<Record>>,
    /// What the engine decides now; nothing where it decides no more.
    pub decided: Option<Box<Record>>,
}

/// Decides a session again from its records.
///
/// The session that comes back stands where the records end: at its outcome, or in the middle, from where
/// [`Session::handle_resume`] goes on. Outputs of the replay itself are not repeated, nor are records, but for those
/// that the last input led to and a torn journal has lost: they are to be taken and written before it goes on.
///
/// # Errors
/// The first record that differs: another policy, another behaviour, a record that is missing, edited or moved.
pub fn replay(policy: Arc<Policy>, records: &[Record]) -> Result<Session, Divergence> {
    let mut replay = Replay::begin(policy, records)?;
    while replay.place < records.len() {
        replay.step(records)?;
    }
    Ok(replay.session)
}

struct Replay {
    session: Session,
    place: usize,
}

impl Replay {
    fn begin(policy: Arc<Policy>, records: &[Record]) -> Result<Self, Divergence> {
        let Some(Record::Start(header)) = records.first() else {
            return Err(diverged(0, records.first().cloned(), None));
        };
        let plan = Plan {
            policy,
            targets: header.targets.clone(),
            seed: header.seed,
            streamed: header.streamed,
            deadline: header.deadline,
            recorded: true,
        };
        let expected = Header { engine: header.engine.clone(), ..Header::of(&plan) };
        let known = header.flags.are_known();
        let plan = Arc::new(plan);
        match Session::new(Arc::clone(&plan)) {
            Ok(mut session) if known && expected == *header => {
                let _ = session.take_records();
                Ok(Self { session, place: 1 })
            }
            _ => Err(diverged(0, records.first().cloned(), Some(Record::Start(expected)))),
        }
    }

    /// Puts the next input in and compares what is decided with what was recorded after it.
    fn step(&mut self, records: &[Record]) -> Result<(), Divergence> {
        match &records[self.place] {
            Record::Chunk { at, attempt, text, .. } => {
                let _ = self.session.handle_chunk(*at, *attempt, text);
            }
            Record::Input { at, input, .. } => self.put(*at, input.clone()),
            // A decision that no input led to.
            other => return Err(diverged(self.place, Some(other.clone()), None)),
        }
        while let Some(output) = self.session.poll_output() {
            drop::<Output>(output);
        }
        let decided = self.session.take_records();
        if decided.is_empty() {
            // The engine finds nothing to note about this input: it cannot have been one of this session's.
            return Err(diverged(self.place, records.get(self.place).cloned(), None));
        }
        let mut decided = decided.into_iter();
        while let Some(decided_next) = decided.next() {
            match records.get(self.place) {
                Some(recorded) if *recorded == decided_next => self.place += 1,
                // The process died between an input and what it led to, which is still to be written.
                None => {
                    self.session.put_back(core::iter::once(decided_next).chain(decided));
                    return Ok(());
                }
                Some(recorded) => {
                    return Err(diverged(self.place, Some(recorded.clone()), Some(decided_next)));
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, at: Instant, input: Input) {
        // What the session refuses it does not record, which the caller notices.
        let _ = self.session.apply(at, input);
    }
}

fn diverged(record: usize, recorded: Option<Record>, decided: Option<Record>) -> Divergence {
    Divergence { record, recorded: recorded.map(Box::new), decided: decided.map(Box::new) }
}
