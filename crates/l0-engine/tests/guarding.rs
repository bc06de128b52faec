//! Guards inside a session: what they object to is not shown, and what becomes of the answer is what the rule says.
#![allow(clippy::unwrap_used, reason = "that is how a test says what it expects")]

mod desk;

use std::sync::Arc;

use desk::Desk;
use l0_engine::{Ending, Instant, Plan, Policy, Session};
use serde_json::json;

fn patterns(severity: &str) -> serde_json::Value {
    json!([{"check": {"patterns": {"literals": ["SECRET WORD"]}}, "severity": severity, "name": "words"}])
}

#[test]
fn the_chunk_that_breaks_a_rule_is_not_shown_and_another_attempt_is_made() {
    let mut desk = Desk::new(&json!({"guards": patterns("error"), "delivery": "guarded"}));
    desk.send(&["It is ", "the SEC", "RET WO", "RD, you", " know"]);
    assert_eq!(desk.shown.concat(), "It is ", "nothing of the match, though it came in pieces (guarded)");
    desk.send(&["It is ", "a nice day."]);
    desk.end();
    assert_eq!(desk.shown.concat(), "It is a nice day.");
    assert_eq!(desk.ending(), Some(Ending::Complete));
    let outcome = desk.session.outcome().unwrap();
    assert_eq!(outcome.faults[0].code.as_deref(), Some("words"));
    assert_eq!(outcome.objections.len(), 1);
    desk.replays();
}

#[test]
fn live_delivery_shows_what_came_before_the_violating_chunk_and_never_the_chunk() {
    let mut desk = Desk::new(&json!({"guards": patterns("error")}));
    desk.send(&["It is ", "the SEC", "RET WORD"]);
    assert_eq!(desk.shown.concat(), "It is the SEC");
    assert_eq!(
        desk.ending(),
        Some(Ending::Incomplete),
        "what was shown is itself at fault: nothing can go on from it"
    );
    desk.replays();
}

#[test]
fn a_fatal_hit_ends_the_session() {
    let mut desk = Desk::new(&json!({"guards": patterns("fatal"), "delivery": "guarded"}));
    desk.send(&["It is ", "the SECRET WORD"]);
    assert_eq!(desk.ending(), Some(Ending::Content));
    assert_eq!(desk.session.outcome().unwrap().attempts, 1);
    desk.replays();
}

#[test]
fn a_warning_is_noted_and_nothing_else() {
    let mut desk = Desk::new(&json!({"guards": patterns("warn")}));
    desk.send(&["It is ", "the SECRET WORD", ", so what."]);
    desk.end();
    assert_eq!(desk.shown.concat(), "It is the SECRET WORD, so what.");
    assert_eq!(desk.session.outcome().unwrap().objections.len(), 1);
    desk.replays();
}

#[test]
fn masked_text_is_replaced_wherever_chunks_are_cut() {
    let guards =
        json!([{"check": {"patterns": {"literals": ["SECRET WORD"]}}, "severity": "warn", "mask": "[gone]"}]);
    let text = "It is the SECRET WORD, and SECRET WORD again: \u{e9}t\u{e9}.";
    let wanted = "It is the [gone], and [gone] again: \u{e9}t\u{e9}.";
    for size in 1..=text.chars().count() {
        let mut desk = Desk::new(&json!({"guards": guards}));
        let chars: Vec<char> = text.chars().collect();
        let chunks: Vec<String> = chars.chunks(size).map(|chunk| chunk.iter().collect()).collect();
        desk.send(&chunks.iter().map(String::as_str).collect::<Vec<_>>());
        desk.end();
        assert_eq!(desk.shown.concat(), wanted, "in chunks of {size}");
        assert_eq!(desk.session.text(), wanted);
        let masked = desk.session.outcome().unwrap().objections.iter().filter(|objection| objection.masked);
        assert_eq!(masked.count(), 2, "degradation is never silent (G8)");
        desk.replays();
    }
}

#[test]
fn an_unfinished_document_is_asked_for_again() {
    let mut desk = Desk::new(&json!({"guards": [{"check": {"json": {}}}], "delivery": "whole"}));
    desk.send(&["{\"a\": ", "[1, 2"]);
    desk.end();
    assert!(desk.shown.is_empty());
    desk.send(&["{\"a\": ", "[1, 2]}"]);
    desk.end();
    assert_eq!(desk.shown.concat(), "{\"a\": [1, 2]}");
    desk.replays();
}

#[test]
fn drift_is_recorded_or_retried_as_the_policy_says() {
    let line = "the same thing over and over again, my friend. ";
    for (action, ending) in [("record", Some(Ending::Complete)), ("retry", None)] {
        let mut desk = Desk::new(&json!({"drift": {"action": action}, "delivery": "whole"}));
        for _ in 0..200 {
            desk.send(&[line]);
            if desk.session.faults().len() == 1 {
                break;
            }
        }
        if action == "record" {
            desk.end();
            assert!(desk.session.outcome().unwrap().drifts > 0);
        } else {
            assert_eq!(desk.session.faults()[0].code.as_deref(), Some("drift"));
        }
        assert_eq!(desk.ending(), ending);
        desk.replays();
    }
}

#[test]
fn an_input_that_must_not_go_out_ends_the_session_before_any_call() {
    let policy = json!({"input_guards": patterns("error")});
    let policy = Arc::new(Policy::from_json(&policy.to_string()).unwrap());
    let mut session = Session::new(Arc::new(Plan::simple(policy))).unwrap();
    session.handle_inputs(Instant(1), &["harmless", "the SECRET WORD"]).unwrap();
    session.handle_start(Instant(2)).unwrap();
    let outcome = session.outcome().unwrap();
    assert_eq!((outcome.ending, outcome.attempts), (Ending::Content, 0));
}

#[test]
fn what_guards_cannot_see_through_is_held_no_longer_than_they_say() {
    let guards = json!([{"check": {"patterns": {"regexes": ["<a[^>]*>"]}}}]);
    let mut desk = Desk::new(&json!({"guards": guards, "delivery": "guarded"}));
    desk.send(&["<a "]);
    let filler = "x".repeat(100);
    for _ in 0..60 {
        desk.send(&[&filler]);
    }
    assert_eq!(desk.session.faults().len(), 1, "4,096 characters without a decision are a hit");
}

#[test]
fn a_wrong_guard_is_refused_by_name() {
    let cases = [
        (json!({"guards": [{"check": {"patterns": {"regexes": ["(?=x)"]}}}]}), "guards[0].regexes"),
        (json!({"guards": [{"check": {"json": {}}, "mask": "x"}]}), "guards[0].mask"),
        (json!({"drift": {"threshold_permille": 0}}), "drift.threshold_permille"),
        (
            json!({"input_guards": [{"check": {"secrets": {}}, "severity": "warn", "mask": "x"}]}),
            "input_guards",
        ),
        (json!({"guards": [{"check": {"user": {"version": "1"}}}]}), "guards[0].name"),
        (json!({"guards": [{"check": {"user": {"version": ""}}, "name": "mine"}]}), "guards[0].version"),
        (json!({"input_guards": [{"check": {"user": {"version": "1"}}, "name": "mine"}]}), "input_guards"),
    ];
    for (policy, field) in cases {
        let error = Policy::from_json(&policy.to_string()).unwrap_err();
        assert!(error.field.starts_with(field), "{error}");
    }
}

/// G1: an answer that starts over says what was masked again, and is known by it.
#[test]
fn an_answer_that_starts_over_is_known_by_what_was_masked_in_it() {
    let guards = json!([
        {"check": {"patterns": {"literals": ["SECRET WORD"]}}, "severity": "warn", "mask": "[gone]"},
        {"check": {"patterns": {"literals": ["tide"]}}, "severity": "warn", "mask": "~", "name": "tides"}
    ]);
    let text = "tide. It is the SECRET WORD, and SECRET SECRET WORD again: \u{e9}t\u{e9}.";
    let wanted = "~. It is the [gone], and SECRET [gone] again: \u{e9}t\u{e9}.";
    let chunks: Vec<String> = text.chars().map(String::from).collect();
    let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    for cut in 0..=chunks.len() {
        for again in [1, 7, 100] {
            let mut desk = Desk::new(&json!({"guards": guards, "continuation": {"rungs": ["rerun"]}}));
            desk.send(&chunks[..cut]);
            desk.fail();
            let pieces: Vec<String> = chunks.chunks(again).map(<[&str]>::concat).collect();
            desk.send(&pieces.iter().map(String::as_str).collect::<Vec<_>>());
            desk.end();
            assert_eq!(desk.shown.concat(), wanted, "cut at {cut}, again in pieces of {again}");
            assert_eq!(desk.ending(), Some(Ending::Complete));
            desk.replays();
        }
    }
}

/// Where nothing is held back, what leads up to a match is shown; the chunk that makes it one never is, and G8.
#[test]
fn a_key_that_comes_character_by_character_is_stopped_and_told_of() {
    let key = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
    let text = format!("The key is {key}, use it.");
    let chunks: Vec<String> = text.chars().map(String::from).collect();
    let chunks: Vec<&str> = chunks.iter().map(String::as_str).collect();
    for (delivery, least) in [("live", "The key is "), ("guarded", "The key is "), ("whole", "")] {
        let mut desk = Desk::new(&json!({"guards": [{"check": {"secrets": {}}}], "delivery": delivery}));
        desk.send(&chunks);
        desk.end();
        let shown = desk.shown.concat();
        assert!(!shown.contains(key) && text.starts_with(&shown), "{delivery}: {shown:?}");
        assert!(
            shown.len() >= least.len() && (delivery == "live" || shown == least),
            "{delivery}: {shown:?}"
        );
        let outcome = desk.session.outcome();
        let told = outcome.map_or_else(|| desk.events.len(), |outcome| outcome.objections.len());
        assert!(told > 0, "{delivery}");
        desk.replays();
    }
}
