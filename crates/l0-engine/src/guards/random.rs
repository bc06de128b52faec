//! Whether a token was drawn at random, as keys are, or written by someone, as names and placeholders are.
//!
//! Integers only, so that every machine decides alike.

/// How a token has to look to pass for a random one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Draw {
    /// Small letters, large letters and digits, or at least two of them, thoroughly mixed. A name in camel case is
    /// mixed as well: where one could stand, something else has to tell.
    Mixed,
    /// Any characters, none of them much more often than the others.
    Any,
}

/// Whether `token` looks drawn at random.
pub(super) fn is_random(token: &str, draw: Draw) -> bool {
    let chars = token.bytes().filter(u8::is_ascii_alphanumeric);
    let mut counts = [0_u32; 128];
    let (mut total, mut changes, mut last) = (0_u32, 0_u32, None);
    for byte in chars {
        total += 1;
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
        let kind = Kind::of(byte);
        changes += u32::from(last.is_some_and(|last| last != kind));
        last = Some(kind);
    }
    if total < 8 {
        return false;
    }
    // Two characters drawn from it are equal as often as in hexadecimal digits, with room for chance, or less.
    let pairs: u32 = counts.iter().map(|count| count * count.saturating_sub(1)).sum();
    let spread = pairs * 8 <= total * (total - 1);
    let mixed = draw == Draw::Any || changes * 5 >= total - 1;
    spread && mixed && !is_placeholder(token)
}

/// Whether `token` says of itself that it is none.
pub(super) fn is_placeholder(token: &str) -> bool {
    const WORDS: [&str; 12] = [
        "example",
        "xxxx",
        "your",
        "placeholder",
        "dummy",
        "sample",
        "changeme",
        "redacted",
        "insert",
        "secret",
        "password",
        "fake",
    ];
    // In small letters, in large ones, or capitalised: drawn letters spell a word now and then, but hardly ever so.
    let spells = |word: &str| {
        let large = word.to_ascii_uppercase();
        let (first, rest) = large.split_at(1);
        let capitalised = format!("{first}{}", rest.to_ascii_lowercase());
        token.contains(word) || token.contains(&large) || token.contains(&capitalised)
    };
    WORDS.into_iter().any(spells) || counts_up(&token.to_ascii_lowercase())
}

/// Whether it counts up: all of it for a while, as in `123456`, or mostly its digits or its letters, as in `a1b2c3d4`.
fn counts_up(token: &str) -> bool {
    const RUN_MIN: usize = 6;
    let digits = token.bytes().filter(u8::is_ascii_digit);
    let letters = token.bytes().filter(u8::is_ascii_lowercase);
    let mostly = |ascents: Ascents| ascents.count > 3 && ascents.count * 4 >= ascents.pairs * 3;
    Ascents::in_bytes(token.bytes()).longest + 1 >= RUN_MIN
        || mostly(Ascents::in_bytes(digits))
        || mostly(Ascents::in_bytes(letters))
}

/// How often a character is the successor of the one before.
#[derive(Debug, Default)]
struct Ascents {
    pairs: usize,
    count: usize,
    /// How often in a row.
    longest: usize,
}

impl Ascents {
    fn in_bytes(bytes: impl Iterator<Item = u8>) -> Self {
        let mut ascents = Self::default();
        let (mut last, mut run): (Option<u8>, usize) = (None, 0);
        for byte in bytes {
            if let Some(last) = last {
                let is_next = last.wrapping_add(1) == byte;
                run = if is_next { run + 1 } else { 0 };
                ascents.pairs += 1;
                ascents.count += usize::from(is_next);
                ascents.longest = ascents.longest.max(run);
            }
            last = Some(byte);
        }
        ascents
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Small,
    Large,
    Digit,
}

impl Kind {
    const fn of(byte: u8) -> Self {
        match byte {
            b'0'..=b'9' => Self::Digit,
            b'A'..=b'Z' => Self::Large,
            _ => Self::Small,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_tokens_look_random_and_written_ones_do_not() {
        for (token, random) in [
            ("8fK2pQx9LmR4vT7wZ1cB", true),
            ("9f86d081884c7d659a2feaa0c55ad015", true),
            ("my_service_account_name", false),
            ("00000000000000000000", false),
            ("abababababababababab", false),
            ("a1b2c3d4e5f6g7h8i9j0", false),
            ("0123456789abcdef0123", false),
            ("YOUR-API-KEY-8fK2pQx", false),
            ("8fK2", false),
        ] {
            assert_eq!(is_random(token, Draw::Mixed), random, "{token}");
        }
        assert!(is_random("QJXZKWVPNMTRHDLB", Draw::Any));
        assert!(!is_random("QJXZKWVPNMTRHDLB", Draw::Mixed));
    }
}
