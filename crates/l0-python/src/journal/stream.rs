//! An open stream.

use std::sync::Arc;

use l0_journal::{Append, Chunk, Content, Entry, Error, Store, Stream};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::record::{CHUNK, chunk_payload, class_name};
use super::{JournalTicket, fail, id, read_class};

/// An open stream: where the records of one run, step or session go.
#[pyclass(frozen, module = "l0_core._native")]
pub(crate) struct JournalStream {
    pub(crate) stream: Stream,
    /// Where its barriers are asked for; nowhere, where it goes to a store of the caller's own.
    pub(crate) store: Option<Arc<dyn Store>>,
}

impl JournalStream {
    pub(crate) fn new(stream: Stream, store: Arc<dyn Store>) -> Self {
        Self { stream, store: Some(store) }
    }
}

#[pymethods]
impl JournalStream {
    /// A stream whose records go to `append(kind, payload, contents, at_ns)`, which returns their sequence number.
    #[staticmethod]
    #[pyo3(signature = (stream_id, append, next_seq = 0))]
    fn to(stream_id: &[u8], append: Py<PyAny>, next_seq: u64) -> PyResult<Self> {
        let to = Foreign { append, next_seq: std::sync::atomic::AtomicU64::new(next_seq) };
        Ok(Self { stream: Stream::new(id(stream_id)?, Arc::new(to)), store: None })
    }

    /// Its id.
    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.stream.id().0)
    }

    /// The sequence number of the next record: how many there are.
    #[getter]
    fn next_seq(&self) -> PyResult<u64> {
        self.stream.next_seq().map_err(fail)
    }

    /// Appends one record, which survives the process when this returns; its sequence number. Kind 128 is a chunk, with the
    /// payload and the contents that a chunk's record has.
    #[expect(clippy::needless_pass_by_value, reason = "what Python's list is read into")]
    fn append(
        &self,
        kind: u8,
        payload: &[u8],
        contents: Vec<(String, Bound<'_, PyBytes>)>,
        at_ns: u64,
    ) -> PyResult<u64> {
        let classes = contents.iter().map(|(class, _)| read_class(class)).collect::<PyResult<Vec<_>>>()?;
        let contents: Vec<_> = classes
            .into_iter()
            .zip(&contents)
            .map(|(class, (_, bytes))| Content { class, bytes: bytes.as_bytes() })
            .collect();
        if kind == CHUNK {
            let chunk = chunk(payload, &contents, at_ns).ok_or_else(|| {
                fail(Error::Invalid {
                    what: "a chunk has a payload of 5 bytes, a text and perhaps an object",
                })
            })?;
            return self.stream.chunk(&chunk).map_err(fail);
        }
        self.stream.entry(&Entry { at_ns, kind, payload, contents: &contents }).map_err(fail)
    }

    /// What the durability asks for before a side effect.
    fn barrier(&self, py: Python<'_>) -> Option<JournalTicket> {
        let store = self.store.as_ref()?;
        Some(JournalTicket(py.detach(|| store.barrier(l0_journal::Before::SideEffect))))
    }
}

fn chunk<'a>(payload: &[u8], contents: &[Content<'a>], at_ns: u64) -> Option<Chunk<'a>> {
    let (&signal, attempt) = payload.split_last()?;
    let attempt = u32::from_le_bytes(attempt.try_into().ok()?);
    let (text, objects) = contents.split_first()?;
    let object = match objects {
        [] => None,
        [object] => Some(object.bytes),
        _ => return None,
    };
    let (class, text) = (text.class, std::str::from_utf8(text.bytes).ok()?);
    Some(Chunk { at_ns, attempt, signal, class, text, object })
}

/// A store of the caller's own, as a stream of records sees it.
struct Foreign {
    append: Py<PyAny>,
    next_seq: std::sync::atomic::AtomicU64,
}

impl Foreign {
    fn give(&self, kind: u8, payload: &[u8], contents: &[Content<'_>], at_ns: u64) -> Result<u64, Error> {
        let given = Python::try_attach(|py| -> PyResult<u64> {
            let contents =
                contents.iter().map(|content| (class_name(content.class), PyBytes::new(py, content.bytes)));
            let contents = PyList::new(py, contents.collect::<Vec<_>>())?;
            let seq = self.append.call1(py, (kind, PyBytes::new(py, payload), contents, at_ns))?;
            seq.extract(py)
        });
        match given {
            Some(Ok(seq)) => {
                self.next_seq.store(seq + 1, std::sync::atomic::Ordering::Release);
                Ok(seq)
            }
            // Its message may quote what was to be written.
            Some(Err(_)) => Err(Error::Invalid { what: "a store of the caller's own did not take a record" }),
            None => Err(Error::Closed),
        }
    }
}

impl Append for Foreign {
    fn chunk(&self, chunk: &Chunk<'_>) -> Result<u64, Error> {
        let text = Content { class: chunk.class, bytes: chunk.text.as_bytes() };
        let object = chunk.object.map(|bytes| Content { class: chunk.class, bytes });
        let contents: Vec<_> = std::iter::once(text).chain(object).collect();
        self.give(CHUNK, &chunk_payload(chunk.attempt, chunk.signal), &contents, chunk.at_ns)
    }

    fn entry(&self, entry: &Entry<'_>) -> Result<u64, Error> {
        self.give(entry.kind, entry.payload, entry.contents, entry.at_ns)
    }

    fn next_seq(&self) -> Result<u64, Error> {
        Ok(self.next_seq.load(std::sync::atomic::Ordering::Acquire))
    }
}
