//! What a user of the program can rely on: behaviour, goldens, scenarios, and the layering.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot go on should stop where it is"
)]

mod builtin;
mod checkpoints;
mod commands;
mod conformance;
mod determinism;
mod doctor;
mod goldens;
mod layers;
#[cfg(feature = "mlx")]
mod operations;
mod quantised;
mod run;
mod scenarios;
mod support;
