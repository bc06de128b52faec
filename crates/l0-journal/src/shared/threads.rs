//! What a journal on disk does in the background: a thread that drains the spool, and one that waits for the disk.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

use crate::journal::Drive;
use crate::shared::signal::{Signal, Work};
use crate::shared::{Shared, lock};
use crate::{Error, Ticket};

impl Shared {
    pub(crate) fn sync(&self) -> Ticket {
        if self.drive == Drive::Caller {
            return Ticket::done(self.sync_now());
        }
        let ticket = Ticket::open();
        lock(&self.syncs.waiting).tickets.push(ticket.clone());
        self.syncs.changed.notify_all();
        if !self.start_syncer() {
            // Without a thread to do it, whoever asks does it.
            self.sync_waiting();
        }
        ticket
    }

    fn sync_now(&self) -> Result<(), Error> {
        if !self.spool.sync()? {
            return Ok(());
        }
        // The database alone has some of what is promised here.
        let synced = self.write(|database| database.sync(&*self.disk));
        if synced.is_err() {
            self.spool.database_is_unsynced();
        }
        synced
    }

    /// Syncs for everybody who waits, with one answer for all.
    pub(crate) fn sync_waiting(&self) {
        let tickets = std::mem::take(&mut lock(&self.syncs.waiting).tickets);
        if tickets.is_empty() {
            return;
        }
        let answer = self.sync_now();
        if answer.is_err() {
            // A segment that could not be synced is mended by the database taking, and syncing, what it holds.
            self.signal.hurry();
        }
        for ticket in tickets {
            ticket.answer(&answer);
        }
    }

    #[cold]
    pub(crate) fn start_writer(&self) {
        if !self.writer_runs.swap(true, Ordering::AcqRel) {
            let (shared, signal) = (self.me.clone(), Arc::clone(&self.signal));
            // Without the thread the records are as safe in the spool, and flushes still work.
            self.start("l0-journal", move || write_loop(&shared, &signal));
        }
    }

    fn start_syncer(&self) -> bool {
        if self.syncer_runs.load(Ordering::Acquire) {
            return true;
        }
        let mut threads = lock(&self.threads);
        if self.syncer_runs.load(Ordering::Acquire) {
            return true;
        }
        let (shared, syncs) = (self.me.clone(), Arc::clone(&self.syncs));
        let thread = spawn("l0-journal-sync", move || sync_loop(&shared, &syncs));
        let started = thread.is_some();
        threads.extend(thread);
        self.syncer_runs.store(started, Ordering::Release);
        started
    }

    fn start(&self, name: &str, work: impl FnOnce() + Send + 'static) {
        let thread = spawn(name, work);
        lock(&self.threads).extend(thread);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).ok()
}

fn write_loop(shared: &Weak<Shared>, signal: &Signal) {
    while let Some(work) = signal.wait() {
        let Some(shared) = shared.upgrade() else {
            break;
        };
        // What fails is in the journal's health, and is tried again.
        let _: Result<(), Error> = match work {
            Work::Drain => shared.drain(),
            Work::Tidy => shared.tidy(),
            Work::Beat => shared.beat(),
        };
    }
}

/// Who waits for a sync.
#[derive(Default)]
pub(crate) struct Syncs {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    tickets: Vec<Ticket>,
    stop: bool,
}

impl Syncs {
    /// Lets the thread end; who still waits is answered by whoever closes the journal.
    pub(crate) fn stop(&self) {
        lock(&self.waiting).stop = true;
        self.changed.notify_all();
    }
}

fn sync_loop(shared: &Weak<Shared>, syncs: &Syncs) {
    loop {
        let nothing = |waiting: &mut Waiting| waiting.tickets.is_empty() && !waiting.stop;
        let waiting =
            syncs.changed.wait_while(lock(&syncs.waiting), nothing).unwrap_or_else(PoisonError::into_inner);
        let stop = waiting.stop;
        drop(waiting);
        if stop {
            break;
        }
        let Some(shared) = shared.upgrade() else {
            break;
        };
        shared.sync_waiting();
    }
}
