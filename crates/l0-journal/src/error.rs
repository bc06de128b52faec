//! What can go wrong with a journal, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::StreamId;

/// Why a journal could not do what it was asked.
///
/// Clonable, because one failed write answers everybody who waited for it. No message holds a prompt, an output or a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed for a reason without a variant of its own.
    #[error("cannot {doing} {}: {kind}", path.display())]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// The file it was attempted on.
        path: PathBuf,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// The operating system's own number, where it gave one.
        os: Option<i32>,
    },
    /// No space is left. What was acknowledged is kept; make room, and the journal goes on.
    #[error("the disk is full: cannot {doing} {}", path.display())]
    Full {
        /// What was attempted.
        doing: &'static str,
        /// The file it was attempted on.
        path: PathBuf,
    },
    /// The file or its folder may not be written. `Journal::open_read_only` reads it all the same.
    #[error("{} cannot be written: open it read-only, or change its permissions", path.display())]
    ReadOnly {
        /// The file that was to be written.
        path: PathBuf,
    },
    /// The database failed for a reason without a variant of its own.
    #[error("the database cannot {doing} (SQLite code {code}): {message}")]
    Database {
        /// What was attempted.
        doing: &'static str,
        /// SQLite's extended result code.
        code: i32,
        /// SQLite's description of that code.
        message: String,
    },
    /// Another process kept the database locked for too long. Nothing is lost; it is tried again.
    #[error("another process keeps the database busy: cannot {doing}")]
    Busy {
        /// What was attempted.
        doing: &'static str,
    },
    /// The file exists and is something else.
    #[error("{} is not an L0 journal", path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later version, and may hold what this one does not understand.
    #[error("the journal has schema {found}, this version knows up to {known}: update L0")]
    Newer {
        /// The schema number in the file.
        found: u32,
        /// The highest schema number known here.
        known: u32,
    },
    /// The journal's chain is keyed and the key is missing or another one, or the other way round.
    #[error("{what}")]
    Key {
        /// Which of these it is.
        what: &'static str,
    },
    /// What is stored is not what was written.
    #[error("the journal is damaged at {place}: {what}")]
    Corrupt {
        /// Where.
        place: Place,
        /// What is wrong there.
        what: &'static str,
    },
    /// The records were removed by retention; their hashes are still there.
    #[error("the records of stream {stream} were removed by retention")]
    Removed {
        /// The stream.
        stream: StreamId,
    },
    /// An earlier record of this stream could not be written, so that none may follow it.
    #[error("stream {stream} is lost since an earlier record: {because}")]
    Lost {
        /// The stream.
        stream: StreamId,
        /// The first failure.
        because: Box<Self>,
    },
    /// Somebody else wrote a different record at this place of the stream.
    #[error("stream {stream} was written by another process: record {seq} is already something else")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// The first record in dispute.
        seq: u64,
    },
    /// The lease was taken over by somebody with a higher fencing number; what this owner writes is refused.
    #[error("run {run} was taken over: this owner has fencing number {fence}, the present one {current}")]
    Fenced {
        /// The run.
        run: StreamId,
        /// The number this owner holds.
        fence: u64,
        /// The number that is valid now.
        current: u64,
    },
    /// The lease was given back; who goes on needs a new one.
    #[error("the lease of run {run} was given back")]
    Unleased {
        /// The run.
        run: StreamId,
    },
    /// Somebody else is working on the run.
    #[error("run {run} is held by another process on {host}: wait for it, or stop it")]
    Held {
        /// The run.
        run: StreamId,
        /// Where its holder runs.
        host: String,
    },
    /// Records arrive faster than the database takes them, or it takes none.
    #[error("{bytes} bytes of records wait for the database, and no more are taken")]
    Backlog {
        /// What waits.
        bytes: u64,
    },
    /// One record exceeds what a record may measure.
    #[error("a record of {bytes} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The process has forked since the journal was opened. Open it again in the child.
    #[error(
        "this journal was opened before a fork: open it again in the child, and announce forks with `fork::before`"
    )]
    Forked,
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
    /// The system has no randomness to give.
    #[error("the system gives no random bytes")]
    Random,
    /// An argument makes no sense.
    #[error("{what}")]
    Invalid {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A payload could not be encoded, or is not what the reader expects.
    #[error("cannot {doing} the payload of a record: {because}")]
    Payload {
        /// Encode or decode.
        doing: &'static str,
        /// The codec's reason; it quotes no content.
        because: String,
    },
}

/// A place in a journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// The stream, where it is known.
    pub stream: Option<StreamId>,
    /// The position of the block in the chain, from 1.
    pub block: Option<u64>,
    /// The sequence number of the record in its stream, from 0.
    pub record: Option<u64>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut said = false;
        let mut say = |f: &mut std::fmt::Formatter<'_>, what: &str, value: &dyn std::fmt::Display| {
            let comma = if std::mem::replace(&mut said, true) { ", " } else { "" };
            write!(f, "{comma}{what} {value}")
        };
        if let Some(stream) = self.stream {
            say(f, "stream", &stream)?;
        }
        if let Some(block) = self.block {
            say(f, "block", &block)?;
        }
        if let Some(record) = self.record {
            say(f, "record", &record)?;
        }
        if said { Ok(()) } else { f.write_str("an unknown place") }
    }
}

impl Error {
    /// The variant for a failed file operation.
    pub(crate) fn io(doing: &'static str, path: &Path, error: &io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { doing, path },
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly { path },
            kind => Self::Io { doing, path, kind, os: error.raw_os_error() },
        }
    }

    /// The variant for a failed database operation on the file at `path`.
    pub(crate) fn database(doing: &'static str, path: &Path, error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let code = error.sqlite_error().map_or(0, |error| error.extended_code);
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { doing, path: path.to_path_buf() },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::ReadOnly { path: path.to_path_buf() }
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { doing },
            Some(ErrorCode::NotADatabase) => Self::NotAJournal { path: path.to_path_buf() },
            Some(ErrorCode::DatabaseCorrupt) => {
                Self::Corrupt { place: Place::default(), what: "SQLite finds the file malformed" }
            }
            Some(_) => Self::Database { doing, code, message: rusqlite::ffi::code_to_str(code).to_owned() },
            // Everything else is a value that does not have the type its column promises: damage, since tables are strict.
            None => Self::Corrupt { place: Place::default(), what: "a column holds what it cannot hold" },
        }
    }

    /// Whether trying again later, with nothing changed but the world, can succeed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Full { .. }
                | Self::Busy { .. }
                | Self::Backlog { .. }
                | Self::Held { .. }
                | Self::Io { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_what_it_knows() {
        let place = Place { stream: None, block: Some(3), record: Some(7) };
        assert_eq!(place.to_string(), "block 3, record 7");
        assert_eq!(Place::default().to_string(), "an unknown place");
    }

    #[test]
    fn a_full_disk_and_a_read_only_one_are_told_apart() {
        let path = Path::new("x");
        let full = Error::io("write", path, &io::ErrorKind::StorageFull.into());
        assert!(matches!(full, Error::Full { .. }) && full.is_transient());
        let read_only = Error::io("write", path, &io::ErrorKind::ReadOnlyFilesystem.into());
        assert!(matches!(read_only, Error::ReadOnly { .. }) && !read_only.is_transient());
    }
}
