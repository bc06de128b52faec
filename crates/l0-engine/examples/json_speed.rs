//! How long one look at a text takes: `json_speed scan|repair|partial|snapshot ROUNDS < TEXT` prints the best of that
//! many rounds in nanoseconds.
//!
//! `partial` feeds the text in pieces of four characters and reads what is new after each, as a binding does;
//! `snapshot` reads the whole value as JSON after each instead. Both take in the whole text.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::io::{self, Read as _, Write as _};
use std::time::Instant;

use l0_engine::json::{Options, Partial, Scanner, repair};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let rounds: u32 = arguments.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).expect("text on standard input");
    let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).step_by(4).chain([text.len()]).collect();
    let pieces: Vec<&str> = borders.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();

    let look = || match what.as_str() {
        "scan" => {
            let mut scanner = Scanner::new();
            black_box(scanner.feed(black_box(&text)));
        }
        "repair" => {
            black_box(
                repair(black_box(&text), &Options::default()).map_or(0, |repaired| repaired.text.len()),
            );
        }
        "partial" => {
            let mut partial = Partial::new();
            for piece in &pieces {
                if partial.feed(black_box(piece)) {
                    partial.drain().for_each(|news| drop(black_box(news)));
                }
            }
        }
        "snapshot" => {
            let mut partial = Partial::new();
            for piece in &pieces {
                if partial.feed(black_box(piece)) {
                    black_box(partial.snapshot());
                }
            }
        }
        _ => panic!("scan, repair, partial or snapshot"),
    };
    look();
    let best = (0..rounds.max(1))
        .map(|_| {
            let start = Instant::now();
            look();
            start.elapsed()
        })
        .min();
    writeln!(io::stdout(), "{}", best.unwrap_or_default().as_nanos()).expect("standard output");
}
