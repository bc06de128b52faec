//! What the consumer has been given.

use crate::json::{Kind, Scanner, Status};
use crate::protocol::{Mode, Opaque};
use crate::tools::ToolCall;

/// Text and everything else a consumer was given, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    text: String,
    /// What was said where something else was shown: what an answer that starts over says again.
    said: Option<String>,
    json: Scanner,
    marks: Vec<Mark>,
}

/// Something other than text that was given, and how much had been said before it.
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
        if let Some(said) = &mut self.said {
            said.push_str(text);
        }
    }

    /// Shows something else than what was said.
    pub(crate) fn push_instead(&mut self, text: &str, said: &str) {
        let all = self.said.take().unwrap_or_else(|| self.text.clone()) + said;
        self.push(text);
        self.said = Some(all);
    }

    pub(crate) fn mark(&mut self, what: Marked) {
        self.marks.push(Mark { at: self.said().len(), what });
    }

    /// The text that an attempt begun in this way has to fit: one that starts over says what was masked again.
    pub(crate) fn as_expected_of(&self, mode: Mode) -> &str {
        if mode == Mode::Rerun { self.said() } else { self.text() }
    }

    /// What was said: the text, with what was masked in it.
    pub(crate) fn said(&self) -> &str {
        self.said.as_deref().unwrap_or(&self.text)
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
