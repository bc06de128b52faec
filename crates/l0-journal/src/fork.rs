//! What a fork needs: SQLite connections must not cross it, and neither must locks or threads.
//!
//! A journal notices by its process id that it crossed a fork and answers [`Error::Forked`]; the child opens its own. But
//! SQLite keeps what it knows of its locks in the memory of the process, so that a child of a process with an open
//! connection would believe in locks it does not have, and could lose what it writes. Therefore [`before`] closes the
//! connections of every journal, and the parent opens them again when it needs them. Where nobody announced the fork,
//! opening a journal in the child is refused rather than risked.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::Error;
use crate::shared::Shared;
use crate::shared::reading::Reading;

#[cfg(target_os = "linux")]
pub(crate) use crate::mapped::process_id;
#[cfg(not(target_os = "linux"))]
pub(crate) use std::process::id as process_id;

/// Closes the database connections of every journal of this process: call it before a fork.
///
/// Nothing is written to a database until [`after_in_parent`]; appends go on.
pub fn before() {
    // A journal that is being opened is waited for.
    let open = open_here();
    FORKING.store(true, Ordering::SeqCst);
    for journal in open.journals.iter().filter_map(Weak::upgrade) {
        journal.close_connections();
    }
    for archive in open.archives.iter().filter_map(Weak::upgrade) {
        archive.close();
    }
}

/// Lets journals use their databases again: call it in the parent after a fork.
pub fn after_in_parent() {
    FORKING.store(false, Ordering::SeqCst);
}

/// Lets go of the files of the parent's journals: call it in the child after a fork.
pub fn after_in_child() {
    FORKING.store(false, Ordering::SeqCst);
    for journal in inherited_journals() {
        journal.forget_files();
    }
}

static FORKING: AtomicBool = AtomicBool::new(false);

/// The process that counts, and its open connections: both in one number, so that a child cannot see them apart.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// One open connection, as long as it is.
#[derive(Debug)]
pub(crate) struct Counted {
    process: u32,
}

impl Counted {
    /// Counts a connection that is about to be opened, unless a parent's connections are still open.
    pub(crate) fn new() -> Result<Self, Error> {
        let process = process_id();
        for _ in 0..500 {
            if !FORKING.load(Ordering::SeqCst) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let add = |now: u64| match (process_of(now) == process, count_of(now)) {
            (true, count) => Some(pack(process, count + 1)),
            (false, 0) => Some(pack(process, 1)),
            (false, _) => None,
        };
        match CONNECTIONS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add) {
            Ok(_) => Ok(Self { process }),
            Err(_) => Err(Error::Forked),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let subtract = |now: u64| {
            (process_of(now) == self.process).then(|| pack(self.process, count_of(now).saturating_sub(1)))
        };
        // In a child there is nothing to count: these are the parent's.
        let _: Result<u64, u64> = CONNECTIONS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, subtract);
    }
}

const fn process_of(packed: u64) -> u32 {
    let [a, b, c, d, ..] = packed.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

const fn count_of(packed: u64) -> u32 {
    let [.., a, b, c, d] = packed.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

const fn pack(process: u32, count: u32) -> u64 {
    // `u64::from` is not const.
    ((process as u64) << 32) | count as u64
}

/// The journals of one process. Each process of a line of forks has its own slot, because the lock of an ancestor's may
/// have been held by a thread that did not come along.
struct Slot {
    process: AtomicU32,
    open: Mutex<Open>,
}

/// What a process has open.
pub(crate) struct Open {
    pub(crate) journals: Vec<Weak<Shared>>,
    pub(crate) archives: Vec<Weak<Reading>>,
}

impl Open {
    const NOTHING: Self = Self { journals: Vec::new(), archives: Vec::new() };
}

static SLOTS: [Slot; 8] = [const { Slot { process: AtomicU32::new(0), open: Mutex::new(Open::NOTHING) } }; 8];

/// What this process has open, to look something up or add it.
pub(crate) fn open_here() -> MutexGuard<'static, Open> {
    let process = process_id();
    let mut slots = SLOTS.iter();
    let slot = loop {
        let Some(slot) = slots.next() else {
            break &SLOTS[SLOTS.len() - 1];
        };
        let claimed = slot.process.compare_exchange(0, process, Ordering::SeqCst, Ordering::SeqCst);
        if claimed.is_ok() || claimed == Err(process) {
            break slot;
        }
    };
    slot.open.lock().unwrap_or_else(PoisonError::into_inner)
}

fn inherited_journals() -> Vec<std::sync::Arc<Shared>> {
    let process = process_id();
    let inherited = SLOTS.iter().filter(|slot| {
        let owner = slot.process.load(Ordering::SeqCst);
        owner != 0 && owner != process
    });
    // A lock that is held will be held for ever: its thread is in the parent.
    inherited
        .filter_map(|slot| slot.open.try_lock().ok())
        .flat_map(|open| open.journals.iter().filter_map(Weak::upgrade).collect::<Vec<_>>())
        .collect()
}
