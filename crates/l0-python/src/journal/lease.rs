//! The right to work on a run.

use std::sync::{Mutex, PoisonError};

use l0_journal::{Error, Holding, Lease};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::fail;

/// The right to work on a run, until it is given back, dropped or taken over.
#[pyclass(frozen, module = "l0_core._native")]
pub(crate) struct JournalLease {
    run: l0_journal::StreamId,
    fence: u64,
    held: Mutex<Option<Lease>>,
}

impl JournalLease {
    pub(crate) fn new(lease: Lease) -> Self {
        Self { run: lease.run(), fence: lease.fence(), held: Mutex::new(Some(lease)) }
    }

    pub(crate) fn holding(&self) -> PyResult<Holding> {
        self.with(|lease| Ok(lease.holding())).map_err(fail)
    }

    fn with<T>(&self, act: impl FnOnce(&Lease) -> Result<T, Error>) -> Result<T, Error> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map_or(Err(Error::Unleased { run: self.run }), act)
    }
}

#[pymethods]
impl JournalLease {
    /// The run.
    #[getter]
    fn run<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.run.0)
    }

    /// Higher than that of every holder before.
    #[getter]
    fn fence(&self) -> u64 {
        self.fence
    }

    /// Raises where somebody else has taken over.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.with(Lease::check)).map_err(fail)
    }

    /// Beats now, instead of waiting for the background to do it.
    fn renew(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.with(Lease::renew)).map_err(fail)
    }

    /// Gives the run back. More than once does no harm.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let lease = self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| lease.map_or(Ok(()), Lease::release)).map_err(fail)
    }
}
