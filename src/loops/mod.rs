//! Finds the place where a generation starts to repeat itself, while it is being generated.
//!
//! A *loop* is a tandem repeat: one block of tokens, then the same block again, and again, without
//! a gap. From token ids and their order alone [`LoopDetector`] says how long the block is, where its
//! first copy starts, how often it came, and at which token that was certain. Where the text is known
//! too, [`Watch`] knows prose from programs and data, and suspects loops whose copies differ.
//!
//! It deliberately does not know what the prompt asked for, how a stream was cut into deltas, or what
//! should happen next. A text-only detector cannot tell a requested repetition from a loop, and not
//! every looping answer is lost, so stopping is a policy above this module.
//!
//! * [`Watch`] runs every detector on one channel; the live and the later verdict are the same by
//!   construction. [`detect`] folds [`LoopDetector`] alone over a finished sequence.
//! * [`Thresholds`] says how much repetition is suspicious, and how much is proof.
//! * [`LoopVerdict`] is the evidence.
//! * [`text_units`] makes ids for text whose tokenizer is not at hand.
//!
//! Nothing here does IO, reads a clock, or fails on any sequence of tokens.

mod context;
mod detector;
mod folded;
mod fragment;
mod history;
mod last_seen;
mod level;
mod measured;
mod novelty;
mod pieces;
mod plan;
mod policy;
mod replay;
mod requested;
mod rewind;
mod run;
mod segments;
mod settings;
mod sighting;
mod surprisal;
mod thresholds;
mod tools;
mod units;
mod verdict;
mod watch;
pub mod words;

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

pub use context::Context;
pub use detector::{LoopDetector, detect};
pub use fragment::{FRAGMENT_CHARS, escape_fragment};
pub use measured::{CONFIRMED, CONFIRMED_IN_DATA, SUSPECTED};
pub use policy::{Action, Policy, Shadow};
pub use replay::ReplayWatch;
pub use requested::{PromptRequest, Requested};
pub use rewind::Rewind;
pub use settings::Settings;
pub use surprisal::SurprisalWatch;
pub use thresholds::{
    BARE_SPAN, Band, DEFAULT_MAX_PERIOD, MAX_PERIOD_LIMIT, PATIENT_SPAN, Rule, Thresholds,
    ThresholdsError,
};
pub use tools::{LONGEST_CYCLE, ToolWatch};
pub use units::{Unit, text_units};
pub use verdict::{Change, FRAGMENT_TOKENS, LoopKind, LoopState, LoopVerdict};
pub use watch::{Ending, Watch};
