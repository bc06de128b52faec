//! Answers that are read for a value: where they did not fit, what was put right, and what is given in their place.

use super::Session;
use super::arriving::Broken;
use super::checking::first_chars;
use crate::fault::FaultClass;
use crate::outcome::{Ending, Misfits};
use crate::protocol::{CallArgs, Event, Output, Reading, Rewrite, TargetId};
use crate::queue::Item;

/// Names of places, and words for what was put right, that are kept of one answer; characters of each.
const FIELDS_MAX: usize = 32;
const FIXES_MAX: usize = 64;
const NAME_CHARS_MAX: usize = 256;
/// Places that a session keeps count of.
const MISFITS_MAX: usize = 256;

/// What came of reading a session's answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Readings {
    /// The guard that read the last one.
    reader: Option<u16>,
    /// What had to be put right in it.
    pub(super) repaired: Vec<String>,
    /// How often a target was told what to put right.
    pub(super) reasks: u32,
    pub(super) misfits: Vec<Misfits>,
    /// What is given in the place of its text, and whether that has been given.
    text: Option<String>,
    text_is_given: bool,
    /// What is given in the place of its calls' arguments.
    args: Vec<CallArgs>,
}

impl Session {
    /// Notes what the live attempt's answer was read as.
    pub(super) fn read(&mut self, target: TargetId, reading: Reading) {
        let Reading { guard, fields, fixes, rewrites, .. } = reading;
        let name = |text: &String| first_chars(text, NAME_CHARS_MAX).to_owned();
        let fields: Vec<String> = fields.iter().take(FIELDS_MAX).map(name).collect();
        let readings = &mut self.readings;
        readings.reader = Some(guard);
        readings.repaired = fixes.iter().take(FIXES_MAX).map(name).collect();
        (readings.text, readings.text_is_given, readings.args) = (None, false, Vec::new());
        for rewrite in rewrites {
            match rewrite {
                Rewrite::Text(text) => readings.text = Some(text),
                Rewrite::Args(args) => readings.args.push(args),
            }
        }
        if fields.is_empty() {
            return;
        }
        for field in &fields {
            let same = |known: &&mut Misfits| known.target == target && known.field == *field;
            if let Some(known) = readings.misfits.iter_mut().find(same) {
                known.count = known.count.saturating_add(1);
            } else if readings.misfits.len() < MISFITS_MAX {
                readings.misfits.push(Misfits { target, field: field.clone(), count: 1 });
            }
        }
        self.put(Output::Event(Event::Misfit { target, fields }));
    }

    /// Puts what was put right in the place of what arrived, where nothing of that was given; no call is given that is
    /// not whole.
    pub(super) fn rewrite(&mut self) -> Result<(), Broken> {
        let masks = self.plan.policy.guard_set().is_some_and(crate::guards::GuardSet::masks);
        let Some(live) = &mut self.live else { return Ok(()) };
        if masks || !self.shown.is_empty() {
            // What was given stays, and what is masked is not brought back.
            self.readings.text = None;
        }
        for CallArgs { index, args } in &self.readings.args {
            live.tools.rewrite(*index, args);
        }
        if live.tools.any_broken() { Err(Broken::of(FaultClass::Content, "tool_args")) } else { Ok(()) }
    }

    /// What a kept chunk is given with, where something was put right: its text, and its calls' arguments.
    pub(super) fn rewritten(&mut self, item: &Item, text: &str) -> Option<(Option<String>, Vec<CallArgs>)> {
        let readings = &mut self.readings;
        let text = readings.text.as_ref().filter(|_| !text.is_empty()).map(|whole| {
            let given = core::mem::replace(&mut readings.text_is_given, true);
            if given { String::new() } else { whole.clone() }
        });
        let released = self.live.as_ref().map(|live| live.released_calls.as_slice()).unwrap_or_default();
        let calls = readings.args.iter().filter(|call| item.calls.contains(&call.index));
        let calls: Vec<CallArgs> = calls
            .map(|CallArgs { index, args }| {
                let args = if released.contains(index) { String::new() } else { args.clone() };
                CallArgs { index: *index, args }
            })
            .collect();
        (text.is_some() || !calls.is_empty()).then_some((text, calls))
    }

    /// Whether it ends so because no answer fitted.
    pub(super) fn is_unfit(&self, ending: Ending) -> bool {
        let last = self.faults.iter().rev().find(|fault| fault.class != FaultClass::Limited);
        let reader = self.readings.reader.zip(self.plan.policy.guard_set());
        let name = reader.map(|(guard, set)| set.name(guard));
        matches!(ending, Ending::Content | Ending::Incomplete)
            && last.is_some_and(|fault| fault.class == FaultClass::Content && fault.code.as_deref() == name)
    }
}
