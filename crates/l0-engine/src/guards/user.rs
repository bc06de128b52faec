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
}

impl UserSpec {
    pub(super) fn validate(&self, name: Option<&str>) -> Result<(), Problem> {
        if name.is_none() {
            return Err(Problem::new("name", "is needed: records call a guard of your own by it"));
        }
        validate_label("version", &self.version)
    }
}
