//! The Python binding: it translates, and decides nothing.
//!
//! Every class is frozen and every answer is a value, so the module is safe without the GIL. What Python sees is
//! declared by hand in `_native.pyi` next to the package and compared with this module by `make lint`.

mod build;
mod fault;
mod fleet;
mod journal;
mod json;
mod log;
mod outcome;
mod policy;
mod schema;
mod session;
mod text;

use pyo3::prelude::*;

/// The compiled half of `l0_core`. Private: use what `l0_core` exports.
#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use super::build::{BuildInfo, build_info, version};
    #[pymodule_export]
    use super::fault::{Fault, classify};
    #[pymodule_export]
    use super::fleet::{Fleet, Report};
    #[pymodule_export]
    use super::journal::{
        Journal, JournalLease, JournalRecord, JournalStream, JournalTicket, fork_after_in_child,
        fork_after_in_parent, fork_before, named_id,
    };
    #[pymodule_export]
    use super::json::{Change, Partial, Repaired, Unrepairable, repair};
    #[pymodule_export]
    use super::log::SessionLog;
    #[pymodule_export]
    use super::outcome::{Objection, Outcome, Splice, ToolCall};
    #[pymodule_export]
    use super::policy::Policy;
    #[pymodule_export]
    use super::schema::JsonSchema;
    #[pymodule_export]
    use super::session::{Checking, Opening, Session};
}
