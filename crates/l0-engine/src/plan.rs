//! What a session is made from.

use std::sync::Arc;

use crate::instant::Instant;
use crate::policy::{Policy, PolicyError};
use crate::target::Target;

/// Everything a session's decisions depend on, beside what happens.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The policy.
    pub policy: Arc<Policy>,
    /// The targets, in the order they are preferred.
    pub targets: Vec<Target>,
    /// The seed of the session's generator.
    pub seed: u64,
    /// Whether the consumer is streamed to. If not, nothing is released before the answer is complete.
    pub streamed: bool,
    /// The moment the session must end, where somebody outside set one.
    pub deadline: Option<Instant>,
    /// Whether records are kept for the driver to take.
    pub recorded: bool,
}

/// Targets a session may have at most.
const TARGETS_MAX: usize = 64;

impl Plan {
    /// A streamed session over one target of which nothing is known.
    #[must_use]
    pub fn simple(policy: Arc<Policy>) -> Self {
        Self {
            policy,
            targets: vec![Target::named("model")],
            seed: 0,
            streamed: true,
            deadline: None,
            recorded: true,
        }
    }

    /// Checks that it can be carried out.
    ///
    /// # Errors
    /// Names what is wrong and what is allowed.
    pub fn validate(&self) -> Result<(), PolicyError> {
        self.policy.validate()?;
        let refused = |problem: String| Err(PolicyError { field: "targets".into(), problem });
        if self.targets.is_empty() || self.targets.len() > TARGETS_MAX {
            return refused(format!("must be from 1 to {TARGETS_MAX}, not {}", self.targets.len()));
        }
        for (place, target) in self.targets.iter().enumerate() {
            if target.name.is_empty() {
                return refused(format!("the name of target {place} is empty; every target needs one"));
            }
            if self.targets[..place].iter().any(|other| other.name == target.name) {
                return refused(format!(
                    "two are named {:?}; every target needs a name of its own",
                    target.name
                ));
            }
        }
        Ok(())
    }
}
