//! Finds repetitions whose periods lie in one range, and follows the one there is.

use super::history::{History, weight};
use super::last_seen::LastSeen;
use super::plan::Plan;
use super::run::Run;
use super::thresholds::Thresholds;

/// Searches for the periods of one [`Plan`].
#[derive(Clone, Debug)]
pub(super) struct Level {
    plan: Plan,
    weight: u64,
    seen: LastSeen,
    /// Cells until blocks are looked up again; in that cell if 0.
    cells_left: usize,
    pub(super) run: Option<Run>,
}

impl Level {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            weight: weight(plan.last),
            seen: LastSeen::new((plan.last / plan.stride + 1).next_power_of_two()),
            cells_left: 0,
            run: None,
        }
    }

    pub(super) fn has_period(&self, period: usize) -> bool {
        (self.plan.first..=self.plan.last).contains(&period)
    }

    /// Whether the newest block, and as much before it as can matter, lies in the run of a shorter
    /// period, and so in no run of this level.
    pub(super) fn is_covered_by(&self, run: &Run) -> bool {
        run.span >= self.plan.last + run.period
    }

    /// Remembers or looks up the newest block, where the plan says so. A block that is `covered` by
    /// a shorter period is not looked up. Returns in how many tokens to call this again.
    pub(super) fn search(
        &mut self,
        history: &History,
        thresholds: &Thresholds,
        covered: impl FnOnce(&Self) -> bool,
    ) -> usize {
        let Plan { last, stride, .. } = self.plan;
        let offset = history.len() & (stride - 1);
        if offset == 0 {
            self.cells_left = match self.cells_left {
                0 => self.plan.cells - 1,
                left => left - 1,
            };
        }
        if history.len() < last {
            return stride - offset;
        }
        let mut looking = self.cells_left == 0;
        if looking && covered(self) {
            // What is followed here can only be a run that is ignored.
            self.run = None;
            looking = false;
        }
        looking &= self.run.is_none();
        if !looking && offset != 0 {
            return stride - offset;
        }
        let hash = history.block_hash(last, self.weight);
        if looking && let Some(run) = self.find(hash, offset, history, thresholds) {
            self.run = Some(run);
            looking = false;
        }
        if offset == 0 {
            self.seen.record(hash);
        }
        if looking { 1 } else { stride - offset }
    }

    /// The run that shows in the newest block and the same block before it.
    fn find(
        &self,
        hash: u64,
        offset: usize,
        history: &History,
        thresholds: &Thresholds,
    ) -> Option<Run> {
        let Plan {
            first,
            last,
            stride,
            ..
        } = self.plan;
        // From the newest block back to the one remembered `blocks` before the next.
        let lag = |blocks: usize| blocks * stride - (stride - offset) % stride;
        let is_same = |blocks| lag(blocks) <= last && history.block_repeats_at(lag(blocks), last);
        let lag = lag(self.seen.find(hash, is_same)?);
        let period = primitive(lag, last, history);
        // A shorter period has a level of its own. Until that one has noticed, following it here
        // as well keeps this level from searching in vain.
        Some(if period < first {
            Run::ignored(period)
        } else {
            Run::traced(period, last, history, thresholds)
        })
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.seen.memory_bytes()
    }
}

/// The primitive period of a repetition of period `lag` whose newest `length` ≥ `lag` tokens equal
/// those `lag` before them: `lag` divided by every prime it can be divided by.
fn primitive(lag: usize, length: usize, history: &History) -> usize {
    let (mut period, mut rest, mut prime) = (lag, lag, 2);
    while rest > 1 {
        if prime * prime > rest {
            prime = rest;
        }
        while rest.is_multiple_of(prime) {
            rest /= prime;
            if history.block_repeats_at(period / prime, length) {
                period /= prime;
            }
        }
        prime += 1;
    }
    period
}
