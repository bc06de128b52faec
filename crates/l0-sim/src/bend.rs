//! G6: a journal replays to the session that wrote it, and a bent one is found out where it was bent.

use std::sync::Arc;

use l0_engine::{Divergence, Flags, Header, Input, Output, Policy, Record, Session, replay};

use crate::dice::Dice;
use crate::driver::Driver;
use crate::tally::{Promise, Tally, Violation};
use crate::world::broken;

/// Journals bent per session.
const BENDS: usize = 4;

/// Replays a session's journal, whole, cut and bent.
///
/// # Errors
/// If a whole one does not lead to the same session, or a bent one is not found out where it can be.
pub(crate) fn check(driver: &Driver, dice: &mut Dice, tally: &mut Tally) -> Result<(), Violation> {
    let (session, journal) = (driver.session(), driver.journal());
    let policy = Arc::clone(&session.plan().policy);
    tally.checked(Promise::G6);
    let again = replay(Arc::clone(&policy), journal)
        .map_err(|diverged| broken(Promise::G6, format!("its own journal: {diverged:?}")))?;
    same(session, &again)?;
    let cut = dice.within(1, journal.len());
    tally.checked(Promise::G6);
    replay(Arc::clone(&policy), &journal[..cut])
        .map_err(|diverged| broken(Promise::G6, format!("cut at {cut}: {diverged:?}")))?;
    for _ in 0..BENDS {
        bend(&policy, journal, dice, tally)?;
    }
    Ok(())
}

fn same(session: &Session, again: &Session) -> Result<(), Violation> {
    let equal = session.outcome() == again.outcome()
        && session.text() == again.text()
        && session.state() == again.state()
        && session.deadline() == again.deadline()
        && session.tool_calls().eq(again.tool_calls());
    if equal {
        return Ok(());
    }
    let what = format!(
        "replayed to {:?} {:?}, recorded {:?} {:?}",
        again.outcome(),
        again.text(),
        session.outcome(),
        session.text()
    );
    Err(broken(Promise::G6, what))
}

/// Changes one thing in a journal.
fn bend(
    policy: &Arc<Policy>,
    journal: &[Record],
    dice: &mut Dice,
    tally: &mut Tally,
) -> Result<(), Violation> {
    let mut bent = journal.to_vec();
    let at = dice.below(journal.len());
    let decided = |place: usize| matches!(journal.get(place), Some(Record::Decision(_)));
    let last = journal.len() - 1;
    // Whether the divergence must be found at the very place.
    let (kind, exact) = match dice.below(5) {
        0 => {
            alter(&mut bent[at], dice);
            ("altered", decided(at) || signal_of(&bent[at]) != signal_of(&journal[at]))
        }
        1 => {
            bent.remove(at);
            ("lost", decided(at) && at != last && journal[at + 1] != journal[at])
        }
        2 if at < last => {
            bent.swap(at, at + 1);
            ("swapped", decided(at) && journal[at] != journal[at + 1])
        }
        3 => {
            bent.insert(at, journal[at].clone());
            // Two of a kind are told apart by what follows.
            ("doubled", false)
        }
        _ => {
            let other = dice.below(journal.len());
            bent[at] = journal[other].clone();
            ("replaced", decided(at) && journal[at] != journal[other])
        }
    };
    if bent == journal {
        return Ok(());
    }
    tally.checked(Promise::G6);
    let found = replay(Arc::clone(policy), &bent);
    let name = match &found {
        Ok(_) => "a history of its own",
        Err(Divergence { record, .. }) if *record == at => "found where it was bent",
        Err(_) => "found where it first mattered",
    };
    *tally.bent.entry(name).or_default() += 1;
    match found {
        // A header without its session or an input that the engine can explain is a journal of another session.
        Ok(_) if exact => {
            Err(broken(Promise::G6, format!("{kind} at {at} went unnoticed: {:?}", journal[at])))
        }
        Err(Divergence { record, .. }) if record < at || (exact && record != at) => {
            Err(broken(Promise::G6, format!("{kind} at {at} was found at {record}: {:?}", journal[at])))
        }
        _ => Ok(()),
    }
}

fn signal_of(record: &Record) -> Option<l0_engine::Signal> {
    match record {
        Record::Chunk { signal, .. } => Some(*signal),
        Record::Input { signal, .. } => *signal,
        _ => None,
    }
}

/// Changes one field of a record.
fn alter(record: &mut Record, dice: &mut Dice) {
    match record {
        Record::Start(header) => alter_header(header, dice),
        Record::Chunk { at, attempt, text, signal } => match dice.below(4) {
            0 => at.0 ^= 1 << dice.below(40),
            1 => attempt.0 = attempt.0.wrapping_add(1),
            2 => *text = format!("{text}x").into(),
            _ => *signal = other_signal(*signal),
        },
        Record::Input { at, input, signal } => match (dice.below(3), signal) {
            (0, Some(signal)) => *signal = other_signal(*signal),
            (1, _) => at.0 ^= 1 << dice.below(40),
            (_, _) => alter_input(input),
        },
        Record::Decision(output) => alter_output(output),
    }
}

fn other_signal(signal: l0_engine::Signal) -> l0_engine::Signal {
    use l0_engine::Signal::{Drain, Hold, Pass, Skip};
    match signal {
        Pass => Hold,
        Hold => Drain,
        Drain => Skip,
        Skip => Pass,
    }
}

fn alter_header(header: &mut Header, dice: &mut Dice) {
    match dice.below(6) {
        0 => header.flags = Flags(1 << 63),
        1 => header.generator.push('x'),
        2 => header.policy.push('x'),
        3 => header.seed ^= 1,
        4 => header.streamed = !header.streamed,
        _ => header.targets.push(l0_engine::Target::named("one more")),
    }
}

fn alter_input(input: &mut Input) {
    match input {
        Input::Opened(attempt) | Input::Ended(attempt) => attempt.0 = attempt.0.wrapping_add(1),
        Input::Part { part, .. } => part.text.push('x'),
        Input::Failed { facts, .. } => facts.status = facts.status.map(|status| status ^ 1),
        Input::Timeout { waited } => *waited = waited.map(|waited| waited / 2),
        Input::Start => *input = Input::Cancel,
        Input::Cancel | Input::Resume => *input = Input::Start,
        Input::Checked(objections) => objections.clear(),
        Input::Judged { check, .. } => *check = check.wrapping_add(1),
        Input::Admitted(_) => *input = Input::Admitted(l0_engine::Admission::OverBudget),
    }
}

fn alter_output(output: &mut Output) {
    match output {
        Output::Ask { force, .. } => *force = !*force,
        Output::Open { attempt, .. } | Output::Cancel { attempt } => attempt.0 = attempt.0.wrapping_add(1),
        Output::Check { check, .. } => *check = check.wrapping_add(1),
        Output::Wait { until } => until.0 ^= 1,
        Output::Release { chunks } | Output::Drop { chunks } => *chunks = chunks.wrapping_add(1),
        Output::Cut { start, .. } => *start = start.wrapping_add(1),
        Output::Mask { text, .. } => text.push('x'),
        Output::Rewrite { at, .. } => *at = at.wrapping_add(1),
        Output::Reset => *output = Output::Done,
        Output::Done | Output::Event(_) => *output = Output::Reset,
        Output::Report { target, .. } => target.0 = target.0.wrapping_add(1),
    }
}
