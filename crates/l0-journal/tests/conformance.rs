//! Every store there is, held against everything a store owes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cell::Cell;
use std::sync::Arc;

use l0_journal::{Drive, Durability, Error, Journal, Key, Memory, Options, Store, conformance};

mod scratch;

/// Stores made by `open`, each under a new name in a folder that goes with the test.
fn check(open: impl Fn(&std::path::Path) -> Result<Arc<dyn Store>, Error>) {
    let folder = scratch::folder();
    let number = Cell::new(0);
    let result = conformance::check(|| {
        number.set(number.get() + 1);
        open(&folder.path().join(format!("{}.db", number.get())))
    });
    if let Err(failures) = result {
        panic!("{}", failures.join("\n"));
    }
    assert_eq!(number.get(), conformance::CASES.len());
}

#[test]
fn memory() {
    check(|_| Ok(Arc::new(Memory::new()?)));
}

#[test]
fn disk_at_every_durability() {
    for durability in [Durability::Fast, Durability::Safe, Durability::Paranoid] {
        check(|path| Ok(Arc::new(Journal::open(path, &Options { durability, ..Options::default() })?)));
    }
}

#[test]
fn disk_driven_by_the_caller_and_keyed() {
    check(|path| {
        let options = Options { drive: Drive::Caller, key: Some(Key([7; 32])), ..Options::default() };
        Ok(Arc::new(Journal::open(path, &options)?))
    });
}

#[test]
fn disk_that_never_lingers() {
    let linger = std::time::Duration::ZERO;
    check(|path| Ok(Arc::new(Journal::open(path, &Options { linger, ..Options::default() })?)));
}
