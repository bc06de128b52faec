//! The strict scanner: is the text so far JSON, the beginning of JSON, or neither?

use smallvec::SmallVec;

use super::number::Number;

/// The deepest nesting accepted unless a caller asks for another bound: far beyond what a model means to write, and
/// small enough that no consumer that walks the value recursively runs out of stack.
pub const MAX_DEPTH: usize = 512;

/// Where a document stands after the text so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing but whitespace: no document has begun.
    Empty,
    /// Valid so far, and more is needed.
    Open,
    /// One whole document; only whitespace may follow.
    Complete,
    /// No continuation can make this JSON; sticky.
    Invalid {
        /// Byte offset, over everything fed, of the first byte that no JSON document has there.
        at: usize,
    },
}

/// What a value is, known from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number.
    Number,
    /// `true`, `false` or `null`.
    Literal,
}

/// A strict RFC 8259 structure scanner that takes the text in pieces of any size.
///
/// Constant work and no allocation per byte (nesting beyond 64 levels allocates one word per further 64). It keeps
/// no text, so it says whether there is a document, never which: numbers are not evaluated, keys may repeat, and
/// `\u` escapes need not pair up as surrogates, all of which the grammar leaves open.
///
/// ```
/// use l0_engine::json::{Scanner, Status};
///
/// let mut scanner = Scanner::new();
/// assert_eq!(scanner.feed(r#"{"city": "Par"#), Status::Open);
/// assert!(scanner.in_string());
/// assert_eq!(scanner.feed(r#"is"}"#), Status::Complete);
/// ```
#[derive(Debug, Clone)]
pub struct Scanner {
    state: State,
    root: Option<Kind>,
    /// One bit per open container, innermost in the highest: set for an object.
    objects: SmallVec<[u64; 1]>,
    depth: usize,
    depth_max: usize,
    position: usize,
    invalid_at: usize,
}

/// What the next byte may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The root value, not begun.
    Root,
    /// A value, after a colon or after a comma in an array.
    Value,
    /// A value or `]`.
    FirstItem,
    /// A key or `}`.
    FirstKey,
    /// A key, after a comma.
    Key,
    Colon,
    /// A comma or a closer.
    AfterItem,
    /// Inside a string, which is a key or a value.
    Text {
        key: bool,
    },
    /// After a backslash.
    Escape {
        key: bool,
    },
    /// Inside `\uXXXX`, this many hex digits to come.
    Hex {
        key: bool,
        left: u8,
    },
    /// Inside a literal, this many bytes of it seen.
    Literal {
        literal: Literal,
        seen: u8,
    },
    /// Inside a number.
    Number(Number),
    /// The root value is closed.
    End,
    Invalid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Literal {
    True,
    False,
    Null,
}

impl Literal {
    const fn text(self) -> &'static [u8] {
        match self {
            Self::True => b"true",
            Self::False => b"false",
            Self::Null => b"null",
        }
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner at the start of a document, nesting bounded by [`MAX_DEPTH`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_depth(MAX_DEPTH)
    }

    /// A scanner that refuses the opener of a container nested deeper than `depth_max`.
    #[must_use]
    pub fn with_max_depth(depth_max: usize) -> Self {
        Self {
            state: State::Root,
            root: None,
            objects: SmallVec::new(),
            depth: 0,
            depth_max,
            position: 0,
            invalid_at: 0,
        }
    }

    /// Takes the next piece of the text. Once invalid, the rest costs nothing, whatever its length.
    pub fn feed(&mut self, text: &str) -> Status {
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::Text { .. } => {
                    let plain = plain_len(bytes.get(at..).unwrap_or_default());
                    at += plain;
                    if plain > 0 {
                        continue;
                    }
                }
                // Whitespace changes nothing between values.
                State::Root
                | State::Value
                | State::FirstItem
                | State::FirstKey
                | State::Key
                | State::Colon
                | State::AfterItem
                | State::End
                    if is_space(byte) =>
                {
                    at += space_len(bytes.get(at..).unwrap_or_default());
                    continue;
                }
                State::Invalid => break,
                _ => {}
            }
            if let Some(state) = self.step(byte) {
                self.state = state;
            } else {
                self.state = State::Invalid;
                self.invalid_at = self.position + at;
            }
            at += 1;
        }
        self.position += bytes.len();
        self.status()
    }

    /// Says that no more text follows, which is what ends a bare number. A document still open stays open: it was
    /// cut, and is not wrong.
    pub fn finish(&mut self) -> Status {
        if let State::Number(number) = self.state
            && self.depth == 0
            && number.is_whole()
        {
            self.state = State::End;
        }
        self.status()
    }

    /// Where the document stands.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::Root => Status::Empty,
            State::End => Status::Complete,
            State::Invalid => Status::Invalid { at: self.invalid_at },
            _ => Status::Open,
        }
    }

    /// What the document is, from its first byte on; `None` while empty, or where that byte begins no value.
    #[must_use]
    pub fn root(&self) -> Option<Kind> {
        self.root
    }

    /// Whether the text so far ends inside a string, be it a key or a value.
    #[must_use]
    pub fn in_string(&self) -> bool {
        matches!(self.state, State::Text { .. } | State::Escape { .. } | State::Hex { .. })
    }

    /// How many containers are open.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// How many bytes were fed, those after the invalid one included.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// The state after `byte`, which is no whitespace between values, or `None` where no document has it here.
    #[inline]
    fn step(&mut self, byte: u8) -> Option<State> {
        match self.state {
            State::Text { key } => match byte {
                b'"' if key => Some(State::Colon),
                b'"' => Some(self.after_value()),
                b'\\' => Some(State::Escape { key }),
                _ => None,
            },
            State::AfterItem => match byte {
                b',' if self.in_object() => Some(State::Key),
                b',' => Some(State::Value),
                b']' | b'}' => self.close(byte),
                _ => None,
            },
            State::FirstKey if byte == b'}' => self.close(byte),
            State::FirstKey | State::Key => (byte == b'"').then_some(State::Text { key: true }),
            State::Colon => (byte == b':').then_some(State::Value),
            State::FirstItem if byte == b']' => self.close(byte),
            State::Root | State::Value | State::FirstItem => self.begin_value(byte),
            State::Escape { key } => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(State::Text { key }),
                b'u' => Some(State::Hex { key, left: 4 }),
                _ => None,
            },
            State::Hex { key, left } => match (byte.is_ascii_hexdigit(), left) {
                (true, 1) => Some(State::Text { key }),
                (true, _) => Some(State::Hex { key, left: left - 1 }),
                (false, _) => None,
            },
            State::Literal { literal, seen } => {
                let text = literal.text();
                let expected = text.get(usize::from(seen)) == Some(&byte);
                let last = usize::from(seen) + 1 == text.len();
                match (expected, last) {
                    (false, _) => None,
                    (true, true) => Some(self.after_value()),
                    (true, false) => Some(State::Literal { literal, seen: seen + 1 }),
                }
            }
            State::Number(number) => match number.step(byte) {
                Some(number) => Some(State::Number(number)),
                None if number.is_whole() => self.step_after_number(byte),
                None => None,
            },
            State::End | State::Invalid => None,
        }
    }

    fn step_after_number(&mut self, byte: u8) -> Option<State> {
        let after = self.after_value();
        if is_space(byte) {
            return Some(after);
        }
        match (after, byte) {
            (State::AfterItem, b',') if self.in_object() => Some(State::Key),
            (State::AfterItem, b',') => Some(State::Value),
            (State::AfterItem, b']' | b'}') => self.close(byte),
            _ => None,
        }
    }

    fn begin_value(&mut self, byte: u8) -> Option<State> {
        let literal = |literal| State::Literal { literal, seen: 1 };
        let (kind, state) = match byte {
            b'{' => (Kind::Object, State::FirstKey),
            b'[' => (Kind::Array, State::FirstItem),
            b'"' => (Kind::String, State::Text { key: false }),
            b't' => (Kind::Literal, literal(Literal::True)),
            b'f' => (Kind::Literal, literal(Literal::False)),
            b'n' => (Kind::Literal, literal(Literal::Null)),
            _ => (Kind::Number, State::Number(Number::begin(byte)?)),
        };
        if self.state == State::Root {
            self.root = Some(kind);
        }
        if matches!(kind, Kind::Object | Kind::Array) {
            self.open(kind)?;
        }
        Some(state)
    }

    fn open(&mut self, kind: Kind) -> Option<()> {
        if self.depth == self.depth_max {
            return None;
        }
        let (word, bit) = (self.depth / 64, 1 << (self.depth % 64));
        if word == self.objects.len() {
            self.objects.push(0);
        }
        let bits = self.objects.get_mut(word)?;
        if kind == Kind::Object {
            *bits |= bit;
        } else {
            *bits &= !bit;
        }
        self.depth += 1;
        Some(())
    }

    fn close(&mut self, closer: u8) -> Option<State> {
        if self.in_object() != (closer == b'}') {
            return None;
        }
        self.depth = self.depth.checked_sub(1)?;
        Some(self.after_value())
    }

    fn in_object(&self) -> bool {
        let Some(innermost) = self.depth.checked_sub(1) else {
            return false;
        };
        let bits = self.objects.get(innermost / 64).copied().unwrap_or(0);
        bits >> (innermost % 64) & 1 == 1
    }

    fn after_value(&self) -> State {
        if self.depth == 0 { State::End } else { State::AfterItem }
    }
}

#[inline]
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// How many bytes at the start of `bytes` are whitespace.
#[inline]
pub(super) fn space_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !is_space(byte)).unwrap_or(bytes.len())
}

/// How many bytes at the start of `bytes` are ordinary inside a string: neither quote nor backslash nor control.
#[inline]
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let mut plain = 0;
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk() {
        let specials = specials(u64::from_le_bytes(*word));
        if specials != 0 {
            return plain + (specials.trailing_zeros() / 8) as usize;
        }
        plain += 8;
        rest = after;
        // A string that is long already is likely to go on: whole blocks without a branch inside.
        while plain >= BLOCK
            && let Some((block, after)) = rest.split_first_chunk::<BLOCK>()
            && !block.iter().fold(false, |special, &byte| special | ends_plain(byte))
        {
            plain += BLOCK;
            rest = after;
        }
    }
    plain + rest.iter().position(|&byte| ends_plain(byte)).unwrap_or(rest.len())
}

#[inline]
const fn ends_plain(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Eight bytes at once: the highest bit of the first one that ends a plain stretch is set, and none below it.
#[inline]
const fn specials(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    // Subtracting borrows from a byte only where that byte is less; borrows reach upwards, past the first hit.
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    let quotes = word ^ (ONES * b'"' as u64);
    let quotes = quotes.wrapping_sub(ONES) & !quotes;
    let backslashes = word ^ (ONES * b'\\' as u64);
    let backslashes = backslashes.wrapping_sub(ONES) & !backslashes;
    (controls | quotes | backslashes) & HIGHS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;
    use crate::json::samples::{any_text, document, mutated};

    fn scan(text: &str) -> Status {
        let mut scanner = Scanner::new();
        scanner.feed(text);
        scanner.finish()
    }

    fn invalid(at: usize) -> Status {
        Status::Invalid { at }
    }

    /// Accepts what `serde_json` accepts when it only skims: neither bounds depth nor evaluates numbers then.
    fn oracle_accepts(text: &str) -> bool {
        serde_json::from_str::<IgnoredAny>(text).is_ok()
    }

    #[test]
    fn every_state_of_the_grammar_says_where_it_stands() {
        for (text, status, depth, in_string) in [
            ("", Status::Empty, 0, false),
            (" \t\r\n", Status::Empty, 0, false),
            ("{", Status::Open, 1, false),
            ("{\"", Status::Open, 1, true),
            ("{\"a\"", Status::Open, 1, false),
            ("{\"a\":", Status::Open, 1, false),
            ("{\"a\":\"b\\", Status::Open, 1, true),
            ("{\"a\":\"b\\u00", Status::Open, 1, true),
            ("{\"a\":[1", Status::Open, 2, false),
            ("{\"a\":[1]", Status::Open, 1, false),
            ("{\"a\":[1],", Status::Open, 1, false),
            ("{\"a\":[1]}", Status::Complete, 0, false),
            (" {} \n", Status::Complete, 0, false),
            ("tru", Status::Open, 0, false),
            ("true", Status::Complete, 0, false),
            ("\"\"", Status::Complete, 0, false),
            ("-", Status::Open, 0, false),
            ("1", Status::Open, 0, false),
            ("1 ", Status::Complete, 0, false),
        ] {
            let mut scanner = Scanner::new();
            assert_eq!(scanner.feed(text), status, "{text:?}");
            assert_eq!(scanner.status(), status, "{text:?}");
            assert_eq!(scanner.depth(), depth, "{text:?}");
            assert_eq!(scanner.in_string(), in_string, "{text:?}");
            assert_eq!(scanner.position(), text.len(), "{text:?}");
        }
    }

    #[test]
    fn a_bare_number_is_complete_only_at_the_end() {
        for whole in ["0", "-0", "10", "1.5", "1e5", "1E-05", "-0.0e+1"] {
            let mut scanner = Scanner::new();
            assert_eq!(scanner.feed(whole), Status::Open, "{whole}");
            assert_eq!(scanner.finish(), Status::Complete, "{whole}");
        }
        for cut in ["-", "1.", "1e", "1e+"] {
            assert_eq!(scan(cut), Status::Open, "{cut}");
        }
    }

    #[test]
    fn the_first_byte_out_of_place_is_named() {
        for (text, at) in [
            ("x", 0),
            ("\u{feff}{}", 0),
            ("{} x", 3),
            ("{}{}", 2),
            ("[1,]", 3),
            ("[,1]", 1),
            ("{,}", 1),
            ("{\"a\" 1}", 5),
            ("{\"a\":1,}", 7),
            ("{a:1}", 1),
            ("{'a':1}", 1),
            ("[1}", 2),
            ("{\"a\":1]", 6),
            ("]", 0),
            ("01", 1),
            ("-a", 1),
            ("1.a", 2),
            ("+1", 0),
            (".5", 0),
            ("1ee", 2),
            ("\"\n\"", 1),
            ("\"\\x\"", 2),
            ("\"\\u00g0\"", 5),
            ("True", 0),
            ("nul1", 3),
            ("[truefalse]", 5),
            ("[1 2]", 3),
            ("é", 0),
            ("{\"é\":é}", 6),
        ] {
            assert_eq!(scan(text), invalid(at), "{text:?}");
        }
    }

    #[test]
    fn the_first_byte_of_the_value_says_its_kind() {
        for (text, kind) in [
            ("", None),
            (" ", None),
            ("x", None),
            (" {", Some(Kind::Object)),
            ("[[{", Some(Kind::Array)),
            ("\"", Some(Kind::String)),
            ("-", Some(Kind::Number)),
            ("7", Some(Kind::Number)),
            ("n", Some(Kind::Literal)),
            ("{x", Some(Kind::Object)),
        ] {
            let mut scanner = Scanner::new();
            scanner.feed(text);
            assert_eq!(scanner.root(), kind, "{text:?}");
        }
    }

    #[test]
    fn plain_stretches_end_where_they_end() {
        for special in [b'"', b'\\', 0, 0x1f, b'\n'] {
            for before in 0..40 {
                for neighbour in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff, special] {
                    let mut bytes = vec![neighbour.max(0x20); before];
                    bytes.retain(|byte| *byte != b'"' && *byte != b'\\');
                    let plain = bytes.len();
                    bytes.extend([special, neighbour, special]);
                    bytes.extend([neighbour; 9]);
                    assert_eq!(plain_len(&bytes), plain, "{bytes:?}");
                }
            }
        }
        assert_eq!(plain_len(b"plain"), 5);
        assert_eq!(plain_len("漢字漢字漢字".as_bytes()), 18);
    }

    #[test]
    fn lone_surrogate_escapes_are_grammar() {
        assert_eq!(scan(r#"["\ud800", "\udc00\ud800"]"#), Status::Complete);
    }

    #[test]
    fn nesting_is_bounded_and_the_bound_is_exact() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(scan(&deep(MAX_DEPTH)), Status::Complete);
        assert_eq!(scan(&deep(MAX_DEPTH + 1)), invalid(MAX_DEPTH));
        let mut flat = Scanner::with_max_depth(0);
        assert_eq!(flat.feed("[]"), invalid(0));
        assert_eq!(Scanner::with_max_depth(0).feed("1 "), Status::Complete);
    }

    #[test]
    fn closers_match_their_openers_across_word_borders() {
        // Alternating kinds over more than two words of the bit stack.
        let levels = 150;
        let mut text = String::new();
        for level in 0..levels {
            text.push_str(if level % 3 == 0 { "{\"k\":" } else { "[" });
        }
        text.push('0');
        for level in (0..levels).rev() {
            text.push(if level % 3 == 0 { '}' } else { ']' });
        }
        assert_eq!(scan(&text), Status::Complete);
        let wrong = text.len() - 70;
        let flipped = if text.as_bytes()[wrong] == b']' { "}" } else { "]" };
        text.replace_range(wrong..=wrong, flipped);
        assert_eq!(scan(&text), invalid(wrong));
    }

    #[test]
    fn invalid_is_sticky_and_names_the_first_offence() {
        let mut scanner = Scanner::new();
        assert_eq!(scanner.feed("[1,"), Status::Open);
        assert_eq!(scanner.feed("]"), invalid(3));
        assert_eq!(scanner.feed("1]"), invalid(3));
        assert_eq!(scanner.finish(), invalid(3));
        assert_eq!(scanner.position(), 6);
    }

    #[test]
    fn a_finished_number_takes_no_more_digits() {
        let mut scanner = Scanner::new();
        scanner.feed("1");
        scanner.finish();
        assert_eq!(scanner.feed("2"), invalid(1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn valid_documents_are_complete(text in document()) {
            prop_assert!(oracle_accepts(&text), "the generator wrote no JSON: {text:?}");
            prop_assert_eq!(scan(&text), Status::Complete);
        }

        #[test]
        fn accepts_exactly_what_serde_json_accepts(text in any_text()) {
            prop_assert_eq!(scan(&text) == Status::Complete, oracle_accepts(&text));
        }

        #[test]
        fn any_split_gives_the_same_answer(text in any_text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let mut whole = Scanner::new();
            whole.feed(&text);
            let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| borders[cut.index(borders.len())]).collect();
            cuts.sort_unstable();
            let mut split = Scanner::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                split.feed(&text[from..cut]);
                from = cut;
            }
            prop_assert_eq!(format!("{:?}", &split), format!("{:?}", &whole));
            prop_assert_eq!(split.finish(), whole.finish());
        }

        /// Every beginning of a document is open, and the byte that is named is the first after which that ends.
        #[test]
        fn invalid_at_is_the_end_of_the_longest_viable_beginning(text in mutated()) {
            let mut scanner = Scanner::new();
            let Status::Invalid { at } = scanner.feed(&text) else { return Ok(()) };
            let mut before = Scanner::new();
            let viable = before.feed(&text[..at]);
            prop_assert!(!matches!(viable, Status::Invalid { .. }), "{viable:?}");
            prop_assert_eq!(scan(&text[..at + text[at..].chars().next().map_or(0, char::len_utf8)]), invalid(at));
        }
    }
}
