//! What an answer cost.

use serde::{Deserialize, Serialize};

/// Tokens as a provider counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input: u64,
    /// Tokens of the answer, reasoning included.
    pub output: u64,
    /// Tokens of the answer that were reasoning.
    pub reasoning: u64,
    /// Tokens of the prompt read from a cache.
    pub cache_read: u64,
    /// Tokens of the prompt written to a cache.
    pub cache_write: u64,
}

impl Usage {
    /// The sum of both, saturating.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            reasoning: self.reasoning.saturating_add(other.reasoning),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
        }
    }
}

/// What was paid for and not shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waste {
    /// Usage of attempts that failed, as far as they reported it.
    pub usage: Usage,
    /// Bytes of text that arrived and were dropped, at a seam or with their attempt.
    pub bytes: u64,
}

/// Log-probabilities of the tokens of an answer, summed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LogProb {
    /// Sum of natural logarithms.
    pub sum: f64,
    /// Tokens it is the sum of.
    pub tokens: u64,
}

impl LogProb {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { sum: self.sum + other.sum, tokens: self.tokens.saturating_add(other.tokens) }
    }
}
