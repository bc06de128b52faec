//! Finding many expressions in a text that arrives in pieces: one pass, no character looked at twice, and at every
//! place known from where on a match may still be going on.

mod alphabet;
mod automaton;
mod claims;
mod literals;

use std::ops::Range;

use aho_corasick::automaton::StateID;
use regex_syntax::hir::{Hir, HirKind};
use smallvec::SmallVec;

use self::alphabet::Words;
use self::automaton::{
    Automaton, GROUP_BYTES_MAX, GROUP_STATES_MAX, LIGHT_BYTES_MAX, Match, Run, SINGLE_BYTES_MAX,
};
use self::claims::{Claim, Claims};
use self::literals::Literals;
use super::hit::{At, Finding, Span};
use super::report::Report;

/// Something to look for, on behalf of a rule.
#[derive(Debug)]
pub(super) struct Needle {
    pub(super) rule: u16,
    pub(super) finding: Finding,
    /// Reported where a match was open for too long; `None` where that means there is none.
    pub(super) undecided: Option<Finding>,
    /// Which of several matches counts.
    pub(super) choice: Choice,
    /// Tells a match from what merely looks like one, and says which part of it was meant.
    pub(super) verify: Option<Verify>,
    pub(super) what: What,
}

impl Needle {
    /// A known format, for a rule that reports `finding`. In `regex`, digits and word boundaries are those of ASCII,
    /// of which formats are made, so that a key in the middle of Chinese text is one.
    pub(super) fn of_format(
        rule: u16,
        choice: Choice,
        finding: Finding,
        regex: &str,
        verify: Verify,
    ) -> Option<Self> {
        let regex = regex.replace(r"\b", r"(?-u:\b)").replace(r"\d", "[0-9]");
        let hir = regex_syntax::parse(&regex).ok()?;
        Some(Self { rule, finding, undecided: None, choice, verify: Some(verify), what: What::Regex(hir) })
    }
}

/// Which of the matches that overlap is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// The one decided first, at once.
    First,
    /// The one that began first, and of those the longest.
    Longest,
}

/// What tells a match from what only looks like one: it returns the part of the text that was meant, or `None`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verify {
    /// Asked at every place where a match could end; for formats of a few dozen characters.
    Each(fn(&str) -> Option<Range<usize>>),
    /// Asked once, where a match could end first, about what may be much longer; what follows belongs to it.
    Once(fn(&str) -> Option<Range<usize>>),
}

#[derive(Debug)]
pub(super) enum What {
    Literal { text: String, ignore_case: bool },
    Regex(Hir),
}

impl What {
    /// An expression, as a literal where it is one.
    pub(super) fn from_regex(hir: Hir) -> Self {
        if let HirKind::Literal(literal) = hir.kind()
            && let Ok(text) = String::from_utf8(literal.0.to_vec())
        {
            return Self::Literal { text, ignore_case: false };
        }
        Self::Regex(hir)
    }
}

/// What all the needles compile to.
#[derive(Debug)]
pub(super) struct Searcher {
    automata: Vec<Automaton>,
    literals: Vec<Literals>,
    needles: Vec<Needle>,
    verifies: bool,
}

/// The state of a search in one text.
#[derive(Debug, Clone)]
pub(super) struct Search {
    runs: SmallVec<[Run; 2]>,
    literal_states: SmallVec<[StateID; 2]>,
    claims: Claims,
    recent: Recent,
}

/// The text from the earliest open match on, for the needles that verify.
#[derive(Debug, Clone, Default)]
struct Recent {
    text: String,
    start: usize,
    /// What was said of the matches that are asked about once: the needle, where it began, and the part meant.
    judged: Vec<(u16, usize, Option<usize>)>,
}

impl Searcher {
    /// Compiles `needles`; the error is the one that is too large by itself.
    pub(super) fn new(mut needles: Vec<Needle>) -> Result<Self, Needle> {
        match Self::compile(&needles) {
            Ok((automata, literals)) => Ok(Self {
                automata,
                literals,
                verifies: needles.iter().any(|needle| needle.verify.is_some()),
                needles,
            }),
            Err(index) => Err(needles.swap_remove(index.min(needles.len() - 1))),
        }
    }

    fn compile(needles: &[Needle]) -> Result<(Vec<Automaton>, Vec<Literals>), usize> {
        let mut literals: [Vec<(u16, &str)>; 2] = [Vec::new(), Vec::new()];
        let mut regexes: Vec<(u16, &Hir, Words)> = Vec::new();
        for (number, needle) in (0..).zip(needles) {
            match &needle.what {
                What::Literal { text, ignore_case } => {
                    let [exact, folded] = &mut literals;
                    let list = if *ignore_case { folded } else { exact };
                    list.push((number, text));
                }
                What::Regex(hir) => {
                    let words = Words::of(hir).ok_or_else(|| usize::from(number))?;
                    regexes.push((number, hir, words));
                }
            }
        }
        let mut automata = Vec::new();
        let of = |meaning: Words| {
            let regexes = regexes.iter().filter(move |(_, _, words)| *words == meaning);
            regexes.map(|(number, hir, _)| (*number, *hir)).collect::<Vec<_>>()
        };
        for words in [Words::Unused, Words::Ascii, Words::Unicode] {
            compile_groups(&of(words), words, &mut automata)?;
        }
        let [exact, folded] = &literals;
        let literals = [Literals::new(exact, false), Literals::new(folded, true)];
        let literals = literals.into_iter().flatten().collect();
        Ok((automata, literals))
    }

    pub(super) fn start(&self) -> Search {
        Search {
            runs: self.automata.iter().map(|_| Run::default()).collect(),
            literal_states: self.literals.iter().map(Literals::start).collect(),
            claims: Claims::default(),
            recent: Recent::default(),
        }
    }

    /// Decides what a match amounts to.
    #[cold]
    fn judge(&self, found: Match, late: bool, recent: &mut Recent, claims: &mut Claims, report: &mut Report) {
        let Some(needle) = self.needles.get(usize::from(found.needle)) else {
            return;
        };
        let mut span = Span { start: found.start, end: found.end };
        if let Some(verify) = needle.verify {
            match recent.verify(verify, found) {
                Some(meant) => span = meant,
                None => return,
            }
        }
        let claim = Claim { rule: needle.rule, finding: needle.finding, from: found.start, span };
        match needle.choice {
            Choice::First => report.hit(claim.rule, claim.finding, claim.span),
            Choice::Longest if late => claims.report(claim, report, true),
            Choice::Longest => claims.wait(claim),
        }
    }
}

impl Search {
    pub(super) fn feed(&mut self, searcher: &Searcher, text: &str, mut at: At, report: &mut Report) {
        if searcher.verifies {
            self.recent.text.push_str(text);
        }
        for ch in text.chars() {
            self.step(searcher, ch, at, report);
            at = at.step(ch);
        }
        if searcher.verifies {
            let open = self.live_from(searcher, at);
            self.recent.forget_before(open.unwrap_or(at).byte, at.byte);
        }
    }

    pub(super) fn finish(&mut self, searcher: &Searcher, at: At, report: &mut Report) {
        for (automaton, run) in searcher.automata.iter().zip(&mut self.runs) {
            let (recent, claims) = (&mut self.recent, &mut self.claims);
            automaton.finish(run, at, &mut |found, late| {
                searcher.judge(found, late, recent, claims, report);
            });
        }
        self.claims.settle(None, report);
    }

    /// Where the earliest match began that is not decided.
    pub(super) fn open_from(&self, searcher: &Searcher, at: At) -> Option<At> {
        let live = self.live_from(searcher, at);
        live.into_iter().chain(self.claims.open_from()).min()
    }

    #[inline]
    fn step(&mut self, searcher: &Searcher, ch: char, at: At, report: &mut Report) {
        let (recent, claims) = (&mut self.recent, &mut self.claims);
        for (automaton, run) in searcher.automata.iter().zip(&mut self.runs) {
            automaton.step(run, ch, at, &mut |found, late| {
                searcher.judge(found, late, recent, claims, report);
            });
            if run.is_overdue(at) {
                searcher.give_up(automaton, run, at, claims, report);
            }
        }
        let after = at.step(ch);
        for (literals, state) in searcher.literals.iter().zip(&mut self.literal_states) {
            *state = literals.step(*state, ch, after, &mut |found| {
                searcher.judge(found, false, recent, claims, report);
            });
        }
        if !self.claims.is_empty() {
            let live = self.live_from(searcher, after);
            self.claims.settle(live, report);
        }
    }

    /// Where the earliest match began that may still come, those open for too long left out.
    fn live_from(&self, searcher: &Searcher, at: At) -> Option<At> {
        let threads = self.runs.iter().filter_map(Run::live_from);
        let literals = searcher.literals.iter().zip(&self.literal_states);
        let literals = literals.filter_map(|(literals, state)| literals.open_from(*state, at));
        threads.chain(literals).min()
    }
}

impl Searcher {
    /// What has been open for `HOLD_CHARS_MAX` characters is held back no longer.
    #[cold]
    fn give_up(
        &self,
        automaton: &Automaton,
        run: &mut Run,
        at: At,
        claims: &mut Claims,
        report: &mut Report,
    ) {
        let reported = run.has_late();
        while let Some(thread) = run.oldest_overdue(at) {
            claims.force(thread.start, report);
            let undecided = |needle: u16| {
                let needle = self.needles.get(usize::from(needle))?;
                Some((needle.rule, needle.undecided?))
            };
            let needle = if reported {
                // One report covers everything that grows late while the first of it is still open.
                Some(None)
            } else {
                let needle = automaton.reachable(thread, |needle| undecided(needle).is_some());
                needle.map(Some)
            };
            match needle {
                None => run.drop_overdue(),
                Some(needle) => {
                    run.mark_overdue();
                    if let Some((rule, finding)) = needle.and_then(undecided) {
                        let span = Span { start: thread.start, end: at };
                        report.late_hit(rule, finding, span);
                    }
                }
            }
        }
    }
}

impl Recent {
    /// The part of a match that was meant, if it is one.
    fn verify(&mut self, verify: Verify, found: Match) -> Option<Span> {
        let (start, end) = (found.start.byte, found.end.byte);
        let meant = match verify {
            Verify::Each(judge) => judge(self.get(start, end)?)?,
            Verify::Once(judge) => {
                let mut judged = self.judged.iter();
                let before = judged.find(|(needle, at, _)| *needle == found.needle && *at == start);
                let from = if let Some((_, _, from)) = before {
                    *from
                } else {
                    let from = judge(self.get(start, end)?).map(|meant| meant.start);
                    self.judged.push((found.needle, start, from));
                    from
                };
                from?..end - start
            }
        };
        let text = self.get(start, end)?;
        Some(Span {
            start: found.start.after(text.get(..meant.start)?),
            end: if meant.end == text.len() { found.end } else { found.start.after(text.get(..meant.end)?) },
        })
    }

    fn get(&self, start: usize, end: usize) -> Option<&str> {
        let (start, end) = (start.checked_sub(self.start)?, end.checked_sub(self.start)?);
        self.text.get(start..end)
    }

    /// Forgets what no match can reach back to; `end` is where the text ends.
    fn forget_before(&mut self, open: usize, end: usize) {
        // Moving what is kept costs as much as is kept, so it is done only once as much again is to be forgotten.
        let kept = end - open;
        self.judged.retain(|(_, start, _)| *start >= open);
        if kept == 0 {
            self.text.clear();
            self.start = end;
        } else if self.text.len() > 256 && self.text.len() >= 2 * kept {
            self.text.drain(..self.text.len() - kept);
            self.start = open;
        }
    }
}

/// Compiles `regexes` into few automata. Those that are heavy by themselves would multiply the weight of others, so
/// they get one each; the index of one that is too heavy even for that is the error.
fn compile_groups(regexes: &[(u16, &Hir)], words: Words, automata: &mut Vec<Automaton>) -> Result<(), usize> {
    let mut group = Vec::new();
    let mut group_states = 0;
    for regex in regexes {
        let alone = std::slice::from_ref(regex);
        let Some(light) = Automaton::new(alone, words, LIGHT_BYTES_MAX) else {
            let heavy = Automaton::new(alone, words, SINGLE_BYTES_MAX);
            automata.push(heavy.ok_or_else(|| usize::from(regex.0))?);
            continue;
        };
        // What they weigh together is mostly what they weigh apart.
        if group_states + light.states_len() > GROUP_STATES_MAX {
            compile_group(&group, words, automata)?;
            group.clear();
            group_states = 0;
        }
        group_states += light.states_len();
        group.push(*regex);
    }
    compile_group(&group, words, automata)
}

/// Compiles `regexes`, halving a group that does not fit into one automaton.
fn compile_group(regexes: &[(u16, &Hir)], words: Words, automata: &mut Vec<Automaton>) -> Result<(), usize> {
    if regexes.is_empty() {
        return Ok(());
    }
    if let Some(automaton) = Automaton::new(regexes, words, GROUP_BYTES_MAX) {
        automata.push(automaton);
        return Ok(());
    }
    if let [(number, _)] = regexes {
        return Err(usize::from(*number));
    }
    let (front, back) = regexes.split_at(regexes.len() / 2);
    compile_group(front, words, automata)?;
    compile_group(back, words, automata)
}
