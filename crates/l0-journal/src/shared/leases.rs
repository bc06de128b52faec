//! Taking, keeping and giving back the leases of a journal on disk.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::database::Promise;
use crate::journal::Drive;
use crate::lease::{self, Held, Keeper, Taker};
use crate::shared::{Shared, lock};
use crate::spool::owner::{self, FolderLock};
use crate::spool::{instance_of, recovery};
use crate::{Error, StreamId};

/// How often a lease that somebody holds is looked at.
const LEASE_POLL: Duration = Duration::from_millis(100);

impl Shared {
    /// Takes the lease of a run, waiting for its holder.
    pub(crate) fn lease(&self, run: StreamId, wait: Duration) -> Result<Arc<Held>, Error> {
        let give_up = self.clock.monotonic() + wait;
        loop {
            match self.try_lease(run) {
                Err(Error::Held { .. }) if self.clock.monotonic() < give_up => {
                    self.clock.sleep(LEASE_POLL.min(wait));
                }
                result => return result,
            }
        }
    }

    fn try_lease(&self, run: StreamId) -> Result<Arc<Held>, Error> {
        let held_here = lock(&self.leases).get(&run).and_then(Weak::upgrade);
        if held_here.is_some_and(|held| !held.is_over()) {
            return Err(Error::Held { run, host: "this process".to_owned() });
        }
        let seen = self.reading.view(|view| lease::read(view, run))?;
        if let Some(stored) = &seen
            && let Some(holder) = stored.holder.filter(|holder| *holder != self.instance)
        {
            self.succeed(run, stored, holder)?;
        }
        let before = self.clock.monotonic();
        let fence = self.beat_with(|transaction, path, taker| {
            lease::take(transaction, path, run, seen.as_ref(), taker)
        })?;
        let term = self.lease_term.saturating_sub(self.clock.monotonic().saturating_sub(before));
        let me: Weak<dyn Keeper> = self.me.clone();
        let held = Held::new(run, fence, term, me, Arc::clone(&self.clock));
        lock(&self.leases).insert(run, Arc::downgrade(&held));
        if self.drive == Drive::Threads {
            self.start_writer();
            self.signal.beat_every(Some(self.lease_term / 3));
        }
        Ok(held)
    }

    /// Whether the run of another holder may be taken, after taking in what that holder left.
    fn succeed(&self, run: StreamId, stored: &lease::Stored, holder: StreamId) -> Result<(), Error> {
        let right = FolderLock::take(&*self.disk, &self.folder, &*self.clock)?;
        let held = || Error::Held { run, host: stored.host.clone() };
        if stored.host == self.host {
            let alive = owner::is_alive(&*self.disk, &self.folder, holder, &right)?;
            if alive {
                return Err(held());
            }
            let failed = self.recover_with(&right)?.failed;
            // Whoever goes on must see all that was done: what it left and could not be taken in is waited for.
            let left = self.disk.list(&self.folder);
            let left = left.map_err(|error| Error::io("list", &self.folder, &error))?;
            let is_left =
                left.iter().filter_map(|path| instance_of(path)).any(|(instance, _)| instance == holder);
            return match failed.into_iter().next() {
                Some(error) if is_left => Err(error),
                _ => Ok(()),
            };
        }
        if !lock(&self.watch).is_expired(run, stored, self.lease_term, &*self.clock) {
            return Err(held());
        }
        // Perhaps it only sleeps: its spool is read as far as it goes, and left to it.
        self.write(|database| recovery::take_in(database, self.chain(), &*self.disk, &self.folder, holder))?;
        Ok(())
    }

    /// Changes leases as this holder, for whom the term begins now.
    fn beat_with<T>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>, &Path, &Taker<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let expires_at_ms = self.clock.wall_ms().saturating_add(milliseconds(self.lease_term));
        let taker = Taker { instance: self.instance, host: &self.host, expires_at_ms };
        let path = &self.reading.path;
        self.write(|database| {
            database.transact(Promise::Written, &*self.disk, |transaction| work(transaction, path, &taker))
        })
    }

    /// Says of every lease that its holder lives.
    pub(crate) fn beat(&self) -> Result<(), Error> {
        let held: Vec<_> = {
            let mut leases = lock(&self.leases);
            leases.retain(|_, held| held.upgrade().is_some_and(|held| !held.is_over()));
            leases.values().filter_map(Weak::upgrade).collect()
        };
        if held.is_empty() {
            self.signal.beat_every(None);
        }
        held.iter().map(|held| held.renew()).fold(Ok(()), Result::and)
    }
}

impl Keeper for Shared {
    fn renew(&self, run: StreamId, fence: u64) -> Result<Duration, Error> {
        self.open_now()?;
        self.beat_with(|transaction, path, taker| lease::beat(transaction, path, run, fence, taker))?;
        Ok(self.lease_term)
    }

    fn release(&self, run: StreamId, fence: u64) -> Result<(), Error> {
        self.open_now()?;
        self.drain()?;
        self.beat_with(|transaction, path, taker| {
            lease::give_back(transaction, path, run, fence, taker.instance)
        })
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
