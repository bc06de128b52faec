//! Answers that arrive as they should and say what they should not: a key, a document that is none, a loop.
//!
//! Beside the world of a seed stands this smaller one, in which a policy has guards. What is forbidden is known here by
//! how it was made, and never asked of a guard: a key by where it was put, a document by another parser, a loop by
//! its line. Streams break off here, too, and every rung goes on from what was shown.

use core::time::Duration;
use std::sync::Arc;

use l0_engine::{
    Admission, AttemptId, Delivery, Ending, Facts, FaultClass, Instant, Mode, Part, Plan, Policy, Prefill,
    SessionState, Stage, Target,
};
use serde_json::json;

use crate::dice::Dice;
use crate::driver::{Breach, Chunk, Driver, Effect, Opening};
use crate::tally::{Promise, Tally, Violation};
use crate::world::broken;

/// What an answer may say that it should not, as it is called in reports.
pub const WRONGS: &[&str] = &["key", "key to be masked", "document that is none", "loop"];

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

/// One session of this world.
struct Case {
    what: usize,
    delivery: Delivery,
    fatal: bool,
    recoverable: bool,
    /// The answer as it should be.
    clean: String,
    /// The answer as it should not be.
    wrong: String,
    /// What of the wrong answer must not be shown.
    key: String,
    /// So many attempts are wrong before one is not.
    wrongs: usize,
    /// Attempts in a hundred that break off.
    cuts: u32,
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
    let mut desk =
        Desk { case, driver, now: Instant(1), shown: String::new(), openings: Vec::new(), seen: 0, cut: 0 };
    desk.run(dice, tally)?;
    desk.end(&policy, tally)
}

impl Case {
    fn of(dice: &mut Dice) -> Self {
        let what = dice.below(WRONGS.len());
        let (clean, wrong, key) = match what {
            0 | 1 => with_a_key(dice),
            2 => documents(dice),
            _ => {
                let clean = prose(dice, 30);
                let place = word_start(&clean, dice);
                (clean.clone(), format!("{}{}", &clean[..place], LINE.repeat(TIMES)), String::new())
            }
        };
        let fatal = what != 1 && dice.chance(15);
        Self {
            what,
            delivery: *dice.pick(&[Delivery::Live, Delivery::Guarded, Delivery::Guarded, Delivery::Whole]),
            fatal,
            recoverable: dice.chance(80),
            clean,
            wrong,
            key,
            wrongs: dice.below(4),
            cuts: *dice.pick(&[0, 0, 30]),
        }
    }

    fn policy(&self, dice: &mut Dice) -> Policy {
        let check = match self.what {
            0 | 1 => json!({"patterns": {"regexes": ["zq-[0-9a-f]{8}"]}}),
            2 => json!({"json": {}}),
            _ => json!({"repetition": {"min_repeats": 4, "min_chars": 100}}),
        };
        let mut guard = json!({"check": check, "name": "guard"});
        if self.what == 1 {
            guard["severity"] = json!("warn");
            guard["mask"] = json!(MASK);
        } else {
            guard["severity"] = json!(if self.fatal { "fatal" } else { "error" });
            guard["recoverable"] = json!(self.recoverable);
        }
        let mut policy = Policy::from_json(&json!({"guards": [guard]}).to_string())
            .unwrap_or_else(|error| panic!("{error}"));
        policy.delivery = self.delivery;
        if dice.chance(20) {
            policy.continuation.rungs.reverse();
        }
        policy
    }

    /// An answer as a consumer may have it.
    fn allowed(&self, answer: &str) -> String {
        if self.what == 1 { answer.replace(&self.key, MASK) } else { answer.to_owned() }
    }

    /// What comes of an answer behind what was shown; nothing where it cannot have been this answer.
    fn behind<'a>(&self, answer: &'a str, shown: &str) -> Option<&'a str> {
        let shown = shown.trim_end();
        if !self.allowed(answer).starts_with(shown) {
            return None;
        }
        let masks = if self.what == 1 { shown.matches(MASK).count() } else { 0 };
        answer.get(shown.len() - masks * MASK.len() + masks * self.key.len()..)
    }

    /// Whether a text may be shown.
    fn may_show(&self, shown: &str, tally: &mut Tally) -> Outcome {
        tally.checked(Promise::G1);
        let fits = |answer: &str| self.allowed(answer).starts_with(shown);
        let right = match self.what {
            // Of what is held back not a character is shown, and live not the chunk that completes it.
            0 if self.delivery == Delivery::Live => {
                fits(&self.clean) || fits(&self.wrong) && !shown.contains(&self.key)
            }
            0 => fits(&self.clean),
            1 => fits(&self.clean) || fits(&self.wrong),
            2 => {
                let parsed = serde_json::from_str::<serde_json::Value>(shown);
                parsed.map_or_else(
                    |error| error.is_eof() && (fits(&self.clean) || fits(&self.wrong)),
                    |_| fits(&self.clean),
                )
            }
            _ => fits(&self.clean) || fits(&self.wrong) && !shown.contains(&LINE.repeat(TIMES_MAX)),
        };
        let what = || format!("{shown:?} was shown, {} of {:?}", WRONGS[self.what], self.wrong);
        if right { Ok(()) } else { Err(broken(Promise::G1, what())) }
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
        let answers = if wrong { [&case.wrong, &case.clean] } else { [&case.clean, &case.wrong] };
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
            *tally.troubles.entry(WRONGS[case.what]).or_default() += 1;
        }
        let size = *dice.pick(&[1, 2, 5, 20, 400]);
        let chars: Vec<char> = text.chars().collect();
        let chunks: Vec<String> = chars.chunks(size).map(|chunk| chunk.iter().collect()).collect();
        let end = if dice.chance(case.cuts) { dice.below(chunks.len() + 1) } else { usize::MAX };
        for (number, text) in chunks.into_iter().enumerate().take(end) {
            let chunk = Chunk { number, part: Part { text, ..Part::default() } };
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
                Effect::Give(piece) => {
                    self.shown.push_str(&piece.chunk.part.text);
                    self.case.may_show(&self.shown, tally)?;
                }
                Effect::Reset => self.shown.clear(),
                _ => {}
            }
        }
        Ok(())
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
        let masked = case.what == 1 && self.shown == case.allowed(&case.wrong);
        if outcome.ending == Ending::Complete && !clean && !masked {
            return wrong(Promise::G1, "complete with what is wrong");
        }
        if session.text() != self.shown {
            return wrong(Promise::G1, "another text is known than was shown");
        }
        let objected = outcome
            .faults
            .iter()
            .filter(|fault| fault.class == FaultClass::Content && fault.code.as_deref() == Some("guard"));
        let objected = objected.count();
        tally.checked(Promise::G8);
        if case.what == 1 {
            if self.seen > 0 && outcome.objections.iter().all(|objection| !objection.masked) {
                return wrong(Promise::G8, "masked and not told");
            }
        } else if objected != self.seen {
            return wrong(Promise::G8, "what was wrong was not told");
        }
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
        let held = case.delivery == Delivery::Whole || case.delivery == Delivery::Guarded && case.what < 2;
        let hidden = held && self.cut == 0 && !case.fatal;
        let soon = case.wrongs < if case.recoverable { 3 } else { 2 };
        if hidden && soon && outcome.ending != Ending::Complete {
            return wrong(Promise::G4, "given up though the next attempt was right");
        }
        tally.checked(Promise::G6);
        let again = l0_engine::replay(Arc::clone(policy), self.driver.journal())
            .map_err(|diverged| broken(Promise::G6, format!("{diverged:?}")))?;
        if again.outcome() == Some(outcome) && again.text() == self.shown {
            Ok(())
        } else {
            wrong(Promise::G6, "replayed to something else")
        }
    }
}
