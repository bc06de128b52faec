//! From frames to a batch: what the spool holds, arranged as the database takes it.
//!
//! The same code serves the living, whose writer thread drains its own spool all the time, and the dead, whose spool is
//! drained by whoever comes next. A frame that was taken before is recognised when it is committed, so that draining twice
//! is harmless.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::block::Draft;
use crate::chain::Chain;
use crate::database::put::Batch;
use crate::record::wire::Malformed;
use crate::rows::RowValues;
use crate::spool::segment::{Frame, Opening};
use crate::{Error, Place, StreamId};

/// Frames on their way into a batch.
pub(crate) struct Feed {
    chain: Chain,
    /// What the openings of each segment said, and how far their streams have come.
    slots: BTreeMap<(u64, u32), Slot>,
    pub(crate) batch: Batch,
    /// The draft of each stream that still takes records.
    growing: BTreeMap<StreamId, usize>,
    bytes: usize,
    /// Streams whose frames did not follow each other.
    pub(crate) broken: Vec<(StreamId, Error)>,
}

struct Slot {
    opening: Arc<Opening>,
    next_seq: u64,
    last_at_ns: u64,
    broken: bool,
}

impl Feed {
    pub(crate) const fn new(chain: Chain) -> Self {
        Self {
            chain,
            slots: BTreeMap::new(),
            batch: Batch { drafts: Vec::new(), rows: Vec::new() },
            growing: BTreeMap::new(),
            bytes: 0,
            broken: Vec::new(),
        }
    }

    /// How much memory the batch takes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.batch.drafts.is_empty() && self.batch.rows.is_empty()
    }

    /// Takes in the next frame of a segment.
    pub(crate) fn frame(&mut self, segment: u64, body: &[u8]) -> Result<(), Malformed> {
        match Frame::read(body)? {
            Frame::Opening(opening) => {
                let (next_seq, last_at_ns) = (opening.next_seq, opening.last_at_ns);
                let slot = Slot { opening: Arc::new(opening), next_seq, last_at_ns, broken: false };
                // What follows may have another lease or follow a gap: it goes into a draft of its own.
                self.growing.remove(&slot.opening.id);
                self.slots.insert((segment, slot.opening.slot), slot);
            }
            Frame::Record { slot, seq, record } => self.record((segment, slot), seq, record)?,
            Frame::Row(bytes) => {
                if let Some(row) = RowValues::read(bytes)? {
                    self.bytes += bytes.len();
                    self.batch.rows.push(row);
                }
            }
            Frame::Unknown => {}
        }
        Ok(())
    }

    fn record(&mut self, slot: (u64, u32), seq: u64, record: &[u8]) -> Result<(), Malformed> {
        let slot = self.slots.get_mut(&slot).ok_or(Malformed)?;
        if slot.broken {
            return Ok(());
        }
        let id = slot.opening.id;
        if seq != slot.next_seq {
            slot.broken = true;
            let place = Place { stream: Some(id), block: None, record: Some(slot.next_seq) };
            self.broken.push((id, Error::Corrupt { place, what: "the spool skips records" }));
            return Ok(());
        }
        let index = if let Some(index) = self.growing.get(&id) {
            *index
        } else {
            self.batch.drafts.push((Arc::clone(&slot.opening), Draft::new(seq, slot.last_at_ns)));
            let index = self.batch.drafts.len() - 1;
            self.growing.insert(id, index);
            index
        };
        let (_, draft) = self.batch.drafts.get_mut(index).ok_or(Malformed)?;
        let before = draft.bytes();
        draft.push(&self.chain, record)?;
        self.bytes += draft.bytes() - before;
        slot.next_seq += 1;
        slot.last_at_ns = draft.last_ns;
        if draft.is_full() {
            self.growing.remove(&id);
        }
        Ok(())
    }

    /// Forgets the batch, which the database has.
    pub(crate) fn taken(&mut self) {
        self.batch.drafts.clear();
        self.batch.rows.clear();
        self.growing.clear();
        self.bytes = 0;
    }

    /// Forgets the openings of a segment that is removed.
    pub(crate) fn forget_segment(&mut self, segment: u64) {
        self.slots.retain(|(number, _), _| *number != segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::wire::{Context, put_chunk};
    use crate::record::{Chunk, Class, Kind, Redaction};
    use crate::spool::segment::Frames;

    fn opening(slot: u32, id: u8, next_seq: u64) -> Opening {
        Opening {
            slot,
            id: StreamId([id; 16]),
            kind: Kind::Session,
            next_seq,
            last_at_ns: 100,
            opened_at_ms: 0,
            salt: [id; 16],
            tenant: None,
            user: None,
            lease: None,
        }
    }

    fn frames(fill: impl FnOnce(&mut Frames<'_>)) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        fill(&mut Frames::new(&mut out, 0, 0));
        let mut bodies = Vec::new();
        let mut rest = out.as_slice();
        while let Some((prefix, after)) = rest.split_first_chunk::<8>() {
            let length = u32::from_le_bytes(*prefix.first_chunk().unwrap()) as usize;
            bodies.push(after[..length].to_vec());
            rest = &after[length..];
        }
        bodies
    }

    fn chunk(frames: &mut Frames<'_>, slot: u32, seq: u64, text: &str) {
        let chunk =
            Chunk { at_ns: 100 + seq, attempt: 1, signal: 0, class: Class::Completion, text, object: None };
        let context = Context { last_at_ns: 100, redaction: &Redaction::default(), salt: &[0; 16] };
        frames.record(slot, seq, |out| put_chunk(out, &chunk, &context)).unwrap();
    }

    fn feed(bodies: &[Vec<u8>]) -> Feed {
        let mut feed = Feed::new(Chain::new(None, &[0; 16]));
        for body in bodies {
            feed.frame(0, body).unwrap();
        }
        feed
    }

    #[test]
    fn records_of_several_streams_become_drafts_of_each() {
        let feed = feed(&frames(|frames| {
            frames.opening(&opening(0, 1, 0)).unwrap();
            frames.opening(&opening(1, 2, 5)).unwrap();
            chunk(frames, 0, 0, "a");
            chunk(frames, 1, 5, "x");
            chunk(frames, 0, 1, "b");
            chunk(frames, 1, 6, "y");
        }));
        let found: Vec<_> = feed
            .batch
            .drafts
            .iter()
            .map(|(opening, draft)| {
                (opening.id.0[0], draft.first_seq, draft.records, draft.content.as_slice())
            })
            .collect();
        assert_eq!(found, [(1, 0, 2, b"ab".as_slice()), (2, 5, 2, b"xy".as_slice())]);
    }

    #[test]
    fn a_gap_ends_a_stream_and_leaves_the_others() {
        let feed = feed(&frames(|frames| {
            frames.opening(&opening(0, 1, 0)).unwrap();
            frames.opening(&opening(1, 2, 0)).unwrap();
            chunk(frames, 0, 0, "a");
            chunk(frames, 0, 2, "c");
            chunk(frames, 0, 3, "d");
            chunk(frames, 1, 0, "x");
        }));
        assert_eq!(feed.batch.drafts.iter().map(|(_, draft)| draft.records).collect::<Vec<_>>(), [1, 1]);
        assert!(
            matches!(feed.broken.as_slice(), [(_, Error::Corrupt { place, .. })] if place.record == Some(1))
        );
    }

    #[test]
    fn a_long_stream_is_cut_into_blocks_that_follow_each_other() {
        let text = "0123456789".repeat(10);
        let mut feed = feed(&frames(|frames| frames.opening(&opening(0, 1, 0)).unwrap()));
        for body in frames(|frames| (0..1000).for_each(|seq| chunk(frames, 0, seq, &text))) {
            feed.frame(0, &body).unwrap();
        }
        assert!(feed.batch.drafts.len() > 2);
        let mut next = (0, 100);
        for (_, draft) in &feed.batch.drafts {
            assert_eq!((draft.first_seq, draft.after_ns), next);
            next = (draft.next_seq(), draft.last_ns);
        }
        assert_eq!(next.0, 1000);
    }

    #[test]
    fn a_record_without_an_opening_is_refused() {
        let bodies = frames(|frames| chunk(frames, 7, 0, "a"));
        let mut feed = Feed::new(Chain::new(None, &[0; 16]));
        assert_eq!(feed.frame(0, &bodies[0]), Err(Malformed));
    }
}
