//! Rows as dictionaries: a column nobody knows is left out, a name nobody has is refused.

use l0_journal::{AttemptRow, Cursor, Filter, Level, Redaction, RunRow, SessionRow, StepRow, StreamId};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::{id, one_of};

/// How a column travels.
trait Column: Sized {
    fn read(value: &Bound<'_, PyAny>) -> PyResult<Self>;
    fn write<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>>;
}

impl Column for StreamId {
    fn read(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        id(value.cast::<PyBytes>()?.as_bytes())
    }

    fn write<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyBytes::new(py, &self.0).into_any())
    }
}

macro_rules! plain {
    ($($type:ty),+) => {$(
        impl Column for $type {
            fn read(value: &Bound<'_, PyAny>) -> PyResult<Self> {
                value.extract()
            }

            fn write<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                Ok(self.clone().into_pyobject(py)?.to_owned().into_any())
            }
        }
    )+};
}

plain!(String, u64, bool);

macro_rules! row {
    ($row:ident, $table:literal, $from:ident, $dict:ident, { $($key:ident),+ }, { $($column:ident),+ $(,)? }) => {
        pub(crate) fn $from(columns: Option<&Bound<'_, PyDict>>) -> PyResult<$row> {
            let mut row = $row::default();
            let mut keys: Vec<&str> = vec![$(stringify!($key)),+];
            for (name, value) in columns.into_iter().flatten() {
                let name: String = name.extract()?;
                if value.is_none() {
                    continue;
                }
                match name.as_str() {
                    $(stringify!($key) => {
                        row.$key = Column::read(&value)?;
                        keys.retain(|key| *key != name);
                    })+
                    $(stringify!($column) => row.$column = Some(Column::read(&value)?),)+
                    _ => {
                        let problem = format!(concat!($table, " have no column {:?}"), name);
                        return Err(PyTypeError::new_err(problem));
                    }
                }
            }
            match keys.first() {
                None => Ok(row),
                Some(key) => Err(PyTypeError::new_err(format!(concat!("a row of ", $table, " needs {:?}"), key))),
            }
        }

        pub(crate) fn $dict<'py>(py: Python<'py>, row: &$row) -> PyResult<Bound<'py, PyDict>> {
            let dict = PyDict::new(py);
            $(dict.set_item(stringify!($key), row.$key.write(py)?)?;)+
            $(if let Some(value) = &row.$column {
                dict.set_item(stringify!($column), value.write(py)?)?;
            })+
            Ok(dict)
        }
    };
}

row!(RunRow, "runs", run_from, run_dict, { id }, {
    name, parent, tenant, user, status, fault, started_at_ms, duration_ms, policy_digest, engine_version, forked_from,
    forked_at,
});
row!(StepRow, "steps", step_from, step_dict, { id }, {
    run, parent, name, kind, key, input_digest, idempotency_key, session, tenant, user, status, fault, started_at_ms,
    duration_ms,
});
row!(SessionRow, "sessions", session_from, session_dict, { id }, {
    run, step, parent, tenant, user, target, served_by, status, fault, attempts, degraded, continued, input_tokens,
    output_tokens, wasted_tokens, started_at_ms, first_content_ms, duration_ms, policy_digest, engine_version, journal,
});
row!(AttemptRow, "attempts", attempt_from, attempt_dict, { session, number }, {
    target, status, fault, mode, request_id, started_at_ms, first_content_ms, duration_ms, input_tokens, output_tokens,
});

/// Rows as Python has them, and where the next page begins.
pub(crate) fn rows<'py, T>(
    py: Python<'py>,
    rows: &[T],
    next: Option<Cursor>,
    dict: fn(Python<'py>, &T) -> PyResult<Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let rows = rows.iter().map(|row| dict(py, row)).collect::<PyResult<Vec<_>>>()?;
    let next = next.map(|next| (next.started_at_ms, PyBytes::new(py, &next.id.0)));
    Ok((rows, next).into_pyobject(py)?.into_any())
}

pub(crate) fn filter_from(said: Option<&Bound<'_, PyDict>>) -> PyResult<Filter> {
    let mut filter = Filter::default();
    for (name, value) in said.into_iter().flatten() {
        if value.is_none() {
            continue;
        }
        let name: String = name.extract()?;
        match name.as_str() {
            "id" => filter.id = Some(Column::read(&value)?),
            "run" => filter.run = Some(Column::read(&value)?),
            "parent" => filter.parent = Some(Column::read(&value)?),
            "tenant" => filter.tenant = Some(value.extract()?),
            "user" => filter.user = Some(value.extract()?),
            "target" => filter.target = Some(value.extract()?),
            "status" => filter.status = Some(value.extract()?),
            "fault" => filter.fault = Some(value.extract()?),
            "since_ms" => filter.since_ms = Some(value.extract()?),
            "until_ms" => filter.until_ms = Some(value.extract()?),
            "limit" => filter.limit = value.extract()?,
            "after" => {
                let (started_at_ms, after): (u64, Vec<u8>) = value.extract()?;
                filter.after = Some(Cursor { started_at_ms, id: id(&after)? });
            }
            _ => return Err(PyTypeError::new_err(format!("there is no filter {name:?}"))),
        }
    }
    Ok(filter)
}

/// The levels of prompts, completions, tool arguments and tool results.
pub(crate) fn read_redaction(levels: (String, String, String, String)) -> PyResult<Redaction> {
    let level = |name: &str| match name {
        "full" => Ok(Level::Full),
        "hashed" => Ok(Level::Hashed),
        "none" => Ok(Level::None),
        _ => Err(one_of("redaction", "full, hashed or none", name)),
    };
    let (prompt, completion, tool_arguments, tool_result) = levels;
    Ok(Redaction {
        prompt: level(&prompt)?,
        completion: level(&completion)?,
        tool_arguments: level(&tool_arguments)?,
        tool_result: level(&tool_result)?,
    })
}
