//! What the guards that follow the text by themselves have in common.

use super::hit::{At, Finding, Span};
use super::json::JsonGuard;
use super::json_schema::JsonSchemaGuard;
use super::latex::LatexGuard;
use super::markdown::MarkdownGuard;
use super::max_length::MaxLengthGuard;
use super::not_empty::NotEmptyGuard;

/// A guard's state in one text.
pub(super) trait Watch {
    /// Takes the piece of text that begins at `at`.
    fn feed(&mut self, text: &str, at: At, found: &mut impl FnMut(Finding, Span));

    /// Ends the text at `end`.
    fn finish(&mut self, end: End, found: &mut impl FnMut(Finding, Span));
}

/// How a text ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) at: At,
    /// Whether the answer held something other than text, such as a tool call: then text may be missing.
    pub(super) other_content: bool,
}

/// Any of them.
#[derive(Debug, Clone)]
pub(super) enum Watcher {
    Json(JsonGuard),
    JsonSchema(JsonSchemaGuard),
    Markdown(MarkdownGuard),
    Latex(LatexGuard),
    NotEmpty(NotEmptyGuard),
    MaxLength(MaxLengthGuard),
}

impl Watch for Watcher {
    #[inline]
    fn feed(&mut self, text: &str, at: At, found: &mut impl FnMut(Finding, Span)) {
        match self {
            Self::Json(guard) => guard.feed(text, at, found),
            Self::JsonSchema(guard) => guard.feed(text, at, found),
            Self::Markdown(guard) => guard.feed(text, at, found),
            Self::Latex(guard) => guard.feed(text, at, found),
            Self::NotEmpty(guard) => guard.feed(text, at, found),
            Self::MaxLength(guard) => guard.feed(text, at, found),
        }
    }

    fn finish(&mut self, end: End, found: &mut impl FnMut(Finding, Span)) {
        match self {
            Self::Json(guard) => guard.finish(end, found),
            Self::JsonSchema(guard) => guard.finish(end, found),
            Self::Markdown(guard) => guard.finish(end, found),
            Self::Latex(guard) => guard.finish(end, found),
            Self::NotEmpty(guard) => guard.finish(end, found),
            Self::MaxLength(guard) => guard.finish(end, found),
        }
    }
}
