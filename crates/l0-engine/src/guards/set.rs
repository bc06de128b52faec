//! The guards of a policy, compiled, and their state in one text.

use std::sync::Arc;

use smallvec::SmallVec;

use super::drift::{DriftAction, DriftGuard, DriftSpec, Scores};
use super::hit::{At, Hit, Verdict};
use super::latex::{LatexGuard, LatexSpec};
use super::patterns;
use super::repetition::{Repetition, RepetitionGuard};
use super::report::{Mask, Masks, Report, Rule};
use super::search::{Choice, Needle, Search, Searcher};
use super::spec::{Check, GUARDS_MAX, GuardError, GuardSpec, Problem, Severity};
use super::user::{Reads, Scope, UserSpec};
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
    /// The caller's own.
    users: SmallVec<[(u16, UserSpec); 1]>,
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

    /// The caller's own guards of that scope, by their place in the list.
    pub(crate) fn users(&self, scope: Scope) -> impl Iterator<Item = u16> {
        self.compiled.users.iter().filter(move |(_, user)| user.on == scope).map(|(rule, _)| *rule)
    }

    /// Whether any of them reads tool calls.
    pub(crate) fn reads_calls(&self) -> bool {
        self.compiled.users.iter().any(|(_, user)| user.reads == Reads::Calls)
    }

    /// Whether any guard is the caller's own.
    #[must_use]
    pub fn has_users(&self) -> bool {
        !self.compiled.users.is_empty()
    }

    /// What an objection of the caller's own guard leads to: how grave it is, whether another attempt may do better,
    /// and how often it may be made to one target. None where no such guard is the caller's own.
    pub(crate) fn user(&self, rule: u16) -> Option<(Severity, bool, Option<u32>)> {
        let (_, user) = self.compiled.users.iter().find(|(number, _)| *number == rule)?;
        let rule = self.compiled.rules.get(usize::from(rule))?;
        Some((rule.severity, rule.recoverable, user.retries))
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
            watcher.feed(text, at, &mut |finding, span| {
                report.hit(*rule, finding, span);
            });
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
    users: SmallVec<[(u16, UserSpec); 1]>,
}

impl Compiler {
    /// How many needles there may be in all: they are counted in 16 bits.
    const NEEDLES_MAX: usize = 60_000;

    fn add(&mut self, rule: u16, spec: &GuardSpec) -> Result<(), Problem> {
        spec.validate()?;
        self.rules.push(Rule::new(spec));
        // What merely warns or masks can wait for the longest match; what stops the attempt cannot.
        let choice = if spec.severity == Severity::Warn { Choice::Longest } else { Choice::First };
        let watcher = match &spec.check {
            Check::Json(json) => Watcher::Json(json.compile()),
            Check::JsonSchema(schema) => Watcher::JsonSchema(schema.compile()?),
            Check::Markdown(markdown) => Watcher::Markdown(markdown.compile()),
            Check::Latex(LatexSpec {}) => Watcher::Latex(LatexGuard::new()),
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
            Check::User(user) => {
                user.validate(spec.name.as_deref())?;
                self.users.push((rule, user.clone()));
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
                users: self.users,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::guards::testing::{follow, guards, hits};
    use crate::guards::{
        Finding, JsonSpec, MaxLengthSpec, NotEmptySpec, PatternsSpec, PiiSpec, SecretsSpec, Severity, Signal,
    };

    use super::*;

    fn literal(literal: &str) -> Check {
        Check::Patterns(PatternsSpec { literals: vec![literal.to_owned()], ..PatternsSpec::default() })
    }

    #[test]
    fn a_set_of_nothing_says_nothing() {
        let set = guards(&[]);
        assert!(set.is_empty() && !set.masks());
        let mut state = set.start();
        assert!(state.feed(&set, "anything").is_clear());
        assert_eq!(state.open_from(&set), None);
        assert!(state.finish(&set).is_clear());
        assert_eq!((state.at().byte, state.at().char), (8, 8));
    }

    #[test]
    fn hits_name_their_guard_and_what_becomes_of_the_attempt() {
        let mut fatal = GuardSpec::new(literal("b")).severity(Severity::Fatal);
        fatal.name = Some("no-b".to_owned());
        let mut error = GuardSpec::new(literal("a"));
        error.recoverable = false;
        let set = guards(&[error, fatal, GuardSpec::new(literal("c")).masking("*")]);
        assert_eq!((set.name(0), set.name(1), set.name(2)), ("patterns", "no-b", "patterns"));
        assert_eq!((set.replacement(1), set.replacement(2)), (None, Some("*")));
        assert!(set.masks());
        let verdict = set.start().feed(&set, "abc");
        let hits: Vec<_> =
            verdict.hits.iter().map(|hit| (hit.rule, hit.severity, hit.recoverable, hit.masked)).collect();
        assert_eq!(
            hits,
            [
                (0, Severity::Error, false, false),
                (1, Severity::Fatal, true, false),
                (2, Severity::Warn, true, true),
            ]
        );
        assert_eq!(verdict.stop().map(|hit| hit.rule), Some(1), "the gravest");
    }

    /// After a continuation the state is rebuilt by feeding what was shown, and goes on as if nothing had happened.
    #[test]
    fn a_state_that_is_fed_what_was_shown_goes_on_from_there() {
        let set = guards(&[
            GuardSpec::new(literal("secret word")),
            GuardSpec::new(Check::Json(JsonSpec::default())),
        ]);
        let mut first = set.start();
        let _ = first.feed(&set, "[\"the secr");
        let mut rebuilt = set.start();
        let _ = rebuilt.feed(&set, "[\"the secr");
        let mut copy = first.clone();
        for state in [&mut first, &mut rebuilt, &mut copy] {
            let verdict = state.feed(&set, "et word\"]");
            let [hit] = verdict.hits.as_slice() else {
                panic!("{verdict:?}");
            };
            assert_eq!((hit.span.start.byte, hit.span.end.byte), (6, 17));
            assert!(state.finish(&set).is_clear());
        }
    }

    #[test]
    fn a_text_that_has_ended_takes_nothing_more() {
        let set = guards(&[GuardSpec::new(Check::NotEmpty(NotEmptySpec::default()))]);
        let mut state = set.start();
        assert_eq!(state.finish(&set).hits.len(), 1);
        assert!(state.finish(&set).is_clear());
        assert!(state.feed(&set, "late").is_clear());
        assert_eq!(state.at(), At::default());
    }

    #[test]
    fn warnings_are_bounded_and_masks_are_not() {
        let text = "a ".repeat(1_000);
        let set = guards(&[GuardSpec::new(literal("a")).severity(Severity::Warn)]);
        assert_eq!(hits(&set, &text).len(), 64);
        let set = guards(&[GuardSpec::new(literal("a")).masking("b")]);
        assert_eq!(follow(&set, [text.as_str()]).masks.len(), 1_000);
    }

    #[test]
    fn drift_is_reported_once_with_what_becomes_of_it() {
        let drift = DriftSpec { action: DriftAction::Fallback, ..DriftSpec::default() };
        let set = GuardSet::compile(&[], Some(&drift)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(set.drift_action(), Some(DriftAction::Fallback));
        let mut state = set.start();
        let mut drifts = Vec::new();
        for _ in 0..500 {
            drifts.extend(state.feed(&set, "again and again ").drifts);
        }
        let [drifted] = drifts.as_slice() else {
            panic!("{drifts:?}");
        };
        assert_eq!((drifted.signal, drifted.score_permille), (Signal::Repetition, 1_000));
        assert_eq!(state.scores().repetition, 1_000);
    }

    #[test]
    fn what_cannot_be_is_refused_by_guard_and_field() {
        let refusal = |specs: &[GuardSpec]| match GuardSet::compile(specs, None) {
            Ok(_) => panic!("compiled"),
            Err(error) => error.to_string(),
        };
        let not_empty = || GuardSpec::new(Check::NotEmpty(NotEmptySpec::default()));
        let max = |max_chars| GuardSpec::new(Check::MaxLength(MaxLengthSpec { max_chars }));
        assert_eq!(
            refusal(&[not_empty(), max(0)]),
            "guard 1 (max_length): `max_chars` is 0; allowed are 1 to 1000000000"
        );
        assert_eq!(
            refusal(&[not_empty().masking("*")]),
            "guard 0 (not_empty): `mask` only patterns, secrets and pii can mask"
        );
        assert_eq!(
            refusal(&[GuardSpec::new(literal("a")).masking("*").severity(Severity::Error)]),
            "guard 0 (patterns): `severity` must be `warn` where `mask` is set, because a masked attempt goes on"
        );
        let mut unnamed = not_empty();
        unnamed.name = Some(String::new());
        assert_eq!(refusal(&[unnamed]), "guard 0 (not_empty): `name` must have 1 to 64 characters");
        assert_eq!(
            refusal(&vec![not_empty(); GUARDS_MAX + 1]),
            "guards: `guards` has 257 guards; allowed are up to 256"
        );
        let drift = DriftSpec { signals: vec![Signal::Length], ..DriftSpec::default() };
        let error = GuardSet::compile(&[], Some(&drift)).map(|_| ()).map_err(|error| error.to_string());
        assert_eq!(error, Err("drift: `expected_chars` is needed where `signals` has length".to_owned()));
    }

    #[test]
    fn specs_are_data_and_what_they_do_not_know_is_refused() {
        let specs = vec![
            GuardSpec::new(Check::Json(JsonSpec::default())),
            GuardSpec::new(Check::Secrets(SecretsSpec::default())).masking("[secret]"),
            GuardSpec::new(Check::Pii(PiiSpec::default())).severity(Severity::Fatal),
        ];
        let json = serde_json::to_string(&specs).expect("specs are JSON");
        assert_eq!(serde_json::from_str::<Vec<GuardSpec>>(&json).expect("as written"), specs);
        let short: GuardSpec =
            serde_json::from_str(r#"{"check": {"patterns": {"literals": ["x"]}}}"#).expect("defaults");
        assert_eq!(short, GuardSpec::new(literal("x")));
        for unknown in [
            r#"{"check": {"patterns": {"literal": ["x"]}}}"#,
            r#"{"check": {"pattern": {}}}"#,
            r#"{"check": {"json": {}}, "severty": "warn"}"#,
            r#"{"check": {"json": {"root": "list"}}}"#,
        ] {
            assert!(serde_json::from_str::<GuardSpec>(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn hits_are_records() {
        let set = guards(&[GuardSpec::new(literal("é"))]);
        let hits = hits(&set, "né");
        let json = serde_json::to_string(&hits).expect("hits are JSON");
        assert!(!json.contains('é'), "a hit never quotes: {json}");
        assert_eq!(serde_json::from_str::<Vec<Hit>>(&json).expect("as written"), hits);
        assert_eq!(hits[0].finding, Finding::Literal(0));
    }
}
