//! Writing a session down: its records reach the journal before the driver learns what to do with a chunk.

use std::sync::Arc;

use l0_engine as engine;

use crate::{Before, Durability, Error, Store, Stream, Ticket, session};

/// Where a session is written down, and how far that has come.
///
/// Whoever drives a session writes what it noted before doing what it asked for, so that nobody has what is not written (G5).
pub struct Recorder {
    stream: Stream,
    store: Option<Arc<dyn Store>>,
    /// Whether every release waits for the disk.
    paranoid: bool,
    /// Whether nothing is released once it is lost.
    closes: bool,
    /// What the next release waits for.
    before_release: Option<Ticket>,
    lost: Option<Error>,
    /// When the first content of the attempt that was heard of last arrived.
    first: Option<(engine::AttemptId, engine::Instant)>,
    firsts: Vec<(u32, u64)>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("stream", &self.stream)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder of one session. Without a store there is nothing to wait for; one that `closes` lets nothing more be
    /// released once a record was lost.
    #[must_use]
    pub fn new(stream: Stream, store: Option<Arc<dyn Store>>, closes: bool) -> Self {
        let paranoid = store.as_ref().is_some_and(|store| store.durability() == Durability::Paranoid);
        Self {
            stream,
            store,
            paranoid,
            closes,
            before_release: None,
            lost: None,
            first: None,
            firsts: Vec::new(),
        }
    }

    /// Writes down what a session has noted; `object` belongs to the chunk among it. The first failure is kept, and
    /// nothing is written after it: a record with a hole would replay as something that never happened.
    #[inline]
    pub fn write(
        &mut self,
        now: engine::Instant,
        records: impl IntoIterator<Item = engine::Record>,
        object: Option<&[u8]>,
    ) {
        let mut object = object;
        for record in records {
            if self.lost.is_some() {
                continue;
            }
            let is_chunk = matches!(
                record,
                engine::Record::Chunk { .. }
                    | engine::Record::Input { input: engine::Input::Part { .. }, .. }
            );
            let object = if is_chunk { object.take() } else { None };
            if let Err(error) = session::append(&self.stream, now, record, object) {
                self.lost = Some(error);
            }
        }
    }

    /// Notes when an attempt's first content arrived.
    #[inline]
    pub fn heard(&mut self, attempt: engine::AttemptId, now: engine::Instant) {
        if self.first.is_none_or(|(last, _)| last != attempt) {
            self.first = Some((attempt, now));
            self.firsts.push((attempt.0, now.0));
        }
    }

    /// Whether every release waits for the disk.
    #[must_use]
    pub const fn is_paranoid(&self) -> bool {
        self.paranoid
    }

    /// Begins what has to be on disk before anything is released.
    pub fn start_barrier(&mut self) {
        if self.lost.is_none() {
            self.before_release = self.store.as_ref().map(|store| store.barrier(Before::SideEffect));
        }
    }

    /// Whether the driver has to look before it releases anything: there is something to wait for, or nothing may be.
    #[inline]
    pub fn must_settle(&mut self) -> bool {
        self.unsettled().is_some() || self.closes && self.lost.is_some()
    }

    /// What a release has to wait for, if anything.
    #[inline]
    pub fn unsettled(&mut self) -> Option<Ticket> {
        if self.before_release.is_none() && !self.paranoid || self.lost.is_some() {
            return None;
        }
        self.unsettled_slowly()
    }

    fn unsettled_slowly(&mut self) -> Option<Ticket> {
        if self.paranoid {
            self.before_release = self.store.as_ref().map(|store| store.barrier(Before::Release));
        }
        match self.before_release.as_ref()?.poll() {
            None => self.before_release.clone(),
            Some(answer) => {
                self.before_release = None;
                self.lost = answer.err();
                None
            }
        }
    }

    /// A ticket was waited for: here is its answer.
    pub fn settled(&mut self, answer: Result<(), Error>) {
        self.before_release = None;
        if let Err(error) = answer {
            self.lost.get_or_insert(error);
        }
    }

    /// Why nothing more is written, if a record was lost.
    #[must_use]
    pub const fn lost(&self) -> Option<&Error> {
        self.lost.as_ref()
    }

    /// When the first content of each attempt arrived that brought any.
    #[must_use]
    pub fn firsts(&self) -> &[(u32, u64)] {
        &self.firsts
    }
}
