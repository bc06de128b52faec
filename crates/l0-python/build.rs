//! Collects what a bug report needs to know about this build: the compiler, the profile, `PyO3`.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

const UNKNOWN: &str = "unknown";

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    println!("cargo:rustc-env=L0_BUILD_RUSTC={}", rustc());
    println!("cargo:rustc-env=L0_BUILD_PROFILE={}", profile());
    println!("cargo:rustc-env=L0_BUILD_PYO3={}", pyo3());
    println!("cargo:rerun-if-changed=build.rs");
}

fn rustc() -> String {
    env::var_os("RUSTC")
        .and_then(|rustc| Command::new(rustc).arg("--version").output().ok())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .and_then(|line| line.split_whitespace().nth(1).map(str::to_owned))
        .unwrap_or_else(|| UNKNOWN.to_owned())
}

/// The profile's own name. `PROFILE` would call every custom profile by the one it inherits from; the output
/// directory (`target/[triple/]<profile>/build/<package>/out`) says which it was.
fn profile() -> String {
    env::var_os("OUT_DIR")
        .and_then(|out| Some(Path::new(&out).ancestors().nth(3)?.file_name()?.to_str()?.to_owned()))
        .unwrap_or_else(|| UNKNOWN.to_owned())
}

/// Cargo tells a build script nothing about the versions of dependencies: the lock file does.
fn pyo3() -> String {
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    let lock =
        Path::new(&manifest_dir).ancestors().map(|dir| dir.join("Cargo.lock")).find(|lock| lock.is_file());
    let Some(lock) = lock else {
        return UNKNOWN.to_owned();
    };
    println!("cargo:rerun-if-changed={}", lock.display());
    let text = fs::read_to_string(lock).unwrap_or_default();
    let mut lines = text.lines().skip_while(|line| *line != "name = \"pyo3\"").skip(1);
    lines
        .next()
        .and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .unwrap_or(UNKNOWN)
        .to_owned()
}
