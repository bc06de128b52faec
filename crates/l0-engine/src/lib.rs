//! The engine of L0.
#![forbid(unsafe_code)]

pub mod guards;
pub mod json;
