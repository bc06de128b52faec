//! The contract between a session and its driver, and what happens to those who do not keep it.

use core::time::Duration;
use std::sync::Arc;

use l0_engine::{
    Admission, AttemptId, Ending, Facts, Instant, Misuse, Part, Plan, Policy, Session, SessionState, Signal,
};
use l0_sim::driver::NOISES;

use crate::rig::{Rig, SECOND, cut, plan};

fn idle() -> Session {
    Session::new(Arc::new(Plan::simple(Arc::new(Policy::default())))).unwrap()
}

/// Bad input: calls out of order say so and change nothing.
#[test]
fn calls_out_of_order_are_misuse() {
    let (now, id) = (Instant(1), AttemptId(0));
    let mut session = idle();
    assert_eq!(session.handle_admission(now, Admission::Granted), Err(Misuse::NotStarted));
    assert_eq!(session.handle_opened(now, id), Err(Misuse::NotStarted));
    assert_eq!(session.handle_ended(now, id), Err(Misuse::NotStarted));
    assert_eq!(session.handle_failed(now, id, Facts::default()), Err(Misuse::NotStarted));
    assert_eq!(session.handle_timeout(now, None), Err(Misuse::NotStarted));
    assert_eq!(session.handle_cancel(now), Err(Misuse::NotStarted));
    assert_eq!(session.handle_resume(now), Err(Misuse::NotStarted));
    assert_eq!(session.handle_part(now, id, SECOND, Part::default()), Err(Misuse::NotStarted));
    assert_eq!(session.handle_chunk(now, id, "too early"), Signal::Skip);
    assert_eq!((session.state(), session.poll_timeout(None)), (SessionState::Idle, None));
    assert!(session.poll_output().is_none());
    session.handle_start(now).unwrap();
    assert_eq!(session.handle_start(now), Err(Misuse::StartedTwice));
    session.handle_admission(now, Admission::Granted).unwrap();
    assert_eq!(session.handle_admission(now, Admission::Granted), Err(Misuse::NotAsked));
    assert_eq!(Misuse::NotAsked.to_string(), "the fleet was not asked: answer each `Ask` once");
}

/// What carries the id of an attempt that is over is inert, wherever the session stands.
#[test]
fn noise_is_inert_in_every_state() {
    let stages: [fn(&mut Rig); 6] = [
        |_| {},
        |rig| {
            rig.opened();
        },
        |rig| {
            rig.says("Some words of an answer, ");
        },
        |rig| {
            rig.says("Some words of an answer, ").fails(cut());
        },
        |rig| {
            rig.says("Some words of an answer, ").fails(cut()).waits_out();
        },
        |rig| {
            rig.says("All of it.").ends();
        },
    ];
    for (stage, reach) in stages.iter().enumerate() {
        for kind in 0..NOISES {
            let mut rig = Rig::simple(Policy::default());
            reach(&mut rig);
            rig.driver.disturb(rig.now, Some(rig.now), kind).unwrap_or_else(|breach| {
                panic!("stage {stage}, noise {kind}: {}", breach.0);
            });
        }
    }
}

/// After the end nothing is given, opened, waited for or said.
#[test]
fn the_end_is_the_end() {
    let mut rig = Rig::simple(Policy::default());
    rig.says("All of it.").ends();
    let (ending, text) = (rig.ending(), rig.text().to_owned());
    rig.says("And more")
        .finishes("stop")
        .ends()
        .fails(cut())
        .after(SECOND * 9_999)
        .rings(Some(SECOND))
        .cancels();
    assert_eq!((rig.ending(), rig.text()), (ending, text.as_str()));
    assert_eq!(rig.driver.session().poll_timeout(Some(rig.now)), None);
}

/// A clock that runs backwards counts as one that stands still.
#[test]
fn time_never_runs_backwards() {
    let mut rig = Rig::simple(Policy::default());
    rig.after(SECOND * 20).says("Late. ");
    rig.now = Instant(5);
    rig.says("Early.").ends();
    assert_eq!(rig.ending(), Ending::Complete);
    let times: Vec<String> = rig.driver.journal().iter().map(|record| format!("{record:?}")).collect();
    assert!(times.iter().all(|record| !record.contains("at: Instant(5)")), "{times:?}");
}

/// G7. Nothing goes wrong: the same chunks, at once, one by one.
#[test]
fn an_answer_without_a_fault_passes_chunk_by_chunk() {
    let mut rig = Rig::simple(Policy::default());
    for (count, text) in ["The ", "sea ", "is ", "calm."].into_iter().enumerate() {
        rig.says(text);
        assert_eq!(rig.given.len(), count + 1, "given as it came");
        assert!(!rig.given[count].cut);
    }
    rig.finishes("stop").ends();
    assert_eq!(rig.given.len(), 5);
    let outcome = rig.outcome();
    assert!(!outcome.degraded && !outcome.continued && outcome.faults.is_empty() && outcome.resets == 0);
    assert_eq!((outcome.attempts, outcome.waste.bytes), (1, 0));
}

/// G7. What came before the first word is given with it, each chunk as it came.
#[test]
fn what_waits_for_the_first_word_is_given_as_it_came() {
    let mut rig = Rig::simple(Policy::default());
    rig.part(Part::default()).says("\n").says(" ");
    assert!(rig.given.is_empty());
    rig.says("The sea");
    let given: Vec<(usize, bool)> = rig.given.iter().map(|piece| (piece.chunk.number, piece.cut)).collect();
    assert_eq!(given, [(0, false), (1, false), (2, false), (3, false)]);
}

/// G7. What comes before the first word is kept until there is one, so that a plain retry stays possible.
#[test]
fn nothing_shown_is_a_plain_retry() {
    let mut rig = Rig::simple(Policy::default());
    rig.part(Part::default()).says("\n\n").fails(cut()).waits_out();
    assert_eq!(rig.opening().mode, l0_engine::Mode::Fresh);
    rig.says("Calm.").ends();
    assert_eq!((rig.text(), rig.given.len()), ("Calm.", 1));
    assert!(!rig.outcome().continued);
}

/// G1. A consumer that is not streamed to is given nothing before the answer is complete.
#[test]
fn whole_answers_are_given_whole() {
    for streamed in [false, true] {
        let mut policy = Policy::default();
        policy.delivery = if streamed { l0_engine::Delivery::Whole } else { policy.delivery };
        let mut plan = plan(policy, &["a"]);
        plan.streamed = streamed;
        let mut rig = Rig::of(plan);
        rig.says("Half of ").fails(cut()).waits_out();
        assert!(rig.given.is_empty());
        rig.says("All of ").says("it.");
        assert!(rig.given.is_empty());
        rig.ends();
        assert_eq!((rig.text(), rig.given.len()), ("All of it.", 2));
    }
}

/// G3. What is no longer wanted is closed, and what has ended by itself is not.
#[test]
fn streams_are_closed_by_whoever_ends_them() {
    let closed = |happens: fn(&mut Rig) -> &mut Rig| {
        let mut rig = Rig::simple(Policy::default());
        rig.says("Some words, ");
        happens(&mut rig);
        rig.closed.len()
    };
    assert_eq!(closed(|rig| rig.cancels()), 1);
    assert_eq!(closed(|rig| rig.after(SECOND * 900).rings(None)), 1);
    assert_eq!(closed(|rig| rig.after(SECOND * 30).rings(Some(SECOND * 30))), 1);
    assert_eq!(closed(|rig| rig.ends()), 0);
    assert_eq!(closed(|rig| rig.fails(cut())), 0);
    assert_eq!(closed(|rig| rig.finishes("stop").after(SECOND * 5).rings(Some(SECOND * 5))), 1);
}

/// Retrying costs the caller's time and not its token limit: what was shown is told to whoever lowers it.
#[test]
fn a_continuation_says_how_much_was_shown() {
    let mut rig = Rig::simple(Policy::default());
    rig.says("Twenty characters ok").fails(cut()).waits_out();
    let session = rig.driver.session();
    assert_eq!(session.opening().unwrap().tokens_shown, 5);
    assert!(rig.opening().time_left < Duration::from_secs(900));
}
