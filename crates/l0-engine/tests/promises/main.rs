//! What the engine promises, one table or property per promise, in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects by unwrapping it")]

mod oracle;
mod rig;

mod clocks;
mod contract;
mod faults;
mod guards;
mod ladder;
mod properties;
mod replay;
mod retry;
mod seam;
mod tools;
