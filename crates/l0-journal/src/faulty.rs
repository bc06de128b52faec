//! A disk in memory that fails where it is told to, forgets what was not synced, and remembers what it did.
//!
//! One [`FaultyDisk`] is what one process sees. [`FaultyDisk::kill`] ends the process: what it wrote stays, its locks go.
//! [`FaultyDisk::lose_power`] ends the machine: of what was not synced, any part may be gone.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, Point};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation fails and leaves no trace.
    Fail(io::ErrorKind),
    /// The operation fails after so many bytes of a write were written.
    Short(io::ErrorKind, usize),
    /// The process dies in the operation, after so many bytes of a write were written.
    Die(usize),
}

/// What a disk was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// [`Disk::create`] or [`Disk::create_growing`].
    Create(PathBuf),
    /// [`Disk::remove`].
    Remove(PathBuf),
    /// [`DiskFile::write_at`], with the number of bytes.
    Write(PathBuf, usize),
    /// [`DiskFile::sync`].
    Sync(PathBuf),
    /// [`Disk::sync_folder`].
    SyncFolder,
    /// [`Disk::point`].
    Point(Point),
}

/// The length of a file that grows is a multiple of this: of a few frames, so that some fit and others do not.
const GROWTH_BYTES: usize = 128;

/// Called at every [`Point`], before its fault strikes.
type Watcher = Arc<dyn Fn(Point) + Send + Sync>;

/// One process's view of a simulated disk.
#[derive(Clone, Default)]
pub struct FaultyDisk {
    world: Arc<Mutex<World>>,
    process: u32,
}

#[derive(Default)]
struct World {
    files: BTreeMap<PathBuf, Arc<Mutex<Contents>>>,
    /// The names as they were when their folder was synced last.
    durable: BTreeMap<PathBuf, Arc<Mutex<Contents>>>,
    log: Vec<Operation>,
    faults: BTreeMap<usize, Fault>,
    /// A fault for every operation on files from now on.
    broken: Option<io::ErrorKind>,
    /// A fault for every commit from now on.
    broken_commits: Option<io::ErrorKind>,
    dead: bool,
    process: u32,
    watcher: Option<Watcher>,
}

#[derive(Default)]
struct Contents {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<(u64, Vec<u8>)>,
    lock: Option<(u32, u64)>,
    handles: u64,
    /// Whether zeros follow what was written, as on a disk that allocates ahead.
    grows: bool,
}

impl FaultyDisk {
    /// Lets the operation with this number, counted from 0, go wrong.
    pub fn plan(&self, operation: usize, fault: Fault) {
        lock(&self.world).faults.insert(operation, fault);
    }

    /// Lets every write, creation and sync fail from now on, until `None` mends it.
    pub fn break_writes(&self, kind: Option<io::ErrorKind>) {
        lock(&self.world).broken = kind;
    }

    /// Lets every commit of the database fail from now on, until `None` mends it.
    pub fn break_commits(&self, kind: Option<io::ErrorKind>) {
        lock(&self.world).broken_commits = kind;
    }

    /// Calls `watcher` at every [`Point`], to take an image of the database for one.
    pub fn watch(&self, watcher: impl Fn(Point) + Send + Sync + 'static) {
        lock(&self.world).watcher = Some(Arc::new(watcher));
    }

    /// Everything it was asked that can go wrong, in order.
    #[must_use]
    pub fn log(&self) -> Vec<Operation> {
        lock(&self.world).log.clone()
    }

    /// Whether a planned death has struck.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        lock(&self.world).dead
    }

    /// Ends the process and returns what the next one sees: all that was written, no locks, no plans.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut world = lock(&self.world);
        for file in world.files.values() {
            lock(file).lock = None;
        }
        world.faults.clear();
        world.log.clear();
        world.broken = None;
        world.broken_commits = None;
        world.dead = false;
        world.watcher = None;
        world.process += 1;
        Self { world: Arc::clone(&self.world), process: world.process }
    }

    /// Another process that lives at the same time as this one.
    #[must_use]
    pub fn another_process(&self) -> Self {
        // The locks tell processes apart by their handles; the number only says who is dead after `kill`.
        self.clone()
    }

    /// Ends the machine. Of what was not synced, `seed` decides what survives: each write in whole, in part or not at all,
    /// in any order; each new or removed name or not.
    #[must_use]
    pub fn lose_power(&self, seed: u64) -> Self {
        let mut random = seed;
        let mut world = lock(&self.world);
        let mut names = world.durable.clone();
        for (path, file) in &world.files {
            if names.contains_key(path) || splitmix(&mut random).is_multiple_of(2) {
                names.insert(path.clone(), Arc::clone(file));
            }
        }
        names.retain(|path, _| world.files.contains_key(path) || splitmix(&mut random).is_multiple_of(2));
        for file in names.values() {
            let mut file = lock(file);
            let mut survives = file.synced.clone();
            for (offset, bytes) in std::mem::take(&mut file.unsynced) {
                let kept = match splitmix(&mut random) % 4 {
                    0 => 0,
                    1 => usize::try_from(splitmix(&mut random) % (bytes.len() as u64 + 1)).unwrap_or(0),
                    _ => bytes.len(),
                };
                write(&mut survives, offset, bytes.get(..kept).unwrap_or_default());
            }
            file.now.clone_from(&survives);
            file.synced = survives;
        }
        world.files.clone_from(&names);
        world.durable = names;
        drop(world);
        self.kill()
    }

    /// The content of a file.
    #[must_use]
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        lock(&self.world).files.get(path).map(|file| lock(file).now.clone())
    }

    /// Puts a file there, or replaces its content, behind the back of whoever has it open.
    pub fn put(&self, path: &Path, content: Vec<u8>) {
        let mut world = lock(&self.world);
        let file = Arc::clone(world.files.entry(path.to_path_buf()).or_default());
        let mut file = lock(&file);
        file.synced.clone_from(&content);
        file.now = content;
        file.unsynced.clear();
    }

    /// Every file there is.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        lock(&self.world).files.keys().cloned().collect()
    }

    /// Notes the operation and says how much of a write goes through before it fails, if it fails.
    fn begin(&self, operation: Operation) -> Result<(), (usize, io::Error)> {
        let mut world = lock(&self.world);
        if world.dead || world.process != self.process {
            return Err((0, dead()));
        }
        let number = world.log.len();
        let is_point = matches!(operation, Operation::Point(_));
        world.log.push(operation);
        if let Some(kind) = if is_point { world.broken_commits } else { world.broken } {
            return Err((0, kind.into()));
        }
        match world.faults.get(&number).copied() {
            None => Ok(()),
            Some(Fault::Fail(kind)) => Err((0, kind.into())),
            Some(Fault::Short(kind, bytes)) => Err((bytes, kind.into())),
            Some(Fault::Die(bytes)) => {
                world.dead = true;
                Err((bytes, dead()))
            }
        }
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = lock(&self.world);
        if world.dead || world.process != self.process { Err(dead()) } else { Ok(world) }
    }

    fn created(&self, path: &Path, grows: bool) -> io::Result<Box<dyn DiskFile>> {
        self.begin(Operation::Create(path.to_path_buf())).map_err(|(_, error)| error)?;
        let contents = Arc::new(Mutex::new(Contents { grows, ..Contents::default() }));
        {
            let mut world = self.alive()?;
            if world.files.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            world.files.insert(path.to_path_buf(), Arc::clone(&contents));
        }
        Ok(self.file(path, contents))
    }

    fn file(&self, path: &Path, contents: Arc<Mutex<Contents>>) -> Box<dyn DiskFile> {
        let handle = {
            let mut contents = lock(&contents);
            contents.handles += 1;
            (self.process, contents.handles)
        };
        Box::new(FaultyFile { disk: self.clone(), path: path.to_path_buf(), contents, handle })
    }
}

impl Disk for FaultyDisk {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        self.alive().map(|_| ())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.created(path, false)
    }

    fn create_growing(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.created(path, true)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let contents = self.alive()?.files.get(path).map(Arc::clone).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(path, contents))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.alive()?.files.keys().filter(|path| path.parent() == Some(folder)).cloned().collect())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.begin(Operation::Remove(path.to_path_buf())).map_err(|(_, error)| error)?;
        self.alive()?.files.remove(path).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.begin(Operation::SyncFolder).map_err(|(_, error)| error)?;
        let mut world = self.alive()?;
        let here = |path: &Path| path.parent() == Some(folder);
        world.durable.retain(|path, _| !here(path));
        let synced: Vec<_> = world
            .files
            .iter()
            .filter(|(path, _)| here(path))
            .map(|(path, file)| (path.clone(), Arc::clone(file)))
            .collect();
        world.durable.extend(synced);
        Ok(())
    }

    fn point(&self, point: Point) -> io::Result<()> {
        let watcher = self.alive()?.watcher.clone();
        if let Some(watcher) = watcher {
            watcher(point);
        }
        self.begin(Operation::Point(point)).map_err(|(_, error)| error)
    }
}

/// The database beside a [`FaultyDisk`]: a file of this machine, of which only what was synced survives a loss of power.
pub struct Images {
    path: PathBuf,
    durable: Arc<Mutex<Durable>>,
}

/// The file and its log as they were when they were synced last.
#[derive(Default)]
struct Durable {
    file: Option<Vec<u8>>,
    log: Option<Vec<u8>>,
}

impl Images {
    /// Takes an image of the database at `path` whenever it is synced, as long as the process lives whose disk this is.
    #[must_use]
    pub fn of(path: &Path, disk: &FaultyDisk) -> Self {
        let images = Self { path: path.to_path_buf(), durable: Arc::default() };
        images.go_on(disk);
        images
    }

    /// Goes on with the next process.
    pub fn go_on(&self, disk: &FaultyDisk) {
        let (path, durable) = (self.path.clone(), Arc::clone(&self.durable));
        disk.watch(move |point| {
            if point == Point::Synced {
                let mut durable = lock(&durable);
                durable.file = std::fs::read(&path).ok();
                durable.log = std::fs::read(beside(&path, "-wal")).ok();
            }
        });
    }

    /// Puts the database back to what was synced, with any part of what its log had beyond that.
    ///
    /// # Errors
    /// If this machine's own disk fails.
    pub fn lose_power(&self, seed: u64) -> io::Result<()> {
        let (shm, wal) = (beside(&self.path, "-shm"), beside(&self.path, "-wal"));
        let unsynced_log = std::fs::read(&wal).unwrap_or_default();
        for path in [&shm, &wal] {
            // What is not there need not go.
            drop(std::fs::remove_file(path));
        }
        let durable = lock(&self.durable);
        match &durable.file {
            Some(file) => std::fs::write(&self.path, file)?,
            None => drop(std::fs::remove_file(&self.path)),
        }
        if let Some(log) = &durable.log {
            let mut log = log.clone();
            if unsynced_log.starts_with(&log) {
                let more = unsynced_log.len() - log.len();
                let kept = log.len() + more * usize::try_from(seed % 4).unwrap_or(0) / 3;
                log = unsynced_log.get(..kept).unwrap_or_default().to_vec();
            }
            std::fs::write(&wal, log)?;
        }
        Ok(())
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

struct FaultyFile {
    disk: FaultyDisk,
    path: PathBuf,
    contents: Arc<Mutex<Contents>>,
    handle: (u32, u64),
}

impl DiskFile for FaultyFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let outcome = self.disk.begin(Operation::Write(self.path.clone(), bytes.len()));
        let written = match &outcome {
            Ok(()) => bytes,
            Err((count, _)) => bytes.get(..*count).unwrap_or(bytes),
        };
        if !written.is_empty() {
            let mut contents = lock(&self.contents);
            write(&mut contents.now, offset, written);
            if contents.grows {
                let length = contents.now.len().next_multiple_of(GROWTH_BYTES);
                contents.now.resize(length, 0);
            }
            contents.unsynced.push((offset, written.to_vec()));
        }
        outcome.map_err(|(_, error)| error)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        drop(self.disk.alive()?);
        let contents = lock(&self.contents);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = contents.now.get(start..).unwrap_or_default();
        let count = found.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), found.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.begin(Operation::Sync(self.path.clone())).map_err(|(_, error)| error)?;
        let mut contents = lock(&self.contents);
        let Contents { now, synced, .. } = &mut *contents;
        synced.clone_from(now);
        contents.unsynced.clear();
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        drop(self.disk.alive()?);
        let mut contents = lock(&self.contents);
        let free = contents.lock.is_none_or(|holder| holder == self.handle);
        if free {
            contents.lock = Some(self.handle);
        }
        Ok(free)
    }
}

impl Drop for FaultyFile {
    fn drop(&mut self) {
        let mut contents = lock(&self.contents);
        if contents.lock == Some(self.handle) {
            contents.lock = None;
        }
    }
}

fn write(to: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = start.saturating_add(bytes.len());
    if !bytes.is_empty() && to.len() < end {
        to.resize(end, 0);
    }
    if let Some(span) = to.get_mut(start..end) {
        span.copy_from_slice(bytes);
    }
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

/// A simulation goes on after a test has failed inside one of its locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// SplitMix64: small, and the same for ever, so that a seed keeps its meaning.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_and_the_rest_may_not() {
        let (mut torn, mut lost, mut whole) = (0, 0, 0);
        for seed in 0..64 {
            let disk = FaultyDisk::default();
            let path = Path::new("d/f");
            let file = disk.create(path).unwrap();
            file.write_at(0, b"synced").unwrap();
            file.sync().unwrap();
            disk.sync_folder(Path::new("d")).unwrap();
            file.write_at(6, b"unsynced").unwrap();
            let after = disk.lose_power(seed).content(path).unwrap();
            assert!(after.starts_with(b"synced"));
            match after.len() {
                6 => lost += 1,
                14 => whole += 1,
                _ => torn += 1,
            }
        }
        assert!(torn > 0 && lost > 0 && whole > 0, "{torn} {lost} {whole}");
    }

    #[test]
    fn a_dead_process_does_nothing_and_holds_no_lock() {
        let disk = FaultyDisk::default();
        let file = disk.create(Path::new("d/f")).unwrap();
        assert!(file.try_lock().unwrap());
        disk.plan(1, Fault::Die(2));
        assert!(file.write_at(0, b"abcd").is_err());
        assert!(disk.is_dead() && file.write_at(0, b"x").is_err() && disk.list(Path::new("d")).is_err());
        let next = disk.kill();
        assert_eq!(next.content(Path::new("d/f")).unwrap(), b"ab");
        assert!(next.open(Path::new("d/f")).unwrap().try_lock().unwrap());
        assert!(file.write_at(0, b"x").is_err());
    }
}
