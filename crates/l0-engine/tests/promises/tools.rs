//! G2: a tool call is given once, whole, and before the end.

use l0_engine::{Ending, Opaque, Part, Policy, ToolFragment};

use crate::rig::{Rig, cut};

fn piece(index: u32, name: Option<&str>, args: &str, last: bool) -> Part {
    let fragment =
        ToolFragment { index, id: None, name: name.map(str::to_owned), args: args.to_owned(), last };
    Part { tools: vec![fragment], ..Part::default() }
}

/// G2. A call that is complete waits for the pieces of it that stand behind another one's.
#[test]
fn a_call_among_the_pieces_of_another_is_given_whole() {
    let mut rig = Rig::simple(Policy::default());
    rig.part(piece(0, Some("a"), "{\"x\":", false)).part(piece(1, Some("b"), "{\"y\":", false));
    rig.part(piece(0, None, "1}", true));
    assert!(rig.given.is_empty(), "the other call stands between its pieces: {:?}", rig.given);
    rig.part(piece(1, None, "2}", true));
    assert_eq!(rig.given.len(), 4);
    rig.ends();
    assert_eq!((rig.ending(), rig.outcome().tool_calls.len()), (Ending::Complete, 2));
}

/// G2. A call in turn is given as soon as it is complete, before the next one is.
#[test]
fn a_call_is_given_as_soon_as_it_is_complete() {
    let mut rig = Rig::simple(Policy::default());
    rig.part(piece(0, Some("a"), "{\"x\":", false)).part(piece(0, None, "1}", false));
    assert!(rig.given.is_empty(), "more might follow");
    rig.part(piece(1, Some("b"), "{", false));
    assert_eq!(rig.given.len(), 2);
    rig.fails(cut());
    assert_eq!(rig.given.len(), 2, "half a call is nobody's");
}

/// G2. A part whose pieces stand among those of a call is given whole.
#[test]
fn a_part_among_the_pieces_of_a_call_is_given_whole() {
    let part = |open| Part { opaque: Some(Opaque { digest: 7, open }), ..Part::default() };
    let mut rig = Rig::simple(Policy::default());
    rig.part(part(true)).part(piece(0, Some("a"), "{", false)).part(part(false));
    assert!(rig.given.is_empty(), "{:?}", rig.given);
    rig.part(piece(0, None, "}", true));
    assert_eq!(rig.given.len(), 4);
}

/// G2. A call of which only the name has come is a call without arguments only if the target says that it has finished:
/// otherwise it may have been cut there.
#[test]
fn a_name_alone_is_a_call_only_at_an_end_that_was_said() {
    let head = || piece(0, Some("erase"), "", false);
    for (word, called) in [("tool_calls", true), ("stop", true), ("length", false), ("content_filter", false)]
    {
        let mut rig = Rig::simple(Policy::default());
        rig.part(head()).finishes(word).ends();
        assert_eq!(rig.given.len() == 2, called, "{word}: {:?}", rig.given);
        assert_eq!(rig.is_done() && rig.ending() == Ending::Complete, called, "{word}");
    }
    let mut rig = Rig::simple(Policy::default());
    rig.part(head()).ends();
    assert!(rig.given.is_empty());
    assert_eq!(rig.last_fault().code.as_deref(), Some("tool_args"));
}
