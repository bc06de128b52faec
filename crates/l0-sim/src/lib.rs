//! A seeded world that drives the engine through every fault and checks what it promises.
#![allow(
    clippy::struct_excessive_bools,
    clippy::match_same_arms,
    reason = "knobs are many, and each case of a fault is listed by itself"
)]
#![allow(
    clippy::format_collect,
    clippy::format_push_string,
    clippy::items_after_statements,
    clippy::double_must_use,
    clippy::needless_pass_by_value,
    clippy::nonminimal_bool,
    clippy::unnecessary_wraps,
    reason = "text is made for a simulation, and read more often than it is run"
)]

pub mod answer;
mod bend;
pub mod dice;
pub mod driver;
mod judge;
pub mod ledger;
pub mod message;
pub mod swarm;
pub mod tally;
pub mod upstream;
mod world;

pub use world::World;
