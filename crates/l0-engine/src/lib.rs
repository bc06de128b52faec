//! The engine of L0: every reliability decision about a model stream, and nothing else.
//!
//! It has no clock, no I/O, no threads and no randomness of its own: time is an argument, the world is an input, and
//! the generator is seeded. A [`Session`] is a value: `handle_*` puts in what the world did, `poll_*` takes out what
//! to do next. What it decided is in its records, and [`replay`] decides it again.
#![forbid(unsafe_code)]

pub mod guards;
pub mod json;

mod attempt;
mod fault;
mod fleet;
mod instant;
mod jitter;
mod ladder;
mod outcome;
mod plan;
mod policy;
mod protocol;
mod queue;
mod record;
mod replay;
mod session;
mod shown;
mod splice;
mod state;
mod target;
mod tools;
mod usage;

pub use fault::{Category, Facts, FaultClass, Says, Stage};
pub use fleet::{Admission, Answer, AttemptOutcome, Fleet, Key, Purpose, Ticket};
pub use instant::Instant;
pub use jitter::{GENERATOR, Jitter};
pub use outcome::{Ending, Finish, Misfits, Outcome};
pub use plan::Plan;
pub use policy::{
    Breaker, CONTINUATION_PROMPT, Continuation, Delivery, Limits, Policy, PolicyError, REASK_PROMPT, Refusal,
    Retry, RetryBudget, Rung, Timeouts, WorstCase,
};
pub use protocol::{
    AttemptId, CallArgs, Dissent, Event, Fault, Input, Misuse, Mode, Objection, Opaque, Output, Part,
    Reading, Rewrite, Ruling, Signal, Splice, TargetId,
};
pub use record::{ENGINE_VERSION, Flags, Header, Record};
pub use replay::{Divergence, replay};
pub use session::{Checking, Opening, Session, check_inputs};
pub use splice::{Method, Misfit};
pub use state::{
    ATTEMPT_STEPS, AttemptState, AttemptStep, Coverage, SESSION_STEPS, SessionState, SessionStep,
};
pub use target::{Prefill, Target, Terminal};
pub use tools::{ToolCall, ToolFragment};
pub use usage::{LogProb, Usage, Waste};
