//! The journal on disk does what the journal in memory does, whatever happens to its processes in between.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;

use l0_journal::clock::VirtualClock;
use l0_journal::faulty::FaultyDisk;
use l0_journal::{
    AttemptRow, Chunk, Class, Content, Drive, Entry, Error, Filter, Journal, Kind, Level, Memory, Options,
    Redaction, Removal, Row, Selection, SessionRow, Store, StreamId, StreamOptions,
};
use proptest::prelude::*;

mod scratch;

#[derive(Debug, Clone)]
enum Action {
    Chunk {
        stream: u8,
        at_ns: u64,
        text: String,
        object: bool,
    },
    Entry {
        stream: u8,
        at_ns: u64,
        level: u8,
        content: Vec<u8>,
    },
    Row {
        stream: u8,
        status: String,
    },
    Attempt {
        stream: u8,
        number: u64,
    },
    Flush,
    Tidy,
    Sync,
    /// The process ends in good order and another one goes on.
    Close,
    /// The process is killed and another one goes on.
    Kill,
    Remove {
        stream: u8,
        records: bool,
    },
    RemoveTenant {
        tenant: u8,
    },
    Read {
        stream: u8,
        from: u64,
        limit: usize,
    },
}

fn action() -> impl Strategy<Value = Action> {
    let stream = 1..4_u8;
    prop_oneof![
        8 => (stream.clone(), any::<u64>(), prop_oneof!["[a-z ]{0,12}", "[a-zé☃]{2000,4000}"], any::<bool>())
            .prop_map(|(stream, at_ns, text, object)| Action::Chunk { stream, at_ns, text, object }),
        3 => (stream.clone(), 0..9_u64, 0..3_u8, prop::collection::vec(any::<u8>(), 0..30))
            .prop_map(|(stream, at_ns, level, content)| Action::Entry { stream, at_ns, level, content }),
        2 => (stream.clone(), "[a-z]{1,3}").prop_map(|(stream, status)| Action::Row { stream, status }),
        1 => (stream.clone(), 0..3_u64).prop_map(|(stream, number)| Action::Attempt { stream, number }),
        2 => Just(Action::Flush),
        1 => Just(Action::Tidy),
        1 => Just(Action::Sync),
        1 => Just(Action::Close),
        2 => Just(Action::Kill),
        1 => (stream.clone(), any::<bool>()).prop_map(|(stream, records)| Action::Remove { stream, records }),
        1 => (0..2_u8).prop_map(|tenant| Action::RemoveTenant { tenant }),
        2 => (stream, 0..20_u64, 0..9_usize).prop_map(|(stream, from, limit)| Action::Read { stream, from, limit }),
    ]
}

fn id(stream: u8) -> StreamId {
    StreamId([stream; 16])
}

fn tenant(stream: u8) -> String {
    format!("tenant {}", stream % 2)
}

/// Does to a store what an action says, and returns everything it answers.
fn apply(store: &dyn Store, action: &Action) -> Result<String, Error> {
    let open = |stream: u8, level: u8| {
        let level = [Level::Full, Level::None, Level::Full][usize::from(level)];
        let redaction = Redaction { prompt: level, ..Redaction::default() };
        store.stream(
            id(stream),
            &StreamOptions { tenant: Some(tenant(stream)), redaction, ..StreamOptions::new(Kind::Step) },
        )
    };
    Ok(match action {
        Action::Chunk { stream, at_ns, text, object } => {
            let object = object.then_some(b"object".as_slice());
            let class = Class::Completion;
            let chunk = Chunk { at_ns: *at_ns, attempt: 1, signal: 1, class, text, object };
            format!("{}", open(*stream, 0)?.chunk(&chunk)?)
        }
        Action::Entry { stream, at_ns, level, content } => {
            let contents = [Content { class: Class::Prompt, bytes: content }];
            let entry = Entry { at_ns: *at_ns, kind: 5, payload: b"payload", contents: &contents };
            format!("{}", open(*stream, *level)?.entry(&entry)?)
        }
        Action::Row { stream, status } => {
            let started_at_ms = Some(u64::from(*stream) / 2);
            let row = SessionRow {
                id: id(*stream),
                status: Some(status.clone()),
                started_at_ms,
                ..SessionRow::default()
            };
            store.put(&Row::Session(row))?;
            String::new()
        }
        Action::Attempt { stream, number } => {
            store.put(&Row::Attempt(AttemptRow {
                session: id(*stream),
                number: *number,
                ..AttemptRow::default()
            }))?;
            String::new()
        }
        Action::Remove { stream, records } => {
            let how = if *records { Removal::Records } else { Removal::Content };
            format!("{}", store.remove(&Selection::Streams(vec![id(*stream)]), how)?.streams)
        }
        Action::RemoveTenant { tenant } => {
            let what = Selection::Tenant(format!("tenant {tenant}"));
            format!("{}", store.remove(&what, Removal::Content)?.streams)
        }
        Action::Read { stream, from, limit } => format!("{:?}", store.load(id(*stream), *from, *limit)?),
        Action::Flush | Action::Tidy | Action::Sync | Action::Close | Action::Kill => String::new(),
    })
}

/// Everything that can be asked of a store.
fn everything(store: &dyn Store) -> String {
    let streams = (1..4).map(|stream| {
        let info = store
            .info(id(stream))
            .map(|info| info.map(|info| (info.kind, info.records, info.last_at_ns, info.removed)));
        (store.load(id(stream), 0, usize::MAX), info, store.attempts(id(stream)))
    });
    let streams: Vec<_> = streams.collect();
    let sessions = store.sessions(&Filter::default());
    let running = store.sessions(&Filter { status: Some("a".to_owned()), ..Filter::default() });
    let report = store.verify(None).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    format!("{streams:?} {sessions:?} {running:?} {}", report.records)
}

struct OnDisk<'a> {
    path: &'a Path,
    disk: FaultyDisk,
    journal: Option<Journal>,
}

impl OnDisk<'_> {
    fn journal(&mut self) -> &Journal {
        let options = Options {
            drive: Drive::Caller,
            disk: Arc::new(self.disk.clone()),
            clock: Arc::new(VirtualClock::at(1_760_000_000_000)),
            ..Options::default()
        };
        self.journal.get_or_insert_with(|| Journal::open(self.path, &options).unwrap())
    }

    fn apply(&mut self, action: &Action) -> Result<String, Error> {
        match action {
            Action::Flush => self.journal().flush()?,
            Action::Tidy => self.journal().tidy()?,
            Action::Sync => self.journal().sync().wait()?,
            Action::Close => self.journal().close().map(|()| self.journal = None)?,
            Action::Kill => {
                self.disk = self.disk.kill();
                self.journal = None;
            }
            _ => {}
        }
        apply(self.journal(), action)
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(64, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn disk_and_memory_agree(actions in prop::collection::vec(action(), 1..60)) {
        let folder = scratch::folder();
        let path = folder.path().join("j.db");
        let memory = Memory::new().unwrap();
        let mut on_disk = OnDisk { path: &path, disk: FaultyDisk::default(), journal: None };
        for action in &actions {
            prop_assert_eq!(on_disk.apply(action), apply(&memory, action), "{:?}", action);
        }
        prop_assert_eq!(everything(on_disk.journal()), everything(&memory));
    }
}
