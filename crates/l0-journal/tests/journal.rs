//! What a process sees of its own journal: one store per file, nothing left behind, time that goes wrong.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::Duration;

use l0_journal::clock::{Clock, VirtualClock};
use l0_journal::{
    Before, Body, Chunk, Class, Drive, Durability, Error, Filter, Journal, Key, Kind, Options, Row,
    SessionRow, Store, Stored, Stream, StreamId, StreamOptions,
};

fn append(stream: &Stream, text: &str) -> Result<u64, Error> {
    stream.chunk(&Chunk { at_ns: 0, attempt: 1, signal: 0, class: Class::Completion, text, object: None })
}

fn open(journal: &Journal, id: u8) -> Stream {
    journal.stream(StreamId([id; 16]), &StreamOptions::new(Kind::Session)).unwrap()
}

fn files(folder: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.file_name().into_string().unwrap());
            }
        }
    }
    found.sort();
    found
}

fn spooled(folder: &std::path::Path) -> bool {
    files(folder).iter().any(|name| std::path::Path::new(name).extension().is_some_and(|end| end == "spool"))
}

#[test]
fn one_file_is_one_journal_under_every_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let first = Journal::open(&path, &Options::default()).unwrap();
    std::os::unix::fs::symlink(&path, folder.path().join("link.db")).unwrap();
    std::fs::hard_link(&path, folder.path().join("hard.db")).unwrap();
    let stream = open(&first, 1);
    append(&stream, "a").unwrap();
    for name in ["j.db", "link.db", "hard.db", "../".repeat(9).as_str()] {
        let path = if name.starts_with("..") {
            folder.path().join(".").join("j.db")
        } else {
            folder.path().join(name)
        };
        let again = Journal::open(path, &Options::default()).unwrap();
        // One sequence: a second store on the same file would begin its own.
        append(&open(&again, 1), "b").unwrap();
    }
    assert_eq!(stream.next_seq().unwrap(), 5);
    let other = Journal::open(&path, &Options { key: Some(Key([1; 32])), ..Options::default() });
    assert!(matches!(other, Err(Error::Key { .. })));
}

#[test]
fn a_closed_journal_is_one_file_and_can_be_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let journal = Journal::open(&path, &Options::default()).unwrap();
    let stream = open(&journal, 1);
    append(&stream, "a").unwrap();
    journal.close().unwrap();
    assert_eq!(files(folder.path()), ["j.db", "open.lock"]);
    assert_eq!(append(&stream, "b"), Err(Error::Closed));
    assert_eq!(journal.flush(), Err(Error::Closed));
    assert_eq!(journal.barrier(Before::SideEffect).wait(), Err(Error::Closed));
    let again = Journal::open(&path, &Options::default()).unwrap();
    append(&open(&again, 1), "b").unwrap();
    assert_eq!(again.load(StreamId([1; 16]), 0, 9).unwrap().len(), 2);
}

/// Everything is let go of with the last handle, whichever that is: streams and leases are handles too.
#[test]
fn the_last_handle_closes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let journal = Journal::open(&path, &Options::default()).unwrap();
    let lease = journal.lease(StreamId([9; 16]), Duration::ZERO).unwrap();
    let stream = journal.stream(StreamId([1; 16]), &StreamOptions::new(Kind::Step).under(&lease)).unwrap();
    append(&stream, "a").unwrap();
    drop(journal);
    append(&stream, "b").unwrap();
    drop(stream);
    lease.check().unwrap();
    assert!(spooled(folder.path()));
    drop(lease);
    assert_eq!(files(folder.path()), ["j.db", "open.lock"]);
    let again = Journal::open(&path, &Options::default()).unwrap();
    assert_eq!(again.load(StreamId([1; 16]), 0, 9).unwrap().len(), 2);
    // Given back when it was dropped: nobody has to wait for it.
    assert_eq!(again.lease(StreamId([9; 16]), Duration::ZERO).unwrap().fence(), 2);
}

/// An idle journal does not keep a spool: what is erased from the database is not to be found there either.
#[test]
fn an_idle_journal_lets_go_of_its_spool() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { linger: Duration::from_millis(1), ..Options::default() };
    let journal = Journal::open(folder.path().join("j.db"), &options).unwrap();
    append(&open(&journal, 1), "a").unwrap();
    journal.sync().wait().unwrap();
    let patience = std::time::Instant::now() + Duration::from_secs(60);
    while spooled(folder.path()) && std::time::Instant::now() < patience {
        std::thread::yield_now();
    }
    assert!(!spooled(folder.path()));
    assert_eq!(journal.health().behind_bytes, 0);
    append(&open(&journal, 1), "b").unwrap();
    assert_eq!(journal.load(StreamId([1; 16]), 0, 9).unwrap().len(), 2);
}

#[test]
fn erased_text_is_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path().join("j.db"), &Options::default()).unwrap();
    let stream = open(&journal, 1);
    for _ in 0..50 {
        append(&stream, "a canary that must not survive its erasure").unwrap();
    }
    append(&open(&journal, 2), "another text, which stays").unwrap();
    journal.flush().unwrap();
    let contains = |text: &str| {
        let mut folders = vec![folder.path().to_path_buf()];
        let mut found = false;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = std::fs::read(path).unwrap();
                    found |= bytes.windows(text.len()).any(|window| window == text.as_bytes());
                }
            }
        }
        found
    };
    assert!(contains("a canary") && contains("which stays"));
    let what = l0_journal::Selection::Streams(vec![StreamId([1; 16])]);
    journal.remove(&what, l0_journal::Removal::Content).unwrap();
    assert!(contains("which stays"));
    assert!(!contains("a canary"), "the erased text is still in a file");
}

#[test]
fn off_records_nothing_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let off = Journal::open(&path, &Options { durability: Durability::Off, ..Options::default() }).unwrap();
    let on = Journal::open(&path, &Options::default()).unwrap();
    append(&open(&off, 1), "nowhere").unwrap();
    off.put(&Row::Session(SessionRow::default())).unwrap();
    off.barrier(Before::SideEffect).wait().unwrap();
    append(&open(&on, 1), "somewhere").unwrap();
    let found = on.load(StreamId([1; 16]), 0, 9).unwrap();
    assert!(
        matches!(&found[..], [record] if matches!(&record.body, Body::Chunk { text: Stored::Full(text), .. } if text == b"somewhere"))
    );
    assert!(on.sessions(&Filter::default()).unwrap().rows.is_empty());
    assert_eq!((off.durability(), on.durability()), (Durability::Off, Durability::Safe));
}

/// A wall clock that jumps either way neither loses a lease nor keeps a dead one alive.
#[test]
fn leases_do_not_believe_the_wall_clock_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let clock = Arc::new(VirtualClock::at(1_760_000_000_000));
    let options = |host: &str| Options {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        drive: Drive::Caller,
        host: Some(host.to_owned()),
        ..Options::default()
    };
    let run = StreamId([1; 16]);
    let here = Journal::open(&path, &options("a")).unwrap();
    let lease = here.lease(run, Duration::ZERO).unwrap();
    for jump in [0, 1_760_000_000_000 - 3_600_000, u64::MAX / 4, 5] {
        clock.set_wall_ms(jump);
        clock.advance(Duration::from_secs(20));
        here.beat().unwrap();
        lease.check().unwrap();
        clock.advance(Duration::from_secs(31));
        lease.check().unwrap();
    }
}

/// Another host's holder that went silent is succeeded after its term as it was seen, whatever the clocks say.
#[test]
fn a_silent_holder_is_succeeded_even_when_the_clock_went_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let run = StreamId([1; 16]);
    let clock = Arc::new(VirtualClock::at(1_760_000_000_000));
    let options =
        Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, drive: Drive::Caller, ..Options::default() };
    let journal = Journal::open(&path, &options).unwrap();
    journal.flush().unwrap();
    // A holder on a host whose clock is an hour ahead.
    let elsewhere = rusqlite::Connection::open(&path).unwrap();
    let sql = "INSERT INTO leases VALUES (?1, 7, ?2, 'elsewhere', 3, ?3)";
    elsewhere.execute(sql, rusqlite::params![run.0, [5_u8; 16], 1_760_003_600_000_i64]).unwrap();
    assert!(
        matches!(journal.lease(run, Duration::ZERO), Err(Error::Held { host, .. }) if host == "elsewhere")
    );
    clock.advance(Duration::from_secs(20));
    elsewhere.execute("UPDATE leases SET beat = 4", []).unwrap();
    assert!(journal.lease(run, Duration::from_secs(29)).is_err());
    let lease = journal.lease(run, Duration::from_secs(5)).unwrap();
    assert_eq!(lease.fence(), 8);
}

/// What a wrong index would cost is known before there are many sessions: every filter is answered by an index.
#[test]
fn every_filter_has_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    Journal::open(&path, &Options::default()).unwrap().close().unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    for (table, columns) in [
        ("sessions", &["id", "run", "tenant", "user", "target", "status", "fault", "started_at_ms"][..]),
        ("steps", &["id", "run", "started_at_ms"]),
        ("runs", &["id", "started_at_ms"]),
    ] {
        for column in columns {
            let sql = format!(
                "EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE \"{column}\" = ?1 ORDER BY started_at_ms DESC, id DESC LIMIT 101"
            );
            let plan: Vec<String> = connection
                .prepare(&sql)
                .unwrap()
                .query_map(["x"], |row| row.get("detail"))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            assert!(plan[0].starts_with("SEARCH"), "{table}.{column}: {plan:?}");
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{table}.{column}: {plan:?}");
        }
    }
}

#[test]
fn many_threads_and_streams_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { linger: Duration::from_millis(1), ..Options::default() };
    let journal = Journal::open(folder.path().join("j.db"), &options).unwrap();
    let threads: Vec<_> = (0..8_u8)
        .map(|id| {
            let journal = journal.clone();
            std::thread::spawn(move || {
                let stream = open(&journal, id + 1);
                for number in 0..300 {
                    append(&stream, "text").unwrap();
                    if number % 90 == 0 {
                        journal.sync().wait().unwrap();
                        assert!(journal.load(stream.id(), 0, usize::MAX).unwrap().len() > number);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let report = journal.verify(None).unwrap();
    assert!(report.is_sound() && (report.records, report.streams) == (2400, 8), "{report:?}");
}
