//! What every [`Store`] owes, as cases that any of them can be held against.
//!
//! Each case gets an empty store. [`check`] runs them all; a store that passes may be used wherever a journal is wanted.

use std::sync::Arc;
use std::time::Duration;

use crate::{
    AttemptRow, Before, Body, Chunk, Class, Content, Entry, Error, Filter, Head, Kind, Level, Redaction,
    Removal, Row, RunRow, Selection, SessionRow, StepRow, Store, Stored, Stream, StreamId, StreamOptions,
};

/// One thing a store owes.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What it is, as a sentence without its end.
    pub name: &'static str,
    run: fn(&Arc<dyn Store>) -> Outcome,
}

type Outcome = Result<(), String>;

impl Case {
    /// Holds an empty store against this case.
    ///
    /// # Errors
    /// What the store did instead.
    pub fn run(&self, store: &Arc<dyn Store>) -> Result<(), String> {
        (self.run)(store)
    }
}

/// Holds stores made by `open`, each empty, against every case, and returns what failed.
///
/// # Errors
/// Every case that failed: its name, and what the store did instead.
pub fn check(mut open: impl FnMut() -> Result<Arc<dyn Store>, Error>) -> Result<(), Vec<String>> {
    let mut failures = Vec::new();
    for case in CASES {
        let outcome = match open() {
            Ok(store) => case.run(&store),
            Err(error) => Err(format!("it could not be opened: {error}")),
        };
        if let Err(what) = outcome {
            failures.push(format!("{}: {what}", case.name));
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

/// Every case there is.
pub const CASES: &[Case] = &[
    Case { name: "records come back as they were given", run: records_come_back },
    Case { name: "any part of a stream can be read", run: any_part_can_be_read },
    Case { name: "streams do not mix", run: streams_do_not_mix },
    Case { name: "handles and threads share one sequence", run: handles_share_one_sequence },
    Case { name: "handles that come and go share one sequence", run: handles_that_come_and_go },
    Case { name: "a stream goes on where it was", run: a_stream_goes_on },
    Case { name: "a stream nobody wrote is empty", run: an_unknown_stream_is_empty },
    Case { name: "a clock may go back", run: a_clock_may_go_back },
    Case { name: "content is kept as far as it was asked for", run: redaction_is_obeyed },
    Case { name: "what makes no sense is refused and harms nothing", run: nonsense_is_refused },
    Case { name: "rows are filled in little by little", run: rows_are_filled_in },
    Case { name: "rows are found by every filter", run: rows_are_found },
    Case { name: "pages show every row once", run: pages_show_every_row_once },
    Case { name: "attempts are in order", run: attempts_are_in_order },
    Case { name: "a run has one holder, and the next a higher fence", run: a_run_has_one_holder },
    Case { name: "who gave a lease back writes no more under it", run: a_returned_lease_is_over },
    Case { name: "the chain is sound and leads to every noted head", run: the_chain_is_sound },
    Case { name: "erased content is gone and the proof stays", run: erased_content_is_gone },
    Case { name: "removed records are gone and the proof stays", run: removed_records_are_gone },
    Case { name: "a tenant's, a user's and old streams are removed", run: selections_select },
    Case { name: "a user's name goes with the content", run: a_users_name_goes },
    Case { name: "barriers are answered", run: barriers_are_answered },
];

macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(format!($($what)+));
        }
    };
}

/// A step of a case that must succeed.
fn must<T>(result: Result<T, Error>, doing: &str) -> Result<T, String> {
    result.map_err(|error| format!("cannot {doing}: {error}"))
}

fn session(store: &Arc<dyn Store>, id: u8) -> Result<Stream, String> {
    must(store.stream(StreamId([id; 16]), &StreamOptions::new(Kind::Session)), "open a stream")
}

fn chunk(at_ns: u64, text: &str) -> Chunk<'_> {
    Chunk { at_ns, attempt: 1, signal: 0, class: Class::Completion, text, object: None }
}

fn write(stream: &Stream, texts: &[&str]) -> Outcome {
    for (at_ns, text) in (0..).zip(texts) {
        must(stream.chunk(&chunk(at_ns, text)), "append a chunk")?;
    }
    Ok(())
}

/// The text of every chunk of a stream, with what is missing in brackets.
fn texts(store: &Arc<dyn Store>, id: u8) -> Result<Vec<String>, String> {
    let records = must(store.load(StreamId([id; 16]), 0, usize::MAX), "load a stream")?;
    let texts = records.into_iter().map(|record| match record.body {
        Body::Chunk { text, .. } => match text {
            Stored::Full(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Stored::Hashed(_) => "[hashed]".to_owned(),
            Stored::Absent => "[absent]".to_owned(),
            Stored::Erased { bytes } => format!("[erased {bytes}]"),
        },
        Body::Entry { kind, .. } => format!("[entry {kind}]"),
    });
    Ok(texts.collect())
}

fn sound(store: &Arc<dyn Store>, noted: Option<Head>) -> Outcome {
    let report = must(store.verify(noted), "verify")?;
    ensure!(report.is_sound(), "it does not verify: {:?}", report.findings);
    Ok(())
}

fn records_come_back(store: &Arc<dyn Store>) -> Outcome {
    let stream = session(store, 1)?;
    let contents = [
        Content { class: Class::Prompt, bytes: b"what is it?" },
        Content { class: Class::ToolResult, bytes: b"" },
    ];
    let entry = Entry { at_ns: 7, kind: 127, payload: b"\x01payload", contents: &contents };
    must(stream.entry(&entry), "append an entry")?;
    let given = Chunk {
        at_ns: u64::MAX,
        attempt: u32::MAX,
        signal: 3,
        class: Class::ToolArguments,
        text: "{\"a\": \"grüße\"}",
        object: Some(&[0, 255]),
    };
    must(stream.chunk(&given), "append a chunk")?;
    must(stream.entry(&Entry { at_ns: 9, kind: 0, payload: b"", contents: &[] }), "append an empty entry")?;
    must(stream.chunk(&chunk(9, "")), "append an empty chunk")?;
    let found = must(store.load(stream.id(), 0, usize::MAX), "load")?;
    let bodies = [
        Body::Entry {
            kind: 127,
            payload: b"\x01payload".to_vec(),
            contents: vec![
                (Class::Prompt, Stored::Full(b"what is it?".to_vec())),
                (Class::ToolResult, Stored::Full(Vec::new())),
            ],
        },
        Body::Chunk {
            attempt: u32::MAX,
            signal: 3,
            class: Class::ToolArguments,
            text: Stored::Full("{\"a\": \"grüße\"}".into()),
            object: Some(Stored::Full(vec![0, 255])),
        },
        Body::Entry { kind: 0, payload: Vec::new(), contents: Vec::new() },
        Body::Chunk {
            attempt: 1,
            signal: 0,
            class: Class::Completion,
            text: Stored::Full(Vec::new()),
            object: None,
        },
    ];
    ensure!(found.iter().map(|record| record.seq).eq(0..4), "sequence numbers are not 0 to 3: {found:?}");
    ensure!(found.iter().map(|record| record.at_ns).eq([7, u64::MAX, 9, 9]), "times differ: {found:?}");
    ensure!(found.iter().map(|record| &record.body).eq(&bodies), "records differ: {found:?}");
    Ok(())
}

fn any_part_can_be_read(store: &Arc<dyn Store>) -> Outcome {
    let stream = session(store, 1)?;
    // Enough for several blocks, in several flushes.
    let text = "0123456789".repeat(20);
    for number in 0..600_u64 {
        must(stream.chunk(&chunk(number, &text)), "append")?;
        if number % 250 == 0 {
            must(store.flush(), "flush")?;
        }
    }
    for (from, limit, count) in
        [(0, 600, 600), (0, 1, 1), (599, 5, 1), (600, 5, 0), (9999, 5, 0), (123, 456, 456), (7, 0, 0)]
    {
        let found = must(store.load(stream.id(), from, limit), "load a part")?;
        ensure!(found.len() == count, "from {from} at most {limit} gave {} records", found.len());
        ensure!(
            found.iter().map(|record| record.seq).eq(from..from + count as u64),
            "from {from}: wrong records"
        );
        ensure!(found.iter().all(|record| record.at_ns == record.seq), "from {from}: wrong times");
    }
    Ok(())
}

fn streams_do_not_mix(store: &Arc<dyn Store>) -> Outcome {
    let (one, other) = (session(store, 1)?, session(store, 2)?);
    for number in 0..5 {
        must(one.chunk(&chunk(number, "a")), "append")?;
        must(other.chunk(&chunk(number, "b")), "append")?;
    }
    ensure!(texts(store, 1)? == ["a"; 5] && texts(store, 2)? == ["b"; 5], "records went to the other stream");
    let info = must(store.info(one.id()), "read what is known")?.ok_or("the stream is not known")?;
    ensure!(info.records == 5 && info.last_at_ns == 4 && info.kind == Kind::Session, "wrong: {info:?}");
    Ok(())
}

fn handles_share_one_sequence(store: &Arc<dyn Store>) -> Outcome {
    const EACH: usize = 200;
    one_sequence(store, |store| {
        let stream = session(store, 1)?;
        (0..EACH).map(|_| must(stream.chunk(&chunk(1, "x")), "append")).collect()
    })
}

/// Whoever opens a stream just as its last handle goes, and what it wrote is put away, still finds where it ended.
fn handles_that_come_and_go(store: &Arc<dyn Store>) -> Outcome {
    const EACH: usize = 200;
    one_sequence(store, |store| {
        let once = |_| {
            let seq = must(session(store, 1)?.chunk(&chunk(1, "x")), "append")?;
            must(store.flush(), "flush").map(|()| seq)
        };
        (0..EACH).map(once).collect()
    })
}

/// What several threads `write` to the first stream at once has every number once.
fn one_sequence(
    store: &Arc<dyn Store>,
    write: impl Fn(&Arc<dyn Store>) -> Result<Vec<u64>, String> + Sync,
) -> Outcome {
    let mut given = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| write(store))).collect();
        let each =
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?);
        each.collect::<Result<Vec<_>, String>>()
    })?
    .concat();
    given.sort_unstable();
    let every = 0..given.len() as u64;
    ensure!(given.iter().copied().eq(every.clone()), "sequence numbers were given twice or left out");
    let found = must(store.load(StreamId([1; 16]), 0, usize::MAX), "load")?;
    ensure!(found.iter().map(|record| record.seq).eq(every), "records are missing or doubled");
    Ok(())
}

fn a_stream_goes_on(store: &Arc<dyn Store>) -> Outcome {
    write(&session(store, 1)?, &["a", "b"])?;
    must(store.flush(), "flush")?;
    let again = session(store, 1)?;
    let next = must(again.next_seq(), "ask for the next number")?;
    ensure!(next == 2, "the next record has number {next}");
    write(&again, &["c"])?;
    drop(again);
    write(&session(store, 1)?, &["d"])?;
    ensure!(texts(store, 1)? == ["a", "b", "c", "d"], "the stream is {:?}", texts(store, 1)?);
    Ok(())
}

fn an_unknown_stream_is_empty(store: &Arc<dyn Store>) -> Outcome {
    let id = StreamId([9; 16]);
    ensure!(must(store.load(id, 0, 10), "load")?.is_empty(), "it has records");
    ensure!(must(store.info(id), "read what is known")?.is_none(), "something is known of it");
    ensure!(!must(store.matches(id, [0; 16], b""), "compare content")?, "something matches");
    sound(store, None)
}

fn a_clock_may_go_back(store: &Arc<dyn Store>) -> Outcome {
    let stream = session(store, 1)?;
    let times = [1_000_000, 5, 0, u64::MAX, 1];
    for at_ns in times {
        must(stream.chunk(&chunk(at_ns, "x")), "append")?;
    }
    let found = must(store.load(stream.id(), 0, 10), "load")?;
    ensure!(found.iter().map(|record| record.at_ns).eq(times), "times differ: {found:?}");
    sound(store, None)
}

fn redaction_is_obeyed(store: &Arc<dyn Store>) -> Outcome {
    let id = StreamId([1; 16]);
    let redaction = Redaction { completion: Level::Hashed, prompt: Level::None, ..Redaction::default() };
    let options = StreamOptions { redaction, ..StreamOptions::new(Kind::Session) };
    let stream = must(store.stream(id, &options), "open a stream")?;
    let contents = [
        Content { class: Class::Prompt, bytes: b"prompt" },
        Content { class: Class::ToolResult, bytes: b"result" },
    ];
    must(stream.entry(&Entry { at_ns: 0, kind: 1, payload: b"", contents: &contents }), "append")?;
    must(stream.chunk(&chunk(1, "completion")), "append")?;
    let found = must(store.load(id, 0, 10), "load")?;
    let expected =
        vec![(Class::Prompt, Stored::Absent), (Class::ToolResult, Stored::Full(b"result".to_vec()))];
    ensure!(
        matches!(&found[..], [first, _] if matches!(&first.body, Body::Entry { contents, .. } if *contents == expected)),
        "the entry is {found:?}"
    );
    let [_, second] = &found[..] else {
        return Err("records are missing".to_owned());
    };
    let Body::Chunk { text: Stored::Hashed(hash), .. } = second.body else {
        return Err(format!("the chunk is {second:?}"));
    };
    ensure!(must(store.matches(id, hash, b"completion"), "compare")?, "the hash does not match its content");
    ensure!(!must(store.matches(id, hash, b"other"), "compare")?, "the hash matches other content");
    sound(store, None)
}

fn nonsense_is_refused(store: &Arc<dyn Store>) -> Outcome {
    let stream = session(store, 1)?;
    write(&stream, &["a"])?;
    let kind = stream.entry(&Entry { at_ns: 0, kind: Entry::KINDS, payload: b"", contents: &[] });
    ensure!(matches!(kind, Err(Error::Invalid { .. })), "a kind out of range gave {kind:?}");
    let signal = stream.chunk(&Chunk { signal: Chunk::SIGNALS, ..chunk(0, "x") });
    ensure!(matches!(signal, Err(Error::Invalid { .. })), "a signal out of range gave {signal:?}");
    let own = store.stream(StreamId::JOURNAL, &StreamOptions::new(Kind::Session));
    ensure!(own.is_err(), "the journal's own stream was opened for writing");
    let long = Row::Run(RunRow { name: Some("x".repeat(10_000)), ..RunRow::default() });
    ensure!(store.put(&long).is_err(), "a row of any length was taken");
    let filter = Filter { target: Some("x".to_owned()), ..Filter::default() };
    ensure!(store.runs(&filter).is_err(), "runs were filtered by a column they do not have");
    write(&stream, &["b"])?;
    ensure!(texts(store, 1)? == ["a", "b"], "the stream is {:?}", texts(store, 1)?);
    Ok(())
}

fn rows_are_filled_in(store: &Arc<dyn Store>) -> Outcome {
    let id = StreamId([1; 16]);
    let begun = SessionRow {
        id,
        status: Some("running".to_owned()),
        started_at_ms: Some(5),
        tenant: Some("acme".to_owned()),
        ..SessionRow::default()
    };
    let ended = SessionRow {
        id,
        status: Some("ok".to_owned()),
        degraded: Some(true),
        attempts: Some(2),
        ..SessionRow::default()
    };
    must(store.put(&Row::Session(begun.clone())), "put a row")?;
    must(store.put(&Row::Session(ended)), "put more of it")?;
    let page = must(store.sessions(&Filter::default()), "list sessions")?;
    let whole =
        SessionRow { status: Some("ok".to_owned()), degraded: Some(true), attempts: Some(2), ..begun };
    ensure!(page.rows == [whole] && page.next.is_none(), "the rows are {page:?}");
    Ok(())
}

fn rows_are_found(store: &Arc<dyn Store>) -> Outcome {
    let text = |text: &str| Some(text.to_owned());
    let run = StreamId([100; 16]);
    let wanted = SessionRow {
        id: StreamId([1; 16]),
        run: Some(run),
        parent: Some(StreamId([101; 16])),
        tenant: text("acme"),
        user: text("ann"),
        target: text("model"),
        status: text("failed"),
        fault: text("stall"),
        started_at_ms: Some(1000),
        ..SessionRow::default()
    };
    let other = SessionRow { id: StreamId([2; 16]), started_at_ms: Some(2000), ..SessionRow::default() };
    must(store.put(&Row::Session(wanted.clone())), "put a row")?;
    must(store.put(&Row::Session(other)), "put a row")?;
    let filters = [
        Filter { id: Some(wanted.id), ..Filter::default() },
        Filter { run: Some(run), ..Filter::default() },
        Filter { parent: wanted.parent, ..Filter::default() },
        Filter { tenant: text("acme"), ..Filter::default() },
        Filter { user: text("ann"), ..Filter::default() },
        Filter { target: text("model"), ..Filter::default() },
        Filter { status: text("failed"), ..Filter::default() },
        Filter { fault: text("stall"), ..Filter::default() },
        Filter { until_ms: Some(2000), ..Filter::default() },
        Filter { since_ms: Some(1000), until_ms: Some(1001), tenant: text("acme"), ..Filter::default() },
    ];
    for filter in filters {
        let page = must(store.sessions(&filter), "list sessions")?;
        ensure!(page.rows == [wanted.clone()], "{filter:?} gave {page:?}");
    }
    let none = Filter { tenant: text("acme' OR 1=1 --"), ..Filter::default() };
    ensure!(must(store.sessions(&none), "list sessions")?.rows.is_empty(), "a tenant nobody has was found");
    let none = Filter { id: Some(run), ..Filter::default() };
    ensure!(must(store.sessions(&none), "list sessions")?.rows.is_empty(), "a session nobody has was found");
    let step =
        StepRow { id: StreamId([3; 16]), run: Some(run), started_at_ms: Some(1), ..StepRow::default() };
    must(store.put(&Row::Step(step.clone())), "put a step")?;
    let steps = must(store.steps(&Filter { run: Some(run), ..Filter::default() }), "list steps")?;
    ensure!(steps.rows == [step], "the steps are {steps:?}");
    Ok(())
}

fn pages_show_every_row_once(store: &Arc<dyn Store>) -> Outcome {
    // Many begin in the same millisecond.
    for number in 0..25_u8 {
        let started_at_ms = Some(u64::from(number / 6));
        let row = RunRow { id: StreamId([number; 16]), started_at_ms, ..RunRow::default() };
        must(store.put(&Row::Run(row)), "put a row")?;
    }
    let mut filter = Filter { limit: 4, ..Filter::default() };
    let mut seen = Vec::new();
    loop {
        let page = must(store.runs(&filter), "list runs")?;
        ensure!(page.rows.len() <= 4, "a page has {} rows", page.rows.len());
        seen.extend(page.rows.iter().map(|row| row.id.0[0]));
        if page.next.is_none() {
            break;
        }
        filter.after = page.next;
    }
    ensure!(seen.iter().copied().eq((0..25).rev()), "the pages show {seen:?}");
    Ok(())
}

fn attempts_are_in_order(store: &Arc<dyn Store>) -> Outcome {
    let session = StreamId([1; 16]);
    for number in [2, 0, 300, 1] {
        let row = AttemptRow { session, number, started_at_ms: Some(1), ..AttemptRow::default() };
        must(store.put(&Row::Attempt(row)), "put an attempt")?;
    }
    let other = AttemptRow { session: StreamId([2; 16]), number: 7, ..AttemptRow::default() };
    must(store.put(&Row::Attempt(other)), "put an attempt")?;
    let found = must(store.attempts(session), "list attempts")?;
    ensure!(found.iter().map(|row| row.number).eq([0, 1, 2, 300]), "the attempts are {found:?}");
    Ok(())
}

fn a_run_has_one_holder(store: &Arc<dyn Store>) -> Outcome {
    let run = StreamId([1; 16]);
    let first = must(store.lease(run, Duration::ZERO), "take a lease")?;
    must(first.check(), "check a lease")?;
    let second = store.lease(run, Duration::ZERO);
    ensure!(matches!(second, Err(Error::Held { .. })), "a second holder got {second:?}");
    must(store.lease(StreamId([2; 16]), Duration::ZERO), "take the lease of another run")?;
    let fence = first.fence();
    must(first.release(), "give a lease back")?;
    let next = must(store.lease(run, Duration::ZERO), "take a lease that was given back")?;
    ensure!(next.fence() > fence, "the fence went from {fence} to {}", next.fence());
    let fence = next.fence();
    drop(next);
    let last = must(store.lease(run, Duration::ZERO), "take a lease that was dropped")?;
    ensure!(last.fence() > fence, "the fence went from {fence} to {}", last.fence());
    must(last.renew(), "renew a lease")
}

fn a_returned_lease_is_over(store: &Arc<dyn Store>) -> Outcome {
    let (run, id) = (StreamId([1; 16]), StreamId([2; 16]));
    let lease = must(store.lease(run, Duration::ZERO), "take a lease")?;
    let stream =
        must(store.stream(id, &StreamOptions::new(Kind::Step).under(&lease)), "open a stream under it")?;
    write(&stream, &["a"])?;
    must(lease.release(), "give it back")?;
    let late = stream.chunk(&chunk(1, "late"));
    ensure!(late.is_err(), "a late record was taken");
    ensure!(texts(store, 2)? == ["a"], "the stream is {:?}", texts(store, 2)?);
    let next = must(store.lease(run, Duration::ZERO), "take the lease again")?;
    let stream =
        must(store.stream(id, &StreamOptions::new(Kind::Step).under(&next)), "open the stream under it")?;
    write(&stream, &["b"])?;
    ensure!(texts(store, 2)? == ["a", "b"], "the stream is {:?}", texts(store, 2)?);
    Ok(())
}

fn the_chain_is_sound(store: &Arc<dyn Store>) -> Outcome {
    let empty = must(store.head(), "read the head")?;
    ensure!(empty.position == 0, "an empty journal has a head at {}", empty.position);
    let stream = session(store, 1)?;
    write(&stream, &["a", "b"])?;
    let first = must(store.head(), "read the head")?;
    write(&session(store, 2)?, &["c"])?;
    let second = must(store.head(), "read the head")?;
    ensure!(first != second && second.position > first.position, "the head did not move");
    for noted in [None, Some(empty), Some(first), Some(second)] {
        sound(store, noted)?;
    }
    let report = must(store.verify(None), "verify")?;
    ensure!((report.records, report.streams, report.head) == (3, 2, second), "the report is {report:?}");
    let mut other = first;
    other.hash[31] ^= 1;
    for wrong in [other, Head { position: second.position + 1, ..second }] {
        ensure!(!must(store.verify(Some(wrong)), "verify")?.is_sound(), "it leads to a head it never had");
    }
    Ok(())
}

fn erased_content_is_gone(store: &Arc<dyn Store>) -> Outcome {
    let stream = session(store, 1)?;
    write(&stream, &["secret", "words"])?;
    write(&session(store, 2)?, &["others"])?;
    let noted = must(store.head(), "read the head")?;
    let what = Selection::Streams(vec![StreamId([1; 16]), StreamId([77; 16])]);
    let removed = must(store.remove(&what, Removal::Content), "erase")?;
    ensure!(removed.streams == 1 && removed.bytes >= 11, "it removed {removed:?}");
    ensure!(texts(store, 1)? == ["[erased 6]", "[erased 5]"], "the stream is {:?}", texts(store, 1)?);
    ensure!(texts(store, 2)? == ["others"], "another stream is {:?}", texts(store, 2)?);
    sound(store, Some(noted))?;
    // What its writer adds later is treated alike.
    write(&stream, &["later"])?;
    ensure!(
        texts(store, 1)?.last().map(String::as_str) == Some("[erased 5]"),
        "what came later is {:?}",
        texts(store, 1)?
    );
    let again = must(store.remove(&what, Removal::Content), "erase again")?;
    ensure!(again.streams == 0, "it removed {again:?} again");
    sound(store, Some(noted))
}

fn removed_records_are_gone(store: &Arc<dyn Store>) -> Outcome {
    let id = StreamId([1; 16]);
    let stream = session(store, 1)?;
    write(&stream, &["a", "b"])?;
    must(store.put(&Row::Session(SessionRow { id, ..SessionRow::default() })), "put a row")?;
    must(store.put(&Row::Attempt(AttemptRow { session: id, ..AttemptRow::default() })), "put an attempt")?;
    write(&session(store, 2)?, &["others"])?;
    let noted = must(store.head(), "read the head")?;
    must(store.remove(&Selection::Streams(vec![id]), Removal::Content), "erase")?;
    must(store.remove(&Selection::Streams(vec![id]), Removal::Records), "remove")?;
    let loaded = store.load(id, 0, 10);
    ensure!(matches!(loaded, Err(Error::Removed { .. })), "loading gave {loaded:?}");
    let opened = store.stream(id, &StreamOptions::new(Kind::Session));
    ensure!(
        matches!(opened, Err(Error::Removed { .. }))
            || opened.is_ok_and(|stream| appends_nothing(store, &stream)),
        "it can be written again"
    );
    let rows = must(store.sessions(&Filter::default()), "list")?.rows.len()
        + must(store.attempts(id), "list")?.len();
    ensure!(rows == 0, "{rows} rows are left");
    let info = must(store.info(id), "read what is known")?;
    ensure!(
        info.is_some_and(|info| info.removed == Some(Removal::Records)),
        "that it was removed is not known"
    );
    ensure!(texts(store, 2)? == ["others"], "another stream is {:?}", texts(store, 2)?);
    sound(store, Some(noted))
}

/// Whether a stream that was open during the removal takes nothing any more, at the latest once it is flushed.
fn appends_nothing(store: &Arc<dyn Store>, stream: &Stream) -> bool {
    let first = stream.chunk(&chunk(9, "late"));
    let flushed = store.flush();
    first.is_err() || flushed.is_err() || stream.chunk(&chunk(9, "late")).is_err()
}

fn selections_select(store: &Arc<dyn Store>) -> Outcome {
    let open = |id: u8, tenant: &str, user: &str| {
        let options = StreamOptions {
            tenant: Some(tenant.to_owned()),
            user: Some(user.to_owned()),
            ..StreamOptions::new(Kind::Session)
        };
        must(store.stream(StreamId([id; 16]), &options), "open a stream")
            .and_then(|stream| write(&stream, &["text"]))
    };
    open(1, "acme", "ann")?;
    open(2, "acme", "bob")?;
    open(3, "other", "ann")?;
    open(4, "other", "cid")?;
    let state =
        || -> Result<Vec<bool>, String> { (1..5).map(|id| Ok(texts(store, id)? == ["text"])).collect() };
    must(store.remove(&Selection::Tenant("acme".to_owned()), Removal::Content), "erase a tenant's")?;
    ensure!(state()? == [false, false, true, true], "a tenant's: {:?}", state()?);
    must(store.remove(&Selection::User("ann".to_owned()), Removal::Content), "erase a user's")?;
    ensure!(state()? == [false, false, false, true], "a user's: {:?}", state()?);
    must(store.remove(&Selection::OpenedBefore(0), Removal::Content), "erase what is older than all")?;
    ensure!(state()? == [false, false, false, true], "none: {:?}", state()?);
    must(store.remove(&Selection::OpenedBefore(u64::MAX), Removal::Content), "erase all")?;
    ensure!(state()? == [false; 4], "all: {:?}", state()?);
    sound(store, None)
}

fn a_users_name_goes(store: &Arc<dyn Store>) -> Outcome {
    let user = || Some("ann".to_owned());
    let id = StreamId([1; 16]);
    let options = StreamOptions { user: user(), ..StreamOptions::new(Kind::Session) };
    let stream = must(store.stream(id, &options), "open a stream")?;
    write(&stream, &["text"])?;
    must(store.put(&Row::Session(SessionRow { id, user: user(), ..SessionRow::default() })), "put a row")?;
    must(store.remove(&Selection::User("ann".to_owned()), Removal::Content), "erase a user's")?;
    let named = must(store.sessions(&Filter { user: user(), ..Filter::default() }), "list")?;
    ensure!(named.rows.is_empty(), "the name is still in {named:?}");
    ensure!(must(store.sessions(&Filter::default()), "list")?.rows.len() == 1, "the row itself is gone");
    Ok(())
}

fn barriers_are_answered(store: &Arc<dyn Store>) -> Outcome {
    write(&session(store, 1)?, &["a"])?;
    for ticket in [store.barrier(Before::SideEffect), store.barrier(Before::Release), store.sync()] {
        let answer =
            ticket.wait_for(Duration::from_secs(60)).ok_or("a barrier was not answered in a minute")?;
        must(answer, "reach the disk")?;
        ensure!(ticket.poll() == Some(Ok(())), "the answer did not last");
    }
    let health = store.health();
    ensure!(health.error.is_none(), "its health is {health:?}");
    Ok(())
}
