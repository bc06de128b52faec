//! One call to one target, as it goes.

use core::time::Duration;

use smallvec::SmallVec;

use crate::fleet::Purpose;
use crate::guards::{At, GuardState};
use crate::instant::Instant;
use crate::outcome::Finish;
use crate::policy::Timeouts;
use crate::protocol::{AttemptId, Mode, Part, TargetId};
use crate::session::Question;
use crate::splice::Seam;
use crate::state::AttemptState;
use crate::target::{Target, Terminal};
use crate::tools::ToolCalls;
use crate::usage::{LogProb, Usage};

/// What the target did last, which decides how long it may be silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    First,
    Text,
    Reasoning,
    ToolArgs,
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "facts that arrive one by one and stay")]
pub(crate) struct Attempt {
    pub(crate) id: AttemptId,
    pub(crate) target: TargetId,
    pub(crate) mode: Mode,
    pub(crate) purpose: Purpose,
    pub(crate) state: AttemptState,
    pub(crate) began: Instant,
    /// The size of what the consumer had when it began.
    pub(crate) began_at: usize,
    pub(crate) phase: Phase,
    /// Time spent reading without content since the last of it.
    pub(crate) silent: Duration,
    pub(crate) seam: Option<Seam>,
    /// Bytes of its text that have arrived.
    pub(crate) bytes: usize,
    /// Whether anything but white space and reasoning has arrived.
    pub(crate) has_content: bool,
    pub(crate) tools: ToolCalls,
    /// Calls the consumer has been given.
    pub(crate) released_calls: SmallVec<[u32; 4]>,
    /// Calls and parts the consumer had before it began, which it has to repeat where it starts over.
    pub(crate) marks_to_repeat: usize,
    /// How many of them it has repeated.
    pub(crate) repeated_marks: usize,
    /// Its complete calls, and whether each repeats one the consumer has.
    pub(crate) judged_calls: SmallVec<[(u32, bool); 4]>,
    pub(crate) opaque_open: bool,
    pub(crate) reasoning_shown: bool,
    pub(crate) finish: Option<Finish>,
    pub(crate) status_seen: bool,
    pub(crate) usage: Option<Usage>,
    pub(crate) logprob: Option<LogProb>,
    pub(crate) sequence: Option<u64>,
    /// What the guards have seen: the text the consumer had before it began, and its own since it was joined to that.
    pub(crate) guard: Option<Box<GuardState>>,
    /// Bytes of that text that the consumer has been given.
    pub(crate) guarded_bytes: usize,
    /// How far the caller's own guards have seen it.
    pub(crate) checked: At,
    /// What they are being asked.
    pub(crate) question: Option<Question>,
}

impl Attempt {
    pub(crate) fn new(
        id: AttemptId,
        target: TargetId,
        mode: Mode,
        purpose: Purpose,
        seam: Option<Seam>,
        now: Instant,
    ) -> Self {
        Self {
            id,
            target,
            mode,
            purpose,
            state: AttemptState::Opening,
            began: now,
            began_at: 0,
            phase: Phase::First,
            silent: Duration::ZERO,
            seam,
            bytes: 0,
            has_content: false,
            tools: ToolCalls::default(),
            released_calls: SmallVec::new(),
            marks_to_repeat: 0,
            repeated_marks: 0,
            judged_calls: SmallVec::new(),
            opaque_open: false,
            reasoning_shown: false,
            finish: None,
            status_seen: false,
            usage: None,
            logprob: None,
            sequence: None,
            guard: None,
            guarded_bytes: 0,
            checked: At::default(),
            question: None,
        }
    }

    /// Whether it still has to repeat calls or parts the consumer has.
    pub(crate) const fn is_behind(&self) -> bool {
        self.repeated_marks < self.marks_to_repeat
    }

    /// Whether the target has said that its answer is at its end.
    pub(crate) const fn said_it_ended(&self) -> bool {
        self.finish.is_some() || self.status_seen
    }

    /// Whether the fact that the target declared to end its answers with is still missing.
    pub(crate) const fn lacks_terminal(&self, terminal: Terminal) -> bool {
        match terminal {
            Terminal::EndOfStream => false,
            Terminal::FinishReason => self.finish.is_none(),
            Terminal::Status => !self.status_seen,
        }
    }

    /// How long it may be silent before that is a fault, or, after its end, before the answer is taken as it is.
    pub(crate) const fn patience(&self, target: &Target, clocks: &Timeouts) -> Duration {
        if self.said_it_ended() {
            return clocks.linger;
        }
        match self.phase {
            Phase::First if target.reasons => clocks.first_reasoning,
            Phase::First => clocks.first,
            Phase::Text => clocks.text,
            Phase::Reasoning => clocks.reasoning,
            Phase::ToolArgs => clocks.tool_args,
        }
    }

    /// Notes what a part says beside its text. False where its number does not follow the one before, and something of
    /// the answer may be missing.
    pub(crate) fn note(&mut self, part: &Part, waited: Duration) -> bool {
        let had_ended = self.said_it_ended();
        if part.is_content() {
            self.silent = Duration::ZERO;
            self.phase = if !part.tools.is_empty() {
                Phase::ToolArgs
            } else if part.reasoning {
                Phase::Reasoning
            } else {
                Phase::Text
            };
        } else {
            self.silent = self.silent.saturating_add(waited);
        }
        self.has_content |= !part.text.trim().is_empty() || !part.tools.is_empty() || part.opaque.is_some();
        if let Some(opaque) = part.opaque {
            self.opaque_open = opaque.open;
        }
        if let Some(word) = &part.finish {
            self.finish = Some(Finish::read(word));
        }
        if let Some(word) = &part.status {
            self.status_seen = true;
            if self.finish.is_none() {
                self.finish = Some(Finish::read(word));
            }
        }
        if !had_ended && self.said_it_ended() {
            // From here on it is not the next word that is waited for.
            self.silent = Duration::ZERO;
        }
        self.usage = part.usage.or(self.usage);
        if let Some(logprob) = part.logprob {
            self.logprob = Some(self.logprob.unwrap_or_default().plus(logprob));
        }
        let after_its_end = had_ended && !part.is_content();
        let follows = match (self.sequence, part.sequence) {
            (Some(last), Some(this)) => this == last.saturating_add(1) || after_its_end,
            _ => true,
        };
        self.sequence = part.sequence.or(self.sequence);
        follows
    }
}
