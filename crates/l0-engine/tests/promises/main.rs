//! What the engine promises, one table or property per promise, in virtual time.

mod rig;

mod clocks;
mod ladder;
mod replay;
mod retry;
