//! The journal on disk: a spool that every append reaches, a database that takes what the spool holds, threads between.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::chain::{Head, Key};
use crate::clock::{Clock, SystemClock};
use crate::database::verify::Report;
use crate::disk::{Disk, OsDisk};
use crate::lease::Lease;
use crate::shared::reading::Reading;
use crate::shared::writer::Writer;
use crate::shared::{Shared, real_path};
use crate::spool::recovery::Recovery;
use crate::store::{Durability, Health, Removed, Selection, Store, Stream, StreamOptions};
use crate::{
    AttemptRow, Error, Filter, Page, Record, Removal, Row, RunRow, SessionRow, StepRow, StreamId, StreamInfo,
    Ticket, fork,
};

/// How a journal is opened. What the first opener in a process says holds for all, but for the durability.
#[derive(Clone)]
pub struct Options {
    /// What the records survive.
    pub durability: Durability,
    /// The secret that makes the chain unforgeable. A journal created with one can only be opened with it.
    pub key: Option<Key>,
    /// How long appends are gathered before the database takes them together: so late other processes see them.
    pub linger: Duration,
    /// The term of a lease between hosts.
    pub lease_term: Duration,
    /// What tells this host from others that share the journal; found out where not given.
    pub host: Option<String>,
    /// Who does what happens in the background.
    pub drive: Drive,
    /// Where the spool is kept. The database always uses the file system of this machine.
    pub disk: Arc<dyn Disk>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            key: None,
            linger: Duration::from_secs(1),
            lease_term: Duration::from_secs(30),
            host: None,
            drive: Drive::Threads,
            disk: Arc::new(OsDisk),
            clock: Arc::new(SystemClock::default()),
        }
    }
}

/// Who does what happens in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drive {
    /// Threads of the journal.
    #[default]
    Threads,
    /// The caller, in [`Store::flush`], [`Store::sync`], [`Journal::beat`] and [`Journal::tidy`]: for simulations that repeat exactly.
    Caller,
}

/// A journal on disk. Clones are the same journal, and so is what any part of the process opens under the same file.
///
/// The file may be opened by many processes at once. Besides it there are SQLite's `-wal` and `-shm` and a folder `-spool`.
/// Never open the file of a journal that is in use with anything but SQLite: closing it would end SQLite's locks.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    durability: Durability,
}

impl Journal {
    /// Opens a journal, creating it if need be, and takes in what dead processes left.
    ///
    /// # Errors
    /// [`Error::NotAJournal`], [`Error::Newer`] and [`Error::Key`] for a file that is not ours to open;
    /// [`Error::ReadOnly`] where [`Archive::open`] still can.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let path = real_path(path.as_ref())?;
        let mut open_here = fork::open_here();
        let journals = &mut open_here.journals;
        journals.retain(|journal| journal.strong_count() > 0);
        let open = journals.iter().filter_map(Weak::upgrade).find(|journal| journal.is_at(&path));
        let shared = if let Some(shared) = open {
            shared.same_key(options.key.as_ref())?;
            shared
        } else {
            let shared = Shared::open(path, options)?;
            journals.push(Arc::downgrade(&shared));
            shared
        };
        Ok(Self { shared, durability: options.durability })
    }

    /// What was found and taken in when the journal was opened in this process.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        self.shared.recovery()
    }

    /// Takes in what processes that died meanwhile left. Opening does it, and so does taking the lease of a dead holder.
    ///
    /// # Errors
    /// Why the spools could not be looked at; what could not be taken in of one of them is in the report.
    pub fn recover(&self) -> Result<Recovery, Error> {
        self.shared.open_now()?;
        self.shared.recover()
    }

    /// Says that the holder of this process's leases lives; the background does it otherwise.
    ///
    /// # Errors
    /// The first beat that could not be stored, after trying them all.
    pub fn beat(&self) -> Result<(), Error> {
        self.shared.open_now()?;
        self.shared.beat()
    }

    /// Removes the spool files that only hold what the database has; the background does it otherwise.
    ///
    /// # Errors
    /// Why the database could not be synced, where somebody was promised that, or a file not removed.
    pub fn tidy(&self) -> Result<(), Error> {
        self.shared.open_now()?;
        self.shared.tidy()
    }

    /// Flushes and lets go of every file. Handles that are left answer [`Error::Closed`]; it can be opened again.
    ///
    /// # Errors
    /// Why the database does not take what was appended; it is taken in when the journal is opened next.
    pub fn close(&self) -> Result<(), Error> {
        self.shared.open_now()?;
        fork::open_here().journals.retain(|journal| journal.as_ptr() != Arc::as_ptr(&self.shared));
        self.shared.close()
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.reading.path
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("path", &self.path())
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}

impl Store for Journal {
    fn stream(&self, id: StreamId, options: &StreamOptions) -> Result<Stream, Error> {
        self.shared.open_now()?;
        if id == StreamId::JOURNAL {
            return Err(Error::Invalid { what: "the journal's own stream is written by the journal alone" });
        }
        let state = self.shared.stream(id, options)?;
        let recorded = self.durability != Durability::Off;
        Ok(Stream::new(id, Arc::new(Writer::new(Arc::clone(&self.shared), state, recorded))))
    }

    fn put(&self, row: &Row) -> Result<(), Error> {
        self.shared.open_now()?;
        let values = row.values()?;
        if self.durability == Durability::Off {
            return Ok(());
        }
        self.shared.make_room()?;
        self.shared.append(|frames, _| frames.row(|out| values.put(out))).map(|_| ())
    }

    fn flush(&self) -> Result<(), Error> {
        self.shared.open_now()?;
        self.shared.drain()
    }

    fn sync(&self) -> Ticket {
        match self.shared.open_now() {
            Ok(()) => self.shared.sync(),
            Err(error) => Ticket::done(Err(error)),
        }
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    fn load(&self, stream: StreamId, from: u64, limit: usize) -> Result<Vec<Record>, Error> {
        self.fresh()?.load(stream, from, limit)
    }

    fn info(&self, stream: StreamId) -> Result<Option<StreamInfo>, Error> {
        self.fresh()?.info(stream)
    }

    fn matches(&self, stream: StreamId, hash: [u8; 16], content: &[u8]) -> Result<bool, Error> {
        self.fresh()?.matches(stream, hash, content)
    }

    fn runs(&self, filter: &Filter) -> Result<Page<RunRow>, Error> {
        self.fresh()?.list(filter)
    }

    fn steps(&self, filter: &Filter) -> Result<Page<StepRow>, Error> {
        self.fresh()?.list(filter)
    }

    fn sessions(&self, filter: &Filter) -> Result<Page<SessionRow>, Error> {
        self.fresh()?.list(filter)
    }

    fn attempts(&self, session: StreamId) -> Result<Vec<AttemptRow>, Error> {
        self.fresh()?.rows_of(session)
    }

    fn lease(&self, run: StreamId, wait: Duration) -> Result<Lease, Error> {
        self.shared.open_now()?;
        let held = self.shared.lease(run, wait)?;
        Ok(Lease::new(held, Arc::clone(&self.shared) as _))
    }

    fn head(&self) -> Result<Head, Error> {
        self.fresh()?.head()
    }

    fn verify(&self, noted: Option<Head>) -> Result<Report, Error> {
        self.fresh()?.verify(noted)
    }

    fn remove(&self, what: &Selection, how: Removal) -> Result<Removed, Error> {
        self.shared.open_now()?;
        self.shared.remove(what, how)
    }

    fn health(&self) -> Health {
        self.shared.health()
    }
}

impl Journal {
    /// The reading side, once it shows everything this process has appended.
    fn fresh(&self) -> Result<&Reading, Error> {
        self.shared.open_now()?;
        if self.shared.behind() > 0 {
            self.shared.drain()?;
        }
        Ok(&self.shared.reading)
    }
}
