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

use core::time::Duration;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::attempt::Attempt;
use crate::fault::{Facts, FaultClass};
use crate::fleet::{Admission, AttemptOutcome};
use crate::instant::Instant;
use crate::jitter::Dice;
use crate::ladder::{Ladder, Limit, Move, Position, Setback, Try};
use crate::outcome::{Ending, Finish, Outcome};
use crate::plan::Plan;
use crate::policy::{CONTINUATION_PROMPT, Delivery, PolicyError, Rung};
use crate::protocol::{
    AttemptId, Event, Fault, Input, Misuse, Mode, Output, Part, Signal, Splice, TargetId,
};
use crate::queue::{Item, Queue};
use crate::record::{Header, Record};
use crate::shown::{Marked, Shown};
use crate::splice::{Look, Method, Misfit, Seam, anchor};
use crate::state::{AttemptState, AttemptStep, Coverage, SessionState, SessionStep};
use crate::target::Target;
use crate::tools::ToolCall;
use crate::usage::{Usage, Waste};

/// Chunks without content that are kept back at the beginning of an answer, so that a plain retry stays possible.
const LEADING_BLANKS_MAX: usize = 64;
/// Faults a session remembers.
const FAULTS_MAX: usize = 1_024;

/// One logical call, one clean stream out.
#[derive(Debug, Clone)]
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
    broke_in: BrokeIn,
    outcome: Option<Outcome>,
}

/// What the last attempt was in the middle of when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BrokeIn {
    Text,
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
    /// What to ask; empty unless the mode is prompt.
    pub instruction: Cow<'a, str>,
    /// Tokens the consumer has been given, about: what a caller's own limit is lowered by.
    pub tokens_shown: u64,
    /// Time left for the whole session.
    pub time_left: Duration,
}

/// Why a look at what arrived ends the attempt.
struct Broken {
    class: FaultClass,
    code: &'static str,
    misfit: bool,
}

impl Broken {
    const fn of(class: FaultClass, code: &'static str) -> Self {
        Self {
            class,
            code,
            misfit: false,
        }
    }

    const fn seam(misfit: Misfit) -> Self {
        let code = match misfit {
            Misfit::AnchorMissing => "anchor_missing",
            Misfit::Diverged => "diverged",
            Misfit::TooShort => "too_short",
        };
        Self {
            class: FaultClass::Content,
            code,
            misfit: true,
        }
    }
}

/// How an attempt's failure came about, beside its facts.
struct Failure {
    class: FaultClass,
    code: Option<String>,
    facts: Facts,
    misfit: bool,
    origin: Origin,
}

/// What ended an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Its stream, which ended short of its answer's end.
    Stream,
    /// Its stream, with an exception that the driver holds.
    Exception,
    /// The engine. The stream is still there and must be closed.
    Engine,
    /// The death of the process that ran it.
    Death,
}

impl Failure {
    fn seen(broken: &Broken, origin: Origin) -> Self {
        let Broken {
            class,
            code,
            misfit,
        } = *broken;
        Self {
            class,
            code: Some(code.to_owned()),
            facts: Facts::default(),
            misfit,
            origin,
        }
    }
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
            broke_in: BrokeIn::Text,
            outcome: None,
            plan,
        };
        if session.plan.recorded {
            session
                .records
                .push(Record::Start(Header::of(&session.plan)));
        }
        Ok(session)
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
        if self.flowing == Some(attempt) && !text.is_empty() {
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
        if let Some(Record::Chunk {
            signal: recorded, ..
        }) = self.records.get_mut(place)
        {
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
        self.apply(
            now,
            Input::Part {
                attempt,
                waited,
                part,
            },
        )
        .map(|signal| signal.unwrap_or(Signal::Skip))
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
    pub fn handle_failed(
        &mut self,
        now: Instant,
        attempt: AttemptId,
        facts: Facts,
    ) -> Result<(), Misuse> {
        self.apply(now, Input::Failed { attempt, facts })
            .map(|_| ())
    }

    /// Time has passed; `waited` is how long the pending read has been pending, if one is.
    ///
    /// # Errors
    /// If the session has not begun.
    pub fn handle_timeout(&mut self, now: Instant, waited: Option<Duration>) -> Result<(), Misuse> {
        if !self.is_due(now, waited) {
            return if self.state == SessionState::Idle {
                Err(Misuse::NotStarted)
            } else {
                Ok(())
            };
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
    /// was shown is not, and the time allowed begins anew.
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
            (Input::Start, SessionState::Idle) | (Input::Admitted(_), SessionState::Asking) => {}
            (Input::Start, _) => return Err(Misuse::StartedTwice),
            (_, SessionState::Idle) => return Err(Misuse::NotStarted),
            (_, SessionState::Done) => return Ok(None),
            (Input::Admitted(_), _) => return Err(Misuse::NotAsked),
            _ => {}
        }
        self.now = self.now.max(now);
        let place = self.records.len();
        if self.plan.recorded {
            self.records.push(Record::Input {
                at: self.now,
                input: input.clone(),
                signal: None,
            });
        }
        let mut signal = None;
        match input {
            Input::Start => self.start(),
            Input::Admitted(admission) => self.admitted(admission),
            Input::Opened(attempt) => self.opened(attempt),
            Input::Part {
                attempt,
                waited,
                part,
            } => {
                signal = Some(self.take_part(attempt, Duration::from_nanos(waited), &part));
            }
            Input::Ended(attempt) => self.ended(attempt),
            Input::Failed { attempt, facts } => self.failed(attempt, facts),
            Input::Timeout { waited } => self.timed_out(waited.map(Duration::from_nanos)),
            Input::Cancel => self.finish(Ending::Cancelled),
            Input::Resume => self.resume(),
        }
        if signal.is_some()
            && let Some(Record::Input {
                signal: recorded, ..
            }) = self.records.get_mut(place)
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

    /// The next moment at which time itself is an input. `reading` is when the pending read began, if one is pending:
    /// the clocks of content run only then.
    #[must_use]
    pub fn poll_timeout(&self, reading: Option<Instant>) -> Option<Instant> {
        let next = match self.state {
            SessionState::Idle | SessionState::Done => return None,
            SessionState::Asking => None,
            SessionState::Waiting => self.next.as_ref().map(|next| next.at),
            SessionState::Opening | SessionState::Reading => self.live.as_ref().and_then(|live| {
                let (wait, from_begin) = self.clock(live);
                let began = if from_begin {
                    Some(live.began)
                } else {
                    reading
                };
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
        let prefix = if live.mode == Mode::Prefill {
            shown.trim_end()
        } else {
            ""
        };
        let words = if live.mode == Mode::Prompt {
            anchor(shown).unwrap_or("")
        } else {
            ""
        };
        let instruction = if live.mode == Mode::Prompt {
            let prompt = self
                .plan
                .policy
                .continuation
                .prompt
                .as_deref()
                .unwrap_or(CONTINUATION_PROMPT);
            Cow::Owned(prompt.replace("{anchor}", words))
        } else {
            Cow::Borrowed("")
        };
        let continues = matches!(live.mode, Mode::Native | Mode::Prefill | Mode::Prompt);
        let tokens_shown = if continues {
            shown.chars().count() as u64 / 4
        } else {
            0
        };
        Some(Opening {
            attempt: live.id,
            target: live.target,
            mode: live.mode,
            prefix,
            shown,
            anchor: words,
            instruction,
            tokens_shown,
            time_left: self.deadline.since(self.now),
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

/// The beginning, and what is tried next.
impl Session {
    fn start(&mut self) {
        let total = self.now.after(self.plan.policy.timeouts.total);
        self.deadline = self.deadline.min(total);
        if self.deadline <= self.now {
            self.finish(Ending::Deadline);
            return;
        }
        let position = self.position();
        let next = self.ladder.first(
            &position,
            &self.plan.targets,
            &self.plan.policy,
            self.limit(),
        );
        self.go(next, None);
    }

    fn limit(&self) -> Limit {
        Limit {
            now: self.now,
            deadline: self.deadline,
        }
    }

    /// Does what the ladder says. `from` is the target that failed, if one did.
    fn go(&mut self, next: Move, from: Option<TargetId>) {
        let Move::Try(tried) = next else {
            let ending = self.why_stop();
            self.finish(ending);
            return;
        };
        if let Some(from) = from {
            let event = if tried.target == from {
                let wait = u64::try_from(tried.at.since(self.now).as_nanos()).unwrap_or(u64::MAX);
                Event::Retry {
                    target: from,
                    mode: tried.mode,
                    wait,
                }
            } else {
                Event::Fallback {
                    from,
                    to: tried.target,
                }
            };
            self.put(Output::Event(event));
        }
        self.next = Some(tried);
        self.step(SessionStep::Ask);
        self.put(Output::Ask {
            target: tried.target,
            purpose: tried.purpose,
            force: tried.force,
        });
    }

    fn admitted(&mut self, admission: Admission) {
        let Some(next) = self.next else { return };
        let (plan, limit) = (Arc::clone(&self.plan), self.limit());
        let (targets, policy) = (&plan.targets, &plan.policy);
        match admission {
            Admission::Granted if next.at > self.now => {
                self.step(SessionStep::Wait);
                self.put(Output::Wait { until: next.at });
            }
            Admission::Granted => self.open(next),
            Admission::OverBudget => {
                self.note_limited(next.target, "retry_budget");
                let position = self.position();
                let after = self
                    .ladder
                    .over_budget(next.target, &position, targets, policy, limit);
                self.go(after, Some(next.target));
            }
            Admission::BreakerOpen { reopens_in } => {
                self.note_limited(next.target, "breaker_open");
                let until = self.now.after(Duration::from_nanos(reopens_in));
                let position = self.position();
                let after =
                    self.ladder
                        .breaker_open(next.target, until, &position, targets, policy, limit);
                self.go(after, Some(next.target));
            }
        }
    }

    fn note_limited(&mut self, target: TargetId, code: &str) {
        self.note_fault(Fault {
            attempt: None,
            target,
            class: FaultClass::Limited,
            code: Some(code.to_owned()),
            status: None,
            request_id: None,
            raised: false,
            at: self.now,
        });
    }

    fn note_fault(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault.clone());
        }
        self.put(Output::Event(Event::Fault(fault)));
    }

    fn open(&mut self, tried: Try) {
        self.next = None;
        if tried.reset {
            self.waste.bytes += self.shown.text().len() as u64;
            self.shown.clear();
            self.splices.clear();
            self.resets += 1;
            self.put(Output::Reset);
        }
        let rules = &self.plan.policy.continuation;
        let shown = self.shown.text();
        let seam = match tried.mode {
            Mode::Fresh => None,
            Mode::Native => Some(Seam::native()),
            Mode::Prefill => Some(Seam::prefill(shown, rules)),
            Mode::Prompt => Some(Seam::prompt(shown, anchor(shown).unwrap_or(""), rules)),
            Mode::Rerun => Some(Seam::rerun()),
        };
        let id = AttemptId(self.attempts);
        self.attempts += 1;
        self.ladder.opened(&tried);
        let mut live = Attempt::new(id, tried.target, tried.mode, tried.purpose, seam, self.now);
        if tried.mode == Mode::Rerun {
            live.marks_to_repeat = self.shown.marks().len();
        }
        self.live = Some(live);
        self.step(SessionStep::Open);
        self.put(Output::Open {
            attempt: id,
            target: tried.target,
            mode: tried.mode,
        });
    }

    fn opened(&mut self, attempt: AttemptId) {
        let Some(live) = &mut self.live else { return };
        if live.id == attempt && live.state == AttemptState::Opening {
            live.state = live
                .state
                .take(AttemptStep::Read, &mut self.coverage)
                .unwrap_or(live.state);
            live.began = if self.plan.streamed {
                self.now
            } else {
                live.began
            };
            self.step(SessionStep::Read);
        }
    }

    /// What the place where the answer broke off allows.
    fn position(&self) -> Position {
        let shown = self.shown.text();
        let mut rungs: SmallVec<[Rung; 5]> = self
            .plan
            .policy
            .continuation
            .rungs
            .iter()
            .copied()
            .collect();
        if self.broke_in == BrokeIn::Part
            || !self.shown.marks().is_empty()
            || self.shown.is_json_document()
        {
            rungs.retain(|rung| matches!(rung, Rung::Native | Rung::Rerun | Rung::Reset));
        } else if self.broke_in == BrokeIn::Call
            && let Some(place) = rungs.iter().position(|rung| *rung == Rung::Rerun)
        {
            // The call itself was not shown. Starting over is the surest way to it, but not the only one.
            let rerun = rungs.remove(place);
            rungs.insert(0, rerun);
        }
        let trimmed = shown.trim();
        let restart = self.plan.policy.continuation.restart_chars as usize;
        Position {
            shown: !self.shown.is_empty(),
            rungs,
            restart_is_recognised: trimmed.chars().nth(restart - 1).is_some(),
            has_prefix: !trimmed.is_empty(),
            has_anchor: anchor(shown).is_some(),
        }
    }

    fn resume(&mut self) {
        // The clock of the dead process is gone, and with it what was left of its time.
        self.deadline = self.now.after(self.plan.policy.timeouts.total);
        match self.state {
            SessionState::Asking => {
                if let Some(next) = self.next {
                    self.put(Output::Ask {
                        target: next.target,
                        purpose: next.purpose,
                        force: next.force,
                    });
                }
            }
            SessionState::Waiting => {
                if let Some(next) = self.next {
                    self.put(Output::Wait { until: next.at });
                }
            }
            SessionState::Opening | SessionState::Reading => {
                let failure = Failure {
                    class: FaultClass::Network,
                    code: Some("process_died".to_owned()),
                    facts: Facts::default(),
                    misfit: false,
                    origin: Origin::Death,
                };
                self.fail(failure);
            }
            SessionState::Idle | SessionState::Done => {}
        }
    }
}

/// What arrives.
impl Session {
    fn is_live(&self, attempt: AttemptId) -> bool {
        self.live.as_ref().is_some_and(|live| live.id == attempt)
    }

    fn take_text(&mut self, attempt: AttemptId, text: &str) -> Signal {
        if !self.is_live(attempt) {
            return Signal::Skip;
        }
        self.opened(attempt);
        let Some(live) = &mut self.live else {
            return Signal::Skip;
        };
        if !text.is_empty() {
            live.silent = Duration::ZERO;
            live.phase = crate::attempt::Phase::Text;
            live.has_content |= !text.trim().is_empty();
        }
        let item = Item::of_text(live.bytes, text);
        live.bytes += text.len();
        self.take_item(item, text)
    }

    fn take_part(&mut self, attempt: AttemptId, waited: Duration, part: &Part) -> Signal {
        if !self.is_live(attempt) {
            return Signal::Skip;
        }
        self.opened(attempt);
        let Some(live) = &mut self.live else {
            return Signal::Skip;
        };
        if !live.note(part, waited) {
            return self.break_off(&Broken::of(FaultClass::Network, "sequence_gap"));
        }
        for fragment in &part.tools {
            if live.tools.feed(fragment).is_err() {
                return self.break_off(&Broken::of(FaultClass::Content, "tool_args"));
            }
        }
        if live.said_it_ended() {
            live.tools.finish();
        }
        if live.finish == Some(Finish::Error) {
            return self.break_off(&Broken::of(FaultClass::Overload, "finish_error"));
        }
        let item = Item::of_part(live.bytes, part);
        live.bytes += part.text.len();
        self.take_item(item, &part.text)
    }

    /// The chunk that arrives now ends its attempt, and is not the consumer's to see.
    fn break_off(&mut self, broken: &Broken) -> Signal {
        self.fail(Failure::seen(broken, Origin::Engine));
        Signal::Skip
    }

    fn take_item(&mut self, item: Item, text: &str) -> Signal {
        if self.passes(&item) {
            self.give(&item, text);
            self.reflow();
            return Signal::Pass;
        }
        self.queue.push(item, text);
        if let Err(broken) = self.settle() {
            return self.break_off(&broken);
        }
        self.release();
        self.reflow();
        if self.outputs.is_empty() {
            Signal::Hold
        } else {
            Signal::Drain
        }
    }

    /// Whether an item can go to the consumer as it comes.
    fn passes(&self, item: &Item) -> bool {
        let Some(live) = &self.live else { return false };
        self.queue.is_empty()
            && live.seam.is_none()
            && !live.is_behind()
            && self.delivers_at_once()
            && (live.has_content || item.reasoning)
            && is_settled(live, item)
    }

    fn delivers_at_once(&self) -> bool {
        self.plan.streamed && self.plan.policy.delivery != Delivery::Whole
    }

    /// Sees whether plain text needs a second look from now on.
    fn reflow(&mut self) {
        let flows = |live: &&Attempt| {
            live.state == AttemptState::Reading
                && live.seam.is_none()
                && live.has_content
                && self.queue.is_empty()
                && self.delivers_at_once()
                && !live.is_behind()
        };
        self.flowing = self.live.as_ref().filter(flows).map(|live| live.id);
    }

    /// Moves kept chunks forward that are complete, and holds them against what the consumer has.
    fn settle(&mut self) -> Result<(), Broken> {
        while self.queue.settled < self.queue.len() {
            let place = self.queue.settled;
            let (Some(live), Some(item)) = (&self.live, self.queue.item(place)) else {
                return Ok(());
            };
            if !is_settled(live, item) {
                return Ok(());
            }
            self.match_text(place)?;
            self.match_marks(place)?;
            self.queue.settled = place + 1;
        }
        Ok(())
    }

    fn match_text(&mut self, place: usize) -> Result<(), Broken> {
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        let text = self.queue.text_of(place);
        if text.is_empty() {
            return Ok(());
        }
        let mut new = text;
        if let Some(seam) = &mut live.seam {
            match seam.feed(self.shown.text(), text) {
                Look::Undecided => return Ok(()),
                Look::Failed(misfit) => return Err(Broken::seam(misfit)),
                Look::Repeats => {
                    if let Some(item) = self.queue.item_mut(place) {
                        item.skip = item.bytes;
                        item.repeated = item.bare;
                    }
                    return Ok(());
                }
                Look::Joined { cut, method } => {
                    self.join(cut, method);
                    let skip = self.queue.item(place).map_or(0, |item| item.skip);
                    new = self.queue.text_of(place).get(skip..).unwrap_or("");
                }
            }
        }
        let behind = self.live.as_ref().is_some_and(Attempt::is_behind);
        // What was shown went on with a call or a part here, and this answer goes on with text.
        if behind && !new.trim().is_empty() {
            Err(Broken::seam(Misfit::Diverged))
        } else {
            Ok(())
        }
    }

    fn match_marks(&mut self, place: usize) -> Result<(), Broken> {
        let (Some(item), Some(live)) = (self.queue.item(place), &mut self.live) else {
            return Ok(());
        };
        if item.calls.is_empty() && item.opaque.is_none() {
            return Ok(());
        }
        let (mut old, mut new) = (false, false);
        for &call in &item.calls {
            let known = live
                .judged_calls
                .iter()
                .find(|judged| judged.0 == call)
                .map(|judged| judged.1);
            let repeats = match (known, live.tools.get(call).cloned()) {
                (Some(repeats), _) => repeats,
                (None, Some(made)) => repeats_mark(live, &self.shown, &Marked::Call(made))?,
                (None, None) => false,
            };
            if known.is_none() {
                live.judged_calls.push((call, repeats));
            }
            old |= repeats;
            new |= !repeats;
        }
        if let Some(part) = item.opaque {
            let repeats = repeats_mark(live, &self.shown, &Marked::Opaque(part))?;
            old |= repeats;
            new |= !repeats;
        }
        if old && new {
            // One chunk holds what the consumer has and what it has not: it cannot be given in part.
            return Err(Broken::seam(Misfit::Diverged));
        }
        if new {
            return self.close_seam();
        }
        if let Some(item) = self.queue.item_mut(place) {
            item.repeated = true;
        }
        Ok(())
    }

    /// The answer goes on with something other than text, or ends: its beginning must be joined by now.
    fn close_seam(&mut self) -> Result<(), Broken> {
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        let Some(seam) = &mut live.seam else {
            return Ok(());
        };
        match seam.finish(self.shown.text()) {
            Look::Joined { cut, method } => {
                self.join(cut, method);
                Ok(())
            }
            Look::Failed(misfit) => Err(Broken::seam(misfit)),
            Look::Undecided | Look::Repeats => Err(Broken::seam(Misfit::TooShort)),
        }
    }

    fn join(&mut self, cut: usize, method: Method) {
        let Some(live) = &mut self.live else { return };
        live.seam = None;
        self.queue.cut(cut);
        let splice = Splice {
            attempt: live.id,
            mode: live.mode,
            method,
            at: self.shown.text().len() as u64,
            dropped: cut as u64,
        };
        self.splices.push(splice.clone());
        self.put(Output::Event(Event::Splice(splice)));
    }

    /// Gives the consumer what is settled, if it may have it yet.
    fn release(&mut self) {
        let Some(live) = &self.live else { return };
        let served = live.state == AttemptState::Served;
        let settled = self.queue.settled;
        let reasons = live.reasoning_shown
            || (0..settled).any(|at| self.queue.item(at).is_some_and(|item| item.reasoning));
        let blank = !live.has_content && !reasons && self.queue.len() < LEADING_BLANKS_MAX;
        let may_give = served || (!blank && live.seam.is_none() && self.delivers_at_once());
        while self.queue.settled > 0 {
            if !may_give && !self.queue.item(0).is_some_and(|item| item.repeated) {
                return;
            }
            let Some((item, text, output)) = self.queue.pop() else {
                return;
            };
            self.waste.bytes += item.skip as u64;
            if !item.repeated {
                self.give(&item, text.get(item.skip..).unwrap_or(""));
            }
            self.put(output);
        }
    }

    /// The consumer has it now.
    fn give(&mut self, item: &Item, text: &str) {
        if !text.is_empty() {
            self.shown.push(text);
        }
        let Some(live) = &mut self.live else { return };
        live.reasoning_shown |= item.reasoning;
        if let Some(opaque) = item.opaque {
            self.shown.mark(Marked::Opaque(opaque));
        }
        let mut released: SmallVec<[Event; 2]> = SmallVec::new();
        for &call in &item.calls {
            if live.released_calls.contains(&call) {
                continue;
            }
            live.released_calls.push(call);
            if let Some(call) = live.tools.get(call).cloned() {
                let number = u32::try_from(self.shown.tool_calls().count()).unwrap_or(u32::MAX);
                self.shown.mark(Marked::Call(call));
                released.push(Event::ToolCall { number });
            }
        }
        for event in released {
            self.put(Output::Event(event));
        }
    }
}

/// Whether everything in a kept chunk has come to its end.
fn is_settled(live: &Attempt, item: &Item) -> bool {
    item.calls.iter().all(|&call| live.tools.is_complete(call))
        && (!live.opaque_open || !item.opaque.is_some_and(|opaque| opaque.open))
}

/// Whether a call or a part is the next one the consumer has, in the same place.
fn repeats_mark(live: &mut Attempt, shown: &Shown, what: &Marked) -> Result<bool, Broken> {
    if !live.is_behind() {
        return Ok(false);
    }
    let Some(mark) = shown.marks().get(live.repeated_marks) else {
        return Ok(false);
    };
    let same = match (&mark.what, what) {
        (Marked::Call(given), Marked::Call(call)) => given.asks_the_same(call),
        (Marked::Opaque(given), Marked::Opaque(part)) => given.digest == part.digest,
        _ => false,
    };
    let text = shown.text();
    let leading = text.len() - text.trim_start().len();
    let here = live
        .seam
        .as_ref()
        .and_then(Seam::covered)
        .map_or(text.len(), |covered| covered + leading);
    let between = text
        .get(mark.at.min(here)..mark.at.max(here))
        .unwrap_or("x");
    if !same || !between.trim().is_empty() {
        return Err(Broken::seam(Misfit::Diverged));
    }
    live.repeated_marks += 1;
    Ok(true)
}

/// How attempts and the session end.
impl Session {
    fn ended(&mut self, attempt: AttemptId) {
        if self.is_live(attempt) {
            self.opened(attempt);
            self.conclude(false);
        }
    }

    fn failed(&mut self, attempt: AttemptId, facts: Facts) {
        let Some(live) = self.live.as_ref().filter(|live| live.id == attempt) else {
            return;
        };
        if live.said_it_ended() {
            // Whatever happens to a stream after it said that it has finished is of no consequence.
            self.conclude(false);
            return;
        }
        let class = facts.classify();
        let code = facts.code.clone().or_else(|| facts.kind.clone());
        self.fail(Failure {
            class,
            code,
            facts,
            misfit: false,
            origin: Origin::Exception,
        });
    }

    fn timed_out(&mut self, waited: Option<Duration>) {
        if !self.is_due(self.now, waited) {
            return;
        }
        let ended = self.live.as_ref().is_some_and(Attempt::said_it_ended);
        if ended {
            self.conclude(true);
        } else if self.now >= self.deadline {
            self.finish(Ending::Deadline);
        } else if let Some(next) = self.next.filter(|_| self.state == SessionState::Waiting) {
            self.open(next);
        } else if let Some(live) = &self.live {
            let whole = self.is_whole(live);
            let code = match (live.state, live.phase) {
                _ if whole => "call",
                (AttemptState::Opening, _) => "open",
                (_, crate::attempt::Phase::First) => "first",
                (_, crate::attempt::Phase::Text) => "text",
                (_, crate::attempt::Phase::Reasoning) => "reasoning",
                (_, crate::attempt::Phase::ToolArgs) => "tool_args",
            };
            self.fail(Failure::seen(
                &Broken::of(FaultClass::Stall, code),
                Origin::Engine,
            ));
        }
    }

    fn is_due(&self, now: Instant, waited: Option<Duration>) -> bool {
        let now = self.now.max(now);
        match self.state {
            SessionState::Idle | SessionState::Done => return false,
            _ if now >= self.deadline => return true,
            SessionState::Asking => return false,
            SessionState::Waiting => return self.next.is_some_and(|next| now >= next.at),
            SessionState::Opening | SessionState::Reading => {}
        }
        self.live.as_ref().is_some_and(|live| {
            let (wait, from_begin) = self.clock(live);
            let passed = if from_begin {
                Some(now.since(live.began))
            } else {
                waited
            };
            passed.is_some_and(|passed| passed >= wait)
        })
    }

    fn target(&self, target: TargetId) -> Option<&Target> {
        self.plan.targets.get(target.0 as usize)
    }

    fn is_whole(&self, live: &Attempt) -> bool {
        !self.plan.streamed || self.target(live.target).is_some_and(|target| target.whole)
    }

    /// How long the live attempt may still take, and whether that counts from its beginning or from the pending read's.
    fn clock(&self, live: &Attempt) -> (Duration, bool) {
        let clocks = &self.plan.policy.timeouts;
        if self.is_whole(live) && !live.said_it_ended() {
            return (clocks.call, true);
        }
        if live.state == AttemptState::Opening {
            return (clocks.open, true);
        }
        let patience = self
            .target(live.target)
            .map_or(clocks.text, |target| live.patience(target, clocks));
        (patience.saturating_sub(live.silent), false)
    }

    /// The live attempt's answer has come to its end; `running` if its stream has not.
    fn conclude(&mut self, running: bool) {
        if let Err(broken) = self.check_answer() {
            self.fail(Failure::seen(
                &broken,
                if running {
                    Origin::Engine
                } else {
                    Origin::Stream
                },
            ));
            return;
        }
        let Some(live) = &mut self.live else { return };
        live.state = live
            .state
            .take(AttemptStep::Serve, &mut self.coverage)
            .unwrap_or(live.state);
        let (attempt, target, purpose) = (live.id, live.target, live.purpose);
        self.release();
        if running {
            self.put(Output::Cancel { attempt });
        }
        self.put(Output::Report {
            target,
            outcome: AttemptOutcome::Success { purpose },
        });
        self.finish(Ending::Complete);
    }

    fn check_answer(&mut self) -> Result<(), Broken> {
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        live.tools.finish();
        match live.finish {
            Some(Finish::ContentFilter) => {
                return Err(Broken::of(FaultClass::Refused, "content_filter"));
            }
            Some(Finish::Refusal) => return Err(Broken::of(FaultClass::Refused, "refusal")),
            _ => {}
        }
        let terminal = self
            .plan
            .targets
            .get(live.target.0 as usize)
            .map(|target| target.terminal)
            .unwrap_or_default();
        if live.lacks_terminal(terminal) {
            return Err(Broken::of(FaultClass::Network, "terminal_missing"));
        }
        if live.opaque_open {
            return Err(Broken::of(FaultClass::Network, "part_cut"));
        }
        if live.tools.any_open() {
            return Err(Broken::of(FaultClass::Content, "tool_args"));
        }
        self.settle()?;
        self.close_seam()?;
        let Some(live) = &self.live else {
            return Ok(());
        };
        if live.is_behind() {
            return Err(Broken::seam(Misfit::TooShort));
        }
        let continues = live.mode != Mode::Fresh && !self.shown.is_empty();
        if !live.has_content && !continues && live.finish != Some(Finish::Length) {
            return Err(Broken::of(FaultClass::Empty, "no_content"));
        }
        Ok(())
    }

    /// The live attempt has failed.
    fn fail(&mut self, failure: Failure) {
        let Some(mut live) = self.live.take() else {
            return;
        };
        let Failure {
            class,
            code,
            facts,
            misfit,
            origin,
        } = failure;
        self.flowing = None;
        live.state = live
            .state
            .take(AttemptStep::Fail, &mut self.coverage)
            .unwrap_or(live.state);
        if origin == Origin::Engine {
            self.put(Output::Cancel { attempt: live.id });
        }
        self.forget(&live, true);
        let retry_after = facts.retry_after();
        let throttled = class == FaultClass::Overload
            && facts
                .status
                .is_none_or(|status| status == 429 || status == 529);
        if origin == Origin::Death {
            self.ladder.forgive();
        } else {
            let retry_after =
                retry_after.map(|wait| u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
            let outcome = AttemptOutcome::Failure {
                class,
                throttled,
                retry_after,
            };
            self.put(Output::Report {
                target: live.target,
                outcome,
            });
        }
        if live.reasoning_shown {
            self.put(Output::Event(Event::ReasoningAbandoned {
                attempt: live.id,
            }));
        }
        let context_length = facts.is_context_length();
        self.note_fault(Fault {
            attempt: Some(live.id),
            target: live.target,
            class,
            code,
            status: facts.status,
            request_id: facts.request_id,
            raised: origin == Origin::Exception,
            at: self.now,
        });
        self.broke_in = if live.opaque_open {
            BrokeIn::Part
        } else if live.tools.any_open() {
            BrokeIn::Call
        } else {
            BrokeIn::Text
        };
        let (target, mode) = (live.target, live.mode);
        let setback = Setback {
            target,
            class,
            mode,
            throttled,
            retry_after,
            misfit,
            context_length,
        };
        let (plan, position, limit) = (Arc::clone(&self.plan), self.position(), self.limit());
        let next = self.ladder.after(
            setback,
            &position,
            &plan.targets,
            &plan.policy,
            &mut self.dice,
            limit,
        );
        self.go(next, Some(target));
    }

    /// Settles the accounts of an attempt that is over, and drops what of it is kept.
    fn forget(&mut self, live: &Attempt, failed: bool) {
        let used = live.usage.unwrap_or_default();
        self.usage = self.usage.plus(used);
        if failed {
            self.waste.usage = self.waste.usage.plus(used);
        }
        self.waste.bytes += self.queue.bytes() as u64;
        let kept = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        self.queue.clear();
        if kept > 0 {
            self.put(Output::Drop { chunks: kept });
        }
    }

    /// What the caller is told when nothing is left to try.
    fn why_stop(&self) -> Ending {
        let real = || {
            self.faults
                .iter()
                .rev()
                .filter(|fault| fault.class != FaultClass::Limited)
        };
        let Some(last) = real().next() else {
            return Ending::Limited;
        };
        let raise = |fault: &Fault| match fault.attempt {
            Some(attempt) if fault.raised => Ending::Raise(attempt),
            _ => Ending::Refused,
        };
        match last.class {
            FaultClass::Internal | FaultClass::Refused => return raise(last),
            FaultClass::Cancelled => return Ending::Cancelled,
            _ if !self.shown.is_empty() => return Ending::Incomplete,
            _ => {}
        }
        if let Some(own) =
            real().find(|fault| fault.target == TargetId(0) && fault.class.is_the_callers())
        {
            return raise(own);
        }
        if last.class == FaultClass::Content {
            Ending::Content
        } else {
            Ending::Exhausted
        }
    }

    fn finish(&mut self, ending: Ending) {
        self.flowing = None;
        self.next = None;
        let live = self.live.take();
        let served = live.as_ref().filter(|_| ending == Ending::Complete);
        let served_by = served.map(|live| live.target);
        let (finish, logprob) =
            served.map_or((None, None), |live| (live.finish.clone(), live.logprob));
        if let Some(mut live) = live {
            if ending != Ending::Complete {
                live.state = live
                    .state
                    .take(AttemptStep::Stop, &mut self.coverage)
                    .unwrap_or(live.state);
                self.put(Output::Cancel { attempt: live.id });
                self.put(Output::Report {
                    target: live.target,
                    outcome: AttemptOutcome::Stopped,
                });
            }
            self.forget(&live, ending != Ending::Complete);
        }
        self.step(SessionStep::Finish);
        self.outcome = Some(Outcome {
            ending,
            attempts: self.attempts,
            served_by,
            degraded: served_by.is_some_and(|target| target.0 != 0),
            continued: !self.splices.is_empty(),
            resets: self.resets,
            splices: core::mem::take(&mut self.splices),
            faults: self.faults.clone(),
            finish,
            tool_calls: self.shown.tool_calls().cloned().collect(),
            usage: self.usage,
            waste: self.waste,
            logprob,
        });
        self.put(Output::Done);
    }

    fn step(&mut self, step: SessionStep) {
        let next = self.state.take(step, &mut self.coverage);
        debug_assert!(
            next.is_some(),
            "the table has no row for {:?} in {:?}",
            step,
            self.state
        );
        self.state = next.unwrap_or(self.state);
    }

    /// Adds an output, joined to the last one where both say the same of more chunks.
    fn put(&mut self, output: Output) {
        let joined = match (self.outputs.back_mut(), &output) {
            (Some(Output::Release { chunks: all }), Output::Release { chunks })
            | (Some(Output::Drop { chunks: all }), Output::Drop { chunks }) => {
                *all += chunks;
                true
            }
            _ => false,
        };
        if joined && let Some(last) = self.outputs.back() {
            if let Some(Record::Decision(recorded)) = self.records.last_mut() {
                recorded.clone_from(last);
            }
            return;
        }
        if self.plan.recorded {
            self.records.push(Record::Decision(output.clone()));
        }
        self.outputs.push_back(output);
    }
}
