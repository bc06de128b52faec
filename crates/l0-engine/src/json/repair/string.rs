//! Strings: first where one ends, then, only if it is not right as it stands, its text again as JSON.

use std::ops::Range;

use super::change::Fix;
use super::document::{Document, Expect};
use super::evidence::{Around, Evidence, Place, closing};
use super::source::{KeyAhead, Quote};
use crate::json::scan::plain_len;
use crate::json::string::write_control;

/// Where a string ends, and whether anything in it has to be rewritten.
#[derive(Debug)]
pub(super) struct StringEnd {
    /// Its text, without quotes.
    pub(super) content: Range<usize>,
    /// Where the pass goes on: behind the closing quotes, if there are any.
    pub(super) after: usize,
    pub(super) how: How,
    /// Quotes inside it.
    pub(super) inner: usize,
    /// Quotes right at its beginning, which may have opened it together with the first.
    lead: usize,
    /// More than one quote closes it.
    extra_quotes: bool,
    dirty: bool,
}

impl StringEnd {
    fn at(self, how: How, content_end: usize, after: usize) -> Self {
        Self { content: self.content.start..content_end, after, how, ..self }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// By its quote.
    Closed,
    /// By the end of the text.
    Cut,
    /// Its quote is missing; what follows begins something else.
    Unclosed,
}

/// What tells JSON inside a string, with its quotes left as they are, from quoted words: it begins with a bracket
/// and goes on until that is closed.
#[derive(Debug, Default)]
struct Embedded {
    /// The string begins with a bracket.
    possible: bool,
    /// A quote was met that ends nothing.
    certain: bool,
    open: isize,
}

impl Document<'_, '_> {
    pub(super) fn quoted_key(&mut self, quote: Quote, len: usize) {
        let end = self.string_end(quote, self.at + len, Place::Key);
        if end.how == How::Cut {
            self.drop_key(self.source.len(), Fix::CutKey);
            self.seen.cut = true;
            return;
        }
        self.write_string(quote, self.at..self.at + len, "\"", &end);
        self.finish_key();
    }

    pub(super) fn quoted_value(&mut self, quote: Quote, len: usize) {
        let place = self.place();
        let end = self.string_end(quote, self.at + len, place);
        self.commit();
        self.write_string(quote, self.at..self.at + len, "\"", &end);
        self.seen.substance = true;
        self.finish_value(true);
    }

    /// A string that goes on from the one before it.
    pub(super) fn joined_string(&mut self, quote: Quote, len: usize) {
        let place = self.join_place();
        let end = self.string_end(quote, self.at + len, place);
        self.write_string(quote, self.at..self.at + len, "", &end);
        self.finish_value(true);
    }

    /// Finds the end of the string whose text begins at `from`.
    pub(super) fn string_end(&mut self, quote: Quote, from: usize, place: Place) -> StringEnd {
        let mut end = self.seek_end(quote, from, place, self.source.embedding.get());
        if end.how == How::Cut && self.source.embedding.get() && end.inner > 0 {
            // JSON inside the string may have been a wrong guess that swallowed the rest. Looked into once a text.
            self.source.embedding.set(false);
            end = self.seek_end(quote, from, place, false);
        }
        if end.how == How::Cut && place != Place::Key {
            self.take_back_tail(&mut end);
        }
        end
    }

    fn seek_end(&self, quote: Quote, from: usize, place: Place, embedding: bool) -> StringEnd {
        let mut end = self.seek_quote(quote, from, place, embedding);
        self.source.walked(end.after - from);
        // Quotes right at the beginning opened the string, unless they are the first of a pair inside it.
        if end.lead == 2 || end.lead == end.inner {
            let len = self.source.closer(from, quote).unwrap_or(0);
            end.content.start += end.lead * len;
            end.inner -= end.lead;
        }
        end
    }

    fn seek_quote(&self, quote: Quote, from: usize, place: Place, embedding: bool) -> StringEnd {
        let source = self.source;
        let around = self.around(place);
        let mut at = from;
        let mut segment = from;
        let mut end = StringEnd {
            content: from..from,
            after: from,
            how: How::Cut,
            inner: 0,
            lead: 0,
            extra_quotes: false,
            dirty: quote != Quote::Double,
        };
        let mut embedded = Embedded {
            possible: embedding && matches!(source.byte(from), Some(b'{' | b'[')),
            ..Embedded::default()
        };
        loop {
            let plain = quote.plain_len(source.rest(at));
            if embedded.possible {
                embedded.open += brackets(source.slice(at, at + plain));
            }
            at += plain;
            let Some(byte) = source.byte(at) else {
                return end.at(How::Cut, at, at);
            };
            let Some(len) = source.closer(at, quote) else {
                let escape = byte == b'\\';
                end.dirty |= byte < 0x20 || (escape && !is_plain_escape(source.rest(at)));
                at = if escape { self.escape_end(quote, at) } else { source.next(at) };
                continue;
            };
            if let Some(after) = self.closes(quote, at, len, around, &end, &mut embedded) {
                end.extra_quotes = after > at + len;
                end.dirty |= end.extra_quotes || end.lead > 0;
                return end.at(How::Closed, at, after);
            }
            let at_beginning = at == from + end.lead * len && end.lead < 2;
            if at_beginning && place != Place::Root && !quote.is_smart() {
                end.lead += 1;
            } else if place == Place::Member && !embedded.certain && self.begins_key(at) {
                let content_end = self.unclosed_value_end(from, at);
                return end.at(How::Unclosed, content_end, content_end);
            } else if place == Place::Key
                && let Some(colon) = source.slice(segment, at).find(':')
            {
                return end.at(How::Unclosed, segment + colon, segment + colon);
            }
            end.inner += 1;
            end.dirty = true;
            at += len;
            segment = at;
        }
    }

    /// Whether the quote at `at` closes the string, and if so, where what closes it ends.
    fn closes(
        &self,
        quote: Quote,
        at: usize,
        len: usize,
        around: Around,
        end: &StringEnd,
        embedded: &mut Embedded,
    ) -> Option<usize> {
        let paired = end.inner.is_multiple_of(2);
        let run = self.same_quotes(quote, at, len);
        let opened = end.lead + 1;
        // As many as opened it, none of them inside.
        let same_as_opened = end.lead > 0 && run >= opened * len && (end.lead == 2 || end.inner == end.lead);
        let evidence = closing(self.source, at + run, around);
        if same_as_opened && evidence > Evidence::None {
            return Some(at + run);
        }
        // Of several quotes in a row the last closes; while one inside is unpaired, the first belongs to it.
        let (after, evidence) = match (run > len, paired) {
            (true, false) => (at + run, Evidence::None),
            (true, true) if evidence != Evidence::Strong => {
                (at + len, closing(self.source, at + len, around))
            }
            _ => (at + run, evidence),
        };
        if embedded.possible && embedded.open > 0 && (embedded.certain || evidence == Evidence::None) {
            embedded.certain = true;
            return None;
        }
        let closes = match evidence {
            Evidence::Strong => true,
            Evidence::Weak => paired,
            Evidence::None => false,
        };
        closes.then_some(after)
    }

    /// The bytes of up to two closers in a row at `at`.
    fn same_quotes(&self, quote: Quote, at: usize, len: usize) -> usize {
        let mut run = len;
        while run < 3 * len && self.source.closer(at + run, quote) == Some(len) {
            run += len;
        }
        run
    }

    /// Behind the backslash sequence at `at`, of which at least one further character is part.
    fn escape_end(&self, quote: Quote, at: usize) -> usize {
        let after = self.source.next(at + 1);
        if quote == Quote::Escaped && self.source.byte(at + 1) == Some(b'\\') {
            // One level of escapes around another: `\\n` is a line break, `\\\"` a quote.
            return match self.source.rest(after) {
                [b'\\', _, ..] => self.source.next(after + 1),
                _ => self.source.next(after),
            };
        }
        after
    }

    /// Whether the quote at `at`, inside a value, is the first of the next key, the value's own never having come:
    /// it stands after a comma or on a new line, and a colon follows its pair.
    fn begins_key(&self, at: usize) -> bool {
        if self.source.key(at, at) != KeyAhead::Colon {
            return false;
        }
        let before = self.source.rest(0).get(..at).unwrap_or_default();
        let spaces = before.iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.source.walked(spaces);
        let (words, spaces) = before.split_at(before.len() - spaces);
        words.ends_with(b",") || spaces.contains(&b'\n')
    }

    /// The end of a value that runs into the next key at `at`: before the comma and the spaces in between.
    fn unclosed_value_end(&self, content: usize, at: usize) -> usize {
        let text = self.source.slice(content, at).trim_end();
        content + text.strip_suffix(',').unwrap_or(text).trim_end().len()
    }

    /// A string that is open at the end of the text may have swallowed what was meant to close the document. Only
    /// what no string of valid JSON contains is taken back: a raw line break and nothing but closers behind it, or
    /// the fence that the document stands in.
    fn take_back_tail(&self, end: &mut StringEnd) {
        let mut text = self.source.slice(end.content.start, end.content.end);
        self.source.walked(text.len() - text.trim_end().len());
        let fenced = self.fenced.then(|| text.trim_end().strip_suffix("```")).flatten();
        if let Some(before) = fenced {
            let line = before.trim_end_matches([' ', '\t']);
            if line.ends_with('\n') {
                text = line.trim_end();
                end.after = end.content.start + before.len();
                end.content.end = end.content.start + text.len();
                end.how = How::Unclosed;
            }
        }
        let words = text.trim_end_matches(['}', ']', ',', ' ', '\t', '\r', '\n']);
        let tail = text.get(words.len()..).unwrap_or_default();
        self.source.walked(tail.len());
        if let Some(line_end) = tail.find('\n').filter(|place| tail[*place..].contains(['}', ']'])) {
            let content = end.content.start + words.len() + line_end;
            end.content.end =
                end.content.start + self.source.slice(end.content.start, content).trim_end().len();
            end.after = end.content.end;
            end.how = How::Unclosed;
        }
    }

    /// Takes the string over, rewriting what is not JSON in it.
    fn write_string(&mut self, quote: Quote, open: Range<usize>, opener: &str, end: &StringEnd) {
        let after = end.after;
        match end.how {
            How::Cut => {
                self.seen.cut = true;
                self.draft.report(Fix::CutString, after);
            }
            How::Unclosed => self.draft.report(Fix::MissingQuote, end.content.end),
            How::Closed if end.extra_quotes && end.content.start == open.end => {
                self.draft.report(Fix::ExtraQuote, end.content.end);
            }
            How::Closed => {}
        }
        let straight = quote == Quote::Double && opener == "\"" && end.content.start == open.end;
        if !straight {
            if let Some(fix) = quote_fix(quote) {
                self.draft.report(fix, open.start);
            }
            if end.content.start > open.end {
                self.draft.report(Fix::DoubledQuote, open.start);
            }
            self.draft.replace(open.start..end.content.start, opener);
        }
        if end.dirty || end.how == How::Cut {
            self.write_content(quote, end.content.clone(), end.how == How::Cut);
        }
        if self.source.slice(end.content.end, after) != "\"" {
            self.draft.replace(end.content.end..after, "\"");
        }
        self.at = after;
    }

    /// Takes the inside of a string over. Only what is wrong in it is replaced.
    pub(super) fn write_content(&mut self, quote: Quote, content: Range<usize>, cut: bool) {
        let mut at = content.start;
        while at < content.end {
            let stretch = self.source.slice(at, content.end).as_bytes();
            at += plain_len(stretch);
            if at >= content.end {
                break;
            }
            at = match self.source.byte(at) {
                Some(b'"') => {
                    self.draft.fix(Fix::InnerQuote, at..at + 1, "\\\"");
                    at + 1
                }
                Some(b'\\') => self.write_escape(quote, at, content.end, cut),
                Some(control) => {
                    let mut escaped = String::new();
                    write_control(&mut escaped, control);
                    self.draft.fix(Fix::ControlCharacter, at..at + 1, &escaped);
                    at + 1
                }
                None => content.end,
            };
        }
        self.source.walked(content.len());
    }

    /// Takes the backslash sequence at `at` over and returns its end.
    fn write_escape(&mut self, quote: Quote, at: usize, end: usize, cut: bool) -> usize {
        let source = self.source;
        let rest = source.slice(at, end).as_bytes();
        let doubled = quote == Quote::Escaped && rest.starts_with(b"\\\\");
        let (skip, level) = if doubled { (1, rest.get(1..).unwrap_or_default()) } else { (0, rest) };
        // The second backslash of the inner level may itself be escaped: `\\\"` and `\\\\`.
        let (skip, level) = match level {
            [b'\\', b'\\', b'"' | b'\\' | b'/', ..] if doubled => {
                (skip + 1, level.get(1..).unwrap_or_default())
            }
            _ => (skip, level),
        };
        let from = at + skip;
        if skip > 0 {
            self.draft.replace(at..from, "");
        }
        match level {
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => from + 2,
            [b'\\', b'u', ..] => self.write_unicode_escape(from, end, cut),
            [b'\\', b'\'' | b'`', ..] => {
                self.draft.fix(Fix::Escape, from..from + 1, "");
                from + 2
            }
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                self.draft.fix(Fix::Escape, from..from + 2, "\\u00");
                from + 4
            }
            [b'\\'] if cut => {
                self.draft.replace(from..end, "");
                end
            }
            // A backslash that escapes nothing stands for itself: paths, patterns, formulas.
            _ => {
                self.draft.fix(Fix::Escape, from..from + 1, "\\\\");
                from + 1
            }
        }
    }

    /// `\uXXXX`: surrogates have to come in pairs where anyone is to read the text.
    fn write_unicode_escape(&mut self, at: usize, end: usize, cut: bool) -> usize {
        let unit = |from: usize| {
            let digits = self.source.slice(from, end).strip_prefix("\\u").and_then(|rest| rest.get(..4));
            digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        let Some(digits) = unit(at) else {
            let only_digits = self.source.slice(at + 2, end).bytes().all(|byte| byte.is_ascii_hexdigit());
            if cut && only_digits && end - at < 6 {
                self.draft.replace(at..end, "");
                return end;
            }
            self.draft.fix(Fix::Escape, at..at + 1, "\\\\");
            return at + 1;
        };
        let half = |digits: &str| {
            u16::from_str_radix(digits, 16).ok().filter(|unit| (0xd800..0xe000).contains(unit))
        };
        match half(digits) {
            None => at + 6,
            Some(high) if high < 0xdc00 && unit(at + 6).and_then(half).is_some_and(|low| low >= 0xdc00) => {
                at + 12
            }
            Some(high) if cut && high < 0xdc00 && cut_escape(self.source.slice(at + 6, end)) => {
                self.draft.replace(at..end, "");
                end
            }
            Some(_) => {
                self.draft.fix(Fix::LoneSurrogate, at..at + 6, "\\ufffd");
                at + 6
            }
        }
    }

    fn join_place(&self) -> Place {
        match self.place() {
            Place::Key => Place::Member,
            place => place,
        }
    }
}

/// Whether the end of the text cut this beginning of `\uXXXX`, or came before it.
fn cut_escape(text: &str) -> bool {
    let digits = match text.as_bytes() {
        [] | [b'\\'] => return true,
        [b'\\', b'u', digits @ ..] => digits,
        _ => return false,
    };
    digits.len() < 4 && digits.iter().all(u8::is_ascii_hexdigit)
}

/// Whether JSON has the backslash sequence that `rest` begins with, surrogates left aside.
pub(super) fn is_plain_escape(rest: &[u8]) -> bool {
    match rest {
        [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => true,
        [_, b'u', digits @ ..] => {
            let digits = digits.get(..4).unwrap_or_default();
            let surrogate = matches!(digits, [b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F', ..]);
            digits.len() == 4 && digits.iter().all(u8::is_ascii_hexdigit) && !surrogate
        }
        _ => false,
    }
}

fn brackets(text: &str) -> isize {
    text.bytes().fold(0, |open, byte| match byte {
        b'{' | b'[' => open + 1,
        b'}' | b']' => open - 1,
        _ => open,
    })
}

fn quote_fix(quote: Quote) -> Option<Fix> {
    match quote {
        Quote::Double => None,
        Quote::Single | Quote::Backtick => Some(Fix::SingleQuotes),
        Quote::SmartDouble | Quote::SmartSingle => Some(Fix::SmartQuotes),
        Quote::Escaped => Some(Fix::EscapedQuotes),
    }
}

impl Document<'_, '_> {
    /// Whether the whole text is a string and nothing else, which is then taken over.
    pub(super) fn whole_string(&mut self, quote: Quote, len: usize) -> bool {
        let end = self.string_end(quote, self.at + len, Place::Root);
        // An apostrophe opens nothing; only a plain quote is taken for the beginning of a string that was cut.
        let whole = end.how == How::Closed || (end.how == How::Cut && quote == Quote::Double);
        if !whole || end.inner > 0 || end.after < self.source.len() {
            return false;
        }
        self.write_string(quote, self.at..self.at + len, "\"", &end);
        self.expect = Expect::After;
        true
    }
}
