//! A session, and the consumer and the guards at its end.
#![allow(dead_code, reason = "not every test uses all of it")]
#![allow(clippy::unwrap_used, reason = "that is how a test says what it expects")]

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use l0_engine::{
    Admission, AttemptId, Checking, Ending, Event, Facts, Instant, Output, Part, Plan, Policy, Record,
    Ruling, Session, Signal, Stage, ToolFragment, replay,
};

/// A session and the consumer at its end: keeps chunks as a driver does.
pub(crate) struct Desk {
    pub(crate) session: Session,
    kept: VecDeque<String>,
    pub(crate) shown: Vec<String>,
    /// Arguments of calls that were given in the place of those that arrived.
    pub(crate) args: Vec<String>,
    pub(crate) events: Vec<Event>,
    live: Option<AttemptId>,
    records: Vec<Record>,
    policy: Arc<Policy>,
    now: Instant,
    /// What the caller's own guards say.
    word: Box<dyn FnMut(&Checking) -> Ruling>,
    /// What they were asked.
    pub(crate) asked: Vec<Checking>,
    /// What each attempt was told to put right.
    pub(crate) told: Vec<String>,
}

impl Desk {
    pub(crate) fn new(policy: &serde_json::Value) -> Self {
        let policy = Arc::new(Policy::from_json(&policy.to_string()).unwrap());
        let plan = Plan::simple(Arc::clone(&policy));
        let mut desk = Self {
            session: Session::new(Arc::new(plan)).unwrap(),
            kept: VecDeque::new(),
            shown: Vec::new(),
            args: Vec::new(),
            events: Vec::new(),
            live: None,
            records: Vec::new(),
            policy,
            now: Instant(1),
            word: Box::new(|_| Ruling::Objected(Vec::new())),
            asked: Vec::new(),
            told: Vec::new(),
        };
        desk.session.handle_start(desk.now).unwrap();
        desk.drain();
        desk
    }

    /// The same with guards of the caller's own.
    pub(crate) fn answering(
        policy: &serde_json::Value,
        word: impl FnMut(&Checking) -> Ruling + 'static,
    ) -> Self {
        let mut desk = Self::new(policy);
        desk.word = Box::new(word);
        desk
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Ask { .. } => self.session.handle_admission(self.now, Admission::Granted).unwrap(),
                Output::Wait { until } => {
                    self.now = until;
                    self.session.handle_timeout(until, None).unwrap();
                }
                Output::Open { attempt, .. } => {
                    self.live = Some(attempt);
                    self.told.push(self.session.opening().unwrap().instruction.into_owned());
                }
                Output::Check { attempt, check } => {
                    let checking = self.session.checking().unwrap();
                    let ruling = (self.word)(&checking);
                    self.asked.push(checking);
                    self.session.handle_judged(self.now, attempt, check, ruling).unwrap();
                }
                Output::Cancel { .. } => self.live = None,
                Output::Release { chunks } => self.shown.extend(self.kept.drain(..chunks as usize)),
                Output::Drop { chunks } => drop(self.kept.drain(..chunks as usize)),
                Output::Cut { start, end } => {
                    let text = self.kept.pop_front().unwrap();
                    let cut = text.chars().skip(start as usize).take((end - start) as usize).collect();
                    self.shown.push(cut);
                }
                Output::Mask { text, at } => {
                    assert_eq!(at, self.shown.concat().len() as u64);
                    self.kept.pop_front().unwrap();
                    self.shown.push(text);
                }
                Output::Rewrite { text, at, calls } => {
                    assert_eq!(at, self.shown.concat().len() as u64);
                    let kept = self.kept.pop_front().unwrap();
                    self.shown.push(text.unwrap_or(kept));
                    self.args.extend(calls.into_iter().map(|call| call.args));
                }
                Output::Reset => self.shown.clear(),
                Output::Event(event) => self.events.push(event),
                Output::Report { .. } | Output::Done => {}
            }
        }
        self.records.extend(self.session.take_records());
    }

    /// Sends chunks to the live attempt until it is no longer wanted.
    pub(crate) fn send(&mut self, chunks: &[&str]) {
        let Some(attempt) = self.live else { return };
        for chunk in chunks {
            match self.session.handle_chunk(self.now, attempt, chunk) {
                Signal::Pass => self.shown.push((*chunk).to_owned()),
                Signal::Hold => self.kept.push_back((*chunk).to_owned()),
                Signal::Drain => {
                    self.kept.push_back((*chunk).to_owned());
                    self.drain();
                }
                Signal::Skip => {}
            }
            if self.live != Some(attempt) {
                return;
            }
        }
        self.records.extend(self.session.take_records());
    }

    /// Sends fragments of a tool call, as chunks without text.
    pub(crate) fn send_args(&mut self, fragments: &[&str]) {
        let mut name = Some("tool".to_owned());
        for fragment in fragments {
            let Some(attempt) = self.live else { return };
            let args = (*fragment).to_owned();
            let tools = vec![ToolFragment { name: name.take(), args, ..ToolFragment::default() }];
            let part = Part { tools, ..Part::default() };
            match self.session.handle_part(self.now, attempt, Duration::ZERO, part).unwrap() {
                Signal::Hold => self.kept.push_back(String::new()),
                Signal::Drain => {
                    self.kept.push_back(String::new());
                    self.drain();
                }
                Signal::Pass | Signal::Skip => {}
            }
        }
        self.records.extend(self.session.take_records());
    }

    /// Breaks the live attempt's stream off.
    pub(crate) fn fail(&mut self) {
        if let Some(attempt) = self.live {
            let types = vec!["httpx.ReadError".to_owned()];
            let facts = Facts { stage: Stage::Read, bytes: true, types, ..Facts::default() };
            self.session.handle_failed(self.now, attempt, facts).unwrap();
            self.drain();
        }
    }

    pub(crate) fn end(&mut self) {
        if let Some(attempt) = self.live {
            self.session.handle_ended(self.now, attempt).unwrap();
            self.drain();
        }
    }

    pub(crate) fn ending(&self) -> Option<Ending> {
        self.session.outcome().map(|outcome| outcome.ending)
    }

    /// G6: what was decided is decided again.
    pub(crate) fn replays(&self) {
        let again = replay(Arc::clone(&self.policy), &self.records).unwrap();
        assert_eq!(again.outcome(), self.session.outcome());
        assert_eq!(again.text(), self.session.text());
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Ends the live attempt's stream and leaves what the guards are asked open.
    pub(crate) fn end_unasked(&mut self) {
        if let Some(attempt) = self.live {
            self.session.handle_ended(self.now, attempt).unwrap();
        }
    }
}
