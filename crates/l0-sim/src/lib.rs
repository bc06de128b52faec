//! A seeded world that drives the engine through every fault and checks what it promises.

pub mod dice;
pub mod driver;
