//! What to try next after a fault: the same target on its next rung, another target, or nothing.

use core::time::Duration;

use smallvec::SmallVec;

use crate::fault::FaultClass;
use crate::fleet::Purpose;
use crate::instant::Instant;
use crate::jitter::Dice;
use crate::policy::{Policy, Refusal, Rung};
use crate::protocol::{Mode, TargetId};
use crate::session::Blame;
use crate::target::{Prefill, Target};

/// Where an answer broke off, as far as it decides how it can go on.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    /// Whether the consumer has been given anything.
    pub(crate) shown: bool,
    /// The rungs that can be right here, in the order they are tried.
    pub(crate) rungs: SmallVec<[Rung; 5]>,
    /// Whether there is text to begin from.
    pub(crate) has_prefix: bool,
    /// Whether there are words to repeat.
    pub(crate) has_anchor: bool,
}

/// What the ladder is told of a fault.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each read in one place")]
pub(crate) struct Setback {
    pub(crate) target: TargetId,
    pub(crate) class: FaultClass,
    /// How the attempt that failed was begun.
    pub(crate) mode: Mode,
    pub(crate) throttled: bool,
    pub(crate) retry_after: Option<Duration>,
    /// The answer could not be joined: its rung has failed.
    pub(crate) misfit: bool,
    /// Who is to blame for an answer that is not acceptable.
    pub(crate) blame: Blame,
    /// The target is told what to put right.
    pub(crate) reask: bool,
    /// The prompt does not fit the target's context.
    pub(crate) context_length: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    Try(Try),
    /// Nothing is left.
    Stop,
}

/// An attempt that is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Try {
    pub(crate) target: TargetId,
    pub(crate) mode: Mode,
    pub(crate) purpose: Purpose,
    /// Not before this moment.
    pub(crate) at: Instant,
    /// Tell the consumer to discard what it has.
    pub(crate) reset: bool,
    /// Pass over an open breaker.
    pub(crate) force: bool,
}

/// What is known of every target in this session.
#[derive(Debug, Clone)]
pub(crate) struct Ladder {
    slots: Vec<Slot>,
    retries: u32,
    /// Attempts that were lost with their process, and count as if they had not been.
    forgiven: u32,
}

#[derive(Debug, Clone, Default)]
struct Slot {
    /// Nothing more is tried here.
    closed: bool,
    opened: bool,
    ready_at: Instant,
    /// The wait drawn after its last fault.
    last_wait: Duration,
    /// Until when its breaker is known to be open.
    breaker_until: Option<Instant>,
    retries: u32,
    unacceptable: u32,
    garbled: u32,
    throttled: bool,
    failed_rungs: SmallVec<[Rung; 5]>,
    /// Rungs that brought nothing: they have not failed, but others come first.
    empty_rungs: SmallVec<[Rung; 5]>,
}

impl Ladder {
    pub(crate) fn new(targets: usize) -> Self {
        Self { slots: vec![Slot::default(); targets], retries: 0, forgiven: 0 }
    }

    /// The first attempt of the session.
    pub(crate) fn first(
        &self,
        position: &Position,
        targets: &[Target],
        policy: &Policy,
        limit: Limit,
    ) -> Move {
        self.choose(None, false, position, targets, policy, limit)
    }

    /// An attempt was opened.
    pub(crate) fn opened(&mut self, tried: &Try) {
        if tried.purpose != Purpose::First {
            self.retries += 1;
        }
        if let Some(slot) = self.slots.get_mut(tried.target.0 as usize) {
            if slot.opened {
                slot.retries += 1;
            }
            slot.opened = true;
            slot.breaker_until = None;
        }
    }

    /// The process died and is back: the attempt that was lost costs nothing.
    pub(crate) fn forgive(&mut self) {
        self.forgiven = self.forgiven.saturating_add(1);
    }

    /// An attempt failed.
    pub(crate) fn after(
        &mut self,
        setback: Setback,
        position: &Position,
        targets: &[Target],
        policy: &Policy,
        dice: &mut Dice,
        limit: Limit,
    ) -> Move {
        let here = setback.target.0 as usize;
        if !self.note(setback, targets, policy) {
            return Move::Stop;
        }
        let retry = &policy.retry;
        let wait = if setback.misfit
            || setback.reask
            || (setback.class == FaultClass::Request && setback.mode != Mode::Fresh)
        {
            // The target is well; it was asked in a way it could not follow.
            Duration::ZERO
        } else if let Some(floor) = setback.retry_after {
            dice.between(floor, floor.saturating_add(retry.retry_after_slack))
        } else {
            let base = if setback.class == FaultClass::Overload { retry.base_overload } else { retry.base };
            let (n, last) =
                self.slots.get(here).map_or((0, Duration::ZERO), |slot| (slot.retries, slot.last_wait));
            dice.backoff(retry.jitter, n, base, retry.cap, last)
        };
        if let Some(slot) = self.slots.get_mut(here) {
            slot.last_wait = wait;
            slot.ready_at = limit.now.after(wait);
            slot.throttled = setback.throttled;
        }
        self.choose(Some(here), setback.retry_after.is_some(), position, targets, policy, limit)
    }

    /// The fleet's breaker keeps a target closed.
    pub(crate) fn breaker_open(
        &mut self,
        target: TargetId,
        until: Instant,
        position: &Position,
        targets: &[Target],
        policy: &Policy,
        limit: Limit,
    ) -> Move {
        let only = targets.len() == 1;
        if let Some(slot) = self.slots.get_mut(target.0 as usize) {
            slot.breaker_until = Some(until);
            // With nothing to replace it, a breaker limits retries and nothing else.
            slot.closed |= only && slot.opened;
        }
        self.choose(None, false, position, targets, policy, limit)
    }

    /// The retry budget of a target is empty.
    pub(crate) fn over_budget(
        &mut self,
        target: TargetId,
        position: &Position,
        targets: &[Target],
        policy: &Policy,
        limit: Limit,
    ) -> Move {
        if let Some(slot) = self.slots.get_mut(target.0 as usize) {
            slot.closed = true;
        }
        self.choose(None, false, position, targets, policy, limit)
    }

    /// Notes what a fault says of the targets. False where it is the caller's to know at once.
    fn note(&mut self, setback: Setback, targets: &[Target], policy: &Policy) -> bool {
        let here = setback.target.0 as usize;
        let rung = setback.mode.rung();
        let Some(slot) = self.slots.get_mut(here) else {
            return false;
        };
        if setback.blame == Blame::Session {
            return false;
        }
        match setback.class {
            FaultClass::Network | FaultClass::Overload | FaultClass::Stall => {}
            FaultClass::Protocol => {
                slot.garbled += 1;
                slot.closed |= slot.garbled > 1;
            }
            FaultClass::Content if setback.misfit => slot.failed_rungs.extend(rung),
            FaultClass::Empty | FaultClass::Content => {
                if setback.class == FaultClass::Empty {
                    slot.empty_rungs.extend(rung);
                }
                slot.unacceptable += 1;
                slot.closed |= slot.unacceptable >= policy.retry.attempts || setback.blame == Blame::Target;
            }
            FaultClass::Quota | FaultClass::Limited => slot.closed = true,
            FaultClass::Auth => {
                slot.closed = true;
                let label = targets.get(here).and_then(|target| target.credentials.as_ref());
                for (slot, target) in self.slots.iter_mut().zip(targets) {
                    slot.closed |= label.is_some() && target.credentials.as_ref() == label;
                }
            }
            // A target that refuses a continuation may still answer another one, or start over.
            FaultClass::Request if rung.is_some_and(|rung| rung != Rung::Rerun) => {
                slot.failed_rungs.extend(rung);
            }
            FaultClass::Request if setback.context_length => {
                let window = targets.get(here).and_then(|target| target.context_window);
                for (slot, target) in self.slots.iter_mut().zip(targets) {
                    let larger =
                        matches!((window, target.context_window), (Some(this), Some(other)) if other > this);
                    slot.closed |= !larger;
                }
            }
            FaultClass::Request => {
                slot.closed = true;
                return here != 0;
            }
            FaultClass::Refused => {
                slot.closed = true;
                return policy.refusal == Refusal::Next;
            }
            FaultClass::Cancelled | FaultClass::Internal => return false,
        }
        true
    }

    /// The best attempt that is allowed: where we are, else the next target in order, else the one that is ready first.
    fn choose(
        &self,
        here: Option<usize>,
        asked_to_wait: bool,
        position: &Position,
        targets: &[Target],
        policy: &Policy,
        limit: Limit,
    ) -> Move {
        let tries: SmallVec<[Try; 4]> = (0..targets.len())
            .filter_map(|place| self.possible(place, position, targets, policy, limit))
            .collect();
        let open = |tried: &&Try| {
            let until = self.slots.get(tried.target.0 as usize).and_then(|slot| slot.breaker_until);
            until.is_none_or(|until| until <= limit.now)
        };
        let stay = here.and_then(|here| tries.iter().find(|tried| tried.target.0 as usize == here));
        let sooner = |tried: &&Try| stay.is_none_or(|stay| tried.at < stay.at);
        let start = here.map_or(0, |here| here + 1);
        let in_order = || {
            let after = tries.iter().filter(move |tried| tried.target.0 as usize >= start);
            let before = tries.iter().filter(move |tried| (tried.target.0 as usize) < start);
            after.chain(before)
        };
        if let Some(stay) = stay {
            if !asked_to_wait {
                return Move::Try(*stay);
            }
            let elsewhere = in_order().filter(open).filter(sooner).min_by_key(|tried| tried.at);
            return Move::Try(*elsewhere.unwrap_or(stay));
        }
        if let Some(next) = in_order().filter(open).min_by_key(|tried| tried.at) {
            return Move::Try(*next);
        }
        // Every target left has an open breaker: the one that reopens first is tried all the same.
        let first = tries.iter().min_by_key(|tried| self.slots[tried.target.0 as usize].breaker_until);
        first.map_or(Move::Stop, |tried| Move::Try(Try { force: true, ..*tried }))
    }

    /// The attempt that could be made on a target, if one could.
    fn possible(
        &self,
        place: usize,
        position: &Position,
        targets: &[Target],
        policy: &Policy,
        limit: Limit,
    ) -> Option<Try> {
        let (slot, target) = (self.slots.get(place)?, targets.get(place)?);
        let spent = slot.opened && self.retries >= policy.retry.max_retries.saturating_add(self.forgiven);
        let at = slot.ready_at.max(limit.now);
        if slot.closed || spent || at >= limit.deadline {
            return None;
        }
        let (mode, reset) = if position.shown {
            let mut taken = position.rungs.iter().filter(|rung| slot.takes(**rung, target, position));
            let best = taken.clone().find(|rung| !slot.empty_rungs.contains(rung));
            let rung = best.or_else(|| taken.next())?;
            match rung {
                Rung::Native => (Mode::Native, false),
                Rung::Prefill => (Mode::Prefill, false),
                Rung::Prompt => (Mode::Prompt, false),
                Rung::Rerun => (Mode::Rerun, false),
                Rung::Reset => (Mode::Fresh, true),
            }
        } else {
            (Mode::Fresh, false)
        };
        let purpose = match (slot.opened, slot.throttled) {
            (false, _) => Purpose::First,
            (true, false) => Purpose::Retry,
            (true, true) => Purpose::RetryThrottled,
        };
        let target = TargetId(u32::try_from(place).ok()?);
        Some(Try { target, mode, purpose, at, reset, force: false })
    }
}

impl Slot {
    fn takes(&self, rung: Rung, target: &Target, position: &Position) -> bool {
        !self.failed_rungs.contains(&rung)
            && match rung {
                Rung::Native => target.native && self.opened,
                Rung::Prefill => target.prefill == Prefill::Yes && position.has_prefix,
                Rung::Prompt => position.has_anchor,
                Rung::Rerun | Rung::Reset => true,
            }
    }
}

/// The time there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) now: Instant,
    pub(crate) deadline: Instant,
}
