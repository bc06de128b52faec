//! A seeded world that drives the engine through every fault and checks what it promises.
//!
//! A [`World`] is made from a seed: a virtual clock, upstreams that know what they mean and fail as a swarm of troubles
//! tells them, consumers that dawdle and leave, a fleet that several sessions share, a process that may die before any
//! effect. A judge per session reads the journal and the effects, and holds them against what the upstreams meant: it
//! never asks the engine what is right. [`run`] plays many seeds; a seed that breaks a promise is a line to play it
//! again with.

pub mod answer;
mod bend;
pub mod breaks;
pub mod dice;
pub mod driver;
mod judge;
pub mod ledger;
pub mod message;
pub mod operations;
pub mod paper;
pub mod run;
pub mod swarm;
pub mod tally;
pub mod upstream;
mod world;
pub mod wrong;

pub use world::World;
