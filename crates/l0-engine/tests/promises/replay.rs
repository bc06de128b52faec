//! G5 and G6: what was recorded is decided again, and a dead process's session goes on from it.

use std::sync::Arc;

use l0_engine::{Ending, Output, Part, Plan, Policy, Record, Rung, replay};

use crate::rig::{Rig, cut, plan};

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

/// G5. The consumer reads again from the beginning, and then on: what it has had is there, and goes on.
#[test]
fn what_was_shown_outlives_the_process() {
    let mut rig = Rig::simple(Policy::default());
    rig.says("There was a miller ").dies(0).waits_out();
    assert_eq!((rig.text(), rig.opening().prefix.as_str()), ("There was a miller ", "There was a miller"));
    rig.says("with three sons").dies(0).waits_out();
    rig.says(", and a donkey.").ends();
    assert_eq!(rig.text(), "There was a miller with three sons, and a donkey.");
    assert_eq!(rig.outcome().splices.len(), 2);
}

/// G5. A session that had ended has ended, in every process that reads of it.
#[test]
fn a_finished_session_is_finished_for_ever() {
    let mut rig = Rig::simple(Policy::default());
    rig.says("All.").ends();
    let outcome = rig.outcome().clone();
    rig.dies(0);
    assert_eq!(*rig.outcome(), outcome);
}

/// G6. Every single record that is left out, doubled or changed is found out, or makes a journal of its own that says
/// so itself: a decision never differs unseen.
#[test]
fn a_bent_journal_is_found_out_where_it_was_bent() {
    let mut rig = Rig::of(plan(Policy::default(), &["a", "b"]));
    rig.says("There was a miller ").fails(cut()).waits_out();
    rig.says("with three sons.").finishes("stop").ends();
    let journal = rig.driver.journal().to_vec();
    let policy = Arc::clone(&rig.driver.session().plan().policy);
    let last = journal.len() - 1;
    for at in 0..journal.len() {
        let Record::Decision(decision) = &journal[at] else { continue };
        let other = if *decision == Output::Reset { Output::Done } else { Output::Reset };
        let mut bent = journal.clone();
        bent[at] = Record::Decision(other);
        assert_eq!(replay(Arc::clone(&policy), &bent).unwrap_err().record, at, "changed: {decision:?}");
        if at < last && journal[at + 1] != journal[at] {
            let mut bent = journal.clone();
            bent.remove(at);
            assert_eq!(replay(Arc::clone(&policy), &bent).unwrap_err().record, at, "left out: {decision:?}");
        }
    }
    assert_eq!(replay(Arc::new(Policy::strict()), &journal).unwrap_err().record, 0, "another policy");
    assert_eq!(replay(policy, &[]).unwrap_err().record, 0, "nothing at all");
}
