//! How a session ended.

use serde::{Deserialize, Serialize};

use crate::protocol::{AttemptId, Fault, Objection, Splice, TargetId};
use crate::tools::ToolCall;
use crate::usage::{LogProb, Usage, Waste};

/// What the caller is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The answer is complete.
    Complete,
    /// The call would have failed in the same way without L0: raise what this attempt raised.
    Raise(AttemptId),
    /// Everything allowed was tried.
    Exhausted,
    /// The consumer was given a part, and no allowed way could complete it.
    Incomplete,
    /// The time allowed has passed.
    Deadline,
    /// A budget or a breaker allowed no further call.
    Limited,
    /// What arrived was not acceptable.
    Content,
    /// The target declined to answer.
    Refused,
    /// The caller left.
    Cancelled,
}

/// Why an answer ended, in one vocabulary for all dialects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It was done.
    Stop,
    /// It was as long as allowed.
    Length,
    /// It calls tools.
    ToolCalls,
    /// A filter stopped it.
    ContentFilter,
    /// The model declined.
    Refusal,
    /// The provider failed, inside a response that had begun well.
    Error,
    /// Something else.
    Other(String),
}

impl Finish {
    /// Reads a provider's word.
    #[must_use]
    pub fn read(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "stop" | "end_turn" | "stop_sequence" | "eos" | "eos_token" | "completed" | "complete"
            | "finished" | "end" => Self::Stop,
            "length"
            | "max_tokens"
            | "max_output_tokens"
            | "incomplete"
            | "model_context_window_exceeded"
            | "model_length"
            | "error_limit" => Self::Length,
            "tool_calls" | "tool_use" | "tool_call" | "function_call" => Self::ToolCalls,
            "content_filter"
            | "content_filtered"
            | "safety"
            | "blocklist"
            | "prohibited_content"
            | "recitation"
            | "guardrail_intervened"
            | "spii"
            | "error_toxic"
            | "image_safety"
            | "sensitive" => Self::ContentFilter,
            "refusal" => Self::Refusal,
            "error"
            | "failed"
            | "cancelled"
            | "abort"
            | "insufficient_system_resource"
            | "network_error"
            | "timeout" => Self::Error,
            _ => Self::Other(word.to_owned()),
        }
    }

    /// Whether it says that nothing was left out.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        match self {
            Self::Stop | Self::ToolCalls | Self::Other(_) => true,
            Self::Length | Self::ContentFilter | Self::Refusal | Self::Error => false,
        }
    }

    /// The name in results.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Refusal => "refusal",
            Self::Error => "error",
            Self::Other(word) => word,
        }
    }
}

/// How often answers of one target did not fit in one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misfits {
    /// The target.
    pub target: TargetId,
    /// The place.
    pub field: String,
    /// How often.
    pub count: u32,
}

/// Everything there is to say about a session that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// What the caller is told.
    pub ending: Ending,
    /// Attempts opened.
    pub attempts: u32,
    /// The target that gave the end of the answer.
    pub served_by: Option<TargetId>,
    /// Another target than the first served, or gave a part.
    pub degraded: bool,
    /// The answer was put together from more than one attempt.
    pub continued: bool,
    /// How often the consumer was told to discard.
    pub resets: u32,
    /// Where it was put together.
    pub splices: Vec<Splice>,
    /// What went wrong on the way.
    pub faults: Vec<Fault>,
    /// What guards found, warnings and masks included.
    pub objections: Vec<Objection>,
    /// How often the answer went astray past its threshold.
    pub drifts: u32,
    /// What had to be put right in the answer that was accepted, by fixed words, where it was read for a value.
    pub repaired: Vec<String>,
    /// How often a target was told what to put right in its answer.
    pub reasks: u32,
    /// Where answers did not fit what was to be read in them.
    pub misfits: Vec<Misfits>,
    /// Whether it ended because no answer fitted.
    pub unfit: bool,
    /// Why the answer ended.
    pub finish: Option<Finish>,
    /// The tool calls released.
    pub tool_calls: Vec<ToolCall>,
    /// Tokens of all attempts.
    pub usage: Usage,
    /// What was paid for and not shown.
    pub waste: Waste,
    /// Log-probabilities of the tokens of the last attempt, where it had any.
    pub logprob: Option<LogProb>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_says_the_answer_was_cut_is_no_stop() {
        for (word, meant) in [
            ("COMPLETE", Finish::Stop),
            ("MAX_TOKENS", Finish::Length),
            ("ERROR_LIMIT", Finish::Length),
            ("ERROR_TOXIC", Finish::ContentFilter),
            ("IMAGE_SAFETY", Finish::ContentFilter),
            ("sensitive", Finish::ContentFilter),
            ("abort", Finish::Error),
            ("insufficient_system_resource", Finish::Error),
            ("network_error", Finish::Error),
            ("TIMEOUT", Finish::Error),
        ] {
            assert_eq!(Finish::read(word), meant, "{word}");
        }
        assert!(Finish::read("something_new").is_whole());
    }
}
