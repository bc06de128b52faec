//! What goes into a session and what comes out of it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::fault::{Facts, FaultClass};
use crate::fleet::{Admission, AttemptOutcome, Purpose};
use crate::guards::{Severity, Signal as DriftSignal};
use crate::instant::Instant;
use crate::policy::Rung;
use crate::splice::Method;
use crate::tools::ToolFragment;
use crate::usage::{LogProb, Usage};

/// One call to one target. What carries an id that is no longer live is inert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId(pub u32);

/// A place in the plan's list of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TargetId(pub u32);

/// What a driver does with the chunk it has just handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum Signal {
    /// Give it to the consumer.
    Pass = 0,
    /// Keep it behind those already kept.
    Hold = 1,
    /// Keep it behind those already kept, and poll the outputs.
    Drain = 2,
    /// Forget it: the consumer has its text already, or its attempt is over.
    Skip = 3,
}

/// A part of a message that the engine does not look into: an image, audio, a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opaque {
    /// A hash of its bytes, by which two of them are told apart.
    pub digest: u64,
    /// Whether more of it follows.
    #[serde(default)]
    pub open: bool,
}

/// What a chunk holds beside or instead of plain text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Part {
    /// Text of the answer.
    pub text: String,
    /// Whether it holds reasoning.
    pub reasoning: bool,
    /// Fragments of tool calls.
    pub tools: Vec<ToolFragment>,
    /// A part the engine does not look into.
    pub opaque: Option<Opaque>,
    /// Why the answer ends, in the provider's words.
    pub finish: Option<String>,
    /// What became of the response, in the provider's words.
    pub status: Option<String>,
    /// What this attempt has used so far.
    pub usage: Option<Usage>,
    /// Log-probabilities of the tokens in this chunk.
    pub logprob: Option<LogProb>,
    /// The event's number, where the dialect counts its events.
    pub sequence: Option<u64>,
}

impl Part {
    /// Whether it is something a reader waits for.
    #[must_use]
    pub const fn is_content(&self) -> bool {
        !self.text.is_empty() || self.reasoning || !self.tools.is_empty() || self.opaque.is_some()
    }
}

/// What the world did.
///
/// Journals know the variants by their order: a new one comes last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The session begins.
    Start,
    /// What the model would be given was checked, before the session began.
    Checked(Vec<Objection>),
    /// The fleet's answer to [`Output::Ask`].
    Admitted(Admission),
    /// An attempt's response began.
    Opened(AttemptId),
    /// A chunk that is more than plain text.
    Part {
        /// The attempt it belongs to.
        attempt: AttemptId,
        /// Nanoseconds the read that brought it was pending.
        waited: u64,
        /// What it holds.
        part: Part,
    },
    /// An attempt's stream ended by itself.
    Ended(AttemptId),
    /// An attempt failed.
    Failed {
        /// The attempt.
        attempt: AttemptId,
        /// What was read off its exception.
        facts: Facts,
    },
    /// Time has passed. An early or repeated one is inert.
    Timeout {
        /// Nanoseconds the pending read has been pending, if one is.
        waited: Option<u64>,
    },
    /// The caller left.
    Cancel,
    /// The process that ran the session died, and this one goes on with its records.
    Resume,
    /// The caller's own guards answered [`Output::Check`]. A late or repeated answer is inert.
    Judged {
        /// The attempt.
        attempt: AttemptId,
        /// The number of the question.
        check: u32,
        /// What they say.
        ruling: Ruling,
    },
}

/// What the caller's own guards say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// All of them have been asked, and these object.
    Objected(Vec<Dissent>),
    /// One of them could not say.
    Failed(Facts),
    /// All of them have been asked, and one has read the answer for what the caller wants of it.
    Read(Reading),
}

/// What reading an answer for a value came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reading {
    /// What it and the others object to.
    pub dissents: Vec<Dissent>,
    /// The guard that read it, by its place in the policy's list.
    pub guard: u16,
    /// Where the answer does not fit, by names that are no content of it; nothing where it does.
    pub fields: Vec<String>,
    /// What had to be put right in it, by fixed words.
    pub fixes: Vec<String>,
    /// What the consumer is given in the place of what arrived; nothing where that is as it should be.
    pub rewrites: Vec<Rewrite>,
}

/// A piece of an answer, put right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rewrite {
    /// All of its text.
    Text(String),
    /// The arguments of one of its tool calls.
    Args(CallArgs),
}

/// The arguments of a tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallArgs {
    /// Which of the answer's calls.
    pub index: u32,
    /// One JSON document.
    pub args: String,
}

/// What one of the caller's own guards objects to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dissent {
    /// The guard, by its place in the policy's list.
    pub guard: u16,
    /// What it found, in a few words: results and records hold it.
    pub reason: String,
    /// What the same target is told if it is asked again; nothing where it is only asked again.
    #[serde(default)]
    pub errors: Vec<String>,
}

/// How an attempt is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// From nothing.
    Fresh,
    /// The provider resumes its response.
    Native,
    /// From the text shown.
    Prefill,
    /// By asking it to repeat the last words shown and go on.
    Prompt,
    /// From nothing, with what was shown swallowed.
    Rerun,
}

impl Mode {
    /// The rung an attempt of this mode stands on, if it continues an answer.
    #[must_use]
    pub const fn rung(self) -> Option<Rung> {
        match self {
            Self::Fresh => None,
            Self::Native => Some(Rung::Native),
            Self::Prefill => Some(Rung::Prefill),
            Self::Prompt => Some(Rung::Prompt),
            Self::Rerun => Some(Rung::Rerun),
        }
    }
}

/// How an answer was joined to the text before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splice {
    /// The attempt that went on.
    pub attempt: AttemptId,
    /// How it was begun.
    pub mode: Mode,
    /// How it was joined.
    pub method: Method,
    /// Bytes of text the consumer had by then.
    pub at: u64,
    /// Bytes of the new answer that were dropped, because the consumer had them.
    pub dropped: u64,
}

/// What the world is to do, in this order. Every one is also a record.
///
/// Journals know the variants by their order: a new one comes last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Ask the fleet whether an attempt may be opened, and answer with [`Input::Admitted`].
    Ask {
        /// The target.
        target: TargetId,
        /// What for.
        purpose: Purpose,
        /// Pass over an open breaker.
        force: bool,
    },
    /// Open an attempt: see [`Session::opening`](crate::Session::opening) for what to send.
    Open {
        /// The attempt's id.
        attempt: AttemptId,
        /// The target.
        target: TargetId,
        /// How it is begun.
        mode: Mode,
    },
    /// Wait: there is nothing to do before then.
    Wait {
        /// Until when.
        until: Instant,
    },
    /// Close an attempt's stream: it is no longer wanted.
    Cancel {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Give the first of the kept chunks to the consumer.
    Release {
        /// How many.
        chunks: u32,
    },
    /// Give a part of the first kept chunk to the consumer, with everything in it that is not text.
    Cut {
        /// The first character of its text that is given.
        start: u32,
        /// The character its text ends before.
        end: u32,
    },
    /// Give the first kept chunk to the consumer, with this text in the place of its own.
    Mask {
        /// The text.
        text: String,
        /// Bytes of text the consumer has before it.
        at: u64,
    },
    /// Forget the first of the kept chunks.
    Drop {
        /// How many.
        chunks: u32,
    },
    /// Tell the consumer to discard all it was given.
    Reset,
    /// Tell the fleet how an attempt ended.
    Report {
        /// The target.
        target: TargetId,
        /// How.
        outcome: AttemptOutcome,
    },
    /// Tell whoever listens.
    Event(Event),
    /// The session has ended: see [`Session::outcome`](crate::Session::outcome).
    Done,
    /// Ask the caller's own guards, and answer with [`Input::Judged`]: see
    /// [`Session::checking`](crate::Session::checking) for which of them, about what.
    Check {
        /// The attempt.
        attempt: AttemptId,
        /// The number of the question.
        check: u32,
    },
    /// Give the first kept chunk to the consumer, with what of the answer was put right in the place of its own.
    Rewrite {
        /// Its text; nothing where that stays.
        text: Option<String>,
        /// Bytes of text the consumer has before it.
        at: u64,
        /// The arguments of the calls it holds fragments of, where they were put right: all of them in the first
        /// fragment of a call, nothing in those that follow.
        calls: Vec<CallArgs>,
    },
}

/// What a listener may want to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Something failed.
    Fault(Fault),
    /// The same target is tried again.
    Retry {
        /// The target.
        target: TargetId,
        /// How the attempt will be begun.
        mode: Mode,
        /// Nanoseconds until then.
        wait: u64,
    },
    /// Another target is tried.
    Fallback {
        /// The target that failed.
        from: TargetId,
        /// The target that is tried.
        to: TargetId,
    },
    /// Two answers were joined.
    Splice(Splice),
    /// A guard found something.
    Guard(Objection),
    /// The answer went astray.
    Drift {
        /// How.
        signal: DriftSignal,
        /// How much, in thousandths.
        score_permille: u16,
    },
    /// A tool call was released.
    ToolCall {
        /// Its place among the calls released.
        number: u32,
    },
    /// Reasoning the consumer was given belongs to an attempt that failed.
    ReasoningAbandoned {
        /// The attempt.
        attempt: AttemptId,
    },
    /// An answer is not what the caller wants to read in it.
    Misfit {
        /// The target that gave it.
        target: TargetId,
        /// Where it does not fit.
        fields: Vec<String>,
    },
}

/// What a guard found. It names the guard and never quotes the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objection {
    /// The guard's name.
    pub guard: String,
    /// What it found, in a few words.
    pub reason: String,
    /// What becomes of the attempt.
    pub severity: Severity,
    /// The character of the text where it begins.
    pub start: u64,
    /// The character of the text it ends before.
    pub end: u64,
    /// Whether it was replaced.
    pub masked: bool,
}

/// One thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The attempt, if one had been opened.
    pub attempt: Option<AttemptId>,
    /// The target.
    pub target: TargetId,
    /// What it amounts to.
    pub class: FaultClass,
    /// The engine's word for what it saw, or the provider's code.
    pub code: Option<String>,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The provider's id for the request.
    pub request_id: Option<String>,
    /// Whether the driver holds an exception for it.
    pub raised: bool,
    /// When.
    pub at: Instant,
}

/// A driver called what cannot be called now. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Misuse {
    /// The session has begun already.
    #[error("the session has begun already: start it once")]
    StartedTwice,
    /// The session has not begun.
    #[error("the session has not begun: start it first")]
    NotStarted,
    /// Nothing was asked.
    #[error("the fleet was not asked: answer each `Ask` once")]
    NotAsked,
}
