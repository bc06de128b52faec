//! What every journal can do, wherever it keeps what it is told.

use std::sync::Arc;
use std::time::Duration;

use crate::database::verify::Report;
use crate::lease::{Holding, Lease};
use crate::{
    AttemptRow, Chunk, Entry, Error, Filter, Head, Kind, Page, Record, Redaction, Removal, Row, RunRow,
    SessionRow, StepRow, StreamId, StreamInfo, Ticket,
};

/// A journal: append-only streams of records, rows to find them by, leases to work on them, and proof that they are whole.
///
/// Everything takes `&self` and may be called from any thread. [`crate::conformance`] says in tests what each method owes.
pub trait Store: Send + Sync {
    /// Opens a stream to append to it, creating it if need be. Every handle of one process appends to the same stream.
    ///
    /// # Errors
    /// [`Error::Removed`] where retention took its records, or why the journal cannot be used.
    fn stream(&self, id: StreamId, options: &StreamOptions) -> Result<Stream, Error>;

    /// Writes a row, or the columns of it that are known by now.
    ///
    /// # Errors
    /// Why it could not be written.
    fn put(&self, row: &Row) -> Result<(), Error>;

    /// Waits until everything appended so far can be read by every process.
    ///
    /// # Errors
    /// Why the database does not take it. It is tried again later, and survives the process meanwhile.
    fn flush(&self) -> Result<(), Error>;

    /// Has everything appended so far written to the disk itself. The ticket need not be waited for.
    fn sync(&self) -> Ticket;

    /// What [`Durability`] asks for before something that depends on the records so far: a sync, or nothing.
    fn barrier(&self, before: Before) -> Ticket {
        if self.durability().syncs(before) { self.sync() } else { Ticket::done(Ok(())) }
    }

    /// How much the records of this journal survive.
    fn durability(&self) -> Durability;

    /// The records of a stream from `from` on, at most `limit`, in order. A stream nobody wrote has none.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where they are not what was written, [`Error::Removed`] where retention took them.
    fn load(&self, stream: StreamId, from: u64, limit: usize) -> Result<Vec<Record>, Error>;

    /// What is known of a stream without reading its records.
    ///
    /// # Errors
    /// Why the journal cannot be read.
    fn info(&self, stream: StreamId) -> Result<Option<StreamInfo>, Error>;

    /// Whether `content` is what stood where a record now has only `hash`.
    ///
    /// # Errors
    /// Why the journal cannot be read. After an erasure nothing matches any more.
    fn matches(&self, stream: StreamId, hash: [u8; 16], content: &[u8]) -> Result<bool, Error>;

    /// Runs, the latest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter on a column that runs do not have.
    fn runs(&self, filter: &Filter) -> Result<Page<RunRow>, Error>;

    /// Steps, the latest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter on a column that steps do not have.
    fn steps(&self, filter: &Filter) -> Result<Page<StepRow>, Error>;

    /// Sessions, the latest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a filter on a column that sessions do not have.
    fn sessions(&self, filter: &Filter) -> Result<Page<SessionRow>, Error>;

    /// The attempts of a session, in order.
    ///
    /// # Errors
    /// Why the journal cannot be read.
    fn attempts(&self, session: StreamId) -> Result<Vec<AttemptRow>, Error>;

    /// Takes the right to work on a run, waiting at most so long for its holder.
    ///
    /// # Errors
    /// [`Error::Held`] where somebody else has it.
    fn lease(&self, run: StreamId, wait: Duration) -> Result<Lease, Error>;

    /// The end of the chain now: note it elsewhere.
    ///
    /// # Errors
    /// Why the journal cannot be read.
    fn head(&self) -> Result<Head, Error>;

    /// Looks at every block and says what is not as it was written. With a noted head, also whether that was on the way.
    ///
    /// # Errors
    /// Why the journal cannot be read at all; damage is in the report.
    fn verify(&self, noted: Option<Head>) -> Result<Report, Error>;

    /// Removes content or records for good. What is left still verifies.
    ///
    /// # Errors
    /// Why it could not be done; what was done before stays done.
    fn remove(&self, what: &Selection, how: Removal) -> Result<Removed, Error>;

    /// How the journal is.
    fn health(&self) -> Health;
}

/// How a stream is opened.
#[derive(Clone)]
pub struct StreamOptions {
    /// What it is the record of. A stream that exists keeps what it is.
    pub kind: Kind,
    /// Whose it is, for [`Selection::Tenant`].
    pub tenant: Option<String>,
    /// For whom it is, for [`Selection::User`].
    pub user: Option<String>,
    /// How much of its content is kept.
    pub redaction: Redaction,
    /// The lease without which nothing is written: see [`Self::under`].
    pub lease: Option<Holding>,
}

impl StreamOptions {
    /// A stream of this kind, with all of its content.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self { kind, tenant: None, user: None, redaction: Redaction::default(), lease: None }
    }

    /// Lets nothing be written once the lease is somebody else's.
    #[must_use]
    pub fn under(mut self, lease: &Lease) -> Self {
        self.lease = Some(lease.holding());
        self
    }
}

/// Where the records of a stream go.
pub trait Append: Send + Sync {
    /// Appends one chunk and returns its sequence number.
    ///
    /// # Errors
    /// Why it is not recorded; after most failures nothing more is recorded in this stream.
    fn chunk(&self, chunk: &Chunk<'_>) -> Result<u64, Error>;

    /// Appends one record of the writer's own kinds and returns its sequence number.
    ///
    /// # Errors
    /// Why it is not recorded; after most failures nothing more is recorded in this stream.
    fn entry(&self, entry: &Entry<'_>) -> Result<u64, Error>;

    /// The sequence number of the next record.
    ///
    /// # Errors
    /// [`Error::Forked`] in a child of the process that opened the journal.
    fn next_seq(&self) -> Result<u64, Error>;
}

/// An open stream. Clones append to the same one.
#[derive(Clone)]
pub struct Stream {
    id: StreamId,
    to: Arc<dyn Append>,
}

impl Stream {
    /// A stream whose records go `to` a store of one's own.
    pub fn new(id: StreamId, to: Arc<dyn Append>) -> Self {
        Self { id, to }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// Appends one chunk and returns its sequence number, once the record survives the death of the process.
    ///
    /// # Errors
    /// Why it is not recorded. The first failure makes the stream [`Error::Lost`]: a record with a hole would replay as
    /// something that never happened. Opening the stream again lets it go on.
    #[inline]
    pub fn chunk(&self, chunk: &Chunk<'_>) -> Result<u64, Error> {
        self.to.chunk(chunk)
    }

    /// Appends one record of the writer's own kinds and returns its sequence number, once it survives the process.
    ///
    /// # Errors
    /// As [`Self::chunk`].
    pub fn entry(&self, entry: &Entry<'_>) -> Result<u64, Error> {
        self.to.entry(entry)
    }

    /// The sequence number of the next record: how many there are.
    ///
    /// # Errors
    /// [`Error::Forked`] in a child of the process that opened the journal.
    pub fn next_seq(&self) -> Result<u64, Error> {
        self.to.next_seq()
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stream").field(&self.id).finish()
    }
}

/// What records survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Durability {
    /// Nothing is recorded.
    Off,
    /// The death of the process.
    Fast,
    /// Besides, a loss of power, as far as a side effect depends on them.
    #[default]
    Safe,
    /// Besides, a loss of power, as far as anybody has seen anything of them.
    Paranoid,
}

impl Durability {
    const fn syncs(self, before: Before) -> bool {
        match self {
            Self::Off | Self::Fast => false,
            Self::Safe => matches!(before, Before::SideEffect),
            Self::Paranoid => true,
        }
    }
}

/// What is about to happen that depends on the records so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Something outside changes: a request is sent, a tool is called.
    SideEffect,
    /// A consumer is given something.
    Release,
}

/// Which streams are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These.
    Streams(Vec<StreamId>),
    /// All of a tenant.
    Tenant(String),
    /// All for a user, whose name is removed with them.
    User(String),
    /// All that were opened before this time, in milliseconds since 1970.
    OpenedBefore(u64),
}

/// What a removal did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Streams from which something was removed.
    pub streams: u64,
    /// Blocks from which something was removed.
    pub blocks: u64,
    /// Bytes that are gone.
    pub bytes: u64,
}

/// How a journal is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Bytes that are appended and that the database has not taken yet.
    pub behind_bytes: u64,
    /// Why the database takes nothing, or what was found damaged; `None` while all is well.
    pub error: Option<Error>,
}
