//! Memory that the kernel looks after: the end of a growing file, and a word that a fork clears. The one room with `unsafe`.
#![expect(
    unsafe_code,
    reason = "such memory is a raw pointer; it is read and written here, and nowhere else"
)]

mod process;
mod tail;

pub(crate) use process::process_id;
pub(crate) use tail::Tail;
