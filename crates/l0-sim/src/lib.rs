//! A seeded world that drives the engine through every fault and checks what it promises.

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
