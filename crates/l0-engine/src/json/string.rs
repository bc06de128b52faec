//! The inside of JSON strings: escape sequences, and what they stand for.

use std::fmt::Write;

/// What the four digits of `\uXXXX` are in UTF-16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// A character.
    Char,
    /// The first half of a pair.
    High,
    /// The second half of a pair.
    Low,
}

impl Unit {
    pub(super) fn of(digits: &str) -> Self {
        match u16::from_str_radix(digits, 16) {
            Ok(0xd800..=0xdbff) => Self::High,
            Ok(0xdc00..=0xdfff) => Self::Low,
            _ => Self::Char,
        }
    }
}

/// The text that the inside of a JSON string stands for. What is no escape sequence, or half a pair, is left out:
/// callers give none.
pub(super) fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut chars = escape.chars();
        match chars.next() {
            Some('u') => {
                let (char, len) = unescape_unicode(escape);
                text.extend(char);
                rest = escape.get(len..).unwrap_or_default();
                continue;
            }
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            other => text.extend(other),
        }
        rest = chars.as_str();
    }
    text.push_str(rest);
    text
}

/// The character that `uXXXX`, or two of them with a backslash between, stand for, and their length.
fn unescape_unicode(escape: &str) -> (Option<char>, usize) {
    let unit = |from: usize| {
        let digits = escape.get(from..from + 4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    match (unit(1), unit(7)) {
        (Some(high @ 0xd800..=0xdbff), Some(low @ 0xdc00..=0xdfff)) => {
            (char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)), 11)
        }
        (Some(unit), _) => (char::from_u32(unit), 5),
        (None, _) => (None, 1),
    }
}

/// Writes a control character as its escape sequence.
pub(super) fn write_control(json: &mut String, control: u8) {
    match control {
        b'\n' => json.push_str("\\n"),
        b'\r' => json.push_str("\\r"),
        b'\t' => json.push_str("\\t"),
        0x08 => json.push_str("\\b"),
        0x0c => json.push_str("\\f"),
        _ => {
            // Writing to a string does not fail.
            let _ = write!(json, "\\u{control:04x}");
        }
    }
}
