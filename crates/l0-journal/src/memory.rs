//! A journal in memory: for tests, and for who wants replay within one process and nothing on disk.
//!
//! It shares the bytes of records and blocks with the journal on disk and nothing of how these are kept, so that each shows
//! what the other gets wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::block::{Block, Draft};
use crate::chain::{BlockFields, Chain, Head, Key, body_hash, contents_hash};
use crate::clock::{Clock, SystemClock};
use crate::database::removal::{self, strip};
use crate::database::verify::{Report, Step, Walk};
use crate::lease::{Held, Keeper, Lease};
use crate::record::wire::{Context, content_hash, put_chunk, put_entry};
use crate::rows::{Cursor, RowValues, Table, TableRow, Value};
use crate::store::{Append, Durability, Health, Removed, Selection, Store, Stream, StreamOptions};
use crate::{
    AttemptRow, Chunk, Entry, Error, Filter, Kind, Page, Record, Redaction, Removal, Row, RunRow, SessionRow,
    StepRow, StreamId, StreamInfo, Ticket,
};

/// How long a lease is trusted without asking: there is nobody else who could take it.
const TERM: Duration = Duration::from_secs(30);
/// How often a lease that somebody holds is looked at.
const LEASE_POLL: Duration = Duration::from_millis(10);

/// A journal that ends with the process. Clones are the same journal.
#[derive(Clone)]
pub struct Memory {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    chain: Chain,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    blocks: Vec<Block>,
    streams: BTreeMap<StreamId, Entity>,
    rows: BTreeMap<(u8, Vec<u8>), RowValues>,
    /// The highest fencing number given out, and its holder.
    leases: BTreeMap<StreamId, (u64, Weak<Held>)>,
}

/// What is known of a stream.
struct Entity {
    info: StreamInfo,
    number: i64,
    salt: [u8; 16],
    tenant: Option<String>,
    user: Option<String>,
    /// Positions of its blocks in `State::blocks`.
    blocks: Vec<usize>,
}

impl Memory {
    /// An empty journal.
    ///
    /// # Errors
    /// [`Error::Random`] where the system has no randomness to give.
    pub fn new() -> Result<Self, Error> {
        Self::with(None, Arc::new(SystemClock::default()))
    }

    /// An empty journal with a key and a clock of one's own.
    ///
    /// # Errors
    /// [`Error::Random`] where the system has no randomness to give.
    pub fn with(key: Option<&Key>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let chain = Chain::new(key, &StreamId::random()?.0);
        Ok(Self { inner: Arc::new(Inner { clock, chain, state: Mutex::default() }) })
    }

    fn list<T: TableRow>(&self, filter: &Filter) -> Result<Page<T>, Error> {
        let conditions = filter.conditions_on(&T::TABLE)?;
        let state = self.inner.state();
        let holds = |row: &RowValues| {
            conditions.iter().all(|(name, comparison, wanted)| match (*comparison, row.get(name), wanted) {
                (">=", found, Value::Integer(wanted)) => integer(found) >= *wanted,
                ("<", found, Value::Integer(wanted)) => integer(found) < *wanted,
                (_, found, wanted) => found == Some(wanted),
            })
        };
        let mut found: Vec<(Cursor, &RowValues)> = state
            .rows
            .iter()
            .filter(|((table, _), row)| *table == T::TABLE.number && holds(row))
            .map(|(_, row)| (cursor(row), row))
            .filter(|(cursor, _)| filter.after.is_none_or(|after| *cursor < after))
            .collect();
        found.sort_by(|(one, _), (other, _)| other.cmp(one));
        let more = found.len() > filter.rows_max();
        found.truncate(filter.rows_max());
        let next = found.last().filter(|_| more).map(|(cursor, _)| *cursor);
        let rows = found.into_iter().filter_map(|(_, row)| typed(row)).collect();
        Ok(Page { rows, next })
    }

    fn try_lease(&self, run: StreamId) -> Result<Lease, Error> {
        let mut state = self.inner.state();
        let (fence, holder) =
            state.leases.get(&run).map_or((0, None), |(fence, held)| (*fence, held.upgrade()));
        if holder.is_some_and(|held| !held.is_over()) {
            return Err(Error::Held { run, host: "this process".to_owned() });
        }
        let keeper: Arc<dyn Keeper> = Arc::clone(&self.inner) as _;
        let held = Held::new(run, fence + 1, TERM, Arc::downgrade(&keeper), Arc::clone(&self.inner.clock));
        state.leases.insert(run, (fence + 1, Arc::downgrade(&held)));
        Ok(Lease::new(held, keeper))
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("streams", &self.inner.state().streams.len()).finish()
    }
}

impl Store for Memory {
    fn stream(&self, id: StreamId, options: &StreamOptions) -> Result<Stream, Error> {
        if id == StreamId::JOURNAL {
            return Err(Error::Invalid { what: "the journal's own stream is written by the journal alone" });
        }
        let mut state = self.inner.state();
        let entity = state.entity(id, options, self.inner.clock.wall_ms())?;
        if entity.info.removed == Some(Removal::Records) {
            return Err(Error::Removed { stream: id });
        }
        drop(state);
        let lease = options.lease.as_ref().map(|holding| Arc::clone(&holding.0));
        Ok(Stream::new(
            id,
            Arc::new(Writer { id, inner: Arc::clone(&self.inner), redaction: options.redaction, lease }),
        ))
    }

    fn put(&self, row: &Row) -> Result<(), Error> {
        let values = row.values()?;
        let Some(table) = Table::numbered(values.table) else {
            return Ok(());
        };
        let mut key = Vec::new();
        for column in table.key {
            match values.get(column.name) {
                Some(Value::Blob(bytes)) => key.extend_from_slice(bytes),
                Some(Value::Integer(number)) => key.extend_from_slice(&number.to_be_bytes()),
                Some(Value::Text(_)) | None => {}
            }
        }
        let mut state = self.inner.state();
        let stored = state
            .rows
            .entry((values.table, key))
            .or_insert(RowValues { table: values.table, values: Vec::new() });
        for (name, value) in values.values {
            stored.values.retain(|(other, _)| *other != name);
            stored.values.push((name, value));
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Error> {
        Ok(())
    }

    fn sync(&self) -> Ticket {
        Ticket::done(Ok(()))
    }

    fn durability(&self) -> Durability {
        Durability::Off
    }

    fn load(&self, stream: StreamId, from: u64, limit: usize) -> Result<Vec<Record>, Error> {
        let state = self.inner.state();
        let mut records = Vec::new();
        let Some(entity) = state.streams.get(&stream) else {
            return Ok(records);
        };
        for block in entity.blocks.iter().filter_map(|index| state.blocks.get(*index)) {
            if block.fields.first_seq >= from && records.len() < limit {
                records.extend(block.records()?);
            }
        }
        Ok(records)
    }

    fn info(&self, stream: StreamId) -> Result<Option<StreamInfo>, Error> {
        let state = self.inner.state();
        // A stream nobody has written to is only an intention.
        let written = |entity: &&Entity| !entity.blocks.is_empty();
        Ok(state.streams.get(&stream).filter(written).map(|entity| entity.info.clone()))
    }

    fn matches(&self, stream: StreamId, hash: [u8; 16], content: &[u8]) -> Result<bool, Error> {
        let state = self.inner.state();
        let salted =
            |entity: &Entity| entity.info.removed.is_none() && content_hash(&entity.salt, content) == hash;
        Ok(state.streams.get(&stream).is_some_and(salted))
    }

    fn runs(&self, filter: &Filter) -> Result<Page<RunRow>, Error> {
        self.list(filter)
    }

    fn steps(&self, filter: &Filter) -> Result<Page<StepRow>, Error> {
        self.list(filter)
    }

    fn sessions(&self, filter: &Filter) -> Result<Page<SessionRow>, Error> {
        self.list(filter)
    }

    fn attempts(&self, session: StreamId) -> Result<Vec<AttemptRow>, Error> {
        let state = self.inner.state();
        let of_session =
            |key: &(u8, Vec<u8>)| key.0 == AttemptRow::TABLE.number && key.1.starts_with(&session.0);
        Ok(state.rows.iter().filter(|(key, _)| of_session(key)).filter_map(|(_, row)| typed(row)).collect())
    }

    fn lease(&self, run: StreamId, wait: Duration) -> Result<Lease, Error> {
        let clock = &self.inner.clock;
        let give_up = clock.monotonic() + wait;
        loop {
            match self.try_lease(run) {
                Err(Error::Held { .. }) if clock.monotonic() < give_up => {
                    clock.sleep(LEASE_POLL.min(wait));
                }
                result => return result,
            }
        }
    }

    fn head(&self) -> Result<Head, Error> {
        Ok(self.inner.state().head(&self.inner.chain))
    }

    fn verify(&self, noted: Option<Head>) -> Result<Report, Error> {
        let state = self.inner.state();
        let mut walk = Walk::new(&self.inner.chain, noted);
        for block in &state.blocks {
            let entity = state.streams.get(&block.fields.stream);
            walk.step(&Step {
                stream: entity.map_or(-1, |entity| entity.number),
                block,
                salt: entity.filter(|entity| entity.info.removed.is_none()).map(|entity| entity.salt),
                removed: entity.and_then(|entity| entity.info.removed),
                stream_records: entity.map_or(0, |entity| entity.info.records),
                known: entity.is_some(),
            });
        }
        Ok(walk.finish())
    }

    fn remove(&self, what: &Selection, how: Removal) -> Result<Removed, Error> {
        let now_ms = self.inner.clock.wall_ms();
        self.inner.state().remove(&self.inner.chain, what, how, now_ms)
    }

    fn health(&self) -> Health {
        Health::default()
    }
}

impl State {
    fn entity(&mut self, id: StreamId, options: &StreamOptions, now_ms: u64) -> Result<&mut Entity, Error> {
        let number = i64::try_from(self.streams.len()).unwrap_or(i64::MAX);
        let salt = if id == StreamId::JOURNAL { [0; 16] } else { StreamId::random()?.0 };
        Ok(self.streams.entry(id).or_insert_with(|| Entity {
            info: StreamInfo {
                id,
                kind: options.kind,
                records: 0,
                last_at_ns: 0,
                opened_at_ms: now_ms,
                removed: None,
            },
            number,
            salt,
            tenant: options.tenant.clone(),
            user: options.user.clone(),
            blocks: Vec::new(),
        }))
    }

    fn head(&self, chain: &Chain) -> Head {
        let last = self.blocks.last();
        last.map_or_else(
            || chain.genesis(),
            |block| Head { position: block.fields.position, hash: block.hash },
        )
    }

    /// Appends one record as a block of its own.
    fn append(
        &mut self,
        chain: &Chain,
        id: StreamId,
        put: impl FnOnce(&mut Vec<u8>, &[u8; 16], u64) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let head = self.head(chain);
        let entity = self.streams.get_mut(&id).ok_or(Error::Closed)?;
        if entity.info.removed == Some(Removal::Records) {
            return Err(Error::Removed { stream: id });
        }
        let mut draft = Draft::new(entity.info.records, entity.info.last_at_ns);
        let mut bytes = Vec::new();
        put(&mut bytes, &entity.salt, entity.info.last_at_ns)?;
        draft.push(chain, &bytes)?;
        let fields = BlockFields {
            position: head.position + 1,
            stream: id,
            number: entity.blocks.len() as u64,
            first_seq: draft.first_seq,
            records: 1,
            after_ns: draft.after_ns,
            last_ns: draft.last_ns,
        };
        let contents = contents_hash(&entity.salt, &draft.content);
        let hash = chain.block_hash(&head.hash, &fields, &body_hash(&draft.body), &contents);
        let mut block = Block {
            fields,
            hash,
            body: Some(draft.body),
            content: Some(draft.content),
            marks: Some(draft.marks),
            body_hash: None,
            content_hash: None,
        };
        if entity.info.removed.is_some() {
            strip(&mut block, chain, Some(&entity.salt), Removal::Content);
        }
        entity.info.records += 1;
        entity.info.last_at_ns = fields.last_ns;
        entity.blocks.push(self.blocks.len());
        self.blocks.push(block);
        Ok(fields.first_seq)
    }

    fn remove(
        &mut self,
        chain: &Chain,
        what: &Selection,
        how: Removal,
        now_ms: u64,
    ) -> Result<Removed, Error> {
        let selected = |entity: &Entity| match what {
            Selection::Streams(ids) => ids.contains(&entity.info.id),
            Selection::Tenant(tenant) => entity.tenant.as_ref() == Some(tenant),
            Selection::User(user) => entity.user.as_ref() == Some(user),
            Selection::OpenedBefore(time) => entity.info.opened_at_ms < *time,
        };
        let mut removed = Removed::default();
        let mut gone = Vec::new();
        for entity in self.streams.values_mut() {
            let written = !entity.blocks.is_empty() && entity.info.kind != Kind::Journal;
            if !written || entity.info.removed >= Some(how) || !selected(entity) {
                continue;
            }
            for index in &entity.blocks {
                let Some(block) = self.blocks.get_mut(*index) else {
                    continue;
                };
                let before = removal::size(block);
                strip(block, chain, Some(&entity.salt), how);
                removed.blocks += 1;
                removed.bytes += before.saturating_sub(removal::size(block));
            }
            entity.info.removed = Some(how);
            removed.streams += 1;
            gone.push(entity.info.id);
        }
        if let Selection::User(user) = what {
            for entity in self.streams.values_mut().filter(|entity| entity.user.as_ref() == Some(user)) {
                entity.user = None;
            }
            for row in self.rows.values_mut() {
                row.values.retain(|(name, value)| *name != "user" || *value != Value::Text(user.clone()));
            }
        }
        if how == Removal::Records {
            self.rows.retain(|(_, key), _| !gone.iter().any(|id| key.starts_with(&id.0)));
        }
        if !gone.is_empty() {
            self.entity(StreamId::JOURNAL, &StreamOptions::new(Kind::Journal), now_ms)?;
            let payload = removal::note(how, gone.into_iter());
            self.append(chain, StreamId::JOURNAL, |out, salt, last_at_ns| {
                let context = Context { last_at_ns, redaction: &Redaction::default(), salt };
                put_entry(out, &removal::entry(now_ms, &payload), &context)
            })?;
        }
        Ok(removed)
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper for Inner {
    fn renew(&self, run: StreamId, fence: u64) -> Result<Duration, Error> {
        let current = self.state().leases.get(&run).map_or(0, |(current, _)| *current);
        if current == fence { Ok(TERM) } else { Err(Error::Fenced { run, fence, current }) }
    }

    fn release(&self, _: StreamId, _: u64) -> Result<(), Error> {
        // A lease that is over holds nobody off.
        Ok(())
    }
}

struct Writer {
    id: StreamId,
    inner: Arc<Inner>,
    redaction: Redaction,
    lease: Option<Arc<Held>>,
}

impl Writer {
    fn append(
        &self,
        put: impl FnOnce(&mut Vec<u8>, &Context<'_>) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        if let Some(lease) = &self.lease {
            lease.check()?;
        }
        self.inner.state().append(&self.inner.chain, self.id, |out, salt, last_at_ns| {
            put(out, &Context { last_at_ns, redaction: &self.redaction, salt })
        })
    }
}

impl Append for Writer {
    fn chunk(&self, chunk: &Chunk<'_>) -> Result<u64, Error> {
        self.append(|out, context| put_chunk(out, chunk, context))
    }

    fn entry(&self, entry: &Entry<'_>) -> Result<u64, Error> {
        self.append(|out, context| put_entry(out, entry, context))
    }

    fn next_seq(&self) -> Result<u64, Error> {
        Ok(self.inner.state().streams.get(&self.id).map_or(0, |entity| entity.info.records))
    }
}

fn typed<T: TableRow>(row: &RowValues) -> Option<T> {
    // A journal on disk knows every row's start, if only as 0.
    T::from_values(|name| {
        row.get(name).cloned().or_else(|| (name == "started_at_ms").then_some(Value::Integer(0)))
    })
}

fn cursor(row: &RowValues) -> Cursor {
    let id = match row.get("id") {
        Some(Value::Blob(bytes)) => StreamId::from_slice(bytes).unwrap_or_default(),
        _ => StreamId::default(),
    };
    Cursor { started_at_ms: u64::try_from(integer(row.get("started_at_ms"))).unwrap_or(0), id }
}

fn integer(value: Option<&Value>) -> i64 {
    if let Some(Value::Integer(number)) = value { *number } else { 0 }
}
