//! §6: nothing shown is lost, doubled or contradicted, whatever rung a continuation stands on.

use l0_engine::{Ending, FaultClass, Mode, Opaque, Part, Policy, Prefill, Rung, TargetId};

use crate::rig::{Rig, cut, fragment, plan, status};

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

/// G4. A rung that brought nothing waits for the others, which may bring the rest.
#[test]
fn an_empty_continuation_is_followed_by_the_next_rung() {
    let mut rig = Rig::simple(with_rungs(&[Rung::Prefill, Rung::Prompt, Rung::Rerun]));
    rig.says("The answer to all of it is, as far as anybody knows, ").fails(cut()).waits_out();
    for rung in [Rung::Prefill, Rung::Prompt] {
        assert_eq!(rig.opening().mode.rung(), Some(rung));
        rig.ends().waits_out();
    }
    assert_eq!(rig.opening().mode, Mode::Rerun);
    rig.says("The answer to all of it is, as far as anybody knows, 42.").ends();
    assert_eq!(rig.ending(), Ending::Complete);
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

/// G1. White space after reasoning may be all there is of an answer: it waits for the first word, reasoning does not.
#[test]
fn white_space_of_an_answer_that_is_none_is_not_given() {
    let mut rig = Rig::simple(with_rungs(&[Rung::Prefill, Rung::Rerun]));
    let thought = Part { reasoning: true, ..Part::default() };
    rig.part(thought.clone()).says(" \n ");
    assert_eq!((rig.given.len(), rig.text()), (1, ""), "the thought is given at once");
    rig.ends().waits_out();
    assert_eq!((rig.last_fault().class, rig.opening().mode), (FaultClass::Empty, Mode::Fresh));
    rig.part(thought).says(" ").says("Paris.").ends();
    assert_eq!((rig.ending(), rig.text()), (Ending::Complete, " Paris."));
}

const STORY: &str = "There was a miller who had three sons, a mill, a donkey and a cat, and nothing ";

/// G4. The best rung first, each failed one never again on that target, then the next target from the top.
#[test]
fn the_ladder_is_climbed_down_once_on_every_target() {
    let mut plan = plan(Policy::default(), &["a", "b"]);
    plan.targets[1].prefill = Prefill::No;
    let mut rig = Rig::of(plan);
    rig.says(STORY).fails(cut()).waits_out();
    let mut steps = Vec::new();
    while !rig.is_done() {
        steps.push((rig.opening().target.0, rig.opening().mode));
        let attempt = rig.attempt();
        if rig.opening().mode == Mode::Prefill {
            rig.fails(status(400));
        } else {
            rig.says("Once upon a time, in another tale altogether. ");
        }
        if !rig.is_done() && rig.last_fault().attempt != Some(attempt) {
            rig.ends();
        }
        rig.waits_out();
    }
    let expected =
        [(0, Mode::Prefill), (0, Mode::Prompt), (0, Mode::Rerun), (1, Mode::Prompt), (1, Mode::Rerun)];
    assert_eq!(steps, expected);
    assert_eq!((rig.ending(), rig.text()), (Ending::Incomplete, STORY));
}

/// G4. A rung that broke down for other reasons has not failed: it is taken again.
#[test]
fn a_cut_continuation_goes_on_from_where_it_came() {
    let mut rig = Rig::simple(with_rungs(&[Rung::Prefill]));
    rig.says("There was ").fails(cut()).waits_out();
    rig.says(" a miller ").fails(cut()).waits_out();
    assert_eq!((rig.opening().mode, rig.opening().prefix.as_str()), (Mode::Prefill, "There was a miller"));
    rig.says(" with three sons.").ends();
    assert_eq!(rig.text(), "There was a miller with three sons.");
    assert!(rig.outcome().continued && rig.outcome().splices.len() == 2);
}

/// §6. What an attempt is begun with, on every rung.
#[test]
fn every_rung_says_what_it_needs() {
    for (rung, mode) in [
        (Rung::Native, Mode::Native),
        (Rung::Prefill, Mode::Prefill),
        (Rung::Prompt, Mode::Prompt),
        (Rung::Rerun, Mode::Rerun),
        (Rung::Reset, Mode::Fresh),
    ] {
        let mut plan = plan(with_rungs(&[rung]), &["a"]);
        plan.targets[0].native = true;
        let mut rig = Rig::of(plan);
        rig.says(STORY).fails(cut()).waits_out();
        let opening = rig.opening();
        assert_eq!(opening.mode, mode);
        let prefix = if mode == Mode::Prefill { STORY.trim_end() } else { "" };
        assert_eq!(opening.prefix, prefix, "{rung:?}");
        assert_eq!(opening.anchor.is_empty(), mode != Mode::Prompt, "{rung:?}");
        assert_eq!(opening.shown, if rung == Rung::Reset { "" } else { STORY });
        if mode == Mode::Prompt {
            assert!(STORY.trim_end().ends_with(&opening.anchor));
            assert!(opening.instruction.ends_with(&opening.anchor));
        }
    }
}

/// §6. The words that ask for a continuation are the policy's to choose.
#[test]
fn the_instruction_is_the_policys() {
    let mut policy = with_rungs(&[Rung::Prompt]);
    policy.continuation.prompt = Some("Go on from <{anchor}>, please.".into());
    let mut rig = Rig::simple(policy);
    rig.says(STORY).fails(cut()).waits_out();
    assert_eq!(rig.opening().instruction, format!("Go on from <{}>, please.", rig.opening().anchor));
}

/// §6. The provider resumes its own response only, and where it says it can.
#[test]
fn native_is_for_the_target_whose_response_it_was() {
    let mut plan = plan(with_rungs(&[Rung::Native, Rung::Rerun]), &["a", "b"]);
    plan.targets[1].native = true;
    let mut rig = Rig::of(plan);
    rig.says(STORY).fails(cut()).waits_out();
    assert_eq!((rig.opening().target, rig.opening().mode), (TargetId(0), Mode::Rerun), "it cannot");
    rig.fails(status(401));
    assert_eq!((rig.opening().target, rig.opening().mode), (TargetId(1), Mode::Rerun), "not its response");
    rig.says(STORY).says("more ").fails(cut()).waits_out();
    assert_eq!((rig.opening().target, rig.opening().mode), (TargetId(1), Mode::Native));
    rig.says("was left.").ends();
    assert_eq!(rig.text(), format!("{STORY}more was left."));
}

/// G2. Text is not gone on with where that cannot be right: in a document, behind a call or a part, inside either.
#[test]
fn text_is_not_gone_on_with_where_that_cannot_be_right() {
    let call = || Part { tools: vec![fragment(0, "look", "{}", true)], ..Part::default() };
    let open_call = || Part { tools: vec![fragment(0, "look", "{", false)], ..Part::default() };
    let part = |open| Part { opaque: Some(Opaque { digest: 7, open }), ..Part::default() };
    let text = |text: &str| Part { text: text.to_owned(), ..Part::default() };
    let cases = [
        (vec![text("{\"a\": [1, 2, \"a string that is long enough for an anchor")], Mode::Rerun),
        (vec![text("[1, 2]")], Mode::Rerun),
        (vec![text(STORY), call()], Mode::Rerun),
        (vec![text(STORY), part(false)], Mode::Rerun),
        (vec![text(STORY), part(true)], Mode::Rerun),
        (vec![text(STORY), open_call()], Mode::Rerun),
        (vec![text("[1] is a source, and this is not a document, but a sentence ")], Mode::Prefill),
        (vec![text(STORY)], Mode::Prefill),
    ];
    for (parts, mode) in cases {
        let mut rig = Rig::simple(Policy::default());
        for part in &parts {
            rig.part(part.clone());
        }
        rig.fails(cut()).waits_out();
        assert_eq!(rig.opening().mode, mode, "{parts:?}");
    }
}

/// G1, G2. Calls and parts the consumer has are repeated by a rerun in the same places, or it does not fit.
#[test]
fn a_rerun_repeats_calls_and_parts_in_their_places() {
    let opaque = |digest| Part { opaque: Some(Opaque { digest, open: false }), ..Part::default() };
    let call = |args: &str| Part { tools: vec![fragment(0, "look", args, true)], ..Part::default() };
    let text = |text: &str| Part { text: text.to_owned(), ..Part::default() };
    let shown = || vec![text("Look: "), opaque(1), text("and "), call("{\"x\": 1}")];
    let fits = [
        vec![text("Look: "), opaque(1), text("and "), call("{\"x\": 1}"), text("done.")],
        vec![text("Look: "), opaque(1), text("and "), call("{ \"x\":1 }"), text("done.")],
        vec![text("Look:"), text(" "), opaque(1), text("an"), text("d "), call("{\"x\": 1}"), text("done.")],
    ];
    let misfits = [
        vec![text("Look: "), opaque(2), text("and "), call("{\"x\": 1}"), text("done.")],
        vec![text("Look: "), opaque(1), text("and "), call("{\"x\": 2}"), text("done.")],
        vec![text("Look: and "), opaque(1), call("{\"x\": 1}"), text("done.")],
        vec![text("Look: "), opaque(1), text("and "), text("done.")],
        vec![text("Look: "), opaque(1), text("and ")],
    ];
    for (again, joins) in
        fits.into_iter().map(|fit| (fit, true)).chain(misfits.into_iter().map(|fit| (fit, false)))
    {
        let mut rig = Rig::simple(with_rungs(&[Rung::Rerun]));
        for part in shown() {
            rig.part(part);
        }
        rig.fails(cut()).waits_out();
        let attempt = rig.attempt();
        for part in &again {
            if !rig.is_done() && rig.attempt() == attempt {
                rig.part(part.clone());
            }
        }
        if !rig.is_done() && rig.attempt() == attempt {
            rig.ends();
        }
        assert_eq!(rig.ending() == Ending::Complete, joins, "{again:?}");
        assert_eq!(rig.text(), if joins { "Look: and done." } else { "Look: and " });
        assert_eq!(rig.outcome().tool_calls.len(), 1);
    }
}

/// §6. A thought that was shown and whose attempt failed is flagged; the next attempt thinks anew.
#[test]
fn abandoned_reasoning_is_told() {
    let mut rig = Rig::simple(Policy::default());
    rig.part(Part { reasoning: true, ..Part::default() }).fails(cut()).waits_out();
    assert_eq!(rig.opening().mode, Mode::Fresh, "a thought is not the answer");
    let abandoned = l0_engine::Event::ReasoningAbandoned { attempt: l0_engine::AttemptId(0) };
    assert!(rig.events.contains(&abandoned), "{:?}", rig.events);
}

/// §6. Without a rung there is no way on, and that is said.
#[test]
fn strict_is_without_the_prompt_rung() {
    assert!(!Policy::strict().continuation.rungs.contains(&Rung::Prompt));
    let mut plan = plan(Policy::strict(), &["a"]);
    plan.targets[0].prefill = Prefill::No;
    let mut rig = Rig::of(plan);
    rig.says(STORY).fails(cut()).waits_out();
    assert_eq!(rig.opening().mode, Mode::Rerun);
}

/// G1. An answer that starts over in other words is not gone on with, whether it is longer or shorter than what was shown.
#[test]
fn a_rerun_in_other_words_is_not_given() {
    for answer in
        ["There was a farmer", "There was a farmer who had three sons, and more than that of debts."]
    {
        let mut rig = Rig::simple(with_rungs(&[Rung::Rerun]));
        rig.says("There was a miller who had").fails(cut()).waits_out();
        rig.says(answer);
        assert_eq!(rig.last_fault().code.as_deref(), Some("diverged"), "{answer:?}");
        assert_eq!((rig.ending(), rig.text()), (Ending::Incomplete, "There was a miller who had"));
    }
}
