//! Whether a journal is what was written.

use std::collections::BTreeMap;

use rusqlite::types::FromSql;

use crate::block::{Block, Trouble};
use crate::chain::{Chain, Hash, Head};
use crate::database::natural;
use crate::database::removal;
use crate::database::view::{View, block_from};
use crate::{Error, Place, Removal, StreamId};

/// A report names so many findings and counts the rest.
const FINDINGS_MAX: usize = 1000;

/// What a journal holds, and what of it is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many blocks there are.
    pub blocks: u64,
    /// How many records they hold or held.
    pub records: u64,
    /// How many streams these belong to.
    pub streams: u64,
    /// The end of the chain: note it elsewhere.
    pub head: Head,
    /// What is wrong, in the order of the chain; at most a thousand.
    pub findings: Vec<Finding>,
    /// How many findings there are in all.
    pub findings_count: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What.
    pub trouble: Trouble,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.trouble.what())
    }
}

impl Report {
    /// Whether everything is as it was written.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.findings_count == 0
    }

    pub(crate) const fn new(head: Head) -> Self {
        Self { blocks: 0, records: 0, streams: 0, head, findings: Vec::new(), findings_count: 0 }
    }

    pub(crate) fn find(&mut self, place: Place, trouble: Trouble) {
        self.findings_count += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { place, trouble });
        }
    }
}

/// What is remembered of a stream while the chain is walked.
struct Seen {
    id: StreamId,
    next_number: u64,
    next_seq: u64,
    records: u64,
    known: bool,
    removed: Option<Removal>,
}

/// One block on the walk, and what is known of its stream.
pub(crate) struct Step<'a> {
    /// The number by which blocks name their stream.
    pub(crate) stream: i64,
    pub(crate) block: &'a Block,
    pub(crate) salt: Option<[u8; 16]>,
    pub(crate) removed: Option<Removal>,
    /// How many records it should have.
    pub(crate) stream_records: u64,
    /// Whether there is a stream with that number.
    pub(crate) known: bool,
}

/// Walks the chain from its beginning.
pub(crate) fn verify(view: &View<'_>, chain: &Chain, noted: Option<Head>) -> Result<Report, Error> {
    let fail = |error: rusqlite::Error| Error::database("verify", view.path, &error);
    let mut statement = view
        .connection
        .prepare(
            "SELECT b.position, b.stream, b.number, b.first_seq, b.records, b.after_ns, b.last_ns, b.hash, b.marks,
             b.body, b.content, b.body_hash, b.content_hash, s.id, s.salt, s.removed, s.records AS stream_records
             FROM blocks b LEFT JOIN streams s ON s.no = b.stream ORDER BY b.position",
        )
        .map_err(fail)?;
    let mut rows = statement.query([]).map_err(fail)?;
    let mut walk = Walk::new(chain, noted);
    loop {
        match rows.next() {
            Ok(Some(row)) => match take(row, &mut walk) {
                Ok(()) => {}
                Err(_) => {
                    walk.unreadable(row.get("position").map(natural).ok(), row.get("hash").ok());
                }
            },
            Ok(None) => break,
            // The pages themselves are damaged: there is no way on from here.
            Err(_) => {
                walk.unreadable(None, None);
                break;
            }
        }
    }
    for _ in 0..contradictions(view) {
        walk.report.find(Place::default(), Trouble::Structure);
    }
    Ok(walk.finish())
}

/// How often the file contradicts itself, up to a hundred times: by an index that is wrong, what is there is not found.
fn contradictions(view: &View<'_>) -> usize {
    let complaints = view.connection.prepare("PRAGMA integrity_check(100)").and_then(|mut statement| {
        statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()
    });
    complaints.map_or(1, |complaints| complaints.iter().filter(|complaint| *complaint != "ok").count())
}

fn take(row: &rusqlite::Row<'_>, walk: &mut Walk<'_>) -> rusqlite::Result<()> {
    fn get<T: FromSql>(row: &rusqlite::Row<'_>, name: &str) -> rusqlite::Result<Option<T>> {
        row.get(name)
    }
    let id = get::<[u8; 16]>(row, "id")?.map(StreamId);
    walk.step(&Step {
        stream: row.get("stream")?,
        block: &block_from(row, id.unwrap_or_default())?,
        salt: get(row, "salt")?,
        removed: get::<u8>(row, "removed")?.and_then(Removal::from_number),
        stream_records: get(row, "stream_records")?.map_or(0, natural),
        known: id.is_some(),
    });
    Ok(())
}

/// A walk along the chain, from its beginning.
pub(crate) struct Walk<'a> {
    chain: &'a Chain,
    noted: Option<Head>,
    report: Report,
    /// The hash to which the next block must be chained, where it is known.
    before: Option<Hash>,
    streams: BTreeMap<i64, Seen>,
    /// What the journal says it removed.
    removals: BTreeMap<StreamId, Removal>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(chain: &'a Chain, noted: Option<Head>) -> Self {
        let start = chain.genesis();
        let noted_is_start = noted.is_some_and(|noted| noted == start);
        Self {
            chain,
            noted: if noted_is_start { None } else { noted },
            report: Report::new(start),
            before: Some(start.hash),
            streams: BTreeMap::new(),
            removals: BTreeMap::new(),
        }
    }

    pub(crate) fn step(&mut self, step: &Step<'_>) {
        let (block, fields) = (step.block, &step.block.fields);
        let place =
            Place { stream: step.known.then_some(fields.stream), block: Some(fields.position), record: None };
        let expected = self.report.head.position + 1;
        let before = self.before.filter(|_| fields.position == expected);
        let mut unchained = fields.position != expected || !step.known;
        let seen = self.streams.entry(step.stream).or_insert(Seen {
            id: fields.stream,
            next_number: 0,
            next_seq: 0,
            records: step.stream_records,
            known: step.known,
            removed: step.removed,
        });
        unchained |= seen.next_number != fields.number || seen.next_seq != fields.first_seq;
        seen.next_number = fields.number.saturating_add(1);
        seen.next_seq = fields.first_seq.saturating_add(fields.records);
        if unchained {
            self.report.find(place, Trouble::Unchained);
        }
        // Behind a gap the hash before is unknown, and the block can only be held against its marks.
        let troubles = match before {
            Some(before) => block.troubles(self.chain, &before, step.salt.as_ref(), step.removed),
            None => block.located(self.chain),
        };
        for (record, trouble) in troubles {
            self.report.find(Place { record, ..place }, trouble);
        }
        if fields.stream == StreamId::JOURNAL && step.known {
            self.removals.extend(removal::removals_in(block));
        }
        self.report.blocks += 1;
        self.report.records += fields.records;
        self.arrive(Head { position: fields.position, hash: block.hash });
    }

    fn unreadable(&mut self, position: Option<u64>, hash: Option<Hash>) {
        let position = position.unwrap_or(self.report.head.position + 1);
        self.report.find(Place { stream: None, block: Some(position), record: None }, Trouble::Unreadable);
        self.report.blocks += 1;
        self.arrive(Head { position, hash: hash.unwrap_or_default() });
        self.before = hash;
    }

    fn arrive(&mut self, head: Head) {
        self.report.head = head;
        self.before = Some(head.hash);
        if self.noted == Some(head) {
            self.noted = None;
        }
    }

    pub(crate) fn finish(mut self) -> Report {
        if let Some(noted) = self.noted {
            let place = Place { stream: None, block: Some(noted.position), record: None };
            self.report.find(place, Trouble::OtherHead);
        }
        for seen in self.streams.values().filter(|seen| seen.known) {
            if seen.next_seq != seen.records {
                let record = Some(seen.next_seq.min(seen.records));
                self.report.find(Place { stream: Some(seen.id), block: None, record }, Trouble::Missing);
            }
            let admitted = self.removals.get(&seen.id).copied();
            if seen.removed > admitted {
                let place = Place { stream: Some(seen.id), block: None, record: None };
                self.report.find(place, Trouble::Vanished);
            }
        }
        self.report.streams = self.streams.len() as u64;
        self.report
    }
}
