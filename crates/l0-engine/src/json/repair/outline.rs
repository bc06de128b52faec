//! Where in a model's answer the documents are: in fences, on lines of their own, or in the middle of a sentence.

use std::ops::Range;

use super::TooDeep;
use super::change::{Change, Fix};
use super::document::Document;
use super::draft::Draft;
use super::source::{KeyAhead, Quote, Source};

/// A document that was found, and what was done to it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) body: Body,
    /// Where it stood in the input.
    pub(super) at: Range<usize>,
    /// Its changes among all.
    pub(super) changes: Range<usize>,
    pub(super) rank: Rank,
    pub(super) cut: bool,
}

/// A document's text.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// This stretch of the input, as it is.
    Input(Range<usize>),
    /// This stretch of the draft.
    Draft(Range<usize>),
}

impl Body {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Input(range) | Self::Draft(range) => range.len(),
        }
    }
}

/// How much speaks for a document being the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Numbers in brackets within a sentence, or anything in a model's thoughts before the answer.
    Aside,
    /// In running text.
    Prose,
    /// In a code fence that says JSON, or says nothing.
    Fenced,
}

/// The search through one text.
pub(super) struct Outline<'d, 'a> {
    source: &'d Source<'a>,
    draft: &'d mut Draft<'a>,
    depth_max: usize,
    at: usize,
    fence: Option<Fence>,
    /// The inside of the first fence.
    first_fenced: Option<Range<usize>>,
    /// Nothing but spaces since the beginning of the text or of the fence.
    at_start: bool,
    /// Nothing but spaces and documents since the beginning of the line.
    at_line_start: bool,
    /// The words being passed over are reported.
    in_prose: bool,
    found: Vec<Found>,
    /// How many of them are in a model's thoughts.
    thoughts: usize,
}

#[derive(Debug, Clone, Copy)]
struct Fence {
    json: bool,
    inside: usize,
}

impl<'d, 'a> Outline<'d, 'a> {
    pub(super) fn new(source: &'d Source<'a>, draft: &'d mut Draft<'a>, depth_max: usize) -> Self {
        Self {
            source,
            draft,
            depth_max,
            at: 0,
            fence: None,
            first_fenced: None,
            at_start: true,
            at_line_start: true,
            in_prose: false,
            found: Vec::new(),
            thoughts: 0,
        }
    }

    /// Every document in the text, in order.
    pub(super) fn documents(mut self) -> Result<Vec<Found>, TooDeep> {
        while let Some(byte) = self.source.byte(self.at) {
            self.source.walked(1);
            match byte {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\n' => {
                    self.at_line_start = true;
                    self.at += 1;
                }
                b'`' if self.source.fence(self.at) => self.pass_fence(),
                b'{' | b'[' => {
                    if self.begins_container() {
                        self.document()?;
                    }
                }
                b'<' if self.source.starts(self.at, "</think") => {
                    self.thoughts = self.found.len();
                    self.pass_words(1);
                }
                _ if self.at_start && self.begins_members() => self.document()?,
                _ => match self.source.space(self.at) {
                    Some(len) => {
                        self.draft.report(Fix::Space, self.at);
                        self.at += len;
                    }
                    None => self.pass_words(self.source.next(self.at) - self.at),
                },
            }
        }
        for thought in self.found.iter_mut().take(self.thoughts) {
            thought.rank = Rank::Aside;
        }
        if self.found.is_empty() {
            self.whole_value();
        }
        Ok(self.found)
    }

    /// Takes in the document that begins here.
    fn document(&mut self) -> Result<(), TooDeep> {
        let (from, first_change) = (self.at, self.draft.changes().len());
        let fenced = self.fence.is_some();
        let alone = self.at_line_start || fenced;
        let written = self.draft.begin(from);
        let mut document = Document::new(self.source, self.draft, from, fenced, self.depth_max);
        document.container()?;
        let (to, seen) = (document.at, document.seen);
        let rank = match self.fence {
            Some(Fence { json: true, .. }) => Rank::Fenced,
            _ if seen.substance || alone => Rank::Prose,
            _ => Rank::Aside,
        };
        self.keep(from..to, written, first_change, rank, seen.cut);
        self.at = to;
        self.in_prose = false;
        self.at_start = false;
        Ok(())
    }

    fn keep(&mut self, at: Range<usize>, written: usize, first_change: usize, rank: Rank, cut: bool) {
        let body = if self.draft.is_unedited(at.start, written) {
            Body::Input(at.clone())
        } else {
            self.draft.copy_to(at.end);
            Body::Draft(written..self.draft.written())
        };
        let changes = first_change..self.draft.changes().len();
        self.found.push(Found { body, at, changes, rank, cut });
    }

    /// A text, or the inside of its fence, that is one string, number or literal.
    fn whole_value(&mut self) {
        let inside = self.first_fenced.clone().unwrap_or(0..self.source.len());
        let text = self.source.slice(inside.start, inside.end);
        let from = inside.start + (text.len() - text.trim_start().len());
        let to = inside.start + text.trim_end().len();
        if from >= to {
            return;
        }
        let mut first_change = self.draft.changes().len();
        let written = self.draft.begin(from);
        let source = Source::new(self.source.slice(0, to));
        let mut document = Document::new(&source, self.draft, from, false, self.depth_max);
        let taken = match source.quote(from) {
            Some((quote @ (Quote::Double | Quote::Single), len)) => document.whole_string(quote, len),
            Some(_) => false,
            None => document.whole_scalar(to),
        };
        let cut = document.seen.cut;
        if taken {
            // What was passed over as words was the document.
            self.draft.retract(from..to, &mut first_change);
            self.keep(from..to, written, first_change, Rank::Prose, cut);
        }
    }

    fn pass_fence(&mut self) {
        self.draft.report(Fix::Fence, self.at);
        self.in_prose = false;
        let marks = self.source.rest(self.at).iter().take_while(|byte| **byte == b'`').count();
        if let Some(fence) = self.fence.take() {
            self.first_fenced.get_or_insert(fence.inside..self.at);
            self.at += marks;
            self.at_start = false;
            self.at_line_start = false;
        } else {
            let tag = self.source.word(self.at + marks);
            self.at += marks + tag.len();
            self.fence = Some(Fence { json: is_json_tag(tag), inside: self.at });
            self.at_start = true;
            self.at_line_start = true;
        }
    }

    fn pass_words(&mut self, len: usize) {
        if !self.in_prose {
            self.draft.report(Fix::Prose, self.at);
        }
        self.in_prose = true;
        self.at_start = false;
        self.at_line_start = false;
        self.at += len;
    }

    /// Whether the bracket here opens a document rather than being part of what is said. If not, passes over it.
    fn begins_container(&mut self) -> bool {
        let source = self.source;
        let start = self.at;
        let outer = source.byte(start);
        let inside = source.ahead(start, start + 1).and_then(|(next, _)| source.byte(next));
        source.escaped.set(inside == Some(b'\\'));
        // Brackets in a row are judged by what is inside them all.
        let mut opener = start;
        let mut inner = outer;
        let verdict = loop {
            let Some((next, line_ended)) = source.ahead(start, opener + 1) else {
                break true;
            };
            let (byte, _) = source.token(next).unwrap_or_default();
            let quoted = source.quote(next + source.string_prefix(next)).is_some();
            match (inner, byte) {
                (Some(b'['), b'{' | b'[') => (opener, inner) = (next, Some(byte)),
                // Braces doubled as in a template.
                (Some(b'{'), b'{') if next == opener + 1 => (opener, inner) = (next, Some(byte)),
                (Some(b'{'), b'}') => break opener == start || outer == Some(b'['),
                (_, b']') => break next == opener + 1,
                (_, b',') => break self.at_start,
                (_, b'/' | b'#') if source.comment(next) => break line_ended,
                _ if quoted => break true,
                (Some(b'{'), _) => {
                    let alone = self.at_start || self.at_line_start;
                    break source.bare_member(start, next) || (alone && source.bare_key(start, next));
                }
                _ => break self.begins_items(next),
            }
        };
        if !verdict {
            self.pass_words(opener + 1 - start);
        }
        verdict
    }

    /// Whether numbers, literals or, where nothing was said before, words begin an array's items here.
    fn begins_items(&self, at: usize) -> bool {
        let source = self.source;
        let mut end = at;
        while source.name(end) && end < at + 64 {
            end = source.next(end);
        }
        source.walked(end - at + 1);
        let word = source.slice(at, end);
        let scalar = source.literal(at)
            || word.starts_with(|first: char| first.is_ascii_digit())
            || (word.starts_with('-') && word.len() > 1);
        let next = source.ahead(at, end);
        let ends = match next {
            None => true,
            Some((next, line_ended)) => {
                line_ended
                    || matches!(source.token(next), Some((b',' | b';' | b']', _)))
                    || source.comment(next)
                    || source.starts(next, "...")
            }
        };
        let another = next.is_some_and(|(next, _)| matches!(source.token(next), Some((b',', _))));
        let cut = next.is_none();
        !word.is_empty() && ((scalar && (ends || self.at_line_start)) || (self.at_start && (another || cut)))
    }

    /// Whether the members of an object begin here whose brace the model took as given.
    fn begins_members(&self) -> bool {
        matches!(self.source.quote(self.at), Some((Quote::Double, _)))
            && self.source.key(self.at, self.at) == KeyAhead::Colon
    }
}

fn is_json_tag(tag: &str) -> bool {
    const TAGS: [&str; 8] = ["", "json", "jsonc", "json5", "jsonl", "ndjson", "javascript", "js"];
    TAGS.iter().any(|known| known.eq_ignore_ascii_case(tag))
}

/// The changes outside every document.
pub(super) fn outside<'c>(found: &'c [Found], changes: &'c [Change]) -> impl Iterator<Item = Change> + 'c {
    let mut documents = found.iter().peekable();
    changes.iter().enumerate().filter_map(move |(index, change)| {
        while documents.peek().is_some_and(|found| index >= found.changes.end) {
            documents.next();
        }
        let inside = documents.peek().is_some_and(|found| found.changes.contains(&index));
        (!inside).then_some(*change)
    })
}
