//! G1 and §7: what a guard objects to is not shown, and what it masks is masked to the letter.

use l0_engine::{Delivery, Ending, Policy};

use crate::rig::Rig;

const KEY: &str = "zq-0123abcd";

fn policy(delivery: Delivery, mask: bool) -> Policy {
    let action = if mask { r#""severity": "warn", "mask": "[key]""# } else { r#""severity": "error""# };
    let guard = format!(r#"{{"check": {{"patterns": {{"regexes": ["zq-[0-9a-f]{{8}}"]}}}}, {action}}}"#);
    let mut policy = Policy::from_json(&format!(r#"{{"guards": [{guard}]}}"#)).unwrap();
    policy.delivery = delivery;
    policy
}

/// Says a text in chunks of so many characters, until it is no longer wanted.
fn say(rig: &mut Rig, text: &str, size: usize) {
    let attempt = rig.attempt();
    let chars: Vec<char> = text.chars().collect();
    for chunk in chars.chunks(size) {
        if !rig.is_done() && rig.attempt() == attempt && rig.driver.session().opening().is_some() {
            rig.says(&chunk.iter().collect::<String>());
        }
    }
}

/// G1. Not a character of a match, however it is split, and what follows is the next attempt's.
#[test]
fn nothing_of_a_match_is_shown_where_text_is_held_back() {
    for size in 1..40 {
        let mut rig = Rig::simple(policy(Delivery::Guarded, false));
        say(&mut rig, &format!("The key is {KEY}, so there."), size);
        assert!("The key is ".starts_with(rig.text()), "in chunks of {size}: {:?}", rig.text());
        rig.waits_out();
        let rest = "The key is not for you."[rig.opening().prefix.len()..].to_owned();
        say(&mut rig, &rest, size);
        rig.ends();
        assert_eq!((rig.ending(), rig.text()), (Ending::Complete, "The key is not for you."), "{size}");
    }
}

/// G1. Where nothing is held back, what is shown ends before the chunk that makes it a match.
#[test]
fn the_chunk_that_breaks_a_rule_is_never_shown() {
    for size in 1..40 {
        let mut rig = Rig::simple(policy(Delivery::Live, false));
        let text = format!("The key is {KEY}, so there.");
        say(&mut rig, &text, size);
        let ends = "The key is ".len() + KEY.len();
        let shown = (ends - 1) / size * size;
        assert_eq!(rig.text(), &text[..shown], "in chunks of {size}");
    }
}

/// G1, G8. All of a match and nothing but the match, in either delivery, and it is told.
#[test]
fn a_mask_is_exact_however_text_is_split() {
    let text = format!("caf\u{e9} {KEY} {KEY}zq-0123abc! {KEY}");
    let wanted = "caf\u{e9} [key] [key]zq-0123abc! [key]";
    for delivery in [Delivery::Live, Delivery::Guarded, Delivery::Whole] {
        for size in 1..50 {
            let mut rig = Rig::simple(policy(delivery, true));
            say(&mut rig, &text, size);
            rig.ends();
            assert_eq!(
                (rig.ending(), rig.text()),
                (Ending::Complete, wanted),
                "{delivery:?}, in chunks of {size}"
            );
            assert_eq!(rig.outcome().objections.iter().filter(|objection| objection.masked).count(), 3);
        }
    }
}
