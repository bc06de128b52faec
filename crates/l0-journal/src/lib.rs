//! The journal of L0: what happened is written down as it happens, survives a crash, and can be proven whole.
//!
//! A journal is a set of append-only *streams* of *records*, one stream for each run, step and session, plus rows to find
//! them by and leases to work on them. [`Journal`] keeps them on disk, [`Memory`] in memory, [`Archive`] reads what another
//! keeps; all three are a [`Store`].
//!
//! ```
//! use l0_journal::{Before, Chunk, Class, Journal, Kind, Options, Store, StreamId, StreamOptions};
//!
//! # fn main() -> Result<(), l0_journal::Error> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("l0.db");
//! let journal = Journal::open(&path, &Options::default())?;
//! let session = journal.stream(StreamId::random()?, &StreamOptions::new(Kind::Session))?;
//! let started = journal.barrier(Before::SideEffect); // runs while the provider opens
//! for (at_ns, text) in [(1_000, "Hello"), (2_000, " world")] {
//!     let class = Class::Completion;
//!     session.chunk(&Chunk { at_ns, attempt: 1, signal: 0, class, text, object: None })?;
//!     // From here on the chunk survives the death of the process, and may be shown.
//! }
//! started.wait()?;
//! assert_eq!(journal.load(session.id(), 0, 10)?.len(), 2);
//! assert!(journal.verify(None)?.is_sound());
//! # Ok(())
//! # }
//! ```
//!
//! # How a record travels
//!
//! ```text
//! Stream::chunk ─encode─▶ spool (a copy into a mapped file) ─▶ returns: survives the process
//!                            │
//!                            ├─ Store::sync ─▶ fdatasync, one for all who wait: survives a loss of power
//!                            │
//!                            └─ writer thread, once a second or when much waits
//!                                 └─▶ blocks, chained ─▶ one SQLite transaction ─▶ spool file removed
//! ```
//!
//! The spool is a file of its process alone; who dies leaves it behind, locked by nobody, and the next process to open the
//! journal takes it in. Taking in twice is harmless, because every record has its place in its stream.
//!
//! # The rooms
//!
//! `record` is the bytes of one record, `block` and `chain` what makes a run of them evident, `spool` the files that outlive
//! a process, `database` the SQLite file, `shared` what the handles of one journal share, `disk` the file operations under
//! the spool, which [`faulty`] simulates, `mapped` the memory that the end of a spool file is; `recorder` writes an engine's
//! session down. `docs/journal-schema.md` describes the tables.

mod archive;
mod block;
mod chain;
pub mod clock;
pub mod conformance;
mod database;
pub mod disk;
mod error;
pub mod faulty;
pub mod fork;
mod id;
mod journal;
mod lease;
#[cfg(target_os = "linux")]
mod mapped;
mod memory;
pub mod payload;
mod record;
mod recorder;
mod rows;
pub mod session;
mod shared;
mod spool;
mod store;
mod ticket;

pub use archive::Archive;
pub use block::Trouble;
pub use chain::{Head, Key};
pub use database::verify::{Finding, Report};
pub use error::{Error, Place};
pub use id::StreamId;
pub use journal::{Drive, Journal, Options};
pub use lease::{Holding, Lease};
pub use memory::Memory;
pub use record::{
    Body, Chunk, Class, Content, Entry, Kind, Level, Record, Redaction, Removal, Stored, StreamInfo,
};
pub use recorder::Recorder;
pub use rows::{AttemptRow, Cursor, Filter, Page, Row, RunRow, SessionRow, StepRow};
pub use spool::recovery::Recovery;
pub use store::{Append, Before, Durability, Health, Removed, Selection, Store, Stream, StreamOptions};
pub use ticket::Ticket;
