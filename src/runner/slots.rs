//! How many conversations go on at the same time, and which ones want no company.
//!
//! Knows numbers and turns. What a conversation says is not its business.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::assertion::Rule;
use crate::plan::{Case, Limits};

/// As many slots as conversations may go on together. Who comes first is served first.
#[derive(Debug)]
pub(super) struct Slots {
    semaphore: Semaphore,
    all: u32,
}

impl Slots {
    pub(super) fn new(jobs: usize) -> Self {
        let all = u32::try_from(jobs).unwrap_or(u32::MAX).clamp(1, 1 << 20);
        Self {
            semaphore: Semaphore::new(all as usize),
            all,
        }
    }

    /// Waits for a slot, or for all of them. `None` cannot happen, as the semaphore is not closed.
    pub(super) async fn take(&self, alone: bool) -> Option<SemaphorePermit<'_>> {
        let wanted = if alone { self.all } else { 1 };
        self.semaphore.acquire_many(wanted).await.ok()
    }
}

/// Whether company could change the verdict on a case: it asserts a time, or that an answer is the
/// same once more, or has less than the usual time to finish.
pub(super) fn wants_no_company(case: &Case) -> bool {
    let timed = |rule: &Rule| {
        matches!(
            rule,
            Rule::Ttft(_)
                | Rule::InterToken(_)
                | Rule::Stall(_)
                | Rule::EndToEnd(_)
                | Rule::Rerun(_)
        )
    };
    case.limits.time_limit < Limits::default().time_limit
        || case.limits.stall_limit.is_some()
        || case
            .assertions
            .iter()
            .any(|assertion| assertion.rules().any(timed))
}
