//! What the caller's own guards are asked, and what their word leads to.

use std::sync::Arc;

use smallvec::SmallVec;

use super::arriving::Broken;
use super::ending::{Failure, Origin};
use super::{Blame, Session};
use crate::attempt::Attempt;
use crate::fault::FaultClass;
use crate::guards::{At, GuardSet, Scope, Severity, WINDOW_CHARS};
use crate::outcome::Ending;
use crate::policy::Policy;
use crate::protocol::{AttemptId, Dissent, Objection, Output, Ruling, TargetId};
use crate::tools::ToolCall;

/// Characters of a reason, and of one error, that are kept; and how many errors are.
const REASON_CHARS_MAX: usize = 200;
const ERROR_CHARS_MAX: usize = 1_000;
const ERRORS_MAX: usize = 32;

/// A question that has not been answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    number: u32,
    /// How many chunks it is about, counted from the attempt's first.
    chunks: usize,
    /// The text it is about.
    start: At,
    end: At,
    /// It is about the answer as a whole; whether its stream is still open.
    concluding: Option<bool>,
}

/// What the caller's own guards are to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checking {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its target.
    pub target: TargetId,
    /// The number of the question.
    pub check: u32,
    /// Whether the answer is at its end.
    pub at_end: bool,
    /// The guards that are shown `window`, by their place in the policy's list.
    pub on_window: Vec<u16>,
    /// The new text, with some of what stands before it.
    pub window: String,
    /// The guards that are shown `whole`; none before the end.
    pub on_whole: Vec<u16>,
    /// All of the answer's text.
    pub whole: String,
    /// The answer's tool calls by their indices, at the end: as they arrived where a guard reads them, complete where
    /// none does.
    pub calls: Vec<(u32, ToolCall)>,
}

/// What a target is told whose answer was objected to.
#[derive(Debug, Clone)]
pub(super) struct Reask {
    pub(super) target: TargetId,
    pub(super) errors: Vec<String>,
    /// The answer.
    pub(super) answer: String,
}

/// Whether the caller's own guards want to see each piece.
pub(super) fn asks_about_pieces(policy: &Policy) -> bool {
    policy.guard_set().is_some_and(|set| set.users(Scope::Window).next().is_some())
}

impl Session {
    /// What the caller's own guards are being asked, if anything.
    #[must_use]
    pub fn checking(&self) -> Option<Checking> {
        let (live, set) = (self.live.as_ref()?, self.plan.policy.guard_set()?);
        let question = live.question?;
        let at_end = question.concluding.is_some();
        let on_window: Vec<u16> = set.users(Scope::Window).collect();
        let on_whole: Vec<u16> = set.users(Scope::Whole).filter(|_| at_end).collect();
        let window = if on_window.is_empty() { String::new() } else { self.window(question) };
        let whole = if on_whole.is_empty() { String::new() } else { self.answer() };
        let calls = live.tools.all().filter(|_| at_end).map(|(index, call)| (index, call.clone())).collect();
        let (attempt, target, check) = (live.id, live.target, question.number);
        Some(Checking { attempt, target, check, at_end, on_window, window, on_whole, whole, calls })
    }

    /// Whether the answer waits for the word of the caller's own guards on all of it.
    pub(super) fn is_concluding(&self) -> bool {
        let question = self.live.as_ref().and_then(|live| live.question.as_ref());
        question.is_some_and(|question| question.concluding.is_some())
    }

    /// Asks about what the guards have seen since the last question, one question at a time.
    pub(super) fn ask_about_piece(&mut self) {
        if !self.asks {
            return;
        }
        let Some(live) = &self.live else { return };
        let end = live.guard.as_ref().map_or(live.checked, |guard| guard.at());
        if live.question.is_some() {
            return;
        }
        if live.checked.byte == end.byte {
            self.queue.clear_to(self.queue.judged_to());
        } else {
            self.ask(end, None);
        }
    }

    /// Asks about the answer as a whole, where anybody wants to be asked; whether that is so.
    pub(super) fn ask_about_whole(&mut self, running: bool) -> bool {
        if !self.plan.policy.guard_set().is_some_and(GuardSet::has_users) {
            return false;
        }
        if self.now >= self.deadline {
            self.finish(Ending::Deadline);
            return true;
        }
        let Some(live) = &self.live else { return false };
        let end = live.guard.as_ref().map_or(live.checked, |guard| guard.at());
        self.ask(end, Some(running));
        true
    }

    fn ask(&mut self, end: At, concluding: Option<bool>) {
        let chunks = self.queue.judged_to();
        let Some(live) = &mut self.live else { return };
        self.questions = self.questions.wrapping_add(1);
        let (attempt, number) = (live.id, self.questions);
        live.question = Some(Question { number, chunks, start: live.checked, end, concluding });
        self.put(Output::Check { attempt, check: number });
    }

    /// The caller's own guards have answered.
    pub(super) fn judged(&mut self, attempt: AttemptId, check: u32, ruling: Ruling) {
        let live = self.live.as_mut().filter(|live| live.id == attempt);
        let asked = live.and_then(|live| live.question.take_if(|question| question.number == check));
        let Some(question) = asked else { return };
        if self.now >= self.deadline {
            self.finish(Ending::Deadline);
            return;
        }
        let stream_open = question.concluding != Some(false);
        match ruling {
            Ruling::Failed(facts) => {
                if stream_open {
                    self.put(Output::Cancel { attempt });
                }
                let code = facts.types.first().cloned();
                let (misfit, shown, blame, reask) = (false, false, Blame::Attempt, false);
                let (class, origin) = (FaultClass::Internal, Origin::Exception);
                self.fail(Failure { class, code, facts, misfit, blame, shown, reask, origin });
            }
            Ruling::Objected(dissents) => self.ruled(question, dissents),
            Ruling::Read(mut reading) => {
                let dissents = core::mem::take(&mut reading.dissents);
                if let (Some(live), Some(_)) = (&self.live, question.concluding) {
                    self.read(live.target, reading);
                }
                self.ruled(question, dissents);
            }
        }
    }

    fn ruled(&mut self, question: Question, dissents: Vec<Dissent>) {
        let judgement = self.weigh(question, dissents).and_then(|()| match question.concluding {
            Some(_) => self.rewrite().map_err(|broken| (broken, false)),
            None => Ok(()),
        });
        match judgement {
            Ok(()) => self.go_on(question),
            Err((broken, reask)) => {
                let stream_open = question.concluding != Some(false);
                let origin = if stream_open { Origin::Engine } else { Origin::Stream };
                self.fail(Failure { reask, ..Failure::seen(&broken, origin) });
            }
        }
    }

    /// Nobody objects.
    fn go_on(&mut self, question: Question) {
        if let Some(live) = &mut self.live {
            live.checked = question.end;
        }
        self.queue.clear_to(question.chunks);
        if let Some(running) = question.concluding {
            self.serve(running);
            return;
        }
        if let Err(broken) = self.judge() {
            self.fail(Failure::seen(&broken, Origin::Engine));
            return;
        }
        self.release();
        self.reflow();
    }

    /// Notes what they object to; what is more than a warning ends the attempt. Says besides whether the target is
    /// told why.
    fn weigh(&mut self, question: Question, dissents: Vec<Dissent>) -> Result<(), (Broken, bool)> {
        let policy = Arc::clone(&self.plan.policy);
        let (Some(set), Some(live)) = (policy.guard_set(), &self.live) else { return Ok(()) };
        let target = live.target;
        let whole = question.concluding.is_some();
        let mut gravest: Option<(Severity, Broken)> = None;
        let mut errors: Vec<String> = Vec::new();
        for dissent in dissents {
            let Some((severity, recoverable, retries)) = set.user(dissent.guard) else { continue };
            let guard = set.name(dissent.guard).to_owned();
            let on_whole = whole && set.users(Scope::Whole).any(|rule| rule == dissent.guard);
            let start = if on_whole { At::default() } else { question.start };
            self.note_objection(Objection {
                guard: guard.clone(),
                reason: first_chars(&dissent.reason, REASON_CHARS_MAX).to_owned(),
                severity,
                start: start.char as u64,
                end: question.end.char as u64,
                masked: false,
            });
            if severity == Severity::Warn {
                continue;
            }
            let told = dissent.errors.iter().take(ERRORS_MAX - errors.len());
            errors.extend(told.map(|error| first_chars(error, ERROR_CHARS_MAX).to_owned()));
            let often = self.count_dissent(target, dissent.guard);
            let blame = match (severity, recoverable) {
                (Severity::Fatal, _) => Blame::Session,
                (_, true) if retries.is_none_or(|retries| often <= retries) => Blame::Attempt,
                _ => Blame::Target,
            };
            if gravest.as_ref().is_none_or(|(most, _)| severity > *most) {
                // A piece at fault is not shown. Where all of the answer is, what was shown is part of it.
                let shown = on_whole && !self.shown.is_empty();
                gravest = Some((severity, super::guarding::objected(guard, blame, shown)));
            }
        }
        let Some((_, broken)) = gravest else { return Ok(()) };
        let reask = !errors.is_empty();
        if reask {
            self.reask = Some(Reask { target, errors, answer: self.rejected() });
        }
        Err((broken, reask))
    }

    fn count_dissent(&mut self, target: TargetId, guard: u16) -> u32 {
        let known = self.dissents.iter_mut().find(|(of, by, _)| (*of, *by) == (target, guard));
        if let Some((_, _, count)) = known {
            *count = count.saturating_add(1);
            return *count;
        }
        self.dissents.push((target, guard, 1));
        1
    }

    /// What the caller's own guards said of this target's last answer, where they said what to put right.
    pub(super) fn reask_of(&self, live: &Attempt) -> Option<&Reask> {
        self.reask.as_ref().filter(|reask| reask.target == live.target)
    }

    /// All of the answer's text: what the consumer has, and what the guards have seen besides.
    fn answer(&self) -> String {
        let mut text = self.shown.text().to_owned();
        text.push_str(&self.queue.judged_text());
        text
    }

    /// The answer, as the target is told of it: its text, and its calls' arguments where these are what is read.
    fn rejected(&self) -> String {
        let mut text = self.answer();
        let calls = self.live.as_ref().filter(|_| self.reads_calls).map(|live| live.tools.all());
        for (_, call) in calls.into_iter().flatten() {
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(&call.args);
        }
        text
    }

    /// The text that a question is about, with some of what stands before it.
    fn window(&self, question: Question) -> String {
        let text = self.queue.judged_text();
        let kept = text.get(self.replaced_ahead()..).unwrap_or("");
        let new = kept.len().saturating_sub(question.end.byte.saturating_sub(question.start.byte));
        let (before, new) = kept.split_at_checked(new).unwrap_or(("", kept));
        let mut around: SmallVec<[&str; 3]> = SmallVec::new();
        let last = last_chars(before, WINDOW_CHARS);
        let missing = WINDOW_CHARS - last.chars().count();
        around.push(last_chars(self.shown.text(), missing));
        around.push(last);
        around.push(new);
        around.concat()
    }
}

pub(super) fn first_chars(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

fn last_chars(text: &str, most: usize) -> &str {
    let Some(back) = most.checked_sub(1) else { return "" };
    text.char_indices().rev().nth(back).and_then(|(start, _)| text.get(start..)).unwrap_or(text)
}
