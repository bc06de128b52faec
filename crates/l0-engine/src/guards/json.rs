//! The text is one JSON document.

use memchr::memchr;
use serde::{Deserialize, Serialize};

use super::hit::{At, Finding, Span};
use super::watch::{End, Watch};
use crate::json::{Kind, Scanner, Status};

/// What kind of document is wanted, and how it may be wrapped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JsonSpec {
    /// What the document has to be.
    pub root: Root,
    /// Whether it may come in a code fence.
    pub fence: Fence,
}

impl JsonSpec {
    pub(super) fn compile(self) -> JsonGuard {
        JsonGuard {
            spec: self,
            part: match self.fence {
                Fence::Allow => Part::Before { ticks: 0 },
                Fence::Refuse => Part::Document { fenced: false },
            },
            scanner: Scanner::new(),
            root_seen: false,
            body: At::default(),
        }
    }
}

/// What a JSON document may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Root {
    /// Anything.
    #[default]
    Any,
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `{…}` or `[…]`.
    Container,
}

impl Root {
    const fn admits(self, kind: Kind) -> bool {
        match self {
            Self::Any => true,
            Self::Object => matches!(kind, Kind::Object),
            Self::Array => matches!(kind, Kind::Array),
            Self::Container => matches!(kind, Kind::Object | Kind::Array),
        }
    }
}

/// Whether a document may stand in a code fence, as models like to put it and parsers to accept it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fence {
    /// Fenced or bare.
    #[default]
    Allow,
    /// Bare only.
    Refuse,
}

#[derive(Debug, Clone)]
pub(super) struct JsonGuard {
    spec: JsonSpec,
    part: Part,
    scanner: Scanner,
    root_seen: bool,
    /// Where the first character fed to the scanner is.
    body: At,
}

/// Which part of the text is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Before the document: whitespace, then perhaps the ticks of a fence.
    Before {
        ticks: u8,
    },
    /// The rest of the line that opens the fence.
    FenceLine,
    Document {
        fenced: bool,
    },
    /// The ticks that close the fence.
    Closing {
        ticks: u8,
    },
    /// After the fence: nothing but whitespace.
    After,
    /// A hit was reported; the rest of the text costs nothing.
    Done,
}

impl JsonGuard {
    /// Takes one character outside the document; `None` where it belongs to the document.
    fn step_outside(&mut self, ch: char) -> Option<Outside> {
        self.part = match (self.part, ch) {
            (Part::Before { ticks: 0 }, ch) if ch.is_ascii_whitespace() => self.part,
            (Part::Before { ticks }, '`') => Part::Before { ticks: ticks.saturating_add(1) },
            (Part::Before { ticks: 0 }, _) => {
                self.part = Part::Document { fenced: false };
                return None;
            }
            (Part::Before { ticks: 3.. } | Part::FenceLine, '\n') => Part::Document { fenced: true },
            (Part::Before { ticks: 3.. } | Part::FenceLine, _) => Part::FenceLine,
            (Part::Closing { ticks }, '`') => Part::Closing { ticks: ticks.saturating_add(1) },
            (Part::Closing { ticks: 3.. } | Part::After, ch) if ch.is_ascii_whitespace() => Part::After,
            _ => return Some(Outside::Wrong),
        };
        Some(Outside::Fine)
    }

    /// Takes as much of `text` as belongs to the document, and returns how many bytes that was.
    fn feed_document(&mut self, text: &str, fenced: bool) -> usize {
        let tick = if fenced { memchr(b'`', text.as_bytes()) } else { None };
        let Some(tick) = tick else {
            self.scanner.feed(text);
            return text.len();
        };
        let before = text.get(..tick).unwrap_or_default();
        self.scanner.feed(before);
        let mut ended = self.scanner.clone();
        if ended.finish() == Status::Complete {
            self.scanner = ended;
            self.part = Part::Closing { ticks: 0 };
            return tick;
        }
        self.scanner.feed("`");
        tick + 1
    }

    fn hit(&mut self, finding: Finding, span: Span, found: &mut impl FnMut(Finding, Span)) {
        self.part = Part::Done;
        found(finding, span);
    }
}

enum Outside {
    Fine,
    Wrong,
}

impl Watch for JsonGuard {
    fn feed(&mut self, mut text: &str, mut at: At, found: &mut impl FnMut(Finding, Span)) {
        while let Some(ch) = text.chars().next() {
            match self.part {
                Part::Done => return,
                Part::Document { fenced } => {
                    if self.scanner.position() == 0 {
                        self.body = at;
                    }
                    let taken = self.feed_document(text, fenced);
                    let (piece, rest) = text.split_at_checked(taken).unwrap_or((text, ""));
                    if !self.root_seen
                        && let Some(kind) = self.scanner.root()
                    {
                        self.root_seen = true;
                        if !self.spec.root.admits(kind) {
                            let blank = piece.len() - piece.trim_ascii_start().len();
                            let start = at.after(piece.get(..blank).unwrap_or_default());
                            let root = piece.get(blank..).and_then(|rest| rest.chars().next());
                            let end = root.map_or(start, |ch| start.step(ch));
                            return self.hit(Finding::JsonRoot, Span { start, end }, found);
                        }
                    }
                    if let Status::Invalid { at: invalid } = self.scanner.status() {
                        let within = (self.body.byte + invalid).saturating_sub(at.byte);
                        let start = at.after(piece.get(..within).unwrap_or_default());
                        let wrong = piece.get(within..).and_then(|rest| rest.chars().next());
                        let end = wrong.map_or(start, |ch| start.step(ch));
                        return self.hit(Finding::JsonInvalid, Span { start, end }, found);
                    }
                    at = at.after(piece);
                    text = rest;
                }
                _ => match self.step_outside(ch) {
                    None => {}
                    Some(Outside::Fine) => {
                        at = at.step(ch);
                        text = text.get(ch.len_utf8()..).unwrap_or_default();
                    }
                    Some(Outside::Wrong) => {
                        let end = at.step(ch);
                        return self.hit(Finding::JsonInvalid, Span { start: at, end }, found);
                    }
                },
            }
        }
    }

    fn finish(&mut self, end: End, found: &mut impl FnMut(Finding, Span)) {
        let finished = match self.part {
            Part::Done | Part::Closing { ticks: 3.. } | Part::After => true,
            // A fence that the text did not close has lost nothing of the document.
            Part::Document { .. } | Part::Closing { .. } => self.scanner.finish() == Status::Complete,
            Part::Before { .. } | Part::FenceLine => false,
        };
        let absent = matches!(self.part, Part::Before { ticks: 0 })
            || (matches!(self.part, Part::Document { .. }) && self.scanner.status() == Status::Empty);
        if !(finished || absent && end.other_content) {
            self.hit(Finding::JsonUnfinished, Span::empty(end.at), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::guards::testing::{findings, guard, hits, same_however_split};
    use crate::guards::{Check, GuardSet};

    use super::*;

    fn json(root: Root, fence: Fence) -> GuardSet {
        guard(Check::Json(JsonSpec { root, fence }))
    }

    #[test]
    fn valid_documents_pass() {
        let set = json(Root::Any, Fence::Allow);
        for text in [
            "{}",
            "[]",
            "[[1,2],[3,[4]],{\"a\":[{}]}]",
            " \n{\"text\": \"a ] in a string, a ``` fence, \\\" and } too\"}\n ",
            "42",
            "\"text\"",
            "null",
            "```json\n{\"a\": 1}\n```",
            "```\n[1, 2]\n```\n",
            "\n\n```JSON\n{\"code\": \"```\"}\n```\n\n",
            "```json\n7\n```",
            "````json\n{}\n````",
            "```json\n{\"a\": 1}\n",
            "```json\n{\"a\": 1}``",
        ] {
            assert_eq!(findings(&set, text), [], "{text}");
        }
    }

    #[test]
    fn the_first_wrong_character_is_named() {
        for (text, byte) in [
            ("{\"a\": 1}}", 8),
            ("Sure! {\"a\": 1}", 0),
            ("{'a': 1}", 1),
            ("{\"é\": nul!}", 10),
            ("```json\n{\"a\" 1}\n```", 13),
            ("```json\n{\"a\": 1}\n```\nDone.", 21),
            ("``{}", 2),
        ] {
            let hits = hits(&json(Root::Any, Fence::Allow), text);
            let places: Vec<_> = hits.iter().map(|hit| (hit.finding, hit.span.start.byte)).collect();
            assert_eq!(places, [(Finding::JsonInvalid, byte)], "{text}");
        }
    }

    #[test]
    fn a_document_that_was_cut_is_not_finished() {
        for text in ["", " ", "{", "{\"a\": ", "[1, 2", "\"tex", "tru", "```json\n{\"a\": 1", "```"] {
            let found = findings(&json(Root::Any, Fence::Allow), text);
            assert_eq!(found, [Finding::JsonUnfinished], "{text}");
        }
    }

    #[test]
    fn the_root_is_judged_at_its_first_character() {
        for (root, text, fits) in [
            (Root::Object, "{}", true),
            (Root::Object, " []", false),
            (Root::Array, "[]", true),
            (Root::Array, "```\n{}\n```", false),
            (Root::Container, "{}", true),
            (Root::Container, "[]", true),
            (Root::Container, "1", false),
        ] {
            let expected: &[Finding] = if fits { &[] } else { &[Finding::JsonRoot] };
            assert_eq!(findings(&json(root, Fence::Allow), text), expected, "{root:?} {text}");
        }
    }

    #[test]
    fn a_fence_can_be_refused() {
        let set = json(Root::Any, Fence::Refuse);
        assert_eq!(findings(&set, "```json\n{}\n```"), [Finding::JsonInvalid]);
        assert_eq!(findings(&set, "{}"), []);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_hits(
            text in "(```(json)?\n)?[ \\[\\]{}\",:a1é`\n]{0,24}(```)?",
            cuts in prop::collection::vec(0usize..40, 0..6),
        ) {
            for root in [Root::Any, Root::Object] {
                same_however_split(&json(root, Fence::Allow), &text, &cuts);
            }
        }
    }
}
