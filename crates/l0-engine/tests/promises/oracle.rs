//! Where a seam obviously is: slow, simple, and written without a look at how the engine finds it.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// Characters of an answer that are looked at for the words to repeat.
const HELD: usize = 512;
/// Characters of what was shown that a repetition may reach back.
const BACK: usize = 1_024;

/// A character as it counts when a model repeats it, and none if it does not count at all.
fn counts(c: char) -> Option<char> {
    match c {
        '*' | '_' | '`' => None,
        c if c.is_whitespace() => Some(' '),
        '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' => Some('\''),
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{2033}' | '\u{ab}' | '\u{bb}' => Some('"'),
        '\u{2010}'..='\u{2015}' => Some('-'),
        c => Some(c),
    }
}

/// A text as it counts where case does: runs of white space are one space, and none at the beginning.
fn tidied(text: &str) -> Vec<char> {
    let mut out: Vec<char> = Vec::new();
    for c in text.chars().filter_map(counts) {
        let space = c == ' ' && out.last().is_none_or(|last| *last == ' ');
        if !space {
            out.push(c);
        }
    }
    out
}

/// A text as it counts where case does not.
fn folded(text: &str) -> Vec<char> {
    tidied(text).into_iter().flat_map(char::to_lowercase).collect()
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
    for (lines, &start) in places.iter().enumerate() {
        let own = |(lead, end): &(String, usize)| its_own(shown, &held[start + lead.len()..*end], lines);
        let exactly = exactly(&held, start, anchor).filter(|place| !own(place));
        let place = exactly.or_else(|| loosely(&held, start, anchor, shown).filter(|place| !own(place)));
        if let Some((lead, end)) = place {
            return Some(joined(shown, answer, &lead, end));
        }
    }
    let (lead, end) = partly(&held, places[0], anchor, shown)?;
    Some(joined(shown, answer, &lead, end))
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

/// Whether what was shown has as many lines before the words that are repeated as the answer has: it may say the same in
/// other words.
fn its_own(shown: &str, repeated: &str, lines: usize) -> bool {
    let body = shown.trim();
    let (all, repeated) = (folded(body), folded(repeated));
    if lines == 0 || shown.trim_end().chars().count() > BACK {
        return false;
    }
    let before: String = all[..all.len() - repeated.len().min(all.len())].iter().collect();
    let mut said: Vec<&str> = body.lines().filter(|line| !line.trim().is_empty()).collect();
    let more = said.len() > lines;
    said.truncate(lines);
    let said: String = folded(&said.join("\n")).iter().collect();
    more && before.strip_suffix(' ').unwrap_or(&before) == said.strip_suffix(' ').unwrap_or(&said)
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

/// Every end such that what comes before it is long enough, and how the shown text ends.
fn ends(held: &str, from: usize, least: usize, ends_so: impl Fn(&str) -> bool) -> Vec<usize> {
    let borders = held[from..].char_indices().map(|(at, c)| from + at + c.len_utf8());
    borders
        .filter(|&end| {
            let words = &held[from..end];
            let counted = words.chars().next_back().and_then(counts).is_some();
            counted && tidied(words).len() >= least && ends_so(words)
        })
        .collect()
}

/// The anchor in other case, spacing or emphasis, and more of what was shown before it perhaps.
fn loosely(held: &str, start: usize, anchor: &str, shown: &str) -> Option<(String, usize)> {
    let from = start + lead(&held[start..], anchor);
    let near = folded(&last_chars(shown.trim_end(), BACK));
    let least = folded(anchor).len();
    let ends = ends(held, from, 0, |words| {
        let words = folded(words);
        words.len() >= least && near.ends_with(&words)
    });
    Some((held[start..from].to_owned(), with_its_space(held, *ends.first()?)))
}

/// Where the white space ends that a place stands in: it counts once, however much of it there is.
fn with_its_space(held: &str, end: usize) -> usize {
    let rest = &held[end..];
    let spaces =
        if held[..end].ends_with(char::is_whitespace) { rest.len() - rest.trim_start().len() } else { 0 };
    end + spaces
}

/// The longest part of the words, letter for letter, if it is no chance: long enough, no pattern, standing once.
fn partly(held: &str, start: usize, anchor: &str, shown: &str) -> Option<(String, usize)> {
    let (from, near) = (start + lead(&held[start..], anchor), last_chars(shown.trim_end(), BACK));
    let ends = ends(held, from, 12, |words| tidied(&near).ends_with(&tidied(words)));
    let longest = tidied(&held[from..*ends.last()?]).len();
    let first = ends.into_iter().find(|&end| tidied(&held[from..end]).len() == longest)?;
    let end = with_its_space(held, first);
    let words = folded(&held[from..end]);
    let tells = is_aperiodic(&words) && times(&words, &folded(&near)) == 1;
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
