//! The file operations of the spool, behind a trait so that a simulation can make any of them fail, tear or be the last.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

#[cfg(target_os = "linux")]
use crate::mapped::Tail;

/// A file system, as far as a spool uses one.
pub trait Disk: Send + Sync {
    /// Creates a folder for this user alone; one that exists is fine.
    ///
    /// # Errors
    /// What the operating system says.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Creates a file for this user alone, which must not exist yet.
    ///
    /// # Errors
    /// What the operating system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// As [`Self::create`], for a file that is written in small pieces, each at the end of the last: it may be longer than
    /// what was written, by zeros.
    ///
    /// # Errors
    /// What the operating system says.
    fn create_growing(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that exists.
    ///
    /// # Errors
    /// What the operating system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// The files in a folder, sorted by name.
    ///
    /// # Errors
    /// What the operating system says.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the creation and removal of files in a folder survive a loss of power.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Called at moments of a database commit, so that a simulation can fail there too.
    ///
    /// # Errors
    /// Whatever the simulation wants; real disks have none.
    fn point(&self, point: Point) -> io::Result<()> {
        let _ = point;
        Ok(())
    }
}

/// A moment of a database commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Point {
    /// The transaction is about to begin.
    Begin,
    /// Everything is in the transaction, which is about to be committed.
    Commit,
    /// The transaction is committed.
    Committed,
    /// The transaction is committed and synced.
    Synced,
}

/// An open file of a [`Disk`]. Closing it releases its lock.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the operating system says; some of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads into `buffer` from `offset` and says how much; 0 at the end.
    ///
    /// # Errors
    /// What the operating system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes what was written survive a loss of power.
    ///
    /// # Errors
    /// What the operating system says. What was written since the last success may then be lost.
    fn sync(&self) -> io::Result<()>;

    /// Locks the file for this handle alone if nobody else holds it, and says whether it did. The lock ends with the
    /// handle or the process.
    ///
    /// # Errors
    /// What the operating system says.
    fn try_lock(&self) -> io::Result<bool>;
}

/// Reads `length` bytes from `offset`, or fewer at the end of the file.
pub(crate) fn read_span(file: &dyn DiskFile, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(offset + done as u64, rest) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            result => result,
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OsFile::from(create(path)?)))
    }

    #[cfg(target_os = "linux")]
    fn create_growing(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = create(path)?;
        Ok(Box::new(OsFile { tail: Tail::of(&file), file }))
    }

    #[cfg(not(target_os = "linux"))]
    fn create_growing(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OsFile::from(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
        let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
        paths.sort_unstable();
        Ok(paths)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        // Only Unix lets a folder be opened and synced; elsewhere the file system journals names by itself.
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }
}

/// Options that create a file for this user alone.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn create(path: &Path) -> io::Result<File> {
    private(OpenOptions::new().read(true).write(true).create_new(true)).open(path)
}

#[derive(Debug)]
struct OsFile {
    file: File,
    /// Where it grows, if it does and can be mapped there.
    #[cfg(target_os = "linux")]
    tail: Option<Tail>,
}

impl From<File> for OsFile {
    fn from(file: File) -> Self {
        Self {
            file,
            #[cfg(target_os = "linux")]
            tail: None,
        }
    }
}

impl DiskFile for OsFile {
    #[cfg(unix)]
    #[inline]
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if self.tail.as_ref().is_some_and(|tail| tail.put(&self.file, offset, bytes)) {
            return Ok(());
        }
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = std::os::windows::fs::FileExt::seek_write(&self.file, bytes, offset)?;
            bytes = bytes.get(written..).filter(|_| written > 0).ok_or(io::ErrorKind::WriteZero)?;
            offset += written as u64;
        }
        Ok(())
    }

    #[cfg(windows)]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_and_folders_are_for_this_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().join("spool");
        OsDisk.create_folder(&spool).unwrap();
        OsDisk.create_folder(&spool).unwrap();
        let path = spool.join("file");
        OsDisk.create(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&spool), mode(&path)), (0o700, 0o600));
        assert!(OsDisk.create(&path).is_err());
    }

    #[test]
    fn a_lock_ends_with_its_handle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = OsDisk.create(&path).unwrap();
        assert!(first.try_lock().unwrap());
        let second = OsDisk.open(&path).unwrap();
        assert!(!second.try_lock().unwrap());
        drop(first);
        assert!(second.try_lock().unwrap());
    }

    #[test]
    fn a_span_ends_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = OsDisk.create(&folder.path().join("file")).unwrap();
        file.write_at(2, b"cdef").unwrap();
        assert_eq!(read_span(&*file, 0, 100).unwrap(), b"\0\0cdef");
        assert_eq!(read_span(&*file, 3, 2).unwrap(), b"de");
        assert_eq!(read_span(&*file, 9, 2).unwrap(), b"");
    }
}
