//! Where tests keep files.

use std::path::Path;

use tempfile::TempDir;

/// A folder that goes with the test, in memory where there is such a place: these tests sync thousands of times, and what
/// a real disk does is simulated.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    folder.unwrap()
}
