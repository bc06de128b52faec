//! The one place where the journal's errors become Python's.

use l0_journal::Error;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyType};

/// An error as Python raises it: `JournalError` with the reason in one word.
#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
pub(crate) fn fail(error: Error) -> PyErr {
    Python::attach(|py| match raise(py, &error) {
        Ok(raised) | Err(raised) => raised,
    })
}

fn raise(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.import(py, "l0_core._errors", "JournalError")?;
    let said = PyDict::new(py);
    said.set_item("reason", reason(error))?;
    said.set_item("is_transient", error.is_transient())?;
    if let Error::Corrupt { place, .. } = error {
        said.set_item("stream", place.stream.map(|id| PyBytes::new(py, &id.0)))?;
        said.set_item("record", place.record)?;
    }
    Ok(PyErr::from_value(class.call((error.to_string(),), Some(&said))?))
}

/// The variant, in one word that programs may rely on.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::Full { .. } => "full",
        Error::ReadOnly { .. } => "read_only",
        Error::Busy { .. } => "busy",
        Error::NotAJournal { .. } => "not_a_journal",
        Error::Newer { .. } => "newer",
        Error::Key { .. } => "key",
        Error::Corrupt { .. } => "corrupt",
        Error::Removed { .. } => "removed",
        Error::Lost { .. } => "lost",
        Error::Conflict { .. } => "conflict",
        Error::Fenced { .. } => "fenced",
        Error::Unleased { .. } => "unleased",
        Error::Held { .. } => "held",
        Error::Backlog { .. } => "backlog",
        Error::TooLarge { .. } => "too_large",
        Error::Forked => "forked",
        Error::Closed => "closed",
        Error::Invalid { .. } => "invalid",
        Error::Payload { .. } => "payload",
        _ => "other",
    }
}
