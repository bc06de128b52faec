//! Journals that an earlier version wrote are read by every later one, for ever.
//!
//! `tests/golden/1.db` is a closed journal, `tests/golden/1.db-spool` what a process of that version left behind when it was
//! killed. Neither is ever written again; a new version of the format adds a new number.
//! `L0_GOLDEN=write` writes those of the current version where there are none yet. Before the first release a change of the
//! format replaces number 1: remove its files first.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use l0_engine::{
    Admission, AttemptId, AttemptOutcome, Event, Facts, Flags, Header, Input, Instant, LogProb, Method, Mode,
    Opaque, Output, Part, Purpose, Record, Signal, Splice, Target, TargetId, ToolFragment, Usage,
};
use l0_journal::clock::VirtualClock;
use l0_journal::{
    AttemptRow, Body, Chunk, Class, Content, Drive, Entry, Filter, Head, Journal, Kind, Level, Options,
    Redaction, Removal, Row, RunRow, Selection, SessionRow, StepRow, Store, Stored, StreamId, StreamOptions,
    session,
};

mod scratch;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn options() -> Options {
    let clock = Arc::new(VirtualClock::at(1_760_000_000_000));
    Options { drive: Drive::Caller, clock, ..Options::default() }
}

fn id(name: &str) -> StreamId {
    StreamId::named("golden", name)
}

/// Every kind of record, of row and of removal there is.
fn write(journal: &Journal) {
    let text = |text: &str| Some(text.to_owned());
    let options = StreamOptions {
        tenant: text("acme"),
        user: text("ann"),
        redaction: Redaction { tool_result: Level::None, ..Redaction::default() },
        ..StreamOptions::new(Kind::Session)
    };
    let lease = journal.lease(id("run"), Duration::ZERO).unwrap();
    let session = journal.stream(id("session"), &options.clone().under(&lease)).unwrap();
    let contents = [
        Content { class: Class::Prompt, bytes: b"What is the capital of France?" },
        Content { class: Class::ToolResult, bytes: b"not kept" },
    ];
    session.entry(&Entry { at_ns: 1_000, kind: 3, payload: b"\x01start", contents: &contents }).unwrap();
    for (number, piece) in (0..).zip(["The", " capital", " is", " Paris", "."]) {
        let object = (number == 3).then_some(b"{\"index\":3}".as_slice());
        let at_ns = 5_000_000 + number * 20_000_000;
        let class = Class::Completion;
        let signal = u8::try_from(number % 4).unwrap();
        session.chunk(&Chunk { at_ns, attempt: 1, signal, class, text: piece, object }).unwrap();
        if number == 2 {
            journal.flush().unwrap();
        }
    }
    let erased = journal.stream(id("erased"), &StreamOptions::new(Kind::Step)).unwrap();
    let chunk =
        |at_ns, text| Chunk { at_ns, attempt: 2, signal: 1, class: Class::ToolArguments, text, object: None };
    erased.chunk(&chunk(7, "{\"secret\": true}")).unwrap();
    let pruned = journal.stream(id("pruned"), &StreamOptions::new(Kind::Run)).unwrap();
    pruned.chunk(&chunk(8, "old")).unwrap();
    journal.remove(&Selection::Streams(vec![id("erased")]), Removal::Content).unwrap();
    journal.remove(&Selection::Streams(vec![id("pruned")]), Removal::Records).unwrap();
    let engine = journal.stream(id("engine"), &StreamOptions::new(Kind::Session)).unwrap();
    for record in engine_records() {
        session::append(&engine, Instant(7_000), record, Some(b"object")).unwrap();
    }
    rows(journal);
    lease.release().unwrap();
}

fn rows(journal: &Journal) {
    let text = |text: &str| Some(text.to_owned());
    let started_at_ms = Some(1_760_000_000_000);
    let run = RunRow {
        id: id("run"),
        name: text("job-42"),
        status: text("ok"),
        started_at_ms,
        ..RunRow::default()
    };
    journal.put(&Row::Run(run)).unwrap();
    let step =
        StepRow { id: id("step"), run: Some(id("run")), key: text("k"), started_at_ms, ..StepRow::default() };
    journal.put(&Row::Step(step)).unwrap();
    let row = SessionRow {
        id: id("session"),
        run: Some(id("run")),
        tenant: text("acme"),
        target: text("model-a"),
        status: text("ok"),
        attempts: Some(1),
        degraded: Some(false),
        output_tokens: Some(5),
        started_at_ms,
        ..SessionRow::default()
    };
    journal.put(&Row::Session(row)).unwrap();
    let attempt =
        AttemptRow { session: id("session"), number: 1, status: text("ok"), ..AttemptRow::default() };
    journal.put(&Row::Attempt(attempt)).unwrap();
}

/// One of every shape of record the engine writes.
fn engine_records() -> Vec<Record> {
    let (at, attempt, target) = (Instant(7_000), AttemptId(1), TargetId(0));
    let text = |text: &str| text.to_owned();
    let input = |input| Record::Input { at, input, signal: None };
    let header = Header {
        flags: Flags(0),
        engine: text("0.1.0"),
        generator: text("generator"),
        policy: text("digest"),
        seed: 42,
        targets: vec![Target { quality: Some(text("basic")), ..Target::named("model-a") }],
        streamed: true,
        deadline: Some(Instant(900)),
    };
    let tool = ToolFragment {
        index: 1,
        id: Some(text("call")),
        args: text("{\"a\": 1}"),
        ..ToolFragment::default()
    };
    let part = Part {
        text: text("part"),
        tools: vec![tool],
        opaque: Some(Opaque { digest: 9, open: true }),
        finish: Some(text("stop")),
        usage: Some(Usage { input: 3, output: 5, ..Usage::default() }),
        logprob: Some(LogProb { sum: -0.5, tokens: 2 }),
        sequence: Some(4),
        ..Part::default()
    };
    let facts = Facts {
        bytes: true,
        types: vec![text("APIConnectionError")],
        status: Some(503),
        request_id: Some(text("req_1")),
        retry_after: Some(text("17")),
        ..Facts::default()
    };
    let splice = Splice { attempt, mode: Mode::Prompt, method: Method::Anchor, at: 12, dropped: 3 };
    vec![
        Record::Start(header),
        input(Input::Start),
        input(Input::Admitted(Admission::BreakerOpen { reopens_in: 30 })),
        input(Input::Opened(attempt)),
        Record::Input { at, input: Input::Part { attempt, waited: 5, part }, signal: Some(Signal::Hold) },
        Record::Chunk { at, attempt, text: "chunk".into(), signal: Signal::Pass },
        input(Input::Failed { attempt, facts }),
        input(Input::Timeout { waited: Some(8) }),
        input(Input::Cancel),
        input(Input::Resume),
        Record::Decision(Output::Ask { target, purpose: Purpose::First, force: false }),
        Record::Decision(Output::Open { attempt, target, mode: Mode::Prefill }),
        Record::Decision(Output::Wait { until: Instant(99) }),
        Record::Decision(Output::Cut { start: 1, end: 2 }),
        Record::Decision(Output::Mask { text: text("***"), at: 4 }),
        Record::Decision(Output::Report { target, outcome: AttemptOutcome::Stopped }),
        Record::Decision(Output::Event(Event::Splice(splice))),
        Record::Decision(Output::Done),
    ]
}

/// What a process appended that was killed before it flushed.
fn write_more(journal: &Journal) {
    let session = journal.stream(id("session"), &StreamOptions::new(Kind::Session)).unwrap();
    let chunk =
        Chunk { at_ns: 99, attempt: 2, signal: 0, class: Class::Completion, text: " Indeed.", object: None };
    session.chunk(&chunk).unwrap();
    let late = journal.stream(id("late"), &StreamOptions::new(Kind::Run)).unwrap();
    late.entry(&Entry { at_ns: 5, kind: 9, payload: b"\x01late", contents: &[] }).unwrap();
    let row =
        SessionRow { id: id("session"), status: Some("interrupted".to_owned()), ..SessionRow::default() };
    journal.put(&Row::Session(row)).unwrap();
}

/// Everything a journal tells, as text. What has no value is left out, so that what later versions add does not change it.
fn tell(journal: &Journal) -> String {
    let mut told = String::new();
    let mut say = |what: &dyn std::fmt::Debug| {
        for line in format!("{what:#?}").lines().filter(|line| !line.ends_with(": None,")) {
            writeln!(told, "{line}").unwrap();
        }
    };
    for name in ["session", "erased", "pruned", "late", "run"] {
        say(&name);
        if let Some(info) = journal.info(id(name)).unwrap() {
            say(&(info.kind, info.records, info.last_at_ns, info.opened_at_ms, info.removed));
        }
        match journal.load(id(name), 0, usize::MAX) {
            Ok(records) => {
                for record in records {
                    say(&(record.seq, record.at_ns, readable(&record.body)));
                }
            }
            Err(error) => say(&error.to_string()),
        }
    }
    let all = Filter::default();
    say(&journal.runs(&all).unwrap().rows);
    say(&journal.steps(&all).unwrap().rows);
    say(&journal.sessions(&all).unwrap().rows);
    say(&journal.attempts(id("session")).unwrap());
    told
}

/// A record on one line, with its texts as text.
fn readable(body: &Body) -> String {
    let text =
        |stored: &Stored| stored.text().map_or_else(|| format!("{stored:?}"), |text| format!("{text:?}"));
    match body {
        Body::Entry { kind, payload, contents } => {
            let contents: Vec<_> =
                contents.iter().map(|(class, stored)| format!("{class:?} {}", text(stored))).collect();
            format!("entry {kind} {payload:?} {}", contents.join(", "))
        }
        Body::Chunk { attempt, signal, class, text: stored, object } => {
            let object = object.as_ref().map(text).unwrap_or_default();
            format!("chunk {attempt} {signal} {class:?} {} {object}", text(stored))
        }
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::copy(from, to).unwrap();
    }
}

#[test]
fn journals_of_every_version_are_read() {
    if std::env::var("L0_GOLDEN").is_ok_and(|wish| wish == "write") {
        record();
    }
    let versions = (1..1000).take_while(|version| golden(&format!("{version}.db")).exists());
    let mut count = 0;
    for version in versions {
        let folder = scratch::folder();
        let path = folder.path().join("j.db");
        copy(&golden(&format!("{version}.db")), &path);
        copy(&golden(&format!("{version}.db-spool")), &folder.path().join("j.db-spool"));
        let expected = |name: &str| std::fs::read_to_string(golden(&format!("{version}.{name}"))).unwrap();
        let head: Head = expected("head").trim().parse().unwrap();
        let journal = Journal::open(&path, &options()).unwrap();
        let recovery = journal.recovery();
        assert_eq!((recovery.records, recovery.torn, recovery.spools), (2, 0, 1), "{recovery:?}");
        assert_eq!(tell(&journal), expected("txt"), "version {version} is read differently");
        let stored = journal.load(id("engine"), 0, usize::MAX).unwrap();
        let read = stored.into_iter().map(|record| session::read(record).unwrap()).collect::<Vec<_>>();
        assert!(read.iter().all(|read| read.object.as_deref() == Some(b"object") && read.missing.is_empty()));
        let read: Vec<_> = read.into_iter().map(|read| read.record).collect();
        assert_eq!(read, engine_records(), "version {version}: the engine's records are read differently");
        let report = journal.verify(Some(head)).unwrap();
        assert!(report.is_sound(), "{:?}", report.findings);
        // And it can be written on.
        write_more(&journal);
        journal.close().unwrap();
        count += 1;
    }
    assert!(count >= 1, "there is no journal of any version");
}

/// Writes the golden journal of this version, unless there is one.
fn record() {
    let number = (1..1000).find(|version| !golden(&format!("{version}.db")).exists()).unwrap();
    std::fs::create_dir_all(golden("")).unwrap();
    let folder = scratch::folder();
    let path = folder.path().join("j.db");
    let journal = Journal::open(&path, &options()).unwrap();
    write(&journal);
    let head = journal.head().unwrap();
    journal.close().unwrap();
    copy(&path, &golden(&format!("{number}.db")));
    let journal = Journal::open(&path, &options()).unwrap();
    write_more(&journal);
    let spool = golden(&format!("{number}.db-spool"));
    std::fs::create_dir_all(&spool).unwrap();
    for entry in std::fs::read_dir(folder.path().join("j.db-spool")).unwrap() {
        let entry = entry.unwrap();
        // The lock says who lived then; the spool alone is what a dead process leaves.
        if entry.path().extension().is_some_and(|end| end == "spool") {
            copy(&entry.path(), &spool.join(entry.file_name()));
        }
    }
    std::fs::write(golden(&format!("{number}.head")), format!("{head}\n")).unwrap();
    std::fs::write(golden(&format!("{number}.txt")), tell(&journal)).unwrap();
}
