//! What an engine has computed since it was loaded.
//!
//! Counts are exact and, for the same requests in the same order of arrival, nearly always the
//! same; they tell what sharing saved, which no answer shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Totals of one engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Passes over the weights.
    pub passes: u64,
    /// Tokens that went through the model, prompts and answers.
    pub computed_tokens: u64,
    /// Tokens drawn for answers. Requests that share a history draw from one computed token.
    pub sampled_tokens: u64,
}

/// Where the engine's thread counts and its handles read.
#[derive(Debug, Clone, Default)]
pub(super) struct Counting(Arc<[AtomicU64; 3]>);

impl Counting {
    /// Adds what one pass has done.
    pub(super) fn add(&self, pass: Counters) {
        let counts = [pass.passes, pass.computed_tokens, pass.sampled_tokens];
        for (total, count) in self.0.iter().zip(counts) {
            total.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The totals so far.
    pub(super) fn totals(&self) -> Counters {
        let [passes, computed_tokens, sampled_tokens] =
            self.0.each_ref().map(|total| total.load(Ordering::Relaxed));
        Counters {
            passes,
            computed_tokens,
            sampled_tokens,
        }
    }
}
