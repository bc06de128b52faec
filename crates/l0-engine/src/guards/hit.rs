//! What a guard says: where, how grave, and why, and never the words it said it about.

use std::fmt;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::pii::PiiKind;
use super::secrets::SecretKind;
use super::spec::Severity;

/// A place in the text of an attempt, counted from its first character.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct At {
    /// In bytes of UTF-8.
    pub byte: usize,
    /// In characters.
    pub char: usize,
}

impl At {
    /// The place after `text`, which begins here.
    #[must_use]
    pub fn after(self, text: &str) -> Self {
        Self { byte: self.byte + text.len(), char: self.char + text.chars().count() }
    }

    /// The place after one character that begins here.
    #[inline]
    pub(super) const fn step(self, ch: char) -> Self {
        Self { byte: self.byte + ch.len_utf8(), char: self.char + 1 }
    }
}

/// A stretch of the text of an attempt; empty where something is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// Its first character.
    pub start: At,
    /// After its last character.
    pub end: At,
}

impl Span {
    /// The empty span at `at`.
    #[must_use]
    pub const fn empty(at: At) -> Self {
        Self { start: at, end: at }
    }
}

/// What was found. It names the rule that was broken and never quotes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// From here on the text is not JSON, whatever follows.
    JsonInvalid,
    /// The text ended inside its JSON document, or before one began.
    JsonUnfinished,
    /// The JSON document is of another kind than was asked for.
    JsonRoot,
    /// The JSON document does not fit the schema.
    Schema(super::json_schema::Keyword),
    /// A code fence was opened and not closed.
    FenceOpen,
    /// The row under a table's header has another number of columns, so that there is no table.
    TableBroken,
    /// A row of a table has another number of columns than its header.
    TableUneven,
    /// An environment was ended that was not the innermost open one.
    EnvironmentMismatch,
    /// An environment was begun and not ended.
    EnvironmentOpen,
    /// Display math was opened and not closed.
    MathOpen,
    /// There is no text, or too little.
    Empty,
    /// There is more text than was allowed.
    TooLong,
    /// The literal of this index.
    Literal(u16),
    /// The regular expression of this index.
    Regex(u16),
    /// The expression of this index was still undecided after [`HOLD_CHARS_MAX`](super::HOLD_CHARS_MAX) characters.
    Undecided(u16),
    /// A credential.
    Secret(SecretKind),
    /// Data about a person.
    Pii(PiiKind),
    /// The same words again and again.
    Repetition,
}

impl Finding {
    /// In a few words, for a message or a record.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::JsonInvalid => "not JSON from here on",
            Self::JsonUnfinished => "the JSON document is not finished",
            Self::JsonRoot => "the JSON document is of another kind",
            Self::Schema(keyword) => keyword.reason(),
            Self::FenceOpen => "a code fence is not closed",
            Self::TableBroken => "a table's header and the row under it differ in columns",
            Self::TableUneven => "a table's row differs from its header in columns",
            Self::EnvironmentMismatch => "an environment ends that is not open",
            Self::EnvironmentOpen => "an environment is not ended",
            Self::MathOpen => "display math is not closed",
            Self::Empty => "too little text",
            Self::TooLong => "too much text",
            Self::Literal(_) => "a literal of the guard",
            Self::Regex(_) => "an expression of the guard",
            Self::Undecided(_) => "an expression of the guard stayed undecided for too long",
            Self::Secret(kind) => kind.reason(),
            Self::Pii(kind) => kind.reason(),
            Self::Repetition => "the same words again and again",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.reason())
    }
}

/// One finding of one guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hit {
    /// The guard, by its place in the list the set was compiled from; its name is [`GuardSet::name`](super::GuardSet::name).
    pub rule: u16,
    /// What was found.
    pub finding: Finding,
    /// Where.
    pub span: Span,
    /// What becomes of the attempt. For a masked finding nothing does, unless it could not be masked whole.
    pub severity: Severity,
    /// Whether another attempt may succeed; says nothing where the severity is `warn`.
    pub recoverable: bool,
    /// Whether the text at `span` is replaced, which [`GuardState::masks`](super::GuardState::masks) does.
    pub masked: bool,
}

impl Hit {
    /// Whether the attempt ends here.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.severity != Severity::Warn
    }

    /// Whether an expression was merely open for too long, which matters only to a consumer from whom text is held back.
    #[must_use]
    pub fn undecided(&self) -> bool {
        matches!(self.finding, Finding::Undecided(_))
    }
}

/// What feeding a piece of text, or ending it, brought to light.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    /// The findings, in the order in which the text decided them.
    pub hits: SmallVec<[Hit; 1]>,
    /// What drifted past its threshold just now.
    pub drifts: SmallVec<[super::drift::Drifted; 1]>,
}

impl Verdict {
    /// Whether there is nothing to say, as nearly always.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.hits.is_empty() && self.drifts.is_empty()
    }

    /// The gravest hit that ends the attempt; the first of them where several are equal.
    #[must_use]
    pub fn stop(&self) -> Option<&Hit> {
        let stops = self.hits.iter().filter(|hit| hit.stops());
        stops.reduce(|gravest, hit| if hit.severity > gravest.severity { hit } else { gravest })
    }
}
