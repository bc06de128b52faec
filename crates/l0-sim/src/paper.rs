//! What a world is written down on: the recorder and the journal of real processes, on a disk that tears, fails, forgets what
//! was not synced, and dies with its process in any operation.
//!
//! The spool is on the simulated disk; the database is a file of this machine, in memory where there is such a place. A world
//! on paper takes what a process that died had written from here, and nowhere else.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use l0_engine::Record;
use l0_journal::clock::VirtualClock;
use l0_journal::faulty::{Fault, FaultyDisk, Images};
use l0_journal::{
    Drive, Durability, Error, Journal, Kind, Options, Recorder, Store, StreamId, StreamOptions, session,
};

use crate::dice::Dice;
use crate::tally::{Promise, Tally, Violation};
use crate::world::broken;

/// What can happen to paper, by the names under which it is counted.
pub const ACCIDENTS: &[&str] =
    &["dies writing", "loses power", "disk fails", "journal lost", "closed by loss", "flushed", "read again"];

/// Operations of the disk within which something is planned to go wrong.
const SOON: usize = 90;

/// The journal of a world, and the disk under it.
pub(crate) struct Paper {
    folder: PathBuf,
    disk: FaultyDisk,
    images: Images,
    clock: Arc<VirtualClock>,
    journal: Option<Journal>,
    durability: Durability,
    closes: bool,
    /// How often the disk may still kill its process.
    deaths: usize,
    dice: Dice,
}

impl Paper {
    /// A journal that does not exist yet, with what will go wrong in it.
    ///
    /// # Errors
    /// If it cannot be opened although nothing is wrong with the disk.
    pub(crate) fn new(seed: u64, tally: &mut Tally) -> Result<Self, Violation> {
        static WORLDS: AtomicU64 = AtomicU64::new(0);
        let mut dice = Dice::new(seed, 7);
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let folder = place.join(format!("l0-sim-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| amiss(&error))?;
        let disk = FaultyDisk::default();
        let images = Images::of(&folder.join("l0.db"), &disk);
        let durability = *dice.pick(&[Durability::Fast, Durability::Safe, Durability::Paranoid]);
        let mut paper = Self {
            folder,
            disk,
            images,
            clock: Arc::new(VirtualClock::at(1_790_000_000_000)),
            journal: None,
            durability,
            closes: dice.chance(25),
            deaths: dice.below(4),
            dice,
        };
        paper.open(tally)?;
        Ok(paper)
    }

    /// Whether what was released survives more than the death of the process.
    pub(crate) fn is_paranoid(&self) -> bool {
        self.durability == Durability::Paranoid
    }

    /// Whether barriers wait for the disk.
    pub(crate) fn syncs(&self) -> bool {
        self.durability != Durability::Fast
    }

    /// Whether the disk has killed its process.
    pub(crate) fn is_dead(&self) -> bool {
        self.disk.is_dead()
    }

    /// Whether sessions end when a record of theirs is lost.
    pub(crate) const fn closes(&self) -> bool {
        self.closes
    }

    /// What writes a session down; nothing where its stream cannot be opened.
    pub(crate) fn recorder(&self, place: usize) -> Option<Recorder> {
        let journal = self.journal.as_ref()?;
        let stream = journal.stream(stream_id(place), &StreamOptions::new(Kind::Session)).ok()?;
        Some(Recorder::new(stream, Some(Arc::new(journal.clone())), self.closes))
    }

    /// Does now and then what the background does in a real process. What fails is told to whoever writes next.
    pub(crate) fn linger(&mut self, tally: &mut Tally) {
        if self.dice.chance(6)
            && let Some(journal) = &self.journal
        {
            *tally.troubles.entry("flushed").or_default() += 1;
            let tidied = journal.flush().and_then(|()| journal.tidy());
            drop(tidied);
        }
    }

    /// Ends the process, or the machine, and opens the journal in the next one. Nobody may have a recorder any more.
    ///
    /// # Errors
    /// If what was left cannot be opened, or is not sound.
    pub(crate) fn begin_again(&mut self, power: bool, tally: &mut Tally) -> Result<(), Violation> {
        let seed = u64::from(self.dice.bits());
        let next = if power { self.disk.lose_power(seed) } else { self.disk.kill() };
        self.journal = None;
        if power {
            *tally.troubles.entry("loses power").or_default() += 1;
            self.images.lose_power(seed).map_err(|error| amiss(&error))?;
        }
        self.disk = next;
        self.open(tally)?;
        self.must_be_sound(tally)
    }

    /// Whether the machine goes, this time, and not only the process.
    pub(crate) fn loses_power(&mut self) -> bool {
        self.dice.chance(35)
    }

    /// What of a session is there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn records(&self, place: usize, tally: &mut Tally) -> Result<Vec<Record>, Violation> {
        *tally.troubles.entry("read again").or_default() += 1;
        let unread = |error: Error| broken(Promise::G6, format!("what was written cannot be read: {error}"));
        let Some(journal) = &self.journal else { return Ok(Vec::new()) };
        let stored = journal.load(stream_id(place), 0, usize::MAX).map_err(unread)?;
        stored
            .into_iter()
            .map(|record| session::read(record).map(|read| read.record).map_err(unread))
            .collect()
    }

    /// Looks at every block.
    ///
    /// # Errors
    /// If one is not as it was written.
    pub(crate) fn must_be_sound(&self, tally: &mut Tally) -> Result<(), Violation> {
        tally.checked(Promise::G6);
        let Some(journal) = &self.journal else { return Ok(()) };
        let report = journal.verify(None).map_err(|error| broken(Promise::G6, error.to_string()))?;
        if report.is_sound() {
            return Ok(());
        }
        Err(broken(Promise::G6, format!("the journal is not sound: {:?}", report.findings)))
    }

    fn open(&mut self, tally: &mut Tally) -> Result<(), Violation> {
        self.images.go_on(&self.disk);
        self.plan(tally);
        if let Err(error) = self.try_open() {
            if !self.disk.is_dead()
                && !matches!(error, Error::Full { .. } | Error::ReadOnly { .. } | Error::Io { .. })
            {
                return Err(broken(Promise::G5, format!("the journal does not open: {error}")));
            }
            // It died, or failed, in opening: the next one finds a disk that is well.
            self.disk = self.disk.kill();
            self.images.go_on(&self.disk);
            self.try_open()
                .map_err(|error| broken(Promise::G5, format!("the journal does not open: {error}")))?;
        }
        if self.left().is_empty() {
            return Ok(());
        }
        // The disk failed while it was taken in, which is told: whoever needs it tries again.
        self.disk = self.disk.kill();
        self.journal = None;
        self.images.go_on(&self.disk);
        self.try_open()
            .map_err(|error| broken(Promise::G5, format!("the journal does not open: {error}")))?;
        let left = self.left();
        if left.is_empty() {
            return Ok(());
        }
        Err(broken(Promise::G5, format!("what a process left is not taken in: {left:?}")))
    }

    /// Why what dead processes left is not in the journal.
    fn left(&self) -> Vec<Error> {
        self.journal.as_ref().map(|journal| journal.recovery().failed).unwrap_or_default()
    }

    fn try_open(&mut self) -> Result<(), Error> {
        let options = Options {
            durability: self.durability,
            drive: Drive::Caller,
            disk: Arc::new(self.disk.clone()),
            clock: Arc::clone(&self.clock) as _,
            host: Some("here".to_owned()),
            ..Options::default()
        };
        self.journal = Some(Journal::open(self.folder.join("l0.db"), &options)?);
        Ok(())
    }

    /// Decides what goes wrong in this process's life.
    fn plan(&mut self, tally: &mut Tally) {
        let (operation, bytes) = (self.dice.below(SOON), self.dice.below(40));
        let kind =
            *self.dice.pick(&[ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem, ErrorKind::Other]);
        let fault = match self.dice.below(8) {
            0..=4 if self.deaths > 0 => {
                self.deaths -= 1;
                Fault::Die(bytes)
            }
            5 => Fault::Fail(kind),
            6 => Fault::Short(kind, bytes),
            _ => return,
        };
        if !matches!(fault, Fault::Die(_)) {
            *tally.troubles.entry("disk fails").or_default() += 1;
        }
        self.disk.plan(operation, fault);
    }
}

impl Drop for Paper {
    fn drop(&mut self) {
        self.disk = self.disk.kill();
        self.journal = None;
        // A folder that is left is one in memory, of a simulation.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn stream_id(place: usize) -> StreamId {
    StreamId([u8::try_from(place + 1).unwrap_or(u8::MAX); 16])
}

fn amiss(error: &std::io::Error) -> Violation {
    broken(Promise::Contract, format!("this machine's own disk fails: {error}"))
}
