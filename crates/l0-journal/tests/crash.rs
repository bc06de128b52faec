//! G5: what was acknowledged survives, wherever the process dies or the power fails.
//!
//! The spool is on a simulated disk on which every single operation can be the last; the database is a real SQLite file,
//! and dies at every moment of its commits.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use l0_journal::clock::VirtualClock;
use l0_journal::faulty::{Fault, FaultyDisk, Images, Operation};
use l0_journal::{
    Before, Body, Chunk, Class, Content, Drive, Entry, Error, Filter, Head, Journal, Kind, Options, Row,
    SessionRow, Store, Stream, StreamId, StreamOptions,
};

mod scratch;

/// What a process was told is safe.
#[derive(Debug, Default, Clone)]
struct Acknowledged {
    /// How many records of each stream, and how many were tried.
    records: BTreeMap<u8, (u64, u64)>,
    /// How many of them survive a loss of power.
    synced: BTreeMap<u8, u64>,
    rows: u64,
    head: Option<Head>,
}

fn options(disk: &FaultyDisk) -> Options {
    Options {
        drive: Drive::Caller,
        disk: Arc::new(disk.clone()),
        clock: Arc::new(VirtualClock::at(1_760_000_000_000)),
        ..Options::default()
    }
}

fn text(stream: u8, seq: u64) -> String {
    format!("stream {stream} record {seq} {}", "x".repeat(usize::try_from(seq % 7).unwrap() * 11))
}

/// Appends one record, a chunk or an entry, and notes whether it was acknowledged.
fn append(stream: &Stream, seen: &mut Acknowledged) -> Result<(), Error> {
    let id = stream.id().0[0];
    let (acknowledged, tried) = seen.records.entry(id).or_default();
    let seq = *acknowledged;
    *tried = seq + 1;
    let text = text(id, seq);
    let (at_ns, class) = (seq * 1000, Class::Completion);
    if seq % 5 == 0 {
        let contents = [Content { class, bytes: text.as_bytes() }];
        stream.entry(&Entry { at_ns, kind: 1, payload: b"\x01entry", contents: &contents })?;
    } else {
        stream.chunk(&Chunk { at_ns, attempt: 1, signal: 0, class, text: &text, object: None })?;
    }
    *acknowledged = seq + 1;
    Ok(())
}

/// A session of a program: streams, rows, flushes, a lease, barriers, everything that reaches a disk.
fn session(path: &Path, disk: &FaultyDisk, seen: &mut Acknowledged) -> Result<(), Error> {
    let journal = Journal::open(path, &options(disk))?;
    let stream = |id: u8| journal.stream(StreamId([id; 16]), &StreamOptions::new(Kind::Session));
    let sync = |seen: &mut Acknowledged| -> Result<(), Error> {
        journal.barrier(Before::SideEffect).wait()?;
        seen.synced = seen.records.iter().map(|(id, (acknowledged, _))| (*id, *acknowledged)).collect();
        Ok(())
    };
    let (one, two) = (stream(1)?, stream(2)?);
    for _ in 0..3 {
        append(&one, seen)?;
        append(&two, seen)?;
    }
    let row = SessionRow { id: one.id(), status: Some("running".to_owned()), ..SessionRow::default() };
    journal.put(&Row::Session(row))?;
    seen.rows = 1;
    sync(seen)?;
    append(&one, seen)?;
    journal.flush()?;
    seen.head = Some(journal.head()?);
    append(&one, seen)?;
    // Everything so far leaves the spool, though it was promised to survive a loss of power.
    journal.flush()?;
    journal.tidy()?;
    append(&two, seen)?;
    let lease = journal.lease(StreamId([9; 16]), Duration::ZERO)?;
    let leased = journal.stream(StreamId([3; 16]), &StreamOptions::new(Kind::Step).under(&lease))?;
    append(&leased, seen)?;
    append(&leased, seen)?;
    lease.release()?;
    // And this leaves it before anybody was promised anything.
    journal.tidy()?;
    sync(seen)?;
    append(&two, seen)?;
    append(&one, seen)?;
    journal.close()
}

/// Opens the journal again and holds it against what was acknowledged.
fn check(path: &Path, disk: &FaultyDisk, seen: &Acknowledged, what: &str, least: impl Fn(u8) -> u64) {
    let journal = Journal::open(path, &options(disk)).unwrap_or_else(|error| panic!("{what}: {error}"));
    let recovery = journal.recovery();
    assert!(recovery.failed.is_empty(), "{what}: {recovery:?}");
    for (id, (_, tried)) in &seen.records {
        let found = journal.load(StreamId([*id; 16]), 0, usize::MAX).unwrap();
        let count = found.len() as u64;
        assert!(
            count >= least(*id) && count <= *tried,
            "{what}: stream {id} has {count} of {:?}",
            seen.records
        );
        for record in &found {
            let stored = match &record.body {
                Body::Chunk { text, .. } => text,
                Body::Entry { contents, .. } => &contents[0].1,
            };
            assert_eq!(stored.text(), Some(text(*id, record.seq).as_str()), "{what}: stream {id}");
            assert_eq!(record.at_ns, record.seq * 1000, "{what}: stream {id}");
        }
        // And it goes on from there.
        let stream = journal.stream(StreamId([*id; 16]), &StreamOptions::new(Kind::Session)).unwrap();
        assert_eq!(stream.next_seq().unwrap(), count, "{what}: stream {id}");
        append(
            &stream,
            &mut Acknowledged { records: BTreeMap::from([(*id, (count, count))]), ..seen.clone() },
        )
        .unwrap();
    }
    journal.flush().unwrap();
    let report = journal.verify(None).unwrap();
    assert!(report.is_sound(), "{what}: {:?}", report.findings);
    journal.close().unwrap();
    let left = disk.files().into_iter().filter(|path| !path.ends_with("open.lock")).collect::<Vec<_>>();
    assert_eq!(left, Vec::<PathBuf>::new(), "{what}: files are left");
}

#[test]
fn the_session_itself_is_right() {
    let folder = scratch::folder();
    let (path, disk) = (folder.path().join("j.db"), FaultyDisk::default());
    let mut seen = Acknowledged::default();
    session(&path, &disk, &mut seen).unwrap();
    check(&path, &disk, &seen, "no fault", |id| seen.records[&id].0);
}

/// G5: kill at every operation of a session, at every byte of the first writes and some of the others.
#[test]
fn death_at_every_operation() {
    let healthy = FaultyDisk::default();
    let folder = scratch::folder();
    session(&folder.path().join("j.db"), &healthy, &mut Acknowledged::default()).unwrap();
    let log = healthy.log();
    let writes = log.iter().filter(|operation| matches!(operation, Operation::Write(..))).count();
    assert!(writes > 15 && log.len() > 40, "the session became too short to tell anything: {writes} writes");
    let mut deaths = 0;
    for (number, operation) in log.iter().enumerate() {
        let torn: Vec<usize> = match operation {
            Operation::Write(_, bytes) if number % 8 == 0 => (0..=*bytes).collect(),
            Operation::Write(_, bytes) => vec![0, 1, bytes / 2, bytes - 1, *bytes],
            _ => vec![0],
        };
        for written in torn {
            let what = format!("death in operation {number} {operation:?} after {written} bytes");
            let folder = scratch::folder();
            let (path, disk) = (folder.path().join("j.db"), FaultyDisk::default());
            disk.plan(number, Fault::Die(written));
            let mut seen = Acknowledged::default();
            let result = session(&path, &disk, &mut seen);
            assert!(result.is_err() && disk.is_dead(), "{what}: {result:?}");
            let next = disk.kill();
            let rows_acknowledged = seen.rows;
            check(&path, &next, &seen, &what, |id| seen.records[&id].0);
            let journal = Journal::open(&path, &options(&next)).unwrap();
            let rows = journal.sessions(&Filter::default()).unwrap().rows.len() as u64;
            assert!(rows >= rows_acknowledged, "{what}: a row is lost");
            if let Some(head) = seen.head {
                assert!(journal.verify(Some(head)).unwrap().is_sound(), "{what}: the noted head is lost");
            }
            deaths += 1;
        }
    }
    assert!(deaths > 200, "{deaths}");
}

/// G5: an error at every operation is an error to the caller and nothing worse: what was acknowledged is there, and what
/// comes after the first failure of a stream is not.
#[test]
fn failure_at_every_operation() {
    let healthy = FaultyDisk::default();
    let folder = scratch::folder();
    session(&folder.path().join("j.db"), &healthy, &mut Acknowledged::default()).unwrap();
    for (number, operation) in healthy.log().iter().enumerate() {
        for fault in [
            Fault::Fail(std::io::ErrorKind::StorageFull),
            Fault::Short(std::io::ErrorKind::StorageFull, 9),
            Fault::Fail(std::io::ErrorKind::ReadOnlyFilesystem),
            Fault::Fail(std::io::ErrorKind::Other),
        ] {
            let what = format!("{fault:?} in operation {number} {operation:?}");
            let folder = scratch::folder();
            let (path, disk) = (folder.path().join("j.db"), FaultyDisk::default());
            disk.plan(number, fault);
            let mut seen = Acknowledged::default();
            let result = session(&path, &disk, &mut seen);
            match result {
                Err(Error::Full { .. } | Error::ReadOnly { .. } | Error::Io { .. }) => {}
                // The last ones are failures to clean up behind a journal that is already closed.
                Ok(()) => panic!("{what}: nobody noticed"),
                Err(error) => panic!("{what}: {error}"),
            }
            check(&path, &disk.kill(), &seen, &what, |id| seen.records[&id].0);
        }
    }
}

/// G5 in `safe`: what was there before a barrier survives a loss of power at every later moment, whatever part of what was
/// not synced the disk kept.
#[test]
fn loss_of_power_at_every_operation() {
    let healthy = FaultyDisk::default();
    let folder = scratch::folder();
    session(&folder.path().join("j.db"), &healthy, &mut Acknowledged::default()).unwrap();
    let operations = healthy.log().len();
    let mut survived = 0;
    for number in 0..operations {
        for seed in 0..4_u64 {
            let what = format!("loss of power in operation {number}, seed {seed}");
            let folder = scratch::folder();
            let (path, disk) = (folder.path().join("j.db"), FaultyDisk::default());
            let images = Images::of(&path, &disk);
            disk.plan(number, Fault::Die(usize::try_from(seed * 5).unwrap()));
            let mut seen = Acknowledged::default();
            let result = session(&path, &disk, &mut seen);
            assert!(result.is_err(), "{what}");
            images.lose_power(seed).unwrap();
            let synced = seen.synced.clone();
            survived += synced.values().sum::<u64>();
            check(&path, &disk.lose_power(seed), &seen, &what, |id| synced.get(&id).copied().unwrap_or(0));
        }
    }
    assert!(survived > 1000, "{survived}");
}
