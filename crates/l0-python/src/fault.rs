//! Faults, and what exceptions amount to.

use l0_engine as engine;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// One thing that went wrong.
#[expect(clippy::struct_field_names, reason = "Python reads it as `fault.fault`, the word errors carry too")]
#[pyclass(frozen, get_all, module = "l0_core._native")]
pub(crate) struct Fault {
    /// The attempt, if one had been opened.
    attempt: Option<u32>,
    /// The target's place in the session's list.
    target: u32,
    /// What it amounts to.
    fault: &'static str,
    /// Whose matter it is.
    category: &'static str,
    /// The engine's word for what it saw, or the provider's code.
    code: Option<String>,
    /// The HTTP status.
    status: Option<u16>,
    /// The provider's id for the request.
    request_id: Option<String>,
    /// Nanoseconds of the session's clock.
    at: u64,
}

impl From<&engine::Fault> for Fault {
    fn from(fault: &engine::Fault) -> Self {
        Self {
            attempt: fault.attempt.map(|attempt| attempt.0),
            target: fault.target.0,
            fault: fault.class.name(),
            category: category(fault.class),
            code: fault.code.clone(),
            status: fault.status,
            request_id: fault.request_id.clone(),
            at: fault.at.0,
        }
    }
}

#[pymethods]
impl Fault {
    fn __repr__(&self) -> String {
        let Self { attempt, target, fault, code, status, .. } = self;
        format!(
            "Fault(fault={fault:?}, attempt={attempt:?}, target={target}, code={code:?}, status={status:?})"
        )
    }
}

fn category(class: engine::FaultClass) -> &'static str {
    match class.category() {
        engine::Category::User => "user",
        engine::Category::Dependency => "dependency",
        engine::Category::Internal => "internal",
        engine::Category::Cancelled => "cancelled",
    }
}

/// Reads the facts of an exception, written as JSON, and what its message says.
pub(crate) fn facts(json: &str, message: &str) -> PyResult<engine::Facts> {
    let facts: engine::Facts =
        serde_json::from_str(json).map_err(|error| PyValueError::new_err(format!("facts: {error}")))?;
    Ok(facts.with_message(message))
}

/// What the facts of an exception amount to.
#[pyfunction]
#[pyo3(signature = (facts_json, message = ""))]
pub(crate) fn classify(facts_json: &str, message: &str) -> PyResult<&'static str> {
    Ok(facts(facts_json, message)?.classify().name())
}
