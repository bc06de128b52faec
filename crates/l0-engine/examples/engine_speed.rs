//! What the engine costs: nanoseconds a chunk and a session, and how both grow. Prints JSON for `benchmarks/engine.py`.
//!
//! With a number it plays one recorded session of so many chunks and prints nothing, to be counted from outside:
//! `valgrind --tool=callgrind` says how many instructions it takes, `valgrind` how many bytes it allocates.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "it reports to a program"
)]
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measurement reads the clock and reports"
)]

use std::sync::Arc;
use std::time::Instant as Watch;

use l0_engine::{Admission, AttemptId, Instant, Part, Plan, Policy, Session, Target, Terminal};

const TEXT: &str = "token ";

fn begun(recorded: bool) -> Session {
    let target = Target { terminal: Terminal::FinishReason, ..Target::named("model") };
    let policy = Arc::new(Policy::default());
    let plan = Plan { recorded, targets: vec![target], ..Plan::simple(policy) };
    let mut session = Session::new(Arc::new(plan)).unwrap();
    session.handle_start(Instant(1)).unwrap();
    while session.poll_output().is_some() {}
    session.handle_admission(Instant(1), Admission::Granted).unwrap();
    while session.poll_output().is_some() {}
    session.handle_opened(Instant(2), AttemptId(0)).unwrap();
    session
}

fn end(session: &mut Session) {
    let finish = Part { finish: Some("stop".into()), ..Part::default() };
    let _ = session.handle_part(Instant(3), AttemptId(0), core::time::Duration::ZERO, finish);
    session.handle_ended(Instant(3), AttemptId(0)).unwrap();
    while session.poll_output().is_some() {}
    assert!(session.outcome().is_some(), "it has ended");
}

/// Nanoseconds a chunk, best of some rounds.
fn chunks(count: usize, recorded: bool) -> f64 {
    let round = || {
        let mut session = begun(recorded);
        let watch = Watch::now();
        for now in 0..count {
            let _ = session.handle_chunk(Instant(now as u64), AttemptId(0), TEXT);
            if now % 1_024 == 0 {
                drop(session.take_records());
            }
        }
        let spent = watch.elapsed().as_nanos() as f64 / count as f64;
        end(&mut session);
        spent
    };
    (0..15).map(|_| round()).fold(f64::INFINITY, f64::min)
}

/// One session of so many chunks, its records taken as a driver takes them.
fn once(count: usize) {
    let mut session = begun(true);
    for now in 0..count {
        let _ = session.handle_chunk(Instant(now as u64), AttemptId(0), TEXT);
        if now % 64 == 0 {
            drop(session.take_records());
        }
    }
    end(&mut session);
}

/// Microseconds a session of one chunk, best of some rounds.
fn sessions(recorded: bool) -> f64 {
    let round = || {
        let watch = Watch::now();
        for _ in 0..200 {
            let mut session = begun(recorded);
            let _ = session.handle_chunk(Instant(2), AttemptId(0), TEXT);
            end(&mut session);
        }
        watch.elapsed().as_nanos() as f64 / 200_000.0
    };
    (0..15).map(|_| round()).fold(f64::INFINITY, f64::min)
}

fn main() {
    if let Some(count) = std::env::args().nth(1).and_then(|count| count.parse().ok()) {
        return once(count);
    }
    let rows = serde_json::json!({
        "bare": chunks(20_000, false),
        "recorded": chunks(20_000, true),
        "growth": chunks(200_000, true) / chunks(2_000, true),
        "session": sessions(true),
    });
    println!("{rows}");
}
