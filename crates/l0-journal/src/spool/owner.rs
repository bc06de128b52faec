//! Who owns a spool, and whether they still live.
//!
//! Every process that writes to a journal holds a lock on a file of its own beside the journal's spools. The operating
//! system lets go of the lock when the process dies, however it dies. A forked child keeps its parent's lock by accident;
//! therefore the file also says who the owner is, and an owner that is gone is dead, lock or no lock.

use std::path::Path;
use std::time::Duration;

use crate::clock::Clock;
use crate::disk::{Disk, DiskFile, read_span};
use crate::spool::lock_path;
use crate::{Error, StreamId};

/// How long one process waits for another to open or recover the journal.
const FOLDER_WAIT: Duration = Duration::from_secs(10);
const FOLDER_POLL: Duration = Duration::from_millis(5);

/// The right to change which spools there are, until it is dropped.
pub(crate) struct FolderLock {
    _file: Box<dyn DiskFile>,
}

impl FolderLock {
    /// Waits for the right.
    pub(crate) fn take(disk: &dyn Disk, folder: &Path, clock: &dyn Clock) -> Result<Self, Error> {
        let path = folder.join("open.lock");
        let file = open_or_create(disk, &path)?;
        let give_up = clock.monotonic() + FOLDER_WAIT;
        while !file.try_lock().map_err(|error| Error::io("lock", &path, &error))? {
            if clock.monotonic() >= give_up {
                return Err(Error::Busy { doing: "open the journal" });
            }
            clock.sleep(FOLDER_POLL);
        }
        Ok(Self { _file: file })
    }
}

/// Creates and locks the file that says this instance lives.
pub(crate) fn register(
    disk: &dyn Disk,
    folder: &Path,
    instance: StreamId,
    _right: &FolderLock,
) -> Result<Box<dyn DiskFile>, Error> {
    let path = lock_path(folder, instance);
    let fail = |error: std::io::Error| Error::io("create", &path, &error);
    let file = disk.create(&path).map_err(fail)?;
    if !file.try_lock().map_err(fail)? {
        return Err(Error::Busy { doing: "open the journal" });
    }
    file.write_at(0, identity().as_bytes()).map_err(fail)?;
    Ok(file)
}

/// Whether the owner of a spool still lives.
pub(crate) fn is_alive(
    disk: &dyn Disk,
    folder: &Path,
    instance: StreamId,
    _right: &FolderLock,
) -> Result<bool, Error> {
    let path = lock_path(folder, instance);
    let file = match disk.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io("open", &path, &error)),
    };
    if file.try_lock().map_err(|error| Error::io("lock", &path, &error))? {
        return Ok(false);
    }
    let said = read_span(&*file, 0, 4096).map_err(|error| Error::io("read", &path, &error))?;
    Ok(!is_gone(&String::from_utf8_lossy(&said)))
}

/// What tells this machine, as long as it runs, from others: file locks mean something between processes that share it.
pub(crate) fn host() -> String {
    boot().unwrap_or_else(|| "this host".to_owned())
}

fn open_or_create(disk: &dyn Disk, path: &Path) -> Result<Box<dyn DiskFile>, Error> {
    use std::io::ErrorKind;
    match disk.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        result => return result.map_err(|error| Error::io("open", path, &error)),
    }
    match disk.create(path) {
        // Somebody was quicker.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => disk.open(path),
        result => result,
    }
    .map_err(|error| Error::io("create", path, &error))
}

/// Boot, process namespace, process and start of this process, a line each; empty lines where the system does not say.
fn identity() -> String {
    let process = std::process::id();
    let parts = [boot(), namespace(), Some(process.to_string()), started(process)];
    parts.map(Option::unwrap_or_default).join("\n")
}

/// Whether the process with this identity certainly does not live any more.
fn is_gone(identity: &str) -> bool {
    let mut lines = identity.lines();
    let mut next = || lines.next().filter(|line| !line.is_empty()).map(str::to_owned);
    let (boot_then, namespace_then, process, started_then) = (next(), next(), next(), next());
    // Only who sees the same processes can tell that one is missing.
    let comparable = boot_then.is_some()
        && boot_then == boot()
        && namespace_then.is_some()
        && namespace_then == namespace();
    let Some(process) = process.and_then(|process| process.parse().ok()) else {
        return false;
    };
    comparable && started_then.is_some() && started(process) != started_then
}

fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

fn namespace() -> Option<String> {
    Some(std::fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned())
}

/// When a process started, in the kernel's own ticks: a process id alone is used again.
fn started(process: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the name, in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::VirtualClock;
    use crate::faulty::FaultyDisk;

    fn folder() -> &'static Path {
        Path::new("d")
    }

    #[test]
    fn who_holds_a_lock_lives_and_who_died_does_not() {
        let disk = FaultyDisk::default();
        let clock = VirtualClock::default();
        let right = FolderLock::take(&disk, folder(), &clock).unwrap();
        let instance = StreamId([1; 16]);
        let lock = register(&disk, folder(), instance, &right).unwrap();
        assert!(is_alive(&disk, folder(), instance, &right).unwrap());
        assert!(!is_alive(&disk, folder(), StreamId([2; 16]), &right).unwrap());
        drop(right);
        let next = disk.kill();
        let right = FolderLock::take(&next, folder(), &clock).unwrap();
        assert!(!is_alive(&next, folder(), instance, &right).unwrap());
        drop(lock);
    }

    #[test]
    fn a_folder_is_waited_for_but_not_for_ever() {
        let disk = FaultyDisk::default();
        let clock = Arc::new(VirtualClock::default());
        let _right = FolderLock::take(&disk, folder(), &*clock).unwrap();
        assert!(matches!(FolderLock::take(&disk, folder(), &*clock), Err(Error::Busy { .. })));
        assert!(clock.monotonic() >= FOLDER_WAIT);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_is_gone_is_known_by_its_start() {
        assert!(!is_gone(&identity()));
        let gone = identity().replace(&started(std::process::id()).unwrap(), "1");
        assert!(is_gone(&gone));
        let elsewhere = identity().replace(&boot().unwrap(), "another-boot");
        assert!(!is_gone(&elsewhere));
        assert!(!is_gone(""));
    }
}
