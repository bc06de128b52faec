//! A disk that is full, fails or may not be written: typed errors, nothing acknowledged lost, and a way back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::ErrorKind;
use std::sync::Arc;

use l0_journal::clock::VirtualClock;
use l0_journal::faulty::{Fault, FaultyDisk, Operation};
use l0_journal::{
    Archive, Before, Chunk, Class, Drive, Error, Journal, Kind, Options, Store, Stream, StreamId,
    StreamOptions,
};

mod scratch;

struct World {
    _folder: tempfile::TempDir,
    disk: FaultyDisk,
    options: Options,
    journal: Journal,
}

fn world() -> World {
    let folder = scratch::folder();
    let disk = FaultyDisk::default();
    let clock = Arc::new(VirtualClock::at(1_760_000_000_000));
    let options = Options { drive: Drive::Caller, disk: Arc::new(disk.clone()), clock, ..Options::default() };
    let journal = Journal::open(folder.path().join("j.db"), &options).unwrap();
    World { _folder: folder, disk, options, journal }
}

impl World {
    fn stream(&self, id: u8) -> Stream {
        self.journal.stream(StreamId([id; 16]), &StreamOptions::new(Kind::Session)).unwrap()
    }

    fn count(&self, id: u8) -> usize {
        let records = self.journal.load(StreamId([id; 16]), 0, usize::MAX).unwrap();
        assert!(records.iter().map(|record| record.seq).eq(0..records.len() as u64));
        records.len()
    }
}

fn append(stream: &Stream, text: &str) -> Result<u64, Error> {
    stream.chunk(&Chunk { at_ns: 0, attempt: 1, signal: 0, class: Class::Completion, text, object: None })
}

/// A stream that missed a record takes no more: a record with a hole would replay as something that never happened.
#[test]
fn a_stream_is_lost_when_the_spool_is_full_and_goes_on_when_there_is_room() {
    let world = world();
    let (one, other) = (world.stream(1), world.stream(2));
    append(&one, "a").unwrap();
    append(&other, "a").unwrap();
    world.disk.break_writes(Some(ErrorKind::StorageFull));
    assert!(matches!(append(&one, "b"), Err(Error::Full { .. })));
    world.disk.break_writes(None);
    assert!(
        matches!(append(&one, "c"), Err(Error::Lost { because, .. }) if matches!(*because, Error::Full { .. }))
    );
    append(&other, "b").unwrap();
    // Opened again, it goes on where it was.
    let again = world.stream(1);
    assert_eq!(append(&again, "b").unwrap(), 1);
    assert_eq!(append(&one, "c").unwrap(), 2);
    assert_eq!((world.count(1), world.count(2)), (3, 2));
    assert!(world.journal.verify(None).unwrap().is_sound());
}

/// G5: while the database takes nothing, the spool does, and the records are as safe there.
#[test]
fn a_database_that_takes_nothing_loses_nothing() {
    let world = world();
    let stream = world.stream(1);
    append(&stream, "a").unwrap();
    for kind in [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem, ErrorKind::Other] {
        world.disk.break_commits(Some(kind));
        append(&stream, "b").unwrap();
        let error = world.journal.flush().unwrap_err();
        let health = world.journal.health();
        assert_eq!(health.error, Some(error));
        assert!(health.behind_bytes > 0);
        assert!(world.journal.barrier(Before::SideEffect).wait().is_ok(), "the spool can still be synced");
    }
    world.disk.break_commits(None);
    world.journal.flush().unwrap();
    assert_eq!(world.journal.health(), l0_journal::Health::default());
    assert_eq!(world.count(1), 4);
}

#[test]
fn what_waits_for_the_database_is_bounded() {
    let world = world();
    let stream = world.stream(1);
    world.disk.break_commits(Some(ErrorKind::StorageFull));
    let text = "x".repeat(1 << 20);
    let mut taken = 0;
    let error = loop {
        match append(&stream, &text) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100);
    };
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
    assert!((60..=65).contains(&taken), "{taken} MiB were taken");
    world.disk.break_commits(None);
    assert_eq!(append(&stream, "more").unwrap(), taken);
    assert_eq!(world.count(1) as u64, taken + 1);
}

/// Side effects fail closed: after a sync that failed, no barrier is passed until the database has everything, synced.
#[test]
fn a_failed_sync_closes_barriers_until_it_is_mended() {
    let world = world();
    let stream = world.stream(1);
    append(&stream, "a").unwrap();
    let next = world.disk.log().len();
    world.disk.plan(next, Fault::Fail(ErrorKind::Other));
    assert!(world.journal.barrier(Before::SideEffect).wait().is_err());
    assert!(world.journal.barrier(Before::SideEffect).wait().is_err());
    append(&stream, "b").unwrap();
    assert!(world.journal.barrier(Before::SideEffect).wait().is_err());
    // The database takes what the file may have lost, and the file goes.
    world.journal.flush().unwrap();
    let synced = world.disk.log().contains(&Operation::Point(l0_journal::disk::Point::Synced));
    assert!(synced, "the database was not synced");
    world.journal.barrier(Before::SideEffect).wait().unwrap();
    assert_eq!(world.count(1), 2);
}

#[test]
fn a_journal_that_cannot_be_written_can_be_read() {
    let world = world();
    append(&world.stream(1), "a").unwrap();
    world.journal.flush().unwrap();
    let path = world.journal.path().to_path_buf();
    world.journal.close().unwrap();
    world.disk.break_writes(Some(ErrorKind::ReadOnlyFilesystem));
    assert!(matches!(Journal::open(&path, &world.options), Err(Error::ReadOnly { .. })));
    let list = || {
        let names =
            std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let before = list();
    let archive = Archive::open(&path, None).unwrap();
    assert_eq!(archive.load(StreamId([1; 16]), 0, 10).unwrap().len(), 1);
    assert!(archive.verify(None).unwrap().is_sound());
    let refused = archive.stream(StreamId([1; 16]), &StreamOptions::new(Kind::Session));
    assert!(matches!(refused, Err(Error::ReadOnly { .. })));
    drop(archive);
    assert_eq!(list(), before, "reading left something behind");
}

/// A caller's mistake is not the stream's end.
#[test]
fn a_refused_record_leaves_the_stream_as_it_was() {
    let world = world();
    let stream = world.stream(1);
    append(&stream, "a").unwrap();
    let large = "x".repeat((256 << 20) + 1);
    assert!(matches!(append(&stream, &large), Err(Error::TooLarge { .. })));
    assert_eq!(append(&stream, "b").unwrap(), 1);
    assert_eq!(world.count(1), 2);
}

/// G5: the run of a dead holder is not given away before what it left is there, or who goes on would do it again.
#[test]
fn a_lease_is_not_given_before_what_its_dead_holder_left_is_taken_in() {
    let (mut refused, mut given) = (0, 0);
    for operation in 0..12 {
        let World { _folder: folder, disk, options, journal } = world();
        let (path, run) = (folder.path().join("j.db"), StreamId([7; 16]));
        let lease = journal.lease(run, std::time::Duration::ZERO).unwrap();
        let stream = journal.stream(run, &StreamOptions::new(Kind::Run).under(&lease)).unwrap();
        append(&stream, "done").unwrap();
        let disk = {
            let next = disk.kill();
            drop((stream, lease, journal));
            next
        };
        let options = Options { disk: Arc::new(disk.clone()), ..options };
        disk.break_commits(Some(ErrorKind::StorageFull));
        let journal = Journal::open(&path, &options).unwrap();
        assert!(!journal.recovery().failed.is_empty());
        disk.break_commits(None);
        disk.plan(disk.log().len() + operation, Fault::Fail(ErrorKind::StorageFull));
        match journal.lease(run, std::time::Duration::ZERO) {
            Ok(_) => {
                given += 1;
                assert_eq!(journal.load(run, 0, 9).unwrap().len(), 1, "a fault in operation {operation}");
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 0 && given > 0, "{refused} {given}");
}
