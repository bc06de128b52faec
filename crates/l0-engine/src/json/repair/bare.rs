//! What stands without quotes: numbers, literals, names and words.

use super::change::Fix;
use super::document::{Document, Expect};
use super::evidence::{Evidence, Place, closing};
use super::source::{KeyAhead, Quote, literal};
use crate::json::number::is_number;

/// What a bare word is worth in JSON.
enum Scalar {
    /// JSON already.
    Right,
    /// This instead, for this reason.
    Instead(String, Fix),
}

impl Document<'_, '_> {
    /// A key without quotes, or with the first of them missing.
    pub(super) fn bare_key(&mut self) {
        let source = self.source;
        let mut end = self.at;
        while let Some((byte, _)) = source.token(end) {
            let stop = matches!(
                byte,
                b':' | b'=' | b',' | b';' | b'{' | b'}' | b'[' | b']' | b'(' | b')' | b'"' | b'\n' | b'\r'
            );
            if stop || source.comment(end) {
                break;
            }
            end = source.next(end);
        }
        source.walked(end - self.at);
        let name = source.slice(self.at, end).trim_end();
        let name_end = self.at + name.len();
        let quote_len = usize::from(source.byte(end) == Some(b'"'));
        let Some((after, _)) = source.ahead(end, end + quote_len) else {
            self.drop_key(source.len().min(end + quote_len), Fix::CutKey);
            return;
        };
        if name.is_empty() {
            self.remove(Fix::StrayText, source.next(self.at) - self.at);
            return;
        }
        if !matches!(source.token(after), Some((b':' | b'=', _))) {
            self.drop_key(end + quote_len, Fix::KeyWithoutValue);
            return;
        }
        if quote_len > 0 {
            self.draft.fix(Fix::MissingQuote, self.at..self.at, "\"");
        } else {
            self.draft.fix(Fix::UnquotedKey, self.at..self.at, "\"");
        }
        self.write_content(Quote::Single, self.at..name_end, false);
        self.draft.replace(name_end..end + quote_len, "\"");
        self.at = end + quote_len;
        self.finish_key();
    }

    /// A value without quotes: a number, a literal, or words.
    pub(super) fn bare_value(&mut self) {
        let end = self.token_end();
        if end > self.at && end == self.source.len() {
            self.cut_value(end);
        } else if !self.thousands(end) && !self.scalar(end) {
            self.words();
        }
    }

    /// Takes a number or literal over, if that is what stands here and nothing belongs to it behind `end`.
    fn scalar(&mut self, end: usize) -> bool {
        let text = self.source.slice(self.at, end);
        let Some(scalar) = scalar(text) else {
            return false;
        };
        if !self.ends_scalar(end) {
            return false;
        }
        self.take_scalar(&scalar, end);
        true
    }

    fn take_scalar(&mut self, scalar: &Scalar, end: usize) {
        self.commit();
        if let Scalar::Instead(json, fix) = scalar {
            self.draft.fix(*fix, self.at..end, json);
        }
        self.at = end;
        self.finish_value(false);
    }

    /// The end of the run at hand that holds no space and nothing structural.
    fn token_end(&self) -> usize {
        let source = self.source;
        let mut end = self.at;
        while source.name(end) || matches!(source.byte(end), Some(b'+')) {
            end = source.next(end);
        }
        source.walked(end - self.at);
        end
    }

    /// Whether a number or literal that ends here is a value of its own, or the first of several words.
    fn ends_scalar(&self, end: usize) -> bool {
        let source = self.source;
        let member = self.expect == Expect::Value;
        let Some((next, line_ended)) = source.ahead(end, end) else {
            return true;
        };
        let spaced = next > end;
        match source.token(next) {
            None | Some((b',' | b';' | b'}' | b']' | b')' | b'{' | b'[', _)) => true,
            Some((b':', _)) => false,
            _ if line_ended || source.comment(next) || source.fence(next) || source.starts(next, "...") => {
                true
            }
            // `1"b": 2` lacks a comma; `12", "b": 2` lacks the quote before it; `5'10` is neither.
            _ if source.quote(next).is_some() => spaced || source.key(end, next) == KeyAhead::Colon,
            _ if member => source.bare_key(end, next),
            Some((b'-' | b'0'..=b'9', _)) => true,
            _ => source.literal(next),
        }
    }

    /// Whether a quote before `at` could end the value at hand.
    fn may_close(&self, at: usize) -> bool {
        closing(self.source, at, self.around(self.place())) > Evidence::None
    }

    /// `1,234,567` as the value of a key: what follows the comma is three digits and no key.
    fn thousands(&mut self, end: usize) -> bool {
        let source = self.source;
        let [b',', b'0'..=b'9', ..] = source.rest(end) else {
            return false;
        };
        let head = source.slice(self.at, end);
        let lead = head.strip_prefix('-').unwrap_or(head);
        let leads = matches!(lead.len(), 1..=3)
            && lead.bytes().all(|byte| byte.is_ascii_digit())
            && !lead.starts_with('0');
        if self.expect != Expect::Value || !leads {
            return false;
        }
        let mut number = head.to_owned();
        let mut at = end;
        while let [b',', digits @ ..] = source.rest(at) {
            let count = digits.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
            if count != 3 || number.len() > 32 {
                break;
            }
            number.push_str(source.slice(at + 1, at + 4));
            at += 4;
        }
        source.walked(at - end + 4);
        let fraction = source.rest(at);
        if let [b'.', digit, ..] = fraction
            && digit.is_ascii_digit()
        {
            let digits = fraction.iter().skip(1).take(32).take_while(|byte| byte.is_ascii_digit()).count();
            number.push_str(source.slice(at, at + 1 + digits));
            at += 1 + digits;
        }
        if at == end || !source.rest(end).starts_with(b",") || !self.ends_scalar(at) || at == source.len() {
            return false;
        }
        self.take_scalar(&Scalar::Instead(number, Fix::Number), at);
        true
    }

    /// A value that the end of the text touches: it may have gone on.
    fn cut_value(&mut self, end: usize) {
        self.seen.cut = true;
        let text = self.source.slice(self.at, end);
        if let Some(json) = completed_literal(text) {
            self.take_scalar(&Scalar::Instead(json.to_owned(), Fix::CutLiteral), end);
            return;
        }
        let numeric =
            text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.'));
        let number = if numeric { text.trim_end_matches(['.', 'e', 'E', '+', '-']) } else { text };
        match scalar(number) {
            Some(Scalar::Right) if numeric => {
                self.take_scalar(&Scalar::Instead(number.to_owned(), Fix::CutNumber), end);
            }
            Some(scalar) => self.take_scalar(&scalar, end),
            None if number.is_empty() => {
                // A sign and no digit: nothing is known of the value.
                self.draft.fix(Fix::CutNumber, self.at..end, "");
                self.at = end;
            }
            None => self.words(),
        }
    }

    /// Words up to where the value must end, as a string.
    fn words(&mut self) {
        let (end, quote_len) = self.words_end();
        let text = self.source.slice(self.at, end).trim_end();
        let text_end = self.at + text.len();
        self.commit();
        let fix = if quote_len > 0 { Fix::MissingQuote } else { Fix::UnquotedValue };
        self.draft.fix(fix, self.at..self.at, "\"");
        if end == self.source.len() {
            self.seen.cut = true;
            self.draft.report(Fix::CutString, end);
        }
        self.write_content(Quote::Single, self.at..text_end, end == self.source.len());
        self.draft.replace(text_end..end + quote_len, "\"");
        self.at = end + quote_len;
        self.seen.substance = true;
        self.finish_value(true);
    }

    /// Where the words at hand end, and the length of the closing quote there, if only the opening one is missing.
    fn words_end(&self) -> (usize, usize) {
        let source = self.source;
        let around = self.around(self.place());
        let mut parens = 0_usize;
        let mut quotes = 0_usize;
        let mut at = self.at;
        let mut spaced = false;
        let (end, quote_len) = loop {
            let Some((byte, _)) = source.token(at) else {
                break (at, 0);
            };
            match byte {
                b'\n' | b'\r' => break (at, 0),
                b'}' if parens == 0 && around.object_open => break (at, 0),
                b']' if parens == 0 && around.array_open => break (at, 0),
                b',' if parens == 0 && (around.place == Place::Item || self.may_close(at)) => {
                    break (at, 0);
                }
                b'/' | b'#' if spaced && source.comment(at) => break (at, 0),
                b'`' if source.fence(at) => break (at, 0),
                b'"' if quotes.is_multiple_of(2) && parens == 0 && self.may_close(at + 1) => {
                    break (at, 1);
                }
                b'"' => quotes += 1,
                b'(' => parens += 1,
                b')' => parens = parens.saturating_sub(1),
                _ => {}
            }
            spaced = matches!(byte, b' ' | b'\t');
            at = if byte == b'\\' { source.next(at + 1) } else { source.next(at) };
        };
        source.walked(end - self.at);
        (end, quote_len)
    }

    /// Whether the whole text is a number or a literal and nothing else, which is then taken over.
    pub(super) fn whole_scalar(&mut self, end: usize) -> bool {
        let text = self.source.slice(self.at, end);
        // One letter of a word is too little to complete it where nothing else speaks for JSON.
        let cut = || {
            completed_literal(text)
                .filter(|_| text.len() > 2 && text.starts_with(|first: char| first.is_lowercase()))
        };
        let found = match scalar(text) {
            Some(Scalar::Instead(_, Fix::Literal)) if !matches!(text, "True" | "False" | "None") => None,
            None => cut().map(|json| Scalar::Instead(json.to_owned(), Fix::CutLiteral)),
            found => found,
        };
        let Some(scalar) = found else { return false };
        self.take_scalar(&scalar, end);
        true
    }
}

/// What a word is in JSON, unless it is just a word. What only looks like a number and would lose by becoming one,
/// as a postcode with a leading zero, is none.
fn scalar(text: &str) -> Option<Scalar> {
    if let Some(json) = literal(text) {
        return Some(if json == text {
            Scalar::Right
        } else {
            Scalar::Instead(json.to_owned(), Fix::Literal)
        });
    }
    if is_number(text) {
        return Some(Scalar::Right);
    }
    let number = rewritten_number(text)?;
    Some(Scalar::Instead(number, Fix::Number))
}

fn rewritten_number(text: &str) -> Option<String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let minus = if text.starts_with('-') { "-" } else { "" };
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    if let Some(digits) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        let value = u64::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
        return Some(format!("{minus}{value}"));
    }
    let grouped = unsigned.contains('_') && !unsigned.starts_with('_') && !unsigned.ends_with('_');
    let mut plain = if grouped { unsigned.replace('_', "") } else { unsigned.to_owned() };
    if plain.starts_with('.') {
        plain.insert(0, '0');
    }
    if let Some(point) = plain.find('.') {
        let digit_follows = plain.as_bytes().get(point + 1).is_some_and(u8::is_ascii_digit);
        if !digit_follows {
            plain.insert(point + 1, '0');
        }
    }
    let number = format!("{minus}{plain}");
    is_number(&number).then_some(number)
}

/// The literal that `text` is the beginning of and can be the beginning of alone.
fn completed_literal(text: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 8] = [
        ("true", "true"),
        ("false", "false"),
        ("null", "null"),
        ("True", "true"),
        ("False", "false"),
        ("None", "null"),
        ("NaN", "null"),
        ("undefined", "null"),
    ];
    let mut fits = WORDS.iter().filter(|(word, _)| word.starts_with(text) && word.len() > text.len());
    fits.next().map(|(_, json)| *json)
}
