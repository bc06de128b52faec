//! What is still allowed, kept by somebody who has read the rules and not the engine.
//!
//! The ledger hears of every fault and every opened attempt, and says of each target whether another attempt on it is
//! *surely* allowed, *surely* not, or depends on what it cannot know (a draw of lots, a breaker). The oracle of
//! completion stands on it: a session that gives up while something is surely allowed has given up too early.

use core::time::Duration;

use l0_engine::{
    Fault, FaultClass, Instant, Mode, Policy, Prefill, Purpose, Refusal, Rung, Target, TargetId,
};

use crate::message::Message;

/// What is known of one target.
#[derive(Debug, Clone, Default)]
struct Standing {
    opened: bool,
    closed: Option<&'static str>,
    failed: Vec<Rung>,
    /// Rungs that brought nothing: others come first.
    empty: Vec<Rung>,
    unacceptable: u32,
    garbled: u32,
    /// The latest moment at which it is ready for another attempt.
    ready: Instant,
    /// The earliest.
    ready_at_best: Instant,
    /// Its breaker was seen open.
    breaker: bool,
}

/// What a fault left behind, beside the fault.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "what broke has nothing to do with what else did")]
pub struct Wreck {
    /// How the attempt was begun; nothing where there was none.
    pub mode: Option<Mode>,
    /// When the target asked to be asked again at the earliest.
    pub floor: Option<Duration>,
    /// Whether a call was open.
    pub in_call: bool,
    /// Whether a part was open.
    pub in_part: bool,
    /// Whether the attempt had shown anything.
    pub showed: bool,
    /// Whether the prompt was too long.
    pub too_long: bool,
}

/// The books of one session.
#[derive(Debug, Clone)]
pub struct Ledger {
    targets: Vec<Standing>,
    retries: u32,
    deaths: u32,
    /// Why it has to end now, if it has to.
    over: Option<&'static str>,
    in_call: bool,
    in_part: bool,
    asked_to_wait: bool,
    /// The target that failed last and what for, if it is to be tried first.
    last: Option<(TargetId, bool)>,
}

impl Ledger {
    /// Books of a session over so many targets.
    #[must_use]
    pub fn new(targets: usize) -> Self {
        let targets = vec![Standing::default(); targets];
        Self {
            targets,
            retries: 0,
            deaths: 0,
            over: None,
            in_call: false,
            in_part: false,
            asked_to_wait: false,
            last: None,
        }
    }

    /// Retries made.
    #[must_use]
    pub const fn retries(&self) -> u32 {
        self.retries
    }

    /// Times the process died.
    #[must_use]
    pub const fn deaths(&self) -> u32 {
        self.deaths
    }

    /// Whether a part or a call was cut, so that text alone cannot go on.
    #[must_use]
    pub const fn broke_inside(&self) -> bool {
        self.in_part || self.in_call
    }

    /// Whether a part was cut.
    #[must_use]
    pub const fn broke_in_part(&self) -> bool {
        self.in_part
    }

    /// Whether a target's breaker was seen open.
    #[must_use]
    pub fn has_breaker(&self, target: TargetId) -> bool {
        self.targets[target.0 as usize].breaker
    }

    /// Whether any target ever asked for a wait.
    #[must_use]
    pub const fn was_asked_to_wait(&self) -> bool {
        self.asked_to_wait
    }

    /// An attempt was opened.
    pub fn opened(&mut self, target: TargetId, purpose: Purpose) {
        let standing = &mut self.targets[target.0 as usize];
        standing.opened = true;
        if purpose != Purpose::First {
            self.retries += 1;
        }
        self.last = None;
    }

    /// The process died.
    pub fn died(&mut self, lost: bool) {
        self.deaths += u32::from(lost);
        self.last = None;
    }

    /// The consumer was told to discard.
    pub fn reset(&mut self) {
        (self.in_call, self.in_part) = (false, false);
    }

    /// Something failed.
    pub fn failed(&mut self, fault: &Fault, wreck: &Wreck, targets: &[Target], policy: &Policy) {
        let place = fault.target.0 as usize;
        if fault.attempt.is_some() && (wreck.showed || wreck.in_call || wreck.in_part) {
            (self.in_call, self.in_part) = (wreck.in_call, wreck.in_part);
        }
        let rung = wreck.mode.and_then(Mode::rung);
        let code = fault.code.as_deref().unwrap_or("");
        let misfit = matches!(code, "anchor_missing" | "diverged" | "too_short");
        let asked = rung.filter(|rung| *rung != Rung::Rerun);
        let longest = policy.retry.cap;
        let (least, most) = match wreck.floor {
            Some(floor) => (floor, floor.saturating_add(policy.retry.retry_after_slack)),
            None => (Duration::ZERO, longest),
        };
        let standing = &mut self.targets[place];
        if fault.attempt.is_some() {
            standing.ready = fault.at.after(most);
            standing.ready_at_best = fault.at.after(least);
        } else {
            standing.breaker |= code == "breaker_open";
        }
        self.asked_to_wait |= wreck.floor.is_some();
        let mut close = |why| standing.closed = standing.closed.or(Some(why));
        match fault.class {
            FaultClass::Network | FaultClass::Overload | FaultClass::Stall => {}
            FaultClass::Protocol => {
                standing.garbled += 1;
                if standing.garbled > 1 {
                    close("garbled twice");
                }
            }
            FaultClass::Content if misfit => standing.failed.extend(rung),
            FaultClass::Empty | FaultClass::Content => {
                if fault.class == FaultClass::Empty {
                    standing.empty.extend(rung);
                }
                standing.unacceptable += 1;
                if standing.unacceptable >= policy.retry.attempts {
                    close("attempts used up");
                }
            }
            FaultClass::Quota => close("quota"),
            FaultClass::Auth => {
                close("credentials");
                let label = targets[place].credentials.clone();
                for (other, target) in self.targets.iter_mut().zip(targets) {
                    if label.is_some() && target.credentials == label {
                        other.closed = other.closed.or(Some("the same credentials"));
                    }
                }
            }
            FaultClass::Request if asked.is_some() => standing.failed.extend(asked),
            FaultClass::Request if wreck.too_long => {
                let window = targets[place].context_window;
                for (other, target) in self.targets.iter_mut().zip(targets) {
                    let larger = window.zip(target.context_window).is_some_and(|(this, that)| that > this);
                    if !larger {
                        other.closed = other.closed.or(Some("the prompt does not fit"));
                    }
                }
            }
            FaultClass::Request => {
                close("the request is wrong");
                if place == 0 {
                    self.over = Some("the request is wrong");
                }
            }
            FaultClass::Refused => {
                close("declined");
                if policy.refusal == Refusal::Raise {
                    self.over = Some("declined");
                }
            }
            FaultClass::Limited => {
                if code == "retry_budget" {
                    close("retry budget");
                } else if targets.len() == 1 && standing.opened {
                    close("breaker of the only target");
                }
            }
            FaultClass::Cancelled | FaultClass::Internal => self.over = Some("not a target's fault"),
        }
        let unwell = !(misfit || fault.class == FaultClass::Request && asked.is_some());
        if !unwell {
            let standing = &mut self.targets[place];
            (standing.ready, standing.ready_at_best) = (fault.at, fault.at);
        }
        if fault.attempt.is_some() {
            self.last = Some((fault.target, wreck.floor.is_some() && unwell));
        } else {
            self.last = None;
        }
    }

    /// Why the session has to end although something may be left, if it has to.
    #[must_use]
    pub const fn over(&self) -> Option<&'static str> {
        self.over
    }

    /// The rungs that are surely allowed on a target after this much was shown, best first.
    #[must_use]
    pub fn rungs(&self, target: TargetId, shown: &Message, targets: &[Target], policy: &Policy) -> Vec<Rung> {
        let place = target.0 as usize;
        let standing = &self.targets[place];
        let text_alone = shown.marks.is_empty() && !is_json(&shown.text) && !self.broke_inside();
        let allowed = |rung: &Rung| match rung {
            Rung::Native => targets[place].native && standing.opened,
            Rung::Prefill => {
                targets[place].prefill == Prefill::Yes && text_alone && !shown.text.trim().is_empty()
            }
            // Whether there are words to repeat is the engine's to say.
            Rung::Prompt => false,
            Rung::Rerun | Rung::Reset => true,
        };
        let rungs = policy.continuation.rungs.iter().copied();
        rungs.filter(allowed).filter(|rung| !standing.failed.contains(rung)).collect()
    }

    /// Whether a rung has failed on a target.
    #[must_use]
    pub fn has_failed(&self, target: TargetId, rung: Rung) -> bool {
        self.targets[target.0 as usize].failed.contains(&rung)
    }

    /// Whether a rung has brought nothing on a target.
    #[must_use]
    pub fn was_empty(&self, target: TargetId, rung: Rung) -> bool {
        self.targets[target.0 as usize].empty.contains(&rung)
    }

    /// Why nothing more may be tried on a target, if nothing may.
    #[must_use]
    pub fn closed(&self, target: TargetId) -> Option<&'static str> {
        self.targets[target.0 as usize].closed
    }

    /// Whether another attempt on a target is surely allowed before `deadline`.
    #[must_use]
    pub fn surely(
        &self,
        target: TargetId,
        shown: &Message,
        targets: &[Target],
        policy: &Policy,
        (now, deadline): (Instant, Instant),
    ) -> bool {
        let standing = &self.targets[target.0 as usize];
        let left = !standing.opened || self.retries < policy.retry.max_retries + self.deaths;
        let in_time = standing.ready.max(now) < deadline;
        let rung = shown.is_empty() || !self.rungs(target, shown, targets, policy).is_empty();
        self.over.is_none() && standing.closed.is_none() && left && in_time && rung
    }

    /// The earliest moment a target may be ready.
    #[must_use]
    pub fn ready_at_best(&self, target: TargetId) -> Instant {
        self.targets[target.0 as usize].ready_at_best
    }

    /// The latest moment a target may be ready.
    #[must_use]
    pub fn ready(&self, target: TargetId) -> Instant {
        self.targets[target.0 as usize].ready
    }

    /// The target whose attempt has just failed, and whether it asked to be left alone for a while.
    #[must_use]
    pub const fn last(&self) -> Option<(TargetId, bool)> {
        self.last
    }
}

/// Whether a text is one JSON object or array, or the beginning of one.
#[must_use]
pub fn is_json(text: &str) -> bool {
    if !text.trim_start().starts_with(['{', '[']) {
        return false;
    }
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) => true,
        Err(error) => error.is_eof(),
    }
}
