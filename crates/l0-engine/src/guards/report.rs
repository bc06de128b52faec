//! From what a guard found to what the session hears of it.

use smallvec::SmallVec;

use super::hit::{At, Finding, Hit, Span};
use super::spec::{GuardSpec, Severity};

/// How often one guard warns within one attempt; a masked finding is always reported.
const WARNINGS_MAX: u16 = 64;

/// What a finding of one guard leads to.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) severity: Severity,
    pub(super) recoverable: bool,
    mask: Option<String>,
}

impl Rule {
    pub(super) fn new(spec: &GuardSpec) -> Self {
        let name = spec.name.as_deref();
        Self {
            name: name.unwrap_or_else(|| spec.check.kind()).to_owned(),
            severity: spec.severity,
            recoverable: spec.recoverable,
            mask: spec.mask.clone(),
        }
    }

    pub(super) fn mask(&self) -> Option<&str> {
        self.mask.as_deref()
    }
}

/// Text to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask {
    /// Where it is.
    pub span: Span,
    /// The guard whose [`replacement`](super::GuardSet::replacement) takes its place.
    pub rule: u16,
}

/// Masks that the session has not yet taken: sorted, none overlapping another.
#[derive(Debug, Clone, Default)]
pub(super) struct Masks {
    waiting: SmallVec<[Mask; 2]>,
}

impl Masks {
    fn add(&mut self, mut mask: Mask) {
        let start = self.waiting.partition_point(|other| other.span.end <= mask.span.start);
        let end = self.waiting.partition_point(|other| other.span.start < mask.span.end);
        for other in self.waiting.drain(start..end.max(start)) {
            if other.span.start <= mask.span.start {
                mask.rule = other.rule;
            }
            mask.span.start = mask.span.start.min(other.span.start);
            mask.span.end = mask.span.end.max(other.span.end);
        }
        self.waiting.insert(start, mask);
    }

    /// Where text has to be held back from, given where the earliest open match began: a mask that reaches beyond that
    /// may still grow.
    pub(super) fn open_from(&self, open: At) -> At {
        let growing = self.waiting.iter().find(|mask| mask.span.end > open);
        growing.map_or(open, |mask| mask.span.start.min(open))
    }

    /// Takes the masks that end before `open`; all of them where nothing is open.
    pub(super) fn take(&mut self, open: Option<At>) -> SmallVec<[Mask; 2]> {
        let settled = match open {
            Some(open) => self.waiting.partition_point(|mask| mask.span.end <= open),
            None => self.waiting.len(),
        };
        self.waiting.drain(..settled).collect()
    }
}

/// Where guards put what they find.
pub(super) struct Report<'a> {
    pub(super) rules: &'a [Rule],
    /// How many hits each rule has had.
    pub(super) counts: &'a mut [u16],
    pub(super) hits: &'a mut SmallVec<[Hit; 1]>,
    pub(super) masks: &'a mut Masks,
}

impl Report<'_> {
    #[cold]
    pub(super) fn hit(&mut self, rule: u16, finding: Finding, span: Span) {
        self.add(rule, finding, span, true);
    }

    /// A finding of which a part may have been shown: nothing can be masked any more.
    #[cold]
    pub(super) fn late_hit(&mut self, rule: u16, finding: Finding, span: Span) {
        self.add(rule, finding, span, false);
    }

    fn add(&mut self, number: u16, finding: Finding, span: Span, whole: bool) {
        let index = usize::from(number);
        let (Some(rule), Some(count)) = (self.rules.get(index), self.counts.get_mut(index)) else {
            return;
        };
        let masked = rule.mask.is_some() && whole;
        let severity = if rule.mask.is_some() && !whole { Severity::Error } else { rule.severity };
        let most = match severity {
            _ if masked => u16::MAX,
            Severity::Warn => WARNINGS_MAX,
            Severity::Error | Severity::Fatal => 1,
        };
        if masked {
            self.masks.add(Mask { span, rule: number });
        } else if *count >= most {
            return;
        }
        *count = count.saturating_add(1);
        self.hits.push(Hit { rule: number, finding, span, severity, recoverable: rule.recoverable, masked });
    }
}
