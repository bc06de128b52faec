//! What an attempt is made on, and what it is known to do.

use serde::{Deserialize, Serialize};

/// What ends an answer of this target for certain. Only a *declared* fact that is missing is a fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Terminal {
    /// The stream's own end.
    #[default]
    EndOfStream,
    /// A finish reason somewhere before the end.
    FinishReason,
    /// A status such as `completed` somewhere before the end.
    Status,
}

/// Whether a target goes on from text it is given as its own beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefill {
    /// It does not: it refuses the request or starts over.
    No,
    /// Nobody said. It is not tried: an answer that starts over in other words looks like one that goes on.
    #[default]
    Untold,
    /// It does.
    Yes,
}

/// A model behind an endpoint, with its declared capabilities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Target {
    /// The name the result, the journal and the fleet know it by.
    pub name: String,
    /// Targets with the same label share credentials: an `auth` fault of one is a fault of all.
    pub credentials: Option<String>,
    /// What ends an answer.
    pub terminal: Terminal,
    /// It thinks before it speaks, and is given longer for its first word.
    pub reasons: bool,
    /// Whether it takes an assistant prefix.
    pub prefill: Prefill,
    /// It can resume the same response by id and sequence number.
    pub native: bool,
    /// It answers in one piece.
    pub whole: bool,
    /// Tokens its context holds, where known.
    pub context_window: Option<u64>,
    /// The label put on results it served.
    pub quality: Option<String>,
    /// The label put on results it served.
    pub cost: Option<String>,
}

impl Target {
    /// A target of which nothing is known but its name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}
