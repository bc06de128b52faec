//! What the journal costs: the hot path, sustained throughput, bytes on disk, and the first page of many sessions.
//!
//! `cargo run --release -p l0-journal --example throughput -- [FOLDER]` writes below FOLDER (the system's temporary one if
//! none is given) and removes what it wrote.
#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a measurement is rounded and printed")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use l0_journal::{
    Before, Chunk, Class, Durability, Filter, Journal, Kind, Options, Row, SessionRow, Store, StreamId,
    StreamOptions,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Ordinary English, in pieces about as long as models send.
const PIECES: [&str; 12] = [
    "The",
    " capital",
    " of",
    " France",
    " is",
    " Paris",
    ",",
    " which",
    " lies",
    " on",
    " the Seine",
    ".\n",
];

fn main() -> Outcome {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("l0-journal-throughput-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let result = measure(&folder);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn measure(folder: &Path) -> Outcome {
    hot_path(folder)?;
    barriers(folder)?;
    sustained(folder)?;
    disk(folder)?;
    many_sessions(folder)
}

fn open(path: &Path, durability: Durability) -> Outcome<Journal> {
    Ok(Journal::open(path, &Options { durability, ..Options::default() })?)
}

fn chunk(number: u64) -> Chunk<'static> {
    let text = PIECES[usize::try_from(number % 12).unwrap_or_default()];
    // 20 milliseconds apart, with the jitter a network has.
    let at_ns = number * 20_000_000 + number.wrapping_mul(0x9e37_79b9) % 4_000_000;
    Chunk { at_ns, attempt: 1, signal: 0, class: Class::Completion, text, object: None }
}

fn per(duration: Duration, count: u64) -> f64 {
    duration.as_secs_f64() * 1e9 / count as f64
}

/// One chunk at a time, as a stream sends them, with pauses in which the background works.
fn hot_path(folder: &Path) -> Outcome {
    let journal = open(&folder.join("hot.db"), Durability::Fast)?;
    let stream = journal.stream(StreamId::random()?, &StreamOptions::new(Kind::Session))?;
    let mut took = Vec::new();
    for number in 0..50_000 {
        let chunk = chunk(number);
        let start = Instant::now();
        stream.chunk(&chunk)?;
        took.push(start.elapsed());
        if number % 1000 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    took.sort_unstable();
    let at = |per_mille: usize| took[(took.len() - 1) * per_mille / 1000].as_nanos();
    println!(
        "hot path, one chunk:     median {} ns, p90 {} ns, p99 {} ns, p99.9 {} ns",
        at(500),
        at(900),
        at(990),
        at(999)
    );
    Ok(journal.close()?)
}

/// As fast as it goes, until everything is in the database.
fn sustained(folder: &Path) -> Outcome {
    const RECORDS: u64 = 3_000_000;
    for streams in [1_u64, 64] {
        let journal = open(&folder.join(format!("fast-{streams}.db")), Durability::Fast)?;
        let open_streams: Vec<_> = (0..streams)
            .map(|_| journal.stream(StreamId::random()?, &StreamOptions::new(Kind::Session)))
            .collect::<Result<_, _>>()?;
        let start = Instant::now();
        for number in 0..RECORDS {
            let stream = &open_streams[usize::try_from(number % streams)?];
            stream.chunk(&chunk(number / streams))?;
        }
        let appended = start.elapsed();
        journal.flush()?;
        let stored = start.elapsed();
        println!(
            "sustained, {streams:>2} streams:   {:.0} records/s stored ({:.0} ns each; appended after {:.0} ns each)",
            RECORDS as f64 / stored.as_secs_f64(),
            per(stored, RECORDS),
            per(appended, RECORDS),
        );
        let start = Instant::now();
        let report = journal.verify(None)?;
        println!(
            "verify:                  {:.0} ns a record, sound: {}",
            per(start.elapsed(), report.records),
            report.is_sound()
        );
        let start = Instant::now();
        let records = journal.load(open_streams[0].id(), 0, usize::MAX)?;
        println!("load:                    {:.0} ns a record", per(start.elapsed(), records.len() as u64));
        journal.close()?;
    }
    Ok(())
}

/// Sessions of 300 tokens each, with their rows, flushed every 50 tokens as a live stream is about once a second.
fn disk(folder: &Path) -> Outcome {
    const SESSIONS: u64 = 1000;
    const TOKENS: u64 = 300;
    let path = folder.join("disk.db");
    let journal = open(&path, Durability::Fast)?;
    let mut text = 0;
    for group in 0..SESSIONS / 50 {
        let streams: Vec<_> = (0..50)
            .map(|_| journal.stream(StreamId::random()?, &StreamOptions::new(Kind::Session)))
            .collect::<Result<_, _>>()?;
        for token in 0..TOKENS {
            for stream in &streams {
                stream.chunk(&chunk(token))?;
                text += chunk(token).text.len();
            }
            if token % 50 == 49 {
                journal.flush()?;
            }
        }
        for (index, stream) in (0..).zip(&streams) {
            journal.put(&session(stream.id(), group * 50 + index))?;
        }
    }
    journal.close()?;
    let bytes = std::fs::metadata(&path)?.len();
    let tokens = SESSIONS * TOKENS;
    println!(
        "on disk, all included:   {:.1} bytes a token, of which {:.1} are text",
        bytes as f64 / tokens as f64,
        text as f64 / tokens as f64,
    );
    Ok(())
}

fn session(id: StreamId, number: u64) -> Row {
    Row::Session(SessionRow {
        id,
        tenant: Some(format!("tenant-{}", number % 20)),
        target: Some("model-a".to_owned()),
        served_by: Some("model-a".to_owned()),
        status: Some("ok".to_owned()),
        fault: number.is_multiple_of(17).then(|| "stall".to_owned()),
        attempts: Some(1),
        input_tokens: Some(1200),
        output_tokens: Some(300),
        started_at_ms: Some(1_760_000_000_000 + number * 37),
        first_content_ms: Some(400),
        duration_ms: Some(6000),
        policy_digest: Some("3f1c9a7be2d04512".to_owned()),
        engine_version: Some("0.1.0".to_owned()),
        ..SessionRow::default()
    })
}

/// What waiting for the disk costs.
fn barriers(folder: &Path) -> Outcome {
    let journal = open(&folder.join("safe.db"), Durability::Safe)?;
    let stream = journal.stream(StreamId::random()?, &StreamOptions::new(Kind::Session))?;
    let mut took = Vec::new();
    for number in 0..200 {
        stream.chunk(&chunk(number))?;
        let start = Instant::now();
        journal.barrier(Before::SideEffect).wait()?;
        took.push(start.elapsed());
    }
    took.sort_unstable();
    println!(
        "barrier in safe:         median {} µs, p99 {} µs",
        took[100].as_micros(),
        took[198].as_micros()
    );
    Ok(journal.close()?)
}

fn many_sessions(folder: &Path) -> Outcome {
    const SESSIONS: u64 = 100_000;
    let path = folder.join("many.db");
    let journal = open(&path, Durability::Fast)?;
    let start = Instant::now();
    for number in 0..SESSIONS {
        let stream = journal.stream(StreamId::random()?, &StreamOptions::new(Kind::Session))?;
        for token in 0..3 {
            stream.chunk(&chunk(token))?;
        }
        journal.put(&session(stream.id(), number))?;
    }
    journal.close()?;
    println!(
        "100,000 sessions:        written in {:.1} s, {} MB",
        start.elapsed().as_secs_f64(),
        std::fs::metadata(&path)?.len() >> 20
    );
    let start = Instant::now();
    let journal = open(&path, Durability::Fast)?;
    println!("open:                    {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    for (name, filter) in [
        ("first page", Filter::default()),
        ("of a tenant", Filter { tenant: Some("tenant-3".to_owned()), ..Filter::default() }),
        ("with a fault", Filter { fault: Some("stall".to_owned()), ..Filter::default() }),
        ("with a rare status", Filter { status: Some("failed".to_owned()), ..Filter::default() }),
        ("a user's", Filter { user: Some("nobody".to_owned()), ..Filter::default() }),
    ] {
        let start = Instant::now();
        let page = journal.sessions(&filter)?;
        println!("  {name:<21}  {:.1} ms, {} rows", start.elapsed().as_secs_f64() * 1e3, page.rows.len());
    }
    Ok(journal.close()?)
}
