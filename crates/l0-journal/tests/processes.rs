//! What several processes do to one journal, with real processes, really killed and really stopped.
//!
//! The test starts itself again in other roles. `L0_CRASH_ROUNDS` sets how often a writer is killed at each durability.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "a test without a harness says what it does")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use l0_journal::clock::VirtualClock;
use l0_journal::{
    Before, Body, Chunk, Class, Drive, Durability, Error, Filter, Journal, Kind, Lease, Options, Row,
    SessionRow, Store, Stream, StreamId, StreamOptions, fork,
};
use rustix::process::{Pid, Signal, kill_process};

const CASES: &[(&str, fn())] = &[
    ("killed_writers_lose_nothing_acknowledged_in_fast", || {
        killed(Durability::Fast);
    }),
    ("killed_writers_lose_nothing_acknowledged_in_safe", || {
        killed(Durability::Safe);
    }),
    ("killed_writers_lose_nothing_acknowledged_in_paranoid", || killed(Durability::Paranoid)),
    ("several_processes_write_one_journal", several_writers),
    ("two_processes_cannot_write_one_stream", one_stream_two_writers),
    ("a_dead_holder_is_succeeded_at_once", dead_holder),
    ("a_living_holder_is_not_succeeded_even_when_stopped", living_holder),
    ("a_holder_on_another_host_that_wakes_up_late_is_fenced_off", || stopped_holder("sleeper")),
    ("what_a_late_holder_writes_unknowingly_is_refused", || {
        stopped_holder("dreamer");
    }),
    ("an_announced_fork_starts_clean", announced_fork),
    ("a_fork_nobody_announced_harms_nobody", unannounced_fork),
    ("a_lock_that_a_forked_child_inherited_does_not_keep_the_dead_alive", inherited_lock),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Ok(role) = std::env::var("L0_ROLE") {
        return play(&role, Path::new(&arguments[0]), &arguments[1..]);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in CASES {
            println!("{name}: test");
        }
        return;
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    for (name, case) in CASES {
        if wanted.is_none_or(|wanted| name.contains(wanted.as_str())) {
            let start = Instant::now();
            case();
            println!("test {name} ... ok ({:.1} s)", start.elapsed().as_secs_f64());
        }
    }
}

/// What the processes under test do.
fn play(role: &str, path: &Path, arguments: &[String]) {
    match role {
        "writer" => writer(path, arguments),
        "several" => writer_of_several(path, arguments),
        "rival" => rival(path),
        "holder" => holder(path),
        "sleeper" => sleeper(path, &Options { lease_term: TERM, ..on_host("a") }),
        // Its clock stands still and nothing beats for it, so that it cannot know that it slept.
        "dreamer" => {
            let clock = Arc::new(VirtualClock::at(wall_ms()));
            sleeper(path, &Options { clock, drive: Drive::Caller, lease_term: TERM, ..on_host("a") });
        }
        "forker" => forker(path),
        _ => panic!("no role {role}"),
    }
}

/// How long the lease in the tests lasts: long enough to be beaten in time on a busy machine.
const TERM: Duration = Duration::from_millis(1500);

fn on_host(host: &str) -> Options {
    Options { host: Some(host.to_owned()), ..Options::default() }
}

fn wall_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

struct Process {
    child: Child,
    says: BufReader<ChildStdout>,
    hears: ChildStdin,
}

impl Process {
    fn start(role: &str, path: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env("L0_ROLE", role)
            .arg(path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        let hears = child.stdin.take().unwrap();
        Self { child, says, hears }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn kill(mut self) -> BufReader<ChildStdout> {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
        self.says
    }

    /// The next line it says.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.hears, "{line}").unwrap();
    }

    fn ends_well(mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

fn hear() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn text(seq: u64) -> String {
    format!("record {seq} {}", "x".repeat(usize::try_from(seq % 40).unwrap()))
}

fn append(stream: &Stream, seq: u64) -> Result<(), Error> {
    let text = text(seq);
    let chunk =
        Chunk { at_ns: seq, attempt: 1, signal: 0, class: Class::Completion, text: &text, object: None };
    let given = stream.chunk(&chunk)?;
    assert_eq!(given, seq);
    Ok(())
}

fn session(journal: &Journal, id: StreamId) -> Stream {
    journal.stream(id, &StreamOptions::new(Kind::Session)).unwrap()
}

/// How many records the stream has, each of which must be the right one.
fn count(journal: &Journal, id: StreamId) -> u64 {
    let records = journal.load(id, 0, usize::MAX).unwrap();
    for (seq, record) in (0..).zip(&records) {
        let Body::Chunk { text: stored, .. } = &record.body else { panic!() };
        assert_eq!((record.seq, stored.text()), (seq, Some(text(seq).as_str())));
    }
    records.len() as u64
}

fn sound(journal: &Journal) {
    let report = journal.verify(None).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
}

/// A number that differs from run to run: where to kill is not to be the same every time.
fn random(below: u64) -> u64 {
    let id = StreamId::random().unwrap();
    u64::from_le_bytes(id.0[..8].try_into().unwrap()) % below
}

// ------------------------------------------------------------------------------------------------ killed writers

/// Appends for ever, and says after each record that it was acknowledged.
fn writer(path: &Path, arguments: &[String]) {
    let durability = match arguments[0].as_str() {
        "Fast" => Durability::Fast,
        "Safe" => Durability::Safe,
        _ => Durability::Paranoid,
    };
    let id: StreamId = arguments[1].parse().unwrap();
    let linger = Duration::from_millis(arguments[2].parse().unwrap());
    let journal = Journal::open(path, &Options { durability, linger, ..Options::default() }).unwrap();
    let stream = session(&journal, id);
    journal
        .put(&Row::Session(SessionRow { id, status: Some("running".to_owned()), ..SessionRow::default() }))
        .unwrap();
    let mut out = std::io::stdout();
    for seq in stream.next_seq().unwrap().. {
        append(&stream, seq).unwrap();
        if seq % 50 == 0 {
            journal.barrier(Before::SideEffect).wait().unwrap();
        }
        journal.barrier(Before::Release).wait().unwrap();
        out.write_all(&seq.to_le_bytes()).unwrap();
        out.flush().unwrap();
    }
}

/// G5: real `kill -9` at random moments; the journal opens, verifies and holds every acknowledged record.
fn killed(durability: Durability) {
    let rounds = std::env::var("L0_CRASH_ROUNDS").map_or(12, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let durability_name = format!("{durability:?}");
    let (mut recovered, mut acknowledged_in_all) = (0, 0);
    let mut streams: Vec<(StreamId, u64)> = Vec::new();
    for round in 0..rounds {
        // Some rounds go on with a stream that was cut before.
        let (id, before) =
            if round % 3 == 2 { *streams.last().unwrap() } else { (StreamId::random().unwrap(), 0) };
        let linger = ["0", "3", "1000"][usize::try_from(round % 3).unwrap()];
        // In some rounds somebody else has the journal open all the time.
        let bystander = (round % 4 == 1).then(|| Journal::open(&path, &Options::default()).unwrap());
        let mut process = Process::start("writer", &path, &[&durability_name, &id.to_string(), linger]);
        let mut last = None;
        let mut bytes = [0; 8];
        for _ in 0..random(if durability == Durability::Paranoid { 60 } else { 3000 }) {
            process.says.read_exact(&mut bytes).unwrap();
            last = Some(u64::from_le_bytes(bytes));
        }
        let mut rest = process.kill();
        while rest.read_exact(&mut bytes).is_ok() {
            last = Some(u64::from_le_bytes(bytes));
        }
        let journal = Journal::open(&path, &Options::default()).unwrap();
        if bystander.is_some() {
            journal.recover().unwrap();
        }
        recovered += journal.recovery().records;
        let acknowledged = last.map_or(before, |last| last + 1);
        let found = count(&journal, id);
        assert!(
            found >= acknowledged,
            "round {round}: {found} of {acknowledged} acknowledged records are there"
        );
        assert!(
            found <= acknowledged + 2,
            "round {round}: {found} records, of which {acknowledged} were acknowledged"
        );
        sound(&journal);
        streams.retain(|(stream, _)| *stream != id);
        streams.push((id, found));
        acknowledged_in_all += acknowledged - before;
        drop((journal, bystander));
    }
    let journal = Journal::open(&path, &Options::default()).unwrap();
    for (id, found) in streams {
        assert_eq!(count(&journal, id), found);
    }
    assert!(acknowledged_in_all > 0);
    println!(
        "  {rounds} kills in {durability_name}: {acknowledged_in_all} acknowledged, {recovered} of them found in spools"
    );
}

// ----------------------------------------------------------------------------------------------- several writers

fn writer_of_several(path: &Path, arguments: &[String]) {
    let journal =
        Journal::open(path, &Options { linger: Duration::from_millis(1), ..Options::default() }).unwrap();
    let streams: Vec<_> = arguments.iter().map(|id| session(&journal, id.parse().unwrap())).collect();
    for seq in 0..400 {
        for stream in &streams {
            append(stream, seq).unwrap();
        }
        if seq % 37 == 0 {
            journal.flush().unwrap();
        }
    }
    for stream in &streams {
        journal.put(&Row::Session(SessionRow { id: stream.id(), ..SessionRow::default() })).unwrap();
    }
    say("done");
    hear();
    journal.close().unwrap();
}

fn several_writers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let ids: Vec<_> = (0..6).map(|_| StreamId::random().unwrap()).collect();
    let mut processes: Vec<_> = ids
        .chunks(2)
        .map(|ids| Process::start("several", &path, &[&ids[0].to_string(), &ids[1].to_string()]))
        .collect();
    let journal = Journal::open(&path, &Options::default()).unwrap();
    for process in &mut processes {
        assert_eq!(process.line(), "done");
    }
    modes_are_private(folder.path());
    for mut process in processes {
        process.tell("end");
        process.ends_well();
    }
    for id in &ids {
        assert_eq!(count(&journal, *id), 400);
    }
    assert_eq!(journal.sessions(&Filter::default()).unwrap().rows.len(), 6);
    sound(&journal);
}

/// Every file beside the journal is for this user alone: the spools, the log and the shared memory too.
fn modes_are_private(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mut seen = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            if entry.path().is_dir() {
                assert_eq!(mode, 0o700, "{entry:?}");
                folders.push(entry.path());
            } else {
                assert_eq!(mode, 0o600, "{entry:?}");
            }
            seen.push(entry.file_name().into_string().unwrap());
        }
    }
    for suffix in ["j.db", "-wal", "-shm", ".lock", "-spool"] {
        assert!(seen.iter().any(|name| name.ends_with(suffix)), "no {suffix} among {seen:?}");
    }
}

fn rival(path: &Path) {
    let journal = Journal::open(path, &Options { linger: Duration::ZERO, ..Options::default() }).unwrap();
    let stream = session(&journal, StreamId([1; 16]));
    say("ready");
    hear();
    // A rival may also find that the stream has grown meanwhile: then its own numbers are taken.
    let own = format!("written by {}", std::process::id());
    let chunk = Chunk { at_ns: 0, attempt: 1, signal: 0, class: Class::Completion, text: &own, object: None };
    let result =
        stream.chunk(&chunk).and_then(|_| journal.flush()).and_then(|()| stream.chunk(&chunk)).map(|_| ());
    say(&match result {
        Ok(()) => "written".to_owned(),
        Err(Error::Lost { because, .. }) if matches!(*because, Error::Conflict { .. }) => {
            "conflict".to_owned()
        }
        Err(error) => format!("{error:?}"),
    });
    hear();
}

fn one_stream_two_writers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let mut one = Process::start("rival", &path, &[]);
    let mut other = Process::start("rival", &path, &[]);
    assert_eq!((one.line(), other.line()), ("ready".to_owned(), "ready".to_owned()));
    one.tell("go");
    assert_eq!(one.line(), "written");
    other.tell("go");
    assert_eq!(other.line(), "conflict");
    one.tell("end");
    other.tell("end");
    one.ends_well();
    other.ends_well();
    let journal = Journal::open(&path, &Options::default()).unwrap();
    assert_eq!(journal.load(StreamId([1; 16]), 0, 10).unwrap().len(), 2);
    sound(&journal);
}

// ---------------------------------------------------------------------------------------------------------- leases

const RUN: StreamId = StreamId([7; 16]);
const STEP: StreamId = StreamId([8; 16]);

fn leased(journal: &Journal, lease: &Lease) -> Stream {
    journal.stream(STEP, &StreamOptions::new(Kind::Step).under(lease)).unwrap()
}

fn holder(path: &Path) {
    let journal =
        Journal::open(path, &Options { linger: Duration::from_secs(3600), ..Options::default() }).unwrap();
    let lease = journal.lease(RUN, Duration::ZERO).unwrap();
    let stream = leased(&journal, &lease);
    (0..3).for_each(|seq| append(&stream, seq).unwrap());
    say("ready");
    hear();
}

fn dead_holder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let mut process = Process::start("holder", &path, &[]);
    assert_eq!(process.line(), "ready");
    let journal = Journal::open(&path, &Options::default()).unwrap();
    let held = journal.lease(RUN, Duration::ZERO);
    assert!(matches!(held, Err(Error::Held { .. })), "{held:?}");
    process.kill();
    // At once, though its term has half a minute to go; and what it wrote is there, though it never flushed.
    let lease = journal.lease(RUN, Duration::ZERO).unwrap();
    assert_eq!(lease.fence(), 2);
    let stream = leased(&journal, &lease);
    assert_eq!(stream.next_seq().unwrap(), 3);
    append(&stream, 3).unwrap();
    assert_eq!(count(&journal, STEP), 4);
    sound(&journal);
}

fn living_holder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let mut process = Process::start("holder", &path, &[]);
    assert_eq!(process.line(), "ready");
    process.signal(Signal::STOP);
    let clock = Arc::new(VirtualClock::at(wall_ms()));
    let journal =
        Journal::open(&path, &Options { clock: Arc::clone(&clock) as _, ..Options::default() }).unwrap();
    clock.advance(Duration::from_secs(3600));
    let held = journal.lease(RUN, Duration::from_secs(60));
    assert!(matches!(held, Err(Error::Held { .. })), "{held:?}");
    process.signal(Signal::CONT);
    process.tell("end");
    process.ends_well();
    assert_eq!(journal.lease(RUN, Duration::ZERO).unwrap().fence(), 2);
}

fn sleeper(path: &Path, options: &Options) {
    let journal = Journal::open(path, options).unwrap();
    let lease = journal.lease(RUN, Duration::ZERO).unwrap();
    let stream = leased(&journal, &lease);
    (0..3).for_each(|seq| append(&stream, seq).unwrap());
    say("ready");
    // Stopped here, for longer than its term.
    hear();
    let result = append(&stream, 3).and_then(|()| journal.flush()).and_then(|()| append(&stream, 4));
    let fenced = |error: &Error| matches!(error, Error::Fenced { fence: 1, current: 2, .. });
    say(&match result {
        Err(Error::Lost { because, .. }) if fenced(&because) => "refused".to_owned(),
        Err(error) if fenced(&error) => "fenced".to_owned(),
        other => format!("{other:?}"),
    });
    hear();
}

/// A lease between hosts: the holder stops, another takes over after its term, the first wakes up and is refused.
fn stopped_holder(role: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let mut process = Process::start(role, &path, &[]);
    assert_eq!(process.line(), "ready");
    let journal = Journal::open(&path, &Options { lease_term: TERM, ..on_host("b") }).unwrap();
    let early = journal.lease(RUN, Duration::ZERO);
    assert!(matches!(early, Err(Error::Held { .. })), "{early:?}");
    process.signal(Signal::STOP);
    let lease = journal.lease(RUN, Duration::from_secs(60)).unwrap();
    assert_eq!(lease.fence(), 2);
    // What the sleeper had written is there, taken from its spool.
    let stream = leased(&journal, &lease);
    assert_eq!(stream.next_seq().unwrap(), 3);
    append(&stream, 3).unwrap();
    append(&stream, 4).unwrap();
    journal.flush().unwrap();
    process.signal(Signal::CONT);
    process.tell("go on");
    // One asks before it appends, because it knows it slept; the other appends and is refused by the database.
    assert_eq!(process.line(), if role == "sleeper" { "fenced" } else { "refused" });
    append(&stream, 5).unwrap();
    lease.check().unwrap();
    process.tell("end");
    process.ends_well();
    assert_eq!(count(&journal, STEP), 6);
    sound(&journal);
}

// ----------------------------------------------------------------------------------------------------------- forks

/// Runs `child` in a fork of this process and waits for it to end well.
fn in_a_fork(child: impl FnOnce()) {
    match ::fork::fork().unwrap() {
        ::fork::Fork::Child => {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            std::process::exit(i32::from(result.is_err()));
        }
        ::fork::Fork::Parent(pid) => {
            let status = rustix::process::waitpid(Pid::from_raw(pid), rustix::process::WaitOptions::empty());
            let (_, status) = status.unwrap().unwrap();
            assert_eq!(status.exit_status(), Some(0), "the child failed");
        }
    }
}

fn announced_fork() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let journal =
        Journal::open(&path, &Options { linger: Duration::from_millis(1), ..Options::default() }).unwrap();
    let (mine, theirs) = (StreamId([1; 16]), StreamId([2; 16]));
    let stream = session(&journal, mine);
    (0..10).for_each(|seq| append(&stream, seq).unwrap());
    journal.flush().unwrap();
    fork::before();
    // Appends go on while the fork is prepared; only the database waits.
    append(&stream, 10).unwrap();
    in_a_fork(|| {
        fork::after_in_child();
        assert_eq!(append(&stream, 11), Err(Error::Forked));
        assert_eq!(journal.flush(), Err(Error::Forked));
        assert_eq!(journal.sync().wait(), Err(Error::Forked));
        let own = Journal::open(&path, &Options::default()).unwrap();
        let stream = session(&own, theirs);
        (0..100).for_each(|seq| append(&stream, seq).unwrap());
        assert_eq!(count(&own, mine), 10);
        own.close().unwrap();
        drop(journal.clone());
    });
    fork::after_in_parent();
    (11..20).for_each(|seq| append(&stream, seq).unwrap());
    assert_eq!((count(&journal, mine), count(&journal, theirs)), (20, 100));
    sound(&journal);
}

fn unannounced_fork() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.db");
    let journal =
        Journal::open(&path, &Options { linger: Duration::from_millis(1), ..Options::default() }).unwrap();
    let id = StreamId([1; 16]);
    let stream = session(&journal, id);
    (0..10).for_each(|seq| append(&stream, seq).unwrap());
    in_a_fork(|| {
        assert_eq!(append(&stream, 10), Err(Error::Forked));
        // SQLite's own state came along: the journal cannot be opened safely, and says so.
        assert_eq!(Journal::open(&path, &Options::default()).map(|_| ()), Err(Error::Forked));
        drop((stream.clone(), journal.clone()));
    });
    (10..20).for_each(|seq| append(&stream, seq).unwrap());
    assert_eq!(count(&journal, id), 20);
    sound(&journal);
}

fn forker(path: &Path) {
    let journal =
        Journal::open(path, &Options { linger: Duration::from_secs(3600), ..Options::default() }).unwrap();
    let stream = session(&journal, StreamId([1; 16]));
    (0..5).for_each(|seq| append(&stream, seq).unwrap());
    if let ::fork::Fork::Child = ::fork::fork().unwrap() {
        // Lives on with everything it inherited, until the test lets go of its input.
        hear();
        std::process::exit(0);
    }
    say("ready");
    loop {
        std::thread::park();
    }
}

fn inherited_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("j.db");
    let mut process = Process::start("forker", &path, &[]);
    assert_eq!(process.line(), "ready");
    process.signal(Signal::KILL);
    process.child.wait().unwrap();
    let journal = Journal::open(&path, &Options::default()).unwrap();
    assert_eq!(journal.recovery().records, 5);
    assert_eq!(count(&journal, StreamId([1; 16])), 5);
    sound(&journal);
    // The child still holds its end of the pipe: it was alive all the time.
    process.tell("end");
}
