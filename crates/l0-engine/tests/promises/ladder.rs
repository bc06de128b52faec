//! §6: nothing shown is lost, doubled or contradicted, whatever rung a continuation stands on.

use l0_engine::{Ending, FaultClass, Mode, Opaque, Part, Policy, Prefill, Rung, TargetId};

use crate::rig::{Rig, cut, plan, status};

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

/// G8. An answer whose beginning another target gave is marked, whoever gave its end.
#[test]
fn a_part_from_another_target_is_marked_as_degraded() {
    let mut rig = Rig::of(plan(with_rungs(&[Rung::Rerun]), &["a", "b"]));
    rig.fails(l0_engine::Facts { retry_after: Some("9".into()), ..status(429) });
    assert_eq!(rig.opening().target, TargetId(1));
    rig.says("From b, ").fails(status(401)).waits_out();
    assert_eq!(rig.opening().target, TargetId(0));
    rig.says("From b, and on.").ends();
    assert_eq!((rig.ending(), rig.outcome().served_by), (Ending::Complete, Some(TargetId(0))));
    assert!(rig.outcome().degraded);
}

/// G1, G8. Nothing at all is no continuation, unless the target says in so many words that there is nothing to add.
#[test]
fn an_empty_continuation_does_not_complete_an_answer() {
    for rung in [Rung::Prefill, Rung::Prompt, Rung::Rerun] {
        let mut rig = Rig::simple(with_rungs(&[rung]));
        rig.says("The answer to all of it is, as far as anybody knows, ").fails(cut()).waits_out();
        rig.ends();
        assert_eq!(rig.last_fault().class, FaultClass::Empty, "{rung:?}");
        rig.waits_out();
        assert_eq!(rig.opening().mode.rung(), Some(rung), "an empty answer does not fail its rung");
        rig.says("  ").finishes("stop").ends();
        if rung == Rung::Prefill {
            assert_eq!(rig.ending(), Ending::Complete, "{rung:?}");
        } else {
            assert_eq!(rig.last_fault().class, FaultClass::Empty, "{rung:?}");
        }
    }
}

/// G2. What broke off inside a part is still broken there after an attempt that showed nothing.
#[test]
fn a_failed_attempt_that_showed_nothing_leaves_the_break_where_it_was() {
    let mut rig = Rig::simple(with_rungs(&[Rung::Prefill, Rung::Rerun]));
    let opaque = Some(Opaque { digest: 1, open: true });
    rig.says("Look at this: ").part(Part { opaque, ..Part::default() }).fails(cut()).waits_out();
    assert_eq!(rig.opening().mode, Mode::Rerun);
    rig.fails(status(503)).waits_out();
    assert_eq!(rig.opening().mode, Mode::Rerun);
}

/// G1. White space before a call that has to be repeated may be another answer's: it waits for the call.
#[test]
fn white_space_of_an_answer_that_does_not_fit_is_not_given() {
    let policy = with_rungs(&[Rung::Rerun]);
    let mut rig = Rig::simple(policy.clone());
    rig.calls("look", "{}").fails(cut()).waits_out();
    rig.part(Part { reasoning: true, ..Part::default() }).says("\n").says("Something else.");
    assert_eq!((rig.last_fault().code.as_deref(), rig.text()), (Some("diverged"), ""));
    let mut rig = Rig::simple(policy);
    rig.calls("look", "{}").fails(cut()).waits_out();
    rig.says("\n").calls("look", "{}").says("Done.").ends();
    assert_eq!((rig.ending(), rig.text()), (Ending::Complete, "\nDone."));
}
