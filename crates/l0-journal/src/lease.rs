//! The right to work on a run, held by one process at a time.
//!
//! On one host the holder's file lock decides: who lives keeps its lease, however slow it is. Between hosts nobody can see
//! whether the other lives, so that the holder beats and a lease that has not beaten for its whole term may be taken. A
//! holder that was only asleep does not know; therefore every taking raises the fencing number, and what is written
//! under a lower one is refused by the transaction that would store it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rusqlite::{OptionalExtension, Transaction, params};

use crate::clock::Clock;
use crate::database::view::View;
use crate::database::{integer, natural};
use crate::{Error, StreamId};

/// Whoever keeps the leases of a store.
pub(crate) trait Keeper: Send + Sync {
    /// Says that the holder lives, and for how long the lease is good then.
    fn renew(&self, run: StreamId, fence: u64) -> Result<Duration, Error>;
    /// Gives the lease back, once everything written under it is stored.
    fn release(&self, run: StreamId, fence: u64) -> Result<(), Error>;
}

/// The right to work on a run, until it is dropped, given back or taken over.
pub struct Lease {
    held: Arc<Held>,
    /// The store lives as long as its leases.
    _keeper: Arc<dyn Keeper>,
}

impl Lease {
    /// The run.
    #[must_use]
    pub fn run(&self) -> StreamId {
        self.held.run
    }

    /// Higher than that of every holder before: pass it to whoever must refuse a holder that was taken over.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.held.fence
    }

    /// Whether this holder may still work on the run.
    ///
    /// # Errors
    /// [`Error::Fenced`] once somebody else has taken over.
    pub fn check(&self) -> Result<(), Error> {
        self.held.check()
    }

    /// Beats now, instead of waiting for the background to do it.
    ///
    /// # Errors
    /// [`Error::Fenced`] once somebody else has taken over; otherwise why the beat could not be stored.
    pub fn renew(&self) -> Result<(), Error> {
        self.held.renew()
    }

    /// Gives the run back, so that the next holder need not wait.
    ///
    /// # Errors
    /// Why what was written under the lease, or its return, could not be stored.
    pub fn release(self) -> Result<(), Error> {
        self.held.release()
    }

    pub(crate) fn new(held: Arc<Held>, keeper: Arc<dyn Keeper>) -> Self {
        Self { held, _keeper: keeper }
    }

    /// What a stream is opened with, so that nothing is written to it once the lease is over.
    #[must_use]
    pub fn holding(&self) -> Holding {
        Holding(Arc::clone(&self.held))
    }
}

/// A lease as a stream knows it: it says whether the lease is still good, and does not keep it.
#[derive(Clone)]
pub struct Holding(pub(crate) Arc<Held>);

impl std::fmt::Debug for Holding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holding").field("run", &self.0.run).field("fence", &self.0.fence).finish()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // There is nobody to tell: an unreturned lease ends with the process or its term.
        let _: Result<(), Error> = self.held.release();
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("run", &self.held.run)
            .field("fence", &self.held.fence)
            .finish_non_exhaustive()
    }
}

/// A lease as its streams and the background see it.
pub(crate) struct Held {
    pub(crate) run: StreamId,
    pub(crate) fence: u64,
    /// Streams keep this and the store keeps its streams: it must not keep the store in turn.
    keeper: Weak<dyn Keeper>,
    clock: Arc<dyn Clock>,
    /// Until when, on the monotonic clock, no beat is needed to know that the lease is good.
    good_until_ns: AtomicU64,
    over: Mutex<Option<Error>>,
}

impl Held {
    pub(crate) fn new(
        run: StreamId,
        fence: u64,
        term: Duration,
        keeper: Weak<dyn Keeper>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let good_until_ns = AtomicU64::new(nanoseconds(clock.monotonic() + term));
        Arc::new(Self { run, fence, keeper, clock, good_until_ns, over: Mutex::default() })
    }

    /// Cheap while the last beat is fresh; otherwise asks the store.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some(error) = &*self.over() {
            return Err(error.clone());
        }
        if nanoseconds(self.clock.monotonic()) < self.good_until_ns.load(Ordering::Acquire) {
            return Ok(());
        }
        self.renew()
    }

    pub(crate) fn renew(&self) -> Result<(), Error> {
        if let Some(error) = &*self.over() {
            return Err(error.clone());
        }
        // The term counts from before the beat was stored: nobody may take over while this holder trusts it.
        let before = self.clock.monotonic();
        match self.keeper()?.renew(self.run, self.fence) {
            Ok(term) => {
                self.good_until_ns.store(nanoseconds(before + term), Ordering::Release);
                Ok(())
            }
            Err(error) => {
                if matches!(error, Error::Fenced { .. }) {
                    self.over().get_or_insert_with(|| error.clone());
                }
                Err(error)
            }
        }
    }

    fn release(&self) -> Result<(), Error> {
        if self.over().is_some() {
            return Ok(());
        }
        // What was appended so far is stored under the lease; whatever comes later is refused here.
        *self.over() = Some(Error::Unleased { run: self.run });
        self.keeper()?.release(self.run, self.fence)
    }

    fn keeper(&self) -> Result<Arc<dyn Keeper>, Error> {
        self.keeper.upgrade().ok_or(Error::Closed)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over().is_some()
    }

    fn over(&self) -> MutexGuard<'_, Option<Error>> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lease as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) fence: u64,
    /// Nobody, once it was given back.
    pub(crate) holder: Option<StreamId>,
    pub(crate) host: String,
    beat: u64,
    expires_at_ms: u64,
}

/// When leases of other hosts were seen to beat last. A clock that went back, here or there, must not keep a dead holder's
/// lease alive.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: BTreeMap<StreamId, (u64, u64, Duration)>,
}

impl Watch {
    /// Whether the term of a lease is over, by the wall clock or by not having beaten for so long before these eyes.
    pub(crate) fn is_expired(
        &mut self,
        run: StreamId,
        stored: &Stored,
        term: Duration,
        clock: &dyn Clock,
    ) -> bool {
        let now = clock.monotonic();
        let (fence, beat, since) = *self.seen.entry(run).or_insert((stored.fence, stored.beat, now));
        if (fence, beat) != (stored.fence, stored.beat) {
            self.seen.insert(run, (stored.fence, stored.beat, now));
            return clock.wall_ms() >= stored.expires_at_ms;
        }
        clock.wall_ms() >= stored.expires_at_ms || now.saturating_sub(since) >= term
    }
}

pub(crate) fn read(view: &View<'_>, run: StreamId) -> Result<Option<Stored>, Error> {
    let fail = |error: rusqlite::Error| Error::database("read a lease", view.path, &error);
    let sql = "SELECT fence, holder, host, beat, expires_at_ms FROM leases WHERE run = ?1";
    let mut statement = view.connection.prepare_cached(sql).map_err(fail)?;
    let found = statement.query_row([run.0], |row| {
        Ok(Stored {
            fence: natural(row.get(0)?),
            holder: row.get::<_, Option<[u8; 16]>>(1)?.map(StreamId),
            host: row.get(2)?,
            beat: natural(row.get(3)?),
            expires_at_ms: natural(row.get(4)?),
        })
    });
    found.optional().map_err(fail)
}

/// Takes the lease if it is still as it was `seen`, and says the new fencing number.
pub(crate) fn take(
    transaction: &Transaction<'_>,
    path: &std::path::Path,
    run: StreamId,
    seen: Option<&Stored>,
    taker: &Taker<'_>,
) -> Result<u64, Error> {
    let now = read(&View { connection: transaction, path }, run)?;
    if now.as_ref() != seen {
        return Err(Error::Held { run, host: now.map_or_else(String::new, |now| now.host) });
    }
    let fence = now.map_or(0, |now| now.fence) + 1;
    let fail = |error: rusqlite::Error| Error::database("take a lease", path, &error);
    transaction
        .execute(
            "INSERT INTO leases (run, fence, holder, host, beat, expires_at_ms) VALUES (?1, ?2, ?3, ?4, 0, ?5)
             ON CONFLICT (run) DO UPDATE SET fence = excluded.fence, holder = excluded.holder, host = excluded.host,
             beat = 0, expires_at_ms = excluded.expires_at_ms",
            params![run.0, integer(fence), taker.instance.0, taker.host, integer(taker.expires_at_ms)],
        )
        .map_err(fail)?;
    Ok(fence)
}

/// Who takes a lease, and until when it is theirs.
pub(crate) struct Taker<'a> {
    pub(crate) instance: StreamId,
    pub(crate) host: &'a str,
    pub(crate) expires_at_ms: u64,
}

/// Beats, unless the lease is somebody else's by now.
pub(crate) fn beat(
    transaction: &Transaction<'_>,
    path: &std::path::Path,
    run: StreamId,
    fence: u64,
    taker: &Taker<'_>,
) -> Result<(), Error> {
    let fail = |error: rusqlite::Error| Error::database("renew a lease", path, &error);
    let changed = transaction
        .execute(
            // A clock that went back must not shorten a term that was promised.
            "UPDATE leases SET beat = beat + 1, expires_at_ms = max(expires_at_ms, ?4)
             WHERE run = ?1 AND fence = ?2 AND holder = ?3",
            params![run.0, integer(fence), taker.instance.0, integer(taker.expires_at_ms)],
        )
        .map_err(fail)?;
    if changed == 1 {
        return Ok(());
    }
    let current = crate::database::view::fence_of(transaction, path, run)?;
    Err(Error::Fenced { run, fence, current })
}

/// Gives the lease back; the fencing number stays, so that the next one is higher.
pub(crate) fn give_back(
    transaction: &Transaction<'_>,
    path: &std::path::Path,
    run: StreamId,
    fence: u64,
    instance: StreamId,
) -> Result<(), Error> {
    let fail = |error: rusqlite::Error| Error::database("give a lease back", path, &error);
    transaction
        .execute(
            "UPDATE leases SET holder = NULL WHERE run = ?1 AND fence = ?2 AND holder = ?3",
            params![run.0, integer(fence), instance.0],
        )
        .map_err(fail)?;
    Ok(())
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
