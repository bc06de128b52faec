//! What all handles of one journal in one process share: the spool, the database, and the threads between them.
//!
//! Locks are taken in this order: the one for opening streams, a stream's, the folder's, the drainer, then any of the
//! others, which are held for a few instructions and never while another is taken.

mod leases;
pub(crate) mod reading;
pub(crate) mod signal;
mod threads;
pub(crate) mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::chain::{Chain, Key};
use crate::clock::Clock;
use crate::database::{Database, Promise, removal};
use crate::disk::{Disk, DiskFile};
use crate::journal::{Drive, Options};
use crate::lease::{Held, Watch};
use crate::shared::reading::{Reading, take_now};
use crate::shared::signal::Signal;
use crate::shared::threads::Syncs;
use crate::shared::writer::StreamState;
use crate::spool::drain::Feed;
use crate::spool::owner::{self, FolderLock};
use crate::spool::recovery::{self, BATCH_BYTES, Recovery};
use crate::spool::segment::{Cursor, Frames, Opening, Stop};
use crate::spool::{self, Segment, Spool, lock_path};
use crate::store::{Health, Removed, Selection, StreamOptions};
use crate::{Error, Place, Removal, StreamId};

/// So much may wait for the database before appends wait for it too.
const BACKLOG_BYTES_MAX: u64 = 64 << 20;
/// From here on the writer thread does not linger.
const BACKLOG_BYTES_HURRY: u64 = 4 << 20;
/// How long an append waits for a database that takes nothing.
const BACKLOG_PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Shared {
    /// Itself, for the threads it starts.
    me: Weak<Self>,
    pub(crate) reading: Reading,
    folder: PathBuf,
    /// The file's identity, where the system has one: the same file under another name is the same journal.
    file: Option<(u64, u64)>,
    key: Option<Key>,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    host: String,
    lease_term: Duration,
    drive: Drive,
    instance: StreamId,
    spool: Spool,
    /// Says that this process lives, as long as it is open.
    alive: Mutex<Option<Box<dyn DiskFile>>>,
    drainer: Mutex<Drainer>,
    /// Bytes of frames the database has taken.
    drained: AtomicU64,
    /// One stream is opened at a time: where one ends in the database is only its end while nobody else goes on with it.
    opening: Mutex<()>,
    streams: Mutex<BTreeMap<StreamId, Arc<StreamState>>>,
    next_slot: AtomicU32,
    signal: Arc<Signal>,
    syncs: Arc<Syncs>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    writer_runs: AtomicBool,
    syncer_runs: AtomicBool,
    leases: Mutex<BTreeMap<StreamId, Weak<Held>>>,
    watch: Mutex<Watch>,
    recovered: Mutex<Recovery>,
    trouble: Mutex<Option<Error>>,
    closed: AtomicBool,
}

/// What moves frames from the spool to the database; one thread at a time does.
struct Drainer {
    database: Option<Database>,
    feed: Feed,
    /// How far each segment has been read.
    cursors: BTreeMap<u64, Cursor>,
    /// Bytes of frames read in all.
    fed: u64,
}

impl Shared {
    /// Opens the journal at a real path that this process does not have open.
    pub(crate) fn open(path: PathBuf, options: &Options) -> Result<Arc<Self>, Error> {
        let (disk, clock) = (Arc::clone(&options.disk), Arc::clone(&options.clock));
        let folder = spool_folder(&path);
        disk.create_folder(&folder).map_err(|error| Error::io("create", &folder, &error))?;
        let right = FolderLock::take(&*disk, &folder, &*clock)?;
        let mut database = Database::open(&path)?;
        let chain = database.begin(options.key.as_ref(), &*disk)?;
        if let Some(parent) = path.parent() {
            disk.sync_folder(parent).map_err(|error| Error::io("sync", parent, &error))?;
        }
        let instance = StreamId::random()?;
        let alive = owner::register(&*disk, &folder, instance, &right)?;
        let shared = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            file: file_identity(&path),
            reading: Reading::new(path, chain.clone()),
            spool: Spool::new(Arc::clone(&disk), folder.clone(), instance),
            folder,
            key: options.key.clone(),
            disk,
            clock,
            host: options.host.clone().unwrap_or_else(owner::host),
            lease_term: options.lease_term,
            drive: options.drive,
            instance,
            alive: Mutex::new(Some(alive)),
            drainer: Mutex::new(Drainer {
                database: Some(database),
                feed: Feed::new(chain),
                cursors: BTreeMap::new(),
                fed: 0,
            }),
            drained: AtomicU64::new(0),
            opening: Mutex::default(),
            streams: Mutex::default(),
            next_slot: AtomicU32::new(0),
            signal: Arc::new(Signal::new(options.linger)),
            syncs: Arc::default(),
            threads: Mutex::default(),
            writer_runs: AtomicBool::new(false),
            syncer_runs: AtomicBool::new(false),
            leases: Mutex::default(),
            watch: Mutex::default(),
            recovered: Mutex::default(),
            trouble: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let recovered = shared.recover_with(&right)?;
        *lock(&shared.recovered) = recovered;
        Ok(shared)
    }

    /// Whether this is the journal at `path`, and can be used.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let same_file = match (self.file, file_identity(path)) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => self.reading.path == path,
        };
        same_file && self.open_now().is_ok()
    }

    pub(crate) fn same_key(&self, key: Option<&Key>) -> Result<(), Error> {
        let what = "the journal is open in this process with another key";
        if self.key.as_ref() == key { Ok(()) } else { Err(Error::Key { what }) }
    }

    /// Whether the journal is open, and this process the one that opened it.
    #[inline]
    pub(crate) fn open_now(&self) -> Result<(), Error> {
        self.reading.same_process()?;
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    const fn chain(&self) -> &Chain {
        &self.reading.chain
    }

    pub(crate) fn recovery(&self) -> Recovery {
        lock(&self.recovered).clone()
    }

    pub(crate) fn health(&self) -> Health {
        Health { behind_bytes: self.behind(), error: lock(&self.trouble).clone() }
    }

    /// Appends frames to the spool, lets the background know, and says how much was appended in all.
    #[inline]
    pub(crate) fn append(
        &self,
        fill: impl FnOnce(&mut Frames<'_>, u64) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let appended = self.spool.append(fill)?;
        if self.drive == Drive::Threads {
            if !self.writer_runs.load(Ordering::Acquire) {
                self.start_writer();
            }
            self.signal.appended();
        }
        Ok(appended)
    }

    /// How much of what was appended the database has not taken.
    pub(crate) fn behind(&self) -> u64 {
        self.spool.appended().saturating_sub(self.drained.load(Ordering::Acquire))
    }

    /// Waits, if too much is behind, until there is room for more.
    #[inline]
    pub(crate) fn make_room(&self) -> Result<(), Error> {
        if self.behind() < BACKLOG_BYTES_HURRY { Ok(()) } else { self.make_more_room() }
    }

    #[cold]
    fn make_more_room(&self) -> Result<(), Error> {
        if self.drive == Drive::Caller {
            let drained = self.drain();
            return if self.behind() < BACKLOG_BYTES_MAX { Ok(()) } else { drained };
        }
        self.signal.hurry();
        let mut progress = self.signal.progress();
        while self.behind() >= BACKLOG_BYTES_MAX {
            let now = self.signal.wait_for_progress(progress, BACKLOG_PATIENCE);
            if now == progress {
                return Err(Error::Backlog { bytes: self.behind() });
            }
            progress = now;
        }
        Ok(())
    }

    pub(crate) fn stream(&self, id: StreamId, options: &StreamOptions) -> Result<Arc<StreamState>, Error> {
        let _opening = lock(&self.opening);
        let known = lock(&self.streams).get(&id).map(Arc::clone);
        if let Some(state) = known {
            if !state.is_refused() {
                state.open_again(options, self.slot());
                return Ok(state);
            }
            // Its last records were not taken. Whoever still has it open gets no further; a new beginning is made from
            // what the database has, once the spool holds nothing more of it.
            self.drain()?;
            lock(&self.streams).remove(&id);
        }
        // Not among the streams of this process: everything that was ever appended to it is in the database.
        let tail = self.reading.view(|view| view.tail(id))?;
        if tail.as_ref().is_some_and(|tail| tail.removed == Some(Removal::Records)) {
            return Err(Error::Removed { stream: id });
        }
        let fresh_salt = StreamId::random()?.0;
        let opening = Opening {
            slot: self.slot(),
            id,
            kind: tail.as_ref().map_or(options.kind, |tail| tail.kind),
            next_seq: tail.as_ref().map_or(0, |tail| tail.next_seq),
            last_at_ns: tail.as_ref().map_or(0, |tail| tail.last_ns),
            opened_at_ms: tail.as_ref().map_or_else(|| self.clock.wall_ms(), |tail| tail.opened_at_ms),
            salt: tail.as_ref().and_then(|tail| tail.salt).unwrap_or(fresh_salt),
            tenant: options.tenant.clone(),
            user: options.user.clone(),
            lease: None,
        };
        let state = Arc::new(StreamState::new(opening, options));
        lock(&self.streams).insert(id, Arc::clone(&state));
        Ok(state)
    }

    fn slot(&self) -> u32 {
        self.next_slot.fetch_add(1, Ordering::Relaxed)
    }

    /// Puts everything appended so far into the database.
    pub(crate) fn drain(&self) -> Result<(), Error> {
        let mut drainer = lock(&self.drainer);
        self.signal.drain_begins();
        let result = self.drain_with(&mut drainer);
        drop(drainer);
        {
            let mut trouble = lock(&self.trouble);
            let damage = trouble.take_if(|trouble| matches!(trouble, Error::Corrupt { .. }));
            *trouble = result.as_ref().err().cloned().or(damage);
        }
        self.signal.drained(result.is_ok());
        result
    }

    fn drain_with(&self, drainer: &mut Drainer) -> Result<(), Error> {
        loop {
            let Drainer { database, feed, cursors, fed } = drainer;
            let mut enough = false;
            for segment in self.spool.segments() {
                let cursor = cursors.entry(segment.number).or_insert_with(|| Cursor::new(segment.nonce));
                let before = cursor.offset;
                let stop = self.feed(&segment, cursor, feed);
                *fed += cursor.offset - before;
                enough = stop? == Stop::Enough;
                if enough {
                    break;
                }
            }
            if !feed.is_empty() {
                let database = self.database(database)?;
                let outcome = database.commit(self.chain(), &feed.batch, Promise::Written, &*self.disk)?;
                feed.taken();
                for (stream, error) in outcome.refused {
                    self.refuse(stream, error);
                }
            }
            for (stream, error) in feed.broken.drain(..) {
                self.refuse(stream, error);
            }
            self.drained.store(*fed, Ordering::Release);
            if !enough {
                break;
            }
        }
        self.forget_streams();
        self.remove_drained(drainer)
    }

    /// Feeds what is new in a segment.
    fn feed(&self, segment: &Segment, cursor: &mut Cursor, feed: &mut Feed) -> Result<Stop, Error> {
        let end = segment.written();
        let mut unreadable = false;
        let stop = cursor.read(&*segment.file, Some(end), &mut |body| {
            unreadable |= feed.frame(segment.number, body).is_err();
            feed.bytes() < BATCH_BYTES
        });
        let stop = stop.map_err(|error| Error::io("read", &segment.path, &error))?;
        if stop == Stop::Torn || unreadable {
            // Written whole and read back otherwise: the disk is damaged. Streams with records in what cannot be read are
            // refused when their next ones come.
            let what = "the spool is not what was written";
            *lock(&self.trouble) = Some(Error::Corrupt { place: Place::default(), what });
            segment.close();
        }
        if stop == Stop::Torn {
            cursor.offset = end;
        }
        Ok(stop)
    }

    /// Lets the stream's writer know that nothing more of it is taken.
    fn refuse(&self, stream: StreamId, error: Error) {
        let state = lock(&self.streams).get(&stream).map(Arc::clone);
        if let Some(state) = state {
            state.refuse(error);
        }
    }

    /// Forgets streams nobody has open and everything of which is in the database.
    fn forget_streams(&self) {
        let drained = self.drained.load(Ordering::Acquire);
        lock(&self.streams)
            .retain(|_, state| Arc::strong_count(state) > 1 || state.appended_until() > drained);
    }

    /// Removes the segments that take nothing more and hold nothing the database does not have.
    fn remove_drained(&self, drainer: &mut Drainer) -> Result<(), Error> {
        let Drainer { database, feed, cursors, .. } = drainer;
        let over = |segment: &Arc<Segment>| {
            let read = cursors.get(&segment.number).map_or(0, |cursor| cursor.offset);
            segment.is_closed() && read == segment.written()
        };
        let over: Vec<_> = self.spool.segments().into_iter().filter(over).collect();
        let promised = over.iter().any(|segment| segment.is_promised());
        if promised {
            self.database(database)?.sync(&*self.disk)?;
        }
        for segment in over {
            if !self.spool.remove(&segment, promised)? {
                // Promised a moment ago.
                self.database(database)?.sync(&*self.disk)?;
                self.spool.remove(&segment, true)?;
            }
            cursors.remove(&segment.number);
            feed.forget_segment(segment.number);
        }
        Ok(())
    }

    /// Lets go of a segment that only holds what the database has, so that an idle journal is one file.
    pub(crate) fn tidy(&self) -> Result<(), Error> {
        let mut drainer = lock(&self.drainer);
        for (number, cursor) in &drainer.cursors {
            self.spool.close_drained(*number, cursor.offset);
        }
        let result = self.remove_drained(&mut drainer);
        drop(drainer);
        if result.is_ok() {
            self.signal.tidied();
        }
        result
    }

    /// The connection for writing, opened again if a fork closed it.
    fn database<'a>(&self, slot: &'a mut Option<Database>) -> Result<&'a mut Database, Error> {
        match slot {
            Some(database) => Ok(database),
            empty => Ok(empty.insert(Database::open_again(&self.reading.path)?)),
        }
    }

    /// Does `work` with the connection for writing.
    fn write<T>(&self, work: impl FnOnce(&mut Database) -> Result<T, Error>) -> Result<T, Error> {
        let mut drainer = lock(&self.drainer);
        work(self.database(&mut drainer.database)?)
    }

    /// Takes in what dead processes left.
    pub(crate) fn recover(&self) -> Result<Recovery, Error> {
        let right = FolderLock::take(&*self.disk, &self.folder, &*self.clock)?;
        self.recover_with(&right)
    }

    fn recover_with(&self, right: &FolderLock) -> Result<Recovery, Error> {
        self.write(|database| {
            recovery::recover(database, self.chain(), &*self.disk, &self.folder, self.instance, right)
        })
    }

    pub(crate) fn remove(&self, what: &Selection, how: Removal) -> Result<Removed, Error> {
        // What this process and dead ones still have of it must go too.
        self.recover()?;
        self.drain()?;
        let now_ms = self.clock.wall_ms();
        let removed =
            self.write(|database| removal::remove(database, self.chain(), what, how, now_ms, &*self.disk))?;
        self.drain()?;
        self.tidy()?;
        Ok(removed)
    }

    /// Closes the connections before a fork; they are opened again when they are needed.
    pub(crate) fn close_connections(&self) {
        if self.open_now().is_ok() {
            if let Some(database) = lock(&self.drainer).database.take() {
                database.close_quietly();
            }
            self.reading.close();
        }
    }

    /// In a child: lets go of the lock by which the parent says that it lives.
    pub(crate) fn forget_files(&self) {
        drop(take_now(&self.alive));
    }

    pub(crate) fn close(&self) -> Result<(), Error> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.signal.stop();
        self.syncs.stop();
        let threads = std::mem::take(&mut *lock(&self.threads));
        let here = std::thread::current().id();
        for thread in threads {
            // The last handle may be dropped by one of the threads; that one ends by itself.
            if thread.thread().id() != here {
                let _: std::thread::Result<()> = thread.join();
            }
        }
        self.sync_waiting();
        let drained = self.drain().and_then(|()| self.tidy());
        self.reading.close();
        let database = lock(&self.drainer).database.take();
        if drained.is_err() {
            // What the database did not take stays in the spool, and is taken in by whoever opens the journal next.
            if let Some(database) = database {
                database.close_quietly();
            }
            drop(lock(&self.alive).take());
            return drained;
        }
        // Merges the log into the file, if nobody else has the journal open.
        drop(database);
        let removed = spool::remove(&*self.disk, &lock_path(&self.folder, self.instance));
        drop(lock(&self.alive).take());
        removed
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.reading.same_process().is_ok() {
            // There is nobody to tell; see there what becomes of what could not be stored.
            let _: Result<(), Error> = self.close();
            return;
        }
        // In a child everything but memory belongs to the parent: SQLite must not even close there.
        let drainer = self.drainer.get_mut().unwrap_or_else(PoisonError::into_inner);
        std::mem::forget(drainer.database.take());
        std::mem::forget(std::mem::take(self.threads.get_mut().unwrap_or_else(PoisonError::into_inner)));
    }
}

/// The absolute path without links, whether or not there is a file yet.
pub(crate) fn real_path(path: &Path) -> Result<PathBuf, Error> {
    let fail = |error: std::io::Error| Error::io("find", path, &error);
    match path.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        result => return result.map_err(fail),
    }
    let name = path.file_name().ok_or(Error::Invalid { what: "a journal's path names a file" })?;
    let parent =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    Ok(parent.canonicalize().map_err(fail)?.join(name))
}

/// Where the spools of the journal at `path` are.
fn spool_folder(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-spool");
    PathBuf::from(name)
}

#[cfg(unix)]
fn file_identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn file_identity(_: &Path) -> Option<(u64, u64)> {
    None
}

/// Nothing that runs under these locks panics; if it did, what they protect would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
