//! §6: nothing shown is lost, doubled or contradicted, whatever rung a continuation stands on.

use l0_engine::{Ending, Mode, Part, Policy, Prefill, Rung};

use crate::rig::{Rig, cut, plan};

fn with_rungs(rungs: &[Rung]) -> Policy {
    let mut policy = Policy::default();
    policy.continuation.rungs = rungs.to_vec();
    policy
}

/// G1. Such a target may start over in other words, which nothing in its answer tells from going on.
#[test]
fn a_target_nobody_knows_to_take_a_prefix_is_not_given_one() {
    let mut plan = plan(Policy::default(), &["a"]);
    plan.targets[0].prefill = Prefill::Untold;
    let mut rig = Rig::of(plan);
    rig.says("The river rises in the hills above the old town, and from there it ").fails(cut()).waits_out();
    assert_eq!(rig.opening().mode, Mode::Prompt);
}

/// G1, G2. A call the consumer has is not released again because the answer began with an empty chunk.
#[test]
fn a_rerun_that_begins_with_an_empty_chunk_repeats_no_call() {
    let mut rig = Rig::simple(with_rungs(&[Rung::Rerun]));
    rig.calls("look", "{}").says("Here it is").fails(cut()).waits_out();
    assert_eq!(rig.opening().mode, Mode::Rerun);
    rig.part(Part::default()).calls("look", "{}").says("Here it is, at last.").ends();
    assert_eq!(rig.ending(), Ending::Complete);
    assert_eq!(rig.text(), "Here it is, at last.");
    assert_eq!(rig.outcome().tool_calls.len(), 1);
}
