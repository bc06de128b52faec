//! The value of a JSON document while it is still being written.

mod seek;

use std::borrow::Cow;

use self::seek::{Seek, Sought};
use super::number::Number;
use super::repair::literal;
use super::scan::{MAX_DEPTH, Status, plain_len};
use super::string::{Unit, unescape, write_control};

/// No literal of any language is longer.
const WORD_MAX: usize = 16;

/// A document that arrives in pieces, and what is known of its value so far.
///
/// The value only ever grows: a string shows what has come of it, a container what is in it, and nothing shown is
/// taken back or told differently later. So a key is not shown before its value has begun, a number not before the
/// byte after it (`12` may become `120`), and neither is a literal, or the half of an escape sequence.
///
/// Whatever a model writes before the document is passed over: a fence, thoughts in tags, words. The document is the
/// first object or array; text after it is ignored. Within it, what can be put right without knowing what comes next
/// is taken for what it means: raw control characters, escape sequences JSON does not have, needless commas, literals
/// of other languages. Anything else that is not JSON ends the reading: the value stays what it was, and the whole
/// text is for [`repair`](super::repair()) once it has come.
///
/// Constant work per byte, amortised. There are two ways to read the value: [`Partial::snapshot`] is JSON text and
/// costs its length; [`Partial::drain`] gives only what is new, so that a copy kept elsewhere, in another language's
/// objects, follows at the cost of the change.
///
/// ```
/// use l0_engine::json::Partial;
///
/// let mut partial = Partial::new();
/// assert!(partial.feed("```json\n{\"name\": \"Ad"));
/// assert_eq!(partial.snapshot().as_deref(), Some(r#"{"name":"Ad"}"#));
/// assert!(partial.feed("a\", \"age"));
/// assert!(!partial.feed("\": 36"), "36 may become 360");
/// assert!(partial.feed("}\n```"));
/// assert_eq!(partial.snapshot().as_deref(), Some(r#"{"name":"Ada","age":36}"#));
/// assert!(partial.is_complete());
/// ```
#[derive(Debug, Clone)]
pub struct Partial {
    state: State,
    seek: Seek,
    /// The document so far, as JSON without spaces. Outside strings, what of it is shown ends at `shown`.
    json: String,
    shown: usize,
    /// The closer of each open container, innermost last.
    closers: Vec<u8>,
    depth_max: usize,
    position: usize,
    /// Whether the innermost container holds an item.
    has_items: bool,
    /// The key whose value has not begun.
    key: Option<Span>,
    /// The string that is being written, be it a key or a value.
    text: Text,
    /// Where in `json` the number or escape sequence at hand begins.
    token: usize,
    word: String,
    /// What is new since the last drain, the open string aside.
    news: Vec<Entry>,
    /// What was drained last; kept so that its space is used again.
    drained: Vec<Entry>,
    changed: bool,
}

/// One thing that is new in the value. Told one after the other they build the value up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News<'a> {
    /// In an object: the name of what comes next.
    Key(Cow<'a, str>),
    /// An object begins, empty so far.
    BeginObject,
    /// An array begins, empty so far.
    BeginArray,
    /// The innermost container is complete.
    End,
    /// A string, or its beginning.
    Text(Cow<'a, str>),
    /// The string told last is longer now; this is all of it so far, and takes its place.
    Longer(Cow<'a, str>),
    /// A number, in JSON's words.
    Number(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The document has not begun.
    Seek,
    /// In an object a key, in an array an item, or the closer.
    Item,
    Colon,
    Value,
    /// A comma or the closer.
    After,
    Text {
        key: bool,
    },
    Escape {
        key: bool,
    },
    /// `left` hex digits to come; of `\xXX`, which JSON does not have, unless `unicode`.
    Hex {
        key: bool,
        left: u8,
        unicode: bool,
    },
    Number(Number),
    Word,
    End,
    Broken {
        at: usize,
    },
}

/// What became of a byte.
enum Step {
    Taken,
    /// The state changed; the byte is for the next one.
    Again,
    Refused,
}

/// A stretch of `json` inside a string.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: usize,
    end: usize,
    escaped: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Text {
    start: usize,
    escaped: bool,
    /// A value, and still open.
    open: bool,
    /// Where the first half of a surrogate pair begins, if the second is due.
    high: Option<usize>,
    /// Its end when [`Partial::feed`] returned last.
    seen: usize,
    /// Its end when it was drained last.
    drained: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Entry {
    Key(Span),
    BeginObject,
    BeginArray,
    End,
    Text(Span),
    Longer(Span),
    Number { start: usize, end: usize },
    Bool(bool),
    Null,
}

impl Default for Partial {
    fn default() -> Self {
        Self::new()
    }
}

impl Partial {
    /// Nothing read, nesting bounded by [`MAX_DEPTH`].
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_depth(MAX_DEPTH)
    }

    /// Nothing read; a container nested deeper than `depth_max` ends the reading.
    #[must_use]
    pub fn with_max_depth(depth_max: usize) -> Self {
        Self {
            state: State::Seek,
            seek: Seek::new(),
            json: String::new(),
            shown: 0,
            closers: Vec::new(),
            depth_max,
            position: 0,
            has_items: false,
            key: None,
            text: Text::default(),
            token: 0,
            word: String::new(),
            news: Vec::new(),
            drained: Vec::new(),
            changed: false,
        }
    }

    /// Takes the next piece of the text and says whether the value is different now.
    pub fn feed(&mut self, delta: &str) -> bool {
        self.changed = false;
        let bytes = delta.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self.state {
                State::End | State::Broken { .. } => break,
                State::Seek => {
                    match self.seek.step(byte) {
                        Sought::Not => at += 1,
                        Sought::Begun => self.begin(self.position + at),
                    }
                    continue;
                }
                State::Text { .. } => {
                    let plain = plain_len(bytes.get(at..).unwrap_or_default());
                    if plain > 0 {
                        self.settle_high();
                        self.json.push_str(delta.get(at..at + plain).unwrap_or_default());
                        at += plain;
                        continue;
                    }
                }
                _ => {}
            }
            match self.step(byte) {
                Step::Taken => at += 1,
                Step::Again => {}
                Step::Refused => self.state = State::Broken { at: self.position + at },
            }
        }
        self.position += bytes.len();
        if self.text.open {
            self.see_text(self.text_end());
        }
        self.changed
    }

    /// Whether the document is closed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == State::End
    }

    /// Where the document stands: empty until it begins, complete once it is closed, and invalid where the reading
    /// ended before that.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.state {
            State::Seek => Status::Empty,
            State::End => Status::Complete,
            State::Broken { at } => Status::Invalid { at },
            _ => Status::Open,
        }
    }

    /// The value so far as JSON, what is open closed; `None` before the document begins. Costs its length.
    #[must_use]
    pub fn snapshot(&self) -> Option<String> {
        if self.json.is_empty() {
            return None;
        }
        let end = if self.text.open { self.text_end() } else { self.shown };
        let mut json = String::with_capacity(end + 1 + self.closers.len());
        json.push_str(self.json.get(..end).unwrap_or_default());
        if self.text.open {
            json.push('"');
        }
        json.extend(self.closers.iter().rev().map(|closer| char::from(*closer)));
        Some(json)
    }

    /// What is new in the value since the last drain, to be taken in order and to its end. At most one string is
    /// open; it is told as far as it has come, and is [`News::Longer`] the next time.
    pub fn drain(&mut self) -> impl Iterator<Item = News<'_>> {
        std::mem::swap(&mut self.news, &mut self.drained);
        self.news.clear();
        if self.text.open {
            let told = self.tell_text(self.text_end());
            self.drained.extend(told);
        }
        let json = self.json.as_str();
        self.drained.iter().map(|entry| entry.news(json))
    }

    // Taking bytes.

    /// The document begins with the openers that the search held back.
    fn begin(&mut self, at: usize) {
        for opener in self.seek.take_openers() {
            if matches!(self.open(opener), Step::Refused) {
                self.state = State::Broken { at };
                return;
            }
        }
    }

    fn step(&mut self, byte: u8) -> Step {
        match self.state {
            State::Text { key } => self.step_text(key, byte),
            State::Escape { key } => self.step_escape(key, byte),
            State::Hex { key, left, unicode } => self.step_hex(key, left, unicode, byte),
            State::Number(number) => match number.step(byte) {
                Some(number) => {
                    self.json.push(char::from(byte));
                    self.state = State::Number(number);
                    Step::Taken
                }
                None if number.is_whole() && ends_scalar(byte) => {
                    let entry = Entry::Number { start: self.token, end: self.json.len() };
                    self.show_scalar(entry);
                    Step::Again
                }
                None => Step::Refused,
            },
            State::Word if byte.is_ascii_alphanumeric() && self.word.len() < WORD_MAX => {
                self.word.push(char::from(byte));
                Step::Taken
            }
            State::Word if ends_scalar(byte) => self.end_word(),
            State::Word => Step::Refused,
            _ => self.step_between(byte),
        }
    }

    fn step_between(&mut self, byte: u8) -> Step {
        let in_object = self.closers.last() == Some(&b'}');
        match (self.state, byte) {
            (_, b' ' | b'\t' | b'\n' | b'\r') | (State::Item, b',') => {}
            (State::Item | State::After, b'}' | b']') => return self.close(byte),
            (State::After, b',') => self.state = State::Item,
            (State::Item, b'"') if in_object => {
                self.separate();
                self.begin_text(true);
            }
            (State::Colon, b':') => {
                self.json.push(':');
                self.state = State::Value;
            }
            (State::Value, _) => return self.begin_value(byte),
            (State::Item, _) if !in_object => return self.begin_value(byte),
            _ => return Step::Refused,
        }
        Step::Taken
    }

    fn begin_value(&mut self, byte: u8) -> Step {
        match byte {
            b'{' | b'[' => return self.open(byte),
            b'"' => {
                self.separate_item();
                self.tell_key();
                self.begin_text(false);
                self.changed = true;
            }
            b'a'..=b'z' | b'A'..=b'Z' => {
                self.word.clear();
                self.word.push(char::from(byte));
                self.state = State::Word;
            }
            _ => {
                let Some(number) = Number::begin(byte) else {
                    return Step::Refused;
                };
                self.separate_item();
                self.token = self.json.len();
                self.json.push(char::from(byte));
                self.state = State::Number(number);
            }
        }
        Step::Taken
    }

    fn open(&mut self, opener: u8) -> Step {
        if self.closers.len() >= self.depth_max {
            return Step::Refused;
        }
        self.separate_item();
        self.tell_key();
        self.json.push(char::from(opener));
        let (closer, entry) =
            if opener == b'{' { (b'}', Entry::BeginObject) } else { (b']', Entry::BeginArray) };
        self.closers.push(closer);
        self.news.push(entry);
        self.shown = self.json.len();
        self.has_items = false;
        self.changed = true;
        self.state = State::Item;
        Step::Taken
    }

    fn close(&mut self, closer: u8) -> Step {
        if self.closers.last() != Some(&closer) {
            return Step::Refused;
        }
        self.closers.pop();
        self.json.push(char::from(closer));
        self.news.push(Entry::End);
        self.end_value();
        Step::Taken
    }

    fn end_word(&mut self) -> Step {
        let entry = match literal(&self.word) {
            Some("true") => Entry::Bool(true),
            Some("false") => Entry::Bool(false),
            Some(_) => Entry::Null,
            None => return Step::Refused,
        };
        self.separate_item();
        self.json.push_str(match entry {
            Entry::Bool(true) => "true",
            Entry::Bool(false) => "false",
            _ => "null",
        });
        self.show_scalar(entry);
        Step::Again
    }

    fn show_scalar(&mut self, entry: Entry) {
        self.tell_key();
        self.news.push(entry);
        self.changed = true;
        self.end_value();
    }

    fn end_value(&mut self) {
        self.shown = self.json.len();
        self.has_items = true;
        self.state = if self.closers.is_empty() { State::End } else { State::After };
    }

    /// The comma before an item of an array; that of an object is written before the key.
    fn separate_item(&mut self) {
        if self.state == State::Item || self.state == State::Word && self.key.is_none() {
            self.separate();
        }
    }

    fn separate(&mut self) {
        if self.has_items {
            self.json.push(',');
        }
    }

    fn tell_key(&mut self) {
        if let Some(key) = self.key.take() {
            self.news.push(Entry::Key(key));
        }
    }

    // Strings.

    fn begin_text(&mut self, key: bool) {
        self.json.push('"');
        let start = self.json.len();
        self.text = Text { start, open: !key, seen: start, ..Text::default() };
        self.state = State::Text { key };
    }

    fn step_text(&mut self, key: bool, byte: u8) -> Step {
        match byte {
            b'"' => self.end_text(key),
            b'\\' => self.state = State::Escape { key },
            control => {
                self.settle_high();
                self.text.escaped = true;
                write_control(&mut self.json, control);
            }
        }
        Step::Taken
    }

    fn end_text(&mut self, key: bool) {
        self.settle_high();
        let end = self.json.len();
        self.json.push('"');
        if key {
            self.key = Some(self.text.span(end));
            self.state = State::Colon;
        } else {
            self.see_text(end);
            let told = self.tell_text(end);
            self.news.extend(told);
            self.text.open = false;
            self.end_value();
        }
    }

    fn step_escape(&mut self, key: bool, byte: u8) -> Step {
        self.text.escaped = true;
        self.token = self.json.len();
        let state = match byte {
            b'u' => {
                self.json.push_str("\\u");
                State::Hex { key, left: 4, unicode: true }
            }
            b'x' => {
                self.settle_high();
                self.json.push_str("\\u00");
                State::Hex { key, left: 2, unicode: false }
            }
            _ => {
                self.settle_high();
                State::Text { key }
            }
        };
        self.state = state;
        match byte {
            b'u' | b'x' => {}
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.json.push('\\');
                self.json.push(char::from(byte));
            }
            b'\'' | b'`' => self.json.push(char::from(byte)),
            // A backslash that escapes nothing stands for itself.
            _ => {
                self.json.push_str("\\\\");
                return Step::Again;
            }
        }
        Step::Taken
    }

    fn step_hex(&mut self, key: bool, left: u8, unicode: bool, byte: u8) -> Step {
        if !byte.is_ascii_hexdigit() {
            self.settle_high();
            // Too few digits: the backslash stands for itself.
            if unicode {
                self.json.insert(self.token, '\\');
            } else {
                self.json.replace_range(self.token..self.token + 4, "\\\\x");
            }
            self.state = State::Text { key };
            return Step::Again;
        }
        self.json.push(char::from(byte));
        if left > 1 {
            self.state = State::Hex { key, left: left - 1, unicode };
            return Step::Taken;
        }
        self.state = State::Text { key };
        let digits = self.json.get(self.token + 2..).unwrap_or_default();
        match Unit::of(digits) {
            Unit::High => {
                self.settle_high();
                self.text.high = Some(self.token);
            }
            Unit::Low if self.text.high.is_some() => self.text.high = None,
            Unit::Low => self.json.replace_range(self.token.., "\\ufffd"),
            Unit::Char => self.settle_high(),
        }
        Step::Taken
    }

    /// No second half follows the first half of a surrogate pair, which is then no character.
    fn settle_high(&mut self) {
        if let Some(high) = self.text.high.take() {
            self.json.replace_range(high..high + 6, "\\ufffd");
        }
    }

    /// Where what is shown of the open string ends: before what may yet become part of something else.
    fn text_end(&self) -> usize {
        match (self.text.high, self.state) {
            (Some(high), _) => high,
            (None, State::Hex { .. }) => self.token,
            _ => self.json.len(),
        }
    }

    fn see_text(&mut self, end: usize) {
        self.changed |= end > self.text.seen;
        self.text.seen = end;
    }

    /// The open string up to `end`, as far as that is news.
    fn tell_text(&mut self, end: usize) -> Option<Entry> {
        let span = self.text.span(end);
        match self.text.drained.replace(end) {
            None => Some(Entry::Text(span)),
            Some(before) if before < end => Some(Entry::Longer(span)),
            Some(_) => None,
        }
    }
}

fn ends_scalar(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b'}' | b']')
}

impl Text {
    fn span(&self, end: usize) -> Span {
        Span { start: self.start, end, escaped: self.escaped }
    }
}

impl Span {
    fn read(self, json: &str) -> Cow<'_, str> {
        let raw = json.get(self.start..self.end).unwrap_or_default();
        if self.escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) }
    }
}

impl Entry {
    fn news(self, json: &str) -> News<'_> {
        match self {
            Self::Key(span) => News::Key(span.read(json)),
            Self::BeginObject => News::BeginObject,
            Self::BeginArray => News::BeginArray,
            Self::End => News::End,
            Self::Text(span) => News::Text(span.read(json)),
            Self::Longer(span) => News::Longer(span.read(json)),
            Self::Number { start, end } => News::Number(json.get(start..end).unwrap_or_default()),
            Self::Bool(yes) => News::Bool(yes),
            Self::Null => News::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::json::samples::{Style, any_text, begins, container, pieces};
    use crate::json::{Options, repair};

    /// A copy of the value that follows by what is new alone, as a binding would keep it.
    #[derive(Debug, Default)]
    struct Mirror {
        root: Option<Value>,
        /// The way from the root to the innermost open container.
        spine: Vec<Step>,
        key: Option<String>,
        last: Option<Step>,
        told: usize,
    }

    #[derive(Debug, Clone)]
    enum Step {
        Key(String),
        Index(usize),
    }

    impl Mirror {
        fn follow(&mut self, partial: &mut Partial) {
            for news in partial.drain() {
                self.told += 1;
                match news {
                    News::Key(key) => self.key = Some(key.into_owned()),
                    News::BeginObject => self.begin(Value::Object(serde_json::Map::new())),
                    News::BeginArray => self.begin(Value::Array(Vec::new())),
                    News::End => {
                        self.spine.pop();
                    }
                    News::Text(text) => self.put(Value::from(text)),
                    News::Longer(text) => {
                        let last = self.last.clone().expect("a string was told");
                        let place = step(self.top(), &last);
                        let before = place.as_str().expect("the last thing told is a string").to_owned();
                        assert!(
                            text.starts_with(&before) && text.len() > before.len(),
                            "{before:?} became {text:?}"
                        );
                        *place = Value::from(text);
                    }
                    News::Number(number) => self.put(serde_json::from_str(number).expect(number)),
                    News::Bool(yes) => self.put(Value::Bool(yes)),
                    News::Null => self.put(Value::Null),
                }
            }
        }

        fn begin(&mut self, container: Value) {
            self.put(container);
            self.spine.extend(self.last.clone());
        }

        fn put(&mut self, value: Value) {
            let Some(_) = self.root else {
                self.root = Some(value);
                return;
            };
            let key = self.key.take();
            self.last = Some(match (self.top(), key) {
                (Value::Array(items), None) => {
                    items.push(value);
                    Step::Index(items.len() - 1)
                }
                (Value::Object(members), Some(key)) => {
                    members.insert(key.clone(), value);
                    Step::Key(key)
                }
                (container, key) => panic!("{key:?} for {container:?}"),
            });
        }

        fn top(&mut self) -> &mut Value {
            let root = self.root.as_mut().expect("begun");
            self.spine.iter().fold(root, step)
        }
    }

    fn step<'v>(value: &'v mut Value, step: &Step) -> &'v mut Value {
        match step {
            Step::Key(key) => &mut value[key],
            Step::Index(index) => &mut value[*index],
        }
    }

    fn shown(partial: &Partial) -> Option<Value> {
        let json = partial.snapshot()?;
        Some(serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}")))
    }

    fn fed(text: &str) -> Partial {
        let mut partial = Partial::new();
        partial.feed(text);
        partial
    }

    fn snapshot(text: &str) -> String {
        fed(text).snapshot().unwrap_or_else(|| "nothing".to_owned())
    }

    #[test]
    fn nothing_is_shown_that_could_become_something_else() {
        for (text, json) in [
            ("", "nothing"),
            ("{", "nothing"),
            ("{\"", "{}"),
            ("{\"a", "{}"),
            ("{\"a\"", "{}"),
            ("{\"a\":", "{}"),
            ("{\"a\": 1", "{}"),
            ("{\"a\": 12.5e", "{}"),
            ("{\"a\": 12 ", "{\"a\":12}"),
            ("{\"a\": 12}", "{\"a\":12}"),
            ("{\"a\": tru", "{}"),
            ("{\"a\": true", "{}"),
            ("{\"a\": true,", "{\"a\":true}"),
            ("{\"a\": True,", "{\"a\":true}"),
            ("{\"a\": NaN\n", "{\"a\":null}"),
            ("{\"a\": \"", "{\"a\":\"\"}"),
            ("{\"a\": \"x\\", "{\"a\":\"x\"}"),
            ("{\"a\": \"x\\u00e", "{\"a\":\"x\"}"),
            ("{\"a\": \"x\\ud83d", "{\"a\":\"x\"}"),
            ("{\"a\": \"x\\ud83d\\", "{\"a\":\"x\"}"),
            ("{\"a\": \"x\\ud83d\\ude0", "{\"a\":\"x\"}"),
            ("{\"a\": \"x\\ud83d\\ude00", "{\"a\":\"x\\ud83d\\ude00\"}"),
            ("{\"a\": [", "{\"a\":[]}"),
            ("{\"a\": [1, 2", "{\"a\":[1]}"),
            ("{\"a\": [1, {\"b\": \"c", "{\"a\":[1,{\"b\":\"c\"}]}"),
            ("{\"a\": [1], \"b", "{\"a\":[1]}"),
        ] {
            assert_eq!(snapshot(text), json, "{text:?}");
        }
    }

    #[test]
    fn what_can_be_put_right_at_once_is() {
        for (text, json) in [
            ("{\"a\": \"x\ny\tz\"}", "{\"a\":\"x\\ny\\tz\"}"),
            ("{\"a\": \"\\d+ \\'q\\' \\x41\"}", "{\"a\":\"\\\\d+ 'q' \\u0041\"}"),
            ("{\"a\": \"\\u12 \\x4g \\é\"}", "{\"a\":\"\\\\u12 \\\\x4g \\\\é\"}"),
            ("{\"a\": \"\\ud83d!\\ude00\"}", "{\"a\":\"\\ufffd!\\ufffd\"}"),
            ("{\"a\": \"\\ud83d\\ud83d\\ude00\\ud83d\\n\"}", "{\"a\":\"\\ufffd\\ud83d\\ude00\\ufffd\\n\"}"),
            ("{\"a\": \"\\ud83d\\x41\\ud83d\\u12\"}", "{\"a\":\"\\ufffd\\u0041\\ufffd\\\\u12\"}"),
            ("{\"a\": [1,, 2,],}", "{\"a\":[1,2]}"),
            ("[None, False, undefined]", "[null,false,null]"),
        ] {
            let partial = fed(text);
            assert_eq!(partial.snapshot().as_deref(), Some(json), "{text:?}");
            assert!(partial.is_complete(), "{text:?}");
            // The repair of the whole text means the same, where it has anything to repair.
            let repaired = repair(text, &Options::default()).expect(text);
            if !repaired.changes.is_empty() {
                assert_eq!(shown(&partial), serde_json::from_str(&repaired.text).ok(), "{text:?}");
            }
        }
    }

    #[test]
    fn the_document_is_found_behind_what_models_write_before_it() {
        for before in [
            "",
            " \n",
            "\u{feff}",
            "```json\n",
            "```\n",
            "```JSON5 ",
            "Sure! Here it is:\n",
            "Here is [1] and {x} and {{ y }}: ",
            "<think>It is {\"a\": 2}, or [3].</think>\n",
            "The `dict` is ```py\n[1]\n``` and\n",
            "[link](x) - [ ] task\n",
            "[[wiki]] ",
            "{ ",
            "[``] {`` [`",
            "<<think>{\"x\": 0}</</think>",
        ] {
            let text = format!("{before}{{\"a\": [1, \"b\"]}}");
            assert_eq!(snapshot(&text), "{\"a\":[1,\"b\"]}", "{text:?}");
        }
        assert_eq!(snapshot("[[1, 2], [3"), "[[1,2],[]]");
        assert_eq!(snapshot("Result: [\"a\", "), "[\"a\"]");
        assert_eq!(snapshot("Result: [1, 2]"), "nothing", "a reference in a sentence");
        assert_eq!(snapshot("{}"), "{}");
        assert_eq!(snapshot("Nothing: {}"), "nothing");
    }

    #[test]
    fn what_is_not_json_ends_the_reading_and_keeps_the_value() {
        for (text, at, json) in [
            ("{\"a\": \"say \"hi\"\"}", 12, "{\"a\":\"say \"}"),
            ("{\"a\": 1, b: 2}", 9, "{\"a\":1}"),
            ("{\"a\": 01}", 7, "{}"),
            ("{\"a\": 1]", 7, "{\"a\":1}"),
            ("{\"a\": maybe}", 11, "{}"),
            ("{\"a\": -x", 7, "{}"),
            ("{\"a\" 1", 5, "{}"),
            ("[1 2]", 3, "[1]"),
            ("[1}", 2, "[1]"),
        ] {
            let mut partial = fed(text);
            assert_eq!(partial.status(), Status::Invalid { at }, "{text:?}");
            assert!(!partial.is_complete());
            let kept = partial.snapshot();
            assert!(!partial.feed("\"]}{\"b\": 1}"), "{text:?}");
            assert_eq!(partial.snapshot(), kept);
            assert_eq!(kept.as_deref(), Some(json), "{text:?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |levels: usize| format!("[\"a\"{}", ", [\"b\"".repeat(levels - 1));
        assert_eq!(fed(&deep(MAX_DEPTH)).status(), Status::Open);
        assert!(matches!(fed(&deep(MAX_DEPTH + 1)).status(), Status::Invalid { .. }));
        let mut flat = Partial::with_max_depth(1);
        flat.feed("[[\"a\"");
        assert!(matches!(flat.status(), Status::Invalid { .. }));
        assert_eq!(flat.snapshot().as_deref(), Some("[]"));
    }

    #[test]
    fn a_drain_tells_what_changed_and_nothing_else() {
        let mut partial = fed("{\"list\": [1, 2, 3], \"text\": \"abc");
        assert_eq!(partial.drain().count(), 9);
        partial.feed("def");
        assert_eq!(partial.drain().collect::<Vec<_>>(), [News::Longer("abcdef".into())]);
        assert_eq!(partial.drain().count(), 0);
        partial.feed("\", \"n\\u006f\": 1");
        assert_eq!(partial.drain().count(), 0);
        partial.feed("2}");
        assert_eq!(
            partial.drain().collect::<Vec<_>>(),
            [News::Key("no".into()), News::Number("12"), News::End]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Read after every piece, however the text is split.
        #[test]
        fn the_value_grows_and_its_copy_follows(whole in container(), pretty in any::<bool>(), cuts in pieces()) {
            let text = if pretty { serde_json::to_string_pretty(&whole).expect("JSON") } else { Style::JSON.write(&whole) };
            let text = format!("Here:\n```json\n{text}\n```\n");
            let mut partial = Partial::new();
            let mut mirror = Mirror::default();
            let mut before = None;
            for piece in cuts.of(&text) {
                let changed = partial.feed(piece);
                let now = shown(&partial);
                prop_assert_eq!(changed, now != before, "{:?} then {:?}", before, now);
                if let (Some(before), Some(now)) = (&before, &now) {
                    prop_assert!(begins(before, now), "{} then {}", before, now);
                }
                mirror.follow(&mut partial);
                prop_assert_eq!(&mirror.root, &now);
                before = now;
            }
            prop_assert!(partial.is_complete());
            prop_assert_eq!(&before, &Some(whole));
            // What was told is what is in the document and at most one further thing a piece.
            let mut once = Mirror::default();
            once.follow(&mut fed(&text));
            prop_assert_eq!(&once.root, &before);
            prop_assert!(mirror.told <= once.told + cuts.of(&text).count());
        }

        #[test]
        fn any_split_gives_the_same_value(text in any_text(), cuts in pieces()) {
            let whole = fed(&text);
            let mut split = Partial::new();
            for piece in cuts.of(&text) {
                split.feed(piece);
            }
            prop_assert_eq!(split.status(), whole.status());
            prop_assert_eq!(split.snapshot(), whole.snapshot());
            prop_assert!(whole.snapshot().is_none_or(|json| serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok()));
        }

        /// Whatever is put right in a dialect, the copy and the snapshot agree.
        #[test]
        fn the_copy_follows_in_broken_text_too(text in any_text(), cuts in pieces()) {
            let mut partial = Partial::new();
            let mut mirror = Mirror::default();
            for piece in cuts.of(&text) {
                partial.feed(piece);
                // Numbers out of range are no business of the reader's.
                let Some(Ok(now)) = partial.snapshot().map(|json| serde_json::from_str::<Value>(&json)) else { continue };
                mirror.follow(&mut partial);
                prop_assert_eq!(mirror.root.as_ref(), Some(&now));
            }
        }
    }
}
