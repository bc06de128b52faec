//! A session on a bench: the test plays the world, one step at a time.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use l0_engine::{
    Admission, AttemptId, AttemptOutcome, Ending, Event, Facts, Fault, FaultClass, Instant, Outcome, Part,
    Plan, Policy, Prefill, SessionState, Stage, Target, TargetId, ToolFragment,
};
use l0_sim::driver::{Chunk, Driver, Effect, Opening, Piece};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A session, the moment, and all that came out of it.
pub(crate) struct Rig {
    pub(crate) driver: Driver,
    pub(crate) now: Instant,
    /// Answers of the fleet still to be given; `Granted` when there are none.
    pub(crate) admissions: VecDeque<Admission>,
    pub(crate) given: Vec<Piece>,
    pub(crate) openings: Vec<Opening>,
    pub(crate) waits: Vec<Duration>,
    pub(crate) closed: Vec<AttemptId>,
    pub(crate) reports: Vec<(TargetId, AttemptOutcome)>,
    pub(crate) events: Vec<Event>,
    pub(crate) resets: usize,
    chunks: usize,
}

/// A plan over targets with these names, which take a prefix.
pub(crate) fn plan(policy: Policy, names: &[&str]) -> Plan {
    let target = |name: &&str| Target { prefill: Prefill::Yes, ..Target::named(name) };
    Plan { targets: names.iter().map(target).collect(), ..Plan::simple(Arc::new(policy)) }
}

impl Rig {
    /// A session that has begun and whose first attempt is open.
    pub(crate) fn of(plan: Plan) -> Self {
        let mut rig = Self::idle(plan);
        rig.start();
        rig
    }

    /// A session over one target.
    pub(crate) fn simple(policy: Policy) -> Self {
        Self::of(plan(policy, &["a"]))
    }

    pub(crate) fn idle(plan: Plan) -> Self {
        Self::around(Driver::new(plan).unwrap())
    }

    pub(crate) fn around(driver: Driver) -> Self {
        Self {
            driver,
            now: Instant(1_000),
            admissions: VecDeque::new(),
            given: Vec::new(),
            openings: Vec::new(),
            waits: Vec::new(),
            closed: Vec::new(),
            reports: Vec::new(),
            events: Vec::new(),
            resets: 0,
            chunks: 0,
        }
    }

    pub(crate) fn start(&mut self) {
        let effects = self.driver.start(self.now).unwrap();
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Ask { .. } => {
                    let admission = self.admissions.pop_front().unwrap_or(Admission::Granted);
                    let effects = self.driver.admitted(self.now, admission).unwrap();
                    self.carry_out(effects);
                }
                Effect::Open(opening) => self.openings.push(opening),
                Effect::Wait { until } => self.waits.push(until.since(self.now)),
                Effect::Close(attempt) => self.closed.push(attempt),
                Effect::Give(piece) => self.given.push(piece),
                Effect::Reset => {
                    self.resets += 1;
                    self.given.clear();
                }
                Effect::Report { target, outcome } => self.reports.push((target, outcome)),
                Effect::Check { .. } => panic!("no guard here is the caller's own"),
                Effect::Tell(event) => self.events.push(event),
                Effect::Done => {}
            }
        }
        let given: String = self.given.iter().map(|piece| piece.chunk.part.text.as_str()).collect();
        assert_eq!(given, self.driver.session().text(), "what was given is what the session says was given");
    }

    /// The attempt opened last.
    pub(crate) fn attempt(&self) -> AttemptId {
        self.opening().attempt
    }

    pub(crate) fn opening(&self) -> &Opening {
        self.openings.last().expect("an attempt was opened")
    }

    /// Time passes, and nothing happens.
    pub(crate) fn after(&mut self, wait: Duration) -> &mut Self {
        self.now = self.now.after(wait);
        self
    }

    pub(crate) fn says(&mut self, text: &str) -> &mut Self {
        self.part(Part { text: text.to_owned(), ..Part::default() })
    }

    pub(crate) fn part(&mut self, part: Part) -> &mut Self {
        self.part_after(Duration::ZERO, part)
    }

    /// A chunk arrives whose read was pending for `waited`, which passes.
    pub(crate) fn part_after(&mut self, waited: Duration, part: Part) -> &mut Self {
        self.after(waited);
        let chunk = Chunk { number: self.chunks, part };
        self.chunks += 1;
        let effects = self.driver.chunk(self.now, self.attempt(), waited, chunk).unwrap();
        self.carry_out(effects);
        self
    }

    pub(crate) fn calls(&mut self, name: &str, args: &str) -> &mut Self {
        self.part(Part { tools: vec![fragment(0, name, args, true)], ..Part::default() })
    }

    pub(crate) fn finishes(&mut self, word: &str) -> &mut Self {
        self.part(Part { finish: Some(word.to_owned()), ..Part::default() })
    }

    pub(crate) fn opened(&mut self) -> &mut Self {
        let effects = self.driver.opened(self.now, self.attempt()).unwrap();
        self.carry_out(effects);
        self
    }

    pub(crate) fn ends(&mut self) -> &mut Self {
        let effects = self.driver.ended(self.now, self.attempt()).unwrap();
        self.carry_out(effects);
        self
    }

    pub(crate) fn fails(&mut self, facts: Facts) -> &mut Self {
        let effects = self.driver.failed(self.now, self.attempt(), facts).unwrap();
        self.carry_out(effects);
        self
    }

    pub(crate) fn cancels(&mut self) -> &mut Self {
        let effects = self.driver.cancel(self.now).unwrap();
        self.carry_out(effects);
        self
    }

    /// The timer rings now; `reading` is how long the pending read has been pending, if one is.
    pub(crate) fn rings(&mut self, reading: Option<Duration>) -> &mut Self {
        let effects = self.driver.timeout(self.now, reading).unwrap();
        self.carry_out(effects);
        self
    }

    /// Waits out a backoff, if one was begun.
    pub(crate) fn waits_out(&mut self) -> &mut Self {
        while self.driver.session().state() == SessionState::Waiting {
            self.now = self.driver.session().poll_timeout(None).unwrap();
            self.rings(None);
        }
        self
    }

    /// The process dies, and another one goes on with what was written down, the last `lost` records excepted.
    pub(crate) fn dies(&mut self, lost: usize) -> &mut Self {
        let journal = self.driver.journal();
        let journal = journal[..journal.len() - lost].to_vec();
        let policy = Arc::clone(&self.driver.session().plan().policy);
        self.driver = Driver::recover(policy, journal).unwrap();
        let text = self.driver.session().text().to_owned();
        self.given = vec![Piece {
            attempt: AttemptId(0),
            chunk: Chunk { number: 0, part: Part { text, ..Part::default() } },
            cut: false,
        }];
        self.closed.clear();
        let effects = self.driver.resume(self.now).unwrap();
        self.carry_out(effects);
        self
    }

    pub(crate) fn text(&self) -> &str {
        self.driver.session().text()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.driver.session().state() == SessionState::Done
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        self.driver.session().outcome().expect("the session has ended")
    }

    pub(crate) fn ending(&self) -> Ending {
        self.outcome().ending
    }

    pub(crate) fn last_fault(&self) -> &Fault {
        self.driver.session().faults().last().expect("something failed")
    }
}

pub(crate) fn fragment(index: u32, name: &str, args: &str, last: bool) -> ToolFragment {
    ToolFragment { index, id: None, name: Some(name.to_owned()), args: args.to_owned(), last }
}

/// What a client raises when a stream breaks.
pub(crate) fn cut() -> Facts {
    raised("httpx.ReadError")
}

pub(crate) fn raised(name: &str) -> Facts {
    Facts { stage: Stage::Read, bytes: true, types: vec![name.to_owned()], ..Facts::default() }
}

pub(crate) fn status(status: u16) -> Facts {
    Facts { status: Some(status), types: vec!["client.APIStatusError".to_owned()], ..Facts::default() }
}

/// What a client raises for a fault of this class.
pub(crate) fn of_class(class: FaultClass) -> Facts {
    let coded = |code: &str| Facts { code: Some(code.to_owned()), ..Facts::default() };
    match class {
        FaultClass::Network => cut(),
        FaultClass::Overload => status(503),
        FaultClass::Stall => raised("langchain_openai.StreamChunkTimeoutError"),
        FaultClass::Protocol => raised("json.decoder.JSONDecodeError"),
        FaultClass::Empty => raised("ValueError").with_message("No generation chunks were returned"),
        FaultClass::Quota => coded("insufficient_quota"),
        FaultClass::Auth => status(401),
        FaultClass::Request => status(400),
        FaultClass::Refused => coded("content_filter"),
        FaultClass::Cancelled => raised("asyncio.exceptions.CancelledError"),
        FaultClass::Internal => Facts { stage: Stage::Call, ..raised("NameError") },
        FaultClass::Content | FaultClass::Limited => panic!("no exception amounts to {class:?}"),
    }
}
