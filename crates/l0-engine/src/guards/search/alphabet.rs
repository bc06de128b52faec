//! Characters sorted into the classes that a group of expressions can tell apart.
//!
//! An automaton then takes one step per character instead of one per byte, and its table is as wide as there are
//! classes. A class is a byte, chosen so that the automaton's ASCII word boundary *is* the word boundary of the
//! characters: classes of word characters are ASCII word bytes, all others are not.

use std::collections::BTreeMap;

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, ClassUnicode, Hir, HirKind, Look};

/// What the group's expressions mean by a word character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// None of them asks.
    Unused,
    Ascii,
    Unicode,
}

impl Words {
    /// What `hir` means by it; `None` where it mixes both meanings.
    pub(super) fn of(hir: &Hir) -> Option<Self> {
        let looks = hir.properties().look_set();
        match (looks.contains_word_ascii(), looks.contains_word_unicode()) {
            (true, true) => None,
            (true, false) => Some(Self::Ascii),
            (false, true) => Some(Self::Unicode),
            (false, false) => Some(Self::Unused),
        }
    }

    fn set(self) -> Option<Set> {
        match self {
            Self::Unused => None,
            Self::Ascii => Some(vec![('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
            Self::Unicode => match regex_syntax::parse(r"\w").ok()?.into_kind() {
                HirKind::Class(class) => Some(ranges(&class)),
                _ => None,
            },
        }
    }
}

/// Sorted, disjoint ranges of characters, ends included.
type Set = Vec<(char, char)>;

#[derive(Debug)]
pub(super) struct Alphabet {
    ascii: [u8; 128],
    /// For each 256 characters of Unicode, which page says their classes.
    page_of: Vec<u16>,
    pages: Vec<[u8; 256]>,
    /// Where the class changes: sorted first characters and the class from there on.
    changes: Vec<(u32, u8)>,
    /// Every class there is.
    classes: Vec<u8>,
}

impl Alphabet {
    /// The alphabet of `expressions`; `None` where they tell apart more classes than a byte can name.
    pub(super) fn new(expressions: &[&Hir], words: Words) -> Option<Self> {
        let mut sets = Vec::new();
        let mut lines = false;
        for expression in expressions {
            collect_sets(expression, &mut sets);
            lines |= expression.properties().look_set().contains_anchor_line();
        }
        sets.sort_unstable();
        sets.dedup();
        let word_set = words.set();
        let is_word = |ch: char| word_set.as_ref().is_some_and(|set| holds(set, ch));
        sets.extend(word_set.clone());
        if lines {
            sets.push(vec![('\n', '\n')]);
            sets.push(vec![('\r', '\r')]);
        }
        let members = members(&sets);
        let mut names = Names::new(words, lines);
        let mut class_of: BTreeMap<&[u32], u8> = BTreeMap::new();
        let mut changes: Vec<(u32, u8)> = Vec::new();
        for (first, sets_here) in &members {
            let class = if let Some(class) = class_of.get(sets_here.as_slice()) {
                *class
            } else {
                let first_char = char::from_u32(*first)?;
                let class = names.next(first_char, is_word(first_char))?;
                class_of.insert(sets_here, class);
                class
            };
            changes.push((*first, class));
        }
        let mut classes: Vec<u8> = class_of.into_values().collect();
        classes.sort_unstable();
        let (page_of, pages) = paginate(&changes)?;
        let mut ascii = [0; 128];
        for (slot, class) in ascii.iter_mut().zip(pages.first()?) {
            *slot = *class;
        }
        Some(Self { ascii, page_of, pages, changes, classes })
    }

    #[inline]
    pub(super) fn class(&self, ch: char) -> u8 {
        let code = ch as usize;
        if let Some(class) = self.ascii.get(code) {
            return *class;
        }
        let page = self.page_of.get(code >> 8).map_or(0, |page| *page);
        let page = self.pages.get(usize::from(page));
        page.and_then(|page| page.get(code & 0xff)).map_or(0, |class| *class)
    }

    pub(super) fn classes(&self) -> &[u8] {
        &self.classes
    }

    /// `hir` over the classes instead of the characters.
    pub(super) fn translate(&self, hir: &Hir) -> Hir {
        match hir.kind() {
            HirKind::Empty => Hir::empty(),
            HirKind::Literal(literal) => {
                let text = String::from_utf8_lossy(&literal.0);
                let classes: Vec<u8> = text.chars().map(|ch| self.class(ch)).collect();
                Hir::literal(classes)
            }
            HirKind::Class(class) => Hir::class(Class::Bytes(self.classes_within(&ranges(class)))),
            HirKind::Look(look) => Hir::look(ascii_look(*look)),
            HirKind::Repetition(repetition) => {
                Hir::repetition(repetition.with(self.translate(&repetition.sub)))
            }
            HirKind::Capture(capture) => self.translate(&capture.sub),
            HirKind::Concat(parts) => Hir::concat(parts.iter().map(|part| self.translate(part)).collect()),
            HirKind::Alternation(ways) => {
                Hir::alternation(ways.iter().map(|way| self.translate(way)).collect())
            }
        }
    }

    /// The classes that make up `set`, of which each is wholly inside or wholly outside.
    fn classes_within(&self, set: &Set) -> ClassBytes {
        let mut within = ClassBytes::empty();
        for &(start, end) in set {
            let from = self.changes.partition_point(|(first, _)| *first < u32::from(start));
            let changes = self.changes.get(from..).unwrap_or_default();
            for (_, class) in changes.iter().take_while(|(first, _)| *first <= u32::from(end)) {
                within.push(ClassBytesRange::new(*class, *class));
            }
        }
        within
    }
}

/// The bytes that are still free to name classes.
struct Names {
    word: Vec<u8>,
    other: Vec<u8>,
    lines: bool,
}

impl Names {
    fn new(words: Words, lines: bool) -> Self {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let is_line = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let all = 0..=u8::MAX;
        let (word, other) = match words {
            Words::Unused => (Vec::new(), all.filter(|byte| !is_line(byte)).collect()),
            Words::Ascii | Words::Unicode => all.filter(|byte| !is_line(byte)).partition(is_word),
        };
        Self { word, other, lines }
    }

    fn next(&mut self, first: char, word: bool) -> Option<u8> {
        match first {
            '\n' if self.lines => Some(b'\n'),
            '\r' if self.lines => Some(b'\r'),
            _ if word => self.word.pop(),
            _ => self.other.pop(),
        }
    }
}

fn collect_sets(hir: &Hir, sets: &mut Vec<Set>) {
    match hir.kind() {
        HirKind::Literal(literal) => {
            let text = String::from_utf8_lossy(&literal.0);
            sets.extend(text.chars().map(|ch| vec![(ch, ch)]));
        }
        HirKind::Class(class) => sets.push(ranges(class)),
        kind => {
            for sub in kind.subs() {
                collect_sets(sub, sets);
            }
        }
    }
}

fn ranges(class: &Class) -> Set {
    let unicode = match class {
        Class::Unicode(class) => Some(class.clone()),
        // The parser refuses bytes that are not characters, so what is left is ASCII.
        Class::Bytes(class) => class.to_unicode_class(),
    };
    let unicode = unicode.unwrap_or_else(ClassUnicode::empty);
    unicode.iter().map(|range| (range.start(), range.end())).collect()
}

fn holds(set: &Set, ch: char) -> bool {
    let after = set.partition_point(|(start, _)| *start <= ch);
    let range = after.checked_sub(1).and_then(|index| set.get(index));
    range.is_some_and(|(_, end)| ch <= *end)
}

/// The stretches of Unicode over which membership in `sets` does not change: their first characters and the sets.
fn members(sets: &[Set]) -> Vec<(u32, Vec<u32>)> {
    // The surrogates are no characters: a stretch may not begin among them.
    const SURROGATES: (u32, u32) = (0xD800, 0xE000);
    let after = |end: char| match u32::from(end) + 1 {
        next if next == SURROGATES.0 => SURROGATES.1,
        next => next,
    };
    let mut edges: Vec<u32> = vec![0];
    for (start, end) in sets.iter().flatten() {
        edges.push(u32::from(*start));
        edges.push(after(*end));
    }
    edges.retain(|edge| *edge <= u32::from(char::MAX));
    edges.sort_unstable();
    edges.dedup();
    let mut members: Vec<(u32, Vec<u32>)> = edges.into_iter().map(|edge| (edge, Vec::new())).collect();
    for (number, set) in (0..).zip(sets) {
        for &(start, end) in set {
            let from = members.partition_point(|(first, _)| *first < u32::from(start));
            let stretches = members.get_mut(from..).unwrap_or_default();
            for (_, sets_here) in stretches.iter_mut().take_while(|(first, _)| *first <= u32::from(end)) {
                sets_here.push(number);
            }
        }
    }
    members
}

/// The classes of all characters as pages of 256, equal pages kept once.
fn paginate(changes: &[(u32, u8)]) -> Option<(Vec<u16>, Vec<[u8; 256]>)> {
    let mut known: BTreeMap<[u8; 256], u16> = BTreeMap::new();
    let mut pages = Vec::new();
    let mut page_of = Vec::new();
    let mut changes = changes.iter().peekable();
    let mut class = 0;
    for page_number in 0..=u32::from(char::MAX) >> 8 {
        let mut page = [class; 256];
        let codes = page_number << 8..(page_number + 1) << 8;
        if changes.peek().is_some_and(|(first, _)| codes.contains(first)) {
            for (code, slot) in codes.zip(&mut page) {
                if let Some((_, next)) = changes.next_if(|(first, _)| *first == code) {
                    class = *next;
                }
                *slot = class;
            }
        }
        let number = if let Some(number) = known.get(&page) {
            *number
        } else {
            let number = u16::try_from(pages.len()).ok()?;
            known.insert(page, number);
            pages.push(page);
            number
        };
        page_of.push(number);
    }
    Some((page_of, pages))
}

/// A boundary of words in the ASCII form, which means the same over classes; other assertions as they are.
const fn ascii_look(look: Look) -> Look {
    match look {
        Look::WordUnicode => Look::WordAscii,
        Look::WordUnicodeNegate => Look::WordAsciiNegate,
        Look::WordStartUnicode => Look::WordStartAscii,
        Look::WordEndUnicode => Look::WordEndAscii,
        Look::WordStartHalfUnicode => Look::WordStartHalfAscii,
        Look::WordEndHalfUnicode => Look::WordEndHalfAscii,
        other => other,
    }
}
