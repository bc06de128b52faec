//! Where a seam obviously is: slow, simple, and written without a look at how the engine finds it.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// Characters of an answer that are looked at for the words to repeat.
const HELD: usize = 512;
/// Characters of what was shown that a repetition may reach back.
const BACK: usize = 1_024;

/// A character as it counts when a model repeats it, and none if it does not count at all.
fn counts(c: char) -> Option<Vec<char>> {
    match c {
        '*' | '_' | '`' => None,
        c if c.is_whitespace() => Some(vec![' ']),
        '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' => Some(vec!['\'']),
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2033}' | '\u{ab}' | '\u{bb}' => Some(vec!['"']),
        '\u{2010}'..='\u{2015}' => Some(vec!['-']),
        c => Some(c.to_lowercase().collect()),
    }
}

/// A text as it counts: runs of white space are one space, and none at the beginning.
fn folded(text: &str) -> Vec<char> {
    let mut out: Vec<char> = Vec::new();
    for c in text.chars().filter_map(counts).flatten() {
        let space = c == ' ' && out.last().is_none_or(|last| *last == ' ');
        if !space {
            out.push(c);
        }
    }
    out
}

/// Whether a text is more than one pattern over and over.
fn is_aperiodic(text: &[char]) -> bool {
    !(1..=text.len() / 2 + text.len() % 2).any(|period| {
        period * 2 <= text.len() && (period..text.len()).all(|at| text[at] == text[at - period])
    })
}

fn times(needle: &[char], hay: &[char]) -> usize {
    if needle.is_empty() { 0 } else { hay.windows(needle.len()).filter(|window| *window == needle).count() }
}

fn last_chars(text: &str, count: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    chars[chars.len().saturating_sub(count)..].iter().collect()
}

fn both_begin(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}

/// An anchor is how the shown text ends, long enough, and stands nowhere else near its end.
pub(crate) fn is_anchor(shown: &str, anchor: &str) -> Result<(), TestCaseError> {
    let body = shown.trim_end();
    prop_assert!(body.ends_with(anchor), "{anchor:?}");
    let (words, near) = (folded(anchor), folded(&last_chars(body, BACK)));
    let letters = words.iter().filter(|c| c.is_alphanumeric()).count();
    prop_assert!(letters >= 12 && anchor.chars().count() <= 256, "{anchor:?}");
    prop_assert!(is_aperiodic(&words), "{anchor:?} is one pattern");
    prop_assert_eq!(times(&words, &near), 1, "{:?} stands more than once", anchor);
    Ok(())
}

/// The beginning by which an answer that starts over is known: at least 32 characters, none of them a pattern, standing
/// nowhere else.
fn beginning(shown: &str) -> Option<String> {
    let body: Vec<char> = shown.trim().chars().collect();
    let mut count = 32;
    while count / 2 < body.len() && count <= 256 && (count == 32) <= (body.len() >= 32) {
        let words = &body[..count.min(body.len())];
        if is_aperiodic(words) && times(words, &body) == 1 {
            return Some(words.iter().collect());
        }
        count *= 2;
    }
    None
}

/// The same again, or nothing.
pub(crate) fn rerun(shown: &str, answer: &str) -> Option<String> {
    if answer.trim().is_empty() {
        return None;
    }
    let lead = &shown[..shown.len() - shown.trim_start().len()];
    if shown.trim().is_empty() {
        return Some(format!("{shown}{}", &answer[both_begin(shown, answer)..]));
    }
    let again = answer.trim_start();
    if again.starts_with(shown.trim_start()) {
        return Some(format!("{lead}{again}"));
    }
    // White space at the very end may be missing from an answer that adds nothing.
    let ends = shown.trim_start().starts_with(again) && shown.trim_start()[again.len()..].trim().is_empty();
    ends.then(|| shown.to_owned())
}

/// Whether an answer starts over, as far as that can be told.
fn starts_over(shown: &str, answer: &str) -> bool {
    let Some(beginning) = beginning(shown) else { return false };
    let begun = answer.trim_start();
    begun.starts_with(&beginning) || (beginning.starts_with(begun) && begun.chars().count() >= 12)
}

/// On from a prefix.
pub(crate) fn prefilled(shown: &str, answer: &str) -> Option<String> {
    if answer.trim().is_empty() {
        return None;
    }
    if starts_over(shown, answer) {
        return rerun(shown, answer);
    }
    let space = &shown[shown.trim_end().len()..];
    Some(format!("{shown}{}", &answer[both_begin(space, answer)..]))
}

/// On behind the words that were to be repeated.
pub(crate) fn prompted(shown: &str, anchor: &str, answer: &str) -> Option<String> {
    if answer.trim().is_empty() {
        return None;
    }
    let held: String = answer.chars().take(HELD).collect();
    let places = places(&held, shown);
    if exactly(&held, places[0], anchor).is_none() && starts_over(shown, answer) {
        return rerun(shown, answer);
    }
    let ends_shown = folded(&last_chars(shown.trim_end(), BACK));
    for (lines, &start) in places.iter().enumerate() {
        let place = [exactly(&held, start, anchor), loosely(&held, start, anchor, &ends_shown)]
            .into_iter()
            .flatten()
            .find(|(lead, end)| !is_anew(lines, &held[start + lead.len()..*end], shown, anchor));
        if let Some((lead, end)) = place {
            return Some(joined(shown, answer, &lead, end));
        }
    }
    let (lead, end) = partly(&held, places[0], anchor, &ends_shown)?;
    let repeated = &held[places[0] + lead.len()..end];
    let tails = || shown.trim_end().char_indices().rev().map(|(at, _)| &shown[at..]);
    let wanted = folded(repeated).len();
    let same = tails().find(|tail| folded(tail.trim_end()).len() >= wanted)?;
    let begins =
        repeated.trim_start().starts_with(char::is_uppercase) && !same.starts_with(char::is_uppercase);
    (!begins).then(|| joined(shown, answer, &lead, end))
}

/// Whether what is repeated behind so many lines begins a line of the text shown that has about as many before it: an
/// answer begun anew in other words has it there, too.
fn is_anew(lines: usize, repeated: &str, shown: &str, anchor: &str) -> bool {
    let before = shown.trim_end().strip_suffix(anchor).unwrap_or_default();
    let (above, head) = before.rsplit_once('\n').unwrap_or(("", before));
    let above = above.lines().filter(|line| !line.trim().is_empty()).count();
    let more = folded(repeated).len().saturating_sub(folded(anchor).len());
    let head = folded(head);
    let inside = head[..head.len().saturating_sub(more)].iter().any(|c| c.is_alphabetic());
    lines > 0 && above >= 1 && above <= lines + 1 && !inside
}

/// Where repeated words may begin: at the start, behind a line, behind a fence that was opened again.
fn places(held: &str, shown: &str) -> Vec<usize> {
    let is_fence = |line: &str| line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
    let inside = shown.lines().filter(|line| is_fence(line)).count() % 2 == 1;
    let first = held.len() - held.trim_start().len();
    let next = |start: usize| {
        let line = held[start..].find('\n')?;
        let short = held[start..start + line].chars().count() <= 200;
        let after = &held[start + line..];
        short.then(|| held.len() - after.trim_start().len())
    };
    let mut places = vec![first];
    let Some(second) = next(first) else { return places };
    let fence = is_fence(held[first..second].trim());
    if !fence || inside {
        places.push(second);
    }
    let fenced = held[second..].lines().next().is_some_and(is_fence);
    if !fence && fenced && inside {
        places.extend(next(second));
    }
    places
}

const OPENERS: &str = "\"'\u{201c}\u{201d}\u{2018}\u{2019}.\u{2026}*_`>";

/// What stands before the words, if they do not begin with such a thing themselves.
fn lead(text: &str, anchor: &str) -> usize {
    if anchor.starts_with(|c| OPENERS.contains(c)) {
        return 0;
    }
    text.len() - text.trim_start_matches(|c: char| c.is_whitespace() || OPENERS.contains(c)).len()
}

/// The anchor, letter for letter: what stands before it, and where it ends.
fn exactly(held: &str, start: usize, anchor: &str) -> Option<(String, usize)> {
    let from = start + lead(&held[start..], anchor);
    held[from..].starts_with(anchor).then(|| (held[start..from].to_owned(), from + anchor.len()))
}

/// Every end such that what comes before it, as it counts, is how the shown text ends.
fn ends(held: &str, from: usize, ends_shown: &[char], least: usize) -> Vec<usize> {
    let borders = held[from..].char_indices().map(|(at, c)| from + at + c.len_utf8());
    borders
        .filter(|&end| {
            let words = folded(&held[from..end]);
            let counted = held[from..end].chars().next_back().and_then(counts).is_some();
            counted && words.len() >= least && ends_shown.ends_with(&words)
        })
        .collect()
}

/// The anchor in other case, spacing or emphasis, and more of what was shown before it perhaps.
fn loosely(held: &str, start: usize, anchor: &str, ends_shown: &[char]) -> Option<(String, usize)> {
    let from = start + lead(&held[start..], anchor);
    let end = with_its_space(held, *ends(held, from, ends_shown, folded(anchor).len()).first()?);
    Some((held[start..from].to_owned(), end))
}

/// Where the white space ends that a place stands in: it counts once, however much of it there is.
fn with_its_space(held: &str, end: usize) -> usize {
    let rest = &held[end..];
    let spaces =
        if held[..end].ends_with(char::is_whitespace) { rest.len() - rest.trim_start().len() } else { 0 };
    end + spaces
}

/// The longest part of the words, if it is no chance: long enough, no pattern, standing once.
fn partly(held: &str, start: usize, anchor: &str, ends_shown: &[char]) -> Option<(String, usize)> {
    let from = start + lead(&held[start..], anchor);
    let ends = ends(held, from, ends_shown, 12);
    let longest = folded(&held[from..*ends.last()?]).len();
    let first = ends.into_iter().find(|&end| folded(&held[from..end]).len() == longest)?;
    let end = with_its_space(held, first);
    let words = folded(&held[from..end]);
    let tells = is_aperiodic(&words) && times(&words, ends_shown) == 1;
    tells.then(|| (held[start..from].to_owned(), end))
}

/// The text, once what was repeated, closed again and shown already is taken off the answer.
fn joined(shown: &str, answer: &str, lead: &str, end: usize) -> String {
    let body = shown.trim_end();
    let mut rest = &answer[end..];
    let emphasis = &body[body.trim_end_matches(['*', '_', '`']).len()..];
    let ends_in_emphasis = answer[..end].ends_with(['*', '_', '`']);
    if !ends_in_emphasis {
        rest = &rest[both_begin(emphasis, rest)..];
    }
    let closes = lead.chars().find_map(|quote| match quote {
        '"' => Some('"'),
        '\'' => Some('\''),
        '\u{201c}' => Some('\u{201d}'),
        '\u{2018}' => Some('\u{2019}'),
        _ => None,
    });
    if let Some(after) = closes.and_then(|quote| rest.strip_prefix(quote)) {
        rest = after;
    }
    let space = &shown[body.len()..];
    format!("{shown}{}", &rest[both_begin(space, rest)..])
}
