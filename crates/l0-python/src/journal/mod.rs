//! The journal, as Python uses it: bytes for ids, dictionaries for rows, and every long call without the GIL.

mod bridge;
mod lease;
mod record;
mod row;
mod stream;
mod ticket;

use std::sync::Arc;
use std::time::Duration;

use l0_journal::{Archive, Durability, Key, Memory, Removal, Selection, Store};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

pub(crate) use bridge::fail;
pub(crate) use lease::JournalLease;
pub(crate) use record::{JournalRecord, read_class};
pub(crate) use stream::JournalStream;
pub(crate) use ticket::JournalTicket;

use row::{attempt_from, filter_from, read_redaction, rows, run_from, session_from, step_from};

/// Kind, records, the last `at_ns`, when it was opened in milliseconds, and what was removed.
type InfoTuple = (&'static str, u64, u64, u64, Option<&'static str>);

/// The 16 bytes of an id.
pub(crate) fn id(bytes: &[u8]) -> PyResult<l0_journal::StreamId> {
    l0_journal::StreamId::from_slice(bytes)
        .ok_or_else(|| PyValueError::new_err(format!("an id has 16 bytes, not {}", bytes.len())))
}

/// A journal, wherever it keeps what it is told.
#[pyclass(frozen, module = "l0_core._native")]
pub(crate) struct Journal {
    store: Arc<dyn Store>,
    /// The same one, where it is on disk and open for writing.
    disk: Option<l0_journal::Journal>,
}

impl Journal {
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }
}

#[pymethods]
impl Journal {
    /// Opens a journal on disk, creating it if need be.
    #[staticmethod]
    #[pyo3(signature = (path, *, durability = "safe", key = None, linger = 1.0, lease_term = 30.0, host = None))]
    fn open(
        py: Python<'_>,
        path: std::path::PathBuf,
        durability: &str,
        key: Option<&[u8]>,
        linger: f64,
        lease_term: f64,
        host: Option<String>,
    ) -> PyResult<Self> {
        let options = l0_journal::Options {
            durability: read_durability(durability)?,
            key: key.map(read_key).transpose()?,
            linger: seconds(linger)?,
            lease_term: seconds(lease_term)?,
            host,
            ..l0_journal::Options::default()
        };
        let journal = py.detach(|| l0_journal::Journal::open(path, &options)).map_err(fail)?;
        Ok(Self { store: Arc::new(journal.clone()), disk: Some(journal) })
    }

    /// Opens a journal on disk to look at it: nothing is created, locked or taken in.
    #[staticmethod]
    #[pyo3(signature = (path, *, key = None))]
    fn open_read_only(py: Python<'_>, path: std::path::PathBuf, key: Option<&[u8]>) -> PyResult<Self> {
        let key = key.map(read_key).transpose()?;
        let archive = py.detach(|| Archive::open(path, key.as_ref())).map_err(fail)?;
        Ok(Self { store: Arc::new(archive), disk: None })
    }

    /// A journal that ends with the process.
    #[staticmethod]
    fn memory() -> PyResult<Self> {
        Ok(Self { store: Arc::new(Memory::new().map_err(fail)?), disk: None })
    }

    /// Opens a stream to append to it; `lease` lets nothing be written once it is somebody else's.
    #[pyo3(signature = (stream_id, kind, *, tenant = None, user = None, redaction = None, lease = None))]
    #[expect(clippy::too_many_arguments, reason = "one call a stream, all but two by name")]
    fn stream(
        &self,
        py: Python<'_>,
        stream_id: &[u8],
        kind: &str,
        tenant: Option<String>,
        user: Option<String>,
        redaction: Option<(String, String, String, String)>,
        lease: Option<&JournalLease>,
    ) -> PyResult<JournalStream> {
        let id = id(stream_id)?;
        let options = l0_journal::StreamOptions {
            tenant,
            user,
            redaction: redaction.map(read_redaction).transpose()?.unwrap_or_default(),
            lease: lease.map(JournalLease::holding).transpose()?,
            ..l0_journal::StreamOptions::new(record::read_kind(kind)?)
        };
        let stream = py.detach(|| self.store.stream(id, &options)).map_err(fail)?;
        Ok(JournalStream::new(stream, Arc::clone(&self.store)))
    }

    /// Writes a run's row, or the columns of it that are given.
    #[pyo3(signature = (**columns))]
    fn put_run(&self, py: Python<'_>, columns: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let row = run_from(columns)?;
        py.detach(|| self.store.put(&l0_journal::Row::Run(row))).map_err(fail)
    }

    /// Writes a step's row, or the columns of it that are given.
    #[pyo3(signature = (**columns))]
    fn put_step(&self, py: Python<'_>, columns: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let row = step_from(columns)?;
        py.detach(|| self.store.put(&l0_journal::Row::Step(row))).map_err(fail)
    }

    /// Writes a session's row, or the columns of it that are given.
    #[pyo3(signature = (**columns))]
    fn put_session(&self, py: Python<'_>, columns: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let row = session_from(columns)?;
        py.detach(|| self.store.put(&l0_journal::Row::Session(row))).map_err(fail)
    }

    /// Writes an attempt's row, or the columns of it that are given.
    #[pyo3(signature = (**columns))]
    fn put_attempt(&self, py: Python<'_>, columns: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let row = attempt_from(columns)?;
        py.detach(|| self.store.put(&l0_journal::Row::Attempt(row))).map_err(fail)
    }

    /// Waits until everything appended so far can be read by every process.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.store.flush()).map_err(fail)
    }

    /// Has everything appended so far written to the disk itself.
    fn sync(&self, py: Python<'_>) -> JournalTicket {
        JournalTicket(py.detach(|| self.store.sync()))
    }

    /// What the durability asks for `before` a `side_effect` or a `release`.
    fn barrier(&self, py: Python<'_>, before: &str) -> PyResult<JournalTicket> {
        let before = match before {
            "side_effect" => l0_journal::Before::SideEffect,
            "release" => l0_journal::Before::Release,
            _ => return Err(one_of("before", "side_effect or release", before)),
        };
        Ok(JournalTicket(py.detach(|| self.store.barrier(before))))
    }

    /// How much the records survive: `off`, `fast`, `safe` or `paranoid`.
    #[getter]
    fn durability(&self) -> &'static str {
        match self.store.durability() {
            Durability::Off => "off",
            Durability::Fast => "fast",
            Durability::Safe => "safe",
            Durability::Paranoid => "paranoid",
        }
    }

    /// The file, where there is one open for writing.
    #[getter]
    fn path(&self) -> Option<std::path::PathBuf> {
        self.disk.as_ref().map(|journal| journal.path().to_path_buf())
    }

    /// The records of a stream from `from_` on, at most `limit`.
    #[pyo3(signature = (stream_id, from_ = 0, limit = 1_000_000))]
    fn load(
        &self,
        py: Python<'_>,
        stream_id: &[u8],
        from_: u64,
        limit: usize,
    ) -> PyResult<Vec<JournalRecord>> {
        let id = id(stream_id)?;
        let records = py.detach(|| self.store.load(id, from_, limit)).map_err(fail)?;
        Ok(records.into_iter().map(JournalRecord).collect())
    }

    /// What is known of a stream without reading its records: kind, records, last `at_ns`, opened in ms, what is removed.
    fn info(&self, py: Python<'_>, stream_id: &[u8]) -> PyResult<Option<InfoTuple>> {
        let id = id(stream_id)?;
        let info = py.detach(|| self.store.info(id)).map_err(fail)?;
        Ok(info.map(|info| {
            let removed = info.removed.map(|removed| match removed {
                Removal::Content => "content",
                Removal::Records => "records",
            });
            (record::kind_name(info.kind), info.records, info.last_at_ns, info.opened_at_ms, removed)
        }))
    }

    /// Whether `content` is what stood where a record now has only `hash`.
    fn matches(&self, py: Python<'_>, stream_id: &[u8], digest: [u8; 16], content: &[u8]) -> PyResult<bool> {
        let id = id(stream_id)?;
        py.detach(|| self.store.matches(id, digest, content)).map_err(fail)
    }

    /// Runs, the latest first, and where the next page begins.
    #[pyo3(signature = (**conditions))]
    fn runs<'py>(
        &self,
        py: Python<'py>,
        conditions: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let filter = filter_from(conditions)?;
        let page = py.detach(|| self.store.runs(&filter)).map_err(fail)?;
        rows(py, &page.rows, page.next, row::run_dict)
    }

    /// Steps, the latest first, and where the next page begins.
    #[pyo3(signature = (**conditions))]
    fn steps<'py>(
        &self,
        py: Python<'py>,
        conditions: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let filter = filter_from(conditions)?;
        let page = py.detach(|| self.store.steps(&filter)).map_err(fail)?;
        rows(py, &page.rows, page.next, row::step_dict)
    }

    /// Sessions, the latest first, and where the next page begins.
    #[pyo3(signature = (**conditions))]
    fn sessions<'py>(
        &self,
        py: Python<'py>,
        conditions: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let filter = filter_from(conditions)?;
        let page = py.detach(|| self.store.sessions(&filter)).map_err(fail)?;
        rows(py, &page.rows, page.next, row::session_dict)
    }

    /// The attempts of a session, in order.
    fn attempts<'py>(&self, py: Python<'py>, session: &[u8]) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let session = id(session)?;
        let found = py.detach(|| self.store.attempts(session)).map_err(fail)?;
        found.iter().map(|row| row::attempt_dict(py, row)).collect()
    }

    /// Takes the right to work on a run, waiting at most so many seconds for its holder.
    #[pyo3(signature = (run, wait = 0.0))]
    fn lease(&self, py: Python<'_>, run: &[u8], wait: f64) -> PyResult<JournalLease> {
        let (run, wait) = (id(run)?, seconds(wait)?);
        py.detach(|| self.store.lease(run, wait)).map(JournalLease::new).map_err(fail)
    }

    /// The end of the chain now, as text: note it elsewhere.
    fn head(&self, py: Python<'_>) -> PyResult<String> {
        Ok(py.detach(|| self.store.head()).map_err(fail)?.to_string())
    }

    /// Looks at every block: blocks, records, streams, head, findings, and how many findings there are in all. A finding is
    /// its text, stream, block and record.
    #[pyo3(signature = (head = None))]
    #[expect(clippy::type_complexity, reason = "what Python unpacks")]
    fn verify<'py>(
        &self,
        py: Python<'py>,
        head: Option<&str>,
    ) -> PyResult<(
        u64,
        u64,
        u64,
        String,
        Vec<(String, Option<Bound<'py, PyBytes>>, Option<u64>, Option<u64>)>,
        u64,
    )> {
        let head = head.map(str::parse).transpose().map_err(fail)?;
        let report = py.detach(|| self.store.verify(head)).map_err(fail)?;
        let findings = report.findings.iter().map(|finding| {
            let place = finding.place;
            let stream = place.stream.map(|id| PyBytes::new(py, &id.0));
            (finding.to_string(), stream, place.block, place.record)
        });
        let head = report.head.to_string();
        Ok((report.blocks, report.records, report.streams, head, findings.collect(), report.findings_count))
    }

    /// Removes `content` or `records` for good: of `streams`, a `tenant`, a `user`, or what was opened before a time in
    /// milliseconds. Streams, blocks and bytes that it took.
    #[pyo3(signature = (how, *, streams = None, tenant = None, user = None, opened_before_ms = None))]
    fn remove(
        &self,
        py: Python<'_>,
        how: &str,
        streams: Option<Vec<Bound<'_, PyBytes>>>,
        tenant: Option<String>,
        user: Option<String>,
        opened_before_ms: Option<u64>,
    ) -> PyResult<(u64, u64, u64)> {
        let how = match how {
            "content" => Removal::Content,
            "records" => Removal::Records,
            _ => return Err(one_of("how", "content or records", how)),
        };
        let what = match (streams, tenant, user, opened_before_ms) {
            (Some(ids), None, None, None) => {
                Selection::Streams(ids.iter().map(|bytes| id(bytes.as_bytes())).collect::<PyResult<_>>()?)
            }
            (None, Some(tenant), None, None) => Selection::Tenant(tenant),
            (None, None, Some(user), None) => Selection::User(user),
            (None, None, None, Some(time)) => Selection::OpenedBefore(time),
            _ => {
                let problem = "say exactly one of streams, tenant, user and opened_before_ms";
                return Err(PyValueError::new_err(problem));
            }
        };
        let removed = py.detach(|| self.store.remove(&what, how)).map_err(fail)?;
        Ok((removed.streams, removed.blocks, removed.bytes))
    }

    /// Bytes that the database has not taken yet, and why it takes none.
    fn health(&self, py: Python<'_>) -> (u64, Option<String>) {
        let health = py.detach(|| self.store.health());
        (health.behind_bytes, health.error.map(|error| error.to_string()))
    }

    /// What was taken in when the journal was opened in this process: spools, records, torn ends, and what was refused or
    /// could not be taken in, as text.
    fn recovery(&self) -> (u64, u64, u64, Vec<String>) {
        let Some(disk) = &self.disk else { return (0, 0, 0, Vec::new()) };
        recovery_tuple(&disk.recovery())
    }

    /// Takes in what processes that died meanwhile left.
    fn recover(&self, py: Python<'_>) -> PyResult<(u64, u64, u64, Vec<String>)> {
        let Some(disk) = &self.disk else { return Ok((0, 0, 0, Vec::new())) };
        py.detach(|| disk.recover()).map(|found| recovery_tuple(&found)).map_err(fail)
    }

    /// Flushes and lets go of every file, for everybody in this process who has the journal open.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        py.detach(|| disk.close()).map_err(fail)
    }
}

fn recovery_tuple(recovery: &l0_journal::Recovery) -> (u64, u64, u64, Vec<String>) {
    let refused = recovery.refused.iter().map(|(stream, error)| format!("stream {stream}: {error}"));
    let said = refused.chain(recovery.failed.iter().map(ToString::to_string)).collect();
    (recovery.spools, recovery.records, recovery.torn, said)
}

fn read_durability(name: &str) -> PyResult<Durability> {
    match name {
        "off" => Ok(Durability::Off),
        "fast" => Ok(Durability::Fast),
        "safe" => Ok(Durability::Safe),
        "paranoid" => Ok(Durability::Paranoid),
        _ => Err(one_of("durability", "off, fast, safe or paranoid", name)),
    }
}

fn read_key(bytes: &[u8]) -> PyResult<Key> {
    let bytes: [u8; 32] = bytes
        .try_into()
        .map_err(|_| PyValueError::new_err(format!("key must have 32 bytes, not {}", bytes.len())))?;
    Ok(Key(bytes))
}

fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| PyValueError::new_err("seconds must not be negative or endless"))
}

fn one_of(what: &str, allowed: &str, found: &str) -> PyErr {
    PyValueError::new_err(format!("{what} must be {allowed}, not {found:?}"))
}

/// Closes the database connections of every journal of this process: called before a fork.
#[pyfunction]
pub(crate) fn fork_before(py: Python<'_>) {
    py.detach(l0_journal::fork::before);
}

/// Lets journals use their databases again: called in the parent after a fork.
#[pyfunction]
pub(crate) fn fork_after_in_parent() {
    l0_journal::fork::after_in_parent();
}

/// Lets go of the files of the parent's journals: called in the child after a fork.
#[pyfunction]
pub(crate) fn fork_after_in_child() {
    l0_journal::fork::after_in_child();
}

/// The id that a name always has.
#[pyfunction]
pub(crate) fn named_id<'py>(py: Python<'py>, kind: &str, name: &str) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &l0_journal::StreamId::named(kind, name).0)
}
