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
    /// What was shown, tidied, up to its end: the last part of it that matters.
    tidy_shown: Vec<char>,
    /// The same, folded.
    folded_shown: Vec<char>,
    /// How long its first line is, folded, and its first two, where there are more and all of it is near.
    first_lines: [Option<usize>; 2],
    shown_space: String,
    /// The signs of emphasis it ends with.
    shown_emphasis: String,
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
        let near = tail(body, LOOK_BACK_CHARS);
        let window = Window {
            anchor: anchor.to_owned(),
            folded_anchor: fold(anchor).map(|(c, _)| c).collect(),
            tidy_shown: tidy(near).into_iter().map(|(c, _)| c).collect(),
            folded_shown: fold(near).map(|(c, _)| c).collect(),
            first_lines: if near.len() == body.len() { first_lines(near) } else { [None; 2] },
            shown_space: shown[body.len()..].to_owned(),
            shown_emphasis: body[body.trim_end_matches(is_emphasis).len()..].to_owned(),
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
        let look = match &self.kind {
            Kind::Prefill { head, restart } => match starts_over(restart.as_deref(), head, last) {
                Some(look) => look,
                None => go_on(shown, head, last),
            },
            Kind::Prompt { head, restart, window } => window.look(restart.as_deref(), head, last),
            Kind::Rerun { .. } | Kind::Append => return Look::Undecided,
        };
        if look == Look::Repeats { self.start_over(shown, last) } else { look }
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

/// Whether an answer begins as the text shown did: `Repeats` if so, `Undecided` while it may, nothing if not. One that
/// ended before that could be told began so, unless it is no more than a word.
fn starts_over(restart: Option<&str>, head: &str, last: bool) -> Option<Look> {
    let (restart, begun) = (restart?, head.trim_start());
    if begun.starts_with(restart) {
        return Some(Look::Repeats);
    }
    let may = restart.starts_with(begun);
    if last {
        (may && begun.chars().nth(ANCHOR_CHARS_MIN - 1).is_some()).then_some(Look::Repeats)
    } else {
        may.then_some(Look::Undecided)
    }
}

/// The answer goes on from what was shown. White space that was shown, and that the target was not given, is kept once.
fn go_on(shown: &str, head: &str, last: bool) -> Look {
    let space = &shown[shown.trim_end().len()..];
    let waiting = head.len() < space.len() && space.starts_with(head);
    if waiting && !last {
        return Look::Undecided;
    }
    Look::Joined { cut: common_prefix(space, head), method: Method::Appended }
}

/// The beginning of an answer that is searched.
#[derive(Clone, Copy)]
struct View<'a> {
    text: &'a str,
    /// Whether more of it is never looked at: it has ended, or is as long as is held.
    complete: bool,
}

impl View<'_> {
    /// Whether what stands at `at` is still to come.
    fn ends_at(self, at: usize) -> bool {
        at >= self.text.len() && !self.complete
    }
}

impl Window {
    /// Looks for the words to repeat.
    ///
    /// A place is taken only when no text that may still come could speak for another one, so that it does not matter
    /// how the answer is split.
    fn look(&self, restart: Option<&str>, head: &str, last: bool) -> Look {
        let limit = head.char_indices().nth(self.hold_chars).map(|(at, _)| at);
        let view = View { text: &head[..limit.unwrap_or(head.len())], complete: last || limit.is_some() };
        let mut starts = self.starts(view.text);
        if let Some(look) = starts.next().and_then(|first| self.exactly(view, first)) {
            return look;
        }
        if let Some(look) = starts_over(restart, head, last) {
            return look;
        }
        let places = self.starts(view.text);
        if let Some(look) = places.enumerate().find_map(|(lines, start)| {
            let exactly =
                self.exactly(view, start).filter(|_| !self.is_its_own(lines, self.folded_anchor.len()));
            exactly.or_else(|| self.loosely(view, start, lines))
        }) {
            return look;
        }
        if !view.complete {
            return Look::Undecided;
        }
        // Behind a line of something else, a part of the words is too little to go by.
        let partly = self.starts(view.text).next().and_then(|start| self.partly(view, start));
        partly.unwrap_or(Look::Failed(Misfit::AnchorMissing))
    }

    /// The words stand at `start`, letter for letter, or may come to.
    fn exactly(&self, view: View<'_>, start: usize) -> Option<Look> {
        let lead = opening(&view.text[start..], &self.anchor);
        let text = &view.text[start + lead..];
        if text.starts_with(&self.anchor) {
            let end = start + lead + self.anchor.len();
            return Some(self.join(view, &view.text[start..start + lead], end, Method::Anchor));
        }
        (!view.complete && self.anchor.starts_with(text)).then_some(Look::Undecided)
    }

    /// Whether an answer that repeats so many characters of what was shown, behind so many lines of its own, may as well
    /// have started over: what was shown has as many lines before them, and the answer says those in other words.
    fn is_its_own(&self, lines: usize, repeated: usize) -> bool {
        let before = &self.folded_shown[..self.folded_shown.len().saturating_sub(repeated)];
        let length = before.len() - usize::from(before.last() == Some(&' '));
        lines.checked_sub(1).and_then(|place| *self.first_lines.get(place)?) == Some(length)
    }

    /// The words stand at or behind `start`, in other case, spacing, quotes or emphasis.
    fn loosely(&self, view: View<'_>, start: usize, lines: usize) -> Option<Look> {
        let lead = opening(&view.text[start..], &self.anchor);
        let (place, end) = self.find_loosely(&view.text[start + lead..])?;
        if self.is_its_own(lines, place + self.folded_anchor.len()) {
            return None;
        }
        let end = start + lead + end;
        Some(self.join_after_emphasis(view, &view.text[start..start + lead], end, Method::AnchorLoosely))
    }

    /// A part of the words stands at `start`.
    fn partly(&self, view: View<'_>, start: usize) -> Option<Look> {
        let lead = opening(&view.text[start..], &self.anchor);
        let end = start + lead + self.overlap(&view.text[start + lead..])?;
        Some(self.join_after_emphasis(view, &view.text[start..start + lead], end, Method::Overlap))
    }

    /// Joins behind the emphasis that the text shown closed at its end, which folding has left out.
    ///
    /// What ends here ends with the character that the text shown ends with: if that splits a grapheme, it was split
    /// where the text broke off.
    fn join_after_emphasis(&self, view: View<'_>, lead: &str, end: usize, method: Method) -> Look {
        let end = end + common_prefix(&self.shown_emphasis, &view.text[end..]);
        // What comes next may close more.
        if view.ends_at(end) { Look::Undecided } else { self.join(view, lead, end, method) }
    }

    /// The words end at `end`: drop the quote that was opened in their lead and the space that was shown after them.
    fn join(&self, view: View<'_>, lead: &str, end: usize, method: Method) -> Look {
        let quote = lead.chars().find_map(closing_of);
        let waits = quote.is_some() || !self.shown_space.is_empty();
        if waits && view.ends_at(end) {
            return Look::Undecided;
        }
        let quoted = quote.filter(|&quote| view.text[end..].starts_with(quote));
        let end = end + quoted.map_or(0, char::len_utf8);
        let space = common_prefix(&self.shown_space, &view.text[end..]);
        if space < self.shown_space.len() && view.ends_at(end + space) {
            return Look::Undecided;
        }
        Look::Joined { cut: end + space, method }
    }

    /// Where the anchor stands in `text`, folded, and where it ends, if what precedes it there was shown before it, too.
    fn find_loosely(&self, text: &str) -> Option<(usize, usize)> {
        let folded: Vec<(char, usize)> = fold(text).collect();
        let anchor = &self.folded_anchor;
        let before = &self.folded_shown[..self.folded_shown.len().saturating_sub(anchor.len())];
        (0..=folded.len().checked_sub(anchor.len())?).find_map(|place| {
            let here = folded[place..].iter().map(|(c, _)| c).take(anchor.len());
            if !here.eq(anchor.iter()) {
                return None;
            }
            let led_in = place <= before.len()
                && before[before.len() - place..].iter().eq(folded[..place].iter().map(|(c, _)| c));
            led_in.then(|| (place, folded[place + anchor.len() - 1].1))
        })
    }

    /// The end of the longest beginning of `text` that the text shown ends with, if it cannot be chance. A letter's case
    /// counts: an answer in other words begins with a capital, and may well begin with what was said last.
    fn overlap(&self, text: &str) -> Option<usize> {
        let (found, shown) = (tidy(text), &self.tidy_shown);
        let most = found.len().min(shown.len());
        let mut joined: Vec<char> = found[..most].iter().map(|&(c, _)| c).collect();
        joined.push('\0');
        joined.extend_from_slice(&shown[shown.len() - most..]);
        let found = &found[..longest_border(&joined).min(found.len())];
        let words: Vec<char> = found.iter().flat_map(|(c, _)| c.to_lowercase()).collect();
        // Words that stand in two places of what was shown do not tell which of them is repeated.
        let tells =
            || is_aperiodic(&words) && stands_once(&words, &self.folded_shown.iter().collect::<String>());
        (found.len() >= self.overlap_chars && tells()).then(|| found.last().map(|&(_, end)| end)).flatten()
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
/// Characters of the text shown that a repetition may reach back.
const LOOK_BACK_CHARS: usize = 1_024;
/// Words and characters an anchor has where the text allows.
const ANCHOR_WORDS: usize = 8;
const ANCHOR_CHARS: core::ops::RangeInclusive<usize> = 24..=96;
/// Letters and digits an anchor has at least: fewer stand at the start of a line by chance, and the lines and bars of
/// a table stand in every table.
const ANCHOR_CHARS_MIN: usize = 12;
/// Characters an anchor is lengthened to before the text counts as too repetitive to have one.
const ANCHOR_CHARS_MAX: usize = 256;
/// Characters of the beginning that are compared before the text counts as one that repeats itself.
const RESTART_CHARS_MAX: usize = 256;

/// How long the first line of a text is, folded, and its first two, where more follows.
fn first_lines(text: &str) -> [Option<usize>; 2] {
    let body = text.trim_start();
    let ends = body
        .match_indices('\n')
        .map(|(at, _)| &body[..at])
        .filter(|lines| !lines.trim_end_matches(' ').ends_with('\n'));
    let mut lengths = ends.map(|lines| {
        let (length, last) = fold(lines).fold((0, None), |(count, _), (c, _)| (count + 1, Some(c)));
        length - usize::from(last == Some(' '))
    });
    [lengths.next(), lengths.next()]
}

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
    let shown_before: String = fold(tail(body, LOOK_BACK_CHARS)).map(|(c, _)| c).collect();
    loop {
        let anchor = from_a_word(&body[start..]);
        let folded: Vec<char> = fold(anchor).map(|(c, _)| c).collect();
        if folded.is_empty() {
            return None;
        }
        let long_enough = folded.iter().filter(|c| c.is_alphanumeric()).count() >= ANCHOR_CHARS_MIN;
        if long_enough
            && is_aperiodic(&folded)
            && stands_once(&folded, &shown_before)
            && !is_only_a_beginning(anchor, body)
        {
            return Some(anchor);
        }
        if start == 0 || wanted >= ANCHOR_CHARS_MAX {
            return None;
        }
        wanted = (wanted * 2).min(ANCHOR_CHARS_MAX);
        start = body.len() - tail(body, wanted).len();
    }
}

/// A text from its first letter or digit on, if enough is left: what stands before a word is easily lost, or taken for a
/// quote's beginning.
fn from_a_word(text: &str) -> &str {
    let words = text.trim_start_matches(|c: char| !c.is_alphanumeric());
    if words.chars().nth(ANCHOR_CHARS_MIN).is_some() { words } else { text.trim_start() }
}

/// Whether the end of `text` occurs nowhere else in it: an answer that holds it is then joined in one place only.
fn stands_once(end: &[char], text: &str) -> bool {
    let end: String = end.iter().collect();
    let before = text.char_indices().next_back().map_or("", |(at, _)| &text[..at]);
    !before.contains(&end)
}

/// Whether `body` begins with words that it also ends with: an answer that starts with them may have started over.
fn is_only_a_beginning(words: &str, body: &str) -> bool {
    [body.trim_start(), from_a_word(body)]
        .iter()
        .any(|body| body.len() > words.len() && body.starts_with(words))
}

/// The characters that make an answer one that started over: as many as it takes for them to stand nowhere else in
/// what was shown, because text that repeats itself goes on as it began.
fn beginning(shown: &str, rules: &Continuation) -> Option<String> {
    let body = shown.trim();
    let mut count = rules.restart_chars as usize;
    loop {
        let end = body.char_indices().nth(count - 1).map(|(at, c)| at + c.len_utf8());
        let words = &body[..end.or_else(|| (count > rules.restart_chars as usize).then_some(body.len()))?];
        let chars: Vec<char> = words.chars().collect();
        let after_first = chars.first().map_or(0, |c| c.len_utf8());
        if is_aperiodic(&chars) && !body[after_first..].contains(words) {
            return Some(words.to_owned());
        }
        if words.len() == body.len() || count >= RESTART_CHARS_MAX {
            return None;
        }
        count *= 2;
    }
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

/// What models add and leave out when they repeat words.
const fn is_emphasis(c: char) -> bool {
    matches!(c, '*' | '_' | '`')
}

/// A text's characters without what models change when they repeat it, each with the byte its original ends at.
fn fold(text: &str) -> impl Iterator<Item = (char, usize)> {
    tidy(text).into_iter().flat_map(|(c, end)| c.to_lowercase().map(move |c| (c, end)))
}

/// The same, with the case of every letter.
fn tidy(text: &str) -> Vec<(char, usize)> {
    let mut tidy: Vec<(char, usize)> = Vec::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        match c {
            c if is_emphasis(c) => {}
            c if c.is_whitespace() => {
                if let Some((' ', last)) = tidy.last_mut() {
                    // Behind emphasis it is not the same space any more, though it counts as one.
                    *last = if *last == at { end } else { *last };
                } else if !tidy.is_empty() {
                    tidy.push((' ', end));
                }
            }
            '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' => tidy.push(('\'', end)),
            '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2033}' | '\u{ab}' | '\u{bb}' => tidy.push(('"', end)),
            '\u{2010}'..='\u{2015}' => tidy.push(('-', end)),
            c => tidy.push((c, end)),
        }
    }
    tidy
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
            .trim_start_matches(|c: char| {
                c.is_whitespace() || "\"'\u{201c}\u{201d}\u{2018}\u{2019}.\u{2026}*_`>".contains(c)
            })
            .len();
    if lead == 0 || text.starts_with(anchor) {
        return 0;
    }
    let kept = anchor.len()
        - anchor
            .trim_start_matches(|c: char| "\"'\u{201c}\u{201d}\u{2018}\u{2019}.\u{2026}*_`>".contains(c))
            .len();
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
