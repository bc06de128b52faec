//! Putting blocks and rows into the database, in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Transaction, params};

use crate::block::{Block, Draft};
use crate::chain::{BlockFields, Chain, Head, MARK_BYTES, body_hash, contents_hash};
use crate::database::view::{Tail, fence_of, tail};
use crate::database::{integer, natural, time};
use crate::rows::{RowValues, Table};
use crate::spool::segment::Opening;
use crate::{Error, Place, Removal, StreamId};

/// What is to be put in, all of it or nothing.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) drafts: Vec<(Arc<Opening>, Draft)>,
    pub(crate) rows: Vec<RowValues>,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) records: u64,
    /// Streams of which some records were not taken, and why.
    pub(crate) refused: Vec<(StreamId, Error)>,
}

/// Puts blocks and rows into one transaction.
pub(crate) struct Put<'a> {
    pub(crate) transaction: &'a Transaction<'a>,
    pub(crate) path: &'a Path,
    pub(crate) chain: &'a Chain,
    pub(crate) head: Head,
}

impl Put<'_> {
    pub(crate) fn batch(&mut self, batch: &Batch) -> Result<Outcome, Error> {
        let mut outcome = Outcome::default();
        let mut refused = BTreeSet::new();
        let mut tails = BTreeMap::new();
        for (opening, draft) in &batch.drafts {
            if refused.contains(&opening.id) {
                continue;
            }
            match self.draft(opening, draft, &mut tails)? {
                Ok(records) => outcome.records += records,
                Err(reason) => {
                    refused.insert(opening.id);
                    outcome.refused.push((opening.id, reason));
                }
            }
        }
        for row in &batch.rows {
            self.row(row)?;
        }
        Ok(outcome)
    }

    /// Puts a draft behind the end of its stream and says how many records were new, or why it is refused.
    fn draft(
        &mut self,
        opening: &Opening,
        draft: &Draft,
        tails: &mut BTreeMap<StreamId, Tail>,
    ) -> Result<Result<u64, Error>, Error> {
        let id = opening.id;
        if let Some((run, fence)) = opening.lease {
            let current = fence_of(self.transaction, self.path, run)?;
            if current > fence {
                return Ok(Err(Error::Fenced { run, fence, current }));
            }
        }
        let mut tail = match tails.get(&id) {
            Some(tail) => tail.clone(),
            None => match tail(self.transaction, self.path, id) {
                Ok(Some(tail)) => tail,
                Ok(None) => self.stream(opening)?,
                // One damaged stream must not keep the others out.
                Err(error @ Error::Corrupt { .. }) => return Ok(Err(error)),
                Err(error) => return Err(error),
            },
        };
        if tail.removed == Some(Removal::Records) {
            return Ok(Err(Error::Removed { stream: id }));
        }
        if draft.first_seq > tail.next_seq {
            let place = Place { stream: Some(id), block: None, record: Some(tail.next_seq) };
            return Ok(Err(Error::Corrupt {
                place,
                what: "records were lost before they reached the database",
            }));
        }
        let known = (tail.next_seq - draft.first_seq).min(draft.records);
        if known > 0
            && tail.removed.is_none()
            && let Some(seq) = self.first_difference(&tail, draft, known)?
        {
            return Ok(Err(Error::Conflict { stream: id, seq }));
        }
        if known < draft.records {
            let rest;
            let fresh = if known == 0 {
                draft
            } else {
                rest = draft.without_first(known)?;
                &rest
            };
            self.block(opening, fresh, &mut tail)?;
        }
        tails.insert(id, tail);
        Ok(Ok(draft.records - known))
    }

    /// The first of the first `known` records of `draft` that is stored differently.
    fn first_difference(&self, tail: &Tail, draft: &Draft, known: u64) -> Result<Option<u64>, Error> {
        let fail = |error: rusqlite::Error| Error::database("compare records", self.path, &error);
        let mut statement = self
            .transaction
            .prepare_cached(
                "SELECT first_seq, marks FROM blocks
                 WHERE stream = ?1 AND first_seq + records > ?2 AND first_seq < ?3 ORDER BY number",
            )
            .map_err(fail)?;
        let range = params![tail.no, integer(draft.first_seq), integer(draft.first_seq + known)];
        let mut rows = statement.query(range).map_err(fail)?;
        let (new, _) = draft.marks.as_chunks::<MARK_BYTES>();
        while let Some(row) = rows.next().map_err(fail)? {
            let (first, marks): (i64, Option<Vec<u8>>) =
                (row.get(0).map_err(fail)?, row.get(1).map_err(fail)?);
            let (first, marks) = (natural(first), marks.unwrap_or_default());
            let (stored, _) = marks.as_chunks::<MARK_BYTES>();
            for (seq, mark) in (first..).zip(stored) {
                let index = seq.checked_sub(draft.first_seq).filter(|index| *index < known);
                let other = index.and_then(|index| new.get(usize::try_from(index).ok()?));
                if other.is_some_and(|other| other != mark) {
                    return Ok(Some(seq));
                }
            }
        }
        Ok(None)
    }

    /// Adds a stream that the database does not know yet.
    fn stream(&self, opening: &Opening) -> Result<Tail, Error> {
        let fail = |error: rusqlite::Error| Error::database("add a stream", self.path, &error);
        let mut statement = self
            .transaction
            .prepare_cached(
                "INSERT INTO streams (id, kind, opened_at_ms, salt, tenant, user) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .map_err(fail)?;
        let no = statement
            .insert(params![
                opening.id.0,
                opening.kind.number(),
                integer(opening.opened_at_ms),
                opening.salt,
                opening.tenant,
                opening.user,
            ])
            .map_err(fail)?;
        Ok(Tail {
            no,
            kind: opening.kind,
            opened_at_ms: opening.opened_at_ms,
            salt: Some(opening.salt),
            removed: None,
            number: 0,
            next_seq: 0,
            last_ns: 0,
        })
    }

    fn block(&mut self, opening: &Opening, draft: &Draft, tail: &mut Tail) -> Result<(), Error> {
        let fields = BlockFields {
            position: self.head.position + 1,
            stream: opening.id,
            number: tail.number,
            first_seq: draft.first_seq,
            records: draft.records,
            after_ns: draft.after_ns,
            last_ns: draft.last_ns,
        };
        let salt = tail.salt.unwrap_or(opening.salt);
        let content_hash = contents_hash(&salt, &draft.content);
        let hash = self.chain.block_hash(&self.head.hash, &fields, &body_hash(&draft.body), &content_hash);
        let mut block = Block {
            fields,
            hash,
            body: Some(draft.body.clone()),
            content: Some(draft.content.clone()),
            marks: Some(draft.marks.clone()),
            body_hash: None,
            content_hash: None,
        };
        if tail.removed.is_some() {
            // Erased while its writer went on: what comes later is treated like what came before.
            block.marks = block.marks_without_content(self.chain);
            block.content = None;
            block.content_hash = Some(content_hash);
        }
        self.insert(&block, tail.no)?;
        self.transaction
            .prepare_cached("UPDATE streams SET records = ?2 WHERE no = ?1")
            .and_then(|mut statement| statement.execute(params![tail.no, integer(draft.next_seq())]))
            .map_err(|error| Error::database("count records", self.path, &error))?;
        self.head = Head { position: fields.position, hash };
        tail.number += 1;
        tail.next_seq = draft.next_seq();
        tail.last_ns = draft.last_ns;
        Ok(())
    }

    fn insert(&self, block: &Block, stream: i64) -> Result<(), Error> {
        let fail = |error: rusqlite::Error| Error::database("add a block", self.path, &error);
        let fields = &block.fields;
        let mut statement = self
            .transaction
            .prepare_cached(
                "INSERT INTO blocks (position, stream, number, first_seq, records, after_ns, last_ns, hash, marks, body,
                 content, content_hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )
            .map_err(fail)?;
        statement
            .insert(params![
                integer(fields.position),
                stream,
                integer(fields.number),
                integer(fields.first_seq),
                integer(fields.records),
                time(fields.after_ns),
                time(fields.last_ns),
                block.hash,
                block.marks,
                block.body,
                block.content,
                block.content_hash,
            ])
            .map_err(fail)?;
        Ok(())
    }

    /// Puts one record at the end of a stream that any process may write to: its place is known only here.
    pub(crate) fn append(
        &mut self,
        opening: &Opening,
        record: impl FnOnce(u64, &mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut tail = match tail(self.transaction, self.path, opening.id)? {
            Some(tail) => tail,
            None => self.stream(opening)?,
        };
        let mut draft = Draft::new(tail.next_seq, tail.last_ns);
        let mut bytes = Vec::new();
        record(tail.last_ns, &mut bytes)?;
        draft.push(self.chain, &bytes)?;
        self.block(opening, &draft, &mut tail)
    }

    fn row(&self, row: &RowValues) -> Result<(), Error> {
        let Some(table) = Table::numbered(row.table) else {
            return Ok(());
        };
        let fail = |error: rusqlite::Error| Error::database("add a row", self.path, &error);
        let names: Vec<_> = row.values.iter().map(|(name, _)| *name).collect();
        let key: Vec<_> = table.key.iter().map(|column| column.name).collect();
        let places: Vec<_> = (1..=names.len()).map(|place| format!("?{place}")).collect();
        let changes: Vec<_> = names
            .iter()
            .filter(|name| !key.contains(name))
            .map(|name| format!("\"{name}\" = excluded.\"{name}\""))
            .collect();
        let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let then = if changes.is_empty() {
            "NOTHING".to_owned()
        } else {
            format!("UPDATE SET {}", changes.join(", "))
        };
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO {then}",
            table.name,
            quoted.join(", "),
            places.join(", "),
            key.join(", "),
        );
        let mut statement = self.transaction.prepare_cached(&sql).map_err(fail)?;
        let values = row.values.iter().map(|(_, value)| value);
        statement.execute(rusqlite::params_from_iter(values)).map_err(fail)?;
        Ok(())
    }
}
