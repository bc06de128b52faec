//! The guards of a policy, compiled, and their state in one text.

use std::sync::Arc;

use smallvec::SmallVec;

use super::drift::{DriftAction, DriftGuard, DriftSpec, Scores};
use super::hit::{At, Hit, Verdict};
use super::patterns;
use super::repetition::{Repetition, RepetitionGuard};
use super::report::{Mask, Masks, Report, Rule};
use super::search::{Choice, Needle, Search, Searcher};
use super::spec::{Check, GUARDS_MAX, GuardError, GuardSpec, Problem};
use super::watch::{End, Watch, Watcher};

/// The guards of a policy: immutable, and shared by whoever clones it.
#[derive(Debug, Clone)]
pub struct GuardSet {
    compiled: Arc<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    rules: Vec<Rule>,
    watchers: SmallVec<[(u16, Watcher); 4]>,
    repetitions: SmallVec<[RepetitionGuard; 1]>,
    searcher: Option<Searcher>,
    drift: Option<DriftGuard>,
}

/// What the guards of a set have seen of one text. A clone goes on from there by itself.
///
/// A state belongs to the set that started it; with another set its answers mean nothing.
#[derive(Debug, Clone)]
pub struct GuardState {
    at: At,
    ended: bool,
    other_content: bool,
    watchers: SmallVec<[(u16, Watcher); 4]>,
    repetition: Option<Box<Repetition>>,
    repetitions: SmallVec<[RepetitionGuard; 1]>,
    search: Option<Box<Search>>,
    drift: Option<Box<DriftGuard>>,
    counts: SmallVec<[u16; 8]>,
    masks: Masks,
}

impl GuardSet {
    /// Compiles guards, and what is to be watched for drift.
    ///
    /// # Errors
    ///
    /// Where a guard cannot be: the error says which one, which of its fields, and what is allowed there.
    pub fn compile(specs: &[GuardSpec], drift: Option<&DriftSpec>) -> Result<Self, GuardError> {
        if specs.len() > GUARDS_MAX {
            let message = format!("has {} guards; allowed are up to {GUARDS_MAX}", specs.len());
            return Err(GuardError { rule: None, guard: "guards", problem: Problem::new("guards", message) });
        }
        let mut compiler = Compiler::default();
        for (rule, spec) in specs.iter().enumerate() {
            let number = u16::try_from(rule).unwrap_or(u16::MAX);
            compiler.add(number, spec).map_err(|problem| GuardError {
                rule: Some(rule),
                guard: spec.check.kind(),
                problem,
            })?;
        }
        let drift = drift.map(DriftSpec::compile).transpose();
        let drift = drift.map_err(|problem| GuardError { rule: None, guard: "drift", problem })?;
        compiler.finish(specs, drift)
    }

    /// Whether there is nothing to guard.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.compiled.rules.is_empty() && self.compiled.drift.is_none()
    }

    /// Whether any guard replaces text, which it can only while that is held back.
    #[must_use]
    pub fn masks(&self) -> bool {
        self.compiled.rules.iter().any(|rule| rule.mask().is_some())
    }

    /// What a guard is called; empty for one that is not of this set.
    #[must_use]
    pub fn name(&self, rule: u16) -> &str {
        let rule = self.compiled.rules.get(usize::from(rule));
        rule.map_or("", |rule| rule.name.as_str())
    }

    /// What a guard puts in the place of what it finds, if it masks.
    #[must_use]
    pub fn replacement(&self, rule: u16) -> Option<&str> {
        self.compiled.rules.get(usize::from(rule))?.mask()
    }

    /// What becomes of an answer that drifts.
    #[must_use]
    pub fn drift_action(&self) -> Option<DriftAction> {
        self.compiled.drift.as_ref().map(|drift| drift.action)
    }

    /// The state at the start of a text.
    #[must_use]
    pub fn start(&self) -> GuardState {
        let compiled = &*self.compiled;
        let repeats = compiled.drift.as_ref().is_some_and(|drift| drift.repetition.is_some());
        let repetition = !compiled.repetitions.is_empty() || repeats;
        GuardState {
            at: At::default(),
            ended: false,
            other_content: false,
            watchers: compiled.watchers.clone(),
            repetition: repetition.then(|| Box::new(Repetition::new())),
            repetitions: compiled.repetitions.clone(),
            search: compiled.searcher.as_ref().map(|searcher| Box::new(searcher.start())),
            drift: compiled.drift.clone().map(Box::new),
            counts: SmallVec::from_elem(0, compiled.rules.len()),
            masks: Masks::default(),
        }
    }
}

/// Checks a text that is there as a whole: a prompt, the result of a tool, a retrieved document.
#[must_use]
pub fn check(set: &GuardSet, text: &str) -> Vec<Hit> {
    let mut state = set.start();
    let mut hits = state.feed(set, text).hits.into_vec();
    hits.extend(state.finish(set).hits);
    hits
}

impl GuardState {
    /// Takes the next piece of the text. Once the text has ended, nothing more is taken.
    #[inline]
    pub fn feed(&mut self, set: &GuardSet, text: &str) -> Verdict {
        let mut verdict = Verdict::default();
        if self.ended || text.is_empty() {
            return verdict;
        }
        let at = self.at;
        let drifts = &mut verdict.drifts;
        let mut report = Report {
            rules: &set.compiled.rules,
            counts: &mut self.counts,
            hits: &mut verdict.hits,
            masks: &mut self.masks,
        };
        for (rule, watcher) in &mut self.watchers {
            watcher.feed(text, at, &mut |finding, span| report.hit(*rule, finding, span));
        }
        if let (Some(searcher), Some(search)) = (&set.compiled.searcher, &mut self.search) {
            search.feed(searcher, text, at, &mut report);
        }
        if let Some(repetition) = &mut self.repetition {
            let (guards, drift) = (&mut self.repetitions, &mut self.drift);
            repetition.feed(text, at, &mut |repeat| {
                for guard in guards.iter_mut() {
                    guard.judge(repeat, &mut report);
                }
                if let Some(drift) = drift {
                    drift.repeats(repeat, &mut |drifted| drifts.push(drifted));
                }
            });
        }
        if let Some(drift) = &mut self.drift {
            drift.feed(text, at, &mut |drifted| drifts.push(drifted));
        }
        self.at = at.after(text);
        sort(&mut verdict);
        verdict
    }

    /// Says that the answer holds something other than text, such as a tool call: it may then have no text.
    pub fn other_content(&mut self) {
        self.other_content = true;
    }

    /// Ends the text.
    pub fn finish(&mut self, set: &GuardSet) -> Verdict {
        let mut verdict = Verdict::default();
        if std::mem::replace(&mut self.ended, true) {
            return verdict;
        }
        let end = End { at: self.at, other_content: self.other_content };
        let drifts = &mut verdict.drifts;
        let mut report = Report {
            rules: &set.compiled.rules,
            counts: &mut self.counts,
            hits: &mut verdict.hits,
            masks: &mut self.masks,
        };
        for (rule, watcher) in &mut self.watchers {
            watcher.finish(end, &mut |finding, span| report.hit(*rule, finding, span));
        }
        if let (Some(searcher), Some(search)) = (&set.compiled.searcher, &mut self.search) {
            search.finish(searcher, end.at, &mut report);
        }
        if let Some(repetition) = &mut self.repetition {
            let (guards, drift) = (&mut self.repetitions, &mut self.drift);
            repetition.finish(&mut |repeat| {
                for guard in guards.iter_mut() {
                    guard.judge(repeat, &mut report);
                }
                if let Some(drift) = drift {
                    drift.repeats(repeat, &mut |drifted| drifts.push(drifted));
                }
            });
        }
        sort(&mut verdict);
        verdict
    }

    /// Where text has to be held back from, if it has to be: no hit that is still to come begins before. Nothing is
    /// held back for longer than [`HOLD_CHARS_MAX`](super::HOLD_CHARS_MAX) characters.
    #[must_use]
    pub fn open_from(&self, set: &GuardSet) -> Option<At> {
        if self.ended {
            return None;
        }
        let (searcher, search) = (set.compiled.searcher.as_ref()?, self.search.as_ref()?);
        let open = search.open_from(searcher, self.at)?;
        Some(self.masks.open_from(open))
    }

    /// Takes the masks that will not grow any more, in order; none overlaps another, and none that comes later begins
    /// before [`open_from`](Self::open_from).
    #[must_use]
    pub fn take_masks(&mut self, set: &GuardSet) -> SmallVec<[Mask; 2]> {
        let open = self.open_from(set);
        self.masks.take(open)
    }

    /// How far the text has come.
    #[must_use]
    pub fn at(&self) -> At {
        self.at
    }

    /// How much each signal of drift amounts to so far.
    #[must_use]
    pub fn scores(&self) -> Scores {
        self.drift.as_ref().map(|drift| drift.scores).unwrap_or_default()
    }
}

/// Puts what one piece of text brought to light into the order in which it was decided.
#[inline]
fn sort(verdict: &mut Verdict) {
    if verdict.hits.len() > 1 {
        verdict.hits.sort_by_key(|hit| (hit.span.end, hit.rule));
    }
}

/// What a set is made of, while it is made.
#[derive(Default)]
struct Compiler {
    rules: Vec<Rule>,
    watchers: SmallVec<[(u16, Watcher); 4]>,
    repetitions: SmallVec<[RepetitionGuard; 1]>,
    needles: Vec<Needle>,
}

impl Compiler {
    /// How many needles there may be in all: they are counted in 16 bits.
    const NEEDLES_MAX: usize = 60_000;

    fn add(&mut self, rule: u16, spec: &GuardSpec) -> Result<(), Problem> {
        spec.validate()?;
        self.rules.push(Rule::new(spec));
        // What merely warns or masks can wait for the longest match; what stops the attempt cannot.
        let choice = if spec.severity == super::Severity::Warn { Choice::Longest } else { Choice::First };
        let watcher = match &spec.check {
            Check::Json(json) => Watcher::Json(json.compile()),
            Check::JsonSchema(schema) => Watcher::JsonSchema(schema.compile()?),
            Check::Markdown(markdown) => Watcher::Markdown(markdown.compile()),
            Check::Latex(latex) => Watcher::Latex(latex.compile()),
            Check::NotEmpty(not_empty) => Watcher::NotEmpty(not_empty.compile()?),
            Check::MaxLength(max_length) => Watcher::MaxLength(max_length.compile()?),
            Check::Patterns(patterns) => return self.look_for(patterns.compile(rule, choice)?),
            Check::Secrets(secrets) => return self.look_for(secrets.compile(rule, choice)?),
            Check::Pii(pii) => return self.look_for(pii.compile(rule, choice)?),
            Check::Repetition(repetition) => {
                repetition.validate()?;
                self.repetitions.push(RepetitionGuard::new(rule, *repetition));
                return Ok(());
            }
        };
        self.watchers.push((rule, watcher));
        Ok(())
    }

    fn look_for(&mut self, needles: Vec<Needle>) -> Result<(), Problem> {
        self.needles.extend(needles);
        if self.needles.len() > Self::NEEDLES_MAX {
            let message = format!("bring all guards to more than {} expressions", Self::NEEDLES_MAX);
            return Err(Problem::new("literals", message));
        }
        Ok(())
    }

    fn finish(self, specs: &[GuardSpec], drift: Option<DriftGuard>) -> Result<GuardSet, GuardError> {
        let searcher = if self.needles.is_empty() {
            None
        } else {
            let searcher = Searcher::new(self.needles);
            Some(searcher.map_err(|needle| {
                let rule = usize::from(needle.rule);
                GuardError {
                    rule: Some(rule),
                    guard: specs.get(rule).map_or("guards", |spec| spec.check.kind()),
                    problem: Problem::new(
                        patterns::field_of(needle.finding),
                        "is too large an expression; bound or shorten its repetitions",
                    ),
                }
            })?)
        };
        Ok(GuardSet {
            compiled: Arc::new(Compiled {
                rules: self.rules,
                watchers: self.watchers,
                repetitions: self.repetitions,
                searcher,
                drift,
            }),
        })
    }
}
