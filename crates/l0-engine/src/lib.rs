//! The engine of L0.
#![forbid(unsafe_code)]
