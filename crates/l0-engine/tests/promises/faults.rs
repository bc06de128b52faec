//! §3: what is a fault, what it is called, and what is done about it.

use l0_engine::{Ending, Part, Policy, Usage};

use crate::rig::Rig;

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
