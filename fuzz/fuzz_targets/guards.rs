//! No text, however it is cut, upsets the guards: they never panic, and they say the same of the whole and of its pieces.
#![no_main]

use std::sync::LazyLock;

use l0_engine::guards::{
    At, Check, DriftSpec, Drifted, GuardSet, GuardSpec, Hit, JsonSpec, LatexSpec, MarkdownSpec, Mask, MaxLengthSpec,
    NotEmptySpec, PatternsSpec, PiiSpec, RepetitionSpec, SecretsSpec, Severity,
};
use libfuzzer_sys::fuzz_target;

static SETS: LazyLock<[GuardSet; 2]> = LazyLock::new(|| [stopping(), masking()]);

fuzz_target!(init: LazyLock::force(&SETS), |input: (&[u8], &str)| {
    let (cuts, text) = input;
    for set in &*SETS {
        let whole = follow(set, &[], text);
        let cut = follow(set, cuts, text);
        assert_eq!(whole, cut);
    }
});

/// Follows a text in pieces as long as `lengths` say, over and over; in one piece where they say nothing.
fn follow(set: &GuardSet, lengths: &[u8], text: &str) -> (Vec<Hit>, Vec<Drifted>, Vec<Mask>) {
    let mut state = set.start();
    let (mut hits, mut drifts, mut masks) = (Vec::new(), Vec::new(), Vec::new());
    let mut shown = At::default();
    let mut rest = text;
    let mut lengths = lengths.iter().cycle();
    loop {
        let length = lengths.next().map_or(usize::MAX, |length| usize::from(*length) + 1);
        let end = rest.char_indices().nth(length).map_or(rest.len(), |(end, _)| end);
        let (piece, others) = rest.split_at(end);
        rest = others;
        let verdict = if piece.is_empty() { state.finish(set) } else { state.feed(set, piece) };
        hits.extend(verdict.hits);
        drifts.extend(verdict.drifts);
        let open = state.open_from(set).unwrap_or_else(|| state.at());
        assert!(open >= shown && open <= state.at());
        for mask in state.take_masks(set) {
            assert!(mask.span.start >= shown && mask.span.start < mask.span.end);
            masks.push(mask);
        }
        shown = open;
        if piece.is_empty() {
            break;
        }
    }
    hits.sort_unstable();
    drifts.sort_unstable();
    (hits, drifts, masks)
}

fn patterns() -> Check {
    Check::Patterns(PatternsSpec {
        literals: ["abc", "bcd", "é", "aaa"].map(str::to_owned).to_vec(),
        regexes: [r"\ba+b\b", r"[0-9]{3,}", r"(?m)^x.*$", r"\w+@\w+", r"z[^y]*y"].map(str::to_owned).to_vec(),
        ignore_case: false,
    })
}

fn stopping() -> GuardSet {
    compile(
        [
            Check::Json(JsonSpec::default()),
            Check::Markdown(MarkdownSpec::default()),
            Check::Latex(LatexSpec {}),
            Check::NotEmpty(NotEmptySpec::default()),
            Check::MaxLength(MaxLengthSpec { max_chars: 50 }),
            patterns(),
            Check::Secrets(SecretsSpec::default()),
            Check::Pii(PiiSpec::default()),
            Check::Repetition(RepetitionSpec { min_repeats: 2, min_chars: 16 }),
        ]
        .map(GuardSpec::new)
        .to_vec(),
    )
}

fn masking() -> GuardSet {
    let masks = [patterns(), Check::Secrets(SecretsSpec::default()), Check::Pii(PiiSpec::default())];
    let mut specs = masks.map(|check| GuardSpec::new(check).masking("[…]")).to_vec();
    specs.push(GuardSpec::new(patterns()).severity(Severity::Warn));
    compile(specs)
}

fn compile(specs: Vec<GuardSpec>) -> GuardSet {
    GuardSet::compile(&specs, Some(&DriftSpec::default())).unwrap_or_else(|error| panic!("{error}"))
}
