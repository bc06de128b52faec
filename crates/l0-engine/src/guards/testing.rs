//! What the tests of every guard share.

use super::{At, Check, DriftSpec, Drifted, Finding, GuardSet, GuardSpec, Hit, Mask, Severity, Signal};

/// A set of one guard, which stops at its first hit.
pub(super) fn guard(check: Check) -> GuardSet {
    guards(&[GuardSpec::new(check)])
}

/// A set of one guard, which only warns.
pub(super) fn warning(check: Check) -> GuardSet {
    guards(&[GuardSpec::new(check).severity(Severity::Warn)])
}

/// A set of one guard, which masks.
pub(super) fn masking(check: Check) -> GuardSet {
    guards(&[GuardSpec::new(check).masking("[…]")])
}

pub(super) fn guards(specs: &[GuardSpec]) -> GuardSet {
    GuardSet::compile(specs, None).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn drifting(drift: &DriftSpec) -> GuardSet {
    GuardSet::compile(&[], Some(drift)).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn hits(set: &GuardSet, text: &str) -> Vec<Hit> {
    super::check(set, text)
}

pub(super) fn findings(set: &GuardSet, text: &str) -> Vec<Finding> {
    hits(set, text).into_iter().map(|hit| hit.finding).collect()
}

pub(super) fn drifts(set: &GuardSet, text: &str) -> Vec<Signal> {
    let outcome = follow(set, [text]);
    outcome.drifts.into_iter().map(|drift| drift.signal).collect()
}

/// The error that a set cannot be compiled for.
pub(super) fn refusal(spec: GuardSpec) -> String {
    match GuardSet::compile(&[spec], None) {
        Ok(_) => panic!("compiled"),
        Err(error) => error.to_string(),
    }
}

/// All that a set says of one text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) hits: Vec<Hit>,
    pub(super) drifts: Vec<Drifted>,
    pub(super) masks: Vec<Mask>,
}

/// Follows a text, and checks on the way that nothing that could be shown turns out to be part of a hit.
pub(super) fn follow<'a>(set: &GuardSet, pieces: impl IntoIterator<Item = &'a str>) -> Outcome {
    let mut state = set.start();
    let mut outcome = Outcome { hits: Vec::new(), drifts: Vec::new(), masks: Vec::new() };
    let mut shown = At::default();
    for piece in pieces.into_iter().map(Some).chain([None]) {
        let verdict = match piece {
            Some(piece) => state.feed(set, piece),
            None => state.finish(set),
        };
        for hit in &verdict.hits {
            let looked_for = matches!(
                hit.finding,
                Finding::Literal(_) | Finding::Regex(_) | Finding::Secret(_) | Finding::Pii(_)
            );
            if looked_for && !(hit.severity == Severity::Error && set.masks()) {
                assert!(hit.span.start >= shown, "{hit:?} was shown up to {shown:?}");
            }
        }
        outcome.hits.extend(verdict.hits);
        outcome.drifts.extend(verdict.drifts);
        let open = state.open_from(set).unwrap_or_else(|| state.at());
        assert!(open >= shown, "{open:?} is before {shown:?}");
        assert!(open <= state.at());
        assert!(state.at().char - open.char <= super::HOLD_CHARS_MAX);
        for mask in state.take_masks(set) {
            let last = outcome.masks.last().map_or_else(At::default, |mask: &Mask| mask.span.end);
            assert!(mask.span.start >= last && mask.span.start >= shown);
            outcome.masks.push(mask);
        }
        shown = open;
    }
    outcome.hits.sort_unstable();
    outcome.drifts.sort_unstable();
    outcome
}

/// Checks that a text gives the same however it is cut: whole, at the places given, and after every character.
pub(super) fn same_however_split(set: &GuardSet, text: &str, cuts: &[usize]) {
    let whole = follow(set, [text]);
    let mut cuts: Vec<usize> = cuts.iter().copied().filter(|cut| text.is_char_boundary(*cut)).collect();
    cuts.sort_unstable();
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([text.len()]);
    let pieces = starts.zip(ends).map(|(start, end)| &text[start..end]);
    assert_eq!(follow(set, pieces), whole, "cut at {cuts:?}: {text:?}");
    let mut rest = text;
    let characters = std::iter::from_fn(|| {
        let (first, others) = rest.split_at(rest.chars().next()?.len_utf8());
        rest = others;
        Some(first)
    });
    assert_eq!(follow(set, characters), whole, "cut everywhere: {text:?}");
}
