//! What a seed switches on. Every seed has a random few of all faults and options, because a world in which
//! everything goes wrong at once shows other mistakes than one in which a single thing does.

use core::time::Duration;
use std::sync::Arc;

use l0_engine::{Delivery, Jitter, Plan, Policy, Prefill, Refusal, Rung, Target, Terminal};

use crate::answer::{Answer, Wish};
use crate::dice::Dice;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// Everything that can go wrong in a world.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Trouble { $($(#[$doc])* $name,)* }

        impl Trouble {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

faults! {
    /// No connection.
    Refused = "connection refused",
    /// The response never begins.
    OpenStall = "stall while opening",
    /// Too many requests.
    Throttled = "429",
    /// Too many requests, and when to come back.
    ThrottledUntil = "429 with Retry-After",
    /// A 429 for several calls in a row.
    Storm = "429 storm",
    /// The server cannot now.
    Unavailable = "5xx, 408 or 409",
    /// The request is wrong.
    BadRequest = "400",
    /// A request that begins an answer is.
    NoPrefill = "400 on a continuation",
    /// The prompt is too long.
    ContextLength = "context length",
    /// The key does not fit.
    Unauthorized = "401 or 403",
    /// The certificate does not.
    Certificate = "certificate",
    /// Nothing left to pay with.
    Quota = "quota",
    /// A filter stops the request.
    Filtered = "content filter at the request",
    /// The caller's own code raises.
    CallerBug = "a bug of the caller's",
    /// Silence in the middle.
    Stall = "stall",
    /// Silence but for keep-alives.
    Hum = "keep-alives for ever",
    /// The stream breaks.
    Cut = "cut by an error",
    /// The stream ends before its end.
    Ended = "cut by an end",
    /// A chunk is lost.
    Lost = "chunk lost",
    /// Two chunks change places.
    Swapped = "chunks swapped",
    /// A chunk comes twice.
    Repeated = "chunk repeated",
    /// The last chunks come twice.
    Tail = "tail repeated",
    /// Nothing comes.
    Empty = "empty",
    /// Only a role comes.
    RoleOnly = "role only",
    /// Only white space comes.
    Blank = "white space only",
    /// Only thoughts come.
    ThoughtOnly = "reasoning only",
    /// An error inside a response that had begun well.
    ErrorEvent = "error event",
    /// Bytes that are no message.
    Garbled = "garbled bytes",
    /// The client's own clock runs out.
    ClientStall = "the client's own timeout",
    /// It says it failed.
    FinishError = "finish: error",
    /// It says it was filtered.
    FinishFiltered = "finish: filtered or refused",
    /// It says it is as long as allowed.
    FinishLength = "finish: length",
    /// It does not say that it finished.
    FinishMissing = "finish missing",
    /// It says so too early.
    FinishEarly = "text after the finish",
    /// It breaks after having finished.
    DiesFinished = "cut after the finish",
    /// It hangs after having finished.
    HangsFinished = "hangs after the finish",
    /// The arguments of a call are no JSON.
    BadArguments = "arguments that are no JSON",
    /// An asked-for continuation starts over in the same words.
    StartsOver = "restart in the same words",
    /// An asked-for continuation starts over in other words.
    OtherWords = "restart in other words",
    /// A continuation is not quite what was asked for.
    Careless = "imperfect continuation",
    /// The words to repeat are not repeated.
    NoAnchor = "anchor missing",
    /// Everything takes long, though not too long.
    Slow = "slow",
    /// The consumer leaves.
    Leaves = "consumer leaves",
    /// The consumer takes its time.
    Dawdles = "slow consumer",
    /// The process dies.
    Dies = "process dies",
    /// And the journal's end is lost with it.
    Torn = "torn journal",
    /// Timers ring late.
    LateTimers = "late timers",
    /// Stale, early and repeated calls.
    Noise = "stale and repeated calls",
}

/// How a target answers, whatever happens to its stream.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "habits have nothing to do with each other")]
pub struct Habits {
    /// The phrasings it chooses among, by their place in the question's list.
    pub phrasings: Vec<usize>,
    /// Characters of text in a chunk at most.
    pub chunk_chars: usize,
    /// It counts its events.
    pub counts: bool,
    /// It says that a call is at its end.
    pub marks_calls: bool,
    /// It sends an empty chunk first.
    pub role_first: bool,
    /// It sends its usage.
    pub usage: bool,
    /// It sends its finish reason.
    pub finish: bool,
    /// It sends log-probabilities.
    pub logprobs: bool,
    /// How it sends calls that stand next to each other.
    pub calls: CallStyle,
    /// Nothing ever goes wrong with it.
    pub sound: bool,
}

/// How calls that stand next to each other are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallStyle {
    /// One after another, in fragments.
    InTurn,
    /// Fragment by fragment in turn.
    Interleaved,
    /// Each in one chunk.
    Whole,
    /// All in one chunk.
    Together,
}

/// One session of a world: what is asked, and by whom.
#[derive(Debug, Clone)]
pub struct Question {
    /// The plan the engine is given.
    pub plan: Plan,
    /// The ways to answer.
    pub phrasings: Vec<Answer>,
    /// When it begins, in nanoseconds.
    pub begins: u64,
    /// When the consumer leaves, if it does.
    pub leaves: Option<u64>,
    /// After how many pieces the consumer leaves, if it does.
    pub enough: Option<usize>,
}

/// What a seed switches on.
#[derive(Debug, Clone)]
pub struct Swarm {
    /// The troubles there are.
    pub troubles: Vec<Trouble>,
    /// Attempts in a hundred that something happens to.
    pub rate: u32,
    /// After so many attempts of a session nothing happens to it any more.
    pub calm_after: u32,
    /// What the targets do.
    pub habits: Vec<Habits>,
    /// The sessions.
    pub questions: Vec<Question>,
    /// Deaths of the process, by the number of effects carried out before each.
    pub deaths: Vec<usize>,
    /// Failures each target's breaker has already seen.
    pub history: Vec<usize>,
}

impl Swarm {
    /// What this seed switches on.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let dice = &mut Dice::new(seed, 1);
        let troubles = troubles(dice);
        let has = |trouble| troubles.contains(&trouble);
        let policy = policy(dice);
        let targets = targets(dice);
        let sound = dice.chance(40).then(|| dice.below(targets.len()));
        let voices: Vec<usize> =
            targets.iter().map(|_| if dice.chance(60) { 0 } else { dice.below(3) }).collect();
        let habits = (0..targets.len()).map(|at| habits(dice, sound == Some(at), voices[at])).collect();
        let many = policy.limits.concurrent.is_some() || dice.chance(10);
        let count = if many { dice.within(2, 4) } else { 1 };
        let policy = Arc::new(policy);
        let questions = (0..count)
            .map(|_| {
                let streamed = dice.chance(85);
                let begins = dice.millis(0, 2_000);
                let total = u64::try_from(policy.timeouts.total.as_millis()).unwrap_or(60_000);
                let leaves =
                    (has(Trouble::Leaves) && dice.chance(60)).then(|| begins + dice.millis(0, total / 20));
                let enough = (has(Trouble::Leaves) && dice.chance(60)).then(|| dice.within(0, 30));
                // Most answers take seconds: most deadlines that matter pass in the middle of one.
                let within = if dice.chance(50) { total.min(8_000) } else { total };
                let late = if dice.chance(10) { 0 } else { dice.millis(0, within) };
                let often = if has(Trouble::LateTimers) { 50 } else { 15 };
                let deadline = dice.chance(often).then_some(l0_engine::Instant(begins + late));
                let plan = Plan {
                    policy: Arc::clone(&policy),
                    targets: targets.clone(),
                    seed: u64::from(dice.bits()),
                    streamed,
                    deadline,
                    recorded: true,
                };
                Question { plan, phrasings: phrasings(dice), begins, leaves, enough }
            })
            .collect();
        let deaths = if has(Trouble::Dies) {
            (0..dice.within(1, 4)).map(|_| dice.below(60)).collect()
        } else {
            vec![]
        };
        let history = targets.iter().map(|_| if dice.chance(20) { dice.within(1, 12) } else { 0 }).collect();
        let rate = *dice.pick(&[25, 50, 80, 100]);
        let calm_after = *dice.pick(&[2, 3, 5, u32::MAX]);
        Self { troubles, rate, calm_after, habits, questions, deaths, history }
    }

    /// Whether this trouble is on.
    #[must_use]
    pub fn has(&self, trouble: Trouble) -> bool {
        self.troubles.contains(&trouble)
    }
}

/// What breaks an answer in the middle, and how an upstream goes on after that.
const MIDWAY: &[Trouble] = &[
    Trouble::Stall,
    Trouble::Hum,
    Trouble::Cut,
    Trouble::Ended,
    Trouble::Lost,
    Trouble::Swapped,
    Trouble::ErrorEvent,
    Trouble::FinishMissing,
    Trouble::NoPrefill,
    Trouble::StartsOver,
    Trouble::OtherWords,
    Trouble::Careless,
    Trouble::NoAnchor,
    Trouble::Dies,
    Trouble::Torn,
];

/// What keeps an answer from beginning.
const CROWDED: &[Trouble] = &[
    Trouble::Refused,
    Trouble::Throttled,
    Trouble::ThrottledUntil,
    Trouble::Storm,
    Trouble::Unavailable,
    Trouble::OpenStall,
    Trouble::LateTimers,
];

fn troubles(dice: &mut Dice) -> Vec<Trouble> {
    let (of, percent) = match dice.below(20) {
        0 => return Vec::new(),
        1..=8 => (MIDWAY, 55),
        9..=11 => (CROWDED, 60),
        12..=14 => (Trouble::ALL, 4),
        15..=17 => (Trouble::ALL, 12),
        _ => (Trouble::ALL, 50),
    };
    let mut troubles: Vec<Trouble> = of.iter().copied().filter(|_| dice.chance(percent)).collect();
    // Anything may come on top.
    troubles.push(*dice.pick(Trouble::ALL));
    troubles.dedup();
    troubles
}

fn policy(dice: &mut Dice) -> Policy {
    let mut policy = match dice.below(4) {
        0 => Policy::interactive(),
        1 => Policy::batch(),
        2 => Policy::strict(),
        _ => Policy::default(),
    };
    let retry = &mut policy.retry;
    if dice.chance(50) {
        retry.attempts = u32::try_from(dice.within(1, 4)).unwrap_or(1);
        retry.max_retries = u32::try_from(dice.within(0, 9)).unwrap_or(1);
    }
    retry.jitter =
        *dice.pick(&[Jitter::Full, Jitter::Full, Jitter::Equal, Jitter::Decorrelated, Jitter::None]);
    if dice.chance(20) {
        retry.retry_after_slack = Duration::from_millis(dice.below(9_000) as u64);
    }
    if dice.chance(15) {
        policy.budget.tokens = u32::try_from(dice.within(0, 60)).unwrap_or(1);
    }
    if dice.chance(30) {
        policy.breaker.min_outcomes = u32::try_from(dice.within(1, 6)).unwrap_or(1);
    }
    if dice.chance(10) {
        policy.limits.concurrent = u32::try_from(dice.within(1, 2)).ok();
    }
    policy.delivery =
        *dice.pick(&[Delivery::Live, Delivery::Live, Delivery::Live, Delivery::Guarded, Delivery::Whole]);
    if dice.chance(60) {
        let mut rungs = vec![Rung::Native, Rung::Prefill, Rung::Prompt, Rung::Rerun];
        if dice.chance(30) {
            rungs.push(Rung::Reset);
        }
        let keep = *dice.pick(&[20, 50, 80, 100]);
        rungs.retain(|_| dice.chance(keep));
        if dice.chance(25) && rungs.len() > 1 {
            let (from, to) = (dice.below(rungs.len()), dice.below(rungs.len()));
            rungs.swap(from, to);
        }
        policy.continuation.rungs = rungs;
    }
    if dice.chance(10) {
        policy.continuation.prompt = Some("Say {anchor} and go on.".to_owned());
    }
    if dice.chance(30) {
        policy.refusal = Refusal::Next;
    }
    policy
}

fn targets(dice: &mut Dice) -> Vec<Target> {
    let count = *dice.pick(&[1, 1, 2, 2, 3, 4]);
    let declared = *dice.pick(&[Terminal::EndOfStream, Terminal::FinishReason, Terminal::Status]);
    (0..count)
        .map(|at| Target {
            name: format!("t{at}"),
            credentials: dice.chance(40).then(|| (*dice.pick::<&str>(&["k", "l"])).to_owned()),
            terminal: if dice.chance(70) { declared } else { Terminal::EndOfStream },
            reasons: dice.chance(25),
            prefill: *dice.pick(&[Prefill::Yes, Prefill::Untold, Prefill::No]),
            native: dice.chance(20),
            whole: dice.chance(10),
            context_window: dice.chance(50).then(|| 1_000 * (1 + dice.below(8)) as u64),
            quality: None,
            cost: None,
        })
        .collect()
}

fn habits(dice: &mut Dice, sound: bool, voice: usize) -> Habits {
    let phrasings = match dice.below(4) {
        // The same answer every time.
        0 | 1 => vec![voice],
        // The same answer, or one that differs in a word.
        2 => vec![voice, 3],
        // Whatever comes to mind.
        _ => vec![0, 1, 2, 3],
    };
    Habits {
        phrasings,
        chunk_chars: *dice.pick(&[1, 3, 8, 40, 2_000]),
        counts: dice.chance(40),
        marks_calls: dice.chance(40),
        role_first: dice.chance(50),
        usage: dice.chance(60),
        finish: dice.chance(60),
        logprobs: dice.chance(15),
        calls: *dice.pick(&[
            CallStyle::InTurn,
            CallStyle::Interleaved,
            CallStyle::Whole,
            CallStyle::Together,
        ]),
        sound,
    }
}

/// Three answers in different words, and the first with another word in it.
fn phrasings(dice: &mut Dice) -> Vec<Answer> {
    let wish = Wish {
        calls: dice.chance(35),
        reasoning: dice.chance(25),
        opaque: dice.chance(15),
        json: dice.chance(10),
        short: dice.chance(10),
    };
    let mut phrasings: Vec<Answer> = (0..3).map(|voice| Answer::write(dice, voice, wish)).collect();
    let other = phrasings[0].with_another_word(dice);
    phrasings.push(other);
    phrasings
}
