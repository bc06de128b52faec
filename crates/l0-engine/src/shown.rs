//! What the consumer has been given.

use crate::json::{Kind, Scanner, Status};
use crate::protocol::Opaque;
use crate::tools::ToolCall;

/// Text and everything else a consumer was given, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    text: String,
    json: Scanner,
    marks: Vec<Mark>,
}

/// Something other than text that was given, and how much text was given before it.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) at: usize,
    pub(crate) what: Marked,
}

#[derive(Debug, Clone)]
pub(crate) enum Marked {
    Call(ToolCall),
    Opaque(Opaque),
}

impl Shown {
    pub(crate) fn push(&mut self, text: &str) {
        self.json.feed(text);
        self.text.push_str(text);
    }

    pub(crate) fn mark(&mut self, what: Marked) {
        self.marks.push(Mark { at: self.text.len(), what });
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn marks(&self) -> &[Mark] {
        &self.marks
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.text.is_empty() && self.marks.is_empty()
    }

    /// Whether all of it is one JSON document, complete or not.
    pub(crate) fn is_json_document(&self) -> bool {
        matches!(self.json.root(), Some(Kind::Object | Kind::Array))
            && matches!(self.json.status(), Status::Open | Status::Complete)
    }

    /// A number that grows with everything the consumer is given.
    pub(crate) const fn size(&self) -> usize {
        self.text.len() + self.marks.len()
    }

    pub(crate) fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.marks.iter().filter_map(|mark| match &mark.what {
            Marked::Call(call) => Some(call),
            Marked::Opaque(_) => None,
        })
    }
}
