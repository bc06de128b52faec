//! JSON schemas, as the engine checks them.

use l0_engine::guards::{Finding, Schema};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::text::text;

/// A JSON schema, compiled.
#[pyclass(frozen, module = "l0_core._native")]
pub(crate) struct JsonSchema(Schema);

#[pymethods]
impl JsonSchema {
    #[new]
    fn new(schema: &str) -> PyResult<Self> {
        match Schema::parse(schema) {
            Ok(schema) => Ok(Self(schema)),
            Err(problem) => Err(PyValueError::new_err(problem.to_string())),
        }
    }

    /// Where a document does not fit, as JSON pointers, and in which respect: at most `most` places.
    fn violations(
        &self,
        py: Python<'_>,
        json: &Bound<'_, PyString>,
        most: usize,
    ) -> PyResult<Vec<(String, String)>> {
        let json = text(json)?;
        let json: &str = &json;
        let schema = &self.0;
        py.detach(|| {
            let Ok(document) = serde_json::from_str(json) else {
                return Ok(vec![(String::new(), "nested too deep to check".to_owned())]);
            };
            let found = schema.violations(&document, most).into_iter().map(|violation| {
                let reason = Finding::Schema(violation.keyword).reason();
                (violation.pointer, reason.trim_start_matches("schema: ").to_owned())
            });
            Ok(found.collect())
        })
    }

    #[expect(clippy::unused_self, reason = "a schema may quote what it was made for")]
    fn __repr__(&self) -> &'static str {
        "<JsonSchema>"
    }
}
