//! What the guards see of an answer, and what their word leads to.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::Session;
use super::arriving::Broken;
use crate::fault::FaultClass;
use crate::guards::{DriftAction, GuardSet, GuardState, Hit, Mask, Severity, Verdict, check};
use crate::policy::{Delivery, Policy};
use crate::protocol::{AttemptId, Event, Mode, Objection, Output, Signal};
use crate::queue::Item;
use crate::record::Record;

/// Objections a session remembers.
const OBJECTIONS_MAX: usize = 256;

/// Who is to blame for an answer that is not acceptable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Blame {
    /// This attempt: another on the same target may do better.
    #[default]
    Attempt,
    /// The target: another may do better.
    Target,
    /// Whoever asked: nothing is tried any more.
    Session,
}

/// Whether text is held back while a guard has not decided about it.
pub(super) fn holds_back(policy: &Policy) -> bool {
    policy.guard_set().is_some_and(|set| policy.delivery == Delivery::Guarded || set.masks())
}

/// What the guards of inputs have to say about texts that a model would be given.
#[must_use]
pub fn check_inputs(policy: &Policy, texts: &[&str]) -> Vec<Objection> {
    let Some(set) = policy.input_guard_set() else { return Vec::new() };
    let hits = texts.iter().flat_map(|text| check(set, text));
    hits.filter(|hit| !hit.undecided()).map(|hit| objection(set, &hit)).collect()
}

fn objection(set: &GuardSet, hit: &Hit) -> Objection {
    Objection {
        guard: set.name(hit.rule).to_owned(),
        reason: hit.finding.reason().to_owned(),
        severity: hit.severity,
        start: hit.span.start.char as u64,
        end: hit.span.end.char as u64,
        masked: hit.masked,
    }
}

impl Session {
    /// What was checked before the session began; an objection that is not a warning ends it as it begins.
    pub(super) fn checked(&mut self, objections: Vec<Objection>) {
        self.condemned |= objections.iter().any(|objection| objection.severity != Severity::Warn);
        for objection in objections {
            self.note_objection(objection);
        }
    }

    /// Guards that have seen what the consumer has, for an attempt that goes on from there.
    pub(super) fn begin_guards(&self, mode: Mode) -> Option<Box<GuardState>> {
        let set = self.plan.policy.guard_set()?;
        let mut state = set.start();
        // What they had to say about it they have said.
        let _ = state.feed(set, self.shown.as_expected_of(mode));
        let _ = state.take_masks(set);
        Some(Box::new(state))
    }

    /// Plain text that flows, seen by the guards: true if the consumer can have it at once.
    pub(super) fn clears(&mut self, text: &str) -> Result<(), Verdict> {
        let Some(live) = &mut self.live else { return Ok(()) };
        let (Some(guard), Some(set)) = (&mut live.guard, self.plan.policy.guard_set()) else { return Ok(()) };
        let verdict = guard.feed(set, text);
        let open = self.holds_back && guard.open_from(set).is_some();
        if open || self.asks || !verdict.is_clear() {
            return Err(verdict);
        }
        live.guarded_bytes += text.len();
        Ok(())
    }

    /// Plain text that flowed until the guards had something to say.
    pub(super) fn take_seen(&mut self, attempt: AttemptId, text: &str, verdict: &Verdict) -> Signal {
        let place = self.records.len();
        if self.plan.recorded {
            let (at, text) = (self.now, text.into());
            self.records.push(Record::Chunk { at, attempt, text, signal: Signal::Skip });
        }
        if let Some(live) = &mut self.live {
            self.queue.push(Item::of_text(live.bytes, text), text);
            live.bytes += text.len();
        }
        (self.queue.settled, self.queue.judged) = (self.queue.len(), self.queue.len());
        let signal = match self.heed(verdict, false) {
            Ok(()) => {
                self.ask_about_piece();
                self.let_go()
            }
            Err(broken) => self.break_off(&broken),
        };
        if let Some(Record::Chunk { signal: recorded, .. }) = self.records.get_mut(place) {
            *recorded = signal;
        }
        signal
    }

    /// Shows the guards what was joined to the text before it, and the caller's own after them.
    pub(super) fn judge(&mut self) -> Result<(), Broken> {
        self.judge_settled()?;
        self.ask_about_piece();
        Ok(())
    }

    fn judge_settled(&mut self) -> Result<(), Broken> {
        while self.queue.judged < self.queue.settled {
            let Some(live) = &mut self.live else { return Ok(()) };
            if live.seam.is_some() {
                return Ok(());
            }
            let place = self.queue.judged;
            self.queue.judged += 1;
            let (Some(guard), Some(set)) = (&mut live.guard, self.plan.policy.guard_set()) else { continue };
            let Some(item) = self.queue.item(place).filter(|item| !item.repeated) else { continue };
            if !item.calls.is_empty() || item.opaque.is_some() {
                guard.other_content();
            }
            let text = self.queue.text_of(place).get(item.skip..).unwrap_or("");
            let verdict = guard.feed(set, text);
            self.heed(&verdict, false)?;
        }
        Ok(())
    }

    /// Tells the guards that the answer is at its end.
    pub(super) fn judge_end(&mut self) -> Result<(), Broken> {
        self.judge_settled()?;
        let Some(live) = &mut self.live else { return Ok(()) };
        let (Some(guard), Some(set)) = (&mut live.guard, self.plan.policy.guard_set()) else { return Ok(()) };
        let verdict = guard.finish(set);
        self.heed(&verdict, true)
    }

    /// The byte, among those the consumer has not, from which text is held back.
    pub(super) fn held_from(&self) -> Option<usize> {
        let (live, set) = (self.live.as_ref()?, self.plan.policy.guard_set()?);
        let open = live.guard.as_ref().filter(|_| self.holds_back)?.open_from(set)?;
        Some(open.byte.saturating_sub(live.guarded_bytes))
    }

    /// A kept chunk's new text with what is masked in it replaced; none where nothing is.
    pub(super) fn masked(&mut self, text: &str) -> Option<String> {
        let live = self.live.as_mut()?;
        let start = live.guarded_bytes;
        let end = start + text.len();
        live.guarded_bytes = end;
        let set = self.plan.policy.guard_set()?;
        let masks: SmallVec<[Mask; 2]> = live.guard.as_mut()?.take_masks(set);
        self.masks.extend(masks);
        let mut masked: Option<String> = None;
        let mut at = start;
        for mask in &self.masks {
            let (from, to) = (mask.span.start.byte.max(start), mask.span.end.byte.min(end));
            if from >= to {
                continue;
            }
            let out = masked.get_or_insert_with(String::new);
            out.push_str(text.get(at - start..from - start).unwrap_or(""));
            if mask.span.start.byte >= start {
                out.push_str(set.replacement(mask.rule).unwrap_or(""));
            }
            at = to;
        }
        self.masks.retain(|mask| mask.span.end.byte > end);
        let mut masked = masked?;
        masked.push_str(text.get(at - start..).unwrap_or(""));
        Some(masked)
    }

    /// How much of the kept text a mask covers whose replacement the consumer has already.
    pub(super) fn replaced_ahead(&self) -> usize {
        let given = self.live.as_ref().map_or(0, |live| live.guarded_bytes);
        let begun = self.masks.iter().filter(|mask| mask.span.start.byte < given);
        begun.map(|mask| mask.span.end.byte.saturating_sub(given)).max().unwrap_or(0)
    }

    /// Notes what the guards found; an error is what ends the attempt.
    fn heed(&mut self, verdict: &Verdict, at_end: bool) -> Result<(), Broken> {
        if verdict.is_clear() {
            return Ok(());
        }
        let policy = std::sync::Arc::clone(&self.plan.policy);
        let Some(set) = policy.guard_set() else { return Ok(()) };
        let given = self.live.as_ref().map_or(0, |live| live.guarded_bytes);
        let matters = |hit: &&Hit| self.holds_back || !hit.undecided();
        let hits: SmallVec<[Hit; 2]> = verdict.hits.iter().filter(matters).copied().collect();
        for hit in &hits {
            self.note_objection(objection(set, hit));
        }
        for drifted in &verdict.drifts {
            self.drifts = self.drifts.saturating_add(1);
            let (signal, score_permille) = (drifted.signal, drifted.score_permille);
            self.put(Output::Event(Event::Drift { signal, score_permille }));
        }
        let stops = hits.iter().filter(|hit| hit.stops());
        if let Some(hit) =
            stops.reduce(|gravest, hit| if hit.severity > gravest.severity { hit } else { gravest })
        {
            let blame = match (hit.severity, hit.recoverable) {
                (Severity::Fatal, _) => Blame::Session,
                (_, false) => Blame::Target,
                (_, true) => Blame::Attempt,
            };
            // What is missing at the end is no fault of what was shown.
            let shown = !at_end && hit.span.start.byte < given;
            return Err(objected(set.name(hit.rule).to_owned(), blame, shown));
        }
        let Some(drifted) = verdict.drifts.first() else { return Ok(()) };
        let shown = drifted.span.start.byte < given;
        match set.drift_action() {
            Some(DriftAction::Retry) => Err(objected("drift".to_owned(), Blame::Attempt, shown)),
            Some(DriftAction::Fallback) => Err(objected("drift".to_owned(), Blame::Target, shown)),
            Some(DriftAction::Record) | None => Ok(()),
        }
    }

    pub(super) fn note_objection(&mut self, objection: Objection) {
        if self.objections.len() < OBJECTIONS_MAX {
            self.objections.push(objection.clone());
        }
        self.put(Output::Event(Event::Guard(objection)));
    }
}

pub(super) const fn objected(guard: String, blame: Blame, shown: bool) -> Broken {
    Broken { class: FaultClass::Content, code: Cow::Owned(guard), misfit: false, blame, shown }
}
