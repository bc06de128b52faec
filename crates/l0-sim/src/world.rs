//! One seed's world: a virtual clock, upstreams, consumers, a fleet, and a process that may die.
//!
//! The world plays by the engine's contract and plays everything else against it. What happens when is decided here;
//! whether it was right is asked of [`Judge`](crate::judge::Judge)s, one per session.

use core::time::Duration;
use std::sync::Arc;

use l0_engine::{
    Admission, Answer, AttemptId, AttemptOutcome, Event, Fleet, Instant, Key, Purpose, SessionState,
    TargetId, Ticket,
};

use crate::bend;
use crate::dice::Dice;
use crate::driver::{Breach, Driver, Effect, Opening};
use crate::judge::Judge;
use crate::message::Message;
use crate::paper::Paper;
use crate::swarm::{Question, Swarm, Trouble};
use crate::tally::{Promise, Tally, Violation};
use crate::upstream::{self, Close, Opens, Script};

/// Events a world may take before it counts as one that does not end.
const STEPS_MAX: usize = 60_000;

/// A world, what it has seen, and whether every promise was kept.
pub struct World {
    seed: u64,
    swarm: Swarm,
    now: Instant,
    dice: Dice,
    fleet: Fleet,
    seats: Vec<Seat>,
    /// Calls each target's storm still refuses.
    storms: Vec<usize>,
    effects: usize,
    lives: usize,
    deaths: Vec<usize>,
    tally: Tally,
    trace: Option<Vec<String>>,
    paper: Option<Paper>,
}

/// One session and everybody around it.
struct Seat {
    question: Question,
    driver: Driver,
    judge: Judge,
    streams: Vec<Stream>,
    begun: bool,
    /// Since when a read has been pending.
    reading: Option<Instant>,
    /// Until when the consumer does something else.
    busy: Instant,
    ticket: Option<(Ticket, TargetId, Purpose)>,
    pieces: usize,
    /// A record of it was lost, and what depended on that has ended with it.
    abandoned: bool,
}

/// A response on its way.
pub(crate) struct Stream {
    pub(crate) attempt: AttemptId,
    pub(crate) target: TargetId,
    pub(crate) script: Script,
    pub(crate) opened: Instant,
    /// When its next event arrives.
    arrives: Instant,
    begun: bool,
    /// Chunks that have been read.
    pub(crate) read: usize,
    /// It came to its end, or we ended it.
    pub(crate) over: bool,
    /// We closed it.
    pub(crate) closed: bool,
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Begin,
    Leave,
    Timer,
    Stream,
    Free,
}

type Outcome = Result<(), Violation>;

impl World {
    /// Plays the world of a seed to its end.
    ///
    /// # Errors
    /// The first promise that was not kept.
    pub fn play(seed: u64) -> Result<Tally, Violation> {
        Self::of(seed).run().map(|world| world.tally)
    }

    /// Plays it on paper: its records go through the journal, on a disk that tears, fails, forgets and dies.
    ///
    /// # Errors
    /// The first promise that was not kept.
    pub fn play_on_paper(seed: u64) -> Result<Tally, Violation> {
        let mut world = Self::of(seed);
        world.paper = Some(Paper::new(seed, &mut world.tally)?);
        world.run().map(|world| world.tally)
    }

    /// Plays it and tells everything that happened.
    pub fn tell(seed: u64, on_paper: bool) -> (Vec<String>, Result<Tally, Violation>) {
        let mut world = Self::of(seed);
        world.trace = Some(world.introduce());
        if on_paper {
            match Paper::new(seed, &mut world.tally) {
                Ok(paper) => world.paper = Some(paper),
                Err(violation) => return (world.trace.take().unwrap_or_default(), Err(violation)),
            }
        }
        match world.play_on() {
            Ok(()) => (world.trace.take().unwrap_or_default(), Ok(world.tally)),
            Err(violation) => (world.trace.take().unwrap_or_default(), Err(violation)),
        }
    }

    fn of(seed: u64) -> Self {
        let swarm = Swarm::of(seed);
        let mut dice = Dice::new(seed, 2);
        let mut fleet = Fleet::new();
        let mut deaths = Vec::new();
        let mut total = 0;
        for death in &swarm.deaths {
            total += death;
            deaths.push(total);
        }
        let mut tally = Tally::default();
        for question in &swarm.questions {
            for (target, failures) in question.plan.targets.iter().zip(&swarm.history) {
                let key = key(&target.name);
                for _ in 0..*failures {
                    let class = l0_engine::FaultClass::Network;
                    let outcome =
                        AttemptOutcome::Failure { class, throttled: dice.chance(30), retry_after: None };
                    fleet.report(Instant(0), &key, outcome, &question.plan.policy);
                }
            }
        }
        let seats: Vec<Seat> = swarm.questions.iter().map(|question| Seat::of(question.clone())).collect();
        tally.sessions = seats.len() as u64;
        let storms = vec![0; swarm.habits.len()];
        Self {
            seed,
            swarm,
            now: Instant(0),
            dice,
            fleet,
            seats,
            storms,
            effects: 0,
            lives: 0,
            deaths,
            tally,
            trace: None,
            paper: None,
        }
    }

    fn introduce(&self) -> Vec<String> {
        let troubles: Vec<&str> = self.swarm.troubles.iter().map(|trouble| trouble.name()).collect();
        let mut lines = vec![format!("troubles at {}%: {}", self.swarm.rate, troubles.join(", "))];
        let plan = &self.swarm.questions[0].plan;
        lines.push(format!("policy: {}", serde_json::to_string(&*plan.policy).unwrap_or_default()));
        for (target, habits) in plan.targets.iter().zip(&self.swarm.habits) {
            lines.push(format!("target: {target:?}\n    {habits:?}"));
        }
        for question in &self.swarm.questions {
            lines.push(format!(
                "question: streamed {}, deadline {:?}",
                question.plan.streamed, question.plan.deadline
            ));
            lines.extend(question.phrasings.iter().map(|answer| format!("    {answer:?}")));
        }
        lines
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            #[expect(clippy::cast_precision_loss, reason = "a time for people to read")]
            let seconds = self.now.0 as f64 / 1e9;
            trace.push(format!("{seconds:>12.6}  {}", line()));
        }
    }

    fn run(mut self) -> Result<Self, Violation> {
        self.play_on()?;
        Ok(self)
    }

    fn play_on(&mut self) -> Outcome {
        for _ in 0..STEPS_MAX {
            self.call_the_queue()?;
            let Some((seat, next, at)) = self.next() else {
                return self.close();
            };
            self.now = self.now.max(at);
            self.happen(seat, next)?;
            if self.swarm.has(Trouble::Noise) && self.dice.chance(10) {
                self.disturb(seat)?;
            }
        }
        Err(broken(Promise::Liveness, format!("no end after {STEPS_MAX} events")))
    }

    /// What happens next: the earliest of all that can, and any of those that happen at once.
    fn next(&mut self) -> Option<(usize, Next, Instant)> {
        let late = self.swarm.has(Trouble::LateTimers);
        let mut first: Vec<(usize, Next, Instant)> = Vec::new();
        for (place, seat) in self.seats.iter().enumerate() {
            for (next, at) in seat.nexts(late).into_iter().flatten() {
                let at = at.max(self.now);
                let earliest = first.first().map(|best| best.2);
                if earliest.is_none_or(|best| at < best) {
                    first.clear();
                }
                if earliest.is_none_or(|best| at <= best) {
                    first.push((place, next, at));
                }
            }
        }
        let chosen = self.dice.below(first.len());
        first.get(chosen).copied()
    }

    fn happen(&mut self, place: usize, next: Next) -> Outcome {
        let now = self.now;
        let seat = &mut self.seats[place];
        let journal = seat.driver.journal().len();
        let effects = match next {
            Next::Begin => {
                seat.begun = true;
                seat.judge.begins(now);
                self.note(|| format!("#{place} begins"));
                self.write_on_paper(place, 0);
                self.start(place)
            }
            Next::Leave => {
                self.note(|| format!("#{place} the consumer leaves"));
                self.tally.troubles.entry(Trouble::Leaves.name()).and_modify(|n| *n += 1).or_insert(1);
                self.seats[place].driver.cancel(now)
            }
            Next::Timer => {
                let waited = seat.reading.map(|since| now.since(since));
                seat.judge.rings(waited);
                if self.swarm.has(Trouble::LateTimers) {
                    *self.tally.troubles.entry(Trouble::LateTimers.name()).or_default() += 1;
                }
                self.note(|| format!("#{place} the timer rings, a read pending for {waited:?}"));
                self.seats[place].driver.timeout(now, waited)
            }
            Next::Free => {
                seat.reading = Some(now);
                return Ok(());
            }
            Next::Stream => return self.stream(place),
        };
        self.carry_out(place, journal, effects)
    }

    /// The next event of a live stream arrives.
    fn stream(&mut self, place: usize) -> Outcome {
        let now = self.now;
        let seat = &mut self.seats[place];
        let journal = seat.driver.journal().len();
        let waited = seat.reading.map_or(Duration::ZERO, |since| now.since(since));
        let Some(stream) = seat.streams.last_mut() else { return Ok(()) };
        let attempt = stream.attempt;
        if !stream.begun {
            stream.begun = true;
            let effects = if let Opens::Fails(_, facts) = &stream.script.opens {
                stream.over = true;
                let facts = facts.clone();
                self.note(|| format!("#{place} attempt {} is refused: {facts:?}", attempt.0));
                self.seats[place].driver.failed(now, attempt, facts)
            } else {
                stream.schedule();
                if seat.busy <= now {
                    seat.reading = Some(now);
                }
                self.note(|| format!("#{place} attempt {} is open", attempt.0));
                self.seats[place].driver.opened(now, attempt)
            };
            return self.carry_out(place, journal, effects);
        }
        seat.reading = None;
        let effects = if let Some((_, chunk)) = stream.script.steps.get(stream.read) {
            let chunk = chunk.clone();
            stream.read += 1;
            stream.schedule();
            self.tally.chunks += 1;
            seat.judge.reads((attempt, stream.target), &chunk, waited, now)?;
            self.note(|| format!("#{place} attempt {} sends {:?}", attempt.0, chunk.part));
            self.seats[place].driver.chunk(now, attempt, waited, chunk)
        } else {
            match stream.script.close.clone() {
                Close::Ends(_) => {
                    stream.over = true;
                    self.note(|| format!("#{place} attempt {} ends", attempt.0));
                    self.seats[place].driver.ended(now, attempt)
                }
                Close::Fails(_, facts) => {
                    stream.over = true;
                    self.note(|| format!("#{place} attempt {} breaks: {facts:?}", attempt.0));
                    self.seats[place].driver.failed(now, attempt, facts)
                }
                Close::Hangs(_) => {
                    stream.schedule();
                    let chunk = crate::driver::Chunk { number: usize::MAX, part: l0_engine::Part::default() };
                    seat.judge.reads((attempt, stream.target), &chunk, waited, now)?;
                    self.note(|| format!("#{place} attempt {} hums", attempt.0));
                    self.seats[place].driver.chunk(now, attempt, waited, chunk)
                }
            }
        };
        self.carry_out(place, journal, effects)
    }

    /// Carries effects out one at a time. The process may die before any of them.
    fn carry_out(&mut self, place: usize, journal: usize, effects: Result<Vec<Effect>, Breach>) -> Outcome {
        let effects = effects.map_err(|breach| broken(Promise::Contract, breach.0))?;
        self.tally.checked(Promise::Contract);
        if self.paper.is_some() && !self.may_release(place, &effects)? {
            return Ok(());
        }
        let mut admission = None;
        for (number, effect) in effects.into_iter().enumerate() {
            if self.deaths.first().is_some_and(|death| self.effects >= *death) {
                self.deaths.remove(0);
                let torn = (number == 0 && self.swarm.has(Trouble::Torn)).then_some(journal);
                return self.die(place, torn);
            }
            self.effects += 1;
            self.note(|| format!("#{place}     {effect:?}"));
            let asked = self.effect(place, effect)?;
            admission = admission.or(asked);
        }
        self.look(place)?;
        if let Some(admission) = admission {
            let journal = self.seats[place].driver.journal().len();
            self.note(|| format!("#{place} the fleet says {admission:?}"));
            let effects = self.seats[place].driver.admitted(self.now, admission);
            return self.carry_out(place, journal, effects);
        }
        self.go_on(place);
        Ok(())
    }

    /// Has the judge look at where everything stands.
    fn look(&mut self, place: usize) -> Outcome {
        let seat = &mut self.seats[place];
        seat.judge.looks(&seat.driver, &seat.streams, &mut self.tally)
    }

    /// Carries one effect out.
    fn effect(&mut self, place: usize, effect: Effect) -> Result<Option<Admission>, Violation> {
        let now = self.now;
        let seat = &mut self.seats[place];
        seat.judge.follow(&seat.driver, &seat.streams, &mut self.tally)?;
        match effect {
            Effect::Ask { target, purpose, force } => {
                let policy = Arc::clone(&seat.question.plan.policy);
                let key = key(&seat.question.plan.targets[target.0 as usize].name);
                seat.judge.asks(target, now, &mut self.tally)?;
                return Ok(match self.fleet.ask(now, &key, purpose, force, &policy) {
                    Answer::Now(admission) => Some(admission),
                    Answer::Queued(ticket) => {
                        seat.ticket = Some((ticket, target, purpose));
                        None
                    }
                });
            }
            Effect::Open(opening) => self.open(place, &opening)?,
            Effect::Wait { until } => seat.judge.waits(until, now, &mut self.tally)?,
            Effect::Close(attempt) => {
                let stream = seat.streams.iter_mut().find(|stream| stream.attempt == attempt);
                let Some(stream) = stream.filter(|stream| !stream.closed) else {
                    return Err(broken(Promise::G3, format!("{attempt:?} is closed, which is not open")));
                };
                stream.closed = true;
            }
            Effect::Give(piece) => {
                seat.pieces += 1;
                seat.judge.gives(&piece, now, &seat.streams, &mut self.tally)?;
                if self.swarm.has(Trouble::Dawdles) && self.dice.chance(15) {
                    *self.tally.troubles.entry(Trouble::Dawdles.name()).or_default() += 1;
                    let longest = if self.dice.chance(20) { 200_000 } else { 4_000 };
                    seat.busy = Instant(now.0 + self.dice.millis(0, longest));
                }
            }
            Effect::Reset => seat.judge.resets(),
            Effect::Report { target, outcome } => {
                let key = key(&seat.question.plan.targets[target.0 as usize].name);
                let policy = Arc::clone(&seat.question.plan.policy);
                self.fleet.report(now, &key, outcome, &policy);
            }
            Effect::Check { .. } => {
                return Err(broken(Promise::Contract, "a guard is asked, and there is none".into()));
            }
            Effect::Tell(event) => {
                if let Event::Splice(splice) = &event {
                    let name = format!("{:?} by {:?}", splice.mode, splice.method).to_lowercase();
                    *self.tally.splices.entry(name).or_default() += 1;
                }
                seat.judge.hears(&event, now, &mut self.tally)?;
            }
            Effect::Done => {
                if let Some((ticket, target, _)) = seat.ticket.take() {
                    self.fleet.leave(&key(&seat.question.plan.targets[target.0 as usize].name), ticket);
                }
                seat.judge.ends(&seat.driver, &seat.streams, now, &mut self.tally)?;
            }
        }
        Ok(None)
    }

    fn open(&mut self, place: usize, opening: &Opening) -> Outcome {
        let now = self.now;
        let seat = &mut self.seats[place];
        let at = opening.target.0 as usize;
        seat.judge.opens(opening, &seat.streams, now, &mut self.tally)?;
        let target = &seat.question.plan.targets[at];
        let shown: &Message = seat.judge.message();
        let mut call = upstream::Call {
            opening,
            shown,
            question: &seat.question,
            swarm: &self.swarm,
            target,
            habits: &self.swarm.habits[at],
            storm: &mut self.storms[at],
        };
        // A stream of its own for every attempt: what happens to one changes none of the others.
        let purpose = 1_000 + (place as u64) * 10_000 + u64::from(opening.attempt.0);
        let script = Script::of(&mut call, &mut Dice::new(self.seed, purpose));
        for trouble in &script.troubles {
            *self.tally.troubles.entry(trouble.name()).or_default() += 1;
        }
        self.tally.attempts += 1;
        let mut stream = Stream {
            attempt: opening.attempt,
            target: opening.target,
            script,
            opened: now,
            arrives: now,
            begun: false,
            read: 0,
            over: false,
            closed: false,
        };
        stream.schedule();
        seat.reading = None;
        let line = format!(
            "#{place}     it will {:?} {:?}: {:?}",
            stream.script.expect, stream.script.truth, stream.script.troubles
        );
        seat.streams.push(stream);
        self.note(|| line);
        self.check_limit(opening.target)
    }

    /// No more calls at a time than allowed.
    fn check_limit(&mut self, target: TargetId) -> Outcome {
        let Some(limit) = self.swarm.questions[0].plan.policy.limits.concurrent else { return Ok(()) };
        let live = self.seats.iter().filter_map(|seat| seat.streams.last());
        let live = live.filter(|stream| stream.target == target && !stream.over && !stream.closed).count();
        self.tally.checked(Promise::G3);
        if live > limit as usize {
            return Err(broken(
                Promise::G3,
                format!("{live} calls at a time on {target:?}, {limit} are allowed"),
            ));
        }
        Ok(())
    }

    /// Reading goes on, unless the consumer is busy or has had enough.
    fn go_on(&mut self, place: usize) {
        let now = self.now;
        let seat = &mut self.seats[place];
        let reads = seat.driver.session().state() == SessionState::Reading;
        if !reads {
            seat.reading = None;
        } else if seat.reading.is_none() && seat.busy <= now {
            seat.reading = Some(now);
        }
        if seat.question.enough.is_some_and(|enough| seat.pieces >= enough && seat.pieces > 0) {
            seat.question.enough = None;
            seat.question.leaves = Some(now.0);
        }
    }

    /// Calls those whose turn has come.
    fn call_the_queue(&mut self) -> Outcome {
        for place in 0..self.seats.len() {
            let seat = &mut self.seats[place];
            let Some((ticket, target, purpose)) = seat.ticket else { continue };
            let policy = Arc::clone(&seat.question.plan.policy);
            let key = key(&seat.question.plan.targets[target.0 as usize].name);
            if self.fleet.is_called(self.now, &key, ticket, purpose, &policy) {
                seat.ticket = None;
                let journal = seat.driver.journal().len();
                let effects = seat.driver.admitted(self.now, Admission::Granted);
                self.carry_out(place, journal, effects)?;
            }
        }
        Ok(())
    }

    /// The process dies before it carries out an effect, and another one goes on with the journals.
    fn die(&mut self, struck: usize, torn: Option<usize>) -> Outcome {
        self.note(|| "the process dies".to_owned());
        *self.tally.troubles.entry(Trouble::Dies.name()).or_default() += 1;
        self.turn_the_page()?;
        self.fleet = Fleet::new();
        self.now = Instant(self.now.0 + self.dice.millis(0, 3_000));
        self.lives += 1;
        let life = self.lives;
        for place in 0..self.seats.len() {
            self.recover(place, torn.filter(|_| place == struck))?;
        }
        for place in 0..self.seats.len() {
            if self.lives == life {
                self.resume(place)?;
            }
        }
        Ok(())
    }

    /// A session stands again where its journal ends.
    fn recover(&mut self, place: usize, torn: Option<usize>) -> Outcome {
        let now = self.now;
        let seat = &mut self.seats[place];
        for stream in &mut seat.streams {
            stream.closed = true;
        }
        (seat.reading, seat.ticket, seat.busy) = (None, None, now);
        if !seat.begun {
            return Ok(());
        }
        let mut journal = seat.driver.journal().to_vec();
        if let Some(paper) = &self.paper {
            // What is there was looked at when the page was turned.
            journal = paper.records(place, &mut self.tally)?;
            if seat.abandoned {
                return Ok(());
            }
            if journal.is_empty() {
                let driver = Driver::new(seat.question.plan.clone());
                seat.driver = driver.map_err(|error| broken(Promise::Contract, error.to_string()))?;
                self.write_on_paper(place, 0);
                let seat = &mut self.seats[place];
                return seat.judge.recovers(&seat.driver, &seat.streams, &mut self.tally);
            }
        } else if let Some(least) = torn {
            *self.tally.troubles.entry(Trouble::Torn.name()).or_default() += 1;
            journal.truncate(self.dice.within(least.max(1), journal.len()));
        }
        let (policy, known) = (Arc::clone(&seat.question.plan.policy), journal.len());
        let driver = Driver::recover(policy, journal);
        seat.driver =
            driver.map_err(|diverged| broken(Promise::G6, format!("after a death: {diverged:?}")))?;
        self.write_on_paper(place, known);
        let seat = &mut self.seats[place];
        seat.judge.recovers(&seat.driver, &seat.streams, &mut self.tally)
    }

    /// A session goes on in its new process.
    fn resume(&mut self, place: usize) -> Outcome {
        let now = self.now;
        let seat = &mut self.seats[place];
        let journal = seat.driver.journal().len();
        let effects = match seat.driver.session().state() {
            _ if seat.abandoned => return Ok(()),
            SessionState::Done if seat.judge.is_over() => return Ok(()),
            SessionState::Done => {
                return seat.judge.ends(&seat.driver, &seat.streams, now, &mut self.tally);
            }
            SessionState::Idle if !seat.begun => return Ok(()),
            SessionState::Idle => {
                seat.judge.begins(now);
                self.start(place)
            }
            _ => {
                seat.judge.begins_anew(now);
                let effects = seat.driver.resume(now);
                seat.driver.start_barrier();
                effects
            }
        };
        self.carry_out(place, journal, effects)
    }

    fn start(&mut self, place: usize) -> Result<Vec<Effect>, Breach> {
        let seat = &mut self.seats[place];
        let effects = seat.driver.start(self.now);
        seat.driver.start_barrier();
        effects
    }

    // On paper ----------------------------------------------------------------------------------------------------

    /// Has a session written down from its record `known` on, where there is paper.
    fn write_on_paper(&mut self, place: usize, known: usize) {
        if let Some(paper) = &self.paper {
            self.seats[place].driver.write_to(paper.recorder(place), self.now, known);
        }
    }

    /// What has to be on disk is, before any effect of a call. Or the process died of it, or the session ends with its
    /// journal: then nothing of the effects may happen.
    fn may_release(&mut self, place: usize, effects: &[Effect]) -> Result<bool, Violation> {
        let Some(paper) = &mut self.paper else { return Ok(true) };
        let seat = &mut self.seats[place];
        if effects.iter().any(|effect| matches!(effect, Effect::Give(_) | Effect::Reset)) {
            seat.driver.settle();
        }
        paper.linger(&mut self.tally);
        if paper.is_dead() {
            *self.tally.troubles.entry("dies writing").or_default() += 1;
            self.die(place, None)?;
            return Ok(false);
        }
        if seat.driver.is_lost() && paper.closes() {
            *self.tally.troubles.entry("closed by loss").or_default() += 1;
            self.note(|| format!("#{place} ends with its journal"));
            self.abandon(place, effects)?;
            return Ok(false);
        }
        Ok(true)
    }

    /// A session ends where it is, and gives back what it had.
    fn abandon(&mut self, place: usize, due: &[Effect]) -> Outcome {
        let seat = &mut self.seats[place];
        seat.abandoned = true;
        if let Some((ticket, target, _)) = seat.ticket.take() {
            self.fleet.leave(&key(&seat.question.plan.targets[target.0 as usize].name), ticket);
        }
        let effects = match seat.driver.session().state() {
            SessionState::Idle | SessionState::Done => Vec::new(),
            _ => seat.driver.cancel(self.now).map_err(|breach| broken(Promise::Contract, breach.0))?,
        };
        for effect in due.iter().chain(&effects) {
            if let Effect::Report { target, outcome } = effect {
                let key = key(&seat.question.plan.targets[target.0 as usize].name);
                self.fleet.report(self.now, &key, *outcome, &seat.question.plan.policy);
            }
        }
        for stream in &mut seat.streams {
            stream.closed = true;
        }
        Ok(())
    }

    /// The process is gone, perhaps with its machine. What the next one finds of each session is what was written, as far
    /// as that was promised to survive.
    fn turn_the_page(&mut self) -> Outcome {
        let Some(mut paper) = self.paper.take() else { return Ok(()) };
        let power = paper.loses_power();
        let known: Vec<_> = self.seats.iter_mut().map(|seat| seat.driver.forget_recorder()).collect();
        paper.begin_again(power, &mut self.tally)?;
        for (place, (synced, lost)) in known.into_iter().enumerate() {
            let seat = &mut self.seats[place];
            if !seat.begun || seat.abandoned {
                continue;
            }
            let found = paper.records(place, &mut self.tally)?;
            self.tally.checked(Promise::G5);
            if !seat.driver.journal().starts_with(&found) {
                let what = format!("#{place}: what is read is not what was written: {found:?}");
                return Err(broken(Promise::G6, what));
            }
            let least = if power && paper.syncs() { synced } else { 0 };
            if found.len() < least && !lost {
                let what = format!("#{place}: {least} records were on disk for certain, {} are", found.len());
                return Err(broken(Promise::G5, what));
            }
            // Without its journal, or where a loss of power takes what only survives the process, the world has seen more
            // than there is: the session ends here. What is there still decides the same, and in `paranoid` holds all
            // that was given.
            if lost || (power && found.len() < seat.driver.journal().len()) {
                seat.abandoned = true;
                *self.tally.troubles.entry("journal lost").or_default() += u64::from(lost);
                if found.is_empty() {
                    continue;
                }
                let again = Driver::recover(Arc::clone(&seat.question.plan.policy), found);
                let again =
                    again.map_err(|diverged| broken(Promise::G6, format!("after a loss: {diverged:?}")))?;
                if !lost && paper.is_paranoid() {
                    seat.judge.recovers(&again, &seat.streams, &mut self.tally)?;
                }
            }
        }
        self.paper = Some(paper);
        Ok(())
    }

    /// Everybody has come to an end: the process dies once more, and every record is there.
    fn close_paper(&mut self) -> Outcome {
        let Some(mut paper) = self.paper.take() else { return Ok(()) };
        let known: Vec<_> = self.seats.iter_mut().map(|seat| seat.driver.forget_recorder()).collect();
        paper.begin_again(false, &mut self.tally)?;
        for (place, (_, lost)) in known.into_iter().enumerate() {
            let seat = &self.seats[place];
            let (found, journal) = (paper.records(place, &mut self.tally)?, seat.driver.journal());
            self.tally.checked(Promise::G6);
            let whole = found.len() == journal.len() || lost || seat.abandoned || !seat.begun;
            if !whole || !journal.starts_with(&found) {
                let what =
                    format!("#{place}: {} of {} records are there in the end", found.len(), journal.len());
                return Err(broken(Promise::G6, what));
            }
        }
        Ok(())
    }

    /// Calls that mean nothing now must change nothing.
    fn disturb(&mut self, place: usize) -> Outcome {
        let now = self.now;
        let kind = self.dice.below(crate::driver::NOISES);
        let seat = &mut self.seats[place];
        *self.tally.troubles.entry(Trouble::Noise.name()).or_default() += 1;
        self.tally.checked(Promise::Inert);
        let quiet = seat.driver.disturb(now, seat.reading, kind);
        quiet.map_err(|breach| broken(Promise::Inert, breach.0))
    }

    /// Everybody has come to an end.
    fn close(&mut self) -> Outcome {
        self.tally.nanos += u128::from(self.now.0);
        self.close_paper()?;
        for place in 0..self.seats.len() {
            let seat = &mut self.seats[place];
            if seat.abandoned {
                continue;
            }
            if !seat.judge.is_over() {
                return Err(broken(Promise::Liveness, format!("session {place} waits for nothing")));
            }
            self.tally.checked(Promise::Liveness);
            self.tally.coverage = self.tally.coverage.plus(seat.driver.session().coverage());
            bend::check(&seat.driver, &mut Dice::new(self.seed, 3 + place as u64), &mut self.tally)?;
        }
        self.check_places()
    }

    /// Every place in the fleet is free again.
    fn check_places(&mut self) -> Outcome {
        let plan = &self.swarm.questions[0].plan;
        let later = Instant(u64::MAX / 2);
        for target in &plan.targets {
            for _ in 0..plan.policy.limits.concurrent.unwrap_or(0) {
                self.tally.checked(Promise::G3);
                let answer = self.fleet.ask(later, &key(&target.name), Purpose::First, true, &plan.policy);
                if answer != Answer::Now(Admission::Granted) {
                    return Err(broken(
                        Promise::G3,
                        format!("a place at {} was never given back", target.name),
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Seat {
    fn of(question: Question) -> Self {
        let driver =
            Driver::new(question.plan.clone()).expect("the swarm makes plans that can be carried out");
        let judge = Judge::new(&question.plan);
        Self {
            question,
            driver,
            judge,
            streams: Vec::new(),
            begun: false,
            reading: None,
            busy: Instant(0),
            ticket: None,
            pieces: 0,
            abandoned: false,
        }
    }

    /// What can happen next, and when.
    fn nexts(&self, late: bool) -> [Option<(Next, Instant)>; 4] {
        if self.abandoned {
            return [None; 4];
        }
        if !self.begun {
            return [Some((Next::Begin, Instant(self.question.begins))), None, None, None];
        }
        let session = self.driver.session();
        if session.state() == SessionState::Done {
            return [None; 4];
        }
        let leave = self.question.leaves.map(|at| (Next::Leave, Instant(at)));
        let timer = session.poll_timeout(self.reading).map(|at| {
            // As late as a busy machine may be, and the same every time it is asked for.
            let late = if late { Dice::new(at.0, 9).millis(0, 1_500) } else { 0 };
            (Next::Timer, Instant(at.0.saturating_add(late)))
        });
        let live = self.streams.last().filter(|stream| !stream.over && !stream.closed);
        let stream = live.and_then(|stream| {
            let at = if stream.begun {
                self.reading.map(|since| since.max(stream.arrives))
            } else {
                Some(stream.arrives)
            };
            at.filter(|at| at.0 < u64::MAX).map(|at| (Next::Stream, at))
        });
        let reads = session.state() == SessionState::Reading && self.reading.is_none();
        let free = reads.then_some((Next::Free, self.busy));
        [leave, timer, stream, free]
    }
}

impl Stream {
    /// Whether its response has begun.
    pub(crate) const fn begun(&self) -> bool {
        self.begun
    }

    /// Sees when its next event arrives.
    fn schedule(&mut self) {
        let after = if !self.begun {
            match self.script.opens {
                Opens::After(nanos) | Opens::Fails(nanos, _) => Some(nanos),
                Opens::Never => None,
            }
        } else if let Some((after, _)) = self.script.steps.get(self.read) {
            Some(*after)
        } else {
            match self.script.close {
                Close::Ends(nanos) | Close::Fails(nanos, _) => Some(nanos),
                Close::Hangs(hum) => hum,
            }
        };
        self.arrives = after.map_or(Instant(u64::MAX), |after| Instant(self.arrives.0 + after));
    }
}

pub(crate) fn key(target: &str) -> Key {
    Key { target: target.to_owned(), tenant: String::new() }
}

pub(crate) fn broken(promise: Promise, what: String) -> Violation {
    Violation { promise, what }
}
