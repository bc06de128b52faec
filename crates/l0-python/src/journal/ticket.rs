//! The receipt for a sync.

use std::time::Duration;

use l0_journal::Ticket;
use pyo3::prelude::*;

use super::fail;

/// A receipt that says, once it is known, whether something is on disk.
#[pyclass(frozen, module = "l0_core._native")]
pub(crate) struct JournalTicket(pub(crate) Ticket);

#[pymethods]
impl JournalTicket {
    /// Whether the answer is there; raises it where it is a failure.
    fn poll(&self) -> PyResult<bool> {
        match self.0.poll() {
            None => Ok(false),
            Some(answer) => answer.map(|()| true).map_err(fail),
        }
    }

    /// Waits for the answer, at most so many seconds: whether it came. Raises it where it is a failure.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = timeout.map_or(Ok(Duration::MAX), super::seconds)?;
        match py.detach(|| self.0.wait_for(timeout)) {
            None => Ok(false),
            Some(answer) => answer.map(|()| true).map_err(fail),
        }
    }

    /// Waits for the answer, whatever it is, at most so many seconds.
    fn wait_quietly(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        let timeout = super::seconds(timeout)?;
        drop(py.detach(|| self.0.wait_for(timeout)));
        Ok(())
    }

    /// Calls `callback` with `None` or the failure: at once, or from a thread of the journal, which it must not hold up.
    fn on_answer(&self, py: Python<'_>, callback: Py<PyAny>) {
        let tell = move |answer: Result<(), l0_journal::Error>| {
            // When Python is going down there is nobody left to tell.
            let _ = Python::try_attach(|py| {
                let failure = answer.err().map(|error| fail(error).into_value(py));
                if let Err(error) = callback.call1(py, (failure,)) {
                    error.write_unraisable(py, Some(callback.bind(py)));
                }
            });
        };
        py.detach(|| self.0.on_answer(tell));
    }
}
