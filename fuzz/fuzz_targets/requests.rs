//! See [`loopwatch_fuzz::requests`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| loopwatch_fuzz::requests(bytes));
