//! The policy: every number the engine decides by, validated once and hashed.

use core::time::Duration;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::guards::{Check, DriftSpec, GuardSet, GuardSpec};
use crate::jitter::Jitter;

/// How to try again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Attempts one target is given whose answer was empty or unacceptable.
    pub attempts: u32,
    /// Retries a session is given, whatever for. The first attempt on a target is not a retry.
    pub max_retries: u32,
    /// The first backoff.
    #[serde(with = "seconds")]
    pub base: Duration,
    /// The first backoff where the target said it is overloaded.
    #[serde(with = "seconds")]
    pub base_overload: Duration,
    /// The longest backoff.
    #[serde(with = "seconds")]
    pub cap: Duration,
    /// How a backoff is spread.
    pub jitter: Jitter,
    /// How much later than a `Retry-After` a retry may come.
    #[serde(with = "seconds")]
    pub retry_after_slack: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            max_retries: 6,
            base: Duration::from_millis(500),
            base_overload: Duration::from_secs(1),
            cap: Duration::from_secs(20),
            jitter: Jitter::Full,
            retry_after_slack: Duration::from_secs(5),
        }
    }
}

/// A store of tokens that retries are paid from, shared by all sessions of a process for one target and tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryBudget {
    /// Tokens it holds when full.
    pub tokens: u32,
    /// Tokens a retry costs.
    pub cost: u32,
    /// Tokens a retry costs after the target said it is overloaded.
    pub cost_throttled: u32,
    /// Tokens a success at the first try returns.
    pub refund: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { tokens: 500, cost: 14, cost_throttled: 5, refund: 1 }
    }
}

/// When to leave a failing target alone for a while.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// How far back outcomes count.
    #[serde(with = "seconds")]
    pub window: Duration,
    /// Outcomes needed before it judges.
    pub min_outcomes: u32,
    /// The share of failures at which it opens.
    pub ratio: f64,
    /// How long it stays open before it lets one probe through.
    #[serde(with = "seconds")]
    pub open: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { window: Duration::from_secs(60), min_outcomes: 10, ratio: 0.5, open: Duration::from_secs(30) }
    }
}

/// Calls at a time, per target and tenant. Off unless set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Calls in flight at most; further ones wait in order until their deadline.
    pub concurrent: Option<u32>,
}

/// The clocks of an attempt, and the one of the session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Until the response begins.
    #[serde(with = "seconds")]
    pub open: Duration,
    /// Until its first content.
    #[serde(with = "seconds")]
    pub first: Duration,
    /// Until its first content, where the target reasons.
    #[serde(with = "seconds")]
    pub first_reasoning: Duration,
    /// Between content, after text.
    #[serde(with = "seconds")]
    pub text: Duration,
    /// Between content, after reasoning.
    #[serde(with = "seconds")]
    pub reasoning: Duration,
    /// Between content, after a fragment of a tool call.
    #[serde(with = "seconds")]
    pub tool_args: Duration,
    /// Until a call that is not streamed has answered.
    #[serde(with = "seconds")]
    pub call: Duration,
    /// Until the session has ended, whatever happens.
    #[serde(with = "seconds")]
    pub total: Duration,
    /// How long a stream is still read after it said that it has finished.
    #[serde(with = "seconds")]
    pub linger: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::of([30, 120, 600, 30, 120, 300, 600, 900])
    }
}

impl Timeouts {
    /// The shortest of the clocks that a stream can run by: a driver whose timer rings as often misses none, whichever
    /// clock takes over meanwhile.
    #[must_use]
    pub fn shortest(&self) -> Duration {
        let Self { open, first, first_reasoning, text, reasoning, tool_args, linger, .. } = *self;
        [first, first_reasoning, text, reasoning, tool_args, linger].into_iter().fold(open, Duration::min)
    }

    const fn of(seconds: [u64; 8]) -> Self {
        let [open, first, first_reasoning, text, reasoning, tool_args, call, total] = seconds;
        Self {
            open: Duration::from_secs(open),
            first: Duration::from_secs(first),
            first_reasoning: Duration::from_secs(first_reasoning),
            text: Duration::from_secs(text),
            reasoning: Duration::from_secs(reasoning),
            tool_args: Duration::from_secs(tool_args),
            call: Duration::from_secs(call),
            total: Duration::from_secs(total),
            linger: Duration::from_secs(5),
        }
    }
}

/// When the consumer is given what arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// At once.
    #[default]
    Live,
    /// As soon as no guard can object to it any more.
    Guarded,
    /// When the answer is complete and valid.
    Whole,
}

/// A way to go on after an answer broke off in front of the consumer, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// The provider resumes the same response.
    Native,
    /// The target goes on from the text shown.
    Prefill,
    /// The target repeats the last words shown and goes on.
    Prompt,
    /// The target starts over, and what was shown is swallowed.
    Rerun,
    /// The consumer discards what it was shown. Only where it opted in.
    Reset,
}

/// How to go on after an answer broke off in front of the consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Continuation {
    /// The ways allowed, in the order they are tried.
    pub rungs: Vec<Rung>,
    /// What a target is asked on the `prompt` rung; `{anchor}` stands for the words to repeat.
    pub prompt: Option<String>,
    /// Characters of a new answer looked at for the words to repeat.
    pub hold_chars: u32,
    /// Characters that must equal the beginning shown for an answer to count as started over.
    pub restart_chars: u32,
    /// Characters an overlap must have to be taken for one.
    pub overlap_chars: u32,
}

/// What a target is asked where the policy says nothing else.
pub const CONTINUATION_PROMPT: &str = "Your last message broke off before its end. Begin by repeating exactly these \
    last words of it, then go on from there to its end, and add nothing else:\n{anchor}";

/// What a target is asked whose last answer the caller's own guards would not have; `{errors}` is what they said.
pub const REASK_PROMPT: &str = "Your last answer cannot be used:\n{errors}\nAnswer again, in full and with that put \
    right, and give nothing but the answer.";

impl Default for Continuation {
    fn default() -> Self {
        Self {
            rungs: vec![Rung::Prefill, Rung::Prompt, Rung::Rerun],
            prompt: None,
            hold_chars: 512,
            restart_chars: 32,
            overlap_chars: 12,
        }
    }
}

/// What to do when a target refuses to answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Tell the caller.
    #[default]
    Raise,
    /// Ask the next target.
    Next,
}

/// Everything the engine decides by. Immutable; its digest is in every session's first record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How to try again.
    pub retry: Retry,
    /// What retries are paid from.
    pub budget: RetryBudget,
    /// When to leave a target alone.
    pub breaker: Breaker,
    /// Calls at a time.
    pub limits: Limits,
    /// The clocks.
    pub timeouts: Timeouts,
    /// When the consumer is given what arrived.
    pub delivery: Delivery,
    /// How to go on after an answer broke off.
    pub continuation: Continuation,
    /// What to do when a target refuses to answer.
    pub refusal: Refusal,
    /// What must not be in an answer.
    pub guards: Vec<GuardSpec>,
    /// What must not be in what a model is given: prompts, results of tools, retrieved text.
    pub input_guards: Vec<GuardSpec>,
    /// How an answer may go astray while each of its pieces looks right.
    pub drift: Option<DriftSpec>,
    /// The guards, compiled by whoever needs them first.
    #[serde(skip)]
    compiled: Compiled,
}

/// What a policy is compiled to, once. It follows from the policy, and makes no two policies differ.
#[derive(Debug, Clone, Default)]
struct Compiled {
    guards: OnceLock<GuardSet>,
    input_guards: OnceLock<GuardSet>,
}

impl PartialEq for Compiled {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The most a policy can cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WorstCase {
    /// Calls to providers.
    pub calls: u32,
    /// The session's length.
    pub total: Duration,
    /// The part of it spent waiting between calls, where no provider asks for more.
    pub waiting: Duration,
}

/// Why a policy was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("policy field `{field}`: {problem}")]
pub struct PolicyError {
    /// The field's path, such as `retry.attempts`.
    pub field: String,
    /// What is wrong, and what is allowed.
    pub problem: String,
}

impl Policy {
    /// For a person who waits: short clocks.
    #[must_use]
    pub fn interactive() -> Self {
        let timeouts = Timeouts::of([5, 15, 60, 8, 60, 60, 60, 60]);
        Self { timeouts, ..Self::default() }
    }

    /// For work nobody waits for: long clocks.
    #[must_use]
    pub fn batch() -> Self {
        let timeouts = Timeouts::of([60, 600, 600, 120, 600, 600, 1_800, 3_600]);
        Self { timeouts, ..Self::default() }
    }

    /// For answers that must not hold a seam a model was talked into: no `prompt` rung, guarded delivery.
    #[must_use]
    pub fn strict() -> Self {
        let continuation =
            Continuation { rungs: vec![Rung::Prefill, Rung::Rerun], ..Continuation::default() };
        Self { delivery: Delivery::Guarded, continuation, ..Self::default() }
    }

    /// Reads and validates a policy written as JSON.
    ///
    /// # Errors
    /// Names the first field that is unknown or out of its bounds, with what is allowed.
    pub fn from_json(text: &str) -> Result<Self, PolicyError> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let policy: Self = serde_path_to_error::deserialize(&mut reader).map_err(|error| PolicyError {
            field: error.path().to_string(),
            problem: error.inner().to_string(),
        })?;
        policy.validate()?;
        Ok(policy)
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// Names the first field that is out of its bounds, with what is allowed.
    pub fn validate(&self) -> Result<(), PolicyError> {
        let Self { retry, budget, breaker, limits, timeouts, continuation, .. } = self;
        within("retry.attempts", retry.attempts, 1, 100)?;
        within("retry.max_retries", retry.max_retries, 0, 1_000)?;
        let waits = [
            ("retry.base", retry.base),
            ("retry.base_overload", retry.base_overload),
            ("retry.cap", retry.cap),
            ("retry.retry_after_slack", retry.retry_after_slack),
        ];
        for (field, wait) in waits {
            between_seconds(field, wait, Duration::ZERO)?;
        }
        within("budget.tokens", budget.tokens, 0, 1_000_000)?;
        within("budget.cost", budget.cost, 0, 1_000_000)?;
        within("budget.cost_throttled", budget.cost_throttled, 0, 1_000_000)?;
        within("budget.refund", budget.refund, 0, 1_000_000)?;
        within("breaker.min_outcomes", breaker.min_outcomes, 1, 10_000)?;
        if !(breaker.ratio > 0.0 && breaker.ratio <= 1.0) {
            return Err(refused(
                "breaker.ratio",
                format!("must be over 0 and at most 1, not {}", breaker.ratio),
            ));
        }
        within("limits.concurrent", limits.concurrent.unwrap_or(1), 1, 1_000_000)?;
        let clocks = [
            ("breaker.window", breaker.window),
            ("breaker.open", breaker.open),
            ("timeouts.open", timeouts.open),
            ("timeouts.first", timeouts.first),
            ("timeouts.first_reasoning", timeouts.first_reasoning),
            ("timeouts.text", timeouts.text),
            ("timeouts.reasoning", timeouts.reasoning),
            ("timeouts.tool_args", timeouts.tool_args),
            ("timeouts.call", timeouts.call),
            ("timeouts.total", timeouts.total),
            ("timeouts.linger", timeouts.linger),
        ];
        for (field, clock) in clocks {
            between_seconds(field, clock, Duration::from_millis(1))?;
        }
        for (place, rung) in continuation.rungs.iter().enumerate() {
            if continuation.rungs[..place].contains(rung) {
                return Err(refused(
                    "continuation.rungs",
                    format!("names {rung:?} twice; each may stand once"),
                ));
            }
        }
        if continuation.prompt.as_ref().is_some_and(|prompt| !prompt.contains("{anchor}")) {
            return Err(refused(
                "continuation.prompt",
                "must hold {anchor}, where the words to repeat go".into(),
            ));
        }
        within("continuation.hold_chars", continuation.hold_chars, 64, 65_536)?;
        within("continuation.restart_chars", continuation.restart_chars, 8, 4_096)?;
        within("continuation.overlap_chars", continuation.overlap_chars, 4, 4_096)?;
        compiled(&self.compiled.guards, "guards", &self.guards, self.drift.as_ref())?;
        compiled(&self.compiled.input_guards, "input_guards", &self.input_guards, None)?;
        if self.input_guards.iter().any(|guard| guard.mask.is_some()) {
            return Err(refused(
                "input_guards",
                "cannot mask: what a model is given is not L0's to change".into(),
            ));
        }
        if self.input_guards.iter().any(|guard| matches!(guard.check, Check::User(_))) {
            return Err(refused(
                "input_guards",
                "cannot be guards of your own: check what a model is given before the call".into(),
            ));
        }
        Ok(())
    }

    /// The guards of answers, compiled; none where there is nothing to guard.
    #[must_use]
    pub fn guard_set(&self) -> Option<&GuardSet> {
        compiled(&self.compiled.guards, "guards", &self.guards, self.drift.as_ref())
            .ok()
            .filter(|set| !set.is_empty())
    }

    /// The guards of what a model is given, compiled; none where there is nothing to guard.
    #[must_use]
    pub fn input_guard_set(&self) -> Option<&GuardSet> {
        compiled(&self.compiled.input_guards, "input_guards", &self.input_guards, None)
            .ok()
            .filter(|set| !set.is_empty())
    }

    /// A hash of every field, the same on every machine.
    #[must_use]
    pub fn digest(&self) -> String {
        // A policy holds numbers, strings and lists only, which serialise without fail.
        let text = serde_json::to_string(self).unwrap_or_default();
        blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
    }

    /// The most a session over that many targets can cost.
    #[must_use]
    pub fn worst_case(&self, targets: u32) -> WorstCase {
        let Retry { max_retries, base, base_overload, cap, .. } = self.retry;
        let longest = base.max(base_overload);
        // A wait grows twofold at most, or threefold where it is drawn from the one before.
        let growth = |n: u32| match self.retry.jitter {
            Jitter::Decorrelated => 3u32.saturating_pow(n.saturating_add(1)),
            Jitter::Full | Jitter::Equal | Jitter::None => 2u32.saturating_pow(n),
        };
        let waiting = (0..max_retries)
            .map(|n| longest.saturating_mul(growth(n)).min(cap))
            .fold(Duration::ZERO, Duration::saturating_add);
        WorstCase {
            calls: targets.saturating_add(max_retries),
            total: self.timeouts.total,
            waiting: waiting.min(self.timeouts.total),
        }
    }
}

fn compiled<'a>(
    cell: &'a OnceLock<GuardSet>,
    field: &str,
    guards: &[GuardSpec],
    drift: Option<&DriftSpec>,
) -> Result<&'a GuardSet, PolicyError> {
    if let Some(set) = cell.get() {
        return Ok(set);
    }
    let set = GuardSet::compile(guards, drift).map_err(|error| {
        let place = match (error.rule, error.guard) {
            (Some(rule), _) => format!("{field}[{rule}].{}", error.problem.field),
            (None, "drift") => format!("drift.{}", error.problem.field),
            (None, _) => field.to_owned(),
        };
        refused(&place, error.problem.message.into_owned())
    })?;
    Ok(cell.get_or_init(|| set))
}

fn refused(field: &str, problem: String) -> PolicyError {
    PolicyError { field: field.to_owned(), problem }
}

fn within(field: &str, value: u32, least: u32, most: u32) -> Result<(), PolicyError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(refused(field, format!("must be a whole number from {least} to {most}, not {value}")))
}

fn between_seconds(field: &str, value: Duration, least: Duration) -> Result<(), PolicyError> {
    const MOST: Duration = Duration::from_secs(31 * 24 * 3_600);
    if (least..=MOST).contains(&value) {
        return Ok(());
    }
    let (least, most, value) = (least.as_secs_f64(), MOST.as_secs_f64(), value.as_secs_f64());
    Err(refused(field, format!("must be from {least} to {most} seconds, not {value}")))
}

/// Durations are written as seconds.
mod seconds {
    use core::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(value.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(from)?;
        Duration::try_from_secs_f64(seconds).map_err(|_| {
            D::Error::custom(format!("must be a number of seconds of at least 0, not {seconds}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_written_as_it_is_read() {
        for policy in [Policy::default(), Policy::interactive(), Policy::batch(), Policy::strict()] {
            let text = serde_json::to_string(&policy).unwrap();
            let read = Policy::from_json(&text).unwrap();
            assert_eq!(read, policy);
            assert_eq!(read.digest(), policy.digest());
        }
        assert_ne!(Policy::default().digest(), Policy::strict().digest());
    }

    #[test]
    fn a_wrong_policy_names_the_field_and_what_is_allowed() {
        let cases = [
            (r#"{"retry": {"atempts": 2}}"#, "retry", "expected one of `attempts`"),
            (r#"{"retry": {"attempts": 0}}"#, "retry.attempts", "from 1 to 100, not 0"),
            (r#"{"retry": {"jitter": "wild"}}"#, "retry.jitter", "expected one of `full`, `equal`"),
            (r#"{"timeouts": {"text": -1}}"#, "timeouts.text", "at least 0, not -1"),
            (r#"{"timeouts": {"text": 0}}"#, "timeouts.text", "from 0.001 to"),
            (r#"{"timeouts": {"text": "5"}}"#, "timeouts.text", "expected f64"),
            (r#"{"breaker": {"ratio": 1.5}}"#, "breaker.ratio", "at most 1"),
            (r#"{"delivery": "eager"}"#, "delivery", "expected one of `live`, `guarded`, `whole`"),
            (r#"{"continuation": {"rungs": ["rerun", "rerun"]}}"#, "continuation.rungs", "twice"),
            (
                r#"{"continuation": {"rungs": ["magic"]}}"#,
                "continuation.rungs[0]",
                "expected one of `native`",
            ),
            (r#"{"continuation": {"prompt": "go on"}}"#, "continuation.prompt", "{anchor}"),
            (r#"{"limits": {"concurrent": 0}}"#, "limits.concurrent", "from 1"),
        ];
        for (text, field, problem) in cases {
            let error = Policy::from_json(text).unwrap_err();
            assert!(error.field.starts_with(field), "{text}: {error}");
            assert!(error.problem.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn the_worst_case_counts_every_call() {
        let worst = Policy::default().worst_case(2);
        assert_eq!(worst.calls, 8);
        assert_eq!(worst.total, Duration::from_secs(900));
        assert_eq!(worst.waiting, Duration::from_secs(1 + 2 + 4 + 8 + 16 + 20));
    }
}
