//! A repair is JSON that stays as it is, or a typed failure; JSON itself is never touched.
#![no_main]

use std::borrow::Cow;

use l0_engine::json::{Documents, MAX_DEPTH, Options, Unrepairable, repair};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

fuzz_target!(|input: (u8, &str)| {
    let (which, text) = input;
    let documents = match which % 4 {
        0 => Documents::Longest,
        1 => Documents::First,
        2 => Documents::Last,
        _ => Documents::All,
    };
    let options = Options { documents, depth_max: MAX_DEPTH };
    let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    match repair(text, &options) {
        Ok(repaired) => {
            assert!(is_json(&repaired.text), "{:?}", repaired);
            assert_eq!(repaired.changes.is_empty(), repaired.text == text);
            assert!(repaired.changes.iter().all(|change| text.is_char_boundary(change.at)));
            let again = repair(&repaired.text, &options).expect("JSON");
            assert!(matches!(again.text, Cow::Borrowed(_)) && again.changes.is_empty());
        }
        Err(Unrepairable::TooDeep { at }) => assert!(at >= MAX_DEPTH - 1),
        Err(Unrepairable::NoJson) => assert!(!is_json(text)),
    }
});
