//! Time as an argument.

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds since the session's clock began.
///
/// Ours, and not the standard library's: it can be built from any caller's clock and written to a journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instant(pub u64);

impl Instant {
    /// The moment `wait` after this one; the end of time if that would overflow.
    #[must_use]
    pub const fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(nanos(wait)))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A duration as whole nanoseconds, saturating after 584 years.
#[expect(clippy::cast_possible_truncation, reason = "checked against u64::MAX in the line before")]
const fn nanos(wait: Duration) -> u64 {
    let nanos = wait.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 }
}
