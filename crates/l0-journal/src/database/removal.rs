//! Retention and erasure: content or records go, and the chain still proves what is left.
//!
//! A block's hash is made of the hashes of its parts. When a part goes, its hash takes its place. The salt of the content
//! hash goes too, so that nobody can try texts against it. Every removal is a record of the journal's own stream:
//! what is gone without one has been tampered with.

use std::path::Path;

use rusqlite::{Transaction, params};

use crate::block::Block;
use crate::chain::{Chain, body_hash, contents_hash};
use crate::database::put::Put;
use crate::database::view::{SELECT_BLOCK, block_from, head};
use crate::database::{Database, Promise, integer};
use crate::disk::Disk;
use crate::record::wire::{Context, put_entry};
use crate::record::{Entry, Kind, Redaction};
use crate::rows::{AttemptRow, RunRow, SessionRow, StepRow, TableRow};
use crate::spool::segment::Opening;
use crate::store::{Removed, Selection};
use crate::{Body, Error, Removal, StreamId};

/// Streams handled in one transaction: nobody else can write meanwhile.
const STREAMS_PER_COMMIT: usize = 100;

/// The kind of the record that says what was removed.
const REMOVED: u8 = 1;
const VERSION: u8 = 1;

/// Removes what is selected.
pub(crate) fn remove(
    database: &mut Database,
    chain: &Chain,
    what: &Selection,
    how: Removal,
    now_ms: u64,
    points: &dyn Disk,
) -> Result<Removed, Error> {
    database.overwrite_deleted(true)?;
    let removed = remove_parts(database, chain, what, how, now_ms, points);
    database.overwrite_deleted(false)?;
    let removed = removed?;
    // What is erased must not come back with the power.
    database.sync(points)?;
    database.shrink()?;
    Ok(removed)
}

fn remove_parts(
    database: &mut Database,
    chain: &Chain,
    what: &Selection,
    how: Removal,
    now_ms: u64,
    points: &dyn Disk,
) -> Result<Removed, Error> {
    let path = database.path.clone();
    let mut removed = Removed::default();
    // A list is handled a part at a time; anything else selects by what the streams say, until nothing is left.
    let mut parts: Vec<Selection> = match what {
        Selection::Streams(ids) => {
            ids.chunks(STREAMS_PER_COMMIT).map(|ids| Selection::Streams(ids.to_vec())).collect()
        }
        other => vec![other.clone()],
    };
    parts.reverse();
    while let Some(part) = parts.last() {
        let done = database.transact(Promise::Written, points, |transaction| {
            let mut work = Work { transaction, path: &path, chain, how, removed: Removed::default() };
            let streams = work.select(part)?;
            work.remove(&streams, now_ms)?;
            Ok(work.removed)
        })?;
        removed.streams += done.streams;
        removed.blocks += done.blocks;
        removed.bytes += done.bytes;
        if done.streams < STREAMS_PER_COMMIT as u64 || matches!(part, Selection::Streams(_)) {
            parts.pop();
        }
    }
    if let Selection::User(user) = what {
        database.transact(Promise::Written, points, |transaction| forget_user(transaction, &path, user))?;
    }
    Ok(removed)
}

struct Work<'a> {
    transaction: &'a Transaction<'a>,
    path: &'a Path,
    chain: &'a Chain,
    how: Removal,
    removed: Removed,
}

struct Chosen {
    no: i64,
    id: StreamId,
    salt: Option<[u8; 16]>,
}

impl Work<'_> {
    /// The streams that are selected and from which something is still to be removed, up to as many as one commit takes.
    fn select(&self, what: &Selection) -> Result<Vec<Chosen>, Error> {
        let fail = |error: rusqlite::Error| Error::database("select streams", self.path, &error);
        let (condition, values): (String, Vec<Box<dyn rusqlite::ToSql>>) = match what {
            Selection::Streams(ids) => {
                let places = vec!["?"; ids.len()].join(", ");
                (format!("id IN ({places})"), ids.iter().map(|id| Box::new(id.0) as _).collect())
            }
            Selection::Tenant(tenant) => ("tenant = ?".to_owned(), vec![Box::new(tenant.clone())]),
            Selection::User(user) => ("user = ?".to_owned(), vec![Box::new(user.clone())]),
            Selection::OpenedBefore(time) => ("opened_at_ms < ?".to_owned(), vec![Box::new(integer(*time))]),
        };
        let sql = format!(
            "SELECT no, id, salt FROM streams WHERE {condition} AND kind <> {} AND coalesce(removed, 0) < {}
             ORDER BY no LIMIT {STREAMS_PER_COMMIT}",
            Kind::Journal.number(),
            self.how.number(),
        );
        let mut statement = self.transaction.prepare(&sql).map_err(fail)?;
        let chosen = statement
            .query_map(rusqlite::params_from_iter(values), |row| {
                Ok(Chosen { no: row.get(0)?, id: StreamId(row.get(1)?), salt: row.get(2)? })
            })
            .map_err(fail)?;
        chosen.collect::<rusqlite::Result<_>>().map_err(fail)
    }

    fn remove(&mut self, streams: &[Chosen], now_ms: u64) -> Result<(), Error> {
        if streams.is_empty() {
            return Ok(());
        }
        let fail = |error: rusqlite::Error| Error::database("remove", self.path, &error);
        for stream in streams {
            for position in self.positions(stream)? {
                self.block(stream, position)?;
            }
            self.transaction
                .prepare_cached("UPDATE streams SET removed = ?2, salt = NULL WHERE no = ?1")
                .and_then(|mut statement| statement.execute(params![stream.no, self.how.number()]))
                .map_err(fail)?;
            if self.how == Removal::Records {
                self.rows(stream.id).map_err(fail)?;
            }
            self.removed.streams += 1;
        }
        self.note(streams, now_ms)
    }

    fn positions(&self, stream: &Chosen) -> Result<Vec<i64>, Error> {
        let fail = |error: rusqlite::Error| Error::database("find blocks", self.path, &error);
        let sql = "SELECT position FROM blocks WHERE stream = ?1 ORDER BY number";
        let mut statement = self.transaction.prepare_cached(sql).map_err(fail)?;
        let positions = statement.query_map([stream.no], |row| row.get(0)).map_err(fail)?;
        positions.collect::<rusqlite::Result<_>>().map_err(fail)
    }

    fn block(&mut self, stream: &Chosen, position: i64) -> Result<(), Error> {
        let fail = |error: rusqlite::Error| Error::database("remove a block", self.path, &error);
        let sql = format!("{SELECT_BLOCK} WHERE position = ?1");
        let mut statement = self.transaction.prepare_cached(&sql).map_err(fail)?;
        let mut block = statement.query_row([position], |row| block_from(row, stream.id)).map_err(fail)?;
        let before = size(&block);
        strip(&mut block, self.chain, stream.salt.as_ref(), self.how);
        self.transaction
            .prepare_cached(
                "UPDATE blocks SET content = NULL, content_hash = ?2, body = ?3, body_hash = ?4, marks = ?5
                 WHERE position = ?1",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    position,
                    block.content_hash,
                    block.body,
                    block.body_hash,
                    block.marks
                ])
            })
            .map_err(fail)?;
        self.removed.blocks += 1;
        self.removed.bytes += before.saturating_sub(size(&block));
        Ok(())
    }

    /// Removes the rows about a stream: they would point to nothing.
    fn rows(&self, id: StreamId) -> rusqlite::Result<()> {
        for (table, column) in [
            (RunRow::TABLE.name, "id"),
            (StepRow::TABLE.name, "id"),
            (SessionRow::TABLE.name, "id"),
            (AttemptRow::TABLE.name, "session"),
        ] {
            let sql = format!("DELETE FROM {table} WHERE {column} = ?1");
            self.transaction.prepare_cached(&sql)?.execute([id.0])?;
        }
        Ok(())
    }

    /// Writes down what was removed.
    fn note(&self, streams: &[Chosen], now_ms: u64) -> Result<(), Error> {
        let payload = note(self.how, streams.iter().map(|stream| stream.id));
        let opening = opening(now_ms);
        let mut put = Put {
            transaction: self.transaction,
            path: self.path,
            chain: self.chain,
            head: head(self.transaction, self.path, self.chain)?,
        };
        put.append(&opening, |last_at_ns, out| {
            let entry = entry(now_ms, &payload);
            put_entry(
                out,
                &entry,
                &Context { last_at_ns, redaction: &Redaction::default(), salt: &opening.salt },
            )
        })
    }
}

/// The payload of the record that says what was removed.
pub(crate) fn note(how: Removal, streams: impl Iterator<Item = StreamId>) -> Vec<u8> {
    let mut payload = vec![VERSION, how.number()];
    payload.extend(streams.flat_map(|stream| stream.0));
    payload
}

/// The record that says what was removed.
pub(crate) const fn entry(now_ms: u64, payload: &[u8]) -> Entry<'_> {
    Entry { at_ns: now_ms.saturating_mul(1_000_000), kind: REMOVED, payload, contents: &[] }
}

/// How the journal's own stream is opened.
pub(crate) const fn opening(now_ms: u64) -> Opening {
    Opening {
        slot: 0,
        id: StreamId::JOURNAL,
        kind: Kind::Journal,
        next_seq: 0,
        last_at_ns: 0,
        opened_at_ms: now_ms,
        salt: [0; 16],
        tenant: None,
        user: None,
        lease: None,
    }
}

/// Takes the part that `how` removes out of a block, and puts its hash in its place.
pub(crate) fn strip(block: &mut Block, chain: &Chain, salt: Option<&[u8; 16]>, how: Removal) {
    if let (Some(content), Some(salt)) = (&block.content, salt) {
        block.content_hash = Some(contents_hash(salt, content));
    }
    block.marks = block.marks_without_content(chain);
    block.content = None;
    if how == Removal::Records {
        block.body_hash = block.body.as_deref().map(body_hash).or(block.body_hash);
        block.body = None;
        block.marks = None;
    }
}

/// What a block of the journal's own stream says was removed.
pub(crate) fn removals_in(block: &Block) -> Vec<(StreamId, Removal)> {
    let mut found = Vec::new();
    for record in block.records().unwrap_or_default() {
        let Body::Entry { kind: REMOVED, payload, .. } = record.body else {
            continue;
        };
        let [VERSION, how, ids @ ..] = payload.as_slice() else {
            continue;
        };
        let Some(how) = Removal::from_number(*how) else {
            continue;
        };
        found.extend(ids.as_chunks().0.iter().map(|id| (StreamId(*id), how)));
    }
    found
}

pub(crate) fn size(block: &Block) -> u64 {
    let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, |part| part.len() as u64);
    length(&block.body) + length(&block.content) + length(&block.marks)
}

/// The name of a user whose streams were removed goes from all rows.
fn forget_user(transaction: &Transaction<'_>, path: &Path, user: &str) -> Result<(), Error> {
    let fail = |error: rusqlite::Error| Error::database("remove a user's name", path, &error);
    for table in ["streams", RunRow::TABLE.name, StepRow::TABLE.name, SessionRow::TABLE.name] {
        transaction
            .execute(&format!("UPDATE {table} SET user = NULL WHERE user = ?1"), [user])
            .map_err(fail)?;
    }
    Ok(())
}
