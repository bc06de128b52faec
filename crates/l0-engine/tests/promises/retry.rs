//! §4: retries, what the provider asks for, budgets, breakers and limits.

use core::time::Duration;

use l0_engine::{
    Admission, Answer, AttemptOutcome, Ending, Facts, FaultClass, Fleet, Instant, Jitter, Key, Mode, Policy,
    Purpose, Rung, SessionState, TargetId,
};

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

/// §4. A Retry-After is a floor, kept in all its forms, with at most the slack on top.
#[test]
fn a_retry_after_is_a_floor_and_no_more_is_waited_than_its_slack() {
    let seconds = |text: &str| Facts { retry_after: Some(text.into()), ..status(429) };
    let cases = [
        (seconds("7"), 7_000),
        (Facts { retry_after_ms: Some("1500".into()), ..seconds("7") }, 1_500),
        (
            Facts {
                date: Some("Wed, 21 Oct 2026 07:28:00 GMT".into()),
                ..seconds("Wed, 21 Oct 2026 07:28:11 GMT")
            },
            11_000,
        ),
    ];
    for (facts, floor) in cases {
        for seed in 0..20 {
            let mut plan = plan(Policy::default(), &["a"]);
            plan.seed = seed;
            let mut rig = Rig::of(plan);
            rig.fails(facts.clone());
            let (wait, floor) = (rig.waits[0], Duration::from_millis(floor));
            assert!(wait >= floor && wait <= floor + SECOND * 5, "{facts:?}: {wait:?}");
        }
    }
    let mut rig = Rig::simple(Policy::default());
    rig.fails(seconds("soon"));
    assert!(rig.waits.iter().all(|wait| *wait <= SECOND), "rubbish asks for nothing");
}

/// §4. Who asks to be left alone is left alone while another target is ready.
#[test]
fn another_target_is_sooner_than_a_retry_after() {
    let mut rig = Rig::of(plan(Policy::default(), &["a", "b"]));
    rig.fails(Facts { retry_after: Some("20".into()), ..status(429) });
    assert_eq!((rig.opening().target, rig.waits.len()), (TargetId(1), 0));
    rig.fails(Facts { retry_after: Some("40".into()), ..status(429) });
    assert_eq!(rig.waits.len(), 1, "now nobody is ready, and the first one is sooner");
    rig.waits_out();
    assert_eq!(rig.opening().target, TargetId(0));
}

/// §4. Backoff grows with each retry, from the base the fault has, and stays under its cap.
#[test]
fn a_backoff_doubles_up_to_its_cap() {
    for (facts, base) in [(cut(), 500), (status(503), 1_000)] {
        let mut policy = Policy::default();
        policy.retry.jitter = Jitter::None;
        policy.retry.max_retries = 8;
        let mut rig = Rig::simple(policy);
        while !rig.is_done() {
            rig.fails(facts.clone()).waits_out();
        }
        let expected: Vec<u128> = (0..8).map(|n| (base << n).min(20_000)).collect();
        let waits: Vec<u128> = rig.waits.iter().map(Duration::as_millis).collect();
        assert_eq!(waits, expected);
    }
}

/// §4. Retries are a session's, attempts a target's: the first try of a fallback costs neither.
#[test]
fn a_fallback_has_its_first_try_when_the_retries_are_used_up() {
    let mut rig = Rig::of(plan(Policy::default(), &["a", "b"]));
    for _ in 0..7 {
        rig.fails(cut()).waits_out();
    }
    assert_eq!(rig.opening().target, TargetId(1));
    rig.fails(cut());
    assert_eq!((rig.ending(), rig.outcome().attempts), (Ending::Exhausted, 8));
    assert_eq!(rig.outcome().attempts, Policy::default().worst_case(2).calls);
}

/// §4. An empty retry budget sends on to the next target, and is no fault of an attempt.
#[test]
fn an_empty_budget_goes_to_the_next_target() {
    let mut rig = Rig::of(plan(Policy::default(), &["a", "b"]));
    rig.admissions.push_back(Admission::OverBudget);
    rig.fails(cut());
    assert_eq!(rig.opening().target, TargetId(1));
    let fault = rig.last_fault();
    assert_eq!((fault.class, fault.attempt), (FaultClass::Limited, None));
}

/// §4. An open breaker is passed over; if all are open, the one that reopens first is tried all the same.
#[test]
fn open_breakers_are_passed_over_while_anybody_else_is_there() {
    let open = |seconds: u32| Admission::BreakerOpen {
        reopens_in: u64::try_from((SECOND * seconds).as_nanos()).unwrap(),
    };
    let mut rig = Rig::idle(plan(Policy::default(), &["a", "b", "c"]));
    rig.admissions.extend([open(20), Admission::Granted]);
    rig.start();
    assert_eq!(rig.opening().target, TargetId(1));

    let mut rig = Rig::idle(plan(Policy::default(), &["a", "b", "c"]));
    rig.admissions.extend([open(20), open(5), open(9)]);
    rig.start();
    assert_eq!(rig.opening().target, TargetId(1), "it reopens first");
    let asks = rig.driver.journal().iter().filter(|record| format!("{record:?}").contains("force: true"));
    assert_eq!(asks.count(), 1, "the breaker is told to let it through");
}

/// §4. With a single target the breaker only limits retries.
#[test]
fn the_breaker_of_a_single_target_limits_retries_only() {
    let open = Admission::BreakerOpen { reopens_in: 1 };
    let mut rig = Rig::idle(plan(Policy::default(), &["a"]));
    rig.admissions.push_back(open);
    rig.start();
    assert_eq!(rig.openings.len(), 1, "the first attempt is made");
    rig.admissions.push_back(open);
    rig.fails(cut());
    assert_eq!(rig.ending(), Ending::Exhausted);
}

/// §11. Those who wait for a place and leave do not keep it, and those behind them are called in order.
#[test]
fn a_place_goes_to_the_next_in_line() {
    let mut policy = Policy::default();
    policy.limits.concurrent = Some(1);
    let key = |name: &str| Key { target: name.to_owned(), tenant: String::new() };
    let (mut fleet, a) = (Fleet::new(), key("a"));
    let ask = |fleet: &mut Fleet| fleet.ask(Instant(0), &a, Purpose::First, false, &policy);
    assert_eq!(ask(&mut fleet), Answer::Now(Admission::Granted));
    let tickets: Vec<_> = (0..3)
        .map(|_| match ask(&mut fleet) {
            Answer::Queued(ticket) => ticket,
            Answer::Now(admission) => panic!("{admission:?}"),
        })
        .collect();
    fleet.leave(&key("a"), tickets[0]);
    fleet.report(Instant(1), &key("a"), AttemptOutcome::Success { purpose: Purpose::First }, &policy);
    let called = |fleet: &mut Fleet, at: usize| {
        fleet.is_called(Instant(1), &key("a"), tickets[at], Purpose::First, &policy)
    };
    assert!(!called(&mut fleet, 2) && called(&mut fleet, 1) && !called(&mut fleet, 2));
    assert_eq!(
        fleet.ask(Instant(1), &key("b"), Purpose::First, false, &policy),
        Answer::Now(Admission::Granted)
    );
}
