//! Chunks that have arrived and are kept: the engine's side of the driver's queue.

use std::collections::{BTreeMap, VecDeque};

use smallvec::SmallVec;

use crate::protocol::{Opaque, Output, Part};

/// What the engine remembers of a kept chunk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Item {
    /// Where its text begins in its attempt's text.
    pub(crate) start: usize,
    /// Bytes of its text.
    pub(crate) bytes: usize,
    /// Bytes of its text the consumer already has.
    pub(crate) skip: usize,
    /// The tool calls it holds fragments of.
    pub(crate) calls: SmallVec<[u32; 2]>,
    /// The opaque part it holds.
    pub(crate) opaque: Option<Opaque>,
    /// It holds nothing but text.
    pub(crate) bare: bool,
    /// It holds reasoning.
    pub(crate) reasoning: bool,
    /// It repeats what the consumer has, and is not given again.
    pub(crate) repeated: bool,
}

impl Item {
    pub(crate) fn of_text(start: usize, text: &str) -> Self {
        Self { start, bytes: text.len(), bare: true, ..Self::default() }
    }

    /// A chunk that is kept only to be dropped in its turn.
    pub(crate) fn to_drop(start: usize) -> Self {
        Self { start, bare: true, repeated: true, ..Self::default() }
    }

    pub(crate) fn of_part(start: usize, part: &Part) -> Self {
        let mut calls: SmallVec<[u32; 2]> = SmallVec::new();
        for fragment in &part.tools {
            if !calls.contains(&fragment.index) {
                calls.push(fragment.index);
            }
        }
        let bare = !part.reasoning
            && calls.is_empty()
            && part.opaque.is_none()
            && part.finish.is_none()
            && part.status.is_none()
            && part.usage.is_none();
        let (bytes, opaque, reasoning) = (part.text.len(), part.opaque, part.reasoning);
        Self { start, bytes, calls, opaque, bare, reasoning, ..Self::default() }
    }
}

/// Chunks of the live attempt that the consumer has not been given, first in, first out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue {
    items: VecDeque<Item>,
    /// Their text, from `taken` on.
    text: String,
    taken: usize,
    /// How many of them, from the front, are settled: complete and joined to what came before.
    pub(crate) settled: usize,
    /// How many of them, from the front, the guards have seen.
    pub(crate) judged: usize,
    /// How many of them, from the front, the caller's own guards have nothing against.
    cleared: usize,
    /// How many, from the front, are complete together with everything that begins in them.
    complete: usize,
    /// Up to which place that has been looked at, and up to which it must hold: what begins before ends there.
    looked_at: usize,
    reach: usize,
    /// Items taken off so far, which the places below count from.
    popped: usize,
    /// The last item with a fragment of each call, and the last with a part.
    last_of_call: BTreeMap<u32, usize>,
    last_of_part: usize,
    /// Whether any of them holds reasoning.
    pub(crate) reasons: bool,
}

impl Queue {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.len() - self.taken
    }

    pub(crate) fn push(&mut self, item: Item, text: &str) {
        let place = self.popped + self.items.len();
        for &call in &item.calls {
            self.last_of_call.insert(call, place);
        }
        if item.opaque.is_some() {
            self.last_of_part = place;
        }
        self.reasons |= item.reasoning;
        self.items.push_back(item);
        self.text.push_str(text);
    }

    pub(crate) fn item(&self, place: usize) -> Option<&Item> {
        self.items.get(place)
    }

    pub(crate) fn item_mut(&mut self, place: usize) -> Option<&mut Item> {
        self.items.get_mut(place)
    }

    /// Whether the item at `place` is complete, and so is everything up to the last piece of whatever begins in it: a
    /// call whose pieces stand among another one's is given whole or not at all.
    pub(crate) fn is_complete(&mut self, place: usize, is_complete: impl Fn(&Item) -> bool) -> bool {
        while self.complete <= place {
            while self.looked_at <= self.reach {
                let Some(item) = self.items.get(self.looked_at).filter(|item| is_complete(item)) else {
                    return false;
                };
                let calls = item.calls.iter().filter_map(|call| self.last_of_call.get(call).copied());
                let part = item.opaque.filter(|opaque| opaque.open).map(|_| self.last_of_part);
                let last = calls.chain(part).max().unwrap_or(0).saturating_sub(self.popped);
                self.reach = self.reach.max(last);
                self.looked_at += 1;
            }
            self.complete = self.looked_at;
            self.reach = self.looked_at;
        }
        true
    }

    /// How many, counted from the attempt's first, the guards have seen.
    pub(crate) const fn judged_to(&self) -> usize {
        self.popped + self.judged
    }

    /// The caller's own guards have nothing against so many, counted from the attempt's first.
    pub(crate) fn clear_to(&mut self, end: usize) {
        self.cleared = self.cleared.max(end.saturating_sub(self.popped));
    }

    /// Whether the caller's own guards have something to say of the first one yet.
    pub(crate) const fn awaits_word(&self) -> bool {
        self.cleared == 0
    }

    /// The new text of those that the guards have seen.
    pub(crate) fn judged_text(&self) -> String {
        let items = self.items.iter().enumerate().take(self.judged).filter(|(_, item)| !item.repeated);
        items.map(|(place, item)| self.text_of(place).get(item.skip..).unwrap_or("")).collect()
    }

    /// The text of the item at `place`.
    pub(crate) fn text_of(&self, place: usize) -> &str {
        let (Some(front), Some(item)) = (self.items.front(), self.items.get(place)) else {
            return "";
        };
        let start = self.taken + item.start - front.start;
        &self.text[start..start + item.bytes]
    }

    /// The consumer has the attempt's text up to `cut`: marks what of the kept chunks that covers.
    pub(crate) fn cut(&mut self, cut: usize) {
        for item in &mut self.items {
            if item.start >= cut {
                break;
            }
            item.skip = (cut - item.start).min(item.bytes);
            // A call or a part that the consumer has stays one, whatever becomes of the text around it.
            item.repeated |= item.skip == item.bytes && item.bytes > 0 && item.bare;
        }
    }

    /// Takes the first item off, with its text, and says what the driver is to do with the chunk.
    pub(crate) fn pop(&mut self) -> Option<(Item, String, Output)> {
        let text = self.text_of(0).to_owned();
        let item = self.items.pop_front()?;
        self.taken += item.bytes;
        self.popped += 1;
        for count in [
            &mut self.settled,
            &mut self.judged,
            &mut self.cleared,
            &mut self.complete,
            &mut self.looked_at,
            &mut self.reach,
        ] {
            *count = count.saturating_sub(1);
        }
        if self.items.is_empty() {
            self.text.clear();
            self.taken = 0;
        } else if self.taken > 4_096 && self.taken * 2 > self.text.len() {
            self.text.drain(..self.taken);
            self.taken = 0;
        }
        let output = if item.repeated {
            Output::Drop { chunks: 1 }
        } else if item.skip > 0 {
            let chars = |part: &str| u32::try_from(part.chars().count()).unwrap_or(u32::MAX);
            Output::Cut { start: chars(&text[..item.skip]), end: chars(&text) }
        } else {
            Output::Release { chunks: 1 }
        };
        Some((item, text, output))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
