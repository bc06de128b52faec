//! A guard that somebody wrote in another language: the engine asks for its word and never makes it up.

use serde::{Deserialize, Serialize};

use super::spec::{Problem, validate_label};

/// How many characters before a new piece a guard is shown with it.
pub const WINDOW_CHARS: usize = 1_024;

/// What a guard is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Each new piece of text with [`WINDOW_CHARS`] characters before it, and once more what is last when it is last.
    #[default]
    Window,
    /// The whole answer, once, when it is complete.
    Whole,
}

/// Which part of an answer a guard reads for what the caller wants of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reads {
    /// Its text.
    #[default]
    Text,
    /// The arguments of its tool calls. They are shown to the guard as they arrived, JSON or not, and the answer is
    /// given to nobody before it has read them.
    Calls,
}

impl Reads {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    const fn is_text(&self) -> bool {
        matches!(self, Self::Text)
    }
}

/// A guard of the caller's own. Its verdicts are inputs: they are recorded, and a replay does not ask again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserSpec {
    /// Which version of it gave the verdicts that a journal holds.
    pub version: String,
    /// What it is shown.
    #[serde(default)]
    pub on: Scope,
    /// How often it may object to one target's answers before the target has failed; as often as the policy's
    /// attempts allow where nothing is said.
    #[serde(default)]
    pub retries: Option<u32>,
    /// What it reads.
    #[serde(default, skip_serializing_if = "Reads::is_text")]
    pub reads: Reads,
}

impl UserSpec {
    pub(super) fn validate(&self, name: Option<&str>) -> Result<(), Problem> {
        if name.is_none() {
            return Err(Problem::new("name", "is needed: records call a guard of your own by it"));
        }
        if self.reads == Reads::Calls && self.on != Scope::Whole {
            return Err(Problem::new("reads", "calls are read when they are complete: on must be whole"));
        }
        validate_label("version", &self.version)
    }
}
