//! How much was computed for the same answers: tokens, counted exactly, whatever else the machine did.
//!
//! Looks at the runs whose times are compared, too. A prefix that is not found in a cache any more
//! shows here at once, and in times only above their noise.

use serde::Serialize;

use super::latency::comparable;
use crate::record::{CaseRecord, RunRecord};

/// What one side computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Input tokens that went through the model.
    pub computed_tokens: usize,
    /// Input tokens that came from a cache.
    pub cached_tokens: usize,
    /// Tokens that were generated: steps of decoding.
    pub output_tokens: usize,
}

/// The work of both sides for the same answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Runs that said the same on both sides.
    pub pairs: usize,
    /// As it was.
    pub before: Counters,
    /// As it is.
    pub after: Counters,
}

impl Work {
    /// Whether more tokens went through the model than before, by more than this share of them.
    #[must_use]
    pub fn grew_by_more_than(&self, share: f64) -> bool {
        let all = |counters: &Counters| (counters.computed_tokens + counters.output_tokens) as f64;
        all(&self.after) > all(&self.before) * (1.0 + share)
    }
}

/// The work of the runs that said the same in the earlier and the later record.
pub(super) fn work(pairs: &[(&CaseRecord, &CaseRecord)]) -> Work {
    let runs = pairs
        .iter()
        .flat_map(|(before, after)| before.runs().into_iter().zip(after.runs()));
    let mut work = Work {
        pairs: 0,
        before: Counters::default(),
        after: Counters::default(),
    };
    for (before, after) in runs.filter(|(before, after)| comparable(before, after)) {
        work.pairs += 1;
        work.before.add(before);
        work.after.add(after);
    }
    work
}

impl Counters {
    fn add(&mut self, run: &RunRecord) {
        for exchange in &run.conversation.exchanges {
            let usage = &exchange.transcript.usage;
            self.computed_tokens += usage.computed_tokens();
            self.cached_tokens += usage.cached_tokens;
            self.output_tokens += usage.output_tokens;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_grows_by_a_share_of_all_tokens() {
        let side = |computed_tokens| Counters {
            computed_tokens,
            cached_tokens: 100 - computed_tokens,
            output_tokens: 50,
        };
        let work = |before, after| Work {
            pairs: 1,
            before: side(before),
            after: side(after),
        };
        assert!(!work(50, 50).grew_by_more_than(0.0));
        assert!(work(50, 51).grew_by_more_than(0.0));
        assert!(!work(50, 60).grew_by_more_than(0.1));
        assert!(work(50, 61).grew_by_more_than(0.1));
        assert!(!work(50, 10).grew_by_more_than(0.0));
    }
}
