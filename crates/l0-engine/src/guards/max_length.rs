//! There is not too much text.

use serde::{Deserialize, Serialize};

use super::hit::{At, Finding, Span};
use super::spec::Problem;
use super::watch::{End, Watch};

/// How much text there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxLengthSpec {
    /// In characters.
    pub max_chars: usize,
}

impl MaxLengthSpec {
    pub(super) fn compile(self) -> Result<MaxLengthGuard, Problem> {
        Problem::unless_within("max_chars", self.max_chars, 1..=1_000_000_000)?;
        Ok(MaxLengthGuard { left: Some(self.max_chars) })
    }
}

#[derive(Debug, Clone)]
pub(super) struct MaxLengthGuard {
    /// How many characters may still come; `None` once one too many came.
    left: Option<usize>,
}

impl Watch for MaxLengthGuard {
    fn feed(&mut self, text: &str, at: At, found: &mut impl FnMut(Finding, Span)) {
        let Some(left) = self.left else {
            return;
        };
        if text.len() <= left {
            self.left = Some(left - text.chars().count());
            return;
        }
        match text.char_indices().nth(left) {
            None => self.left = Some(left - text.chars().count()),
            Some((byte, ch)) => {
                self.left = None;
                let start = At { byte: at.byte + byte, char: at.char + left };
                let end = start.step(ch);
                found(Finding::TooLong, Span { start, end });
            }
        }
    }

    fn finish(&mut self, _end: End, _found: &mut impl FnMut(Finding, Span)) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::guards::testing::{findings, guard, guards, hits, same_however_split};
    use crate::guards::{Check, GuardSpec, NotEmptySpec, check};

    use super::*;

    #[test]
    fn the_first_character_too_many_is_named() {
        let set = guard(Check::MaxLength(MaxLengthSpec { max_chars: 5 }));
        assert_eq!(findings(&set, "héllo"), []);
        let hits = hits(&set, "héllo wörld");
        let [hit] = hits.as_slice() else {
            panic!("one hit, not {hits:?}");
        };
        assert_eq!(hit.finding, Finding::TooLong);
        assert_eq!((hit.span.start.byte, hit.span.start.char), (6, 5));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_hits(
            text in "[aé好 ]{0,20}",
            max_chars in 1usize..20,
            cuts in prop::collection::vec(0usize..40, 0..6),
        ) {
            let set = guards(&[
                GuardSpec::new(Check::MaxLength(MaxLengthSpec { max_chars })),
                GuardSpec::new(Check::NotEmpty(NotEmptySpec { min_chars: max_chars })),
            ]);
            same_however_split(&set, &text, &cuts);
            let too_long = check(&set, &text).iter().any(|hit| hit.finding == Finding::TooLong);
            prop_assert_eq!(too_long, text.chars().count() > max_chars);
        }
    }
}
