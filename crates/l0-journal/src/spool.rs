//! The files that every append reaches before it returns, and that outlive the process.
//!
//! A spool is a sequence of segments that one process appends to. What the database has taken is removed a segment at a
//! time; what it has not is taken by whoever opens the journal next.

pub(crate) mod drain;
pub(crate) mod owner;
pub(crate) mod recovery;
pub(crate) mod segment;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, read_span};
use crate::spool::segment::{Frames, HEADER_BYTES, Header};
use crate::{Error, StreamId};

/// A segment takes no more frames once it has this size.
const SEGMENT_BYTES: u64 = 16 << 20;

/// Everything one process has appended and the database has not taken yet.
pub(crate) struct Spool {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    instance: StreamId,
    state: Mutex<State>,
    /// Bytes of frames appended since the spool was created.
    appended: AtomicU64,
    /// One sync at a time, and no removal meanwhile: what is removed was either promised by then or not.
    syncing: Mutex<Syncing>,
}

#[derive(Default)]
struct Syncing {
    /// Segments were removed whose content the database has, and has not synced.
    database_unsynced: bool,
}

#[derive(Default)]
struct State {
    /// In order; the last one takes frames unless it is closed.
    segments: Vec<Arc<Segment>>,
    next_number: u64,
    /// Reused for every append.
    out: Vec<u8>,
    /// A folder change that a sync has still to cover.
    names_unsynced: bool,
}

/// One file of a spool.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) nonce: u32,
    written: AtomicU64,
    synced: AtomicU64,
    closed: AtomicBool,
    /// A sync failed: the kernel may have dropped what it could not write, and a later success would not say so.
    unsyncable: AtomicBool,
}

impl Segment {
    /// Where the last whole frame ends.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Takes no more frames: the next one goes to a new segment.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    fn sync(&self) -> Result<(), Error> {
        let written = self.written();
        if self.synced.load(Ordering::Acquire) == written {
            return Ok(());
        }
        let result = if self.unsyncable.load(Ordering::Acquire) {
            Err(std::io::Error::other("an earlier sync failed"))
        } else {
            self.file.sync()
        };
        if let Err(error) = result {
            self.unsyncable.store(true, Ordering::Release);
            self.close();
            return Err(Error::io("sync", &self.path, &error));
        }
        self.synced.store(written, Ordering::Release);
        Ok(())
    }

    /// Whether somebody was promised that this survives a loss of power, so that it may only go once the database does.
    pub(crate) fn is_promised(&self) -> bool {
        self.synced.load(Ordering::Acquire) > 0 || self.unsyncable.load(Ordering::Acquire)
    }
}

impl Spool {
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: PathBuf, instance: StreamId) -> Self {
        Self {
            disk,
            folder,
            instance,
            state: Mutex::default(),
            appended: AtomicU64::new(0),
            syncing: Mutex::default(),
        }
    }

    /// Appends frames, and returns once they survive the death of the process.
    ///
    /// `fill` gets the number of the segment they go to, and may be called with another one each time. If anything fails
    /// none of the frames counts.
    #[inline]
    pub(crate) fn append(
        &self,
        fill: impl FnOnce(&mut Frames<'_>, u64) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let mut state = self.state();
        let state = &mut *state;
        if state.segments.last().is_none_or(|last| last.is_closed() || last.written() >= SEGMENT_BYTES) {
            self.add_segment(state)?;
        }
        let segment = state.segments.last().ok_or(Error::Closed)?;
        let offset = segment.written();
        state.out.clear();
        fill(&mut Frames::new(&mut state.out, offset, segment.nonce), segment.number)?;
        segment
            .file
            .write_at(offset, &state.out)
            .map_err(|error| Error::io("append to", &segment.path, &error))?;
        segment.written.store(offset + state.out.len() as u64, Ordering::Release);
        // Counted under the lock, so that a plain addition is enough.
        let appended = self.appended.load(Ordering::Relaxed) + state.out.len() as u64;
        self.appended.store(appended, Ordering::Release);
        Ok(appended)
    }

    #[cold]
    fn add_segment(&self, state: &mut State) -> Result<(), Error> {
        if let Some(last) = state.segments.last() {
            last.close();
        }
        let number = state.next_number;
        let path = segment_path(&self.folder, self.instance, number);
        let mut nonce = [0; 4];
        getrandom::fill(&mut nonce).map_err(|_| Error::Random)?;
        let nonce = u32::from_le_bytes(nonce);
        let file = self.disk.create_growing(&path).map_err(|error| Error::io("create", &path, &error))?;
        // Whether or not the header gets there, the name is taken.
        state.next_number += 1;
        state.names_unsynced = true;
        let header = Header { nonce, number, instance: self.instance.0 }.to_bytes();
        if let Err(error) = file.write_at(0, &header) {
            // Without its header the file is nothing; a failure to remove it leaves an empty file for the next open.
            let _: std::io::Result<()> = self.disk.remove(&path);
            return Err(Error::io("begin", &path, &error));
        }
        // An allocation that stays small after one large record.
        state.out.shrink_to(1 << 20);
        state.segments.push(Arc::new(Segment {
            number,
            path,
            file,
            nonce,
            written: AtomicU64::new(HEADER_BYTES),
            synced: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            unsyncable: AtomicBool::new(false),
        }));
        Ok(())
    }

    /// The segments as they are now, in order.
    pub(crate) fn segments(&self) -> Vec<Arc<Segment>> {
        self.state().segments.clone()
    }

    /// Bytes of frames appended since the spool was created.
    #[inline]
    pub(crate) fn appended(&self) -> u64 {
        self.appended.load(Ordering::Acquire)
    }

    /// Makes everything appended so far survive a loss of power, and says whether the database must be synced for that.
    pub(crate) fn sync(&self) -> Result<bool, Error> {
        let mut syncing = self.syncing();
        let (segments, names_unsynced) = {
            let mut state = self.state();
            (state.segments.clone(), std::mem::take(&mut state.names_unsynced))
        };
        let synced = segments.iter().try_for_each(|segment| segment.sync()).and_then(|()| {
            let folder = &self.folder;
            let synced = if names_unsynced { self.disk.sync_folder(folder) } else { Ok(()) };
            synced.map_err(|error| Error::io("sync", folder, &error))
        });
        if let Err(error) = synced {
            self.state().names_unsynced |= names_unsynced;
            return Err(error);
        }
        Ok(std::mem::take(&mut syncing.database_unsynced))
    }

    /// The database could not be synced although [`Self::sync`] asked for it.
    pub(crate) fn database_is_unsynced(&self) {
        self.syncing().database_unsynced = true;
    }

    /// Removes a segment whose every frame the database has, and says whether it did: not where its content was promised to
    /// survive a loss of power, and the database has not been synced since.
    pub(crate) fn remove(&self, segment: &Segment, database_synced: bool) -> Result<bool, Error> {
        let mut syncing = self.syncing();
        if !database_synced {
            if segment.is_promised() {
                return Ok(false);
            }
            syncing.database_unsynced = true;
        }
        remove(&*self.disk, &segment.path)?;
        self.state().segments.retain(|other| other.number != segment.number);
        Ok(true)
    }

    /// Closes the last segment if it has no more than `drained` bytes, so that it can be removed.
    pub(crate) fn close_drained(&self, number: u64, drained: u64) {
        // Under the lock nobody appends in between.
        let state = self.state();
        if let Some(last) =
            state.segments.last().filter(|last| last.number == number && last.written() == drained)
        {
            last.close();
        }
    }

    fn syncing(&self) -> MutexGuard<'_, Syncing> {
        self.syncing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock panics; if it did, the frames written before are still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A segment that another process left.
pub(crate) struct Leftover {
    pub(crate) path: PathBuf,
    pub(crate) file: Box<dyn DiskFile>,
    /// `None` where the file ends before its header does: it holds no frames.
    pub(crate) header: Option<Header>,
}

/// The segments of one instance in the order in which they were written.
pub(crate) fn leftovers(disk: &dyn Disk, folder: &Path, instance: StreamId) -> Result<Vec<Leftover>, Error> {
    let mut found = Vec::new();
    let paths = disk.list(folder).map_err(|error| Error::io("list", folder, &error))?;
    for path in paths {
        if instance_of(&path) != Some((instance, Part::Segment)) {
            continue;
        }
        let file = match disk.open(&path) {
            Ok(file) => file,
            // Its owner removed it in the meantime: the database has it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("open", &path, &error)),
        };
        let header = read_span(&*file, 0, 64).map_err(|error| Error::io("read", &path, &error))?;
        let header = Header::read(&header).ok().filter(|header| header.instance == instance.0);
        found.push(Leftover { path, file, header });
    }
    Ok(found)
}

/// What a file of the spool folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Lock,
    Segment,
}

/// Whose file this is, and what it is.
pub(crate) fn instance_of(path: &Path) -> Option<(StreamId, Part)> {
    let name = path.file_name()?.to_str()?;
    let (instance, rest) = name.split_at_checked(32)?;
    let part = match rest {
        ".lock" => Part::Lock,
        _ => rest.strip_prefix('-')?.strip_suffix(".spool").map(|_| Part::Segment)?,
    };
    Some((instance.parse().ok()?, part))
}

pub(crate) fn lock_path(folder: &Path, instance: StreamId) -> PathBuf {
    folder.join(format!("{instance}.lock"))
}

fn segment_path(folder: &Path, instance: StreamId, number: u64) -> PathBuf {
    folder.join(format!("{instance}-{number:016x}.spool"))
}

/// Removes a file; one that is gone is fine.
pub(crate) fn remove(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    match disk.remove(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::faulty::{Fault, FaultyDisk, Operation};
    use crate::spool::segment::{Cursor, Frame};

    fn spool(disk: &FaultyDisk) -> Spool {
        Spool::new(Arc::new(disk.clone()), PathBuf::from("d"), StreamId([1; 16]))
    }

    fn append(spool: &Spool, seq: u64, record: &[u8]) -> Result<u64, Error> {
        spool.append(|frames, _| {
            frames.record(0, seq, |out| {
                out.extend_from_slice(record);
                Ok(())
            })
        })
    }

    fn sequence(disk: &FaultyDisk) -> Vec<u64> {
        let mut found = Vec::new();
        for leftover in leftovers(disk, Path::new("d"), StreamId([1; 16])).unwrap() {
            let Some(header) = leftover.header else {
                continue;
            };
            let mut see = |body: &[u8]| {
                if let Ok(Frame::Record { seq, .. }) = Frame::read(body) {
                    found.push(seq);
                }
                true
            };
            Cursor::new(header.nonce).read(&*leftover.file, None, &mut see).unwrap();
        }
        found
    }

    /// G5: what was acknowledged is there after the death of the process, wherever in a write it strikes.
    #[test]
    fn what_was_acknowledged_is_there_after_death_in_any_write() {
        let run = |disk: &FaultyDisk| {
            let spool = spool(disk);
            (0..4).take_while(|seq| append(&spool, *seq, b"record").is_ok()).count() as u64
        };
        let healthy = FaultyDisk::default();
        assert_eq!(run(&healthy), 4);
        let log = healthy.log();
        let mut deaths = 0;
        for (number, operation) in log.iter().enumerate() {
            let bytes = if let Operation::Write(_, bytes) = operation { *bytes } else { 0 };
            for written in 0..=bytes {
                let disk = FaultyDisk::default();
                disk.plan(number, Fault::Die(written));
                let acknowledged = run(&disk);
                let found = sequence(&disk.kill());
                assert!(
                    found.len() as u64 >= acknowledged && found.iter().copied().eq(0..found.len() as u64)
                );
                assert!(found.len() as u64 <= acknowledged + 1);
                deaths += 1;
            }
        }
        assert!(deaths > 100, "{deaths}");
    }

    #[test]
    fn a_write_that_failed_leaves_nothing_behind() {
        for fault in [Fault::Fail(ErrorKind::StorageFull), Fault::Short(ErrorKind::StorageFull, 11)] {
            let disk = FaultyDisk::default();
            disk.plan(3, fault); // create, header, first, second
            let spool = spool(&disk);
            append(&spool, 0, b"first").unwrap();
            assert!(matches!(append(&spool, 1, b"a longer second"), Err(Error::Full { .. })));
            assert_eq!(sequence(&disk), [0]);
            append(&spool, 2, b"x").unwrap();
            assert_eq!(sequence(&disk), [0, 2]);
        }
    }

    #[test]
    fn what_was_synced_survives_a_loss_of_power() {
        for seed in 0..50 {
            let disk = FaultyDisk::default();
            let spool = spool(&disk);
            append(&spool, 0, b"synced").unwrap();
            append(&spool, 1, b"synced").unwrap();
            spool.sync().unwrap();
            append(&spool, 2, b"not synced").unwrap();
            let found = sequence(&disk.lose_power(seed));
            assert!(found.starts_with(&[0, 1]), "{seed} {found:?}");
        }
    }

    /// A sync that failed once may have lost what it could not write: no later one may claim otherwise.
    #[test]
    fn a_failed_sync_is_not_mended_by_the_next() {
        let disk = FaultyDisk::default();
        let spool = spool(&disk);
        append(&spool, 0, b"x").unwrap();
        disk.plan(3, Fault::Fail(ErrorKind::Other));
        assert!(spool.sync().is_err());
        assert!(spool.sync().is_err());
        append(&spool, 1, b"y").unwrap();
        assert_eq!(spool.segments().len(), 2);
        assert!(spool.sync().is_err());
        let first = spool.segments().remove(0);
        assert!(!spool.remove(&first, false).unwrap());
        assert!(spool.remove(&first, true).unwrap());
        spool.sync().unwrap();
    }
}
