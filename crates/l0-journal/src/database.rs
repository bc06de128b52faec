//! The SQLite file: opening it, putting batches into it, reading from it.

pub(crate) mod put;
pub(crate) mod removal;
pub(crate) mod schema;
pub(crate) mod verify;
pub(crate) mod view;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, OptionalExtension, ToSql, Transaction, TransactionBehavior, params};

use crate::chain::{Chain, Key};
use crate::database::put::{Batch, Outcome, Put};
use crate::database::view::{View, head};
use crate::disk::{Disk, Point, private};
use crate::fork::Counted;
use crate::rows::Value;
use crate::{Error, Place, StreamId};

/// How long one operation waits for another process before it is [`Error::Busy`].
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// One connection.
pub(crate) struct Database {
    // Closed before it is no longer counted.
    connection: Connection,
    _counted: Counted,
    pub(crate) path: PathBuf,
}

/// What a commit promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// It survives the process.
    Written,
    /// It survives a loss of power.
    Synced,
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
        // Where writing is possible it is allowed for: a connection that may not write leaves SQLite's companions behind.
        let access =
            if immutable { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let doing = "open the journal";
        let uri = uri(path, immutable).ok_or(Error::Invalid { what: "a journal's path is text" })?;
        let connection = Connection::open_with_flags(uri, flags);
        let connection = connection.map_err(|error| Error::database(doing, path, &error))?;
        let database = Self { connection, _counted: counted, path: path.to_path_buf() };
        database.connection.busy_timeout(BUSY_WAIT).map_err(|error| Error::database(doing, path, &error))?;
        database.connection.set_prepared_statement_cache_capacity(64);
        let forbidden = database.connection.pragma_update(None, "query_only", true);
        forbidden.map_err(|error| Error::database(doing, path, &error))?;
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

    /// Whether what is deleted from now on is overwritten, not merely forgotten.
    pub(crate) fn overwrite_deleted(&self, overwrite: bool) -> Result<(), Error> {
        self.connection
            .query_row(
                if overwrite { "PRAGMA secure_delete = ON" } else { "PRAGMA secure_delete = OFF" },
                [],
                |_| Ok(()),
            )
            .map_err(|error| Error::database("set up the journal", &self.path, &error))
    }
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
            b'%' | b'?' | b'#' | 0x80.. => write!(uri, "%{byte:02x}").ok()?,
            _ => uri.push(char::from(byte)),
        }
    }
    if immutable {
        uri.push_str("?immutable=1");
    }
    Some(uri)
}
