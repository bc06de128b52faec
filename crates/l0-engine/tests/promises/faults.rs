//! §3: what is a fault, what it is called, and what is done about it.

use l0_engine::{
    AttemptOutcome, Category, Ending, Facts, Fault, FaultClass, Finish, Part, Policy, Refusal, Target,
    TargetId, Terminal, Usage,
};

use crate::rig::{Rig, cut, fragment, of_class, plan, raised, status};

/// Two targets with credentials of their own.
fn two(policy: Policy) -> Rig {
    Rig::of(plan(policy, &["a", "b"]))
}

/// What follows a fault of the first target, before anything was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The same target, as often as this altogether; then the next.
    Same(u32),
    /// The next target at once.
    Next,
    /// The caller gets the exception.
    Raise,
    /// The session ends as this.
    End(Ending),
}

/// G4. The table, row by row: the same target again, and how often, the next one, or the caller's own exception.
#[test]
fn a_fault_leads_where_its_row_says() {
    let rows = [
        (FaultClass::Network, Then::Same(7)),
        (FaultClass::Overload, Then::Same(7)),
        (FaultClass::Stall, Then::Same(7)),
        (FaultClass::Protocol, Then::Same(2)),
        (FaultClass::Empty, Then::Same(3)),
        (FaultClass::Quota, Then::Next),
        (FaultClass::Auth, Then::Next),
        (FaultClass::Request, Then::Raise),
        (FaultClass::Refused, Then::Raise),
        (FaultClass::Internal, Then::Raise),
        (FaultClass::Cancelled, Then::End(Ending::Cancelled)),
    ];
    for (class, then) in rows {
        let mut rig = two(Policy::default());
        let mut here = 0;
        while !rig.is_done() && rig.opening().target == TargetId(0) {
            here += 1;
            rig.fails(of_class(class)).waits_out();
        }
        assert_eq!(rig.driver.session().faults()[0].class, class);
        let seen = if rig.is_done() {
            match rig.ending() {
                Ending::Raise(attempt) if attempt.0 == 0 => Then::Raise,
                ending => Then::End(ending),
            }
        } else if here == 1 {
            Then::Next
        } else {
            Then::Same(here)
        };
        assert_eq!(seen, then, "{class:?}");
    }
}

/// G4. A connection left over from an event loop that has ended is no fault of the target: it is asked again, and its
/// breaker hears nothing of it.
#[test]
fn a_connection_of_an_ended_loop_counts_against_nobody() {
    let mut rig = two(Policy::default());
    rig.fails(Facts { code: Some("ended_loop".to_owned()), ..raised("APIConnectionError") });
    let fault = rig.last_fault();
    assert_eq!((fault.class, fault.code.as_deref()), (FaultClass::Network, Some("ended_loop")));
    assert_eq!(rig.reports, [(TargetId(0), AttemptOutcome::Stopped)]);
    rig.waits_out();
    assert_eq!(rig.opening().target, TargetId(0));
}

/// G4. What arrives and is not acceptable is asked for `attempts` times on a target.
#[test]
fn malformed_arguments_use_up_the_attempts_of_a_target() {
    let mut rig = two(Policy::default());
    for attempt in 0..3 {
        assert_eq!((rig.opening().target, rig.attempt().0), (TargetId(0), attempt));
        rig.part(Part { tools: vec![fragment(0, "look", "{\"x\": ", false)], ..Part::default() }).ends();
        let fault = rig.last_fault();
        assert_eq!((fault.class, fault.code.as_deref()), (FaultClass::Content, Some("tool_args")));
        rig.waits_out();
    }
    assert_eq!(rig.opening().target, TargetId(1), "attempts are fresh for a fallback");
}

/// G4. A key that does not fit one door of a house fits none of that house.
#[test]
fn a_target_with_the_same_credentials_is_not_tried_after_an_auth_fault() {
    for (label, tried) in [(Some("k"), false), (Some("other"), true), (None, true)] {
        let mut plan = plan(Policy::default(), &["a", "b"]);
        plan.targets[0].credentials = Some("k".to_owned());
        plan.targets[1].credentials = label.map(str::to_owned);
        let mut rig = Rig::of(plan);
        rig.fails(status(401));
        assert_eq!(!rig.is_done(), tried, "{label:?}");
        if !tried {
            assert!(matches!(rig.ending(), Ending::Raise(_)), "the bare call would have raised it, too");
        }
    }
}

/// G4. A prompt that is too long for one target may fit a larger one.
#[test]
fn a_prompt_that_is_too_long_goes_to_a_larger_window_only() {
    let too_long = || Facts { code: Some("context_length_exceeded".into()), ..status(400) };
    for (windows, served) in [
        ([Some(8_000), Some(128_000)], true),
        ([Some(128_000), Some(8_000)], false),
        ([Some(8_000), None], false),
        ([None, Some(128_000)], false),
    ] {
        let mut plan = plan(Policy::default(), &["a", "b"]);
        for (target, window) in plan.targets.iter_mut().zip(windows) {
            target.context_window = window;
        }
        let mut rig = Rig::of(plan);
        rig.fails(too_long());
        assert_eq!(!rig.is_done(), served, "{windows:?}");
    }
}

/// G4. A refusal is the caller's to know, unless the policy says that somebody else may be asked.
#[test]
fn a_refusal_is_raised_unless_the_policy_says_next() {
    for (refusal, asked) in [(Refusal::Raise, false), (Refusal::Next, true)] {
        let mut policy = Policy::default();
        policy.refusal = refusal;
        let mut rig = two(policy);
        rig.says("I would rather ").finishes("content_filter").ends();
        assert_eq!(rig.last_fault().class, FaultClass::Refused);
        assert_eq!(!rig.is_done(), asked);
        if !asked {
            assert_eq!(rig.ending(), Ending::Refused, "no exception stands for it");
        }
    }
}

/// §3. Only a terminal fact that was declared can be missing.
#[test]
fn only_a_declared_end_can_be_missing() {
    let end = |finish: Option<&str>, status: Option<&str>| Part {
        finish: finish.map(str::to_owned),
        status: status.map(str::to_owned),
        ..Part::default()
    };
    let cases = [
        (Terminal::EndOfStream, end(None, None), true),
        (Terminal::FinishReason, end(None, None), false),
        (Terminal::FinishReason, end(Some("stop"), None), true),
        (Terminal::Status, end(Some("stop"), None), false),
        (Terminal::Status, end(None, Some("completed")), true),
    ];
    for (terminal, part, complete) in cases {
        let mut plan = plan(Policy::default(), &["a"]);
        plan.targets[0].terminal = terminal;
        let mut rig = Rig::of(plan);
        rig.says("All of it.").part(part.clone()).ends();
        assert_eq!(rig.is_done(), complete, "{terminal:?} {part:?}");
        if !complete {
            let fault = rig.last_fault();
            assert_eq!((fault.class, fault.code.as_deref()), (FaultClass::Network, Some("terminal_missing")));
        }
    }
}

/// §3. After the end was seen no fault is raised any more.
#[test]
fn what_happens_after_the_end_is_of_no_consequence() {
    for class in [FaultClass::Network, FaultClass::Overload, FaultClass::Auth, FaultClass::Protocol] {
        let mut rig = Rig::simple(Policy::default());
        rig.says("All of it.").finishes("stop").fails(of_class(class));
        assert_eq!((rig.ending(), rig.outcome().faults.len()), (Ending::Complete, 0), "{class:?}");
    }
}

/// §3. After the end was seen no fault is raised any more: a usage report that comes twice is not a gap in the answer.
#[test]
fn a_gap_behind_the_end_is_no_fault() {
    let counted = |sequence, part: Part| Part { sequence: Some(sequence), ..part };
    let usage = Some(Usage { output: 3, ..Usage::default() });
    let mut rig = Rig::simple(Policy::default());
    rig.part(counted(1, Part { text: "All.".into(), ..Part::default() }));
    rig.part(counted(2, Part { finish: Some("stop".into()), ..Part::default() }));
    rig.part(counted(3, Part { usage, ..Part::default() }))
        .part(counted(3, Part { usage, ..Part::default() }));
    rig.ends();
    assert_eq!((rig.ending(), rig.text()), (Ending::Complete, "All."));
}

/// G1. Numbers show what is lost, swapped or doubled, and nothing of that is given.
#[test]
fn a_gap_in_the_numbers_is_a_broken_stream() {
    for next in [3, 1, 0] {
        let counted = |sequence, text: &str| Part {
            sequence: Some(sequence),
            text: text.to_owned(),
            ..Part::default()
        };
        let mut rig = Rig::simple(Policy::default());
        rig.part(counted(1, "one ")).part(counted(next, "next "));
        let fault = rig.last_fault();
        assert_eq!((fault.class, fault.code.as_deref()), (FaultClass::Network, Some("sequence_gap")));
        assert_eq!(rig.text(), "one ");
    }
}

/// §3. An answer without content is a fault; a call, a length and a refusal outrank that.
#[test]
fn nothing_is_empty_but_nothing() {
    let say = |text: &str| Part { text: text.to_owned(), ..Part::default() };
    let thought = Part { reasoning: true, ..Part::default() };
    let call = Part { tools: vec![fragment(0, "look", "{}", true)], ..Part::default() };
    let finish = |word: &str| Part { finish: Some(word.to_owned()), ..Part::default() };
    let cases: [(&[Part], Option<FaultClass>); 8] = [
        (&[], Some(FaultClass::Empty)),
        (&[say(" "), say("\n")], Some(FaultClass::Empty)),
        (&[thought], Some(FaultClass::Empty)),
        (&[finish("stop")], Some(FaultClass::Empty)),
        (&[call], None),
        (&[say("x")], None),
        (&[finish("length")], None),
        (&[finish("refusal")], Some(FaultClass::Refused)),
    ];
    for (parts, class) in cases {
        let mut rig = Rig::simple(Policy::default());
        for part in parts {
            rig.part(part.clone());
        }
        rig.ends();
        assert_eq!(rig.driver.session().faults().first().map(|fault| fault.class), class, "{parts:?}");
    }
}

/// §3. A length is surfaced and is no fault.
#[test]
fn a_length_is_told_and_not_retried() {
    let mut rig = Rig::simple(Policy::default());
    rig.says("As far as it goes").finishes("length").ends();
    assert_eq!((rig.ending(), rig.outcome().finish.clone()), (Ending::Complete, Some(Finish::Length)));
}

/// §3. A provider that says in the middle of a good response that it failed has failed.
#[test]
fn an_error_inside_a_response_is_an_overload() {
    let mut rig = Rig::simple(Policy::default());
    rig.says("Half of ").finishes("error");
    assert_eq!(rig.last_fault().class, FaultClass::Overload);
    assert_eq!(rig.closed.len(), 1, "the stream is still there and is closed");
}

/// §3. What is raised is the caller's own exception where the bare call would have raised one.
#[test]
fn the_callers_own_exception_is_raised_over_what_a_fallback_did() {
    let mut rig = two(Policy::default());
    rig.fails(status(401));
    assert_eq!(rig.opening().target, TargetId(1));
    while !rig.is_done() {
        rig.fails(raised("httpx.ConnectError")).waits_out();
    }
    assert!(matches!(rig.ending(), Ending::Raise(attempt) if attempt.0 == 0), "{:?}", rig.ending());
}

/// §3. An answer that cannot be finished is never passed off as finished.
#[test]
fn what_was_shown_and_cannot_go_on_is_incomplete() {
    let mut policy = Policy::default();
    policy.continuation.rungs.clear();
    let mut rig = two(policy);
    rig.says("The half of ").fails(cut());
    assert_eq!(rig.ending(), Ending::Incomplete);
}

/// G3. Every attempt that was opened is reported to the fleet once.
#[test]
fn the_fleet_hears_of_every_attempt() {
    let mut rig = two(Policy::default());
    rig.fails(status(503)).waits_out().fails(of_class(FaultClass::Quota)).waits_out();
    rig.says("Here.").ends();
    let kinds: Vec<bool> =
        rig.reports.iter().map(|(_, outcome)| matches!(outcome, AttemptOutcome::Success { .. })).collect();
    assert_eq!(kinds, [false, false, true]);
    assert_eq!(rig.openings.len(), 3);
}

/// §3. Whose matter a fault is.
#[test]
fn every_class_has_a_category() {
    let user = [FaultClass::Request, FaultClass::Refused];
    let own = [(FaultClass::Internal, Category::Internal), (FaultClass::Cancelled, Category::Cancelled)];
    for class in user {
        assert_eq!(class.category(), Category::User);
    }
    for (class, category) in own {
        assert_eq!(class.category(), category);
    }
    for class in
        [FaultClass::Network, FaultClass::Empty, FaultClass::Content, FaultClass::Auth, FaultClass::Limited]
    {
        assert_eq!(class.category(), Category::Dependency);
    }
}

/// G8. A fault says what it was, where, and how it is to be looked up at the provider's.
#[test]
fn a_fault_is_told_with_its_facts() {
    let facts =
        Facts { request_id: Some("req_1".into()), code: Some("overloaded_error".into()), ..status(529) };
    let mut rig = two(Policy::default());
    rig.fails(facts);
    let Fault { attempt, target, class, code, status, request_id, raised, .. } = rig.last_fault().clone();
    assert_eq!((attempt.map(|id| id.0), target, class), (Some(0), TargetId(0), FaultClass::Overload));
    assert_eq!(
        (code.as_deref(), status, request_id.as_deref()),
        (Some("overloaded_error"), Some(529), Some("req_1"))
    );
    assert!(raised);
}

/// Bad input: a wrong plan names what is wrong and what is allowed.
#[test]
fn a_wrong_plan_is_refused_by_name() {
    let named = |names: &[&str]| {
        let mut plan = plan(Policy::default(), &["x"]);
        plan.targets = names.iter().map(|name| Target::named(name)).collect();
        plan.validate().unwrap_err().to_string()
    };
    assert!(named(&[]).contains("from 1 to 64, not 0"), "{}", named(&[]));
    assert!(named(&["a", ""]).contains("target 1 is empty"), "{}", named(&["a", ""]));
    assert!(named(&["a", "a"]).contains("\"a\""), "{}", named(&["a", "a"]));
}
