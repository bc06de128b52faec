//! The SQLite file: opening it, putting batches into it, reading from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension, ToSql, Transaction, TransactionBehavior, params};

use crate::block::{Block, Draft};
use crate::chain::{BlockFields, Chain, Hash, Head, Key, MARK_BYTES, body_hash, contents_hash};
use crate::disk::{Disk, Point, private};
use crate::fork::Counted;
use crate::record::Kind;
use crate::rows::{Cursor, Filter, Page, RowValues, Table, TableRow, Value};
use crate::segment::Opening;
use crate::{Error, Place, Record, Removal, StreamId, StreamInfo, schema};

/// How long one operation waits for another process before it is [`Error::Busy`].
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// One connection.
pub(crate) struct Database {
    // Closed before it is no longer counted.
    connection: Connection,
    _counted: Counted,
    pub(crate) path: PathBuf,
}

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

/// What a commit promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// It survives the process.
    Written,
    /// It survives a loss of power.
    Synced,
}

/// Where a stream ends in the database.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    no: i64,
    pub(crate) kind: Kind,
    pub(crate) opened_at_ms: u64,
    pub(crate) salt: Option<[u8; 16]>,
    pub(crate) removed: Option<Removal>,
    /// The number of the next block.
    number: u64,
    pub(crate) next_seq: u64,
    pub(crate) last_ns: u64,
}

impl Database {
    /// Opens the file for writing, creating it and its tables if need be. Only one process at a time may be in here.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        create_private(path)?;
        let mut database = Self::open_again(path)?;
        database.migrate()?;
        Ok(database)
    }

    /// Opens the file once more. It must not be touched in any other way: closing any handle to it would end the locks of
    /// every connection of this process.
    pub(crate) fn open_again(path: &Path) -> Result<Self, Error> {
        let counted = Counted::new()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags);
        let connection = connection.map_err(|error| Error::database("open the journal", path, &error))?;
        let database = Self { connection, _counted: counted, path: path.to_path_buf() };
        database.configure()?;
        Ok(database)
    }

    /// Opens the file for reading alone, even where nothing may be written beside it.
    pub(crate) fn open_read_only(path: &Path) -> Result<Self, Error> {
        if !path.is_file() {
            return Err(Error::io("open", path, &std::io::ErrorKind::NotFound.into()));
        }
        match Self::open_reading(path, false) {
            // A folder that cannot be written has no place for SQLite's shared memory. If there is no log either, the file
            // is all there is, and cannot change.
            Err(Error::Database { .. } | Error::ReadOnly { .. }) if !has_log(path) => {
                Self::open_reading(path, true)
            }
            result => result,
        }
    }

    fn open_reading(path: &Path, immutable: bool) -> Result<Self, Error> {
        let counted = Counted::new()?;
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let doing = "open the journal";
        let uri = uri(path, immutable).ok_or(Error::Invalid { what: "a journal's path is text" })?;
        let connection = Connection::open_with_flags(uri, flags);
        let connection = connection.map_err(|error| Error::database(doing, path, &error))?;
        let database = Self { connection, _counted: counted, path: path.to_path_buf() };
        database.connection.busy_timeout(BUSY_WAIT).map_err(|error| Error::database(doing, path, &error))?;
        database.connection.set_prepared_statement_cache_capacity(64);
        match database.version()? {
            Some(_) => Ok(database),
            None => Err(Error::NotAJournal { path: path.to_path_buf() }),
        }
    }

    /// Closes the connection without touching the log, so that closing costs nothing and another process may have the file.
    pub(crate) fn close_quietly(self) {
        use rusqlite::config::DbConfig;
        // Failing that, closing merges the log into the file: slower, and as right.
        let _: rusqlite::Result<bool> =
            self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    fn configure(&self) -> Result<(), Error> {
        let fail = |error: rusqlite::Error| Error::database("set up the journal", &self.path, &error);
        let connection = &self.connection;
        connection.busy_timeout(BUSY_WAIT).map_err(fail)?;
        connection.set_prepared_statement_cache_capacity(64);
        let fresh = self.version()?.is_none();
        if fresh {
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(fail)?;
        }
        let mode: String = connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
            .map_err(fail)?;
        if mode != "wal" {
            return Err(Error::Database {
                doing: "keep a write-ahead log",
                code: 0,
                message: "its file system does not offer shared memory".to_owned(),
            });
        }
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(fail)?;
        connection.pragma_update(None, "trusted_schema", false).map_err(fail)?;
        connection.pragma_update(None, "cell_size_check", true).map_err(fail)?;
        connection.pragma_update(None, "temp_store", "MEMORY").map_err(fail)?;
        // Larger than SQLite's 4 MB: fewer pauses while the log is merged, at 16 MB more on disk.
        connection.pragma_update(None, "wal_autocheckpoint", 4000).map_err(fail)
    }

    /// The schema number of the file; `None` where it is empty.
    fn version(&self) -> Result<Option<u32>, Error> {
        let fail = |error: rusqlite::Error| Error::database("read the schema", &self.path, &error);
        let number = |name: &str| -> Result<i64, Error> {
            self.connection.pragma_query_value(None, name, |row| row.get(0)).map_err(fail)
        };
        let (application, version) = (number("application_id")?, number("user_version")?);
        if application == i64::from(schema::APPLICATION_ID) {
            let found = u32::try_from(version).unwrap_or(u32::MAX);
            let known = schema::version();
            return if found > known { Err(Error::Newer { found, known }) } else { Ok(Some(found)) };
        }
        let tables: i64 = self
            .connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(fail)?;
        if application == 0 && version == 0 && tables == 0 {
            Ok(None)
        } else {
            Err(Error::NotAJournal { path: self.path.clone() })
        }
    }

    fn migrate(&mut self) -> Result<(), Error> {
        let from = self.version()?.unwrap_or(0);
        if from == schema::version() {
            return Ok(());
        }
        let path = self.path.clone();
        let fail = |error: rusqlite::Error| Error::database("migrate the schema", &path, &error);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Exclusive).map_err(fail)?;
        for migration in schema::MIGRATIONS.iter().skip(usize::try_from(from).unwrap_or(usize::MAX)) {
            transaction.execute_batch(migration).map_err(fail)?;
        }
        transaction.pragma_update(None, "application_id", schema::APPLICATION_ID).map_err(fail)?;
        transaction.pragma_update(None, "user_version", schema::version()).map_err(fail)?;
        transaction.commit().map_err(fail)
    }

    /// The functions of this journal's chain. A new journal gets its id here, and with that its key.
    pub(crate) fn begin(&mut self, key: Option<&Key>, points: &dyn Disk) -> Result<Chain, Error> {
        if self.meta("id")?.is_none() {
            let id = StreamId::random()?;
            let check = *Chain::new(key, &id.0).check();
            let keyed: &[u8] = if key.is_some() { b"keyed" } else { b"plain" };
            let path = self.path.clone();
            self.transact(Promise::Synced, points, |transaction| {
                let sql = "INSERT INTO meta VALUES ('id', ?1), ('check', ?2), ('chain', ?3), ('syncs', x'')";
                let inserted = transaction.execute(sql, params![id.0, check, keyed]);
                inserted.map(|_| ()).map_err(|error| Error::database("begin the journal", &path, &error))
            })?;
        }
        self.chain(key)
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let fail = |error: rusqlite::Error| Error::database("read the journal's id", &self.path, &error);
        let mut statement =
            self.connection.prepare_cached("SELECT value FROM meta WHERE name = ?1").map_err(fail)?;
        statement.query_row([name], |row| row.get(0)).optional().map_err(fail)
    }

    /// The functions of this journal's chain, checked against the key it was created with.
    pub(crate) fn chain(&self, key: Option<&Key>) -> Result<Chain, Error> {
        let damaged = || Error::Corrupt { place: Place::default(), what: "the journal's own id is missing" };
        let id = self.meta("id")?.and_then(|id| id.try_into().ok()).ok_or_else(damaged)?;
        let chain = Chain::new(key, &id);
        if self.meta("check")?.as_deref() == Some(chain.check()) {
            return Ok(chain);
        }
        let what = match (key, self.meta("chain")?.as_deref()) {
            (None, Some(b"keyed")) => "this journal is keyed: give its key",
            (Some(_), Some(b"plain")) => "this journal has no key: open it without one",
            _ => "this is not the key of this journal",
        };
        Err(Error::Key { what })
    }

    /// Puts a batch in.
    pub(crate) fn commit(
        &mut self,
        chain: &Chain,
        batch: &Batch,
        promise: Promise,
        points: &dyn Disk,
    ) -> Result<Outcome, Error> {
        let path = self.path.clone();
        self.transact(promise, points, |transaction| {
            let mut put = Put { transaction, path: &path, chain, head: head(transaction, &path, chain)? };
            put.batch(batch)
        })
    }

    /// Makes what was committed so far survive a loss of power.
    pub(crate) fn sync(&mut self, points: &dyn Disk) -> Result<(), Error> {
        let path = self.path.clone();
        self.transact(Promise::Synced, points, |transaction| {
            // Only a commit that changes something reaches the disk.
            let result = transaction
                .execute("UPDATE meta SET value = randomblob(4) WHERE name = 'syncs'", [])
                .map(|_| ());
            result.map_err(|error| Error::database("sync", &path, &error))
        })
    }

    /// Runs `work` in a transaction that nobody else can write beside.
    pub(crate) fn transact<T>(
        &mut self,
        promise: Promise,
        points: &dyn Disk,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let path = self.path.clone();
        let fail = |error: rusqlite::Error| Error::database("write", &path, &error);
        let point = |point: Point| points.point(point).map_err(|error| Error::io("write", &path, &error));
        if promise == Promise::Synced {
            self.connection.pragma_update(None, "synchronous", "FULL").map_err(fail)?;
        }
        let result: Result<T, Error> = (|| {
            point(Point::Begin)?;
            let transaction =
                self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
            let done = work(&transaction)?;
            point(Point::Commit)?;
            transaction.commit().map_err(fail)?;
            Ok(done)
        })();
        if promise == Promise::Synced {
            // Left at FULL it would only be slower.
            let _: rusqlite::Result<()> = self.connection.pragma_update(None, "synchronous", "NORMAL");
        }
        let done = result?;
        point(if promise == Promise::Synced { Point::Synced } else { Point::Committed })?;
        Ok(done)
    }

    /// Runs `work` on one unchanging view of the journal.
    pub(crate) fn view<T>(&mut self, work: impl FnOnce(&View<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let path = self.path.clone();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .map_err(|error| Error::database("read", &path, &error))?;
        work(&View { connection: &transaction, path: &path })
    }

    /// Gives the pages that removals freed back to the file system, and forgets their old content.
    pub(crate) fn shrink(&mut self) -> Result<(), Error> {
        let fail = |error: rusqlite::Error| Error::database("shrink", &self.path, &error);
        let mut vacuum = self.connection.prepare("PRAGMA incremental_vacuum").map_err(fail)?;
        let mut rows = vacuum.query([]).map_err(fail)?;
        while rows.next().map_err(fail)?.is_some() {}
        drop(rows);
        drop(vacuum);
        // A reader may be in the way; the log is then cut the next time.
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(fail)
    }

    /// From now on what is deleted is overwritten, not merely forgotten.
    pub(crate) fn overwrite_deleted(&self) -> Result<(), Error> {
        self.connection
            .query_row("PRAGMA secure_delete = ON", [], |_| Ok(()))
            .map_err(|error| Error::database("set up the journal", &self.path, &error))
    }
}

/// Puts blocks and rows into one transaction.
pub(crate) struct Put<'a> {
    pub(crate) transaction: &'a Transaction<'a>,
    pub(crate) path: &'a Path,
    pub(crate) chain: &'a Chain,
    pub(crate) head: Head,
}

impl Put<'_> {
    fn batch(&mut self, batch: &Batch) -> Result<Outcome, Error> {
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
            None => match tail(self.transaction, self.path, id)? {
                Some(tail) => tail,
                None => self.stream(opening)?,
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
        let Some(table) = Table::numbered(row.table) else { return Ok(()) };
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
        let Some(tail) = self.tail(id)? else { return Ok(Vec::new()) };
        let mut records = Vec::new();
        let mut number = self.block_with(&tail, from)?;
        while records.len() < limit
            && let Some(block) = self.block_of(&tail, id, number)?
        {
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
        failure.map_or(Ok(()), Err).and(read.ok_or(damaged))
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

fn tail(connection: &Connection, path: &Path, id: StreamId) -> Result<Option<Tail>, Error> {
    let fail = |error: rusqlite::Error| Error::database("find a stream", path, &error);
    let mut statement = connection
        .prepare_cached("SELECT no, kind, opened_at_ms, salt, removed FROM streams WHERE id = ?1")
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
            next_seq: 0,
            last_ns: 0,
        })
    });
    let Some(tail) = found.optional().map_err(fail)? else { return Ok(None) };
    let mut statement = connection
        .prepare_cached(
            "SELECT number, first_seq, records, last_ns FROM blocks WHERE stream = ?1 ORDER BY number DESC LIMIT 1",
        )
        .map_err(fail)?;
    let last = statement.query_row([tail.no], |row| {
        Ok(Tail {
            number: natural(row.get(0)?).saturating_add(1),
            next_seq: natural(row.get(1)?).saturating_add(natural(row.get(2)?)),
            last_ns: row.get::<_, i64>(3)?.cast_unsigned(),
            ..tail.clone()
        })
    });
    Ok(Some(last.optional().map_err(fail)?.unwrap_or(tail)))
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

/// A count as SQLite stores it. Counts stay far below its end.
pub(crate) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A count as SQLite stored it; a negative one is damage, and no hash matches what comes of it.
pub(crate) fn natural(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// A time on a stream's own clock may be any number, and comes back as the same one.
const fn time(ns: u64) -> i64 {
    ns.cast_signed()
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn value_from(value: ValueRef<'_>) -> Option<Value> {
    match value {
        ValueRef::Null | ValueRef::Real(_) => None,
        ValueRef::Integer(number) => Some(Value::Integer(number)),
        ValueRef::Text(text) => Some(Value::Text(String::from_utf8_lossy(text).into_owned())),
        ValueRef::Blob(bytes) => Some(Value::Blob(bytes.to_vec())),
    }
}

/// Creates the file for this user alone, or makes it so. SQLite gives its companions the same permissions.
fn create_private(path: &Path) -> Result<(), Error> {
    let open = |options: &mut std::fs::OpenOptions| options.read(true).write(true).open(path);
    let file = open(private(std::fs::OpenOptions::new().create(true)).truncate(false));
    let file = file.map_err(|error| Error::io("open", path, &error))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let fail = |error: std::io::Error| Error::io("restrict the permissions of", path, &error);
        let mode = file.metadata().map_err(fail)?.permissions().mode();
        if mode & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
        }
    }
    Ok(())
}

/// Whether there is a write-ahead log with something in it.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|metadata| metadata.len() > 0)
}

/// A file URI, with everything escaped that means something in one.
fn uri(path: &Path, immutable: bool) -> Option<String> {
    let mut uri = "file:".to_owned();
    for byte in path.to_str()?.bytes() {
        match byte {
            b'%' | b'?' | b'#' => uri.push_str(&format!("%{byte:02x}")),
            _ if byte.is_ascii() => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str(if immutable { "?immutable=1" } else { "?mode=ro" });
    Some(uri)
}
