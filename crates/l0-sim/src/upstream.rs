//! Upstreams: what a model would answer, what goes wrong with it, and what therefore is right.
//!
//! A [`Script`] is made when an attempt is opened. It holds what will arrive and when, and what the oracle needs to
//! know about it: the whole message that is right if the attempt completes it (or that nothing of it may be shown), and
//! whether it should end well or with which fault. The oracle reads this from what the upstream *means*, never from
//! what the engine does.

use core::time::Duration;

use l0_engine::{
    AttemptId, Facts, FaultClass, LogProb, Mode, Opaque, Part, Stage, Target, Terminal, Timeouts,
    ToolFragment, Usage,
};

use crate::answer::{Answer, Element, Wish};
use crate::dice::Dice;
use crate::driver::{Chunk, Opening};
use crate::message::{Mark, Message};
use crate::swarm::{CallStyle, Habits, Question, Swarm, Trouble};

/// How the beginning of a response goes.
#[derive(Debug, Clone)]
pub enum Opens {
    /// It begins after so many nanoseconds.
    After(u64),
    /// It fails after so many.
    Fails(u64, Facts),
    /// It never does anything.
    Never,
}

/// How a response ends, after its last chunk.
#[derive(Debug, Clone)]
pub enum Close {
    /// By itself.
    Ends(u64),
    /// With an exception.
    Fails(u64, Facts),
    /// It hangs, with a keep-alive every so many nanoseconds if there is a number.
    Hangs(Option<u64>),
}

/// What should come of an attempt that is let run to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It completes the answer.
    Completes,
    /// It fails in this way.
    Fails(FaultClass),
}

/// One attempt as the world will play it.
#[derive(Debug, Clone)]
pub struct Script {
    /// How it begins.
    pub opens: Opens,
    /// What arrives: nanoseconds after the event before, and the chunk.
    pub steps: Vec<(u64, Chunk)>,
    /// How it ends.
    pub close: Close,
    /// The whole message that is right once this attempt is complete. Nothing if none of it may be shown.
    pub truth: Option<Message>,
    /// Whether a refusal to join a right answer would be a mistake.
    pub must_join: bool,
    /// What should come of it.
    pub expect: Expect,
    /// When it asked to be asked again at the earliest.
    pub floor: Option<Duration>,
    /// What went wrong with it, for the statistics.
    pub troubles: Vec<Trouble>,
}

/// Everything an upstream knows when it is called.
pub struct Call<'a> {
    /// What it was sent.
    pub opening: &'a Opening,
    /// What the consumer has.
    pub shown: &'a Message,
    /// What is asked.
    pub question: &'a Question,
    /// What the world has switched on.
    pub swarm: &'a Swarm,
    /// The target.
    pub target: &'a Target,
    /// What it always does.
    pub habits: &'a Habits,
    /// Calls that a storm still refuses.
    pub storm: &'a mut usize,
}

/// What an upstream means to say, before anything happens to it.
struct Meant {
    /// Text that the seam has to drop.
    lead: String,
    elements: Vec<Element>,
    joins: Joins,
    must_join: bool,
}

/// How what is said has to be joined to what was shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joins {
    /// It is all there is.
    Alone,
    /// It goes on, behind its lead.
    Behind,
    /// It says everything again.
    Again,
    /// Not at all: it is neither a continuation nor the same again.
    Never,
}

impl Script {
    /// What this upstream will do.
    #[must_use]
    pub fn of(call: &mut Call<'_>, dice: &mut Dice) -> Self {
        let trouble = call.trouble(dice);
        if let Some((facts, class)) = trouble.and_then(|trouble| call.refusal(trouble, dice)) {
            let floor = facts.retry_after();
            let script = Self {
                opens: Opens::Fails(dice.millis(1, 900), facts),
                steps: Vec::new(),
                close: Close::Hangs(None),
                truth: None,
                must_join: false,
                expect: Expect::Fails(class),
                floor,
                troubles: trouble.into_iter().collect(),
            };
            return script;
        }
        if trouble == Some(Trouble::OpenStall) {
            return Self {
                opens: Opens::Never,
                steps: Vec::new(),
                close: Close::Hangs(None),
                truth: None,
                must_join: false,
                expect: Expect::Fails(FaultClass::Stall),
                floor: None,
                troubles: vec![Trouble::OpenStall],
            };
        }
        let (meant, careless) = call.meant(dice);
        let mut emission = Emission::of(&meant, call, trouble, dice);
        let mut troubles: Vec<Trouble> = careless.into_iter().collect();
        if let Some(trouble) = trouble
            && emission.suffers(trouble, call, dice)
        {
            troubles.push(trouble);
        }
        emission.number(call.habits, dice);
        emission.corrupt(&mut troubles, dice);
        emission.script(call, &meant, troubles, dice)
    }
}

impl Call<'_> {
    /// Whether nothing goes wrong here, or nothing more.
    fn is_calm(&self) -> bool {
        self.habits.sound || self.opening.attempt.0 >= self.swarm.calm_after
    }

    /// Whether this upstream is careless in this way, this time.
    fn is_wild(&self, trouble: Trouble, dice: &mut Dice) -> bool {
        !self.is_calm() && self.swarm.has(trouble) && dice.chance(self.swarm.rate / 2)
    }

    /// What goes wrong this time, if anything does.
    fn trouble(&mut self, dice: &mut Dice) -> Option<Trouble> {
        if self.is_calm() {
            return None;
        }
        if *self.storm > 0 {
            *self.storm -= 1;
            return Some(Trouble::Storm);
        }
        let upstream: Vec<Trouble> =
            self.swarm.troubles.iter().copied().filter(|trouble| *trouble < Trouble::StartsOver).collect();
        if upstream.is_empty() || !dice.chance(self.swarm.rate) {
            return None;
        }
        let trouble = *dice.pick(&upstream);
        if trouble == Trouble::Storm {
            *self.storm = dice.within(1, 6);
        }
        Some(trouble)
    }

    /// The exception a trouble of the beginning means, and its class.
    fn refusal(&self, trouble: Trouble, dice: &mut Dice) -> Option<(Facts, FaultClass)> {
        let continues = self.opening.mode != Mode::Fresh && self.opening.mode != Mode::Rerun;
        let network = [
            "httpx.ConnectError",
            "httpx.ConnectTimeout",
            "aiohttp.ServerDisconnectedError",
            "socket.gaierror",
        ];
        Some(match trouble {
            Trouble::Refused => (raised(Stage::Open, dice.pick::<&str>(&network)), FaultClass::Network),
            Trouble::Throttled => (status(429, "openai.RateLimitError"), FaultClass::Overload),
            Trouble::ThrottledUntil | Trouble::Storm => {
                let mut facts = status(429, "openai.RateLimitError");
                if trouble == Trouble::ThrottledUntil || dice.chance(50) {
                    ask_to_wait(&mut facts, dice);
                }
                (facts, FaultClass::Overload)
            }
            Trouble::Unavailable => {
                let code = *dice.pick(&[500, 502, 503, 504, 529, 408, 409]);
                (status(code, "client.APIStatusError"), FaultClass::Overload)
            }
            Trouble::BadRequest => {
                (status(*dice.pick(&[400, 404, 413, 422]), "client.Error"), FaultClass::Request)
            }
            Trouble::NoPrefill if continues => (status(400, "client.Error"), FaultClass::Request),
            Trouble::ContextLength => {
                let facts = status(400, "openai.BadRequestError");
                (Facts { code: Some("context_length_exceeded".into()), ..facts }, FaultClass::Request)
            }
            Trouble::Unauthorized => (status(*dice.pick(&[401, 403]), "client.Error"), FaultClass::Auth),
            Trouble::Certificate => {
                let mut facts = raised(Stage::Open, "openai.APIConnectionError");
                facts.types.push("ssl.SSLCertVerificationError".into());
                (facts, FaultClass::Auth)
            }
            Trouble::Quota => {
                let facts = status(429, "openai.RateLimitError");
                (Facts { code: Some("insufficient_quota".into()), ..facts }, FaultClass::Quota)
            }
            Trouble::Filtered => {
                let facts = status(400, "openai.BadRequestError");
                (Facts { code: Some("content_filter".into()), ..facts }, FaultClass::Refused)
            }
            Trouble::CallerBug => {
                (Facts { own_code: true, ..raised(Stage::Open, "KeyError") }, FaultClass::Internal)
            }
            _ => return None,
        })
    }

    /// The phrasings this target chooses among, in the order it thinks of them.
    fn phrasings(&self, dice: &mut Dice) -> Vec<&Answer> {
        let mut places = self.habits.phrasings.clone();
        for at in (1..places.len()).rev() {
            places.swap(at, dice.below(at + 1));
        }
        places.iter().map(|&place| &self.question.phrasings[place]).collect()
    }

    /// An answer of this target's that begins with what was shown, up to its last white space.
    fn known(&self, dice: &mut Dice) -> Option<&Answer> {
        let shown = Message { text: self.shown.text.trim_end().to_owned(), marks: self.shown.marks.clone() };
        self.phrasings(dice).into_iter().find(|answer| {
            let message = answer.message();
            shown.begins(&message) && message.text.starts_with(&self.shown.text)
        })
    }

    /// The rest of an answer, behind so many bytes of text and all the marks shown: a known one's or one made up.
    fn rest(&self, from: usize, dice: &mut Dice) -> Vec<Element> {
        if let Some(answer) = self.known(dice) {
            let rest = answer.rest(from, self.shown.marks.len());
            // An answer that goes on as it began is not to be told from one that starts over.
            let begins: String = self.shown.text.trim().chars().take(32).collect();
            let again =
                matches!(rest.first(), Some(Element::Text(text)) if text.trim_start().starts_with(&begins));
            if !again {
                return rest;
            }
        }
        let space = &self.shown.text[from..];
        let gap = if self.shown.text.ends_with(char::is_whitespace) { space } else { " " };
        let wish = Wish { calls: dice.chance(10), ..Wish::default() };
        let voice = self.habits.phrasings[0];
        let mut elements = Answer::write(dice, voice, wish).elements;
        if let Some(Element::Text(text)) = elements.first_mut() {
            // Its own first word, so that it begins unlike anything that was shown.
            *text = format!("{gap}thereupon {}", text.trim_start());
        } else {
            elements.insert(0, Element::Text(gap.to_owned()));
        }
        elements
    }

    /// What is meant, and what is careless about it.
    fn meant(&self, dice: &mut Dice) -> (Meant, Option<Trouble>) {
        let shown = &self.shown.text;
        let plain = |elements, joins| Meant { lead: String::new(), elements, joins, must_join: true };
        match self.opening.mode {
            Mode::Fresh => {
                let answer = self.phrasings(dice)[0].clone();
                (plain(answer.elements, Joins::Alone), None)
            }
            Mode::Rerun => {
                let answer = self.phrasings(dice)[0].clone();
                let mut meant = plain(answer.elements, Joins::Again);
                // A chunk that holds a call the consumer has and one it has not cannot be given in part.
                meant.must_join = self.shown.marks.is_empty() || self.habits.calls != CallStyle::Together;
                (meant, None)
            }
            Mode::Native => (plain(self.rest(shown.len(), dice), Joins::Behind), None),
            Mode::Prefill => {
                if self.is_wild(Trouble::StartsOver, dice)
                    && begins_like_nothing_else(shown)
                    && let Some(answer) = self.known(dice)
                {
                    return (plain(answer.elements.clone(), Joins::Again), Some(Trouble::StartsOver));
                }
                let mut elements = self.rest(shown.trim_end().len(), dice);
                if dice.chance(30)
                    && let Some(Element::Text(text)) = elements.first_mut()
                    && let Some(rest) = text.strip_prefix(&shown[shown.trim_end().len()..])
                {
                    // Some do not repeat the white space that they were not given.
                    *text = rest.to_owned();
                }
                (plain(elements, Joins::Behind), None)
            }
            Mode::Prompt => self.prompted(dice),
        }
    }

    /// An answer to the request to repeat the last words and go on.
    fn prompted(&self, dice: &mut Dice) -> (Meant, Option<Trouble>) {
        let (shown, anchor) = (&self.shown.text, &self.opening.anchor);
        if self.is_wild(Trouble::StartsOver, dice)
            && let Some(answer) = self.known(dice)
        {
            let must_join = begins_like_nothing_else(shown);
            let elements = answer.elements.clone();
            let meant = Meant { lead: String::new(), elements, joins: Joins::Again, must_join };
            return (meant, Some(Trouble::StartsOver));
        }
        if self.is_wild(Trouble::OtherWords, dice) {
            let other = self
                .question
                .phrasings
                .iter()
                .find(|answer| self.shown.said_again(&answer.message()).is_none());
            if let Some(answer) = other.filter(|answer| !overlaps(shown, &answer.message().text)) {
                let elements = answer.elements.clone();
                let meant = Meant { lead: String::new(), elements, joins: Joins::Never, must_join: false };
                return (meant, Some(Trouble::OtherWords));
            }
        }
        let elements = self.rest(shown.trim_end().len(), dice);
        let goes_on = match elements.first() {
            Some(Element::Text(text)) => text.as_str(),
            _ => "",
        };
        if self.is_wild(Trouble::NoAnchor, dice) && !overlaps(shown, goes_on) {
            let meant = Meant { lead: String::new(), elements, joins: Joins::Never, must_join: false };
            return (meant, Some(Trouble::NoAnchor));
        }
        let careless = self.is_wild(Trouble::Careless, dice).then(|| careless(shown, anchor, dice)).flatten();
        let trouble = careless.is_some().then_some(Trouble::Careless);
        let (lead, must_join) = careless.unwrap_or_else(|| (anchor.clone(), true));
        (Meant { lead, elements, joins: Joins::Behind, must_join }, trouble)
    }
}

/// The anchor as a model repeats it that is not careful, and whether it must be found all the same.
fn careless(shown: &str, anchor: &str, dice: &mut Dice) -> Option<(String, bool)> {
    let swap = |from: &[char], to: &str| -> Option<String> {
        anchor.contains(from).then(|| anchor.replace(from, to))
    };
    // Behind a line or two of its own, an answer may as well have started over in other words, where what was shown
    // has no more than that before the words to repeat.
    let before = &shown[..shown.trim_end().len() - anchor.len()];
    let tells = before.lines().filter(|line| !line.trim().is_empty()).count() != 1;
    let tells = tells && !before.trim_end().ends_with("```");
    let lead = match dice.below(11) {
        0 => (format!("Sure, continuing where I left off:\n{anchor}"), tells),
        1 => (format!("Of course! Here is the rest.\n\n{anchor}"), tells),
        2 => {
            let loud = anchor.to_uppercase();
            let same = loud.to_lowercase() == anchor.to_lowercase();
            same.then_some((loud, true))?
        }
        3 => (anchor.replace(' ', "  ").replace('\n', " \n"), true),
        4 => (anchor.split_whitespace().collect::<Vec<_>>().join(" "), true),
        5 => (swap(&['\u{201c}', '\u{201d}'], "\"")?, true),
        6 if !anchor.ends_with(['*', '_', '`']) => (swap(&['*', '_', '`'], "")?, false),
        7 if !anchor.contains(['"', '\u{201c}', '\'']) => (format!("\"{anchor}\""), false),
        8 => {
            // Half a sentence more than was asked for.
            let body = shown.trim_end();
            let from = body.len() - anchor.len();
            let more =
                body[..from].char_indices().rev().take(dice.within(1, 150)).last().map_or(from, |(at, _)| at);
            (body[more..].to_owned(), anchor.chars().count() < 200)
        }
        9 => {
            // Half of what was asked for.
            let half = anchor.char_indices().nth(anchor.chars().count() / 2)?.0;
            let word = half + anchor[half..].find(' ')? + 1;
            (anchor[word..].to_owned(), false)
        }
        10 if in_fence(shown) && !anchor.contains("```") => (format!("```python\n{anchor}"), tells),
        _ => return None,
    };
    Some(lead)
}

fn in_fence(text: &str) -> bool {
    text.lines().filter(|line| line.trim_start().starts_with("```")).count() % 2 == 1
}

/// Whether an answer that starts over in the same words is to be known by its first 32 characters.
fn begins_like_nothing_else(shown: &str) -> bool {
    let chars: Vec<char> = shown.trim().chars().collect();
    let Some(first) = chars.get(..32) else { return false };
    let periodic = (1..=16).any(|period| (period..32).all(|at| first[at] == first[at - period]));
    !periodic && chars[1..].windows(32).all(|window| window != first)
}

/// Whether the end of what was shown stands, in any case and spacing, where an answer may begin: an answer nobody can
/// tell from one that repeats it. Slow and simple on purpose.
fn overlaps(shown: &str, answer: &str) -> bool {
    let bare = |text: &str| -> Vec<char> {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let (shown, starts) = (bare(shown), [answer, answer.split_once('\n').map_or("", |(_, rest)| rest)]);
    starts.iter().any(|start| {
        let start = bare(start);
        (6..=start.len().min(shown.len())).any(|length| shown[shown.len() - length..] == start[..length])
    })
}

fn raised(stage: Stage, name: &str) -> Facts {
    Facts { stage, bytes: stage == Stage::Read, types: vec![name.to_owned()], ..Facts::default() }
}

fn status(status: u16, name: &str) -> Facts {
    Facts { status: Some(status), ..raised(Stage::Open, name) }
}

/// A Retry-After in one of its forms.
fn ask_to_wait(facts: &mut Facts, dice: &mut Dice) {
    let seconds: usize = *dice.pick(&[0, 1, 3, 20, 120, 100_000]);
    match dice.below(3) {
        0 => facts.retry_after = Some(seconds.to_string()),
        1 => facts.retry_after_ms = Some((seconds * 1_000 + dice.below(999)).to_string()),
        _ => {
            let minute = seconds / 60 % 60;
            facts.date = Some("Wed, 21 Oct 2026 07:00:00 GMT".into());
            facts.retry_after = Some(format!("Wed, 21 Oct 2026 07:{minute:02}:{:02} GMT", seconds % 60));
        }
    }
}

impl Answer {
    /// What the answer comes to.
    #[must_use]
    pub fn message(&self) -> Message {
        let mut message = Message::default();
        for element in &self.elements {
            match element {
                Element::Text(text) => message.text.push_str(text),
                Element::Reasoning(_) => {}
                Element::Call(name, args) => {
                    let call = Mark::Call { name: name.clone(), args: args.clone() };
                    message.marks.push((message.text.len(), call));
                }
                Element::Opaque(digest, pieces) => {
                    for piece in 0..*pieces {
                        message.marks.push((message.text.len(), Mark::Opaque(piece_of(*digest, piece))));
                    }
                }
            }
        }
        message
    }

    /// What follows so many bytes of its text and so many marks.
    fn rest(&self, mut bytes: usize, mut marks: usize) -> Vec<Element> {
        let mut rest = Vec::new();
        for element in &self.elements {
            match element {
                Element::Text(text) if bytes >= text.len() => bytes -= text.len(),
                Element::Text(text) => {
                    rest.push(Element::Text(text[bytes..].to_owned()));
                    bytes = 0;
                }
                Element::Call(..) if marks > 0 => marks -= 1,
                Element::Opaque(_, pieces) if marks > 0 => marks = marks.saturating_sub(*pieces),
                Element::Reasoning(_) if bytes > 0 => {}
                other => rest.push(other.clone()),
            }
        }
        rest
    }
}

const fn piece_of(digest: u64, piece: usize) -> u64 {
    digest.wrapping_mul(31).wrapping_add(piece as u64)
}

/// What clients raise when a stream breaks.
const BREAKS: &[&str] =
    &["httpx.ReadError", "httpx.RemoteProtocolError", "ConnectionResetError.ConnectionError"];
/// What they raise over bytes that are no message.
const GARBLES: &[&str] = &["json.decoder.JSONDecodeError", "UnicodeDecodeError", "TypeError"];

/// Chunks on their way, before and after something happened to them.
struct Emission {
    /// What the upstream made.
    made: Vec<Part>,
    /// What arrives of it.
    sent: Vec<Part>,
    /// How it ends, and the class of the exception it ends with.
    close: (Close, Option<FaultClass>),
    /// Bytes of text at the beginning that the seam has to drop.
    lead: usize,
    /// Bytes of text at the beginning that must not be changed unseen, for the oracle to know what they are.
    untouched: usize,
    goes_on: bool,
    terminal: Terminal,
    /// The end of every call is marked.
    marked: bool,
    corruption: Option<Trouble>,
}

impl Emission {
    fn of(meant: &Meant, call: &Call<'_>, trouble: Option<Trouble>, dice: &mut Dice) -> Self {
        let mut parts = Vec::new();
        if call.habits.role_first {
            parts.push(Part::default());
        }
        let mut elements = meant.elements.clone();
        if !meant.lead.is_empty() {
            if let Some(Element::Text(text)) = elements.first_mut() {
                text.insert_str(0, &meant.lead);
            } else {
                elements.insert(0, Element::Text(meant.lead.clone()));
            }
        }
        speak(&elements, call, &mut parts, dice);
        let needs_finish = matches!(
            trouble,
            Some(
                Trouble::FinishLength | Trouble::DiesFinished | Trouble::HangsFinished | Trouble::FinishEarly
            )
        );
        finish(&elements, call, needs_finish, &mut parts, dice);
        Self {
            made: parts.clone(),
            sent: parts,
            close: (Close::Ends(dice.millis(0, 900)), None),
            lead: meant.lead.len(),
            // A target that starts over and garbles that unseen cannot be told from one that goes on.
            untouched: if meant.joins == Joins::Again && call.opening.mode != Mode::Rerun {
                usize::MAX
            } else {
                meant.lead.len()
            },
            goes_on: matches!(call.opening.mode, Mode::Native | Mode::Prefill),
            terminal: call.target.terminal,
            marked: call.habits.marks_calls,
            corruption: None,
        }
    }

    /// The place of the first part that says the answer is at its end, or the number of parts.
    fn finish_at(&self) -> usize {
        self.sent.iter().position(says_end).unwrap_or(self.sent.len())
    }

    /// Lets a trouble happen. False where it does not apply.
    fn suffers(&mut self, trouble: Trouble, call: &Call<'_>, dice: &mut Dice) -> bool {
        let end = self.finish_at();
        let clocks = &call.question.plan.policy.timeouts;
        let fails = |name: &str, code: Option<&str>, class| {
            let facts = Facts { code: code.map(str::to_owned), ..raised(Stage::Read, name) };
            (Close::Fails(1_000_000, facts), Some(class))
        };
        match trouble {
            Trouble::Stall | Trouble::Hum => {
                self.cut(dice.below(end + 1), dice);
                let pause = clocks.text.min(clocks.first).min(clocks.call);
                let hum = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX) / 5;
                self.close = (Close::Hangs((trouble == Trouble::Hum).then_some(hum)), None);
            }
            Trouble::Cut => {
                self.cut(dice.below(end + 1), dice);
                self.close = fails(dice.pick::<&str>(BREAKS), None, FaultClass::Network);
            }
            Trouble::ErrorEvent => {
                self.cut(dice.below(end + 1), dice);
                self.close = fails("openai.APIError", Some("overloaded_error"), FaultClass::Overload);
            }
            Trouble::Garbled => {
                self.cut(dice.below(end + 1), dice);
                self.close = fails(dice.pick::<&str>(GARBLES), None, FaultClass::Protocol);
            }
            Trouble::ClientStall => {
                self.cut(dice.below(end + 1), dice);
                self.close = fails("x.StreamChunkTimeoutError", None, FaultClass::Stall);
            }
            Trouble::Ended => self.cut(dice.below(end + 1), dice),
            Trouble::Lost | Trouble::Swapped | Trouble::Repeated | Trouble::Tail => {
                self.corruption = Some(trouble);
            }
            Trouble::Empty | Trouble::RoleOnly | Trouble::Blank | Trouble::ThoughtOnly => {
                self.hollow(trouble, dice);
            }
            Trouble::FinishError | Trouble::FinishFiltered => {
                self.cut(dice.below(end + 1), dice);
                let word = if trouble == Trouble::FinishError {
                    dice.pick::<&str>(&["error", "failed"])
                } else {
                    dice.pick::<&str>(&["content_filter", "refusal", "safety"])
                };
                self.sent.push(Part { finish: Some((*word).to_owned()), ..Part::default() });
            }
            Trouble::FinishLength => {
                self.cut(dice.below(end + 1), dice);
                self.sent.push(Part { finish: Some("length".into()), ..Part::default() });
                if self.terminal == Terminal::Status {
                    self.sent.push(Part { status: Some("incomplete".into()), ..Part::default() });
                }
            }
            Trouble::FinishMissing => self.sent.truncate(end),
            Trouble::FinishEarly => {
                if end < 2 || self.sent.iter().any(|part| !part.tools.is_empty() || part.opaque.is_some()) {
                    return false;
                }
                let early = Part { finish: Some("stop".into()), ..Part::default() };
                self.sent.insert(dice.within(1, end - 1), early);
                self.made = self.sent.clone();
            }
            Trouble::DiesFinished => self.close = fails("httpx.ReadError", None, FaultClass::Network),
            Trouble::HangsFinished => self.close = (Close::Hangs(None), None),
            Trouble::BadArguments => {
                let broken = self.sent.iter_mut().rev().find_map(|part| part.tools.last_mut());
                let Some(fragment) = broken else { return false };
                fragment.args.push_str(dice.pick::<&str>(&["}", "{\"a\":", ",", " x"]));
            }
            _ => return false,
        }
        true
    }

    /// Nothing arrives from part `at` on, and perhaps not all of the part before.
    fn cut(&mut self, at: usize, dice: &mut Dice) {
        self.sent.truncate(at);
        if let Some(last) = self.sent.last_mut()
            && dice.chance(30)
            && !last.text.is_empty()
        {
            let keep = dice.below(last.text.chars().count() + 1);
            last.text = last.text.chars().take(keep).collect();
        }
    }

    /// An answer with nothing in it.
    fn hollow(&mut self, trouble: Trouble, dice: &mut Dice) {
        let end: Vec<Part> = self.sent.drain(self.finish_at()..).collect();
        self.sent = match trouble {
            Trouble::RoleOnly => vec![Part::default()],
            Trouble::Blank => vec![text("\n"), text("  "), text("\n\n")],
            Trouble::ThoughtOnly => vec![Part { reasoning: true, ..Part::default() }; 2],
            _ => vec![],
        };
        if dice.chance(60) {
            self.sent.extend(end.into_iter().map(|part| Part { text: String::new(), tools: vec![], ..part }));
        }
        self.made = self.sent.clone();
    }

    /// Numbers the events, where the dialect does.
    fn number(&mut self, habits: &Habits, dice: &mut Dice) {
        if !habits.counts {
            return;
        }
        let first = *dice.pick(&[0, 1, 7]);
        for (place, part) in self.sent.iter_mut().enumerate() {
            part.sequence = Some(first + place as u64);
        }
    }

    /// Loses, swaps or repeats chunks. With numbers that is seen; without, it is the upstream's own word, so that only
    /// text is touched.
    fn corrupt(&mut self, troubles: &mut Vec<Trouble>, dice: &mut Dice) {
        let Some(trouble) = self.corruption else { return };
        let counted = self.sent.first().is_some_and(|part| part.sequence.is_some());
        let mut bytes = 0;
        let mut places: Vec<usize> = Vec::new();
        for (place, part) in self.sent.iter().enumerate() {
            let plain = Part { text: String::new(), sequence: None, ..part.clone() } == Part::default();
            let free = counted || (bytes >= self.untouched && plain && !part.text.is_empty());
            if free && place > 0 && place + 1 < self.sent.len() {
                places.push(place);
            }
            bytes += part.text.len();
        }
        let swaps = |at: &usize| counted || places.contains(&(at + 1));
        let places: Vec<usize> =
            places.iter().copied().filter(|at| trouble != Trouble::Swapped || swaps(at)).collect();
        if places.is_empty() {
            self.corruption = None;
            troubles.retain(|other| *other != trouble);
            return;
        }
        let at = *dice.pick(&places);
        match trouble {
            Trouble::Lost => drop(self.sent.remove(at)),
            Trouble::Swapped => self.sent.swap(at, at + 1),
            Trouble::Repeated => self.sent.insert(at, self.sent[at].clone()),
            _ => {
                let last = places[places.len() - 1];
                let from = places[places.len() - places.len().min(3)];
                let tail: Vec<Part> = (from..=last).map(|place| self.sent[place].clone()).collect();
                let tail: Vec<Part> =
                    tail.into_iter().filter(|part| counted || !part.text.is_empty()).collect();
                let plain = tail.iter().all(|part| counted || part.tools.is_empty() && part.opaque.is_none());
                if plain {
                    self.sent.splice((last + 1)..=last, tail);
                }
            }
        }
    }

    /// Times, and what the oracle is to know.
    fn script(self, call: &Call<'_>, meant: &Meant, mut troubles: Vec<Trouble>, dice: &mut Dice) -> Script {
        let (expect, gap) = self.judge();
        let own_word = matches!(expect, Expect::Completes) || (self.corruption.is_some() && !gap);
        let message = |parts: &[Part]| Message::of(parts.iter().map(|part| (AttemptId(0), part)));
        let said = message(if own_word { &self.sent } else { &self.made });
        let shown = call.shown;
        // Nothing at all, or next to it, goes on from a beginning and from nothing else.
        let hollow = said.text.trim().is_empty() && said.marks.is_empty() && self.goes_on;
        let truth = match meant.joins {
            _ if hollow => Some(behind(shown, said, self.lead, call.opening.mode)),
            Joins::Alone => Some(said),
            // An answer that starts over and is damaged where it repeats may still be joined by its anchor.
            Joins::Again if call.opening.mode == Mode::Prompt => {
                shown.said_again(&said).or_else(|| shown.said_again(&message(&self.made)))
            }
            // Of a word or two nobody can tell whether they start over or go on.
            Joins::Again if call.opening.mode == Mode::Prefill && said.text.trim().chars().count() < 12 => {
                Some(behind(shown, said, self.lead, call.opening.mode))
            }
            Joins::Again => shown.said_again(&said),
            Joins::Never => None,
            Joins::Behind => Some(behind(shown, said, self.lead, call.opening.mode)),
        };
        let (opens, steps, slow) = self.timed(call, dice);
        if slow {
            troubles.push(Trouble::Slow);
        }
        let sent: usize = self.sent.iter().map(|part| part.text.len()).sum();
        // An answer that ended in the middle of its lead may be taken or not.
        let covers = shown.said_again(&message(&self.sent)).is_some();
        let damaged = meant.joins == Joins::Again && (self.corruption.is_some() || !covers);
        let must_join = meant.must_join && sent >= self.lead && !damaged;
        let (close, _) = self.close;
        Script { opens, steps, close, truth, must_join, expect, floor: None, troubles }
    }

    /// What should come of what is sent, and whether a gap in its numbers ends it.
    fn judge(&self) -> (Expect, bool) {
        let mut last = None;
        let mut word: Option<&str> = None;
        let (mut ended, mut status) = (false, false);
        for part in &self.sent {
            let follows = match (last, part.sequence) {
                (Some(last), Some(this)) => this == last + 1,
                _ => true,
            };
            last = part.sequence.or(last);
            if !follows && (!ended || part.is_content()) {
                return (Expect::Fails(FaultClass::Network), true);
            }
            if part.finish.as_deref().is_some_and(|word| matches!(word, "error" | "failed")) && !ended {
                return (Expect::Fails(FaultClass::Overload), false);
            }
            word = part.finish.as_deref().or(word);
            status |= part.status.is_some();
            ended |= says_end(part);
        }
        if !ended {
            match (&self.close, self.terminal) {
                ((Close::Fails(..), class), _) => {
                    return (Expect::Fails(class.unwrap_or(FaultClass::Network)), false);
                }
                ((Close::Hangs(_), _), _) => return (Expect::Fails(FaultClass::Stall), false),
                _ => {}
            }
        }
        let fails = |class| (Expect::Fails(class), false);
        if matches!(word, Some("content_filter" | "refusal" | "safety")) {
            return fails(FaultClass::Refused);
        }
        let missing = match self.terminal {
            Terminal::EndOfStream => false,
            Terminal::FinishReason => word.is_none() && !status,
            Terminal::Status => !status,
        };
        let open_part = self.sent.iter().rev().find_map(|part| part.opaque).is_some_and(|opaque| opaque.open);
        if missing || open_part {
            return fails(FaultClass::Network);
        }
        let message = Message::of(self.sent.iter().map(|part| (AttemptId(0), part)));
        // Of a call without arguments only an end that was said tells that it was not cut.
        let said_whole = word.map_or(status, |word| word != "length");
        let cut = |mark: &Mark| !said_whole && matches!(mark, Mark::Call { args, .. } if args.is_empty());
        let fragments = || self.sent.iter().flat_map(|part| &part.tools);
        let ends = fragments().filter(|fragment| fragment.last).count();
        let marked = self.marked
            && message.marks.iter().filter(|(_, mark)| matches!(mark, Mark::Call { .. })).count() == ends;
        if !message.marks.iter().all(|(_, mark)| mark.is_whole() && (marked || !cut(mark))) {
            return fails(FaultClass::Content);
        }
        let length = word == Some("length");
        let nothing = message.text.trim().is_empty() && message.marks.is_empty();
        if nothing && !length && !(self.goes_on && ended) {
            return fails(FaultClass::Empty);
        }
        (Expect::Completes, false)
    }

    /// When everything arrives: slowly, perhaps, but within every clock.
    fn timed(&self, call: &Call<'_>, dice: &mut Dice) -> (Opens, Vec<(u64, Chunk)>, bool) {
        let plan = &call.question.plan;
        let clocks = &plan.policy.timeouts;
        let slow = call.swarm.has(Trouble::Slow);
        let whole = !plan.streamed || call.target.whole;
        let nanos = |clock: Duration| u64::try_from(clock.as_nanos()).unwrap_or(u64::MAX);
        let parts = self.sent.len() as u64 + 3;
        let most = if whole { nanos(clocks.call) / 3 } else { nanos(clocks.open) * 2 / 5 };
        let opening = if slow && dice.chance(15) { most } else { most.min(50_000_000) };
        let opens = Opens::After(dice.below(usize::try_from(opening).unwrap_or(1)) as u64);
        let mut patience = if call.target.reasons { clocks.first_reasoning } else { clocks.first };
        let (mut ended, mut was_slow) = (false, false);
        let mut steps = Vec::new();
        let mut number = 0;
        let mut push = |after: u64, part: Part| {
            steps.push((after, Chunk { number, part }));
            number += 1;
        };
        for part in &self.sent {
            // At most four chunks without content stand between two with it.
            let most = if ended { 500_000_000 } else { nanos(patience) / 12 };
            let most = if whole { most.min(nanos(clocks.call) / 3 / parts) } else { most };
            let long = slow && dice.chance(15);
            was_slow |= long;
            let most = if long { most } else { most.min(60_000_000).min(6_000_000_000 / parts) };
            let wait = |dice: &mut Dice| dice.below(usize::try_from(most).unwrap_or(1) + 1) as u64;
            if slow && !ended && dice.chance(10) {
                push(wait(dice), Part::default());
            }
            push(wait(dice), part.clone());
            ended |= says_end(part);
            patience = next_patience(patience, part, clocks);
        }
        (opens, steps, was_slow)
    }
}

fn next_patience(patience: Duration, part: &Part, clocks: &Timeouts) -> Duration {
    if !part.is_content() {
        patience
    } else if !part.tools.is_empty() {
        clocks.tool_args
    } else if part.reasoning {
        clocks.reasoning
    } else {
        clocks.text
    }
}

/// Whether a part says that the answer is at its end.
#[must_use]
pub const fn says_end(part: &Part) -> bool {
    part.finish.is_some() || part.status.is_some()
}

/// What is right when `said` goes on from what was shown: its lead is dropped, white space at the seam is kept once.
fn behind(shown: &Message, said: Message, lead: usize, mode: Mode) -> Message {
    let lead = lead.min(said.text.len());
    let new = &said.text[lead..];
    let space = &shown.text[shown.text.trim_end().len()..];
    let both =
        space.chars().zip(new.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum::<usize>();
    let both = if mode == Mode::Native { 0 } else { both };
    let marks = said.marks.into_iter().map(|(at, mark)| (at.saturating_sub(lead + both), mark)).collect();
    let rest = Message { text: new[both..].to_owned(), marks };
    shown.and_then(shown.text.len(), &rest)
}

fn text(text: &str) -> Part {
    Part { text: text.to_owned(), ..Part::default() }
}

/// Puts elements into chunks.
fn speak(elements: &[Element], call: &Call<'_>, parts: &mut Vec<Part>, dice: &mut Dice) {
    let habits = call.habits;
    let mut index = 0;
    let mut place = 0;
    while let Some(element) = elements.get(place) {
        place += 1;
        match element {
            Element::Text(all) => {
                let mut rest = all.as_str();
                while !rest.is_empty() {
                    let size = dice.within(1, habits.chunk_chars);
                    let end = rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at);
                    let mut part = text(&rest[..end]);
                    if habits.logprobs && dice.chance(50) {
                        part.logprob = Some(LogProb { sum: -0.25, tokens: 1 });
                    }
                    parts.push(part);
                    rest = &rest[end..];
                }
            }
            Element::Reasoning(chunks) => {
                parts.extend((0..*chunks).map(|_| Part { reasoning: true, ..Part::default() }));
            }
            Element::Opaque(digest, pieces) => parts.extend((0..*pieces).map(|piece| {
                let opaque = Opaque { digest: piece_of(*digest, piece), open: piece + 1 < *pieces };
                Part { opaque: Some(opaque), ..Part::default() }
            })),
            Element::Call(..) => {
                let mut calls = Vec::new();
                let mut at = place - 1;
                while let Some(Element::Call(name, args)) = elements.get(at) {
                    calls.push((name.as_str(), args.as_str()));
                    at += 1;
                }
                place = at;
                make_calls(&calls, index, call.opening.attempt, habits, parts, dice);
                index += u32::try_from(calls.len()).unwrap_or(0);
            }
        }
    }
}

/// Puts calls that stand next to each other into chunks.
fn make_calls(
    calls: &[(&str, &str)],
    first: u32,
    attempt: AttemptId,
    habits: &Habits,
    parts: &mut Vec<Part>,
    dice: &mut Dice,
) {
    let mut made: Vec<Vec<ToolFragment>> = Vec::new();
    for (place, (name, args)) in calls.iter().enumerate() {
        let index = first + u32::try_from(place).unwrap_or(0);
        let id = Some(format!("call_{}_{index}", attempt.0));
        let head = ToolFragment { index, id, name: Some((*name).to_owned()), ..ToolFragment::default() };
        let mut fragments = vec![head];
        let whole = matches!(habits.calls, CallStyle::Whole | CallStyle::Together);
        let mut rest = *args;
        while !rest.is_empty() {
            let size = if whole { usize::MAX } else { dice.within(1, 9) };
            let end = rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at);
            let args = rest[..end].to_owned();
            if whole {
                fragments[0].args = args;
            } else {
                fragments.push(ToolFragment { index, args, ..ToolFragment::default() });
            }
            rest = &rest[end..];
        }
        if let Some(last) = fragments.last_mut() {
            last.last = habits.marks_calls;
        }
        made.push(fragments);
    }
    let part = |tools| Part { tools, ..Part::default() };
    match habits.calls {
        CallStyle::InTurn | CallStyle::Whole => {
            parts.extend(made.into_iter().flatten().map(|fragment| part(vec![fragment])));
        }
        CallStyle::Together => parts.push(part(made.into_iter().flatten().collect())),
        CallStyle::Interleaved => {
            let most = made.iter().map(Vec::len).max().unwrap_or(0);
            for step in 0..most {
                parts
                    .extend(made.iter().filter_map(|call| call.get(step)).map(|one| part(vec![one.clone()])));
            }
        }
    }
}

/// Adds what says that the answer is at its end, and what it has cost.
fn finish(elements: &[Element], call: &Call<'_>, needed: bool, parts: &mut Vec<Part>, dice: &mut Dice) {
    let (habits, terminal) = (call.habits, call.target.terminal);
    let calls = elements.iter().any(|element| matches!(element, Element::Call(..)));
    let word = if calls { "tool_calls" } else { "stop" };
    let mut end = Part::default();
    if needed || habits.finish || terminal == Terminal::FinishReason {
        end.finish = Some(word.to_owned());
    }
    if terminal == Terminal::Status {
        end.status = Some("completed".to_owned());
    }
    let usage = habits.usage.then(|| Usage {
        input: 10 + dice.below(90) as u64,
        output: parts.len() as u64,
        ..Usage::default()
    });
    let says = says_end(&end);
    if says && dice.chance(30) && parts.last().is_some_and(|last| last.opaque.is_none()) {
        if let Some(last) = parts.last_mut() {
            (last.finish, last.status) = (end.finish, end.status);
        }
    } else if says {
        if dice.chance(50) {
            end.usage = usage;
        }
        parts.push(end);
    }
    if usage.is_some() && parts.last().is_some_and(|last| last.usage.is_none()) {
        parts.push(Part { usage, ..Part::default() });
    }
}
