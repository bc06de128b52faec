//! Whether everything was right: one judge per session, who reads the journal and the effects and knows what every
//! upstream meant.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use l0_engine::{
    AttemptId, Delivery, Ending, Event, Fault, FaultClass, Finish, Input, Instant, Mode, Output, Part, Plan,
    Purpose, Record, Rung, Signal, TargetId, Usage,
};

use crate::driver::{Chunk, Driver, Opening, Piece, rewrite};
use crate::ledger::{Ledger, Wreck, is_json};
use crate::message::{Making, Mark, Message};
use crate::tally::{Promise, Tally, Violation};
use crate::upstream::{Expect, says_end};
use crate::world::{Stream, broken};

type Verdict = Result<(), Violation>;

/// How much later than due a timer may ring in this world.
const LATE: Duration = Duration::from_millis(1_600);

/// A judge of one session.
pub(crate) struct Judge {
    plan: Arc<Plan>,
    ledger: Ledger,
    making: Making,
    given: Vec<Piece>,
    /// How much of the journal has been read.
    noted: usize,
    asked: Option<(TargetId, Purpose)>,
    attempts: Vec<(AttemptId, TargetId, Mode)>,
    /// The attempt that is live according to the journal.
    live: Option<AttemptId>,
    heard: Vec<Heard>,
    began: Instant,
    deadline: Instant,
    faults: usize,
    resets: u32,
    waited: Duration,
    /// How long the read has been pending that the timer has just rung for.
    pending: Option<Duration>,
    died: bool,
    over: bool,
}

/// What has been read of an attempt.
#[derive(Debug, Clone, Default)]
struct Heard {
    attempt: u32,
    /// How long reads have been pending since the last content.
    quiet: Duration,
    /// The last part with content.
    last: Option<Part>,
    /// When it said that it was at its end.
    ended: Option<Instant>,
    word: Option<String>,
    usage: Option<Usage>,
}

impl Judge {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            plan: Arc::new(plan.clone()),
            ledger: Ledger::new(plan.targets.len()),
            making: Making::default(),
            given: Vec::new(),
            noted: 0,
            asked: None,
            attempts: Vec::new(),
            live: None,
            heard: Vec::new(),
            began: Instant(0),
            deadline: Instant(u64::MAX),
            faults: 0,
            resets: 0,
            waited: Duration::ZERO,
            pending: None,
            died: false,
            over: false,
        }
    }

    pub(crate) const fn message(&self) -> &Message {
        self.making.message()
    }

    pub(crate) const fn is_over(&self) -> bool {
        self.over
    }

    pub(crate) fn begins(&mut self, now: Instant) {
        let total = now.after(self.plan.policy.timeouts.total);
        self.deadline = self.plan.deadline.unwrap_or(total).min(total);
        self.began = now;
    }

    pub(crate) fn begins_anew(&mut self, now: Instant) {
        self.deadline = now.after(self.plan.policy.timeouts.total);
    }

    pub(crate) fn rings(&mut self, waited: Option<Duration>) {
        self.pending = waited;
    }

    fn is_whole(&self, target: TargetId) -> bool {
        !self.plan.streamed || self.plan.targets[target.0 as usize].whole
    }

    fn heard(&mut self, attempt: AttemptId) -> &mut Heard {
        let place = self.heard.iter().position(|heard| heard.attempt == attempt.0);
        let place = place.unwrap_or_else(|| {
            self.heard.push(Heard { attempt: attempt.0, ..Heard::default() });
            self.heard.len() - 1
        });
        &mut self.heard[place]
    }

    /// The silence that is allowed after what was heard last.
    fn patience(&self, heard: &Heard, target: TargetId) -> Duration {
        let clocks = &self.plan.policy.timeouts;
        match &heard.last {
            _ if heard.ended.is_some() => clocks.linger,
            None if self.plan.targets[target.0 as usize].reasons => clocks.first_reasoning,
            None => clocks.first,
            Some(part) if !part.tools.is_empty() => clocks.tool_args,
            Some(part) if part.reasoning => clocks.reasoning,
            Some(_) => clocks.text,
        }
    }

    /// A chunk is read.
    pub(crate) fn reads(
        &mut self,
        stream: (AttemptId, TargetId),
        chunk: &Chunk,
        waited: Duration,
        now: Instant,
    ) -> Verdict {
        let (attempt, target) = stream;
        self.pending = None;
        let heard = self.heard(attempt).clone();
        let silence = heard.quiet + waited;
        if !self.is_whole(target) && silence > self.patience(&heard, target) + LATE && now < self.deadline {
            return Err(broken(
                Promise::G3,
                format!("{silence:?} of silence went unnoticed after {:?}", heard.last),
            ));
        }
        let heard = self.heard(attempt);
        let part = &chunk.part;
        if part.is_content() {
            heard.quiet = Duration::ZERO;
            heard.last = Some(part.clone());
        } else {
            heard.quiet = silence;
        }
        if says_end(part) && heard.ended.is_none() {
            heard.ended = Some(now);
            heard.quiet = Duration::ZERO;
        }
        heard.word = part.finish.clone().or_else(|| heard.word.take()).or_else(|| part.status.clone());
        heard.usage = part.usage.or(heard.usage);
        Ok(())
    }

    /// Reads on in the journal.
    pub(crate) fn follow(&mut self, driver: &Driver, streams: &[Stream], tally: &mut Tally) -> Verdict {
        let journal = driver.journal();
        while self.noted < journal.len() {
            let record = &journal[self.noted];
            self.noted += 1;
            match record {
                Record::Input { input: Input::Resume, .. } => {
                    self.ledger.died(self.live.is_some());
                    self.died = true;
                }
                Record::Decision(Output::Ask { target, purpose, .. }) => {
                    self.check_target(*target, record_time(journal, self.noted), tally)?;
                    self.asked = Some((*target, *purpose));
                }
                Record::Decision(Output::Reset) => {
                    self.check_reset(tally)?;
                    self.ledger.reset();
                }
                Record::Decision(Output::Open { attempt, target, mode }) => {
                    self.check_mode(*target, *mode, tally)?;
                    let purpose = self.asked.map_or(Purpose::First, |asked| asked.1);
                    self.ledger.opened(*target, purpose);
                    self.attempts.push((*attempt, *target, *mode));
                    self.live = Some(*attempt);
                }
                Record::Decision(Output::Event(Event::Fault(fault))) => {
                    self.faults += 1;
                    self.fault(fault, &journal[..self.noted], streams, tally)?;
                    if fault.attempt.is_some() {
                        self.live = None;
                    }
                }
                Record::Decision(Output::Done) => self.live = None,
                _ => {}
            }
        }
        Ok(())
    }

    /// The fleet is asked about a target: it must be one that may be tried, and the right one.
    fn check_target(&self, target: TargetId, now: Instant, tally: &mut Tally) -> Verdict {
        tally.checked(Promise::G4);
        let (targets, policy) = (&self.plan.targets, &self.plan.policy);
        if let Some(why) = self.ledger.closed(target) {
            return Err(broken(Promise::G4, format!("{target:?} is tried again after: {why}")));
        }
        if let Some(why) = self.ledger.over() {
            return Err(broken(Promise::G4, format!("{target:?} is tried after: {why}")));
        }
        let Some((last, asked_to_wait)) = self.ledger.last() else { return Ok(()) };
        let time = (now, self.deadline);
        let surely = |target| self.ledger.surely(target, self.message(), targets, policy, time);
        if target == last {
            if asked_to_wait && let Some(other) = self.sooner(last, now, &surely) {
                let what = format!("{last:?} is waited for, though {other:?} is ready sooner");
                return Err(broken(Promise::G4, what));
            }
            return Ok(());
        }
        if surely(last) && !asked_to_wait {
            return Err(broken(
                Promise::G4,
                format!("{last:?} was left for {target:?} though it could go on"),
            ));
        }
        if asked_to_wait {
            let late = self.ledger.ready_at_best(target) >= self.ledger.ready(last) && surely(last);
            return if late {
                Err(broken(
                    Promise::G4,
                    format!("{last:?} was left for {target:?}, which is ready no sooner"),
                ))
            } else {
                Ok(())
            };
        }
        // Fallbacks in order: none that was surely ready may be passed over.
        let count = targets.len();
        let mut passed = (last.0 as usize + 1) % count;
        while passed != target.0 as usize {
            let between = TargetId(u32::try_from(passed).unwrap_or(0));
            if surely(between) && self.ledger.ready(between) <= now && !self.ledger.has_breaker(between) {
                return Err(broken(Promise::G4, format!("{between:?} was passed over for {target:?}")));
            }
            passed = (passed + 1) % count;
        }
        Ok(())
    }

    /// A target that is surely ready before the one that asked to be left alone.
    fn sooner(&self, last: TargetId, now: Instant, surely: &dyn Fn(TargetId) -> bool) -> Option<TargetId> {
        let ids = (0..self.plan.targets.len()).map(|at| TargetId(u32::try_from(at).unwrap_or(0)));
        ids.filter(|other| *other != last && !self.ledger.has_breaker(*other)).find(|other| {
            surely(*other) && self.ledger.ready(*other).max(now) < self.ledger.ready_at_best(last)
        })
    }

    fn check_reset(&self, tally: &mut Tally) -> Verdict {
        tally.checked(Promise::G1);
        let rungs = &self.plan.policy.continuation.rungs;
        let Some(place) = rungs.iter().position(|rung| *rung == Rung::Reset) else {
            return Err(broken(Promise::G1, "the consumer did not opt in to a reset".into()));
        };
        self.check_rung(Rung::Reset, &rungs[..place])
    }

    /// An attempt on a target is begun like this: it must be the best way that is left.
    fn check_mode(&self, target: TargetId, mode: Mode, tally: &mut Tally) -> Verdict {
        tally.checked(Promise::G4);
        let Some(rung) = mode.rung() else { return Ok(()) };
        let shown = self.message();
        let traits = &self.plan.targets[target.0 as usize];
        let text_alone = shown.marks.is_empty() && !is_json(&shown.text) && !self.ledger.broke_in_part();
        let wrong = match rung {
            Rung::Native => !traits.native,
            Rung::Prefill => traits.prefill != l0_engine::Prefill::Yes || !text_alone,
            Rung::Prompt => !text_alone,
            Rung::Rerun | Rung::Reset => false,
        };
        if wrong {
            return Err(broken(
                Promise::G1,
                format!("{mode:?} on {traits:?} cannot be right after {shown:?}"),
            ));
        }
        let rungs = &self.plan.policy.continuation.rungs;
        let Some(place) = rungs.iter().position(|allowed| *allowed == rung) else {
            return Err(broken(Promise::G4, format!("{rung:?} is not among the rungs {rungs:?}")));
        };
        if self.ledger.has_failed(target, rung) {
            return Err(broken(Promise::G4, format!("{rung:?} has failed on {target:?} and is taken again")));
        }
        self.check_rung_on(target, rung, &rungs[..place])
    }

    fn check_rung(&self, rung: Rung, better: &[Rung]) -> Verdict {
        self.asked.map_or(Ok(()), |(target, _)| self.check_rung_on(target, rung, better))
    }

    fn check_rung_on(&self, target: TargetId, rung: Rung, better: &[Rung]) -> Verdict {
        let allowed = self.ledger.rungs(target, self.message(), &self.plan.targets, &self.plan.policy);
        // One that brought nothing waits for those that may bring something.
        let comes_first =
            |better: &Rung| !self.ledger.was_empty(target, *better) || self.ledger.was_empty(target, rung);
        match better.iter().find(|better| allowed.contains(better) && comes_first(better)) {
            Some(better) if !self.ledger.broke_inside() => {
                Err(broken(Promise::G4, format!("{better:?} was passed over for {rung:?} on {target:?}")))
            }
            _ => Ok(()),
        }
    }

    /// Something failed: it must have been so, and be called what it is.
    fn fault(&mut self, fault: &Fault, journal: &[Record], streams: &[Stream], tally: &mut Tally) -> Verdict {
        *tally.faults.entry(fault.class.name()).or_default() += 1;
        let stream = fault.attempt.and_then(|id| streams.iter().find(|stream| stream.attempt == id));
        let mode = fault.attempt.and_then(|id| self.attempts.iter().find(|attempt| attempt.0 == id).copied());
        let heard = fault.attempt.map(|id| self.heard(id).clone()).unwrap_or_default();
        if let Some(stream) = stream {
            tally.checked(Promise::G8);
            self.check_class(fault, stream, &heard)?;
        } else if fault.attempt.is_some() && fault.code.as_deref() != Some("process_died") {
            return Err(broken(Promise::G8, format!("{fault:?} of an attempt that was never opened")));
        }
        let arrived: Vec<&Part> = parts_of(journal, fault.attempt).collect();
        let given = given(journal).0;
        let given =
            || given.iter().filter(|(attempt, _)| Some(*attempt) == fault.attempt).map(|(_, part)| part);
        let has = |index: u32| given().any(|part| part.tools.iter().any(|fragment| fragment.index == index));
        let shows = |part: &Part| !part.text.is_empty() || !part.tools.is_empty() || part.opaque.is_some();
        let wreck = Wreck {
            mode: mode.map(|attempt| attempt.2),
            floor: stream.filter(|_| fault.raised).and_then(|stream| stream.script.floor),
            in_call: arrived.iter().flat_map(|part| &part.tools).any(|fragment| !has(fragment.index)),
            in_part: arrived.iter().rev().find_map(|part| part.opaque).is_some_and(|opaque| opaque.open),
            showed: given().any(shows),
            too_long: fault.code.as_deref() == Some("context_length_exceeded"),
        };
        self.ledger.failed(fault, &wreck, &self.plan.targets, &self.plan.policy);
        Ok(())
    }

    fn check_class(&self, fault: &Fault, stream: &Stream, heard: &Heard) -> Verdict {
        let code = fault.code.as_deref().unwrap_or("");
        let script = &stream.script;
        if code == "process_died" {
            let died = self.died && stream.closed;
            return if died {
                Ok(())
            } else {
                Err(broken(Promise::G8, format!("{fault:?} of a live process")))
            };
        }
        if matches!(code, "anchor_missing" | "diverged" | "too_short") {
            let joins = script.truth.is_some() && script.must_join;
            return if joins && fault.class == FaultClass::Content {
                let what = format!("{code}, though it went on as it should: {:?}", script.truth);
                Err(broken(Promise::G4, what))
            } else {
                Ok(())
            };
        }
        if code == "call" && self.is_whole(stream.target) {
            // A consumer that takes its time spends that of a call which is not streamed, whatever is to come.
            return self.check_stall(fault, stream, heard);
        }
        let out_of_time = fault.at >= self.deadline;
        match script.expect {
            Expect::Completes if out_of_time => Ok(()),
            Expect::Completes => Err(broken(Promise::G4, format!("{fault:?}, though nothing was wrong"))),
            Expect::Fails(class) if class != fault.class => {
                Err(broken(Promise::G8, format!("{fault:?} is called so, and is {class:?}")))
            }
            Expect::Fails(FaultClass::Stall) if !fault.raised => self.check_stall(fault, stream, heard),
            Expect::Fails(_) => Ok(()),
        }
    }

    /// A clock ran out: it must have been the right one, and at the right moment.
    fn check_stall(&self, fault: &Fault, stream: &Stream, heard: &Heard) -> Verdict {
        let clocks = &self.plan.policy.timeouts;
        let code = fault.code.as_deref().unwrap_or("");
        let (passed, allowed) = match code {
            "call" => (fault.at.since(stream.opened), clocks.call),
            "open" => (fault.at.since(stream.opened), clocks.open),
            _ => (heard.quiet + self.pending.unwrap_or_default(), self.patience(heard, stream.target)),
        };
        let wanted = match &heard.last {
            _ if self.is_whole(stream.target) => "call",
            _ if !stream.begun() => "open",
            None => "first",
            Some(part) if !part.tools.is_empty() => "tool_args",
            Some(part) if part.reasoning => "reasoning",
            Some(_) => "text",
        };
        if code != wanted || passed < allowed || passed > allowed + LATE {
            let what =
                format!("the clock {code} ran out after {passed:?} of {allowed:?}, where {wanted} runs");
            return Err(broken(Promise::G3, what));
        }
        Ok(())
    }

    /// An attempt is opened.
    pub(crate) fn opens(
        &mut self,
        opening: &Opening,
        streams: &[Stream],
        now: Instant,
        tally: &mut Tally,
    ) -> Verdict {
        tally.checked(Promise::G3);
        let worst = self.plan.policy.worst_case(u32::try_from(self.plan.targets.len()).unwrap_or(1));
        if opening.attempt.0 >= worst.calls + self.ledger.deaths() {
            return Err(broken(
                Promise::G3,
                format!("call {} of at most {}", opening.attempt.0 + 1, worst.calls),
            ));
        }
        if now >= self.deadline || opening.time_left != self.deadline.since(now) {
            let left = self.deadline.since(now);
            return Err(broken(Promise::G3, format!("opened with {:?} left of {left:?}", opening.time_left)));
        }
        if let Some(stream) = streams.iter().find(|stream| !stream.over && !stream.closed) {
            return Err(broken(Promise::G3, format!("{:?} is still open", stream.attempt)));
        }
        tally.checked(Promise::G1);
        let shown = &self.message().text;
        let prefix = if opening.mode == Mode::Prefill { shown.trim_end() } else { "" };
        if opening.shown != *shown || opening.prefix != prefix {
            return Err(broken(Promise::G1, format!("begun with {opening:?} after {shown:?}")));
        }
        if opening.mode == Mode::Fresh && !self.message().is_empty() {
            return Err(broken(Promise::G1, format!("begun afresh after {shown:?}")));
        }
        let anchored = opening.mode != Mode::Prompt
            || (!opening.anchor.is_empty()
                && shown.trim_end().ends_with(&opening.anchor)
                && opening.instruction.contains(&opening.anchor));
        if !anchored {
            return Err(broken(Promise::G1, format!("{:?} is not how {shown:?} ends", opening.anchor)));
        }
        Ok(())
    }

    pub(crate) fn asks(&self, target: TargetId, now: Instant, tally: &mut Tally) -> Verdict {
        tally.checked(Promise::G3);
        if now >= self.deadline {
            return Err(broken(Promise::G3, format!("{target:?} is asked for after the deadline")));
        }
        Ok(())
    }

    pub(crate) fn waits(&mut self, until: Instant, now: Instant, tally: &mut Tally) -> Verdict {
        tally.checked(Promise::G3);
        if until >= self.deadline || until <= now {
            return Err(broken(
                Promise::G3,
                format!("waits until {until:?} at {now:?}, deadline {:?}", self.deadline),
            ));
        }
        self.waited += until.since(now);
        let worst = self.plan.policy.worst_case(u32::try_from(self.plan.targets.len()).unwrap_or(1));
        let asked = !self.ledger.was_asked_to_wait();
        if asked && !self.died && self.waited > worst.waiting {
            return Err(broken(
                Promise::G3,
                format!("waited {:?} of at most {:?}", self.waited, worst.waiting),
            ));
        }
        Ok(())
    }

    /// The consumer is given something.
    pub(crate) fn gives(
        &mut self,
        piece: &Piece,
        now: Instant,
        streams: &[Stream],
        tally: &mut Tally,
    ) -> Verdict {
        tally.checked(Promise::G1);
        if self.over {
            return Err(broken(Promise::G1, format!("{piece:?} after the end")));
        }
        let Some(stream) = streams.last().filter(|stream| stream.attempt == piece.attempt) else {
            return Err(broken(Promise::G1, format!("{piece:?} is not of the last attempt")));
        };
        let finished = self.heard(piece.attempt).ended.is_some_and(|at| at < self.deadline);
        if now >= self.deadline && !finished {
            return Err(broken(Promise::G3, format!("{piece:?} after the deadline")));
        }
        let part = &piece.chunk.part;
        if !part.text.is_empty() || !part.tools.is_empty() || part.opaque.is_some() {
            let Some(truth) = &stream.script.truth else {
                return Err(broken(Promise::G1, format!("{piece:?} of an answer that does not fit")));
            };
            let so_far = &self.message().text;
            let right = truth.text.get(so_far.len()..).is_some_and(|rest| rest.starts_with(&part.text));
            if !right || !truth.text.starts_with(so_far.as_str()) {
                let what = format!("{:?} after {so_far:?}, where this is right: {:?}", part.text, truth.text);
                return Err(broken(Promise::G1, what));
            }
        }
        self.check_at_once(piece, stream, tally)?;
        self.making.take(piece.attempt, part);
        self.given.push(piece.clone());
        Ok(())
    }

    pub(crate) fn resets(&mut self) {
        self.making = Making::default();
        self.given.clear();
        self.resets += 1;
    }

    pub(crate) fn hears(&mut self, event: &Event, now: Instant, tally: &mut Tally) -> Verdict {
        if let Event::Retry { target, wait, .. } = event {
            tally.checked(Promise::G3);
            let at = now.after(Duration::from_nanos(*wait));
            let (least, most) = (self.ledger.ready_at_best(*target), self.ledger.ready(*target).max(now));
            if at < least || at > most {
                return Err(broken(
                    Promise::G3,
                    format!("tried at {at:?}, allowed is {least:?} to {most:?}"),
                ));
            }
        }
        Ok(())
    }

    /// What the consumer has is what the session says it has, and nothing in it is partial.
    pub(crate) fn looks(&mut self, driver: &Driver, streams: &[Stream], tally: &mut Tally) -> Verdict {
        tally.checked(Promise::G1);
        let (message, session) = (self.message(), driver.session());
        if session.text() != message.text {
            return Err(broken(
                Promise::G1,
                format!("given {:?}, recorded {:?}", message.text, session.text()),
            ));
        }
        if message.marks.is_empty() {
            return Ok(());
        }
        tally.checked(Promise::G2);
        if let Some((_, mark)) = message.marks.iter().find(|(_, mark)| !mark.is_whole()) {
            return Err(broken(Promise::G2, format!("given {mark:?}")));
        }
        let calls = message.marks.iter().filter_map(|(_, mark)| match mark {
            Mark::Call { name, args } => Some((name.as_str(), args.as_str())),
            Mark::Opaque(_) => None,
        });
        if !calls.eq(session.tool_calls().map(|call| (call.name.as_str(), call.args.as_str()))) {
            return Err(broken(
                Promise::G2,
                format!("given {message:?}, recorded {:?}", session.tool_calls().collect::<Vec<_>>()),
            ));
        }
        // After a death nothing is live, and what is shown was judged when it was given.
        let truth = streams.last().and_then(|stream| stream.script.truth.as_ref());
        let gives = streams
            .last()
            .is_some_and(|stream| self.given.last().is_some_and(|piece| piece.attempt == stream.attempt));
        match truth {
            Some(truth) if gives && !message.begins(truth) => {
                Err(broken(Promise::G2, format!("given {message:?}, where this is right: {truth:?}")))
            }
            _ => Ok(()),
        }
    }

    /// Another process has taken over, with this journal.
    pub(crate) fn recovers(&mut self, driver: &Driver, streams: &[Stream], tally: &mut Tally) -> Verdict {
        tally.checked(Promise::G5);
        let (again, resets) = reread(driver.journal());
        let session = driver.session();
        if again.message().text != session.text() {
            let what =
                format!("the journal gives {:?}, the session {:?}", again.message().text, session.text());
            return Err(broken(Promise::G5, what));
        }
        if resets == self.resets && !self.message().is_kept_in(again.message()) {
            let what = format!("{:?} was given, and is not in {:?}", self.message(), again.message());
            return Err(broken(Promise::G5, what));
        }
        self.resets = resets;
        self.making = again;
        self.died = true;
        self.follow(driver, streams, tally)?;
        self.pending = None;
        Ok(())
    }

    /// The session has ended.
    pub(crate) fn ends(
        &mut self,
        driver: &Driver,
        streams: &[Stream],
        now: Instant,
        tally: &mut Tally,
    ) -> Verdict {
        self.follow(driver, streams, tally)?;
        self.over = true;
        let Some(outcome) = driver.session().outcome() else {
            return Err(broken(Promise::Contract, "done without an outcome".into()));
        };
        let kind = format!("{:?}", outcome.ending).to_lowercase();
        let kind = kind.split('(').next().unwrap_or("").to_owned();
        *tally.endings.entry(kind).or_default() += 1;
        tally.checked(Promise::G3);
        // One that begins after the deadline ends as it begins.
        if now > self.deadline.after(LATE).max(self.began) && !self.died {
            return Err(broken(Promise::G3, format!("ended at {now:?}, deadline {:?}", self.deadline)));
        }
        if let Some(stream) = streams.iter().find(|stream| !stream.over && !stream.closed) {
            return Err(broken(Promise::G3, format!("{:?} is still open at the end", stream.attempt)));
        }
        self.check_ending(driver, streams, now, tally)?;
        self.check_marks(driver, tally)
    }

    fn check_ending(&self, driver: &Driver, streams: &[Stream], now: Instant, tally: &mut Tally) -> Verdict {
        let Some(outcome) = driver.session().outcome() else { return Ok(()) };
        match outcome.ending {
            Ending::Complete => self.check_complete(driver, streams, now, tally),
            Ending::Deadline if now < self.deadline => {
                Err(broken(Promise::G4, format!("given up for a deadline at {:?}", self.deadline)))
            }
            Ending::Deadline | Ending::Cancelled => Ok(()),
            ending => {
                tally.checked(Promise::G4);
                let time = (now, self.deadline);
                let (targets, policy) = (&self.plan.targets, &self.plan.policy);
                let ids = (0..targets.len()).map(|at| TargetId(u32::try_from(at).unwrap_or(0)));
                for target in ids {
                    if self.ledger.surely(target, self.message(), targets, policy, time) {
                        let rungs = self.ledger.rungs(target, self.message(), targets, policy);
                        let what = format!("{ending:?}, though {target:?} could still be tried: {rungs:?}");
                        return Err(broken(Promise::G4, what));
                    }
                }
                self.check_raised(ending, driver)
            }
        }
    }

    /// What is raised is what the caller would want to know.
    fn check_raised(&self, ending: Ending, driver: &Driver) -> Verdict {
        let faults = driver.session().faults();
        let wrong = |what: &str| Err(broken(Promise::G8, format!("{ending:?}: {what}, after {faults:?}")));
        let shown = !self.message().is_empty();
        match ending {
            Ending::Raise(attempt) => {
                let Some(fault) = faults.iter().find(|fault| fault.attempt == Some(attempt)) else {
                    return wrong("nothing was raised");
                };
                if fault.raised && fault.class.is_the_callers() { Ok(()) } else { wrong("not the caller's") }
            }
            Ending::Incomplete if !shown => wrong("nothing was shown"),
            Ending::Exhausted | Ending::Content | Ending::Limited if shown => wrong("something was shown"),
            Ending::Limited if faults.iter().any(|fault| fault.attempt.is_some()) => wrong("calls were made"),
            Ending::Refused if !faults.iter().any(|fault| fault.class == FaultClass::Refused) => {
                wrong("nobody declined")
            }
            _ => Ok(()),
        }
    }

    fn check_complete(
        &self,
        driver: &Driver,
        streams: &[Stream],
        now: Instant,
        tally: &mut Tally,
    ) -> Verdict {
        tally.checked(Promise::G1);
        let Some(stream) = streams.last() else {
            return Err(broken(Promise::G1, "complete without an attempt".into()));
        };
        let heard = self.heard.iter().find(|heard| heard.attempt == stream.attempt.0);
        let cut_short = now >= self.deadline;
        if stream.script.expect != Expect::Completes && !cut_short {
            return Err(broken(
                Promise::G1,
                format!("complete, where this was to come: {:?}", stream.script.expect),
            ));
        }
        let Some(truth) = &stream.script.truth else {
            return Err(broken(Promise::G1, "complete with an answer that does not fit".into()));
        };
        let message = self.message();
        if !(message.equals(truth) || cut_short && message.begins(truth)) {
            return Err(broken(
                Promise::G1,
                format!("complete: {message:?}, where this is right: {truth:?}"),
            ));
        }
        // What comes behind the finish and after the deadline is not given.
        if now < self.deadline {
            self.check_invisible(driver, stream, tally)?;
        }
        if self.died {
            return Ok(());
        }
        let read = &stream.script.steps[..stream.read.min(stream.script.steps.len())];
        for (_, chunk) in read {
            let part = &chunk.part;
            let says = says_end(part) || part.usage.is_some() || part.reasoning;
            let given = self
                .given
                .iter()
                .any(|piece| piece.attempt == stream.attempt && piece.chunk.number == chunk.number);
            if says && part.tools.is_empty() && part.opaque.is_none() && !given && !cut_short {
                return Err(broken(Promise::G1, format!("{chunk:?} was read and not given")));
            }
        }
        let word = heard.and_then(|heard| heard.word.as_deref()).map(Finish::read);
        let said = driver.session().outcome().and_then(|outcome| outcome.finish.clone());
        if word != said && !cut_short {
            return Err(broken(Promise::G8, format!("finished with {word:?}, reported {said:?}")));
        }
        Ok(())
    }

    /// Where nothing has gone wrong, text is given when it is read, from the first word on.
    fn check_at_once(&self, piece: &Piece, stream: &Stream, tally: &mut Tally) -> Verdict {
        let waits = self.is_whole(stream.target) || self.plan.policy.delivery == Delivery::Whole;
        if waits || self.attempts.len() > 1 || self.faults > 0 || self.died {
            return Ok(());
        }
        let number = piece.chunk.number;
        let read = || stream.script.steps.iter().take(stream.read).map(|(_, chunk)| &chunk.part);
        let begun = read().take(number.saturating_add(1)).any(|part| !part.text.trim().is_empty());
        let plain = read().all(|part| part.tools.is_empty() && part.opaque.is_none());
        if !begun || !plain || number == usize::MAX {
            return Ok(());
        }
        tally.checked(Promise::G7);
        if number + 1 < stream.read {
            return Err(broken(
                Promise::G7,
                format!("{piece:?} was given after {} chunks were read", stream.read),
            ));
        }
        Ok(())
    }

    /// Nothing went wrong, and nothing shows that anybody was there.
    fn check_invisible(&self, driver: &Driver, stream: &Stream, tally: &mut Tally) -> Verdict {
        let all_read = stream.read == stream.script.steps.len();
        if self.attempts.len() > 1 || self.faults > 0 || self.died || !all_read {
            return Ok(());
        }
        tally.checked(Promise::G7);
        let same = self.given.len() == stream.script.steps.len()
            && self
                .given
                .iter()
                .zip(&stream.script.steps)
                .all(|(piece, (_, chunk))| !piece.cut && piece.chunk == *chunk);
        let outcome = driver.session().outcome();
        let marked = outcome
            .is_none_or(|outcome| outcome.continued || outcome.resets > 0 || !outcome.splices.is_empty());
        if same && !marked {
            return Ok(());
        }
        Err(broken(Promise::G7, format!("given {:?} of {:?}", self.given, stream.script.steps)))
    }

    /// The result says all there is to say.
    fn check_marks(&self, driver: &Driver, tally: &mut Tally) -> Verdict {
        tally.checked(Promise::G8);
        let Some(outcome) = driver.session().outcome() else { return Ok(()) };
        let wrong = |what: String| Err(broken(Promise::G8, format!("{what}: {outcome:?}")));
        if outcome.attempts as usize != self.attempts.len() {
            return wrong(format!("{} attempts were opened", self.attempts.len()));
        }
        if outcome.faults.len() != self.faults {
            return wrong(format!("{} faults were told", self.faults));
        }
        if outcome.resets != self.resets {
            return wrong(format!("{} resets were told", self.resets));
        }
        let complete = outcome.ending == Ending::Complete;
        let last = self.attempts.last().map(|attempt| attempt.1).filter(|_| complete);
        if outcome.served_by != last {
            return wrong(format!("{last:?} served"));
        }
        let sources = self.sources(driver);
        let foreign = sources.iter().any(|source| source.1 != TargetId(0));
        if outcome.degraded != (foreign || last.is_some_and(|target| target != TargetId(0))) {
            return wrong(format!("it came from {sources:?}"));
        }
        if sources.len() > 1 && !outcome.continued {
            return wrong(format!("it came from {sources:?}"));
        }
        if outcome.continued == outcome.splices.is_empty() {
            return wrong("splices".to_owned());
        }
        let text = &self.message().text;
        let mut before = 0;
        for splice in &outcome.splices {
            let at = usize::try_from(splice.at).unwrap_or(usize::MAX);
            if at < before || !text.is_char_boundary(at) {
                return wrong(format!("a splice at {at} of {}", text.len()));
            }
            before = at;
        }
        let (arrived, used) = arrived(driver.journal());
        if outcome.waste.bytes + text.len() as u64 != arrived {
            return wrong(format!("{arrived} bytes arrived, {} were shown", text.len()));
        }
        if outcome.usage != used {
            return wrong(format!("{used:?} was used"));
        }
        Ok(())
    }

    /// The attempts whose text or marks the consumer has.
    fn sources(&self, driver: &Driver) -> Vec<(AttemptId, TargetId)> {
        let mut sources = Vec::new();
        for (attempt, part) in given(driver.journal()).0 {
            let known = self.attempts.iter().find(|known| known.0 == attempt);
            let content = !part.text.is_empty() || !part.tools.is_empty() || part.opaque.is_some();
            if content
                && let Some(known) = known
                && !sources.contains(&(known.0, known.1))
            {
                sources.push((known.0, known.1));
            }
        }
        sources
    }
}

/// The moment of the input that led to the record before `place`.
fn record_time(journal: &[Record], place: usize) -> Instant {
    let before = journal[..place].iter().rev();
    let mut times = before.filter_map(|record| match record {
        Record::Input { at, .. } | Record::Chunk { at, .. } => Some(*at),
        _ => None,
    });
    times.next().unwrap_or_default()
}

/// The parts that arrived of an attempt while it was live.
fn parts_of(journal: &[Record], attempt: Option<AttemptId>) -> impl Iterator<Item = &Part> {
    journal.iter().filter_map(move |record| match record {
        Record::Input { input: Input::Part { attempt: of, part, .. }, signal, .. } => {
            (Some(*of) == attempt && *signal != Some(Signal::Skip)).then_some(part)
        }
        _ => None,
    })
}

/// What a consumer was given according to a journal, and how often it was told to discard.
fn given(journal: &[Record]) -> (Vec<(AttemptId, Part)>, u32) {
    let mut kept: VecDeque<(AttemptId, Part)> = VecDeque::new();
    let mut given = Vec::new();
    let mut resets = 0;
    for record in journal {
        let (arrived, signal) = match record {
            Record::Chunk { attempt, text, signal, .. } => {
                (Some((*attempt, Part { text: text.to_string(), ..Part::default() })), Some(*signal))
            }
            Record::Input { input: Input::Part { attempt, part, .. }, signal, .. } => {
                (Some((*attempt, part.clone())), *signal)
            }
            Record::Decision(output) => {
                match output {
                    Output::Release { chunks } => given.extend(kept.drain(..*chunks as usize)),
                    Output::Drop { chunks } => drop(kept.drain(..*chunks as usize)),
                    Output::Cut { start, end } => {
                        if let Some((attempt, mut part)) = kept.pop_front() {
                            part.text = part.text.chars().take(*end as usize).skip(*start as usize).collect();
                            given.push((attempt, part));
                        }
                    }
                    Output::Mask { text, .. } => {
                        if let Some((attempt, mut part)) = kept.pop_front() {
                            part.text.clone_from(text);
                            given.push((attempt, part));
                        }
                    }
                    Output::Rewrite { text, calls, .. } => {
                        if let Some((attempt, mut part)) = kept.pop_front() {
                            rewrite(&mut part, text.clone(), calls.clone());
                            given.push((attempt, part));
                        }
                    }
                    Output::Reset => {
                        resets += 1;
                        given.clear();
                    }
                    _ => {}
                }
                (None, None)
            }
            Record::Input { input: Input::Resume, .. } => {
                // What was kept was kept in memory.
                kept.clear();
                (None, None)
            }
            _ => (None, None),
        };
        match (arrived, signal) {
            (Some(chunk), Some(Signal::Pass)) => given.push(chunk),
            (Some(chunk), Some(Signal::Hold | Signal::Drain)) => kept.push_back(chunk),
            _ => {}
        }
    }
    (given, resets)
}

/// What the journal gives a consumer that reads it from the beginning, and how often it says to discard.
pub(crate) fn reread(journal: &[Record]) -> (Making, u32) {
    let (given, resets) = given(journal);
    let mut making = Making::default();
    for (attempt, part) in &given {
        making.take(*attempt, part);
    }
    (making, resets)
}

/// Bytes of text that arrived from live attempts, and what these have used.
fn arrived(journal: &[Record]) -> (u64, Usage) {
    let mut bytes = 0;
    let mut used: Vec<(AttemptId, Usage)> = Vec::new();
    for record in journal {
        match record {
            Record::Chunk { text, signal, .. } if *signal != Signal::Skip => bytes += text.len() as u64,
            Record::Input { input: Input::Part { attempt, part, .. }, signal: Some(signal), .. }
                if *signal != Signal::Skip =>
            {
                bytes += part.text.len() as u64;
                if let Some(usage) = part.usage {
                    used.retain(|(other, _)| other != attempt);
                    used.push((*attempt, usage));
                }
            }
            _ => {}
        }
    }
    (bytes, used.iter().fold(Usage::default(), |sum, (_, usage)| sum.plus(*usage)))
}
