//! §5: one deadline for everything, and clocks that know what a target is doing.

use l0_engine::{Ending, FaultClass, Part, Policy, SessionState, Usage};

use crate::rig::{Rig, SECOND, plan};

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
