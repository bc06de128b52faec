//! One logical call: attempts go in, one clean stream comes out.
//!
//! # Contract
//!
//! - `handle_*` puts in what the world did. `now` is the driver's clock and never runs backwards here: an earlier
//!   moment counts as the latest one seen.
//! - After each of them, [`Session::poll_output`] is drained to `None` and its outputs are carried out in order, unless
//!   the answer was [`Signal::Pass`], [`Signal::Hold`] or [`Signal::Skip`], which leave nothing to drain.
//! - [`Session::poll_timeout`] says when [`Session::handle_timeout`] is due. An early, late or repeated one is inert.
//! - What carries the id of an attempt that is no longer live is inert, and so is everything after `Done`.
//! - Chunks answered with `Hold` or `Drain` are kept by the driver, first in, first out, until an output names them.

mod arriving;
mod checking;
mod ending;
mod guarding;
mod reading;
mod trying;

pub(crate) use guarding::Blame;
pub use guarding::check_inputs;

use core::time::Duration;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

pub use self::checking::Checking;
pub(crate) use self::checking::Question;
use self::checking::{Reask, asks_about_pieces};
use self::guarding::holds_back;
use self::reading::Readings;
use crate::attempt::Attempt;
use crate::fault::Facts;
use crate::fleet::Admission;
use crate::guards::{GuardSet, Mask};
use crate::instant::Instant;
use crate::jitter::Dice;
use crate::ladder::{Ladder, Try};
use crate::outcome::{Ending, Outcome};
use crate::plan::Plan;
use crate::policy::{CONTINUATION_PROMPT, PolicyError, REASK_PROMPT};
use crate::protocol::{
    AttemptId, Fault, Input, Misuse, Mode, Objection, Output, Part, Ruling, Signal, Splice, TargetId,
};
use crate::queue::Queue;
use crate::record::{Header, Record};
use crate::shown::Shown;
use crate::splice::anchor;
use crate::state::{Coverage, SessionState};
use crate::tools::ToolCall;
use crate::usage::{Usage, Waste};

/// Chunks without content that are kept back at the beginning of an answer, so that a plain retry stays possible.
const LEADING_BLANKS_MAX: usize = 64;
/// Faults a session remembers.
const FAULTS_MAX: usize = 1_024;

/// One logical call, one clean stream out.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "facts that arrive one by one and stay")]
pub struct Session {
    plan: Arc<Plan>,
    state: SessionState,
    coverage: Coverage,
    now: Instant,
    deadline: Instant,
    dice: Dice,
    ladder: Ladder,
    /// The attempt that is to be made, while its fleet or its time is waited for.
    next: Option<Try>,
    attempts: u32,
    live: Option<Attempt>,
    /// The live attempt, while plain text needs no second look.
    flowing: Option<AttemptId>,
    queue: Queue,
    shown: Shown,
    outputs: VecDeque<Output>,
    records: Vec<Record>,
    faults: Vec<Fault>,
    splices: Vec<Splice>,
    usage: Usage,
    waste: Waste,
    resets: u32,
    /// Whether any of what the consumer has came from another target than the first.
    degraded: bool,
    broke_in: BrokeIn,
    objections: Vec<Objection>,
    drifts: u32,
    /// A guard has ended the session, whatever is left to try.
    condemned: bool,
    /// Whether text is held back while a guard has not decided about it.
    holds_back: bool,
    /// Whether the caller's own guards are asked about each piece.
    asks: bool,
    /// What is replaced in text that is kept.
    masks: Vec<Mask>,
    /// Questions the caller's own guards were asked.
    questions: u32,
    /// How often each of them objected to answers of each target.
    dissents: Vec<(TargetId, u16, u32)>,
    /// What they said last that its target can put right.
    reask: Option<Reask>,
    /// Whether one of them reads tool calls, which are given to nobody before that.
    reads_calls: bool,
    /// What came of reading answers.
    readings: Readings,
    outcome: Option<Outcome>,
}

/// What the last attempt was in the middle of when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BrokeIn {
    Text,
    /// What was at fault had been shown.
    Shown,
    Call,
    Part,
}

/// What an attempt is to be begun with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening<'a> {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its target.
    pub target: TargetId,
    /// How it is begun.
    pub mode: Mode,
    /// The text to go on from, without the white space it ends with; empty unless the mode is prefill.
    pub prefix: &'a str,
    /// The text the consumer has been given.
    pub shown: &'a str,
    /// The words to repeat; empty unless the mode is prompt.
    pub anchor: &'a str,
    /// What to ask: to repeat the words and go on, or, in a fresh attempt, to put right what was wrong with the last
    /// answer; empty otherwise.
    pub instruction: Cow<'a, str>,
    /// The target's last answer, where the caller's own guards would not have it and said what is to be put right.
    pub rejected: &'a str,
    /// What is to be put right.
    pub errors: &'a [String],
    /// Tokens the consumer has been given, about: what a caller's own limit is lowered by.
    pub tokens_shown: u64,
    /// Time left for the whole session.
    pub time_left: Duration,
    /// Whether one clock runs from its beginning to the end of its answer: that it is open changes nothing.
    pub whole: bool,
}

impl Session {
    /// A session that has not begun.
    ///
    /// # Errors
    /// Names what of the plan cannot be carried out.
    pub fn new(plan: Arc<Plan>) -> Result<Self, PolicyError> {
        plan.validate()?;
        let mut session = Self {
            state: SessionState::Idle,
            coverage: Coverage::default(),
            now: Instant::default(),
            deadline: plan.deadline.unwrap_or(Instant(u64::MAX)),
            dice: Dice::new(plan.seed),
            ladder: Ladder::new(plan.targets.len()),
            next: None,
            attempts: 0,
            live: None,
            flowing: None,
            queue: Queue::default(),
            shown: Shown::default(),
            outputs: VecDeque::new(),
            records: Vec::new(),
            faults: Vec::new(),
            splices: Vec::new(),
            usage: Usage::default(),
            waste: Waste::default(),
            resets: 0,
            degraded: false,
            broke_in: BrokeIn::Text,
            objections: Vec::new(),
            drifts: 0,
            condemned: false,
            holds_back: holds_back(&plan.policy),
            asks: asks_about_pieces(&plan.policy),
            masks: Vec::new(),
            questions: 0,
            dissents: Vec::new(),
            reask: None,
            reads_calls: plan.policy.guard_set().is_some_and(GuardSet::reads_calls),
            readings: Readings::default(),
            outcome: None,
            plan,
        };
        if session.plan.recorded {
            session.records.push(Record::Start(Header::of(&session.plan)));
        }
        Ok(session)
    }

    /// Checks what the model would be given, before the session begins: an objection ends it as it begins.
    ///
    /// # Errors
    /// If it has begun already.
    pub fn handle_inputs(&mut self, now: Instant, texts: &[&str]) -> Result<(), Misuse> {
        let objections = check_inputs(&self.plan.policy, texts);
        self.apply(now, Input::Checked(objections)).map(|_| ())
    }

    /// Begins.
    ///
    /// # Errors
    /// If it has begun already.
    pub fn handle_start(&mut self, now: Instant) -> Result<(), Misuse> {
        self.apply(now, Input::Start).map(|_| ())
    }

    /// The fleet answered.
    ///
    /// # Errors
    /// If it was not asked.
    pub fn handle_admission(&mut self, now: Instant, admission: Admission) -> Result<(), Misuse> {
        self.apply(now, Input::Admitted(admission)).map(|_| ())
    }

    /// An attempt's response began.
    ///
    /// # Errors
    /// If the session has not begun.
    pub fn handle_opened(&mut self, now: Instant, attempt: AttemptId) -> Result<(), Misuse> {
        self.apply(now, Input::Opened(attempt)).map(|_| ())
    }

    /// A chunk of plain text arrived. This is the hot path.
    pub fn handle_chunk(&mut self, now: Instant, attempt: AttemptId, text: &str) -> Signal {
        self.now = self.now.max(now);
        if self.flowing == Some(attempt) && !text.is_empty() && self.now < self.deadline {
            if let Err(verdict) = self.clears(text) {
                return self.take_seen(attempt, text, &verdict);
            }
            if let Some(live) = &mut self.live {
                live.silent = Duration::ZERO;
                live.phase = crate::attempt::Phase::Text;
                live.bytes += text.len();
            }
            self.shown.push(text);
            if self.plan.recorded {
                self.records.push(Record::Chunk {
                    at: self.now,
                    attempt,
                    text: text.into(),
                    signal: Signal::Pass,
                });
            }
            return Signal::Pass;
        }
        let place = self.records.len();
        if self.plan.recorded {
            self.records.push(Record::Chunk {
                at: self.now,
                attempt,
                text: text.into(),
                signal: Signal::Skip,
            });
        }
        let signal = self.take_text(attempt, text);
        if let Some(Record::Chunk { signal: recorded, .. }) = self.records.get_mut(place) {
            *recorded = signal;
        }
        signal
    }

    /// A chunk arrived that is more, or less, than plain text; its read had been pending for `waited`.
    ///
    /// # Errors
    /// If the session has not begun.
    pub fn handle_part(
        &mut self,
        now: Instant,
        attempt: AttemptId,
        waited: Duration,
        part: Part,
    ) -> Result<Signal, Misuse> {
        let waited = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        self.apply(now, Input::Part { attempt, waited, part }).map(|signal| signal.unwrap_or(Signal::Skip))
    }

    /// An attempt's stream ended by itself.
    ///
    /// # Errors
    /// If the session has not begun.
    pub fn handle_ended(&mut self, now: Instant, attempt: AttemptId) -> Result<(), Misuse> {
        self.apply(now, Input::Ended(attempt)).map(|_| ())
    }

    /// An attempt failed.
    ///
    /// # Errors
    /// If the session has not begun.
    pub fn handle_failed(&mut self, now: Instant, attempt: AttemptId, facts: Facts) -> Result<(), Misuse> {
        self.apply(now, Input::Failed { attempt, facts }).map(|_| ())
    }

    /// The caller's own guards have answered question `check`.
    ///
    /// # Errors
    /// If the session has not begun.
    pub fn handle_judged(
        &mut self,
        now: Instant,
        attempt: AttemptId,
        check: u32,
        ruling: Ruling,
    ) -> Result<(), Misuse> {
        self.apply(now, Input::Judged { attempt, check, ruling }).map(|_| ())
    }

    /// Time has passed; `waited` is how long the pending read has been pending, if one is.
    ///
    /// # Errors
    /// If the session has not begun.
    pub fn handle_timeout(&mut self, now: Instant, waited: Option<Duration>) -> Result<(), Misuse> {
        if !self.is_due(now, waited) {
            return if self.state == SessionState::Idle { Err(Misuse::NotStarted) } else { Ok(()) };
        }
        let waited = waited.map(|waited| u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX));
        self.apply(now, Input::Timeout { waited }).map(|_| ())
    }

    /// The caller left.
    ///
    /// # Errors
    /// If the session has not begun.
    pub fn handle_cancel(&mut self, now: Instant) -> Result<(), Misuse> {
        self.apply(now, Input::Cancel).map(|_| ())
    }

    /// The process that ran the session died, and this one goes on with its records: what was in flight is lost, what
    /// was shown is not, and the time allowed begins anew. Chunks the dead process kept are gone, and not named again.
    ///
    /// # Errors
    /// If the session has not begun.
    pub fn handle_resume(&mut self, now: Instant) -> Result<(), Misuse> {
        self.apply(now, Input::Resume).map(|_| ())
    }

    /// Puts any input in: the one way, for drivers and for replay.
    ///
    /// # Errors
    /// If the session has begun already, has not begun, or asked nothing.
    pub fn apply(&mut self, now: Instant, input: Input) -> Result<Option<Signal>, Misuse> {
        match (&input, self.state) {
            (Input::Start | Input::Checked(_), SessionState::Idle)
            | (Input::Admitted(_), SessionState::Asking) => {}
            (Input::Start | Input::Checked(_), _) => return Err(Misuse::StartedTwice),
            (_, SessionState::Idle) => return Err(Misuse::NotStarted),
            (_, SessionState::Done) => return Ok(None),
            (Input::Admitted(_), _) => return Err(Misuse::NotAsked),
            _ => {}
        }
        self.now = self.now.max(now);
        let place = self.records.len();
        if self.plan.recorded {
            self.records.push(Record::Input { at: self.now, input: input.clone(), signal: None });
        }
        let mut signal = None;
        match input {
            Input::Start => self.start(),
            Input::Checked(objections) => self.checked(objections),
            Input::Admitted(admission) => self.admitted(admission),
            Input::Opened(attempt) => self.opened(attempt),
            Input::Part { attempt, waited, part } => {
                signal = Some(self.take_part(attempt, Duration::from_nanos(waited), &part));
            }
            Input::Ended(attempt) => self.ended(attempt),
            Input::Failed { attempt, facts } => self.failed(attempt, facts),
            Input::Judged { attempt, check, ruling } => self.judged(attempt, check, ruling),
            Input::Timeout { waited } => self.timed_out(waited.map(Duration::from_nanos)),
            Input::Cancel => self.finish(Ending::Cancelled),
            Input::Resume => self.resume(),
        }
        if signal.is_some()
            && let Some(Record::Input { signal: recorded, .. }) = self.records.get_mut(place)
        {
            *recorded = signal;
        }
        Ok(signal)
    }

    /// The next thing to do. Drained to `None` after every input.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The records since they were last taken.
    #[must_use]
    pub fn take_records(&mut self) -> Vec<Record> {
        core::mem::take(&mut self.records)
    }

    /// The records since they were last taken, one by one: for who takes them after every chunk.
    pub fn drain_records(&mut self) -> impl Iterator<Item = Record> {
        self.records.drain(..)
    }

    /// Gives back records that were taken and are still to be written.
    pub fn put_back(&mut self, records: impl Iterator<Item = Record>) {
        let taken = core::mem::take(&mut self.records);
        self.records = records.chain(taken).collect();
    }

    /// The next moment at which time itself is an input. `reading` is when the pending read began, if one is pending:
    /// the clocks of content run only then.
    #[must_use]
    pub fn poll_timeout(&self, reading: Option<Instant>) -> Option<Instant> {
        let next = match self.state {
            SessionState::Idle | SessionState::Done => return None,
            SessionState::Asking => None,
            SessionState::Waiting => self.next.as_ref().map(|next| next.at),
            SessionState::Opening | SessionState::Reading => self.live.as_ref().and_then(|live| {
                if live.question.is_some() {
                    return None;
                }
                let (wait, from_begin) = self.clock(live);
                let began = if from_begin { Some(live.began) } else { reading };
                began.map(|began| began.after(wait))
            }),
        };
        Some(next.map_or(self.deadline, |next| next.min(self.deadline)))
    }

    /// What to begin the attempt that was asked for with.
    #[must_use]
    pub fn opening(&self) -> Option<Opening<'_>> {
        let live = self.live.as_ref()?;
        let shown = self.shown.text();
        let prefix = if live.mode == Mode::Prefill { shown.trim_end() } else { "" };
        let words = if live.mode == Mode::Prompt { anchor(shown).unwrap_or("") } else { "" };
        let reask = self.reask_of(live).filter(|_| live.mode == Mode::Fresh);
        let instruction = if live.mode == Mode::Prompt {
            let prompt = self.plan.policy.continuation.prompt.as_deref().unwrap_or(CONTINUATION_PROMPT);
            Cow::Owned(prompt.replace("{anchor}", words))
        } else if let Some(reask) = reask {
            Cow::Owned(REASK_PROMPT.replace("{errors}", &reask.errors.join("\n")))
        } else {
            Cow::Borrowed("")
        };
        let continues = matches!(live.mode, Mode::Native | Mode::Prefill | Mode::Prompt);
        let tokens_shown = if continues { shown.chars().count() as u64 / 4 } else { 0 };
        Some(Opening {
            attempt: live.id,
            target: live.target,
            mode: live.mode,
            prefix,
            shown,
            anchor: words,
            instruction,
            rejected: reask.map_or("", |reask| &reask.answer),
            errors: reask.map_or(&[], |reask| &reask.errors),
            tokens_shown,
            time_left: self.deadline.since(self.now),
            whole: self.is_whole(live),
        })
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> SessionState {
        self.state
    }

    /// The text the consumer has been given.
    #[must_use]
    pub fn text(&self) -> &str {
        self.shown.text()
    }

    /// The tool calls the consumer has been given.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.shown.tool_calls()
    }

    /// How it ended, once it has.
    #[must_use]
    pub const fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// What went wrong so far.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The plan it carries out.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The moment it must have ended.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The rows of the transition tables it has taken.
    #[must_use]
    pub const fn coverage(&self) -> Coverage {
        self.coverage
    }
}
