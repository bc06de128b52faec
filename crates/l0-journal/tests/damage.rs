//! G6: a changed byte, anywhere, is an error or a finding; never another record, never a panic.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use l0_journal::clock::VirtualClock;
use l0_journal::faulty::FaultyDisk;
use l0_journal::{
    Archive, Chunk, Class, Drive, Error, Filter, Head, Journal, Key, Kind, Options, Record, Removal, Row,
    Selection, SessionRow, Store, StreamId, StreamOptions, Trouble,
};

mod scratch;

const STREAMS: u8 = 4;

fn id(stream: u8) -> StreamId {
    StreamId([stream; 16])
}

fn write(journal: &Journal) {
    for round in 0..3 {
        for stream in 0..STREAMS {
            let open = journal.stream(id(stream + 1), &StreamOptions::new(Kind::Session)).unwrap();
            for seq in 0..10 {
                let text = format!("stream {stream} round {round} record {seq}");
                let at_ns = round * 1_000_000 + seq * 1000;
                let class = Class::Completion;
                open.chunk(&Chunk { at_ns, attempt: 1, signal: 0, class, text: &text, object: None })
                    .unwrap();
            }
            let row = SessionRow { id: open.id(), status: Some("ok".to_owned()), ..SessionRow::default() };
            journal.put(&Row::Session(row)).unwrap();
        }
        journal.flush().unwrap();
    }
    journal.remove(&Selection::Streams(vec![id(4)]), Removal::Content).unwrap();
}

/// A closed journal, with one stream erased.
fn journal(folder: &Path, options: &Options) -> PathBuf {
    let path = folder.join("good.db");
    let journal = Journal::open(&path, options).unwrap();
    write(&journal);
    journal.close().unwrap();
    path
}

/// Stream, block and record of a finding, and what it is.
type Found = (Option<StreamId>, Option<u64>, Option<u64>, Trouble);

type Contents = BTreeMap<StreamId, Vec<Record>>;

fn contents(store: &dyn Store) -> Contents {
    (1..=STREAMS).map(|stream| (id(stream), store.load(id(stream), 0, usize::MAX).unwrap())).collect()
}

/// Reads everything there is and holds it against what was written. Says whether the damage was noticed.
fn inspect(store: &dyn Store, good: &Contents, what: &str) -> bool {
    let mut noticed = false;
    for (id, records) in good {
        match store.load(*id, 0, usize::MAX) {
            Ok(found) if found == *records => {}
            // A whole stream may go missing with its name; verification must tell.
            Ok(found) if found.is_empty() => {
                let report = store.verify(None);
                assert!(
                    report.is_err() || !report.unwrap().is_sound(),
                    "{what}: stream {id} vanished unnoticed"
                );
                noticed = true;
            }
            Ok(found) => panic!(
                "{what}: stream {id} is another, of {} records from {:?}",
                found.len(),
                found.first().map(|first| first.seq)
            ),
            Err(_) => noticed = true,
        }
    }
    let report = store.verify(None);
    noticed |= report.map_or(true, |report| !report.is_sound());
    noticed |=
        store.sessions(&Filter::default()).map_or(true, |page| page.rows.len() != usize::from(STREAMS));
    noticed
}

/// How far apart the bytes are that a sweep flips: every one of them if the environment says so.
fn stride(default: usize) -> usize {
    std::env::var("L0_SWEEP_STRIDE").map_or(default, |stride| stride.parse().unwrap())
}

#[test]
fn any_flipped_byte_of_the_file() {
    let folder = scratch::folder();
    let path = journal(folder.path(), &Options::default());
    let good = contents(&Archive::open(&path, None).unwrap());
    let bytes = std::fs::read(&path).unwrap();
    let (mut noticed, mut flips) = (0, 0);
    for index in (0..bytes.len()).step_by(stride(97)) {
        let mut bad = bytes.clone();
        bad[index] ^= 1 << (index % 8);
        let path = folder.path().join("bad.db");
        std::fs::write(&path, &bad).unwrap();
        let what = format!("byte {index}");
        flips += 1;
        noticed += u32::from(match Archive::open(&path, None) {
            Ok(archive) => inspect(&archive, &good, &what),
            Err(_) => true,
        });
        // Opening for writing looks at more, and must not break either.
        if flips % 16 == 0
            && let Ok(journal) = Journal::open(&path, &Options { drive: Drive::Caller, ..Options::default() })
        {
            inspect(&journal, &good, &what);
        }
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.path().join(format!("bad.db{suffix}")));
        }
    }
    // Most of the file is empty pages of indexes; what is not must have been hit often enough to mean something.
    assert!(noticed > flips / 20, "{noticed} of {flips} flips were noticed");
}

#[test]
fn a_file_cut_anywhere() {
    let folder = scratch::folder();
    let path = journal(folder.path(), &Options::default());
    let good = contents(&Archive::open(&path, None).unwrap());
    let bytes = std::fs::read(&path).unwrap();
    let bad = folder.path().join("bad.db");
    for length in (1..bytes.len()).step_by(stride(4441)) {
        std::fs::write(&bad, &bytes[..length]).unwrap();
        let noticed = match Archive::open(&bad, None) {
            Ok(archive) => inspect(&archive, &good, &format!("cut at {length}")),
            Err(_) => true,
        };
        assert!(noticed, "a file of {length} bytes passed for one of {}", bytes.len());
    }
}

#[test]
fn any_flipped_byte_of_a_spool() {
    let options = |disk: &FaultyDisk| Options {
        drive: Drive::Caller,
        disk: Arc::new(disk.clone()),
        clock: Arc::new(VirtualClock::at(1)),
        ..Options::default()
    };
    let spool = |folder: &Path| {
        let disk = FaultyDisk::default();
        let journal = Journal::open(folder.join("j.db"), &options(&disk)).unwrap();
        let stream = journal.stream(id(1), &StreamOptions::new(Kind::Session)).unwrap();
        for at_ns in 0..5 {
            let chunk =
                Chunk { at_ns, attempt: 1, signal: 0, class: Class::Completion, text: "text", object: None };
            stream.chunk(&chunk).unwrap();
        }
        let next = disk.kill();
        drop((stream, journal));
        let path =
            next.files().into_iter().find(|path| path.extension().is_some_and(|end| end == "spool")).unwrap();
        (next, path)
    };
    let folder = scratch::folder();
    let (disk, path) = spool(folder.path());
    let bytes = disk.content(&path).unwrap();
    let mut lost = 0;
    for index in 0..bytes.len() {
        let folder = scratch::folder();
        let (disk, path) = spool(folder.path());
        let mut bad = disk.content(&path).unwrap();
        bad[index] ^= 4;
        disk.put(&path, bad);
        let journal = Journal::open(folder.path().join("j.db"), &options(&disk)).unwrap();
        let found = journal.load(id(1), 0, 10).unwrap();
        assert!(
            found
                .iter()
                .map(|record| (record.seq, record.at_ns))
                .eq((0..found.len() as u64).map(|seq| (seq, seq)))
        );
        assert_eq!(journal.recovery().torn, 1, "byte {index} was not noticed");
        assert!(journal.verify(None).unwrap().is_sound());
        lost += 5 - found.len();
    }
    assert!(lost > 0);
}

/// What somebody with SQL can do to a journal, and what verification says of it.
#[test]
fn tampering_is_named_at_its_place() {
    let folder = scratch::folder();
    let path = journal(folder.path(), &Options::default());
    let noted = Archive::open(&path, None).unwrap().head().unwrap();
    let tamper = |sql: &str| -> Vec<Found> {
        let bad = folder.path().join("bad.db");
        std::fs::copy(&path, &bad).unwrap();
        rusqlite::Connection::open(&bad).unwrap().execute_batch(sql).unwrap();
        let report = Archive::open(&bad, None).unwrap().verify(Some(noted)).unwrap();
        report
            .findings
            .iter()
            .map(|found| (found.place.stream, found.place.block, found.place.record, found.trouble))
            .collect()
    };
    assert_eq!(tamper("SELECT 1"), []);
    // Block 6 is the second of stream 2, records 10 to 19; its third text is edited, in place and to the same length.
    let edited = tamper(
        "UPDATE blocks SET content = CAST(replace(CAST(content AS TEXT), 'record 2', 'record X') AS BLOB) WHERE position = 6",
    );
    assert_eq!(edited, [(Some(id(2)), Some(6), Some(12), Trouble::Edited)]);
    let forged = tamper("UPDATE blocks SET last_ns = last_ns + 1 WHERE position = 3");
    assert_eq!(forged, [(Some(id(3)), Some(3), None, Trouble::Forged)]);
    let mark =
        tamper("UPDATE blocks SET marks = CAST(x'00000000' || substr(marks, 5) AS BLOB) WHERE position = 1");
    assert_eq!(mark, [(Some(id(1)), Some(1), Some(0), Trouble::Mark)]);
    let missing = tamper("DELETE FROM blocks WHERE position = 5");
    assert_eq!(
        missing,
        [(Some(id(2)), Some(6), None, Trouble::Unchained), (Some(id(1)), Some(9), None, Trouble::Unchained),]
    );
    let cut = tamper("DELETE FROM blocks WHERE position = (SELECT max(position) FROM blocks)");
    assert!(cut.contains(&(None, Some(noted.position), None, Trouble::OtherHead)), "{cut:?}");
    let erased = tamper(
        "UPDATE blocks SET content = NULL WHERE position = 2; UPDATE streams SET removed = 1, salt = NULL WHERE no = 2",
    );
    assert!(erased.contains(&(Some(id(2)), None, None, Trouble::Vanished)), "{erased:?}");
    let gone = tamper("UPDATE blocks SET content = NULL, content_hash = zeroblob(32) WHERE position = 2");
    assert!(gone.contains(&(Some(id(2)), Some(2), None, Trouble::Vanished)), "{gone:?}");
    let nameless = tamper("DELETE FROM streams WHERE no = 3");
    assert!(nameless.contains(&(None, Some(3), None, Trouble::Unchained)), "{nameless:?}");
    let swapped = tamper(
        "UPDATE blocks SET position = -1 WHERE position = 1; UPDATE blocks SET position = 1 WHERE position = 2;
         UPDATE blocks SET position = 2 WHERE position = -1",
    );
    assert!(
        swapped.iter().any(|(_, block, _, trouble)| *block == Some(1) && *trouble == Trouble::Forged),
        "{swapped:?}"
    );
}

/// With a key, who rewrites the whole chain still cannot make it pass.
#[test]
fn a_keyed_chain_cannot_be_forged() {
    let folder = scratch::folder();
    let options = Options { key: Some(Key([9; 32])), ..Options::default() };
    let path = journal(folder.path(), &options);
    let keyed = Archive::open(&path, options.key.as_ref()).unwrap();
    assert!(keyed.verify(None).unwrap().is_sound());
    drop(keyed);
    assert!(matches!(Archive::open(&path, None), Err(Error::Key { .. })));
    assert!(matches!(Archive::open(&path, Some(&Key([8; 32]))), Err(Error::Key { .. })));
    assert!(matches!(Journal::open(&path, &Options::default()), Err(Error::Key { .. })));
    // A forger who says the journal has no key, and computes everything without one, is found out by who knows better.
    let plain = folder.path().join("plain");
    std::fs::create_dir(&plain).unwrap();
    let forged = journal(&plain, &Options::default());
    assert!(matches!(Archive::open(&forged, options.key.as_ref()), Err(Error::Key { .. })));
    let connection = rusqlite::Connection::open(&forged).unwrap();
    connection.execute("ATTACH ?1 AS good", [path.to_str().unwrap()]).unwrap();
    connection.execute_batch("DELETE FROM meta; INSERT INTO meta SELECT * FROM good.meta").unwrap();
    drop(connection);
    let report = Archive::open(&forged, options.key.as_ref()).unwrap().verify(None).unwrap();
    assert!(report.findings_count >= report.blocks, "{report:?}");
}

#[test]
fn a_head_that_was_noted_is_asked_for() {
    let folder = scratch::folder();
    let path = journal(folder.path(), &Options::default());
    let archive = Archive::open(&path, None).unwrap();
    let head = archive.head().unwrap();
    let text = head.to_string();
    assert!(archive.verify(Some(text.parse().unwrap())).unwrap().is_sound());
    let other = Head { position: head.position - 1, ..head };
    let report = archive.verify(Some(other)).unwrap();
    assert!(report.findings.iter().any(|found| found.trouble == Trouble::OtherHead));
}

#[test]
fn what_is_not_a_journal_is_left_alone() {
    let folder = scratch::folder();
    let path = folder.path().join("other.db");
    std::fs::write(&path, "this is a letter, not a database, and long enough to be taken for one".repeat(20))
        .unwrap();
    assert!(matches!(Journal::open(&path, &Options::default()), Err(Error::NotAJournal { .. })));
    assert!(matches!(Archive::open(&path, None), Err(Error::NotAJournal { .. })));
    let database = folder.path().join("database.db");
    rusqlite::Connection::open(&database)
        .unwrap()
        .execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
        .unwrap();
    assert!(matches!(Journal::open(&database, &Options::default()), Err(Error::NotAJournal { .. })));
    let rows: i64 = rusqlite::Connection::open(&database)
        .unwrap()
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 1);
    let newer = journal(folder.path(), &Options::default());
    rusqlite::Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 999").unwrap();
    assert!(matches!(Journal::open(&newer, &Options::default()), Err(Error::Newer { found: 999, .. })));
    assert!(Archive::open(folder.path().join("absent.db"), None).is_err());
    assert!(!folder.path().join("absent.db").exists());
}
