//! §5: one deadline for everything, and clocks that know what a target is doing.

use l0_engine::{Ending, FaultClass, Instant, Part, Policy, SessionState, Usage};

use crate::rig::{Rig, SECOND, fragment, plan, status};

/// §5. How long a stream is still read after its end begins with the end, not with the silence before it.
#[test]
fn the_linger_begins_when_the_answer_has_finished() {
    let mut rig = Rig::simple(Policy::default());
    rig.says("All there is to say.");
    rig.part_after(SECOND * 20, Part { finish: Some("stop".into()), ..Part::default() });
    let due = rig.driver.session().poll_timeout(Some(rig.now)).unwrap();
    assert_eq!(due.since(rig.now), SECOND * 5);
    let usage = Usage { input: 10, output: 20, ..Usage::default() };
    rig.part_after(SECOND, Part { usage: Some(usage), ..Part::default() });
    rig.after(SECOND * 4).rings(Some(SECOND * 4));
    assert_eq!(rig.ending(), Ending::Complete);
    assert_eq!(rig.outcome().usage, usage);
}

/// G3. A chunk may come before the timer that is due: it is not passed on after the deadline.
#[test]
fn nothing_is_given_after_the_deadline() {
    for empty in [false, true] {
        let mut rig = Rig::simple(Policy::interactive());
        rig.says("In time, ").after(SECOND * 61);
        if empty {
            rig.ends();
        } else {
            rig.says("too late");
        }
        assert_eq!((rig.ending(), rig.text()), (Ending::Deadline, "In time, "));
    }
    let mut rig = Rig::simple(Policy::interactive());
    rig.says("In time").finishes("stop").after(SECOND * 61).says(", and a word more");
    assert_eq!((rig.ending(), rig.text()), (Ending::Complete, "In time"), "it had finished in time");
}

/// G3. An attempt that was granted too late is not opened, and its place is given back.
#[test]
fn nothing_is_opened_after_the_deadline() {
    let mut rig = Rig::idle(plan(Policy::interactive(), &["a"]));
    let effects = rig.driver.start(rig.now).unwrap();
    assert_eq!(effects.len(), 1, "{effects:?}");
    rig.after(SECOND * 61);
    let effects = rig.driver.admitted(rig.now, l0_engine::Admission::Granted).unwrap();
    assert_eq!(rig.ending(), Ending::Deadline);
    assert!(format!("{effects:?}").contains("Stopped"), "{effects:?}");
}

/// §5. A target that answers in one piece has one clock, which its response's beginning does not wind up again.
#[test]
fn the_clock_of_a_call_runs_from_its_beginning() {
    for streamed in [false, true] {
        let mut plan = plan(Policy::default(), &["a"]);
        plan.streamed = streamed;
        plan.targets[0].whole = true;
        let mut rig = Rig::of(plan);
        rig.after(SECOND * 599).opened().after(SECOND).rings(Some(SECOND));
        assert_eq!(rig.last_fault().class, FaultClass::Stall);
        assert_ne!(rig.driver.session().state(), SessionState::Reading);
    }
}

/// §5. Keep-alives neither wind a clock up nor keep it from running out when the timer is late.
#[test]
fn keep_alives_do_not_hide_a_silence() {
    let mut rig = Rig::simple(Policy::default());
    rig.says("A word");
    for _ in 0..2 {
        rig.part_after(SECOND * 14, Part::default());
        assert!(rig.driver.session().faults().is_empty());
    }
    let due = rig.driver.session().poll_timeout(Some(rig.now)).unwrap();
    assert_eq!(due.since(rig.now), SECOND * 2);
    rig.part_after(SECOND * 14, Part::default());
    assert_eq!((rig.last_fault().class, rig.last_fault().code.as_deref()), (FaultClass::Stall, Some("text")));
}

/// §5. Each clock for what the target did last, and the presets' numbers.
#[test]
fn the_clock_follows_what_the_target_is_doing() {
    let reasoning = Part { reasoning: true, ..Part::default() };
    let call = Part { tools: vec![fragment(0, "look", "{", false)], ..Part::default() };
    let text = Part { text: "word".into(), ..Part::default() };
    let rows = [
        (Policy::interactive(), [5, 15, 60, 8, 60, 60]),
        (Policy::default(), [30, 120, 600, 30, 120, 300]),
        (Policy::batch(), [60, 600, 600, 120, 600, 600]),
    ];
    for (policy, [open, first, first_reasoning, after_text, after_reasoning, after_call]) in rows {
        for reasons in [false, true] {
            let mut plan = plan(policy.clone(), &["a"]);
            plan.targets[0].reasons = reasons;
            let due = |rig: &Rig| {
                rig.driver.session().poll_timeout(Some(rig.now)).unwrap().since(rig.now).as_secs()
            };
            let mut rig = Rig::of(plan);
            assert_eq!(due(&rig), open);
            rig.opened();
            assert_eq!(due(&rig), if reasons { first_reasoning } else { first });
            rig.part(reasoning.clone());
            assert_eq!(due(&rig), after_reasoning);
            rig.part(text.clone());
            assert_eq!(due(&rig), after_text);
            rig.part(call.clone());
            assert_eq!(due(&rig), after_call);
        }
    }
}

/// §5. A slow consumer is not a stall: content clocks run only while a read is pending.
#[test]
fn clocks_stand_still_while_nobody_reads() {
    let mut rig = Rig::simple(Policy::default());
    rig.says("A word, ").after(SECOND * 500);
    assert_eq!(rig.driver.session().poll_timeout(None), Some(rig.driver.session().deadline()));
    rig.rings(None);
    assert!(rig.driver.session().faults().is_empty());
    rig.after(SECOND * 29).rings(Some(SECOND * 29));
    assert!(rig.driver.session().faults().is_empty());
    rig.after(SECOND).rings(Some(SECOND * 30));
    assert_eq!(rig.last_fault().class, FaultClass::Stall);
}

/// §5. A session inside another's deadline has that one, if it is the sooner.
#[test]
fn a_deadline_is_inherited() {
    for (inherited, seconds) in [(30, 30), (5_000, 900)] {
        let mut plan = plan(Policy::default(), &["a"]);
        plan.deadline = Some(Instant::default().after(SECOND * inherited));
        let mut rig = Rig::idle(plan);
        rig.now = Instant(0);
        rig.start();
        assert_eq!(rig.opening().time_left, SECOND * seconds);
    }
    let mut plan = plan(Policy::default(), &["a"]);
    plan.deadline = Some(Instant(10));
    let rig = Rig::of(plan);
    assert_eq!((rig.ending(), rig.openings.len()), (Ending::Deadline, 0), "it had passed already");
}

/// G3. A retry that would come after the deadline is not waited for.
#[test]
fn no_wait_outlasts_the_deadline() {
    let mut rig = Rig::simple(Policy::interactive());
    rig.fails(l0_engine::Facts { retry_after: Some("61".into()), ..status(429) });
    assert_eq!((rig.ending(), rig.waits.len()), (Ending::Exhausted, 0));
}

/// §5. A stream that has finished and goes on talking is left after the linger.
#[test]
fn an_answer_that_has_finished_is_taken_after_the_linger() {
    let mut rig = Rig::simple(Policy::default());
    rig.says("All.").finishes("stop");
    for _ in 0..5 {
        rig.part_after(SECOND, Part::default());
    }
    let due = rig.driver.session().poll_timeout(Some(rig.now)).unwrap();
    assert_eq!(due, rig.now, "keep-alives do not lengthen it");
    rig.rings(Some(core::time::Duration::ZERO));
    assert_eq!((rig.ending(), rig.closed.len()), (Ending::Complete, 1));
}

/// §5. A call that is not streamed has its own clock, from its beginning, and no other.
#[test]
fn a_call_that_is_not_streamed_has_one_clock() {
    let mut plan = plan(Policy::default(), &["a"]);
    plan.streamed = false;
    let mut rig = Rig::of(plan);
    rig.after(SECOND * 400).opened().after(SECOND * 199).rings(Some(SECOND * 599));
    assert!(rig.driver.session().faults().is_empty(), "the clocks of a stream do not run");
    rig.after(SECOND).rings(None);
    assert_eq!((rig.last_fault().class, rig.last_fault().code.as_deref()), (FaultClass::Stall, Some("call")));
}
