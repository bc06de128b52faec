//! Many literals at once: one step per byte, however many there are.

use std::collections::BTreeMap;

use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::contiguous;
use aho_corasick::{Anchored, MatchKind};

use super::super::hit::At;
use super::automaton::Match;

#[derive(Debug)]
pub(super) struct Literals {
    trie: contiguous::NFA,
    start: StateID,
    /// How much each state has seen of a literal that is not yet whole.
    depths: BTreeMap<StateID, Depth>,
    needles: Vec<Needle>,
}

#[derive(Debug)]
struct Needle {
    number: u16,
    length: Depth,
}

#[derive(Debug, Clone, Copy)]
struct Depth {
    bytes: usize,
    chars: usize,
}

impl Literals {
    /// The automaton of `literals`; `None` where there are none, or where they are too many for it.
    pub(super) fn new(literals: &[(u16, &str)], ignore_case: bool) -> Option<Self> {
        if literals.is_empty() {
            return None;
        }
        let trie = contiguous::NFA::builder()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(ignore_case)
            .prefilter(false)
            .build(literals.iter().map(|(_, literal)| literal))
            .ok()?;
        let start = trie.start_state(Anchored::No).ok()?;
        let mut depths = BTreeMap::new();
        let mut needles = Vec::new();
        for (number, literal) in literals {
            let mut state = start;
            let mut depth = Depth { bytes: 0, chars: 0 };
            for ch in literal.chars() {
                depths.insert(state, depth);
                state = advance(&trie, state, ch);
                depth.bytes += ch.len_utf8();
                depth.chars += 1;
            }
            needles.push(Needle { number: *number, length: depth });
        }
        // At the end of a literal that begins no longer one, what is open is the longest literal that began inside it.
        let mut by_length: Vec<&str> = literals.iter().map(|(_, literal)| *literal).collect();
        by_length.sort_unstable_by_key(|literal| literal.len());
        for literal in by_length {
            let end = literal.chars().fold(start, |state, ch| advance(&trie, state, ch));
            if !depths.contains_key(&end) {
                let inner = literal.chars().skip(1);
                let inner = inner.fold(start, |state, ch| advance(&trie, state, ch));
                let depth = depths.get(&inner).copied();
                depths.insert(end, depth.unwrap_or(Depth { bytes: 0, chars: 0 }));
            }
        }
        Some(Self { trie, start, depths, needles })
    }

    pub(super) fn start(&self) -> StateID {
        self.start
    }

    /// Takes the character before `after`, calling `matched` for each literal that ends with it.
    #[inline]
    pub(super) fn step(
        &self,
        state: StateID,
        ch: char,
        after: At,
        matched: &mut impl FnMut(Match),
    ) -> StateID {
        let state = advance(&self.trie, state, ch);
        if self.trie.is_special(state) && self.trie.is_match(state) {
            self.matches(state, after, matched);
        }
        state
    }

    /// Where the longest literal began that may still be going on at `at`.
    pub(super) fn open_from(&self, state: StateID, at: At) -> Option<At> {
        if state == self.start {
            return None;
        }
        let depth = self.depths.get(&state).filter(|depth| depth.chars > 0)?;
        Some(At { byte: at.byte.saturating_sub(depth.bytes), char: at.char.saturating_sub(depth.chars) })
    }

    #[cold]
    fn matches(&self, state: StateID, end: At, matched: &mut impl FnMut(Match)) {
        for index in 0..self.trie.match_len(state) {
            let pattern = self.trie.match_pattern(state, index);
            if let Some(needle) = self.needles.get(pattern.as_usize()) {
                matched(Match {
                    needle: needle.number,
                    start: At {
                        byte: end.byte.saturating_sub(needle.length.bytes),
                        char: end.char.saturating_sub(needle.length.chars),
                    },
                    end,
                });
            }
        }
    }
}

#[inline]
fn advance(trie: &contiguous::NFA, state: StateID, ch: char) -> StateID {
    let mut buffer = [0; 4];
    let bytes = ch.encode_utf8(&mut buffer).bytes();
    bytes.fold(state, |state, byte| trie.next_state(Anchored::No, state, byte))
}
