//! How this module was built: the first question about any surprising figure or crash.

use pyo3::prelude::*;

/// The facts about this build that a bug report needs.
#[pyclass(frozen, get_all, module = "l0_core._native")]
pub(crate) struct BuildInfo {
    /// The version of the whole workspace.
    version: &'static str,
    /// The Cargo profile; only figures measured with `release` mean anything.
    profile: &'static str,
    /// The version of the compiler.
    rustc: &'static str,
    /// The version of the bridge to Python.
    pyo3: &'static str,
    /// What was compiled in.
    features: Vec<&'static str>,
}

#[pymethods]
impl BuildInfo {
    fn __repr__(&self) -> String {
        let Self { version, profile, rustc, pyo3, features } = self;
        let features = features.join(",");
        format!(
            "BuildInfo(version={version}, profile={profile}, rustc={rustc}, pyo3={pyo3}, features={features})"
        )
    }
}

/// How this module was built.
#[pyfunction]
pub(crate) fn build_info() -> BuildInfo {
    let features = [
        ("abi3", cfg!(Py_LIMITED_API)),
        ("free-threaded", cfg!(Py_GIL_DISABLED)),
        ("debug-assertions", cfg!(debug_assertions)),
    ];
    BuildInfo {
        version: version(),
        profile: env!("L0_BUILD_PROFILE"),
        rustc: env!("L0_BUILD_RUSTC"),
        pyo3: env!("L0_BUILD_PYO3"),
        features: features.into_iter().filter_map(|(name, on)| on.then_some(name)).collect(),
    }
}

/// The version of the whole workspace; the Python packages carry the same.
#[pyfunction]
pub(crate) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
