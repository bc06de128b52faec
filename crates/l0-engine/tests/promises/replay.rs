//! G5 and G6: what was recorded is decided again, and a dead process's session goes on from it.

use std::sync::Arc;

use l0_engine::{Ending, Part, Plan, Policy, Rung, replay};

use crate::rig::{Rig, cut};

/// G6. What the dead process had decided and not written is decided again, and then written.
#[test]
fn a_torn_journal_is_whole_again_after_a_resume() {
    let mut whole = Rig::simple(Policy::default());
    whole.says("The first words ").fails(cut());
    let written = whole.driver.journal().len();
    for lost in 0..written - 1 {
        let mut rig = Rig::simple(Policy::default());
        rig.says("The first words ").fails(cut());
        rig.dies(lost).waits_out();
        assert!(rig.is_done() || !rig.openings.is_empty(), "lost {lost}");
        let policy = Arc::clone(&rig.driver.session().plan().policy);
        let again = replay(policy, rig.driver.journal());
        assert!(again.is_ok(), "lost {lost}: {:?}", again.err());
    }
}

/// G4. A death is nobody's failure: it takes none of the retries.
#[test]
fn a_death_costs_no_retry() {
    let mut policy = Policy::default();
    policy.retry.max_retries = 0;
    let mut rig = Rig::simple(policy);
    for _ in 0..3 {
        rig.says("More words, enough of them to be known again. ").dies(0).waits_out();
        assert!(!rig.is_done());
    }
    rig.fails(cut());
    assert_eq!(rig.ending(), Ending::Incomplete);
}

/// G6. A driver that drains late gets the same records: what was decided is written with the input that led to it.
#[test]
fn outputs_left_undrained_do_not_bend_the_records() {
    let mut policy = Policy::default();
    policy.continuation.rungs = vec![Rung::Rerun];
    let policy = Arc::new(policy);
    let mut rig = Rig::of(Plan::simple(Arc::clone(&policy)));
    rig.says("One two three ").fails(cut()).waits_out();
    let (attempt, now) = (rig.attempt(), rig.now);
    let mut session = rig.driver.session().clone();
    for text in ["One ", "two ", "three ", "four"] {
        session.handle_chunk(now, attempt, text);
    }
    session.handle_ended(now, attempt).unwrap();
    let mut records = rig.driver.journal().to_vec();
    records.extend(session.take_records());
    while session.poll_output().is_some() {}
    let again = replay(policy, &records);
    assert!(again.is_ok(), "{:?}", again.err());
}

/// G5. What the dead process kept back is not there to be dropped by the next one.
#[test]
fn a_new_process_is_not_told_to_drop_what_the_old_one_kept() {
    let mut rig = Rig::simple(Policy::default());
    rig.part(Part::default()).says("  ");
    assert_eq!(rig.driver.kept(), 2);
    rig.dies(0).waits_out().says("Hello.").ends();
    assert_eq!((rig.ending(), rig.text()), (Ending::Complete, "Hello."));
    assert_eq!(rig.outcome().waste.bytes, 2);
}
