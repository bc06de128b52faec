//! Guards: what must not be in an answer, found while it streams.
//!
//! A [`GuardSet`] is compiled once from what a policy says and shared by all sessions; a [`GuardState`] follows the
//! text of one attempt. Feeding it costs the same for each character, wherever in the text and however long the text
//! is, and nothing is read twice: every guard is an automaton. (A guard of the caller's own is no automaton: the set
//! knows that it is there, and the session asks for its word.) The same text gives the same hits at the same places
//! however it is cut into pieces.
//!
//! Guards that look for something (patterns, secrets, personal data) know from where on a match may still be going on:
//! text from [`GuardState::open_from`] on is what a careful consumer is not yet given.
//!
//! ```
//! use l0_engine::guards::{Check, GuardSet, GuardSpec, PatternsSpec};
//!
//! let check = Check::Patterns(PatternsSpec {
//!     regexes: vec![r"\bproject \w+bird\b".to_owned()],
//!     ..PatternsSpec::default()
//! });
//! let set = GuardSet::compile(&[GuardSpec::new(check).masking("[…]")], None)?;
//! let mut state = set.start();
//!
//! assert!(state.feed(&set, "We call it pro").is_clear());
//! assert_eq!(state.open_from(&set).map(|at| at.byte), Some(11), "it may become one");
//! assert!(state.feed(&set, "ject bluebird").is_clear(), "it may still become bluebirds");
//! let verdict = state.feed(&set, ".");
//! assert_eq!(verdict.hits.len(), 1);
//! let masks = state.take_masks(&set);
//! assert_eq!((masks[0].span.start.byte, masks[0].span.end.byte), (11, 27));
//! # Ok::<(), l0_engine::guards::GuardError>(())
//! ```

mod drift;
mod fence;
mod hit;
mod json;
mod json_schema;
mod latex;
mod markdown;
mod max_length;
mod not_empty;
mod patterns;
mod pii;
mod random;
mod repetition;
mod report;
mod script;
mod search;
mod secrets;
mod set;
mod spec;
#[cfg(test)]
mod testing;
mod user;
mod watch;

pub use self::drift::{DriftAction, DriftSpec, Drifted, Scores, Signal};
pub use self::hit::{At, Finding, Hit, Span, Verdict};
pub use self::json::{Fence, JsonSpec, Root};
pub use self::json_schema::{JsonSchemaSpec, Keyword, Schema, Violation};
pub use self::latex::LatexSpec;
pub use self::markdown::{MarkdownSpec, Rows};
pub use self::max_length::MaxLengthSpec;
pub use self::not_empty::NotEmptySpec;
pub use self::patterns::PatternsSpec;
pub use self::pii::{PiiKind, PiiSpec};
pub use self::repetition::RepetitionSpec;
pub use self::report::Mask;
pub use self::secrets::{SecretKind, SecretsSpec};
pub use self::set::{GuardSet, GuardState, check};
pub use self::spec::{Check, GUARDS_MAX, GuardError, GuardSpec, Problem, Severity};
pub use self::user::{Reads, Scope, UserSpec, WINDOW_CHARS};

/// For how many characters a match may stay undecided before that itself is a hit.
pub const HOLD_CHARS_MAX: usize = 4_096;
