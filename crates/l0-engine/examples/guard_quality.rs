//! How good the guards are, as a table: `cargo run --release -p l0-engine --example guard_quality`.
#![expect(clippy::disallowed_methods, reason = "recorded answers are read from where they are")]

#[path = "../tests/quality/mod.rs"]
mod quality;

use std::io::{self, Write as _};

use quality::{Should, measure};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{:<12}{:<60}{:>7}{:>9}  what", "guard", "corpus", "texts", "flagged")?;
    let mut guard = String::new();
    for score in measure() {
        if score.guard != guard {
            writeln!(out)?;
            guard.clone_from(&score.guard);
        }
        let what = match score.should {
            Should::Flag => "recall",
            Should::Pass => "false positives",
            Should::Know => "by chance",
        };
        let permille = score.permille();
        let percent = format!("{}.{} %", permille / 10, permille % 10);
        writeln!(out, "{:<12}{:<60}{:>7}{percent:>9}  {what}", score.guard, score.corpus, score.texts)?;
        for wrong in score.wrong.iter().filter(|_| score.should != Should::Know) {
            writeln!(out, "    {wrong:?}")?;
        }
    }
    Ok(())
}
