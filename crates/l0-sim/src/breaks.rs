//! What breaks the engine and the journal on purpose, and who notices.
//!
//! A test that nothing can make fail proves nothing. Each row changes one line of the engine so that one promise is no
//! longer kept; a copy of the workspace with that change must fail the test the row names, and the simulator must find
//! a seed, within a few thousand, that breaks a promise. Rows are looked at on every test run (each line must still be
//! there, once); they are carried out by `l0-sim --breaks`, which takes minutes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tally::Promise;

/// One line changed, and the test that must fail.
#[derive(Debug, Clone, Copy)]
pub struct Break {
    /// What is broken, in a few words.
    pub name: &'static str,
    /// The promise that is no longer kept.
    pub promise: Promise,
    /// The file, from the engine's sources.
    pub file: &'static str,
    /// What stands there, once.
    pub find: &'static str,
    /// What stands there instead.
    pub replace: &'static str,
    /// The test that must fail, of the home's.
    pub test: &'static str,
}

/// What is broken, and who is to notice.
#[derive(Debug, Clone, Copy)]
pub struct Home {
    /// The crate whose lines are changed.
    pub krate: &'static str,
    /// The crate and the file of the tests.
    pub tests: (&'static str, &'static str),
    /// What the simulator is asked for.
    pub seeds: &'static [&'static str],
    /// The breaks.
    pub breaks: &'static [Break],
}

/// The engine's breaks and the journal's.
pub const HOMES: &[Home] = &[
    Home {
        krate: "l0-engine",
        tests: ("l0-engine", "promises"),
        seeds: &["--seeds", "4000"],
        breaks: BREAKS,
    },
    Home {
        krate: "l0-journal",
        tests: ("l0-sim", "killed"),
        seeds: &["--paper", "--seeds", "999"],
        breaks: JOURNAL_BREAKS,
    },
];

/// The engine's, by promise.
pub const BREAKS: &[Break] = &[
    Break {
        name: "a rerun is not compared with what was shown",
        promise: Promise::G1,
        file: "splice.rs",
        find: "return if rest.starts_with(wanted) {",
        replace: "return if rest.is_char_boundary(wanted.len()) {",
        test: "ladder::a_rerun_in_other_words_is_not_given",
    },
    Break {
        name: "a prefix goes to any target",
        promise: Promise::G1,
        file: "ladder.rs",
        find: "Rung::Prefill => target.prefill == Prefill::Yes && position.has_prefix,",
        replace: "Rung::Prefill => target.prefill != Prefill::No && position.has_prefix,",
        test: "ladder::a_target_nobody_knows_to_take_a_prefix_is_not_given_one",
    },
    Break {
        name: "what a seam covers is given again",
        promise: Promise::G1,
        file: "queue.rs",
        find: "item.skip = (cut - item.start).min(item.bytes);",
        replace: "item.skip = item.skip.min(cut);",
        test: "seam::a_prompted_answer_goes_on_behind_the_words_it_repeats",
    },
    Break {
        name: "what a guard holds back is given",
        promise: Promise::G1,
        file: "session/arriving.rs",
        find: "if !item.repeated && (!may_give || (!served && (awaited || waits || held()))) {",
        replace: "if !item.repeated && (!may_give || (!served && (awaited || waits))) {",
        test: "guards::nothing_of_a_match_is_shown_where_text_is_held_back",
    },
    Break {
        name: "the chunk that breaks a rule is given",
        promise: Promise::G1,
        file: "session/guarding.rs",
        find: "if open || self.asks || !verdict.is_clear() {",
        replace: "if open || self.asks {",
        test: "guards::the_chunk_that_breaks_a_rule_is_never_shown",
    },
    Break {
        name: "a mask covers its match but for the first character",
        promise: Promise::G1,
        file: "session/guarding.rs",
        find: "(mask.span.start.byte.max(start), mask.span.end.byte.min(end));",
        replace: "((mask.span.start.byte + 1).max(start), mask.span.end.byte.min(end));",
        test: "guards::a_mask_is_exact_however_text_is_split",
    },
    Break {
        name: "a call is complete when another begins",
        promise: Promise::G2,
        file: "tools.rs",
        find: "open.complete = open.complete || whole;",
        replace: "open.complete = open.complete || whole || !open.call.name.is_empty();",
        test: "tools::a_name_alone_is_a_call_only_at_an_end_that_was_said",
    },
    Break {
        name: "the pieces of a call are given one by one",
        promise: Promise::G2,
        file: "queue.rs",
        find: "self.reach = self.reach.max(last);",
        replace: "self.reach = self.reach.max(last.min(self.reach));",
        test: "tools::a_call_among_the_pieces_of_another_is_given_whole",
    },
    Break {
        name: "a chunk passes the deadline",
        promise: Promise::G3,
        file: "session/mod.rs",
        find: "if self.flowing == Some(attempt) && !text.is_empty() && self.now < self.deadline {",
        replace: "if self.flowing == Some(attempt) && !text.is_empty() {",
        test: "clocks::nothing_is_given_after_the_deadline",
    },
    Break {
        name: "a stream that is given up is not closed",
        promise: Promise::G3,
        file: "session/ending.rs",
        find: "if origin == Origin::Engine {",
        replace: "if origin == Origin::Engine && misfit {",
        test: "contract::streams_are_closed_by_whoever_ends_them",
    },
    Break {
        name: "retries are not counted",
        promise: Promise::G3,
        file: "ladder.rs",
        find: "self.retries += 1;",
        replace: "self.retries += u32::from(self.forgiven > 0);",
        test: "retry::a_fallback_has_its_first_try_when_the_retries_are_used_up",
    },
    Break {
        name: "a grant that is not used is kept",
        promise: Promise::G3,
        file: "session/ending.rs",
        find: "self.put(Output::Report { target: granted.target, outcome: AttemptOutcome::Stopped });",
        replace: "let _ = granted;",
        test: "retry::a_grant_that_is_not_used_is_given_back",
    },
    Break {
        name: "a key that fits no door is tried on the next",
        promise: Promise::G4,
        file: "ladder.rs",
        find: "slot.closed |= label.is_some() && target.credentials.as_ref() == label;",
        replace: "slot.closed |= label.is_some() && target.credentials.as_ref() == label && slot.opened;",
        test: "faults::a_target_with_the_same_credentials_is_not_tried_after_an_auth_fault",
    },
    Break {
        name: "a rung that failed is taken again",
        promise: Promise::G4,
        file: "ladder.rs",
        find: "FaultClass::Content if setback.misfit => slot.failed_rungs.extend(rung),",
        replace: "FaultClass::Content if setback.misfit => {}",
        test: "ladder::the_ladder_is_climbed_down_once_on_every_target",
    },
    Break {
        name: "a session gives up before its last target was tried",
        promise: Promise::G4,
        file: "ladder.rs",
        find: "let spent = slot.opened &&",
        replace: "let spent = (slot.opened || self.retries > 0) &&",
        test: "retry::a_fallback_has_its_first_try_when_the_retries_are_used_up",
    },
    Break {
        name: "what was shown before a death is forgotten",
        promise: Promise::G5,
        file: "session/trying.rs",
        find: "// The clock of the dead process is gone, and with it what was left of its time.",
        replace: "self.shown.clear();",
        test: "replay::what_was_shown_outlives_the_process",
    },
    Break {
        name: "what a torn journal lost is not written again",
        promise: Promise::G5,
        file: "replay.rs",
        find: "self.session.put_back(core::iter::once(decided_next).chain(decided));",
        replace: "drop((decided_next, decided));",
        test: "replay::a_torn_journal_is_whole_again_after_a_resume",
    },
    Break {
        name: "a replay takes any record for the right one",
        promise: Promise::G6,
        file: "replay.rs",
        find: "Some(recorded) if *recorded == decided_next => self.place += 1,",
        replace: "Some(recorded) if *recorded == decided_next || self.place > 9 => self.place += 1,",
        test: "replay::a_bent_journal_is_found_out_where_it_was_bent",
    },
    Break {
        name: "chunks wait for more though nothing failed",
        promise: Promise::G7,
        file: "session/arriving.rs",
        find: "self.plan.streamed && self.plan.policy.delivery != Delivery::Whole",
        replace: "self.plan.streamed && self.plan.policy.delivery == Delivery::Guarded",
        test: "contract::an_answer_without_a_fault_passes_chunk_by_chunk",
    },
    Break {
        name: "a chunk is cut out of itself though nothing failed",
        promise: Promise::G7,
        file: "queue.rs",
        find: "} else if item.skip > 0 {",
        replace: "} else if item.bytes > 0 {",
        test: "contract::what_waits_for_the_first_word_is_given_as_it_came",
    },
    Break {
        name: "a fallback is not marked",
        promise: Promise::G8,
        file: "session/ending.rs",
        find: "degraded: self.degraded || served_by.is_some_and(|target| target.0 != 0),",
        replace: "degraded: served_by.is_some_and(|target| target.0 != 0),",
        test: "ladder::a_part_from_another_target_is_marked_as_degraded",
    },
    Break {
        name: "a seam is not told",
        promise: Promise::G8,
        file: "session/arriving.rs",
        find: "self.splices.push(splice.clone());",
        replace: "self.splices.reserve(1);",
        test: "ladder::a_cut_continuation_goes_on_from_where_it_came",
    },
];

/// The journal's, by promise.
pub const JOURNAL_BREAKS: &[Break] = &[
    Break {
        name: "a release does not wait for the disk",
        promise: Promise::G5,
        file: "recorder.rs",
        find: "self.before_release.is_none() && !self.paranoid || self.lost.is_some()",
        replace: "self.before_release.is_none() || self.lost.is_some()",
        test: "loss_of_power_in_every_operation",
    },
    Break {
        name: "what a dead process left is thrown away",
        promise: Promise::G5,
        file: "spool/recovery.rs",
        find: "let found = take_in(database, chain, disk, folder, instance)?;",
        replace: "let found = { let _ = chain; Recovery::default() };",
        test: "death_in_every_operation",
    },
    Break {
        name: "a record that was lost is not noticed",
        promise: Promise::G6,
        file: "recorder.rs",
        find: "self.lost = Some(error);",
        replace: "let _ = error;",
        test: "failure_in_every_operation",
    },
];

impl Break {
    /// The source with this break in it, or why it cannot be broken like this.
    ///
    /// # Errors
    /// If the line is not there, or not once.
    pub fn apply(&self, source: &str) -> Result<String, String> {
        match source.matches(self.find).count() {
            1 => Ok(source.replacen(self.find, self.replace, 1)),
            count => Err(format!("{}: {:?} stands {count} times in {}", self.name, self.find, self.file)),
        }
    }
}

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Breaks the engine in every way (or in the one that is named), and says who noticed. False if a break went unnoticed.
///
/// # Errors
/// If a break cannot be carried out.
pub fn run(name: Option<&str>, mut say: impl FnMut(&str)) -> Result<bool, String> {
    let all = HOMES.iter().flat_map(|home| home.breaks.iter().map(move |one| (home, one)));
    let chosen: Vec<_> =
        all.filter(|(_, one)| name.is_none_or(|name| one.name == name || one.test == name)).collect();
    if chosen.is_empty() {
        return Err(format!("no break is called {}", name.unwrap_or("that")));
    }
    let copy = std::env::temp_dir().join(format!("l0-breaks-{}", std::process::id()));
    let done = carry_out(&chosen, &copy, &mut say);
    let _ = fs::remove_dir_all(&copy);
    done
}

fn carry_out(chosen: &[(&Home, &Break)], copy: &Path, say: &mut impl FnMut(&str)) -> Result<bool, String> {
    copy_workspace(&workspace(), copy).map_err(|error| format!("copying the workspace: {error}"))?;
    let mut all = true;
    for (home, one) in chosen {
        let path = copy.join("crates").join(home.krate).join("src").join(one.file);
        let whole = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", one.file))?;
        fs::write(&path, one.apply(&whole)?).map_err(|error| format!("{}: {error}", one.file))?;
        let (package, tests) = home.tests;
        let test = fails(copy, &["test", "-p", package, "--test", tests, "--", "--exact", one.test])?;
        let seeds = fails(copy, &[&["run", "-p", "l0-sim", "--"], home.seeds].concat())?;
        fs::write(&path, whole).map_err(|error| format!("{}: {error}", one.file))?;
        let word = |noticed| if noticed { "noticed" } else { "UNNOTICED" };
        say(&format!(
            "{:?} {}: {} by {}, {} by seeds",
            one.promise,
            one.name,
            word(test),
            one.test,
            word(seeds)
        ));
        all &= test && seeds;
    }
    Ok(all)
}

/// Whether a cargo command fails, for other reasons than that it cannot be compiled.
fn fails(copy: &Path, command: &[&str]) -> Result<bool, String> {
    let (verb, rest) = command.split_first().ok_or("no command")?;
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .arg(verb)
        .args(["--quiet", "--profile", "dev-opt"])
        .args(rest)
        .current_dir(copy)
        // One folder of artefacts for all breaks, so that only what was broken is compiled again.
        .env("CARGO_TARGET_DIR", workspace().join("target/breaks"))
        .env("RUST_BACKTRACE", "0")
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if told.contains("could not compile") {
        return Err(format!("a break does not compile: {told}"));
    }
    let ran = String::from_utf8_lossy(&output.stdout);
    if ran.contains("running 0 tests") {
        return Err(format!("there is no test {:?}", rest.last()));
    }
    Ok(!output.status.success())
}

/// Copies what cargo needs of the workspace: its manifests and its crates.
fn copy_workspace(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for name in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(from.join(name), to.join(name))?;
    }
    copy_folder(&from.join("crates"), &to.join("crates"))
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type()?.is_dir() {
            if name != "target" {
                copy_folder(&path, &to.join(name))?;
            }
        } else {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_break_is_still_a_line() {
        for home in HOMES {
            for one in home.breaks {
                let path = workspace().join("crates").join(home.krate).join("src").join(one.file);
                let broken = one.apply(&fs::read_to_string(path).unwrap());
                assert!(broken.is_ok(), "{:?}", broken.err());
            }
        }
    }

    #[test]
    fn every_promise_the_engine_answers_for_has_a_break() {
        use Promise::{G1, G2, G3, G4, G5, G6, G7, G8};
        for promise in [G1, G2, G3, G4, G5, G6, G7, G8] {
            assert!(BREAKS.iter().any(|one| one.promise == promise), "{promise:?}");
        }
    }

    #[test]
    fn the_table_for_people_names_every_break() {
        let page = fs::read_to_string(workspace().join("CONTRIBUTING.md")).unwrap();
        for one in HOMES.iter().flat_map(|home| home.breaks) {
            let row = format!("| {:?} | {} | `{}` |", one.promise, one.name, one.test);
            assert!(page.contains(&row), "CONTRIBUTING.md lacks:\n{row}");
        }
    }
}
