//! Does this quote end the string, or is it part of what the string says?
//!
//! Models forget to escape quotes, and nothing in a string itself tells its last quote from the others. What follows
//! does: after a string comes a comma and a key, or a closer, or the end. The look ahead reads spaces, a comma and at
//! most one further key, never more than [`LOOKAHEAD`](super::source::LOOKAHEAD) bytes. It ends at the second quote
//! it meets, so that over a whole text each byte is read a bounded number of times.

use super::source::{KeyAhead, Source};

/// How well what follows fits the end of a string here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Evidence {
    /// It does not fit: the quote belongs to the string.
    None,
    /// It fits if something else is broken as well. Not enough where quotes inside the string are still unpaired.
    Weak,
    /// It is what JSON has there.
    Strong,
}

/// Where the string stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A key of an object.
    Key,
    /// The value of a key.
    Member,
    /// An item of an array.
    Item,
    /// The whole document.
    Root,
}

/// The containers around the string, as far as they bear on what may follow it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    pub(super) place: Place,
    pub(super) array_open: bool,
    pub(super) object_open: bool,
    /// The innermost container is inside an array.
    pub(super) in_array: bool,
}

/// Weighs what stands at `at`, behind a quote.
pub(super) fn closing(source: &Source<'_>, at: usize, around: Around) -> Evidence {
    let Some((next, line_ended)) = source.ahead(at, at) else {
        return Evidence::Strong;
    };
    let Some((byte, len)) = source.token(next) else {
        return Evidence::Strong;
    };
    let fits = match (around.place, byte) {
        (Place::Root, _) => return Evidence::None,
        (Place::Key, _) => after_key(source, next, byte, next > at),
        (_, b',' | b';') => after_comma(source, at, next + len, around),
        (_, b'}') if around.object_open => after_closer(source, at, next + len),
        (_, b']') if around.array_open => after_closer(source, at, next + len),
        (_, b'/') if source.comment(next) => Evidence::Weak,
        (_, b'#') if next > at => Evidence::Weak,
        (_, b'`') if source.fence(next) => Evidence::Weak,
        (_, b'+') => match source.ahead(at, next + 1) {
            Some((operand, _)) if source.quote(operand).is_some() => Evidence::Weak,
            _ => Evidence::None,
        },
        (Place::Item, b':') => Evidence::Weak,
        (Place::Item, _) if next > at && begins_item(source, at, next) => Evidence::Weak,
        (Place::Member, _) if source.quote(next).is_some() => match source.key(at, next) {
            KeyAhead::Colon if line_ended => Evidence::Strong,
            KeyAhead::Colon => Evidence::Weak,
            _ => Evidence::None,
        },
        (Place::Member, _) if next > at && source.bare_key(at, next) => Evidence::Weak,
        _ => Evidence::None,
    };
    // A quote at the end of a line is seldom in the middle of what is said.
    if line_ended { fits.max(Evidence::Weak) } else { fits }
}

fn after_key(source: &Source<'_>, next: usize, byte: u8, spaced: bool) -> Evidence {
    match byte {
        b':' | b'=' => Evidence::Strong,
        b',' | b'}' | b'{' | b'[' => Evidence::Weak,
        b'-' | b'0'..=b'9' if spaced => Evidence::Weak,
        _ if spaced && (source.quote(next).is_some() || source.literal(next)) => Evidence::Weak,
        _ => Evidence::None,
    }
}

fn after_comma(source: &Source<'_>, origin: usize, at: usize, around: Around) -> Evidence {
    let Some((next, line_ended)) = source.ahead(origin, at) else {
        return Evidence::Strong;
    };
    let Some((byte, _)) = source.token(next) else {
        return Evidence::Strong;
    };
    let is_quote = source.quote(next).is_some();
    let fits = match (around.place, byte) {
        (_, b'}') if around.object_open => Evidence::Strong,
        (_, b']') if around.array_open => Evidence::Strong,
        (_, b'/' | b'#') if source.comment(next) => Evidence::Weak,
        (_, b'.') if source.starts(next, "...") => Evidence::Weak,
        (_, b',') => Evidence::Weak,
        (Place::Item, b'{' | b'[') => Evidence::Strong,
        (Place::Item, _) if is_quote => Evidence::Strong,
        (Place::Item, b'-' | b'0'..=b'9') => scalar_item(source, origin, next),
        (Place::Item, _) if source.literal(next) => scalar_item(source, origin, next),
        (Place::Item, _) if bare_item(source, origin, next) => Evidence::Weak,
        (Place::Member, b'{') if around.in_array => Evidence::Weak,
        (Place::Member, _) if is_quote => match source.key(origin, next) {
            KeyAhead::Colon | KeyAhead::Cut => Evidence::Strong,
            KeyAhead::NoColon => Evidence::Weak,
            KeyAhead::No => Evidence::None,
        },
        (Place::Member, _) if source.bare_key(origin, next) => Evidence::Weak,
        _ => Evidence::None,
    };
    if line_ended { fits.max(Evidence::Weak) } else { fits }
}

/// A number or literal alone, or one that words follow.
fn scalar_item(source: &Source<'_>, origin: usize, at: usize) -> Evidence {
    let end = source.name_end(origin, at);
    match source.ahead(origin, end) {
        None => Evidence::Strong,
        Some((after, _)) => match source.token(after) {
            Some((b',' | b']', _)) => Evidence::Strong,
            _ => Evidence::Weak,
        },
    }
}

/// A value that follows another without a comma.
fn begins_item(source: &Source<'_>, origin: usize, at: usize) -> bool {
    match source.byte(at) {
        Some(b'{' | b'[') => true,
        Some(b'-' | b'0'..=b'9') => bare_item(source, origin, at),
        _ => source.quote(at).is_some() || source.literal(at),
    }
}

/// A word without quotes, and the array goes on or ends after it, or several that lack only the quote before them.
/// A literal that the end of the text cut is one too.
fn bare_item(source: &Source<'_>, origin: usize, at: usize) -> bool {
    let word = source.name_end(origin, at);
    let Some((after, line_ended)) = source.ahead(origin, word) else {
        return word > at;
    };
    match source.token(after) {
        Some((b',' | b']', _)) => word > at,
        _ if line_ended => false,
        _ => {
            let words = source.words_end(origin, after);
            source.byte(words) == Some(b'"')
                && matches!(source.ahead(origin, words + 1), Some((end, _)) if matches!(source.byte(end), Some(b',' | b']')))
        }
    }
}

fn after_closer(source: &Source<'_>, origin: usize, at: usize) -> Evidence {
    let Some((next, line_ended)) = source.ahead(origin, at) else {
        return Evidence::Strong;
    };
    match source.token(next) {
        None | Some((b',' | b'}' | b']' | b')' | b';' | b'<', _)) => Evidence::Strong,
        _ if line_ended || source.fence(next) => Evidence::Strong,
        _ => Evidence::Weak,
    }
}
