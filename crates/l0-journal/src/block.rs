//! A run of records of one stream that is stored, hashed and verified as one.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::chain::{BlockFields, Chain, Hash, MARK_BYTES, Mark, body_hash, contents_hash};
use crate::record::wire::{self, Malformed, Reader};
use crate::{Error, Place, Record, Removal};

/// A draft is closed when skeletons and contents together reach this.
///
/// Larger blocks spread the hash and the row over more records, smaller ones are cheaper to reach into.
const DRAFT_BYTES: usize = 32 << 10;

/// Records on their way into a block. The position and the hash are given when it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) first_seq: u64,
    pub(crate) records: u64,
    pub(crate) after_ns: u64,
    pub(crate) last_ns: u64,
    pub(crate) body: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) marks: Vec<u8>,
}

impl Draft {
    pub(crate) fn new(first_seq: u64, after_ns: u64) -> Self {
        Self { first_seq, after_ns, last_ns: after_ns, ..Self::default() }
    }

    pub(crate) const fn next_seq(&self) -> u64 {
        self.first_seq.saturating_add(self.records)
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.body.len() + self.content.len() + self.marks.len()
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.body.len() + self.content.len() >= DRAFT_BYTES
    }

    /// Adds the record that `bytes` are, exactly.
    pub(crate) fn push(&mut self, chain: &Chain, bytes: &[u8]) -> Result<(), Malformed> {
        let measured = wire::measure(bytes, self.last_ns)?;
        let (skeleton, content) = bytes.split_at_checked(measured.skeleton).ok_or(Malformed)?;
        if content.len() as u64 != measured.content {
            return Err(Malformed);
        }
        self.body.extend_from_slice(skeleton);
        self.content.extend_from_slice(content);
        self.marks.extend_from_slice(&chain.mark(bytes));
        self.last_ns = measured.at_ns;
        self.records += 1;
        Ok(())
    }

    /// The draft without its first `count` records, which are stored already.
    pub(crate) fn without_first(&self, count: u64) -> Result<Self, Malformed> {
        let (mut skeletons, mut contents) = (Reader::new(&self.body), Reader::new(&self.content));
        let mut last_ns = self.after_ns;
        for _ in 0..count {
            let measured = wire::measure(skeletons.rest(), last_ns)?;
            skeletons.take(measured.skeleton as u64)?;
            contents.take(measured.content)?;
            last_ns = measured.at_ns;
        }
        let marks = usize::try_from(count).map_err(|_| Malformed)?.saturating_mul(MARK_BYTES);
        Ok(Self {
            first_seq: self.first_seq + count,
            records: self.records.checked_sub(count).ok_or(Malformed)?,
            after_ns: last_ns,
            last_ns: self.last_ns,
            body: skeletons.rest().to_vec(),
            content: contents.rest().to_vec(),
            marks: self.marks.get(marks..).ok_or(Malformed)?.to_vec(),
        })
    }
}

/// A block as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) fields: BlockFields,
    pub(crate) hash: Hash,
    /// Skeletons; gone after retention.
    pub(crate) body: Option<Vec<u8>>,
    /// Contents; gone after erasure.
    pub(crate) content: Option<Vec<u8>>,
    /// One mark for each record; gone with the body.
    pub(crate) marks: Option<Vec<u8>>,
    /// What stands for the body when it is gone.
    pub(crate) body_hash: Option<Hash>,
    /// What stands for the content when it is gone.
    pub(crate) content_hash: Option<Hash>,
}

/// What is wrong with one record or block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The record is not the one that was written.
    Edited,
    /// A record that was written is not there.
    Missing,
    /// The record is not at its place.
    Moved,
    /// There is a record that was not written.
    Added,
    /// The record cannot be read at all.
    Unreadable,
    /// The block does not match its hash, and its records look as they should: a number, a hash or a mark was changed.
    Forged,
    /// The records match their hash, the marks do not match the records.
    Mark,
    /// The block does not follow the one before it in the chain or in its stream: something between them is gone or moved.
    Unchained,
    /// The content or the records are gone, and no record says that they were removed.
    Vanished,
    /// The database file contradicts itself: an index leads elsewhere than its table, or a page is not what it should be.
    Structure,
    /// The noted head is not the hash at that place: the journal was cut or written anew.
    OtherHead,
}

impl Block {
    /// The records, without a check.
    ///
    /// # Errors
    /// [`Error::Removed`] after retention, [`Error::Corrupt`] where they cannot be read.
    pub(crate) fn records(&self) -> Result<Vec<Record>, Error> {
        let fields = &self.fields;
        let Some(body) = &self.body else {
            return Err(Error::Removed { stream: fields.stream });
        };
        let mut skeletons = Reader::new(body);
        let mut contents = self.content.as_deref().map(Reader::new);
        let mut records = Vec::new();
        let mut last_ns = fields.after_ns;
        while !skeletons.is_empty() {
            let seq = fields.first_seq + records.len() as u64;
            let record = wire::read(&mut skeletons, contents.as_mut(), seq, last_ns)
                .map_err(|Malformed| self.corrupt(Some(seq), "a record cannot be read"))?;
            last_ns = record.at_ns;
            records.push(record);
        }
        let spare = contents.is_some_and(|contents| !contents.is_empty());
        if spare || records.len() as u64 != fields.records || last_ns != fields.last_ns {
            return Err(self.corrupt(None, "its records are not as many or as long as it says"));
        }
        Ok(records)
    }

    /// Everything wrong with this block, given the hash before it, the salt of its stream and what was removed of that.
    pub(crate) fn troubles(
        &self,
        chain: &Chain,
        before: &Hash,
        salt: Option<&[u8; 16]>,
        removed: Option<Removal>,
    ) -> Vec<(Option<u64>, Trouble)> {
        let mut troubles = Vec::new();
        if self.content.is_none() && removed.is_none()
            || self.body.is_none() && removed != Some(Removal::Records)
        {
            troubles.push((None, Trouble::Vanished));
        }
        let body = self.body.as_deref().map(body_hash).or(self.body_hash);
        let content = match (&self.content, salt) {
            (Some(content), Some(salt)) => Some(contents_hash(salt, content)),
            (Some(_), None) => None,
            (None, _) => self.content_hash,
        };
        let proven = match (body, content) {
            (Some(body), Some(content)) => {
                chain.block_hash(before, &self.fields, &body, &content) == self.hash
            }
            _ => false,
        };
        let located = self.locate(chain);
        if proven {
            troubles.extend(located.iter().map(|&(seq, _)| (Some(seq), Trouble::Mark)));
        } else if located.is_empty() {
            troubles.push((None, Trouble::Forged));
        } else {
            troubles.extend(located.iter().map(|&(seq, trouble)| (Some(seq), trouble)));
        }
        troubles
    }

    /// Everything wrong with this block that its marks alone can show.
    pub(crate) fn located(&self, chain: &Chain) -> Vec<(Option<u64>, Trouble)> {
        self.locate(chain).into_iter().map(|(seq, trouble)| (Some(seq), trouble)).collect()
    }

    /// The records that do not match their marks.
    fn locate(&self, chain: &Chain) -> Vec<(u64, Trouble)> {
        let (Some(body), Some(marks)) = (&self.body, &self.marks) else {
            return Vec::new();
        };
        let (stored, _) = marks.as_chunks::<MARK_BYTES>();
        let (found, whole) = self.marks_of(chain, body);
        let first = self.fields.first_seq;
        let differs = |index: &usize| found.get(*index) != stored.get(*index);
        let longer = found.len().max(stored.len());
        let Some(start) = (0..longer).find(differs) else {
            return if whole { Vec::new() } else { vec![(first + found.len() as u64, Trouble::Unreadable)] };
        };
        if !whole {
            // The lengths in front of the unreadable place cannot be trusted: only the first difference can.
            let trouble = if start < found.len() { Trouble::Edited } else { Trouble::Unreadable };
            return vec![(first + start as u64, trouble)];
        }
        match found.len().cmp(&stored.len()) {
            std::cmp::Ordering::Less => vec![(first + start as u64, Trouble::Missing)],
            std::cmp::Ordering::Greater => vec![(first + start as u64, Trouble::Added)],
            std::cmp::Ordering::Equal => {
                let changed: Vec<_> = (start..longer).filter(differs).collect();
                let displaced: BTreeSet<_> = changed.iter().filter_map(|&index| stored.get(index)).collect();
                let trouble = |index: &usize| match found.get(*index) {
                    Some(mark) if displaced.contains(mark) => Trouble::Moved,
                    _ => Trouble::Edited,
                };
                changed.iter().map(|index| (first + *index as u64, trouble(index))).collect()
            }
        }
    }

    /// The marks that the records should have, and whether all of the block could be read.
    fn marks_of(&self, chain: &Chain, body: &[u8]) -> (Vec<Mark>, bool) {
        let mut marks = Vec::new();
        let mut record = Vec::new();
        let whole = self.each_record(body, &mut |skeleton, content| {
            record.clear();
            record.extend_from_slice(body.get(skeleton).unwrap_or_default());
            let contents = self.content.as_deref().unwrap_or_default();
            record.extend_from_slice(contents.get(content).unwrap_or_default());
            marks.push(chain.mark(&record));
        });
        (marks, whole.is_ok())
    }

    fn each_record(
        &self,
        body: &[u8],
        see: &mut dyn FnMut(Range<usize>, Range<usize>),
    ) -> Result<(), Malformed> {
        let mut skeletons = Reader::new(body);
        let mut contents = self.content.as_deref().map(Reader::new);
        let mut last_ns = self.fields.after_ns;
        while !skeletons.is_empty() {
            let measured = wire::measure(skeletons.rest(), last_ns)?;
            let start = skeletons.at();
            skeletons.take(measured.skeleton as u64)?;
            let mut content = 0..0;
            if let Some(contents) = &mut contents {
                content.start = contents.at();
                contents.take(measured.content)?;
                content.end = contents.at();
            }
            see(start..skeletons.at(), content);
            last_ns = measured.at_ns;
        }
        Ok(())
    }

    /// The marks of the records as they will be without their content.
    pub(crate) fn marks_without_content(&self, chain: &Chain) -> Option<Vec<u8>> {
        let bare = Self { content: None, ..self.clone() };
        let (marks, whole) = bare.marks_of(chain, self.body.as_deref()?);
        whole.then(|| marks.concat())
    }

    fn corrupt(&self, record: Option<u64>, what: &'static str) -> Error {
        let place = Place { stream: Some(self.fields.stream), block: Some(self.fields.position), record };
        Error::Corrupt { place, what }
    }

    /// The error for the first of `troubles`.
    pub(crate) fn error(&self, troubles: &[(Option<u64>, Trouble)]) -> Option<Error> {
        let (record, trouble) = troubles.iter().find(|(_, trouble)| *trouble != Trouble::Mark)?;
        Some(self.corrupt(*record, trouble.what()))
    }
}

impl Trouble {
    /// What is wrong, in words.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Edited => "the record is not the one that was written",
            Self::Missing => "a record that was written is not there",
            Self::Moved => "the record is not at its place",
            Self::Added => "there is a record that was not written",
            Self::Unreadable => "the record cannot be read",
            Self::Forged => "the block does not match its hash",
            Self::Mark => "the mark does not match its record",
            Self::Unchained => "the block does not follow the one before it",
            Self::Vanished => "something is gone, and no record says that it was removed",
            Self::Structure => "the database file contradicts itself",
            Self::OtherHead => "the chain does not lead to the noted head",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::wire::{Context, put_chunk};
    use crate::record::{Chunk, Class, Redaction, Stored};
    use crate::{Body, StreamId};

    const SALT: [u8; 16] = [5; 16];
    const BEFORE: Hash = [8; 32];

    fn chain() -> Chain {
        Chain::new(None, &[0; 16])
    }

    fn draft(texts: &[&str]) -> Draft {
        let mut draft = Draft::new(10, 0);
        for (index, text) in texts.iter().enumerate() {
            let at_ns = 1000 * (index as u64 + 1);
            let chunk = Chunk { at_ns, attempt: 1, signal: 0, class: Class::Completion, text, object: None };
            let mut bytes = Vec::new();
            let context =
                Context { last_at_ns: draft.last_ns, redaction: &Redaction::default(), salt: &SALT };
            put_chunk(&mut bytes, &chunk, &context).unwrap();
            draft.push(&chain(), &bytes).unwrap();
        }
        draft
    }

    fn block(draft: Draft) -> Block {
        let fields = BlockFields {
            position: 4,
            stream: StreamId([2; 16]),
            number: 1,
            first_seq: draft.first_seq,
            records: draft.records,
            after_ns: draft.after_ns,
            last_ns: draft.last_ns,
        };
        let content = contents_hash(&SALT, &draft.content);
        let hash = chain().block_hash(&BEFORE, &fields, &body_hash(&draft.body), &content);
        Block {
            fields,
            hash,
            body: Some(draft.body),
            content: Some(draft.content),
            marks: Some(draft.marks),
            body_hash: None,
            content_hash: None,
        }
    }

    fn troubles(block: &Block) -> Vec<(Option<u64>, Trouble)> {
        block.troubles(&chain(), &BEFORE, Some(&SALT), None)
    }

    #[test]
    fn what_was_written_is_read_and_proven() {
        let block = block(draft(&["The", " quick", " fox"]));
        assert_eq!(troubles(&block), []);
        let records = block.records().unwrap();
        let texts: Vec<_> = records
            .iter()
            .map(|record| match &record.body {
                Body::Chunk { text, .. } => (record.seq, record.at_ns, text.text().unwrap()),
                Body::Entry { .. } => panic!(),
            })
            .collect();
        assert_eq!(texts, [(10, 1000, "The"), (11, 2000, " quick"), (12, 3000, " fox")]);
    }

    /// G6: whatever single byte of a block changes, the block is found out, and a changed text is found at its record.
    #[test]
    fn every_flipped_byte_is_evident() {
        let good = block(draft(&["The", " quick", " brown", " fox"]));
        let body = good.body.clone().unwrap();
        for index in 0..body.len() {
            let mut bad = good.clone();
            bad.body.as_mut().unwrap()[index] ^= 0x10;
            let found = troubles(&bad);
            let record = 10 + (index / 7) as u64; // time takes 2 bytes here, the skeleton 5
            assert!(
                found.iter().any(|(seq, trouble)| *trouble != Trouble::Mark && seq.is_some()),
                "{index} {found:?}"
            );
            let _ = record;
        }
        let lengths = [3, 6, 6, 4];
        let mut owner = Vec::new();
        for (record, length) in lengths.into_iter().enumerate() {
            owner.extend(std::iter::repeat_n(10 + record as u64, length));
        }
        for (index, &record) in owner.iter().enumerate() {
            let mut bad = good.clone();
            bad.content.as_mut().unwrap()[index] ^= 1;
            assert_eq!(troubles(&bad), [(Some(record), Trouble::Edited)]);
        }
        for index in 0..good.marks.as_ref().unwrap().len() {
            let mut bad = good.clone();
            bad.marks.as_mut().unwrap()[index] ^= 1;
            assert_eq!(troubles(&bad), [(Some(10 + index as u64 / 4), Trouble::Mark)]);
        }
    }

    #[test]
    fn a_missing_a_moved_and_an_added_record_are_told_apart() {
        let good = block(draft(&["aa", "bb", "cc", "dd"]));
        let with = |texts: &[&str]| {
            let other = draft(texts);
            Block { body: Some(other.body), content: Some(other.content), ..good.clone() }
        };
        assert_eq!(troubles(&with(&["aa", "bb", "dd"])), [(Some(12), Trouble::Missing)]);
        assert_eq!(
            troubles(&with(&["aa", "cc", "bb", "dd"])),
            [(Some(11), Trouble::Moved), (Some(12), Trouble::Moved)]
        );
        assert_eq!(troubles(&with(&["aa", "bb", "xx", "cc", "dd"])), [(Some(12), Trouble::Added)]);
        assert_eq!(troubles(&with(&["aa", "bb", "cc", "xx"])), [(Some(13), Trouble::Edited)]);
    }

    #[test]
    fn erased_content_keeps_the_proof() {
        let good = block(draft(&["secret", " words"]));
        let mut erased = good.clone();
        erased.marks = good.marks_without_content(&chain());
        erased.content_hash = Some(contents_hash(&SALT, good.content.as_ref().unwrap()));
        erased.content = None;
        assert_eq!(erased.troubles(&chain(), &BEFORE, None, Some(Removal::Content)), []);
        assert_eq!(erased.troubles(&chain(), &BEFORE, None, None), [(None, Trouble::Vanished)]);
        let records = erased.records().unwrap();
        assert!(matches!(&records[0].body, Body::Chunk { text: Stored::Erased { bytes: 6 }, .. }));
        erased.body.as_mut().unwrap()[1] ^= 1;
        let found = erased.troubles(&chain(), &BEFORE, None, Some(Removal::Content));
        assert_eq!(found, [(Some(10), Trouble::Edited)]);
    }

    #[test]
    fn a_draft_without_its_beginning_is_the_draft_of_the_rest() {
        let whole = draft(&["The", " quick", " fox"]);
        assert_eq!(whole.without_first(0).unwrap(), whole);
        let rest = whole.without_first(2).unwrap();
        assert_eq!((rest.first_seq, rest.records, rest.after_ns, rest.last_ns), (12, 1, 2000, 3000));
        assert_eq!(rest.content, b" fox");
        assert!(whole.without_first(4).is_err());
    }
}
