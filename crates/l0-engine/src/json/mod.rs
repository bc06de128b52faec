//! JSON as models write it: in pieces, cut short, and not always JSON.

mod number;
mod partial;
mod repair;
#[cfg(test)]
mod samples;
mod scan;
mod string;

pub use partial::{News, Partial};
pub use repair::{CHANGES_MAX, Change, Documents, Fix, Options, Repaired, Unrepairable, repair};
pub use scan::{Kind, MAX_DEPTH, Scanner, Status};
