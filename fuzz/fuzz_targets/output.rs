//! See [`loopwatch_fuzz::output`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loopwatch_fuzz::output(bytes));
