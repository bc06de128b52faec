//! The journal of L0.
mod archive;
mod block;
mod chain;
pub mod clock;
pub mod conformance;
mod database;
pub mod disk;
mod drain;
mod error;
pub mod faulty;
pub mod fork;
mod id;
mod journal;
mod lease;
mod memory;
mod owner;
pub mod payload;
mod reading;
mod record;
mod recovery;
mod removal;
mod rows;
mod schema;
mod segment;
mod shared;
mod signal;
mod spool;
mod store;
mod ticket;
mod verify;
mod wire;
mod writer;

pub use archive::Archive;
pub use block::Trouble;
pub use chain::{Head, Key};
pub use error::{Error, Place};
pub use id::StreamId;
pub use journal::{Drive, Journal, Options};
pub use lease::{Holding, Lease};
pub use memory::Memory;
pub use record::{
    Body, Chunk, Class, Content, Entry, Kind, Level, Record, Redaction, Removal, Stored, StreamInfo,
};
pub use recovery::Recovery;
pub use rows::{AttemptRow, Cursor, Filter, Page, Row, RunRow, SessionRow, StepRow};
pub use store::{
    Append, Before, Durability, Health, Removed, Selection, Store, Stream, StreamOptions,
};
pub use ticket::Ticket;
pub use verify::{Finding, Report};
