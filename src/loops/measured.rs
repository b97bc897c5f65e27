//! What was measured of false alarms, so that a verdict can say it instead of inventing a
//! confidence.
//!
//! The figures are those of the test half of the corpus, looked at once after the thresholds were
//! settled; `loopwatch detect --evaluate` makes them again.

use super::context::Context;
use super::verdict::{LoopKind, LoopVerdict};

/// Confirmed exact loops in prose and code.
pub const CONFIRMED: &str = "0 of 9,594 documents of prose and code (0.00–0.04 %)";
/// Confirmed exact loops in tables and data.
pub const CONFIRMED_IN_DATA: &str = "4 of 1,750 documents of tables and data (0.09–0.59 %)";
/// Loops of any kind that were suspected at least, in prose and code.
pub const SUSPECTED: &str =
    "20 of 9,594 documents of prose and code were suspected of some loop (0.13–0.32 %)";

impl LoopVerdict {
    /// How often such a verdict was a false alarm, in documents without a loop: counted, with its
    /// 95 % interval.
    #[must_use]
    pub fn false_alarms(&self) -> &'static str {
        if self.onset_byte.is_none() {
            return "not measured without text";
        }
        if self.kind == LoopKind::Exact && self.state.is_confirmed() {
            match self.context {
                Some(Context::Table | Context::Data) => CONFIRMED_IN_DATA,
                _ => CONFIRMED,
            }
        } else {
            SUSPECTED
        }
    }
}
