//! Repair: the JSON a model meant, out of what it wrote.
//!
//! A text that is JSON is returned as it is, byte for byte; no rule below ever sees it. Any other text is read once,
//! from its beginning to its end. What is right is copied; what is wrong is edited, and each edit is reported. Where
//! the text leaves a choice, what follows decides, read no further than
//! [`LOOKAHEAD`](source::LOOKAHEAD) bytes ahead. Nothing is made up: a key without a value is dropped, and so is one
//! that the end of the text cut.

mod bare;
mod change;
mod document;
mod draft;
mod evidence;
mod outline;
mod source;
mod string;

use std::borrow::Cow;

pub use self::change::{Change, Fix};
use self::draft::Draft;
use self::outline::{Body, Found, Outline};
use self::source::Source;
use super::scan::{MAX_DEPTH, Scanner, Status};

/// How many changes are listed; a text that needs more is hardly the document that was meant.
pub const CHANGES_MAX: usize = 1_000;

/// What to make of a text in which things are left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Which one, where there are several documents.
    pub documents: Documents,
    /// The deepest nesting accepted.
    pub depth_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            documents: Documents::Longest,
            depth_max: MAX_DEPTH,
        }
    }
}

/// Which document, where a text holds several. Those in a code fence for JSON come before those in running text, and
/// these before bare numbers in brackets within a sentence and before whatever stands in a model's thoughts; the
/// choice is among the first of these groups that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Documents {
    /// The longest, and the first of equals: small examples and references lose to the answer.
    #[default]
    Longest,
    /// The first.
    First,
    /// The last.
    Last,
    /// All of them as one array, in order; one alone stays as it is.
    All,
}

/// JSON, and what was done to make it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired<'a> {
    /// The document: the input itself where that was JSON, part of it where only something around it had to go.
    pub text: Cow<'a, str>,
    /// Every edit, in the order of the input, up to [`CHANGES_MAX`] of them; none if the input was JSON.
    pub changes: Vec<Change>,
    /// How many edits there were beyond those listed.
    pub changes_omitted: usize,
    /// The document was still open where the text ended: it is a beginning, and a number or string at its end may be
    /// incomplete.
    pub cut: bool,
}

/// Why there is nothing to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unrepairable {
    /// No object or array begins anywhere, and the whole is no string, number or literal either.
    #[error("the text holds no JSON, not even a broken beginning of it")]
    NoJson,
    /// A container is nested deeper than the options allow.
    #[error("the container at byte {at} is nested too deep")]
    TooDeep {
        /// Byte offset of its opener.
        at: usize,
    },
}

#[derive(Debug)]
struct TooDeep {
    at: usize,
}

/// Returns the JSON in `text`, repaired where it is broken.
///
/// Linear in the length of the text. What is returned is JSON, so repairing it again changes nothing.
///
/// ```
/// use l0_engine::json::{Options, repair};
///
/// let repaired = repair("Sure! {name: 'Ada', \"tags\": [1, 2,", &Options::default()).unwrap();
/// assert_eq!(repaired.text, r#"{"name": "Ada", "tags": [1, 2]}"#);
/// assert!(repaired.cut);
/// ```
///
/// # Errors
///
/// [`Unrepairable::NoJson`] where there is nothing that could be repaired, [`Unrepairable::TooDeep`] past
/// [`Options::depth_max`].
pub fn repair<'a>(text: &'a str, options: &Options) -> Result<Repaired<'a>, Unrepairable> {
    let mut scanner = Scanner::with_max_depth(options.depth_max);
    scanner.feed(text);
    if scanner.finish() == Status::Complete {
        return Ok(Repaired {
            text: Cow::Borrowed(text),
            changes: Vec::new(),
            changes_omitted: 0,
            cut: false,
        });
    }
    let source = Source::new(text);
    let mut draft = Draft::new(text);
    repair_broken(&source, &mut draft, options)
}

fn repair_broken<'a>(
    source: &Source<'a>,
    draft: &mut Draft<'a>,
    options: &Options,
) -> Result<Repaired<'a>, Unrepairable> {
    // The array around several documents is one level more.
    let depth_max = match options.documents {
        Documents::All => options.depth_max.saturating_sub(1),
        _ => options.depth_max,
    };
    let found = Outline::new(source, draft, depth_max)
        .documents()
        .map_err(|TooDeep { at }| Unrepairable::TooDeep { at })?;
    let chosen = choose(&found, options.documents).ok_or(Unrepairable::NoJson)?;
    let text = match chosen.as_slice() {
        [only] => text_of(only, source, draft),
        several => {
            let texts: Vec<_> = several
                .iter()
                .map(|found| text_of(found, source, draft))
                .collect();
            Cow::Owned(format!("[{}]", texts.join(",")))
        }
    };
    let (changes, changes_omitted) = listed(&found, &chosen, draft);
    Ok(Repaired {
        text,
        changes,
        changes_omitted,
        cut: chosen.iter().any(|found| found.cut),
    })
}

fn choose(found: &[Found], documents: Documents) -> Option<Vec<&Found>> {
    let rank = found.iter().map(|found| found.rank).max()?;
    let mut best = found.iter().filter(|found| found.rank == rank);
    Some(match documents {
        Documents::First => vec![best.next()?],
        Documents::Last => vec![best.next_back()?],
        // `max_by_key` would give the last of equals.
        Documents::Longest => vec![best.rev().max_by_key(|found| found.body.len())?],
        Documents::All => best.collect(),
    })
}

fn text_of<'a>(found: &Found, source: &Source<'a>, draft: &Draft<'a>) -> Cow<'a, str> {
    match &found.body {
        Body::Input(range) => Cow::Borrowed(source.slice(range.start, range.end)),
        Body::Draft(range) => Cow::Owned(draft.text(range.clone()).to_owned()),
    }
}

/// The changes to the chosen documents and around them, in order.
fn listed(found: &[Found], chosen: &[&Found], draft: &Draft<'_>) -> (Vec<Change>, usize) {
    let first = chosen.first().map(|found| found.at.start);
    let others = found
        .iter()
        .map(|found| found.at.start)
        .filter(|at| Some(*at) != first);
    let mut changes: Vec<Change> = others
        .map(|at| Change {
            fix: Fix::OtherDocument,
            at,
        })
        .collect();
    changes.extend(outline::outside(found, draft.changes()));
    for found in chosen {
        changes.extend_from_slice(
            draft
                .changes()
                .get(found.changes.clone())
                .unwrap_or_default(),
        );
    }
    let omitted = changes.len().saturating_sub(CHANGES_MAX);
    changes.sort_by_key(|change| change.at);
    changes.truncate(CHANGES_MAX);
    (changes, omitted)
}
