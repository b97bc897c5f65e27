//! What a user of the program can rely on: behaviour, goldens, scenarios, and the layering.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot go on should stop where it is"
)]

mod annotations;
mod bench;
mod builtin;
mod checkpoints;
mod ci_files;
mod commands;
mod compare;
mod conformance;
mod constrained;
mod corrupted;
mod definitions;
mod determinism;
mod doctor;
mod exit_codes;
mod faults;
mod fixture_hub;
mod fuzz;
mod goldens;
mod hub;
mod in_turn;
mod junit;
mod junit_schema;
mod latency_gate;
mod layers;
mod list;
mod manual;
mod markdown;
#[cfg(feature = "mlx")]
mod operations;
mod promptfoo;
mod quantised;
// The simulations of the benchmarks draw from it.
#[path = "../../benches/statistics/random.rs"]
mod random;
mod redacted;
mod reruns;
mod results;
mod resume;
mod review;
mod run;
mod sampler_goldens;
mod scenarios;
mod scoped;
mod scripted;
mod semantics;
mod serve;
mod serve_cure;
mod serve_hostile;
mod serve_loop_policy;
mod serve_operations;
mod serve_repetition;
mod serve_together;
mod serve_tools;
mod served;
mod shards;
mod statistics;
mod support;
mod sweep;
mod sweep_adaptive;
mod sweep_matrix;
mod sweep_resume;
mod targets;
mod templates;
mod thresholds;
mod turns;
mod typos;
mod variables;
