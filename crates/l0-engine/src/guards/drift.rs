//! An answer that goes astray while each of its pieces still looks right.
//!
//! Each signal has a score in thousandths, kept up to date at a bounded cost per character; nothing here is sure of
//! itself, which is why a drift is acted on only as the policy says, and by default only recorded.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::fence::{Fences, Ticked};
use super::hit::{At, Span};
use super::repetition::{Repeat, RepetitionSpec};
use super::script::Script;
use super::spec::Problem;
use crate::json::{Kind, Scanner, Status};

/// What is watched, and what becomes of an answer that drifts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftSpec {
    /// What to do about it.
    pub action: DriftAction,
    /// From which score on, in thousandths.
    pub threshold_permille: u16,
    /// What is watched. `length` also needs `expected_chars`.
    pub signals: Vec<Signal>,
    /// What counts as a repetition loop; its score is how much of both bounds has been reached.
    pub repetition: RepetitionSpec,
    /// How many letters of a script that the answer did not use so far, begun in the middle of a line, score fully.
    pub script_letters: u32,
    /// How long such an answer usually is; four times as much scores fully.
    pub expected_chars: Option<usize>,
}

impl Default for DriftSpec {
    fn default() -> Self {
        Self {
            action: DriftAction::default(),
            threshold_permille: 1_000,
            signals: vec![Signal::Repetition, Signal::Format, Signal::Script],
            repetition: RepetitionSpec::default(),
            script_letters: 80,
            expected_chars: None,
        }
    }
}

impl DriftSpec {
    pub(super) fn compile(&self) -> Result<DriftGuard, Problem> {
        let threshold = usize::from(self.threshold_permille);
        Problem::unless_within("threshold_permille", threshold, 1..=1_000)?;
        if self.signals.is_empty() {
            return Err(Problem::new(
                "signals",
                "is empty; allowed are repetition, format, script and length",
            ));
        }
        self.repetition.validate()?;
        let letters = usize::try_from(self.script_letters).unwrap_or(usize::MAX);
        Problem::unless_within("script_letters", letters, 8..=10_000)?;
        match self.expected_chars {
            Some(chars) => Problem::unless_within("expected_chars", chars, 1..=100_000_000)?,
            None if self.watches(Signal::Length) => {
                return Err(Problem::new("expected_chars", "is needed where `signals` has length"));
            }
            None => {}
        }
        Ok(DriftGuard {
            action: self.action,
            threshold: self.threshold_permille,
            repetition: self.watches(Signal::Repetition).then_some(self.repetition),
            format: self.watches(Signal::Format).then(FormatWatch::default),
            script: self.watches(Signal::Script).then(|| ScriptWatch::new(self.script_letters)),
            expected_chars: self.expected_chars.filter(|_| self.watches(Signal::Length)),
            scores: Scores::default(),
            reported: SmallVec::new(),
        })
    }

    fn watches(&self, signal: Signal) -> bool {
        self.signals.contains(&signal)
    }
}

/// What becomes of an answer that drifts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftAction {
    /// It goes on, and the drift is recorded.
    #[default]
    Record,
    /// The attempt has failed, and another may be made.
    Retry,
    /// The attempt has failed, and the next target is tried.
    Fallback,
}

/// How an answer drifts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// It says the same again and again.
    Repetition,
    /// What it began as it no longer is: JSON turned into prose, text into control tokens or into noise.
    Format,
    /// In the middle of a line it goes on in another script, and stays there.
    Script,
    /// It is much longer than such answers are.
    Length,
}

/// How much of each signal there is, in thousandths; the highest so far, since no drift is taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scores {
    /// See [`Signal::Repetition`].
    pub repetition: u16,
    /// See [`Signal::Format`].
    pub format: u16,
    /// See [`Signal::Script`].
    pub script: u16,
    /// See [`Signal::Length`].
    pub length: u16,
}

/// A signal that has just reached its threshold; each does so at most once in an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Drifted {
    /// Which one.
    pub signal: Signal,
    /// Its score, in thousandths.
    pub score_permille: u16,
    /// From where it drifted to where that was noticed.
    pub span: Span,
}

#[derive(Debug, Clone)]
pub(super) struct DriftGuard {
    pub(super) action: DriftAction,
    threshold: u16,
    pub(super) repetition: Option<RepetitionSpec>,
    format: Option<FormatWatch>,
    script: Option<ScriptWatch>,
    expected_chars: Option<usize>,
    pub(super) scores: Scores,
    reported: SmallVec<[Signal; 4]>,
}

impl DriftGuard {
    /// Takes a piece of text; repetitions are told by [`DriftGuard::repeats`].
    pub(super) fn feed(&mut self, text: &str, at: At, drifted: &mut impl FnMut(Drifted)) {
        let mut here = at;
        for ch in text.chars() {
            let end = here.step(ch);
            if let Some(format) = &mut self.format
                && let Some((score, start)) = format.step(ch, here)
            {
                self.raise(Signal::Format, score, Span { start, end }, drifted);
            }
            if let Some(script) = &mut self.script
                && let Some((score, start)) = script.step(ch, here)
            {
                self.raise(Signal::Script, score, Span { start, end }, drifted);
            }
            here = end;
        }
        if let Some(expected) = self.expected_chars
            && here.char > expected
        {
            self.lengthen(text, at, expected, drifted);
        }
    }

    pub(super) fn repeats(&mut self, repeat: Repeat, drifted: &mut impl FnMut(Drifted)) {
        if let Some(spec) = self.repetition {
            let score = spec.score_permille(repeat);
            self.raise(Signal::Repetition, score, repeat.span, drifted);
        }
    }

    /// Raises the score of the length character by character, so that it is reported at the same one however the text
    /// is cut.
    fn lengthen(&mut self, text: &str, at: At, expected: usize, drifted: &mut impl FnMut(Drifted)) {
        if self.scores.length >= 1_000 {
            return;
        }
        let mut here = at;
        for ch in text.chars() {
            here = here.step(ch);
            let over = here.char.saturating_sub(expected);
            let score = (over * 1_000 / (3 * expected)).min(1_000);
            let span = Span { start: At::default(), end: here };
            let score = u16::try_from(score).unwrap_or(1_000);
            self.raise(Signal::Length, score, span, drifted);
        }
    }

    fn raise(&mut self, signal: Signal, score: u16, span: Span, drifted: &mut impl FnMut(Drifted)) {
        let highest = match signal {
            Signal::Repetition => &mut self.scores.repetition,
            Signal::Format => &mut self.scores.format,
            Signal::Script => &mut self.scores.script,
            Signal::Length => &mut self.scores.length,
        };
        *highest = score.max(*highest);
        if score >= self.threshold && !self.reported.contains(&signal) {
            self.reported.push(signal);
            drifted(Drifted { signal, score_permille: score, span });
        }
    }
}

/// Watches whether a text stays what it began as.
#[derive(Debug, Clone, Default)]
struct FormatWatch {
    json: JsonWatch,
    fences: Fences,
    ticked: Ticked,
    control: ControlToken,
    /// How many control tokens there have been.
    controls: u16,
    /// For each of the last characters, whether it is noise.
    noise: u64,
}

/// How many control tokens of chat templates, outside code, score fully.
const CONTROLS_FULL: u16 = 3;

impl FormatWatch {
    /// Takes one character, and returns a score with where it began, if there is one.
    #[inline]
    fn step(&mut self, ch: char, at: At) -> Option<(u16, At)> {
        let json = self.json.step(ch, at);
        let noisy = is_noise(ch);
        self.noise = self.noise << 1 | u64::from(noisy);
        let fenced = self.fences.step(ch, at);
        let code = self.ticked.step(ch) || fenced;
        if json.is_some() {
            return json;
        }
        if !code && self.control.step(ch, at) {
            self.controls = self.controls.saturating_add(1).min(CONTROLS_FULL);
            return Some((self.controls * 1_000 / CONTROLS_FULL, self.control.start));
        }
        if noisy {
            // Half of a window of noise scores fully.
            let score = (self.noise.count_ones() * 1_000 / (u64::BITS / 2)).min(1_000);
            return Some((u16::try_from(score).unwrap_or(1_000), at));
        }
        None
    }
}

/// Characters that no text has in number: replacements, controls, private use.
fn is_noise(ch: char) -> bool {
    match ch {
        '\n' | '\r' | '\t' | ' '..='~' => false,
        '\u{FFFD}' | '\u{E000}'..='\u{F8FF}' | '\u{F0000}'.. => true,
        _ => ch.is_control(),
    }
}

/// Reads `<|…|>`.
#[derive(Debug, Clone, Copy, Default)]
struct ControlToken {
    start: At,
    chars: u8,
    last: char,
}

impl ControlToken {
    const CHARS_MAX: u8 = 32;

    /// Takes one character, and says whether it ends a control token.
    #[inline]
    fn step(&mut self, ch: char, at: At) -> bool {
        let last = std::mem::replace(&mut self.last, ch);
        match (self.chars, ch) {
            (_, '<') => {
                self.start = at;
                self.chars = 1;
            }
            (0, _) => {}
            (1, '|') => self.chars = 2,
            (3.., '>') if last == '|' => {
                let name = self.chars > 3;
                self.chars = 0;
                return name;
            }
            (2.., 'a'..='z' | 'A'..='Z' | '_' | '0'..='9' | '|') if self.chars < Self::CHARS_MAX => {
                self.chars += 1;
            }
            _ => self.chars = 0,
        }
        false
    }
}

/// Watches a text that began as JSON for the place where it turns into prose.
#[derive(Debug, Clone, Default)]
enum JsonWatch {
    #[default]
    Before,
    Inside(Box<Scanner>),
    /// It broke; how many words of prose have followed since.
    Broken {
        start: At,
        words: u16,
        in_word: bool,
    },
    Over,
}

impl JsonWatch {
    /// How much of a text has to be JSON for it to have been JSON.
    const BYTES_MIN: usize = 64;
    /// How many words in a row make prose.
    const WORDS_FULL: u16 = 8;

    #[inline]
    fn step(&mut self, ch: char, at: At) -> Option<(u16, At)> {
        match self {
            Self::Over => None,
            Self::Before => {
                if !ch.is_ascii_whitespace() {
                    *self = if matches!(ch, '{' | '[') {
                        let mut scanner = Scanner::new();
                        scanner.feed(ch.encode_utf8(&mut [0; 4]));
                        Self::Inside(Box::new(scanner))
                    } else {
                        Self::Over
                    };
                }
                None
            }
            Self::Inside(scanner) => {
                match scanner.feed(ch.encode_utf8(&mut [0; 4])) {
                    Status::Open | Status::Empty => {}
                    Status::Complete => *self = Self::Over,
                    Status::Invalid { at: broken } => {
                        let was_json = broken >= Self::BYTES_MIN
                            && matches!(scanner.root(), Some(Kind::Object | Kind::Array));
                        *self = if was_json && ch.is_alphabetic() {
                            Self::Broken { start: at, words: 0, in_word: true }
                        } else {
                            Self::Over
                        };
                    }
                }
                None
            }
            Self::Broken { start, words, in_word } => {
                if ch.is_alphabetic() {
                    *in_word = true;
                    return None;
                }
                *words += u16::from(std::mem::take(in_word));
                let (words, start) = (*words, *start);
                if matches!(ch, '{' | '}' | '[' | ']' | '"' | ':' | '=' | '/') {
                    *self = Self::Over;
                } else if words >= Self::WORDS_FULL {
                    *self = Self::Over;
                    return Some((1_000, start));
                }
                None
            }
        }
    }
}

/// Watches for a script that the answer did not use before.
#[derive(Debug, Clone, Copy)]
struct ScriptWatch {
    letters_full: u32,
    /// How many letters there were of each script, until the answer's own scripts are known.
    counts: [u8; Script::COUNT],
    letters: u8,
    own: u32,
    /// What stands before this character: the last that was not a space.
    before: char,
    run: ForeignRun,
}

/// Letters of a script that is not the answer's own.
#[derive(Debug, Clone, Copy, Default)]
struct ForeignRun {
    start: At,
    /// Weighted: a letter of a script without spaces says as much as two others.
    letters: u32,
    /// How many letters of its own the answer had since.
    own_since: u32,
    /// Whether something announced it: a colon, a quotation mark, a new line.
    announced: bool,
}

impl ScriptWatch {
    /// After how many letters the answer's own scripts are known.
    const LETTERS_LEARNT: u8 = 120;
    /// After how many of its own letters in a row the answer is itself again.
    const OWN_AGAIN: u32 = 12;

    fn new(letters_full: u32) -> Self {
        Self {
            letters_full,
            counts: [0; Script::COUNT],
            letters: 0,
            own: 0,
            before: '\n',
            run: ForeignRun::default(),
        }
    }

    #[inline]
    fn step(&mut self, ch: char, at: At) -> Option<(u16, At)> {
        let before = self.before;
        if ch == '\n' || !ch.is_whitespace() {
            self.before = ch;
        }
        let script = Script::of(ch)?;
        if self.letters < Self::LETTERS_LEARNT {
            self.learn(script);
            return None;
        }
        if self.own & script.bit() != 0 {
            self.run.own_since = self.run.own_since.saturating_add(1);
            return None;
        }
        let run = &mut self.run;
        if run.letters == 0 || run.own_since >= Self::OWN_AGAIN {
            *run = ForeignRun { start: at, announced: announces(before), ..ForeignRun::default() };
        }
        run.own_since = 0;
        let weight = if script.is_unspaced() { 2 } else { 1 };
        run.letters = run.letters.saturating_add(weight);
        if run.announced {
            return None;
        }
        let score = (u64::from(run.letters) * 1_000 / u64::from(self.letters_full)).min(1_000);
        Some((u16::try_from(score).unwrap_or(1_000), run.start))
    }

    fn learn(&mut self, script: Script) {
        self.letters += 1;
        if let Some(count) = self.counts.get_mut(script.index()) {
            *count += 1;
        }
        if self.letters == Self::LETTERS_LEARNT {
            let scripts = (0..).zip(&self.counts);
            let own = scripts.filter(|(_, count)| **count > Self::LETTERS_LEARNT / 10);
            self.own = own.fold(0, |own, (index, _)| own | 1 << index);
            // What is going on just now was begun before the answer's own scripts were known: it is let pass.
            self.run.announced = true;
            self.run.letters = u32::from(self.own & script.bit() == 0);
        }
    }
}

/// Whether what follows `ch` may well be in another script: a quotation, an example, a new paragraph.
fn announces(ch: char) -> bool {
    !ch.is_alphanumeric() && !matches!(ch, '.' | ',' | ';' | '!' | '?')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::guards::testing::{drifting, drifts, same_however_split};

    use super::*;

    #[test]
    fn json_that_turns_into_prose_has_collapsed() {
        let json = r#"{"items": [{"name": "one", "price": 1.5}, {"name": "two", "price": 2.5}, "#;
        let prose = "and so on, as you will have guessed by now, dear reader.";
        let set = drifting(&DriftSpec::default());
        assert_eq!(drifts(&set, &format!("{json}{prose}")), [Signal::Format]);
        for fine in [
            format!("{json}{{}}]}}\n\n{prose}"),
            format!("{json}// {prose}"),
            format!("[see below] {prose} {prose}"),
            format!("{{ {prose} {prose} }}"),
            json.to_owned(),
        ] {
            assert_eq!(drifts(&set, &fine), [], "{fine}");
        }
    }

    #[test]
    fn control_tokens_in_prose_are_a_collapse_and_in_code_they_are_not() {
        let set = drifting(&DriftSpec::default());
        let leak = "Fine.<|im_end|>\n<|im_start|>user\nAnd you?<|im_end|>";
        assert_eq!(drifts(&set, leak), [Signal::Format]);
        assert_eq!(drifts(&set, &format!("```\n{leak}\n```")), []);
        assert_eq!(drifts(&set, "`<|im_end|>` `<|im_end|>` `<|im_end|>`"), []);
        assert_eq!(drifts(&set, "a <|> b <||> c <|x y|> d <| |> e"), []);
    }

    #[test]
    fn noise_is_a_collapse() {
        let set = drifting(&DriftSpec::default());
        assert_eq!(drifts(&set, &"a\u{FFFD}".repeat(60)), [Signal::Format]);
        assert_eq!(drifts(&set, &"one \u{FFFD} here. ".repeat(90)), [Signal::Repetition]);
    }

    #[test]
    fn a_script_that_comes_unannounced_and_stays_is_a_change() {
        let set = drifting(&DriftSpec::default());
        let latin = "As everybody knows, the capital of France is Paris, which lies on the Seine and has been the seat of kings, of an \
                     emperor and of several republics since the Middle Ages, ";
        let han = "是法国最大的城市也是全国的政治经济和文化中心其历史可以追溯到公元前三世纪当时这里居住着高卢人的一支部落";
        assert_eq!(drifts(&set, &format!("{latin}{han}")), [Signal::Script]);
        for fine in [
            format!("{latin}\n\n{han}"),
            format!("{latin}in Chinese: {han}"),
            format!("{latin}“{han}”"),
            format!("{latin}是法国 and so on"),
            format!("{han}{han}{han}, {latin}"),
        ] {
            let found = drifts(&set, &fine);
            let expected: &[Signal] = if fine.starts_with('是') { &[Signal::Script] } else { &[] };
            assert_eq!(found, expected, "{fine}");
        }
    }

    #[test]
    fn an_answer_four_times_as_long_as_expected_has_blown_up() {
        let set = drifting(&DriftSpec {
            signals: vec![Signal::Length],
            expected_chars: Some(100),
            ..DriftSpec::default()
        });
        let words: Vec<_> = (0..200).map(|number| format!("{number} ")).collect();
        let words = words.concat();
        assert_eq!(drifts(&set, &words[..399]), []);
        assert_eq!(drifts(&set, &words[..400]), [Signal::Length]);
    }

    #[test]
    fn scores_grow_and_are_never_taken_back() {
        let set = drifting(&DriftSpec::default());
        let mut state = set.start();
        let mut last = state.scores();
        for _ in 0..100 {
            let _ = state.feed(&set, "once more with feeling ");
            let scores = state.scores();
            assert!(scores.repetition >= last.repetition);
            last = scores;
        }
        assert_eq!(last.repetition, 1_000);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let of = |change: fn(&mut DriftSpec)| {
            let mut spec = DriftSpec::default();
            change(&mut spec);
            spec.compile().err().map(|problem| problem.to_string())
        };
        for (refusal, part) in [
            (of(|_| ()), None),
            (of(|spec| spec.signals.clear()), Some("`signals` is empty; allowed are repetition")),
            (
                of(|spec| spec.threshold_permille = 0),
                Some("`threshold_permille` is 0; allowed are 1 to 1000"),
            ),
            (of(|spec| spec.script_letters = 1), Some("`script_letters` is 1; allowed are 8 to 10000")),
            (of(|spec| spec.expected_chars = Some(0)), Some("`expected_chars` is 0")),
            (of(|spec| spec.repetition.min_repeats = 0), Some("`min_repeats` is 0")),
        ] {
            assert_eq!(refusal.is_some(), part.is_some(), "{refusal:?}");
            assert!(refusal.unwrap_or_default().contains(part.unwrap_or_default()));
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_drifts(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("{\"items\": [1, 2, 3, \"and some more, so that it is long enough to be JSON\", "),
                    Just("as one would say, if one were to say anything at all here, "),
                    Just("The capital of France lies on the Seine and has been the seat of kings. "),
                    Just("法国最大的城市也是全国的政治经济和文化中心其历史可以追溯到公元前三世纪"),
                    Just("столица страны и её самый большой город на берегу реки "),
                    Just("<|im_end|>"),
                    Just("\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}"),
                    Just("`"),
                    Just("```\n"),
                    Just(": "),
                ],
                0..10,
            ),
            cuts in prop::collection::vec(0usize..600, 0..8),
        ) {
            let spec = DriftSpec {
                signals: vec![Signal::Repetition, Signal::Format, Signal::Script, Signal::Length],
                expected_chars: Some(100),
                ..DriftSpec::default()
            };
            same_however_split(&drifting(&spec), &parts.concat(), &cuts);
        }
    }
}
