//! G5 and G6: what was recorded is decided again, and a dead process's session goes on from it.

use std::sync::Arc;

use l0_engine::{Ending, Policy, replay};

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
