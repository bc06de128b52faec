//! What a policy may ask of the guards, as data.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::json::JsonSpec;
use super::json_schema::JsonSchemaSpec;
use super::latex::LatexSpec;
use super::markdown::MarkdownSpec;
use super::max_length::MaxLengthSpec;
use super::not_empty::NotEmptySpec;
use super::patterns::PatternsSpec;
use super::pii::PiiSpec;
use super::repetition::RepetitionSpec;
use super::secrets::SecretsSpec;
use super::user::UserSpec;

/// How many guards one set holds at most.
pub const GUARDS_MAX: usize = 256;

/// How many characters of a name or of a replacement there may be.
pub(super) const LABEL_CHARS_MAX: usize = 64;

/// One guard of a policy: what it looks for, and what becomes of an attempt in which it finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardSpec {
    /// How hits and records call it; the name of its check where none is given.
    #[serde(default)]
    pub name: Option<String>,
    /// What it looks for.
    pub check: Check,
    /// What becomes of the attempt.
    #[serde(default)]
    pub severity: Severity,
    /// Whether another attempt may do better. It matters for `error`: a `fatal` hit ends the session anyway.
    #[serde(default = "recoverable")]
    pub recoverable: bool,
    /// What to put in place of the text found. The attempt then goes on, so `severity` must be `warn`.
    #[serde(default)]
    pub mask: Option<String>,
}

impl GuardSpec {
    /// `check` with the defaults: an error from which another attempt may recover.
    #[must_use]
    pub fn new(check: Check) -> Self {
        Self { name: None, check, severity: Severity::default(), recoverable: recoverable(), mask: None }
    }

    /// The same guard with another severity.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// The same guard, replacing what it finds by `replacement` instead of failing the attempt.
    #[must_use]
    pub fn masking(mut self, replacement: &str) -> Self {
        self.severity = Severity::Warn;
        self.mask = Some(replacement.to_owned());
        self
    }

    /// The problems that every kind of guard can have; the check's own are found when it is compiled.
    pub(super) fn validate(&self) -> Result<(), Problem> {
        if let Some(name) = &self.name {
            validate_label("name", name)?;
        }
        if let Some(mask) = &self.mask {
            if !self.check.can_mask() {
                return Err(Problem::new("mask", "only patterns, secrets and pii can mask"));
            }
            if self.severity != Severity::Warn {
                return Err(Problem::new(
                    "severity",
                    "must be `warn` where `mask` is set, because a masked attempt goes on",
                ));
            }
            validate_label("mask", mask)?;
        }
        Ok(())
    }
}

/// What becomes of an attempt in which something was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It is recorded and goes on.
    Warn,
    /// It has failed.
    #[default]
    Error,
    /// The whole session has failed.
    Fatal,
}

/// What a guard looks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The text is one JSON document.
    Json(JsonSpec),
    /// The text is one JSON document that fits a schema.
    JsonSchema(JsonSchemaSpec),
    /// Fences are closed and tables hang together.
    Markdown(MarkdownSpec),
    /// Environments and display math are closed.
    Latex(LatexSpec),
    /// There is text.
    NotEmpty(NotEmptySpec),
    /// There is not too much text.
    MaxLength(MaxLengthSpec),
    /// None of some literals and regular expressions occurs.
    Patterns(PatternsSpec),
    /// No credential occurs.
    Secrets(SecretsSpec),
    /// No data about a person occurs.
    Pii(PiiSpec),
    /// Nothing is said over and over.
    Repetition(RepetitionSpec),
    /// Whatever the caller's own guard looks for.
    User(UserSpec),
}

impl Check {
    /// The name of the check, as a policy spells it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Json(_) => "json",
            Self::JsonSchema(_) => "json_schema",
            Self::Markdown(_) => "markdown",
            Self::Latex(_) => "latex",
            Self::NotEmpty(_) => "not_empty",
            Self::MaxLength(_) => "max_length",
            Self::Patterns(_) => "patterns",
            Self::Secrets(_) => "secrets",
            Self::Pii(_) => "pii",
            Self::Repetition(_) => "repetition",
            Self::User(_) => "user",
        }
    }

    const fn can_mask(&self) -> bool {
        matches!(self, Self::Patterns(_) | Self::Secrets(_) | Self::Pii(_))
    }
}

/// A guard that cannot be: which one, which of its fields, and what would be allowed there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", Place { rule: *rule, guard })]
pub struct GuardError {
    /// The guard's place in the list; `None` where it is the drift or the list itself.
    pub rule: Option<usize>,
    /// What the guard checks.
    pub guard: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a guard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {message}")]
pub struct Problem {
    /// The field, with its index where it is a list.
    pub field: String,
    /// What is wrong with its value, and what would be right.
    pub message: Cow<'static, str>,
}

impl Problem {
    pub(super) fn new(field: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), message: message.into() }
    }

    /// `Ok` where `value` is one of `allowed`.
    pub(super) fn unless_within(
        field: &str,
        value: usize,
        allowed: std::ops::RangeInclusive<usize>,
    ) -> Result<(), Self> {
        if allowed.contains(&value) {
            return Ok(());
        }
        let (least, most) = allowed.into_inner();
        Err(Self::new(field, format!("is {value}; allowed are {least} to {most}")))
    }
}

struct Place {
    rule: Option<usize>,
    guard: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Some(rule) => write!(out, "guard {rule} ({})", self.guard),
            None => out.write_str(self.guard),
        }
    }
}

const fn recoverable() -> bool {
    true
}

pub(super) fn validate_label(field: &str, label: &str) -> Result<(), Problem> {
    if label.is_empty() || label.chars().count() > LABEL_CHARS_MAX {
        return Err(Problem::new(field, format!("must have 1 to {LABEL_CHARS_MAX} characters")));
    }
    if label.chars().any(char::is_control) {
        return Err(Problem::new(field, "must not hold control characters"));
    }
    Ok(())
}
