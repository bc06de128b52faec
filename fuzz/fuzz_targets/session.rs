//! Whatever a driver calls, in whatever order, and whenever its process dies: nothing panics, nothing partial is given,
//! what the consumer has is what the session says it has, and the journal tells the same story again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problem) = l0_sim::operations::play(bytes) {
        panic!("{problem}");
    }
});
