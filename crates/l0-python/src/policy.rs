//! The policy, validated once.

use std::sync::Arc;

use l0_engine as engine;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// A validated policy, ready to be used by any number of sessions.
#[pyclass(frozen, module = "l0_core._native")]
pub(crate) struct Policy {
    pub(crate) engine: Arc<engine::Policy>,
    /// The functions of guards of the caller's own, which are carried along and not looked at.
    users: Option<Py<PyAny>>,
}

#[pymethods]
impl Policy {
    #[new]
    #[pyo3(signature = (json, users = None))]
    fn new(json: &str, users: Option<Py<PyAny>>) -> PyResult<Self> {
        match engine::Policy::from_json(json) {
            Ok(policy) => Ok(Self { engine: Arc::new(policy), users }),
            Err(error) => Err(PyValueError::new_err((error.field, error.problem))),
        }
    }

    #[getter]
    fn digest(&self) -> String {
        self.engine.digest()
    }

    /// Whether it looks at what a model is given.
    #[getter]
    fn guards_inputs(&self) -> bool {
        !self.engine.input_guards.is_empty()
    }

    #[getter]
    fn users(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.users.as_ref().map(|users| users.clone_ref(py))
    }

    #[getter]
    fn json(&self) -> PyResult<String> {
        serde_json::to_string(&*self.engine).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    #[pyo3(signature = (targets = 1))]
    fn worst_case(&self, targets: u32) -> (u32, f64, f64) {
        let worst = self.engine.worst_case(targets);
        (worst.calls, worst.total.as_secs_f64(), worst.waiting.as_secs_f64())
    }

    #[staticmethod]
    fn preset(name: &str) -> PyResult<Self> {
        let policy = match name {
            "standard" => engine::Policy::default(),
            "interactive" => engine::Policy::interactive(),
            "batch" => engine::Policy::batch(),
            "strict" => engine::Policy::strict(),
            _ => {
                let problem = format!("must be standard, interactive, batch or strict, not {name:?}");
                return Err(PyValueError::new_err(("preset".to_owned(), problem)));
            }
        };
        Ok(Self { engine: Arc::new(policy), users: None })
    }

    fn __repr__(&self) -> String {
        format!("<Policy {}>", self.engine.digest())
    }
}
