//! Any sequence of calls, read from bytes: for fuzzing, and for properties that hold whatever a driver does.
//!
//! Where a world plays by the rules, operations do not: chunks of attempts that are over, ends without a beginning,
//! timers at any moment, deaths between any two calls. Nothing of it may panic, break the contract, bend the records or
//! give a consumer anything that the session does not know of.

use core::time::Duration;
use std::sync::Arc;

use l0_engine::{
    Admission, AttemptId, CallArgs, Delivery, Dissent, Facts, Instant, Opaque, Part, Plan, Policy, Prefill,
    Reading, Rewrite, Ruling, Rung, SessionState, Stage, Target, Terminal, ToolFragment, Usage,
};

use crate::driver::{Breach, Chunk, Driver, Effect, NOISES};
use crate::message::Making;

/// Guards a policy may have: what masks, and what reads text and calls.
const GUARDS: &[&str] = &[
    "[]",
    r#"[{"check": {"patterns": {"literals": ["ha ", "keeper counts"]}}, "severity": "warn", "mask": "[...]"}]"#,
    r#"[{"check": {"user": {"version": "1", "on": "window"}}, "name": "window"}]"#,
    r#"[{"check": {"user": {"version": "1", "on": "whole", "retries": 1}}, "name": "text"}]"#,
    r#"[{"check": {"user": {"version": "1", "on": "whole", "reads": "calls"}}, "name": "calls"}]"#,
];

/// Operations of one sequence at most, so that a fuzzer's long inputs end.
const OPERATIONS_MAX: usize = 512;

/// Texts a chunk may hold: words that repeat, join, quote, emphasise, combine and open documents.
const TEXTS: &[&str] = &[
    "",
    " ",
    "\n\n",
    "ha ",
    "The lighthouse keeper counts the ships that pass in the night. ",
    "and nobody else ",
    "**",
    "\"",
    "\u{201c}so\u{201d}",
    "e\u{301}",
    "\u{1f469}\u{200d}",
    "\u{1f680}",
    "{\"a\": [1, ",
    "]}",
    "```\n",
    "Sure, here it is:\n",
];

/// What a fragment may add to a call's arguments.
const ARGUMENTS: &[&str] = &["", "{", "}", "{}", "\"a\": 1", "[1,2]", " ", "nul", "l"];

/// How an answer may say that it ends.
const WORDS: &[&str] = &["stop", "tool_calls", "length", "content_filter", "refusal", "error", "odd"];

/// Bytes that are read as choices.
struct Choices<'a> {
    bytes: &'a [u8],
}

impl Choices<'_> {
    /// The next byte below `end`; 0 once there are no more.
    fn below(&mut self, end: usize) -> usize {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        usize::from(*first) % end.max(1)
    }

    fn yes(&mut self, in_so_many: usize) -> bool {
        self.below(in_so_many) == 1
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.get(self.below(from.len())).copied().unwrap_or("")
    }

    const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// One call, or something else that happens to a process.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// The session begins.
    Start,
    /// A call that means nothing now, of one of so many kinds.
    Noise(usize, bool),
    /// The fleet answers.
    Admit(Admission),
    /// A response begins.
    Opened(Whose),
    /// A chunk arrives after so many seconds of waiting.
    Chunk(Whose, Part, u64),
    /// The caller's own guards answer, what they were asked or something else.
    Judge(Whose, Ruling),
    /// A stream ends.
    Ended(Whose),
    /// A stream breaks.
    Failed(Whose, Facts),
    /// So many half seconds pass, and a timer rings, a read pending for so many seconds.
    Wait(u64, Option<u64>),
    /// Time passes until something is due.
    Ring,
    /// The caller leaves.
    Cancel,
    /// The process dies with so many of its last records, and another one goes on.
    Die(usize),
}

/// The attempt something is said of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The live one.
    Live,
    /// One before it, or none.
    Stale,
}

/// Carries out the operations that the bytes stand for.
///
/// # Errors
/// What went wrong, after which operation.
pub fn play(bytes: &[u8]) -> Result<(), String> {
    let (plan, operations) = read(bytes);
    let policy = Arc::clone(&plan.policy);
    let mut bench = Bench {
        driver: Driver::new(plan).map_err(|error| error.to_string())?,
        consumer: Making::default(),
        now: Instant(0),
        chunks: 0,
    };
    for (place, operation) in operations.iter().enumerate() {
        let done = bench.operate(operation, &policy);
        done.map_err(|breach| format!("{} after {:?}", breach.0, &operations[..=place]))?;
    }
    bench.end(&policy).map_err(|breach| format!("{} after {operations:?}", breach.0))
}

/// The plan and the operations that bytes stand for.
#[must_use]
pub fn read(bytes: &[u8]) -> (Plan, Vec<Operation>) {
    let mut choices = Choices { bytes };
    let plan = plan(&mut choices);
    let mut operations = Vec::new();
    while !choices.is_empty() && operations.len() < OPERATIONS_MAX {
        operations.push(operation(&mut choices));
    }
    (plan, operations)
}

fn operation(choices: &mut Choices<'_>) -> Operation {
    match choices.below(18) {
        0 => Operation::Start,
        1 => Operation::Noise(choices.below(NOISES), choices.yes(2)),
        2 | 3 => Operation::Admit(admission(choices)),
        4..=6 => {
            let text = choices.pick(TEXTS).to_owned();
            Operation::Chunk(whose(choices), Part { text, ..Part::default() }, 0)
        }
        7..=9 => Operation::Chunk(whose(choices), part(choices), choices.below(20) as u64),
        10 => Operation::Ended(whose(choices)),
        11 => Operation::Failed(whose(choices), facts(choices)),
        12 => {
            let halves = choices.below(20) as u64;
            Operation::Wait(halves, choices.yes(2).then(|| choices.below(40) as u64))
        }
        13 => Operation::Ring,
        14 if choices.yes(6) => Operation::Cancel,
        14 => Operation::Opened(whose(choices)),
        15 => Operation::Die(choices.below(4)),
        _ => Operation::Judge(whose(choices), ruling(choices)),
    }
}

fn ruling(choices: &mut Choices<'_>) -> Ruling {
    let dissent = |choices: &mut Choices<'_>| Dissent {
        guard: u16::try_from(choices.below(2)).unwrap_or(0),
        reason: "no".to_owned(),
        errors: if choices.yes(2) { vec!["it is not so".to_owned()] } else { Vec::new() },
    };
    match choices.below(8) {
        0 => Ruling::Failed(facts(choices)),
        1 => Ruling::Objected(vec![dissent(choices)]),
        2 | 3 => Ruling::Objected(Vec::new()),
        4 => {
            let (dissents, fields) = (vec![dissent(choices)], vec!["a".to_owned()]);
            Ruling::Read(Reading { dissents, fields, ..Reading::default() })
        }
        _ => {
            let args = |choices: &mut Choices<'_>| {
                let index = u32::try_from(choices.below(3)).unwrap_or(0);
                Rewrite::Args(CallArgs { index, args: choices.pick(ARGUMENTS).to_owned() })
            };
            let mut rewrites: Vec<Rewrite> = (0..choices.below(3)).map(|_| args(choices)).collect();
            if choices.yes(2) {
                rewrites.push(Rewrite::Text(choices.pick(TEXTS).to_owned()));
            }
            Ruling::Read(Reading { fixes: vec!["a".to_owned()], rewrites, ..Reading::default() })
        }
    }
}

fn whose(choices: &mut Choices<'_>) -> Whose {
    if choices.yes(8) { Whose::Stale } else { Whose::Live }
}

fn part(choices: &mut Choices<'_>) -> Part {
    let mut part = Part { text: choices.pick(TEXTS).to_owned(), ..Part::default() };
    match choices.below(6) {
        0 => part.reasoning = true,
        1 | 2 => {
            let fragment = |choices: &mut Choices<'_>| ToolFragment {
                index: u32::try_from(choices.below(3)).unwrap_or(0),
                id: choices.yes(2).then(|| "id".to_owned()),
                name: choices.yes(2).then(|| "tool".to_owned()),
                args: choices.pick(ARGUMENTS).to_owned(),
                last: choices.yes(3),
            };
            part.tools = (0..=choices.below(2)).map(|_| fragment(choices)).collect();
        }
        3 => part.opaque = Some(Opaque { digest: choices.below(3) as u64, open: choices.yes(2) }),
        4 => {
            part.finish = Some(choices.pick(WORDS).to_owned());
            part.status = choices.yes(3).then(|| "completed".to_owned());
        }
        _ => {
            part.usage = Some(Usage { output: choices.below(9) as u64, ..Usage::default() });
            part.sequence = choices.yes(2).then(|| choices.below(4) as u64);
        }
    }
    part
}

fn plan(choices: &mut Choices<'_>) -> Plan {
    let mut policy = if choices.yes(2) { Policy::interactive() } else { Policy::default() };
    let guards = format!(r#"{{"guards": {}}}"#, choices.pick(GUARDS));
    if let Ok(guarded) = Policy::from_json(&guards) {
        policy.guards = guarded.guards;
    }
    policy.delivery = [Delivery::Live, Delivery::Whole, Delivery::Guarded][choices.below(3)];
    let all = [Rung::Native, Rung::Prefill, Rung::Prompt, Rung::Rerun, Rung::Reset];
    policy.continuation.rungs = all.into_iter().filter(|_| !choices.yes(3)).collect();
    policy.retry.max_retries = u32::try_from(choices.below(8)).unwrap_or(0);
    let targets = (0..=choices.below(3))
        .map(|place| Target {
            name: format!("t{place}"),
            terminal: [Terminal::EndOfStream, Terminal::FinishReason, Terminal::Status][choices.below(3)],
            prefill: if choices.yes(2) { Prefill::Yes } else { Prefill::No },
            native: choices.yes(3),
            whole: choices.yes(5),
            ..Target::default()
        })
        .collect();
    let streamed = !choices.yes(4);
    let deadline = choices.yes(4).then(|| Instant(seconds(choices.below(90))));
    Plan { policy: Arc::new(policy), targets, seed: 7, streamed, deadline, recorded: true }
}

const fn seconds(count: usize) -> u64 {
    count as u64 * 1_000_000_000
}

struct Bench {
    driver: Driver,
    consumer: Making,
    now: Instant,
    chunks: usize,
}

type Done = Result<(), Breach>;

impl Bench {
    fn operate(&mut self, operation: &Operation, policy: &Arc<Policy>) -> Done {
        let (now, state) = (self.now, self.driver.session().state());
        let idle = state == SessionState::Idle;
        let effects = match operation {
            Operation::Start if idle => self.driver.start(now)?,
            Operation::Start => return self.driver.disturb(now, None, 0),
            // The first start is no second one.
            Operation::Noise(0, _) if idle => return Ok(()),
            Operation::Noise(kind, reads) => return self.driver.disturb(now, reads.then_some(now), *kind),
            Operation::Die(lost) => return self.die(*lost, policy),
            // What needs a session that has begun begins it.
            _ if idle => self.driver.start(now)?,
            Operation::Admit(admission) if state == SessionState::Asking => {
                self.driver.admitted(now, *admission)?
            }
            Operation::Admit(_) => return self.driver.disturb(now, None, 1),
            Operation::Opened(whose) => self.driver.opened(now, self.attempt(*whose))?,
            Operation::Chunk(whose, part, waited) => {
                self.chunks += 1;
                let chunk = Chunk { number: self.chunks, part: part.clone() };
                self.driver.chunk(now, self.attempt(*whose), Duration::from_secs(*waited), chunk)?
            }
            Operation::Judge(whose, ruling) => {
                let asked = self.driver.session().checking().map_or(0, |asked| asked.check);
                let check = if *whose == Whose::Live { asked } else { asked.wrapping_sub(1) };
                self.driver.judged(now, self.attempt(Whose::Live), check, ruling.clone())?
            }
            Operation::Ended(whose) => self.driver.ended(now, self.attempt(*whose))?,
            Operation::Failed(whose, facts) => {
                self.driver.failed(now, self.attempt(*whose), facts.clone())?
            }
            Operation::Wait(halves, waited) => {
                self.now = now.after(Duration::from_millis(500 * halves));
                self.driver.timeout(self.now, waited.map(Duration::from_secs))?
            }
            Operation::Ring => {
                let due = self.driver.session().poll_timeout(Some(now)).unwrap_or(now);
                self.now = now.max(due);
                self.driver.timeout(self.now, Some(self.now.since(now)))?
            }
            Operation::Cancel => self.driver.cancel(now)?,
        };
        self.carry_out(&effects)
    }

    fn attempt(&self, whose: Whose) -> AttemptId {
        let live = self.driver.session().opening().map_or(0, |opening| opening.attempt.0);
        AttemptId(if whose == Whose::Live { live } else { live.wrapping_sub(1) })
    }

    fn carry_out(&mut self, effects: &[Effect]) -> Done {
        for effect in effects {
            match effect {
                Effect::Give(piece) => self.consumer.take(piece.attempt, &piece.chunk.part),
                Effect::Reset => self.consumer = Making::default(),
                _ => {}
            }
        }
        let (given, known) = (self.consumer.message(), self.driver.session().text());
        if given.text != known {
            return Err(Breach(format!("given {:?}, known {known:?}", given.text)));
        }
        let partial = given.marks.iter().find(|(_, mark)| !mark.is_whole());
        partial.map_or(Ok(()), |(_, mark)| Err(Breach(format!("given in part: {mark:?}"))))
    }

    /// The process dies with some of its last records, and another one goes on.
    fn die(&mut self, lost: usize, policy: &Arc<Policy>) -> Done {
        let journal = self.driver.journal();
        let kept = journal.len() - lost.min(journal.len() - 1);
        let journal = journal[..kept].to_vec();
        let driver = Driver::recover(Arc::clone(policy), journal);
        self.driver = driver.map_err(|diverged| Breach(format!("recovering: {diverged:?}")))?;
        // The consumer reads again from the beginning, as the journal tells it.
        self.consumer = crate::judge::reread(self.driver.journal()).0;
        let effects = match self.driver.session().state() {
            SessionState::Idle | SessionState::Done => Vec::new(),
            _ => self.driver.resume(self.now)?,
        };
        self.carry_out(&effects)
    }

    /// The journal tells the same story.
    fn end(&self, policy: &Arc<Policy>) -> Done {
        let again = l0_engine::replay(Arc::clone(policy), self.driver.journal())
            .map_err(|diverged| Breach(format!("replay: {diverged:?}")))?;
        let session = self.driver.session();
        let same = again.outcome() == session.outcome()
            && again.text() == session.text()
            && again.state() == session.state();
        if same { Ok(()) } else { Err(Breach(format!("replayed to {:?}", again.outcome()))) }
    }
}

fn admission(choices: &mut Choices<'_>) -> Admission {
    match choices.below(6) {
        0 => Admission::OverBudget,
        1 => Admission::BreakerOpen { reopens_in: seconds(choices.below(60)) },
        _ => Admission::Granted,
    }
}

fn facts(choices: &mut Choices<'_>) -> Facts {
    let statuses = [None, Some(400), Some(401), Some(429), Some(500), Some(404)];
    let types = ["httpx.ReadError", "json.JSONDecodeError", "Odd", "asyncio.CancelledError", "KeyError"];
    Facts {
        stage: [Stage::Call, Stage::Open, Stage::Read][choices.below(3)],
        bytes: choices.yes(2),
        own_code: choices.yes(8),
        types: vec![choices.pick(&types).to_owned()],
        status: statuses[choices.below(statuses.len())],
        retry_after: choices.yes(3).then(|| choices.pick(&["0", "3", "900", "soon", "-1"]).to_owned()),
        ..Facts::default()
    }
}
