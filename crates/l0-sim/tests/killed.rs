//! A whole program, killed in every operation of its disk: a run with a lease, a charge that must happen once, and a session
//! whose answer breaks off, all written through the recorder and the journal of real processes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use l0_engine::{Admission, AttemptId, Facts, Instant, Part, Plan, Policy, Prefill, Stage, Target};
use l0_journal::clock::VirtualClock;
use l0_journal::faulty::{Fault, FaultyDisk, Images, Operation};
use l0_journal::{
    Before, Body, Drive, Durability, Entry, Error, Journal, Kind, Options, Recorder, Row, SessionRow, Store,
    Stream, StreamId, StreamOptions, session,
};
use l0_sim::driver::{Chunk, Driver, Effect};

const RUN: StreamId = StreamId([1; 16]);
const SESSION: StreamId = StreamId([2; 16]);
const WORDS: &[&str] = &["Take ", "the ", "lamp: ", "it ", "costs ", "forty, ", "and ", "it ", "fits."];

/// The world outside of the process, which no death takes back.
#[derive(Default)]
struct Outside {
    /// What the consumer was given.
    given: String,
    charges: usize,
    /// How many charges nobody knew of when the process died.
    unknown: usize,
    /// Whether the program was told that the card is charged.
    charged: bool,
    looked: usize,
    knows_price: bool,
}

fn options(disk: &FaultyDisk, durability: Durability) -> Options {
    Options {
        durability,
        drive: Drive::Caller,
        disk: Arc::new(disk.clone()),
        clock: Arc::new(VirtualClock::at(1_790_000_000_000)),
        host: Some("here".to_owned()),
        ..Options::default()
    }
}

fn plan() -> Plan {
    let mut policy = Policy::default();
    policy.retry.base = Duration::ZERO;
    let mut plan = Plan::simple(Arc::new(policy));
    plan.targets = vec![Target { prefill: Prefill::Yes, ..Target::named("model") }];
    plan
}

/// One life of the program, from its first line to its last. What was done is not done again.
fn live(path: &Path, options: &Options, outside: &mut Outside) -> Result<(), Error> {
    let journal = Journal::open(path, options)?;
    let lease = journal.lease(RUN, Duration::ZERO)?;
    let run = journal.stream(RUN, &StreamOptions::new(Kind::Run).under(&lease))?;
    let mut done = Vec::new();
    for record in journal.load(RUN, 0, usize::MAX)? {
        if let Body::Entry { payload, .. } = record.body {
            done.push(String::from_utf8(payload).unwrap());
        }
    }
    let is_done = |what: &str| done.iter().any(|step| step == what);
    assert!(is_done("price") || !outside.knows_price, "a step that was over is not in the journal: {done:?}");
    assert!(is_done("charged") || !outside.charged, "the card was charged, and nobody knows: {done:?}");
    if !is_done("price") {
        note(&run, "look")?;
        outside.looked += 1;
        note(&run, "price")?;
        journal.barrier(Before::Release).wait()?;
        outside.knows_price = true;
    }
    answer(&journal, outside)?;
    if !is_done("charged") {
        note(&run, "charge")?;
        journal.barrier(Before::SideEffect).wait()?;
        outside.charges += 1;
        outside.unknown += 1;
        note(&run, "charged")?;
        journal.barrier(Before::Release).wait()?;
        (outside.charged, outside.unknown) = (true, outside.unknown - 1);
    }
    journal.flush()?;
    lease.release()?;
    journal.tidy()?;
    journal.close()
}

fn note(run: &Stream, what: &str) -> Result<u64, Error> {
    run.entry(&Entry { at_ns: 0, kind: 16, payload: what.as_bytes(), contents: &[] })
}

/// The answer, given on or given again: what a consumer has is in the journal before it has it.
fn answer(journal: &Journal, outside: &mut Outside) -> Result<(), Error> {
    let mut known = Vec::new();
    for stored in journal.load(SESSION, 0, usize::MAX)? {
        known.push(session::read(stored)?.record);
    }
    let (plan, count) = (plan(), known.len());
    let mut now = Instant(1_000_000_000 * (1 + count as u64));
    let mut driver = if count == 0 {
        Driver::new(plan).unwrap()
    } else {
        Driver::recover(plan.policy, known).expect("what was written decides the same again")
    };
    let text = driver.session().text().to_owned();
    assert!(text.starts_with(&outside.given), "{:?} was given, {text:?} is in the journal", outside.given);
    outside.given = text;
    let stream = journal.stream(SESSION, &StreamOptions::new(Kind::Session))?;
    driver.write_to(Some(Recorder::new(stream, Some(Arc::new(journal.clone())), true)), now, count);
    let mut effects: VecDeque<Effect> = match driver.session().state() {
        l0_engine::SessionState::Done => VecDeque::new(),
        l0_engine::SessionState::Idle => driver.start(now).unwrap().into(),
        _ => driver.resume(now).unwrap().into(),
    };
    driver.start_barrier();
    let mut live: Option<(AttemptId, VecDeque<Chunk>, bool)> = None;
    let mut over = effects.is_empty();
    while !over {
        now = now.after(Duration::from_millis(10));
        driver.settle();
        if driver.is_lost() {
            return Err(Error::Closed);
        }
        let next = match effects.pop_front() {
            Some(Effect::Ask { .. }) => driver.admitted(now, Admission::Granted),
            Some(Effect::Open(opening)) => {
                live = Some(script(opening.attempt, &opening.prefix));
                driver.opened(now, opening.attempt)
            }
            Some(Effect::Wait { until }) => {
                now = now.max(until);
                driver.timeout(now, None)
            }
            Some(Effect::Give(piece)) => {
                outside.given.push_str(&piece.chunk.part.text);
                continue;
            }
            Some(Effect::Done) => {
                over = true;
                continue;
            }
            Some(Effect::Reset) => panic!("nobody opted in to that"),
            Some(_) => continue,
            None => {
                let (attempt, chunks, breaks) = live.as_mut().expect("something is to come");
                match chunks.pop_front() {
                    Some(chunk) => driver.chunk(now, *attempt, Duration::ZERO, chunk),
                    None if *breaks => {
                        let types = vec!["ConnectionResetError".to_owned(), "OSError".to_owned()];
                        let facts = Facts { stage: Stage::Read, bytes: true, types, ..Facts::default() };
                        driver.failed(now, *attempt, facts)
                    }
                    None => driver.ended(now, *attempt),
                }
            }
        };
        effects.extend(next.unwrap());
    }
    assert_eq!(driver.session().text(), WORDS.concat());
    let status = Some("complete".to_owned());
    journal.put(&Row::Session(SessionRow { id: SESSION, status, ..SessionRow::default() }))
}

/// What an attempt brings: the first one breaks off.
fn script(attempt: AttemptId, prefix: &str) -> (AttemptId, VecDeque<Chunk>, bool) {
    let breaks = attempt.0 == 0;
    let whole = WORDS.concat();
    let rest = whole.get(prefix.len()..).unwrap_or_default();
    let pieces = rest.split_inclusive(' ').take(if breaks { 5 } else { usize::MAX });
    let part = |text: &str| Part { text: text.to_owned(), ..Part::default() };
    let chunks = pieces.enumerate().map(|(number, piece)| Chunk { number, part: part(piece) });
    (attempt, chunks.collect(), breaks)
}

/// Where a file of a test is: in memory where there is such a place, for every death opens a database.
fn folder() -> PathBuf {
    static FOLDERS: AtomicU64 = AtomicU64::new(0);
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = place.join(format!("l0-killed-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Lets the program die in an operation, then live to its end; holds what is left to what was promised.
fn kill(number: usize, fault: Fault, power: Option<u64>, durability: Durability) {
    let what = format!("{durability:?}, {fault:?} in operation {number}, loss of power {power:?}");
    let folder = folder();
    let (path, disk) = (folder.join("l0.db"), FaultyDisk::default());
    let images = Images::of(&path, &disk);
    disk.plan(number, fault);
    let mut outside = Outside::default();
    let result = live(&path, &options(&disk, durability), &mut outside);
    assert!(result.is_err() || !matches!(fault, Fault::Die(_)), "{what}: {result:?}");
    let next = match power {
        Some(seed) => {
            images.lose_power(seed).unwrap();
            disk.lose_power(seed)
        }
        None => disk.kill(),
    };
    if durability != Durability::Paranoid && power.is_some() {
        // What only survives the process may be gone: who had it is gone with the machine, but for the bank.
        (outside.given, outside.knows_price, outside.charged) = (String::new(), false, false);
        outside.unknown = outside.charges;
    }
    let unknown = outside.unknown;
    live(&path, &options(&next, durability), &mut outside).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(outside.given, WORDS.concat(), "{what}");
    assert!((1..=1 + unknown).contains(&outside.charges), "{what}: {} charges", outside.charges);
    let journal = Journal::open(&path, &options(&next, durability)).unwrap();
    let report = journal.verify(None).unwrap();
    assert!(report.is_sound(), "{what}: {:?}", report.findings);
    journal.close().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

/// What the program asks of a disk that is well.
fn operations(durability: Durability) -> Vec<Operation> {
    let folder = folder();
    let disk = FaultyDisk::default();
    let mut outside = Outside::default();
    live(&folder.join("l0.db"), &options(&disk, durability), &mut outside).unwrap();
    assert_eq!((outside.given, outside.charges, outside.looked), (WORDS.concat(), 1, 1));
    std::fs::remove_dir_all(&folder).unwrap();
    disk.log()
}

const DURABILITIES: [Durability; 3] = [Durability::Fast, Durability::Safe, Durability::Paranoid];

/// G1, G5, G6: at every operation, and within every write.
#[test]
fn death_in_every_operation() {
    let mut deaths = 0;
    for durability in DURABILITIES {
        for (number, operation) in operations(durability).iter().enumerate() {
            let torn = match operation {
                Operation::Write(_, bytes) => vec![0, 1, bytes / 2, bytes - 1, *bytes],
                _ => vec![0],
            };
            for bytes in torn {
                kill(number, Fault::Die(bytes), None, durability);
                deaths += 1;
            }
        }
    }
    assert!(deaths > 300, "the program became too short to tell anything: {deaths} deaths");
}

/// G5: what a disk that is full or fails does to a program is that it stops; its next life ends well.
#[test]
fn failure_in_every_operation() {
    for number in 0..operations(Durability::Safe).len() {
        for kind in [std::io::ErrorKind::StorageFull, std::io::ErrorKind::Other] {
            kill(number, Fault::Short(kind, 7), None, Durability::Safe);
        }
    }
}

/// G5 in `paranoid`: what was given is there after a loss of power; in all, what is there decides the same, and a charge of
/// which nobody knows is the only one that is made again.
#[test]
fn loss_of_power_in_every_operation() {
    for durability in DURABILITIES {
        for number in 0..operations(durability).len() {
            for seed in 0..2 {
                kill(number, Fault::Die(5), Some(seed), durability);
            }
        }
    }
}
