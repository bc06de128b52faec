//! Answers that arrive as they should and say what they should not: a key, a document that is none, a loop, a value
//! that is not what was asked for.
//!
//! Beside the world of a seed stands this smaller one, in which a policy has guards. What is forbidden is known here by
//! how it was made, and never asked of a guard: a key by where it was put, a document by another parser, a loop by
//! its line, a value by its text. Streams break off here, too, and every rung goes on from what was shown. Who reads
//! values puts some right, would rather not have others, and is itself broken at times.

use core::time::Duration;
use std::sync::Arc;

use l0_engine::{
    Admission, AttemptId, CallArgs, Checking, Delivery, Dissent, Ending, Facts, FaultClass, Instant, Mode,
    Part, Plan, Policy, Prefill, Reading, Rewrite, Ruling, SessionState, Stage, Target, ToolFragment,
};
use serde_json::json;

use crate::dice::Dice;
use crate::driver::{Breach, Chunk, Driver, Effect, Opening};
use crate::tally::{Promise, Tally, Violation};
use crate::world::broken;

/// What an answer may say that it should not, as it is called in reports.
pub const WRONGS: &[&str] = &[
    "key",
    "key to be masked",
    "document that is none",
    "loop",
    "drift",
    "value that does not fit",
    "call that does not",
];

/// The same, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Key,
    MaskedKey,
    Document,
    Loop,
    Drift,
    Value,
    Call,
}

impl What {
    const ALL: [Self; 7] =
        [Self::Key, Self::MaskedKey, Self::Document, Self::Loop, Self::Drift, Self::Value, Self::Call];

    /// Whether somebody reads the answer for a value.
    const fn is_read(self) -> bool {
        matches!(self, Self::Value | Self::Call)
    }

    /// What a fault is called that it amounts to.
    const fn code(self) -> &'static str {
        if matches!(self, Self::Drift) { "drift" } else { "guard" }
    }
}

/// What stands in the place of a key.
const MASK: &str = "[key]";
/// The line of a loop.
const LINE: &str = "and so the tide comes in, and the tide goes out, ";
/// How often it comes.
const TIMES: usize = 40;
/// How often it may be shown until it has been seen to be one.
const TIMES_MAX: usize = 8;
/// Attempts of one session at most.
const ATTEMPTS_MAX: usize = 30;

type Outcome = Result<(), Violation>;

/// Who reads an answer for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Careful,
    /// Takes whatever comes.
    Careless,
    /// Fails.
    Broken,
}

/// One session of this world.
struct Case {
    what: What,
    delivery: Delivery,
    fatal: bool,
    recoverable: bool,
    /// The answer as it should be.
    clean: String,
    /// The answer as it is said where it is right: a value may have to be put right.
    said: String,
    /// The answer as it should not be.
    wrong: String,
    /// What of the wrong answer must not be shown.
    key: String,
    /// So many attempts are wrong before one is not.
    wrongs: usize,
    /// Attempts in a hundred that break off.
    cuts: u32,
    reader: Reader,
}

/// Plays the smaller world of a seed.
///
/// # Errors
/// The first promise that was not kept.
pub fn play(seed: u64, tally: &mut Tally) -> Outcome {
    let dice = &mut Dice::new(seed, 3);
    let case = Case::of(dice);
    let policy = Arc::new(case.policy(dice));
    let target = |name| Target { prefill: *dice.pick(&[Prefill::Yes, Prefill::No]), ..Target::named(name) };
    let targets = ["a", "b"].map(target).to_vec();
    let plan = Plan { targets, seed, ..Plan::simple(Arc::clone(&policy)) };
    let driver = Driver::new(plan).map_err(|error| broken(Promise::Contract, error.to_string()))?;
    let mut desk = Desk {
        case,
        driver,
        now: Instant(1),
        shown: String::new(),
        openings: Vec::new(),
        seen: 0,
        cut: 0,
        asked: 0,
    };
    desk.run(dice, tally)?;
    desk.end(&policy, tally)
}

impl Case {
    fn of(dice: &mut Dice) -> Self {
        let what = *dice.pick(&What::ALL);
        let (clean, wrong, key) = match what {
            What::Key | What::MaskedKey => with_a_key(dice),
            What::Document | What::Value | What::Call => documents(dice),
            What::Loop | What::Drift => {
                let clean = prose(dice, 30);
                let place = word_start(&clean, dice);
                (clean.clone(), format!("{}{}", &clean[..place], LINE.repeat(TIMES)), String::new())
            }
        };
        let fatal = !matches!(what, What::MaskedKey | What::Drift) && dice.chance(15);
        let delivery = *dice.pick(&[Delivery::Live, Delivery::Guarded, Delivery::Guarded, Delivery::Whole]);
        let said = if what.is_read() && dice.chance(50) { format!("Here: {clean}!") } else { clean.clone() };
        Self {
            what,
            // A call is given to nobody before it was read, whatever the policy says.
            delivery: if what == What::Value { Delivery::Whole } else { delivery },
            fatal,
            recoverable: dice.chance(80),
            clean,
            said,
            wrong,
            key,
            wrongs: dice.below(4),
            cuts: *dice.pick(&[0, 0, 30]),
            reader: match dice.below(10) {
                0 if what.is_read() => Reader::Broken,
                1 if what == What::Call => Reader::Careless,
                _ => Reader::Careful,
            },
        }
    }

    fn policy(&self, dice: &mut Dice) -> Policy {
        let repetition = json!({"min_repeats": 4, "min_chars": 100});
        let read = |reads| json!({"user": {"version": "1", "on": "whole", "retries": 2, "reads": reads}});
        let check = match self.what {
            What::Key | What::MaskedKey => json!({"patterns": {"regexes": ["zq-[0-9a-f]{8}"]}}),
            What::Document => json!({"json": {}}),
            What::Loop | What::Drift => json!({"repetition": repetition}),
            What::Value => read("text"),
            What::Call => read("calls"),
        };
        let mut guard = json!({"check": check, "name": "guard"});
        if self.what == What::MaskedKey {
            guard["severity"] = json!("warn");
            guard["mask"] = json!(MASK);
        } else {
            guard["severity"] = json!(if self.fatal { "fatal" } else { "error" });
            guard["recoverable"] = json!(self.recoverable);
        }
        let action = if self.recoverable { "retry" } else { "fallback" };
        let policy = if self.what == What::Drift {
            json!({"drift": {"action": action, "repetition": repetition}})
        } else {
            json!({"guards": [guard]})
        };
        let mut policy = Policy::from_json(&policy.to_string()).unwrap_or_else(|error| panic!("{error}"));
        policy.delivery = self.delivery;
        if dice.chance(20) {
            policy.continuation.rungs.reverse();
        }
        policy
    }

    /// An answer as a consumer may have it.
    fn allowed(&self, answer: &str) -> String {
        if self.what == What::MaskedKey { answer.replace(&self.key, MASK) } else { answer.to_owned() }
    }

    /// What comes of an answer behind what was shown; nothing where it cannot have been this answer.
    fn behind<'a>(&self, answer: &'a str, shown: &str) -> Option<&'a str> {
        let shown = shown.trim_end();
        if !self.allowed(answer).starts_with(shown) {
            return None;
        }
        let masks = if self.what == What::MaskedKey { shown.matches(MASK).count() } else { 0 };
        answer.get(shown.len() - masks * MASK.len() + masks * self.key.len()..)
    }

    /// Whether a text may be shown.
    fn may_show(&self, shown: &str, tally: &mut Tally) -> Outcome {
        tally.checked(Promise::G1);
        let fits = |answer: &str| self.allowed(answer).starts_with(shown);
        let right = match self.what {
            // Of what is held back not a character is shown, and live not the chunk that completes it.
            What::Key if self.delivery == Delivery::Live => {
                fits(&self.clean) || fits(&self.wrong) && !shown.contains(&self.key)
            }
            // So is what is read before it is right and as it should be.
            What::Key | What::Value | What::Call => fits(&self.clean),
            What::MaskedKey => fits(&self.clean) || fits(&self.wrong),
            What::Document => {
                let parsed = serde_json::from_str::<serde_json::Value>(shown);
                parsed.map_or_else(
                    |error| error.is_eof() && (fits(&self.clean) || fits(&self.wrong)),
                    |_| fits(&self.clean),
                )
            }
            What::Loop | What::Drift => {
                fits(&self.clean) || fits(&self.wrong) && !shown.contains(&LINE.repeat(TIMES_MAX))
            }
        };
        let what = || format!("{shown:?} was shown, {} of {:?}", WRONGS[self.what as usize], self.wrong);
        if right { Ok(()) } else { Err(broken(Promise::G1, what())) }
    }

    /// What who reads an answer says of it.
    fn read(&self, checking: &Checking) -> Ruling {
        if self.reader == Reader::Broken {
            return Ruling::Failed(Facts { types: vec!["KeyError".to_owned()], ..Facts::default() });
        }
        if self.reader == Reader::Careless {
            return Ruling::Read(Reading::default());
        }
        let called = checking.calls.first().map(|(_, call)| call.args.as_str());
        let said = if self.what == What::Call { called.unwrap_or("") } else { &checking.whole };
        if said == self.clean {
            return Ruling::Read(Reading::default());
        }
        if said == self.said {
            let whole = self.clean.clone();
            let rewrite = match self.what {
                What::Call => Rewrite::Args(CallArgs { index: 0, args: whole }),
                _ => Rewrite::Text(whole),
            };
            let fixes = vec!["prose".to_owned()];
            return Ruling::Read(Reading { fixes, rewrites: vec![rewrite], ..Reading::default() });
        }
        let dissent =
            Dissent { guard: 0, reason: "items: wrong".to_owned(), errors: vec!["items: wrong".to_owned()] };
        Ruling::Read(Reading {
            dissents: vec![dissent],
            fields: vec!["items".to_owned()],
            ..Reading::default()
        })
    }
}

fn prose(dice: &mut Dice, words: usize) -> String {
    const WORDS: &[&str] = &[
        "tide ",
        "harbour ",
        "gulls, ",
        "lantern.\n\n",
        "fog ",
        "b\u{e9}ton ",
        "\u{1f680} ",
        "zq-12 ",
        "zq ",
        "buoy ",
    ];
    let words: Vec<&str> = (0..dice.within(words / 2, words)).map(|_| *dice.pick(WORDS)).collect();
    // Words that no line of these is made of, so that it does not look like a loop.
    format!("Seen at {}: {}", dice.below(1_000_000), words.concat())
}

/// Where a word begins, behind the first, that is no near miss of a key.
fn word_start(text: &str, dice: &mut Dice) -> usize {
    let starts = text.match_indices(' ').map(|(at, _)| at + 1);
    let starts: Vec<usize> = starts.filter(|&at| !text[at..].starts_with('z')).collect();
    *dice.pick(&starts)
}

fn with_a_key(dice: &mut Dice) -> (String, String, String) {
    let clean = prose(dice, 30);
    let place = word_start(&clean, dice);
    let key = format!("zq-{:08x}", dice.bits());
    let wrong = format!("{}{key} {}", &clean[..place], &clean[place..]);
    (clean, wrong, key)
}

fn documents(dice: &mut Dice) -> (String, String, String) {
    let items: Vec<serde_json::Value> = (0..dice.within(1, 6))
        .map(|n| json!({"n": n, "word": *dice.pick(&["tide", "b\u{e9}ton", "a \"b\" {c}"]), "list": [1, 2.5, null]}))
        .collect();
    let clean = json!({"items": items}).to_string();
    let place = dice.within(1, clean.len() - 1);
    let place = (place..clean.len()).find(|&at| clean.is_char_boundary(at)).unwrap_or(clean.len());
    let wrong = match dice.below(3) {
        // It ends too early; something is missing in it; it goes on in words.
        0 => clean[..place].to_owned(),
        1 => format!("{}{}", &clean[..place], clean[place..].chars().skip(1).collect::<String>()),
        _ => format!("{}, and so on", &clean[..place]),
    };
    let is_wrong = serde_json::from_str::<serde_json::Value>(&wrong).is_err();
    (clean, if is_wrong { wrong } else { "{".to_owned() }, String::new())
}

/// A session, its consumer, and what is known of its attempts.
struct Desk {
    case: Case,
    driver: Driver,
    now: Instant,
    shown: String,
    openings: Vec<Opening>,
    /// Attempts that said all that is wrong.
    seen: usize,
    /// Attempts that broke off.
    cut: usize,
    /// How often somebody was asked to read an answer.
    asked: usize,
}

impl Desk {
    fn run(&mut self, dice: &mut Dice, tally: &mut Tally) -> Outcome {
        let effects = self.driver.start(self.now);
        self.carry_out(effects, tally)?;
        for number in 0.. {
            while self.driver.session().state() == SessionState::Waiting {
                self.now = self.driver.session().poll_timeout(None).unwrap_or(self.now).max(self.now);
                let effects = self.driver.timeout(self.now, None);
                self.carry_out(effects, tally)?;
            }
            if self.driver.session().state() == SessionState::Done {
                return Ok(());
            }
            if number > ATTEMPTS_MAX {
                break;
            }
            self.attempt(number < self.case.wrongs, dice, tally)?;
        }
        Err(broken(Promise::Liveness, format!("more than {ATTEMPTS_MAX} attempts")))
    }

    /// The attempt that was opened last says what it says, in chunks, until nobody wants it any more.
    fn attempt(&mut self, wrong: bool, dice: &mut Dice, tally: &mut Tally) -> Outcome {
        let Some(opening) = self.openings.last().cloned() else { return Ok(()) };
        let case = &self.case;
        let answers = if wrong { [&case.wrong, &case.said] } else { [&case.said, &case.wrong] };
        let said = |answer: &str| match opening.mode {
            Mode::Fresh | Mode::Rerun => Some(answer.to_owned()),
            Mode::Prompt => {
                case.behind(answer, &opening.shown).map(|rest| format!("{}{rest}", opening.anchor))
            }
            Mode::Prefill | Mode::Native => case.behind(answer, &opening.shown).map(str::to_owned),
        };
        // Who was shown an answer of one kind is not gone on with in the other.
        let Some((answer, text)) = answers.iter().find_map(|answer| Some((*answer, said(answer)?))) else {
            return Err(broken(Promise::G1, format!("{:?} is of no answer", opening.shown)));
        };
        let is_wrong = *answer == case.wrong;
        if is_wrong {
            *tally.troubles.entry(WRONGS[case.what as usize]).or_default() += 1;
        }
        let size = *dice.pick(&[1, 2, 5, 20, 400]);
        let chars: Vec<char> = text.chars().collect();
        let chunks: Vec<String> = chars.chunks(size).map(|chunk| chunk.iter().collect()).collect();
        let end = if dice.chance(case.cuts) { dice.below(chunks.len() + 1) } else { usize::MAX };
        let calls = case.what == What::Call;
        let mut name = calls.then(|| "tool".to_owned());
        for (number, text) in chunks.into_iter().enumerate().take(end) {
            let part = if calls {
                let (id, name) = (name.clone(), name.take());
                let fragment = ToolFragment { index: 0, id, name, args: text, last: false };
                Part { tools: vec![fragment], ..Part::default() }
            } else {
                Part { text, ..Part::default() }
            };
            let chunk = Chunk { number, part };
            let effects = self.driver.chunk(self.now, opening.attempt, Duration::ZERO, chunk);
            tally.chunks += 1;
            self.carry_out(effects, tally)?;
            if self.is_over(opening.attempt) {
                self.seen += usize::from(is_wrong);
                return Ok(());
            }
        }
        let effects = if end == usize::MAX {
            self.seen += usize::from(is_wrong);
            self.driver.ended(self.now, opening.attempt)
        } else {
            self.cut += 1;
            let types = vec!["httpx.ReadError".to_owned()];
            let facts = Facts { stage: Stage::Read, bytes: true, types, ..Facts::default() };
            self.driver.failed(self.now, opening.attempt, facts)
        };
        self.carry_out(effects, tally)
    }

    fn is_over(&self, attempt: AttemptId) -> bool {
        let session = self.driver.session();
        session.opening().is_none_or(|opening| opening.attempt != attempt)
    }

    fn carry_out(&mut self, effects: Result<Vec<Effect>, Breach>, tally: &mut Tally) -> Outcome {
        for effect in effects.map_err(|breach| broken(Promise::Contract, breach.0))? {
            match effect {
                Effect::Ask { .. } => {
                    let effects = self.driver.admitted(self.now, Admission::Granted);
                    self.carry_out(effects, tally)?;
                }
                Effect::Open(opening) => self.openings.push(opening),
                Effect::Check { attempt, check } => {
                    self.asked += 1;
                    let checking = self.driver.session().checking();
                    let checking = checking.filter(|asked| (asked.attempt, asked.check) == (attempt, check));
                    let Some(checking) = checking else {
                        return Err(broken(Promise::Contract, "nothing is asked".to_owned()));
                    };
                    let ruling = self.case.read(&checking);
                    let effects = self.driver.judged(self.now, attempt, check, ruling);
                    self.carry_out(effects, tally)?;
                }
                Effect::Give(piece) => {
                    self.shown.push_str(&piece.chunk.part.text);
                    for fragment in &piece.chunk.part.tools {
                        self.shown.push_str(&fragment.args);
                    }
                    self.case.may_show(&self.shown, tally)?;
                }
                Effect::Reset => self.shown.clear(),
                _ => {}
            }
        }
        Ok(())
    }

    /// What is told of reading values is what happened.
    fn agrees(&self, outcome: &l0_engine::Outcome) -> Result<(), &'static str> {
        let case = &self.case;
        let misfits: u32 = outcome.misfits.iter().map(|misfits| misfits.count).sum();
        let reasks = self.openings.iter().filter(|opening| opening.instruction.contains("items: wrong"));
        let seen = if case.reader == Reader::Broken || !case.what.is_read() { 0 } else { self.seen };
        let complete = outcome.ending == Ending::Complete;
        let put_right = complete && case.said != case.clean;
        let last = outcome.faults.last().and_then(|fault| fault.code.as_deref());
        let refused = matches!(outcome.ending, Ending::Content | Ending::Incomplete) && last == Some("guard");
        if misfits as usize != seen {
            Err("what did not fit was counted otherwise")
        } else if outcome.reasks as usize != reasks.count() {
            Err("what was asked again was counted otherwise")
        } else if outcome.repaired.is_empty() == put_right {
            Err("put right and not told, or the other way round")
        } else if outcome.unfit != (refused && case.what.is_read()) {
            Err("refused for a value and not told, or the other way round")
        } else {
            Ok(())
        }
    }

    /// How it ended is right, and decided again in the same way.
    fn end(&self, policy: &Arc<Policy>, tally: &mut Tally) -> Outcome {
        let session = self.driver.session();
        let Some(outcome) = session.outcome() else { return Ok(()) };
        let case = &self.case;
        let wrong =
            |promise, what: &str| Err(broken(promise, format!("{what}: {outcome:?} {:?}", self.shown)));
        tally.checked(Promise::G4);
        let clean = self.shown == case.clean;
        let masked = case.what == What::MaskedKey && self.shown == case.allowed(&case.wrong);
        if outcome.ending == Ending::Complete && !clean && !masked {
            return wrong(Promise::G1, "complete with what is wrong");
        }
        let called: String = session.tool_calls().map(|call| call.args.as_str()).collect();
        let known = if case.what == What::Call { &called } else { session.text() };
        if known != self.shown {
            return wrong(Promise::G1, "another text is known than was shown");
        }
        if case.reader == Reader::Careless {
            // Then it is the engine that gives no call but a whole one; nobody put anything right.
            tally.checked(Promise::G2);
            let replays = l0_engine::replay(Arc::clone(policy), self.driver.journal()).is_ok();
            let whole = outcome.ending != Ending::Complete || clean && case.said == case.clean;
            return if whole && replays { Ok(()) } else { wrong(Promise::G2, "a broken call is complete") };
        }
        if case.reader == Reader::Broken && self.asked > 0 {
            let replays = l0_engine::replay(Arc::clone(policy), self.driver.journal());
            let raised = matches!(outcome.ending, Ending::Raise(_)) && replays.is_ok();
            return if raised { Ok(()) } else { wrong(Promise::G4, "who could not say was asked again") };
        }
        let objected = outcome.faults.iter().filter(|fault| {
            fault.class == FaultClass::Content && fault.code.as_deref() == Some(case.what.code())
        });
        let objected = objected.count();
        tally.checked(Promise::G8);
        if case.what == What::MaskedKey {
            if self.seen > 0 && outcome.objections.iter().all(|objection| !objection.masked) {
                return wrong(Promise::G8, "masked and not told");
            }
        } else if objected != self.seen {
            return wrong(Promise::G8, "what was wrong was not told");
        }
        self.agrees(outcome).map_err(|what| broken(Promise::G8, format!("{what}: {outcome:?}")))?;
        if self.seen == 0
            && self.cut == 0
            && !(clean && outcome.faults.is_empty() && outcome.objections.is_empty())
        {
            return wrong(Promise::G7, "an answer that is right was objected to");
        }
        if case.fatal && self.seen > 0 && outcome.ending != Ending::Content {
            return wrong(Promise::G4, "what is fatal did not end it");
        }
        // Where nothing that is wrong was shown, and nothing else went wrong, the next attempt makes it right. Of a loop
        // and of a document the beginning is shown, which nobody can know to be one.
        let is_key = matches!(case.what, What::Key | What::MaskedKey);
        let held = case.delivery == Delivery::Whole
            || case.what.is_read()
            || case.delivery == Delivery::Guarded && is_key;
        let hidden = held && self.cut == 0 && !case.fatal;
        let soon = case.wrongs < if case.recoverable { 3 } else { 2 };
        if hidden && soon && outcome.ending != Ending::Complete {
            return wrong(Promise::G4, "given up though the next attempt was right");
        }
        tally.checked(Promise::G6);
        let again = l0_engine::replay(Arc::clone(policy), self.driver.journal())
            .map_err(|diverged| broken(Promise::G6, format!("{diverged:?}")))?;
        if again.outcome() == Some(outcome) && again.text() == session.text() {
            Ok(())
        } else {
            wrong(Promise::G6, "replayed to something else")
        }
    }
}
