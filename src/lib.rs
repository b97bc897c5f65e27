//! loopwatch tests and benchmarks text generation.
//!
//! It runs YAML scenarios against a language model, catches repetition loops, compares outputs
//! with reviewed snapshots, and shows with evidence what a sampling parameter changes.
//!
//! # Layout
//!
//! ```text
//!  L8 cli
//!  L7 report  export  compare  runner
//!  L6 record  gate     sweep
//!  L5 plan  import      server
//!  L4 scenario        target  measure
//!  L3 assertion       engine
//!  L2 snapshot        model  endpoint
//!  L1 metrics  threshold  evaluation  statistics  sampling  text  protocol  backend  scripted  faults
//!  L0 generation  loops  yaml  simd
//! ```
//!
//! A module imports only from floors below its own; `tests/behaviour/layers.rs` holds the table and fails
//! where it is broken. The judging side (left) and the generating side (right) meet only in
//! [`runner`] and [`cli`].
//!
//! - [`generation`]: the vocabulary: requests, events, transcripts.
//! - [`loops`]: the loop detector. [`yaml`]: strict reading of what people write.
//!   [`simd`]: vectors that give the same bits in every instruction set.
//! - [`metrics`]: latency from transcripts. [`threshold`]: `p95 < 500ms` over groups of runs. [`evaluation`]: proves loop detectors on a labelled
//!   corpus. [`statistics`]: intervals, tests and plans for loop rates.
//!   [`sampling`]: from logits to a token. [`text`]:
//!   tokenizer, chat template, tool calls. [`protocol`]: wire types of other programs.
//!   [`backend`]: tensor operations. [`scripted`]: real checkpoints that say what a short YAML
//!   file says. [`faults`]: a scripted server that goes wrong.
//! - [`snapshot`]: reviewed outputs. [`model`]: checkpoints and architectures over a backend.
//!   [`endpoint`]: where a request goes.
//! - [`assertion`]: whether a conversation is acceptable. [`engine`]: generates in this process.
//! - [`scenario`]: YAML files. [`target`]: anything that generates, behind one trait.
//!   [`measure`]: how fast an engine is.
//! - [`plan`]: scenarios expanded into cases. [`import`]: other programs' files as scenarios. [`server`]: a target over HTTP.
//! - [`record`]: what was measured, on disk. [`gate`]: its thresholds. [`sweep`]: a grid of settings, and what it showed.
//! - [`runner`]: executes a plan. [`report`]: a record as a page. [`export`]: a record for other
//!   programs. [`compare`]: two records.
//! - [`cli`]: arguments in, exit code out.
//!
//! # One picture
//!
//! ```text
//!  scenarios/*.yaml ─ scenario ─▶ plan ─▶ [Case] ─ runner ─┐
//!                                                          │ GenerateRequest
//!                                        engine  =  Target ◀┘
//!                                                          ▼ Event{at, kind} …
//!                                                     Transcript ── append ─▶ record.jsonl
//!        loops · metrics · assertion · snapshot   (pure functions of the transcript)
//!                                                          ▼
//!                                     Verdict ─▶ exit code · terminal · HTML
//! ```

pub mod assertion;
pub mod backend;
pub mod cli;
pub mod compare;
pub mod endpoint;
pub mod engine;
pub mod evaluation;
pub mod export;
pub mod faults;
pub mod gate;
pub mod generation;
pub mod import;
pub mod loops;
pub mod measure;
pub mod metrics;
pub mod model;
pub mod plan;
pub mod protocol;
pub mod record;
pub mod report;
pub mod runner;
pub mod sampling;
pub mod scenario;
pub mod scripted;
pub mod server;
pub mod simd;
pub mod snapshot;
pub mod statistics;
pub mod sweep;
pub mod target;
pub mod text;
pub mod threshold;
pub mod yaml;
