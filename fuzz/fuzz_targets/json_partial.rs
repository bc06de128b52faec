//! The value of a growing document is JSON at every point, the same however the text is cut, and never taken back.
#![no_main]

use l0_engine::json::{News, Partial};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

fuzz_target!(|input: (u8, &str)| {
    let (cut, text) = input;
    let mut whole = Partial::new();
    whole.feed(text);
    let mut split = Partial::new();
    let mut shown = None;
    let mut open = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.char_indices().nth(usize::from(cut) + 1).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(at);
        let changed = split.feed(piece);
        let now = split.snapshot();
        if let Some(json) = &now {
            assert!(serde_json::from_str::<IgnoredAny>(json).is_ok(), "{json:?}");
        }
        assert!(changed || now == shown, "{shown:?} {now:?}");
        for news in split.drain() {
            open += match news {
                News::BeginObject | News::BeginArray => 1,
                News::End => -1,
                _ => 0,
            };
        }
        assert!(open >= 0 && (open == 0) == (now.is_none() || split.is_complete()));
        shown = now;
        rest = after;
    }
    assert_eq!(split.snapshot(), whole.snapshot());
    assert_eq!(split.status(), whole.status());
});
