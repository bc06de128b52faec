//! How attempts end, and how the session does.

use core::time::Duration;
use std::sync::Arc;

use super::arriving::Broken;
use super::{Blame, BrokeIn, Session};
use crate::attempt::{Attempt, Phase};
use crate::fault::{Facts, FaultClass};
use crate::fleet::AttemptOutcome;
use crate::instant::Instant;
use crate::ladder::Setback;
use crate::outcome::{Ending, Finish, Outcome};
use crate::protocol::{AttemptId, Event, Fault, Mode, Output, TargetId};
use crate::record::Record;
use crate::splice::Misfit;
use crate::state::{AttemptState, AttemptStep, SessionState, SessionStep};
use crate::target::Target;

/// How an attempt's failure came about, beside its facts.
pub(super) struct Failure {
    pub(super) class: FaultClass,
    pub(super) code: Option<String>,
    pub(super) facts: Facts,
    pub(super) misfit: bool,
    pub(super) blame: Blame,
    /// The fault is in what the consumer has been given.
    pub(super) shown: bool,
    /// The target is told what to put right.
    pub(super) reask: bool,
    pub(super) origin: Origin,
}

/// What ended an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Its stream, which ended short of its answer's end.
    Stream,
    /// Its stream, with an exception that the driver holds.
    Exception,
    /// The engine. The stream is still there and must be closed.
    Engine,
    /// The death of the process that ran it.
    Death,
}

impl Failure {
    pub(super) fn seen(broken: &Broken, origin: Origin) -> Self {
        let Broken { class, ref code, misfit, blame, shown } = *broken;
        let facts = Facts::default();
        let code = Some(code.clone().into_owned());
        Self { class, code, facts, misfit, blame, shown, reask: false, origin }
    }
}

impl Session {
    pub(super) fn ended(&mut self, attempt: AttemptId) {
        if !self.is_live(attempt) {
            return;
        }
        let ended = self.live.as_ref().is_some_and(Attempt::said_it_ended);
        if self.now >= self.deadline && !ended {
            self.finish(Ending::Deadline);
            return;
        }
        self.opened(attempt);
        self.conclude(false);
    }

    pub(super) fn failed(&mut self, attempt: AttemptId, facts: Facts) {
        let Some(live) = self.live.as_ref().filter(|live| live.id == attempt) else {
            return;
        };
        if self.is_concluding() {
            return;
        }
        if live.said_it_ended() {
            // Whatever happens to a stream after it said that it has finished is of no consequence.
            self.conclude(false);
            return;
        }
        let class = facts.classify();
        let code = facts.code.clone().or_else(|| facts.kind.clone());
        let (misfit, shown, blame, reask) = (false, false, Blame::Attempt, false);
        self.fail(Failure { class, code, facts, misfit, blame, shown, reask, origin: Origin::Exception });
    }

    pub(super) fn timed_out(&mut self, waited: Option<Duration>) {
        if !self.is_due(self.now, waited) {
            return;
        }
        let ended = self.live.as_ref().is_some_and(Attempt::said_it_ended);
        if ended || self.now >= self.deadline {
            self.run_out();
        } else if let Some(next) = self.next.filter(|_| self.state == SessionState::Waiting) {
            self.open(next);
        } else if let Some(live) = &self.live {
            let clock = self.clock_name(live);
            self.fail(Failure::seen(&Broken::of(FaultClass::Stall, clock), Origin::Engine));
        }
    }

    /// The live attempt's clock, if it has run out without any read pending now.
    pub(super) fn clock_run_out(&self) -> Option<&'static str> {
        let live = self.live.as_ref()?;
        self.is_due(self.now, Some(Duration::ZERO)).then(|| self.clock_name(live))
    }

    fn clock_name(&self, live: &Attempt) -> &'static str {
        match (live.state, live.phase) {
            _ if self.is_whole(live) => "call",
            (AttemptState::Opening, _) => "open",
            (_, Phase::First) => "first",
            (_, Phase::Text) => "text",
            (_, Phase::Reasoning) => "reasoning",
            (_, Phase::ToolArgs) => "tool_args",
        }
    }

    /// There is no more time: the answer is taken as it is if it has finished.
    pub(super) fn run_out(&mut self) {
        let asked = self.live.as_ref().is_some_and(|live| live.question.is_some());
        if !asked && self.live.as_ref().is_some_and(Attempt::said_it_ended) {
            self.conclude(true);
        } else {
            self.finish(Ending::Deadline);
        }
    }

    pub(super) fn is_due(&self, now: Instant, waited: Option<Duration>) -> bool {
        let now = self.now.max(now);
        match self.state {
            SessionState::Idle | SessionState::Done => return false,
            _ if now >= self.deadline => return true,
            SessionState::Asking => return false,
            SessionState::Waiting => return self.next.is_some_and(|next| now >= next.at),
            SessionState::Opening | SessionState::Reading => {}
        }
        // What a guard of the caller's takes is no silence of the target's.
        self.live.as_ref().filter(|live| live.question.is_none()).is_some_and(|live| {
            let (wait, from_begin) = self.clock(live);
            let passed = if from_begin { Some(now.since(live.began)) } else { waited };
            passed.is_some_and(|passed| passed >= wait)
        })
    }

    pub(super) fn target(&self, target: TargetId) -> Option<&Target> {
        self.plan.targets.get(target.0 as usize)
    }

    pub(super) fn is_whole(&self, live: &Attempt) -> bool {
        !self.plan.streamed || self.target(live.target).is_some_and(|target| target.whole)
    }

    /// How long the live attempt may still take, and whether that counts from its beginning or from the pending read's.
    pub(super) fn clock(&self, live: &Attempt) -> (Duration, bool) {
        let clocks = &self.plan.policy.timeouts;
        if self.is_whole(live) && !live.said_it_ended() {
            return (clocks.call, true);
        }
        if live.state == AttemptState::Opening {
            return (clocks.open, true);
        }
        let patience = self.target(live.target).map_or(clocks.text, |target| live.patience(target, clocks));
        (patience.saturating_sub(live.silent), false)
    }

    /// The live attempt's answer has come to its end; `running` if its stream has not.
    pub(super) fn conclude(&mut self, running: bool) {
        if self.is_concluding() {
            return;
        }
        if let Err(broken) = self.check_answer() {
            self.fail(Failure::seen(&broken, if running { Origin::Engine } else { Origin::Stream }));
            return;
        }
        if !self.ask_about_whole(running) {
            self.serve(running);
        }
    }

    /// The live attempt's answer is as it must be.
    pub(super) fn serve(&mut self, running: bool) {
        let Some(live) = &mut self.live else { return };
        live.state = live.state.take(AttemptStep::Serve, &mut self.coverage).unwrap_or(live.state);
        let (attempt, target, purpose) = (live.id, live.target, live.purpose);
        self.release();
        if running {
            self.put(Output::Cancel { attempt });
        }
        self.put(Output::Report { target, outcome: AttemptOutcome::Success { purpose } });
        self.finish(Ending::Complete);
    }

    pub(super) fn check_answer(&mut self) -> Result<(), Broken> {
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        if live.finish.as_ref().is_some_and(Finish::is_whole) {
            live.tools.finish();
        } else {
            live.tools.close_finished();
        }
        match live.finish {
            Some(Finish::ContentFilter) => {
                return Err(Broken::of(FaultClass::Refused, "content_filter"));
            }
            Some(Finish::Refusal) => return Err(Broken::of(FaultClass::Refused, "refusal")),
            _ => {}
        }
        let terminal =
            self.plan.targets.get(live.target.0 as usize).map(|target| target.terminal).unwrap_or_default();
        if live.lacks_terminal(terminal) {
            return Err(Broken::of(FaultClass::Network, "terminal_missing"));
        }
        if live.opaque_open {
            return Err(Broken::of(FaultClass::Network, "part_cut"));
        }
        if self.reads_calls {
            // Whoever reads them says what they are.
            live.tools.take_as_they_are();
        } else if live.tools.any_open() {
            return Err(Broken::of(FaultClass::Content, "tool_args"));
        }
        // Only a target that goes on from what was shown can say that there is nothing to add, and has to say it.
        let goes_on = matches!(live.mode, Mode::Native | Mode::Prefill) && !self.shown.is_empty();
        let may_be_empty = live.finish == Some(Finish::Length) || (goes_on && live.finish.is_some());
        if !live.has_content && !may_be_empty {
            return Err(Broken::of(FaultClass::Empty, "no_content"));
        }
        self.settle()?;
        self.close_seam()?;
        if self.live.as_ref().is_some_and(Attempt::is_behind) {
            return Err(Broken::seam(Misfit::TooShort));
        }
        self.judge_end()
    }

    /// The live attempt has failed.
    pub(super) fn fail(&mut self, failure: Failure) {
        let Some(mut live) = self.live.take() else {
            return;
        };
        let Failure { class, code, facts, misfit, blame, shown, reask, origin } = failure;
        self.flowing = None;
        live.state = live.state.take(AttemptStep::Fail, &mut self.coverage).unwrap_or(live.state);
        if origin == Origin::Engine {
            self.put(Output::Cancel { attempt: live.id });
        }
        if origin == Origin::Death {
            // What was kept was kept by the process that died: nobody has it to drop.
            self.waste.bytes += self.queue.bytes() as u64;
            self.queue.clear();
        }
        self.forget(&live, true);
        let retry_after = facts.retry_after();
        let throttled =
            class == FaultClass::Overload && facts.status.is_none_or(|status| status == 429 || status == 529);
        if origin == Origin::Death {
            self.ladder.forgive();
        } else {
            let retry_after = retry_after.map(|wait| u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
            let outcome = if facts.is_of_an_ended_loop() {
                AttemptOutcome::Stopped
            } else {
                AttemptOutcome::Failure { class, throttled, retry_after }
            };
            self.put(Output::Report { target: live.target, outcome });
        }
        if live.reasoning_shown {
            self.put(Output::Event(Event::ReasoningAbandoned { attempt: live.id }));
        }
        let context_length = facts.is_context_length();
        self.note_fault(Fault {
            attempt: Some(live.id),
            target: live.target,
            class,
            code,
            status: facts.status,
            request_id: facts.request_id,
            raised: origin == Origin::Exception,
            at: self.now,
        });
        self.condemned |= blame == Blame::Session;
        self.broke_in = if shown {
            BrokeIn::Shown
        } else if live.opaque_open {
            BrokeIn::Part
        } else if live.tools.any_open() {
            BrokeIn::Call
        } else if self.shown.size() > live.began_at {
            BrokeIn::Text
        } else {
            // It showed nothing: the break is where it was.
            self.broke_in
        };
        let (target, mode) = (live.target, live.mode);
        let setback =
            Setback { target, class, mode, throttled, retry_after, misfit, blame, reask, context_length };
        let (plan, position, limit) = (Arc::clone(&self.plan), self.position(), self.limit());
        let next = self.ladder.after(setback, &position, &plan.targets, &plan.policy, &mut self.dice, limit);
        self.go(next, Some(target));
    }

    /// Settles the accounts of an attempt that is over, and drops what of it is kept.
    pub(super) fn forget(&mut self, live: &Attempt, failed: bool) {
        self.degraded |= live.target != TargetId(0) && self.shown.size() > live.began_at;
        let used = live.usage.unwrap_or_default();
        self.usage = self.usage.plus(used);
        if failed {
            self.waste.usage = self.waste.usage.plus(used);
        }
        self.waste.bytes += self.queue.bytes() as u64;
        let kept = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        self.queue.clear();
        if kept > 0 {
            self.put(Output::Drop { chunks: kept });
        }
    }

    /// What the caller is told when nothing is left to try.
    pub(super) fn why_stop(&self) -> Ending {
        if self.condemned {
            return Ending::Content;
        }
        let real = || self.faults.iter().rev().filter(|fault| fault.class != FaultClass::Limited);
        let Some(last) = real().next() else {
            return Ending::Limited;
        };
        let raise = |fault: &Fault| match fault.attempt {
            Some(attempt) if fault.raised => Ending::Raise(attempt),
            _ => Ending::Refused,
        };
        match last.class {
            FaultClass::Internal | FaultClass::Refused => return raise(last),
            FaultClass::Cancelled => return Ending::Cancelled,
            _ if !self.shown.is_empty() => return Ending::Incomplete,
            _ => {}
        }
        if let Some(own) = real().find(|fault| fault.target == TargetId(0) && fault.class.is_the_callers()) {
            return raise(own);
        }
        if last.class == FaultClass::Content { Ending::Content } else { Ending::Exhausted }
    }

    pub(super) fn finish(&mut self, ending: Ending) {
        self.flowing = None;
        if let Some(granted) = self.next.take().filter(|_| self.state == SessionState::Waiting) {
            // The fleet has given a place, which nobody else would give back.
            self.put(Output::Report { target: granted.target, outcome: AttemptOutcome::Stopped });
        }
        let live = self.live.take();
        let served = live.as_ref().filter(|_| ending == Ending::Complete);
        let served_by = served.map(|live| live.target);
        let (finish, logprob) = served.map_or((None, None), |live| (live.finish.clone(), live.logprob));
        if let Some(mut live) = live {
            if ending != Ending::Complete {
                live.state = live.state.take(AttemptStep::Stop, &mut self.coverage).unwrap_or(live.state);
                self.put(Output::Cancel { attempt: live.id });
                self.put(Output::Report { target: live.target, outcome: AttemptOutcome::Stopped });
            }
            self.forget(&live, ending != Ending::Complete);
        }
        self.step(SessionStep::Finish);
        let unfit = self.is_unfit(ending);
        let (repaired, misfits) =
            (core::mem::take(&mut self.readings.repaired), core::mem::take(&mut self.readings.misfits));
        self.outcome = Some(Outcome {
            ending,
            attempts: self.attempts,
            served_by,
            degraded: self.degraded || served_by.is_some_and(|target| target.0 != 0),
            continued: !self.splices.is_empty(),
            resets: self.resets,
            splices: core::mem::take(&mut self.splices),
            faults: self.faults.clone(),
            objections: core::mem::take(&mut self.objections),
            drifts: self.drifts,
            repaired: if served_by.is_some() { repaired } else { Vec::new() },
            reasks: self.readings.reasks,
            misfits,
            unfit,
            finish,
            tool_calls: self.shown.tool_calls().cloned().collect(),
            usage: self.usage,
            waste: self.waste,
            logprob,
        });
        self.put(Output::Done);
    }

    pub(super) fn step(&mut self, step: SessionStep) {
        let next = self.state.take(step, &mut self.coverage);
        debug_assert!(next.is_some(), "the table has no row for {:?} in {:?}", step, self.state);
        self.state = next.unwrap_or(self.state);
    }

    /// Adds an output, joined to the last one where both say the same of more chunks.
    pub(super) fn put(&mut self, output: Output) {
        if self.plan.recorded {
            // An output of an earlier input, which a late driver left here, has its record there and stays as it is.
            if let (Some(Record::Decision(recorded)), Some(last)) =
                (self.records.last_mut(), self.outputs.back_mut())
                && join(last, &output)
            {
                join(recorded, &output);
                return;
            }
            self.records.push(Record::Decision(output.clone()));
        } else if self.outputs.back_mut().is_some_and(|last| join(last, &output)) {
            return;
        }
        self.outputs.push_back(output);
    }
}

/// Adds `output` to `last`, if both say the same of chunks next to each other.
const fn join(last: &mut Output, output: &Output) -> bool {
    match (last, output) {
        (Output::Release { chunks: all }, Output::Release { chunks })
        | (Output::Drop { chunks: all }, Output::Drop { chunks }) => {
            *all += *chunks;
            true
        }
        _ => false,
    }
}
