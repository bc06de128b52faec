//! One unchanging view of the database, and what can be read in it.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use crate::block::Block;
use crate::chain::{BlockFields, Chain, Hash, Head};
use crate::database::{integer, natural, value_from};
use crate::record::Kind;
use crate::rows::{Cursor, Filter, Page, TableRow, Value};
use crate::{Error, Place, Record, Removal, StreamId, StreamInfo};

/// Where a stream ends in the database.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    pub(crate) no: i64,
    pub(crate) kind: Kind,
    pub(crate) opened_at_ms: u64,
    pub(crate) salt: Option<[u8; 16]>,
    pub(crate) removed: Option<Removal>,
    /// The number of the next block.
    pub(crate) number: u64,
    pub(crate) next_seq: u64,
    pub(crate) last_ns: u64,
}

/// One unchanging view of the journal.
pub(crate) struct View<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) path: &'a Path,
}

impl View<'_> {
    pub(crate) fn tail(&self, id: StreamId) -> Result<Option<Tail>, Error> {
        tail(self.connection, self.path, id)
    }

    pub(crate) fn info(&self, id: StreamId) -> Result<Option<StreamInfo>, Error> {
        Ok(self.tail(id)?.map(|tail| StreamInfo {
            id,
            kind: tail.kind,
            records: tail.next_seq,
            last_at_ns: tail.last_ns,
            opened_at_ms: tail.opened_at_ms,
            removed: tail.removed,
        }))
    }

    pub(crate) fn head(&self, chain: &Chain) -> Result<Head, Error> {
        head(self.connection, self.path, chain)
    }

    /// The records of a stream from `from` on, at most `limit`, each proven by its block's hash.
    pub(crate) fn records(
        &self,
        chain: &Chain,
        id: StreamId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Record>, Error> {
        let Some(tail) = self.tail(id)? else {
            return Ok(Vec::new());
        };
        let mut records = Vec::new();
        let mut number = self.block_with(&tail, from)?;
        let mut next_seq = None;
        while records.len() < limit && next_seq.unwrap_or(from) < tail.next_seq {
            let block = self.block_of(&tail, id, number)?.filter(|block| match next_seq {
                Some(next_seq) => block.fields.first_seq == next_seq,
                None => block.fields.first_seq <= from,
            });
            let record = Some(next_seq.unwrap_or(from));
            let place = Place { stream: Some(id), block: None, record };
            let block = block.ok_or(Error::Corrupt { place, what: "the record is not there" })?;
            next_seq = Some(block.fields.first_seq.saturating_add(block.fields.records));
            let before = self.hash_before(chain, block.fields.position)?;
            let troubles = block.troubles(chain, &before, tail.salt.as_ref(), tail.removed);
            if let Some(error) = block.error(&troubles) {
                return Err(error);
            }
            let found = block.records()?;
            records.extend(found.into_iter().filter(|record| record.seq >= from));
            number += 1;
        }
        records.truncate(limit);
        Ok(records)
    }

    /// The number of the block that holds record `seq`, or of the one behind the last.
    fn block_with(&self, tail: &Tail, seq: u64) -> Result<u64, Error> {
        let fail = |error: rusqlite::Error| Error::database("find a record", self.path, &error);
        let sql = "SELECT number FROM blocks WHERE stream = ?1 AND first_seq + records > ?2 ORDER BY number LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql).map_err(fail)?;
        let found =
            statement.query_row(params![tail.no, integer(seq)], |row| row.get(0)).optional().map_err(fail)?;
        Ok(found.map_or(tail.number, natural))
    }

    fn block_of(&self, tail: &Tail, id: StreamId, number: u64) -> Result<Option<Block>, Error> {
        let fail = |error: rusqlite::Error| Error::database("read a block", self.path, &error);
        let sql = format!("{SELECT_BLOCK} WHERE stream = ?1 AND number = ?2");
        let mut statement = self.connection.prepare_cached(&sql).map_err(fail)?;
        statement
            .query_row(params![tail.no, integer(number)], |row| block_from(row, id))
            .optional()
            .map_err(fail)
    }

    pub(crate) fn hash_before(&self, chain: &Chain, position: u64) -> Result<Hash, Error> {
        if position <= 1 {
            return Ok(chain.genesis().hash);
        }
        let fail = |error: rusqlite::Error| Error::database("read a block", self.path, &error);
        let mut statement =
            self.connection.prepare_cached("SELECT hash FROM blocks WHERE position = ?1").map_err(fail)?;
        let found =
            statement.query_row([integer(position - 1)], |row| row.get(0)).optional().map_err(fail)?;
        let place = Place { stream: None, block: Some(position - 1), record: None };
        found.ok_or(Error::Corrupt { place, what: "the block is not there" })
    }

    pub(crate) fn list<T: TableRow>(&self, filter: &Filter) -> Result<Page<T>, Error> {
        let fail = |error: rusqlite::Error| Error::database("list rows", self.path, &error);
        let mut values = Vec::new();
        let mut conditions = Vec::new();
        for (name, comparison, value) in filter.conditions_on(&T::TABLE)? {
            values.push(value);
            conditions.push(format!("\"{name}\" {comparison} ?{}", values.len()));
        }
        if let Some(Cursor { started_at_ms, id }) = filter.after {
            values.push(Value::Integer(integer(started_at_ms)));
            values.push(Value::Blob(id.0.to_vec()));
            conditions.push(format!("(started_at_ms, id) < (?{}, ?{})", values.len() - 1, values.len()));
        }
        let (wanted, filtered) = (filter.rows_max(), !conditions.is_empty());
        let names: Vec<_> = T::TABLE.all_columns().map(|column| format!("\"{}\"", column.name)).collect();
        let sql = format!(
            "SELECT {} FROM {}{}{} ORDER BY started_at_ms DESC, id DESC LIMIT {}",
            names.join(", "),
            T::TABLE.name,
            if filtered { " WHERE " } else { "" },
            conditions.join(" AND "),
            // One more than wanted tells whether there is another page.
            wanted + 1,
        );
        let mut statement = self.connection.prepare_cached(&sql).map_err(fail)?;
        let mut found = statement.query(rusqlite::params_from_iter(&values)).map_err(fail)?;
        let mut rows: Vec<(T, Cursor)> = Vec::new();
        while let Some(row) = found.next().map_err(fail)? {
            rows.push((self.row(row)?, cursor_of(row).map_err(fail)?));
        }
        let more = rows.len() > wanted;
        rows.truncate(wanted);
        let next = if more { rows.last().map(|(_, cursor)| *cursor) } else { None };
        Ok(Page { rows: rows.into_iter().map(|(row, _)| row).collect(), next })
    }

    /// Every row of a table whose first key column is `id`, in the order of its key.
    pub(crate) fn rows_of<T: TableRow>(&self, id: StreamId) -> Result<Vec<T>, Error> {
        let fail = |error: rusqlite::Error| Error::database("list rows", self.path, &error);
        let names: Vec<_> = T::TABLE.all_columns().map(|column| format!("\"{}\"", column.name)).collect();
        let key: Vec<_> = T::TABLE.key.iter().map(|column| column.name).collect();
        let (first, all) = (key.first().copied().unwrap_or_default(), key.join(", "));
        let sql =
            format!("SELECT {} FROM {} WHERE {first} = ?1 ORDER BY {all}", names.join(", "), T::TABLE.name);
        let mut statement = self.connection.prepare_cached(&sql).map_err(fail)?;
        let mut found = statement.query([id.0]).map_err(fail)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(fail)? {
            rows.push(self.row(row)?);
        }
        Ok(rows)
    }

    fn row<T: TableRow>(&self, row: &rusqlite::Row<'_>) -> Result<T, Error> {
        let mut failure = None;
        let read = T::from_values(|name| match row.get_ref(name).map(value_from) {
            Ok(value) => value,
            Err(error) => {
                failure = Some(Error::database("read a row", self.path, &error));
                None
            }
        });
        let damaged =
            Error::Corrupt { place: Place::default(), what: "a row holds what its columns cannot hold" };
        match failure {
            Some(error) => Err(error),
            None => read.ok_or(damaged),
        }
    }
}

pub(crate) const SELECT_BLOCK: &str =
    "SELECT position, stream, number, first_seq, records, after_ns, last_ns, hash, marks,
    body, content, body_hash, content_hash FROM blocks";

/// The block in a row of [`SELECT_BLOCK`].
pub(crate) fn block_from(row: &rusqlite::Row<'_>, stream: StreamId) -> rusqlite::Result<Block> {
    let number = |name: &str| row.get(name).map(natural);
    Ok(Block {
        fields: BlockFields {
            position: number("position")?,
            stream,
            number: number("number")?,
            first_seq: number("first_seq")?,
            records: number("records")?,
            after_ns: row.get("after_ns").map(i64::cast_unsigned)?,
            last_ns: row.get("last_ns").map(i64::cast_unsigned)?,
        },
        hash: row.get("hash")?,
        body: row.get("body")?,
        content: row.get("content")?,
        marks: row.get("marks")?,
        body_hash: row.get("body_hash")?,
        content_hash: row.get("content_hash")?,
    })
}

fn cursor_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Cursor> {
    Ok(Cursor { started_at_ms: natural(row.get("started_at_ms")?), id: StreamId(row.get("id")?) })
}

pub(crate) fn tail(connection: &Connection, path: &Path, id: StreamId) -> Result<Option<Tail>, Error> {
    let fail = |error: rusqlite::Error| Error::database("find a stream", path, &error);
    let mut statement = connection
        .prepare_cached("SELECT no, kind, opened_at_ms, records, salt, removed FROM streams WHERE id = ?1")
        .map_err(fail)?;
    let found = statement.query_row([id.0], |row| {
        let number = |name: &str| row.get::<_, Option<u8>>(name);
        Ok(Tail {
            no: row.get("no")?,
            kind: number("kind")?.and_then(Kind::from_number).unwrap_or(Kind::Session),
            opened_at_ms: natural(row.get("opened_at_ms")?),
            salt: row.get("salt")?,
            removed: number("removed")?.and_then(Removal::from_number),
            number: 0,
            next_seq: natural(row.get("records")?),
            last_ns: 0,
        })
    });
    let Some(mut tail) = found.optional().map_err(fail)? else {
        return Ok(None);
    };
    let mut statement = connection
        .prepare_cached(
            "SELECT number, first_seq, records, last_ns FROM blocks WHERE stream = ?1 ORDER BY number DESC LIMIT 1",
        )
        .map_err(fail)?;
    let last = statement.query_row([tail.no], |row| {
        tail.number = natural(row.get(0)?).saturating_add(1);
        tail.last_ns = row.get::<_, i64>(3)?.cast_unsigned();
        Ok(natural(row.get(1)?).saturating_add(natural(row.get(2)?)))
    });
    let next_seq = last.optional().map_err(fail)?.unwrap_or(0);
    // The same count in two places: where only one of them is damaged, a stream that lost its end does not pass for whole.
    if next_seq != tail.next_seq {
        let place = Place { stream: Some(id), block: None, record: Some(next_seq.min(tail.next_seq)) };
        return Err(Error::Corrupt { place, what: "the stream does not end where it should" });
    }
    Ok(Some(tail))
}

pub(crate) fn head(connection: &Connection, path: &Path, chain: &Chain) -> Result<Head, Error> {
    let fail = |error: rusqlite::Error| Error::database("read the end of the chain", path, &error);
    let mut statement = connection
        .prepare_cached("SELECT position, hash FROM blocks ORDER BY position DESC LIMIT 1")
        .map_err(fail)?;
    let last = statement.query_row([], |row| Ok(Head { position: natural(row.get(0)?), hash: row.get(1)? }));
    Ok(last.optional().map_err(fail)?.unwrap_or_else(|| chain.genesis()))
}

/// The fencing number that is valid for a run; 0 where nobody ever held it.
pub(crate) fn fence_of(connection: &Connection, path: &Path, run: StreamId) -> Result<u64, Error> {
    let fail = |error: rusqlite::Error| Error::database("read a lease", path, &error);
    let mut statement = connection.prepare_cached("SELECT fence FROM leases WHERE run = ?1").map_err(fail)?;
    Ok(statement.query_row([run.0], |row| row.get(0)).optional().map_err(fail)?.map_or(0, natural))
}
