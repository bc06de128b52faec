//! JSON as models write it: in pieces, cut short, and not always JSON.

mod scan;

pub use scan::{Kind, MAX_DEPTH, Scanner, Status};
