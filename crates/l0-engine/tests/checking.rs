//! Guards of the caller's own: what they are asked, and what their word leads to.
#![allow(clippy::unwrap_used, reason = "that is how a test says what it expects")]

mod desk;

use desk::Desk;
use l0_engine::guards::WINDOW_CHARS;
use l0_engine::{
    CallArgs, Checking, Dissent, Ending, Facts, FaultClass, Misfits, Reading, Rewrite, Ruling, TargetId,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn user(on: &str, severity: &str) -> Value {
    json!({"check": {"user": {"version": "1", "on": on}}, "name": "mine", "severity": severity})
}

fn clear() -> Ruling {
    Ruling::Objected(Vec::new())
}

fn dissent(errors: &[&str]) -> Ruling {
    let errors = errors.iter().map(|error| (*error).to_owned()).collect();
    Ruling::Objected(vec![Dissent { guard: 0, reason: "no".to_owned(), errors }])
}

fn no_word(word: &'static str) -> impl FnMut(&Checking) -> Ruling {
    move |asked| {
        if asked.window.contains(word) || asked.whole.contains(word) { dissent(&[]) } else { clear() }
    }
}

#[test]
fn a_chunk_is_shown_once_its_guard_has_seen_it() {
    for delivery in ["live", "guarded", "whole"] {
        let mut desk = Desk::answering(
            &json!({"guards": [user("window", "error")], "delivery": delivery}),
            no_word("politics"),
        );
        desk.send(&["It is ", "about politics", ", you know"]);
        assert!(!desk.shown.concat().contains("politics"), "the chunk at fault is never shown");
        desk.send(&["It is ", "about the weather."]);
        desk.end();
        assert_eq!(desk.shown.concat(), "It is about the weather.", "{delivery}");
        assert_eq!(desk.ending(), Some(Ending::Complete));
        let outcome = desk.session.outcome().unwrap();
        assert_eq!(outcome.faults[0].code.as_deref(), Some("mine"));
        assert_eq!(outcome.objections.len(), 1);
        desk.replays();
    }
}

#[test]
fn the_whole_is_shown_to_a_guard_once() {
    let policy = json!({"guards": [user("whole", "error")], "delivery": "whole"});
    let mut desk = Desk::answering(&policy, no_word("politics"));
    desk.send(&["It is about poli", "tics."]);
    desk.end();
    assert!(desk.shown.is_empty());
    desk.send(&["It is about ", "the weather."]);
    desk.end();
    assert_eq!(desk.shown.concat(), "It is about the weather.");
    let asked: Vec<_> = desk.asked.iter().map(|asked| (asked.whole.as_str(), asked.at_end)).collect();
    assert_eq!(asked, [("It is about politics.", true), ("It is about the weather.", true)]);
    desk.replays();
}

#[test]
fn what_was_shown_and_is_objected_to_as_a_whole_is_never_called_complete() {
    let mut desk = Desk::answering(&json!({"guards": [user("whole", "error")]}), |_| dissent(&["wrong"]));
    desk.send(&["All of it ", "is wrong."]);
    desk.end();
    assert_eq!(desk.ending(), Some(Ending::Incomplete));
    desk.replays();
}

#[test]
fn a_reset_lets_it_begin_anew() {
    let policy = json!({"guards": [user("whole", "error")], "continuation": {"rungs": ["rerun", "reset"]}});
    let mut desk = Desk::answering(&policy, no_word("wrong"));
    desk.send(&["All of it ", "is wrong."]);
    desk.end();
    desk.send(&["It is right."]);
    desk.end();
    assert_eq!((desk.shown.concat().as_str(), desk.ending()), ("It is right.", Some(Ending::Complete)));
    desk.replays();
}

#[test]
fn the_target_is_told_what_to_put_right_and_only_so_often() {
    let guard = json!({"check": {"user": {"version": "1", "on": "whole", "retries": 2}}, "name": "mine"});
    let policy =
        json!({"guards": [guard], "delivery": "whole", "retry": {"attempts": 10, "max_retries": 10}});
    let mut desk = Desk::answering(&policy, |_| dissent(&["price: must be a number"]));
    for _ in 0..3 {
        desk.send(&["{}"]);
        let opened = desk.told.len();
        let now = desk.now();
        desk.end();
        assert!(desk.ending().is_some() || desk.told.len() == opened + 1);
        assert_eq!(desk.now(), now, "a target that is well is not waited for");
    }
    assert_eq!(desk.ending(), Some(Ending::Content));
    assert_eq!(desk.told.len(), 3);
    assert!(desk.told[0].is_empty());
    assert!(desk.told[1..].iter().all(|told| told.contains("price: must be a number")), "{:?}", desk.told);
    desk.replays();
}

#[test]
fn a_guard_that_fails_ends_the_session_as_the_callers_own_fault() {
    for (on, ended) in [("window", false), ("whole", true)] {
        let facts = Facts { types: vec!["KeyError".to_owned()], ..Facts::default() };
        let policy = json!({"guards": [user(on, "error")]});
        let mut desk = Desk::answering(&policy, move |_| Ruling::Failed(facts.clone()));
        desk.send(&["It is ", "a nice day."]);
        if ended {
            desk.end();
        }
        let outcome = desk.session.outcome().unwrap();
        assert!(matches!(outcome.ending, Ending::Raise(_)), "{on}: {:?}", outcome.ending);
        assert_eq!(outcome.faults[0].class, FaultClass::Internal);
        assert_eq!(outcome.faults[0].code.as_deref(), Some("KeyError"));
        desk.replays();
    }
}

#[test]
fn a_warning_is_noted_and_a_fatal_word_ends_the_session() {
    for (severity, ending, shown) in [("warn", Ending::Complete, "politics"), ("fatal", Ending::Content, "")]
    {
        let mut desk = Desk::answering(&json!({"guards": [user("window", severity)]}), no_word("politics"));
        desk.send(&["politics"]);
        desk.end();
        assert_eq!((desk.ending(), desk.shown.concat().as_str()), (Some(ending), shown));
        assert!(!desk.session.outcome().unwrap().objections.is_empty());
        desk.replays();
    }
}

#[test]
fn late_and_foreign_answers_are_inert() {
    let mut desk = Desk::answering(&json!({"guards": [user("window", "error")]}), |_| clear());
    desk.send(&["one ", "two "]);
    let before = desk.shown.concat();
    let asked = desk.asked.last().unwrap().clone();
    desk.session.handle_judged(desk.now(), asked.attempt, asked.check, dissent(&["late"])).unwrap();
    desk.session.handle_judged(desk.now(), asked.attempt, 9_999, dissent(&["foreign"])).unwrap();
    desk.send(&["three"]);
    desk.end();
    assert_eq!(desk.shown.concat(), format!("{before}three"));
    assert_eq!(desk.ending(), Some(Ending::Complete));
    desk.replays();
}

#[test]
fn nobody_is_asked_where_no_guard_is_the_callers_own() {
    let mut desk = Desk::new(&json!({"guards": [{"check": {"secrets": {}}}]}));
    desk.send(&["It is ", "a nice day."]);
    desk.end();
    assert!(desk.asked.is_empty());
    assert_eq!(desk.ending(), Some(Ending::Complete));
}

#[test]
fn a_guard_is_asked_until_the_deadline_and_no_longer() {
    let policy = json!({"guards": [user("whole", "error")], "delivery": "whole"});
    let mut desk = Desk::new(&policy);
    desk.send(&["It is a nice day."]);
    desk.end_unasked();
    let session = &mut desk.session;
    // What a guard takes is no silence of the target's: only the deadline is left.
    assert_eq!(session.poll_timeout(None), Some(session.deadline()));
    let deadline = session.deadline();
    session.handle_timeout(deadline, None).unwrap();
    assert_eq!(session.outcome().unwrap().ending, Ending::Deadline);
}

fn reader(reads: &str) -> Value {
    json!({
        "guards": [{"check": {"user": {"version": "1", "on": "whole", "retries": 2, "reads": reads}}, "name": "mine"}],
        "delivery": if reads == "text" { "whole" } else { "live" }
    })
}

fn misfit(field: &str) -> Ruling {
    let dissents = vec![Dissent { guard: 0, reason: "no".to_owned(), errors: vec![format!("{field}: no")] }];
    Ruling::Read(Reading { dissents, fields: vec![field.to_owned()], ..Reading::default() })
}

fn put_right(rewrite: Rewrite) -> Ruling {
    let fixes = vec!["fence".to_owned()];
    Ruling::Read(Reading { fixes, rewrites: vec![rewrite], ..Reading::default() })
}

/// G6, G8: what did not fit, what was asked again and what was put right is in the records, and in the outcome.
#[test]
fn what_a_text_was_read_as_is_recorded_and_given() {
    let mut desk = Desk::answering(&reader("text"), |asked| match asked.whole.as_str() {
        "{]" => misfit("price"),
        _ => put_right(Rewrite::Text("{}".to_owned())),
    });
    desk.send(&["{", "]"]);
    desk.end();
    desk.send(&["Here: ", "{", "}"]);
    desk.end();
    assert_eq!(desk.shown.concat(), "{}");
    let outcome = desk.session.outcome().unwrap();
    assert_eq!((outcome.ending, outcome.reasks, outcome.unfit), (Ending::Complete, 1, false));
    assert_eq!(outcome.repaired, ["fence"]);
    assert_eq!(outcome.misfits, [Misfits { target: TargetId(0), field: "price".to_owned(), count: 1 }]);
    assert!(desk.told[1].contains("price: no"));
    desk.replays();
}

/// G2: a call is given once it was read, whole, whatever it was when it came.
#[test]
fn calls_are_shown_to_their_reader_as_they_came_and_given_as_they_were_put_right() {
    let args = || CallArgs { index: 0, args: r#"{"a": 1}"#.to_owned() };
    for broken in [r#"{"a": 1"#, r#"{"a": 1,}"#, r#"{"a": 1}{"a": 1}"#, "{'a': 1}", "a: 1", "", "}{"] {
        let mut desk = Desk::answering(&reader("calls"), move |_| put_right(Rewrite::Args(args())));
        let (head, tail) = broken.split_at(broken.len() / 2);
        desk.send_args(&[head, tail]);
        assert!(desk.args.is_empty());
        desk.end();
        assert_eq!(desk.asked[0].calls[0].1.args, broken);
        assert_eq!(desk.args, [r#"{"a": 1}"#, ""], "all of it in the first, nothing in the second");
        assert_eq!(desk.session.tool_calls().next().unwrap().args, r#"{"a": 1}"#);
        assert_eq!(desk.ending(), Some(Ending::Complete), "{broken}");
        desk.replays();
    }
}

/// G2: whoever reads them says what they like: a call that is not whole is not given.
#[test]
fn no_word_of_a_reader_makes_a_broken_call_a_whole_one() {
    let broken = CallArgs { index: 0, args: "{".to_owned() };
    for word in [clear(), Ruling::Read(Reading::default()), put_right(Rewrite::Args(broken))] {
        let mut desk = Desk::answering(&reader("calls"), move |_| word.clone());
        for _ in 0..10 {
            desk.send_args(&["{\"a\": "]);
            desk.end();
        }
        assert_eq!(desk.ending(), Some(Ending::Content));
        assert_eq!(desk.session.faults()[0].code.as_deref(), Some("tool_args"));
        assert_eq!(desk.session.tool_calls().count(), 0);
        desk.replays();
    }
}

/// G4: an answer that never fits is refused, and told from other endings.
#[test]
fn an_answer_that_never_fits_is_a_refusal() {
    for reads in ["text", "calls"] {
        let mut desk = Desk::answering(&reader(reads), |_| misfit("price"));
        for _ in 0..10 {
            if reads == "text" {
                desk.send(&["{}"]);
            } else {
                desk.send_args(&["{", "}"]);
            }
            desk.end();
        }
        let outcome = desk.session.outcome().unwrap();
        assert_eq!((outcome.ending, outcome.unfit), (Ending::Content, true), "{reads}");
        assert_eq!(outcome.misfits[0].count, outcome.attempts);
        assert_eq!(outcome.reasks, outcome.attempts - 1);
        assert!(desk.shown.is_empty() && desk.session.tool_calls().count() == 0);
        desk.replays();
    }
}

#[test]
fn text_that_was_given_stays_as_it_is() {
    let mut policy = reader("text");
    policy["delivery"] = json!("live");
    let mut desk = Desk::answering(&policy, |_| put_right(Rewrite::Text("{}".to_owned())));
    desk.send(&["Here: ", "{}"]);
    desk.end();
    assert_eq!(desk.shown.concat(), "Here: {}");
    assert_eq!(desk.session.outcome().unwrap().repaired, ["fence"]);
    desk.replays();
}

#[test]
fn calls_are_read_when_they_are_complete() {
    let policy = json!({"guards": [{"check": {"user": {"version": "1", "reads": "calls"}}, "name": "mine"}]});
    let refused = l0_engine::Policy::from_json(&policy.to_string()).unwrap_err();
    assert!(refused.to_string().contains("on must be whole"), "{refused}");
}

#[test]
fn what_a_mask_has_replaced_is_not_shown_to_a_guard_again() {
    let mask = json!({"check": {"patterns": {"literals": ["secret"]}}, "severity": "warn", "mask": "***"});
    let mut desk = Desk::answering(&json!({"guards": [user("window", "error"), mask]}), |_| clear());
    desk.send(&["a sec", "ret thing"]);
    desk.end();
    assert_eq!(desk.shown.concat(), "a *** thing");
    let windows: Vec<_> = desk.asked.iter().map(|asked| asked.window.as_str()).collect();
    assert_eq!(windows, ["a sec", "a *** thing", "a *** thing"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// However the text is cut: every character is new in exactly one question, in order, with what stands before it.
    #[test]
    fn every_character_is_asked_about_once(words in prop::collection::vec("[a-zé ]{1,400}", 1..12), masked in any::<bool>()) {
        let mut guards = vec![user("window", "error")];
        if masked {
            guards.push(json!({"check": {"patterns": {"literals": ["ab"]}}, "severity": "warn", "mask": "ab"}));
        }
        let mut desk = Desk::answering(&json!({"guards": guards}), |_| clear());
        let chunks: Vec<&str> = words.iter().map(String::as_str).collect();
        desk.send(&chunks);
        desk.end();
        let text = words.concat();
        if text.trim().is_empty() {
            return Ok(()); // An answer of spaces is an empty one, which nobody is asked about.
        }
        prop_assert_eq!(desk.shown.concat(), text.clone());
        let mut seen = String::new();
        for asked in &desk.asked {
            // The window is what stands before, as far as it goes, and what is new.
            let overlap = (0..=seen.len()).filter(|at| seen.is_char_boundary(*at)).find(|at| asked.window.starts_with(&seen[*at..]) && text.starts_with(&(seen[..*at].to_owned() + &asked.window)));
            let at = overlap.expect("a window joins what was seen");
            prop_assert!(seen[at..].chars().count() <= WINDOW_CHARS);
            seen = seen[..at].to_owned() + &asked.window;
        }
        prop_assert_eq!(&seen, &text);
        prop_assert!(desk.asked.iter().rev().skip(1).all(|asked| !asked.at_end));
        prop_assert!(desk.asked.last().is_some_and(|asked| asked.at_end));
        desk.replays();
    }
}
