//! There is text: not nothing, and not only spaces.

use serde::{Deserialize, Serialize};

use super::hit::{At, Finding, Span};
use super::spec::Problem;
use super::watch::{End, Watch};

/// How much text there has to be. An answer that calls a tool may have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotEmptySpec {
    /// In characters that are not whitespace.
    pub min_chars: usize,
}

impl Default for NotEmptySpec {
    fn default() -> Self {
        Self { min_chars: 1 }
    }
}

impl NotEmptySpec {
    pub(super) fn compile(self) -> Result<NotEmptyGuard, Problem> {
        Problem::unless_within("min_chars", self.min_chars, 1..=1_000_000)?;
        Ok(NotEmptyGuard { missing: self.min_chars })
    }
}

#[derive(Debug, Clone)]
pub(super) struct NotEmptyGuard {
    /// How many characters are still missing.
    missing: usize,
}

impl Watch for NotEmptyGuard {
    fn feed(&mut self, text: &str, _at: At, _found: &mut impl FnMut(Finding, Span)) {
        if self.missing > 0 {
            let chars = text.chars().filter(|ch| is_visible(*ch));
            self.missing -= chars.take(self.missing).count();
        }
    }

    fn finish(&mut self, end: End, found: &mut impl FnMut(Finding, Span)) {
        if self.missing > 0 && !end.other_content {
            found(Finding::Empty, Span::empty(end.at));
        }
    }
}

/// Neither whitespace nor one of the characters that take no room at all.
fn is_visible(ch: char) -> bool {
    let no_width = matches!(ch, '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}');
    !no_width && !ch.is_whitespace() && !ch.is_control()
}

#[cfg(test)]
mod tests {
    use crate::guards::testing::{findings, guard};
    use crate::guards::{Check, Finding};

    use super::*;

    #[test]
    fn only_text_that_shows_counts() {
        for (text, empty) in [
            ("", true),
            (" \n\t\u{A0}\u{200B}\u{FEFF}", true),
            (".", false),
            ("   \n x", false),
            ("好", false),
            ("🙂", false),
        ] {
            let set = guard(Check::NotEmpty(NotEmptySpec::default()));
            let expected: &[Finding] = if empty { &[Finding::Empty] } else { &[] };
            assert_eq!(findings(&set, text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_answer_that_calls_a_tool_needs_no_text() {
        let set = guard(Check::NotEmpty(NotEmptySpec::default()));
        let mut state = set.start();
        state.other_content();
        assert!(state.finish(&set).is_clear());
    }

    #[test]
    fn the_least_is_a_matter_of_policy() {
        let set = guard(Check::NotEmpty(NotEmptySpec { min_chars: 3 }));
        assert_eq!(findings(&set, "a b"), [Finding::Empty]);
        assert_eq!(findings(&set, "a b c"), []);
    }
}
