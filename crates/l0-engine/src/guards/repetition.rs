//! The same words again and again, as a model does that has lost its way.
//!
//! Words and lines are hashed as they end. The last few words are looked up in a table of where they occurred before;
//! from then on each word is compared with the one a period earlier, so that a loop of any period is followed at one
//! comparison a word, and nothing is read twice.

use serde::{Deserialize, Serialize};

use super::hit::{At, Finding, Span};
use super::report::Report;
use super::spec::Problem;

/// When the same words are too many. Both bounds have to be passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RepetitionSpec {
    /// How often the same words have to follow each other.
    pub min_repeats: usize,
    /// How many characters all of that has to fill. Where there is not a word in it, as in rulers and columns of
    /// zeros, it has to fill eight times as many.
    pub min_chars: usize,
}

impl Default for RepetitionSpec {
    fn default() -> Self {
        Self { min_repeats: 4, min_chars: 1_000 }
    }
}

impl RepetitionSpec {
    pub(super) fn validate(self) -> Result<(), Problem> {
        Problem::unless_within("min_repeats", self.min_repeats, 2..=1_000)?;
        Problem::unless_within("min_chars", self.min_chars, 16..=1_000_000)
    }

    /// How much of what would be too much a loop amounts to, in thousandths.
    pub(super) fn score_permille(self, repeat: Repeat) -> u16 {
        let min_chars =
            if repeat.wordless { self.min_chars.saturating_mul(WORDLESS_FACTOR) } else { self.min_chars };
        let chars = repeat.span.end.char - repeat.span.start.char;
        let by_chars = chars.saturating_mul(1_000) / min_chars.max(1);
        let by_count = repeat.count_permille / self.min_repeats.max(1);
        u16::try_from(by_chars.min(by_count)).unwrap_or(1_000).min(1_000)
    }
}

/// How much longer a loop without any words may be.
const WORDLESS_FACTOR: usize = 8;

/// How many words, and how many lines, are remembered: no loop with a longer period is seen.
const WORDS_KEPT: usize = 512;
const LINES_KEPT: usize = 128;

/// How many words, or lines, in a row have to recur before a period is tried.
const PROBE_WORDS: usize = 3;
const PROBE_LINES: usize = 2;

/// How many places with the same hash are looked at. With one, the words of a short loop that happen to share it would
/// keep pushing each other out.
const PLACES_TRIED: usize = 4;

/// Where an unbroken word is cut, so that text without spaces is followed as well.
const WORD_CHARS_MAX: u32 = 32;

/// The same words again and again, as far as they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repeat {
    pub(super) span: Span,
    /// How often they occurred, in thousandths.
    pub(super) count_permille: usize,
    /// Whether there are only signs and numbers in it.
    pub(super) wordless: bool,
}

/// One rule that watches for repetitions.
#[derive(Debug, Clone, Copy)]
pub(super) struct RepetitionGuard {
    rule: u16,
    spec: RepetitionSpec,
    /// Where the repetition ended that was reported last: what goes on from it is not reported again.
    reported: At,
}

impl RepetitionGuard {
    pub(super) fn new(rule: u16, spec: RepetitionSpec) -> Self {
        Self { rule, spec, reported: At::default() }
    }

    pub(super) fn judge(&mut self, repeat: Repeat, report: &mut Report) {
        if repeat.span.start >= self.reported && self.spec.score_permille(repeat) >= 1_000 {
            self.reported = repeat.span.end;
            report.hit(self.rule, Finding::Repetition, repeat.span);
        }
    }
}

/// Follows words and lines.
#[derive(Debug, Clone)]
pub(super) struct Repetition {
    word: Word,
    words: Loop,
    line: Word,
    lines: Loop,
}

/// A word or line that is being read.
#[derive(Debug, Clone, Copy, Default)]
struct Word {
    hash: u64,
    start: At,
    end: At,
    chars: u32,
    has_letter: bool,
}

/// One word or line that was read.
#[derive(Debug, Clone, Copy, Default)]
struct Unit {
    hash: u32,
    has_letter: bool,
    start: At,
    /// Where units with the hash of this and the few before it ended before: a count, zero for never.
    before: u32,
}

/// Finds out with which period a sequence repeats itself.
#[derive(Debug, Clone)]
struct Loop {
    /// The last units, a ring once it is full.
    units: Vec<Unit>,
    kept: usize,
    probe: usize,
    /// How many units there have been.
    count: usize,
    /// Where the last few units with this hash ended: a count, zero for never.
    places: Vec<u32>,
    /// After how many units they recur; zero for none.
    period: usize,
    /// How many units in a row were equal to those a period before.
    run: usize,
    /// How many of the run's units hold a letter.
    run_letters: usize,
    /// Where what is repeated began.
    start: At,
}

impl Repetition {
    pub(super) fn new() -> Self {
        Self {
            word: Word::default(),
            words: Loop::new(WORDS_KEPT, PROBE_WORDS),
            line: Word::default(),
            lines: Loop::new(LINES_KEPT, PROBE_LINES),
        }
    }

    /// Takes a piece of text, calling `repeats` with each repetition that has just grown.
    pub(super) fn feed(&mut self, text: &str, mut at: At, repeats: &mut impl FnMut(Repeat)) {
        for ch in text.chars() {
            let after = at.step(ch);
            match Part::of(ch) {
                Part::InWord { letter } => {
                    self.word.add(ch, at, after, letter);
                    if self.word.chars == WORD_CHARS_MAX {
                        self.end_word(repeats);
                    }
                }
                Part::Alone { letter } => {
                    self.end_word(repeats);
                    self.word.add(ch, at, after, letter);
                    self.end_word(repeats);
                }
                Part::Space => self.end_word(repeats),
            }
            if ch == '\n' {
                self.end_line(repeats);
            }
            at = after;
        }
    }

    pub(super) fn finish(&mut self, repeats: &mut impl FnMut(Repeat)) {
        self.end_word(repeats);
        self.end_line(repeats);
    }

    #[inline]
    fn end_word(&mut self, repeats: &mut impl FnMut(Repeat)) {
        if self.word.chars == 0 {
            return;
        }
        let word = std::mem::take(&mut self.word);
        self.line.add_word(word);
        if let Some(repeat) = self.words.push(word) {
            repeats(repeat);
        }
    }

    fn end_line(&mut self, repeats: &mut impl FnMut(Repeat)) {
        if self.line.chars == 0 {
            return;
        }
        let line = std::mem::take(&mut self.line);
        if let Some(repeat) = self.lines.push(line) {
            repeats(repeat);
        }
    }
}

/// What a character is to a word.
enum Part {
    Space,
    InWord {
        letter: bool,
    },
    /// A word by itself: a sign, or a letter of a script that puts no spaces between words.
    Alone {
        letter: bool,
    },
}

impl Part {
    #[inline]
    fn of(ch: char) -> Self {
        match ch {
            'a'..='z' | 'A'..='Z' => Self::InWord { letter: true },
            '0'..='9' | '_' => Self::InWord { letter: false },
            ' ' | '\n' | '\t' | '\r' => Self::Space,
            '\0'..='\x7f' => Self::Alone { letter: false },
            _ if ch.is_whitespace() => Self::Space,
            _ if is_unspaced(ch) => Self::Alone { letter: true },
            _ if ch.is_alphanumeric() => Self::InWord { letter: ch.is_alphabetic() },
            _ => Self::Alone { letter: false },
        }
    }
}

/// Whether the script of `ch` puts no spaces between words: Thai to Myanmar, Khmer, Han and Kana.
fn is_unspaced(ch: char) -> bool {
    let inside = matches!(ch,
        '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
        | '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}');
    inside && ch.is_alphanumeric()
}

impl Word {
    #[inline]
    fn add(&mut self, ch: char, at: At, after: At, letter: bool) {
        if self.chars == 0 {
            self.start = at;
            // What begins with a digit is a number, whatever its base.
            self.has_letter = letter;
        }
        self.end = after;
        self.chars += 1;
        self.hash = mix(self.hash, u64::from(u32::from(ch)));
    }

    fn add_word(&mut self, word: Self) {
        if self.chars == 0 {
            self.start = word.start;
        }
        self.end = word.end;
        self.chars = self.chars.saturating_add(1);
        self.has_letter |= word.has_letter;
        self.hash = mix(self.hash, word.hash);
    }
}

impl Loop {
    fn new(kept: usize, probe: usize) -> Self {
        Self {
            units: Vec::new(),
            kept,
            probe,
            count: 0,
            places: Vec::new(),
            period: 0,
            run: 0,
            run_letters: 0,
            start: At::default(),
        }
    }

    fn push(&mut self, word: Word) -> Option<Repeat> {
        let unit = Unit { hash: fold(word.hash), has_letter: word.has_letter, start: word.start, before: 0 };
        if self.units.len() < self.kept {
            self.units.push(unit);
        } else if let Some(slot) = self.units.get_mut(self.count % self.kept) {
            *slot = unit;
        }
        self.count += 1;
        self.follow(unit);
        self.remember();
        if self.run == 0 {
            self.look_back();
        }
        self.repeat(word.end)
    }

    /// Goes on with the period that was found, or drops it.
    fn follow(&mut self, unit: Unit) {
        if self.period == 0 {
            return;
        }
        let earlier = self.back(self.period);
        if earlier.is_some_and(|earlier| earlier.hash == unit.hash) {
            self.run += 1;
            self.run_letters += usize::from(unit.has_letter);
        } else {
            self.period = 0;
            self.run = 0;
            self.run_letters = 0;
        }
    }

    /// Notes where the last few units ended, and where they ended before.
    fn remember(&mut self) {
        if self.count < self.probe {
            return;
        }
        if self.places.is_empty() {
            self.places = vec![0; self.kept];
        }
        let units = (0..self.probe).filter_map(|back| self.back(back));
        let hash = units.fold(0, |hash, unit| mix(hash, u64::from(unit.hash)));
        let slot = usize::try_from(fold(hash)).unwrap_or_default() % self.kept;
        let last = (self.count - 1) % self.kept;
        if let (Some(place), Some(unit)) = (self.places.get_mut(slot), self.units.get_mut(last)) {
            let count = u32::try_from(self.count).unwrap_or(u32::MAX);
            unit.before = std::mem::replace(place, count);
        }
    }

    /// Looks for a period with which the last few units recur.
    fn look_back(&mut self) {
        let mut back = 0;
        for _ in 0..PLACES_TRIED {
            let before = self.back(back).and_then(|unit| usize::try_from(unit.before).ok());
            let Some(before) = before.filter(|before| *before > 0) else {
                return;
            };
            back = self.count.saturating_sub(before);
            if self.try_period(back) {
                return;
            }
        }
    }

    /// Begins to follow `period` if the last few units do recur with it, and says whether they do.
    fn try_period(&mut self, period: usize) -> bool {
        let recurs = (0..self.probe).all(|back| {
            let now = self.back(back).map(|unit| unit.hash);
            now.is_some() && now == self.back(back + period).map(|unit| unit.hash)
        });
        let (true, Some(first)) = (recurs, self.back(self.probe - 1 + period)) else {
            return false;
        };
        self.start = first.start;
        self.period = period;
        self.run = self.probe;
        let units = (0..self.probe).filter_map(|back| self.back(back));
        self.run_letters = units.filter(|unit| unit.has_letter).count();
        true
    }

    /// The unit this many before the last, if it is still remembered.
    fn back(&self, back: usize) -> Option<Unit> {
        let place = self.count.checked_sub(back + 1)?;
        if back >= self.kept {
            return None;
        }
        self.units.get(place % self.kept).copied()
    }

    /// The repetition that ends with the last unit, at `end`.
    fn repeat(&self, end: At) -> Option<Repeat> {
        let units = self.run + self.period;
        let count_permille = units.saturating_mul(1_000).checked_div(self.period)?;
        Some(Repeat {
            span: Span { start: self.start, end },
            count_permille,
            wordless: self.run_letters * 8 < self.run,
        })
    }
}

/// One step of a hash; it is the same on every machine.
#[inline]
const fn mix(hash: u64, value: u64) -> u64 {
    (hash.rotate_left(5) ^ value).wrapping_mul(0x517C_C1B7_2722_0A95)
}

/// The better half of a hash.
#[inline]
const fn fold(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::guards::testing::{drifting, findings, guard, hits, same_however_split, warning};
    use crate::guards::{Check, DriftSpec, GuardSet, GuardSpec};

    use super::*;

    fn repetition(min_repeats: usize, min_chars: usize) -> Check {
        Check::Repetition(RepetitionSpec { min_repeats, min_chars })
    }

    fn default() -> GuardSet {
        guard(Check::Repetition(RepetitionSpec::default()))
    }

    #[test]
    fn both_bounds_have_to_be_passed() {
        let set = guard(repetition(4, 60));
        for (text, found) in [
            ("one two three four five six. ".repeat(3), false),
            ("one two three four five six. ".repeat(4), true),
            ("ha ".repeat(19), false),
            ("ha ".repeat(21), true),
            ("a".repeat(50), false),
            ("a".repeat(200), true),
        ] {
            assert_eq!(!findings(&set, &text).is_empty(), found, "{text}");
        }
    }

    #[test]
    fn a_loop_is_found_whatever_its_period_and_from_its_first_word_on() {
        for period in [1, 2, 3, 7, 50, 200, 400] {
            let words: Vec<_> = (0..period).map(|word| format!("w{} ", word * 7_919 % 1_009)).collect();
            let block = words.concat();
            let text = format!("Something else before. {}", block.repeat(2_000 / block.len() + 5));
            let hits = hits(&default(), &text);
            let [hit] = hits.as_slice() else {
                panic!("period {period}: {hits:?}");
            };
            assert_eq!(hit.span.start.byte, 23, "period {period}");
        }
    }

    /// Two words whose order gives the same place either way.
    #[test]
    fn a_loop_whose_words_share_a_place_is_found() {
        assert_eq!(findings(&default(), &"beb c ".repeat(300)), [Finding::Repetition]);
    }

    #[test]
    fn lines_recur_with_longer_periods_than_words_do() {
        let lines: Vec<_> = (0..60)
            .map(|line| {
                format!("line {} has {} words of its own, and {} more\n", line * 31, line * 17, line * 5)
            })
            .collect();
        let block = lines.concat();
        assert_eq!(findings(&default(), &block.repeat(5)), [Finding::Repetition]);
    }

    #[test]
    fn what_grows_while_it_repeats_itself_is_no_loop() {
        let counting: Vec<_> = (0..400).map(|number| format!("Step {number} is done. ")).collect();
        let counting = counting.concat();
        let table = format!("| {} |\n", ["0"; 40].join(" | ")).repeat(30);
        let ruler = "=".repeat(3_000);
        for text in [counting, table, ruler] {
            assert_eq!(findings(&default(), &text), []);
        }
    }

    #[test]
    fn one_loop_is_one_warning_and_the_next_another() {
        let set = warning(repetition(3, 40));
        let text =
            format!("{}and then {}", "round and round we go ".repeat(20), "up and down the hill ".repeat(20));
        assert_eq!(findings(&set, &text).len(), 2);
    }

    #[test]
    fn bounds_that_make_no_sense_are_refused() {
        for (check, message) in [
            (repetition(1, 100), "`min_repeats` is 1; allowed are 2 to 1000"),
            (repetition(4, 3), "`min_chars` is 3; allowed are 16 to 1000000"),
        ] {
            let refusal = crate::guards::testing::refusal(GuardSpec::new(check));
            assert!(refusal.contains(message), "{refusal}");
        }
    }

    proptest! {
        /// Any block of words, repeated often enough after anything else, is found.
        #[test]
        fn every_loop_is_found(
            before in "[a-d ]{0,40}",
            block in "[a-e]{1,3}( [a-e]{1,3}){0,20}",
        ) {
            let text = format!("{before}. {}", format!("{block} ").repeat(1_400 / block.len() + 5));
            prop_assert_eq!(findings(&default(), &text), [Finding::Repetition]);
        }

        #[test]
        fn any_split_gives_the_same_hits(
            words in prop::collection::vec("(a|bb|é|好|1|\n|, )", 0..12),
            times in 1usize..12,
            cuts in prop::collection::vec(0usize..400, 0..8),
        ) {
            let text = words.join(" ").repeat(times);
            same_however_split(&warning(repetition(3, 16)), &text, &cuts);
            let drift = DriftSpec {
                repetition: RepetitionSpec { min_repeats: 3, min_chars: 16 },
                script_letters: 8,
                threshold_permille: 500,
                ..DriftSpec::default()
            };
            same_however_split(&drifting(&drift), &text, &cuts);
        }
    }
}
