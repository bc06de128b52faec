//! Broken JSON as models write it, and what each piece of it was meant to be.

use std::borrow::Cow;
use std::collections::BTreeSet;

use l0_engine::json::{
    CHANGES_MAX, Documents, Fix, MAX_DEPTH, Options, Scanner, Status, Unrepairable, repair,
};
use serde::Deserialize;
use serde_json::Value;

const BROKEN: &str = include_str!("data/broken_json.jsonl");

/// One line of the table: a text, what it means or that it means nothing, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Broken {
    text: String,
    #[serde(default, deserialize_with = "present")]
    value: Option<Value>,
    #[serde(default)]
    no_json: bool,
    #[serde(default)]
    documents: Which,
    why: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Which {
    #[default]
    Longest,
    First,
    Last,
    All,
}

/// `null` is a value; only a field that is not there is none.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn table() -> Vec<Broken> {
    BROKEN.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

fn options(which: &Which) -> Options {
    let documents = match which {
        Which::Longest => Documents::Longest,
        Which::First => Documents::First,
        Which::Last => Documents::Last,
        Which::All => Documents::All,
    };
    Options { documents, ..Options::default() }
}

#[test]
fn every_broken_text_means_what_was_meant() {
    let table = table();
    assert!(table.len() >= 200, "{} rows", table.len());
    let mut wrong = Vec::new();
    for row in &table {
        assert!(row.value.is_some() != row.no_json, "a row says one of value and no_json: {}", row.why);
        let repaired = repair(&row.text, &options(&row.documents));
        let means = repaired.as_ref().map(|repaired| serde_json::from_str::<Value>(&repaired.text).ok());
        let right = match (&means, &row.value) {
            (Ok(Some(means)), Some(value)) => means == value,
            (Err(Unrepairable::NoJson), None) => true,
            _ => false,
        };
        if !right {
            wrong.push(format!("{}: {:?}\n  gave {repaired:?}\n  not  {:?}", row.why, row.text, row.value));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows\n{}", wrong.len(), table.len(), wrong.join("\n"));
}

#[test]
fn a_repair_is_json_that_stays_and_every_edit_is_in_place() {
    for row in table() {
        let options = options(&row.documents);
        let Ok(repaired) = repair(&row.text, &options) else {
            continue;
        };
        let mut scanner = Scanner::new();
        scanner.feed(&repaired.text);
        assert_eq!(scanner.finish(), Status::Complete, "{row:?}: {repaired:?}");
        let again = repair(&repaired.text, &options).expect(&row.why);
        assert!(matches!(again.text, Cow::Borrowed(_)) && again.changes.is_empty(), "{row:?}: {again:?}");
        assert!(!repaired.changes.is_empty(), "{row:?}: {repaired:?}");
        assert_eq!(repaired.changes_omitted, 0, "{row:?}");
        for change in &repaired.changes {
            assert!(row.text.is_char_boundary(change.at), "{row:?}: {change:?}");
        }
    }
}

#[test]
fn every_kind_of_change_is_made_by_some_row() {
    let mut missing: BTreeSet<Fix> = Fix::ALL.iter().copied().collect();
    for row in table() {
        let changes =
            repair(&row.text, &options(&row.documents)).map_or(Vec::new(), |repaired| repaired.changes);
        for change in changes {
            missing.remove(&change.fix);
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn names_of_changes_are_fixed_words() {
    let names: BTreeSet<&str> = Fix::ALL.iter().map(|fix| fix.name()).collect();
    assert_eq!(names.len(), Fix::ALL.len());
    assert!(names.iter().all(|name| { name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') }));
}

#[test]
fn json_without_what_surrounds_it_is_not_copied() {
    let text = "Here: {\"a\": [1, 2]} there";
    let repaired = repair(text, &Options::default()).expect("an object");
    assert!(matches!(repaired.text, Cow::Borrowed(json) if json == "{\"a\": [1, 2]}"));
    assert!(!repaired.cut);
}

#[test]
fn nesting_is_bounded_in_broken_text_too() {
    let deep = "[".repeat(MAX_DEPTH);
    let repaired = repair(&deep, &Options::default()).expect("as deep as allowed");
    assert_eq!(repaired.text, format!("{deep}{}", "]".repeat(MAX_DEPTH)));
    let deeper = "[".repeat(MAX_DEPTH + 1);
    let too_deep = Unrepairable::TooDeep { at: MAX_DEPTH };
    assert_eq!(repair(&deeper, &Options::default()), Err(too_deep));
    let flat = Options { depth_max: 1, ..Options::default() };
    assert_eq!(repair("[[]]", &flat), Err(Unrepairable::TooDeep { at: 1 }));
    // The array around several documents counts.
    let all = Options { documents: Documents::All, depth_max: 2 };
    assert_eq!(repair("[[1]] [[2]]", &all), Err(Unrepairable::TooDeep { at: 1 }));
    assert_eq!(repair("[1] [2]", &all).expect("two levels").text, "[[1],[2]]");
}

#[test]
fn the_list_of_changes_is_bounded_and_says_what_it_omits() {
    let text = format!("[{}]", "1 ".repeat(CHANGES_MAX + 10));
    let repaired = repair(&text, &Options::default()).expect("an array");
    assert_eq!((repaired.changes.len(), repaired.changes_omitted), (CHANGES_MAX, 9));
}
