//! A driver that keeps the engine's contract to the letter, and notices when the engine does not.
//!
//! It does no input or output of its own: what a real driver would *do* comes back as [`Effect`]s, to be carried out
//! one at a time, so that a process can die between any two of them. Records are written to the journal before any
//! effect of the same call is handed out.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use l0_engine::{
    Admission, AttemptId, AttemptOutcome, CallArgs, Divergence, Event, Facts, Instant, Misuse, Mode, Output,
    Part, Plan, Policy, PolicyError, Purpose, Record, Ruling, Session, SessionState, Signal, TargetId,
};
use l0_journal::Recorder;

/// A chunk as an upstream made it, with a number that no other chunk of the attempt has.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Its place among the attempt's chunks.
    pub number: usize,
    /// What it holds.
    pub part: Part,
}

impl Chunk {
    /// Whether it goes the fast way: text and nothing else.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.part.text.is_empty() && Part { text: String::new(), ..self.part.clone() } == Part::default()
    }
}

/// A chunk, or what is left of it, on its way to the consumer.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The attempt it came from.
    pub attempt: AttemptId,
    /// The chunk, its text cut where the engine said so.
    pub chunk: Chunk,
    /// Whether its text was cut.
    pub cut: bool,
}

/// What an attempt is to be begun with, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its target.
    pub target: TargetId,
    /// How it is begun.
    pub mode: Mode,
    /// The text to go on from.
    pub prefix: String,
    /// What the consumer has.
    pub shown: String,
    /// The words to repeat.
    pub anchor: String,
    /// What to ask.
    pub instruction: String,
    /// Time left.
    pub time_left: Duration,
}

/// One thing for the driver's process to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask the fleet.
    Ask {
        /// The target.
        target: TargetId,
        /// What for.
        purpose: Purpose,
        /// Pass over an open breaker.
        force: bool,
    },
    /// Open an attempt.
    Open(Opening),
    /// Wait, which the world does by itself.
    Wait {
        /// Until when.
        until: Instant,
    },
    /// Close an attempt's stream.
    Close(AttemptId),
    /// Give the consumer this.
    Give(Piece),
    /// Tell the consumer to discard what it has.
    Reset,
    /// Tell the fleet.
    Report {
        /// The target.
        target: TargetId,
        /// How its attempt ended.
        outcome: AttemptOutcome,
    },
    /// Ask the caller's own guards.
    Check {
        /// The attempt.
        attempt: AttemptId,
        /// The number of the question.
        check: u32,
    },
    /// Tell a listener.
    Tell(Event),
    /// The session has ended.
    Done,
}

/// Puts what the engine says in the place of a chunk's own text, and of the arguments in the first fragment of a call.
pub(crate) fn rewrite(part: &mut Part, text: Option<String>, calls: Vec<CallArgs>) {
    if let Some(text) = text {
        part.text = text;
    }
    for call in calls {
        let mut args = Some(call.args);
        for fragment in part.tools.iter_mut().filter(|fragment| fragment.index == call.index) {
            fragment.args = args.take().unwrap_or_default();
        }
    }
}

/// Kinds of calls that mean nothing.
pub const NOISES: usize = 8;

/// The engine did not keep its side of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach(pub String);

type Effects = Result<Vec<Effect>, Breach>;

/// One session and the chunks kept for it.
#[derive(Debug)]
pub struct Driver {
    session: Session,
    kept: VecDeque<(AttemptId, Chunk)>,
    journal: Vec<Record>,
    outputs: usize,
    recorder: Option<Recorder>,
    unwritten: bool,
    /// Records that are to survive a loss of power, once whoever releases something has waited.
    barrier: usize,
    synced: usize,
}

impl Driver {
    /// A driver of a session that has not begun.
    ///
    /// # Errors
    /// If the plan cannot be carried out.
    pub fn new(plan: Plan) -> Result<Self, PolicyError> {
        let mut session = Session::new(Arc::new(plan))?;
        let journal = session.take_records();
        Ok(Self::of(session, journal))
    }

    /// A driver in a new process, with what the last one wrote down. [`Driver::resume`] then goes on.
    ///
    /// # Errors
    /// If the journal is not what the engine would write.
    pub fn recover(policy: Arc<Policy>, journal: Vec<Record>) -> Result<Self, Divergence> {
        let mut session = l0_engine::replay(policy, &journal)?;
        let mut journal = journal;
        journal.extend(session.take_records());
        Ok(Self::of(session, journal))
    }

    const fn of(session: Session, journal: Vec<Record>) -> Self {
        let kept = VecDeque::new();
        Self { session, kept, journal, outputs: 0, recorder: None, unwritten: false, barrier: 0, synced: 0 }
    }

    /// Writes what follows to a journal, too, and first what of the records so far it does not have: all but `known`.
    /// Nothing is a journal that could not be opened.
    pub fn write_to(&mut self, recorder: Option<Recorder>, now: Instant, known: usize) {
        self.unwritten = recorder.is_none();
        self.recorder = recorder;
        if let Some(recorder) = &mut self.recorder {
            recorder.write(now, self.journal.iter().skip(known).cloned(), None);
        }
    }

    /// Begins what has to be on disk before anything is released.
    pub fn start_barrier(&mut self) {
        self.barrier = self.journal.len();
        if let Some(recorder) = &mut self.recorder {
            recorder.start_barrier();
        }
    }

    /// Waits for what has to be on disk before a release.
    pub fn settle(&mut self) {
        let Some(recorder) = &mut self.recorder else { return };
        self.barrier = if recorder.is_paranoid() { self.journal.len() } else { self.barrier };
        if let Some(ticket) = recorder.unsettled() {
            recorder.settled(ticket.wait());
        }
        if recorder.lost().is_none() {
            self.synced = self.barrier;
        }
    }

    /// Whether a record was lost, so that no more are written.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.unwritten || self.recorder.as_ref().is_some_and(|recorder| recorder.lost().is_some())
    }

    /// Lets go of the journal, whose process is gone. Says how many records are on disk for certain, and whether one was lost.
    pub fn forget_recorder(&mut self) -> (usize, bool) {
        let lost = self.is_lost();
        self.recorder = None;
        (self.synced, lost)
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Everything recorded so far.
    #[must_use]
    pub fn journal(&self) -> &[Record] {
        &self.journal
    }

    /// Chunks kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Outputs seen so far, to tell a lively session from one that is stuck.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        self.outputs
    }

    /// Begins.
    ///
    /// # Errors
    /// As all of the following: where the engine breaks its contract.
    pub fn start(&mut self, now: Instant) -> Effects {
        let called = self.session.handle_start(now);
        self.quietly(now, "start", called)
    }

    /// Goes on after a death.
    ///
    /// # Errors
    /// Where the engine breaks its contract.
    pub fn resume(&mut self, now: Instant) -> Effects {
        let called = self.session.handle_resume(now);
        self.quietly(now, "resume", called)
    }

    /// Passes the fleet's answer on.
    ///
    /// # Errors
    /// Where the engine breaks its contract.
    pub fn admitted(&mut self, now: Instant, admission: Admission) -> Effects {
        let called = self.session.handle_admission(now, admission);
        self.quietly(now, "admission", called)
    }

    /// A response began.
    ///
    /// # Errors
    /// Where the engine breaks its contract.
    pub fn opened(&mut self, now: Instant, attempt: AttemptId) -> Effects {
        let called = self.session.handle_opened(now, attempt);
        self.quietly(now, "opened", called)
    }

    /// A stream ended.
    ///
    /// # Errors
    /// Where the engine breaks its contract.
    pub fn ended(&mut self, now: Instant, attempt: AttemptId) -> Effects {
        let called = self.session.handle_ended(now, attempt);
        self.quietly(now, "ended", called)
    }

    /// An attempt failed.
    ///
    /// # Errors
    /// Where the engine breaks its contract.
    pub fn failed(&mut self, now: Instant, attempt: AttemptId, facts: Facts) -> Effects {
        let called = self.session.handle_failed(now, attempt, facts);
        self.quietly(now, "failed", called)
    }

    /// The caller's own guards have answered.
    ///
    /// # Errors
    /// Where the engine breaks its contract.
    pub fn judged(&mut self, now: Instant, attempt: AttemptId, check: u32, ruling: Ruling) -> Effects {
        let called = self.session.handle_judged(now, attempt, check, ruling);
        self.quietly(now, "judged", called)
    }

    /// Time has passed.
    ///
    /// # Errors
    /// Where the engine breaks its contract.
    pub fn timeout(&mut self, now: Instant, waited: Option<Duration>) -> Effects {
        let called = self.session.handle_timeout(now, waited);
        self.quietly(now, "timeout", called)
    }

    /// The caller left.
    ///
    /// # Errors
    /// Where the engine breaks its contract.
    pub fn cancel(&mut self, now: Instant) -> Effects {
        let called = self.session.handle_cancel(now);
        self.quietly(now, "cancel", called)
    }

    /// A chunk arrived after its read had been pending for `waited`.
    ///
    /// # Errors
    /// Where the engine breaks its contract.
    pub fn chunk(&mut self, now: Instant, attempt: AttemptId, waited: Duration, chunk: Chunk) -> Effects {
        let signal = if chunk.is_plain() {
            self.session.handle_chunk(now, attempt, &chunk.part.text)
        } else {
            let called = self.session.handle_part(now, attempt, waited, chunk.part.clone());
            called.map_err(|misuse| Breach(format!("part refused: {misuse}")))?
        };
        self.write(now);
        let mut effects = Vec::new();
        match signal {
            Signal::Pass => {
                if !self.kept.is_empty() {
                    return Err(Breach("a chunk was to pass those kept before it".into()));
                }
                effects.push(Effect::Give(Piece { attempt, chunk, cut: false }));
            }
            Signal::Hold | Signal::Drain => self.kept.push_back((attempt, chunk)),
            Signal::Skip => {}
        }
        let drained = self.drain()?;
        if signal != Signal::Drain && !drained.is_empty() {
            return Err(Breach(format!("{signal:?} left outputs to drain: {drained:?}")));
        }
        effects.extend(drained);
        Ok(effects)
    }

    /// Makes a call that means nothing now, of one of [`NOISES`] kinds. `reading` is since when a read is pending.
    ///
    /// # Errors
    /// Where it changes anything.
    pub fn disturb(&mut self, now: Instant, reading: Option<Instant>, kind: usize) -> Result<(), Breach> {
        let before = (self.session.state(), self.session.poll_timeout(reading), self.session.text().len());
        let live = self.session.opening().map(|opening| opening.attempt);
        let (stale, never) = (live.and_then(|live| live.0.checked_sub(1)), u32::MAX);
        let stale = AttemptId(stale.unwrap_or(never));
        let (idle, done) = (SessionState::Idle, SessionState::Done);
        let refused = match kind {
            0 => self.session.handle_start(now).err().is_none().then_some("a second start was accepted"),
            1 if before.0 != SessionState::Asking && before.0 != done => {
                let called = self.session.handle_admission(now, Admission::Granted);
                called.err().is_none().then_some("an admission nobody asked for was accepted")
            }
            2 => (self.session.handle_chunk(now, stale, "stale") != Signal::Skip)
                .then_some("a stale chunk was kept"),
            3 if before.0 != idle => {
                let part = Part { text: "stale".into(), finish: Some("stop".into()), ..Part::default() };
                let signal = self.session.handle_part(now, stale, Duration::ZERO, part);
                (signal != Ok(Signal::Skip)).then_some("a stale part was kept")
            }
            4 => self
                .session
                .handle_ended(now, stale)
                .err()
                .filter(|_| before.0 != idle)
                .map(|_| "a stale end was refused"),
            5 => {
                let called = self.session.handle_failed(now, stale, Facts::default());
                called.err().filter(|_| before.0 != idle).map(|_| "a stale failure was refused")
            }
            6 => self
                .session
                .handle_opened(now, stale)
                .err()
                .filter(|_| before.0 != idle)
                .map(|_| "a stale opening was refused"),
            7 if before.1.is_some_and(|due| now < due) => {
                let waited = reading.map(|since| now.since(since));
                self.session.handle_timeout(now, waited).err().map(|_| "an early timeout was refused")
            }
            _ => None,
        };
        if let Some(refused) = refused {
            return Err(Breach(refused.to_owned()));
        }
        self.write(now);
        if let Some(output) = self.session.poll_output() {
            return Err(Breach(format!("noise of kind {kind} led to {output:?}")));
        }
        let after = (self.session.state(), self.session.poll_timeout(reading), self.session.text().len());
        if after == before {
            Ok(())
        } else {
            Err(Breach(format!("noise of kind {kind}: {before:?} became {after:?}")))
        }
    }

    fn quietly(&mut self, now: Instant, what: &str, called: Result<(), Misuse>) -> Effects {
        called.map_err(|misuse| Breach(format!("{what} refused: {misuse}")))?;
        self.write(now);
        self.drain()
    }

    fn write(&mut self, now: Instant) {
        let records = self.session.take_records();
        if let Some(recorder) = &mut self.recorder {
            recorder.write(now, records.iter().cloned(), None);
        }
        self.journal.extend(records);
    }

    fn drain(&mut self) -> Effects {
        let mut effects = Vec::new();
        while let Some(output) = self.session.poll_output() {
            self.outputs += 1;
            self.carry_out(output, &mut effects)?;
        }
        if self.session.state() == SessionState::Done && !self.kept.is_empty() {
            return Err(Breach(format!("{} chunks are kept after the end", self.kept.len())));
        }
        if !self.session.take_records().is_empty() {
            return Err(Breach("draining outputs made records".into()));
        }
        Ok(effects)
    }

    fn carry_out(&mut self, output: Output, effects: &mut Vec<Effect>) -> Result<(), Breach> {
        let mut take = |what: &str| {
            self.kept.pop_front().ok_or_else(|| Breach(format!("{what} of a chunk that is not kept")))
        };
        effects.push(match output {
            Output::Ask { target, purpose, force } => Effect::Ask { target, purpose, force },
            Output::Open { attempt, target, mode } => Effect::Open(self.opening(attempt, target, mode)?),
            Output::Check { attempt, check } => Effect::Check { attempt, check },
            Output::Wait { until } => Effect::Wait { until },
            Output::Cancel { attempt } => Effect::Close(attempt),
            Output::Release { chunks } => {
                for _ in 0..chunks {
                    let (attempt, chunk) = take("release")?;
                    effects.push(Effect::Give(Piece { attempt, chunk, cut: false }));
                }
                return Ok(());
            }
            Output::Mask { text, .. } => {
                let (attempt, mut chunk) = take("mask")?;
                chunk.part.text = text;
                Effect::Give(Piece { attempt, chunk, cut: true })
            }
            Output::Rewrite { text, calls, .. } => {
                let (attempt, mut chunk) = take("rewrite")?;
                rewrite(&mut chunk.part, text, calls);
                Effect::Give(Piece { attempt, chunk, cut: true })
            }
            Output::Cut { start, end } => {
                let (attempt, mut chunk) = take("cut")?;
                let all = chunk.part.text.chars().count();
                let (start, end) = (start as usize, end as usize);
                if start > end || end > all {
                    return Err(Breach(format!("cut {start}..{end} of a chunk of {all} characters")));
                }
                chunk.part.text = chunk.part.text.chars().take(end).skip(start).collect();
                Effect::Give(Piece { attempt, chunk, cut: true })
            }
            Output::Drop { chunks } => {
                for _ in 0..chunks {
                    take("drop")?;
                }
                return Ok(());
            }
            Output::Reset => Effect::Reset,
            Output::Report { target, outcome } => Effect::Report { target, outcome },
            Output::Event(event) => Effect::Tell(event),
            Output::Done => Effect::Done,
        });
        Ok(())
    }

    fn opening(&self, attempt: AttemptId, target: TargetId, mode: Mode) -> Result<Opening, Breach> {
        let opening = self.session.opening().ok_or_else(|| Breach("nothing to open".into()))?;
        if (opening.attempt, opening.target, opening.mode) != (attempt, target, mode) {
            return Err(Breach(format!("told to open {attempt:?}, which is not the live attempt")));
        }
        Ok(Opening {
            attempt,
            target,
            mode,
            prefix: opening.prefix.to_owned(),
            shown: opening.shown.to_owned(),
            anchor: opening.anchor.to_owned(),
            instruction: opening.instruction.into_owned(),
            time_left: opening.time_left,
        })
    }
}
