//! What arrives from the live attempt, and what of it the consumer is given.

use core::time::Duration;
use std::borrow::Cow;

use smallvec::SmallVec;

use super::ending::{Failure, Origin};
use super::{Blame, LEADING_BLANKS_MAX, Session};
use crate::attempt::Attempt;
use crate::fault::FaultClass;
use crate::outcome::Finish;
use crate::policy::Delivery;
use crate::protocol::{AttemptId, Event, Output, Part, Signal, Splice};
use crate::queue::Item;
use crate::shown::{Marked, Shown};
use crate::splice::{Look, Method, Misfit, Seam};
use crate::state::AttemptState;

/// Why a look at what arrived ends the attempt.
pub(super) struct Broken {
    pub(super) class: FaultClass,
    pub(super) code: Cow<'static, str>,
    pub(super) misfit: bool,
    pub(super) blame: Blame,
    /// The fault is in what the consumer has been given.
    pub(super) shown: bool,
}

impl Broken {
    pub(super) const fn of(class: FaultClass, code: &'static str) -> Self {
        Self { class, code: Cow::Borrowed(code), misfit: false, blame: Blame::Attempt, shown: false }
    }

    pub(super) fn seam(misfit: Misfit) -> Self {
        let code = match misfit {
            Misfit::AnchorMissing => "anchor_missing",
            Misfit::Diverged => "diverged",
            Misfit::TooShort => "too_short",
        };
        Self { misfit: true, ..Self::of(FaultClass::Content, code) }
    }
}

impl Session {
    pub(super) fn is_live(&self, attempt: AttemptId) -> bool {
        self.live.as_ref().is_some_and(|live| live.id == attempt)
    }

    pub(super) fn take_text(&mut self, attempt: AttemptId, text: &str) -> Signal {
        if !self.is_live(attempt) || self.is_concluding() {
            return Signal::Skip;
        }
        if self.now >= self.deadline {
            return self.come_late(text);
        }
        self.opened(attempt);
        let Some(live) = &mut self.live else {
            return Signal::Skip;
        };
        if !text.is_empty() {
            live.silent = Duration::ZERO;
            live.phase = crate::attempt::Phase::Text;
            live.has_content |= !text.trim().is_empty();
        }
        let item = Item::of_text(live.bytes, text);
        live.bytes += text.len();
        self.take_item(item, text)
    }

    pub(super) fn take_part(&mut self, attempt: AttemptId, waited: Duration, part: &Part) -> Signal {
        if !self.is_live(attempt) || self.is_concluding() {
            return Signal::Skip;
        }
        if self.now >= self.deadline {
            if let Some(live) = &mut self.live {
                live.usage = part.usage.or(live.usage);
            }
            return self.come_late(&part.text);
        }
        self.opened(attempt);
        let Some(live) = &mut self.live else {
            return Signal::Skip;
        };
        let item = Item::of_part(live.bytes, part);
        live.bytes += part.text.len();
        let follows = live.note(part, waited);
        let malformed = part.tools.iter().any(|fragment| live.tools.feed(fragment).is_err());
        if live.finish.as_ref().is_some_and(Finish::is_whole) {
            live.tools.finish();
        }
        let failed = live.finish == Some(Finish::Error);
        let waits = !part.is_content() && !live.said_it_ended();
        let broken = if !follows {
            Broken::of(FaultClass::Network, "sequence_gap")
        } else if malformed {
            Broken::of(FaultClass::Content, "tool_args")
        } else if failed {
            Broken::of(FaultClass::Overload, "finish_error")
        } else if let Some(clock) = self.clock_run_out().filter(|_| waits) {
            // Its timer is late: a target that keeps on saying nothing may keep it from ever ringing.
            Broken::of(FaultClass::Stall, clock)
        } else {
            return self.take_item(item, &part.text);
        };
        self.queue.push(item, &part.text);
        self.break_off(&broken)
    }

    /// A chunk came after the deadline and before the timer: it is kept and dropped, and the session ends.
    fn come_late(&mut self, text: &str) -> Signal {
        self.waste.bytes += text.len() as u64;
        let start = self.live.as_ref().map_or(0, |live| live.bytes);
        self.queue.push(Item::to_drop(start), "");
        self.run_out();
        Signal::Drain
    }

    /// The chunk that came last ends its attempt. It is kept, and dropped with the others.
    pub(super) fn break_off(&mut self, broken: &Broken) -> Signal {
        self.fail(Failure::seen(broken, Origin::Engine));
        Signal::Drain
    }

    pub(super) fn take_item(&mut self, item: Item, text: &str) -> Signal {
        if self.passes(&item) {
            self.give(&item, text, text);
            self.reflow();
            return Signal::Pass;
        }
        self.queue.push(item, text);
        if let Err(broken) = self.settle().and_then(|()| self.judge()) {
            return self.break_off(&broken);
        }
        self.let_go()
    }

    /// Gives what can be given, and says so.
    pub(super) fn let_go(&mut self) -> Signal {
        self.release();
        self.reflow();
        if self.outputs.is_empty() { Signal::Hold } else { Signal::Drain }
    }

    /// Whether an item can go to the consumer as it comes.
    pub(super) fn passes(&self, item: &Item) -> bool {
        let Some(live) = &self.live else { return false };
        self.queue.is_empty()
            && live.seam.is_none()
            && !live.is_behind()
            && self.delivers_at_once()
            && (live.has_content || item.reasoning)
            && item.calls.is_empty()
            && (live.guard.is_none() || item.bytes == 0)
            && is_settled(live, item)
    }

    pub(super) fn delivers_at_once(&self) -> bool {
        self.plan.streamed && self.plan.policy.delivery != Delivery::Whole && !self.reads_calls
    }

    /// Sees whether plain text needs a second look from now on.
    pub(super) fn reflow(&mut self) {
        let flows = |live: &&Attempt| {
            live.state == AttemptState::Reading
                && live.seam.is_none()
                && live.has_content
                && self.queue.is_empty()
                && self.delivers_at_once()
                && !live.is_behind()
        };
        self.flowing = self.live.as_ref().filter(flows).map(|live| live.id);
    }

    /// Moves kept chunks forward that are complete, and holds them against what the consumer has.
    pub(super) fn settle(&mut self) -> Result<(), Broken> {
        while self.queue.settled < self.queue.len() {
            let place = self.queue.settled;
            let Some(live) = &self.live else { return Ok(()) };
            if !self.queue.is_complete(place, |item| is_settled(live, item)) {
                return Ok(());
            }
            self.match_text(place)?;
            self.match_marks(place)?;
            self.queue.settled = place + 1;
        }
        Ok(())
    }

    pub(super) fn match_text(&mut self, place: usize) -> Result<(), Broken> {
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        let text = self.queue.text_of(place);
        if text.is_empty() {
            return Ok(());
        }
        let mut new = text;
        if let Some(seam) = &mut live.seam {
            match seam.feed(self.shown.as_expected_of(live.mode), text) {
                Look::Undecided => return Ok(()),
                Look::Failed(misfit) => return Err(Broken::seam(misfit)),
                Look::Repeats => {
                    if let Some(item) = self.queue.item_mut(place) {
                        item.skip = item.bytes;
                        item.repeated = item.bare;
                    }
                    return Ok(());
                }
                Look::Joined { cut, method } => {
                    self.join(cut, method);
                    let skip = self.queue.item(place).map_or(0, |item| item.skip);
                    new = self.queue.text_of(place).get(skip..).unwrap_or("");
                }
            }
        }
        let behind = self.live.as_ref().is_some_and(Attempt::is_behind);
        // What was shown went on with a call or a part here, and this answer goes on with text.
        if behind && !new.trim().is_empty() { Err(Broken::seam(Misfit::Diverged)) } else { Ok(()) }
    }

    pub(super) fn match_marks(&mut self, place: usize) -> Result<(), Broken> {
        let (Some(item), Some(live)) = (self.queue.item(place), &mut self.live) else {
            return Ok(());
        };
        if item.calls.is_empty() && item.opaque.is_none() {
            return Ok(());
        }
        let (mut old, mut new) = (false, false);
        for &call in &item.calls {
            let known = live.judged_calls.iter().find(|judged| judged.0 == call).map(|judged| judged.1);
            let repeats = match (known, live.tools.get(call).cloned()) {
                (Some(repeats), _) => repeats,
                (None, Some(made)) => repeats_mark(live, &self.shown, &Marked::Call(made))?,
                (None, None) => false,
            };
            if known.is_none() {
                live.judged_calls.push((call, repeats));
            }
            old |= repeats;
            new |= !repeats;
        }
        if let Some(part) = item.opaque {
            let repeats = repeats_mark(live, &self.shown, &Marked::Opaque(part))?;
            old |= repeats;
            new |= !repeats;
        }
        if old && new {
            // One chunk holds what the consumer has and what it has not: it cannot be given in part.
            return Err(Broken::seam(Misfit::Diverged));
        }
        if new {
            return self.close_seam();
        }
        if let Some(item) = self.queue.item_mut(place) {
            item.repeated = true;
        }
        Ok(())
    }

    /// The answer goes on with something other than text, or ends: its beginning must be joined by now.
    pub(super) fn close_seam(&mut self) -> Result<(), Broken> {
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        let Some(seam) = &mut live.seam else {
            return Ok(());
        };
        match seam.finish(self.shown.as_expected_of(live.mode)) {
            Look::Joined { cut, method } => {
                self.join(cut, method);
                Ok(())
            }
            Look::Failed(misfit) => Err(Broken::seam(misfit)),
            Look::Undecided | Look::Repeats => Err(Broken::seam(Misfit::TooShort)),
        }
    }

    pub(super) fn join(&mut self, cut: usize, method: Method) {
        let Some(live) = &mut self.live else { return };
        live.seam = None;
        self.queue.cut(cut);
        let splice = Splice {
            attempt: live.id,
            mode: live.mode,
            method,
            at: self.shown.text().len() as u64,
            dropped: cut as u64,
        };
        self.splices.push(splice.clone());
        self.put(Output::Event(Event::Splice(splice)));
    }

    /// Gives the consumer what is settled, if it may have it yet.
    pub(super) fn release(&mut self) {
        let Some(live) = &self.live else { return };
        let served = live.state == AttemptState::Served;
        let reasons = live.reasoning_shown || self.queue.reasons;
        let blank = !live.has_content && self.queue.len() < LEADING_BLANKS_MAX;
        // While it has yet to repeat what the consumer has, even white space may belong to another answer.
        let joined = live.seam.is_none() && !live.is_behind();
        let may_give = served || (joined && self.delivers_at_once());
        while let Some(item) = self.queue.item(0).filter(|_| self.queue.settled > 0) {
            let held = || self.held_from().is_some_and(|from| item.bytes - item.skip > from);
            let awaited = self.asks && self.queue.awaits_word();
            // Reasoning is not kept waiting for an answer. White space is: that may be all there is of this one.
            let waits = blank && (!reasons || (item.bytes > 0 && !item.reasoning));
            if !item.repeated && (!may_give || (!served && (awaited || waits || held()))) {
                return;
            }
            let Some((item, text, output)) = self.queue.pop() else {
                return;
            };
            self.waste.bytes += item.skip as u64;
            if item.repeated {
                self.put(output);
                continue;
            }
            let new = text.get(item.skip..).unwrap_or("");
            if let Some((text, calls)) = self.rewritten(&item, new) {
                let at = self.shown.text().len() as u64;
                self.give(&item, text.as_deref().unwrap_or(new), new);
                let gone = item.bare && text.as_ref().is_some_and(String::is_empty);
                self.put(if gone { Output::Drop { chunks: 1 } } else { Output::Rewrite { text, at, calls } });
            } else if let Some(masked) = self.masked(new) {
                let at = self.shown.text().len() as u64;
                self.give(&item, &masked, new);
                let gone = masked.is_empty() && item.bare;
                self.put(if gone { Output::Drop { chunks: 1 } } else { Output::Mask { text: masked, at } });
            } else {
                self.give(&item, new, new);
                self.put(output);
            }
        }
    }

    /// The consumer has it now: a text, in the place of what was said.
    pub(super) fn give(&mut self, item: &Item, text: &str, said: &str) {
        if text != said {
            self.shown.push_instead(text, said);
        } else if !text.is_empty() {
            self.shown.push(text);
        }
        let Some(live) = &mut self.live else { return };
        live.reasoning_shown |= item.reasoning;
        if let Some(opaque) = item.opaque {
            self.shown.mark(Marked::Opaque(opaque));
        }
        let mut released: SmallVec<[Event; 2]> = SmallVec::new();
        for &call in &item.calls {
            if live.released_calls.contains(&call) {
                continue;
            }
            live.released_calls.push(call);
            if let Some(call) = live.tools.get(call).cloned() {
                let number = u32::try_from(self.shown.tool_calls().count()).unwrap_or(u32::MAX);
                self.shown.mark(Marked::Call(call));
                released.push(Event::ToolCall { number });
            }
        }
        for event in released {
            self.put(Output::Event(event));
        }
    }
}

/// Whether everything in a kept chunk has come to its end.
fn is_settled(live: &Attempt, item: &Item) -> bool {
    item.calls.iter().all(|&call| live.tools.is_complete(call))
        && (!live.opaque_open || !item.opaque.is_some_and(|opaque| opaque.open))
}

/// Whether a call or a part is the next one the consumer has, in the same place.
fn repeats_mark(live: &mut Attempt, shown: &Shown, what: &Marked) -> Result<bool, Broken> {
    if !live.is_behind() {
        return Ok(false);
    }
    let Some(mark) = shown.marks().get(live.repeated_marks) else {
        return Ok(false);
    };
    let same = match (&mark.what, what) {
        (Marked::Call(given), Marked::Call(call)) => given.asks_the_same(call),
        (Marked::Opaque(given), Marked::Opaque(part)) => given.digest == part.digest,
        _ => false,
    };
    let text = shown.said();
    let leading = text.len() - text.trim_start().len();
    let here = live.seam.as_ref().and_then(Seam::covered).map_or(text.len(), |covered| covered + leading);
    let between = text.get(mark.at.min(here)..mark.at.max(here)).unwrap_or("x");
    if !same || !between.trim().is_empty() {
        return Err(Broken::seam(Misfit::Diverged));
    }
    live.repeated_marks += 1;
    Ok(true)
}
