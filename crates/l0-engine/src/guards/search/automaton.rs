//! One automaton over a group of expressions, and the threads that run in it.
//!
//! A thread is a state and the place where it began: one thread for each place from which a match is still possible.
//! That is how the earliest open match is known exactly. Two threads in one state have the same future, so the later
//! one goes; a thread from which nothing can match any more is never kept.

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::{PatternID, StateID};
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::Hir;

use super::super::HOLD_CHARS_MAX;
use super::super::hit::At;
use super::alphabet::{Alphabet, Words};

/// How much an automaton of one expression may weigh.
pub(super) const SINGLE_BYTES_MAX: usize = 4 << 20;

/// How much one of several may weigh, which can still be split, and how many states they may have apart.
pub(super) const GROUP_BYTES_MAX: usize = 4 << 20;
pub(super) const GROUP_STATES_MAX: usize = 3_000;

/// Up to how much an expression weighs little enough to be put into a group.
pub(super) const LIGHT_BYTES_MAX: usize = 96 << 10;

const NFA_BYTES_MAX: usize = 2 << 20;

/// Up to how many threads are compared one by one; beyond, a table says who has been in which state.
const COMPARED_MAX: usize = 24;

#[derive(Debug)]
pub(super) struct Automaton {
    alphabet: Alphabet,
    dfa: dense::DFA<Vec<u32>>,
    /// Where a match begins, by the class of the character before; the last one is for the start of the text.
    starts: Vec<StateID>,
    /// What is known about each state, by its number.
    states: Vec<StateFacts>,
    /// The lists that [`StateFacts::certain`] counts from one.
    certain: Vec<Vec<PatternID>>,
    /// The needle of each expression.
    needles: Vec<u16>,
}

#[derive(Debug, Clone, Copy, Default)]
struct StateFacts {
    /// Which list of expressions has matched here, whatever follows; zero for none.
    certain: u16,
    /// Whether nothing beyond that can match any more.
    over: bool,
}

/// A place from which a match is possible.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thread {
    state: StateID,
    pub(super) start: At,
    /// Whether it has been open for longer than text is held back for it.
    late: bool,
}

/// Where an automaton is in one text.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    /// Sorted by their starts.
    threads: Vec<Thread>,
    /// The class of the last character.
    behind: Option<u8>,
    /// In which step a thread was last seen in each state; filled only while there are many threads.
    seen: Vec<u32>,
    step: u32,
}

/// A match of one needle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Match {
    pub(super) needle: u16,
    pub(super) start: At,
    pub(super) end: At,
}

impl Automaton {
    /// The automaton of `expressions`; `None` where it would weigh more than `bytes_max`, or has too many classes.
    pub(super) fn new(expressions: &[(u16, &Hir)], words: Words, bytes_max: usize) -> Option<Self> {
        let hirs: Vec<&Hir> = expressions.iter().map(|(_, hir)| *hir).collect();
        let alphabet = Alphabet::new(&hirs, words)?;
        let hirs: Vec<Hir> = hirs.into_iter().map(|hir| alphabet.translate(hir)).collect();
        let nfa = thompson::Compiler::new()
            .configure(
                thompson::Config::new()
                    .utf8(false)
                    .which_captures(thompson::WhichCaptures::None)
                    .nfa_size_limit(Some(NFA_BYTES_MAX)),
            )
            .build_many_from_hir(&hirs)
            .ok()?;
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .accelerate(false)
                    .match_kind(MatchKind::All)
                    .start_kind(StartKind::Anchored)
                    .dfa_size_limit(Some(bytes_max))
                    .determinize_size_limit(Some(4 * bytes_max)),
            )
            .build_from_nfa(&nfa)
            .ok()?;
        let mut starts = Vec::new();
        for behind in (0..=u8::MAX).map(Some).chain([None]) {
            let config = start::Config::new().anchored(Anchored::Yes).look_behind(behind);
            starts.push(dfa.start_state(&config).ok()?);
        }
        let needles = expressions.iter().map(|(needle, _)| *needle).collect();
        let mut automaton =
            Self { alphabet, dfa, starts, states: Vec::new(), certain: vec![Vec::new()], needles };
        automaton.learn_states()?;
        Some(automaton)
    }

    pub(super) fn states_len(&self) -> usize {
        self.states.len()
    }

    /// Takes the character at `at`, calling `matched` for each match that it decides, with whether it was late.
    #[inline]
    pub(super) fn step(&self, run: &mut Run, ch: char, at: At, matched: &mut impl FnMut(Match, bool)) {
        let class = self.alphabet.class(ch);
        let after = at.step(ch);
        let behind = run.behind.map_or(TEXT_START, usize::from);
        run.behind = Some(class);
        let start = self.starts.get(behind).copied().unwrap_or_default();
        let fresh = Thread { state: start, start: at, late: false };
        if run.threads.is_empty() {
            // The common case: nothing is open, and nothing begins here.
            let next = self.dfa.next_state(start, class);
            if next == DEAD {
                return;
            }
        }
        run.threads.push(fresh);
        let mut kept = 0;
        let mut states: u64 = 0;
        let mut crowded = false;
        for read in 0..run.threads.len() {
            let Some(mut thread) = run.threads.get(read).copied() else {
                break;
            };
            let next = self.dfa.next_state(thread.state, class);
            if self.dfa.is_special_state(next) {
                if next == DEAD {
                    continue;
                }
                self.late_matches(thread, next, at, matched);
            }
            let facts = self.facts(next);
            if facts.certain != 0 {
                self.certain_matches(facts, thread, after, matched);
            }
            if facts.over {
                continue;
            }
            let bit = 1 << (number(&self.dfa, next) & 63);
            crowded |= states & bit != 0;
            states |= bit;
            thread.state = next;
            if let Some(slot) = run.threads.get_mut(kept) {
                *slot = thread;
                kept += 1;
            }
        }
        run.threads.truncate(kept);
        if crowded {
            self.merge(run);
        }
    }

    /// Ends the text at `at`.
    pub(super) fn finish(&self, run: &mut Run, at: At, matched: &mut impl FnMut(Match, bool)) {
        for thread in std::mem::take(&mut run.threads) {
            let next = self.dfa.next_eoi_state(thread.state);
            self.late_matches(thread, next, at, matched);
        }
    }

    /// The lowest needle that a thread may still match.
    pub(super) fn reachable(&self, thread: Thread, wanted: impl Fn(u16) -> bool) -> Option<u16> {
        let mut seen = vec![false; self.states.len()];
        let mut todo = vec![thread.state];
        let mut lowest: Option<u16> = None;
        while let Some(state) = todo.pop() {
            let Some(seen) = seen.get_mut(number(&self.dfa, state)) else {
                continue;
            };
            if std::mem::replace(seen, true) {
                continue;
            }
            let eoi = self.dfa.next_eoi_state(state);
            let nexts = self.alphabet.classes().iter();
            let nexts = nexts.map(|class| self.dfa.next_state(state, *class));
            for next in nexts.chain([eoi]) {
                let needles = self.matches(next).map(|pattern| self.needle(pattern));
                let needles = needles.filter(|needle| wanted(*needle));
                lowest = needles.chain(lowest).min();
                if next != DEAD {
                    todo.push(next);
                }
            }
        }
        lowest
    }

    #[cold]
    fn certain_matches(
        &self,
        facts: StateFacts,
        thread: Thread,
        end: At,
        matched: &mut impl FnMut(Match, bool),
    ) {
        for pattern in self.certain_in(facts) {
            let found = Match { needle: self.needle(*pattern), start: thread.start, end };
            matched(found, thread.late);
        }
    }

    /// The matches that were decided only by what follows them.
    #[cold]
    fn late_matches(&self, thread: Thread, next: StateID, end: At, matched: &mut impl FnMut(Match, bool)) {
        let known = self.certain_in(self.facts(thread.state));
        for pattern in self.matches(next) {
            if !known.contains(&pattern) {
                let found = Match { needle: self.needle(pattern), start: thread.start, end };
                matched(found, thread.late);
            }
        }
    }

    /// Drops each thread that is in the state of an earlier one.
    #[inline(never)]
    fn merge(&self, run: &mut Run) {
        if run.threads.len() > COMPARED_MAX {
            return self.merge_by_table(run);
        }
        let mut kept = 0;
        for read in 0..run.threads.len() {
            let Some(thread) = run.threads.get(read).copied() else {
                break;
            };
            let earlier = run.threads.get(..kept).unwrap_or_default();
            if earlier.iter().any(|other| other.state == thread.state) {
                continue;
            }
            if let Some(slot) = run.threads.get_mut(kept) {
                *slot = thread;
                kept += 1;
            }
        }
        run.threads.truncate(kept);
    }

    fn merge_by_table(&self, run: &mut Run) {
        run.seen.resize(self.states.len(), 0);
        run.step = run.step.wrapping_add(1);
        if run.step == 0 {
            run.seen.fill(0);
            run.step = 1;
        }
        let (seen, step) = (&mut run.seen, run.step);
        run.threads.retain(|thread| {
            let seen = seen.get_mut(number(&self.dfa, thread.state));
            seen.is_some_and(|seen| std::mem::replace(seen, step) != step)
        });
    }

    fn matches(&self, state: StateID) -> impl Iterator<Item = PatternID> {
        let count = if self.dfa.is_match_state(state) { self.dfa.match_len(state) } else { 0 };
        (0..count).map(move |index| self.dfa.match_pattern(state, index))
    }

    fn needle(&self, pattern: PatternID) -> u16 {
        self.needles.get(pattern.as_usize()).copied().unwrap_or_default()
    }

    #[inline]
    fn facts(&self, state: StateID) -> StateFacts {
        self.states.get(number(&self.dfa, state)).copied().unwrap_or_default()
    }

    fn certain_in(&self, facts: StateFacts) -> &[PatternID] {
        let list = self.certain.get(usize::from(facts.certain));
        list.map_or(&[], Vec::as_slice)
    }

    /// Visits every state once to see what is certain there.
    fn learn_states(&mut self) -> Option<()> {
        let mut visited: Vec<bool> = Vec::new();
        let mut todo = self.starts.clone();
        while let Some(state) = todo.pop() {
            let number = number(&self.dfa, state);
            if number >= visited.len() {
                visited.resize(number + 1, false);
                self.states.resize(number + 1, StateFacts::default());
            }
            let seen = visited.get_mut(number)?;
            if std::mem::replace(seen, true) || state == DEAD {
                continue;
            }
            let classes = self.alphabet.classes().iter();
            let nexts: Vec<StateID> = classes
                .map(|class| self.dfa.next_state(state, *class))
                .chain([self.dfa.next_eoi_state(state)])
                .collect();
            let mut certain: Option<Vec<PatternID>> = None;
            for next in &nexts {
                let here: Vec<PatternID> = self.matches(*next).collect();
                certain = Some(match certain {
                    None => here,
                    Some(mut before) => {
                        before.retain(|pattern| here.contains(pattern));
                        before
                    }
                });
            }
            let certain = certain.unwrap_or_default();
            let over = nexts.iter().all(|next| {
                self.matches(*next).all(|pattern| certain.contains(&pattern)) && self.is_barren(*next)
            });
            let known = self.certain.iter().position(|list| *list == certain);
            let list = known.unwrap_or(self.certain.len());
            if known.is_none() {
                self.certain.push(certain);
            }
            *self.states.get_mut(number)? = StateFacts { certain: u16::try_from(list).ok()?, over };
            todo.extend(nexts);
        }
        Some(())
    }

    /// Whether every way on from `state` is dead.
    fn is_barren(&self, state: StateID) -> bool {
        let mut classes = self.alphabet.classes().iter();
        state == DEAD
            || (classes.all(|class| self.dfa.next_state(state, *class) == DEAD)
                && self.dfa.next_eoi_state(state) == DEAD)
    }
}

impl Run {
    /// Where the earliest match began for which text is held back.
    pub(super) fn live_from(&self) -> Option<At> {
        let thread = self.threads.get(self.late_count())?;
        Some(thread.start)
    }

    /// Whether, now that the character at `at` was taken, a match has been open for too long.
    #[inline]
    pub(super) fn is_overdue(&self, at: At) -> bool {
        // Where the first thread is young, all are.
        let first = self.threads.first();
        first.is_some_and(|first| is_old(*first, at)) && self.oldest_overdue(at).is_some()
    }

    /// Whether a match goes on for which text is no longer held back.
    pub(super) fn has_late(&self) -> bool {
        self.threads.first().is_some_and(|thread| thread.late)
    }

    /// The first thread that has been open for too long and is not yet marked as late.
    pub(super) fn oldest_overdue(&self, at: At) -> Option<Thread> {
        let thread = self.threads.get(self.late_count()).copied();
        thread.filter(|thread| is_old(*thread, at))
    }

    /// Marks that thread as late.
    pub(super) fn mark_overdue(&mut self) {
        let place = self.late_count();
        if let Some(thread) = self.threads.get_mut(place) {
            thread.late = true;
        }
    }

    /// Ends that thread.
    pub(super) fn drop_overdue(&mut self) {
        let place = self.late_count();
        if place < self.threads.len() {
            self.threads.remove(place);
        }
    }

    /// How many threads are late: threads are sorted by age, so these are the first ones.
    fn late_count(&self) -> usize {
        self.threads.partition_point(|thread| thread.late)
    }
}

fn is_old(thread: Thread, at: At) -> bool {
    at.char + 1 - thread.start.char >= HOLD_CHARS_MAX
}

/// What stands for the class of the character before the first.
const TEXT_START: usize = 256;

/// From here nothing can match.
const DEAD: StateID = StateID::ZERO;

#[inline]
fn number(dfa: &dense::DFA<Vec<u32>>, state: StateID) -> usize {
    state.as_usize() >> dfa.stride2()
}
