//! The scanner accepts what `serde_json` accepts, wherever the text is cut into pieces.
#![no_main]

use l0_engine::json::{MAX_DEPTH, Scanner, Status};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

fuzz_target!(|input: (u8, &str)| {
    let (cut, text) = input;
    let mut scanner = Scanner::with_max_depth(usize::MAX);
    scanner.feed(text);
    let accepted = scanner.finish() == Status::Complete;
    assert_eq!(accepted, serde_json::from_str::<IgnoredAny>(text).is_ok());

    let mut whole = Scanner::new();
    whole.feed(text);
    let mut split = Scanner::new();
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.char_indices().nth(usize::from(cut) + 1).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(at);
        split.feed(piece);
        rest = after;
    }
    assert_eq!(split.status(), whole.status());
    assert_eq!((split.depth(), split.in_string()), (whole.depth(), whole.in_string()));
    assert!(whole.depth() <= MAX_DEPTH);
});
