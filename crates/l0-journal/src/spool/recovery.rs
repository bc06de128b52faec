//! Taking in what dead processes left in their spools.

use std::collections::BTreeSet;
use std::path::Path;

use crate::chain::Chain;
use crate::database::put::Outcome;
use crate::database::{Database, Promise};
use crate::disk::Disk;
use crate::spool::drain::Feed;
use crate::spool::owner::{self, FolderLock};
use crate::spool::segment::{Cursor, Stop};
use crate::spool::{instance_of, leftovers, lock_path, remove};
use crate::{Error, StreamId};

/// What one transaction takes at most: memory, and the time others wait.
pub(crate) const BATCH_BYTES: usize = 8 << 20;

/// What dead processes left, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovery {
    /// How many spools of dead processes there were.
    pub spools: u64,
    /// How many records the database did not have yet.
    pub records: u64,
    /// How many spool files ended in something that was not written whole, which was cut off.
    pub torn: u64,
    /// Streams of which some records were not taken, and why: a fencing number too low, or a place already taken.
    pub refused: Vec<(StreamId, Error)>,
    /// Spools that could not be taken in; they are left for the next try.
    pub failed: Vec<Error>,
}

impl Recovery {
    fn add(&mut self, other: Self) {
        self.records += other.records;
        self.torn += other.torn;
        self.refused.extend(other.refused);
    }

    fn count(&mut self, outcome: Outcome) {
        self.records += outcome.records;
        self.refused.extend(outcome.refused);
    }
}

/// Takes in and removes the spool of every process that is dead.
pub(crate) fn recover(
    database: &mut Database,
    chain: &Chain,
    disk: &dyn Disk,
    folder: &Path,
    own: StreamId,
    right: &FolderLock,
) -> Result<Recovery, Error> {
    let paths = disk.list(folder).map_err(|error| Error::io("list", folder, &error))?;
    let instances: BTreeSet<_> =
        paths.iter().filter_map(|path| instance_of(path)).map(|(instance, _)| instance).collect();
    let mut recovery = Recovery::default();
    for instance in instances {
        if instance == own {
            continue;
        }
        let result = match owner::is_alive(disk, folder, instance, right) {
            Ok(true) => continue,
            Ok(false) => bury(database, chain, disk, folder, instance),
            Err(error) => Err(error),
        };
        match result {
            Ok(found) => {
                recovery.spools += 1;
                recovery.add(found);
            }
            Err(error) => recovery.failed.push(error),
        }
    }
    Ok(recovery)
}

fn bury(
    database: &mut Database,
    chain: &Chain,
    disk: &dyn Disk,
    folder: &Path,
    instance: StreamId,
) -> Result<Recovery, Error> {
    let found = take_in(database, chain, disk, folder, instance)?;
    // Its owner may have promised that what it wrote survives a loss of power.
    database.sync(disk)?;
    for leftover in leftovers(disk, folder, instance)? {
        remove(disk, &leftover.path)?;
    }
    // Last: while it is there, the spool is found again.
    remove(disk, &lock_path(folder, instance))?;
    Ok(found)
}

/// Puts what is readable of a spool into the database, and leaves the spool as it is.
pub(crate) fn take_in(
    database: &mut Database,
    chain: &Chain,
    disk: &dyn Disk,
    folder: &Path,
    instance: StreamId,
) -> Result<Recovery, Error> {
    let mut found = Recovery::default();
    let mut feed = Feed::new(chain.clone());
    for leftover in leftovers(disk, folder, instance)? {
        let Some(header) = leftover.header else {
            found.torn += 1;
            continue;
        };
        let mut cursor = Cursor::new(header.nonce);
        loop {
            let mut unreadable = false;
            let stop = cursor.read(&*leftover.file, None, &mut |body| {
                unreadable |= feed.frame(header.number, body).is_err();
                feed.bytes() < BATCH_BYTES
            });
            let stop = stop.map_err(|error| Error::io("read", &leftover.path, &error))?;
            if !feed.is_empty() {
                found.count(database.commit(chain, &feed.batch, Promise::Written, disk)?);
                feed.taken();
            }
            if stop == Stop::Torn || unreadable {
                found.torn += 1;
            }
            if stop != Stop::Enough {
                break;
            }
        }
        feed.forget_segment(header.number);
    }
    found.refused.append(&mut feed.broken);
    Ok(found)
}
