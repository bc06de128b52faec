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
mod skim;
mod source;
mod string;

use std::borrow::Cow;

pub use self::change::{Change, Fix};
use self::draft::Draft;
use self::outline::{Body, Found, Outline};
use self::source::Source;
pub(super) use self::source::literal;
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
        Self { documents: Documents::Longest, depth_max: MAX_DEPTH }
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
            let texts: Vec<_> = several.iter().map(|found| text_of(found, source, draft)).collect();
            Cow::Owned(format!("[{}]", texts.join(",")))
        }
    };
    let (changes, changes_omitted) = listed(&found, &chosen, draft);
    Ok(Repaired { text, changes, changes_omitted, cut: chosen.iter().any(|found| found.cut) })
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
    let others = found.iter().map(|found| found.at.start).filter(|at| Some(*at) != first);
    let mut changes: Vec<Change> = others.map(|at| Change { fix: Fix::OtherDocument, at }).collect();
    changes.extend(outline::outside(found, draft.changes()));
    for found in chosen {
        changes.extend_from_slice(draft.changes().get(found.changes.clone()).unwrap_or_default());
    }
    let omitted = changes.len().saturating_sub(CHANGES_MAX);
    changes.sort_by_key(|change| change.at);
    changes.truncate(CHANGES_MAX);
    (changes, omitted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;
    use serde_json::Value;

    use super::*;
    use crate::json::samples::{Style, any_text, begins, container, dialect, document};

    /// What a text begins with, to be followed by many of the same.
    const OPENERS: &[&str] = &[
        "",
        "{\"a\": ",
        "{\"a\": \"",
        "[",
        "[\"",
        "{'a': '",
        "{",
        "words [",
        "```json\n",
        "{\\\"a\\\": \\\"",
        "{“a”: “",
    ];

    /// What a text may repeat without end.
    const SEEDS: &[&str] = &[
        "{\"a\": 1, ",
        "[",
        "{",
        "{\"a\":",
        "[{\"a\":[",
        "\"",
        "\"\"",
        "\",",
        "\", \"",
        "\",\"a",
        "'",
        "',",
        "”,“",
        "\\\"",
        "\\\\\"",
        "[\"",
        "{\"",
        "{\"a\": \"{\"",
        "[\"[\"",
        "]",
        "}",
        "[1}",
        "{1]",
        "[(",
        ")",
        ", ",
        ":",
        "::",
        "a ",
        "a,",
        "a:",
        "1,",
        "1 ",
        "1,000",
        "-",
        "/*",
        "/* */",
        "//",
        "// \n",
        "#",
        "`",
        "```",
        "``` ",
        "```json\n{",
        "...",
        "…",
        "\n",
        "\n\"",
        " ",
        "\u{a0}",
        "\"a\" ",
        "\"a\" + ",
        "+ \"",
        "{'",
        "['a",
        "x{",
        "x[",
        "[[a",
        "{{a",
        "[ ",
        "{ ",
        "{a:",
        "{a:b,",
        "[1]",
        "{}",
        "[]",
        "</think>",
        "{}</think>",
        "{\"a\": 1,}\n",
        "\\n",
        "\\u",
        "\\ud800",
        "\"\n\"",
        "\"x\n\"y\": ",
        ", \"k\": \"v",
        "\"}",
        "\"]",
        "\",}",
        "{\"a\":{\"b\":",
        "[\"a\": ",
        "(",
        "{\"a\" ",
        "{\"a\":1}",
        "{\"a\":1},",
        "\"a\":1},",
        "{[",
        "{[}",
        "{\"a\":1{",
        "\"{",
        "\"[1",
        "=",
        ";",
        "t",
        "tr",
        "true ",
        "u'",
    ];

    fn repaired(text: &str) -> Repaired<'_> {
        repair(text, &Options::default()).unwrap_or_else(|error| panic!("{error}: {text:?}"))
    }

    fn value(text: &str) -> Value {
        let json = repaired(text).text;
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json:?} from {text:?}"))
    }

    fn is_json(text: &str) -> bool {
        serde_json::from_str::<IgnoredAny>(text).is_ok()
    }

    fn options() -> impl Strategy<Value = Options> {
        let documents = [Documents::Longest, Documents::First, Documents::Last, Documents::All];
        prop::sample::select(documents.to_vec())
            .prop_map(|documents| Options { documents, ..Options::default() })
    }

    /// Bytes read and written per byte of the text.
    fn steps(text: &str) -> usize {
        let source = Source::new(text);
        let mut draft = Draft::new(text);
        // No bound on depth, which would end the work early.
        let _ = repair_broken(&source, &mut draft, &Options { depth_max: usize::MAX, ..Options::default() });
        source.steps() + draft.steps
    }

    /// How many steps a byte takes when a text is long, which is no more than when it is short.
    fn assert_linear(opener: &str, seed: &str, after: &str) {
        let per_byte = |times: usize| {
            let text = format!("{opener}{}{after}", seed.repeat(times));
            #[expect(clippy::cast_precision_loss, reason = "small counts")]
            let per_byte = steps(&text) as f64 / text.len() as f64;
            per_byte
        };
        let (short, long) = (per_byte(64), per_byte(1_024));
        assert!(long < 25.0, "{long} steps a byte for {opener:?}, {seed:?}, {after:?}");
        let grows = long > short * 1.5 + 2.0;
        assert!(!grows, "{short} steps a byte became {long} for {opener:?}, {seed:?}, {after:?}");
    }

    #[test]
    fn work_grows_with_the_text_and_not_faster() {
        let text = "[{'a': 1, }]";
        assert!(steps(text) > text.len(), "what is counted covers the text");
        for opener in OPENERS {
            for seed in SEEDS {
                for after in ["", "\"}", "\n}\n```"] {
                    assert_linear(opener, seed, after);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_500))]

        #[test]
        fn json_is_returned_as_it_is(text in document()) {
            for documents in [Documents::Longest, Documents::First, Documents::Last, Documents::All] {
                let repaired = repair(&text, &Options { documents, ..Options::default() }).expect("JSON");
                prop_assert!(matches!(repaired.text, Cow::Borrowed(same) if std::ptr::eq(same, text.as_str())));
                prop_assert!(repaired.changes.is_empty() && !repaired.cut);
            }
        }

        #[test]
        fn what_is_returned_is_json_and_stays_as_it_is(text in prop_oneof![any_text(), dialect()], options in options()) {
            let Ok(first) = repair(&text, &options) else { return Ok(()) };
            prop_assert!(is_json(&first.text), "{:?}", first);
            let again = repair(&first.text, &options).expect("JSON");
            prop_assert_eq!(&again.text, &first.text);
            prop_assert!(again.changes.is_empty());
            prop_assert_eq!(first.changes.is_empty(), first.text == text);
            prop_assert!(first.changes.iter().all(|change| text.is_char_boundary(change.at)));
            prop_assert!(first.changes.is_sorted_by_key(|change| change.at));
        }

        #[test]
        fn work_grows_no_faster_whatever_repeats(
            opener in prop::sample::select(OPENERS),
            seeds in prop::collection::vec(prop::sample::select(SEEDS), 2..5),
            after in prop::sample::select(vec!["", "\"", "\"}", "}", "\n```"]),
        ) {
            assert_linear(opener, &seeds.concat(), after);
        }

        /// What is skimmed is what the careful pass would have made of it.
        #[test]
        fn skimming_changes_nothing_but_the_time(text in prop_oneof![any_text(), dialect()], options in options()) {
            let made = |careful: bool| {
                let mut source = Source::new(&text);
                source.careful = careful;
                repair_broken(&source, &mut Draft::new(&text), &options)
            };
            prop_assert_eq!(made(false), made(true));
        }

        /// Whatever the end of the text cuts, nothing that was there is told differently.
        #[test]
        fn a_beginning_repairs_to_a_beginning(whole in container(), pretty in any::<bool>(), compact in any::<bool>()) {
            let text = match (pretty, compact) {
                (true, _) => serde_json::to_string_pretty(&whole).expect("JSON"),
                (_, true) => whole.to_string(),
                _ => Style::JSON.write(&whole),
            };
            for (end, _) in text.char_indices().skip(1) {
                let part = &text[..end];
                let json = match repair(part, &Options::default()) {
                    Ok(repaired) => repaired,
                    Err(error) => panic!("{error}: {part:?}"),
                };
                let known: Value = serde_json::from_str(&json.text).expect("JSON");
                prop_assert!(begins(&known, &whole), "{} from {:?}", json.text, part);
                prop_assert!(json.cut);
            }
        }

        /// One habit of models at a time, over a whole document.
        #[test]
        fn a_dialect_keeps_its_meaning(whole in container(), habit in 0..Style::HABITS.len()) {
            let written = Style::HABITS[habit].write(&whole);
            // Typographic quotes unescaped between typographic quotes: which is which, nobody can tell.
            prop_assume!(Style::HABITS[habit].quotes.0 != "“" || !whole.to_string().contains(['“', '”']));
            prop_assert_eq!(value(&written), whole, "{}", written);
        }

        /// Closers that never came, and everything around a document that is none of it.
        #[test]
        fn what_is_around_a_document_goes(
            // Empty brackets are hard to tell from what is said around them.
            whole in container().prop_filter("empty", |whole| whole.to_string().len() > 2),
            place in 0..6_usize,
        ) {
            let json = whole.to_string();
            let pretty = serde_json::to_string_pretty(&whole).expect("JSON");
            let text = match place {
                0 => format!("```json\n{pretty}\n```"),
                1 => format!("Here it is:\n\n```\n{pretty}\n```\nAnything else?"),
                2 => format!("Here it is:\n{pretty}\n\nI hope it's what you wanted!"),
                3 => format!("<think>Maybe {{\"a\": {json}, \"b\": {json}}}.</think>\n{json}"),
                4 => format!("\u{feff}{json};"),
                _ => format!("result = {pretty}\n"),
            };
            prop_assert_eq!(value(&text), whole, "{}", text);
        }
    }
}
