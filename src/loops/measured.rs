//! What was measured of false alarms, so that a verdict can say it instead of inventing a
//! confidence.
//!
//! The figures are those of the published page, `reports/loops/README.md`; a test compares them.

use super::context::Context;
use super::verdict::{LoopKind, LoopVerdict};

/// Confirmed exact loops in prose and code.
pub const CONFIRMED: &str = "?";
/// Loops of any kind that were suspected at least, in prose and code.
pub const SUSPECTED: &str = "?";

impl LoopVerdict {
    /// How often such a verdict was a false alarm, in documents without a loop: counted, with its
    /// 95 % interval.
    #[must_use]
    pub fn false_alarms(&self) -> &'static str {
        if self.kind == LoopKind::Exact && self.state.is_confirmed() {
            match self.context {
                Some(Context::Table | Context::Data) => "not measured in tables and data alone",
                _ => CONFIRMED,
            }
        } else {
            SUSPECTED
        }
    }
}
