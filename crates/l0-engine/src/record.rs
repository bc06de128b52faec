//! Records: everything the world did and everything the engine decided, in order.

use serde::{Deserialize, Serialize};

use crate::instant::Instant;
use crate::jitter::GENERATOR;
use crate::plan::Plan;
use crate::protocol::{AttemptId, Input, Output, Signal};
use crate::target::Target;

/// The version of the engine that writes records.
pub const ENGINE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Behaviours that can differ between engines, by number. A number keeps its meaning for ever; a replay behaves as
/// the flags of its first record say, not as the newest engine would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flags(pub u64);

impl Flags {
    /// The behaviours of this engine. None has changed yet.
    pub const CURRENT: Self = Self(0);
    /// The behaviours this engine can repeat.
    pub const KNOWN: Self = Self(0);

    /// Whether this engine can behave as these flags say.
    #[must_use]
    pub const fn are_known(self) -> bool {
        self.0 & !Self::KNOWN.0 == 0
    }
}

/// A session's first record: all that its decisions depend on beside its inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The behaviours of the engine that wrote it.
    pub flags: Flags,
    /// The version of the engine that wrote it.
    pub engine: String,
    /// The name of its generator.
    pub generator: String,
    /// The digest of its policy.
    pub policy: String,
    /// The seed of its generator.
    pub seed: u64,
    /// Its targets.
    pub targets: Vec<Target>,
    /// Whether its consumer is streamed to.
    pub streamed: bool,
    /// The moment it must end, where somebody outside set one.
    pub deadline: Option<Instant>,
}

impl Header {
    pub(crate) fn of(plan: &Plan) -> Self {
        Self {
            flags: Flags::CURRENT,
            engine: ENGINE_VERSION.to_owned(),
            generator: GENERATOR.to_owned(),
            policy: plan.policy.digest(),
            seed: plan.seed,
            targets: plan.targets.clone(),
            streamed: plan.streamed,
            deadline: plan.deadline,
        }
    }
}

/// One immutable fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// What the session is.
    Start(Header),
    /// The world did something.
    Input {
        /// When.
        at: Instant,
        /// What.
        input: Input,
        /// What the driver was told to do with the chunk, if it was one.
        signal: Option<Signal>,
    },
    /// A chunk of plain text arrived.
    Chunk {
        /// When.
        at: Instant,
        /// The attempt it belongs to.
        attempt: AttemptId,
        /// Its text.
        text: Box<str>,
        /// What the driver was told to do with it.
        signal: Signal,
    },
    /// The engine decided something.
    Decision(Output),
}
