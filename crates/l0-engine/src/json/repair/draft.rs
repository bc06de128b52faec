//! The output as edits of the input: what is right is copied in long stretches and never looked at again.

use std::ops::Range;

use super::change::{Change, Fix};

/// The repaired text under construction. Everything of the input before `copied` is decided.
pub(super) struct Draft<'a> {
    input: &'a str,
    out: String,
    copied: usize,
    changes: Vec<Change>,
    #[cfg(test)]
    pub(super) steps: usize,
}

/// A place in the input together with what the draft was when the pass came by, so that it can be found in the
/// output later, or returned to, in constant time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mark {
    pub(super) at: usize,
    copied: usize,
    out_len: usize,
    changes: usize,
}

impl Mark {
    /// The same state of the output, at a later place of the input up to which everything is left out.
    pub(super) fn moved_to(self, at: usize) -> Self {
        Self { at, copied: at, ..self }
    }
}

impl<'a> Draft<'a> {
    pub(super) fn new(input: &'a str) -> Self {
        Self {
            input,
            out: String::new(),
            copied: 0,
            changes: Vec::new(),
            #[cfg(test)]
            steps: 0,
        }
    }

    pub(super) fn mark(&self, at: usize) -> Mark {
        Mark { at, copied: self.copied, out_len: self.out.len(), changes: self.changes.len() }
    }

    pub(super) fn report(&mut self, fix: Fix, at: usize) {
        self.changes.push(Change { fix, at });
    }

    /// Takes back what was reported of a stretch of the input before change number `until`, which moves accordingly.
    pub(super) fn retract(&mut self, range: Range<usize>, until: &mut usize) {
        let later = self.changes.split_off((*until).min(self.changes.len()));
        self.changes.retain(|change| !range.contains(&change.at));
        *until = self.changes.len();
        self.changes.extend(later);
    }

    /// Puts `with` in place of a stretch of the input that lies after everything decided so far.
    pub(super) fn replace(&mut self, range: Range<usize>, with: &str) {
        self.copy_to(range.start);
        self.push(with);
        self.copied = range.end;
    }

    /// [`Draft::replace`], and says what for.
    pub(super) fn fix(&mut self, fix: Fix, range: Range<usize>, with: &str) {
        self.report(fix, range.start);
        self.replace(range, with);
    }

    /// Replaces `deleted` bytes at a marked place with `with`, although the pass went on since, and marks the end
    /// of what was put in. Costs what was written since the mark: callers only reach back over whitespace or one key.
    /// Marks taken since then must not be returned to.
    pub(super) fn splice(&mut self, mark: Mark, deleted: usize, with: &str) -> Mark {
        if self.copied == mark.copied && self.out.len() == mark.out_len {
            self.replace(mark.at..mark.at + deleted, with);
            return self.mark(mark.at + deleted);
        }
        let place = mark.out_len + (mark.at - mark.copied);
        let end = place + deleted;
        #[cfg(test)]
        {
            self.steps += self.out.len().saturating_sub(place);
        }
        if self.out.is_char_boundary(place) && self.out.is_char_boundary(end) && end <= self.out.len() {
            self.out.replace_range(place..end, with);
        } else {
            debug_assert!(false, "a mark that is not in the output");
        }
        Mark { out_len: place + with.len(), ..mark }
    }

    /// Forgets everything decided since the mark, the changes reported since among it.
    pub(super) fn rewind(&mut self, mark: Mark) {
        self.changes.truncate(mark.changes);
        if self.copied == mark.copied && self.out.len() == mark.out_len {
            return;
        }
        // What comes before the mark was copied since, and need not be again.
        self.out.truncate(mark.out_len + (mark.at - mark.copied));
        self.copied = mark.at;
    }

    /// Ends the output so far at the closing quote that the mark follows, without that quote.
    pub(super) fn reopen_string(&mut self, mark: Mark) {
        self.rewind(mark);
        self.copy_to(mark.at);
        self.out.pop();
    }

    /// Takes the input up to `at` over as it is.
    pub(super) fn copy_to(&mut self, at: usize) {
        if at > self.copied {
            let stretch = self.input.get(self.copied..at).unwrap_or_default();
            debug_assert_eq!(stretch.len(), at - self.copied, "a border inside a character");
            self.push(stretch);
            self.copied = at;
        }
    }

    /// Starts a document at `at`: nothing of the input before it is copied.
    pub(super) fn begin(&mut self, at: usize) -> usize {
        self.copied = at;
        self.out.len()
    }

    /// Whether nothing was edited since the document was begun.
    pub(super) fn is_unedited(&self, begun_at: usize, written: usize) -> bool {
        self.copied == begun_at && self.out.len() == written
    }

    pub(super) fn written(&self) -> usize {
        self.out.len()
    }

    pub(super) fn changes(&self) -> &[Change] {
        &self.changes
    }

    pub(super) fn text(&self, range: Range<usize>) -> &str {
        self.out.get(range).unwrap_or_default()
    }

    fn push(&mut self, text: &str) {
        #[cfg(test)]
        {
            self.steps += text.len();
        }
        if self.out.capacity() == 0 {
            self.out.reserve(self.input.len() + 16);
        }
        self.out.push_str(text);
    }
}
