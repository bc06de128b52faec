//! The seam: where a new answer goes on from the text a consumer was shown.
//!
//! A [`Seam`] looks at the beginning of a new attempt's text, however it is split into pieces, and says how much of
//! it the consumer already has. Work is linear: what a rerun repeats is compared once and forgotten, and what a
//! prompted continuation begins with is looked at within a bounded window.

use serde::{Deserialize, Serialize};
use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation as _};

use crate::policy::Continuation;

/// How an answer was joined to the text before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// It went on from the given beginning.
    Appended,
    /// The words it was asked to repeat were found.
    Anchor,
    /// The words it was asked to repeat were found, in other case, spacing, quotes or emphasis.
    AnchorLoosely,
    /// It repeated a part of the words it was asked to repeat.
    Overlap,
    /// It started over, and all that was shown was found in it.
    Restart,
}

/// Why an answer could not be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfit {
    /// The words it was asked to repeat are not at its start.
    AnchorMissing,
    /// It started over in other words.
    Diverged,
    /// It started over and ended before it came to where the text broke off.
    TooShort,
}

/// What a look at the next piece of an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing can be said yet.
    Undecided,
    /// The piece repeats what was shown, whatever follows.
    Repeats,
    /// The consumer has the first `cut` bytes of the answer already.
    Joined { cut: usize, method: Method },
    /// It does not fit.
    Failed(Misfit),
}

/// The beginning of one answer, on its way to be joined.
#[derive(Debug, Clone)]
pub(crate) struct Seam {
    /// Bytes of the answer fed so far.
    fed: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Prefill { head: String, restart: Option<String> },
    Prompt { head: String, restart: Option<String>, window: Box<Window> },
    Rerun { matched: usize, leading: bool },
    Append,
}

/// What a prompted continuation is searched for.
#[derive(Debug, Clone)]
struct Window {
    anchor: String,
    folded_anchor: Vec<char>,
    /// What was shown, folded, up to its end: the last part of it that matters.
    folded_shown: Vec<char>,
    shown_space: String,
    in_fence: bool,
    hold_chars: usize,
    overlap_chars: usize,
}

impl Seam {
    /// The provider goes on by itself: everything is new.
    pub(crate) const fn native() -> Self {
        Self { fed: 0, kind: Kind::Append }
    }

    /// The target was given what was shown, without the white space it ends with.
    pub(crate) fn prefill(shown: &str, rules: &Continuation) -> Self {
        Self { fed: 0, kind: Kind::Prefill { head: String::new(), restart: beginning(shown, rules) } }
    }

    /// The target was asked to repeat the anchor of what was shown.
    pub(crate) fn prompt(shown: &str, anchor: &str, rules: &Continuation) -> Self {
        let body = shown.trim_end();
        let folded_shown: Vec<char> = fold(tail(body, LOOK_BACK_CHARS)).into_iter().map(|(c, _)| c).collect();
        let window = Window {
            anchor: anchor.to_owned(),
            folded_anchor: fold(anchor).into_iter().map(|(c, _)| c).collect(),
            folded_shown,
            shown_space: shown[body.len()..].to_owned(),
            in_fence: is_in_fence(shown),
            hold_chars: rules.hold_chars as usize,
            overlap_chars: rules.overlap_chars as usize,
        };
        let restart = beginning(shown, rules);
        Self { fed: 0, kind: Kind::Prompt { head: String::new(), restart, window: Box::new(window) } }
    }

    /// The target starts over.
    pub(crate) const fn rerun() -> Self {
        Self { fed: 0, kind: Kind::Rerun { matched: 0, leading: true } }
    }

    /// Bytes of the text shown that a rerun has covered, not counting white space before it.
    pub(crate) const fn covered(&self) -> Option<usize> {
        match self.kind {
            Kind::Rerun { matched, .. } => Some(matched),
            _ => None,
        }
    }

    /// Looks at the next piece of the answer.
    pub(crate) fn feed(&mut self, shown: &str, text: &str) -> Look {
        let before = self.fed;
        self.fed += text.len();
        match &mut self.kind {
            Kind::Append => Look::Joined { cut: before, method: Method::Appended },
            Kind::Rerun { matched, leading } => rerun(shown, text, before, matched, leading),
            Kind::Prefill { head, .. } | Kind::Prompt { head, .. } => {
                head.push_str(text);
                self.look(shown, false)
            }
        }
    }

    /// The answer has ended, or goes on with something that is not text.
    pub(crate) fn finish(&mut self, shown: &str) -> Look {
        match &self.kind {
            Kind::Append => Look::Joined { cut: self.fed, method: Method::Appended },
            Kind::Rerun { matched, .. } => {
                if shown.trim_start()[*matched..].trim().is_empty() {
                    Look::Joined { cut: self.fed, method: Method::Restart }
                } else {
                    Look::Failed(Misfit::TooShort)
                }
            }
            Kind::Prefill { .. } | Kind::Prompt { .. } => self.look(shown, true),
        }
    }

    fn look(&mut self, shown: &str, last: bool) -> Look {
        let (head, restart) = match &self.kind {
            Kind::Prefill { head, restart } | Kind::Prompt { head, restart, .. } => (head, restart),
            Kind::Rerun { .. } | Kind::Append => return Look::Undecided,
        };
        let anchored =
            if let Kind::Prompt { window, .. } = &self.kind { window.find(head, last) } else { None };
        if let Some(joined) = anchored {
            return joined;
        }
        let trimmed = head.trim_start();
        if let Some(restart) = restart {
            if trimmed.starts_with(restart.as_str()) {
                return self.start_over(shown, last);
            }
            if !last && restart.starts_with(trimmed) {
                return Look::Undecided;
            }
        }
        match &self.kind {
            Kind::Prefill { head, .. } => {
                let space = &shown[shown.trim_end().len()..];
                let waiting = head.len() < space.len() && space.starts_with(head.as_str());
                if waiting && !last {
                    return Look::Undecided;
                }
                Look::Joined { cut: common_prefix(space, head), method: Method::Appended }
            }
            Kind::Prompt { head, window, .. } => window.last_resort(head, last),
            Kind::Rerun { .. } | Kind::Append => Look::Undecided,
        }
    }

    /// The answer began as the text shown did: from here on it is a rerun.
    fn start_over(&mut self, shown: &str, last: bool) -> Look {
        let old = core::mem::replace(&mut self.kind, Kind::Rerun { matched: 0, leading: true });
        let (Kind::Prefill { head, .. } | Kind::Prompt { head, .. }) = old else {
            return Look::Undecided;
        };
        self.fed = 0;
        match self.feed(shown, &head) {
            Look::Repeats if last => self.finish(shown),
            // The pieces of the head are in the queue: only a cut can drop them.
            Look::Repeats => Look::Undecided,
            decided => decided,
        }
    }
}

fn rerun(shown: &str, text: &str, before: usize, matched: &mut usize, leading: &mut bool) -> Look {
    let mut rest = text;
    if *leading {
        rest = text.trim_start();
        *leading = rest.is_empty();
    }
    let skipped = text.len() - rest.len();
    let wanted = &shown.trim_start()[*matched..];
    if !*leading && rest.len() >= wanted.len() {
        return if rest.starts_with(wanted) {
            *matched += wanted.len();
            Look::Joined { cut: before + skipped + wanted.len(), method: Method::Restart }
        } else {
            Look::Failed(Misfit::Diverged)
        };
    }
    if wanted.as_bytes().starts_with(rest.as_bytes()) {
        *matched += rest.len();
        Look::Repeats
    } else {
        Look::Failed(Misfit::Diverged)
    }
}

impl Window {
    /// Looks for the words to repeat. `None` if they are not there yet.
    fn find(&self, head: &str, last: bool) -> Option<Look> {
        for start in self.starts(head) {
            let start = start + opening(&head[start..], &self.anchor);
            let quoted = head[..start].chars().next_back().and_then(closing_of);
            if head[start..].starts_with(&self.anchor) {
                let end = start + self.anchor.len();
                return Some(self.join(head, end, quoted, Method::Anchor, last));
            }
            if let Some(end) = self.find_loosely(&head[start..]) {
                let end = start + end;
                if end == head.len() && !last {
                    return Some(Look::Undecided);
                }
                if is_grapheme_border(head, end) {
                    return Some(self.join(head, end, quoted, Method::AnchorLoosely, last));
                }
            }
        }
        None
    }

    /// The end of the anchor in `text`, where what precedes it there was shown before it as well.
    fn find_loosely(&self, text: &str) -> Option<usize> {
        let folded = fold(text);
        let anchor = &self.folded_anchor;
        let before = &self.folded_shown[..self.folded_shown.len().saturating_sub(anchor.len())];
        (0..=folded.len().checked_sub(anchor.len())?).find_map(|place| {
            let here = folded[place..].iter().map(|(c, _)| c).take(anchor.len());
            if !here.eq(anchor.iter()) {
                return None;
            }
            let led_in = place <= before.len()
                && before[before.len() - place..].iter().eq(folded[..place].iter().map(|(c, _)| c));
            led_in.then(|| folded[place + anchor.len() - 1].1)
        })
    }

    /// The anchor ends at `end`: drop the quote that was opened before it and the space that was shown after it.
    fn join(&self, head: &str, end: usize, quoted: Option<char>, method: Method, last: bool) -> Look {
        let mut cut = end;
        let undecided = |cut: usize| cut == head.len() && !last;
        if undecided(cut) && (quoted.is_some() || !self.shown_space.is_empty()) {
            return Look::Undecided;
        }
        if let Some(quote) = quoted
            && head[cut..].starts_with(quote)
        {
            cut += quote.len_utf8();
        }
        let space = common_prefix(&self.shown_space, &head[cut..]);
        if undecided(cut + space) && space < self.shown_space.len() {
            return Look::Undecided;
        }
        Look::Joined { cut: cut + space, method }
    }

    /// The anchor is not there: a part of it may be, or there is no way to join.
    fn last_resort(&self, head: &str, last: bool) -> Look {
        let full = head.chars().count() >= self.hold_chars;
        let seen = head.trim_start().chars().count();
        if last || full || seen > self.anchor.chars().count() + OVERLAP_MARGIN_CHARS {
            for start in self.starts(head) {
                let start = start + opening(&head[start..], &self.anchor);
                if let Some(end) = self.overlap(&head[start..]) {
                    let end = start + end;
                    if is_grapheme_border(head, end) && (end < head.len() || last || full) {
                        return self.join(head, end, None, Method::Overlap, last || full);
                    }
                }
            }
        }
        if last || full { Look::Failed(Misfit::AnchorMissing) } else { Look::Undecided }
    }

    /// The end of the longest beginning of `text` that the text shown ends with, if it cannot be chance.
    fn overlap(&self, text: &str) -> Option<usize> {
        let folded = fold(text);
        let shown = &self.folded_shown;
        let most = folded.len().min(shown.len());
        let mut joined: Vec<char> = folded[..most].iter().map(|&(c, _)| c).collect();
        joined.push('\0');
        joined.extend_from_slice(&shown[shown.len() - most..]);
        let length = longest_border(&joined);
        let found = &folded[..length.min(folded.len())];
        let words: Vec<char> = found.iter().map(|&(c, _)| c).collect();
        (length >= self.overlap_chars && is_aperiodic(&words))
            .then(|| found.last().map(|&(_, end)| end))
            .flatten()
    }

    /// Where the repeated words may begin: at the start, after one line of preamble, after a fence opened again.
    fn starts(&self, head: &str) -> impl Iterator<Item = usize> {
        let first = head.len() - head.trim_start().len();
        let mut starts = vec![first];
        if let Some(second) = after_line(head, first) {
            let line = head[first..second].trim();
            if !is_fence(line) || self.in_fence {
                starts.push(second);
            }
            let fenced = head[second..].lines().next().is_some_and(is_fence);
            if !is_fence(line)
                && fenced
                && self.in_fence
                && let Some(third) = after_line(head, second)
            {
                starts.push(third);
            }
        }
        starts.into_iter()
    }
}

/// Characters of a preamble line at most.
const PREAMBLE_CHARS_MAX: usize = 200;
/// Characters seen beyond the anchor's length before a part of it is taken for it.
const OVERLAP_MARGIN_CHARS: usize = 16;
/// Characters of the text shown that a repetition may reach back.
const LOOK_BACK_CHARS: usize = 1_024;
/// Words and characters an anchor has where the text allows.
const ANCHOR_WORDS: usize = 8;
const ANCHOR_CHARS: core::ops::RangeInclusive<usize> = 24..=96;
/// Characters an anchor is lengthened to before the text counts as too repetitive to have one.
const ANCHOR_CHARS_MAX: usize = 256;

/// The last words of what was shown, long enough to be found again; none where the text repeats itself.
pub(crate) fn anchor(shown: &str) -> Option<&str> {
    let body = shown.trim_end();
    let mut wanted = 0;
    let mut start = body.len();
    for (words, (at, word)) in
        body.split_word_bound_indices().rev().enumerate().map(|(n, word)| (n / 2, word))
    {
        if wanted >= *ANCHOR_CHARS.start() && words >= ANCHOR_WORDS || wanted >= *ANCHOR_CHARS.end() {
            break;
        }
        if !word.trim().is_empty() {
            start = at;
        }
        wanted += word.chars().count();
    }
    loop {
        let anchor = body[start..].trim_start();
        let folded: Vec<char> = fold(anchor).into_iter().map(|(c, _)| c).collect();
        if folded.is_empty() {
            return None;
        }
        if is_aperiodic(&folded) {
            return Some(anchor);
        }
        let length = anchor.chars().count();
        if start == 0 || length >= ANCHOR_CHARS_MAX {
            return None;
        }
        start = body.len() - tail(body, (length * 2).min(ANCHOR_CHARS_MAX)).len();
    }
}

/// The characters that make an answer one that started over, where the text shown has that many.
fn beginning(shown: &str, rules: &Continuation) -> Option<String> {
    let body = shown.trim_start();
    let count = rules.restart_chars as usize;
    body.char_indices().nth(count - 1).map(|(at, c)| body[..at + c.len_utf8()].to_owned())
}

/// The last `count` characters of a text, on a grapheme border.
fn tail(text: &str, count: usize) -> &str {
    let mut start = text.char_indices().rev().take(count).last().map_or(text.len(), |(at, _)| at);
    while start > 0 && !is_grapheme_border(text, start) {
        start -= 1;
        while !text.is_char_boundary(start) {
            start -= 1;
        }
    }
    &text[start..]
}

/// Whether no grapheme spans `at`.
fn is_grapheme_border(text: &str, at: usize) -> bool {
    GraphemeCursor::new(at, text.len(), true).is_boundary(text, 0).unwrap_or(true)
}

/// A text's characters without what models change when they repeat it, each with the byte its original ends at.
fn fold(text: &str) -> Vec<(char, usize)> {
    let mut folded: Vec<(char, usize)> = Vec::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        match c {
            '*' | '_' | '`' => {}
            c if c.is_whitespace() => {
                if let Some((' ', last)) = folded.last_mut() {
                    *last = end;
                } else if !folded.is_empty() {
                    folded.push((' ', end));
                }
            }
            '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' => folded.push(('\'', end)),
            '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2033}' | '\u{ab}' | '\u{bb}' => {
                folded.push(('"', end));
            }
            '\u{2010}'..='\u{2015}' => folded.push(('-', end)),
            c => folded.extend(c.to_lowercase().map(|c| (c, end))),
        }
    }
    folded
}

/// Whether a text is not one pattern over and over: its longest border is under half its length.
fn is_aperiodic(text: &[char]) -> bool {
    longest_border(text) * 2 < text.len()
}

/// The length of the longest proper beginning that is also an end, in linear time.
fn longest_border(text: &[char]) -> usize {
    let mut borders = vec![0usize; text.len()];
    let mut length = 0;
    for at in 1..text.len() {
        while length > 0 && text[at] != text[length] {
            length = borders[length - 1];
        }
        if text[at] == text[length] {
            length += 1;
        }
        borders[at] = length;
    }
    length
}

/// Bytes both begin with.
fn common_prefix(a: &str, b: &str) -> usize {
    let pairs = a.char_indices().zip(b.chars());
    pairs.take_while(|((_, a), b)| a == b).last().map_or(0, |((at, c), _)| at + c.len_utf8())
}

/// The byte after the line that begins at `start` and the white space that follows it.
fn after_line(text: &str, start: usize) -> Option<usize> {
    let line = text[start..].find('\n')?;
    if text[start..start + line].chars().count() > PREAMBLE_CHARS_MAX {
        return None;
    }
    let rest = &text[start + line..];
    Some(text.len() - rest.trim_start().len())
}

fn is_fence(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("```") || line.starts_with("~~~")
}

/// Whether a code fence is open at the text's end.
fn is_in_fence(text: &str) -> bool {
    text.lines().filter(|line| is_fence(line)).count() % 2 == 1
}

/// Bytes of quotes, ellipsis or emphasis before words that are quoted; none where the words begin with them.
fn opening(text: &str, anchor: &str) -> usize {
    let lead = text.len()
        - text
            .trim_start_matches(|c: char| c.is_whitespace() || "\"'\u{201c}\u{2018}.\u{2026}*_`>".contains(c))
            .len();
    if lead == 0 || text.starts_with(anchor) {
        return 0;
    }
    let kept = anchor.len()
        - anchor.trim_start_matches(|c: char| "\"'\u{201c}\u{2018}.\u{2026}*_`>".contains(c)).len();
    if kept > 0 { 0 } else { lead }
}

/// The quote that closes what `quote` opens.
const fn closing_of(quote: char) -> Option<char> {
    match quote {
        '"' => Some('"'),
        '\'' => Some('\''),
        '\u{201c}' => Some('\u{201d}'),
        '\u{2018}' => Some('\u{2019}'),
        _ => None,
    }
}
