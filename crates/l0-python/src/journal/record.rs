//! Records, as a journal gives them back.

use l0_journal::{Body, Class, Kind, Stored};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::one_of;

/// One immutable fact.
#[pyclass(frozen, module = "l0_core._native")]
pub(crate) struct JournalRecord(pub(crate) l0_journal::Record);

/// The kind of a chunk's record, above all that writers may number.
pub(crate) const CHUNK: u8 = l0_journal::Entry::KINDS;

/// What there is of a piece of content: its class, its state, and the content, hash or length.
type ContentTuple<'py> = (&'static str, &'static str, Option<Bound<'py, PyAny>>);

#[pymethods]
impl JournalRecord {
    /// A record from elsewhere, with its content as `contents` gives it.
    #[new]
    #[pyo3(signature = (seq, at_ns, kind, payload, contents))]
    #[expect(clippy::needless_pass_by_value, reason = "what Python's list is read into")]
    fn new(
        seq: u64,
        at_ns: u64,
        kind: u8,
        payload: &[u8],
        contents: Vec<(String, String, Bound<'_, PyAny>)>,
    ) -> PyResult<Self> {
        let read = |(class, state, value): &(String, String, Bound<'_, PyAny>)| {
            let stored = match state.as_str() {
                "full" => Stored::Full(value.extract()?),
                "hashed" => Stored::Hashed(value.extract()?),
                "absent" => Stored::Absent,
                "erased" => Stored::Erased { bytes: value.extract()? },
                _ => return Err(one_of("state", "full, hashed, absent or erased", state)),
            };
            Ok((read_class(class)?, stored))
        };
        let mut contents = contents.iter().map(read).collect::<PyResult<Vec<_>>>()?;
        if kind < CHUNK {
            let body = Body::Entry { kind, payload: payload.to_vec(), contents };
            return Ok(Self(l0_journal::Record { seq, at_ns, body }));
        }
        let malformed =
            || PyValueError::new_err("a chunk has a payload of 5 bytes, a text and perhaps an object");
        let [a, b, c, d, signal] = payload.try_into().map_err(|_| malformed())?;
        let object = if contents.len() == 2 { contents.pop().map(|(_, object)| object) } else { None };
        let (class, text) = contents.pop().ok_or_else(malformed)?;
        if !contents.is_empty() {
            return Err(malformed());
        }
        let attempt = u32::from_le_bytes([a, b, c, d]);
        let body = Body::Chunk { attempt, signal, class, text, object };
        Ok(Self(l0_journal::Record { seq, at_ns, body }))
    }

    /// Its place in the stream, from 0.
    #[getter]
    fn seq(&self) -> u64 {
        self.0.seq
    }

    /// When it happened, in nanoseconds on the stream's own clock.
    #[getter]
    fn at_ns(&self) -> u64 {
        self.0.at_ns
    }

    /// The writer's number for this kind of record; 128 for a chunk.
    #[getter]
    fn kind(&self) -> u8 {
        match &self.0.body {
            Body::Entry { kind, .. } => *kind,
            Body::Chunk { .. } => CHUNK,
        }
    }

    /// The record free of content; for a chunk its attempt (4 bytes, little-endian) and its signal (1 byte).
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        match &self.0.body {
            Body::Entry { payload, .. } => PyBytes::new(py, payload),
            Body::Chunk { attempt, signal, .. } => PyBytes::new(py, &chunk_payload(*attempt, *signal)),
        }
    }

    /// The content: `(class, state, value)`, where the state is `full` with the bytes, `hashed` with the hash, `absent`, or
    /// `erased` with the length. A chunk's text comes first, then the framework's own object.
    #[getter]
    fn contents<'py>(&self, py: Python<'py>) -> PyResult<Vec<ContentTuple<'py>>> {
        match &self.0.body {
            Body::Entry { contents, .. } => {
                contents.iter().map(|(class, stored)| content(py, *class, stored)).collect()
            }
            Body::Chunk { class, text, object, .. } => [Some(text), object.as_ref()]
                .into_iter()
                .flatten()
                .map(|stored| content(py, *class, stored))
                .collect(),
        }
    }

    fn __repr__(&self) -> String {
        format!("<JournalRecord {} kind={}>", self.0.seq, self.kind())
    }
}

pub(crate) const fn chunk_payload(attempt: u32, signal: u8) -> [u8; 5] {
    let [a, b, c, d] = attempt.to_le_bytes();
    [a, b, c, d, signal]
}

fn content<'py>(py: Python<'py>, class: Class, stored: &Stored) -> PyResult<ContentTuple<'py>> {
    let (state, value) = match stored {
        Stored::Full(bytes) => ("full", Some(PyBytes::new(py, bytes).into_any())),
        Stored::Hashed(hash) => ("hashed", Some(PyBytes::new(py, hash).into_any())),
        Stored::Absent => ("absent", None),
        Stored::Erased { bytes } => ("erased", Some(bytes.into_pyobject(py)?.into_any())),
    };
    Ok((class_name(class), state, value))
}

pub(crate) const fn class_name(class: Class) -> &'static str {
    match class {
        Class::Prompt => "prompt",
        Class::Completion => "completion",
        Class::ToolArguments => "tool_arguments",
        Class::ToolResult => "tool_result",
    }
}

pub(crate) fn read_class(name: &str) -> PyResult<Class> {
    match name {
        "prompt" => Ok(Class::Prompt),
        "completion" => Ok(Class::Completion),
        "tool_arguments" => Ok(Class::ToolArguments),
        "tool_result" => Ok(Class::ToolResult),
        _ => Err(one_of("class", "prompt, completion, tool_arguments or tool_result", name)),
    }
}

pub(crate) fn read_kind(name: &str) -> PyResult<Kind> {
    match name {
        "run" => Ok(Kind::Run),
        "step" => Ok(Kind::Step),
        "session" => Ok(Kind::Session),
        _ => Err(one_of("kind", "run, step or session", name)),
    }
}

pub(crate) const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Journal => "journal",
        Kind::Run => "run",
        Kind::Step => "step",
        Kind::Session => "session",
    }
}
