//! Appending to one stream of a journal on disk.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::lease::Held;
use crate::record::wire::{Context, put_chunk, put_entry};
use crate::shared::Shared;
use crate::spool::segment::Opening;
use crate::store::{Append, StreamOptions};
use crate::{Chunk, Entry, Error, Redaction, StreamId};

/// One handle to a stream.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    state: Arc<StreamState>,
    /// Whether anything is recorded at all.
    recorded: bool,
    /// How many records were not.
    dropped: AtomicU64,
}

/// What all handles to one stream in one process share.
pub(crate) struct StreamState {
    id: StreamId,
    inner: Mutex<Inner>,
    /// How much the spool had taken in all when the stream's last record was appended.
    appended_until: AtomicU64,
    /// Set by whoever finds out that the database refuses the stream; not under the lock of its writer, who may wait for it.
    refused: AtomicBool,
    reason: Mutex<Option<Error>>,
}

struct Inner {
    /// What later frames leave out, as of the next record.
    opening: Opening,
    /// The segment in which that was written.
    opened_in: Option<u64>,
    redaction: Redaction,
    lease: Option<Arc<Held>>,
    lost: Option<Error>,
}

impl StreamState {
    pub(crate) fn new(opening: Opening, options: &StreamOptions) -> Self {
        let id = opening.id;
        let inner = Inner { opening, opened_in: None, redaction: options.redaction, lease: None, lost: None };
        let state = Self {
            id,
            inner: Mutex::new(inner),
            appended_until: AtomicU64::new(0),
            refused: AtomicBool::new(false),
            reason: Mutex::default(),
        };
        state.inner().apply(options);
        state
    }

    /// Lets the stream go on under new options, from where it got to.
    pub(crate) fn open_again(&self, options: &StreamOptions, slot: u32) {
        let mut inner = self.inner();
        inner.opening.slot = slot;
        inner.opened_in = None;
        inner.lost = None;
        inner.apply(options);
    }

    pub(crate) fn refuse(&self, error: Error) {
        self.reason().get_or_insert(error);
        self.refused.store(true, Ordering::Release);
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    pub(crate) fn appended_until(&self) -> u64 {
        self.appended_until.load(Ordering::Acquire)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reason(&self) -> MutexGuard<'_, Option<Error>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self, because: &Error) -> Error {
        Error::Lost { stream: self.id, because: Box::new(because.clone()) }
    }
}

impl Inner {
    fn apply(&mut self, options: &StreamOptions) {
        self.redaction = options.redaction;
        self.lease = options.lease.as_ref().map(|holding| Arc::clone(&holding.0));
        self.opening.lease = self.lease.as_ref().map(|held| (held.run, held.fence));
    }
}

impl Writer {
    pub(crate) const fn new(shared: Arc<Shared>, state: Arc<StreamState>, recorded: bool) -> Self {
        Self { shared, state, recorded, dropped: AtomicU64::new(0) }
    }

    /// Appends one record, which `put` writes.
    #[inline]
    fn append(
        &self,
        at_ns: u64,
        put: impl FnOnce(&mut Vec<u8>, &Context<'_>) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        self.shared.open_now()?;
        if !self.recorded {
            return Ok(self.dropped.fetch_add(1, Ordering::Relaxed));
        }
        self.shared.make_room()?;
        let state = &*self.state;
        if state.is_refused() {
            return Err(state.lost(state.reason().as_ref().unwrap_or(&Error::Closed)));
        }
        let mut inner = state.inner();
        let inner = &mut *inner;
        if let Some(because) = &inner.lost {
            return Err(state.lost(because));
        }
        let seq = inner.opening.next_seq;
        if let Some(lease) = &inner.lease {
            lease.check().inspect_err(|error| inner.lost = Some(error.clone()))?;
        }
        let mut segment = None;
        let appended = self.shared.append(|frames, number| {
            if inner.opened_in != Some(number) {
                frames.opening(&inner.opening)?;
            }
            segment = Some(number);
            let opening = &inner.opening;
            let context =
                Context { last_at_ns: opening.last_at_ns, redaction: &inner.redaction, salt: &opening.salt };
            frames.record(opening.slot, seq, |out| put(out, &context))
        });
        match appended {
            Ok(appended) => state.appended_until.store(appended, Ordering::Release),
            // The caller's mistake, found before anything was written: the stream is as it was.
            Err(error @ (Error::Invalid { .. } | Error::TooLarge { .. })) => return Err(error),
            Err(error) => {
                inner.lost = Some(error.clone());
                return Err(error);
            }
        }
        inner.opened_in = segment;
        inner.opening.next_seq += 1;
        inner.opening.last_at_ns = at_ns;
        Ok(seq)
    }
}

impl Append for Writer {
    #[inline]
    fn chunk(&self, chunk: &Chunk<'_>) -> Result<u64, Error> {
        self.append(chunk.at_ns, |out, context| put_chunk(out, chunk, context))
    }

    fn entry(&self, entry: &Entry<'_>) -> Result<u64, Error> {
        self.append(entry.at_ns, |out, context| put_entry(out, entry, context))
    }

    fn next_seq(&self) -> Result<u64, Error> {
        self.shared.open_now()?;
        Ok(self.state.inner().opening.next_seq)
    }
}
