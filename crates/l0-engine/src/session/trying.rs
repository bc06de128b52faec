//! The beginning of a session, and what it tries next.

use core::time::Duration;
use std::sync::Arc;

use smallvec::SmallVec;

use super::ending::{Failure, Origin};
use super::{Blame, BrokeIn, FAULTS_MAX, Session};
use crate::attempt::Attempt;
use crate::fault::{Facts, FaultClass};
use crate::fleet::{Admission, AttemptOutcome};
use crate::ladder::{Limit, Move, Position, Try};
use crate::outcome::Ending;
use crate::policy::Rung;
use crate::protocol::{AttemptId, Event, Fault, Mode, Output, TargetId};
use crate::splice::{Seam, anchor};
use crate::state::{AttemptState, AttemptStep, SessionState, SessionStep};
use crate::tools::ToolCalls;

impl Session {
    pub(super) fn start(&mut self) {
        let total = self.now.after(self.plan.policy.timeouts.total);
        self.deadline = self.deadline.min(total);
        if self.condemned {
            self.finish(Ending::Content);
            return;
        }
        if self.deadline <= self.now {
            self.finish(Ending::Deadline);
            return;
        }
        let position = self.position();
        let next = self.ladder.first(&position, &self.plan.targets, &self.plan.policy, self.limit());
        self.go(next, None);
    }

    pub(super) fn limit(&self) -> Limit {
        Limit { now: self.now, deadline: self.deadline }
    }

    /// Does what the ladder says. `from` is the target that failed, if one did.
    pub(super) fn go(&mut self, next: Move, from: Option<TargetId>) {
        let Move::Try(tried) = next else {
            let ending = self.why_stop();
            self.finish(ending);
            return;
        };
        if let Some(from) = from {
            let event = if tried.target == from {
                let wait = u64::try_from(tried.at.since(self.now).as_nanos()).unwrap_or(u64::MAX);
                Event::Retry { target: from, mode: tried.mode, wait }
            } else {
                Event::Fallback { from, to: tried.target }
            };
            self.put(Output::Event(event));
        }
        self.next = Some(tried);
        self.step(SessionStep::Ask);
        self.put(Output::Ask { target: tried.target, purpose: tried.purpose, force: tried.force });
    }

    pub(super) fn admitted(&mut self, admission: Admission) {
        let Some(next) = self.next else { return };
        if self.now >= self.deadline {
            if admission == Admission::Granted {
                self.put(Output::Report { target: next.target, outcome: AttemptOutcome::Stopped });
            }
            self.finish(Ending::Deadline);
            return;
        }
        let (plan, limit) = (Arc::clone(&self.plan), self.limit());
        let (targets, policy) = (&plan.targets, &plan.policy);
        match admission {
            Admission::Granted if next.at > self.now => {
                self.step(SessionStep::Wait);
                self.put(Output::Wait { until: next.at });
            }
            Admission::Granted => self.open(next),
            Admission::OverBudget => {
                self.note_limited(next.target, "retry_budget");
                let position = self.position();
                let after = self.ladder.over_budget(next.target, &position, targets, policy, limit);
                self.go(after, Some(next.target));
            }
            Admission::BreakerOpen { reopens_in } => {
                self.note_limited(next.target, "breaker_open");
                let until = self.now.after(Duration::from_nanos(reopens_in));
                let position = self.position();
                let after = self.ladder.breaker_open(next.target, until, &position, targets, policy, limit);
                self.go(after, Some(next.target));
            }
        }
    }

    pub(super) fn note_limited(&mut self, target: TargetId, code: &str) {
        self.note_fault(Fault {
            attempt: None,
            target,
            class: FaultClass::Limited,
            code: Some(code.to_owned()),
            status: None,
            request_id: None,
            raised: false,
            at: self.now,
        });
    }

    pub(super) fn note_fault(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault.clone());
        }
        self.put(Output::Event(Event::Fault(fault)));
    }

    pub(super) fn open(&mut self, tried: Try) {
        self.next = None;
        if tried.reset {
            self.waste.bytes += self.shown.text().len() as u64;
            self.shown.clear();
            self.broke_in = BrokeIn::Text;
            self.splices.clear();
            self.resets += 1;
            self.broke_in = BrokeIn::Text;
            self.degraded = false;
            self.put(Output::Reset);
        }
        let rules = &self.plan.policy.continuation;
        let shown = self.shown.text();
        let seam = match tried.mode {
            Mode::Fresh => None,
            Mode::Native => Some(Seam::native()),
            Mode::Prefill => Some(Seam::prefill(shown, rules)),
            Mode::Prompt => Some(Seam::prompt(shown, anchor(shown).unwrap_or(""), rules)),
            // With nothing but white space to find again, all of the answer is new.
            Mode::Rerun if shown.trim().is_empty() => Some(Seam::prefill(shown, rules)),
            Mode::Rerun => Some(Seam::rerun()),
        };
        let id = AttemptId(self.attempts);
        self.attempts += 1;
        self.ladder.opened(&tried);
        let mut live = Attempt::new(id, tried.target, tried.mode, tried.purpose, seam, self.now);
        live.tools = ToolCalls::new(self.reads_calls);
        live.began_at = self.shown.size();
        live.guard = self.begin_guards(tried.mode);
        live.guarded_bytes = self.shown.as_expected_of(tried.mode).len();
        live.checked = live.guard.as_ref().map_or_else(Default::default, |guard| guard.at());
        self.masks.clear();
        if tried.mode == Mode::Rerun {
            live.marks_to_repeat = self.shown.marks().len();
        }
        self.readings.reasks += u32::from(self.reask_of(&live).is_some_and(|_| tried.mode == Mode::Fresh));
        self.live = Some(live);
        self.step(SessionStep::Open);
        self.put(Output::Open { attempt: id, target: tried.target, mode: tried.mode });
    }

    pub(super) fn opened(&mut self, attempt: AttemptId) {
        if self.now >= self.deadline {
            // The timer is due and will say so.
            return;
        }
        let whole = self.live.as_ref().is_some_and(|live| self.is_whole(live));
        let Some(live) = &mut self.live else { return };
        if live.id == attempt && live.state == AttemptState::Opening {
            live.state = live.state.take(AttemptStep::Read, &mut self.coverage).unwrap_or(live.state);
            live.began = if whole { live.began } else { self.now };
            self.step(SessionStep::Read);
        }
    }

    /// What the place where the answer broke off allows.
    pub(super) fn position(&self) -> Position {
        let shown = self.shown.text();
        let mut rungs: SmallVec<[Rung; 5]> = self.plan.policy.continuation.rungs.iter().copied().collect();
        if self.broke_in == BrokeIn::Shown {
            rungs.retain(|rung| *rung == Rung::Reset);
        } else if self.broke_in == BrokeIn::Part
            || !self.shown.marks().is_empty()
            || self.shown.is_json_document()
        {
            rungs.retain(|rung| matches!(rung, Rung::Native | Rung::Rerun | Rung::Reset));
        } else if self.broke_in == BrokeIn::Call
            && let Some(place) = rungs.iter().position(|rung| *rung == Rung::Rerun)
        {
            // The call itself was not shown. Starting over is the surest way to it, but not the only one.
            let rerun = rungs.remove(place);
            rungs.insert(0, rerun);
        }
        let trimmed = shown.trim();
        Position {
            shown: !self.shown.is_empty(),
            rungs,
            has_prefix: !trimmed.is_empty(),
            has_anchor: anchor(shown).is_some(),
        }
    }

    pub(super) fn resume(&mut self) {
        // The clock of the dead process is gone, and with it what was left of its time.
        self.deadline = self.now.after(self.plan.policy.timeouts.total);
        match self.state {
            SessionState::Asking | SessionState::Waiting => {
                // Whatever the fleet of the dead process answered, this one's was not asked.
                if let Some(next) = self.next {
                    self.step(SessionStep::Ask);
                    self.put(Output::Ask { target: next.target, purpose: next.purpose, force: next.force });
                }
            }
            SessionState::Opening | SessionState::Reading => {
                let failure = Failure {
                    class: FaultClass::Network,
                    code: Some("process_died".to_owned()),
                    facts: Facts::default(),
                    misfit: false,
                    blame: Blame::Attempt,
                    shown: false,
                    reask: false,
                    origin: Origin::Death,
                };
                self.fail(failure);
            }
            SessionState::Idle | SessionState::Done => {}
        }
    }
}
