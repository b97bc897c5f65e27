//! See [`loopwatch_fuzz::replies`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loopwatch_fuzz::replies(bytes));
