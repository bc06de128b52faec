//! The broken text, and the short looks ahead that decisions rest on.

use std::cell::Cell;

use crate::json::scan::plain_len;

/// No look ahead reads further than this. A key longer than this is taken for one.
pub(super) const LOOKAHEAD: usize = 512;

/// What stands at both ends of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quote {
    Double,
    Single,
    Backtick,
    SmartDouble,
    SmartSingle,
    /// `\"`: the document was escaped as if it were inside a string.
    Escaped,
}

impl Quote {
    /// How many bytes at the start of `bytes` neither end a string of this kind nor need a closer look.
    pub(super) fn plain_len(self, bytes: &[u8]) -> usize {
        let special = |quote: fn(u8) -> bool| {
            let place = bytes.iter().position(|&byte| byte < 0x20 || byte == b'\\' || quote(byte));
            place.unwrap_or(bytes.len())
        };
        match self {
            Self::Double => plain_len(bytes),
            Self::Single => special(|byte| byte == b'\''),
            Self::Backtick => special(|byte| byte == b'`'),
            // First bytes of the typographic ones, and the plain one that may stand for the second.
            Self::SmartDouble => special(|byte| matches!(byte, b'"' | 0xe2 | 0xef)),
            Self::SmartSingle => special(|byte| matches!(byte, b'\'' | 0xe2)),
            Self::Escaped => special(|_| false),
        }
    }

    pub(super) fn is_smart(self) -> bool {
        matches!(self, Self::SmartDouble | Self::SmartSingle)
    }
}

/// What a quote begins, as far as it can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyAhead {
    /// A string and a colon: a key.
    Colon,
    /// The end came first.
    Cut,
    /// A string, and then something that may follow a key when its colon or value is missing.
    NoColon,
    /// A string and ordinary words after it.
    No,
}

pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    bytes: &'a [u8],
    /// Whether the document at hand was escaped as if inside a string, so that `\\n` between values is a line break.
    pub(super) escaped: Cell<bool>,
    /// Whether JSON inside a string is still looked for: a wrong guess costs a second look at the rest of the text,
    /// so there is only one.
    pub(super) embedding: Cell<bool>,
    #[cfg(test)]
    steps: Cell<usize>,
    /// Nothing is skimmed, so that tests can compare.
    #[cfg(test)]
    pub(super) careful: bool,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            escaped: Cell::new(false),
            embedding: Cell::new(true),
            #[cfg(test)]
            steps: Cell::new(0),
            #[cfg(test)]
            careful: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    pub(super) fn rest(&self, at: usize) -> &'a [u8] {
        self.bytes.get(at..).unwrap_or_default()
    }

    pub(super) fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    fn slice_bytes(&self, from: usize, to: usize) -> &'a [u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }

    pub(super) fn starts(&self, at: usize, with: &str) -> bool {
        self.rest(at).starts_with(with.as_bytes())
    }

    /// The end of the character at `at`.
    #[inline]
    pub(super) fn next(&self, at: usize) -> usize {
        let width = match self.byte(at) {
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..) => 4,
            _ => 1,
        };
        (at + width).min(self.len())
    }

    /// The ASCII byte that stands at `at`, or that the full-width punctuation there stands for, and its length.
    /// Any other character is given as its first byte.
    #[inline]
    pub(super) fn token(&self, at: usize) -> Option<(u8, usize)> {
        let byte = self.byte(at)?;
        if byte < 0x80 { Some((byte, 1)) } else { Some(self.wide_token(at, byte)) }
    }

    fn wide_token(&self, at: usize, byte: u8) -> (u8, usize) {
        if byte != 0xef {
            return (byte, self.next(at) - at);
        }
        let ascii = match self.rest(at) {
            [_, 0xbc, 0x8c, ..] => b',',
            [_, 0xbc, 0x9a, ..] => b':',
            [_, 0xbc, 0x9b, ..] => b';',
            [_, 0xbc, 0x9d, ..] => b'=',
            [_, 0xbc, 0xbb, ..] => b'[',
            [_, 0xbc, 0xbd, ..] => b']',
            [_, 0xbd, 0x9b, ..] => b'{',
            [_, 0xbd, 0x9d, ..] => b'}',
            _ => byte,
        };
        (ascii, 3)
    }

    /// The quote at `at` and its length.
    pub(super) fn quote(&self, at: usize) -> Option<(Quote, usize)> {
        Some(match self.rest(at) {
            [b'"', ..] => (Quote::Double, 1),
            [b'\'', ..] => (Quote::Single, 1),
            [b'`', b'`', b'`', ..] => return None,
            [b'`', ..] => (Quote::Backtick, 1),
            [b'\\', b'"', ..] => (Quote::Escaped, 2),
            [0xe2, 0x80, 0x9c..=0x9f, ..] | [0xef, 0xbc, 0x82, ..] => (Quote::SmartDouble, 3),
            [0xe2, 0x80, 0x98..=0x9b, ..] => (Quote::SmartSingle, 3),
            _ => return None,
        })
    }

    /// The length of what could close a string that `opener` opened.
    #[inline]
    pub(super) fn closer(&self, at: usize, opener: Quote) -> Option<usize> {
        if opener == Quote::Double {
            return (self.byte(at) == Some(b'"')).then_some(1);
        }
        self.other_closer(at, opener)
    }

    fn other_closer(&self, at: usize, opener: Quote) -> Option<usize> {
        let (quote, len) = self.quote(at)?;
        let fits = match opener {
            Quote::SmartDouble => matches!(quote, Quote::SmartDouble | Quote::Double),
            Quote::SmartSingle => matches!(quote, Quote::SmartSingle | Quote::Single),
            _ => quote == opener,
        };
        fits.then_some(len)
    }

    /// The length of a space at `at`: JSON's four, and those that models take for one.
    #[inline]
    pub(super) fn space(&self, at: usize) -> Option<usize> {
        match self.byte(at)? {
            b' ' | b'\t' | b'\n' | b'\r' => Some(1),
            b'!'..=b'[' | b']'..=0x7f => None,
            _ => self.odd_space(at),
        }
    }

    fn odd_space(&self, at: usize) -> Option<usize> {
        match self.rest(at) {
            [0x0b | 0x0c, ..] => Some(1),
            [0xc2, 0x85 | 0xa0, ..] => Some(2),
            [0xe2, 0x80, 0x80..=0x8d | 0xa8 | 0xa9 | 0xaf, ..]
            | [0xe2, 0x81, 0x9f | 0xa0, ..]
            | [0xe3, 0x80, 0x80, ..]
            | [0xef, 0xbb, 0xbf, ..] => Some(3),
            [b'\\', b'n' | b'r' | b't', ..] if self.escaped.get() => Some(2),
            _ => None,
        }
    }

    /// The first place from `at` on that is no space, and whether a line ended before it; `None` at the end of the
    /// text or of what a look ahead from `origin` may read.
    pub(super) fn ahead(&self, origin: usize, at: usize) -> Option<(usize, bool)> {
        let end = self.len().min(origin + LOOKAHEAD);
        let mut place = at;
        let mut line_ended = false;
        while let Some(len) = self.space(place) {
            line_ended |= matches!(self.rest(place), [b'\n' | b'\r', ..] | [b'\\', b'n', ..]);
            place += len;
            if place >= end {
                break;
            }
        }
        self.walked(place.saturating_sub(at) + 1);
        (place < end).then_some((place, line_ended))
    }

    /// What the quote at `at` begins, read up to the next quote of its kind.
    pub(super) fn key(&self, origin: usize, at: usize) -> KeyAhead {
        let Some((quote, len)) = self.quote(at) else {
            return KeyAhead::No;
        };
        let end = self.len().min(origin + LOOKAHEAD);
        let mut place = at + len;
        let close = loop {
            if place >= end {
                self.walked(place.saturating_sub(at));
                return KeyAhead::Cut;
            }
            if let Some(close) = self.closer(place, quote) {
                break close;
            }
            place = match self.byte(place) {
                Some(b'\\') => self.next(place + 1),
                _ => place + quote.plain_len(self.slice_bytes(place, end)).max(1),
            };
        };
        self.walked(place.saturating_sub(at));
        let Some((after, _)) = self.ahead(origin, place + close) else {
            return KeyAhead::Cut;
        };
        match self.token(after) {
            Some((b':' | b'=', _)) => KeyAhead::Colon,
            Some((b',' | b'}' | b'{' | b'[' | b'-' | b'0'..=b'9', _)) => KeyAhead::NoColon,
            _ if self.quote(after).is_some() || self.literal(after) => KeyAhead::NoColon,
            // The key itself may lack its second quote.
            _ if self.slice_bytes(at + len, place).contains(&b':') => KeyAhead::NoColon,
            _ => KeyAhead::No,
        }
    }

    /// Whether a name and a colon stand at `at`, without quotes.
    pub(super) fn bare_key(&self, origin: usize, at: usize) -> bool {
        matches!(self.bare_key_end(origin, at), Some((b':', _)))
    }

    /// Whether a name, a colon and what can only be a value stand at `at`.
    pub(super) fn bare_member(&self, origin: usize, at: usize) -> bool {
        let value = self.bare_key_end(origin, at).and_then(|(_, end)| self.ahead(origin, end));
        value.is_some_and(|(value, _)| {
            self.quote(value).is_some()
                || self.literal(value)
                || matches!(self.byte(value), Some(b'{' | b'[' | b'-' | b'0'..=b'9'))
        })
    }

    /// The colon or equals sign after the name at `at`, and its end. The name may have lost its first quote only.
    fn bare_key_end(&self, origin: usize, at: usize) -> Option<(u8, usize)> {
        let place = self.name_end(origin, at);
        if place == at {
            return None;
        }
        let quote = usize::from(self.byte(place) == Some(b'"'));
        let (after, _) = self.ahead(origin, place + quote)?;
        match self.token(after)? {
            // A colon and two slashes are the beginning of an address.
            (byte @ (b':' | b'='), len) if !self.starts(after, "://") => Some((byte, after + len)),
            _ => None,
        }
    }

    /// The end of the name at `at`.
    pub(super) fn name_end(&self, origin: usize, at: usize) -> usize {
        let end = self.len().min(origin + LOOKAHEAD);
        let mut place = at;
        while place < end && self.name(place) {
            place = self.next(place);
        }
        self.walked(place - at + 1);
        place
    }

    /// The end of the words at `at`: the next quote, line or anything structural.
    pub(super) fn words_end(&self, origin: usize, at: usize) -> usize {
        let rest = self.slice_bytes(at, self.len().min(origin + LOOKAHEAD));
        let stop = |byte: &u8| matches!(byte, b'"' | b',' | b'{' | b'}' | b'[' | b']' | b'\n');
        let len = rest.iter().position(stop).unwrap_or(rest.len());
        self.walked(len + 1);
        at + len
    }

    /// The length of the letter in `u'…'`, `b"…"`, `r"…"`. Not that of `f'…'`, which no data is printed with and
    /// mathematics is full of.
    pub(super) fn string_prefix(&self, at: usize) -> usize {
        let prefixed = matches!(self.rest(at), [b'u' | b'U' | b'b' | b'B' | b'r' | b'R', b'"' | b'\'', ..]);
        usize::from(prefixed)
    }

    /// Whether the character at `at` may be part of a name.
    #[inline]
    pub(super) fn name(&self, at: usize) -> bool {
        match self.byte(at) {
            None => false,
            Some(byte @ ..0x80) => is_name(byte),
            Some(_) => self.wide_name(at),
        }
    }

    fn wide_name(&self, at: usize) -> bool {
        match self.token(at) {
            Some((0x80.., _)) => self.quote(at).is_none() && self.space(at).is_none(),
            _ => false,
        }
    }

    /// Whether a whole literal stands at `at`.
    pub(super) fn literal(&self, at: usize) -> bool {
        let word = self.word(at);
        literal(word).is_some()
    }

    /// The run of letters at `at`, as far as a literal could reach.
    pub(super) fn word(&self, at: usize) -> &'a str {
        let len = self.rest(at).iter().take(16).take_while(|byte| is_name(**byte)).count();
        self.walked(len);
        self.slice(at, at + len)
    }

    /// Whether a comment begins at `at`.
    pub(super) fn comment(&self, at: usize) -> bool {
        matches!(self.rest(at), [b'/', b'/' | b'*', ..] | [b'#', ..])
    }

    pub(super) fn fence(&self, at: usize) -> bool {
        self.starts(at, "```")
    }

    /// Counts bytes read, so that tests can show the whole to be linear.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "counts in tests only"))]
    pub(super) fn walked(&self, bytes: usize) {
        #[cfg(test)]
        self.steps.set(self.steps.get() + bytes);
        #[cfg(not(test))]
        let _ = bytes;
    }

    #[cfg(test)]
    pub(super) fn steps(&self) -> usize {
        self.steps.get()
    }
}

/// An ASCII byte of a name: what a key written without quotes is made of.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'-' | b'.')
}

/// The JSON literal that a word stands for.
pub(in crate::json) fn literal(word: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 9] = [
        ("true", "true"),
        ("false", "false"),
        ("null", "null"),
        ("none", "null"),
        ("nil", "null"),
        ("undefined", "null"),
        ("nan", "null"),
        ("infinity", "null"),
        ("-infinity", "null"),
    ];
    if !matches!(word.as_bytes(), [b'a'..=b'z' | b'A'..=b'Z' | b'-', ..]) {
        return None;
    }
    WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, json)| *json)
}
