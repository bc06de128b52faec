//! One document out of broken text: a single pass that keeps a stack of open containers and never goes back.

use super::TooDeep;
use super::change::Fix;
use super::draft::{Draft, Mark};
use super::evidence::{Around, Place};
use super::source::{KeyAhead, Source};
use crate::json::scan::space_len;

/// The pass over one document. `at` only ever grows.
pub(super) struct Document<'d, 'a> {
    pub(super) source: &'d Source<'a>,
    pub(super) draft: &'d mut Draft<'a>,
    pub(super) at: usize,
    pub(super) fenced: bool,
    pub(super) expect: Expect,
    pub(super) frames: Vec<Frame>,
    pub(super) depth_max: usize,
    pub(super) arrays: usize,
    /// Where the pending key of the innermost object ends.
    pub(super) key_end: Mark,
    pub(super) last_was_string: bool,
    pub(super) seen: Seen,
}

/// What is known of the document once it ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// It was still open where the text, or its fence, ended.
    pub(super) cut: bool,
    /// It holds a key or a string: a lone `[1]` in prose is more likely a reference than an answer.
    pub(super) substance: bool,
}

/// What the pass waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// A key in an object, an item in an array, or the closer.
    Item,
    /// The colon after a key.
    Colon,
    /// The value after a colon.
    Value,
    /// A comma or the closer.
    After,
}

#[derive(Debug)]
pub(super) struct Frame {
    pub(super) object: bool,
    /// The innermost container around it that is of the other kind.
    other: Option<usize>,
    /// Where its opener stands in the output, should it turn out to be the wrong one.
    opener: Mark,
    /// The comma after the last item, until another item follows.
    pub(super) comma: Option<Mark>,
    pub(super) items: u32,
    /// Where the item at hand begins.
    pub(super) item: Mark,
    /// Where the last item ended.
    pub(super) end: Mark,
    /// Further openers of the same kind that were removed, whose closers are to be removed too.
    pub(super) doubled: u32,
    /// It stands where a key should be and is dropped when it closes.
    pub(super) keyless: bool,
}

/// What a look past a closer saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Follow {
    Member,
    Item,
    Other,
}

impl<'d, 'a> Document<'d, 'a> {
    pub(super) fn new(
        source: &'d Source<'a>,
        draft: &'d mut Draft<'a>,
        at: usize,
        fenced: bool,
        depth_max: usize,
    ) -> Self {
        Self {
            source,
            draft,
            at,
            fenced,
            expect: Expect::Value,
            frames: Vec::new(),
            depth_max,
            arrays: 0,
            key_end: Mark::default(),
            last_was_string: false,
            seen: Seen::default(),
        }
    }

    /// Takes in the container that begins here, up to where it closes or the text ends.
    pub(super) fn container(&mut self) -> Result<(), TooDeep> {
        let opener = self.source.token(self.at);
        match opener {
            Some((byte @ (b'{' | b'['), len)) => self.open(byte, len)?,
            // A model that was given the brace as the beginning of its answer goes on with the first key.
            _ => self.open_missing()?,
        }
        while !self.frames.is_empty() {
            self.skim();
            let before = (self.at, self.expect, self.frames.len());
            self.skip_blank();
            match self.source.token(self.at) {
                Some((byte, len)) if !self.source.fence(self.at) => self.step(byte, len)?,
                _ => self.end_of_text(),
            }
            debug_assert_ne!(before, (self.at, self.expect, self.frames.len()), "no progress");
        }
        Ok(())
    }

    fn step(&mut self, byte: u8, len: usize) -> Result<(), TooDeep> {
        match self.expect {
            Expect::Item if self.in_object() => self.step_key(byte, len),
            Expect::Item | Expect::Value => self.step_value(byte, len),
            Expect::Colon => {
                self.step_colon(byte, len);
                Ok(())
            }
            Expect::After => {
                self.step_after(byte, len);
                Ok(())
            }
        }
    }

    fn step_key(&mut self, byte: u8, len: usize) -> Result<(), TooDeep> {
        match byte {
            b'}' | b']' | b')' => self.close(byte, len),
            b',' | b';' if self.was_never_filled(len) => self.insert_closer(),
            b',' | b';' => self.remove(Fix::ExtraComma, len),
            b':' | b'=' => self.remove(Fix::ExtraColon, len),
            _ if self.parent_is_array() && self.items() > 0 && self.begins_no_key(byte) => {
                // `[{"a": 1, {"b": 2}]`: the first object was never closed.
                self.drop_comma();
                self.insert_closer();
            }
            b'{' => {
                self.remove(Fix::ExtraOpener, len);
                if let Some(top) = self.frames.last_mut() {
                    top.doubled += 1;
                }
            }
            b'[' | b'(' => {
                self.begin_item();
                self.push(byte, len, true)?;
            }
            _ if self.ellipsis() => {}
            _ => {
                self.skip_string_prefix();
                self.begin_item();
                match self.source.quote(self.at) {
                    Some((quote, len)) => self.quoted_key(quote, len),
                    None => self.bare_key(),
                }
            }
        }
        Ok(())
    }

    fn step_colon(&mut self, byte: u8, len: usize) {
        match byte {
            b':' => {
                self.take_ascii(b":", len);
                self.expect = Expect::Value;
            }
            b'=' => {
                let end = if self.source.byte(self.at + len) == Some(b'>') { len + 1 } else { len };
                self.draft.fix(Fix::WrongColon, self.at..self.at + end, ":");
                self.at += end;
                self.expect = Expect::Value;
            }
            b',' | b';' => {
                self.drop_key(self.at, Fix::KeyWithoutValue);
                self.skip(len);
            }
            b'}' | b']' | b')' => self.drop_key(self.at, Fix::KeyWithoutValue),
            _ => {
                self.draft.report(Fix::MissingColon, self.key_end.at);
                self.draft.splice(self.key_end, 0, ":");
                self.expect = Expect::Value;
            }
        }
    }

    fn step_value(&mut self, byte: u8, len: usize) -> Result<(), TooDeep> {
        let member = self.expect == Expect::Value;
        match byte {
            b'{' | b'[' | b'(' => self.open(byte, len)?,
            b'}' | b']' | b')' if member => self.drop_key(self.at, Fix::KeyWithoutValue),
            b'}' | b']' | b')' => self.close(byte, len),
            b',' | b';' if member => {
                self.drop_key(self.at, Fix::KeyWithoutValue);
                self.skip(len);
            }
            b',' | b';' if self.was_never_filled(len) => self.insert_closer(),
            b',' | b';' => self.remove(Fix::ExtraComma, len),
            b':' | b'=' => self.remove(Fix::ExtraColon, len),
            _ if self.ellipsis() => {}
            _ if !member && self.begins_member_of_parent() => {
                // `{"a": [1, 2, "b": 3}`: the array was never closed.
                self.drop_comma();
                self.insert_closer();
            }
            _ => {
                self.skip_string_prefix();
                match self.source.quote(self.at) {
                    Some((quote, len)) => self.quoted_value(quote, len),
                    None => self.bare_value(),
                }
            }
        }
        Ok(())
    }

    fn step_after(&mut self, byte: u8, len: usize) {
        let object = self.in_object();
        match byte {
            b',' => self.take_comma(len),
            b';' => {
                let mark = self.draft.mark(self.at);
                self.draft.fix(Fix::WrongComma, self.at..self.at + len, ",");
                self.at += len;
                self.set_comma(mark);
            }
            b'}' | b']' | b')' => self.close(byte, len),
            b':' if !object && self.last_was_string && self.items() == 1 => {
                self.turn_into_object(len);
            }
            b':' | b'=' => self.remove(Fix::ExtraColon, len),
            b'+' if self.last_was_string && self.join() => {}
            b'{' | b'[' | b'(' => self.expect = Expect::Item,
            b'-' | b'0'..=b'9' if !object => self.expect = Expect::Item,
            _ if self.ellipsis() => {}
            _ => match self.source.quote(self.at) {
                Some((_, quote)) if self.is_stray_quote(quote) => {
                    self.remove(Fix::ExtraQuote, quote);
                }
                Some(_) => self.expect = Expect::Item,
                None if object && self.source.bare_key(self.at, self.at) => {
                    self.expect = Expect::Item;
                }
                None if !object && self.source.literal(self.at) => self.expect = Expect::Item,
                None => self.stray_text(),
            },
        }
    }

    /// Closes what the text left open. A key whose value never came is not made up.
    fn end_of_text(&mut self) {
        self.seen.cut = true;
        if matches!(self.expect, Expect::Colon | Expect::Value) {
            let fix = if self.expect == Expect::Colon { Fix::CutKey } else { Fix::KeyWithoutValue };
            self.drop_key(self.at, fix);
        }
        self.drop_comma();
        self.insert_closer();
    }

    // Containers.

    fn open(&mut self, opener: u8, len: usize) -> Result<(), TooDeep> {
        self.commit();
        self.push(opener, len, false)
    }

    fn open_missing(&mut self) -> Result<(), TooDeep> {
        self.draft.report(Fix::MissingOpener, self.at);
        self.draft.replace(self.at..self.at, "{");
        let opener = self.draft.mark(self.at);
        self.push_frame(b'{', opener, false)
    }

    fn push(&mut self, opener: u8, len: usize, keyless: bool) -> Result<(), TooDeep> {
        let mark = self.draft.mark(self.at);
        match opener {
            b'{' => self.take_ascii(b"{", len),
            b'[' => self.take_ascii(b"[", len),
            _ => {
                self.draft.fix(Fix::WrongBracket, self.at..self.at + len, "[");
                self.at += len;
            }
        }
        self.push_frame(opener, mark, keyless)
    }

    pub(super) fn push_frame(&mut self, opener: u8, mark: Mark, keyless: bool) -> Result<(), TooDeep> {
        if self.frames.len() >= self.depth_max {
            return Err(TooDeep { at: mark.at });
        }
        let object = opener == b'{';
        let other = match self.frames.last() {
            Some(parent) if parent.object == object => parent.other,
            _ => self.frames.len().checked_sub(1),
        };
        self.frames.push(Frame {
            object,
            other,
            opener: mark,
            comma: None,
            items: 0,
            item: mark,
            end: mark,
            doubled: 0,
            keyless,
        });
        self.arrays += usize::from(!object);
        self.expect = Expect::Item;
        Ok(())
    }

    /// Takes in a closer: of the innermost container, of one further out, or of none.
    fn close(&mut self, closer: u8, len: usize) {
        let Some(top) = self.frames.last_mut() else {
            return;
        };
        if top.object == (closer == b'}') {
            if top.doubled > 0 {
                top.doubled -= 1;
                self.remove(Fix::ExtraCloser, len);
            } else {
                self.close_top(closer, len);
            }
            return;
        }
        // What follows has to make sense where the pass would be then.
        let (object, further_out, innermost) = (top.object, top.other, self.frames.len() - 1);
        let follow = self.follow(self.at + len);
        let wrong_kind = self.accepts(innermost, follow);
        if let Some(further_out) = further_out {
            // Either the closers in between are missing, or this one is of the wrong kind.
            if wrong_kind == Some(true) && self.accepts(further_out, follow) != Some(true) {
                self.close_top(closer, len);
            } else {
                self.drop_comma();
                self.insert_closer();
            }
            return;
        }
        let right = if object { b'}' } else { b']' };
        let next = self.source.ahead(self.at, self.at + len).and_then(|(next, _)| self.source.token(next));
        let needless =
            next.is_some_and(|(byte, _)| byte == right) || self.accepts(innermost + 1, follow) == Some(true);
        if needless && wrong_kind != Some(true) {
            self.remove(Fix::ExtraCloser, len);
        } else {
            self.close_top(closer, len);
        }
    }

    /// Closes the innermost container at the closer that stands here, whatever its kind.
    fn close_top(&mut self, closer: u8, len: usize) {
        self.drop_comma();
        let Some(object) = self.frames.last().map(|frame| frame.object) else {
            return;
        };
        if object
            && self.frames.len() == 1
            && self.items() > 0
            && self.follow(self.at + len) == Follow::Member
        {
            // `{"a": 1}, "b": 2}`: closed too early.
            self.remove(Fix::ExtraCloser, len);
            self.expect = Expect::After;
            return;
        }
        let right = if object { b"}" } else { b"]" };
        if right.first() == Some(&closer) {
            self.take_ascii(right, len);
        } else {
            self.draft.fix(Fix::WrongBracket, self.at..self.at + len, if object { "}" } else { "]" });
            self.at += len;
        }
        self.pop();
    }

    /// Closes the innermost container where its closer is missing.
    fn insert_closer(&mut self) {
        let Some(object) = self.frames.last().map(|frame| frame.object) else {
            return;
        };
        self.draft.fix(Fix::MissingCloser, self.at..self.at, if object { "}" } else { "]" });
        self.pop();
    }

    fn pop(&mut self) {
        let Some(frame) = self.frames.pop() else {
            return;
        };
        self.arrays -= usize::from(!frame.object);
        if frame.keyless {
            self.drop_key(self.at, Fix::KeylessValue);
        } else {
            self.finish_value(false);
        }
    }

    /// `["a": 1]`: the brackets of an array around the members of an object. What was its first item is a key.
    fn turn_into_object(&mut self, len: usize) {
        let Some(top) = self.frames.last_mut() else {
            return;
        };
        top.object = true;
        top.items = 0;
        self.arrays -= 1;
        let opener = top.opener;
        self.draft.report(Fix::WrongBracket, opener.at);
        top.item = self.draft.splice(opener, 1, "{").moved_to(self.source.next(opener.at));
        self.finish_key();
        self.take_ascii(b":", len);
        self.expect = Expect::Value;
    }

    // Items.

    fn begin_item(&mut self) {
        let mark = self.draft.mark(self.at);
        if let Some(top) = self.frames.last_mut() {
            top.item = mark;
        }
    }

    /// The item at hand has a value and stays, so that the comma before it does, or is now known to be missing.
    pub(super) fn commit(&mut self) {
        let Some(top) = self.frames.last_mut() else {
            return;
        };
        if top.items > 0 && top.comma.is_none() {
            let end = top.end;
            self.draft.report(Fix::MissingComma, end.at);
            self.draft.splice(end, 0, ",");
        }
        if let Some(top) = self.frames.last_mut() {
            top.comma = None;
            top.items = top.items.saturating_add(1);
        }
    }

    /// A value ends here.
    pub(super) fn finish_value(&mut self, string: bool) {
        let end = self.draft.mark(self.at);
        if let Some(top) = self.frames.last_mut() {
            top.end = end;
        }
        self.last_was_string = string;
        self.expect = Expect::After;
    }

    /// A key ends here.
    pub(super) fn finish_key(&mut self) {
        self.key_end = self.draft.mark(self.at);
        self.seen.substance = true;
        self.expect = Expect::Colon;
    }

    /// Drops the item at hand, up to `to`. The comma before it stays pending.
    pub(super) fn drop_key(&mut self, to: usize, fix: Fix) {
        let Some(item) = self.frames.last().map(|frame| frame.item) else {
            return;
        };
        self.draft.rewind(item);
        self.draft.fix(fix, item.at..to, "");
        self.at = to;
        self.expect = Expect::Item;
    }

    fn take_comma(&mut self, len: usize) {
        let mark = self.draft.mark(self.at);
        self.take_ascii(b",", len);
        self.set_comma(mark);
    }

    fn set_comma(&mut self, mark: Mark) {
        if let Some(top) = self.frames.last_mut() {
            top.comma = Some(mark);
        }
        self.expect = Expect::Item;
    }

    /// Removes the comma that no item followed.
    fn drop_comma(&mut self) {
        let comma = self.frames.last_mut().and_then(|frame| frame.comma.take());
        if let Some(comma) = comma {
            self.draft.report(Fix::ExtraComma, comma.at);
            self.draft.splice(comma, 1, "");
        }
    }

    /// After a string: `+` and another string, which becomes part of the first.
    fn join(&mut self) -> bool {
        let Some((operand, _)) = self.source.ahead(self.at, self.at + 1) else {
            return false;
        };
        let Some((quote, len)) = self.source.quote(operand) else {
            return false;
        };
        let Some(end) = self.frames.last().map(|frame| frame.end) else {
            return false;
        };
        self.draft.reopen_string(end);
        self.draft.report(Fix::JoinedStrings, self.at);
        self.draft.replace(end.at..operand, "");
        self.at = operand;
        self.joined_string(quote, len);
        true
    }

    // Small things.

    /// Spaces and comments between tokens.
    fn skip_blank(&mut self) {
        loop {
            let byte = self.source.byte(self.at);
            if let Some(b' ' | b'\n' | b'\r' | b'\t') = byte {
                let spaces = space_len(self.source.rest(self.at));
                self.at += spaces;
                self.source.walked(spaces);
            } else if let Some(len) = self.source.space(self.at) {
                self.draft.fix(Fix::Space, self.at..self.at + len, " ");
                self.at += len;
                self.source.walked(len);
            } else if self.source.comment(self.at) {
                let end = self.comment_end();
                self.source.walked(end - self.at);
                self.draft.fix(Fix::Comment, self.at..end, "");
                self.at = end;
            } else {
                return;
            }
        }
    }

    /// Where the comment that begins here ends; one that is never closed reaches to the end of the text.
    fn comment_end(&self) -> usize {
        let rest = self.source.rest(self.at);
        let len = if rest.starts_with(b"/*") {
            let body = rest.get(2..).unwrap_or_default();
            body.windows(2).position(|pair| pair == b"*/").map(|place| place + 4)
        } else {
            rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'))
        };
        self.at + len.unwrap_or(rest.len())
    }

    /// `...` or `…`, by which models leave out what they do not want to write.
    fn ellipsis(&mut self) -> bool {
        let len = match self.source.rest(self.at) {
            [b'.', b'.', b'.', ..] | [0xe2, 0x80, 0xa6, ..] => 3,
            _ => return false,
        };
        self.remove(Fix::Ellipsis, len);
        true
    }

    fn skip_string_prefix(&mut self) {
        // `b": 1` is a key that lost its first quote.
        let prefix = self.source.string_prefix(self.at);
        if prefix > 0 && !self.source.bare_key(self.at, self.at) {
            self.remove(Fix::StrayText, prefix);
        }
    }

    /// Words that are nothing here, up to where something could begin.
    fn stray_text(&mut self) {
        let mut end = self.source.next(self.at);
        while let Some((byte, _)) = self.source.token(end) {
            let stop =
                matches!(byte, b',' | b';' | b':' | b'{' | b'}' | b'[' | b']' | b'"' | b'\n' | b'\r' | b'\\')
                    || self.source.fence(end);
            if stop {
                break;
            }
            end = self.source.next(end);
        }
        self.source.walked(end - self.at);
        self.remove(Fix::StrayText, end - self.at);
    }

    /// A quote right behind a value that begins no string: what follows it fits the end of the value.
    fn is_stray_quote(&self, len: usize) -> bool {
        if self.frames.last().is_none_or(|frame| frame.end.at != self.at) {
            return false;
        }
        let after = self.at + len;
        match self.source.ahead(after, after) {
            None => true,
            Some((next, _)) => match self.source.token(next) {
                Some((b'}' | b']', _)) => true,
                Some((b',', comma)) => {
                    !self.in_object() || self.follow_comma(after, next + comma) == Follow::Member
                }
                _ => false,
            },
        }
    }

    /// At a comma in a container without items: whether it was meant to be empty and lacks its closer, since what
    /// follows fits the container around it better.
    fn was_never_filled(&self, len: usize) -> bool {
        if self.items() > 0 || self.frames.len() < 2 {
            return false;
        }
        let around = self.frames.len() - 1;
        let follow = self.follow_comma(self.at, self.at + len);
        self.accepts(around, follow) == Some(true)
            && (self.accepts(around + 1, follow) == Some(false) || follow == Follow::Member)
    }

    /// Where a key should be: a value that cannot be one.
    fn begins_no_key(&self, byte: u8) -> bool {
        match byte {
            b'{' | b'[' => true,
            b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                let end = self.source.name_end(self.at, self.at);
                let value = !byte.is_ascii_alphabetic() || self.source.literal(self.at);
                let after = self.source.ahead(self.at, end).and_then(|(after, _)| self.source.token(after));
                value && matches!(after, Some((b',' | b']', _)))
            }
            _ => false,
        }
    }

    /// Whether a key of the object around the array at hand stands where the array's next item should.
    fn begins_member_of_parent(&self) -> bool {
        let in_object = self.frames.iter().rev().nth(1).is_some_and(|frame| frame.object);
        in_object && self.items() > 0 && self.source.key(self.at, self.at) == KeyAhead::Colon
    }

    fn follow(&self, at: usize) -> Follow {
        match self.source.ahead(at, at) {
            Some((next, _)) => match self.source.token(next) {
                Some((b',', len)) => self.follow_comma(at, next + len),
                _ => Follow::Other,
            },
            None => Follow::Other,
        }
    }

    fn follow_comma(&self, origin: usize, at: usize) -> Follow {
        let Some((next, _)) = self.source.ahead(origin, at) else {
            return Follow::Other;
        };
        match (self.source.key(origin, next), self.source.token(next)) {
            (KeyAhead::Colon, _) => Follow::Member,
            (KeyAhead::NoColon, _) | (_, Some((b'{' | b'[' | b'-' | b'0'..=b'9', _))) => Follow::Item,
            _ if self.source.literal(next) => Follow::Item,
            _ => Follow::Other,
        }
    }

    /// Whether what follows can stand inside the container that has `depth` containers up to and with itself;
    /// `None` where that cannot be told.
    fn accepts(&self, depth: usize, follow: Follow) -> Option<bool> {
        let container = depth.checked_sub(1).and_then(|index| self.frames.get(index));
        match (follow, container) {
            (Follow::Other, _) => None,
            (_, None) => Some(false),
            (Follow::Member, Some(frame)) => Some(frame.object),
            (Follow::Item, Some(frame)) => Some(!frame.object),
        }
    }

    /// Takes a structural byte over, in ASCII.
    fn take_ascii(&mut self, ascii: &'static [u8], len: usize) {
        if len > 1 {
            let with = std::str::from_utf8(ascii).unwrap_or_default();
            self.draft.fix(Fix::Fullwidth, self.at..self.at + len, with);
        }
        self.at += len;
        self.source.walked(len);
    }

    /// Leaves `len` bytes out, and says why.
    pub(super) fn remove(&mut self, fix: Fix, len: usize) {
        self.draft.fix(fix, self.at..self.at + len, "");
        self.at += len;
        self.source.walked(len);
    }

    /// Leaves `len` bytes out as part of a change that is already reported.
    fn skip(&mut self, len: usize) {
        self.draft.replace(self.at..self.at + len, "");
        self.at += len;
    }

    fn in_object(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.object)
    }

    fn items(&self) -> u32 {
        self.frames.last().map_or(0, |frame| frame.items)
    }

    fn parent_is_array(&self) -> bool {
        self.frames.iter().rev().nth(1).is_some_and(|frame| !frame.object)
    }

    pub(super) fn place(&self) -> Place {
        match (self.frames.is_empty(), self.expect) {
            (true, _) => Place::Root,
            (_, Expect::Value) => Place::Member,
            _ if self.in_object() => Place::Key,
            _ => Place::Item,
        }
    }

    pub(super) fn around(&self, place: Place) -> Around {
        Around {
            place,
            array_open: self.arrays > 0,
            object_open: self.arrays < self.frames.len(),
            in_array: self.parent_is_array(),
        }
    }
}
