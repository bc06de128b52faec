//! Matches that wait until nothing that began before them can still match, so that of several that overlap the first
//! and longest is reported, however the text was cut. What a later one adds is reported as a finding of its own: no
//! character that is part of a match escapes a mask.

use smallvec::SmallVec;

use super::super::hit::{At, Finding, Span};
use super::super::report::Report;

#[derive(Debug, Clone, Default)]
pub(super) struct Claims {
    /// Sorted by where their matches began, then by rule.
    waiting: Vec<Claim>,
    /// For each rule that reported something, what it reported last: none of that is reported again.
    reported: SmallVec<[(u16, Span); 2]>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    pub(super) rule: u16,
    pub(super) finding: Finding,
    /// Where the match began, which may be before what it found.
    pub(super) from: At,
    pub(super) span: Span,
}

impl Claims {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Where the earliest waiting match began.
    pub(super) fn open_from(&self) -> Option<At> {
        self.waiting.first().map(|claim| claim.from)
    }

    /// Takes a match; the longest of those that one rule has from one place is kept.
    pub(super) fn wait(&mut self, claim: Claim) {
        let key = |claim: &Claim| (claim.from.byte, claim.rule);
        let place = self.waiting.partition_point(|other| key(other) < key(&claim));
        match self.waiting.get_mut(place) {
            Some(other) if key(other) == key(&claim) => {
                if claim.span.end > other.span.end {
                    *other = claim;
                }
            }
            _ => self.waiting.insert(place, claim),
        }
    }

    /// Reports every match that began before `open`, where the earliest match that may still come began.
    pub(super) fn settle(&mut self, open: Option<At>, report: &mut Report) {
        let settled = match open {
            Some(open) => self.waiting.partition_point(|claim| claim.from < open),
            None => self.waiting.len(),
        };
        let mut waiting = std::mem::take(&mut self.waiting);
        for claim in waiting.drain(..settled) {
            self.report(claim, report, false);
        }
        self.waiting = waiting;
    }

    /// Reports at once every match that began at `from`, since what it is part of has been open for too long.
    pub(super) fn force(&mut self, from: At, report: &mut Report) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|claim| {
            let forced = claim.from == from;
            if forced {
                self.report(*claim, report, true);
            }
            !forced
        });
        self.waiting = waiting;
    }

    /// Reports a match, or what is new of it; `late` where text before its end may have been shown, so that it cannot be
    /// masked whole.
    pub(super) fn report(&mut self, claim: Claim, report: &mut Report, late: bool) {
        let Claim { rule, finding, .. } = claim;
        let mut span = claim.span;
        match self.reported.iter_mut().find(|(of, _)| *of == rule) {
            None => self.reported.push((rule, span)),
            Some((_, last)) if span.start < last.start || span.start >= last.end => *last = span,
            Some((_, last)) if span.end <= last.end => return,
            Some((_, last)) => {
                span.start = last.end;
                last.end = span.end;
            }
        }
        if late {
            report.late_hit(rule, finding, span);
        } else {
            report.hit(rule, finding, span);
        }
    }
}
