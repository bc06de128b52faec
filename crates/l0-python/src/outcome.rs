//! How a session ended.

use std::sync::Arc;

use l0_engine as engine;
use pyo3::prelude::*;

use crate::fault::Fault;

/// A complete tool call.
#[pyclass(frozen, get_all, module = "l0_core._native")]
pub(crate) struct ToolCall {
    /// The call's id, where the provider gave one.
    id: Option<String>,
    /// The tool's name.
    name: String,
    /// The arguments, as JSON.
    args: String,
}

impl From<&engine::ToolCall> for ToolCall {
    fn from(call: &engine::ToolCall) -> Self {
        Self { id: call.id.clone(), name: call.name.clone(), args: call.args.clone() }
    }
}

#[pymethods]
impl ToolCall {
    fn __repr__(&self) -> String {
        format!("ToolCall(id={:?}, name={:?})", self.id, self.name)
    }
}

/// How an answer was joined to the text before it.
#[pyclass(frozen, get_all, module = "l0_core._native")]
pub(crate) struct Splice {
    /// The attempt that went on.
    attempt: u32,
    /// How it was begun.
    mode: &'static str,
    /// How it was joined.
    method: &'static str,
    /// Bytes of text the consumer had by then.
    at: u64,
    /// Bytes of the new answer that were dropped, because the consumer had them.
    dropped: u64,
}

impl From<&engine::Splice> for Splice {
    fn from(splice: &engine::Splice) -> Self {
        let method = match splice.method {
            engine::Method::Appended => "appended",
            engine::Method::Anchor => "anchor",
            engine::Method::AnchorLoosely => "anchor_loosely",
            engine::Method::Overlap => "overlap",
            engine::Method::Restart => "restart",
        };
        let (attempt, mode) = (splice.attempt.0, mode(splice.mode));
        Self { attempt, mode, method, at: splice.at, dropped: splice.dropped }
    }
}

#[pymethods]
impl Splice {
    fn __repr__(&self) -> String {
        let Self { attempt, mode, method, at, dropped } = self;
        format!("Splice(attempt={attempt}, mode={mode:?}, method={method:?}, at={at}, dropped={dropped})")
    }
}

/// What a guard found. It names the guard and never quotes the text.
#[pyclass(frozen, get_all, module = "l0_core._native")]
pub(crate) struct Objection {
    /// The guard's name.
    guard: String,
    /// What it found, in a few words.
    reason: String,
    /// What becomes of the attempt: `warn`, `error` or `fatal`.
    severity: &'static str,
    /// The character of the text where it begins.
    start: u64,
    /// The character of the text it ends before.
    end: u64,
    /// Whether it was replaced.
    masked: bool,
}

impl From<&engine::Objection> for Objection {
    fn from(objection: &engine::Objection) -> Self {
        let severity = match objection.severity {
            engine::guards::Severity::Warn => "warn",
            engine::guards::Severity::Error => "error",
            engine::guards::Severity::Fatal => "fatal",
        };
        let engine::Objection { guard, reason, start, end, masked, .. } = objection.clone();
        Self { guard, reason, severity, start, end, masked }
    }
}

pub(crate) const fn mode(mode: engine::Mode) -> &'static str {
    match mode {
        engine::Mode::Fresh => "fresh",
        engine::Mode::Native => "native",
        engine::Mode::Prefill => "prefill",
        engine::Mode::Prompt => "prompt",
        engine::Mode::Rerun => "rerun",
    }
}

type UsageTuple = (u64, u64, u64, u64, u64);

const fn usage(usage: engine::Usage) -> UsageTuple {
    (usage.input, usage.output, usage.reasoning, usage.cache_read, usage.cache_write)
}

/// Everything there is to say about a session that has ended. Lists are built when they are asked for.
#[pyclass(frozen, module = "l0_core._native")]
pub(crate) struct Outcome(pub(crate) Arc<engine::Outcome>);

#[pymethods]
impl Outcome {
    /// What the caller is told.
    #[getter]
    fn ending(&self) -> &'static str {
        match self.0.ending {
            engine::Ending::Complete => "complete",
            engine::Ending::Raise(_) => "raise",
            engine::Ending::Exhausted => "exhausted",
            engine::Ending::Incomplete => "incomplete",
            engine::Ending::Deadline => "deadline",
            engine::Ending::Limited => "limited",
            engine::Ending::Content => "content",
            engine::Ending::Refused => "refused",
            engine::Ending::Cancelled => "cancelled",
        }
    }

    /// The attempt whose exception is raised, if the ending is `raise`.
    #[getter]
    fn raised_by(&self) -> Option<u32> {
        if let engine::Ending::Raise(attempt) = self.0.ending { Some(attempt.0) } else { None }
    }

    /// Attempts opened.
    #[getter]
    fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The target that gave the end of the answer.
    #[getter]
    fn served_by(&self) -> Option<u32> {
        self.0.served_by.map(|target| target.0)
    }

    /// Another target than the first served.
    #[getter]
    fn degraded(&self) -> bool {
        self.0.degraded
    }

    /// The answer was put together from more than one attempt.
    #[getter]
    fn continued(&self) -> bool {
        self.0.continued
    }

    /// How often the consumer was told to discard.
    #[getter]
    fn resets(&self) -> u32 {
        self.0.resets
    }

    /// Where it was put together.
    #[getter]
    fn splices(&self) -> Vec<Splice> {
        self.0.splices.iter().map(Splice::from).collect()
    }

    /// What went wrong on the way.
    #[getter]
    fn faults(&self) -> Vec<Fault> {
        self.0.faults.iter().map(Fault::from).collect()
    }

    /// What guards found, warnings and masks included.
    #[getter]
    fn objections(&self) -> Vec<Objection> {
        self.0.objections.iter().map(Objection::from).collect()
    }

    /// How often the answer went astray past its threshold.
    #[getter]
    fn drifts(&self) -> u32 {
        self.0.drifts
    }

    /// What had to be put right in the answer, by fixed words, where it was read for a value.
    #[getter]
    fn repaired(&self) -> Vec<String> {
        self.0.repaired.clone()
    }

    /// How often a target was told what to put right in its answer.
    #[getter]
    fn reasks(&self) -> u32 {
        self.0.reasks
    }

    /// Where answers did not fit what was to be read in them: target, place, how often.
    #[getter]
    fn misfits(&self) -> Vec<(u32, String, u32)> {
        self.0
            .misfits
            .iter()
            .map(|misfits| (misfits.target.0, misfits.field.clone(), misfits.count))
            .collect()
    }

    /// Whether it ended because no answer fitted.
    #[getter]
    fn unfit(&self) -> bool {
        self.0.unfit
    }

    /// Why the answer ended.
    #[getter]
    fn finish(&self) -> Option<&str> {
        self.0.finish.as_ref().map(engine::Finish::name)
    }

    /// The tool calls released.
    #[getter]
    fn tool_calls(&self) -> Vec<ToolCall> {
        self.0.tool_calls.iter().map(ToolCall::from).collect()
    }

    /// Tokens of all attempts: input, output, reasoning, cache read, cache written.
    #[getter]
    fn usage(&self) -> UsageTuple {
        usage(self.0.usage)
    }

    /// Tokens of attempts that failed.
    #[getter]
    fn waste(&self) -> UsageTuple {
        usage(self.0.waste.usage)
    }

    /// Bytes of text that arrived and were dropped.
    #[getter]
    fn waste_bytes(&self) -> u64 {
        self.0.waste.bytes
    }

    /// Log-probabilities of the tokens of the last attempt: their sum, and how many.
    #[getter]
    fn logprob(&self) -> Option<(f64, u64)> {
        self.0.logprob.map(|logprob| (logprob.sum, logprob.tokens))
    }
}
