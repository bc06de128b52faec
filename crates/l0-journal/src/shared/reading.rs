//! Reading a journal: the same for who writes it and who only looks.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::chain::{Chain, Head, Key};
use crate::database::Database;
use crate::database::verify::{self, Report};
use crate::database::view::View;
use crate::fork::process_id;
use crate::record::wire::content_hash;
use crate::rows::TableRow;
use crate::{Error, Filter, Page, Record, StreamId, StreamInfo};

/// A connection for reading, opened when it is needed.
pub(crate) struct Reading {
    process: u32,
    pub(crate) path: PathBuf,
    pub(crate) chain: Chain,
    database: Mutex<Option<Database>>,
}

impl Reading {
    /// Opens a journal for reading alone.
    pub(crate) fn open(path: &Path, key: Option<&Key>) -> Result<Self, Error> {
        let database = Database::open_read_only(path)?;
        let chain = database.chain(key)?;
        let reading = Self::new(path.to_path_buf(), chain);
        *reading.slot() = Some(database);
        Ok(reading)
    }

    /// Reads beside a connection for writing that already knows the chain.
    pub(crate) fn new(path: PathBuf, chain: Chain) -> Self {
        Self { process: process_id(), path, chain, database: Mutex::new(None) }
    }

    /// Whether this is still the process that opened the journal.
    #[inline]
    pub(crate) fn same_process(&self) -> Result<(), Error> {
        if process_id() == self.process { Ok(()) } else { Err(Error::Forked) }
    }

    pub(crate) fn view<T>(&self, work: impl FnOnce(&View<'_>) -> Result<T, Error>) -> Result<T, Error> {
        self.same_process()?;
        let mut slot = self.slot();
        let database = match &mut *slot {
            Some(database) => database,
            empty => empty.insert(Database::open_read_only(&self.path)?),
        };
        database.view(work)
    }

    pub(crate) fn load(&self, stream: StreamId, from: u64, limit: usize) -> Result<Vec<Record>, Error> {
        self.view(|view| view.records(&self.chain, stream, from, limit))
    }

    pub(crate) fn info(&self, stream: StreamId) -> Result<Option<StreamInfo>, Error> {
        self.view(|view| view.info(stream))
    }

    pub(crate) fn matches(&self, stream: StreamId, hash: [u8; 16], content: &[u8]) -> Result<bool, Error> {
        let salt = self.view(|view| Ok(view.tail(stream)?.and_then(|tail| tail.salt)))?;
        Ok(salt.is_some_and(|salt| content_hash(&salt, content) == hash))
    }

    pub(crate) fn list<T: TableRow>(&self, filter: &Filter) -> Result<Page<T>, Error> {
        self.view(|view| view.list(filter))
    }

    pub(crate) fn rows_of<T: TableRow>(&self, id: StreamId) -> Result<Vec<T>, Error> {
        self.view(|view| view.rows_of(id))
    }

    pub(crate) fn head(&self) -> Result<Head, Error> {
        self.view(|view| view.head(&self.chain))
    }

    pub(crate) fn verify(&self, noted: Option<Head>) -> Result<Report, Error> {
        self.view(|view| verify::verify(view, &self.chain, noted))
    }

    /// Closes the connection until it is needed again.
    pub(crate) fn close(&self) {
        if let Some(database) = self.slot().take() {
            database.close_quietly();
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if self.same_process().is_err() {
            // The parent's: SQLite must not even close it in a child.
            std::mem::forget(self.database.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// Takes what a mutex holds if nobody has it locked.
pub(crate) fn take_now<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    match slot.try_lock() {
        Ok(mut slot) => slot.take(),
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
        Err(TryLockError::WouldBlock) => None,
    }
}
