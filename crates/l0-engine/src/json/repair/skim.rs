//! Most of a broken document is JSON. What is needs no thought, only to be passed over fast.
//!
//! The skim takes in tokens while each is what JSON has there and what follows it bears that out as
//! [`closing`](super::evidence::closing) would. At the first that is not, the careful pass takes over, and finds
//! everything as if it had come there itself.

use super::document::{Document, Expect};
use super::draft::Mark;
use super::string::is_plain_escape;
use crate::json::number::Number;
use crate::json::scan::{plain_len, space_len};

/// The state before a string value, to return to if what follows the string turns out not to be a key: then the
/// string may not have ended where it seemed to.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    at: usize,
    comma: Option<Mark>,
    items: u32,
    item: Mark,
    end: Mark,
    key_end: Mark,
    last_was_string: bool,
}

/// What stands behind a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// A closer of a container that is open.
    Closer,
    /// A comma, and the place of what comes after it.
    Comma(usize),
    Other,
}

impl Document<'_, '_> {
    /// Takes in what is JSON as it stands.
    pub(super) fn skim(&mut self) {
        #[cfg(test)]
        if self.source.careful {
            return;
        }
        let from = self.at;
        let mut doubt = None;
        while self.skim_token(&mut doubt) {}
        if let Some(doubt) = doubt {
            self.return_to(doubt);
        }
        self.source.walked(self.at - from);
    }

    fn skim_token(&mut self, doubt: &mut Option<Doubt>) -> bool {
        let at = self.at + space_len(self.source.rest(self.at));
        let Some(byte) = self.source.byte(at) else {
            return false;
        };
        let Some(top) = self.frames.last_mut() else {
            return false;
        };
        match (self.expect, byte) {
            (Expect::After, b',') => {
                top.comma = Some(self.draft.mark(at));
                self.at = at + 1;
                self.expect = Expect::Item;
                true
            }
            (Expect::After | Expect::Item, b'}' | b']') => self.skim_closer(at, byte),
            (Expect::Item, b'"') if top.object => self.skim_key(at, doubt),
            (Expect::Item, _) if top.object => false,
            (Expect::Item | Expect::Value, _) => self.skim_value(at, byte, doubt),
            _ => false,
        }
    }

    fn skim_closer(&mut self, at: usize, closer: u8) -> bool {
        let Some(top) = self.frames.last() else {
            return false;
        };
        let plain = top.object == (closer == b'}') && top.comma.is_none() && top.doubled == 0 && !top.keyless;
        // The root's closer may come too early, which only the careful pass knows.
        if !plain || self.frames.len() == 1 {
            return false;
        }
        self.arrays -= usize::from(!top.object);
        self.frames.pop();
        self.at = at + 1;
        self.finish_value(false);
        true
    }

    /// A key and its colon.
    fn skim_key(&mut self, at: usize, doubt: &mut Option<Doubt>) -> bool {
        let Some(end) = self.string_len(at + 1).map(|len| at + 1 + len + 1) else {
            return false;
        };
        let colon = end + space_len(self.source.rest(end));
        if self.source.byte(colon) != Some(b':') {
            return false;
        }
        *doubt = None;
        let item = self.draft.mark(at);
        if let Some(top) = self.frames.last_mut() {
            top.item = item;
        }
        self.at = end;
        self.finish_key();
        self.at = colon + 1;
        self.expect = Expect::Value;
        true
    }

    fn skim_value(&mut self, at: usize, byte: u8, doubt: &mut Option<Doubt>) -> bool {
        let member = self.expect == Expect::Value;
        let Some(top) = self.frames.last() else {
            return false;
        };
        if top.items > 0 && top.comma.is_none() || top.keyless {
            return false;
        }
        let end = match byte {
            b'{' | b'[' => return self.skim_opener(at, byte),
            b'"' => match self.string_len(at + 1) {
                Some(len) => at + 1 + len + 1,
                None => return false,
            },
            b't' if self.source.starts(at, "true") => at + 4,
            b'f' if self.source.starts(at, "false") => at + 5,
            b'n' if self.source.starts(at, "null") => at + 4,
            _ => match number_len(self.source.rest(at)) {
                Some(len) => at + len,
                None => return false,
            },
        };
        let behind = self.behind(end);
        let string = byte == b'"';
        *doubt = None;
        match (behind, string, member) {
            (Behind::Closer, _, _) => {}
            // Only a key makes sure that the string before it ended.
            (Behind::Comma(_), true, true) => {
                *doubt = Some(Doubt {
                    at,
                    comma: top.comma,
                    items: top.items,
                    item: top.item,
                    end: top.end,
                    key_end: self.key_end,
                    last_was_string: self.last_was_string,
                });
            }
            // Digits after a comma may be thousands.
            (Behind::Comma(next), false, true) if self.source.byte(next) == Some(b'"') => {}
            (Behind::Comma(next), _, false) if self.begins_item(next) => {}
            _ => return false,
        }
        self.at = at;
        self.commit();
        self.at = end;
        self.seen.substance |= string;
        self.finish_value(string);
        true
    }

    fn skim_opener(&mut self, at: usize, opener: u8) -> bool {
        if self.frames.len() >= self.depth_max {
            return false;
        }
        self.commit();
        let mark = self.draft.mark(at);
        self.at = at + 1;
        self.push_frame(opener, mark, false).is_ok()
    }

    fn return_to(&mut self, doubt: Doubt) {
        let Doubt { at, comma, items, item, end, key_end, last_was_string } = doubt;
        self.source.walked(self.at - at);
        if let Some(top) = self.frames.last_mut() {
            (top.comma, top.items, top.item, top.end) = (comma, items, item, end);
        }
        self.key_end = key_end;
        self.last_was_string = last_was_string;
        self.at = at;
        self.expect = Expect::Value;
    }

    fn behind(&self, end: usize) -> Behind {
        let next = end + space_len(self.source.rest(end));
        match self.source.byte(next) {
            Some(b'}') if self.arrays < self.frames.len() => Behind::Closer,
            Some(b']') if self.arrays > 0 => Behind::Closer,
            Some(b',') => Behind::Comma(next + 1 + space_len(self.source.rest(next + 1))),
            _ => Behind::Other,
        }
    }

    fn begins_item(&self, at: usize) -> bool {
        match self.source.byte(at) {
            Some(b'"' | b'{' | b'[' | b'-' | b'0'..=b'9') => true,
            Some(b't' | b'f' | b'n') => self.source.literal(at),
            _ => false,
        }
    }

    /// The length of the text of a string that begins here, if nothing in it has to be rewritten.
    fn string_len(&self, from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let rest = self.source.rest(at);
            let plain = plain_len(rest);
            at += plain;
            match rest.get(plain..)? {
                [b'"', ..] => return Some(at - from),
                escape @ [b'\\', kind, ..] if is_plain_escape(escape) => {
                    at += if *kind == b'u' { 6 } else { 2 }
                }
                _ => return None,
            }
        }
    }
}

fn number_len(text: &[u8]) -> Option<usize> {
    let (first, rest) = text.split_first()?;
    let mut number = Number::begin(*first)?;
    let mut len = 1;
    for byte in rest {
        match number.step(*byte) {
            Some(longer) => number = longer,
            None => break,
        }
        len += 1;
    }
    number.is_whole().then_some(len)
}
