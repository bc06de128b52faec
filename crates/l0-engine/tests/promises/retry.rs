//! §4: retries, what the provider asks for, budgets, breakers and limits.

use core::time::Duration;

use l0_engine::{AttemptOutcome, Ending, Jitter, Mode, Policy, Rung, SessionState, TargetId};

use crate::rig::{Rig, SECOND, cut, plan, status};

/// G3. What the fleet granted is given back when the session ends before it is used: a place would be lost for good.
#[test]
fn a_grant_that_is_not_used_is_given_back() {
    let stopped = (TargetId(0), AttemptOutcome::Stopped);
    let mut left = Rig::simple(Policy::default());
    left.fails(status(503));
    assert_eq!(left.driver.session().state(), SessionState::Waiting);
    left.cancels();
    assert_eq!(left.ending(), Ending::Cancelled);
    assert_eq!(left.reports.last(), Some(&stopped));

    let mut late = Rig::simple(Policy::default());
    late.fails(status(503));
    late.after(SECOND * 1_000).rings(None);
    assert_eq!(late.ending(), Ending::Deadline);
    assert_eq!(late.reports.last(), Some(&stopped));
}

/// G3. The fleet of a new process knows nothing of what the old one granted.
#[test]
fn a_wait_that_outlives_its_process_is_asked_for_again() {
    let mut rig = Rig::simple(Policy::default());
    rig.fails(status(503)).dies(0);
    assert_eq!(rig.driver.session().state(), SessionState::Waiting);
    let asks = |rig: &Rig| {
        let journal = rig.driver.journal().iter();
        journal.filter(|record| format!("{record:?}").starts_with("Decision(Ask")).count()
    };
    assert_eq!(asks(&rig), 3, "once to begin, once to retry, once more after the death");
    rig.waits_out().says("Hello.").ends();
    assert_eq!(rig.ending(), Ending::Complete);
}

/// G1. A whole session of the rung nobody likes.
#[test]
fn a_reset_tells_the_consumer_before_anything_new() {
    let mut policy = Policy::default();
    policy.continuation.rungs = vec![Rung::Reset];
    let mut rig = Rig::simple(policy);
    rig.says("One way to say it").fails(cut()).waits_out();
    assert_eq!((rig.opening().mode, rig.resets), (Mode::Fresh, 1));
    rig.says("Another way.").ends();
    assert_eq!(rig.text(), "Another way.");
    assert_eq!(rig.outcome().resets, 1);
}

/// G3. `worst_case` is a bound whatever the jitter.
#[test]
fn the_worst_case_holds_for_every_jitter() {
    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated, Jitter::None] {
        for seed in 0..50 {
            let mut policy = Policy::default();
            policy.retry.jitter = jitter;
            let worst = policy.worst_case(1);
            let mut plan = plan(policy, &["a"]);
            plan.seed = seed;
            let mut rig = Rig::of(plan);
            while !rig.is_done() {
                rig.fails(status(503)).waits_out();
            }
            let waited: Duration = rig.waits.iter().sum();
            assert!(waited <= worst.waiting, "{jitter:?} {seed}: {waited:?} of {:?}", worst.waiting);
            assert_eq!(rig.outcome().attempts, worst.calls);
        }
    }
}
