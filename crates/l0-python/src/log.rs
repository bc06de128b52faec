//! A session's records, read back to be decided again.

use std::sync::Arc;

use l0_engine as engine;
use l0_journal::{Body, Error, Stored, session::Recorded};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::journal::{Journal, JournalRecord, fail, id};
use crate::policy::Policy;
use crate::session::Session;

/// Kinds below this are the engine's own.
const DRIVERS_KIND_MIN: u8 = 16;

/// A session's records: the engine's, and the driver's notes between them.
#[pyclass(frozen, module = "l0_core._native")]
pub(crate) struct SessionLog(pub(crate) Arc<Log>);

pub(crate) struct Log {
    pub(crate) records: Vec<engine::Record>,
    /// What came with each of them: its place in the stream, its object, and whether any of its content is gone.
    pub(crate) beside: Vec<Beside>,
    notes: Vec<l0_journal::Record>,
    pub(crate) last_at: u64,
    pub(crate) next_seq: u64,
}

pub(crate) struct Beside {
    pub(crate) seq: u64,
    pub(crate) object: Option<Vec<u8>>,
    pub(crate) is_missing: bool,
}

/// The first record that differs: its place in the stream, what is recorded, what is decided now, each as JSON.
pub(crate) type DivergenceTuple = (u64, Option<String>, Option<String>);

/// A note of the driver: its place in the stream, kind, payload, and content if it has any.
type NoteTuple<'py> = (u64, u8, Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>);

impl Log {
    fn read(stored: Vec<l0_journal::Record>) -> Result<Self, u64> {
        let mut log = Self {
            records: Vec::with_capacity(stored.len()),
            beside: Vec::new(),
            notes: Vec::new(),
            last_at: 0,
            next_seq: 0,
        };
        log.beside.reserve(stored.len());
        for record in stored {
            log.last_at = log.last_at.max(record.at_ns);
            log.next_seq = record.seq + 1;
            if matches!(&record.body, Body::Entry { kind, .. } if *kind >= DRIVERS_KIND_MIN) {
                log.notes.push(record);
                continue;
            }
            let seq = record.seq;
            let Recorded { record, object, missing, .. } =
                l0_journal::session::read(record).map_err(|_| seq)?;
            log.records.push(record);
            log.beside.push(Beside { seq, object, is_missing: !missing.is_empty() });
        }
        Ok(log)
    }

    /// The place in the stream of the record numbered `place`, or of the one after the last.
    pub(crate) fn seq(&self, place: usize) -> u64 {
        self.beside.get(place).map_or(self.next_seq, |beside| beside.seq)
    }

    pub(crate) fn divergence(&self, found: &engine::Divergence) -> DivergenceTuple {
        let json = |record: &Option<Box<engine::Record>>| {
            record
                .as_deref()
                .map(|record| serde_json::to_string(record).unwrap_or_else(|_| "null".to_owned()))
        };
        (self.seq(found.record), json(&found.recorded), json(&found.decided))
    }

    fn first_missing(&self) -> Option<u64> {
        self.beside.iter().find(|beside| beside.is_missing).map(|beside| beside.seq)
    }
}

/// Damage of one record, at its place.
fn unreadable(seq: u64, stream: Option<l0_journal::StreamId>) -> PyErr {
    let place = l0_journal::Place { stream, block: None, record: Some(seq) };
    fail(Error::Corrupt { place, what: "the record cannot be read" })
}

#[pymethods]
impl SessionLog {
    /// Reads a session of a journal.
    #[staticmethod]
    fn load(py: Python<'_>, journal: &Journal, stream_id: &[u8]) -> PyResult<Self> {
        let id = id(stream_id)?;
        let store = journal.store();
        let stored = py.detach(|| store.load(id, 0, usize::MAX)).map_err(fail)?;
        let log = py.detach(|| Log::read(stored)).map_err(|seq| unreadable(seq, Some(id)))?;
        Ok(Self(Arc::new(log)))
    }

    /// Reads records from anywhere.
    #[staticmethod]
    #[expect(clippy::needless_pass_by_value, reason = "what Python's list is read into")]
    fn of(py: Python<'_>, records: Vec<Bound<'_, JournalRecord>>) -> PyResult<Self> {
        let stored: Vec<_> = records.iter().map(|record| record.get().0.clone()).collect();
        let log = py.detach(|| Log::read(stored)).map_err(|seq| unreadable(seq, None))?;
        Ok(Self(Arc::new(log)))
    }

    fn __len__(&self) -> usize {
        self.0.records.len()
    }

    /// The driver's notes: kind and payload.
    #[getter]
    fn notes<'py>(&self, py: Python<'py>) -> Vec<NoteTuple<'py>> {
        let note = |record: &l0_journal::Record| {
            let Body::Entry { kind, payload, contents } = &record.body else { return None };
            let content = contents.iter().find_map(|(_, stored)| match stored {
                Stored::Full(bytes) => Some(PyBytes::new(py, bytes)),
                _ => None,
            });
            Some((record.seq, *kind, PyBytes::new(py, payload), content))
        };
        self.0.notes.iter().filter_map(note).collect()
    }

    /// When the last record was written, on the session's clock.
    #[getter]
    fn last_at(&self) -> u64 {
        self.0.last_at
    }

    /// The first record whose content is not there, if one is.
    #[getter]
    fn first_missing(&self) -> Option<u64> {
        self.0.first_missing()
    }

    /// The records from `first` to before `last` (places among the engine's own) as JSON: seq, JSON, whether content is missing.
    fn json(&self, py: Python<'_>, first: usize, last: usize) -> PyResult<Vec<(u64, String, bool)>> {
        let log = &self.0;
        py.detach(|| {
            let found = log.records.iter().zip(&log.beside).take(last).skip(first);
            found
                .map(|(record, beside)| Ok((beside.seq, serde_json::to_string(record)?, beside.is_missing)))
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(|error: serde_json::Error| PyValueError::new_err(error.to_string()))
    }

    /// Decides all again: the session as it stands at the end, or the first record that differs. `until` is the last
    /// record's place in the stream that counts.
    #[pyo3(signature = (policy, until = None))]
    fn replay(
        &self,
        py: Python<'_>,
        policy: &Policy,
        until: Option<u64>,
    ) -> (Option<Session>, Option<DivergenceTuple>) {
        let (log, policy) = (&self.0, Arc::clone(&policy.engine));
        py.detach(|| {
            let count = until
                .map_or(log.records.len(), |until| log.beside.partition_point(|beside| beside.seq <= until));
            match engine::replay(policy, log.records.get(..count).unwrap_or_default()) {
                Ok(session) => (Some(Session::from(session)), None),
                Err(found) => (None, Some(log.divergence(&found))),
            }
        })
    }
}
