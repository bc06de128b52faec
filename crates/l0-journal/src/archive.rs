//! A journal that is only looked at.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::chain::{Head, Key};
use crate::database::verify::Report;
use crate::lease::Lease;
use crate::shared::reading::Reading;
use crate::shared::real_path;
use crate::store::{Durability, Health, Removed, Selection, Store, Stream, StreamOptions};
use crate::{
    AttemptRow, Error, Filter, Page, Record, Removal, Row, RunRow, SessionRow, StepRow, StreamId, StreamInfo,
    Ticket, fork,
};

/// A journal opened for reading alone: nothing is created, locked or taken in, and the disk may be read-only.
///
/// What processes have appended and their databases have not taken yet is not seen.
pub struct Archive {
    reading: Arc<Reading>,
}

impl Archive {
    /// Opens a journal that exists.
    ///
    /// # Errors
    /// [`Error::NotAJournal`], [`Error::Newer`] or [`Error::Key`] for a file that is not ours to open.
    pub fn open(path: impl AsRef<Path>, key: Option<&Key>) -> Result<Self, Error> {
        let mut open_here = fork::open_here();
        let reading = Arc::new(Reading::open(&real_path(path.as_ref())?, key)?);
        open_here.archives.retain(|archive| archive.strong_count() > 0);
        open_here.archives.push(Arc::downgrade(&reading));
        Ok(Self { reading })
    }

    fn read_only(&self) -> Error {
        Error::ReadOnly { path: self.reading.path.clone() }
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("path", &self.reading.path).finish()
    }
}

impl Store for Archive {
    fn stream(&self, _: StreamId, _: &StreamOptions) -> Result<Stream, Error> {
        Err(self.read_only())
    }

    fn put(&self, _: &Row) -> Result<(), Error> {
        Err(self.read_only())
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    fn sync(&self) -> Ticket {
        Ticket::done(Ok(()))
    }

    fn durability(&self) -> Durability {
        Durability::Off
    }

    fn load(&self, stream: StreamId, from: u64, limit: usize) -> Result<Vec<Record>, Error> {
        self.reading.load(stream, from, limit)
    }

    fn info(&self, stream: StreamId) -> Result<Option<StreamInfo>, Error> {
        self.reading.info(stream)
    }

    fn matches(&self, stream: StreamId, hash: [u8; 16], content: &[u8]) -> Result<bool, Error> {
        self.reading.matches(stream, hash, content)
    }

    fn runs(&self, filter: &Filter) -> Result<Page<RunRow>, Error> {
        self.reading.list(filter)
    }

    fn steps(&self, filter: &Filter) -> Result<Page<StepRow>, Error> {
        self.reading.list(filter)
    }

    fn sessions(&self, filter: &Filter) -> Result<Page<SessionRow>, Error> {
        self.reading.list(filter)
    }

    fn attempts(&self, session: StreamId) -> Result<Vec<AttemptRow>, Error> {
        self.reading.rows_of(session)
    }

    fn lease(&self, _: StreamId, _: Duration) -> Result<Lease, Error> {
        Err(self.read_only())
    }

    fn head(&self) -> Result<Head, Error> {
        self.reading.head()
    }

    fn verify(&self, noted: Option<Head>) -> Result<Report, Error> {
        self.reading.verify(noted)
    }

    fn remove(&self, _: &Selection, _: Removal) -> Result<Removed, Error> {
        Err(self.read_only())
    }

    fn health(&self) -> Health {
        Health::default()
    }
}
